package transport

import (
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// What is sent compressed. A stream that has an encoding is another Stream than one that has none, so that the latter
// knows nothing of it. Only Stream.Put compresses, and only what leaves at once and whole: what waits in queues and goes
// out in parts is plain, and is counted so. Rules: P-comp-3, P-comp-5.

// codec is what compression takes on a loop, for all its connections. Made with the first that needs it.
type codec struct {
	out    compress.Compressor
	packed *pool.Buf         // the last tail, compressed; nil: there is none, or it did not pay
	of     compress.Encoding // of packed
	head   []byte            // scratch
	batch  uint64            // of Group.batch, to which done and spent belong
	done   int               // bytes compressed in it
	expanding

	tally Tally
	used  int64 // tick
}

// Tally counts what compression has done, in bytes of messages. Since the start.
type Tally struct {
	PlainOut, PackedOut uint64 // of messages that left compressed: before, and after
	PackedIn, PlainIn   uint64 // of messages that came compressed: as they came, and what was in them
	Unpaid              uint64 // of messages that were tried and left plain
}

// Compresses reports whether the group has ever compressed or expanded anything: else its Tally is empty.
func (g *Group) Compresses() bool { return g.codec != nil }

// Tally returns what the group has compressed and expanded.
func (g *Group) Tally() Tally {
	if g.codec == nil {
		return Tally{}
	}
	return g.codec.tally
}

// codecOf returns the codec in this batch.
func (g *Group) codecOf() *codec {
	c := g.codec
	if c == nil {
		c = &codec{expanding: expanding{group: g}}
		g.codec = c
	}
	if c.batch != g.batch {
		c.batch, c.done, c.spent = g.batch, 0, 0
	}
	c.used = g.ticks
	return c
}

const (
	// batchBytes is how much a loop compresses in one batch: one longest message, or as much in others, half a
	// millisecond or so. What comes after that goes out as it is.
	batchBytes = compress.Most
	// idleTicks is after how many seconds a codec that is not used lets go of its memory.
	idleTicks = 10
)

// tick lets go of memory that is not used.
func (c *codec) tick(now int64) {
	if now-c.used < idleTicks || c.busy {
		return
	}
	c.dropPacked()
	c.out.Forget()
	c.head = nil
	c.expanding.forget()
}

func (c *codec) dropPacked() {
	if c.packed != nil {
		c.packed.Release()
		c.packed = nil
	}
}

// tail returns the end of a message, compressed, in memory that lasts until the next call, or as long as it is retained.
// nil: it does not pay, or tried is false, and there is no time for it in this batch.
func (c *codec) tail(e compress.Encoding, b []byte, stock *pool.Local) (packed *pool.Buf, tried bool) {
	if c.done+len(b) > batchBytes && !c.out.Knows(e, b) {
		return nil, false
	}
	p, fresh := c.out.Tail(e, b)
	if fresh {
		c.done += len(b)
	}
	if p == nil {
		c.tally.Unpaid += uint64(len(b))
		return nil, true
	}
	if fresh || c.packed == nil || c.of != e {
		c.dropPacked()
		c.packed, c.of = stock.Get(len(p)), e
		c.packed.B = append(c.packed.B, p...)
	}
	return c.packed, true
}

// worth is what a stream knows of whether it pays.
type worth struct {
	encoding compress.Encoding // None: nothing is compressed
	sampler  compress.Sampler
}

// pack returns the tail of m compressed, and its head in scratch memory; nil: m goes out as it is.
func (w *worth) pack(g *Group, m *Message) (packed *pool.Buf, head []byte) {
	tail := m.Tail()
	if w.encoding == compress.None || len(tail) < compress.Least || len(tail) > compress.Most || m.head() > compress.MostHead {
		return nil, nil
	}
	c := g.codecOf()
	if !c.out.Knows(w.encoding, tail) && !w.sampler.Try() {
		return nil, nil
	}
	packed, tried := c.tail(w.encoding, tail, g.loop.Stock())
	if tried {
		w.sampler.Tried(packed != nil)
	}
	if packed == nil {
		return nil, nil
	}
	c.head = m.appendHead(c.head[:0])
	return packed, c.head
}

// packedStream is a stream whose peer accepts an encoding.
type packedStream struct {
	*stream
	worth
}

var (
	_ Stream = (*packedStream)(nil)
	_ Sharer = (*packedStream)(nil)
	_ Prober = (*packedStream)(nil)
)

// Put implements Stream.
func (s *packedStream) Put(m *Message) bool {
	k := s.sock
	if len(m.Tail()) >= compress.Least && k.net.Takes() && s.h2.Window() >= envelope+m.Len() {
		if packed, head := s.pack(k.group, m); packed != nil && s.putPacked(m, packed, head) {
			return true
		}
	}
	return s.stream.Put(m)
}

// putPacked stages m compressed. The windows have room even for all of m.
func (s *packedStream) putPacked(m *Message, packed *pool.Buf, head []byte) bool {
	e := s.encoding
	before, after := compress.HeadSize(e, len(head)), compress.EndSize(e)
	n := before + len(packed.B) + after
	x := s.outbox(envelope+before+after+2*netloop.LongPiece+2*frameRoom, len(packed.B))
	if x == nil {
		return false
	}
	c := s.sock.group.codec
	at := len(head)
	c.head = compress.AppendHead(appendEnvelope(c.head, n), e, head)
	c.head[at] = 1 // the compressed flag: P-tr-3
	w := writer{s: s.stream, x: x, rest: envelope + n}
	w.write(c.head[at:], nil, true)
	w.write(packed.B, packed, false)
	at = len(c.head)
	c.head = compress.AppendEnd(c.head, e, head, m.Tail())
	w.write(c.head[at:], nil, true)
	s.given += uint64(envelope + n)
	c.tally.PlainOut += uint64(m.Len())
	c.tally.PackedOut += uint64(n)
	return true
}

// packedWebSocket is a WebSocket whose peer has agreed on permessage-deflate.
type packedWebSocket struct {
	*webSocketStream
	worth
}

var (
	_ Stream = (*packedWebSocket)(nil)
	_ Prober = (*packedWebSocket)(nil)
)

// Put implements Stream.
func (s *packedWebSocket) Put(m *Message) bool {
	k := (*webSocket)(s.webSocketStream)
	if !s.over && k.net.Takes() && k.ws.Deflates() && len(m.Tail()) >= compress.Least && m.Len() <= fragment {
		if packed, head := s.pack(k.group, m); packed != nil && s.putPacked(m, packed, head) {
			return true
		}
	}
	return s.webSocketStream.Put(m)
}

// putPacked stages m compressed, in one frame.
func (s *packedWebSocket) putPacked(m *Message, packed *pool.Buf, head []byte) bool {
	k, c := (*webSocket)(s.webSocketStream), s.group.codec
	before := compress.HeadSize(compress.Deflate, len(head))
	n := before + len(packed.B)
	copied, external := n, 0
	if len(packed.B) >= netloop.LongPiece && !k.ws.Masks() {
		copied, external = before, len(packed.B)
	}
	x := s.outbox(copied+frameRoom, external)
	if x == nil {
		return false
	}
	dst, ok := k.ws.Compressed(x.B, ws.Binary, n)
	if !ok {
		return false
	}
	at := len(dst)
	dst = compress.AppendHead(dst, compress.Deflate, head)
	if external > 0 {
		x.B = dst
		x.Add(packed.B, packed)
	} else {
		x.B = append(dst, packed.B...)
		k.ws.Mask(x.B[at:])
	}
	c.tally.PlainOut += uint64(m.Len())
	c.tally.PackedOut += uint64(n)
	return true
}
