package mac

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// needSHA ends a test that has nothing to check on this CPU.
func needSHA(t testing.TB) bool {
	if !hasSHA {
		t.Log("no SHA instructions here")
	}
	return hasSHA
}

// wantChain hashes whole blocks from h on with crypto/sha256.
func wantChain(h chain, p []byte) chain {
	s := state{h: h, n: blockSize} // any whole number of blocks
	newSoft().write(&s, p)
	return s.h
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomChain(r *rand.Rand) (h chain) {
	for i := range h {
		h[i] = r.Uint32()
	}
	return h
}

// FIPS 180-4's own example: one block of "abc".
func TestBlockHashesABC(t *testing.T) {
	if !needSHA(t) {
		return
	}
	var p [blockSize]byte
	copy(p[:], "abc\x80")
	p[63] = 24
	h := initial
	block(&h, p[:])
	var got [32]byte
	sum(&got, &h)
	if want := sha256.Sum256([]byte("abc")); got != want {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestSumIsBigEndianInOrder(t *testing.T) {
	if !needSHA(t) {
		return
	}
	h := randomChain(rand.New(rand.NewPCG(1, 2)))
	var b [34]byte // an odd address, and neighbours that must stay
	sum((*[32]byte)(b[1:]), &h)
	for i, at := range inOrder {
		if got := binary.BigEndian.Uint32(b[1+4*i:]); got != h[at] {
			t.Errorf("word %d is %08x, want %08x", i, got, h[at])
		}
	}
	if b[0] != 0 || b[33] != 0 {
		t.Error("bytes beside dst were written")
	}
}

// Random states, every address modulo 64, several counts of blocks; nothing after whole blocks counts.
func TestBlockAgreesWithCryptoSHA256(t *testing.T) {
	if !needSHA(t) {
		return
	}
	r := rand.New(rand.NewPCG(3, 4))
	data := random(r, 8*blockSize)
	for blocks := range 6 {
		for off := range blockSize {
			h0 := randomChain(r)
			h := h0
			p := data[off : off+blocks*blockSize]
			block(&h, p)
			if want := wantChain(h0, p); h != want {
				t.Fatalf("%d blocks at %d: %x, want %x", blocks, off, h, want)
			}
			h = h0
			block(&h, data[off:off+blocks*blockSize+off])
			if want := wantChain(h0, p); h != want {
				t.Fatalf("%d blocks and %d bytes at %d: %x, want %x", blocks, off, off, h, want)
			}
		}
	}
}

func TestBlock2IsTwoBlocks(t *testing.T) {
	if !needSHA(t) {
		return
	}
	r := rand.New(rand.NewPCG(5, 6))
	data := random(r, 8*blockSize)
	kept := bytes.Clone(data)
	for blocks := range 6 {
		for off0 := range blockSize {
			for _, off1 := range []int{off0, 0, 1, 8, 31, 63} { // the streams overlap
				a, b := randomChain(r), randomChain(r)
				h0, h1 := a, b
				block2(&h0, &h1, &data[off0], &data[off1], blocks)
				if want := wantChain(a, data[off0:off0+blocks*blockSize]); h0 != want {
					t.Fatalf("%d blocks at %d and %d: first %x, want %x", blocks, off0, off1, h0, want)
				}
				if want := wantChain(b, data[off1:off1+blocks*blockSize]); h1 != want {
					t.Fatalf("%d blocks at %d and %d: second %x, want %x", blocks, off0, off1, h1, want)
				}
			}
		}
	}
	h0, h1 := initial, initial
	block2(&h0, &h1, &data[0], &data[0], -1)
	if h0 != initial || h1 != initial {
		t.Error("a negative count of blocks hashes something")
	}
	if !bytes.Equal(data, kept) {
		t.Error("borrowed bytes were written to")
	}
}
