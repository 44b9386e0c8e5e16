// Package h2 is HTTP/2 (RFC 9113) with HPACK (RFC 7541) and the gRPC message envelope, for both roles, as a data plane
// connection needs it. It does no I/O, reads no clock and starts no goroutine: Feed takes what the socket gave, Control
// and the Append-style methods return what the socket shall send, Events tells what happened.
//
// The usual turn of an owner: Feed the bytes read; append Control to its output and call ControlDone; append DATA with
// Data; append Control again, write the output, call Cut. When the socket is gone or Feed has failed: write Control if
// possible, then Close.
//
// All that a connection sends is one stream of bytes, in the order of the calls that made it. Control is its only part
// that does not go to the owner's output at once: it must be appended before Data, HalfClose or Trailers are, and before
// the output is written. Then no RST_STREAM overtakes the DATA or trailers that came before it (RFC 9113 section 5.1),
// the acknowledgement of SETTINGS leaves before what those settings allow (section 6.5.3), and the table size update
// stands in the first header block that follows (RFC 7541 section 4.2).
package h2

// Role says which end of the connection a Conn is.
type Role uint8

// The roles.
const (
	Server Role = iota
	Client
)

// preface is what every client sends first (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// keptBuffer is how large a buffer, for Control or for a frame in pieces, may be that is kept until Tick.
const keptBuffer = 64 << 10

// step is what the next byte from the peer belongs to.
type step uint8

const (
	stepPreface step = iota
	stepHeader
	stepData    // payload of a DATA frame
	stepPayload // payload of a frame that is handled whole
	stepSkip    // payload that is discarded
)

// Conn is one HTTP/2 connection. Owned by one goroutine; must not be copied after Init. The zero value needs Init.
type Conn struct {
	role Role
	step step

	// receiving
	settingsSeen  bool  // the peer's SETTINGS arrived
	settingsAcked bool  // the peer has acknowledged ours
	feeding       bool  // inside Feed
	finalGoAway   bool  // a GOAWAY left that is not the graceful one: new streams are ignored
	padByte       bool  // the pad length of the DATA frame is the next byte
	hdrN          uint8 // bytes of hdr that arrived
	hdr           [frameHeaderLen]byte
	cur           frameHeader // the frame being read
	left          uint32      // bytes of its payload still to come
	pad           uint32      // of these, padding at the end
	dataOf        *Stream     // stream of the DATA frame being read; nil: discarded
	now, began    int64       // the owner's ticks: now, and at Init
	since         int64       // tick in which the frame being read began
	buf           []byte      // part of a frame that is handled whole; nil between frames when large
	block         *block      // header block being read
	table         fieldTable  // of the peer's encoder
	credit        int         // receive window of the connection as the peer knows it, bytes of DATA
	earlyCredit   int         // bytes a peer may send beyond a stream's credit before it has seen our SETTINGS
	creditList    *Stream     // streams whose receive window is looked at when Feed ends, linked by nextCredit
	late          int         // messages that came after our end of their stream: late.go
	budget        int         // flood budget left, in bytes: floods.go
	fullBudget    int         // to which it is refilled
	sent, pinged  uint        // DATA and HEADERS frames of ours, and how many of them a PING has answered
	highest       uint32      // server: highest stream id of the peer
	accepted      uint32      // server: highest stream id that reached the owner

	// sending
	sentGoAway, gotGoAway bool
	pingSent              bool   // a PING of ours is not answered yet
	smallTable            bool   // the peer has announced a header table smaller than the default
	sizeUpdateDue         bool   // the next header block begins with a table size update
	ctl                   []byte // frames for Control
	window                int    // send window of the connection
	granted               int    // by how much the peer has raised it
	peakWindow            int    // the largest it has been
	turn                  uint32 // the last stream that sent something when it was its turn
	cursor                *Stream
	opened                bool   // Offer is due
	peerWindow            int32  // the peer's SETTINGS_INITIAL_WINDOW_SIZE
	peerFrame             int    // largest DATA frame we send
	peerStreams           uint32 // the peer's SETTINGS_MAX_CONCURRENT_STREAMS
	nextID                uint32 // client: id of the next stream
	openFrame             *Stream
	openAt, openLen       int // where in dst the open DATA frame begins; its payload so far

	// streams
	live                 int                // streams for which Closed is not due yet
	last                 *Stream            // the one that was looked up last
	head, tail           *Stream            // in the tables, ids ascending
	more                 map[uint32]*Stream // all but first
	closing, closingTail *Stream            // Closed is due, linked by nextClosing
	ended                *endings           // nil before the first
	first                Stream
	oldest, newest       *Stream // with memory lent for an unfinished message
	lent                 int     // bytes of that memory
	free                 *Stream // recycled, linked by nextClosing
	frees, mostStreams   int32   // how many; how many streams more has held since it was made
	end                  End     // what Ended is shown

	set Settings
	err *ConnError
}

// Init readies c and queues what this role sends first: the client's preface, SETTINGS, and the WINDOW_UPDATE of the
// connection. s may be nil: all defaults.
func (c *Conn) Init(role Role, s *Settings) {
	*c = Conn{role: role, window: startWindow, peakWindow: startWindow, peerWindow: startWindow, peerFrame: minMaxFrame,
		peerStreams: 1<<32 - 1, nextID: 1}
	if s == nil {
		s = &Settings{}
	}
	c.set = s.withDefaults()
	c.fullBudget = budgetOf(&c.set)
	c.budget = c.fullBudget
	c.now, c.began = c.set.Now, c.set.Now
	c.credit = int(c.set.ConnWindow)
	c.earlyCredit = max(0, startWindow-int(c.set.InitialWindow))
	c.ctl = make([]byte, 0, 96)
	if role == Client {
		c.step = stepHeader
		c.ctl = append(c.ctl, preface...)
	}
	c.ctl = c.appendSettings(c.ctl)
}

// Control returns the frames that were made since the last ControlDone, but for those that Data, HalfClose and Trailers
// have appended to an output: borrowed until the next call of any method. Nil or empty: there are none. Append it to the
// same output before any of these three is called, and before the output is written: that is the order of the wire.
func (c *Conn) Control() []byte { return c.ctl }

// ControlDone says that Control was written, or appended to the output. A DATA frame that was open there has ended.
func (c *Conn) ControlDone() {
	if len(c.ctl) > 0 {
		c.Cut()
	}
	if c.ctl = c.ctl[:0]; cap(c.ctl) > keptBuffer {
		c.ctl = nil
	}
}

// Feed takes all of p, the next bytes from the peer, and reports what they mean; p is borrowed. An error, always a
// *ConnError, ends the connection: GOAWAY is in Control, and Close is the only call that still makes sense.
func (c *Conn) Feed(p []byte, ev Events) error {
	if c.closing != nil {
		c.Reap(ev)
	}
	c.feeding = true
	for len(p) > 0 && c.err == nil {
		switch c.step {
		case stepHeader:
			p = c.readHeader(p, ev)
		case stepData:
			p = c.readData(p, ev)
		case stepPayload:
			p = c.readPayload(p, ev)
		case stepSkip:
			p = c.skipPayload(p)
		case stepPreface:
			p = c.readPreface(p)
		}
		if c.closing != nil {
			c.Reap(ev)
		}
	}
	if c.opened && c.err == nil {
		c.opened = false
		c.Offer(ev, unlimited)
	}
	c.feeding = false
	if c.err != nil {
		return c.err
	}
	c.flushCredit()
	if len(c.ctl) > maxControl {
		c.flood(FloodControl)
		return c.err
	}
	return nil
}

// readPreface matches the client's preface, RFC 9113 section 3.4.
func (c *Conn) readPreface(p []byte) []byte {
	for i, b := range p {
		if b != preface[c.left] {
			reason, foreign := notPreface(c.left, b)
			c.fail(ProtocolError, reason)
			c.err.BadPreface, c.err.Foreign = true, foreign
			return nil
		}
		if c.left++; int(c.left) == len(preface) {
			c.left, c.step = 0, stepHeader
			return p[i+1:]
		}
	}
	return nil
}

// notPreface guesses what the peer speaks from the first byte that does not fit, and whether that is known.
func notPreface(at uint32, b byte) (reason string, foreign bool) {
	switch {
	case at < 3 && 'A' <= b && b <= 'Z': // the method of a request
		return "HTTP/1.1 request; this port speaks HTTP/2 with prior knowledge", false // browsers and health checks do that
	case at == 0 && b == 0x16:
		return "TLS handshake; this port speaks HTTP/2 in the clear", true
	}
	return "not the HTTP/2 connection preface", false
}

// readHeader completes a frame header and, if the payload is there too, handles the frame in place.
func (c *Conn) readHeader(p []byte, ev Events) []byte {
	if c.hdrN == 0 && len(p) >= frameHeaderLen {
		c.since = c.now
		c.beginFrame(parseFrameHeader(p), ev)
		p = p[frameHeaderLen:]
	} else {
		if c.hdrN == 0 {
			c.since = c.now
		}
		n := copy(c.hdr[c.hdrN:], p)
		p = p[n:]
		if c.hdrN += uint8(n); c.hdrN < frameHeaderLen {
			return nil
		}
		c.hdrN = 0
		c.beginFrame(parseFrameHeader(c.hdr[:]), ev)
	}
	if c.err != nil {
		return nil
	}
	if c.step == stepSkip && c.left == 0 {
		c.step = stepHeader
	} else if c.step == stepPayload && len(p) >= int(c.left) {
		n := c.left
		c.step, c.left = stepHeader, 0
		c.handleFrame(c.cur, p[:n], ev)
		p = p[n:]
	}
	return p
}

// readPayload collects the payload of a frame that is handled whole; beginFrame has bounded its length.
func (c *Conn) readPayload(p []byte, ev Events) []byte {
	n := min(int(c.left), len(p))
	c.buf = append(c.buf, p[:n]...)
	if c.left -= uint32(n); c.left > 0 {
		return nil
	}
	c.step = stepHeader
	b := c.buf
	c.handleFrame(c.cur, b, ev)
	if c.buf = b[:0]; cap(b) > keptBuffer {
		c.buf = nil
	}
	return p[n:]
}

func (c *Conn) skipPayload(p []byte) []byte {
	n := min(int(c.left), len(p))
	if c.left -= uint32(n); c.left == 0 {
		c.step = stepHeader
	}
	return p[n:]
}
