package ws

import "math/rand/v2"

// Role says which end of the connection a Conn is.
type Role uint8

// The roles.
const (
	Server Role = iota
	Client
)

// step is what the next byte from the peer belongs to.
type step uint8

const (
	stepHead    step = iota // request or response
	stepAsked               // server: the request is not answered yet
	stepError               // client: the text of a refusal
	stepFrame               // header of a frame
	stepPayload             // payload of a data frame that is gathered
	stepControl             // payload of a control frame
	stepOver                // nothing more is read
)

// Settings of this end. Zero fields take the default. Read by Init only.
type Settings struct {
	// Path is what the path of a request must equal, its query apart; "": /. Server.
	Path string
	// AllowOrigin decides about a request that has an Origin; nil: any is allowed, as upstream. It runs inside Accept;
	// r is borrowed, and has no more than Host and Origin when Accept comes after Events.Request. Server.
	AllowOrigin func(r *Request) bool
	// MaxHead is the largest handshake taken, in bytes, its lines and fields together; 0: 16 KiB. Rules: P-ws-8.
	MaxHead int
	// MaxFields is how many fields it may have; 0: 100.
	MaxFields int
	// MaxMessage is the largest message taken, in bytes; 0: 64 MiB.
	MaxMessage int
	// FirstMessage is the largest message taken before SetMaxMessage; 0: MaxMessage.
	FirstMessage int
	// Text has text messages taken; else one fails the connection with UnsupportedData. Rules: P-ws-6.
	Text bool
	// Deflate has a server accept permessage-deflate where a client offers it, and a client offer it.
	Deflate bool
	// Seed is the client's only source of randomness, for its handshake and its masking keys: fresh from the system's
	// source for each connection, and nowhere else used. Zeros are refused.
	Seed [32]byte
	// Now is the owner's tick at Init: Tick.
	Now int64
}

func (s Settings) withDefaults() Settings {
	if s.Path == "" {
		s.Path = "/"
	}
	s.MaxHead = orDefault(s.MaxHead, 16<<10)
	s.MaxFields = orDefault(s.MaxFields, 100)
	s.MaxMessage = orDefault(s.MaxMessage, 64<<20)
	s.FirstMessage = min(orDefault(s.FirstMessage, s.MaxMessage), s.MaxMessage)
	return s
}

func orDefault(v, zero int) int {
	if v > 0 {
		return v
	}
	return zero
}

// Conn is one WebSocket connection. Owned by one goroutine; must not be copied after Init. The zero value needs Init.
type Conn struct {
	role Role
	step step

	// receiving
	hdrN       uint8 // bytes of hdr that arrived
	fragmented bool  // a message has begun and its last fragment has not
	gotClose   bool
	kind       Kind // of the message being read
	hdr        [maxHeader]byte
	cur        header // the frame being read; key fits the next byte of its payload
	left       uint64 // bytes of its payload still to come
	msg        []byte // what has been gathered of the message; memory of the owner
	checked    int    // of these bytes, so many are known to be UTF-8
	got        int    // bytes of the message whose frames were announced, the frame being read included
	maxMessage int
	budget     int      // flood budget left, in bytes: floods.go
	now        int64    // the owner's tick
	since      int64    // tick in which the frame being read began
	msgSince   int64    // tick in which the message being read began
	head       head     // of the handshake
	asked      *Request // server: not answered yet
	showing    bool     // an event shows what lies in head
	refusedBy  int      // client: status of the refusal whose text is being read
	refusal    string   // its status line, for people
	textLeft   int      // how long its text may be
	peerCode   Code     // of the peer's Close
	ctlN       uint8
	ctlBuf     [maxControlPayload]byte // payload of a control frame in pieces

	// sending
	open      bool // messages may be sent
	deflate   bool // both may send compressed messages
	sending   bool // a message was begun in fragments
	sentClose bool
	pings     int           // of ours, not answered yet
	lastPong  int           // where the last Pong in ctl begins; -1: none
	sendKey   uint32        // client: fits the next byte of the payload that is masked
	ctl       []byte        // for Control
	key       [keyLen]byte  // client: of the handshake
	rand      *rand.ChaCha8 // client

	set Settings
	err error
}

// Init readies c to read a handshake. s may be nil: all defaults, which does for a server only.
func (c *Conn) Init(role Role, s *Settings) {
	if s == nil {
		s = &Settings{}
	}
	*c = Conn{role: role, set: s.withDefaults(), budget: fullBudget, lastPong: -1}
	c.maxMessage = c.set.FirstMessage
	c.now, c.since = c.set.Now, c.set.Now
	if role == Client {
		if s.Seed != [32]byte{} {
			c.rand = rand.NewChaCha8(s.Seed)
		}
		c.set.Seed = [32]byte{}
	}
}

// Control returns what was made for the peer since the last ControlDone, but for what the methods with an output have
// appended: borrowed until the next call of any method. Nil or empty: there is nothing.
func (c *Conn) Control() []byte { return c.ctl }

// ControlDone says that Control was written, or appended to the output.
func (c *Conn) ControlDone() {
	if c.ctl, c.lastPong = c.ctl[:0], -1; cap(c.ctl) > 512 {
		c.ctl = nil
	}
}

// Open reports whether messages can be sent: the handshake is complete, and our Close is not out.
func (c *Conn) Open() bool { return c.open }

// Over reports whether nothing more is read and nothing more can be sent, but for Control: both have closed, or Feed
// failed.
func (c *Conn) Over() bool { return c.err != nil || c.gotClose && c.sentClose }

// Feed takes all of p, the next bytes from the peer, and reports what they mean; p is borrowed, and overwritten by a
// server. An error, a *HandshakeError or a *ConnError, ends the connection: what the peer is told about it is in
// Control.
func (c *Conn) Feed(p []byte, ev Events) error {
	for len(p) > 0 && c.err == nil {
		switch c.step {
		case stepFrame:
			p = c.readFrame(p, ev)
		case stepPayload:
			p = c.readPayload(p, ev)
		case stepControl:
			p = c.readControl(p, ev)
		case stepHead:
			p = c.readHead(p, ev)
		case stepError:
			p = c.readRefusal(p)
		case stepAsked:
			c.refuse(400, "the client sent something before its request was answered") // RFC 6455 section 4.1
		case stepOver:
			p = nil
		}
	}
	return c.err
}

// Fail ends an open connection from this side because what the peer says is unusable, or for want of memory: a Close
// with code and reason is in Control, and Feed returns an error from now on. It may be called inside Events, and does
// nothing during a handshake: there Refuse ends it, or closing the socket.
func (c *Conn) Fail(code Code, reason string) {
	if c.err == nil && c.step >= stepFrame {
		c.end(&ConnError{Code: code, Reason: reason})
	}
}

func (c *Conn) fail(reason string) { c.end(&ConnError{Code: ProtocolError, Reason: reason}) }

func (c *Conn) end(e *ConnError) {
	if c.err != nil {
		return
	}
	c.err = e
	if !c.sentClose {
		c.ctl = c.appendClose(c.ctl, e.Code, e.Reason)
	}
	c.open, c.step = false, stepOver
	c.forget()
}

// forget gives back the memory of what is not complete.
func (c *Conn) forget() {
	c.msg, c.fragmented, c.hdrN, c.ctlN, c.got = nil, false, 0, 0, 0
	if !c.showing {
		c.head.wipe()
	}
}

// random returns a new masking key.
func (c *Conn) random() uint32 { return uint32(c.rand.Uint64()) }
