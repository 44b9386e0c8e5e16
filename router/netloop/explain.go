package netloop

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
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
	Remote string // the peer's address
	Server string // the name that it asked for; empty: none, or the handshake came not as far
	// Unconvinced: the peer left once it had seen the certificate of this side, and gave no reason.
	Unconvinced bool
	Cert        *x509.Certificate // that the peer has shown and that was not accepted; nil: none
	Text        string            // what it means
	Err         error
}

func (e *HandshakeError) Error() string { return e.Text }

func (e *HandshakeError) Unwrap() error { return e.Err }

// Numbers of alerts (RFC 8446 section 6).
const (
	closeNotify          = 0
	handshakeFailure     = 40 // as the next two: nothing is in common
	protocolVersion      = 70
	insufficientSecurity = 71
	badCertificate       = 42 // and those up to unknownCertificate are about what is wrong with one
	unknownCertificate   = 46
	unknownCA            = 48
	internalError        = 80
	certificateRequired  = 116
)

// explain says what an error of the handshake means.
func (h *handshake) explain(c *tls.Conn, err error, timeout time.Duration, dialled bool) *HandshakeError {
	state := c.ConnectionState()
	e := &HandshakeError{Remote: h.raw.RemoteAddr().String(), Server: state.ServerName, Err: err, Text: err.Error()}
	var noTLS tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	alert, refused := alertOf(err)
	if !refused && h.heard != closeNotify {
		alert, refused = tls.AlertError(h.heard), true
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.Fault, e.Text = HandshakeTimeout, fmt.Sprintf("the TLS handshake is not complete after %v, in which %d bytes came", timeout, h.got)
		if in, ok := h.raw.(*incoming); ok && in.hurried.Load() {
			e.Text = fmt.Sprintf("the peer was waited for during %v of the TLS handshake, in which %d bytes came, and there was no room for other sockets",
				in.before.Round(time.Millisecond), h.got)
		}
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
	case refused:
		e.Fault, e.Text = HandshakeRefused, alertText(alert, dialled)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		e.Fault, e.Text = HandshakeReset, fmt.Sprintf("the peer ended the connection after %d bytes of the TLS handshake", h.got)
		switch {
		case dialled && h.got == 0:
			e.Text += ": if it has no TLS, dial it by http:// or ws://"
		case !dialled && h.wrote > withoutCertificate && !state.DidResume:
			e.Unconvinced = true
			e.Text += ", when it had seen the certificate of the node: it probably does not trust that, or wants another name in it"
		}
	case h.alert == protocolVersion, h.alert == insufficientSecurity, h.alert == handshakeFailure:
		e.Fault, e.Text = HandshakeMismatch, versionNumber.ReplaceAllStringFunc(e.Text, versionName)
	}
	e.Text = e.Text[:min(len(e.Text), maxText)] // some of it is the peer's
	e.Server = strings.Clone(e.Server[:min(len(e.Server), maxText)])
	return e
}

// versionNumber is a version of TLS as crypto/tls says it: two bytes in hex.
var versionNumber = regexp.MustCompile(`\b30[0-4]\b`)

func versionName(hex string) string {
	n, _ := strconv.ParseUint(hex, 16, 16)
	return tls.VersionName(uint16(n))
}

// withoutCertificate is how many bytes a server writes at most, and rather less, before it shows a certificate: an alert,
// or a HelloRetryRequest.
const withoutCertificate = 300

// alertOf returns the alert that a peer has sent, if err is one.
func alertOf(err error) (tls.AlertError, bool) {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0, false
	}
	v := reflect.ValueOf(op.Err) // of a type that crypto/tls does not export
	if !v.CanUint() || v.Uint() > 255 {
		return internalError, true
	}
	return tls.AlertError(v.Uint()), true
}

// alertText says what an alert of the peer means.
func alertText(a tls.AlertError, dialled bool) string {
	text := "the peer gave up with the alert " + strings.TrimPrefix(a.Error(), "tls: ")
	switch {
	case a >= badCertificate && a <= unknownCertificate || a == unknownCA:
		if dialled {
			return text + ": it does not accept the certificate that it was shown (tls.source)"
		}
		return text + ": it does not accept the certificate of the node"
	case a == certificateRequired && dialled:
		return text + ": it demands a certificate, so give the link one (tls.source)"
	}
	return text
}

// ErrorText is an error of a socket that was dialled, for logs: with TLS 1.3 the peer may refuse our certificate when the
// handshake is complete for us.
func ErrorText(err error) string {
	if a, ok := alertOf(err); ok {
		return alertText(a, true)
	}
	return err.Error()
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
