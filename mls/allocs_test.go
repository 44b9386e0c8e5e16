//go:build !race

package mls

import (
	"fmt"
	"testing"
)

// What an application message allocates: twice the two objects of AES-GCM, which crypto/cipher has no way to set up again for another key;
// of one that is unprotected also its text, what is known of it while it is under way, and what the caller gets.
func TestAllocsOfApplicationMessages(t *testing.T) {
	for _, c := range []struct {
		suite              CipherSuite
		protect, unprotect float64
	}{
		{X25519AES128SHA256Ed25519, 4, 7},
		{P256AES128SHA256P256, 4, 7},
		{X25519ChaCha20SHA256Ed25519, 2, 5},
		{MLKEM768X25519AES128Ed25519, 4, 7},
	} {
		t.Run(fmt.Sprint(c.suite), func(t *testing.T) {
			g := newCrowd(t, c.suite, 3, plain)
			a, b := g.members[0].group, g.members[1].group
			text := make([]byte, 1024)
			dst := make([]byte, 0, 4096)
			n := testing.AllocsPerRun(100, func() { dst = must[[]byte](t)(a.Protect(dst[:0], text, text[:100])) })
			t.Logf("protect: %v", n)
			if n > c.protect {
				t.Errorf("protecting takes %v allocations, want at most %v", n, c.protect)
			}
			msgs := make([][]byte, 3+101)
			for i := range msgs {
				msgs[i] = must[[]byte](t)(a.Protect(nil, text, text[:100]))
			}
			for range 3 { // until there is a table of the sender's key
				must[*Received](t)(b.Process(msgs[0]))
				msgs = msgs[1:]
			}
			n = testing.AllocsPerRun(100, func() {
				must[*Received](t)(b.Process(msgs[0]))
				msgs = msgs[1:]
			})
			t.Logf("unprotect: %v", n)
			if n > c.unprotect {
				t.Errorf("unprotecting takes %v allocations, want at most %v", n, c.unprotect)
			}
			var more [][]byte
			for i := range 2 * 101 {
				more = append(more, must[[]byte](t)(a.Protect(nil, text, nil)))
				if i == 0 { // the list of what is under way, once
					must[*Unverified](t)(b.Unprotect(more[0])).Discard()
				}
			}
			steps := testing.AllocsPerRun(100, func() {
				for _, u := range []*Unverified{must[*Unverified](t)(b.Unprotect(more[0])), must[*Unverified](t)(b.Unprotect(more[1]))} {
					must[*Received](t)(u.Verify().Accept())
				}
				more = more[2:]
			})
			t.Logf("in steps: %v", steps/2)
			if steps > 2*n+1 { // and that list
				t.Errorf("unprotecting in steps takes %v allocations, at once %v", steps/2, n)
			}
		})
	}
}
