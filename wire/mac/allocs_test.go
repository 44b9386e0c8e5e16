//go:build !race

package mac

import (
	"bytes"
	"strings"
	"testing"
)

// Not under the race detector: there crypto/sha256 allocates when it saves its state.
func TestMACAllocs(t *testing.T) {
	pre, rest := preimageNames("link", strings.Repeat("n", 140)), make([]byte, 190)
	for how, m := range macs(bytes.Repeat([]byte{7}, 32), "link") {
		var n Names
		var tag, tag2 [32]byte
		if got := testing.AllocsPerRun(200, func() {
			m.Names(&n, pre)
			m.Tag(&tag, &n, rest)
			if !m.Verify(tag[:], &n, rest) {
				t.Fatal("own tag refused")
			}
			Tag2(&tag, m, &n, rest, &tag2, m, &n, rest[:20])
		}); got != 0 {
			t.Errorf("%s: %v allocations, want none", how, got)
		}
	}
}

func TestPreimageAllocs(t *testing.T) {
	h, hd := parsed(t, macVectors[0].header)
	dst := make([]byte, 0, 1024)
	if got := testing.AllocsPerRun(200, func() {
		dst = AppendRest(AppendNames(dst[:0], "link-0001", h, &hd), h, &hd, hd.TTL, true)
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
