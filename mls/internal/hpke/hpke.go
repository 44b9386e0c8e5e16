package hpke

import (
	"crypto/cipher"
	"encoding/binary"
	"io"
)

// Scheme is one choice of KEM, KDF and AEAD. Immutable; safe for concurrent use.
type Scheme struct {
	KEM   KEM
	KDF   *KDF
	AEAD  *AEAD
	label labels
}

// New puts a scheme together.
func New(kem KEM, kdf *KDF, aead *AEAD) *Scheme {
	id := binary.BigEndian.AppendUint16([]byte("HPKE"), kem.ID())
	id = binary.BigEndian.AppendUint16(id, kdf.id)
	id = binary.BigEndian.AppendUint16(id, aead.id)
	return &Scheme{KEM: kem, KDF: kdf, AEAD: aead, label: labels{kdf, id}}
}

// Info is the info of a context as its key schedule takes it: hashed, once for all that are sealed with the same.
type Info struct{ hash [maxHash]byte }

// Info hashes info, which is not kept.
func (s *Scheme) Info(info []byte) (i Info) {
	s.label.extract(i.hash[:s.KDF.size], nil, "info_hash", info)
	return i
}

// schedule is the key schedule of base mode (section 5.1): the secret and the context behind all keys.
func (s *Scheme) schedule(secret, context *[]byte, shared []byte, info *Info) {
	n := s.KDF.size
	c := (*context)[:1+2*n]
	c[0] = 0 // base mode
	s.label.extract(c[1:1+n], nil, "psk_id_hash", nil)
	copy(c[1+n:], info.hash[:n])
	*context = c
	*secret = (*secret)[:n]
	s.label.extract(*secret, shared, "secret", nil)
}

// sealer gives the AEAD and nonce for the one message of a context.
func (s *Scheme) sealer(shared []byte, info *Info, nonce *[NonceSize]byte) (cipher.AEAD, error) {
	var roomS, roomK [maxHash]byte
	var roomC [1 + 2*maxHash]byte
	secret, context, key := roomS[:], roomC[:], roomK[:s.AEAD.keySize]
	defer clear(roomS[:])
	defer clear(roomK[:])
	s.schedule(&secret, &context, shared, info)
	s.label.expand(key, secret, "key", context)
	s.label.expand(nonce[:], secret, "base_nonce", context)
	return s.AEAD.New(key)
}

// export is the exporter of a context.
func (s *Scheme) export(shared, info, exporterContext []byte, n int) []byte {
	var roomS, roomE [maxHash]byte
	var roomC [1 + 2*maxHash]byte
	secret, context, exporter := roomS[:], roomC[:], roomE[:s.KDF.size]
	defer clear(roomS[:])
	defer clear(roomE[:])
	hashed := s.Info(info)
	s.schedule(&secret, &context, shared, &hashed)
	s.label.expand(exporter, secret, "exp", context)
	out := make([]byte, n)
	s.label.expand(out, exporter, "sec", exporterContext)
	return out
}

// Seal encrypts text for the holder of pub: SealBase.
func (s *Scheme) Seal(rand io.Reader, pub, info, aad, text []byte) (enc, ciphertext []byte, err error) {
	hashed := s.Info(info)
	return s.SealWith(rand, pub, &hashed, aad, text)
}

// SealWith is Seal with an info that was hashed before.
func (s *Scheme) SealWith(rand io.Reader, pub []byte, info *Info, aad, text []byte) (enc, ct []byte, err error) {
	shared, enc, err := s.KEM.Encapsulate(rand, pub)
	if err != nil {
		return nil, nil, err
	}
	defer clear(shared)
	var nonce [NonceSize]byte
	a, err := s.sealer(shared, info, &nonce)
	if err != nil {
		return nil, nil, err
	}
	return enc, a.Seal(nil, nonce[:], text, aad), nil
}

// Open is the reverse: OpenBase.
func (s *Scheme) Open(priv *PrivateKey, enc, info, aad, ciphertext []byte) ([]byte, error) {
	shared, err := s.KEM.Decapsulate(priv, enc)
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	var nonce [NonceSize]byte
	hashed := s.Info(info)
	a, err := s.sealer(shared, &hashed, &nonce)
	if err != nil {
		return nil, err
	}
	text, err := a.Open(nil, nonce[:], ciphertext, aad)
	if err != nil {
		return nil, ErrOpen
	}
	return text, nil
}

// SendExport makes a secret of n bytes that the holder of pub can compute from enc: SendExportBase.
func (s *Scheme) SendExport(rand io.Reader, pub, info, exporterContext []byte, n int) (enc, secret []byte, err error) {
	shared, enc, err := s.KEM.Encapsulate(rand, pub)
	if err != nil {
		return nil, nil, err
	}
	defer clear(shared)
	return enc, s.export(shared, info, exporterContext, n), nil
}

// ReceiveExport computes that secret: ReceiveExportBase.
func (s *Scheme) ReceiveExport(priv *PrivateKey, enc, info, exporterContext []byte, n int) ([]byte, error) {
	shared, err := s.KEM.Decapsulate(priv, enc)
	if err != nil {
		return nil, err
	}
	defer clear(shared)
	return s.export(shared, info, exporterContext, n), nil
}
