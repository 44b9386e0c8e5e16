package jwt

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
)

// What is sent is what upstream sends (P-jwt-2), but that connections do not show an app's key (P-jwt-3).
func TestSignedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const now = 946684800 // when the bubble begins
		for _, c := range []struct {
			name            string
			o               SignerOptions
			further         map[string]any
			header, payload string
		}{
			{"nothing configured", SignerOptions{}, nil, `{"typ":"JWT","alg":"HS256"}`, fmt.Sprintf(`{"exp":%d,"iat":%d,"nbf":%d}`, now+3600, now, now)},
			{"all", SignerOptions{Issuer: "i", Subject: "s<>&", Audience: []string{"a", "b"},
				Custom: map[string]any{"groups": []any{"g"}, "b": true, "n": 1.5, "m": map[string]any{"x": 1}}},
				nil, `{"typ":"JWT","alg":"HS256","kid":"s<>&"}`,
				fmt.Sprintf(`{"iss":"i","sub":"s<>&","aud":["a","b"],"exp":%d,"iat":%d,"nbf":%d,"b":true,"groups":["g"],"m":{"x":1},"n":1.5}`, now+3600, now, now)},
			{"an app's key takes the place of a custom claim", SignerOptions{Subject: "s", Custom: map[string]any{"pubkey": "old", "a": 1}},
				map[string]any{"pubkey": "new"}, `{"typ":"JWT","alg":"HS256","kid":"s"}`,
				fmt.Sprintf(`{"sub":"s","exp":%d,"iat":%d,"nbf":%d,"a":1,"pubkey":"new"}`, now+3600, now, now)},
			{"iss as a custom claim where none is configured", SignerOptions{Custom: map[string]any{"iss": "c"}}, nil, `{"typ":"JWT","alg":"HS256"}`,
				fmt.Sprintf(`{"exp":%d,"iat":%d,"nbf":%d,"iss":"c"}`, now+3600, now, now)},
		} {
			c.o.Key = Key{Algorithm: "HS256", Format: PEM, Data: "secret"}
			s := newSigner(t, c.o)
			token, err := s.Token(c.further)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.Split(token, ".")
			header, _ := base64url.DecodeString(parts[0])
			payload, _ := base64url.DecodeString(parts[1])
			if string(header) != c.header || string(payload) != c.payload {
				t.Errorf("%s:\n%s %s\nwant\n%s %s", c.name, header, payload, c.header, c.payload)
			}
			if !reflect.DeepEqual(s.custom, c.o.Custom) {
				t.Errorf("%s: custom claims have become %v", c.name, s.custom)
			}
		}
	})
}

// A client's token for a connection has no claim pubkey, which upstream's leak: what an app shows to others is nothing to a node.
func TestConnectionsShowNoAppKey(t *testing.T) {
	s := newSigner(t, SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "secret"}, Subject: "s"})
	header, err := s.Authorization(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "secret"}})
	who, err := v.Verify(context.Background(), &auth.Shown{Authorization: header})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(who.Claims)); !slices.Equal(got, []string{"exp", "iat", "nbf", "sub"}) {
		t.Errorf("claims %v", got)
	}
}

func TestSignerFaults(t *testing.T) {
	rsa, ec := made(t, "RS256", 0), made(t, "ES256", 0)
	for _, c := range []struct {
		name string
		o    SignerOptions
		want string
	}{
		{"no algorithm", SignerOptions{Key: Key{Format: PEM, Data: "x"}}, `key.algorithm: there is no ""`},
		{"none", SignerOptions{Key: Key{Algorithm: "none", Format: PEM, Data: "x"}}, `key.algorithm: there is no "none"`},
		{"ES512", SignerOptions{Key: Key{Algorithm: "ES512", Format: PEM, Data: "x"}}, `key.algorithm`},
		{"no format", SignerOptions{Key: Key{Algorithm: "HS256", Data: "x"}}, `key.format: there is no ""`},
		{"jwk", SignerOptions{Key: Key{Algorithm: "HS256", Format: JWK, Data: "x"}}, `key.format: to sign with there is only pem, not jwk`},
		{"no key", SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM}}, `give either data or file`},
		{"two keys", SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "x", File: "y"}}, `give either data or file`},
		{"no file", SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM, File: "/nowhere/key"}}, `key.key /nowhere/key: no such file`},
		{"no PEM", SignerOptions{Key: Key{Algorithm: "RS256", Format: PEM, Data: "x"}}, `key.key: has no block of PEM`},
		{"a public key", SignerOptions{Key: Key{Algorithm: "RS256", Format: PEM, Data: rsa.public}}, `is a PUBLIC KEY, and to sign with RS256 there has to be a PRIVATE KEY`},
		{"a public key as a secret", SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: rsa.public}}, `everybody could sign with it`},
		{"EC for RSA", SignerOptions{Key: Key{Algorithm: "PS384", Format: PEM, Data: ec.private}}, `is an EC key, and PS384 wants an RSA key`},
		{"RSA for EC", SignerOptions{Key: Key{Algorithm: "ES256", Format: PEM, Data: rsa.private}}, `is an RSA key, and ES256 wants an EC key of curve P-256`},
		{"another curve", SignerOptions{Key: Key{Algorithm: "ES384", Format: PEM, Data: ec.private}}, `is a key of curve P-256, and ES384 wants`},
		{"P-521", SignerOptions{Key: Key{Algorithm: "ES384", Format: PEM, Data: made(t, "P-521", 0).private}}, `is a key of curve P-521`},
		{"Ed25519 for EC", SignerOptions{Key: Key{Algorithm: "ES256", Format: PEM, Data: made(t, "EdDSA", 0).private}}, `is an Ed25519 key, and ES256 wants`},
		{"exp as a custom claim", SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "x"}, Custom: map[string]any{"exp": 1}}, `claims.custom_claims: exp is made already`},
		{"sub twice", SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "x"}, Subject: "s", Custom: map[string]any{"sub": 1}}, `claims.custom_claims: sub is made already`},
		{"what JSON lacks", SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "x"}, Custom: map[string]any{"f": func() {}}}, `claims.custom_claims: f cannot be sent`},
	} {
		s, err := NewSigner(c.o)
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", c.name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "MII") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: the error shows the key: %v", c.name, err)
		}
	}
	s := newSigner(t, SignerOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "x"}, Issuer: "i"})
	for _, name := range []string{"exp", "iat", "nbf", "iss"} {
		if _, err := s.Token(map[string]any{name: "x"}); err == nil {
			t.Errorf("the claim %s is there twice", name)
		}
	}
	if _, err := s.Token(map[string]any{"x": strings.Repeat("x", 16<<10)}); err == nil || !strings.Contains(err.Error(), "no listener takes more") {
		t.Errorf("a token that no listener takes: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authorization(context.Background()); err == nil {
		t.Error("it signs after Close")
	}
}

// Every algorithm's tokens are verified with its key, whatever the format, and with no other key or algorithm: also not with
// the public key's own bytes as a secret.
func TestAlgorithms(t *testing.T) {
	all := jose.Names()
	list := []map[string]any{}
	ones := map[string]*Verifier{}
	for _, name := range all {
		p := made(t, name, 0)
		key := Key{Algorithm: name, Format: PEM, Data: p.public}
		ones[name] = newVerifier(t, VerifierOptions{Key: key})
		if strings.HasPrefix(name, "HS") {
			list = append(list, map[string]any{"kty": "oct", "k": base64url.EncodeToString([]byte(p.private)), "alg": name})
		} else {
			list = append(list, jwkOf(t, p.public, map[string]any{"alg": name}))
		}
		b, err := json.Marshal(list[len(list)-1])
		if err != nil {
			t.Fatal(err)
		}
		ones[name+" of a JWK"] = newVerifier(t, VerifierOptions{Key: Key{Algorithm: name, Format: JWK, Data: string(b)}})
	}
	set := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: JWKS, Data: jwks(t, list...)}})
	for _, name := range all {
		token := signed(t, name, made(t, name, 0).private, SignerOptions{Issuer: "i"})
		if got, why := status(t, set, "Bearer "+token); got != http.StatusOK {
			t.Errorf("%s by a list: %d %s", name, got, why)
		}
		for of, v := range ones {
			want := http.StatusUnauthorized
			if strings.TrimSuffix(of, " of a JWK") == name {
				want = http.StatusOK
			}
			if got, why := status(t, v, "Bearer "+token); got != want {
				t.Errorf("%s by a verifier of %s: %d %s", name, of, got, why)
			}
		}
		other := signed(t, name, made(t, name, 1).private, SignerOptions{Issuer: "i"})
		for _, v := range []*Verifier{set, ones[name]} {
			if got, _ := status(t, v, "Bearer "+other); got != http.StatusUnauthorized {
				t.Errorf("%s of another key: %d", name, got)
			}
		}
	}
	// The public key as an HMAC secret, as it stands, and without its line end.
	for _, name := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		public := made(t, name, 0).public
		for _, secret := range []string{public, strings.TrimSpace(public)} {
			forged := hs256(`{"alg":"HS256"}`, fmt.Sprintf(`{"iss":"i","exp":%d}`, time.Now().Unix()+100), secret)
			for of, v := range map[string]*Verifier{"one": ones[name], "list": set} {
				if got, _ := status(t, v, "Bearer "+forged); got != http.StatusUnauthorized {
					t.Errorf("HS256 with the public key of %s passes %s", name, of)
				}
			}
		}
	}
}

// Upstream sees a key file that is written in place, nothing else, and a bad one ends its watching for good.
func TestSignerTakesNewKeysHoweverTheyCome(t *testing.T) {
	for _, r := range replacements {
		t.Run(r.name, func(t *testing.T) {
			old, other := made(t, "ES256", 0), made(t, "ES256", 1)
			path := place(t, strings.Contains(r.name, "link"), old.private)
			var told notices
			s := newSigner(t, SignerOptions{Key: Key{Algorithm: "ES256", Format: PEM, File: path}, Watch: quick(&told)})
			by := func(p pair) bool {
				v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "ES256", Format: PEM, Data: p.public}})
				header, err := s.Authorization(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				got, _ := status(t, v, header)
				return got == http.StatusOK
			}
			if !by(old) {
				t.Fatal("the first key does not sign")
			}
			r.replace(t, path, old.private[:100]) // as if somebody were in the middle of writing, and stayed there
			until(t, "the fault is told", func() bool { return told.some(path, "has no block of PEM") })
			if s.Loads().Failures == 0 || s.Loads().Fault == nil || !by(old) {
				t.Errorf("with a bad file: %+v; by the old key %v", s.Loads(), by(old))
			}
			write(t, path, other.private)
			until(t, "the new key is told", func() bool { return told.some(path, "changed=true") })
			if !by(other) || by(old) || s.Loads().Fault != nil {
				t.Errorf("after the new key: %+v", s.Loads())
			}
		})
	}
}
