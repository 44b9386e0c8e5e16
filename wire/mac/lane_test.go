package mac

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"
)

// end is one of the two tags that Tag2 makes.
type end struct {
	key         []byte
	linkID      string
	names, rest []byte
}

func (e *end) want() []byte {
	h := hmac.New(sha256.New, e.key)
	h.Write(preimageNames(e.linkID, string(e.names)))
	h.Write(e.rest)
	return h.Sum(nil)
}

// checkTag2 makes both tags in both orders, hashed in every way.
func checkTag2(t *testing.T, a, b *end) {
	t.Helper()
	wantA, wantB := a.want(), b.want()
	ma, mb := macs(a.key, a.linkID), macs(b.key, b.linkID)
	for howA, m0 := range ma {
		for howB, m1 := range mb {
			var n0, n1 Names
			m0.Names(&n0, preimageNames(a.linkID, string(a.names)))
			m1.Names(&n1, preimageNames(b.linkID, string(b.names)))
			for range 2 { // Names serve again
				var d0, d1, e0, e1 [32]byte
				Tag2(&d0, m0, &n0, a.rest, &d1, m1, &n1, b.rest)
				Tag2(&e1, m1, &n1, b.rest, &e0, m0, &n0, a.rest)
				if !bytes.Equal(d0[:], wantA) || !bytes.Equal(d1[:], wantB) || d0 != e0 || d1 != e1 {
					t.Fatalf("%s with %s, names %d and %d, rest %d and %d bytes: %x and %x, reversed %x and %x, want %x and %x",
						howA, howB, len(a.names), len(b.names), len(a.rest), len(b.rest), d0, d1, e0, e1, wantA, wantB)
				}
			}
		}
	}
}

// All pairs of counts of blocks up to seven, with the last block short, full to the last byte that padding allows, one
// more, and whole; the kept part of a block is another for each.
func TestTag2AgreesWithCryptoHMAC(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	data := random(r, 1000)
	var lengths []int
	for blocks := range 6 {
		for _, last := range []int{0, 1, 55, 56, 63} {
			lengths = append(lengths, blocks*blockSize+last)
		}
	}
	for _, la := range lengths {
		for _, lb := range lengths {
			oa, ob := r.IntN(100), r.IntN(100)
			a := end{random(r, 32), strings.Repeat("a", 1+r.IntN(64)), data[:r.IntN(140)], data[oa : oa+la]}
			b := end{random(r, 32), strings.Repeat("b", 1+r.IntN(64)), data[:r.IntN(140)], data[ob : ob+lb]}
			checkTag2(t, &a, &b)
		}
	}
}

// Two messages that leave on one link, and one that is signed twice.
func TestTag2OfOneLink(t *testing.T) {
	key := bytes.Repeat([]byte{7}, 32)
	e := end{key, "link", []byte("names"), bytes.Repeat([]byte{1}, 187)}
	f := end{key, "link", []byte("other names"), bytes.Repeat([]byte{2}, 60)}
	for how, m := range macs(key, "link") {
		var n, o Names
		m.Names(&n, preimageNames("link", "names"))
		m.Names(&o, preimageNames("link", "other names"))
		var d0, d1 [32]byte
		Tag2(&d0, m, &n, e.rest, &d1, m, &o, f.rest)
		if !bytes.Equal(d0[:], e.want()) || !bytes.Equal(d1[:], f.want()) {
			t.Errorf("%s: two messages: %x and %x, want %x and %x", how, d0, d1, e.want(), f.want())
		}
		Tag2(&d0, m, &n, e.rest, &d1, m, &n, e.rest)
		if !bytes.Equal(d0[:], e.want()) || d0 != d1 {
			t.Errorf("%s: one message: %x and %x, want %x", how, d0, d1, e.want())
		}
	}
}

func FuzzTag2(f *testing.F) {
	f.Add([]byte("names"), []byte("rest"), []byte("other names"), []byte("other rest"), byte(0), byte(36))
	f.Add(make([]byte, 134), make([]byte, 187), make([]byte, 134), make([]byte, 187), byte(36), byte(36))
	f.Add([]byte{}, []byte{}, make([]byte, 300), make([]byte, 700), byte(255), byte(1))
	f.Fuzz(func(t *testing.T, names0, rest0, names1, rest1 []byte, id0, id1 byte) {
		a := end{bytes.Repeat([]byte{id0}, 32), strings.Repeat("a", int(id0)), names0, rest0}
		b := end{bytes.Repeat([]byte{^id1}, 32), strings.Repeat("b", int(id1)), names1, rest1}
		checkTag2(t, &a, &b)
	})
}
