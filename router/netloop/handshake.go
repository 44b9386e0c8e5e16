package netloop

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// HandshakeFault says why a TLS handshake failed.
type HandshakeFault uint8

// The faults.
const (
	HandshakeBroken      HandshakeFault = iota // TLS was broken, or something that is none of the others
	HandshakeTimeout                           // it did not become complete in time
	HandshakePlain                             // the peer does not speak TLS
	HandshakeMismatch                          // no common version, cipher suite or key exchange
	HandshakeCertificate                       // the peer's certificate is missing, or not accepted
	HandshakeRefused                           // the peer does not accept something, such as our certificate
	HandshakeReset                             // the peer ended the connection
	NumHandshakeFaults
)

// HandshakeError says why a TLS handshake with a peer failed. It wraps what crypto/tls says.
type HandshakeError struct {
	Fault  HandshakeFault
	Remote string            // the peer's address
	Server string            // the name that it asked for; empty: none, or the handshake came not as far
	Cert   *x509.Certificate // that the peer has shown and that was not accepted; nil: none
	Text   string            // what it means
	Err    error
}

func (e *HandshakeError) Error() string { return e.Text }

func (e *HandshakeError) Unwrap() error { return e.Err }

// handshake is a connection whose TLS handshake runs, on a goroutine of its own with I/O that blocks. Many of them may
// wait for their peers, which costs little; few compute at a time: who has bytes to go on with waits for a turn.
type handshake struct {
	raw      net.Conn
	turns    chan struct{} // holds one for each that computes
	mine     bool          // one of these
	deadline time.Time
	got      int  // bytes read
	wrote    int  // bytes written
	alert    byte // the last alert that was sent in the clear; 0: none
}

// Numbers of alerts that say that nothing is in common (RFC 8446 section 6).
const (
	alertHandshakeFailure     = 40
	alertProtocolVersion      = 70
	alertInsufficientSecurity = 71
)

// maxHandshake is how many bytes of a handshake are read, of a stranger that may have many: room for a chain of
// certificates. crypto/tls keeps what is not complete, up to twice as much.
const maxHandshake = 32 << 10

var errLong = fmt.Errorf("the TLS handshake takes more than %d bytes", maxHandshake)

// begin waits for a turn to compute.
func (h *handshake) begin() error {
	h.turns <- struct{}{}
	h.mine = true
	if time.Now().After(h.deadline) { // nobody waits for the outcome any more
		return os.ErrDeadlineExceeded
	}
	return nil
}

// end lets another compute.
func (h *handshake) end() {
	if h.mine {
		h.mine = false
		<-h.turns
	}
}

func (h *handshake) read(p []byte) (int, error) {
	h.end()
	if h.got > maxHandshake {
		return 0, errLong
	}
	n, err := h.raw.Read(p)
	h.got += n
	if err == nil {
		err = h.begin()
	}
	return n, err
}

func (h *handshake) write(p []byte) (int, error) {
	const alertRecord = 21
	if len(p) == recordHead+2 && p[0] == alertRecord { // a sealed one is longer
		h.alert = p[recordHead+1]
	}
	h.end()
	n, err := h.raw.Write(p)
	h.wrote += n
	if err == nil {
		err = h.begin()
	}
	return n, err
}

// handshakes are those of one listener.
type handshakes struct {
	mu    sync.Mutex
	ended bool                  // guarded by mu
	conns map[net.Conn]struct{} // guarded by mu
	wg    sync.WaitGroup
}

// add notes a connection whose handshake begins, and may take until deadline; false: no more may. Nobody else sets the
// deadline but end: one that is set later would undo that.
func (hs *handshakes) add(c net.Conn, deadline time.Time) bool {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.ended {
		return false
	}
	_ = c.SetDeadline(deadline)
	if hs.conns == nil {
		hs.conns = map[net.Conn]struct{}{}
	}
	hs.conns[c] = struct{}{}
	return true
}

func (hs *handshakes) remove(c net.Conn) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(hs.conns, c)
}

// end gives up those that run, and waits until they have noticed: a peer whose handshake fails tries again.
func (hs *handshakes) end() {
	hs.mu.Lock()
	hs.ended = true
	for c := range hs.conns {
		_ = c.SetDeadline(time.Unix(1, 0))
	}
	hs.mu.Unlock()
	hs.wg.Wait()
}

// handshakeTurns is how many handshakes may compute at a time: as many as there are processors that loops leave.
func handshakeTurns(loops int) int { return max(1, runtime.GOMAXPROCS(0)-loops) }

// handshakeTimeout is the default of Acceptance.Timeout.
const handshakeTimeout = 10 * time.Second

// admitSealed has the handshake of an accepted connection run, which then becomes a socket. It takes over the descriptor,
// and needs no other until the handshake is complete: many that wait could not wait for each other's.
func (e *Engine) admitSealed(ln *Listener, a *Acceptance, hs *handshakes, c *incoming) {
	accepted := time.Now()
	l := e.leastLoaded()
	l.sockets.Add(1) // from now on: a limit of sockets is one of handshakes, too
	hs.wg.Go(func() {
		defer l.sockets.Add(-1)
		defer func() { _ = c.Close() }()
		deadline := accepted.Add(cmp.Or(a.Timeout, handshakeTimeout))
		if !hs.add(c, deadline) {
			return
		}
		e.guarded(func() { e.shakeHands(ln, a, l, hs, c, accepted, deadline) })
	})
}

// shakeHands runs a handshake and makes a socket of c, or tells why not.
func (e *Engine) shakeHands(ln *Listener, a *Acceptance, l *Loop, hs *handshakes, c *incoming, accepted, deadline time.Time) {
	s, err := shake(c, tls.Server, a.TLS, e.turns, accepted, deadline)
	hs.remove(c) // its deadline is not for what follows
	if err != nil {
		if a.Refused != nil && !e.stopping() && !ln.isClosed() {
			a.Refused(ln, err)
		}
		return
	}
	e.admit(ln, *a, c, l, s, time.Now().Add(deadline.Sub(accepted)))
}

// shake runs the handshake of c in a role, tls.Server or tls.Client. c has the deadline already.
func shake(c net.Conn, role func(net.Conn, *tls.Config) *tls.Conn, config *tls.Config, turns chan struct{},
	accepted, deadline time.Time) (*sealed, *HandshakeError) {
	h := &handshake{raw: c, turns: turns, deadline: deadline}
	s := &sealed{hs: h, accepted: accepted}
	defer h.end()
	s.conn = role(s, config)
	if err := s.conn.Handshake(); err != nil {
		return nil, h.explain(s.conn, err, deadline.Sub(accepted))
	}
	s.written, s.hs, s.early, s.come = h.wrote, nil, true, s.taken
	s.overhead = recordOverhead(s.conn.ConnectionState())
	return s, nil
}

// explain says what an error of the handshake means.
func (h *handshake) explain(c *tls.Conn, err error, timeout time.Duration) *HandshakeError {
	e := &HandshakeError{Remote: h.raw.RemoteAddr().String(), Server: c.ConnectionState().ServerName, Err: err, Text: err.Error()}
	var noTLS tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Fault, e.Text = HandshakeTimeout, fmt.Sprintf("the TLS handshake is not complete after %v, in which %d bytes came", timeout, h.got)
	case errors.As(err, &noTLS):
		e.Fault, e.Text = HandshakePlain, "the peer speaks "+spoken(noTLS.RecordHeader[:])+", but this endpoint is TLS: let it use TLS (https://), "+
			"or an endpoint with tls.insecure: true"
	case errors.As(err, &cert):
		e.Fault = HandshakeCertificate
		if len(cert.UnverifiedCertificates) > 0 {
			e.Cert = cert.UnverifiedCertificates[0]
		}
		e.Text = "the peer's certificate is not accepted: " + cert.Err.Error()
	case strings.Contains(err.Error(), noCertificate):
		e.Fault, e.Text = HandshakeCertificate, "the peer shows no certificate, but this endpoint demands one (tls.client_ca)"
	case errors.As(err, &op) && op.Op == "remote error":
		e.Fault, e.Text = HandshakeRefused, "the peer gave up with the alert "+strings.TrimPrefix(op.Err.Error(), "tls: ")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		e.Fault, e.Text = HandshakeReset, fmt.Sprintf("the peer ended the connection after %d bytes of the TLS handshake", h.got)
	case h.alert == alertProtocolVersion, h.alert == alertInsufficientSecurity, h.alert == alertHandshakeFailure:
		e.Fault = HandshakeMismatch
	}
	e.Text = e.Text[:min(len(e.Text), maxText)] // some of it is the peer's
	e.Server = strings.Clone(e.Server[:min(len(e.Server), maxText)])
	return e
}

// maxText is how many bytes are kept of what peers can make long.
const maxText = 512

// noCertificate is in the text of crypto/tls for a peer without a certificate, for which it has no type.
const noCertificate = "didn't provide a certificate"

// spoken guesses what the first bytes of a connection are that are no TLS.
func spoken(first []byte) string {
	for _, w := range []string{"GET ", "POST", "PUT ", "HEAD", "CONN", "OPTI"} {
		if bytes.HasPrefix(first, []byte(w)) {
			return "HTTP/1 without TLS"
		}
	}
	if bytes.HasPrefix(first, []byte("PRI *")) {
		return "HTTP/2 without TLS"
	}
	return "no TLS"
}
