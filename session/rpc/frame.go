package rpc

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Metadata that makes a message of a session a frame of a call (P-rpc-1).
const (
	keyService  = "service"
	keyMethod   = "method"
	keyID       = "rpc-id"
	keyDir      = "slimrpc-dir"
	keyDeadline = "slimrpc-timeout"
	keyCode     = "slimrpc-code"

	dirRequest = "req"
)

// reserved are keys that are not the caller's: those of frames, and those that mean something to sessions (P-rpc-2).
var reserved = map[string]bool{
	keyService: true, keyMethod: true, keyID: true, keyDir: true, keyDeadline: true, keyCode: true,
	"PUBLISH_TO": true, "DELETE_GROUP": true, "LEAVING_SESSION": true, "LEAVE_REPLY_SENT": true,
	"slim-peer-subject": true, "slim-payload-sig": true,
}

// mostText is how long the message of an error may be, in bytes: what is longer is cut, sent or received.
const mostText = 8 << 10

// mostID is how long the id of a call may be, in bytes, which servers remember: a UUID has 36.
const mostID = 128

// kind is what a frame is, whoever has sent it.
type kind uint8

const (
	data kind = iota
	end       // of a stream, in an orderly way
	failure
)

// kindOf tells frames apart (P-rpc-5). Of a failure it returns what has failed.
func kindOf(m *session.Message) (kind, *Error) {
	text, ok := m.Metadata[keyCode]
	if !ok {
		return data, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	switch {
	case err != nil || n < 0 || n >= int64(codes):
		return failure, &Error{Code: Unknown, Message: fmt.Sprintf("%s %q is no status code: %s", keyCode, clip(text, 32), clip(string(m.Data), mostText)),
			From: m.From, Remote: true}
	case n == 0 && len(m.Data) == 0:
		return end, nil
	case n == 0:
		return data, nil // as peers older than 2.1 mark it
	}
	return failure, &Error{Code: Code(n), Message: clip(string(m.Data), mostText), From: m.From, Remote: true}
}

// clip returns text that is UTF-8 and no longer than that.
func clip(text string, most int) string {
	return cut(strings.ToValidUTF8(cut(text, most), "\uFFFD"), most) // bytes that are none have become three
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// newID draws the id of a call: a UUID of version 4 (P-rpc-1).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // which never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var t [36]byte
	hex.Encode(t[:], b[:4])
	hex.Encode(t[9:], b[4:6])
	hex.Encode(t[14:], b[6:8])
	hex.Encode(t[19:], b[8:10])
	hex.Encode(t[24:], b[10:])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return string(t[:])
}

// byClock is t by the clock that says now, which may have been set since t was made from it: what is left until t stays.
func byClock(t, now time.Time) time.Time { return now.Add(t.Sub(now)).Round(0) }

// formatDeadline writes a point in time: seconds since 1970, a decimal number without an exponent (P-rpc-3). It is never negative, on which
// handlers of upstream's panic.
func formatDeadline(t time.Time) string {
	// Nanoseconds since 1970 are too many for an int64 in 2262, and before that for a float64.
	return strconv.FormatFloat(max(0, float64(t.Unix())+float64(t.Nanosecond())/1e9), 'f', -1, 64)
}

// farthest is a deadline beyond which there is none: that far a time.Time can be computed with.
const farthest = 1e11 // seconds since 1970

// parseDeadline reads that; zero: there is none.
func parseDeadline(text string) (time.Time, error) {
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case math.IsInf(v, 1) || v > farthest: // out of range, too
		return time.Time{}, nil
	case err != nil || math.IsNaN(v):
		return time.Time{}, Errorf(InvalidArgument, "%s %q is no time in seconds since 1970", keyDeadline, clip(text, 32))
	case v < 0:
		return time.Unix(0, 0), nil
	}
	whole, part := math.Modf(v)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}
