package router

import (
	"iter"
	"log/slog"
	"sync/atomic"
	"time"
)

// tally is what one loop counts.
type tally struct {
	// Since the start.
	received, bytesIn, delivered, bytes, queued, negotiated uint64
	dropped, refused                                        [numReasons]uint64

	// Of this moment.
	conns, stalled int64
	waiting, held  int64 // messages in queues, what senders are charged with
}

// counters are the tally of a loop, which it alone writes and reads, and what it last showed of that, which everybody
// may read. So the message path counts with plain additions, and a scrape asks no loop.
type counters struct {
	tally
	reasons bool // dropped or refused have changed since the last show

	_     pad
	shown shown
	_     pad
}

// pad keeps what one thread writes and others read apart from the rest.
type pad [128]byte

// shown is what everybody may read. Written by the loop alone, and only what has changed: an atomic store costs it as
// much as ten additions.
type shown struct {
	received, bytesIn, delivered, bytes, queued, negotiated atomic.Uint64
	dropped, refused                                        [numReasons]atomic.Uint64

	_                                        pad // gauges change both ways, and more often
	conns, stalled, waiting, waitBytes, held atomic.Int64
	plainOut, packedOut, plainIn, packedIn   atomic.Uint64
	blocked, spilled, unfinished             atomic.Int64
	ran                                      atomic.Int64 // when it last ticked, in ns since the node was made; 0: it has not yet
}

// drop counts a message that died.
func (n *counters) drop(r Reason) {
	n.dropped[r]++
	n.reasons = true
}

// refuse counts a request or a peer that was turned away.
func (n *counters) refuse(r Reason) {
	n.refused[r]++
	n.reasons = true
}

// show brings what everybody may read up to date. The loop calls it at the end of each batch.
func (l *loop) show() {
	n, s := &l.n, &l.n.shown
	put(&s.received, n.received)
	put(&s.bytesIn, n.bytesIn)
	put(&s.delivered, n.delivered)
	put(&s.bytes, n.bytes)
	put(&s.queued, n.queued)
	put(&s.negotiated, n.negotiated)
	putGauge(&s.conns, n.conns)
	putGauge(&s.stalled, n.stalled)
	putGauge(&s.waiting, n.waiting)
	putGauge(&s.waitBytes, l.queued.Held())
	putGauge(&s.held, n.held)
	putGauge(&s.blocked, int64(l.net.Blocked()))
	putGauge(&s.spilled, int64(l.port.Spilled()))
	putGauge(&s.unfinished, int64(l.group.Unfinished()))
	if l.group.Compresses() {
		t := l.group.Tally()
		put(&s.plainOut, t.PlainOut)
		put(&s.packedOut, t.PackedOut)
		put(&s.plainIn, t.PlainIn)
		put(&s.packedIn, t.PackedIn)
	}
	if n.reasons {
		n.reasons = false
		for r := range numReasons {
			put(&s.dropped[r], n.dropped[r])
			put(&s.refused[r], n.refused[r])
		}
	}
}

func put(a *atomic.Uint64, v uint64) {
	if a.Load() != v {
		a.Store(v)
	}
}

func putGauge(a *atomic.Int64, v int64) {
	if a.Load() != v {
		a.Store(v)
	}
}

// Stats is what a node has done since its start, and what it has at this moment, summed over its loops. Each number is
// true of a moment some milliseconds ago at most; they need not be of the same.
type Stats struct {
	// Received counts messages that arrived on negotiated connections, BytesIn the bytes of all that arrived, Delivered
	// messages handed to a target, Bytes what was delivered behind the headers, Queued deliveries that had to wait.
	Received, BytesIn, Delivered, Bytes, Queued uint64
	// PlainOut are bytes of messages that left compressed, as they were before, PackedOut as they went out; PlainIn and
	// PackedIn likewise of messages that came compressed.
	PlainOut, PackedOut, PlainIn, PackedIn uint64
	// Negotiated counts finished negotiations, Panics connections lost to internal errors.
	Negotiated, Panics uint64
	// Dropped counts messages that died, Refused requests and peers that were turned away. Only reasons that have
	// occurred.
	Dropped, Refused map[Reason]uint64

	// Sockets, Connections and Stalled are of this moment, and so is all that follows.
	Sockets, Connections, Stalled int64
	// Negotiating is how many of Connections have not negotiated, Kinds how many of each kind have.
	Negotiating int64
	Kinds       [numKinds]int64
	// Blocked is how many sockets wait for the kernel, Spilled how many messages, bundles of them and credits for
	// room between loops.
	Blocked, Spilled int64
	// Late is how many loops have not run for three seconds or more.
	Late int64
	// Behind is how long ago the loop ran that has not run for longest; 0: none has run yet.
	Behind time.Duration
	// Waiting is how many messages wait for receivers, WaitingBytes their memory, counted at each receiver, Held what
	// senders are charged with for these and for messages between loops, Unfinished the memory of messages that have
	// not arrived whole. In bytes.
	Waiting, WaitingBytes, Held, Unfinished int64
	// Names is the number of subscriptions in the table.
	Names int
}

// late is how long a loop may not tick. The wall's clock has no part in it: it may jump.
const late = 3 * time.Second

// Stats returns the counters. It asks no loop, so it answers at once, whatever they do, and after Shutdown, too.
func (n *Node) Stats() Stats {
	s := Stats{Dropped: map[Reason]uint64{}, Refused: map[Reason]uint64{}, Names: n.names.Len(), Panics: n.panics.Load()}
	if times := n.full.times.Load(); times > 0 {
		s.Refused[ReasonSockets] = times
	}
	n.shaken.add(s.Refused)
	now := time.Since(n.made)
	for _, l := range n.loops {
		s.Sockets += int64(l.net.Sockets())
		s.add(&l.n.shown)
		if ran := l.n.shown.ran.Load(); ran != 0 {
			behind := now - time.Duration(ran)
			s.Behind = max(s.Behind, behind)
			if behind >= late {
				s.Late++
			}
		}
	}
	s.Negotiating = s.Connections
	for k := range s.Kinds {
		s.Kinds[k] = int64(n.claims.granted[k].Load())
		s.Negotiating -= s.Kinds[k]
	}
	s.Negotiating = max(0, s.Negotiating) // the numbers are not of the same moment
	return s
}

func (s *Stats) add(c *shown) {
	s.Received += c.received.Load()
	s.BytesIn += c.bytesIn.Load()
	s.Delivered += c.delivered.Load()
	s.Bytes += c.bytes.Load()
	s.Queued += c.queued.Load()
	s.PlainOut += c.plainOut.Load()
	s.PackedOut += c.packedOut.Load()
	s.PlainIn += c.plainIn.Load()
	s.PackedIn += c.packedIn.Load()
	s.Negotiated += c.negotiated.Load()
	s.Connections += c.conns.Load()
	s.Stalled += c.stalled.Load()
	s.Blocked += c.blocked.Load()
	s.Spilled += c.spilled.Load()
	s.Waiting += c.waiting.Load()
	s.WaitingBytes += c.waitBytes.Load()
	s.Held += c.held.Load()
	s.Unfinished += c.unfinished.Load()
	for r := range numReasons {
		if n := c.dropped[r].Load(); n > 0 {
			s.Dropped[r] += n
		}
		if n := c.refused[r].Load(); n > 0 {
			s.Refused[r] += n
		}
	}
}

// Attrs returns all counters for a log record; reasons that have not occurred are left out.
func (s *Stats) Attrs() []any {
	attrs := []any{slog.String("target", targetProcessing)}
	for _, g := range s.gauges() {
		attrs = append(attrs, slog.Int64(g.name, g.value))
	}
	attrs = append(attrs,
		slog.Uint64("negotiated", s.Negotiated), slog.Uint64("received", s.Received), slog.Uint64("delivered", s.Delivered),
		slog.Uint64("bytes", s.Bytes), slog.Uint64("queued", s.Queued), slog.Uint64("panics", s.Panics))
	for _, c := range [...]struct {
		name  string
		value uint64
	}{{"compressed_out_plain", s.PlainOut}, {"compressed_out", s.PackedOut}, {"compressed_in_plain", s.PlainIn}, {"compressed_in", s.PackedIn}} {
		if c.value > 0 { // most nodes have none
			attrs = append(attrs, slog.Uint64(c.name, c.value))
		}
	}
	for r := range numReasons {
		if n := s.Dropped[r]; n > 0 {
			attrs = append(attrs, slog.Uint64("dropped."+r.String(), n))
		}
	}
	for r := range numReasons {
		if n := s.Refused[r]; n > 0 {
			attrs = append(attrs, slog.Uint64("refused."+r.String(), n))
		}
	}
	return attrs
}

// Gauges yields the numbers of this moment by their names in the log.
func (s *Stats) Gauges() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for _, g := range s.gauges() {
			if !yield(g.name, g.value) {
				return
			}
		}
	}
}

type gauge struct {
	name  string
	value int64
}

// gauges are the numbers of this moment, in the order of the log.
func (s *Stats) gauges() []gauge {
	return []gauge{{"sockets", s.Sockets}, {"connections", s.Connections}, {"names", int64(s.Names)},
		{"stalled", s.Stalled}, {"blocked", s.Blocked}, {"spilled", s.Spilled}, {"late_loops", s.Late},
		{"waiting", s.Waiting}, {"waiting_bytes", s.WaitingBytes}, {"held_bytes", s.Held}, {"unfinished_bytes", s.Unfinished}}
}
