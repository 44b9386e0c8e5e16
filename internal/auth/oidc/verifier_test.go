package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

func TestVerifierOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		o    VerifierOptions
		want string
	}{
		{"in the clear", VerifierOptions{Issuer: "http://idp.example", Audience: "slim"}, "OIDC issuer URL must use https"},
		{"no URL", VerifierOptions{Issuer: "idp", Audience: "slim"}, `issuer_url "idp" is no URL`},
		{"no issuer", VerifierOptions{Audience: "slim"}, "issuer_url"},
		{"no audience", VerifierOptions{Issuer: issuer}, "audience required"},
	} {
		if _, err := NewVerifier(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	for _, local := range []string{"http://localhost:9000", "http://127.0.0.1:9000/realm", "http://[::1]:9000"} {
		v, err := NewVerifier(VerifierOptions{Issuer: local, Audience: "slim"})
		if err != nil {
			t.Errorf("%s: %v", local, err)
			continue
		}
		_ = v.Close()
	}
}

// The claims of a token, as upstream judges them (auth table of its verifier), with the issuer compared to the last slash.
func TestClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "RS256", "rsa")
		w.publish(k.jwk(nil))
		v := w.verifier(t, VerifierOptions{})
		now := time.Now().Unix()
		for _, c := range []struct {
			name string
			more map[string]any
			want string
		}{
			{"as they should be", nil, "ok"},
			{"exp missing", map[string]any{"exp": nil}, "401 the token's exp"},
			{"exp a text", map[string]any{"exp": fmt.Sprint(now + 100)}, "401 the token's exp"},
			{"exp with a fraction", map[string]any{"exp": float64(now) + 100.5}, "401 the token's exp"},
			{"exp negative", map[string]any{"exp": -1}, "401 the token's exp"},
			{"exp beyond everything", map[string]any{"exp": json.Number("99999999999999999999999")}, "401 the token's exp"},
			{"expired within the leeway", map[string]any{"exp": now - 60}, "ok"},
			{"expired", map[string]any{"exp": now - 61}, "401 the token has expired 1m1s ago"},
			{"nbf and iat in the future", map[string]any{"nbf": now + 3600, "iat": now + 3600}, "ok"},
			{"aud of another", map[string]any{"aud": "x"}, "401 the token is for others"},
			{"aud a list with ours", map[string]any{"aud": []string{"x", "slim"}}, "ok"},
			{"aud a list without", map[string]any{"aud": []string{"x"}}, "401 the token is for others"},
			{"aud an empty list", map[string]any{"aud": []string{}}, "401 the token is for others"},
			{"aud a number", map[string]any{"aud": 1}, "401 the token is for others"},
			{"aud missing", map[string]any{"aud": nil}, "ok"},
			{"iss of another", map[string]any{"iss": "https://other.example"}, "401 the token is of another issuer"},
			{"iss with a slash", map[string]any{"iss": issuer + "/"}, "401 the token is of another issuer"},
			{"iss missing", map[string]any{"iss": nil}, "ok"},
			{"iss a list", map[string]any{"iss": []string{issuer}}, "ok"},
			{"sub missing", map[string]any{"sub": nil}, "ok"},
			{"a key of an app", map[string]any{"pubkey": "AQID"}, "ok"},
		} {
			if got := judge(t, v, k.token(claims(c.more), nil)); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
		for _, c := range []struct{ name, payload, want string }{
			{"null", `{"exp":9999999999,"x":null}`, "null"},
			{"null inside", `{"exp":9999999999,"x":[{"y":null}]}`, "null"},
			{"a claim twice", `{"exp":1,"exp":9999999999}`, "a member is there twice"},
			{"a claim twice inside", `{"exp":9999999999,"x":{"a":1,"a":2}}`, "a member is there twice"},
			{"a list", `[]`, "no JSON object"},
			{"more than an object", `{"exp":9999999999}{}`, "more after the JSON object"},
			{"no JSON", `{"exp":`, "no JSON object"},
			{"no UTF-8", "{\"exp\":9999999999,\"x\":\"\xff\"}", "not UTF-8"},
			{"deep", `{"exp":9999999999,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "deep"},
			{"broad", `{"exp":9999999999,"x":[` + strings.Repeat("1,", 4200) + "1]}", "more than 4096 values"},
		} {
			if got := judge(t, v, k.raw(`{"alg":"RS256","kid":"a"}`, c.payload)); !strings.HasPrefix(got, "401 ") || !strings.Contains(got, c.want) {
				t.Errorf("%s: %s, want 401 and %q", c.name, got, c.want)
			}
		}
	})
}

func TestIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		v := w.verifier(t, VerifierOptions{})
		exp := time.Now().Add(time.Hour).Unix()
		who, err := v.Verify(t.Context(), &auth.Shown{Authorization: "bEARER   " + k.token(claims(map[string]any{"exp": exp, "n": int64(12345678901234567)}), nil)})
		if err != nil {
			t.Fatal(err)
		}
		if who.Mechanism != auth.OIDC || who.Subject != "node" || who.Issuer != issuer || who.Expires.Unix() != exp ||
			who.Claims["n"] != json.Number("12345678901234567") {
			t.Errorf("identity %+v", who)
		}
		if !v.QueryToken() {
			t.Error("a WebSocket's token in the query does not count")
		}
		_, err = v.Verify(t.Context(), show(k.token(claims(map[string]any{"aud": "x"}), nil)))
		var d *auth.Denied
		if !errors.As(err, &d) || d.Subject != "node" || d.Issuer != issuer || d.Challenge != "" {
			t.Errorf("denied: %+v", d)
		}
	})
}

// What is no good token is refused before the provider is asked for anything, where that can be.
func TestMalformedTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "RS256", "rsa")
		w.publish(k.jwk(nil))
		v := w.verifier(t, VerifierOptions{})
		good := k.token(claims(nil), nil)
		for _, c := range []struct{ name, header, want string }{
			{"nothing", "", "has no token"},
			{"another scheme", "Basic eDp5", "has no token"},
			{"no token", "Bearer ", "has no token"},
			{"no space", "Bearer" + good, "has no token"},
			{"huge", "Bearer " + strings.Repeat("a", auth.MaxAuthorization+1), "more than 16384 bytes"},
			{"opaque", "Bearer 2YotnFZFEjr1zCsicMWpAA", "no token of three parts"},
			{"encrypted", "Bearer a.b.c.d.e", "no token of three parts"},
			{"no base64url", "Bearer a.b!.c", "no base64url"},
			{"padding", "Bearer " + strings.Replace(good, ".", "=.", 1), "no base64url"},
			{"a line end", "Bearer " + strings.Replace(good, ".", "\n.", 1), "no base64url"},
			{"the header is no object", "Bearer " + k.raw(`[]`, `{}`), "its header"},
			{"kid is a number", "Bearer " + k.token(claims(nil), map[string]any{"kid": 1}), "kid is no text"},
			{"kid is empty", "Bearer " + k.token(claims(nil), map[string]any{"kid": ""}), "kid is no text"},
			{"alg none", "Bearer " + k.token(claims(nil), map[string]any{"alg": "none"}), `algorithm "none"`},
			{"alg missing", "Bearer " + k.token(claims(nil), map[string]any{"alg": nil}), `algorithm ""`},
			{"alg of HMAC", "Bearer " + k.token(claims(nil), map[string]any{"alg": "HS256"}), `algorithm "HS256"`},
			{"alg in lower case", "Bearer " + k.token(claims(nil), map[string]any{"alg": "rs256"}), `algorithm "rs256"`},
			{"alg huge", "Bearer " + k.token(claims(nil), map[string]any{"alg": strings.Repeat("x", 5000)}), "algorithm"},
		} {
			_, err := v.Verify(t.Context(), &auth.Shown{Authorization: c.header})
			if got := verdict(t, err); !strings.HasPrefix(got, "401 ") || !strings.Contains(got, c.want) || len(got) > 1000 {
				t.Errorf("%s: %s, want 401 and %q", c.name, got, c.want)
			}
		}
		if n := w.count("/keys"); n != 0 {
			t.Errorf("the provider was asked %d times", n)
		}
	})
}

// Which keys verify which tokens (P-oidc-8).
func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, r2, e, e3, ed := newSigner("r", "RS256", "rsa"), newSigner("r2", "PS384", "rsa2"), newSigner("e", "ES256", "p256"),
			newSigner("e3", "ES384", "p384"), newSigner("ed", "EdDSA", "ed")
		type keys = []map[string]any
		all := keys{r.jwk(nil), r2.jwk(map[string]any{"alg": "PS384", "use": "sig"}), e.jwk(nil), e3.jwk(nil), ed.jwk(nil)}
		private := map[string]any{}
		if err := json.Unmarshal(must(json.Marshal(must2(r))), &private); err != nil {
			t.Fatal(err)
		}
		// Whoever takes a public key for a secret would take this token.
		confused := hmacToken(r, "RS256", x509.MarshalPKCS1PublicKey(r.key.Public().(*rsa.PublicKey)))
		for _, c := range []struct {
			name  string
			keys  keys
			token string
			want  string
		}{
			{"RSA without alg is RS256", all, r.token(claims(nil), nil), "ok"},
			{"and nothing else", all, (&signer{"r", "PS256", r.key}).token(claims(nil), nil), "401 the token is not signed by the key"},
			{"PS384 by its alg", all, r2.token(claims(nil), nil), "ok"},
			{"and not RS256", all, (&signer{"r2", "RS256", r2.key}).token(claims(nil), nil), "401 the token is not signed by the key"},
			{"P-256", all, e.token(claims(nil), nil), "ok"},
			{"P-384 by its curve", all, e3.token(claims(nil), nil), "ok"},
			{"Ed25519", all, ed.token(claims(nil), nil), "ok"},
			{"crit and typ do not count", all, r.token(claims(nil), map[string]any{"typ": "at+jwt", "crit": []string{"x"}}), "ok"},
			{"another key's kid", all, r.token(claims(nil), map[string]any{"kid": "e"}), "401 the token is not signed by the key"},
			{"a secret that is public", all, confused, "401 the token is not signed by the key"},
			{"a key in the header is not looked at", keys{e.jwk(nil)}, r.token(claims(nil), map[string]any{"kid": "e", "jwk": r.jwk(nil)}),
				"401 the token is not signed by the key"},
			{"kid as a path", all, r.token(claims(nil), map[string]any{"kid": "../../r"}), `401 the provider has no key "../../r"`},
			{"no kid, one key", keys{e.jwk(nil)}, e.token(claims(nil), map[string]any{"kid": nil}), "ok"},
			{"no kid, several", all, e.token(claims(nil), map[string]any{"kid": nil}), "401 the token names no key, and the provider has 5"},
			{"a kid, and a key without", keys{e.jwk(map[string]any{"kid": nil})}, e.token(claims(nil), nil), `401 the provider has no key "e"`},
			{"two keys of one kid", keys{e3.jwk(map[string]any{"kid": "e"}), e.jwk(nil)}, e.token(claims(nil), nil), "ok"},
			{"a key for encryption", keys{e.jwk(map[string]any{"use": "enc"})}, e.token(claims(nil), nil), "401 the identity provider publishes no key"},
			{"a key for other work", keys{e.jwk(map[string]any{"key_ops": []string{"deriveKey"}})}, e.token(claims(nil), nil),
				"401 the identity provider publishes no key"},
			{"a key for this work", keys{e.jwk(map[string]any{"key_ops": []string{"verify"}})}, e.token(claims(nil), nil), "ok"},
			{"a private key", keys{private}, r.token(claims(nil), nil), "401 the identity provider publishes no key"},
			{"a secret", keys{{"kty": "oct", "k": "AQID", "kid": "r"}}, r.token(claims(nil), nil), "401 the identity provider publishes no key"},
			{"a short RSA key", keys{newSigner("r", "RS256", "rsa1024").jwk(nil)}, newSigner("r", "RS256", "rsa1024").token(claims(nil), nil),
				"401 the identity provider publishes no key"},
			{"P-521", keys{newSigner("r", "ES256", "p521").jwk(nil)}, r.token(claims(nil), nil), "401 the identity provider publishes no key"},
			{"alg of another kind", keys{e.jwk(map[string]any{"alg": "RS256"})}, e.token(claims(nil), nil), "401 the identity provider publishes no key"},
			{"bad keys beside a good one", keys{{"kty": "x"}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ", "kid": "e"}, r.jwk(nil)},
				r.token(claims(nil), nil), "ok"},
			{"none", keys{}, r.token(claims(nil), nil), "401 the identity provider publishes no key"},
		} {
			w := newWeb()
			w.publish(c.keys...)
			v := w.verifier(t, VerifierOptions{})
			if got := judge(t, v, c.token); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			_ = v.Close()
		}
		// A changed token.
		w := newWeb()
		w.publish(all...)
		v := w.verifier(t, VerifierOptions{})
		parts := strings.Split(e.token(claims(nil), nil), ".")
		other := strings.Split(e.token(claims(map[string]any{"sub": "root"}), nil), ".")
		if got := judge(t, v, parts[0]+"."+other[1]+"."+parts[2]); !strings.HasPrefix(got, "401 the token is not signed") {
			t.Errorf("claims of another token: %s", got)
		}
		if got := judge(t, v, parts[0]+"."+parts[1]+"."); !strings.HasPrefix(got, "401 the token is not signed") {
			t.Errorf("without signature: %s", got)
		}
	})
}

// must2 is the private JWK of a signer.
func must2(s *signer) map[string]any {
	m := s.jwk(nil)
	k := s.key.(*rsa.PrivateKey)
	m["d"] = base64.RawURLEncoding.EncodeToString(k.D.Bytes())
	return m
}

// hmacToken is a token of the key's owner whose signature is an HMAC with bytes that everybody knows.
func hmacToken(s *signer, alg string, public []byte) string {
	e := base64.RawURLEncoding
	signed := e.EncodeToString([]byte(fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, s.kid))) + "." + e.EncodeToString(must(json.Marshal(claims(nil))))
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: public}))
	mac.Write([]byte(signed))
	return signed + "." + e.EncodeToString(mac.Sum(nil))
}

// What a provider may say wrong of itself. Each is a 401, and the reason is the operator's (P-oidc-6).
func TestBadProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newSigner("a", "ES256", "p256")
		doc := func(more map[string]any) map[string]any {
			d := map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys"}
			for n, v := range more {
				if d[n] = v; v == nil {
					delete(d, n)
				}
			}
			return d
		}
		many := []any{}
		for range 101 {
			many = append(many, k.jwk(nil))
		}
		for _, c := range []struct {
			name           string
			document, keys any
			want           string
		}{
			{"well", doc(nil), nil, "ok"},
			{"an issuer with a slash", doc(map[string]any{"issuer": issuer + "/"}), nil, "ok"},
			{"no issuer", doc(map[string]any{"issuer": nil}), nil, "names no issuer"},
			{"another issuer", doc(map[string]any{"issuer": "https://evil.example"}), nil, `is of the issuer "https://evil.example"`},
			{"issuer is no text", doc(map[string]any{"issuer": 1}), nil, "names no issuer"},
			{"no keys' URL", doc(map[string]any{"jwks_uri": nil}), nil, "names no jwks_uri"},
			{"keys of another origin", doc(map[string]any{"jwks_uri": "https://evil.example/keys"}), nil, "of another origin"},
			{"keys in the clear", doc(map[string]any{"jwks_uri": "http://idp.example/keys"}), nil, "must use https"},
			{"keys in a file", doc(map[string]any{"jwks_uri": "file:///keys"}), nil, "is no URL"},
			{"a list for a document", []int{}, nil, "is not the JSON"},
			{"no set of keys", doc(nil), map[string]any{}, "no member keys"},
			{"keys is no list", doc(nil), map[string]any{"keys": 1}, "is not the JSON"},
			{"keys is null", doc(nil), map[string]any{"keys": nil}, "no member keys"},
			{"too many keys", doc(nil), map[string]any{"keys": many}, "101 keys"},
			{"keys that are no objects", doc(nil), map[string]any{"keys": []any{1, "x", nil, []int{}}}, "publishes no key"},
			{"huge", doc(nil), map[string]any{"keys": []any{}, "x": strings.Repeat("x", 1<<20)}, "more than 1048576 bytes"},
		} {
			w := newWeb()
			w.json("/.well-known/openid-configuration", c.document)
			if w.publish(k.jwk(nil)); c.keys != nil {
				w.json("/keys", c.keys)
			}
			v := w.verifier(t, VerifierOptions{})
			got := judge(t, v, k.token(claims(nil), nil))
			status := "503 " // nothing is known of the token
			if c.want == "publishes no key" {
				status = "401 "
			}
			if !strings.Contains(got, c.want) || c.want != "ok" && !strings.HasPrefix(got, status) {
				t.Errorf("%s: %s, want %q", c.name, got, c.want)
			}
			_ = v.Close()
		}
	})
}

// Keys are fetched with the first token, and not again before they are old; upstream's default is an hour.
func TestKeysAreFetchedWhenWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		v := w.verifier(t, VerifierOptions{})
		time.Sleep(3 * time.Hour)
		if n := w.count("/keys"); n != 0 {
			t.Fatalf("fetched %d times before anybody asked", n)
		}
		hang := make(chan struct{})
		w.set(nil, hang)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if got := judge(t, v, k.token(claims(nil), nil)); got != "ok" {
					t.Error(got)
				}
			})
		}
		synctest.Wait()
		close(hang)
		wg.Wait()
		if n := w.count("/keys"); n != 1 {
			t.Errorf("fetched %d times for 20 who asked at once", n)
		}
		time.Sleep(50 * time.Minute)
		if judge(t, v, k.token(claims(nil), nil)); w.count("/keys") != 1 {
			t.Errorf("fetched again within the hour")
		}
		time.Sleep(10 * time.Minute)
		if judge(t, v, k.token(claims(nil), nil)); w.count("/keys") != 2 {
			t.Errorf("not fetched again after an hour")
		}
	})
}

// A provider that rotates its key needs no hour until tokens of the new one count (upstream: jwks_ttl), and a stranger who names
// keys that do not exist has the provider asked no more than once in a while (P-oidc-7).
func TestUnknownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		old, next := newSigner("old", "ES256", "p256"), newSigner("next", "RS256", "rsa")
		w.publish(old.jwk(nil))
		v := w.verifier(t, VerifierOptions{})
		if got := judge(t, v, old.token(claims(nil), nil)); got != "ok" {
			t.Fatal(got)
		}
		w.publish(old.jwk(nil), next.jwk(nil))
		if got := judge(t, v, next.token(claims(nil), nil)); got != "ok" {
			t.Errorf("a new key: %s", got)
		}
		asked := w.count("/keys")
		for i := range 1000 {
			judge(t, v, old.token(claims(nil), map[string]any{"kid": fmt.Sprint(i)}))
		}
		if n := w.count("/keys"); n != asked {
			t.Errorf("a stranger had the keys fetched %d times", n-asked)
		}
		if got := judge(t, v, next.token(claims(nil), nil)); got != "ok" {
			t.Errorf("meanwhile, who is known: %s", got)
		}
		time.Sleep(10 * time.Second)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { judge(t, v, old.token(claims(nil), map[string]any{"kid": fmt.Sprint(i)})) })
		}
		wg.Wait()
		if n := w.count("/keys"); n != asked+1 {
			t.Errorf("after a while %d times, want once", n-asked)
		}
		if s := v.Stats(); s.Limited < 1000 || s.Fetches != uint64(asked+1) || s.Verified != 3 {
			t.Errorf("stats %+v", s)
		}
	})
}

// Strict authentication wants of a token what upstream lets pass. Rules: P-oidc-9.
func TestStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		now := time.Now().Unix()
		loose, strict := w.verifier(t, VerifierOptions{}), w.verifier(t, VerifierOptions{Strict: true})
		for _, c := range []struct {
			name           string
			claims, header map[string]any
			want           string
		}{
			{"all of it", map[string]any{"nbf": now + 60, "iat": float64(now) - 0.5}, nil, "ok"},
			{"no times", nil, nil, "ok"},
			{"no aud", map[string]any{"aud": nil}, nil, "401 the token has no aud"},
			{"no iss", map[string]any{"iss": nil}, nil, "401 the token has no iss"},
			{"not yet", map[string]any{"nbf": now + 61}, nil, "401 the token's nbf is in the future"},
			{"issued in the future", map[string]any{"iat": now + 3600}, nil, "401 the token's iat is in the future"},
			{"nbf a text", map[string]any{"nbf": "0"}, nil, "401 the token's nbf is no number"},
			{"crit", nil, map[string]any{"crit": []string{"x"}, "x": "y"}, "401 the token's header has crit"},
		} {
			token := k.token(claims(c.claims), c.header)
			if got := judge(t, loose, token); got != "ok" {
				t.Errorf("%s: %s, but as upstream it passes", c.name, got)
			}
			if got := judge(t, strict, token); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	})
}

// While the provider is slow few wait for it because of a key that they have made up, and the rest is answered at once.
func TestFewWaitForUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		v := w.verifier(t, VerifierOptions{})
		judge(t, v, k.token(claims(nil), nil))
		hang := make(chan struct{})
		w.set(nil, hang)
		var wg sync.WaitGroup
		var waited atomic.Int64
		for i := range 100 {
			wg.Go(func() {
				begun := time.Now()
				if got := judge(t, v, k.token(claims(nil), map[string]any{"kid": fmt.Sprint(i)})); !strings.HasPrefix(got, "401 ") {
					t.Error(got)
				}
				if time.Since(begun) > 0 {
					waited.Add(1)
				}
			})
		}
		time.Sleep(time.Second)
		close(hang)
		wg.Wait()
		if n := waited.Load(); n != maxWaiting {
			t.Errorf("%d have waited, want %d", n, maxWaiting)
		}
	})
}

// A key that is taken back ends what is remembered of its tokens, and the connections that came with them, at the next fetch.
// Upstream remembers them until claim_cache_ttl is over, and keeps the connections.
func TestRemovedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		old, next := newSigner("old", "ES256", "p256"), newSigner("next", "RS256", "rsa")
		w.publish(old.jwk(nil), next.jwk(nil))
		v := w.verifier(t, VerifierOptions{ClaimsLife: 24 * time.Hour})
		long := map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()}
		a, b := old.token(claims(long), nil), next.token(claims(long), nil)
		who, err := v.Verify(t.Context(), show(a))
		if err != nil {
			t.Fatal(err)
		}
		stays, err := v.Verify(t.Context(), show(b))
		if err != nil {
			t.Fatal(err)
		}
		changed := v.Changed()
		w.publish(next.jwk(nil))
		<-changed // in the bubble: within the life of the keys, by itself
		if got := judge(t, v, a); !strings.HasPrefix(got, `401 the provider has no key "old"`) {
			t.Errorf("a token of the key that is gone: %s", got)
		}
		if got := verdict(t, v.Again(t.Context(), who)); !strings.HasPrefix(got, `401 the provider has taken back the key "old"`) {
			t.Errorf("its connection: %s", got)
		}
		if got := verdict(t, v.Again(t.Context(), stays)); got != "ok" {
			t.Errorf("another connection: %s", got)
		}
		if got := judge(t, v, b); got != "ok" {
			t.Errorf("another token: %s", got)
		}
		// The same kid with another key is another key.
		changed = v.Changed()
		w.publish((&signer{"next", "RS256", newSigner("", "RS256", "rsa2").key}).jwk(nil))
		v.Reload()
		<-changed
		if got := verdict(t, v.Again(t.Context(), stays)); !strings.HasPrefix(got, "401 the provider has taken back") {
			t.Errorf("a key that was replaced under its kid: %s", got)
		}
		// None at all: all are taken back.
		changed = v.Changed()
		w.publish()
		v.Reload()
		<-changed
		if got := judge(t, v, b); !strings.HasPrefix(got, "401 the identity provider publishes no key") {
			t.Errorf("a provider without keys: %s", got)
		}
		if verdict(t, v.Again(t.Context(), &auth.Identity{Mechanism: auth.Basic})) == "ok" {
			t.Error("somebody else's identity")
		}
	})
}

// A verifier in the place of another judges who was let in by that one by its own issuer and audience, and by its own keys as soon as
// it has any. Rules: P-auth-7.
func TestAgainByAnotherVerifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k, other := newSigner("a", "ES256", "p256"), newSigner("a", "RS256", "rsa")
		w.publish(k.jwk(nil))
		w.json("/userinfo", map[string]any{"aud": "userinfo", "iss": "userinfo"})
		w.json("/.well-known/openid-configuration", map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys", "userinfo_endpoint": issuer + "/userinfo"})
		for _, c := range []struct {
			name   string
			claims map[string]any
			by     VerifierOptions
			keys   *signer
			want   string
		}{
			{"as before", nil, VerifierOptions{Issuer: issuer, Audience: "slim"}, k, "ok"},
			{"what userinfo says is no claim of the token", map[string]any{"aud": nil, "iss": nil}, VerifierOptions{Issuer: issuer, Audience: "slim"}, k, "ok"},
			{"another audience", nil, VerifierOptions{Issuer: issuer, Audience: "else"}, k, "401 the token is for others"},
			{"another issuer", nil, VerifierOptions{Issuer: issuer + "/", Audience: "slim"}, k, "401 the token is of another issuer"},
			{"other keys", nil, VerifierOptions{Issuer: issuer, Audience: "slim"}, other, "401 the provider has taken back"},
		} {
			w.publish(k.jwk(nil))
			who, err := w.verifier(t, VerifierOptions{}).Verify(t.Context(), show(k.token(claims(c.claims), nil)))
			if err != nil {
				t.Fatal(err)
			}
			w.publish(c.keys.jwk(nil))
			v := w.verifier(t, c.by)
			changed := v.Changed()
			got := verdict(t, v.Again(t.Context(), who))
			if strings.HasPrefix(got, "503 ") { // nobody has asked for its keys before
				<-changed
				got = verdict(t, v.Again(t.Context(), who))
			}
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	})
}

// What changes around a key is no change of it: no connection ends.
func TestSameKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k, l := newSigner("a", "RS256", "rsa"), newSigner("b", "ES256", "p256")
		w.publish(k.jwk(nil), l.jwk(nil))
		v := w.verifier(t, VerifierOptions{})
		who, err := v.Verify(t.Context(), show(k.token(claims(nil), nil)))
		if err != nil {
			t.Fatal(err)
		}
		changed := v.Changed()
		w.publish(l.jwk(nil), k.jwk(map[string]any{"use": "sig", "alg": "RS256", "nbf": 1}))
		v.Reload()
		synctest.Wait()
		select {
		case <-changed:
			t.Error("told of a change")
		default:
		}
		if w.count("/keys") != 2 || verdict(t, v.Again(t.Context(), who)) != "ok" {
			t.Errorf("fetched %d times, again %s", w.count("/keys"), verdict(t, v.Again(t.Context(), who)))
		}
	})
}

// A provider that is away denies nobody whose key is known, for a while. Upstream refuses everybody when jwks_ttl is over.
func TestProviderAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logText
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		w.set(errors.New("connection refused"), nil)
		v := w.verifier(t, VerifierOptions{Log: log.logger()})
		long := map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()}
		token := k.token(claims(long), nil)
		if got := judge(t, v, token); !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "connection refused") {
			t.Errorf("before any key is known: %s", got)
		}
		asked := w.count("/.well-known/openid-configuration")
		for range 100 {
			judge(t, v, token)
		}
		if n := w.count("/.well-known/openid-configuration"); n != asked {
			t.Errorf("a provider that is away is asked %d times at once", n-asked)
		}
		w.set(nil, nil)
		time.Sleep(lastRetry)
		if got := judge(t, v, token); got != "ok" {
			t.Errorf("when it is back: %s", got)
		}
		w.set(errors.New("connection refused"), nil)
		time.Sleep(119 * time.Minute)
		if got := judge(t, v, token); got != "ok" {
			t.Errorf("within the grace: %s", got)
		}
		if s := v.Stats(); s.Stale != 1 || s.FetchFailures < 100 || s.FetchFailures > 200 { // every half a minute
			t.Errorf("stats %+v", s)
		}
		time.Sleep(2 * time.Minute)
		if got := judge(t, v, token); !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "connection refused") {
			t.Errorf("after it: %s", got)
		}
		// Nothing was taken back: connections stay.
		if n := strings.Count(log.String(), "does not give its keys"); n != 2 {
			t.Errorf("said %d times, want once for each time that it went away:\n%s", n, log.String())
		}
		w.set(nil, nil)
		time.Sleep(lastRetry)
		if got := judge(t, v, token); got != "ok" {
			t.Errorf("when it is back again: %s", got)
		}
	})
}

// A provider that hangs keeps nobody waiting whose key is known.
func TestProviderHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		v := w.verifier(t, VerifierOptions{})
		token := k.token(claims(map[string]any{"exp": time.Now().Add(100 * time.Hour).Unix()}), nil)
		judge(t, v, token)
		hang := make(chan struct{})
		w.set(nil, hang)
		time.Sleep(61 * time.Minute)
		for range 20 {
			begun := time.Now()
			if got := judge(t, v, token); got != "ok" {
				t.Error(got)
			}
			if took := time.Since(begun); took > patience {
				t.Errorf("waited %v", took)
			}
			time.Sleep(3 * time.Second)
		}
		// Who is not known waits no longer than the caller says.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v2 := w.verifier(t, VerifierOptions{})
		if _, err := v2.Verify(ctx, show(token)); !strings.Contains(verdict(t, err), "not here yet") {
			t.Error(err)
		}
		close(hang)
	})
}

// policy decides by a claim, and can change.
type policy struct {
	mu      sync.Mutex
	want    string
	changed chan struct{}
}

func (p *policy) Allow(_ context.Context, claims map[string]any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if claims["role"] != p.want {
		return fmt.Errorf("role is not %s", p.want)
	}
	return nil
}

func (p *policy) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

func (p *policy) set(want string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = want
	close(p.changed)
	p.changed = make(chan struct{})
}

func TestPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		p := &policy{want: "node", changed: make(chan struct{})}
		v := w.verifier(t, VerifierOptions{Policy: p, ClaimsLife: time.Hour})
		token := k.token(claims(map[string]any{"role": "node"}), nil)
		who, err := v.Verify(t.Context(), show(token))
		if err != nil {
			t.Fatal(err)
		}
		if got := judge(t, v, k.token(claims(nil), nil)); got != "403 the policy does not let this token pass: role is not node" {
			t.Error(got)
		}
		for _, want := range []string{"admin", "other"} {
			changed := v.Changed()
			p.set(want)
			<-changed
			if got := judge(t, v, token); !strings.HasPrefix(got, "403 ") { // remembered, and still judged anew
				t.Errorf("after a change: %s", got)
			}
			if got := verdict(t, v.Again(t.Context(), who)); !strings.HasPrefix(got, "403 ") {
				t.Errorf("the connection after a change: %s", got)
			}
		}
	})
}

func TestUserinfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.json("/.well-known/openid-configuration", map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys",
			"userinfo_endpoint": "https://info.example/me"})
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		p := &policy{want: "node", changed: make(chan struct{})}
		v := w.verifier(t, VerifierOptions{Policy: p})
		token := k.token(claims(nil), nil)
		const no = "403 the policy does not let this token pass: role is not node"
		for _, c := range []struct {
			name   string
			status int
			answer string
			token  string
			want   string
		}{
			{"tells more", 200, `{"sub":"node","role":"node"}`, token, "ok"},
			{"without sub", 200, `{"role":"node"}`, token, "ok"},
			{"does not change what the token says", 200, `{"sub":"node","role":"node"}`, k.token(claims(map[string]any{"role": "x"}), nil), no},
			{"of another user", 200, `{"sub":"root","role":"node"}`, token, no},
			{"fails", 500, `{"role":"node"}`, token, no},
			{"refuses", 401, ``, token, no},
			{"is no JSON", 200, `role=node`, token, no},
			{"null", 200, `{"role":"node","x":null}`, token, no},
			{"huge", 200, `{"role":"node","x":"` + strings.Repeat("x", maxUserinfo) + `"}`, token, no},
			{"fails, and the token says it", 500, ``, k.token(claims(map[string]any{"role": "node"}), nil), "ok"},
		} {
			var shown string
			w.handle("/me", func(rw http.ResponseWriter, r *http.Request) {
				shown = r.Host + " " + r.Header.Get("Authorization")
				rw.WriteHeader(c.status)
				fmt.Fprint(rw, c.answer)
			})
			if got := judge(t, v, c.token); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			if shown != "info.example Bearer "+c.token {
				t.Errorf("%s: userinfo was shown %q", c.name, shown)
			}
		}
		if n := v.Stats().UserinfoFailures; n != 7 {
			t.Errorf("%d failures counted, want 7", n)
		}
		// Whose token is not good is not asked about.
		asked := w.count("/me")
		judge(t, v, k.token(claims(map[string]any{"aud": "x"}), nil))
		judge(t, v, newSigner("a", "ES256", "p256").token(claims(nil), map[string]any{"kid": "x"}))
		if n := w.count("/me"); n != asked {
			t.Errorf("userinfo was asked %d times about tokens that are not good", n-asked)
		}
		// In the clear nobody is.
		w.json("/.well-known/openid-configuration", map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys",
			"userinfo_endpoint": "http://info.example/me"})
		v.Reload()
		synctest.Wait()
		if judge(t, v, token); w.count("/me") != asked {
			t.Error("userinfo was asked in the clear")
		}
	})
}

// What is remembered is bounded by claim_cache_ttl, by the end of the token, in number and in bytes. Upstream: by the first only.
func TestClaimsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.json("/.well-known/openid-configuration", map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys", "userinfo_endpoint": issuer + "/me"})
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		w.json("/me", map[string]any{"role": "node"})
		v := w.verifier(t, VerifierOptions{ClaimsLife: 5 * time.Minute})
		token := k.token(claims(nil), nil)
		for range 10 {
			if got := judge(t, v, token); got != "ok" {
				t.Fatal(got)
			}
		}
		if n := w.count("/me"); n != 1 || v.Stats().CacheHits != 9 {
			t.Errorf("asked %d times, %d hits", n, v.Stats().CacheHits)
		}
		time.Sleep(5 * time.Minute)
		if judge(t, v, token); w.count("/me") != 2 {
			t.Error("remembered for longer than claim_cache_ttl")
		}
		brief := k.token(claims(map[string]any{"exp": time.Now().Add(time.Minute).Unix()}), nil)
		if got := judge(t, v, brief); got != "ok" {
			t.Fatal(got)
		}
		time.Sleep(2*time.Minute + time.Second)
		if got := judge(t, v, brief); !strings.HasPrefix(got, "401 the token has expired") {
			t.Errorf("a token that has ended: %s", got)
		}
		// Without claim_cache_ttl nothing is.
		v2 := w.verifier(t, VerifierOptions{})
		asked := w.count("/me")
		judge(t, v2, token)
		if judge(t, v2, token); w.count("/me") != asked+2 {
			t.Error("remembered without claim_cache_ttl")
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Unix(1000, 0)
	who := &auth.Identity{Expires: now.Add(time.Hour)}
	id := func(i int) (h [sha256.Size]byte) { copy(h[:], fmt.Sprint(i)); return }
	for i := range 3 * maxCached {
		c.put(id(i), who, 1000, now.Add(time.Hour))
		c.put(id(i), who, 1000, now.Add(time.Hour)) // is not counted twice
	}
	if len(c.known) != maxCached || c.bytes != 1000*maxCached {
		t.Errorf("%d tokens of %d bytes, want %d", len(c.known), c.bytes, maxCached)
	}
	if c.get(id(3*maxCached-1), now) != who {
		t.Error("the newest is gone")
	}
	for i := range 100 {
		c.put(id(i), who, maxCacheBytes/10, now.Add(time.Hour))
	}
	if c.bytes > maxCacheBytes {
		t.Errorf("%d bytes", c.bytes)
	}
	if c.get(id(99), now.Add(time.Hour)) != nil {
		t.Error("remembered for too long")
	}
}

func TestClosedVerifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		v := w.verifier(t, VerifierOptions{ClaimsLife: time.Hour})
		token := k.token(claims(nil), nil)
		judge(t, v, token)
		_ = v.Close()
		if got := judge(t, v, token); !strings.HasPrefix(got, "503 closed") {
			t.Error(got)
		}
		hang := make(chan struct{})
		w.set(nil, hang)
		v = w.verifier(t, VerifierOptions{})
		got := make(chan string)
		go func() { got <- judge(t, v, token) }()
		synctest.Wait()
		_ = v.Close()
		if g := <-got; !strings.HasPrefix(g, "503 ") {
			t.Error(g)
		}
		close(hang)
	})
}

// No reason shows the token.
func TestReasonsHoldNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		var log logText
		v := w.verifier(t, VerifierOptions{Log: log.logger()})
		for _, c := range []map[string]any{{"aud": "x"}, {"iss": "x"}, {"exp": 1}, {"exp": "x"}} {
			token := k.token(claims(c), nil)
			got := judge(t, v, token)
			for part := range strings.SplitSeq(token, ".") {
				if strings.Contains(got+log.String(), part) {
					t.Errorf("%s", got)
				}
			}
		}
	})
}

// A life of nothing has each token's keys fetched, as upstream, and nobody else's.
func TestShortLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		k := newSigner("a", "ES256", "p256")
		w.publish(k.jwk(nil))
		v := w.verifier(t, VerifierOptions{KeysLife: time.Second})
		for range 5 {
			if got := judge(t, v, k.token(claims(nil), nil)); got != "ok" {
				t.Error(got)
			}
			time.Sleep(2 * time.Second)
		}
		if n := w.count("/keys"); n != 5 {
			t.Errorf("fetched %d times, want 5", n)
		}
		time.Sleep(10 * time.Minute)
		if n := w.count("/keys"); n > 26 {
			t.Errorf("fetched %d times when nobody asks", n)
		}
	})
}
