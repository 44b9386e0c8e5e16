package h2

// Frame layout, RFC 9113 section 4.1:
//
//	Length(24) Type(8) Flags(8) R(1) Stream Identifier(31) Payload(Length)

const (
	frameHeaderLen = 9
	minMaxFrame    = 1 << 14   // RFC 9113 section 6.5.2: every endpoint takes frames of this size
	maxMaxFrame    = 1<<24 - 1 // largest SETTINGS_MAX_FRAME_SIZE
	maxWindow      = 1<<31 - 1 // RFC 9113 section 6.9.1
	maxStreamID    = 1<<31 - 1
	startWindow    = 65535 // RFC 9113 section 6.9.2: both windows before any SETTINGS
	maxSettings    = 4 << 10
	maxDebug       = 1 << 10
)

type frameType uint8

// Frame types of RFC 9113 section 6.
const (
	frameData         frameType = 0x0
	frameHeaders      frameType = 0x1
	framePriority     frameType = 0x2
	frameRSTStream    frameType = 0x3
	frameSettings     frameType = 0x4
	framePushPromise  frameType = 0x5
	framePing         frameType = 0x6
	frameGoAway       frameType = 0x7
	frameWindowUpdate frameType = 0x8
	frameContinuation frameType = 0x9
)

const (
	flagAck        = 0x1 // SETTINGS, PING
	flagEndStream  = 0x1 // DATA, HEADERS
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

type frameHeader struct {
	length uint32 // 0..2^24-1, of the payload
	kind   frameType
	flags  uint8
	id     uint32 // 31 bits; 0 is the connection
}

// parseFrameHeader reads the nine bytes at the start of b.
func parseFrameHeader(b []byte) frameHeader {
	_ = b[8]
	return frameHeader{
		length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		kind:   frameType(b[3]),
		flags:  b[4],
		id:     be32(b[5:9]) & maxStreamID,
	}
}

func be32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func appendBE32(dst []byte, v uint32) []byte {
	return append(dst, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func appendFrameHeader(dst []byte, length int, kind frameType, flags uint8, id uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendRST(dst []byte, id uint32, code ErrCode) []byte {
	return appendBE32(appendFrameHeader(dst, 4, frameRSTStream, 0, id), uint32(code))
}

func appendWindowUpdate(dst []byte, id, inc uint32) []byte {
	return appendBE32(appendFrameHeader(dst, 4, frameWindowUpdate, 0, id), inc)
}

// beginFrame checks a frame by its header alone, before any payload is kept: wrong sizes and wrong order end the
// connection here, so that only frames of bounded size are ever gathered.
func (c *Conn) beginFrame(h frameHeader, ev Events) {
	c.cur, c.left = h, h.length
	switch {
	case !c.settingsSeen && (h.kind != frameSettings || h.flags&flagAck != 0):
		c.fail(ProtocolError, notSettings(h)) // RFC 9113 section 3.4
	case h.length > c.set.MaxFrameSize:
		c.fail(FrameSizeError, "frame larger than SETTINGS_MAX_FRAME_SIZE") // RFC 9113 section 4.2
	case c.block != nil && (h.kind != frameContinuation || h.id != c.block.id):
		c.fail(ProtocolError, "header block interrupted") // RFC 9113 section 4.3
	case h.kind == frameData:
		c.beginData(h, ev)
	case h.kind > frameContinuation:
		c.spend(FloodUnknown, 1)
		c.step = stepSkip // RFC 9113 section 4.1: ignored and discarded
	default:
		c.step = stepPayload
		c.checkSize(h)
	}
}

// checkSize applies the fixed lengths of RFC 9113 sections 6.2 to 6.10 and our bounds on the open ones.
func (c *Conn) checkSize(h frameHeader) {
	ok, limit := true, uint32(maxMaxFrame)
	switch h.kind {
	case frameRSTStream, frameWindowUpdate:
		ok = h.length == 4
	case framePing:
		ok = h.length == 8
	case framePriority:
		limit = minMaxFrame // a wrong length is an error of the stream only: section 6.3
	case frameSettings:
		ok = h.length%6 == 0 && (h.flags&flagAck == 0 || h.length == 0)
		limit = maxSettings
	case frameGoAway:
		ok = h.length >= 8
		limit = minMaxFrame
	case frameHeaders, frameContinuation:
		limit = c.blockLimit() + 256 + 5
	}
	if !ok {
		c.fail(FrameSizeError, "wrong frame length")
	} else if h.length > limit {
		c.fail(EnhanceYourCalm, "frame larger than anyone needs")
	}
}

// handleFrame handles one whole frame that is not DATA. b is borrowed.
func (c *Conn) handleFrame(h frameHeader, b []byte, ev Events) {
	switch h.kind {
	case frameHeaders:
		c.headersFrame(h, b, ev)
	case frameContinuation:
		c.continuationFrame(h, b, ev)
	case framePriority:
		c.priorityFrame(h, b, ev)
	case frameRSTStream:
		c.resetFrame(h, b, ev)
	case frameSettings:
		c.settingsFrame(h, b)
	case framePushPromise:
		c.fail(ProtocolError, "PUSH_PROMISE") // we announce ENABLE_PUSH 0; clients never push: section 8.4
	case framePing:
		c.pingFrame(h, b, ev)
	case frameGoAway:
		c.goAwayFrame(h, b, ev)
	case frameWindowUpdate:
		c.windowUpdateFrame(h, b, ev)
	}
	if len(c.ctl) > maxControl {
		c.flood(FloodControl)
	}
}

// pingFrame: RFC 9113 section 6.7.
func (c *Conn) pingFrame(h frameHeader, b []byte, ev Events) {
	if h.id != 0 {
		c.fail(ProtocolError, "PING on a stream")
		return
	}
	if h.flags&flagAck == 0 {
		c.ctl = append(appendFrameHeader(c.ctl, 8, framePing, flagAck, 0), b...)
		if !c.answers() {
			c.spend(FloodPing, 1)
		}
		return
	}
	if c.pingSent && [8]byte(b) == pingPayload {
		c.pingSent = false
		ev.Pong()
		return
	}
	c.spend(FloodPing, 1)
}

// priorityFrame: RFC 9113 section 6.3. Priorities are deprecated and have no effect; only their form is checked.
func (c *Conn) priorityFrame(h frameHeader, b []byte, ev Events) {
	c.spend(FloodPriority, 1)
	code, why := ProtocolError, "stream depends on itself"
	switch {
	case h.id == 0:
		c.fail(ProtocolError, "PRIORITY on stream 0")
		return
	case len(b) != 5:
		code, why = FrameSizeError, "wrong PRIORITY length"
	case be32(b)&maxStreamID != h.id:
		return
	}
	if s := c.find(h.id); s != nil {
		c.streamError(s, code, why, ev)
	} else {
		c.fail(code, why) // no RST_STREAM for idle or closed streams
	}
}

// pingPayload marks our own PINGs; the peer echoes it.
var pingPayload = [8]byte{'s', 'l', 'i', 'm', 'g', 'o', 0, 1}

// Ping queues a keepalive PING. Its answer arrives as Events.Pong; a second Ping before that answer shares it.
func (c *Conn) Ping() {
	if c.err == nil {
		c.pingSent = true
		c.ctl = append(appendFrameHeader(c.ctl, 8, framePing, 0, 0), pingPayload[:]...)
	}
}

// notSettings guesses what a peer speaks whose first frame is not SETTINGS, from what would be the head of the frame.
func notSettings(h frameHeader) string {
	if h.length == 'H'<<16|'T'<<8|'T' && h.kind == 'P' {
		return "answer in HTTP/1; want HTTP/2: if it is a WebSocket endpoint, dial ws:// or wss://"
	}
	return "first frame is not SETTINGS"
}
