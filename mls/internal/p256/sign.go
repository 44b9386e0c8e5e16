package p256

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"filippo.io/nistec"

	"github.com/seed31b3bfd0/slimgo/mls/internal/hpke"
)

// maxDER is the length of the longest signature: two integers of 33 bytes.
const maxDER = 2 + 2*(2+33)

var errRange = errors.New("p256: private key is not in the range of scalars")

// work is room for one signature. Everything in it is secret and wiped before it is put back.
type work struct {
	random, nonce, blind, out [32]byte
	input                     [len(nonceLabel) + 1 + 32 + 32]byte
	point                     nistec.P256Point
	b, d, e, k, r, s          scalar
}

var spare = sync.Pool{New: func() any { return new(work) }}

func (w *work) done() {
	*w = work{}
	spare.Put(w)
}

// Sign appends to dst the signature, in DER, of a digest of 32 bytes under a private key, which is a scalar of 32 bytes, big-endian.
//
// The nonce is HMAC-SHA-256 of 32 bytes of rand and the digest under the private key, again until it is a scalar: as unpredictable as
// rand, and should rand repeat itself, as RFC 6979 still another one for another digest. The same rand, key and digest give the same
// signature.
func Sign(dst []byte, rand io.Reader, private, digest *[32]byte) ([]byte, error) {
	w := spare.Get().(*work)
	defer w.done()
	if _, err := io.ReadFull(rand, w.random[:]); err != nil {
		return dst, fmt.Errorf("randomness: %w", err)
	}
	if !w.d.set(private) || w.d.zero() {
		return dst, errRange
	}
	for try := range 256 {
		w.derive(&w.nonce, nonceLabel, byte(try), private, digest)
		w.derive(&w.blind, blindLabel, byte(try), private, digest)
		if ok := w.sign(digest); ok {
			return w.appendDER(dst), nil
		}
	}
	return dst, errors.New("p256: 256 nonces were no scalars") // has a chance of 2^-8192
}

// They have the same length.
const (
	nonceLabel = "MLS ECDSA P-256 nonce"
	blindLabel = "MLS ECDSA P-256 blind"
)

// derive sets out to what is the nonce with one label and hides it with the other.
func (w *work) derive(out *[32]byte, label string, try byte, private, digest *[32]byte) {
	input := append(w.input[:0], label...)
	input = append(input, try)
	input = append(append(input, w.random[:]...), digest[:]...)
	hpke.HKDFSHA256.MAC(out[:0], private[:], input)
}

// sign computes r and s from nonce and d (FIPS 186-5, section 6.4.1), and reports whether the nonce served. What is inverted, in time that
// depends on it, is the nonce times blind, which tells nothing of the nonce: blind is as hard to guess.
func (w *work) sign(digest *[32]byte) bool {
	w.b.set(&w.blind)
	if !w.k.set(&w.nonce) || w.k.zero() || w.b.zero() {
		return false
	}
	if _, err := w.point.ScalarBaseMult(w.nonce[:]); err != nil {
		return false
	}
	x, err := w.point.BytesX()
	if err != nil {
		return false
	}
	w.r.set((*[32]byte)(x))
	if w.r.zero() {
		return false
	}
	w.e.set(digest)
	w.s.mul(&w.d, &square) // dR
	w.s.mul(&w.s, &w.r)    // rd
	w.s.add(&w.s, &w.e)
	w.b.mul(&w.b, &square) // bR
	w.s.mul(&w.s, &w.b)    // (e + rd)b
	w.k.mul(&w.k, &w.b)    // kb
	w.k.invertPublic(&w.k) // (kb)⁻¹R
	w.s.mul(&w.s, &w.k)
	return !w.s.zero()
}

// appendDER appends r and s as a SEQUENCE of two INTEGERs.
func (w *work) appendDER(dst []byte) []byte {
	start := len(dst)
	dst = append(slices.Grow(dst, maxDER), 0x30, 0)
	w.r.bytes(&w.out)
	dst = appendInteger(dst, w.out[:])
	w.s.bytes(&w.out)
	dst = appendInteger(dst, w.out[:])
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}

// appendInteger appends a positive INTEGER: no leading zeros but one where the first bit is set.
func appendInteger(dst, b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	if b[0] >= 0x80 {
		dst = append(dst, 2, byte(len(b)+1), 0)
	} else {
		dst = append(dst, 2, byte(len(b)))
	}
	return append(dst, b...)
}
