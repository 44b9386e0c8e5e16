package h2

// beginData judges a DATA frame by its header (RFC 9113 section 6.1). What must not be delivered is still read, so
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
		if !c.forgiven(h.id) {
			c.charge(FloodFault, priceReset)
			c.resetID(h.id, StreamClosed)
		}
	case s.flags&recvDone != 0:
		c.fault(s, StreamClosed, "DATA behind END_STREAM", ev)
	case c.role == Client && s.flags&answered == 0:
		c.fault(s, ProtocolError, "DATA before HEADERS", ev)
	case int(h.length) > s.credit+c.slack:
		c.fault(s, FlowControlError, "DATA beyond the stream window", ev)
	default:
		c.dataOf = s
	}
	if h.length == 0 && h.flags&flagEndStream == 0 {
		c.charge(FloodEmpty, priceEmpty)
	}
}

// data takes as much of the DATA frame's payload as p has.
func (c *Conn) data(p []byte, ev Events) []byte {
	if c.padByte {
		return c.padLength(p, ev)
	}
	n := min(int(c.left), len(p))
	c.left -= uint32(n)
	c.credit -= n
	if s := c.dataOf; s != nil {
		s.credit -= n
		c.touch(s)
		b := p[:n]
		if c.pad > 0 {
			b = b[:n-min(n, max(int(c.pad)-int(c.left), 0))] // padding comes last
		}
		c.body(s, b, ev)
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
		c.touch(s)
	}
	if c.pad = uint32(p[0]); c.pad > c.left {
		c.fail(ProtocolError, "padding longer than the frame")
		return nil
	}
	if c.pad == c.left && c.cur.flags&flagEndStream == 0 {
		c.charge(FloodEmpty, priceEmpty)
	}
	if c.left == 0 && c.err == nil {
		c.endData(ev)
	}
	return p[1:]
}

// body hands the DATA bytes b of s, without padding, to the envelope.
func (c *Conn) body(s *Stream, b []byte, ev Events) {
	s.got += int64(len(b))
	if s.length >= 0 && s.got > s.length {
		c.fault(s, ProtocolError, "more DATA than content-length", ev)
		return
	}
	if s.flags&mute == 0 {
		c.tokens = min(c.tokens+len(b), fullBudget)
		c.messages(s, b, ev)
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
		c.peerDone(s, &End{Kind: KindHalfClosed, GRPCStatus: c.missingStatus(s)}, ev)
	} else if s.flags&lame != 0 && s.credit < int(c.set.InitialWindow)/2 {
		c.resetID(s.ID, NoError) // RFC 9113 section 8.1: the response is complete, ask the client to stop
		c.bury(s)
	}
}
