package certs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// files is a pair in a folder.
func files(dir string) Pair {
	return Pair{Kind: Files, Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

func put(t testing.TB, dir string, p Pair) {
	t.Helper()
	certstest.Write(t, dir, map[string]string{"cert.pem": p.Cert, "key.pem": p.Key})
}

// shown returns the name in the certificate that a client is shown now.
func shown(t testing.TB, k *Keeper, ca issuer) string {
	t.Helper()
	m := meet(t, k.Server(), ca.client(t, Options{}))
	if m.clientErr != nil {
		t.Fatal(m.clientErr)
	}
	return m.client.PeerCertificates[0].Subject.CommonName
}

func TestReloadTakesWhatIsGood(t *testing.T) {
	ca, dir := newIssuer(t, "ca", false), t.TempDir()
	put(t, dir, ca.pair("first"))
	k := server(t, Options{Own: files(dir)})
	if changed, err := k.Reload(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	second := ca.pair("second")
	certstest.Write(t, dir, map[string]string{"cert.pem": second.Cert}) // half of it
	if changed, err := k.Reload(); changed || err == nil || !strings.Contains(err.Error(), "source.key: "+dir) {
		t.Errorf("a certificate without its key: %v, %v", changed, err)
	}
	if got := shown(t, k, ca); got != "first" {
		t.Errorf("%q is shown after a reload that failed", got)
	}
	certstest.Write(t, dir, map[string]string{"key.pem": second.Key})
	if changed, err := k.Reload(); !changed || err != nil {
		t.Errorf("all has changed: %v, %v", changed, err)
	}
	if got := shown(t, k, ca); got != "second" {
		t.Errorf("%q is shown", got)
	}
}

// Tickets outlive a new certificate, but not the authority of the client that holds one.
func TestTicketsOutliveAReload(t *testing.T) {
	for name, version := range map[string]string{"1.3": TLS13, "1.2": TLS12} {
		t.Run(name, func(t *testing.T) {
			ca, clients, others, dir := newIssuer(t, "ca", false), newIssuer(t, "clients", false), newIssuer(t, "others", false), t.TempDir()
			put(t, dir, ca.pair("first"))
			certstest.Write(t, dir, map[string]string{"clients.pem": clients.PEM})
			k := server(t, Options{Own: files(dir), ClientCA: Authority{Kind: Files, CA: filepath.Join(dir, "clients.pem")}, Version: version})
			client := ca.client(t, Options{Own: clients.pair("app"), Version: version})
			resumed := func() bool {
				m := meet(t, k.Server(), client)
				if m.clientErr != nil {
					t.Fatal(m.clientErr)
				}
				return m.client.DidResume
			}
			if resumed() || !resumed() {
				t.Error("no ticket is taken at all")
			}
			put(t, dir, ca.pair("second"))
			if _, err := k.Reload(); err != nil {
				t.Fatal(err)
			}
			if !resumed() {
				t.Error("a ticket does not outlive a new certificate")
			}
			certstest.Write(t, dir, map[string]string{"clients.pem": others.PEM})
			if _, err := k.Reload(); err != nil {
				t.Fatal(err)
			}
			if m := meet(t, k.Server(), client); m.serverErr == nil {
				t.Errorf("a client of an authority that has gone comes in, resumed: %v", m.client.DidResume)
			}
		})
	}
}

// watching runs a watcher of k.
func watching(t *testing.T, k *Keeper) (told chan Event, now chan struct{}) {
	t.Helper()
	told, now = make(chan Event, 100), make(chan struct{})
	w := &Watcher{Keepers: []*Keeper{k}, Told: func(e Event) { told <- e }, Blind: func(err error) { t.Error(err) },
		Settle: 5 * time.Millisecond, Poll: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); w.Run(ctx, now) }()
	t.Cleanup(func() { cancel(); <-over })
	now <- struct{}{} // it watches from now on
	if e := next(t, told); !e.Asked || e.Changed || e.Err != nil {
		t.Fatalf("%+v", e)
	}
	return told, now
}

func next(t *testing.T, told chan Event) Event {
	t.Helper()
	select {
	case e := <-told:
		return e
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing is told")
		return Event{}
	}
}

// loaded returns the next event of files that were taken. Files of which one is replaced, and the other not yet, or of
// which half is written, may be looked at: that is told as a fault, and is over with the next look.
func loaded(t *testing.T, told chan Event) Event {
	t.Helper()
	for {
		if e := next(t, told); e.Err == nil {
			return e
		}
	}
}

func TestFilesAreWatched(t *testing.T) {
	ca := newIssuer(t, "ca", false)
	for name, replace := range map[string]func(t testing.TB, dir string, p Pair){
		"written in place": put,
		"replaced by others": func(t testing.TB, dir string, p Pair) {
			certstest.Write(t, dir, map[string]string{"cert.new": p.Cert, "key.new": p.Key})
			for _, n := range []string{"cert", "key"} {
				if err := os.Rename(filepath.Join(dir, n+".new"), filepath.Join(dir, n+".pem")); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, ca.pair("first"))
			k := server(t, Options{Own: files(dir)})
			told, _ := watching(t, k)
			for _, name := range []string{"second", "third"} {
				replace(t, dir, ca.pair(name))
				if e := loaded(t, told); !e.Changed {
					t.Fatalf("%+v", e)
				}
				if got := shown(t, k, ca); got != name {
					t.Errorf("%q is shown, want %q", got, name)
				}
			}
		})
	}
}

// Kubernetes mounts secrets as links to files below a link to a folder, and replaces the latter.
func TestFoldersOfKubernetesAreWatched(t *testing.T) {
	ca, dir := newIssuer(t, "ca", false), t.TempDir()
	swap := func(n string, p Pair) {
		if err := os.Mkdir(filepath.Join(dir, n), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, n), p)
		if err := os.Symlink(n, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", ca.pair("first"))
	for _, n := range []string{"cert.pem", "key.pem"} {
		if err := os.Symlink(filepath.Join("..data", n), filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	k := server(t, Options{Own: files(dir)})
	told, _ := watching(t, k)
	swap("..2", ca.pair("second"))
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	swap("..3", ca.pair("third"))
	for got := ""; got != "third"; got = shown(t, k, ca) {
		loaded(t, told)
	}
}

// A fault is told once, the end of it too, and what is asked for always.
func TestFaultsAreToldOnce(t *testing.T) {
	ca, dir := newIssuer(t, "ca", false), t.TempDir()
	good := ca.pair("first")
	put(t, dir, good)
	k := server(t, Options{Own: files(dir)})
	told, now := watching(t, k)
	replace := func(cert string) { // at once: half of it would be another fault
		certstest.Write(t, dir, map[string]string{"cert.new": cert})
		if err := os.Rename(filepath.Join(dir, "cert.new"), filepath.Join(dir, "cert.pem")); err != nil {
			t.Fatal(err)
		}
	}
	replace("broken")
	if e := next(t, told); e.Err == nil || e.Changed || e.Asked {
		t.Errorf("%+v", e)
	}
	certstest.Write(t, dir, map[string]string{"beside.pem": ""}) // looks again, and says nothing
	now <- struct{}{}
	if e := next(t, told); e.Err == nil || !e.Asked {
		t.Errorf("%+v", e)
	}
	replace(good.Cert)
	if e := next(t, told); e.Err != nil || e.Changed {
		t.Errorf("%+v", e)
	}
	if got := shown(t, k, ca); got != "first" {
		t.Errorf("%q is shown", got)
	}
}
