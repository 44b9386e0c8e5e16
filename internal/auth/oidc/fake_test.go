package oidc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/fetch"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const issuer = "https://idp.example"

// web is a provider in memory: what is asked of it is counted, and answered by its handlers.
type web struct {
	mu    sync.Mutex
	on    map[string]http.HandlerFunc // by path
	asked map[string]int
	down  error         // the answer to everything
	hang  chan struct{} // nobody is answered before it is closed
}

func newWeb() *web {
	w := &web{on: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	w.json("/.well-known/openid-configuration", map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys", "token_endpoint": issuer + "/token"})
	return w
}

func (w *web) json(path string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.handle(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
}

func (w *web) handle(path string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on[path] = h
}

func (w *web) set(down error, hang chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.hang = down, hang
}

func (w *web) count(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[path]
}

// RoundTrip implements http.RoundTripper.
func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked[r.URL.Path]++
	h, down, hang := w.on[r.URL.Path], w.down, w.hang
	w.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if down != nil {
		return nil, down
	}
	if h == nil {
		h = http.NotFound
	}
	rec := httptest.NewRecorder()
	h(rec, r)
	return rec.Result(), nil
}

func (w *web) client() *fetch.Client { return fetch.NewOver(fetch.Options{}, w) }

// signer is a key of a provider.
type signer struct {
	kid, alg string
	key      crypto.Signer
}

var keysOnce = sync.OnceValue(func() map[string]crypto.Signer {
	r1, err1 := rsa.GenerateKey(rand.Reader, 2048)
	r2, err2 := rsa.GenerateKey(rand.Reader, 2048)
	e1, err3 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	e3, err4 := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	e5, err5 := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	_, ed, err6 := ed25519.GenerateKey(rand.Reader)
	short, err7 := rsa.GenerateKey(rand.Reader, 1024)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{"rsa": r1, "rsa2": r2, "p256": e1, "p384": e3, "p521": e5, "ed": ed, "rsa1024": short}
})

func newSigner(kid, alg, key string) *signer { return &signer{kid, alg, keysOnce()[key]} }

// jwk returns the key as a provider publishes it, with more members or others.
func (s *signer) jwk(more map[string]any) map[string]any {
	m := map[string]any{}
	if pub, ok := s.key.Public().(*rsa.PublicKey); ok { // by hand: jwx imports no short ones
		e := base64.RawURLEncoding
		m = map[string]any{"kty": "RSA", "n": e.EncodeToString(pub.N.Bytes()), "e": "AQAB"}
	} else if k, err := jwk.Import(s.key.Public()); err != nil {
		panic(err)
	} else if err := json.Unmarshal(must(json.Marshal(k)), &m); err != nil {
		panic(err)
	}
	if s.kid != "" {
		m["kid"] = s.kid
	}
	maps.Copy(m, more)
	return m
}

// token signs claims; header members may be changed.
func (s *signer) token(claims, header map[string]any) string {
	h := map[string]any{"alg": s.alg, "typ": "JWT"}
	if s.kid != "" {
		h["kid"] = s.kid
	}
	maps.Copy(h, header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	b, _ := json.Marshal(claims)
	return s.raw(string(must(json.Marshal(h))), string(b))
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// raw signs a header and a payload as they are.
func (s *signer) raw(header, payload string) string {
	e := base64.RawURLEncoding
	signed := e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(payload))
	return signed + "." + e.EncodeToString(must(jose.Named(s.alg).Sign(s.key, []byte(signed))))
}

// claims are good for ten minutes, with changes; nil takes one away.
func claims(more map[string]any) map[string]any {
	c := map[string]any{"iss": issuer, "aud": "slim", "sub": "node", "exp": time.Now().Add(10 * time.Minute).Unix()}
	maps.Copy(c, more)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func (w *web) publish(keys ...map[string]any) {
	if keys == nil {
		keys = []map[string]any{}
	}
	w.json("/keys", map[string]any{"keys": keys})
}

// verifier makes one of this provider.
func (w *web) verifier(t *testing.T, o VerifierOptions) *Verifier {
	t.Helper()
	if o.Issuer == "" {
		o.Issuer, o.Audience = issuer, "slim"
	}
	v, err := newVerifier(o, w.client(), fetch.NewOver(fetch.Options{MaxBytes: maxUserinfo}, w))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func show(token string) *auth.Shown { return &auth.Shown{Authorization: "Bearer " + token} }

// judge verifies a token and returns "ok", or status and reason.
func judge(t *testing.T, v *Verifier, token string) string {
	t.Helper()
	_, err := v.Verify(t.Context(), show(token))
	return verdict(t, err)
}

func verdict(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "ok"
	}
	var d *auth.Denied
	if !errors.As(err, &d) {
		t.Errorf("%v is no *auth.Denied", err)
		return err.Error()
	}
	return fmt.Sprintf("%d %s", d.Status, d.Reason)
}

// logText is a log for tests.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logText) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// source makes a Source of this provider.
func (w *web) source(t *testing.T, o SourceOptions) *Source {
	t.Helper()
	if o.Issuer == "" && o.Credentials == "" {
		o.Issuer = issuer
	}
	s, err := newSource(o, w.client())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// show returns what the Source shows, or its error.
func (s *Source) show(ctx context.Context) string {
	h, err := s.Authorization(ctx)
	if err != nil {
		return "error: " + err.Error()
	}
	return h
}

// tokens answers the token endpoint with one answer after the other, the last for ever. It notes the forms.
type tokens struct {
	mu      sync.Mutex
	answers []string
	forms   []url.Values
	headers []http.Header
}

func (a *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(b))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forms, a.headers = append(a.forms, form), append(a.headers, r.Header)
	answer := a.answers[0]
	if len(a.answers) > 1 {
		a.answers = a.answers[1:]
	}
	if status, body, ok := strings.Cut(answer, "|"); ok {
		var n int
		fmt.Sscan(status, &n)
		w.WriteHeader(n)
		answer = body
	}
	fmt.Fprint(w, answer)
}

func (w *web) tokens(answers ...string) *tokens {
	a := &tokens{answers: answers}
	w.handle("/token", a.ServeHTTP)
	return a
}

// sent returns the forms so far.
func (a *tokens) sent() []url.Values {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.forms)
}

func (a *tokens) asked() int { return len(a.sent()) }
