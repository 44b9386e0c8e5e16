package netloop

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// second is a connection that does something else in place of its second write, and of later ones.
type second struct {
	net.Conn
	writes atomic.Int64
	does   func(net.Conn)
}

func (c *second) Write(p []byte) (int, error) {
	if c.writes.Add(1) == 1 {
		return c.Conn.Write(p)
	}
	c.does(c.Conn)
	return 0, errors.New("it has done something else")
}

// Why a handshake has failed is told though crypto/tls does not know: OpenSSL sends its alert in the clear, and others
// leave without a word when they have seen a certificate that they do not trust.
func TestWhatPeersThinkOfTheCertificate(t *testing.T) {
	says := func(records string) func(net.Conn) {
		return func(c net.Conn) { _, _ = c.Write([]byte(records)); _ = c.Close() }
	}
	leaves := func(c net.Conn) { _ = c.Close() }
	p256 := []tls.CurveID{tls.CurveP256}
	for _, tt := range []struct {
		name        string
		does        func(net.Conn)
		curves      []tls.CurveID // of the server
		max         uint16        // version of the client
		fault       HandshakeFault
		text        string
		unconvinced bool
	}{
		{name: "an alert in the clear", does: says("\x15\x03\x03\x00\x02\x02\x30"), fault: HandshakeRefused,
			text: "the alert unknown certificate authority: it does not accept the certificate of the node"},
		{name: "the same after a change of cipher", does: says("\x14\x03\x03\x00\x01\x01\x15\x03\x03\x00\x02\x02\x2d"), fault: HandshakeRefused,
			text: "the alert expired certificate: it does not accept the certificate of the node"},
		{name: "an alert of TLS 1.2", does: says("\x15\x03\x03\x00\x02\x02\x2a"), max: tls.VersionTLS12, fault: HandshakeRefused,
			text: "the alert bad certificate: it does not accept the certificate of the node"},
		{name: "an alert about something else", does: says("\x15\x03\x03\x00\x02\x02\x50"), fault: HandshakeRefused, text: "the alert internal error"},
		{name: "what only looks like one", does: says("\x17\x03\x03\x00\x13\x15\x03\x03\x00\x02\x02\x30\x15\x03\x03\x00\x02\x02\x30\x15\x03\x03\x00\x02"),
			fault: HandshakeBroken, text: "bad record MAC"},
		{name: "no word", does: leaves, fault: HandshakeReset, text: "it probably does not trust that", unconvinced: true},
		{name: "no word by TLS 1.2", does: leaves, max: tls.VersionTLS12, fault: HandshakeReset, text: "it probably does not trust that", unconvinced: true},
		{name: "no word before it was shown", does: leaves, curves: p256, fault: HandshakeReset, text: "of the TLS handshake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rig(t, Options{})
			server, _ := serving(t)
			server.CurvePreferences = tt.curves
			var said refusals
			ln, _ := r.listen(Acceptance{TLS: server, Refused: said.add, Handler: func(*Loop) Handler { return &tape{} }})
			client := &tls.Config{ServerName: "localhost", MaxVersion: tt.max}
			_ = tls.Client(&second{Conn: r.connect(ln), does: tt.does}, client).Handshake()
			eventually(t, "it has failed", func() bool { return len(said.list()) == 1 })
			e := said.list()[0]
			if e.Fault != tt.fault || !strings.Contains(e.Text, tt.text) || e.Unconvinced != tt.unconvinced {
				t.Errorf("fault %d, unconvinced %v: %v", e.Fault, e.Unconvinced, e)
			}
		})
	}
}

// Versions are told by their names.
func TestVersionsThatAreNotSpoken(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	server.MinVersion, client.MaxVersion = tls.VersionTLS13, tls.VersionTLS12
	var said refusals
	ln, _ := r.listen(Acceptance{TLS: server, Refused: said.add, Handler: func(*Loop) Handler { return &tape{} }})
	_ = tls.Client(r.connect(ln), client).Handshake()
	eventually(t, "it has failed", func() bool { return len(said.list()) == 1 })
	if e := said.list()[0]; e.Fault != HandshakeMismatch || !strings.HasSuffix(e.Text, "offered only unsupported versions: [TLS 1.2]") {
		t.Errorf("fault %d: %v", e.Fault, e)
	}
}

// Who has come without a word, not even a request, thinks nothing of the certificate.
func TestHandshakeThatHardlyBegan(t *testing.T) {
	r := rig(t, Options{})
	server, _ := serving(t)
	var said refusals
	ln, _ := r.listen(Acceptance{TLS: server, Refused: said.add, Handler: func(*Loop) Handler { return &tape{} }})
	_ = r.connect(ln).Close()
	eventually(t, "it has failed", func() bool { return len(said.list()) == 1 })
	if e := said.list()[0]; e.Fault != HandshakeReset || e.Unconvinced || strings.Contains(e.Text, "certificate") {
		t.Errorf("%+v", e)
	}
}
