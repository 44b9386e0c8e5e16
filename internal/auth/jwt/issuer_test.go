package jwt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// provider is an identity provider by HTTP. Each path below its URL is an issuer.
type provider struct {
	*httptest.Server
	mu   sync.Mutex
	keys string // JWKS
	with func(w http.ResponseWriter, r *http.Request) bool
	gets map[string]int
	told http.Header
}

func newProvider(t *testing.T, keys string) *provider {
	p := &provider{keys: keys, gets: map[string]int{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.gets[r.URL.Path]++
	p.told = r.Header
	with, keys := p.with, p.keys
	p.mu.Unlock()
	if with != nil && with(w, r) {
		return
	}
	base := "http://" + r.Host
	if r.TLS != nil {
		base = "https://" + r.Host
	}
	w.Header().Set("Content-Type", "application/json")
	if issuer, ok := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration"); ok {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": base + issuer, "jwks_uri": base + issuer + "/keys"})
		return
	}
	_, _ = w.Write([]byte(keys))
}

func (p *provider) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gets[path]
}

// idpKeys returns the keys of an issuer, of kid "a" and "b".
func idpKeys(t testing.TB) (a, b map[string]any) {
	return jwkOf(t, made(t, "ES256", 0).public, map[string]any{"alg": "ES256", "kid": "a"}),
		jwkOf(t, made(t, "ES256", 1).public, map[string]any{"alg": "ES256", "kid": "b"})
}

// by signs a token of an issuer with key 0 or 1, whose kid is given.
func by(t testing.TB, which int, kid, issuer string) string {
	return signed(t, "ES256", made(t, "ES256", which).private, SignerOptions{Issuer: issuer, Subject: kid})
}

// The keys of an issuer are found by its discovery document, or without it (P-jwt-8).
func TestDiscovery(t *testing.T) {
	a, b := idpKeys(t)
	p := newProvider(t, jwks(t, a, b))
	elsewhere := newProvider(t, jwks(t, a, b))
	own := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "openid") {
				_, _ = w.Write([]byte(text))
				return true
			}
			return false
		}
	}
	answer := func(at string, status int, text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, at) {
				return false
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
			return true
		}
	}
	private := jwks(t, jwkOf(t, made(t, "ES256", 0).private, map[string]any{"alg": "ES256"}))
	secret := `{"keys":[{"kty":"oct","k":"` + base64url.EncodeToString([]byte(secrets["a"])) + `","alg":"HS256"}]}`
	for i, c := range []struct {
		name string
		with func(http.ResponseWriter, *http.Request) bool
		want int
		why  string
	}{
		{"a document", nil, 200, ""},
		{"no document", answer("openid-configuration", 404, ""), 200, ""},
		{"a document that is no JSON", own("<html>"), 200, ""},
		{"a document without jwks_uri", own("{}"), 200, ""},
		{"a document without issuer", own(`{"jwks_uri":"` + p.URL + `/keys"}`), 200, ""},
		{"a document of another issuer", own(`{"issuer":"http://other","jwks_uri":"` + p.URL + `/keys"}`), 401, "is of another issuer"},
		{"keys elsewhere", own(`{"jwks_uri":"` + elsewhere.URL + `/keys"}`), 401, "a jwks_uri of another scheme, host or port"},
		{"no keys", answer("/keys", 404, ""), 401, "404"},
		{"an error", answer("/keys", 500, jwks(t, a)), 401, "500"},
		{"no JWKS", answer("/keys", 200, "[]"), 401, "is no JWKS"},
		{"an empty list", answer("/keys", 200, `{"keys":[]}`), 401, "no key of the list"},
		{"too large", answer("/keys", 200, strings.Repeat(" ", 1<<20)+jwks(t, a)), 401, "bytes"},
		{"elsewhere by redirect", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
			return true
		}, 401, "redirect"},
		{"a private key", answer("/keys", 200, private), 401, "no key of the list"},
	} {
		p.mu.Lock()
		p.with = c.with
		p.mu.Unlock()
		iss := fmt.Sprint(p.URL, "/", i)
		v := newVerifier(t, VerifierOptions{Resolve: true})
		got, why := status(t, v, "Bearer "+by(t, 0, "", iss))
		if got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d (%s), want %d (%s)", c.name, got, why, c.want, c.why)
		}
	}
	if elsewhere.count("/keys") != 0 {
		t.Error("somebody else was asked")
	}
	p.mu.Lock()
	p.with = answer("/keys", 200, secret)
	agent := p.told.Get("User-Agent")
	p.mu.Unlock()
	if agent != "AGNTCY Slim Auth" {
		t.Errorf("User-Agent %q", agent)
	}
	// Upstream takes a secret that everybody can fetch.
	v := newVerifier(t, VerifierOptions{Resolve: true, Issuer: p.URL})
	forged := hs256(`{"alg":"HS256"}`, fmt.Sprintf(`{"iss":%q,"exp":%d}`, p.URL, time.Now().Unix()+100), secrets["a"])
	if got, why := status(t, v, "Bearer "+forged); got != 401 || !strings.Contains(why, "no key of the list is for HS256") {
		t.Errorf("a secret from the list: %d %s", got, why)
	}
}

// Slashes at the end of iss are no part of the URLs, but of the name.
func TestIssuersNames(t *testing.T) {
	a, _ := idpKeys(t)
	p := newProvider(t, jwks(t, a))
	for _, c := range []struct {
		name, issuer, listed string
		want                 int
		gets                 bool
	}{
		{"the same", p.URL + "/x", p.URL + "/x", 200, true},
		{"a slash at both ends", p.URL + "/x/", p.URL + "/x/", 200, true},
		{"a slash more", p.URL + "/x/", p.URL + "/x", 401, false},
		{"another", p.URL + "/y", p.URL + "/x", 401, false},
		{"none", "", p.URL + "/x", 401, false},
		{"no list, a query", p.URL + "/x?y=1", "", 401, false},
		{"no list, a user", strings.Replace(p.URL, "//", "//u:p@", 1), "", 401, false},
		{"no list, a file", "file:///etc/passwd", "", 401, false},
		{"no list, no URL", "slim", "", 401, false},
	} {
		v := newVerifier(t, VerifierOptions{Resolve: true, Issuer: c.listed})
		p.mu.Lock()
		p.gets = map[string]int{}
		p.mu.Unlock()
		got, why := status(t, v, "Bearer "+by(t, 0, "", c.issuer))
		p.mu.Lock()
		asked := len(p.gets) > 0
		p.mu.Unlock()
		if got != c.want || asked != c.gets {
			t.Errorf("%s: %d (%s), asked %v", c.name, got, why, asked)
		}
	}
}

// Strict authentication speaks https; without it http is asked, too, and a warning says so.
func TestIssuersByHTTPS(t *testing.T) {
	a, _ := idpKeys(t)
	p := &provider{keys: jwks(t, a), gets: map[string]int{}}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	v := newVerifier(t, VerifierOptions{Resolve: true, Strict: true, Issuer: p.URL, Audience: []string{"a"}, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	token := signed(t, "ES256", made(t, "ES256", 0).private, SignerOptions{Issuer: p.URL, Audience: []string{"a"}})
	if got, why := status(t, v, "Bearer "+token); got != 200 {
		t.Errorf("%d %s", got, why)
	}
	var told notices
	v = newVerifier(t, VerifierOptions{Resolve: true, Issuer: p.URL, Audience: []string{"a"}, Watch: Watch{Told: told.tell}}) // the authority is unknown
	if got, _ := status(t, v, "Bearer "+token); got != 503 || !told.some(p.URL, "certificate") {
		t.Errorf("%d; told %v", got, &told)
	}
}

// fakeProvider answers in a bubble of time.
type fakeProvider struct {
	mu    sync.Mutex
	keys  string
	err   error
	delay time.Duration
	asked []string
}

func (p *fakeProvider) ask(ctx context.Context, name string) ([]byte, string, error) {
	p.mu.Lock()
	p.asked = append(p.asked, name)
	delay := p.delay
	p.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return []byte(p.keys), "there", p.err
}

func (p *fakeProvider) set(keys string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys, p.err = keys, err
}

func (p *fakeProvider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// resolving returns a verifier whose providers are a fake.
func resolving(t *testing.T, p *fakeProvider, o VerifierOptions) *Verifier {
	o.Resolve = true
	v := newVerifier(t, o)
	v.from.ask = p.ask
	return v
}

const idp = "https://idp.example"

// Upstream asks again for an unknown kid only after an hour: whose key was rotated is locked out until then.
func TestUnknownKidHasKeysFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a)}
		v := resolving(t, p, VerifierOptions{Issuer: idp})
		if got, why := status(t, v, "Bearer "+by(t, 0, "a", idp)); got != 200 || p.count() != 1 {
			t.Fatal(got, why, p.count())
		}
		p.set(jwks(t, a, b), nil)
		changed := v.Changed()
		if got, why := status(t, v, "Bearer "+by(t, 1, "b", idp)); got != 200 || p.count() != 2 {
			t.Errorf("a new key: %d %s, asked %d times", got, why, p.count())
		}
		<-changed
		// Whoever makes up names has the provider asked once in ten seconds, not more.
		for i := range 100 {
			time.Sleep(100 * time.Millisecond)
			if got, _ := status(t, v, "Bearer "+by(t, 0, fmt.Sprint("none", i), idp)); got != 200 { // all keys are tried, as upstream
				t.Fatal(got)
			}
		}
		if n := p.count(); n != 3 {
			t.Errorf("100 unknown kids within 10 s: asked %d times", n-2)
		}
		if got, _ := status(t, v, "Bearer "+by(t, 0, "a", idp)); got != 200 || p.count() != 3 {
			t.Errorf("a known kid: %d, asked %d times", got, p.count())
		}
	})
}

// Keys live for an hour, and are renewed before that, so that nobody waits; one that is gone is gone for the cache, and for who
// is judged again.
func TestKeysOfIssuersAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a, b)}
		var told notices
		v := resolving(t, p, VerifierOptions{Issuer: idp, Watch: Watch{Told: told.tell}})
		who, err := v.VerifyToken(context.Background(), by(t, 0, "a", idp))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(renewAfter - renewEvery)
		if p.count() != 1 {
			t.Errorf("asked %d times", p.count())
		}
		changed := v.Changed()
		time.Sleep(3 * renewEvery)
		if p.count() != 2 {
			t.Errorf("asked %d times after %v", p.count(), renewAfter)
		}
		select {
		case <-changed:
			t.Error("the same keys are a change")
		default:
		}
		if v.Stats().Entries != 1 {
			t.Error("the same keys empty the cache")
		}
		p.set(jwks(t, b), nil)
		time.Sleep(renewAfter + renewEvery)
		<-changed
		var d *auth.Denied
		if err := v.Again(context.Background(), who); !errors.As(err, &d) || d.Status != 401 {
			t.Errorf("its key is gone: %v", err)
		}
		if !told.some(idp, "changed=true") || v.Stats().Entries != 0 {
			t.Errorf("told %v; %d entries", &told, v.Stats().Entries)
		}
	})
}

// A provider that is away: keys count until their hour is over, connections stay, it is said once, and asked again.
func TestProviderThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := idpKeys(t)
		p := &fakeProvider{err: errors.New("it is away")}
		var told notices
		v := resolving(t, p, VerifierOptions{Issuer: idp, Watch: Watch{Told: told.tell}})
		for range 5 {
			if got, why := status(t, v, "Bearer "+by(t, 0, "a", idp)); got != 503 || !strings.Contains(why, "it is away") {
				t.Fatal(got, why)
			}
			time.Sleep(time.Second)
		}
		if s := v.Stats(); p.count() != 1 || s.Keys.Failures != 1 || s.Keys.Fault == nil || s.Denied[Unavailable] != 5 || told.len() != 1 {
			t.Errorf("asked %d times; %+v; told %v", p.count(), s, &told)
		}
		time.Sleep(retryAfter)
		p.set(jwks(t, a), nil)
		who, err := v.VerifyToken(context.Background(), by(t, 0, "a", idp))
		if err != nil {
			t.Fatal(err)
		}
		if s := v.Stats(); s.Keys.Fault != nil || s.Fetches != 2 || s.Keys.Loaded.IsZero() {
			t.Errorf("%+v", s)
		}
		begin := time.Now()
		p.set("", errors.New("it is away again"))
		time.Sleep(keysLife - time.Second)
		if got, why := status(t, v, "Bearer "+by(t, 0, "a", idp)); got != 200 {
			t.Errorf("after %v: %d %s", time.Since(begin), got, why)
		}
		time.Sleep(retryAfter)
		if got, _ := status(t, v, "Bearer "+by(t, 0, "a", idp)); got != 503 {
			t.Errorf("after %v: %d", time.Since(begin), got)
		}
		if err := v.Again(context.Background(), who); err != nil {
			t.Errorf("a connection, when nothing is known: %v", err)
		}
		if told.len() != 3 || !told.some("it is away again") {
			t.Errorf("told %v", &told)
		}
	})
}

// While an issuer is slow few wait for it because of a kid that they have made up; the rest is answered by the keys that are known.
func TestFewWaitForUnknownKids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a)}
		v := resolving(t, p, VerifierOptions{Issuer: idp})
		if got, why := status(t, v, "Bearer "+by(t, 0, "a", idp)); got != 200 {
			t.Fatal(got, why)
		}
		p.mu.Lock()
		p.delay = 3 * time.Second
		p.mu.Unlock()
		var wg sync.WaitGroup
		var waited atomic.Int64
		for i := range 100 {
			wg.Go(func() {
				begun := time.Now()
				if got, why := status(t, v, "Bearer "+by(t, 1, fmt.Sprint(i), idp)); got != 401 {
					t.Error(got, why)
				}
				if time.Since(begun) > 0 {
					waited.Add(1)
				}
			})
		}
		wg.Wait()
		if n := waited.Load(); n != strangerWaits || p.count() != 2 {
			t.Errorf("%d have waited, want %d; asked %d times", n, strangerWaits, p.count())
		}
	})
}

// Who is judged again waits for no issuer that is slow, and does not stay because of it: the keys that came last count. Rules: P-auth-7.
func TestAgainWaitsForNoIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a)}
		v := resolving(t, p, VerifierOptions{Issuer: idp})
		who, err := v.VerifyToken(context.Background(), by(t, 0, "a", idp))
		if err != nil {
			t.Fatal(err)
		}
		again := func(what string, v *Verifier, want int) (ok bool) {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
			defer cancel()
			begun, got := time.Now(), 0
			var d *auth.Denied
			if err := v.Again(ctx, who); errors.As(err, &d) {
				got = d.Status
			}
			if took := time.Since(begun); got != want || took > 0 {
				t.Errorf("%s: %d after %v, want %d at once", what, got, took, want)
			}
			return got == want
		}
		again("the same keys", v, 0)
		changed := v.Changed()
		p.set(jwks(t, b), nil)
		v.Reload()
		<-changed
		p.mu.Lock()
		p.delay = 15 * time.Second
		p.mu.Unlock()
		time.Sleep(time.Minute) // an unknown kid may have it asked again
		again("its key is gone, and its issuer has become slow", v, 401)
		time.Sleep(2 * keysLife)
		again("so long ago", v, 401)

		// A verifier that has come in the place of another has no keys at first.
		p.set(jwks(t, a), nil)
		for _, c := range []struct {
			name string
			o    VerifierOptions
			want int
		}{
			{"of its issuer", VerifierOptions{Issuer: idp}, 0},
			{"of another issuer", VerifierOptions{Issuer: "https://else.example"}, 401},
		} {
			next := resolving(t, p, c.o)
			changed = next.Changed()
			if c.want == 0 && again(c.name+", before it has answered", next, 503) {
				<-changed
			}
			again(c.name, next, c.want)
		}
		p.set(jwks(t, b), nil)
		next := resolving(t, p, VerifierOptions{Issuer: idp})
		changed = next.Changed()
		if again("whose keys are others, before it has answered", next, 503) {
			<-changed
		}
		again("whose keys are others", next, 401)
		// Of an issuer that nobody has listed nothing is known.
		again("of anybody, of whom nothing is known", resolving(t, p, VerifierOptions{}), 0)
	})
}

// As many issuers as are listed are kept, however many that are: none pushes another out.
func TestListedIssuersAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a)}
		var all []string
		for i := range maxIssuers + 10 {
			all = append(all, fmt.Sprintf("https://idp%d.example", i))
		}
		v := resolving(t, p, VerifierOptions{Issuers: all})
		for range 2 {
			for _, name := range all {
				if _, err := v.VerifyToken(context.Background(), by(t, 0, "a", name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if p.count() != len(all) {
			t.Errorf("asked %d times for %d issuers", p.count(), len(all))
		}
	})
}

// A token that was verified is asked for again when the keys it was verified with are an hour old, though it lives on.
func TestCacheEndsWithTheIssuersKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a)}
		v := resolving(t, p, VerifierOptions{Issuer: idp})
		long := func() string {
			s := newSigner(t, SignerOptions{Key: Key{Algorithm: "ES256", Format: PEM, Data: made(t, "ES256", 0).private}, Issuer: idp})
			s.own = append(s.own, claim{"exp", time.Now().Add(24 * time.Hour).Unix()})
			payload, err := encode(s.own, nil)
			if err != nil {
				t.Fatal(err)
			}
			text := base64url.EncodeToString(s.header) + "." + base64url.EncodeToString(payload)
			signature, err := s.alg.Sign(s.key.get(), []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			return text + "." + base64url.EncodeToString(signature)
		}()
		if got, why := status(t, v, "Bearer "+long); got != 200 {
			t.Fatal(got, why)
		}
		p.set(jwks(t, b), errors.New("away"))
		time.Sleep(keysLife - time.Minute)
		if got, _ := status(t, v, "Bearer "+long); got != 200 {
			t.Errorf("within the hour: %d", got)
		}
		time.Sleep(time.Minute + retryAfter)
		if got, _ := status(t, v, "Bearer "+long); got != 503 {
			t.Errorf("after the hour: %d", got)
		}
	})
}

// Many who wait for one issuer have it asked once, and one who has waited long enough does not end it for the others.
func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a), delay: 2 * time.Second}
		v := resolving(t, p, VerifierOptions{Issuer: idp})
		token := by(t, 0, "a", idp)
		impatient, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		go func() {
			if _, err := v.VerifyToken(impatient, token); err == nil {
				t.Error("nobody has waited")
			}
		}()
		var passed atomic.Int32
		for range 50 {
			go func() {
				if _, err := v.VerifyToken(context.Background(), token); err == nil {
					passed.Add(1)
				}
			}()
		}
		time.Sleep(3 * time.Second)
		if passed.Load() != 50 || p.count() != 1 {
			t.Errorf("%d of 50 passed, asked %d times", passed.Load(), p.count())
		}
	})
}

// Anybody's issuers, as upstream asks them, may not have us ask without end, keep without end, or wait for strangers alone.
func TestStrangersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a)}
		var told notices
		v := resolving(t, p, VerifierOptions{Watch: Watch{Told: told.tell}})
		name := func(i int) string { return fmt.Sprint("https://stranger.example/", i) }
		if got, why := status(t, v, "Bearer "+by(t, 0, "a", name(0))); got != 200 {
			t.Fatal(got, why)
		}
		p.set("", errors.New("no such issuer"))
		for i := range 1000 {
			if got, _ := status(t, v, "Bearer "+by(t, 0, "a", name(1+i))); got != 401 {
				t.Fatal(got)
			}
		}
		if n := p.count(); n != strangerBurst {
			t.Errorf("1,000 issuers have %d asked at once", n)
		}
		for i := range 1000 {
			time.Sleep(strangerPace / 2)
			_, _ = status(t, v, "Bearer "+by(t, 0, "a", name(2000+i)))
		}
		if n := p.count() - strangerBurst; n != 500 {
			t.Errorf("1,000 issuers within %v have %d asked", 1000*strangerPace/2, n)
		}
		if n := len(v.from.known); n > maxIssuers || v.from.known[name(0)] == nil {
			t.Errorf("%d issuers are known; the one that has proven something among them: %v", n, v.from.known[name(0)] != nil)
		}
		if told.len() != 1 { // at the start
			t.Errorf("strangers make us say %v", &told)
		}
		// Those who wait for a slow stranger are few, and a known issuer's tokens pass beside them.
		p.mu.Lock()
		p.delay, p.keys, p.err = time.Minute, jwks(t, a), nil
		p.mu.Unlock()
		time.Sleep(strangerPace)
		var refused atomic.Int32
		for range 100 {
			go func() {
				if _, err := v.VerifyToken(context.Background(), by(t, 0, "a", name(5000))); err != nil && strings.Contains(err.Error(), "too many requests wait") {
					refused.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := refused.Load(); n != 100-strangerWaits {
			t.Errorf("of 100 that wait for a slow stranger %d are refused at once", n)
		}
		if got, why := status(t, v, "Bearer "+signed(t, "ES256", made(t, "ES256", 0).private, SignerOptions{Issuer: name(0)})); got != 200 {
			t.Errorf("an issuer whose keys are there: %d %s", got, why)
		}
		time.Sleep(time.Hour)
	})
}

// A list from an issuer that is longer than any is cut.
func TestLongListsOfIssuersAreCut(t *testing.T) {
	a, b := idpKeys(t)
	keys := []map[string]any{b}
	for range maxFetchedKeys {
		keys = append(keys, a)
	}
	s, warnings, err := parseSet([]byte(jwks(t, keys...)), true, false)
	if err != nil || len(s.all) != maxFetchedKeys || len(warnings) != 1 || !strings.Contains(warnings[0], "has 129 keys") {
		t.Errorf("%d keys, %v, %v", len(s.all), warnings, err)
	}
}

// Reload asks again at once.
func TestReloadOfIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := idpKeys(t)
		p := &fakeProvider{keys: jwks(t, a)}
		v := resolving(t, p, VerifierOptions{Issuer: idp})
		if got, _ := status(t, v, "Bearer "+by(t, 0, "a", idp)); got != 200 {
			t.Fatal(got)
		}
		changed := v.Changed()
		p.set(jwks(t, b), nil)
		v.Reload()
		<-changed
		if got, _ := status(t, v, "Bearer "+by(t, 0, "a", idp)); got != 401 {
			t.Errorf("a key that is gone: %d", got)
		}
	})
}

// Nobody is asked after Close, and what goes on ends.
func TestCloseEndsFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProvider{delay: time.Hour}
		v := resolving(t, p, VerifierOptions{Issuer: idp})
		denied := make(chan error, 1)
		go func() {
			_, err := v.VerifyToken(context.Background(), by(t, 0, "a", idp))
			denied <- err
		}()
		synctest.Wait()
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-denied; err == nil {
			t.Error("it passes")
		}
		if _, _, err := v.from.keys(context.Background(), idp); err == nil {
			t.Error("keys after Close")
		}
	})
}
