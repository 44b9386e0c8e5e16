package hpke

import (
	"encoding/binary"
	"io"
)

// group is the Diffie-Hellman group of a DHKEM.
type group interface {
	private(b []byte) (*PrivateKey, error)        // b has privateSize bytes
	public(pub []byte) error                      // is it a point of the group
	dh(k *PrivateKey, pub []byte) ([]byte, error) // refuses the zero secret
	privateSize() int
	derive(k *dhkem, prk []byte) (*PrivateKey, error)
}

// dhkem is DHKEM(group, KDF) of RFC 9180, section 4.1.
type dhkem struct {
	id    uint16
	kdf   *KDF
	group group
	label labels
}

func newDHKEM(id uint16, kdf *KDF, g group) *dhkem {
	return &dhkem{id: id, kdf: kdf, group: g, label: labels{kdf, binary.BigEndian.AppendUint16([]byte("KEM"), id)}}
}

// ID implements KEM.
func (k *dhkem) ID() uint16 { return k.id }

// PrivateSize implements KEM.
func (k *dhkem) PrivateSize() int { return k.group.privateSize() }

// Randomness implements KEM.
func (k *dhkem) Randomness() int { return k.group.privateSize() }

// ParsePrivate implements KEM. A scalar may lack leading zeros, as some libraries store it.
func (k *dhkem) ParsePrivate(b []byte) (*PrivateKey, error) { return k.group.private(b) }

// CheckPublic implements KEM.
func (k *dhkem) CheckPublic(pub []byte) error { return k.group.public(pub) }

// Derive implements KEM (section 7.1.3).
func (k *dhkem) Derive(ikm []byte) (*PrivateKey, error) {
	var room [maxHash]byte
	prk := room[:k.kdf.size]
	defer clear(prk)
	k.label.extract(prk, nil, "dkp_prk", ikm)
	return k.group.derive(k, prk)
}

// Encapsulate implements KEM (section 4.1).
func (k *dhkem) Encapsulate(rand io.Reader, pub []byte) (shared, enc []byte, err error) {
	if err := k.group.public(pub); err != nil {
		return nil, nil, err
	}
	ephemeral, err := Generate(k, rand)
	if err != nil {
		return nil, nil, err
	}
	defer ephemeral.Wipe()
	dh, err := k.group.dh(ephemeral, pub)
	if err != nil {
		return nil, nil, err
	}
	defer clear(dh)
	return k.share(dh, ephemeral.public, pub), ephemeral.public, nil
}

// Decapsulate implements KEM.
func (k *dhkem) Decapsulate(priv *PrivateKey, enc []byte) ([]byte, error) {
	dh, err := k.group.dh(priv, enc)
	if err != nil {
		return nil, ErrEncapsulation
	}
	defer clear(dh)
	return k.share(dh, enc, priv.public), nil
}

// share is ExtractAndExpand.
func (k *dhkem) share(dh, enc, pub []byte) []byte {
	var room [maxHash]byte
	prk := room[:k.kdf.size]
	defer clear(prk)
	k.label.extract(prk, nil, "eae_prk", dh)
	shared := make([]byte, k.kdf.size)
	k.label.expand(shared, prk, "shared_secret", enc, pub)
	return shared
}

// labels are LabeledExtract and LabeledExpand for a suite id (section 4).
type labels struct {
	kdf *KDF
	id  []byte
}

func (l labels) extract(out, salt []byte, label string, ikm []byte) {
	var room [64]byte
	prefix := append(append(append(room[:0], "HPKE-v1"...), l.id...), label...)
	l.kdf.Extract(out, salt, prefix, ikm)
}

func (l labels) expand(out, prk []byte, label string, info ...[]byte) {
	var room [64]byte
	prefix := binary.BigEndian.AppendUint16(room[:0], uint16(len(out)))
	prefix = append(append(append(prefix, "HPKE-v1"...), l.id...), label...)
	var parts [4][]byte
	parts[0] = prefix
	n := 1 + copy(parts[1:], info)
	l.kdf.Expand(out, prk, parts[:n]...)
}
