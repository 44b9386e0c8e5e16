package h2

// Setting identifiers, RFC 9113 section 6.5.2.
const (
	settingHeaderTableSize   = 0x1
	settingEnablePush        = 0x2
	settingMaxStreams        = 0x3
	settingInitialWindow     = 0x4
	settingMaxFrameSize      = 0x5
	settingMaxHeaderListSize = 0x6
)

// Settings of this end. Zero fields take the default. Read by Init only.
type Settings struct {
	InitialWindow uint32 // receive window of a stream, bytes of DATA; 0: 1 MiB; at most 2^31-1
	MaxFrameSize  uint32 // largest frame taken, 16384..2^24-1; 0: 16384. No limit on messages
	MaxHeaderList uint32 // largest header section taken, counted as in RFC 9113 section 10.5.1; 0: 16384
	MaxStreams    uint32 // streams the peer may have open at once; 0: not announced, not limited
	ConnWindow    uint32 // receive window of the connection; 0: the larger of 1 MiB and InitialWindow; at least 65535
	MaxMessage    int    // largest gRPC message taken; 0: 4 MiB
	FirstMessage  int    // largest message taken on a stream before SetMaxMessage; 0: MaxMessage
	MaxUnfinished int    // bytes that Grow may have lent for unfinished messages of all streams; 0: 4 MaxMessage
	Now           int64  // the owner's tick at Init: Tick
}

func (s Settings) withDefaults() Settings {
	s.InitialWindow = min(orDefault(s.InitialWindow, 1<<20), maxWindow)
	s.MaxFrameSize = min(max(s.MaxFrameSize, minMaxFrame), maxMaxFrame)
	s.MaxHeaderList = min(orDefault(s.MaxHeaderList, 16<<10), 1<<24)
	s.ConnWindow = min(max(orDefault(s.ConnWindow, max(1<<20, s.InitialWindow)), startWindow), maxWindow)
	s.MaxMessage = min(orDefault(s.MaxMessage, 4<<20), maxWindow)
	s.FirstMessage = min(orDefault(s.FirstMessage, s.MaxMessage), s.MaxMessage)
	s.MaxUnfinished = max(orDefault(s.MaxUnfinished, 4*s.MaxMessage), s.MaxMessage)
	return s
}

func orDefault[T uint32 | int](v, zero T) T {
	if v > 0 {
		return v
	}
	return zero
}

// appendSettings appends our SETTINGS and the WINDOW_UPDATE that widens the connection window (RFC 9113 section 3.4).
func (c *Conn) appendSettings(dst []byte) []byte {
	at := len(dst)
	dst = appendFrameHeader(dst, 0, frameSettings, 0, 0)
	if c.role == Client {
		dst = appendSetting(dst, settingEnablePush, 0)
	} else if c.set.MaxStreams > 0 {
		dst = appendSetting(dst, settingMaxStreams, c.set.MaxStreams)
	}
	dst = appendSetting(dst, settingInitialWindow, c.set.InitialWindow)
	dst = appendSetting(dst, settingMaxFrameSize, c.set.MaxFrameSize)
	dst = appendSetting(dst, settingMaxHeaderListSize, c.set.MaxHeaderList)
	dst[at+2] = byte(len(dst) - at - frameHeaderLen)
	if more := c.set.ConnWindow - startWindow; more > 0 {
		dst = appendWindowUpdate(dst, 0, more)
	}
	return dst
}

func appendSetting(dst []byte, id uint16, v uint32) []byte {
	return appendBE32(append(dst, byte(id>>8), byte(id)), v)
}

// settingsFrame: RFC 9113 section 6.5.
func (c *Conn) settingsFrame(h frameHeader, b []byte) {
	if h.id != 0 {
		c.fail(ProtocolError, "SETTINGS on a stream")
		return
	}
	if h.flags&flagAck != 0 {
		if c.settingsAcked {
			c.spend(FloodSettings, 1)
		}
		c.settingsAcked, c.earlyCredit = true, 0
		return
	}
	c.settingsSeen = true
	c.spend(FloodSettings, 1+len(b)/48)
	before := c.peerWindow
	for ; len(b) >= 6 && c.err == nil; b = b[6:] {
		c.setting(uint16(b[0])<<8|uint16(b[1]), be32(b[2:]))
	}
	if c.err != nil {
		return
	}
	// Control comes before the DATA that these settings allow: RFC 9113 section 6.5.3.
	c.ctl = appendFrameHeader(c.ctl, 0, frameSettings, flagAck, 0)
	if c.peerWindow > before {
		c.opened = true
	}
}

// setting applies one parameter of the peer; unknown ones are ignored (RFC 9113 section 6.5.2).
func (c *Conn) setting(id uint16, v uint32) {
	switch id {
	case settingHeaderTableSize:
		// Our blocks never use the dynamic table, but a smaller table must be acknowledged at the start of the next
		// block (RFC 7541 section 4.2). Size 0 satisfies every later value too.
		if v < 4096 && !c.smallTable {
			c.sizeUpdateDue, c.smallTable = true, true
		}
	case settingEnablePush:
		if v > 1 || v == 1 && c.role == Client {
			c.fail(ProtocolError, "bad SETTINGS_ENABLE_PUSH")
		}
	case settingMaxStreams:
		c.peerStreams = v
	case settingInitialWindow:
		if v > maxWindow {
			c.fail(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
			return
		}
		c.shiftWindows(int(v))
	case settingMaxFrameSize:
		if v < minMaxFrame || v > maxMaxFrame {
			c.fail(ProtocolError, "bad SETTINGS_MAX_FRAME_SIZE")
			return
		}
		c.peerFrame = min(int(v), maxSendFrame)
	}
}

// shiftWindows moves the send window of every live stream by the change of the initial window; it may become
// negative (RFC 9113 section 6.9.2).
func (c *Conn) shiftWindows(to int) {
	delta := to - int(c.peerWindow)
	if delta == 0 {
		return
	}
	for s := c.head; s != nil; s = s.next {
		if int64(s.window)+int64(delta) > maxWindow {
			c.fail(FlowControlError, "stream window above 2^31-1")
			return
		}
		s.window, s.peakWindow = s.window+delta, s.peakWindow+delta
		c.budget -= tokenBytes / 16
	}
	c.peerWindow = int32(to)
	c.spend(FloodSettings, 0)
}
