package uplink

import "sync/atomic"

// Stats are counts since the connection began.
type Stats struct {
	Received      uint64 // messages handed to the app, or waiting for Receive
	ReceivedBytes uint64 // of them
	Unauthentic   uint64 // dropped: not signed as the link demands
	Invalid       uint64 // dropped: no message, or without what every message has
	Ignored       uint64 // acknowledgements that nobody waited for, and links
	Discarded     uint64 // messages that arrived after Close was called
}

// counters are what Stats shows. The reader counts, all read.
type counters struct {
	messages, bytes, unauthentic, invalid, ignored, discarded atomic.Uint64
}

func (n *counters) received(messages, bytes int) {
	n.messages.Add(uint64(messages))
	n.bytes.Add(uint64(bytes))
}

// Stats returns the counts. Safe for all, at any time.
func (c *Conn) Stats() Stats { return c.n.stats() }

func (n *counters) stats() Stats {
	return Stats{Received: n.messages.Load(), ReceivedBytes: n.bytes.Load(), Unauthentic: n.unauthentic.Load(),
		Invalid: n.invalid.Load(), Ignored: n.ignored.Load(), Discarded: n.discarded.Load()}
}
