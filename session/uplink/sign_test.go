package uplink

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// Whatever headers came before, one that remembers the last of them makes of each what one makes that has seen none.
func TestHeadersAreRemembered(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	fresh := func() hasher { return hasher{mac: mac.New(handKey, "by-hand"), linkID: "by-hand"} }
	var s signer
	s.hasher = fresh()
	verifier := fresh()
	headers := make([]wire.PublishHeader, 6)
	for i := range headers {
		headers[i] = wire.PublishHeader{
			Source: wire.Text("org", "ns", fmt.Sprint("a", i%2)), Dest: wire.Text("org", "ns", fmt.Sprint("b", i%3)),
			Identity: "token", Fanout: 1, TTL: 8, Version: "v",
		}
	}
	known := 0
	for n := range 5000 {
		h := &headers[r.IntN(1+r.IntN(len(headers)))]
		switch r.IntN(40) {
		case 0:
			h.Identity = fmt.Sprint("token ", n)
		case 1:
			h.TTL = r.Uint32N(9)
		case 2:
			h.MAC = bytes.Repeat([]byte{byte(n)}, r.IntN(2)*wire.MACSize)
		}
		msg := wire.AppendPublish(nil, h, []byte{8, 1}, []byte{10, 0})
		if r.IntN(30) == 0 { // the header occurs twice
			msg = append(msg, msg...)
		}
		head, tail, err := s.sign(msg)
		if err != nil {
			t.Fatal(err)
		}
		got := append(bytes.Clone(head), tail...)
		other := signer{hasher: fresh()}
		if head, tail, err = other.sign(msg); err != nil {
			t.Fatal(err)
		}
		if want := append(bytes.Clone(head), tail...); !bytes.Equal(got, want) {
			t.Fatalf("signed as\n%x, want\n%x", got, want)
		}
		out := got[prefixLen:]
		if r.IntN(4) == 0 { // on its way something changes
			out[r.IntN(len(out))] ^= 1 << r.IntN(8)
		}
		check := func(s *hasher) string {
			var m wire.Message
			_, hd, err := s.scan(out, &m, maxOdd)
			if err != nil || hd == nil || !hd.HasMAC {
				return fmt.Sprint(err, hd == nil)
			}
			seen := *hd
			clear(seen.Keep[seen.NKeep:])
			return fmt.Sprintf("%+v %v", seen, mac.Equal(hd.MAC.Of(m.Header.Of(out)), s.tag(m.Header.Of(out), false)))
		}
		alone := fresh()
		was := bytes.Clone(verifier.whole)
		if got, want := check(&verifier), check(&alone); got != want {
			t.Fatalf("read as\n%s, want\n%s", got, want)
		}
		if len(was) > 0 && bytes.Equal(was, verifier.whole) {
			known++
		}
	}
	if known < 500 {
		t.Errorf("%d headers were known: the test is of little", known)
	}
}

// A header that is damaged is refused as often as it comes, and the whole one is taken after it.
func TestDamagedHeadersAreRefused(t *testing.T) {
	got := 0
	c := byHand(t, Options{Handle: func(msgs [][]byte) { got += len(msgs) }})
	whole := fromNode(t, publication(1, 100))
	damaged := bytes.Clone(whole)
	damaged[bytes.Index(damaged, []byte("alice"))]++
	for range 3 {
		c.take(damaged)
		c.take(damaged)
		c.take(whole)
		c.take(whole)
	}
	if s := c.Stats(); got != 6 || s.Unauthentic != 6 {
		t.Errorf("%d came, %+v", got, s)
	}
}
