package netloop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

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
			eventually(t, "it is opened", func() bool { return h.has("opened") })
			r.do(func() { // a certificate, at least
				if n := h.k.Written(); n < 300 || h.k.Unacknowledged() > int(n) {
					t.Errorf("%d bytes of the handshake are counted, %d are not acknowledged", n, h.k.Unacknowledged())
				}
			})
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

// coalesced writes the second flight of a client in one piece with what it says next, up to its write number last (3 if
// that is zero).
type coalesced struct {
	net.Conn
	last   int
	writes int
	later  []byte

	split   func([]byte) (now, then []byte) // of the first such piece; nil: it is written at once
	between func()
}

func (c *coalesced) Write(p []byte) (int, error) {
	c.later = append(c.later, p...)
	if c.writes++; c.writes == 1 || c.writes >= max(c.last, 3) {
		now := c.later
		c.later = nil
		if c.writes > 1 && c.split != nil {
			first, then := c.split(now)
			now, c.split = then, nil
			if _, err := c.Conn.Write(first); err != nil {
				return 0, err
			}
			c.between()
		}
		_, err := c.Conn.Write(now)
		return len(p), err
	}
	return len(p), nil
}

// givesBack fails the test unless all descriptors are closed again at its end. To be called first.
func givesBack(t *testing.T) {
	t.Helper()
	before := descriptors(t)
	t.Cleanup(func() {
		eventually(t, "all descriptors are given back", func() bool { return descriptors(t) <= before })
	})
}

// A record of which the handshake has read a part, and no more, is completed by what the loop reads.
func TestRecordThatTheHandshakeHasReadInPart(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	for _, part := range []int{1, 4, 5, 6, 100} {
		h := &tape{}
		ln, _ := r.listen(Acceptance{TLS: server, Handler: func(*Loop) Handler { return h }})
		c := &coalesced{Conn: r.connect(ln), last: 3}
		c.split = func(p []byte) ([]byte, []byte) { // before the last record
			n := len(p) - (recordHead + 1000 + 17) + part
			return p[:n], p[n:]
		}
		c.between = func() {
			eventually(t, "it is opened", func() bool { return h.has("opened") })
			r.do(func() {})
			r.do(func() {})
		}
		peer := tls.Client(c, client)
		wrote := 0
		for range 20 {
			for range max(1, c.last-1) { // the first time one, then four records in a piece
				if _, err := peer.Write(pattern(1000)); err != nil {
					t.Fatal(err)
				}
				if wrote += 1000; wrote == 1000 {
					break
				}
			}
			eventually(t, "all of a piece is read", func() bool { return h.heard() == wrote })
			c.writes, c.last = 1, 5
		}
	}
}

// A peer that ends its direction of TLS, and not its socket, still gets what waits for it, then our end. Rules:
// P-tls-6, P-end-6.
func TestPeerThatHalfClosesTLSGetsTheRest(t *testing.T) {
	givesBack(t)
	r := rig(t, Options{})
	server, client := serving(t)
	for _, fin := range []bool{false, true} { // follows at once
		h := &tape{more: true}
		peer, raw := r.plugTLS(h, server, client)
		eventually(t, "it is opened", func() bool { return h.has("opened") })
		out := pattern(9 << 20)
		r.do(func() { h.pump(out, h.k.Close) })
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if fin {
			_ = raw.CloseWrite()
		}
		eventually(t, "the end is seen", func() bool { return h.has("ended") })
		got, err := io.ReadAll(peer)
		if err != nil || !bytes.Equal(got, out) {
			t.Errorf("FIN %v: the peer has %d of %d bytes: %v", fin, len(got), len(out), err)
		}
		_ = raw.SetReadDeadline(time.Now().Add(hang))
		if _, err := raw.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("FIN %v: after our close_notify the peer reads %v, want a FIN", fin, err)
		}
		eventually(t, "it is closed", func() bool { return h.has("closed") })
		if h.fault != "" {
			t.Error(h.fault)
		}
		_ = raw.Close()
	}
	if n := r.e.Loops()[0].Sockets(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

// A socket that ends without a word of TLS, by FIN or by reset, ends at once; what was complete has been read.
func TestPeerThatEndsWithoutAWord(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	for _, reset := range []bool{false, true} {
		h := &tape{more: true}
		peer, raw := r.plugTLS(h, server, client)
		in := pattern(100_000)
		if _, err := peer.Write(in); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all is read", func() bool { return h.heard() == len(in) })
		if reset {
			_ = raw.SetLinger(0)
			_ = raw.Close()
		} else {
			_ = raw.CloseWrite()
		}
		eventually(t, "it is closed", func() bool { return h.has("closed") })
		if h.has("ended") || errors.Is(h.err, ErrTruncated) == reset || h.err == nil {
			t.Errorf("reset %v: told %q, %v", reset, h.lines, h.err)
		}
		_ = raw.Close()
	}
}

// A client that says all it has to say with the end of its handshake, and goes, is heard.
func TestClientThatComesAndGoes(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	for range 50 {
		h := &tape{}
		ln, _ := r.listen(Acceptance{TLS: server, Handler: func(*Loop) Handler { return h }})
		c := &coalesced{Conn: r.connect(ln), last: 4}
		peer := tls.Client(c, client)
		if _, err := peer.Write([]byte("at once")); err != nil {
			t.Fatal(err)
		}
		_ = peer.Close() // its close_notify is the fourth
		eventually(t, "it is closed", func() bool { return h.has("closed") })
		if h.got.String() != "at once" || !h.has("ended") {
			t.Fatalf("read %q, told %q, %v", h.got.String(), h.lines, h.err)
		}
	}
}

// Reading pauses as in the clear: what was read comes, the rest waits in the kernel.
func TestSealedSocketPauses(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	h := &tape{}
	h.read = func([]byte) {
		if !h.has("paused") {
			h.say("paused")
			if !h.k.Pause() {
				t.Error("cannot pause")
			}
		}
	}
	peer, _ := r.plugTLS(h, server, client)
	in := pattern(8 << 20)
	done := make(chan error, 1)
	go func() { _, err := peer.Write(in); done <- err }()
	eventually(t, "it pauses", func() bool { return h.has("paused") })
	r.do(func() {})
	n := h.heard()
	r.do(func() {})
	if now := h.heard(); now != n || n == len(in) {
		t.Errorf("%d bytes are read while it pauses, after %d", now, n)
	}
	r.do(h.k.Resume)
	eventually(t, "all is read", func() bool { return h.heard() == len(in) })
	if err := <-done; err != nil || !bytes.Equal(h.got.Bytes(), in) {
		t.Errorf("something else is read: %v", err)
	}
	_ = peer.Close()
	eventually(t, "it is closed", func() bool { return h.has("closed") })
}

// Sockets with TLS end with their engine, and leave nothing.
func TestStopClosesSealedSockets(t *testing.T) {
	givesBack(t)
	server, client := serving(t)
	r := rig(t, Options{Loops: 2})
	var hs []*tape
	for range 10 {
		h := &tape{}
		hs = append(hs, h)
		_, _ = r.plugTLS(h, server, client)
	}
	for _, h := range hs {
		eventually(t, "it is opened", func() bool { return h.has("opened") })
	}
	r.e.Stop()
	for i, h := range hs {
		if !h.has("closed") {
			t.Errorf("socket %d is left", i)
		}
	}
}
