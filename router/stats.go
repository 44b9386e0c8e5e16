package router

import (
	"context"
	"log/slog"
)

// counters of one loop, written by it alone.
type counters struct {
	received, delivered, bytes, queued uint64
	negotiated                         uint64
	conns, stalls                      int64
	dropped, refused                   [numReasons]uint64
}

// Stats is what a node has done since its start, summed over its loops.
type Stats struct {
	// Received counts messages that arrived on negotiated connections, Delivered those handed to a target, Bytes
	// what was delivered behind the headers, Queued deliveries that had to wait.
	Received, Delivered, Bytes, Queued uint64
	// Negotiated counts finished negotiations, Panics connections lost to internal errors.
	Negotiated, Panics uint64
	// Sockets, Connections and Stalled are of this moment.
	Sockets, Connections, Stalled int64
	// Dropped counts messages that died, Refused requests and peers that were turned away.
	Dropped, Refused map[Reason]uint64
	// Names is the number of subscriptions in the table.
	Names int
}

// Stats asks every loop for its counters. After Shutdown it returns ctx's error or what the loops counted.
func (n *Node) Stats(ctx context.Context) (Stats, error) {
	s := Stats{Dropped: map[Reason]uint64{}, Refused: map[Reason]uint64{}, Names: n.names.Len(), Panics: n.panics.Load()}
	for _, l := range n.loops {
		s.Sockets += int64(l.net.Sockets())
	}
	answers := make(chan counters, len(n.loops))
	for _, l := range n.loops {
		l.post(func() { answers <- l.n })
	}
	for range n.loops {
		select {
		case c := <-answers:
			s.add(&c)
		case <-n.done:
			return s, errStopped
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
	return s, nil
}

// totals is Stats after the loops have stopped.
func (n *Node) totals() Stats {
	s := Stats{Dropped: map[Reason]uint64{}, Refused: map[Reason]uint64{}, Names: n.names.Len(), Panics: n.panics.Load()}
	for _, l := range n.loops {
		s.add(&l.n)
	}
	return s
}

func (s *Stats) add(c *counters) {
	s.Received += c.received
	s.Delivered += c.delivered
	s.Bytes += c.bytes
	s.Queued += c.queued
	s.Negotiated += c.negotiated
	s.Connections += c.conns
	s.Stalled += c.stalls
	for r := range numReasons {
		if c.dropped[r] > 0 {
			s.Dropped[r] += c.dropped[r]
		}
		if c.refused[r] > 0 {
			s.Refused[r] += c.refused[r]
		}
	}
}

// Attrs returns all counters for a log record; reasons that have not occurred are left out.
func (s *Stats) Attrs() []any {
	attrs := []any{slog.String("target", targetProcessing),
		slog.Int64("sockets", s.Sockets), slog.Int64("connections", s.Connections), slog.Int("names", s.Names), slog.Int64("stalled", s.Stalled),
		slog.Uint64("negotiated", s.Negotiated), slog.Uint64("received", s.Received), slog.Uint64("delivered", s.Delivered),
		slog.Uint64("bytes", s.Bytes), slog.Uint64("queued", s.Queued), slog.Uint64("panics", s.Panics)}
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
