package h2

import "sync"

// block is a header block while it arrives: HEADERS and its CONTINUATIONs (RFC 9113 section 4.3). It is decoded
// fragment by fragment, so nothing but the decoded fields is kept, and those only up to the limit.
type block struct {
	id        uint32
	endStream bool
	fresh     bool  // server: opens a new stream
	begun     bool  // a field was decoded
	since     int64 // tick in which its first frame began
	over      bool  // size exceeds MaxHeaderList: fields are decoded, counted and dropped
	encoded   uint32
	size      uint32 // decoded, RFC 9113 section 6.5.2
	malformed string // the first reason why the message is, RFC 9113 section 8.1.1; empty: it is not
	fields    []field
	octets    []byte // names and values of fields
	rest      []byte // the beginning of a field whose end has not arrived
	req       Request
	resp      Response
}

// blocks holds blocks for use: a connection needs one while a header section arrives, and then no more.
var blocks = sync.Pool{New: func() any { return new(block) }}

// release hands k back with all that was borrowed from it. It keeps no secret and little memory.
func (k *block) release() {
	clear(k.octets[:cap(k.octets)])
	clear(k.rest[:cap(k.rest)])
	fields, octets, rest := k.fields[:0], k.octets[:0], k.rest[:0]
	if cap(fields) > 128 || cap(octets)+cap(rest) > 16<<10 {
		fields, octets, rest = nil, nil, nil
	}
	*k = block{fields: fields, octets: octets, rest: rest}
	blocks.Put(k)
}

// blockLimit is the largest encoded block that is read to its end. Above MaxHeaderList the request is refused but HPACK
// stays in step; above this the connection ends.
func (c *Conn) blockLimit() uint32 { return 4 * c.set.MaxHeaderList }

// headersFrame: RFC 9113 section 6.2.
func (c *Conn) headersFrame(h frameHeader, b []byte, ev Events) {
	b, self, ok := c.unwrapHeaders(h, b)
	if !ok {
		return
	}
	fresh := false
	switch {
	case h.id == 0 || h.id&1 == 0 || c.role == Client && c.idle(h.id):
		c.fail(ProtocolError, "HEADERS on a stream that cannot be")
		return
	case c.role == Server && h.id > c.highest:
		fresh = true
		c.highest = h.id
		c.spend(FloodRequest, priceRequest)
	case c.find(h.id) == nil:
		c.spend(FloodFault, priceRequest) // decoded all the same: RFC 9113 section 4.3
	}
	if c.err != nil {
		return
	}
	c.block = blocks.Get().(*block)
	c.block.id, c.block.endStream, c.block.fresh, c.block.since = h.id, h.flags&flagEndStream != 0, fresh, c.since
	if self {
		c.block.malformed = "stream depends on itself" // RFC 9113 section 5.3.1
	}
	c.fragment(h, b, ev)
}

// unwrapHeaders takes padding and priority off b. self: the stream depends on itself.
func (c *Conn) unwrapHeaders(h frameHeader, b []byte) (rest []byte, self, ok bool) {
	pad := 0
	if h.flags&flagPadded != 0 {
		if len(b) < 1 {
			c.fail(FrameSizeError, "padded HEADERS without pad length")
			return nil, false, false
		}
		pad, b = int(b[0]), b[1:]
	}
	if h.flags&flagPriority != 0 {
		if len(b) < 5 {
			c.fail(FrameSizeError, "HEADERS too short for its priority")
			return nil, false, false
		}
		self, b = be32(b)&maxStreamID == h.id, b[5:]
	}
	if pad > len(b) {
		c.fail(ProtocolError, "padding longer than the frame")
		return nil, false, false
	}
	return b[:len(b)-pad], self, true
}

// continuationFrame: RFC 9113 section 6.10. beginFrame has checked that it goes on with the open block.
func (c *Conn) continuationFrame(h frameHeader, b []byte, ev Events) {
	if c.block == nil {
		c.fail(ProtocolError, "CONTINUATION without HEADERS")
		return
	}
	c.fragment(h, b, ev)
}

// fragment decodes a piece of the open block and acts on it when it is the last.
func (c *Conn) fragment(h frameHeader, b []byte, ev Events) {
	if len(b) == 0 {
		c.spend(FloodEmpty, priceEmpty)
	}
	if c.err != nil {
		return
	}
	if c.block.encoded += uint32(len(b)); c.block.encoded > c.blockLimit() {
		c.fail(EnhanceYourCalm, "header block too large")
		return
	}
	k, last := c.block, h.flags&flagEndHeaders != 0
	res := c.decode(k, b)
	if c.payForBlock(k, len(b)); c.err != nil {
		return
	}
	switch res {
	case decodeLong:
		c.fail(EnhanceYourCalm, "header field too large")
		return
	case decodeBad:
		c.fail(CompressionError, "header block does not decode") // RFC 9113 section 4.3
		return
	}
	if !last {
		return
	}
	if len(k.rest) > 0 {
		c.fail(CompressionError, "header block ends inside a field")
		return
	}
	c.block = nil
	c.section(k, ev)
	k.release()
}

// payForBlock takes tokens for the last n bytes of the block k if its section is above the limit: a byte may name a
// field of 4 KiB, and is decoded before anyone knows who has sent it. No honest peer sends such sections; those within
// the limit cost no more than it allows.
func (c *Conn) payForBlock(k *block, n int) {
	if k.over {
		c.spendBytes(FloodHeaders, priceOver*n)
	}
}

// count adds f to the size of the section and reports whether it is within the limit.
func (c *Conn) count(k *block, f field) bool {
	k.begun = true
	k.size += uint32(len(f.name)+len(f.value)) + fieldOverhead
	if k.size > c.set.MaxHeaderList {
		k.over = true
	}
	return !k.over
}

// add appends f, whose memory lasts as long as the block, to the section.
func (k *block) add(f field) {
	if k.malformed == "" {
		k.malformed = f.malformed()
	}
	if n := len(k.fields); k.malformed == "" && f.pseudo() && n > 0 && !k.fields[n-1].pseudo() {
		k.malformed = "pseudo-header field after a regular one" // RFC 9113 section 8.3
	}
	k.fields = append(k.fields, f)
}

// section acts on a complete header section: a request, a response, or trailers.
func (c *Conn) section(k *block, ev Events) {
	if k.fresh {
		c.newRequest(k, ev)
		return
	}
	s := c.find(k.id)
	switch {
	case s == nil:
		c.lateSection(k)
	case s.flags&recvEnded != 0:
		c.streamError(s, StreamClosed, "HEADERS after END_STREAM", ev)
	case k.over:
		c.streamError(s, EnhanceYourCalm, "header section too large", ev)
	case k.malformed != "":
		c.streamError(s, ProtocolError, k.malformed, ev)
	case c.role == Client && s.flags&responded == 0:
		c.newResponse(s, k, ev)
	default:
		c.trailers(s, k, ev)
	}
}

// lateSection takes a header section for a closed stream (RFC 9113 section 5.1). Trailers of a request whose response was
// complete, and responses to a request that was cancelled, may come at any time: they concern that stream only. A
// request, on the other hand, cannot be meant for it (RFC 9113 section 5.1.1).
func (c *Conn) lateSection(k *block) {
	switch {
	case c.role == Client || c.maybeInFlight(k.id):
	case len(k.fields) > 0 && k.fields[0].pseudo():
		c.fail(StreamClosed, "HEADERS on a closed stream")
	default:
		c.resetID(k.id, StreamClosed)
	}
}

// newRequest: RFC 9113 section 8.3.1.
func (c *Conn) newRequest(k *block, ev Events) {
	r := &k.req
	length, fault := int64(-1), k.malformed
	if fault == "" && !k.over {
		length, fault = r.parse(k)
	}
	switch {
	case c.finalGoAway: // the GOAWAY's last stream id says so: RFC 9113 section 6.8
	case fault != "":
		c.spend(FloodFault, priceReset)
		c.resetID(k.id, ProtocolError)
	case c.set.MaxStreams > 0 && uint32(c.live) >= c.set.MaxStreams:
		c.spend(FloodRefused, priceReset)
		c.resetID(k.id, RefusedStream) // RFC 9113 section 5.1.2
	case k.over:
		c.spend(FloodRefused, priceReset)
		c.refuseLarge(k)
	default:
		c.accept(k, r, length, ev)
	}
}

func (c *Conn) accept(k *block, r *Request, length int64, ev Events) {
	c.accepted = k.id
	s := c.addStream(k.id)
	if s.length = length; k.endStream {
		s.flags |= recvEnded
	}
	ev.Request(s, r)
	if k.endStream {
		c.deliverEnd(s, End{Kind: KindHalfClosed, GRPCStatus: -1}, ev)
	}
}

// refuseLarge answers a request whose fields were not kept with 431 (RFC 6585 section 5). The owner is not told.
func (c *Conn) refuseLarge(k *block) {
	if c.err != nil {
		return
	}
	at := len(c.ctl)
	c.ctl = c.endBlock(appendStatus(c.beginBlock(c.ctl, k.id), 431), at, flagEndStream)
	if !k.endStream {
		c.resetID(k.id, NoError) // RFC 9113 section 8.1: a complete response, no interest in the rest
	}
}

// newResponse: RFC 9113 section 8.3.2. 1xx responses are dropped.
func (c *Conn) newResponse(s *Stream, k *block, ev Events) {
	r := &k.resp
	length, fault := r.parse(k)
	if fault == "" && r.Status < 200 && k.endStream {
		fault = "1xx response ends the stream"
	}
	if fault != "" {
		c.streamError(s, ProtocolError, fault, ev)
		return
	}
	if r.Status < 200 {
		c.spend(FloodEmpty, 1)
		return
	}
	s.flags |= responded
	s.length, s.status = length, uint16(r.Status)
	ev.Response(s, r)
	if s.flags&removed != 0 || !k.endStream {
		return
	}
	e := End{Kind: KindTrailers, GRPCStatus: r.GRPCStatus, Message: r.Message}
	if e.GRPCStatus < 0 {
		e.GRPCStatus = c.missingStatus(s)
	}
	c.recvEndStream(s, e, ev)
}

// trailers: RFC 9113 section 8.1.
func (c *Conn) trailers(s *Stream, k *block, ev Events) {
	if !k.endStream {
		c.streamError(s, ProtocolError, "second HEADERS without END_STREAM", ev)
		return
	}
	if len(k.fields) > 0 && k.fields[0].pseudo() {
		c.streamError(s, ProtocolError, "pseudo-header field in trailers", ev)
		return
	}
	e := End{Kind: KindTrailers, GRPCStatus: -1}
	if c.role == Client {
		if e.GRPCStatus, e.Message = grpcOutcome(k.fields); e.GRPCStatus < 0 {
			e.GRPCStatus = c.missingStatus(s)
		}
	}
	c.recvEndStream(s, e, ev)
}

// missingStatus maps the HTTP status of a response without grpc-status, as upstream's tonic does; -1 on a server.
func (c *Conn) missingStatus(s *Stream) int {
	if c.role == Server {
		return -1
	}
	switch s.status {
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	}
	return 2
}
