package router

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// handshakeReasons are the reasons under which failed TLS handshakes are counted.
var handshakeReasons = [netloop.NumHandshakeFaults]Reason{
	netloop.HandshakeBroken:      ReasonTLS,
	netloop.HandshakeTimeout:     ReasonTLSTimeout,
	netloop.HandshakePlain:       ReasonTLSPlain,
	netloop.HandshakeMismatch:    ReasonTLSMismatch,
	netloop.HandshakeCertificate: ReasonTLSCertificate,
	netloop.HandshakeRefused:     ReasonTLSRefused,
	netloop.HandshakeReset:       ReasonTLSReset,
}

// shaken counts TLS handshakes that failed. They are on no loop.
type shaken [netloop.NumHandshakeFaults]atomic.Uint64

// add puts those that have occurred into to.
func (s *shaken) add(to map[Reason]uint64) {
	for f := range s {
		if n := s[f].Load(); n > 0 {
			to[handshakeReasons[f]] += n
		}
	}
}

// handshakeFailed counts a failed handshake, notes it for who looks, and says so: at debug where scanners and health checks do nothing else. It
// runs on the goroutine of the handshake.
func (n *Node) handshakeFailed(ln *netloop.Listener, e *netloop.HandshakeError) {
	n.shaken[e.Fault].Add(1)
	n.strangers.add(time.Now(), &Refusal{Remote: e.Remote, Endpoint: ln.Addr().String(), Reason: handshakeReasons[e.Fault]}, told(e))
	level, topic := slog.LevelWarn, logTopic(handshakeReasons[e.Fault])
	switch {
	case e.Unconvinced:
		level = slog.LevelInfo
	case e.Fault == netloop.HandshakeReset || e.Fault == netloop.HandshakeTimeout:
		level, topic = slog.LevelDebug, topicProbe
	}
	p := &n.peerLog
	if !p.takes(level, topic) {
		return
	}
	attrs := []any{"target", targetProcessing, "remote", e.Remote, "endpoint", ln.Addr().String(),
		"reason", handshakeReasons[e.Fault].String()}
	if e.Server != "" {
		attrs = append(attrs, "server_name", e.Server)
	}
	if e.Cert != nil {
		attrs = append(attrs, certificateAttrs(e.Cert)...)
	}
	p.log.Log(context.Background(), level, "TLS handshake failed", append(attrs, "error", e)...)
}

// told is what is told of a failed handshake beside its reason.
func told(e *netloop.HandshakeError) error {
	if e.Cert == nil {
		return e
	}
	return fmt.Errorf("%w (certificate of %s, made by %s, good until %s)", e, e.Cert.Subject, e.Cert.Issuer, e.Cert.NotAfter.UTC().Format(time.DateOnly))
}

// certificateAttrs say whose certificate it is, who made it, and when it is good.
func certificateAttrs(c *x509.Certificate) []any {
	text := func(s string) string { return s[:min(len(s), maxNameText)] }
	return []any{"subject", text(c.Subject.String()), "issuer", text(c.Issuer.String()), "serial", text(c.SerialNumber.Text(16)),
		"not_before", c.NotBefore.UTC().Format(time.RFC3339), "not_after", c.NotAfter.UTC().Format(time.RFC3339)}
}

// maxNameText is how many bytes of a name in a certificate are logged.
const maxNameText = 256
