package mls

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// Suite 65100 to the byte, against what mls-rs made (testdata/rust, mls-peer vectors).
func TestSuite65100Vectors(t *testing.T) {
	b, err := os.ReadFile("testdata/suite-65100.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		IKM        hex `json:"ikm"`
		PrivateKey hex `json:"private_key"`
		PublicKey  hex `json:"public_key"`
		Seal       struct {
			Info, AAD, Plaintext, Ciphertext hex
			KEM                              hex `json:"kem_output"`
		}
		Export struct {
			Info, Context, Secret hex
			KEM                   hex `json:"kem_output"`
		}
		Hash struct{ Data, Out hex }
		MAC  struct{ Key, Data, Out hex }
		KDF  struct{ Salt, PRK, Info, Out hex }
		AEAD struct{ Key, Nonce, AAD, Plaintext, Ciphertext hex }
		Sig  struct {
			PrivateKey hex `json:"private_key"`
			PublicKey  hex `json:"public_key"`
			Data       hex
			Signature  hex
		} `json:"signature"`
	}
	if err := json.Unmarshal(b, &cases); err != nil || len(cases) < 4 {
		t.Fatal(len(cases), err)
	}
	s := suiteOf(t, MLKEM768X25519AES128Ed25519)
	var sealed []map[string]any
	for _, c := range cases {
		derived := must[*suite.PrivateKey](t)(s.DeriveRaw(c.IKM))
		same(t, "derived private key", derived.Bytes(), c.PrivateKey)
		same(t, "derived public key", derived.Public(), c.PublicKey)
		key := must[*suite.PrivateKey](t)(s.ParsePrivateKey(c.PrivateKey))
		same(t, "public key", key.Public(), c.PublicKey)
		same(t, "opened", must[[]byte](t)(s.OpenRaw(key, c.Seal.KEM, c.Seal.Info, c.Seal.AAD, c.Seal.Ciphertext)), c.Seal.Plaintext)
		same(t, "exported", must[[]byte](t)(s.ReceiveExportRaw(key, c.Export.KEM, c.Export.Info, c.Export.Context, len(c.Export.Secret))), c.Export.Secret)
		same(t, "hash", s.Hash(nil, c.Hash.Data), c.Hash.Out)
		same(t, "MAC", s.MAC(nil, c.MAC.Key, c.MAC.Data), c.MAC.Out)
		var prk suite.Secret
		s.Extract(&prk, c.KDF.Salt, c.IKM)
		same(t, "extracted", prk.Bytes(), c.KDF.PRK)
		out := make([]byte, len(c.KDF.Out))
		s.ExpandRaw(out, prk.Bytes(), c.KDF.Info)
		same(t, "expanded", out, c.KDF.Out)
		aead, err := s.AEAD(c.AEAD.Key)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "AEAD", aead.Seal(nil, c.AEAD.Nonce, c.AEAD.Plaintext, c.AEAD.AAD), c.AEAD.Ciphertext)
		signer := must[*SigningKey](t)(s.ParseSigningKey(c.Sig.PrivateKey))
		same(t, "public signature key", signer.Public(), c.Sig.PublicKey)
		same(t, "signature", must[[]byte](t)(s.SignRaw(rand.Reader, signer, c.Sig.Data)), c.Sig.Signature)

		kem, ct, err := s.SealRaw(rand.Reader, c.PublicKey, c.Seal.Info, c.Seal.AAD, c.Seal.Plaintext)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "our own", must[[]byte](t)(s.OpenRaw(key, kem, c.Seal.Info, c.Seal.AAD, ct)), c.Seal.Plaintext)
		sealed = append(sealed, map[string]any{"private_key": toHex(c.PrivateKey), "public_key": toHex(c.PublicKey), "seal": map[string]string{
			"info": toHex(c.Seal.Info), "aad": toHex(c.Seal.AAD), "plaintext": toHex(c.Seal.Plaintext), "kem_output": toHex(kem), "ciphertext": toHex(ct)}})
	}
	openWithRust(t, sealed)
}

// openWithRust lets the program of $MLS_PEER, if there is one, open what we sealed.
func openWithRust(t *testing.T, sealed any) {
	program := os.Getenv("MLS_PEER")
	if program == "" {
		return
	}
	text, err := json.Marshal(sealed)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "open")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s does not open what we sealed: %v\n%s", program, err, out)
	}
	t.Logf("%s", out)
}

func toHex(b []byte) string {
	const digits = "0123456789abcdef"
	s := make([]byte, 0, 2*len(b))
	for _, v := range b {
		s = append(s, digits[v>>4], digits[v&15])
	}
	return string(s)
}
