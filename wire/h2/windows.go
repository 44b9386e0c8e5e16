package h2

// Flow control, RFC 9113 sections 5.2 and 6.9. Sending: Stream.window and Conn.window. Receiving: Stream.credit and
// Conn.credit hold what the peer may still send.

// Window returns how many bytes of DATA s may send now, >= 0: the smaller of the stream's and the connection's window,
// and within Events.Writable its share of the latter.
func (s *Stream) Window() int {
	if s.flags&sendOpen == 0 {
		return 0
	}
	return max(min(s.window, s.conn.window), 0)
}

// OwnWindow returns the window of s alone, in bytes of DATA; it may be negative (RFC 9113 section 6.9.2).
func (s *Stream) OwnWindow() int { return s.window }

// SendWindow returns the window that all streams share, in bytes of DATA.
func (c *Conn) SendWindow() int { return c.window }

// Granted returns how many bytes of DATA the peer has allowed for all streams together since the start.
func (c *Conn) Granted() int { return startWindow + c.granted }

// Hold withholds n bytes of delivered messages from the peer's window, or lets -n of them return. The sum over a
// stream's life never falls below zero; the connection's window is not concerned.
func (c *Conn) Hold(s *Stream, n int) {
	if s.flags&removed != 0 {
		return
	}
	if s.withheld += n; s.withheld < 0 {
		panic("h2: more credit returned than was withheld")
	}
	if c.feeding {
		c.queueCredit(s) // decided at the end of Feed, together with what still comes
	} else {
		c.updateCredit(s)
	}
}

// Advance lets the peer send n bytes on s though they are withheld. What it may send already counts, so that calls in a
// row give no more than one; it keeps what it does not use until its window is wider.
func (c *Conn) Advance(s *Stream, n int) {
	if more := min(n, int(c.set.InitialWindow)) - s.credit; more > 0 && c.credits(s) {
		c.ctl = appendWindowUpdate(c.ctl, s.ID, uint32(more))
		s.credit += more
	}
}

// credits reports whether the peer gets window on s: a lingering stream gets none, its peer is meant to stop.
func (c *Conn) credits(s *Stream) bool {
	return s.flags&(removed|lingering|recvEnded) == 0 && c.err == nil
}

// queueCredit has updateCredit look at s when Feed ends.
func (c *Conn) queueCredit(s *Stream) {
	if s.flags&creditDue == 0 {
		s.flags |= creditDue
		s.nextCredit, c.creditList = c.creditList, s
	}
}

// flushCredit sends the credit that is due at the end of a Feed.
func (c *Conn) flushCredit() {
	for s := c.creditList; s != nil; s = c.creditList {
		c.creditList, s.nextCredit = s.nextCredit, nil
		s.flags &^= creditDue
		c.updateCredit(s)
		c.reuse(s)
	}
	if w := int(c.set.ConnWindow); w-c.credit >= w/4 && c.err == nil {
		c.ctl = appendWindowUpdate(c.ctl, 0, uint32(w-c.credit))
		c.credit = w
	}
}

// updateCredit sends a WINDOW_UPDATE for s when a quarter of the window is due, or the peer has less than that.
func (c *Conn) updateCredit(s *Stream) {
	if !c.credits(s) {
		return
	}
	w := int(c.set.InitialWindow)
	gathered, missing := s.progress()
	want := w - s.withheld - gathered
	if missing > 0 && s.withheld < w {
		want = max(want, min(missing, w)) // the loan: a message larger than the window must become complete
	}
	more := want - s.credit
	if more > 0 && (more >= w/4 || s.credit < w/4) {
		c.ctl = appendWindowUpdate(c.ctl, s.ID, uint32(more))
		s.credit = want
	}
}

// windowUpdateFrame: RFC 9113 section 6.9.
func (c *Conn) windowUpdateFrame(h frameHeader, b []byte, ev Events) {
	inc := int(be32(b) & maxWindow)
	if h.id == 0 {
		c.widenConn(inc)
		return
	}
	if c.idle(h.id) {
		c.fail(ProtocolError, "WINDOW_UPDATE on an idle stream")
		return
	}
	s := c.find(h.id)
	switch {
	case s == nil: // closed: section 5.1 has it ignored
		c.spendBytes(FloodWindow, priceWindow)
	case inc == 0:
		c.streamError(s, ProtocolError, "WINDOW_UPDATE of zero", ev)
	case s.window > maxWindow-inc: // the sum does not fit an int of 32 bits
		c.streamError(s, FlowControlError, "stream window above 2^31-1", ev)
	default:
		s.window += inc
		c.raised(s.window, &s.peakWindow)
		if c.err == nil && !c.opened && s.Window() > 0 { // else its turn comes with that of the others
			ev.Writable(s)
		}
	}
}

func (c *Conn) widenConn(inc int) {
	switch {
	case inc == 0:
		c.fail(ProtocolError, "WINDOW_UPDATE of zero")
	case c.window > maxWindow-inc:
		c.fail(FlowControlError, "connection window above 2^31-1")
	default:
		c.granted += inc
		if c.window < minShare { // else no stream waits for it
			c.opened = true
		}
		c.window += inc
		c.raised(c.window, &c.peakWindow)
	}
}

// raised takes tokens for a WINDOW_UPDATE that gives more than our DATA has taken: window exceeds all it has been.
func (c *Conn) raised(window int, peak *int) {
	if window > *peak {
		*peak = window
		c.spendBytes(FloodWindow, priceWindow)
	}
}
