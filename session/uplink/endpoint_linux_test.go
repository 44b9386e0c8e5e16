package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/router"
)

// An address with https or wss is dialled with TLS, whose protocol and name Dial knows, and what is wrong with it is said.
func TestDialSpeaksTLS(t *testing.T) {
	issuer := certstest.NewIssuer(t, "authority", false)
	own := issuer.TLS(certstest.Leaf("node"))
	plain := &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"h2", "http/1.1"}}
	demanding := plain.Clone()
	demanding.ClientCAs, demanding.ClientAuth = issuer.Pool(), tls.RequireAndVerifyClientCert
	n, err := router.Start(t.Context(), patient(router.Options{TLS: []*tls.Config{plain, plain, demanding, nil},
		Listen: []string{"localhost:0", "wss://localhost:0/slim", "localhost:0", "localhost:0"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	}()
	at := func(i int) string {
		a := n.Addrs()[i].String()
		return "localhost" + a[strings.LastIndexByte(a, ':'):]
	}
	trusting := &tls.Config{RootCAs: issuer.Pool()}
	proven := &tls.Config{RootCAs: issuer.Pool(), Certificates: []tls.Certificate{own}}
	b := dialNode(t, "https://"+at(2), Options{TLS: proven})
	subscribe(t, b, bob)
	for _, addr := range []string{"https://" + at(0), "wss://" + at(1) + "/slim"} {
		a := dialNode(t, addr, Options{TLS: trusting})
		if err := a.Publish(t.Context(), header(bob), testSession, content(7, 100)); err != nil {
			t.Fatal(err)
		}
		if got := number(receive(t, b), 100); got != 7 {
			t.Errorf("%s: message %d", addr, got)
		}
		abandon(a)
	}
	abandon(b)
	if len(trusting.NextProtos) != 0 || trusting.ServerName != "" {
		t.Errorf("the caller's configuration was changed: %+v", trusting)
	}
	_, port, _ := strings.Cut(at(0), ":")
	for _, c := range []struct {
		addr string
		tls  *tls.Config
		want string
	}{
		{"https://" + at(0), nil, "of no authority known here"},
		{"https://127.0.0.1:" + port, trusting, "for another name"},
		{"https://" + at(3), trusting, "a listener without TLS"},
		{"https://" + at(0), &tls.Config{RootCAs: issuer.Pool(), MaxVersion: tls.VersionTLS10}, "another version of TLS"}, //nolint:gosec // it is refused
		{at(0), nil, "https:// or wss://"},
	} {
		_, err := Dial(t.Context(), c.addr, &Options{TLS: c.tls})
		var e *Error
		if !errors.As(err, &e) || e.Fault == Ours || e.Addr != c.addr || !strings.Contains(e.Advice(), c.want) {
			t.Errorf("%s: %v, and the advice %q; want %s", c.addr, err, e.Advice(), c.want)
		}
	}
}
