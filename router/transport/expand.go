package transport

import (
	"errors"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// What comes compressed. How much is in a message, and how long it takes to find out, is known afterwards only, and a
// peer may have made it for that. So short ones are expanded on the loop as long as that takes a millisecond in a batch
// and comes to no more than shortContent; all others by a goroutine, one at a time for each loop. A stream's messages
// stay in order: those that come meanwhile wait, and its window is not refilled by them.
//
//	Receive, compressed ──▶ short? ──▶ on the loop ─────────────────────────────▶ Receiver
//	                          │ no, or something waits                               ▲
//	                          ▼                                                      │
//	                        queue ──▶ line of the loop ──▶ goroutine ──▶ Post ──▶ in order
//
// Rules: P-comp-6.

const (
	shortPacked  = 8 << 10  // bytes that are expanded on the loop
	shortContent = 64 << 10 // and what may be in them
	keptContent  = 4 << 20  // bytes of the goroutine's scratch memory that are kept
	expandTime   = time.Millisecond
)

// expander is the Receiver of a stream whose peer may send compressed messages: it hands their content to the receiver
// behind it. Owned by the stream's loop.
type expander struct {
	Receiver
	stream   Stream
	carrier  *carrier
	encoding compress.Encoding
	failed   func(Fault, error) // ends the stream: a message does not expand
	out      *worth             // of a call: what is sent on its stream; has an encoding once the peer has said yes

	queue  []arrived // in order; the first may be in the hands of the goroutine
	inLine bool      // it is, or will be
	over   bool      // nothing more goes to the receiver but Closed
}

// arrived is what has come on a stream and waits. One of: a message, with one reference; an end.
type arrived struct {
	buf      *pool.Buf
	packed   bool   // compressed: at most limit bytes are in it
	finished bool   // Receiver.PeerFinished
	broken   Fault  // Receiver.Broken
	last     func() // the end of the stream of a call
	limit    int
}

// Receive implements Receiver, for a message that is not compressed.
func (x *expander) Receive(b []byte, buf *pool.Buf) {
	switch {
	case x.over:
	case len(x.queue) == 0:
		x.Receiver.Receive(b, buf)
	default:
		x.wait(b, buf, arrived{})
	}
}

// compressed takes a compressed message of which at most limit bytes are the content. Otherwise as Receive.
func (x *expander) compressed(b []byte, buf *pool.Buf, limit int) {
	if x.over {
		return
	}
	c := x.carrier.group.codecOf()
	if len(x.queue) == 0 && len(b) <= shortPacked && c.spent < expandTime {
		content, err := c.now(x.encoding, b, min(limit, shortContent))
		switch {
		case err == nil:
			x.Receiver.Receive(content, nil)
			return
		case limit <= shortContent || !errors.Is(err, compress.ErrTooLarge):
			x.fail(err)
			return
		}
	}
	x.wait(b, buf, arrived{packed: true, limit: limit})
	x.next()
}

// wait queues a message.
func (x *expander) wait(b []byte, buf *pool.Buf, a arrived) {
	if a.buf = buf; buf != nil {
		buf.Retain()
	} else {
		a.buf = x.carrier.net.Loop().Stock().Get(len(b))
		a.buf.B = append(a.buf.B, b...)
	}
	x.queue = append(x.queue, a)
	x.hold(a.buf.Footprint())
	x.stream.Charge(a.buf.Footprint())
}

// hold counts n bytes more of memory, as that of messages which are not complete. Rules: P-lim-9.
func (x *expander) hold(n int) {
	k := x.carrier
	k.waiting += n
	k.setUnfinished(max(0, k.unfinished+n))
}

// next hands on what need not wait any more.
func (x *expander) next() {
	for len(x.queue) > 0 && !x.inLine && !x.over {
		a := x.queue[0]
		switch {
		case a.packed:
			x.inLine = true
			x.carrier.group.codecOf().enter(x)
			return
		case a.finished:
			x.shift()
			x.Receiver.PeerFinished()
		case a.broken != FaultNone:
			x.shift()
			x.Receiver.Broken(a.broken)
		case a.last != nil:
			x.shift()
			a.last()
		default:
			a.buf.Retain()
			x.shift()
			x.give(a.buf)
		}
	}
}

// give hands on a message, with one reference that it takes over.
func (x *expander) give(b *pool.Buf) {
	defer b.Release()
	x.Receiver.Receive(b.B, b)
}

// shift lets go of the first of the queue.
func (x *expander) shift() {
	a := x.queue[0]
	x.queue[0] = arrived{}
	if x.queue = x.queue[1:]; len(x.queue) == 0 {
		x.queue = nil
	}
	if a.buf != nil {
		x.hold(-a.buf.Footprint())
		x.stream.Charge(-a.buf.Footprint())
		a.buf.Release()
	}
}

// expanded takes what is in the first message of the queue, or why nothing is. b is one reference, which it takes over.
func (x *expander) expanded(b *pool.Buf, err error) {
	x.inLine = false
	switch {
	case x.over:
		if b != nil {
			b.Release()
		}
	case err != nil:
		x.fail(err)
	default:
		x.shift()
		x.give(b)
		x.next()
	}
}

// fail ends the stream because of a message.
func (x *expander) fail(err error) {
	f := FaultExpand
	if errors.Is(err, compress.ErrTooLarge) {
		f = FaultExpanded
	}
	last := x.drop()
	x.failed(f, err)
	last()
}

// drop lets go of everything that waits. What it returns is to be called unless the stream is closed anyway: it does what lastly was told.
func (x *expander) drop() (last func()) {
	x.over, last = true, func() {}
	lost := 0
	for len(x.queue) > 0 {
		if a := &x.queue[0]; a.buf != nil {
			lost++
		} else if a.last != nil {
			last = a.last
		}
		x.shift()
	}
	if lost > 0 {
		x.carrier.group.acceptor.Late(lost)
	}
	return last
}

// PeerFinished implements Receiver.
func (x *expander) PeerFinished() {
	if len(x.queue) > 0 && !x.over {
		x.queue = append(x.queue, arrived{finished: true})
		return
	}
	x.Receiver.PeerFinished()
}

// Broken implements Receiver. If it is for want of memory, what waits goes first.
func (x *expander) Broken(f Fault) {
	if f == FaultMemory {
		last := x.drop()
		x.Receiver.Broken(f)
		last()
		return
	}
	if len(x.queue) > 0 && !x.over {
		x.queue = append(x.queue, arrived{broken: f})
		return
	}
	x.Receiver.Broken(f)
}

// lastly has f, which closes the stream of a call that its peer has ended, called behind what waits, and reports whether anything does. f
// calls Closed. Nothing more is sent on the stream.
func (x *expander) lastly(f func()) bool {
	if len(x.queue) == 0 || x.over {
		return false
	}
	x.queue = append(x.queue, arrived{last: f})
	x.Receiver.Muted()
	return true
}

// Closed implements Receiver.
func (x *expander) Closed() {
	_ = x.drop()
	x.Receiver.Closed()
}

// Waits implements Waiter.
func (x *expander) Waits() bool {
	w, ok := x.Receiver.(Waiter)
	return len(x.queue) > 0 || ok && w.Waits()
}

// Answered implements Caller, for the stream of a call.
func (x *expander) Answered() { x.Receiver.(Caller).Answered() }

// expanding is the part of a codec that expands.
type expanding struct {
	group   *Group
	in      compress.Expander
	content []byte        // scratch of now
	spent   time.Duration // on the loop, in this batch

	line   []*expander // whose first messages are to be expanded; the first one's is, if busy
	busy   bool
	beside *helper // nil before the first use; the goroutine's while busy
}

// helper is what the goroutine works with.
type helper struct {
	in      compress.Expander
	content []byte
}

// now expands b on the loop. The content is borrowed until the next call.
func (c *codec) now(e compress.Encoding, b []byte, limit int) (content []byte, err error) {
	begin := time.Now()
	c.content, err = c.in.Append(c.content[:0], e, b, limit)
	c.spent += time.Since(begin)
	if err == nil {
		c.tally.PackedIn += uint64(len(b))
		c.tally.PlainIn += uint64(len(c.content))
	}
	return c.content, err
}

// enter puts x, whose first message is compressed, in the line.
func (c *codec) enter(x *expander) {
	c.line = append(c.line, x)
	c.work()
}

// work has the goroutine begin with the first of the line.
func (c *codec) work() {
	for len(c.line) > 0 && !c.busy {
		x := c.line[0]
		if x.over {
			c.advance()
			continue
		}
		if c.beside == nil {
			c.beside = new(helper)
		}
		c.busy = true
		a, h := x.queue[0], c.beside
		a.buf.Retain() // the stream may end meanwhile
		c.group.beside(func() {
			b, err := h.expand(x.encoding, a.buf.B, a.limit)
			n := len(a.buf.B)
			a.buf.Release()
			c.group.loop.Station().Post(func() { c.worked(x, b, n, err) })
		})
	}
}

// advance takes the first out of the line.
func (c *codec) advance() {
	c.line[0] = nil
	if c.line = c.line[1:]; len(c.line) == 0 {
		c.line = nil
	}
}

// worked takes what has become of a message of x, of n bytes.
func (c *codec) worked(x *expander, b *pool.Buf, n int, err error) {
	c.busy = false
	c.used = c.group.ticks
	c.advance()
	defer c.work()
	defer c.group.loop.Guard(x.carrier.net)
	if p := (*panicked)(nil); errors.As(err, &p) {
		panic(p.value)
	}
	if err == nil {
		c.tally.PackedIn += uint64(n)
		c.tally.PlainIn += uint64(len(b.B))
	}
	x.expanded(b, err)
	x.carrier.net.MarkDirty()
}

// expand returns the content of b in memory of its size.
func (h *helper) expand(e compress.Encoding, b []byte, limit int) (content *pool.Buf, err error) {
	defer func() {
		if r := recover(); r != nil { // it costs the socket, as on the loop
			*h = helper{}
			content, err = nil, &panicked{r}
		}
	}()
	h.content, err = h.in.Append(h.content[:0], e, b, limit)
	if err == nil {
		content = pool.Get(len(h.content))
		content.B = append(content.B, h.content...)
	}
	if cap(h.content) > keptContent {
		h.content = nil
	}
	return content, err
}

// panicked is a panic of the goroutine.
type panicked struct{ value any }

func (p *panicked) Error() string { return "internal error" }

func (c *expanding) forget() {
	c.in.Forget()
	c.content, c.beside = nil, nil
}
