package oidc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/fetch"
	"github.com/seed31b3bfd0/slimgo/internal/auth/strict"
)

// FuzzProvider has everything that comes from a provider be anything: discovery document, keys, userinfo, the token endpoint's
// answer. No panic, a verdict that a peer understands, and no token lets anybody in that no key has signed.
func FuzzProvider(f *testing.F) {
	k := newSigner("a", "ES256", "p256")
	document := string(must(json.Marshal(map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys", "token_endpoint": issuer + "/token",
		"userinfo_endpoint": issuer + "/me"})))
	set := func(keys ...map[string]any) string { return string(must(json.Marshal(map[string]any{"keys": keys}))) }
	f.Add(document, set(k.jwk(nil)), `{"role":"x"}`, `{"access_token":"AT","expires_in":3600,"refresh_token":"R"}`)
	f.Add(document, set(must2(newSigner("a", "RS256", "rsa")), newSigner("b", "EdDSA", "ed").jwk(nil)), `null`, `{"error":"invalid_grant"}`)
	f.Add(strings.Replace(document, "https", "http", 1), `{"keys":null}`, `[`, `{"access_token":1}`)
	f.Add(`{"issuer":"https://idp.example/","jwks_uri":"https://idp.example:443/keys"}`, `{"keys":[{"kty":"oct","k":"AQID","kid":"a"}]}`, `{"sub":1}`,
		`{"access_token":"a","expires_in":-1}`)
	f.Add(`{"issuer":"https://idp.example","jwks_uri":"https://idp.example/keys?%zz"}`, `{"keys":[{"kty":"EC","crv":"P-256","x":"","y":"","kid":"a"},{}]}`,
		`{}`, `access_token=x`)
	f.Fuzz(func(t *testing.T, document, keys, info, answer string) {
		w := &web{on: map[string]http.HandlerFunc{}, asked: map[string]int{}}
		for path, text := range map[string]string{"/.well-known/openid-configuration": document, "/keys": keys, "/me": info, "/token": answer} {
			w.handle(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
		}
		v, err := newVerifier(VerifierOptions{Issuer: issuer, Audience: "slim"}, w.client(), w.client())
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		// Nobody has this key but the test; a set that has it was a seed.
		who, err := v.Verify(t.Context(), show(k.token(claims(nil), nil)))
		if err == nil && !strings.Contains(keys, strings.Trim(k.jwk(nil)["x"].(string), "=")) && who.Subject == "node" {
			t.Errorf("let in with the keys %q", keys)
		}
		if err != nil {
			verdict(t, err)
		}
		c := w.client()
		defer c.Close()
		r, err := c.PostForm(t.Context(), issuer+"/token", "", url.Values{})
		if err != nil {
			return
		}
		if got, err := readToken(r, time.Unix(1000, 0)); err == nil && (checkToken(got.access) != nil || got.expires.Before(time.Unix(1000, 0))) {
			t.Errorf("token %+v", got)
		}
	})
}

// FuzzToken has a token be anything. What is read of it is what encoding/json reads, and no stranger is let in.
func FuzzToken(f *testing.F) {
	k := newSigner("a", "ES256", "p256")
	good := k.token(claims(nil), nil)
	f.Add("Bearer " + good)
	f.Add("bearer  " + k.raw(`{"alg":"ES256","kid":"a"}`, `{"exp":1e9,"a":[{"b":null}],"a":1}`))
	f.Add("Bearer " + k.raw(`{"alg":"none"}`, `{}`))
	f.Add("Bearer a.b.c.d")
	f.Add("Basic eDp5")
	w := newWeb()
	w.publish(newSigner("a", "ES384", "p384").jwk(nil), newSigner("b", "RS256", "rsa").jwk(nil))
	v, err := newVerifier(VerifierOptions{Issuer: issuer, Audience: "slim", ClaimsLife: time.Hour}, w.client(), w.client())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = v.Close() })
	f.Fuzz(func(t *testing.T, header string) {
		if _, err := v.Verify(t.Context(), &auth.Shown{Authorization: header}); err == nil {
			t.Errorf("%q is let in", header)
		} else {
			verdict(t, err)
		}
		s, ok := strict.Bearer(header)
		if !ok || len(s) > auth.MaxAuthorization {
			return
		}
		j, err := parseJWS(s)
		if err != nil {
			return
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(s, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(payload))
		d.UseNumber()
		var twin map[string]any
		if err := d.Decode(&twin); err != nil {
			t.Fatalf("encoding/json does not read %q: %v", payload, err)
		}
		if got, want := must(json.Marshal(j.claims)), must(json.Marshal(twin)); !bytes.Equal(got, want) {
			t.Errorf("read %s, want %s", got, want)
		}
	})
}

var _ asker = (*fetch.Client)(nil)
