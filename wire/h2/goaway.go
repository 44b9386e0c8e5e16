package h2

// fail ends the connection: the first reason wins, GOAWAY goes to Control, nothing is sent or read afterwards.
func (c *Conn) fail(code ErrCode, reason string) {
	if c.err != nil {
		return
	}
	c.err = &ConnError{Code: code, Reason: reason}
	c.appendGoAway(c.accepted, code, reason)
	c.window = 0 // Data finds no room
	c.step = stepSkip
	c.block, c.buf = nil, nil
}

func (c *Conn) appendGoAway(last uint32, code ErrCode, debug string) {
	debug = debug[:min(len(debug), maxDebug)]
	c.ctl = appendFrameHeader(c.ctl, 8+len(debug), frameGoAway, 0, 0)
	c.ctl = appendBE32(appendBE32(c.ctl, last), uint32(code))
	c.ctl = append(c.ctl, debug...)
	c.sentGoAway = true
}

// GoAwayNow queues a GOAWAY (RFC 9113 section 6.8). graceful=true announces the end with last id 2^31-1: streams that
// are already on their way are still served. graceful=false states the last stream that is served; later ones are
// ignored. Live streams go on in both cases; the owner closes the socket, at best once Idle reports true. A graceful
// end is both calls, a round trip apart. Before an idle socket is closed one with graceful=false suffices: a client whose
// request crosses it knows that it was not served and may send it again (RFC 9113 section 8.7).
func (c *Conn) GoAwayNow(code ErrCode, debug string, graceful bool) {
	if c.err != nil {
		return
	}
	if graceful {
		c.appendGoAway(maxStreamID, code, debug)
		return
	}
	c.finalGoAway = true
	c.appendGoAway(c.accepted, code, debug)
}

// goAwayFrame: RFC 9113 section 6.8. Streams above last were never worked on.
func (c *Conn) goAwayFrame(h frameHeader, b []byte, ev Events) {
	if h.id != 0 {
		c.fail(ProtocolError, "GOAWAY on a stream")
		return
	}
	c.spend(FloodUnknown, 1)
	c.gotGoAway = true
	last, code := be32(b)&maxStreamID, ErrCode(be32(b[4:]))
	ev.GoAway(last, code, b[8:min(len(b), 8+maxDebug)])
	if c.role != Client {
		return
	}
	for s := c.tail; s != nil && s.ID > last; s = c.tail { // ids ascend in the list
		c.deliverEnd(s, End{Kind: KindGoAway, Code: code, GRPCStatus: -1, Message: "peer is going away"}, ev)
		c.remove(s)
	}
}

// Draining reports whether a GOAWAY was sent or received, or the connection is over.
func (c *Conn) Draining() bool { return c.sentGoAway || c.gotGoAway || c.err != nil }

// Idle reports whether no stream is alive.
func (c *Conn) Idle() bool { return c.live == 0 }

// Streams returns the number of live streams.
func (c *Conn) Streams() int { return c.live }
