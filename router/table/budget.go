package table

import (
	"fmt"
	"sync/atomic"
)

// Budget bounds what the subscriptions of a node take together: those in its table and those that peers offer beside
// it. A nil Budget has no limits. Safe for all; what several take at once may exceed a limit by as many. Rules:
// P-lim-3.
type Budget struct {
	// Immutable; 0: no limit.
	PerConn int   // subscriptions of one connection
	Names   int64 // subscriptions of the node, an eighth of them for connections that have few
	Bytes   int64 // of strings that are kept for names, an eighth of them likewise

	names, bytes atomic.Int64 // in use
}

// The last part of a node's names, and of the bytes of their strings, is for connections that have few: who takes all
// that it gets does not lock others out.
const (
	reserved = 8   // one in so many
	fewHeld  = 128 // subscriptions of a connection that may have these, too
)

// Full is the limit that a subscription ran into.
type Full struct {
	Conn  bool // the connection's limit; else the node's
	Bytes bool // of bytes of strings; else of subscriptions
	Limit int64
}

func (e *Full) Error() string {
	what, where := "subscriptions", "at this node"
	if e.Conn {
		where = "on this connection"
	}
	if e.Bytes {
		what = "bytes of names"
	}
	return fmt.Sprintf("too many %s %s: the limit is %d", what, where, e.Limit)
}

// Take counts n more subscriptions, 0 or 1, of a connection that has have, and bytes of strings. Its error is a
// *Full; then nothing was counted.
func (b *Budget) Take(have, n, bytes int) error {
	switch {
	case b == nil:
		return nil
	case b.PerConn > 0 && n > 0 && have >= b.PerConn:
		return &Full{Conn: true, Limit: int64(b.PerConn)}
	case b.Names > 0 && n > 0 && b.names.Load() >= partFor(have, b.Names):
		return &Full{Limit: partFor(have, b.Names)}
	case b.Bytes > 0 && bytes > 0 && b.bytes.Load()+int64(bytes) > partFor(have, b.Bytes):
		return &Full{Bytes: true, Limit: partFor(have, b.Bytes)}
	}
	b.Count(n, bytes)
	return nil
}

// partFor is how much of a limit may be in use before a connection that has so many names is refused more.
func partFor(have int, limit int64) int64 {
	if have < fewHeld {
		return limit
	}
	return limit - limit/reserved
}

// Count counts without a limit; negative numbers give back.
func (b *Budget) Count(names, bytes int) {
	if b == nil {
		return
	}
	b.names.Add(int64(names))
	b.bytes.Add(int64(bytes))
}

// Used returns the subscriptions and bytes of strings in use.
func (b *Budget) Used() (names, bytes int64) {
	if b == nil {
		return 0, 0
	}
	return b.names.Load(), b.bytes.Load()
}
