package h2

// A peer that has not read the end of its stream yet goes on sending: what it sends is read and discarded (RFC 9113
// section 8.1), and its messages are counted for the owner, who says what was lost.

// goOnCounting is queueClosed for a stream that lingers: the message at hand is the first that is counted, if its rest
// comes.
func (c *Conn) goOnCounting(s *Stream) {
	readable, preN := s.flags&discarding == 0, s.preN
	_, missing := s.progress()
	c.queueClosed(s)
	if !readable {
		return
	}
	s.flags |= counting
	if s.preN = preN; preN == prefixLen {
		s.total = uint32(missing)
	}
}

// countLate counts the messages that b, the next DATA bytes of s, completes, if it is known where they begin. While
// preN is prefixLen, total is what is missing of a message.
func (c *Conn) countLate(s *Stream, b []byte) {
	for len(b) > 0 && s.flags&counting != 0 {
		if s.preN < prefixLen {
			n := copy(s.pre[s.preN:], b)
			b = b[n:]
			if s.preN += uint8(n); s.preN < prefixLen {
				return
			}
			if s.total = be32(s.pre[1:]); !s.takes(s.pre[0], s.total) {
				s.flags &^= counting
				return
			}
		}
		n := min(uint32(len(b)), s.total)
		b = b[n:]
		if s.total -= n; s.total == 0 {
			s.preN = 0
			c.late++
		}
	}
}

// TakeLate returns how many messages have come whole since the last call for streams whose response was complete. They
// were not delivered. Those that the peer sends after a RST_STREAM of ours are not among them.
func (c *Conn) TakeLate() int {
	n := c.late
	c.late = 0
	return n
}
