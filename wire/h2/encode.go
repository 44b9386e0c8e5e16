package h2

import "strconv"

// Header blocks are written as references to the static table and as literals without indexing (RFC 7541 sections 6.1,
// 6.2.2, 6.2.3): no encoder state exists, and blocks may be built in any order.

const (
	literal     = 0x00 // without indexing, new name
	neverIndex  = 0x10 // never indexed: secrets
	maxGRPCText = 1 << 10
	maxFields   = 64 << 10
)

// contentTypeGRPC is "content-type: application/grpc": literal, name 31 of the static table.
var contentTypeGRPC = []byte("\x0f\x10\x10application/grpc")

// staticName holds the static table's index of names we send (RFC 7541 appendix A); 0: none.
func staticName(name string) uint64 {
	switch name {
	case ":authority":
		return 1
	case ":method":
		return 2
	case ":path":
		return 4
	case ":scheme":
		return 6
	case ":status":
		return 8
	case "authorization":
		return 23
	case "content-length":
		return 28
	case "content-type":
		return 31
	case "user-agent":
		return 58
	case "www-authenticate":
		return 61
	}
	return 0
}

// staticField holds the static table's index of whole fields we send; 0: none.
func staticField(f *Field) byte {
	switch {
	case f.Name == ":method" && f.Value == "POST":
		return 3
	case f.Name == ":scheme" && f.Value == "http":
		return 6
	case f.Name == ":scheme" && f.Value == "https":
		return 7
	}
	return 0
}

// appendInt: RFC 7541 section 5.1; first holds the bits in front of the n-bit prefix.
func appendInt(dst []byte, first byte, n uint, v uint64) []byte {
	limit := uint64(1)<<n - 1
	if v < limit {
		return append(dst, first|byte(v))
	}
	dst = append(dst, first|byte(limit))
	for v -= limit; v >= 128; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}

// appendText: RFC 7541 section 5.2, without Huffman coding.
func appendText[T string | []byte](dst []byte, s T) []byte {
	return append(appendInt(dst, 0, 7, uint64(len(s))), s...)
}

func appendField(dst []byte, f *Field) []byte {
	if i := staticField(f); i != 0 {
		return append(dst, 0x80|i)
	}
	kind := byte(literal)
	if f.Sensitive || f.Name == "authorization" {
		kind = neverIndex
	}
	i := staticName(f.Name)
	dst = appendInt(dst, kind, 4, i)
	if i == 0 {
		dst = appendText(dst, f.Name)
	}
	return appendText(dst, f.Value)
}

func appendStatus(dst []byte, status int) []byte {
	if status == 200 {
		return append(dst, 0x88) // static table entry 8
	}
	return appendNumber(appendInt(dst, literal, 4, 8), status)
}

// appendNumber appends the value n in decimal.
func appendNumber(dst []byte, n int) []byte {
	var b [20]byte
	return appendText(dst, strconv.AppendInt(b[:0], int64(n), 10))
}

func appendGRPCStatus(dst []byte, status int, msg string) []byte {
	dst = appendNumber(appendText(append(dst, literal), "grpc-status"), status)
	if msg != "" {
		msg = msg[:min(len(msg), maxGRPCText)]
		dst = appendText(append(dst, literal), "grpc-message")
		dst = appendEscaped(appendInt(dst, 0, 7, uint64(escapedLen(msg))), msg)
	}
	return dst
}

// beginBlock appends the header of a HEADERS frame whose length endBlock fills in.
func (c *Conn) beginBlock(dst []byte, id uint32) []byte {
	c.sent++
	dst = appendFrameHeader(dst, 0, frameHeaders, flagEndHeaders, id)
	if c.sizeUpdateDue {
		c.sizeUpdateDue = false
		dst = append(dst, 0x20) // dynamic table size update to 0, RFC 7541 section 6.3
	}
	return dst
}

// endBlock completes the HEADERS frame at dst[at:]. What exceeds one frame moves into CONTINUATIONs; every peer takes
// frames of 16384 bytes.
func (c *Conn) endBlock(dst []byte, at int, flags uint8) []byte {
	n := len(dst) - at - frameHeaderLen
	h := dst[at : at+frameHeaderLen]
	h[4] |= flags
	if n <= minMaxFrame {
		h[1], h[2] = byte(n>>8), byte(n)
		return dst
	}
	h[4] &^= flagEndHeaders
	h[1], h[2] = minMaxFrame>>8, minMaxFrame&0xff
	id := be32(h[5:])
	rest := append([]byte(nil), dst[at+frameHeaderLen+minMaxFrame:]...)
	dst = dst[:at+frameHeaderLen+minMaxFrame]
	for len(rest) > 0 {
		k, last := min(len(rest), minMaxFrame), uint8(0)
		if k == len(rest) {
			last = flagEndHeaders
		}
		dst = append(appendFrameHeader(dst, k, frameContinuation, last, id), rest[:k]...)
		rest = rest[k:]
	}
	return dst
}

// Refuse queues HEADERS that end the response: httpStatus, then grpcStatus and msg unless grpcStatus < 0, then extra
// fields (lower-case names, such as www-authenticate). Only without an earlier Respond. Server. Closed follows.
func (c *Conn) Refuse(s *Stream, httpStatus int, grpcStatus int, msg string, extra ...Field) {
	if s.flags&(sendOpen|sendEnded|removed) != 0 || c.role != Server || c.err != nil {
		return
	}
	at := len(c.ctl)
	c.ctl = appendStatus(c.beginBlock(c.ctl, s.ID), httpStatus)
	if grpcStatus >= 0 {
		c.ctl = appendGRPCStatus(append(c.ctl, contentTypeGRPC...), grpcStatus, msg)
	}
	for i := range extra {
		c.ctl = appendField(c.ctl, &extra[i])
	}
	c.ctl = c.endBlock(c.ctl, at, flagEndStream)
	c.ctl = c.sentEndStream(c.ctl, s)
}

// Open queues a request and returns its stream, on which DATA may be sent at once. fields are all fields of the request,
// pseudo-header fields first, names in lower case. Client. Errors: ErrDraining, ErrStreamLimit, ErrIDsSpent, ErrFields.
func (c *Conn) Open(fields []Field) (*Stream, error) {
	size := 0
	for i := range fields {
		size += fields[i].size()
	}
	switch {
	case c.role != Client:
		panic("h2: Open on a server")
	case c.Draining():
		return nil, ErrDraining
	case uint64(c.live) >= uint64(c.peerStreams):
		return nil, ErrStreamLimit
	case c.nextID > maxStreamID:
		return nil, ErrIDsSpent
	case size > maxFields:
		return nil, ErrFields
	}
	s := c.addStream(c.nextID)
	c.nextID += 2
	s.flags |= sendOpen
	at := len(c.ctl)
	c.ctl = c.beginBlock(c.ctl, s.ID)
	for i := range fields {
		c.ctl = appendField(c.ctl, &fields[i])
	}
	c.ctl = c.endBlock(c.ctl, at, 0)
	return s, nil
}
