package spiffe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

func TestMain(m *testing.M) { leak.Main(m) }

const domain = "a.example"

func id(name string) string { return "spiffe://" + domain + "/" + name }

// workload is a Workload API of a trust domain for one who is called so, and whoever of other domains may be believed.
func workload(t *testing.T, d *spiretest.Domain, name string, life time.Duration, others ...*spiretest.Domain) *spiretest.API {
	t.Helper()
	api := spiretest.Serve(t)
	api.Bundles(spiretest.Bundles(t, append(others, d)...))
	api.Issue(d, "spiffe://"+d.Name+"/"+name, life)
	return api
}

func identity(t *testing.T, api *spiretest.API, change ...func(*Options)) *Identity {
	t.Helper()
	o := Options{Socket: api.Address()}
	for _, f := range change {
		f(&o)
	}
	i, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

func as(i *Identity) func(*session.Options) {
	return func(o *session.Options) { o.Secret, o.Tokens, o.Verifier = nil, i, i }
}

func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// believed waits until an identity believes its own token: its bundles come by another goroutine.
func believed(t *testing.T, i *Identity) *Identity {
	t.Helper()
	for ctx := inTime(t); ; time.Sleep(time.Millisecond) {
		text, err := i.Token(ctx, public)
		if err == nil {
			_, err = i.Verify(ctx, text)
		}
		if err == nil {
			return i
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

var public = bytes.Repeat([]byte{4}, 65)

// Workloads of a trust domain hold encrypted sessions; those of another one, and those who are not listed, are not let in. Rules: P-id-10.
func TestSessions(t *testing.T) {
	t.Parallel() // it waits for most of its time
	d, foreign := spiretest.NewDomain(t, domain), spiretest.NewDomain(t, "b.example")
	net := sessiontest.New(t, sessiontest.Options{})
	alice := net.App("org/ns/alice", as(believed(t, identity(t, workload(t, d, "alice", time.Hour)))))
	only := func(o *Options) { o.Peers = []string{id("alice"), id("bob")} }
	bob := net.App("org/ns/bob", as(believed(t, identity(t, workload(t, d, "bob", time.Hour), only))))
	if alice.Subject() != id("alice") {
		t.Errorf("alice is %s", alice.Subject())
	}
	l, err := bob.Listen(session.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := alice.Open(inTime(t), bob.Name(), session.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept(inTime(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Publish(inTime(t), session.Text("hello")); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Receive(inTime(t)); err != nil || m.Subject != id("alice") {
		t.Errorf("%+v, %v", m, err)
	}
	short := session.SessionOptions{Interval: 100 * time.Millisecond, Retries: 3}
	for name, i := range map[string]*Identity{
		"not listed":        identity(t, workload(t, d, "carol", time.Hour)),
		"of another domain": identity(t, workload(t, foreign, "alice", time.Hour, d)),
	} {
		before := bob.Stats().Unbelieved
		stranger := net.App("org/ns/stranger", as(i))
		if _, err := stranger.Open(inTime(t), bob.Name(), short); !errors.Is(err, session.ErrTimeout) {
			t.Errorf("%s: %v", name, err)
		}
		for until := time.Now().Add(time.Minute); bob.Stats().Unbelieved == before; time.Sleep(time.Millisecond) { // bob may not have come to it
			if time.Now().After(until) {
				t.Fatalf("%s: not counted", name)
			}
		}
	}
}

// Rules: P-id-3, P-id-4, P-id-10.
func TestTokens(t *testing.T) {
	d := spiretest.NewDomain(t, domain)
	api := workload(t, d, "alice", time.Hour)
	i := believed(t, identity(t, api))
	text, err := i.Token(inTime(t), public)
	if err != nil {
		t.Fatal(err)
	}
	c, err := i.Verify(t.Context(), text)
	if err != nil || c.Subject != id("alice") || !bytes.Equal(c.PublicKey, public) || !c.Issued.IsZero() || time.Until(c.Expires) > time.Hour {
		t.Errorf("%+v, %v", c, err)
	}
	link, err := NewLink(Options{Socket: api.Path()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = link.Close() })
	shown, err := link.Authorization(inTime(t))
	if err != nil || !strings.HasPrefix(shown, "Bearer ") {
		t.Fatalf("%q, %v", shown, err)
	}
	if c, err := i.Verify(t.Context(), strings.TrimPrefix(shown, "Bearer ")); err != nil || c.PublicKey != nil {
		t.Errorf("what nodes are shown names a key: %+v, %v", c, err)
	}
	audience := spiretest.Claims(id("alice"), -time.Minute, "slim", "slim-claims:eyJwdWJrZXkiOiJBQUFBIn0=")
	if _, err := i.Verify(t.Context(), d.Token(t, audience)); err == nil || errors.Is(err, session.ErrExpired) {
		t.Errorf("a key that is none: %v", err)
	}
	c, err = i.Verify(t.Context(), d.Token(t, spiretest.Claims(id("alice"), -time.Minute, "slim")))
	if !errors.Is(err, session.ErrExpired) || c.Subject != id("alice") {
		t.Errorf("expired: %+v, %v", c, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "for others": d.Token(t, spiretest.Claims(id("alice"), time.Hour, "others")),
		"expired, and for others":  d.Token(t, spiretest.Claims(id("alice"), -time.Minute, "others")),
		"expired, of a stranger's": spiretest.NewDomain(t, domain).Token(t, spiretest.Claims(id("alice"), -time.Minute, "slim")),
		"of a stranger's":          spiretest.NewDomain(t, domain).Token(t, spiretest.Claims(id("alice"), time.Hour, "slim")),
	} {
		if c, err := i.Verify(t.Context(), text); err == nil || errors.Is(err, session.ErrExpired) || c.Subject != "" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	changed := i.Changed()
	api.Bundles(spiretest.Bundles(t, spiretest.NewDomain(t, "b.example")))
	<-changed
	if _, err := i.Verify(t.Context(), text); err == nil {
		t.Error("who is of a domain without a bundle is believed")
	}
}

// For each key of a source tokens are renewed, and for no more than some.
func TestKeysOfAnIdentity(t *testing.T) {
	i := identity(t, workload(t, spiretest.NewDomain(t, domain), "alice", time.Hour))
	for n := range mostSources + 3 {
		key := bytes.Clone(public)
		key[1] = byte(n)
		for range 2 {
			text, err := i.Token(inTime(t), key)
			if err != nil {
				t.Fatal(err)
			}
			if c, err := i.Verify(t.Context(), text); err != nil || !bytes.Equal(c.PublicKey, key) {
				t.Errorf("%+v, %v", c, err)
			}
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.sources) != mostSources {
		t.Errorf("of %d keys", len(i.sources))
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

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// An API that is away, or knows no identity, is no defect of options: it is asked when a token is needed, and said to be away.
func TestAPIThatIsAway(t *testing.T) {
	t.Parallel() // it waits for most of its time
	d := spiretest.NewDomain(t, domain)
	api := spiretest.New(t)
	var log lines
	i := identity(t, api, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	o := sessiontest.New(t, sessiontest.Options{}).Options("org/ns/alice")
	as(i)(&o)
	if _, err := session.Connect(inTime(t), o); !errors.Is(err, session.ErrUnauthorized) || !strings.Contains(err.Error(), api.Path()) {
		t.Errorf("away: %v", err)
	}
	for begin := time.Now(); !strings.Contains(log.String(), "the Workload API fails"); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute { // another goroutine says it
			t.Fatalf("said: %s", log.String())
		}
	}
	api.Start()
	api.Bundles(spiretest.Bundles(t, d))
	api.Issue(d, id("alice"), time.Hour)
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		a, err := session.Connect(inTime(t), o)
		if err == nil {
			if a.Subject() != id("alice") {
				t.Errorf("it is %s", a.Subject())
			}
			_ = a.Close(inTime(t))
			break
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("the API is there: %v", err)
		}
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
	if _, err := i.Token(t.Context(), public); !errors.Is(err, errClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "")
	for what, o := range map[string]Options{
		"SPIFFE_ENDPOINT_SOCKET": {}, "three slashes": {Socket: "unix://run/agent.sock"}, "Peers": {Socket: "/run/agent.sock", Peers: []string{"alice"}},
	} {
		if _, err := New(o); !errors.Is(err, session.ErrConfig) || !strings.Contains(fmt.Sprint(err), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := NewLink(Options{Socket: "/run/agent.sock", Subject: "alice"}); !errors.Is(err, session.ErrConfig) {
		t.Error(err)
	}
}
