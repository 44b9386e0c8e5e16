package link

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Key is the 32-byte header MAC key of a link; nil where the link has none. It is the machine's memory until
// Machine.Close wipes it. It never prints: every way of formatting it yields "[redacted]".
type Key []byte

// String returns "[redacted]".
func (Key) String() string { return redacted }

// GoString returns "[redacted]".
func (Key) GoString() string { return redacted }

// Format writes "[redacted]" for every verb, %x included.
func (Key) Format(s fmt.State, _ rune) { redact(s) }

// MarshalText returns "[redacted]", for log handlers and JSON.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func redact(s fmt.State) { _, _ = io.WriteString(s, redacted) }
