package ws

// What a peer begins and does not complete holds a socket and memory. The engine has no clock: it dates everything with
// the ticks of its owner, who decides how long is too long. Rules: P-lim-12.

// Unfinished says what a peer has begun and not completed.
type Unfinished uint8

const (
	// UnfinishedNone: nothing.
	UnfinishedNone Unfinished = iota
	// UnfinishedHandshake: the handshake, which begins with Init. While the owner has not answered, it is its own.
	UnfinishedHandshake
	// UnfinishedFrame: a control frame, or the header of any. An honest peer completes it at once.
	UnfinishedFrame
	// UnfinishedMessage: a message, whatever the number of its frames. It may be large, and its sender slow.
	UnfinishedMessage
)

// Tick tells c the time of its owner, in ticks whose length is the owner's and which never go back. The owner calls it
// from a timer, every second or so.
func (c *Conn) Tick(now int64) { c.now = now }

// Unfinished returns what the peer has begun and not completed, and the tick in which it began, however little of it
// has arrived since.
func (c *Conn) Unfinished() (what Unfinished, since int64) {
	switch {
	case c.err != nil || c.step == stepOver:
		return UnfinishedNone, 0
	case c.step < stepFrame:
		return UnfinishedHandshake, c.set.Now
	case c.hdrN > 0 || c.step == stepControl:
		return UnfinishedFrame, c.since
	case c.fragmented:
		return UnfinishedMessage, c.msgSince
	}
	return UnfinishedNone, 0
}

// UnfinishedBytes returns the memory that is kept for what the peer has not completed: what Grow has lent, and a
// handshake.
func (c *Conn) UnfinishedBytes() int { return cap(c.msg) + cap(c.head.buf) }

// SetMaxMessage sets the largest message taken from now on, in bytes, and at most Settings.MaxMessage. It is for the
// owner that has heard enough in the first messages (Settings.FirstMessage) to trust the peer with larger ones.
func (c *Conn) SetMaxMessage(n int) { c.maxMessage = min(max(n, 0), c.set.MaxMessage) }

// MaxMessage is the largest message taken now, in bytes.
func (c *Conn) MaxMessage() int { return c.maxMessage }

// InputEnded says that nothing more comes from the peer, or that nothing more is wanted: the owner takes back what Grow
// has lent, and Feed discards what comes. Messages may still be sent. It returns the error of a handshake that the end
// of the socket has cut short.
func (c *Conn) InputEnded() error {
	if c.err == nil && c.step < stepFrame {
		c.cutShort()
	}
	c.forget()
	c.step = stepOver
	return c.err
}
