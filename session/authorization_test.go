package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// guard is a listener that lets nobody in, and notes what it was shown.
type guard struct {
	addr string

	mu    sync.Mutex
	shown []string // guarded by mu
}

func startGuard(t *testing.T) *guard {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &guard{addr: l.Addr().String()}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.shown = append(g.shown, r.Header.Get("authorization"))
		g.mu.Unlock()
		w.WriteHeader(http.StatusUnauthorized)
	})}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return g
}

// inTime ends what waits for ever, which is then an error.
func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (g *guard) last() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.shown) == 0 {
		return "nothing came"
	}
	return g.shown[len(g.shown)-1]
}

// authorizer is a function as an Authorizer.
type authorizer func(context.Context) (string, error)

func (f authorizer) Authorization(ctx context.Context) (string, error) { return f(ctx) }

// An app shows what is to be shown by both transports, and is told that the node does not let it in.
func TestAuthorizationIsShown(t *testing.T) {
	g := startGuard(t)
	for _, scheme := range []string{"http", "ws"} {
		_, err := Connect(inTime(t), Options{
			Name: MustName("org/ns/alice"), Secret: secret, Nodes: []string{scheme + "://" + g.addr},
			Authorization: authorizer(func(context.Context) (string, error) { return "Bearer of " + scheme, nil }),
		})
		if !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %v", scheme, err)
		}
		if got := g.last(); got != "Bearer of "+scheme {
			t.Errorf("%s: shown %q", scheme, got)
		}
	}
}

// What is for the app's own nodes is not shown to those of routes.
func TestAuthorizationOfRoutes(t *testing.T) {
	for _, c := range []struct {
		name  string
		route Authorizer
		want  string
	}{
		{"none", nil, ""},
		{"its own", authorizer(func(context.Context) (string, error) { return "Bearer of the route", nil }), "Bearer of the route"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := startGuard(t)
			_, err := Connect(inTime(t), Options{
				Name: MustName("org/ns/alice"), Secret: secret,
				Link: func(_ context.Context, from Incoming) (Link, error) {
					from.Changed(nil)
					return idleLink{}, nil
				},
				Authorization: authorizer(func(context.Context) (string, error) { return "Bearer of the app", nil }),
				Uplink: uplink.Options{
					Fields:        []uplink.Field{{Name: "Authorization", Value: "Bearer of the fields"}},
					Authorization: func(context.Context) (string, error) { return "Bearer of the uplink", nil },
				},
				Routes: []Route{{Nodes: []string{"http://" + g.addr}, Authorization: c.route}},
			})
			if !errors.Is(err, ErrUnauthorized) {
				t.Error(err)
			}
			if got := g.last(); got != c.want {
				t.Errorf("shown %q, want %q", got, c.want)
			}
		})
	}
}

// idleLink is a link that is only closed.
type idleLink struct{ Link }

func (idleLink) Close(context.Context) error { return nil }

// Where there is nothing to show for now no request goes out; that is said, and the app asks again until its time is over.
func TestAuthorizationThatFails(t *testing.T) {
	g := startGuard(t)
	var log lines
	again := make(chan struct{}, 64)
	times := 0
	_, err := Connect(inTime(t), Options{
		Name: MustName("org/ns/alice"), Secret: secret, Nodes: []string{"http://" + g.addr},
		Backoff: func(int) time.Duration { return time.Millisecond }, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Authorization: authorizer(func(context.Context) (string, error) {
			again <- struct{}{}
			if times++; times < 3 {
				return "", fmt.Errorf("the provider is away")
			}
			return "Bearer at last", nil
		}),
	})
	if !errors.Is(err, ErrUnauthorized) || len(again) != 3 || g.last() != "Bearer at last" {
		t.Errorf("after %d times, with %q: %v", len(again), g.last(), err)
	}
	if !strings.Contains(log.text(), "the provider is away") || strings.Contains(log.text(), "Bearer") {
		t.Errorf("said: %s", log.text())
	}
}

// An app whose node is not there says so at once, with where it looks, and goes on trying.
func TestNodeThatIsNotThere(t *testing.T) {
	const node = "127.0.0.1:1" // a port of no use that is not given out
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log lines
	attempts := 0
	_, err := Connect(ctx, Options{
		Name: MustName("org/ns/alice"), Secret: secret, Nodes: []string{node}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Backoff: func(int) time.Duration {
			if attempts++; attempts == 3 {
				cancel()
			}
			return time.Millisecond
		},
	})
	if !errors.Is(err, context.Canceled) || attempts < 3 {
		t.Errorf("%d attempts: %v", attempts, err)
	}
	if text := log.text(); strings.Count(text, "no node can be reached") != 1 || !strings.Contains(text, node) || strings.Contains(text, "lost") {
		t.Errorf("said: %s", text)
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Credentials that others can read on their way are spoken of.
func TestCredentialsInTheClear(t *testing.T) {
	for node, want := range map[string]bool{
		"http://node.example:1": true, "ws://192.0.2.1:1": true, "https://node.example:1": false, "wss://node.example:1": false,
		"http://localhost:1": false, "http://127.0.0.1:1": false, "ws://[::1]:1": false, "unix:///run/x": false,
	} {
		u, err := uplink.ParseURL(node)
		if err != nil {
			t.Fatal(err)
		}
		if got := inTheClear(u); got != want {
			t.Errorf("%s: %v", node, got)
		}
	}
}

// fickle is a notary that takes back what it has said of a subject.
type fickle struct {
	*notary
	mu      sync.Mutex
	denies  string        // guarded by mu
	changed chan struct{} // guarded by mu
	during  func()        // guarded by mu: the next question about somebody else; nil: nothing
}

func (f *fickle) Verify(ctx context.Context, token string) (Claims, error) {
	c, err := f.notary.Verify(ctx, token)
	f.mu.Lock()
	denied, during := err == nil && c.Subject == f.denies, f.during
	if c.Subject != f.subject {
		f.during = nil
	}
	f.mu.Unlock()
	if during != nil && c.Subject != f.subject {
		during()
	}
	if denied {
		return Claims{}, errors.New("its key is revoked")
	}
	return c, err
}

func (f *fickle) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fickle) deny(subject string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.denies = subject
	close(f.changed)
	f.changed = make(chan struct{})
}

// A key that is revoked ends what was believed because of it, although tokens live on: also where a token is asked about meanwhile.
func TestVerifierThatChangesItsMind(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		o := newOffice()
		f := &fickle{notary: &notary{subject: "bob@tests", life: time.Hour, made: o.made}, changed: make(chan struct{})}
		bob := h.app("bob", func(o *Options) { o.Secret, o.Tokens, o.Verifier = nil, f, f })
		alice, carol := h.app("alice", o.of("alice")), h.app("carol", o.of("carol"))
		l := listen(t, bob)
		short := SessionOptions{Interval: 100 * time.Millisecond, Retries: 3}
		a, err := alice.Open(t.Context(), bob.Name(), short)
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		publish(t, a, "before")
		receives(t, b, alice, "before")
		f.deny("alice@tests")
		time.Sleep(time.Minute) // heartbeats
		if _, err := alice.Open(t.Context(), bob.Name(), short); !errors.Is(err, ErrTimeout) {
			t.Errorf("who is revoked opens a session: %v", err)
		}
		refused := false
		for e, err := range b.Events(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if r, ok := e.(Refused); ok {
				refused = strings.Contains(r.Err.Error(), "revoked")
				break
			}
		}
		if s := bob.Stats(); !refused || s.Refused == 0 || s.Unbelieved == 0 {
			t.Errorf("told %v, %+v", refused, s)
		}
		f.mu.Lock()
		f.during = func() { f.deny("carol@tests") }
		f.mu.Unlock()
		if _, err := carol.Open(t.Context(), bob.Name(), short); !errors.Is(err, ErrTimeout) {
			t.Errorf("who is revoked while it is asked about opens a session: %v", err)
		}
		f.deny("")
		time.Sleep(time.Second)
		if _, err := carol.Open(t.Context(), bob.Name(), short); err != nil {
			t.Errorf("who is no longer revoked: %v", err)
		}
	})
}
