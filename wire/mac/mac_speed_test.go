package mac

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"
)

// The header of a message whose identity is a shared-secret token: 172 bytes.
func benchPreimage() (names, rest []byte) {
	return preimageNames("0a53c3a8-6f7e-4c53-9d4e-7f3d5f7c9b11", strings.Repeat("n", 134)), make([]byte, 4+172+4+3+4)
}

func BenchmarkTagKeptNames(b *testing.B) {
	pre, rest := benchPreimage()
	m := New(make([]byte, 32), "0a53c3a8-6f7e-4c53-9d4e-7f3d5f7c9b11")
	var n Names
	m.Names(&n, pre)
	var tag [32]byte
	b.ReportAllocs()
	for b.Loop() {
		m.Tag(&tag, &n, rest)
	}
}

// What BenchmarkTagKeptNames costs without SHA instructions.
func BenchmarkTagKeptNamesSoft(b *testing.B) {
	pre, rest := benchPreimage()
	m := newMAC(make([]byte, 32), "0a53c3a8-6f7e-4c53-9d4e-7f3d5f7c9b11", newSoft())
	var n Names
	m.Names(&n, pre)
	var tag [32]byte
	b.ReportAllocs()
	for b.Loop() {
		m.Tag(&tag, &n, rest)
	}
}

// Two tags of two links; ns/tag is comparable with BenchmarkTagKeptNames.
func BenchmarkTag2(b *testing.B) {
	pre, rest := benchPreimage()
	for _, c := range []struct {
		name string
		less int // bytes of the second rest
	}{{"SameBlocks", 0}, {"TwoBlocksLess", 128}} {
		b.Run(c.name, func(b *testing.B) {
			m0 := New(make([]byte, 32), "0a53c3a8-6f7e-4c53-9d4e-7f3d5f7c9b11")
			m1 := New(make([]byte, 32), "7c1e22f4-0b5d-4a0e-8f43-52d8f1a6e003")
			var n0, n1 Names
			m0.Names(&n0, pre)
			m1.Names(&n1, pre)
			var d0, d1 [32]byte
			b.ReportAllocs()
			for b.Loop() {
				Tag2(&d0, m0, &n0, rest, &d1, m1, &n1, rest[c.less:])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/tag")
		})
	}
}

// The hash alone: why there is assembly. CryptoSHA256 is the same bytes through the standard library.
func BenchmarkBlock(b *testing.B) {
	const blocks = 64
	p, q := make([]byte, blocks*blockSize), make([]byte, blocks*blockSize)
	report := func(b *testing.B, n int) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/block")
	}
	b.Run("CryptoSHA256", func(b *testing.B) {
		h := sha256.New()
		for b.Loop() {
			h.Write(p)
		}
		report(b, blocks)
	})
	if !hasSHA {
		return
	}
	h0, h1 := initial, initial
	b.Run("One", func(b *testing.B) {
		for b.Loop() {
			block(&h0, p)
		}
		report(b, blocks)
	})
	b.Run("Two", func(b *testing.B) {
		for b.Loop() {
			block2(&h0, &h1, &p[0], &q[0], blocks)
		}
		report(b, 2*blocks)
	})
}

func BenchmarkTagFreshNames(b *testing.B) {
	pre, rest := benchPreimage()
	m := New(make([]byte, 32), "0a53c3a8-6f7e-4c53-9d4e-7f3d5f7c9b11")
	var n Names
	var tag [32]byte
	b.ReportAllocs()
	for b.Loop() {
		m.Names(&n, pre)
		m.Tag(&tag, &n, rest)
	}
}

// What the standard library's HMAC costs for the same header, its best way: one hash, reset.
func BenchmarkTagCryptoHMAC(b *testing.B) {
	pre, rest := benchPreimage()
	h := hmac.New(sha256.New, make([]byte, 32))
	h.Reset()
	tag := make([]byte, 0, 32)
	b.ReportAllocs()
	for b.Loop() {
		h.Reset()
		h.Write(pre)
		h.Write(rest)
		tag = h.Sum(tag[:0])
	}
}
