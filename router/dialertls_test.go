package router

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// A node whose TLS is not as it must be is tried again, and the log says what is wrong: which certificate, of whom, until
// when; or who speaks TLS and who does not. Nothing of the attempts is left. Rules: P-dial-2, P-dial-5.
func TestDialledHandshakesThatFail(t *testing.T) {
	ca, others := certstest.NewIssuer(t, "ca", false), certstest.NewIssuer(t, "others", false)
	listen := func(c *tls.Config) string {
		o := generic("two")
		o.Listen, o.TLS = []string{"127.0.0.1:0"}, []*tls.Config{c}
		n, err := Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Shutdown(t.Context()) })
		return n.Addrs()[0].String()
	}
	shows := func(i *certstest.Issuer, c *x509.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{i.TLS(c)}}
	}
	says := func(text string) string { return greeter(t, text) }
	good := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	named := good.Clone()
	named.ServerName = "elsewhere"
	old := good.Clone()
	old.MaxVersion = tls.VersionTLS12
	demanding := shows(ca, certstest.Leaf("node"))
	demanding.ClientAuth, demanding.ClientCAs = tls.RequireAndVerifyClientCert, others.Pool()
	modern := shows(ca, certstest.Leaf("node"))
	modern.MinVersion = tls.VersionTLS13
	for _, tc := range []struct {
		name, addr string
		tls        *tls.Config
		want       []string // in the log
	}{
		{"an expired certificate", listen(shows(ca, certstest.Expired("late"))), good, []string{"CN=late", "CN=ca", "expired"}},
		{"a foreign one", listen(shows(others, certstest.Leaf("stranger"))), good, []string{"CN=stranger", "CN=others", "unknown authority"}},
		{"one of another name", listen(shows(ca, certstest.Leaf("node"))), named, []string{"CN=node", "not elsewhere"}},
		{"who demands one", listen(demanding), good, []string{"certificate required: it demands a certificate, so give the link one (tls.source)"}},
		{"another version", listen(modern), old, []string{"protocol version not supported"}},
		{"plain HTTP/2", start(t, generic("two")).Addrs()[0].String(), good, []string{"does not speak TLS", "http://"}},
		{"plain HTTP/1", says("HTTP/1.1 400 Bad Request\r\n\r\n"), good, []string{"does not speak TLS"}},
		{"noise", says("\x00\x01\x02\x03\x04\x05"), good, []string{"does not speak TLS"}},
		{"TLS, and we do not", listen(modern), nil, []string{"without a word: if it wants TLS, dial https://"}},
		{"a TLS alert", says("\x15\x03\x03\x00\x02\x02\x28"), nil, []string{"if it wants TLS"}},
		{"HTTP/1, and no TLS", says("HTTP/1.1 400 Bad Request\r\n\r\n"), nil, []string{"HTTP/1; want HTTP/2: if it is a WebSocket endpoint, dial ws:// or wss://"}},
		{"silence", says(""), good, []string{"after 0 bytes of the TLS handshake: if it has no TLS, dial it by http:// or ws://"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := &syncBuffer{}
			o := generic("one")
			o.Log = slog.New(slog.NewTextHandler(log, nil))
			one := start(t, o)
			d := dialLink(t, one, tc.addr, func(l *Link) {
				if tc.tls != nil {
					l.TLS = func() *tls.Config { return tc.tls }
				}
			})
			d.await(LinkWaiting)
			d.await(LinkWaiting)
			if n := strings.Count(log.String(), "cannot be opened"); n != 1 {
				t.Errorf("it is said %d times:\n%s", n, log)
			}
			for _, text := range tc.want {
				if !strings.Contains(log.String(), text) {
					t.Errorf("the log does not say %q:\n%s", text, log)
				}
			}
			d.Close()
			d.await(LinkOver)
			until(t, "no socket is left", func() bool { s := one.Stats(); return s.Sockets == 0 && s.Connections == 0 })
		})
	}
}

// greeter listens, says text to whoever comes, and hangs up when that has said something.
func greeter(t *testing.T, text string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			_, _ = c.Read(make([]byte, 4096))
			_ = c.Close()
		}
	}()
	return ln.Addr().String()
}
