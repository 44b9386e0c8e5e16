package jwt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Whatever a client shows, the answer is an identity that was signed, or a denial of ours.
func FuzzToken(f *testing.F) {
	_, rows := readRows(f)
	for _, r := range rows {
		f.Add("Bearer " + r.token(time.Unix(1<<32, 0)))
	}
	for _, a := range algorithms {
		f.Add("bearer  " + signed(f, a.name, made(f, a.name, 0).private, SignerOptions{Subject: "s"}))
	}
	f.Add("Bearer ..")
	f.Add("Bearer " + strings.Repeat("e30.", 3))
	list := []map[string]any{{"kty": "oct", "kid": "h", "alg": "HS256", "k": base64url.EncodeToString([]byte(secrets["a"]))}}
	for _, a := range algorithms[3:] {
		list = append(list, jwkOf(f, made(f, a.name, 0).public, map[string]any{"alg": a.name}))
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

// What is read of JSON is what encoding/json reads, or nothing.
func FuzzObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":{"b":[1,"x",true,{}]},"c":1.5e3}`, `{"a":1,"a":2}`, `{"a":null}`, `[]`, `{"a":"\ud800"}`, `{"a":"\ud83d\ude00"}`,
		`{"a":1}{}`, `{"a":1e999}`, ` {"a" : [ ] } `, `{"a":"\\ud800"}`, `{"a":1,}`, `{"a":[1,]}`, `{"a":}`, `{"a"}`, `{"a" 1}`, `{"a":1]`, "{\"a\":\"\xff\"}", strings.Repeat(`{"a":`, 70)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, n, err := decodeObject(b, true)
		if err != nil {
			if m != nil {
				t.Error("an error, and something else")
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(m, want) {
			t.Errorf("%q is read as %v, want %v (%v)", b, m, want, err)
		}
		if n > maxNodes {
			t.Errorf("%d values", n)
		}
		if _, _, err := decodeObject(b, false); err != nil && !bytes.Contains(b, []byte("null")) {
			t.Errorf("without nulls %q: %v", b, err)
		}
	})
}

// Whatever an issuer sends as keys, those which are taken verify with what fits them.
func FuzzKeys(f *testing.F) {
	var all []map[string]any
	for _, a := range algorithms[3:] {
		k := jwkOf(f, made(f, a.name, 0).public, map[string]any{"alg": a.name, "kid": a.name})
		all = append(all, k)
		f.Add([]byte(jwks(f, k)))
		f.Add([]byte(jwks(f, jwkOf(f, made(f, a.name, 0).private, map[string]any{"alg": a.name, "use": "sig"}))))
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
				if k.alg == nil || k.alg.fits(k.public) != nil || fetched && k.alg.secret > 0 {
					t.Errorf("%+v verifies", k)
				}
				if k.alg.verify(k.public, []byte("text"), []byte("signature")) {
					t.Error("anything is a signature")
				}
			}
		}
	})
}
