package netloop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// serving returns TLS configurations of a node and of a client that trusts it.
func serving(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	ca := certstest.NewIssuer(t, "ca", false)
	return &tls.Config{Certificates: []tls.Certificate{ca.TLS(certstest.Leaf("node"))}, DynamicRecordSizingDisabled: true},
		&tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", DynamicRecordSizingDisabled: true}
}

// plugTLS accepts one connection with TLS and returns the client's end of it, after its handshake.
func (r *rigged) plugTLS(h Handler, server, client *tls.Config) (peer *tls.Conn, raw *net.TCPConn) {
	r.t.Helper()
	ln, _ := r.listen(Acceptance{TLS: server, Handler: func(*Loop) Handler { return h },
		Refused: func(_ *Listener, err *HandshakeError) { r.t.Error(err) }})
	raw = r.connect(ln).(*net.TCPConn)
	peer = tls.Client(raw, client)
	if err := peer.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	return peer, raw
}

func TestSealedBytesCrossBothWays(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.3": tls.VersionTLS13, "TLS 1.2": tls.VersionTLS12} {
		t.Run(name, func(t *testing.T) {
			r := rig(t, Options{})
			h := &tape{}
			server, client := serving(t)
			server.MinVersion, server.MaxVersion = version, version
			peer, _ := r.plugTLS(h, server, client)
			out, in := pattern(9<<20), pattern(5<<20)
			go func() { _, _ = peer.Write(in) }()
			eventually(t, "it is opened", func() bool { return h.has("opened") })
			r.do(func() { h.pump(out, func() {}) })
			got := make([]byte, len(out))
			if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, out) {
				t.Errorf("the peer reads something else than was written: %v", err)
			}
			eventually(t, "all is read", func() bool { return h.heard() == len(in) })
			r.do(func() {
				if !bytes.Equal(h.got.Bytes(), in) {
					t.Error("something else is read than the peer wrote")
				}
				if n := h.k.Written(); n < uint64(len(out)) || n > uint64(len(out)*101/100) || h.k.Waiting() != 0 || h.k.Blocked() {
					t.Errorf("%d written of %d bytes of plaintext, %d wait", n, len(out), h.k.Waiting())
				}
				if s, ok := h.k.TLS(); !ok || s.Version != version {
					t.Errorf("version %x, %v", s.Version, ok)
				}
			})
			if !h.has("writable") {
				t.Error("the socket was never blocked: the test shows little")
			}
			_ = peer.Close()
			eventually(t, "it is closed", func() bool { return h.has("closed") })
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.fault != "" || h.err != nil && !errors.Is(h.err, io.EOF) {
				t.Error(h.fault, h.err)
			}
		})
	}
}

// What a client says in one piece with the end of its handshake is delivered, though nothing follows.
func TestBytesThatComeWithTheHandshakeAreDelivered(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	for range 20 {
		h := &tape{}
		ln, _ := r.listen(Acceptance{TLS: server, Handler: func(*Loop) Handler { return h }})
		peer := tls.Client(&coalesced{Conn: r.connect(ln)}, client)
		if _, err := peer.Write([]byte("at once")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is read", func() bool { return h.heard() == len("at once") })
	}
}

// coalesced writes the second flight of a client in one piece with what it says next.
type coalesced struct {
	net.Conn
	writes int
	later  []byte
}

func (c *coalesced) Write(p []byte) (int, error) {
	if c.writes++; c.writes == 2 { // its Finished
		c.later = append(c.later, p...)
		return len(p), nil
	}
	later := c.later
	c.later = nil
	_, err := c.Conn.Write(append(later, p...))
	return len(p), err
}
