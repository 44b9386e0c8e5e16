package h2

import "strconv"

// The gRPC envelope: each message is
//
//	Compressed-Flag(8) Message-Length(32, big-endian) Message
//
// and lies anywhere in the stream's DATA, whatever the frames are.
const (
	prefixLen = 5
	firstGrow = 16 << 10 // memory that a message may take with its first byte; then twice what has arrived
)

// messages delivers what b, the next DATA bytes of s, completes.
func (c *Conn) messages(s *Stream, b []byte, ev Events) {
	if s.preN != 0 {
		if b = c.resume(s, b, ev); len(b) == 0 {
			return
		}
	}
	for len(b) >= prefixLen {
		n := be32(b[1:])
		if b[0] != 0 || n > s.maxMessage {
			if b = c.notPlain(s, b, n, ev); len(b) == 0 {
				return
			}
			continue
		}
		rest := b[prefixLen:]
		if uint32(len(rest)) < n {
			break
		}
		ev.Message(s, rest[:n:n], false)
		if s.flags&discarding != 0 { // the callback ended it
			c.countLate(s, rest[n:])
			return
		}
		b = rest[n:]
	}
	if len(b) > 0 {
		s.preN = uint8(copy(s.pre[:], b))
		if len(b) >= prefixLen {
			s.total = be32(b[1:])
			c.collect(s, b[prefixLen:], ev)
		}
	}
}

// resume goes on with the message that earlier DATA began and returns what follows it; nil if it is not complete
// or s wants no more.
func (c *Conn) resume(s *Stream, b []byte, ev Events) []byte {
	if s.preN < prefixLen {
		n := copy(s.pre[s.preN:], b)
		b = b[n:]
		if s.preN += uint8(n); s.preN < prefixLen {
			return nil
		}
		s.total = be32(s.pre[1:])
		if !s.takes(s.pre[0], s.total) {
			c.endBroken(s, s.pre[0], s.total, ev)
			return nil
		}
	}
	if len(s.msg) == 0 && uint32(len(b)) >= s.total { // only the prefix came earlier
		s.preN = 0
		s.deliver(s.pre[0], b[:s.total:s.total], false, ev)
		return c.unlessEnded(s, b[s.total:])
	}
	n := min(int(s.total)-len(s.msg), len(b))
	c.collect(s, b[:n], ev)
	if len(s.msg) < int(s.total) {
		return nil
	}
	msg := s.msg
	c.giveBack(s)
	s.deliver(s.pre[0], msg, true, ev)
	return c.unlessEnded(s, b[n:])
}

// CompressedEvents are Events of an owner that calls TakeCompressed.
type CompressedEvents interface {
	// Compressed delivers one message whose compressed flag is set, as it came. Otherwise as Message.
	Compressed(s *Stream, msg []byte, lent bool)
}

// TakeCompressed has messages taken on s whose compressed flag is set: its request or response has named a grpc-encoding
// that the owner knows. The Events given to Feed must be CompressedEvents from now on.
func (c *Conn) TakeCompressed(s *Stream) { s.flags |= compressed }

// takes reports whether a message with that flag and length may come on s.
func (s *Stream) takes(flag byte, n uint32) bool {
	return n <= s.maxMessage && (flag == 0 || flag == 1 && s.flags&compressed != 0)
}

// deliver hands on a message that is complete.
func (s *Stream) deliver(flag byte, msg []byte, lent bool, ev Events) {
	if flag != 0 {
		ev.(CompressedEvents).Compressed(s, msg, lent)
		return
	}
	ev.Message(s, msg, lent)
}

// notPlain begins the message of n bytes with whose prefix b begins, which is compressed or not to be taken at all. It
// returns what follows it; nil if it is not complete or s wants no more.
func (c *Conn) notPlain(s *Stream, b []byte, n uint32, ev Events) []byte {
	if !s.takes(b[0], n) {
		c.endBroken(s, b[0], n, ev)
		return nil
	}
	rest := b[prefixLen:]
	if uint32(len(rest)) < n {
		s.preN, s.total = uint8(copy(s.pre[:], b)), n
		c.collect(s, rest, ev)
		return nil
	}
	s.deliver(b[0], rest[:n:n], false, ev)
	return c.unlessEnded(s, rest[n:])
}

// unlessEnded returns b unless the callback before it ended s.
func (c *Conn) unlessEnded(s *Stream, b []byte) []byte {
	if s.flags&discarding != 0 {
		c.countLate(s, b)
		return nil
	}
	return b
}

// collect appends b to the message being gathered. Memory follows what has arrived, not what the prefix announces.
func (c *Conn) collect(s *Stream, b []byte, ev Events) {
	if len(b) == 0 {
		return
	}
	need := len(s.msg) + len(b)
	if need <= cap(s.msg) {
		s.msg = append(s.msg, b...)
		return
	}
	have, more := s.msg, b
	if have == nil {
		have, more = b, nil
	}
	n, total := max(firstGrow, 2*need), int(s.total)
	if n > total-total/4 {
		n = total // rather than one more copy for the rest
	}
	if c.lend(s, have, n, ev) {
		s.msg = append(s.msg, more...)
	}
}

// endBroken ends the peer's side of s: what follows cannot be read as messages.
func (c *Conn) endBroken(s *Stream, flag byte, n uint32, ev Events) {
	e := End{Kind: KindBroken}
	switch {
	case flag == 0, flag == 1 && s.flags&compressed != 0:
		e.GRPCStatus = 11 // as upstream (OUT_OF_RANGE); grpc-go says 8
		e.Message = "message of " + strconv.FormatUint(uint64(n), 10) + " bytes, limit " + strconv.FormatUint(uint64(s.maxMessage), 10)
	case flag == 1:
		e.GRPCStatus, e.Message = 12, "compressed message without grpc-encoding"
	default:
		e.GRPCStatus, e.Message = 13, "bad compressed flag "+strconv.Itoa(int(flag))
	}
	c.deliverEnd(s, e, ev)
}

// progress returns how many bytes of an unfinished message have arrived, prefix included, and how many are known to be
// missing; 0, 0 between messages.
func (s *Stream) progress() (gathered, missing int) {
	switch s.preN {
	case 0:
		return 0, 0
	case prefixLen:
		return prefixLen + len(s.msg), int(s.total) - len(s.msg)
	}
	return int(s.preN), prefixLen - int(s.preN)
}
