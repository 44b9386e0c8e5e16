package h2

import "slices"

type streamFlags uint16

const (
	recvEnded       streamFlags = 1 << iota // END_STREAM arrived
	sendEnded                               // END_STREAM left
	sendOpen                                // DATA may be sent: HEADERS left, END_STREAM did not
	responded                               // client: the response arrived
	endDelivered                            // Ended was delivered
	discarding                              // no more messages go to the owner: DATA is discarded
	lingering                               // server: the response is complete, the request is not; Closed was delivered
	removed                                 // closed, no longer in the tables
	creditDue                               // in Conn.creditList
	closedDelivered                         // Closed was delivered
	recycled                                // the owner has no pointer to it any more
	free                                    // in Conn.free
	counting                                // lingering, and where its messages begin is known: late.go
	compressed                              // takes messages whose compressed flag is set
	hungry                                  // used up its share of the connection's window, and could send more
)

// Stream is one request and its response. Owned by the goroutine that owns its Conn. After Events.Closed every method
// that takes the stream does nothing, and User is nil; after Recycle it must not be used at all.
//
// States of RFC 9113 section 5.1: idle streams have no Stream; open is neither recvEnded nor sendEnded; half-closed
// (remote) is recvEnded; half-closed (local) is sendEnded, on a server also lingering; closed is removed.
type Stream struct {
	ID   uint32
	User any // the owner's; never read here

	flags  streamFlags
	preN   uint8 // bytes of the gRPC prefix that arrived: 5 while a message is gathered, 0 between messages
	pre    [prefixLen]byte
	status uint16 // client: HTTP status of the response
	conn   *Conn

	window     int // send window, DATA bytes; negative after SETTINGS shrank it
	peakWindow int // the largest it has been, moved by SETTINGS as window is
	credit     int // receive window as the peer knows it once our SETTINGS have arrived
	withheld   int // bytes of delivered messages that are not to be credited yet; >= 0

	maxMessage   uint32  // largest message taken, bytes
	total        uint32  // length of the message being gathered, valid while preN == 5
	msg          []byte  // the part that arrived, in memory lent by Grow; nil: none was lent
	since        int64   // tick in which msg was lent
	older, newer *Stream // by since, while msg is lent
	length       int64   // content-length; -1 unknown
	got          int64   // DATA bytes without padding, if length is known

	prev, next  *Stream // live streams, ids ascending
	nextCredit  *Stream
	nextClosing *Stream // streams waiting for Closed
}

const (
	recentResets = 32
	maxLingering = 8
	maxFree      = 16 // streams that are kept for use again
	smallMap     = 64 // a map of streams that was larger is not kept when empty
)

// find returns the stream that is not closed, or nil.
func (c *Conn) find(id uint32) *Stream {
	if s := c.last; s != nil && s.ID == id {
		return s
	}
	return c.findSlow(id)
}

func (c *Conn) findSlow(id uint32) *Stream {
	s := c.more[id]
	if c.first.ID == id && id != 0 && c.first.flags&removed == 0 {
		s = &c.first
	}
	if s != nil {
		c.last = s
	}
	return s
}

// idle reports whether id names a stream that was not opened yet (RFC 9113 section 5.1.1).
func (c *Conn) idle(id uint32) bool {
	if c.role == Server {
		return id&1 == 0 || id > c.highest
	}
	return id&1 == 0 || id >= c.nextID
}

// maybeInFlight reports whether frames on the closed stream id are to be ignored (RFC 9113 section 5.1): the peer may
// have sent them before our RST_STREAM or GOAWAY reached it. Only the last few resets are remembered.
func (c *Conn) maybeInFlight(id uint32) bool {
	if c.finalGoAway && c.role == Server && id > c.accepted {
		return true
	}
	return c.ended != nil && slices.Contains(c.ended.resets[:], id)
}

// endings are the latest streams that we have ended while their peers were sending. Most connections have none until
// their own end.
type endings struct {
	resets     [recentResets]uint32
	lingerers  [maxLingering]uint32
	resetAt    uint8 // where the next id goes in resets
	lingererAt uint8
}

func (c *Conn) endings() *endings {
	if c.ended == nil {
		c.ended = new(endings)
	}
	return c.ended
}

func (c *Conn) rememberReset(id uint32) {
	e := c.endings()
	e.resets[e.resetAt%recentResets] = id
	e.resetAt++
}

// addStream makes a live stream. The first of a connection is part of the Conn: most connections carry just one.
func (c *Conn) addStream(id uint32) *Stream {
	s := &c.first
	if s.ID != 0 {
		if s = c.free; s != nil {
			c.free = s.nextClosing
			c.frees--
		} else {
			s = new(Stream)
		}
		if c.more == nil {
			c.more = make(map[uint32]*Stream)
		}
		c.more[id] = s
		c.mostStreams = max(c.mostStreams, int32(len(c.more)))
	}
	*s = Stream{ID: id, conn: c, length: -1, maxMessage: uint32(c.set.FirstMessage)}
	s.window, s.peakWindow, s.credit = int(c.peerWindow), int(c.peerWindow), int(c.set.InitialWindow)
	if s.prev = c.tail; s.prev != nil {
		s.prev.next = s
	} else {
		c.head = s
	}
	c.tail, c.last = s, s
	c.live++
	return s
}

// queueClosed ends the owner's part in s: the next Reap delivers Closed.
func (c *Conn) queueClosed(s *Stream) {
	s.flags |= discarding | endDelivered
	s.flags &^= sendOpen
	c.giveBack(s)
	c.live--
	if c.closingTail == nil {
		c.closing = s
	} else {
		c.closingTail.nextClosing = s
	}
	c.closingTail = s
	if c.openFrame == s {
		c.openFrame = nil
	}
}

// remove takes s out of the tables: it is closed.
func (c *Conn) remove(s *Stream) {
	if s.flags&removed != 0 {
		return
	}
	if s.flags&lingering == 0 {
		c.queueClosed(s)
	}
	next := s.next
	s.flags |= removed
	s.flags &^= lingering
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
	if c.cursor == s {
		c.cursor = next
	}
	if s != &c.first {
		if delete(c.more, s.ID); len(c.more) == 0 && c.mostStreams > smallMap {
			c.more, c.mostStreams = nil, 0
		}
	}
	c.reuse(s)
}

// Recycle says that the owner has no pointer to s any more and wants none: the memory becomes that of a later stream,
// once Closed was delivered. It is best called in Closed. An owner that refuses streams by the thousand does not fill the
// heap with them then.
func (c *Conn) Recycle(s *Stream) {
	s.User = nil
	s.flags |= recycled
	c.reuse(s)
}

// reuse makes the memory of s available once the owner and every list of ours have let go of it.
func (c *Conn) reuse(s *Stream) {
	if s.flags&(recycled|closedDelivered|removed|creditDue|free) != recycled|closedDelivered|removed {
		return
	}
	if s == &c.first {
		s.ID = 0
		return
	}
	if c.frees < maxFree {
		s.flags |= free
		s.nextClosing, c.free = c.free, s
		c.frees++
	}
}

// linger keeps s after our END_STREAM until the peer's, so that the rules of half-closed streams are applied to what it
// still sends (RFC 9113 section 5.1). The last few such streams are kept; older ones are reset.
func (c *Conn) linger(dst []byte, s *Stream) []byte {
	c.goOnCounting(s)
	s.flags |= lingering
	e := c.endings()
	slot := &e.lingerers[e.lingererAt%maxLingering]
	if old := c.find(*slot); old != nil && old.flags&lingering != 0 {
		dst = appendRST(dst, old.ID, NoError)
		c.rememberReset(old.ID)
		c.remove(old)
	}
	*slot = s.ID
	e.lingererAt++
	return dst
}

// sentEndStream records that our END_STREAM for s is in dst.
func (c *Conn) sentEndStream(dst []byte, s *Stream) []byte {
	s.flags |= sendEnded
	s.flags &^= sendOpen
	if s.flags&recvEnded != 0 {
		c.remove(s)
	} else if c.role == Server {
		dst = c.linger(dst, s)
	}
	return dst
}

// deliverEnd tells the owner that the peer's side is over, once.
func (c *Conn) deliverEnd(s *Stream, e End, ev Events) {
	if s.flags&endDelivered != 0 {
		return
	}
	s.flags |= endDelivered | discarding
	c.giveBack(s)
	e.HTTPStatus = int(s.status)
	c.end = e
	ev.Ended(s, &c.end)
}

// streamError resets a stream on which the peer broke the protocol (RFC 9113 section 5.4.2).
func (c *Conn) streamError(s *Stream, code ErrCode, why string, ev Events) {
	c.resetID(s.ID, code)
	c.spend(FloodFault, priceReset)
	c.deliverEnd(s, End{Kind: KindFault, Code: code, GRPCStatus: -1, Message: why}, ev)
	c.remove(s)
}

func (c *Conn) resetID(id uint32, code ErrCode) {
	if c.err != nil {
		return // nothing follows the GOAWAY
	}
	c.ctl = appendRST(c.ctl, id, code)
	c.rememberReset(id)
}

// recvEndStream handles END_STREAM. e is what the owner is told if no rule is broken.
func (c *Conn) recvEndStream(s *Stream, e End, ev Events) {
	if s.length >= 0 && s.got != s.length {
		c.streamError(s, ProtocolError, "content-length does not match DATA", ev) // RFC 9113 section 8.1.1
		return
	}
	s.flags |= recvEnded
	if s.preN != 0 {
		e = End{Kind: KindBroken, Cut: true, GRPCStatus: 13, Message: "stream ended inside a message"}
	}
	c.deliverEnd(s, e, ev)
	if s.flags&removed != 0 {
		return
	}
	if s.flags&sendEnded != 0 {
		c.remove(s)
	} else if c.role == Client { // a complete response ends the call: what we could still send is of no use
		c.resetID(s.ID, NoError)
		c.remove(s)
	}
}

// resetFrame: RFC 9113 section 6.4.
func (c *Conn) resetFrame(h frameHeader, b []byte, ev Events) {
	if h.id == 0 || c.idle(h.id) {
		c.fail(ProtocolError, "RST_STREAM on an idle stream")
		return
	}
	s := c.find(h.id)
	switch {
	case s == nil:
		c.spend(FloodReset, priceLate)
	case c.role == Server && s.flags&sendEnded == 0:
		c.spend(FloodReset, priceReset) // not for a complete response, and a server resets no more streams than we opened
	}
	if s != nil {
		code := ErrCode(be32(b))
		c.deliverEnd(s, End{Kind: KindReset, Code: code, GRPCStatus: -1, Message: "peer reset the stream"}, ev)
		c.remove(s)
	}
}

// Reset ends s at once with RST_STREAM, in Control; Events.Closed follows.
func (c *Conn) Reset(s *Stream, code ErrCode) {
	if s.flags&(removed|lingering) == 0 && c.err == nil {
		c.resetID(s.ID, code)
		c.remove(s)
	}
}

// Reap delivers the Closed events of streams that calls outside Feed have ended.
func (c *Conn) Reap(ev Events) {
	for s := c.closing; s != nil; s = c.closing {
		if c.closing = s.nextClosing; c.closing == nil {
			c.closingTail = nil
		}
		s.nextClosing = nil
		s.flags |= closedDelivered
		id := s.ID
		if ev.Closed(s); s.ID == id { // else it was recycled and is another stream now
			s.User = nil
			c.reuse(s)
		}
	}
}

// Close ends every stream once the socket is closed or Feed has failed: Ended with KindConn where none was delivered,
// then Closed. The Conn must not be used afterwards.
func (c *Conn) Close(ev Events) {
	c.fail(NoError, "closed")
	for s := c.head; s != nil; s = c.head {
		c.deliverEnd(s, End{Kind: KindConn, Code: c.err.Code, GRPCStatus: -1, Message: c.err.Reason}, ev)
		c.remove(s)
	}
	c.Reap(ev)
}
