package p256

import (
	"crypto/ecdsa"
	"crypto/elliptic"

	"github.com/seed31b3bfd0/slimgo/mls/internal/recent"
)

// PublicKey is a public key that signatures are checked with. Safe for concurrent use.
type PublicKey struct {
	key   *ecdsa.PublicKey
	bytes point64
	uses  recent.Uses
}

// point64 is a point as it is serialised without compression: two coordinates, without the octet in front.
type point64 [64]byte

// NewPublicKey takes a point of the curve, without compression.
func NewPublicKey(b []byte) (*PublicKey, error) {
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
	if err != nil {
		return nil, err
	}
	return &PublicKey{key: k, bytes: point64(b[1:])}, nil
}

// Verify reports whether sig is a signature in DER of a digest of 32 bytes. It says what crypto/ecdsa says, and costs a quarter of it from
// the fourth time on, as long as there are not many other keys in use.
func (k *PublicKey) Verify(digest *[32]byte, sig []byte) bool {
	t := tables.Find(&k.bytes, &k.uses)
	if t == nil {
		return ecdsa.VerifyASN1(k.key, digest[:], sig)
	}
	return t.verify(digest, sig)
}

// tables are made at the third check of a key.
var tables = recent.New(func() { generator() }, newTable)

// table is a key's, and does not change.
type table struct{ entries []affine }

func newTable(of *point64) *table {
	q := of.affine()
	return &table{memberComb.table(&q)}
}

// affine brings the coordinates into the domain. They are below p.
func (b *point64) affine() (q affine) {
	q.x.set(b[:32])
	q.y.set(b[32:])
	return q
}

// verify is FIPS 186-5, section 6.4.2.
func (t *table) verify(digest *[32]byte, sig []byte) bool {
	var r, s, e, w scalar
	if !parseDER(sig, &r, &s) || r.zero() || s.zero() {
		return false
	}
	e.set(digest)
	w.invertPublic(&s)
	e.mul(&e, &w)
	w.mul(&r, &w)
	sum := t.sum(&e, &w)
	if sum.infinite() {
		return false
	}
	// Its x is X/ZZ, and is r modulo n if it is r or, unless that is not below p, r + n.
	x := field(r)
	for {
		var xzz field
		xzz.mul(&x, &fieldSquare)
		xzz.mul(&xzz, &sum.zz)
		if xzz == sum.x {
			return true
		}
		if !x.addOrder() {
			return false
		}
	}
}

// sum is u times the generator and v times the point of t.
func (t *table) sum(u, v *scalar) (r point) {
	var us, vs digits
	generatorComb.split(&us, u)
	memberComb.split(&vs, v)
	base := generator()
	for i := memberComb.depth - 1; i >= 0; i-- {
		r.double()
		if i < generatorComb.depth {
			generatorComb.addColumn(&r, base, &us, i)
		}
		memberComb.addColumn(&r, t.entries, &vs, i)
	}
	return r
}

// parseDER reads a SEQUENCE of two INTEGERs that are not negative and below n, in their shortest form.
func parseDER(b []byte, r, s *scalar) bool {
	if len(b) < 2 || len(b) > maxDER || b[0] != 0x30 || int(b[1]) != len(b)-2 {
		return false
	}
	b, ok := parseInteger(b[2:], r)
	if !ok {
		return false
	}
	b, ok = parseInteger(b, s)
	return ok && len(b) == 0
}

func parseInteger(b []byte, z *scalar) (rest []byte, ok bool) {
	if len(b) < 3 || b[0] != 2 || b[1] == 0 || int(b[1]) > len(b)-2 {
		return nil, false
	}
	v, rest := b[2:2+b[1]], b[2+b[1]:]
	if v[0] >= 0x80 {
		return nil, false
	}
	if v[0] == 0 && len(v) > 1 {
		if v = v[1:]; v[0] < 0x80 {
			return nil, false
		}
	}
	var full [32]byte
	if len(v) > len(full) {
		return nil, false
	}
	copy(full[len(full)-len(v):], v)
	return rest, z.set(&full)
}
