package router

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// What a whole node may have, whoever has it (P-lim-9). Names are bounded by table.Budget, kinds of links by claims.

// fullness counts how often a node had no room for another socket.
type fullness struct {
	now   atomic.Bool
	times atomic.Uint64
}

// isFull reports whether the node has as many sockets as it may have: clients wait in the backlogs of its listeners.
// Safe for all; each goroutine that accepts may let one more in.
func (n *Node) isFull() bool {
	sum := 0
	for _, l := range n.loops {
		sum += l.net.Sockets()
	}
	switch full := sum >= n.opt.MaxSockets; {
	case !full && n.full.now.Load():
		n.full.now.Store(false)
	case full && !n.full.now.Swap(true):
		n.full.times.Add(1)
	}
	return n.full.now.Load()
}

// tooMany is the text of a refusal: flags are called as what they limit.
func (n *Node) tooMany(what string, limit int) string {
	return fmt.Sprintf("too many %s at this node: the limit is %d (--max-%s)", what, limit, what)
}

// The last part of a node's connections is for sockets that have few: who opens all the streams that one socket may
// have does not lock others out. Applications open a socket for each connection.
const (
	reserved   = 8 // one in so many connections
	fewStreams = 4 // of a socket that may have these, too
)

// takes counts one more connection of a socket that has so many, and reports whether there may be one.
func (n *Node) takes(streams int) bool {
	limit := int64(n.opt.MaxConnections)
	if streams >= fewStreams {
		limit -= limit / reserved
	}
	if n.open.Add(1) <= limit {
		return true
	}
	n.open.Add(-1)
	return false
}

// noMemory is the text for a stream that is ended because of Options.MaxUnfinished.
func (n *Node) noMemory() string {
	const text = "messages that are not complete take too much memory at this node: the limit is %d bytes (--max-unfinished)"
	return fmt.Sprintf(text, n.opt.MaxUnfinished)
}

// unreadText is the text for a stream that is ended because others wait for it.
func (n *Node) unreadText() string {
	return fmt.Sprintf("other streams of the socket waited for %v because what was sent on this one is not read: "+
		"read it, or give it a socket of its own (--hold-timeout)", n.opt.HoldTimeout)
}

// transportOptions returns the options of the node's transports.
func (n *Node) transportOptions() transport.Options {
	o := n.opt.transport()
	o.Unfinished = n.unfinished
	o.TooMany = n.tooMany("connections", n.opt.MaxConnections)
	return o
}

// fillLimits sets the limits that follow from the memory that the process may use. What may wait, with the quarter
// beyond the limit, gets three tenths of it, unfinished messages a sixteenth and idle sockets a quarter: garbage
// collection lets the heap grow to twice its size.
func (o *Options) fillLimits(memory int64) {
	if memory == 0 {
		memory = 4 << 30
	}
	share := func(part, least int64) int { return int(min(max(memory/part, least), math.MaxInt)) }
	orDefault(&o.MaxQueued, share(8, 16<<20))
	orDefault(&o.MaxUnfinished, share(32, MinMaxUnfinished))
	orDefault(&o.MaxSockets, share(64<<10, 256))
	orDefault(&o.MaxConnections, share(64<<10, 256))
}
