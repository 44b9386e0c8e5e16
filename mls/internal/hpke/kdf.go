package hpke

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"sync"
)

// KDF is HKDF and HMAC (RFC 5869, RFC 2104) over one hash. They are written out here because crypto/hmac allocates for every key,
// and a message takes five keys: this way there is nothing to allocate. Immutable; safe for concurrent use.
type KDF struct {
	id      uint16 // RFC 9180 section 7.2
	newHash func() hash.Hash
	size    int
	block   int
	spare   sync.Pool // *macState
}

// The KDFs of RFC 9180, section 7.2.
var (
	HKDFSHA256 = newKDF(1, sha256.New)
	HKDFSHA384 = newKDF(2, sha512.New384)
	HKDFSHA512 = newKDF(3, sha512.New)
)

const (
	maxHash  = 64
	maxBlock = 128
	maxSpare = 16 << 10 // text that is kept for the next computation
)

// macState is room for one computation. Everything in it is secret and wiped before it is put back.
type macState struct {
	hash hash.Hash
	key  [maxBlock]byte
	pad  [maxBlock]byte
	sum  [maxHash]byte
	text []byte
}

func newKDF(id uint16, h func() hash.Hash) *KDF {
	k := &KDF{id: id, newHash: h, size: h().Size(), block: h().BlockSize()}
	k.spare.New = func() any { return &macState{hash: h()} }
	return k
}

// Size is the length of hashes, MACs and extracted keys: Nh.
func (k *KDF) Size() int { return k.size }

// New is a new hash.
func (k *KDF) New() hash.Hash { return k.newHash() }

func (k *KDF) take(key []byte) *macState {
	s := k.spare.Get().(*macState)
	clear(s.key[:])
	if len(key) > k.block {
		s.hash.Reset()
		s.text = append(s.text[:0], key...)
		s.hash.Write(s.text)
		s.hash.Sum(s.key[:0])
		clear(s.text)
	} else {
		copy(s.key[:], key)
	}
	s.text = s.text[:0]
	return s
}

func (k *KDF) give(s *macState) {
	clear(s.key[:])
	clear(s.pad[:])
	clear(s.sum[:])
	clear(s.text)
	if cap(s.text) > maxSpare {
		s.text = nil
	}
	// The hash's own block buffer is overwritten as well.
	s.hash.Reset()
	s.hash.Write(s.key[:k.block-1])
	s.hash.Reset()
	k.spare.Put(s)
}

// The pads of HMAC (RFC 2104, section 2).
var (
	innerPad = [maxBlock]byte(bytes.Repeat([]byte{0x36}, maxBlock))
	outerPad = [maxBlock]byte(bytes.Repeat([]byte{0x5c}, maxBlock))
)

// mac computes HMAC of text, which lies in s, into s.sum.
func (k *KDF) mac(s *macState, text []byte) {
	pad := s.pad[:k.block]
	subtle.XORBytes(pad, s.key[:k.block], innerPad[:])
	s.hash.Reset()
	s.hash.Write(pad)
	s.hash.Write(text)
	s.hash.Sum(s.sum[:0])
	subtle.XORBytes(pad, s.key[:k.block], outerPad[:])
	s.hash.Reset()
	s.hash.Write(pad)
	s.hash.Write(s.sum[:k.size])
	s.hash.Sum(s.sum[:0])
}

// MAC appends HMAC(key, data) to dst.
func (k *KDF) MAC(dst, key, data []byte) []byte {
	s := k.take(key)
	defer k.give(s)
	s.text = append(s.text, data...)
	k.mac(s, s.text)
	return append(dst, s.sum[:k.size]...)
}

// VerifyMAC reports whether tag is HMAC(key, data), in constant time.
func (k *KDF) VerifyMAC(key, data, tag []byte) bool {
	s := k.take(key)
	defer k.give(s)
	s.text = append(s.text, data...)
	k.mac(s, s.text)
	return subtle.ConstantTimeCompare(s.sum[:k.size], tag) == 1
}

// Extract writes HKDF-Extract(salt, ikm), the parts of ikm behind each other, to out, which has Size bytes.
func (k *KDF) Extract(out, salt []byte, ikm ...[]byte) {
	s := k.take(salt)
	defer k.give(s)
	for _, p := range ikm {
		s.text = append(s.text, p...)
	}
	k.mac(s, s.text)
	copy(out, s.sum[:k.size])
}

// Expand fills out with HKDF-Expand(prk, info, len(out)), the parts of info behind each other; at most 255 times Size bytes.
func (k *KDF) Expand(out, prk []byte, info ...[]byte) {
	if len(out) > 255*k.size {
		panic("hpke: expansion beyond what HKDF can give")
	}
	s := k.take(prk)
	defer k.give(s)
	// T(i-1), info, i
	s.text = append(s.text, s.sum[:k.size]...)
	for _, p := range info {
		s.text = append(s.text, p...)
	}
	s.text = append(s.text, 0)
	for i := 1; len(out) > 0; i++ {
		s.text[len(s.text)-1] = byte(i)
		text := s.text
		if i == 1 {
			text = text[k.size:]
		}
		k.mac(s, text)
		n := copy(out, s.sum[:k.size])
		out = out[n:]
		copy(s.text, s.sum[:k.size])
	}
}
