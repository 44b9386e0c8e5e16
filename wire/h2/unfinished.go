package h2

import "strconv"

// What a peer begins and does not complete holds a socket and memory. The engine has no clock: it dates everything with
// the ticks of its owner, who decides how long is too long. Rules: P-lim-12.

// Unfinished says what a peer has begun and not completed.
type Unfinished uint8

const (
	// UnfinishedNone: nothing, but perhaps messages.
	UnfinishedNone Unfinished = iota
	// UnfinishedPreface: the connection preface, which ends with the peer's SETTINGS (RFC 9113 section 3.4).
	UnfinishedPreface
	// UnfinishedBlock: a header block (RFC 9113 section 4.3), whatever the number of its frames.
	UnfinishedBlock
	// UnfinishedFrame: another frame than DATA, or a frame header. An honest peer completes it at once.
	UnfinishedFrame
	// UnfinishedData: a DATA frame. It may be large, and its sender slow.
	UnfinishedData
)

// Tick tells c the time of its owner, in ticks whose length is the owner's and which never go back, and lets go of
// memory that a burst has left behind. The owner calls it from a timer, every second or so.
func (c *Conn) Tick(now int64) {
	c.now = now
	if len(c.ctl) == 0 && cap(c.ctl) > 512 {
		c.ctl = nil
	}
	if len(c.buf) == 0 && cap(c.buf) > 128 {
		c.buf = nil
	}
	c.free, c.frees = nil, 0
}

// Unfinished returns what the peer has begun and not completed, and the tick in which it began, however little of it
// has arrived since. A preface begins with Init, at Settings.Now.
func (c *Conn) Unfinished() (what Unfinished, since int64) {
	switch {
	case c.err != nil:
		return UnfinishedNone, 0
	case !c.settingsSeen:
		return UnfinishedPreface, c.began
	case c.block != nil:
		return UnfinishedBlock, c.block.since
	case c.step == stepData:
		return UnfinishedData, c.since
	case c.hdrN > 0 || c.step != stepHeader:
		return UnfinishedFrame, c.since
	}
	return UnfinishedNone, 0
}

// UnfinishedBytes returns the memory that is kept for what the peer has not completed: what Grow has lent for messages,
// and the parts of frames and header blocks.
func (c *Conn) UnfinishedBytes() int {
	n := c.lent
	if len(c.buf) > 0 {
		n += cap(c.buf)
	}
	if k := c.block; k != nil {
		n += cap(k.octets) + cap(k.rest)
	}
	return n
}

// InputEnded says that nothing more comes from the peer: what it has not completed never will be, and its memory is
// given back. The owner takes back what Grow has lent. No Feed may follow.
func (c *Conn) InputEnded() {
	for s := c.oldest; s != nil; s = c.oldest {
		s.flags |= discarding
		c.giveBack(s)
	}
	c.buf, c.block, c.step = nil, nil, stepSkip
}

// OldestMessage returns the stream whose unfinished message has had memory of Grow for the longest time, and the tick
// of the first Grow; nil: there is none. Reset and Trailers end it.
func (c *Conn) OldestMessage() (s *Stream, since int64) {
	if c.oldest == nil {
		return nil, 0
	}
	return c.oldest, c.oldest.since
}

// SetMaxMessage sets the largest message taken on s from now on, in bytes, and at most Settings.MaxMessage. It is for
// the owner that has heard enough in the first messages (Settings.FirstMessage) to trust the peer with larger ones.
func (c *Conn) SetMaxMessage(s *Stream, n int) {
	s.maxMessage = uint32(min(max(n, 0), c.set.MaxMessage))
}

// MaxMessage is the largest message taken on s now, in bytes.
func (s *Stream) MaxMessage() int { return int(s.maxMessage) }

// lend replaces the memory of the message that s gathers by one of capacity n or more, which begins with have. It
// reports false if s was ended instead, by the owner or because the budget is spent.
func (c *Conn) lend(s *Stream, have []byte, n int, ev Events) bool {
	if c.lent-cap(s.msg)+n > c.set.MaxUnfinished && c.oldest != nil {
		c.endOldest(s, n, ev)
	}
	var got []byte
	if s.flags&discarding == 0 {
		if got = ev.Grow(s, have, n); got == nil {
			got = c.growLater(s, have, n, ev)
		}
	}
	if s.flags&discarding != 0 {
		return false
	}
	if len(got) != len(have) || cap(got) < n {
		panic("h2: Grow returned too little")
	}
	if s.msg == nil {
		s.since = c.now
		if s.older = c.newest; s.older != nil {
			s.older.newer = s
		} else {
			c.oldest = s
		}
		c.newest = s
	}
	c.lent += cap(got) - cap(s.msg)
	s.msg = got
	return true
}

// endOldest ends streams until the budget has n bytes for s, or it is s itself that is ended.
func (c *Conn) endOldest(s *Stream, n int, ev Events) {
	for s.flags&discarding == 0 && c.oldest != nil && c.lent-cap(s.msg)+n > c.set.MaxUnfinished {
		c.deliverEnd(c.oldest, End{Kind: KindUnfinished, GRPCStatus: 8, Message: "unfinished messages of this connection take more than " +
			strconv.Itoa(c.set.MaxUnfinished) + " bytes; this one was begun first"}, ev)
	}
}

// growLater ends streams until Grow has memory, or it is s itself that is ended.
func (c *Conn) growLater(s *Stream, have []byte, n int, ev Events) (got []byte) {
	for got == nil {
		oldest := c.oldest
		if oldest == nil {
			oldest = s
		}
		c.deliverEnd(oldest, End{Kind: KindUnfinished, GRPCStatus: 8, Message: "no memory for unfinished messages; this one was begun first"}, ev)
		if s.flags&discarding != 0 {
			return nil
		}
		got = ev.Grow(s, have, n)
	}
	return got
}

// giveBack ends the message that s gathers: its memory is the owner's again.
func (c *Conn) giveBack(s *Stream) {
	s.preN = 0
	if s.msg == nil {
		return
	}
	c.lent -= cap(s.msg)
	s.msg = nil
	if s.older == nil && s.newer == nil { // the usual case: it is the only one
		c.oldest, c.newest = nil, nil
		return
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		c.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		c.newest = s.older
	}
	s.older, s.newer = nil, nil
}
