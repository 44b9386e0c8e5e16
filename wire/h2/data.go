package h2

// beginData checks a DATA frame by its header (RFC 9113 section 6.1). What must not be delivered is still read, so
// that the connection's window returns to the peer.
func (c *Conn) beginData(h frameHeader, ev Events) {
	c.step, c.pad, c.dataOf = stepData, 0, nil
	c.padByte = h.flags&flagPadded != 0
	switch {
	case h.id == 0 || c.idle(h.id):
		c.fail(ProtocolError, "DATA on an idle stream")
	case c.padByte && h.length == 0:
		c.fail(FrameSizeError, "padded DATA without pad length")
	case int(h.length) > c.credit:
		c.fail(FlowControlError, "DATA beyond the connection window")
	default:
		c.chooseStream(h, ev)
	}
	if h.length == 0 && c.err == nil {
		c.endData(ev)
	}
}

// chooseStream decides who gets the payload of the DATA frame h.
func (c *Conn) chooseStream(h frameHeader, ev Events) {
	s := c.find(h.id)
	switch {
	case s == nil:
		if !c.maybeInFlight(h.id) {
			c.spend(FloodFault, priceReset)
			c.resetID(h.id, StreamClosed)
		}
	case s.flags&recvEnded != 0:
		c.streamError(s, StreamClosed, "DATA after END_STREAM", ev)
	case c.role == Client && s.flags&responded == 0:
		c.streamError(s, ProtocolError, "DATA before HEADERS", ev)
	case int(h.length) > s.credit+c.earlyCredit:
		c.streamError(s, FlowControlError, "DATA beyond the stream window", ev)
	default:
		c.dataOf = s
	}
	if h.length == 0 && h.flags&flagEndStream == 0 {
		c.spend(FloodEmpty, priceEmpty)
	}
}

// readData takes as much of the DATA frame's payload as p has.
func (c *Conn) readData(p []byte, ev Events) []byte {
	if c.padByte {
		return c.padLength(p, ev)
	}
	n := min(int(c.left), len(p))
	c.left -= uint32(n)
	c.credit -= n
	if s := c.dataOf; s != nil {
		s.credit -= n
		c.queueCredit(s)
		b := p[:n]
		if c.pad > 0 {
			b = b[:n-min(n, max(int(c.pad)-int(c.left), 0))] // padding comes last
		}
		if s.length < 0 {
			c.dataBytes(s, b, ev)
		} else {
			c.measuredBytes(s, b, ev)
		}
	}
	if c.left == 0 {
		c.endData(ev)
	}
	return p[n:]
}

// padLength takes the Pad Length field. It counts for flow control, as the padding does.
func (c *Conn) padLength(p []byte, ev Events) []byte {
	c.padByte = false
	c.left--
	c.credit--
	if s := c.dataOf; s != nil {
		s.credit--
		c.queueCredit(s)
	}
	if c.pad = uint32(p[0]); c.pad > c.left {
		c.fail(ProtocolError, "padding longer than the frame")
		return nil
	}
	if c.pad == c.left && c.cur.flags&flagEndStream == 0 {
		c.spend(FloodEmpty, priceEmpty)
	}
	if c.left == 0 && c.err == nil {
		c.endData(ev)
	}
	return p[1:]
}

// dataBytes hands the DATA bytes b of s, without padding, to the envelope.
func (c *Conn) dataBytes(s *Stream, b []byte, ev Events) {
	if s.flags&discarding == 0 {
		c.budget = min(c.budget+len(b), c.fullBudget)
		c.messages(s, b, ev)
	} else if s.flags&counting != 0 {
		c.countLate(s, b)
	}
}

// measuredBytes is dataBytes for a stream with a content-length: those that it allows.
func (c *Conn) measuredBytes(s *Stream, b []byte, ev Events) {
	rest := s.length - s.got
	if int64(len(b)) <= rest {
		s.got += int64(len(b))
		c.dataBytes(s, b, ev)
		return
	}
	s.got = s.length
	c.dataBytes(s, b[:rest], ev)
	if s.flags&removed == 0 {
		c.streamError(s, ProtocolError, "more DATA than content-length", ev) // RFC 9113 section 8.1.1
	}
}

// endData finishes the DATA frame.
func (c *Conn) endData(ev Events) {
	c.step = stepHeader
	s := c.dataOf
	if c.dataOf = nil; s == nil {
		return
	}
	if c.cur.flags&flagEndStream != 0 {
		c.recvEndStream(s, End{Kind: KindHalfClosed, GRPCStatus: c.missingStatus(s)}, ev)
	} else if s.flags&lingering != 0 && s.credit < int(c.set.InitialWindow)/2 {
		c.resetID(s.ID, NoError) // RFC 9113 section 8.1: the response is complete, ask the client to stop
		c.remove(s)
	}
}
