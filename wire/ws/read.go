package ws

import (
	"encoding/binary"
	"unicode/utf8"
)

// readFrame completes the header of a frame and, if the payload of the frame is there too, handles it where it lies.
func (c *Conn) readFrame(p []byte, ev Events) []byte {
	if c.hdrN == 0 {
		c.since = c.now
	}
	b, have := p, len(p)
	if c.hdrN > 0 || have < 2 || have < headerSize(p[1]) { // in pieces
		have = int(c.hdrN) + copy(c.hdr[c.hdrN:], p)
		b = c.hdr[:have]
	}
	if have < 2 {
		c.hdrN = uint8(have)
		return nil
	}
	if !c.checkStart(b[0], b[1]) {
		return nil
	}
	size := headerSize(b[1])
	if have < size {
		c.hdrN = uint8(have)
		return nil
	}
	p = p[size-int(c.hdrN):]
	c.hdrN = 0
	var fault string
	if c.cur, fault = parseHeader(b[:size]); fault != "" {
		c.fail(fault)
		return nil
	}
	c.left = c.cur.length
	if c.cur.op.control() {
		return c.beginControl(p, ev)
	}
	return c.beginData(p, ev)
}

// checkStart judges the first two bytes of a frame: RFC 6455 sections 5.1, 5.2, 5.4 and 5.5.
func (c *Conn) checkStart(b0, b1 byte) bool {
	op := opcode(b0 & 0xf)
	switch {
	case b0&bitsRSV != 0 && !c.mayReserve(b0):
		c.fail("reserved bit set, without an extension")
	case op > opBinary && op < opClose || op > opPong:
		c.fail("reserved opcode")
	case c.role == Server && b1&bitMask == 0:
		c.fail("frame of a client is not masked")
	case c.role == Client && b1&bitMask != 0:
		c.fail("frame of a server is masked")
	case op.control() && b0&bitFin == 0:
		c.fail("control frame in fragments")
	case op.control() && b1&0x7f > maxControlPayload:
		c.fail("control frame of more than 125 bytes")
	case op == opContinuation && !c.fragmented:
		c.fail("continuation of no message")
	case (op == opText || op == opBinary) && c.fragmented:
		c.fail("new message before the last fragment of another")
	case op == opText && !c.set.Text:
		c.end(&ConnError{Code: UnsupportedData, Reason: "text message; send binary ones"})
	default:
		return true
	}
	return false
}

// beginData begins a frame of a message. One that is there whole, in a single frame, is delivered without a copy.
func (c *Conn) beginData(p []byte, ev Events) []byte {
	if c.cur.op != opContinuation {
		c.kind, c.got, c.checked, c.msgSince = Kind(c.cur.op), 0, 0, c.now
	}
	if c.cur.length > uint64(max(c.maxMessage-c.got, 0)) {
		c.tooBig()
		return nil
	}
	n := int(c.cur.length)
	c.got += n
	if c.cur.op != opContinuation && c.cur.fin {
		if n == 0 {
			c.spend(FloodMessage, priceMessage)
		}
		if len(p) >= n && c.err == nil {
			c.whole(p[:n:n], ev)
			return p[n:]
		}
	} else {
		c.payFragment(n)
	}
	if c.err != nil {
		return nil
	}
	c.fragmented, c.step = true, stepPayload
	if n == 0 {
		c.endPayload(ev)
	}
	return p
}

// payFragment takes the price of a fragment of n bytes.
func (c *Conn) payFragment(n int) {
	switch {
	case n == 0 && !c.cur.fin:
		c.spend(FloodFragment, priceEmpty)
	case n < priceFragment:
		c.spend(FloodFragment, priceFragment)
	}
}

func (c *Conn) tooBig() {
	c.end(&ConnError{Code: TooBig, Reason: "message of more than " + itoa(c.maxMessage) + " bytes"})
}

// whole delivers b, the payload of a message in one frame.
func (c *Conn) whole(b []byte, ev Events) {
	if c.cur.masked {
		mask(b, c.cur.key)
	}
	c.refund(len(b))
	if c.kind == Text && !utf8.Valid(b) {
		c.notUTF8()
		return
	}
	ev.Message(c.kind, b, false)
}

// readPayload gathers payload of the frame being read.
func (c *Conn) readPayload(p []byte, ev Events) []byte {
	n := int(min(c.left, uint64(len(p))))
	b := p[:n]
	if c.cur.masked {
		c.cur.key = mask(b, c.cur.key)
	}
	c.refund(n)
	c.left -= uint64(n)
	if n > 0 && !c.collect(b, ev) {
		return nil
	}
	if c.kind == Text && !c.checkText(c.left == 0 && c.cur.fin) {
		c.notUTF8()
		return nil
	}
	if c.left == 0 {
		c.endPayload(ev)
	}
	return p[n:]
}

// endPayload ends the frame, and the message if it was the last.
func (c *Conn) endPayload(ev Events) {
	c.step = stepFrame
	if !c.cur.fin {
		return
	}
	if c.kind == Text && !c.checkText(true) { // the last fragment may be empty
		c.notUTF8()
		return
	}
	msg := c.msg
	c.msg, c.fragmented, c.got = nil, false, 0
	if msg == nil { // fragments without a byte
		ev.Message(c.kind, []byte{}, false)
		return
	}
	ev.Message(c.kind, msg, true)
}

const firstGrow = 16 << 10 // memory that a message may take with its first byte; then twice what has arrived

// collect appends b to the message being gathered. Memory follows what has arrived, not what the header announces.
func (c *Conn) collect(b []byte, ev Events) bool {
	need := len(c.msg) + len(b)
	if need <= cap(c.msg) {
		c.msg = append(c.msg, b...)
		return true
	}
	have, more := c.msg, b
	if have == nil {
		have, more = b, nil
	}
	n, total := max(firstGrow, 2*need), c.got
	if c.cur.fin && n > total-total/4 {
		n = total // rather than one more copy for the rest
	} else {
		n = min(n, max(c.maxMessage, need))
	}
	got := ev.Grow(have, n)
	switch {
	case c.step == stepOver: // the callback has ended it; the memory is the owner's
		return false
	case got == nil:
		c.end(&ConnError{Code: TryAgainLater, Reason: "no memory for a message that is not complete"})
		return false
	case len(got) != len(have) || cap(got) < n:
		panic("ws: Grow returned too little")
	}
	c.msg = append(got, more...)
	return true
}

// checkText looks at the text that was gathered since it was called last. A character that is not complete waits for
// the rest of it, unless the text ends here: RFC 6455 section 8.1.
func (c *Conn) checkText(end bool) bool {
	b := c.msg[c.checked:]
	if !end {
		b = b[:len(b)-incomplete(b)]
	}
	c.checked += len(b)
	return utf8.Valid(b)
}

// incomplete returns how many bytes at the end of b begin a character that may still become valid.
func incomplete(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if utf8.RuneStart(b[len(b)-n]) {
			if utf8.FullRune(b[len(b)-n:]) { // whole, or wrong whatever follows
				return 0
			}
			return n
		}
	}
	return 0
}

func (c *Conn) notUTF8() {
	c.end(&ConnError{Code: InvalidPayload, Reason: "text is not UTF-8"})
}

// beginControl begins a control frame, which may come between the fragments of a message.
func (c *Conn) beginControl(p []byte, ev Events) []byte {
	n := int(c.left)
	if len(p) < n {
		c.step, c.ctlN = stepControl, 0
		return p
	}
	c.control(p[:n], ev)
	return p[n:]
}

func (c *Conn) readControl(p []byte, ev Events) []byte {
	n := min(int(c.left), len(p))
	copy(c.ctlBuf[c.ctlN:], p[:n])
	c.ctlN += uint8(n)
	if c.left -= uint64(n); c.left == 0 {
		c.step = stepFrame
		c.control(c.ctlBuf[:c.ctlN], ev)
	}
	return p[n:]
}

// control handles the control frame that was read, with payload b.
func (c *Conn) control(b []byte, ev Events) {
	if c.cur.masked {
		mask(b, c.cur.key)
	}
	switch c.cur.op {
	case opPing:
		c.spend(FloodPing, pricePing)
		if c.err == nil {
			c.pong(b)
		}
	case opPong:
		if c.pings > 0 {
			c.pings--
		} else {
			c.spend(FloodPong, pricePong)
		}
		if c.err == nil {
			ev.Pong(b)
		}
	case opClose:
		c.closeFrame(b, ev)
	}
}

// closeFrame: RFC 6455 sections 5.5.1 and 7.1.5.
func (c *Conn) closeFrame(b []byte, ev Events) {
	e := End{Code: NoStatus}
	if len(b) == 1 {
		c.fail("close code of one byte")
		return
	}
	if len(b) >= 2 {
		if e.Code = Code(binary.BigEndian.Uint16(b)); !e.Code.OnWire() {
			c.fail("close code " + itoa(int(e.Code)) + ", which no frame may have")
			return
		}
		if b = b[2:]; !utf8.Valid(b) {
			c.end(&ConnError{Code: InvalidPayload, Reason: "close reason is not UTF-8"})
			return
		}
		e.Reason = string(b)
	}
	c.gotClose, c.peerCode, c.step = true, e.Code, stepOver
	c.forget()
	ev.Ended(&e)
}
