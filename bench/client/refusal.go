package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// gRPC statuses that say what to do, and their names.
const (
	permissionDenied  = 7
	resourceExhausted = 8
	unimplemented     = 12
	unavailable       = 14
	unauthenticated   = 16
)

// adviceOn says what kind of peer refuses so, and what to do.
func adviceOn(e *uplink.StatusError) string {
	switch {
	case e.HTTP == 401 || e.HTTP == 403 || e.GRPC == unauthenticated || e.GRPC == permissionDenied:
		return "the node wants credentials, which slim-bench cannot give yet: give the address of a listener without auth"
	case e.HTTP == 404 || e.GRPC == unimplemented:
		return "this speaks HTTP/2, but is no SLIM node (or its control plane): give the address of a node's dataplane listener"
	case e.GRPC == unavailable || e.GRPC == resourceExhausted || e.HTTP >= 500:
		return "the node takes no connections now: see its log, and try again"
	}
	return "see the node's log for the reason"
}

// explain says of a link that did not come about what the peer seems to be and what to do, before the error that was
// seen. nc is nil if there was no socket; waited is how long the link has been waited for. Nothing reads any more.
func explain(err error, nc *socket, waited time.Duration) error {
	var e *uplink.Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	if err = e.Err; nc == nil {
		return err
	}
	var refused *uplink.StatusError
	var negotiation *link.PeerError
	late, opened := errors.Is(err, context.DeadlineExceeded), e.Doing == "negotiating the link"
	said := nc.greeting
	waited = waited.Round(time.Millisecond)
	var advice string
	switch {
	case errors.As(err, &refused):
		advice = adviceOn(refused)
	case errors.As(err, &negotiation):
		advice = "the node negotiates the link in a way that slim-bench does not accept: it measures nodes like upstream's " + version
	case len(said) == 0 && late:
		advice = fmt.Sprintf("it accepted the connection and has said nothing for %v: a node that hangs, or no SLIM node (one sends HTTP/2 settings at once): "+
			"check the address, and see the node's log", waited)
	case len(said) == 0:
		advice = "it hung up without a word on plain HTTP/2: a listener with TLS (slim-bench speaks none yet: give one with tls: insecure: true), " +
			"another protocol, or a node that is going away: check the address, and see the node's log"
	case isTLS(said):
		advice = "this seems to be a listener with TLS: it answered with a TLS alert; slim-bench speaks none yet: give a listener without it (tls: insecure: true)"
	case bytes.HasPrefix(said, []byte("HTTP/1.")):
		advice = fmt.Sprintf("this seems to be a web server or a proxy that speaks HTTP/1 only: it answered %q; give the address of a node's dataplane listener", firstLine(said))
	case bytes.HasPrefix(said, []byte("INFO {")):
		advice = "this seems to be a NATS server: give its address as nats://host:port"
	case !isHTTP2(said):
		advice = fmt.Sprintf("this speaks another protocol: it answered %q; give the address of a node's dataplane listener", firstLine(said))
	case opened && late:
		advice = fmt.Sprintf("it opened the channel, but has not negotiated the link for %v: see the node's log", waited)
	case opened:
		advice = "it opened the channel, but did not negotiate the link: see the node's log"
	case late:
		advice = fmt.Sprintf("it speaks HTTP/2, but has not opened the channel for %v: a node that hangs or is overloaded, or no SLIM node: "+
			"check the address, and see the node's log", waited)
	default:
		advice = "it speaks HTTP/2, but did not open the channel: check the address, and see the node's log"
	}
	return fmt.Errorf("%s (%w)", advice, err)
}

// isTLS reports whether b is the beginning of a TLS record: an alert, or a handshake.
func isTLS(b []byte) bool { return len(b) >= 2 && (b[0] == 0x15 || b[0] == 0x16) && b[1] == 3 }

// isHTTP2 reports whether b may be the beginning of an HTTP/2 connection: a SETTINGS frame on stream 0 (RFC 9113, section
// 3.4), or the GOAWAY of a peer that wants none.
func isHTTP2(b []byte) bool {
	if len(b) < 9 {
		return false
	}
	const settings, goaway = 4, 7
	return b[0] == 0 && (b[3] == settings || b[3] == goaway) && bytes.Equal(b[5:9], []byte{0, 0, 0, 0})
}

// firstLine is the part of b that people may recognise.
func firstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return bytes.TrimRight(line, "\r")
}
