package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc"
	"github.com/seed31b3bfd0/slimgo/internal/auth/oidc/idptest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

const tokenSecret = "a secret of more than 32 bytes, for tests"

// sealed is a token of these claims, which expires so much from now.
func sealed(secret, claims string, life time.Duration) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(fmt.Appendf(nil, `{"exp":%d%s}`, time.Now().Add(life).Unix(), claims))
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(signed))
	return signed + "." + encode(h.Sum(nil))
}

// tokenOf is what a client of the provider gets.
func tokenOf(t *testing.T, p *idptest.Provider, id string) string {
	t.Helper()
	s, err := oidc.NewSource(oidc.SourceOptions{Issuer: p.URL, ClientID: id, ClientSecret: "secret", Timeout: hang})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	shown, err := s.Authorization(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(shown, "Bearer ")
}

// Listeners judge tokens as `auth` and the flags say. Rules: P-jwt-8, P-jwt-11, P-jwt-14, P-jwt-16, P-oidc-9, P-pol-2.
func TestTokens(t *testing.T) {
	t.Parallel() // beside those that wait
	p := idptest.New(t)
	p.Client("member", "secret", "slim", map[string]any{"groups": []string{"nodes"}})
	p.Client("guest", "secret", "slim", map[string]any{"groups": []string{"guests"}})
	p.Client("other", "secret", "else", map[string]any{"groups": []string{"nodes"}})
	const (
		good  = `,"iss":"i","aud":["slim"],"groups":["nodes"]`
		guest = `,"iss":"i","aud":["slim"],"groups":["guests"]`
		bare  = `,"groups":["nodes"]`
	)
	policy := `, policy: {cel: '"nodes" in claims.groups'}}`
	shared := fmt.Sprintf(`auth: {type: jwt, claims: {audience: [slim], issuer: i}, key: {type: decoding, algorithm: HS256, format: pem, key: {data: %q}}`, tokenSecret) + policy
	resolve := `auth: {type: jwt, claims: {audience: [slim]}, key: {type: autoresolve}` + policy
	member, visitor, other := tokenOf(t, p, "member"), tokenOf(t, p, "guest"), tokenOf(t, p, "other")
	for _, c := range []struct {
		name, auth string
		args       []string
		want       map[string]int // by token; 0: it is let in
	}{
		{"jwt", shared, nil, map[string]int{
			sealed(tokenSecret, good, time.Hour): 0, sealed(tokenSecret, bare, time.Hour): 0, sealed(tokenSecret, guest, time.Hour): 403,
			sealed("another"+tokenSecret, good, time.Hour): 401, sealed(tokenSecret, good, -2*time.Minute): 401,
			sealed(tokenSecret, `,"iss":"x","aud":["slim"],"groups":["nodes"]`, time.Hour): 401, member: 401, "x": 401,
		}},
		{"jwt, strict", shared, []string{"--strict-auth"}, map[string]int{
			sealed(tokenSecret, good, time.Hour): 0, sealed(tokenSecret, bare, time.Hour): 401, sealed(tokenSecret, guest, time.Hour): 403,
		}},
		{"autoresolve, of anybody", resolve, nil, map[string]int{member: 0, visitor: 403, other: 401, sealed(tokenSecret, good, time.Hour): 401}},
		{"autoresolve, listed", resolve, []string{"--strict-auth", "--auth-issuers", "https://login.example.org," + p.URL}, map[string]int{member: 0, visitor: 403, other: 401}},
		{"autoresolve, not listed", resolve, []string{"--auth-issuers", "https://login.example.org"}, map[string]int{member: 401}},
		{"oidc", fmt.Sprintf(`auth: {type: oidc, issuer_url: %q, audience: slim`, p.URL) + policy, nil, map[string]int{
			member: 0, visitor: 403, other: 401, sealed(tokenSecret, good, time.Hour): 401, "x": 401,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startReloading(t, serviceText([]string{plain("127.0.0.1:0", c.auth)}, nil), c.args...)
			asked := p.Asked("/.well-known/openid-configuration")
			for token, want := range c.want {
				if got := shows(t, "http://"+r.nodes[0].Addrs()[0].String(), token, want); got != want {
					t.Errorf("%s: %d, want %d", token, got, want)
				}
			}
			if got := p.Asked("/.well-known/openid-configuration"); c.name == "autoresolve, not listed" && got != asked {
				t.Errorf("an issuer that is not listed was asked %d times", got-asked)
			}
		})
	}
}

// What --strict-auth wants of tokens it wants of those of OpenID Connect, too. Rules: P-oidc-9.
func TestStrictAuthHoldsForOIDC(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	encode, point := base64.RawURLEncoding.EncodeToString, public.Bytes()
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if issuer := "http://" + r.Host; r.URL.Path == "/keys" {
			fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":%q,"y":%q}]}`, encode(point[1:33]), encode(point[33:]))
		} else {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer, issuer+"/keys")
		}
	}))
	defer provider.Close()
	token := func(claims string) string {
		signed := encode([]byte(`{"alg":"ES256","kid":"k"}`)) + "." +
			encode(fmt.Appendf(nil, `{"iss":%q,"exp":%d%s}`, provider.URL, time.Now().Add(time.Hour).Unix(), claims))
		hash := sha256.Sum256([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, key, hash[:])
		if err != nil {
			t.Fatal(err)
		}
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		return signed + "." + encode(signature)
	}
	for _, c := range []struct {
		args   []string
		absent int // the answer to a token without aud; 0: it is let in
	}{{nil, 0}, {[]string{"--strict-auth"}, 401}} {
		r := startReloading(t, serviceText([]string{plain("127.0.0.1:0", fmt.Sprintf("auth: {type: oidc, issuer_url: %q, audience: slim}", provider.URL))}, nil), c.args...)
		at := "http://" + r.nodes[0].Addrs()[0].String()
		if got := shows(t, at, token(`,"aud":["slim"]`), 0); got != 0 {
			t.Errorf("%v: a token with all: %d", c.args, got)
		}
		if got := shows(t, at, token(""), c.absent); got != c.absent {
			t.Errorf("%v: a token without aud: %d, want %d", c.args, got, c.absent)
		}
	}
}

// Who has come with a token for an audience that the listener does not want any more is ended, though its key is as good as before.
// Rules: P-auth-7.
func TestAnotherAudienceEndsConnections(t *testing.T) {
	t.Parallel() // beside those that wait
	p := idptest.New(t)
	p.Client("member", "secret", "slim", nil)
	listener := func(audience string) string {
		return serviceText([]string{plain("127.0.0.1:0", fmt.Sprintf("auth: {type: oidc, issuer_url: %q, audience: %s}", p.URL, audience))}, nil)
	}
	r := startReloading(t, listener("slim"))
	n := r.nodes[0]
	c, refused := bearing(t, "http://"+n.Addrs()[0].String(), tokenOf(t, p, "member"), 0)
	if refused != 0 {
		t.Fatal(refused)
	}
	r.reload(listener("else"), "configuration ")
	<-c.Done()
	until(t, "it is told why", func() bool { return n.Stats().Refused[router.ReasonRevoked] == 1 })
}

// What strict authentication wants of a configuration keeps it from starting.
func TestStrictAuthWantsMore(t *testing.T) {
	listener := func(claims, secret string) string {
		return serviceText([]string{plain("127.0.0.1:0", fmt.Sprintf("auth: {type: jwt, claims: {%s}, key: {type: decoding, algorithm: HS256, format: pem, key: {data: %q}}}", claims, secret))}, nil)
	}
	for want, text := range map[string]string{
		"claims.audience: strict authentication wants one": listener("issuer: i", tokenSecret),
		"claims.issuer: strict authentication wants one":   listener("audience: [slim]", tokenSecret),
		"is a secret of 5 bytes":                           listener("audience: [slim], issuer: i", "short"),
	} {
		file := filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRig()
		r.start = startNode
		if code := r.program.run(t.Context(), []string{"--config", file, "--strict-auth"}); code != cli.ExitError || !strings.Contains(r.errs.String(), want) {
			t.Errorf("exit %d: %s%s\nwant %s", code, &r.errs, &r.out, want)
		}
	}
}

// Clients show tokens that they sign, read from a file or get from a provider; a file that changes counts from the next connection on.
// Rules: P-jwt-1, P-jwt-15, P-oidc-2, P-oidc-5, P-auth-8.
func TestTokensOfClients(t *testing.T) {
	t.Parallel() // beside those that wait
	p := idptest.New(t)
	p.Client("member", "secret", "slim", nil)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(sealed("another"+tokenSecret, `,"iss":"i","aud":["slim"]`, time.Hour))
	judged := fmt.Sprintf("auth: {type: jwt, claims: {audience: [slim], issuer: i}, key: {type: decoding, algorithm: HS256, format: pem, key: {data: %q}}}", tokenSecret)
	for _, c := range []struct {
		name, server, client string
		again                func(refused func())
	}{
		{"signed", judged, fmt.Sprintf("auth: {type: jwt, claims: {audience: [slim], issuer: i}, key: {type: encoding, algorithm: HS256, format: pem, key: {data: %q}}}", tokenSecret), nil},
		{"static", judged, "auth: {type: static_jwt, file: " + file + "}", func(refused func()) {
			refused()
			write(sealed(tokenSecret, `,"iss":"i","aud":["slim"]`, time.Hour))
		}},
		{"of a provider", fmt.Sprintf("auth: {type: oidc, issuer_url: %q, audience: slim}", p.URL),
			fmt.Sprintf("auth: {type: oidc, issuer_url: %q, client_id: member, client_secret: secret}", p.URL), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := startReloading(t, serviceText([]string{plain("127.0.0.1:0", c.server)}, nil)).nodes[0]
			client := startReloading(t, serviceText(nil, []string{plain("http://"+n.Addrs()[0].String(), c.client, "backoff: {type: fixed_interval, interval: 50ms}")}))
			if c.again != nil {
				c.again(func() { client.await("link cannot be opened") })
			}
			until(t, "the link is up", func() bool { return n.Stats().Negotiated == 1 })
		})
	}
}
