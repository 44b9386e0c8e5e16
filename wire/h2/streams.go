package h2

type streamFlags uint16

const (
	recvDone streamFlags = 1 << iota // END_STREAM arrived
	sendDone                         // END_STREAM left
	open                             // DATA may be sent: HEADERS left, END_STREAM did not
	answered                         // client: the response arrived
	told                             // Ended was delivered
	mute                             // the owner hears no more messages: DATA is discarded
	lame                             // server: we are done, the peer is not; only HTTP/2's rules are kept alive
	dead                             // closed; no longer in the tables
	dirty                            // in the list of streams whose receive window is to be judged
)

// Stream is one request and its response. Owned by the goroutine that owns its Conn. After Events.Closed every method
// that takes the stream does nothing, and User is nil.
//
// States of RFC 9113 section 5.1: idle streams have no Stream; open is neither recvDone nor sendDone; half-closed
// (remote) is recvDone; half-closed (local) is sendDone, on a server also lame, where Closed was already delivered;
// closed is dead.
type Stream struct {
	ID   uint32
	User any // the owner's; never read here

	flags  streamFlags
	preN   uint8 // bytes of the gRPC prefix that arrived: 5 while a message is gathered, 0 between messages
	pre    [prefixLen]byte
	status uint16 // client: HTTP status of the response
	conn   *Conn

	window int // send window, DATA bytes; negative after SETTINGS shrank it
	credit int // receive window as the peer knows it once our SETTINGS have arrived
	held   int // bytes of delivered messages that are not to be credited yet; >= 0

	total  uint32 // length of the message being gathered, valid while preN == 5
	msg    []byte // the part that arrived, in memory lent by Grow
	length int64  // content-length; -1 unknown
	got    int64  // DATA bytes without padding

	prev, next *Stream // live streams, ids ascending
	nextDirty  *Stream
	nextDone   *Stream // streams waiting for Closed
}

const recentResets = 8

// find returns the stream that is not closed, or nil. id is not 0.
func (c *Conn) find(id uint32) *Stream {
	if s := c.last; s != nil && s.ID == id {
		return s
	}
	return c.findSlow(id)
}

func (c *Conn) findSlow(id uint32) *Stream {
	s := c.more[id]
	if c.first.ID == id && c.first.flags&dead == 0 {
		s = &c.first
	}
	if s != nil {
		c.last = s
	}
	return s
}

// idle reports whether id names a stream that nobody has opened (RFC 9113 section 5.1.1).
func (c *Conn) idle(id uint32) bool {
	if c.role == Server {
		return id&1 == 0 || id > c.highest
	}
	return id&1 == 0 || id >= c.nextID
}

// forgiven reports whether frames on the closed stream id are to be ignored: they may have been on their way when we
// reset it, or a GOAWAY told the peer that nobody listens. Only the last few resets are remembered.
func (c *Conn) forgiven(id uint32) bool {
	if c.deaf && c.role == Server && id > c.accepted {
		return true
	}
	for _, r := range c.resets {
		if r == id {
			return true
		}
	}
	return false
}

func (c *Conn) rememberReset(id uint32) {
	c.resets[c.resetAt%recentResets] = id
	c.resetAt++
}

// enlist makes a live stream. The first of a connection lives in the Conn: most connections carry just one.
func (c *Conn) enlist(id uint32) *Stream {
	s := &c.first
	if s.ID != 0 {
		s = new(Stream)
		if c.more == nil {
			c.more = make(map[uint32]*Stream)
		}
		c.more[id] = s
	}
	s.ID, s.conn, s.length = id, c, -1
	s.window, s.credit = int(c.peerWindow), int(c.set.InitialWindow)
	if s.prev = c.tail; s.prev != nil {
		s.prev.next = s
	} else {
		c.head = s
	}
	c.tail, c.last = s, s
	c.live++
	return s
}

// retire ends the owner's part in s: Closed is due at the next safe point.
func (c *Conn) retire(s *Stream) {
	s.flags |= mute | told
	s.flags &^= open
	s.msg, s.preN = nil, 0
	c.live--
	if c.doneTail == nil {
		c.done = s
	} else {
		c.doneTail.nextDone = s
	}
	c.doneTail = s
	if c.openFrame == s {
		c.openFrame = nil
	}
}

// bury takes s out of the tables: both sides are done.
func (c *Conn) bury(s *Stream) {
	if s.flags&dead != 0 {
		return
	}
	if s.flags&lame == 0 {
		c.retire(s)
	}
	s.flags |= dead
	s.flags &^= lame
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		c.head = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		c.tail = s.prev
	}
	s.prev, s.next = nil, nil
	if c.last == s {
		c.last = nil
	}
	if c.dataOf == s {
		c.dataOf = nil
	}
	if s != &c.first {
		if delete(c.more, s.ID); len(c.more) == 0 {
			c.more = nil
		}
	}
}

// lay makes s lame: our END_STREAM is out, the peer's is not. The last few such streams are kept so that the rules for
// half-closed streams still hold; older ones are reset.
func (c *Conn) lay(dst []byte, s *Stream) []byte {
	c.retire(s)
	s.flags |= lame
	slot := &c.lames[c.lameAt%uint8(len(c.lames))]
	if old := c.find0(*slot); old != nil && old.flags&lame != 0 {
		dst = appendRST(dst, old.ID, NoError)
		c.rememberReset(old.ID)
		c.bury(old)
	}
	*slot = s.ID
	c.lameAt++
	return dst
}

func (c *Conn) find0(id uint32) *Stream {
	if id == 0 {
		return nil
	}
	return c.find(id)
}

// finish records that our END_STREAM is in dst.
func (c *Conn) finish(dst []byte, s *Stream) []byte {
	s.flags |= sendDone
	s.flags &^= open
	if s.flags&recvDone != 0 {
		c.bury(s)
	} else if c.role == Server {
		dst = c.lay(dst, s)
	}
	return dst
}

// ended tells the owner that the peer's side is over, once.
func (c *Conn) ended(s *Stream, e *End, ev Events) {
	if s.flags&told != 0 {
		return
	}
	s.flags |= told | mute
	s.msg, s.preN = nil, 0
	e.HTTPStatus = int(s.status)
	ev.Ended(s, e)
}

// fault resets a stream on which the peer broke the protocol (RFC 9113 section 5.4.2).
func (c *Conn) fault(s *Stream, code ErrCode, why string, ev Events) {
	c.resetID(s.ID, code)
	c.charge(FloodFault, priceReset)
	c.ended(s, &End{Kind: KindFault, Code: code, GRPCStatus: -1, Message: why}, ev)
	c.bury(s)
}

func (c *Conn) resetID(id uint32, code ErrCode) {
	if c.err != nil {
		return // nothing follows the GOAWAY
	}
	c.ctl = appendRST(c.ctl, id, code)
	c.rememberReset(id)
}

// peerDone handles END_STREAM. e is what the owner hears if no rule is broken.
func (c *Conn) peerDone(s *Stream, e *End, ev Events) {
	if s.length >= 0 && s.got != s.length {
		c.fault(s, ProtocolError, "content-length does not match DATA", ev) // RFC 9113 section 8.1.1
		return
	}
	s.flags |= recvDone
	if s.preN != 0 {
		e = &End{Kind: KindBroken, GRPCStatus: 13, Message: "stream ended inside a message"}
	}
	c.ended(s, e, ev)
	if s.flags&dead != 0 {
		return
	}
	if s.flags&sendDone != 0 {
		c.bury(s)
	} else if c.role == Client { // a finished response ends the call: nobody reads what we could still send
		c.resetID(s.ID, NoError)
		c.bury(s)
	}
}

// resetFrame: RFC 9113 section 6.4.
func (c *Conn) resetFrame(h frameHeader, b []byte, ev Events) {
	if h.id == 0 || c.idle(h.id) {
		c.fail(ProtocolError, "RST_STREAM on an idle stream")
		return
	}
	c.charge(FloodReset, priceReset)
	if s := c.find(h.id); s != nil {
		code := ErrCode(be32(b))
		c.ended(s, &End{Kind: KindReset, Code: code, GRPCStatus: -1, Message: "peer reset the stream"}, ev)
		c.bury(s)
	}
}

// Reset ends s at once with RST_STREAM; Events.Closed follows. DATA of s that Data has put into the owner's buffer must
// be handed over before Control is.
func (c *Conn) Reset(s *Stream, code ErrCode) {
	if s.flags&(dead|lame) == 0 && c.err == nil {
		c.resetID(s.ID, code)
		c.bury(s)
	}
}

// Reap delivers the Closed events of streams that calls outside Feed have ended.
func (c *Conn) Reap(ev Events) {
	for s := c.done; s != nil; s = c.done {
		if c.done = s.nextDone; c.done == nil {
			c.doneTail = nil
		}
		s.nextDone = nil
		ev.Closed(s)
		s.User = nil
	}
}

// Close ends every stream after the socket has died or Feed has failed: Ended with KindConn where none was delivered,
// then Closed. The Conn is of no use afterwards.
func (c *Conn) Close(ev Events) {
	c.fail(NoError, "closed")
	for s := c.head; s != nil; s = c.head {
		c.ended(s, &End{Kind: KindConn, Code: c.err.Code, GRPCStatus: -1, Message: c.err.Reason}, ev)
		c.bury(s)
	}
	c.Reap(ev)
}
