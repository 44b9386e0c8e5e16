package suite

import "io"

// What stands below the labels, for vectors that have none.

// DeriveRaw is KEM.DeriveKeyPair of any input.
func (s *Suite) DeriveRaw(ikm []byte) (*PrivateKey, error) { return s.hpke.KEM.Derive(ikm) }

// SealRaw is HPKE's SealBase.
func (s *Suite) SealRaw(rand io.Reader, pub, info, aad, text []byte) (kemOutput, ciphertext []byte, err error) {
	return s.hpke.Seal(rand, pub, info, aad, text)
}

// OpenRaw is HPKE's OpenBase.
func (s *Suite) OpenRaw(priv *PrivateKey, kemOutput, info, aad, ciphertext []byte) ([]byte, error) {
	return s.hpke.Open(priv, kemOutput, info, aad, ciphertext)
}

// ReceiveExportRaw is HPKE's ReceiveExportBase.
func (s *Suite) ReceiveExportRaw(priv *PrivateKey, kemOutput, info, context []byte, n int) ([]byte, error) {
	return s.hpke.ReceiveExport(priv, kemOutput, info, context, n)
}

// ExpandRaw is KDF.Expand.
func (s *Suite) ExpandRaw(out, prk, info []byte) { s.kdf.Expand(out, prk, info) }

// SignRaw signs without a label.
func (s *Suite) SignRaw(rand io.Reader, key *SigningKey, text []byte) ([]byte, error) {
	return key.sign(nil, rand, text)
}
