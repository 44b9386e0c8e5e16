package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// agent is a Live that a test changes.
type agent struct {
	mu      sync.Mutex
	own     *tls.Certificate
	roots   []*x509.Certificate
	refuses error
	byID    bool
	changed chan struct{}
}

func (a *agent) put(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	close(a.changed)
	a.changed = make(chan struct{})
}

var errNothing = errors.New("nothing yet")

func (a *agent) Certificate() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.own == nil {
		return nil, errNothing
	}
	return a.own, nil
}

func (a *agent) Authorities() ([]*x509.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.roots == nil {
		return nil, errNothing
	}
	return a.roots, nil
}

func (a *agent) Accept(chain []*x509.Certificate) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(chain) == 0 {
		return errors.New("nobody")
	}
	if a.roots == nil {
		return errNothing
	}
	return a.refuses
}

func (a *agent) ByID() bool     { return a.byID }
func (a *agent) String() string { return "agent" }
func (a *agent) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func newAgent() *agent { return &agent{changed: make(chan struct{})} }

func (a *agent) issue(ca issuer, name string) {
	c := ca.TLS(certstest.Leaf(name))
	c.Leaf, _ = x509.ParseCertificate(c.Certificate[0])
	root := certificate(ca.PEM)
	a.put(func() { a.own, a.roots = &c, []*x509.Certificate{root} })
}

func certificate(text string) *x509.Certificate {
	all, err := parseCertificates([]byte(text))
	if err != nil {
		panic(err)
	}
	return all[0]
}

// What is not there at the start is no error of a start, but every handshake's until it comes; Watcher then takes it at once.
func TestLiveThatComesLater(t *testing.T) {
	ca, a := newIssuer(t, "ca", false), newAgent()
	live := Options{Own: Pair{Kind: Lives, Live: a}, ClientCA: Authority{Kind: Lives, Live: a}}
	k := server(t, live)
	c, err := NewClient(Options{Own: live.Own, CA: live.ClientCA, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*Keeper{k, c} {
		var e *Error
		if s := k.Status(); !errors.As(s.Fault, &e) || !e.Waits || e.Key != "source" || s.Failures != 1 || s.Leaf != nil {
			t.Errorf("while nothing is there: %+v", s)
		}
		if _, err := k.Reload(); !errors.As(err, &e) || !e.Waits {
			t.Errorf("loaded: %v", err)
		}
	}
	m := meet(t, k.Server(), c.Client())
	if m.serverErr == nil || !strings.Contains(m.serverErr.Error(), "nothing yet") || m.clientErr == nil {
		t.Errorf("a handshake: server %v, client %v", m.serverErr, m.clientErr)
	}
	other, was := server(t, Options{Own: ca.pair("node")}), c.Client()
	if m := meet(t, other.Server(), c.Client()); m.clientErr == nil || !strings.Contains(m.clientErr.Error(), "nothing yet") {
		t.Errorf("a client that trusts nobody yet: %v", m.clientErr)
	}

	told := make(chan Event, 8)
	w := Watcher{Keepers: []*Keeper{k, c}, Told: func(e Event) { told <- e }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx, nil) }()
	a.issue(ca, "first")
	for range 2 {
		if e := <-told; e.Err != nil || !e.Changed {
			t.Errorf("told %+v", e)
		}
	}
	if m := meet(t, k.Server(), c.Client()); m.serverErr != nil || m.clientErr != nil {
		t.Errorf("once it is there: server %v, client %v", m.serverErr, m.clientErr)
	}
	for _, k := range []*Keeper{k, other} { // one that has begun before
		if m := meet(t, k.Server(), was); m.clientErr == nil || !strings.Contains(m.clientErr.Error(), "nothing yet") {
			t.Errorf("a client that trusted nobody when it began: %v", m.clientErr)
		}
	}
	if s := k.Status(); s.Fault != nil || s.Leaf == nil || s.Leaf.Subject.CommonName != "first" {
		t.Errorf("once it is there: %+v", s)
	}
	a.issue(ca, "second")
	for range 2 {
		<-told
	}
	if m := meet(t, k.Server(), c.Client()); m.clientErr != nil || m.client.PeerCertificates[0].Subject.CommonName != "second" {
		t.Errorf("after a rotation: %v, %v", m.client.PeerCertificates, m.clientErr)
	}
	cancel()
	<-ended
	if got := c.Trusts(); got != "agent" {
		t.Errorf("a client trusts %q", got)
	}
}

// Accept is asked about each peer, and one who resumes a session is no exception.
func TestLiveIsAskedAboutPeers(t *testing.T) {
	for _, version := range []string{TLS12, TLS13} {
		ca, a := newIssuer(t, "ca", false), newAgent()
		a.issue(ca, "node")
		live := Options{Own: Pair{Kind: Lives, Live: a}, ClientCA: Authority{Kind: Lives, Live: a}, Version: version}
		k := server(t, live)
		c := ca.client(t, Options{Own: live.Own, Version: version})
		if m := meet(t, k.Server(), c); m.clientErr != nil || m.serverErr != nil {
			t.Fatalf("%s: %v, %v", version, m.clientErr, m.serverErr)
		}
		if m := meet(t, k.Server(), c); m.clientErr != nil || !m.client.DidResume {
			t.Fatalf("%s: nothing is resumed: %v", version, m.clientErr)
		}
		a.put(func() { a.refuses = errors.New("not this one") })
		if m := meet(t, k.Server(), c); m.serverErr == nil || !strings.Contains(m.serverErr.Error(), "not this one") {
			t.Errorf("%s: one who resumes is let in: %v", version, m.serverErr)
		}
	}
}

// Where an identity is known, the name of the host says nothing, but who is not accepted is refused; elsewhere it counts.
func TestLiveByID(t *testing.T) {
	ca, a := newIssuer(t, "ca", false), newAgent()
	a.issue(ca, "node")
	k := server(t, Options{Own: ca.pair("node")})
	meets := func(o Options) error {
		o.CA = Authority{Kind: Lives, Live: a}
		o.ServerName = "elsewhere"
		c, err := NewClient(o)
		if err != nil {
			t.Fatal(err)
		}
		return meet(t, k.Server(), c.Client()).clientErr
	}
	if err := meets(Options{}); err == nil || !strings.Contains(err.Error(), "not elsewhere") {
		t.Errorf("by name: %v", err)
	}
	a.byID = true
	if err := meets(Options{}); err != nil {
		t.Errorf("by identity: %v", err)
	}
	a.refuses = errors.New("not this one")
	if err := meets(Options{}); err == nil || !strings.Contains(err.Error(), "not this one") {
		t.Errorf("another identity: %v", err)
	}
	if err := meets(Options{SkipVerify: true}); err != nil {
		t.Errorf("anybody: %v", err)
	}
}
