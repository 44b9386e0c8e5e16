package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/elliptic"
	"hash/maphash"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/mls"
)

const (
	pointSize      = 65 // of P-256
	compressedSize = 33
	mostKnown      = 2048 // keys; with what was parsed, some 600 bytes each
)

// known are those whose tokens were believed.
var known = knownKeys{seed: maphash.MakeSeed()}

// knownKeys remembers keys that signatures were checked with, since mls makes tables for those that check often: who has thousands of sessions
// with few others checks the heartbeats of all of them with few keys. A key has one place, by its hash, and the last one that needs it has
// it: which keys compete is not for others to know. Nothing in there is secret. Safe for concurrent use; it takes no lock.
type knownKeys struct {
	seed   maphash.Seed
	places [mostKnown]atomic.Pointer[knownKey]
}

type knownKey struct {
	bytes  []byte
	parsed *mls.VerifyingKey
}

// verify reports whether sig is of b by the public key; what is no key verifies nothing.
func (k *knownKeys) verify(public, b, sig []byte) bool {
	place := &k.places[maphash.Bytes(k.seed, public)%mostKnown]
	p := place.Load()
	if p == nil || !bytes.Equal(p.bytes, public) {
		parsed := parse(public)
		if parsed == nil {
			return false
		}
		p = &knownKey{bytes.Clone(public), parsed}
		place.Store(p)
	}
	return p.parsed.Verify(b, sig)
}

// parse returns nil for what is no key.
func parse(public []byte) *mls.VerifyingKey {
	suite := mls.P256AES128SHA256P256
	switch len(public) {
	case ed25519.PublicKeySize:
		suite = mls.X25519AES128SHA256Ed25519
	case compressedSize:
		x, y := elliptic.UnmarshalCompressed(elliptic.P256(), public)
		if x == nil {
			return nil
		}
		public = append(make([]byte, 0, pointSize), 4)
		public = append(public, x.FillBytes(make([]byte, 32))...)
		public = append(public, y.FillBytes(make([]byte, 32))...)
	case pointSize:
	default:
		return nil
	}
	k, err := mls.ParseVerifyingKey(suite, public)
	if err != nil {
		return nil
	}
	return k
}
