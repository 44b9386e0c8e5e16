package ws

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Code is a status code of a Close frame (RFC 6455 section 7.4).
type Code uint16

// Codes of RFC 6455 section 7.4.1 and of the IANA registry that it begins.
const (
	NoCode          Code = 0    // to Close: the code of the peer's Close, or none
	NormalClosure   Code = 1000 // the purpose is fulfilled; what a node sends in the end: P-ws-7
	GoingAway       Code = 1001 // a server shuts down, a page is left
	ProtocolError   Code = 1002 // a frame breaks the RFC
	UnsupportedData Code = 1003 // text, where only binary messages are taken
	NoStatus        Code = 1005 // never sent: the peer's Close had no code
	Abnormal        Code = 1006 // never sent: the socket ended without a Close
	InvalidPayload  Code = 1007 // text that is not UTF-8
	PolicyViolation Code = 1008 // a flood, or any other rule of ours
	TooBig          Code = 1009 // a message above the limit
	MissingExt      Code = 1010 // a client wanted an extension
	InternalError   Code = 1011 // the fault is ours
	ServiceRestart  Code = 1012
	TryAgainLater   Code = 1013 // there is no memory now
	BadGateway      Code = 1014
	TLSFailed       Code = 1015 // never sent
)

var codeNames = [...]string{"normal closure", "going away", "protocol error", "unsupported data", "code 1004",
	"no status",
	"abnormal closure", "invalid payload", "policy violation", "message too big", "mandatory extension",
	"internal error",
	"service restart", "try again later", "bad gateway", "TLS handshake"}

// String returns the name of the code, or its number.
func (c Code) String() string {
	if i := int(c) - 1000; i >= 0 && i < len(codeNames) {
		return codeNames[i]
	}
	return "code " + strconv.Itoa(int(c))
}

// OnWire reports whether a Close frame may have the code: those that are defined for it, of libraries and of
// applications (RFC 6455 section 7.4.2).
func (c Code) OnWire() bool {
	switch {
	case c >= 3000 && c <= 4999:
		return true
	case c < 1000 || c > BadGateway:
		return false
	}
	return c != 1004 && c != NoStatus && c != Abnormal
}

// ConnError says why this end gave an open connection up. Every later Feed returns the same value. A Close frame with
// code and reason is in Control, unless ours was already out.
type ConnError struct {
	Code   Code
	Reason string // what was wrong; goes to the peer, cut at 123 bytes
	Flood  Flood  // which flood emptied the budget; 0 if none
}

// Error returns the code and the reason.
func (e *ConnError) Error() string { return "ws: " + e.Code.String() + ": " + e.Reason }

// HandshakeError says why a connection did not open. Every later Feed returns the same value.
type HandshakeError struct {
	// Status is the HTTP status: of the answer that is in Control (server), or that the server gave (client; 0: its
	// answer was not HTTP).
	Status int
	// Reason is what was wrong. A server's answer has it as its text; to a client it says what does not fit, or is the
	// status line of the refusal.
	Reason string
	// Text is the beginning of what the server gave as the reason, for logs: at most 512 bytes, quoted where it is
	// printed.
	Text string
	// NotHTTP: what came is no HTTP/1.1 at all; a server does not answer it.
	NotHTTP bool
	// Foreign: Reason says what it is instead.
	Foreign bool
}

// Error says all of it.
func (e *HandshakeError) Error() string {
	s := "ws: handshake: " + e.Reason
	if e.Text != "" {
		s += ": " + strconv.Quote(e.Text)
	}
	return s
}

// Errors of Upgrade and Accept. Nothing was queued.
var (
	// ErrField: an extra field has a name or value that HTTP does not allow, or a name that the handshake reserves.
	ErrField = errors.New("ws: field is not allowed in a handshake")
	// ErrTarget: the path or the host of a request is not allowed in HTTP.
	ErrTarget = errors.New("ws: path or host is not allowed in a request")
	// ErrSeed: Settings.Seed is not set.
	ErrSeed = errors.New("ws: no seed: a client's keys would be known to everyone")
	// ErrState: there is no request to answer, or one was already sent.
	ErrState = errors.New("ws: not in this state of the handshake")
)

// maxReason is what a Close frame has room for besides the code, in bytes.
const maxReason = maxControlPayload - 2

// cutText cuts s to n bytes of valid UTF-8.
func cutText(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "") // shorter, never longer
}
