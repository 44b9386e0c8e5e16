package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// provider serves h; its URL is of this machine.
func provider(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, o Options) *Client {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = time.Minute // the machine may be busy
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

func TestGet(t *testing.T) {
	var got http.Header
	s := provider(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		fmt.Fprint(w, ` {"issuer": "x", "n": 12345678901234567890}`)
	})
	var v map[string]any
	if err := client(t, Options{}).JSON(t.Context(), s.URL+"/d?q=1", &v); err != nil {
		t.Fatal(err)
	}
	if v["issuer"] != "x" || v["n"] != json.Number("12345678901234567890") {
		t.Errorf("decoded %v", v)
	}
	if got.Get("User-Agent") != DefaultUserAgent || got.Get("Accept") != "*/*" || got.Get("Authorization") != "" || got.Get("Accept-Encoding") != "" {
		t.Errorf("headers %v", got)
	}
}

func TestGetWithAndPostForm(t *testing.T) {
	s := provider(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		_ = json.NewEncoder(w).Encode(map[string]any{"m": r.Method, "a": r.Header.Get("Authorization"), "f": r.PostForm.Encode(),
			"t": r.Header.Get("Content-Type")})
	})
	c := client(t, Options{})
	r, err := c.GetWith(t.Context(), s.URL, "Bearer x")
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":"Bearer x","f":"","m":"GET","t":""}`; strings.TrimSpace(string(r.Body)) != want {
		t.Errorf("GetWith: %s, want %s", r.Body, want)
	}
	r, err = c.PostForm(t.Context(), s.URL, "Basic y", url.Values{"grant_type": {"a b"}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":"Basic y","f":"grant_type=a+b","m":"POST","t":"application/x-www-form-urlencoded"}`; strings.TrimSpace(string(r.Body)) != want {
		t.Errorf("PostForm: %s, want %s", r.Body, want)
	}
}

// Whatever a provider answers ends within bounds and in an error that names the URL, without query, and what to do.
func TestHostileProviders(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	wait := func(r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}
	other := provider(t, func(w http.ResponseWriter, r *http.Request) { t.Error("a redirect to another origin was followed") })
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"no answer", func(w http.ResponseWriter, r *http.Request) { wait(r) }, "no complete answer in time (100ms at most)"},
		{"a body that does not end", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"keys": [`)
			_ = http.NewResponseController(w).Flush()
			wait(r)
		}, "no complete answer in time"},
		{"huge", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(spaces{}, 2001))
		}, "more than 2000 bytes"},
		{"endless", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, spaces{}) }, "more than 2000 bytes"},
		{"shorter than said", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{}")
		}, "unexpected EOF"},
		{"garbage", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "\xff\x00 {") }, "is not the JSON"},
		{"a page", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<html>")
		}, `but of type "text/html", and begins with "<html>"`},
		{"nothing", func(w http.ResponseWriter, r *http.Request) {}, "of 0 bytes (no object)"},
		{"null", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "null") }, "no object"},
		{"a list", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "[]") }, "no object"},
		{"cut off", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"a":`) }, "unexpected EOF"},
		{"two objects", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{}{}`) }, "there is more"},
		{"deep", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"a":`+strings.Repeat("[", 1900)) }, "is not the JSON"},
		{"an error", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }, "status 503: the provider cannot answer now"},
		{"not found", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }, "status 404: there is nothing"},
		{"a loop", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again?secret", http.StatusFound)
		}, "is redirected more than 5 times"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/x?secret", http.StatusFound)
		}, "only redirects to the same scheme, host and port are followed"},
		{"another scheme", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "only redirects to the same scheme"},
		{"cut connection", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		{"no HTTP", func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-x\r\n\r\n"))
			conn.Close()
		}, "malformed HTTP"},
		{"endless headers", func(w http.ResponseWriter, r *http.Request) {
			for i := range 3000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
		}, "exceeded"},
		{"a compressed answer that nobody asked for", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "\x1f\x8b\x08")
		}, "is not the JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := provider(t, c.h)
			timeout := time.Minute
			if strings.Contains(c.want, "in time") {
				timeout = 100 * time.Millisecond
			}
			var v map[string]any
			err := client(t, Options{Timeout: timeout, MaxBytes: 2000}).JSON(t.Context(), s.URL+"/keys?secret=SECRET", &v)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.URL+"/keys") {
				t.Errorf("error %v, want it to name %s/keys and to say %q", err, s.URL, c.want)
			} else if strings.Contains(strings.ToLower(err.Error()), "secret") {
				t.Errorf("the query is shown: %v", err)
			}
		})
	}
}

// spaces are endless.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestRedirectWithinOrigin(t *testing.T) {
	s := provider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/a" {
			http.Redirect(w, r, "/b", http.StatusFound)
			return
		}
		fmt.Fprint(w, `{"a":"b"}`)
	})
	c := client(t, Options{})
	var v map[string]any
	if err := c.JSON(t.Context(), s.URL+"/a", &v); err != nil || v["a"] != "b" {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := c.PostForm(t.Context(), s.URL+"/a", "Basic x", url.Values{}); err == nil || !strings.Contains(err.Error(), "configure the URL it leads to") {
		t.Errorf("a form that is redirected: %v", err)
	}
}

// A body that answers credentials is not shown: what is no JSON there may be a token all the same.
func TestSecretAnswersAreNotShown(t *testing.T) {
	s := provider(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "access_token=SECRET") })
	r, err := client(t, Options{}).PostForm(t.Context(), s.URL, "", url.Values{})
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := r.Decode(&v); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("error %v", err)
	}
}

// answerFunc is a transport.
type answerFunc func(*http.Request) (*http.Response, error)

func (f answerFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Who asks at the same time shares one request; who is tired of waiting leaves it to the others.
func TestJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		answer := make(chan struct{})
		c := NewOver(Options{Timeout: time.Minute}, answerFunc(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			<-answer
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("{}"))}, nil
		}))
		defer c.Close()
		impatient, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, err := c.Get(impatient, "https://a/k"); gone <- err }()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if r, err := c.Get(t.Context(), "https://a/k"); err != nil || string(r.Body) != "{}" {
					t.Errorf("%v, %v", r, err)
				}
			})
		}
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("who has left: %v", err)
		}
		close(answer)
		wg.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
		// What only one may see is never shared.
		for range 2 {
			if _, err := c.GetWith(t.Context(), "https://a/k", "Bearer x"); err != nil {
				t.Error(err)
			}
		}
		if n := asked.Load(); n != 3 {
			t.Errorf("asked %d times, want 3", n)
		}
	})
}

// Requests of a client are bounded in number: a stranger who names many URLs does not make many connections.
func TestSlots(t *testing.T) {
	var now, most atomic.Int32
	full, answer := make(chan struct{}), make(chan struct{})
	filled := sync.OnceFunc(func() { close(full) })
	s := provider(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == maxAtOnce {
			filled()
		}
		<-answer
		fmt.Fprint(w, `{}`)
	})
	c := client(t, Options{Timeout: time.Minute})
	var wg sync.WaitGroup
	for i := range 3 * maxAtOnce {
		wg.Go(func() {
			if _, err := c.Get(t.Context(), fmt.Sprintf("%s/%d", s.URL, i)); err != nil {
				t.Error(err)
			}
		})
	}
	<-full
	close(answer)
	wg.Wait()
	if n := most.Load(); n != maxAtOnce {
		t.Errorf("%d at once, want %d", n, maxAtOnce)
	}
}

func TestCloseEndsRequests(t *testing.T) {
	come := make(chan struct{}, 2)
	s := provider(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else nobody notices that the client is gone
		come <- struct{}{}
		<-r.Context().Done()
	})
	c := New(Options{Timeout: time.Minute})
	errs := make(chan error)
	go func() { _, err := c.Get(t.Context(), s.URL); errs <- err }()
	go func() { _, err := c.PostForm(t.Context(), s.URL, "", url.Values{}); errs <- err }()
	<-come
	<-come
	c.Close()
	for range 2 {
		if err := <-errs; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("error %v", err)
		}
	}
	if _, err := c.Get(t.Context(), s.URL); !errors.Is(err, context.Canceled) {
		t.Errorf("after Close: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	if _, err := client(t, Options{}).Get(t.Context(), "http://127.0.0.1:1/k?SECRET"); err == nil || !strings.Contains(err.Error(), "refused") ||
		strings.Contains(err.Error(), "SECRET") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{}`) }))
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	if _, err := client(t, Options{}).Get(t.Context(), s.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if _, err := client(t, Options{TLS: &tls.Config{RootCAs: roots}}).Get(t.Context(), s.URL); err != nil {
		t.Error(err)
	}
}

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		raw   string
		plain bool
		want  error
	}{
		{"https://idp.example", false, nil},
		{"https://idp.example:8443/realms/x", false, nil},
		{"http://localhost/x", false, nil},
		{"http://LOCALHOST:80/x", false, nil},
		{"http://127.0.0.1:9000", false, nil},
		{"http://[::1]:9000", false, nil},
		{"http://idp.example", false, ErrPlain},
		{"http://idp.example", true, nil},
		{"http://127.0.0.2", false, ErrPlain},
		{"http://localhost.example", false, ErrPlain},
		{"http://localhost@idp.example", false, ErrPlain},
		{"http://[::2]", false, ErrPlain},
		{"HTTPS://idp.example", false, nil},
		{"", false, ErrURL},
		{"idp.example", false, ErrURL},
		{"ftp://idp.example", true, ErrURL},
		{"file:///etc/passwd", true, ErrURL},
		{"https://", false, ErrURL},
		{"https://:443", false, ErrURL},
		{"https:idp.example", false, ErrURL},
		{"https://user:SECRET@idp.example:x/?SECRET#SECRET", false, ErrURL},
		{"http://user:SECRET@idp.example/?SECRET#SECRET", false, ErrPlain},
	} {
		_, err := ParseURL(c.raw, c.plain)
		if !errors.Is(err, c.want) {
			t.Errorf("%q, plain %v: %v, want %v", c.raw, c.plain, err, c.want)
		} else if err != nil && strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: its error shows what is secret: %v", c.raw, err)
		}
	}
	long := "http://idp.example/" + base64.StdEncoding.EncodeToString(make([]byte, 1<<16))
	if _, err := ParseURL(long, false); err == nil || len(err.Error()) > 1000 {
		t.Errorf("a long URL: %v", err)
	}
}

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"https://a/x", "https://a/y?z", true},
		{"https://a", "https://A:443", true},
		{"http://a", "http://a:80/", true},
		{"https://a", "http://a", false},
		{"https://a", "https://b", false},
		{"https://a", "https://a:8443", false},
		{"https://a", "https://a.b", false},
		{"http://[::1]:1", "http://[::1]:1/x", true},
	} {
		a, _ := url.Parse(c.a)
		b, _ := url.Parse(c.b)
		if got := SameOrigin(a, b); got != c.want {
			t.Errorf("%s and %s: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestPace(t *testing.T) {
	p := Pace{Every: time.Second}
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {999 * time.Millisecond, false}, {time.Second, true}, {1500 * time.Millisecond, false}, {time.Hour, true}} {
		if got := p.Try(now.Add(c.after)); got != c.want {
			t.Errorf("after %v: %v, want %v", c.after, got, c.want)
		}
	}
	var usual Pace
	if !usual.Try(now) || usual.Try(now.Add(DefaultPace-1)) || !usual.Try(now.Add(DefaultPace)) {
		t.Error("the usual pace")
	}
}
