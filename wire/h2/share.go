package h2

import "math"

// Sharing the connection's send window (RFC 9113 section 5.2.1) and the owner's output among the streams of a
// connection: a stream that could send without end leaves the others theirs.

const (
	minShare  = minMaxFrame // bytes: with so much window left, no stream waits for it; less than it is not worth a turn
	spentRest = 4 << 10     // bytes: a share is used up when less is left, which an owner may not want to send
	unlimited = math.MaxInt
)

// Offer calls Writable for the streams that may send, in turns: room, the bytes that the owner's output has left, and
// the connection's window are divided among them, and what some do not want goes to those that do. The turn begins after
// the stream that was the last to send something in the turn before. During the call Stream.Window of each stream, and
// so Data, is at most its share.
//
// Feed calls it when the peer opens a connection window that had less than 16 KiB left, or the windows of all streams.
// The owner calls it when its own output had no room and now has; not within an event.
func (c *Conn) Offer(ev Events, room int) {
	if c.err != nil || c.live == 0 {
		return
	}
	n := 0
	for s := c.head; s != nil; s = s.next {
		if s.flags &^= hungry; s.Window() > 0 {
			n++
		}
	}
	for all := true; n > 0 && room > 0 && c.window > 0; all = false {
		before := c.window
		n = c.offerOnce(ev, max(min(c.window, room)/n, minShare), all)
		room -= before - c.window
	}
	c.cursor = nil
	c.Reap(ev)
}

// offerOnce goes round once: all streams that may send, or only those that used up their share the last time. It
// returns how many have used up their share and could send more.
func (c *Conn) offerOnce(ev Events, share int, all bool) (left int) {
	turn := c.turn
	c.cursor = c.head
	for c.cursor != nil && c.cursor.ID <= turn {
		c.cursor = c.cursor.next
	}
	for until := uint32(maxStreamID); ; until = turn { // to the end, then from the beginning to where it began
		for s := c.cursor; s != nil && s.ID <= until; s = c.cursor {
			c.cursor = s.next // remove moves it on
			if (all || s.flags&hungry != 0) && s.Window() > 0 && c.offerTo(s, share, ev) {
				left++
			}
		}
		if until == turn {
			return left
		}
		c.cursor = c.head
	}
}

// offerTo has s send up to share bytes and reports whether it has and could send more.
func (c *Conn) offerTo(s *Stream, share int, ev Events) bool {
	id, window := s.ID, s.window
	others := max(c.window-share, 0)
	c.window -= others
	ev.Writable(s)
	used := c.window < spentRest
	if c.err == nil {
		c.window += others
	}
	s.flags &^= hungry
	if s.window == window {
		return false
	}
	if c.turn = id; used && s.Window() > 0 {
		s.flags |= hungry
	}
	return s.flags&hungry != 0
}
