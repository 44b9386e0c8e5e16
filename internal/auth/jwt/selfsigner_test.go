package jwt

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
)

// A token of a key of one's own names the key in its header and claims, and is signed with it. Rules: P-id-1, P-ctl-3.
func TestSelfSigner(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	s, err := NewSelfSigner(append([]byte("some text before it\n"), text...))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	token, err := s.Token(nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	if !ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), signature) {
		t.Error("the key does not verify it")
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub string
		Aud      any
		Exp, Iat int64
	}
	for i, v := range []any{&header, &claims} {
		b, _ := base64.RawURLEncoding.DecodeString(parts[i])
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatal(err)
		}
	}
	did := DIDKey(public)
	if header.Alg != "EdDSA" || header.Kid != did || claims.Iss != did || claims.Sub != did || claims.Aud != nil || claims.Exp-claims.Iat != 3600 {
		t.Errorf("header %+v, claims %+v; want %s for an hour", header, claims, did)
	}
	for _, bad := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := NewSelfSigner([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "invalid Ed25519 key: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
