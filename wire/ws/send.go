package ws

import (
	"encoding/binary"
	"strconv"
)

// maxPongs is how many bytes of Control may be Pongs.
const maxPongs = 4 << 10

// Size returns how many bytes a message of n bytes takes.
func (c *Conn) Size(n int) int {
	size := 2
	switch {
	case n >= 1<<16:
		size = 10
	case n >= len16:
		size = 4
	}
	if c.role == Client {
		size += 4
	}
	return size + n
}

// Masks reports whether what is sent has to be masked, so that it must lie in memory of the output.
func (c *Conn) Masks() bool { return c.role == Client }

// Message appends the header of a binary message of n bytes, in one frame, and reports whether it may be sent; if not,
// dst is unchanged. The caller supplies exactly n bytes next: appended to dst in any number of parts, or from elsewhere
// in a vectored write at this place. A client calls Mask with each part, in order. Rules: P-ws-1.
func (c *Conn) Message(dst []byte, n int) ([]byte, bool) {
	if !c.open || c.sending {
		return dst, false
	}
	c.refund(n)
	if c.role == Client {
		c.sendKey = c.random()
		return appendHeader(dst, opBinary, true, n, true, c.sendKey), true
	}
	return appendHeader(dst, opBinary, true, n, false, 0), true
}

// Mask masks b, the next part of the payload that was announced last, in place. A server's is left as it is.
func (c *Conn) Mask(b []byte) {
	if c.role == Client {
		c.sendKey = mask(b, c.sendKey)
	}
}

// Fragment is Message for a part of a message, n bytes long: the first one says its kind; after the one that is the
// last another may begin. Control may go between fragments.
func (c *Conn) Fragment(dst []byte, kind Kind, n int, last bool) ([]byte, bool) {
	if !c.open {
		return dst, false
	}
	op := opcode(kind)
	if c.sending {
		op = opContinuation
	}
	c.sending = !last
	c.refund(n)
	if c.role == Client {
		c.sendKey = c.random()
	}
	return appendHeader(dst, op, last, n, c.role == Client, c.sendKey), true
}

// Ping queues a Ping in Control; payload is cut at 125 bytes. It does nothing while the connection is not open.
func (c *Conn) Ping(payload []byte) {
	if c.open {
		c.pings++
		c.ctl = c.appendControl(c.ctl, opPing, payload[:min(len(payload), maxControlPayload)])
		c.lastPong = -1 // what follows must not take its place
	}
}

// pong queues the answer to a Ping. When very many wait for the peer to read, the newest takes the place of the one
// before it: RFC 6455 section 5.5.3 wants no more.
func (c *Conn) pong(payload []byte) {
	if c.sentClose {
		return
	}
	if len(c.ctl) > maxPongs && c.lastPong >= 0 {
		c.ctl = c.ctl[:c.lastPong]
	}
	at := len(c.ctl)
	c.ctl = c.appendControl(c.ctl, opPong, payload)
	c.lastPong = at
}

// appendControl appends a whole control frame.
func (c *Conn) appendControl(dst []byte, op opcode, payload []byte) []byte {
	if c.role != Client {
		return append(appendHeader(dst, op, true, len(payload), false, 0), payload...)
	}
	key := c.random()
	dst = appendHeader(dst, op, true, len(payload), true, key)
	at := len(dst)
	dst = append(dst, payload...)
	mask(dst[at:], key)
	return dst
}

// Close appends Control and our Close frame to dst, after everything that was to be said: nothing can be sent any more.
// NoCode answers with the code of the peer's Close; if it has had none or has not come, without a code. A code that no
// frame may have leaves as InternalError. reason is cut at 123 bytes. It does nothing while the connection is not open.
func (c *Conn) Close(dst []byte, code Code, reason string) []byte {
	if !c.open {
		return dst
	}
	dst = append(dst, c.ctl...)
	c.ControlDone()
	if code == NoCode && c.peerCode != NoStatus {
		code, reason = c.peerCode, ""
	}
	return c.appendClose(dst, code, reason)
}

func (c *Conn) appendClose(dst []byte, code Code, reason string) []byte {
	c.open, c.sentClose = false, true
	if code == NoCode {
		return c.appendControl(dst, opClose, nil)
	}
	if !code.OnWire() {
		code = InternalError
	}
	var b [maxControlPayload]byte
	binary.BigEndian.PutUint16(b[:], uint16(code))
	n := copy(b[2:], cutText(reason, maxReason))
	return c.appendControl(dst, opClose, b[:2+n])
}

func itoa(n int) string { return strconv.Itoa(n) }
