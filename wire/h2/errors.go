package h2

import (
	"errors"
	"strconv"
)

// ErrCode is an HTTP/2 error code (RFC 9113 section 7).
type ErrCode uint32

// Error codes of RFC 9113 section 7.
const (
	NoError            ErrCode = 0x0
	ProtocolError      ErrCode = 0x1
	InternalError      ErrCode = 0x2
	FlowControlError   ErrCode = 0x3
	SettingsTimeout    ErrCode = 0x4
	StreamClosed       ErrCode = 0x5
	FrameSizeError     ErrCode = 0x6
	RefusedStream      ErrCode = 0x7
	Cancel             ErrCode = 0x8
	CompressionError   ErrCode = 0x9
	ConnectError       ErrCode = 0xa
	EnhanceYourCalm    ErrCode = 0xb
	InadequateSecurity ErrCode = 0xc
	HTTP11Required     ErrCode = 0xd
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the RFC's name of the code, or its number.
func (e ErrCode) String() string {
	if int(e) < len(codeNames) {
		return codeNames[e]
	}
	return "code " + strconv.FormatUint(uint64(e), 10)
}

// ConnError says why this end gave the connection up: the peer broke a rule that cannot be repaired on one stream
// (RFC 9113 section 5.4.1). Every later Feed returns the same value. What the peer reports about us arrives as
// Events.GoAway and Events.Ended instead.
type ConnError struct {
	Code       ErrCode
	Reason     string // goes to the peer as GOAWAY debug data
	BadPreface bool   // the peer does not speak HTTP/2 with prior knowledge
	Foreign    bool   // it seems to be a client that should come by TLS, or elsewhere
	Flood      Flood  // which flood emptied the budget; 0 if none
}

// Error returns the code and the reason.
func (e *ConnError) Error() string { return "h2: " + e.Code.String() + ": " + e.Reason }

// Errors of Open. The Conn goes on working after each.
var (
	// ErrDraining: a GOAWAY went out or came in, or the connection is over.
	ErrDraining = errors.New("h2: connection takes no new streams")
	// ErrStreamLimit: the peer's SETTINGS_MAX_CONCURRENT_STREAMS is reached.
	ErrStreamLimit = errors.New("h2: peer's stream limit reached")
	// ErrIDsSpent: all 2^30 stream ids are used up; a new connection is needed.
	ErrIDsSpent = errors.New("h2: stream ids used up")
	// ErrFields: the header fields are larger than one request may be here (64 KiB).
	ErrFields = errors.New("h2: request fields too large")
)
