package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// setup is what is known of a connection that did not come about.
type setup struct {
	said    []byte // what the peer has said first, saidSize bytes at most
	waited  time.Duration
	overWeb bool // the channel was to be a WebSocket
}

const saidSize = 64

const dataplane = "give the address of a node's dataplane listener"

// Advice says what seems to be at the other end of a connection that did not come about, and what to do about it, in one line,
// to stand before Err; empty: Err says all that is known. It may quote the peer.
func (e *Error) Advice() string {
	const log = ": check the address, and see the node's log"
	var status *StatusError
	var upgrade *ws.HandshakeError
	var negotiation *link.PeerError
	within := "" // how long, if that is why it ended
	if errors.Is(e.Err, context.DeadlineExceeded) {
		within = fmt.Sprintf(" for %v", e.setup.waited.Round(time.Millisecond))
	}
	said := e.setup.said
	line, _, _ := bytes.Cut(said, []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	http1 := bytes.HasPrefix(said, []byte("HTTP/1."))
	switch {
	case errors.Is(e.Err, context.Canceled):
		return ""
	case errors.Is(e.Err, syscall.ECONNREFUSED) || errors.Is(e.Err, syscall.ENOENT):
		return "nobody listens there: start the node, or check the address"
	case e.Doing == negotiatingTLS:
		return untrusted(e.Err)
	case e.Doing != openingChannel && e.Doing != negotiatingLink:
		return ""
	case errors.As(e.Err, &upgrade) && (upgrade.Status == 401 || upgrade.Status == 403):
		return (&StatusError{HTTP: upgrade.Status, GRPC: -1}).advice()
	case errors.As(e.Err, &status):
		return status.advice()
	case errors.As(e.Err, &negotiation):
		return "the node negotiates the link in a way that is not accepted here: upstream's " + Version + " and nodes like it are"
	case len(said) == 0 && within != "":
		return "it accepted the connection and has said nothing" + within + ": a node that hangs, or no SLIM node" + log
	case len(said) == 0:
		return "it hung up without a word: a listener with TLS (https:// or wss://), another protocol, " +
			"or a node that is going away" + log
	case isTLS(said):
		return "this seems to be a listener with TLS: it answered with a TLS alert; give https:// or wss://"
	case bytes.HasPrefix(said, []byte("INFO {")):
		return "this seems to be a NATS server (nats://host:port), which does not speak SLIM"
	case http1 && !e.setup.overWeb:
		return fmt.Sprintf("this speaks HTTP/1 only: it answered %q: a listener for WebSocket (ws://, wss://), a web server or a proxy; %s",
			line, dataplane)
	case !http1 && !isHTTP2(said):
		return fmt.Sprintf("this speaks another protocol: it answered %q; %s", line, dataplane)
	case e.Doing == negotiatingLink:
		return "it opened the channel, but did not negotiate the link" + within + log
	}
	return "it speaks HTTP, but did not open the channel" + within + log
}

// untrusted is advice on a TLS handshake that has failed.
func untrusted(err error) string {
	var unknown *tls.CertificateVerificationError
	var none tls.RecordHeaderError
	var host x509.HostnameError
	switch {
	case errors.As(err, &host):
		return "its certificate is for another name: give the address by that name"
	case errors.As(err, &unknown):
		return "its certificate is of no authority known here: give its authority"
	case errors.As(err, &none):
		return "this seems to be a listener without TLS: give http:// or ws://"
	}
	return "TLS handshake: does the node want a certificate, or another version of TLS?"
}

// advice says what kind of peer refuses so. The statuses of gRPC are permission denied and unauthenticated, unimplemented,
// and resource exhausted and unavailable.
func (e *StatusError) advice() string {
	switch {
	case e.HTTP == 401 || e.HTTP == 403 || e.GRPC == 7 || e.GRPC == 16:
		return "the node wants credentials: give them, or the address of a listener without auth"
	case e.HTTP == 404 || e.GRPC == 12:
		return "this speaks HTTP, but is no SLIM node (or its control plane, or another path): " + dataplane
	case e.GRPC == 8 || e.GRPC == 14 || e.HTTP >= 500:
		return "the node takes no connections now: see its log, and try again"
	}
	return "see the node's log for the reason"
}

// isTLS reports whether b is the beginning of a TLS record: an alert, or a handshake.
func isTLS(b []byte) bool { return len(b) >= 2 && (b[0] == 0x15 || b[0] == 0x16) && b[1] == 3 }

// isHTTP2 reports whether b may be the beginning of an HTTP/2 connection: a SETTINGS frame on stream 0 (RFC 9113, section
// 3.4), or the GOAWAY of a peer that wants none.
func isHTTP2(b []byte) bool {
	const settings, goaway = 4, 7
	return len(b) >= 9 && b[0] == 0 && (b[3] == settings || b[3] == goaway) && bytes.Equal(b[5:9], []byte{0, 0, 0, 0})
}
