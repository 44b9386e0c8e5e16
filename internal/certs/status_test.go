package certs

import (
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// Whoever asks is told what is in use, and that what the files hold now cannot be loaded, until it can.
func TestStatusTellsOfLoadsThatFail(t *testing.T) {
	ca, dir := newIssuer(t, "ca", false), t.TempDir()
	put(t, dir, ca.pair("first"))
	k := server(t, Options{Own: files(dir)})
	begun := k.Status()
	if begun.Leaf.Subject.CommonName != "first" || begun.Loaded.IsZero() || begun.Fault != nil || begun.Failures != 0 {
		t.Errorf("at the start: %+v", begun)
	}
	told, now := watching(t, k)
	certstest.Write(t, dir, map[string]string{"cert.pem": "broken"})
	var failed time.Time
	for n := uint64(1); n <= 2; n++ {
		now <- struct{}{}
		for next(t, told); k.Status().Failures < n; {
			next(t, told)
		}
		if at := k.Status().Failed; n > 1 && !at.Equal(failed) {
			t.Errorf("failed since %v, and then since %v", failed, at)
		} else {
			failed = at
		}
	}
	s := k.Status()
	if s.Fault == nil || !strings.Contains(s.Fault.Error(), "source.cert: "+dir) || s.Failures < 2 || s.Failed.Before(s.Loaded) ||
		s.Leaf.Subject.CommonName != "first" || !s.Loaded.Equal(begun.Loaded) {
		t.Errorf("after loads that failed: %+v", s)
	}
	put(t, dir, ca.pair("second"))
	now <- struct{}{}
	for k.Status().Fault != nil {
		next(t, told)
	}
	if s = k.Status(); s.Leaf.Subject.CommonName != "second" || !s.Failed.IsZero() || s.Failures < 2 || s.Loaded.Before(begun.Loaded) {
		t.Errorf("after it was mended: %+v", s)
	}
}

// The file that is at fault is named, and a byte order mark is none.
func TestFaultsNameTheFile(t *testing.T) {
	ca := newIssuer(t, "ca", false)
	below := ca.Below("below")
	cert, key := below.Pair("leaf")
	const want = "source.cert: certificate 2 is that of the key, and has to stand first"
	if _, err := NewServer(Options{Own: Pair{Kind: Text, Cert: below.PEM + cert, Key: key}}); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("a chain that begins with the authority: %v, want %s", err, want)
	}
	_, other := ca.Pair("other")
	if _, err := NewServer(Options{Own: Pair{Kind: Text, Cert: cert + below.PEM, Key: other}}); err == nil || !strings.HasPrefix(err.Error(), "source.key: ") {
		t.Errorf("the key of another: %v", err)
	}
	if _, err := NewServer(Options{Own: Pair{Kind: Text, Cert: "\ufeff" + cert, Key: "\ufeff" + key}}); err != nil {
		t.Errorf("with byte order marks: %v", err)
	}
	if _, err := NewServer(Options{Own: Pair{Kind: Text, Cert: key, Key: key}}); err == nil || !strings.Contains(err.Error(), `no certificate in it, but "PRIVATE KEY"`) {
		t.Errorf("a key as certificate: %v", err)
	}
}

func TestWhomAKeeperTrusts(t *testing.T) {
	ca := newIssuer(t, "ca", false)
	own := ca.pair("node")
	for want, o := range map[string]Options{"": {Own: own}, "inline PEM": {Own: own, ClientCA: Authority{Kind: Text, CA: ca.PEM}}} {
		if got := server(t, o).Trusts(); got != want {
			t.Errorf("a listener trusts %q, want %q", got, want)
		}
	}
	for want, o := range map[string]Options{"": {}, "anybody": {SkipVerify: true}, "inline PEM, system": {CA: Authority{Kind: Text, CA: ca.PEM}, SystemCAs: true}} {
		k, err := NewClient(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Trusts(); got != want {
			t.Errorf("a client trusts %q, want %q", got, want)
		}
	}
}
