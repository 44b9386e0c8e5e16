package h2

// maxSendFrame caps our DATA frames when the peer takes larger ones: it gathers frames whole, and a smaller one is
// sooner useful.
const maxSendFrame = 64 << 10

// Data extends the DATA frame that ends dst, or begins one, by k <= n bytes of payload and charges them to the windows;
// a frame never exceeds the peer's SETTINGS_MAX_FRAME_SIZE. k < n means the frame is full or a window is empty: call
// again with the rest, k == 0 then means wait for Writable. Empty frames are never made (Rust peers count them).
//
// The caller supplies exactly those k bytes next: appended to dst, or from elsewhere in a vectored write at this place.
// A further call for the same stream goes on with the frame and patches its length in dst, so that small messages share a
// frame; after dst was handed over, or after the caller appended anything else to it, Cut must come first. Control is
// appended to dst before (see there).
func (c *Conn) Data(dst []byte, s *Stream, n int) ([]byte, int) {
	k := min(n, s.window, c.window)
	if k <= 0 || s.flags&sendOpen == 0 {
		return dst, 0
	}
	if c.openFrame == s && c.openLen < c.peerFrame {
		k = min(k, c.peerFrame-c.openLen)
		c.openLen += k
		h := dst[c.openAt : c.openAt+3]
		h[0], h[1], h[2] = byte(c.openLen>>16), byte(c.openLen>>8), byte(c.openLen)
	} else {
		k = min(k, c.peerFrame)
		c.openFrame, c.openAt, c.openLen = s, len(dst), k
		dst = appendFrameHeader(dst, k, frameData, 0, s.ID)
		c.sent++
	}
	s.window -= k
	c.window -= k
	c.budget = min(c.budget+k, c.fullBudget) // pays for the WINDOW_UPDATEs it will cause
	return dst, k
}

// Cut ends the open DATA frame: the next Data begins a new one.
func (c *Conn) Cut() { c.openFrame = nil }

// HalfClose appends END_STREAM for s to dst: a flag on the frame that ends dst if it is s's, else an empty final DATA
// frame. Client; does nothing if our side is already done.
func (c *Conn) HalfClose(dst []byte, s *Stream) []byte {
	if s.flags&sendOpen == 0 || c.err != nil {
		return dst
	}
	if c.openFrame == s {
		dst[c.openAt+4] |= flagEndStream
	} else {
		dst = appendFrameHeader(dst, 0, frameData, flagEndStream, s.ID)
	}
	c.Cut()
	return c.sentEndStream(dst, s)
}

// Respond queues the response HEADERS, 200 application/grpc, and extra fields (lower-case names). A Rust dialer waits for
// them before it sends its first message.
func (c *Conn) Respond(s *Stream, extra ...Field) {
	if s.flags&(sendOpen|sendEnded|removed) != 0 || c.role != Server || c.err != nil {
		return
	}
	s.flags |= sendOpen
	at := len(c.ctl)
	c.ctl = c.beginBlock(c.ctl, s.ID)
	c.ctl = appendStatus(c.ctl, 200)
	c.ctl = append(c.ctl, contentTypeGRPC...)
	for i := range extra {
		c.ctl = appendField(c.ctl, &extra[i])
	}
	c.ctl = c.endBlock(c.ctl, at, 0)
}

// RespondAs is Respond with a status and content type of the caller's, for an answer that is not gRPC. Its DATA and
// Trailers follow as usual.
func (c *Conn) RespondAs(s *Stream, status int, contentType string) {
	if s.flags&(sendOpen|sendEnded|removed) != 0 || c.role != Server || c.err != nil {
		return
	}
	s.flags |= sendOpen
	at := len(c.ctl)
	c.ctl = c.beginBlock(c.ctl, s.ID)
	c.ctl = appendStatus(c.ctl, status)
	c.ctl = appendField(c.ctl, &Field{Name: "content-type", Value: contentType})
	c.ctl = c.endBlock(c.ctl, at, 0)
}

// Trailers appends to dst the trailers that end the response, after its DATA; without an earlier Respond they carry
// the whole response (trailers-only). msg is percent-encoded and cut at 1 KiB; empty: left out. Server. Closed follows.
func (c *Conn) Trailers(dst []byte, s *Stream, grpcStatus int, msg string) []byte {
	if s.flags&(sendEnded|removed) != 0 || c.role != Server || c.err != nil {
		return dst
	}
	c.Cut()
	at := len(dst)
	dst = c.beginBlock(dst, s.ID)
	if s.flags&sendOpen == 0 {
		dst = append(appendStatus(dst, 200), contentTypeGRPC...)
	}
	dst = appendGRPCStatus(dst, grpcStatus, msg)
	dst = c.endBlock(dst, at, flagEndStream)
	return c.sentEndStream(dst, s)
}
