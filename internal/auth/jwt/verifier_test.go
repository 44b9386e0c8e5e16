package jwt

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// headerRows are values of the header `authorization` with a token that is right (P-jwt-4). Upstream's listener answers the same.
func headerRows(token string) []struct {
	name, header string
	want         int
} {
	return []struct {
		name, header string
		want         int
	}{
		{"Bearer", "Bearer " + token, 200}, {"small letters", "bearer " + token, 200}, {"capitals", "BEARER " + token, 200},
		{"spaces", "Bearer    " + token, 200}, {"a tab", "Bearer\t" + token, 401}, {"no space", "Bearer" + token, 401},
		{"no header", "", 401}, {"no token", "Bearer", 401}, {"another scheme", "Basic " + token, 401}, {"no scheme", token, 401},
		{"more behind", "Bearer " + token + " x", 401}, {"two parts", "Bearer " + token[:strings.LastIndexByte(token, '.')], 401},
		{"four parts", "Bearer " + token + ".x", 401}, {"five parts", "Bearer " + token + ".x.x", 401}, {"a dot behind", "Bearer " + token + ".", 401},
		{"no signature", "Bearer " + token[:strings.LastIndexByte(token, '.')+1], 401}, {"padding", "Bearer " + token + "=", 401},
		{"stray bits", "Bearer " + stray(token), 401},
	}
}

// stray returns a token whose last character has bits that are no part of the signature.
func stray(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	return token[:last] + string(alphabet[strings.IndexByte(alphabet, token[last])^1])
}

func TestHeaders(t *testing.T) {
	token := signed(t, "HS256", secrets["a"], SignerOptions{})
	for _, r := range headerRows(token) {
		v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}})
		if got, why := status(t, v, r.header); got != r.want {
			t.Errorf("%s: %d (%s), want %d", r.name, got, why, r.want)
		}
	}
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}})
	if !v.QueryToken() {
		t.Error("a WebSocket's query does not count")
	}
	for _, c := range []struct {
		name, token string
		want        Reason
	}{
		{"a line end", token[:20] + "\n" + token[20:], Malformed},
		{"16 KiB and one", strings.Repeat("x", auth.MaxAuthorization+1), TooLarge},
		{"many dots", strings.Repeat(".", auth.MaxAuthorization), Malformed},
		{"none", hs256(`{"alg":"none"}`, `{"exp":99999999999}`, ""), BadAlgorithm},
	} {
		before := v.Stats().Denied[c.want]
		if _, err := v.VerifyToken(context.Background(), c.token); err == nil || v.Stats().Denied[c.want] != before+1 {
			t.Errorf("%s: %v; counts %v", c.name, err, v.Stats().Denied)
		}
	}
}

// A token that is denied tells the audit log whose it claims to be, and nothing of itself.
func TestDeniedSaysWho(t *testing.T) {
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}})
	token := signed(t, "HS256", secrets["b"], SignerOptions{Issuer: "i", Subject: "s"})
	_, err := v.VerifyToken(context.Background(), token)
	var d *auth.Denied
	if !errors.As(err, &d) || d.Subject != "s" || d.Issuer != "i" || strings.Contains(d.Reason, token[:20]) {
		t.Errorf("denied as %+v", d)
	}
	who, err := v.VerifyToken(context.Background(), signed(t, "HS256", secrets["a"], SignerOptions{Issuer: "i", Subject: "s"}))
	if err != nil || who.Subject != "s" || who.Issuer != "i" || who.Mechanism != auth.JWT || time.Until(who.Expires) < 59*time.Minute {
		t.Fatalf("%+v, %v", who, err)
	}
	if text := fmt.Sprintf("%v %+v %#v", who, who, who.Proof); strings.Contains(text, "eyJ") {
		t.Errorf("the token can be read in %s", text)
	}
	if text := fmt.Sprintf("%v %+v %#v", v.o, v.o, v.o); strings.Contains(text, "secret of a") {
		t.Errorf("the secret can be read in %s", text)
	}
}

func TestVerifierFaults(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	rsaPublic, ecPrivate := made(t, "RS256", 0).public, made(t, "ES256", 0).private
	key := func(algorithm, format, data string) VerifierOptions {
		return VerifierOptions{Key: Key{Algorithm: algorithm, Format: format, Data: data}}
	}
	strict := func(o VerifierOptions) VerifierOptions { o.Strict = true; return o }
	with := func(o VerifierOptions, audience, issuer string) VerifierOptions {
		o.Audience, o.Issuer = strings.Fields(audience), issuer
		return o
	}
	for _, c := range []struct {
		name string
		o    VerifierOptions
		want string
	}{
		{"nothing", VerifierOptions{}, `key.algorithm: there is no ""`},
		{"no file", VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, File: "/nowhere/k"}}, "key.key /nowhere/k: no such file"},
		{"empty secret", key("HS256", PEM, ""), "give either data or file, and not empty"},
		{"a private key", key("ES256", PEM, ecPrivate), "is a PRIVATE KEY, and to verify ES256 there has to be a PUBLIC KEY: `openssl"},
		{"of another kind", key("ES256", PEM, rsaPublic), "is an RSA key, and ES256 wants an EC key of curve P-256"},
		{"a public key as a secret", key("HS512", PEM, rsaPublic), "everybody could sign with it"},
		{"RSA of 1024 bits", key("RS256", PEM, pemOf(t, small.Public())), "is an RSA key of 1024 bits: make one of 2048 to 8192"},
		{"garbage in PEM", key("RS256", PEM, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}))), "is no PUBLIC KEY"},
		{"no JWK", key("ES256", JWK, "x"), "is no JWK"},
		{"a JWK of another kind", key("ES256", JWK, `{"kty":"oct","k":"c2VjcmV0"}`), "is a secret, and ES256 wants"},
		{"an RSA key as HMAC's JWK", key("HS256", JWK, `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), "is an Ed25519 key, and HS256 wants a secret"},
		{"no JWKS", key("ES256", JWKS, `{"keys":5}`), "is no JWKS"},
		{"a JWK for a JWKS", key("ES256", JWKS, `{"kty":"oct","k":"c2VjcmV0"}`), "is no JWKS"},
		{"too many keys", key("ES256", JWKS, `{"keys":[`+strings.Repeat(`{"kty":"oct"},`, maxListedKeys)+`{"kty":"oct"}]}`), "has 4097 keys, and at most 4096"},
		{"binding", VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "x"}, Binding: "Enforce"}, `subject_binding: there is no "Enforce": it is off, warn or enforce`},
		{"strict, no audience", strict(with(key("HS256", PEM, secrets["a"]), "", "i")), "claims.audience: strict"},
		{"strict, no issuer", strict(with(key("HS256", PEM, secrets["a"]), "a", "")), "claims.issuer: strict"},
		{"strict, short secret", strict(with(key("HS384", PEM, secrets["a"]), "a", "i")), "is a secret of 33 bytes, and strict authentication wants 48 or more for HS384"},
		{"strict, no list of issuers", strict(VerifierOptions{Resolve: true, Audience: []string{"a"}}), "claims.issuer: strict"},
		{"strict, http", strict(VerifierOptions{Resolve: true, Audience: []string{"a"}, Issuer: "http://idp.example"}), "claims.issuer: http://idp.example is not https"},
		{"strict, one of two by http", strict(VerifierOptions{Resolve: true, Audience: []string{"a"}, Issuer: "https://idp.example", Issuers: []string{"http://b.example"}}), "http://b.example is not https"},
		{"an issuer without a URL", VerifierOptions{Resolve: true, Issuer: "slim"}, `claims.issuer: "slim": the claim iss is no URL`},
		{"an issuer with a query", VerifierOptions{Resolve: true, Issuer: "https://a/?x"}, "more than scheme, host and path"},
	} {
		v, err := NewVerifier(c.o)
		if err == nil {
			_ = v.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "MII") {
			t.Errorf("%s: error %v, want %q in it", c.name, err, c.want)
		}
	}
}

// Keys that work but are not as they should be are said.
func TestWarningsAboutKeys(t *testing.T) {
	ed := made(t, "EdDSA", 0)
	edJWK := jwks(t, jwkOf(t, ed.private, map[string]any{"alg": "EdDSA"}))
	one := strings.TrimSuffix(strings.TrimPrefix(edJWK, `{"keys":[`), `]}`)
	for _, c := range []struct {
		name string
		o    VerifierOptions
		want string // "": nothing
	}{
		{"a good secret", VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}}, ""},
		{"a short secret", VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: "secret"}}, "this secret has 6 bytes"},
		{"a line end", VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"] + "\n"}}, "ends with a line end"},
		{"a private JWK", VerifierOptions{Key: Key{Algorithm: "EdDSA", Format: JWK, Data: one}}, "is a private key"},
		{"a list without keys", VerifierOptions{Key: Key{Algorithm: "EdDSA", Format: JWKS, Data: `{"keys":[]}`}}, "everybody is refused"},
		{"a key without alg", VerifierOptions{Key: Key{Algorithm: "EdDSA", Format: JWKS, Data: jwks(t, jwkOf(t, ed.public, nil))}}, "keys[0] verifies nothing: it has no `alg`"},
		{"a key of an unknown kind", VerifierOptions{Key: Key{Algorithm: "EdDSA", Format: JWKS, Data: `{"keys":[{"kty":"zz","alg":"EdDSA"}]}`}}, "keys[0] verifies nothing"},
		{"what is no key", VerifierOptions{Key: Key{Algorithm: "EdDSA", Format: JWKS, Data: `{"keys":[5]}`}}, "keys[0] verifies nothing: it is no JWK"},
		{"binding without a list", VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}, Binding: "enforce"}, "subject_binding"},
		{"anybody's keys", VerifierOptions{Resolve: true}, "set claims.issuer"},
		{"http", VerifierOptions{Resolve: true, Issuer: "http://idp.example"}, "http://idp.example is not https"},
		{"http here", VerifierOptions{Resolve: true, Issuer: "http://127.0.0.1:1"}, ""},
		{"https", VerifierOptions{Resolve: true, Issuer: "https://idp.example"}, ""},
	} {
		var told notices
		c.o.Told = told.tell
		newVerifier(t, c.o)
		if c.want == "" && told.len() > 0 || c.want != "" && !told.some(c.want) {
			t.Errorf("%s: told %v, want %q", c.name, &told, c.want)
		}
	}
}

// PKCS #1 and SEC 1, and what OpenSSL writes before an EC key.
func TestOlderFormsOfPEM(t *testing.T) {
	r, _ := pem.Decode([]byte(made(t, "RS256", 0).private))
	k, err := x509.ParsePKCS8PrivateKey(r.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := k.(*rsa.PrivateKey)
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	public := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)}))
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "RS256", Format: PEM, Data: public}})
	if got, why := status(t, v, "Bearer "+signed(t, "RS256", private, SignerOptions{})); got != http.StatusOK {
		t.Errorf("PKCS #1: %d %s", got, why)
	}
	b, _ := pem.Decode([]byte(made(t, "ES256", 0).private))
	if k, err = x509.ParsePKCS8PrivateKey(b.Bytes); err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(k.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	private = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" +
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))
	v = newVerifier(t, VerifierOptions{Key: Key{Algorithm: "ES256", Format: PEM, Data: made(t, "ES256", 0).public}})
	if got, why := status(t, v, "Bearer "+signed(t, "ES256", private, SignerOptions{})); got != http.StatusOK {
		t.Errorf("SEC 1: %d %s", got, why)
	}
}

// Strict authentication demands what upstream does not (P-jwt-14); the first column is what there is without it.
func TestStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // some are good in a moment
		now := time.Now().Unix()
		claims := func(s string) string { return fmt.Sprintf(s, now+10_000) }
		for _, c := range []struct {
			name, header, payload string
			lenient, strict       int
			reason                Reason
		}{
			{"all there", `{"alg":"HS256"}`, claims(`{"iss":"i","aud":"a","sub":"s","exp":%d}`), 200, 200, 0},
			{"no aud", `{"alg":"HS256"}`, claims(`{"iss":"i","sub":"s","exp":%d}`), 200, 401, BadAudience},
			{"no iss", `{"alg":"HS256"}`, claims(`{"aud":"a","sub":"s","exp":%d}`), 200, 401, BadIssuer},
			{"another sub", `{"alg":"HS256"}`, claims(`{"iss":"i","aud":"a","sub":"x","exp":%d}`), 200, 401, BadSubject},
			{"no sub", `{"alg":"HS256"}`, claims(`{"iss":"i","aud":"a","exp":%d}`), 200, 401, BadSubject},
			{"crit", `{"alg":"HS256","crit":["x"]}`, claims(`{"iss":"i","aud":"a","sub":"s","exp":%d}`), 200, 401, Malformed},
			{"nbf in 50 s", `{"alg":"HS256"}`, fmt.Sprintf(`{"iss":"i","aud":"a","sub":"s","exp":%d,"nbf":%d}`, now+10_000, now+50), 200, 200, 0},
			{"nbf in 80 s", `{"alg":"HS256"}`, fmt.Sprintf(`{"iss":"i","aud":"a","sub":"s","exp":%d,"nbf":%d}`, now+10_000, now+80), 200, 401, NotYet},
			{"iat in 80.5 s", `{"alg":"HS256"}`, fmt.Sprintf(`{"iss":"i","aud":"a","sub":"s","exp":%d,"iat":%d.5}`, now+10_000, now+80), 200, 401, NotYet},
			{"nbf a text", `{"alg":"HS256"}`, claims(`{"iss":"i","aud":"a","sub":"s","exp":%d,"nbf":"x"}`), 200, 401, Malformed},
		} {
			for _, strict := range []bool{false, true} {
				v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}, Issuer: "i", Subject: "s",
					Audience: []string{"a"}, Strict: strict})
				want := c.lenient
				if strict {
					want = c.strict
				}
				got, why := status(t, v, "Bearer "+hs256(c.header, c.payload, secrets["a"]))
				if got != want || want != 200 && v.Stats().Denied[c.reason] != 1 {
					t.Errorf("%s, strict %v: %d (%s), want %d; counts %v", c.name, strict, got, why, want, v.Stats().Denied)
				}
			}
		}
		short := `{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}]}`
		v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: JWKS, Data: short}, Issuer: "i", Audience: []string{"a"}, Strict: true})
		if got, _ := status(t, v, "Bearer "+hs256(`{"alg":"HS256"}`, claims(`{"iss":"i","aud":["a"],"exp":%d}`), "secret")); got != 401 {
			t.Errorf("a short secret in a list: %d", got)
		}
	})
}

// Tokens live a minute longer than they say, in whole seconds, as upstream (P-jwt-10).
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}})
		token := signed(t, "HS256", secrets["a"], SignerOptions{})
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{0, 200}, {Life, 200}, {Life + leeway, 200}, {Life + leeway + 999*time.Millisecond, 200}, {Life + leeway + time.Second, 401}} {
			begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
			time.Sleep(c.after - time.Since(begin))
			if got, why := status(t, v, "Bearer "+token); got != c.want {
				t.Errorf("after %v: %d (%s), want %d", c.after, got, why, c.want)
			}
		}
	})
}

// flag is a policy that says no, or nothing, and tells when that changes.
type flag struct {
	err     error
	changed chan struct{}
	seen    map[string]any
	asked   int
}

func (f *flag) Allow(_ context.Context, claims map[string]any) error { f.seen = claims; return f.err }

func (f *flag) Changed() <-chan struct{} {
	if f.asked++; f.asked > 1 {
		return nil
	}
	return f.changed
}

// A policy that says no, or fails, is 403, whatever the cache knows; it sees all claims.
func TestPolicy(t *testing.T) {
	p := &flag{changed: make(chan struct{})}
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}, Policy: p})
	token := signed(t, "HS256", secrets["a"], SignerOptions{Subject: "s", Custom: map[string]any{"groups": []any{"g"}}})
	who, err := v.VerifyToken(context.Background(), token)
	if err != nil || p.seen["sub"] != "s" || fmt.Sprint(p.seen["groups"]) != "[g]" || len(p.seen) != 5 {
		t.Fatalf("%v; the policy has seen %v", err, p.seen)
	}
	p.err = errors.New("no such group")
	_, err = v.VerifyToken(context.Background(), token)
	var d *auth.Denied
	if !errors.As(err, &d) || d.Status != http.StatusForbidden || d.Subject != "s" || !strings.Contains(d.Reason, "no such group") {
		t.Errorf("denied as %+v", d)
	}
	if err := v.Again(context.Background(), who); !errors.As(err, &d) || d.Status != http.StatusForbidden {
		t.Errorf("again: %v", err)
	}
	if s := v.Stats(); s.Denied[BadPolicy] != 2 || s.Verified != 1 || s.Hits != 1 {
		t.Errorf("counts %+v", s)
	}
	// Whoever is in is judged again when the policy has changed.
	changed := v.Changed()
	close(p.changed)
	<-changed
	if err := v.Close(); err != nil || p.asked != 2 {
		t.Errorf("%v; the policy was asked %d times what its next change is, want once after one", err, p.asked-1)
	}
}

// Reload has files looked at, and says so though nothing has changed.
func TestReloadIsTold(t *testing.T) {
	secret, token := place(t, false, secrets["a"]), place(t, false, "a.b.c")
	private := place(t, false, made(t, "ES256", 0).private)
	var told notices
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, File: secret}, Watch: quick(&told)})
	s := newSigner(t, SignerOptions{Key: Key{Algorithm: "ES256", Format: PEM, File: private}, Watch: quick(&told)})
	f, err := NewStaticFile(token, quick(&told))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for path, x := range map[string]interface{ Reload() }{secret: v, private: s, token: f} {
		x.Reload()
		until(t, path+" was looked at", func() bool { return told.some(path, "changed=false") })
	}
}

// Who was let in is judged by the keys of now, and not by the time.
func TestAgain(t *testing.T) {
	path := place(t, false, secrets["a"])
	var told notices
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, File: path}, Watch: quick(&told)})
	expiring := hs256(`{"alg":"HS256"}`, fmt.Sprintf(`{"exp":%d}`, time.Now().Unix()-30), secrets["a"])
	who, err := v.VerifyToken(context.Background(), expiring)
	if err != nil {
		t.Fatal(err)
	}
	old := *who
	old.Expires = time.Time{}
	if err := v.Again(context.Background(), &old); err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	changed := v.Changed()
	write(t, path, secrets["b"])
	<-changed
	var d *auth.Denied
	if err := v.Again(context.Background(), who); !errors.As(err, &d) || d.Status != http.StatusUnauthorized {
		t.Errorf("with another key: %v", err)
	}
	changed = v.Changed()
	write(t, path, secrets["a"])
	<-changed
	if err := v.Again(context.Background(), who); err != nil {
		t.Errorf("with the key back: %v", err)
	}
	if err := v.Again(context.Background(), &auth.Identity{Mechanism: auth.Basic}); err == nil {
		t.Error("somebody without a token passes")
	}
}

// A token long expired, of a connection that lives on, is judged again by its key alone.
func TestAgainForgivesExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}})
		token := signed(t, "HS256", secrets["a"], SignerOptions{})
		who, err := v.VerifyToken(context.Background(), token)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if got, _ := status(t, v, "Bearer "+token); got != 401 {
			t.Errorf("a new request with it: %d", got)
		}
		if err := v.Again(context.Background(), who); err != nil {
			t.Errorf("a connection that lives on: %v", err)
		}
	})
}

func TestClosedVerifierDenies(t *testing.T) {
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: PEM, Data: secrets["a"]}})
	token := signed(t, "HS256", secrets["a"], SignerOptions{})
	if got, _ := status(t, v, "Bearer "+token); got != 200 {
		t.Fatal(got)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := status(t, v, "Bearer "+token); got != 503 || v.Stats().Denied[Closed] != 1 {
		t.Errorf("after Close: %d", got)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("%d is %q", r, r)
		}
		seen[r.String()] = true
	}
}
