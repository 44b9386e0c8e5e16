package spire

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
)

var parseID = spiffeid.FromString

func newX509(t *testing.T, a *Agent, domains []string, peers ...string) *X509 {
	t.Helper()
	p, err := ParsePeers(peers)
	if err != nil {
		t.Fatal(err)
	}
	x, err := NewX509(a, domains, p)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// shown is the SPIFFE ID that x shows; "": none.
func shown(x *X509) string {
	c, err := x.Certificate()
	if err != nil || len(c.Leaf.URIs) == 0 {
		return ""
	}
	return c.Leaf.URIs[0].String()
}

// An API that is away hinders nothing, says why there is nothing, and gives what it has once it is there; what it gave stays while
// it is away again. Rules: P-spiffe-7.
func TestAPIThatComesAndGoes(t *testing.T) {
	t.Parallel()
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.New(t)
	a, told := agentOf(t, api)
	x := newX509(t, a, nil) // does not wait
	if _, err := x.Certificate(); err == nil || !strings.Contains(err.Error(), "no certificate yet from the Workload API at "+api.Address()) ||
		!strings.Contains(err.Error(), "it is away") {
		t.Errorf("while it is away: %v", err)
	}
	if err := told.heard(t); err == nil || !strings.Contains(err.Error(), "it is away") {
		t.Errorf("told %v", err)
	}
	api.Start() // it knows nobody yet
	until(t, "denied", func() <-chan struct{} { return ticks(t) }, func() bool {
		_, err := x.Certificate()
		return strings.Contains(err.Error(), "registration entry")
	})
	api.X509(d.X509(t, "spiffe://a.org/one"))
	until(t, "the first", x.Changed, func() bool { return shown(x) == "spiffe://a.org/one" })
	if err := told.heard(t); err != nil {
		t.Errorf("told %v", err)
	}
	api.Stop()
	if err := told.heard(t); err == nil {
		t.Error("that it is away again is not told")
	}
	if got := shown(x); got != "spiffe://a.org/one" {
		t.Errorf("while it is away: %q", got)
	}
	api.X509(d.X509(t, "spiffe://a.org/two"))
	api.Start()
	until(t, "the second", x.Changed, func() bool { return shown(x) == "spiffe://a.org/two" })
	if err := told.heard(t); err != nil {
		t.Errorf("told %v", err)
	}
}

// A start does not wait for ever for an API that takes connections and says nothing, by HTTP/2 or not. Rules: P-spiffe-7.
func TestSilentAPI(t *testing.T) {
	t.Parallel()
	silent := spiretest.Serve(t)
	silent.Silence()
	mute := spiretest.New(t)
	ln, err := net.Listen("unix", mute.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	for name, api := range map[string]*spiretest.API{"silent": silent, "mute": mute} {
		a, _ := agentAt(t, api, pace{start: 10 * time.Millisecond, first: time.Hour, last: time.Hour})
		if _, err := newX509(t, a, nil).Certificate(); err == nil || !strings.Contains(err.Error(), "no certificate yet") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ticks is a channel that is closed soon, for what announces no change.
func ticks(t *testing.T) <-chan struct{} {
	t.Helper()
	c := make(chan struct{})
	time.AfterFunc(10*time.Millisecond, func() { close(c) })
	return c
}

// Whatever a stream ends with, it is opened again; what makes no sense changes nothing.
func TestHostileAPI(t *testing.T) {
	t.Parallel()
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	api.X509(d.X509(t, "spiffe://a.org/one"))
	a, told := agentOf(t, api)
	x := newX509(t, a, nil)
	if got := shown(x); got != "spiffe://a.org/one" {
		t.Fatalf("at the start: %q", got)
	}
	good := func() *workload.X509SVIDResponse { return d.X509(t, "spiffe://a.org/bad") }
	with := func(change func(*workload.X509SVIDResponse)) *workload.X509SVIDResponse {
		r := good()
		change(r)
		return r
	}
	signed := func(change func(*x509.Certificate)) *workload.X509SVIDResponse {
		c := spiretest.Leaf(t, "spiffe://a.org/bad")
		change(c)
		return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{d.Sign(t, c)}}
	}
	for name, r := range map[string]*workload.X509SVIDResponse{
		"nothing":        {},
		"no bytes":       {Svids: []*workload.X509SVID{{}}},
		"no certificate": with(func(r *workload.X509SVIDResponse) { r.Svids[0].X509Svid = []byte("x") }),
		"no key":         with(func(r *workload.X509SVIDResponse) { r.Svids[0].X509SvidKey = nil }),
		"key of another": with(func(r *workload.X509SVIDResponse) { r.Svids[0].X509SvidKey = good().Svids[0].X509SvidKey }),
		"no bundle":      with(func(r *workload.X509SVIDResponse) { r.Svids[0].Bundle = []byte{1} }),
		"a bundle of no trust domain": with(func(r *workload.X509SVIDResponse) {
			r.FederatedBundles["spiffe://B.ORG"] = d.Bundle()
		}),
		"no SPIFFE ID":  signed(func(c *x509.Certificate) { c.URIs = nil }),
		"two of them":   signed(func(c *x509.Certificate) { c.URIs = append(c.URIs, spiretest.Leaf(t, "spiffe://a.org/x").URIs...) }),
		"an authority":  signed(func(c *x509.Certificate) { c.IsCA = true }),
		"may sign":      signed(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }),
		"expired":       signed(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) }),
		"over the size": with(func(r *workload.X509SVIDResponse) { r.FederatedBundles["spiffe://b.org"] = make([]byte, maxUpdate) }),
	} {
		api.X509(r)
		if err := told.heard(t); err == nil {
			t.Errorf("%s: it is told that all is well", name)
		}
		if got := shown(x); got != "spiffe://a.org/one" {
			t.Errorf("%s: %q is shown", name, got)
		}
		api.X509(d.X509(t, "spiffe://a.org/one"))
		if err := told.heard(t); err != nil {
			t.Errorf("%s: told %v after it", name, err)
		}
	}
	for _, code := range []codes.Code{codes.Unavailable, codes.PermissionDenied, codes.Internal, codes.Canceled, codes.InvalidArgument, codes.Unimplemented} {
		api.Fail(status.Error(code, "a test\n\x1b[31m"))
		if err := told.heard(t); err == nil || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: told %v", code, err)
		}
		api.Fail(nil)
		if err := told.heard(t); err != nil {
			t.Errorf("%s: told %v after it", code, err)
		}
	}
}

// A bundle as large as what is taken is taken.
func TestLargeBundle(t *testing.T) {
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	r := d.X509(t, "spiffe://a.org/one")
	one := r.Svids[0].Bundle
	for len(r.Svids[0].Bundle) < maxUpdate-(64<<10) {
		r.Svids[0].Bundle = append(r.Svids[0].Bundle, one...)
	}
	api.X509(r)
	a, _ := agentOf(t, api)
	x := newX509(t, a, nil)
	if _, err := x.Authorities(); err != nil {
		t.Error(err)
	}
}

// handshake has a listener and a client with these meet, and returns what either says.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	done := make(chan error)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		s := tls.Server(c, server)
		if err = s.Handshake(); err == nil {
			_, _ = s.Write([]byte{1})
		}
		_ = c.Close()
		done <- err
	}()
	c, err := tls.Dial("tcp", ln.Addr().String(), client)
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
		_ = c.Close()
	}
	return <-done, err
}

// live is a keeper of a listener that has all of x.
func listener(t *testing.T, own, peers *X509) *certs.Keeper {
	t.Helper()
	k, err := certs.NewServer(certs.Options{Own: certs.Pair{Kind: certs.Lives, Live: own}, ClientCA: certs.Authority{Kind: certs.Lives, Live: peers}})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func client(t *testing.T, own, peers *X509, name string) *tls.Config {
	t.Helper()
	k, err := certs.NewClient(certs.Options{Own: certs.Pair{Kind: certs.Lives, Live: own}, CA: certs.Authority{Kind: certs.Lives, Live: peers}, ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return k.Client()
}

// Who is let in by which bundles and patterns. Rules: P-spiffe-5, P-spiffe-6.
func TestPeersByX509(t *testing.T) {
	a, b := spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "b.org")
	ours, api := spiretest.Serve(t), spiretest.Serve(t)
	ours.X509(a.X509(t, "spiffe://a.org/node", b))
	agent, _ := agentOf(t, ours)
	peer, _ := agentOf(t, api)
	own := newX509(t, agent, nil)
	api.X509(a.X509(t, "spiffe://a.org/app", b))
	theirs := newX509(t, peer, nil)

	answer := func(by *spiretest.Domain, id string) *workload.X509SVIDResponse {
		svid := by.Sign(t, spiretest.Leaf(t, id))
		svid.SpiffeId, svid.Bundle = "spiffe://a.org/any", a.Bundle()
		return &workload.X509SVIDResponse{Svids: []*workload.X509SVID{svid}}
	}
	for _, c := range []struct {
		name    string
		answer  *workload.X509SVIDResponse
		domains []string
		peers   []string
		says    string // at the listener; "": let in
	}{
		{"own trust domain", answer(a, "spiffe://a.org/app"), nil, nil, ""},
		{"another one", answer(b, "spiffe://b.org/app"), nil, nil, "certificate"},
		{"another one that is named", answer(b, "spiffe://b.org/app"), []string{"b.org"}, nil, ""},
		{"in the name of another", answer(b, "spiffe://a.org/app"), []string{"b.org"}, nil, "spiffe://a.org/app"},
		{"of one without a bundle", answer(a, "spiffe://c.org/app"), []string{"c.org"}, nil, "whose bundle is not in use"},
		{"accepted", answer(a, "spiffe://a.org/app"), nil, []string{"spiffe://a.org/*"}, ""},
		{"not accepted", answer(a, "spiffe://a.org/app"), nil, []string{"spiffe://a.org/other"}, "none of accepted_spiffe_ids"},
	} {
		t.Run(c.name, func(t *testing.T) {
			was := theirs.Changed()
			api.X509(c.answer)
			wait(t, "the client's certificate", was)
			serverErr, clientErr := handshake(t, listener(t, own, newX509(t, agent, c.domains, c.peers...)).Server(), client(t, theirs, own, "localhost"))
			switch {
			case c.says == "" && (serverErr != nil || clientErr != nil):
				t.Errorf("%v, %v", serverErr, clientErr)
			case c.says != "" && (serverErr == nil || !strings.Contains(serverErr.Error(), c.says)):
				t.Errorf("%v, want %q in it", serverErr, c.says)
			}
		})
	}
}

// A certificate without a SPIFFE ID, of which a trusted authority vouches, is let in as upstream does it, unless IDs are wanted.
func TestPeersWithoutID(t *testing.T) {
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	api.X509(d.X509(t, "spiffe://a.org/node"))
	a, _ := agentOf(t, api)
	parse := func(ids ...string) []*x509.Certificate {
		all, err := x509.ParseCertificates(d.Sign(t, spiretest.Leaf(t, ids...)).X509Svid)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if err := newX509(t, a, nil).Accept(parse()); err != nil {
		t.Error(err)
	}
	if err := newX509(t, a, nil).Accept(parse("https://a.org/x")); err != nil {
		t.Error(err)
	}
	for what, chain := range map[string][]*x509.Certificate{
		"none": {}, "no ID": parse(), "another scheme": parse("https://a.org/x"), "two": parse("spiffe://a.org/x", "spiffe://a.org/y"), "no path": parse("spiffe://a.org"),
	} {
		if err := newX509(t, a, nil, "spiffe://a.org/*").Accept(chain); err == nil {
			t.Errorf("%s: let in", what)
		}
	}
	if err := newX509(t, a, nil).Accept(parse("spiffe://a.org/x", "spiffe://a.org/y")); err == nil {
		t.Error("two IDs: let in")
	}
}

// A rotation is seen by the keepers' watcher, bundles too: who is of a trust domain that has vanished is refused from then on, also
// if it resumes a session.
func TestRotation(t *testing.T) {
	t.Parallel()
	a, b := spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "b.org")
	ours, api := spiretest.Serve(t), spiretest.Serve(t)
	ours.X509(a.X509(t, "spiffe://a.org/one", b))
	api.X509(b.X509(t, "spiffe://b.org/app", a))
	agent, _ := agentOf(t, ours)
	peer, _ := agentOf(t, api)
	k := listener(t, newX509(t, agent, nil), newX509(t, agent, []string{"b.org"}))
	c := client(t, newX509(t, peer, nil), newX509(t, peer, []string{"a.org"}), "localhost")
	if got := k.Trusts(); got != "SPIRE: a.org, b.org" {
		t.Errorf("trusts %q", got)
	}
	told := make(chan certs.Event, 8)
	w := certs.Watcher{Keepers: []*certs.Keeper{k}, Told: func(e certs.Event) { told <- e }}
	done := make(chan struct{})
	stop := make(chan struct{})
	ctx := soon(t)
	go func() { defer close(done); w.Run(ctx, stop) }()
	t.Cleanup(func() { <-done })

	if serverErr, clientErr := handshake(t, k.Server(), c); serverErr != nil || clientErr != nil {
		t.Fatal(serverErr, clientErr)
	}
	ours.X509(a.X509(t, "spiffe://a.org/two", b))
	if e := <-told; e.Err != nil || !e.Changed || k.Leaf().URIs[0].Path != "/two" {
		t.Errorf("told %+v of %v", e, k.Leaf().URIs)
	}
	if serverErr, clientErr := handshake(t, k.Server(), c); serverErr != nil || clientErr != nil {
		t.Error(serverErr, clientErr)
	}
	ours.X509(a.X509(t, "spiffe://a.org/three"))
	<-told
	if serverErr, _ := handshake(t, k.Server(), c); serverErr == nil {
		t.Error("one of a trust domain that has vanished is let in")
	}
	if got := k.Trusts(); got != "SPIRE: a.org, b.org (there is no bundle of it)" {
		t.Errorf("trusts %q", got)
	}
}

// Agents are shared by address, and end with who wants them.
func TestAgentsAreShared(t *testing.T) {
	api := spiretest.Serve(t)
	all := NewAgents(Options{})
	one, err := all.At(api.Address())
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := all.At(api.Address()); again != one {
		t.Error("an address has two agents")
	}
	x := newX509(t, one, nil)
	all.Keep([]string{api.Address()})
	if again, _ := all.At(api.Address()); again != one {
		t.Error("one that is kept has gone")
	}
	all.Keep(nil)
	if _, err := x.Certificate(); err == nil || !strings.Contains(err.Error(), "was closed") {
		t.Errorf("one that is not kept: %v", err)
	}
	newX509(t, one, nil) // and waits for nothing
	all.Close()
	if _, err := all.At(api.Address()); err == nil {
		t.Error("there are agents after the end")
	}
	offline := NewAgents(Options{Offline: true})
	defer offline.Close()
	a, err := offline.At("unix:///nowhere")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newX509(t, a, nil).Certificate(); err == nil || !strings.Contains(err.Error(), "not asked") {
		t.Errorf("offline: %v", err)
	}
}

// Settings that are wrong are refused at once, whether the API is there or not.
func TestWrongSettings(t *testing.T) {
	api := spiretest.New(t)
	a, _ := agentOf(t, api)
	if _, err := NewX509(a, []string{"a org"}, Peers{}); err == nil || !strings.Contains(err.Error(), `"a org" is no trust domain`) {
		t.Errorf("a trust domain: %v", err)
	}
	for _, audiences := range [][]string{nil, {""}, {"a", "slim-claims:e30="}} {
		if _, err := NewVerifier(a, VerifierOptions{Audiences: audiences}); err == nil || !strings.Contains(err.Error(), "jwt_audiences") {
			t.Errorf("audiences %q of a verifier: %v", audiences, err)
		}
		if _, err := NewSource(a, SourceOptions{Audiences: audiences}); err == nil || !strings.Contains(err.Error(), "jwt_audiences") {
			t.Errorf("audiences %q of a source: %v", audiences, err)
		}
	}
	if _, err := NewSource(a, SourceOptions{Audiences: []string{"slim"}, Subject: "x"}); err == nil || !strings.Contains(err.Error(), "target_spiffe_id") {
		t.Errorf("a subject: %v", err)
	}
}
