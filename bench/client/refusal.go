package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// greeting is a connection that keeps what the peer has said first, to tell what it is.
type greeting struct {
	net.Conn
	said []byte // the reader's
}

const greetingSize = 64

// Read implements net.Conn.
func (g *greeting) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	if room := greetingSize - len(g.said); room > 0 {
		g.said = append(g.said, b[:min(room, n)]...)
	}
	return n, err
}

// untrusted says what to do after a TLS handshake that has failed.
func untrusted(err error) error {
	var unknown *tls.CertificateVerificationError
	var none tls.RecordHeaderError
	var host x509.HostnameError
	switch {
	case errors.As(err, &host):
		return fmt.Errorf("its certificate is for another name: give the address by that name, or --insecure (%w)", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("its certificate is of no authority known here: give --ca FILE, or --insecure (%w)", err)
	case errors.As(err, &none):
		return fmt.Errorf("this seems to be a listener without TLS: give http:// or ws:// (%w)", err)
	}
	return fmt.Errorf("TLS handshake: does the node want a certificate (--cert, --key), or another version of TLS? (%w)", err)
}

const dataplane = "give the address of a node's dataplane listener"

// explain says of a link that did not come about what the peer seems to be and what to do, before the error that was
// seen. g is nil if there was no connection; waited is how long the link has been waited for. Nothing reads any more.
func explain(err error, g *greeting, u *url.URL, waited time.Duration) error {
	var e *uplink.Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	if err = e.Err; g == nil || e.Doing == "connecting" {
		return err
	}
	const log = ": check the address, and see the node's log"
	within := "" // how long, if that is why it ended
	if errors.Is(err, context.DeadlineExceeded) {
		within = fmt.Sprintf(" for %v", waited.Round(time.Millisecond))
	}
	var refused *uplink.StatusError
	var negotiation *link.PeerError
	line, _, _ := bytes.Cut(g.said, []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	http1 := bytes.HasPrefix(g.said, []byte("HTTP/1."))
	var advice string
	switch {
	case errors.As(err, &refused):
		advice = adviceOn(refused)
	case errors.As(err, &negotiation):
		advice = "the node negotiates the link in a way that slim-bench does not accept: it measures nodes like upstream's " + version
	case len(g.said) == 0 && within != "":
		advice = "it accepted the connection and has said nothing" + within + ": a node that hangs, or no SLIM node" + log
	case len(g.said) == 0:
		advice = "it hung up without a word: a listener with TLS (https:// or wss://), another protocol, " +
			"or a node that is going away" + log
	case isTLS(g.said):
		advice = "this seems to be a listener with TLS: it answered with a TLS alert; give https:// or wss://"
	case bytes.HasPrefix(g.said, []byte("INFO {")):
		advice = "this seems to be a NATS server: give its address as nats://host:port"
	case http1 && (u.Scheme == "http" || u.Scheme == "https"):
		advice = fmt.Sprintf("this speaks HTTP/1 only: it answered %q: a listener for WebSocket (ws://, wss://), a web server or a proxy; %s",
			line, dataplane)
	case !http1 && !isHTTP2(g.said):
		advice = fmt.Sprintf("this speaks another protocol: it answered %q; %s", line, dataplane)
	case e.Doing == "negotiating the link":
		advice = "it opened the channel, but did not negotiate the link" + within + log
	default:
		advice = "it speaks HTTP, but did not open the channel" + within + log
	}
	return fmt.Errorf("%s (%w)", advice, err)
}

// adviceOn says what kind of peer refuses so, and what to do. The statuses of gRPC are permission denied and
// unauthenticated, unimplemented, and resource exhausted and unavailable.
func adviceOn(e *uplink.StatusError) string {
	switch {
	case e.HTTP == 401 || e.HTTP == 403 || e.GRPC == 7 || e.GRPC == 16:
		return "the node wants credentials, which slim-bench cannot give: give the address of a listener without auth"
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
