package certs

import (
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// An authority that is trusted is so however many authorities are below it: what its certificate says of that does not count.
// Rules: P-tls-3.
func TestAuthoritiesAreTrustedAtAnyDepth(t *testing.T) {
	last := newIssuer(t, "root", false).LastBelow("last")
	below := last.Below("one more")
	cert, key := below.Pair("node")
	s := server(t, Options{Own: Pair{Kind: Text, Cert: cert + below.PEM, Key: key}})
	m := meet(t, s.Server(), issuer{last}.client(t, Options{}))
	if m.clientErr != nil || m.serverErr != nil {
		t.Errorf("client %v, server %v", m.clientErr, m.serverErr)
	}
}

// A reload that finds what there was leaves what is in use as it is: sessions of clients can be resumed.
func TestReloadOfTheSameLeavesAll(t *testing.T) {
	ca := newIssuer(t, "ca", false)
	k, err := NewClient(Options{CA: Authority{Kind: Text, CA: ca.PEM}})
	if err != nil {
		t.Fatal(err)
	}
	before := k.Client()
	if changed, err := k.Reload(); changed || err != nil || k.Client() != before {
		t.Errorf("changed %v, %v; another configuration %v", changed, err, k.Client() != before)
	}
}

// A fault is told once, however often the files are looked at, until it is another, or somebody asks.
func TestFaultIsToldAtEachLookOnce(t *testing.T) {
	ca, dir := newIssuer(t, "ca", false), t.TempDir()
	good, other := ca.pair("first"), ca.pair("second").Cert // of another key
	put(t, dir, good)
	var told []Event
	w := &Watcher{Keepers: []*Keeper{server(t, Options{Own: files(dir)})}, Told: func(e Event) { told = append(told, e) }}
	texts := make([]string, 1)
	for i, tt := range []struct {
		cert          string
		asked, strict bool
		want          int
	}{
		{"broken", false, false, 0},
		{"broken", false, true, 1},
		{"broken", false, true, 1},
		{other, false, true, 2},
		{other, true, true, 3},
		{other, false, true, 3},
		{good.Cert, false, true, 4},
		{good.Cert, false, true, 4},
	} {
		certstest.Write(t, dir, map[string]string{"cert.pem": tt.cert})
		if w.reload(texts, tt.asked, tt.strict); len(told) != tt.want {
			t.Errorf("look %d: told %d times, want %d", i, len(told), tt.want)
		}
	}
}
