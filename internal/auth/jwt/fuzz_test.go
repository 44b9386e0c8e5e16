package jwt

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
)

// Whatever a client shows, the answer is an identity that was signed, or a denial of ours.
func FuzzToken(f *testing.F) {
	_, rows := readRows(f)
	for _, r := range rows {
		f.Add("Bearer " + r.token(time.Unix(1<<32, 0)))
	}
	for _, name := range jose.Names() {
		f.Add("bearer  " + signed(f, name, made(f, name, 0).private, SignerOptions{Subject: "s"}))
	}
	f.Add("Bearer ..")
	f.Add("Bearer " + strings.Repeat("e30.", 3))
	list := []map[string]any{{"kty": "oct", "kid": "h", "alg": "HS256", "k": base64url.EncodeToString([]byte(secrets["a"]))}}
	for _, name := range asymmetric() {
		list = append(list, jwkOf(f, made(f, name, 0).public, map[string]any{"alg": name}))
	}
	v := newVerifier(f, VerifierOptions{Key: Key{Algorithm: "HS256", Format: JWKS, Data: jwks(f, list...)}, Binding: BindWarn, Audience: []string{"slim"}})
	one := newVerifier(f, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}, Strict: true, Audience: []string{"slim"}, Issuer: "slim"})
	f.Fuzz(func(t *testing.T, authorization string) {
		for _, v := range []*Verifier{v, one} {
			who, err := v.Verify(context.Background(), &auth.Shown{Authorization: authorization})
			var d *auth.Denied
			switch {
			case err == nil:
				if who.Expires.Before(time.Now().Add(-2*leeway)) || len(authorization) > auth.MaxAuthorization+20 {
					t.Errorf("%+v", who)
				}
				if err := v.Again(context.Background(), who); err != nil {
					t.Errorf("again: %v", err)
				}
			case !errors.As(err, &d) || d.Status != 401 || d.Reason == "":
				t.Errorf("%v", err)
			}
		}
	})
}

// Whatever an issuer sends as keys, those which are taken verify with what fits them.
func FuzzKeys(f *testing.F) {
	var all []map[string]any
	for _, name := range asymmetric() {
		k := jwkOf(f, made(f, name, 0).public, map[string]any{"alg": name, "kid": name})
		all = append(all, k)
		f.Add([]byte(jwks(f, k)))
		f.Add([]byte(jwks(f, jwkOf(f, made(f, name, 0).private, map[string]any{"alg": name, "use": "sig"}))))
	}
	f.Add([]byte(jwks(f, all...)))
	for _, s := range []string{`{"keys":[]}`, `{"keys":[null,5,{},{"kty":"oct"}]}`, `{"keys":null}`, `{"keys":[{"kty":"oct","k":"","alg":"HS256"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","alg":"ES256"}]}`, `{"keys":[{"kty":"RSA","n":"AQ","e":"AA","alg":"RS256"}]}`,
		`{"keys":[{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA"}]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, fetched := range []bool{false, true} {
			s, _, err := parseSet(b, fetched, false)
			if err != nil {
				continue
			}
			for _, k := range s.all {
				if k.alg == nil || k.alg.Fits(k.public) != nil || fetched && k.alg.Secret > 0 {
					t.Errorf("%+v verifies", k)
				}
				if k.alg.Verify(k.public, []byte("text"), []byte("signature")) {
					t.Error("anything is a signature")
				}
			}
		}
	})
}
