package router

import (
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// maxControl bounds the bytes of acknowledgements that wait for one receiver; they are never dropped, so a peer
// that asks without reading is disconnected instead.
const maxControl = 1 << 20

// queue holds what a receiver could not take at once, in order. Owned by the loop of its connection.
//
//	bytes <= ConnBuffer + one receive window for each charged sender + maxControl
type queue struct {
	items []item // ring of a power of two; nil while empty
	head  int
	n     int

	bytes   int // of all items
	charged int // of those their senders wait for
	control int // of the node's own messages
	prefix  *pool.Buf
	sent    int // bytes of the first item that are out; its start is in prefix then
	total   int // bytes of the first item as it leaves, if prefix is set

	waiting bool // in loop.waiting
	stall
}

// item is a message with one reference. Without a parcel's sender it is the node's own: complete and never dropped.
type item struct {
	buf     *pool.Buf
	charged bool // the sender's window is short by parcel.cost until this item has left or died
}

func (q *queue) len() int { return q.n }

func (q *queue) at(i int) *item { return &q.items[(q.head+i)&(len(q.items)-1)] }

func (q *queue) push(it item) {
	if q.n == len(q.items) {
		grown := make([]item, max(8, 2*len(q.items)))
		for i := range q.n {
			grown[i] = *q.at(i)
		}
		q.items, q.head = grown, 0
	}
	q.n++
	*q.at(q.n - 1) = it
}

func (q *queue) pop() {
	*q.at(0) = item{}
	q.head = (q.head + 1) & (len(q.items) - 1)
	if q.n--; q.n == 0 && len(q.items) > 64 {
		q.items, q.head = nil, 0
	}
}

// refuses says why a message of n bytes must die instead of being queued.
func (q *queue) refuses(n, limit int, p Policy) Reason {
	switch {
	case q.stalled:
		return ReasonStalled
	case p == Drop && q.n > 0 && q.bytes+n > limit:
		return ReasonFull
	}
	return reasonNone
}

// parcelOf returns the parcel of a message, nil for the node's own.
func parcelOf(b *pool.Buf) *parcel {
	p, _ := b.Aux.(*parcel)
	if p == nil || p.src == nil {
		return nil
	}
	return p
}

// enqueue takes over one reference to buf. held: the sender, of another loop, is charged already. It reports
// whether the sender is charged from now on.
func (c *Conn) enqueue(buf *pool.Buf, held bool) bool {
	l, q := c.loop, &c.q
	p := buf.Aux.(*parcel)
	charge := q.bytes+len(buf.B) > l.node.opt.ConnBuffer && p.src != c
	q.push(item{buf: buf, charged: charge})
	q.bytes += len(buf.B)
	if charge {
		q.charged += p.cost
		if !held {
			p.src.hold(p.cost)
		}
	}
	c.await()
	l.n.queued++
	if q.n == 1 {
		c.pump() // the window may take a part of it
	}
	return charge
}

// sendOwn sends a message of the node itself: acknowledgements and the negotiation's reply. msg is copied.
func (c *Conn) sendOwn(msg []byte) {
	if c.sock.mute {
		return
	}
	q := &c.q
	b := c.loop.stock.Get(len(msg))
	b.B = append(b.B, msg...)
	p, ok := b.Aux.(*parcel)
	if !ok {
		p = new(parcel)
		b.Aux = p
	}
	*p = parcel{}
	q.push(item{buf: b})
	q.bytes += len(msg)
	q.control += len(msg)
	c.await()
	if c.pump(); q.control > maxControl && !c.sock.closing {
		c.note(ReasonBacklog, nil)
		c.sock.silence()
	}
}

func (c *Conn) await() {
	if !c.q.waiting {
		c.q.waiting = true
		c.q.mark, c.q.look, c.q.deficit = c.drained(), 0, 0
		c.loop.waiting = append(c.loop.waiting, c)
	}
}

// pump sends from the queue what windows and kernel take.
func (c *Conn) pump() {
	q, k := &c.q, c.sock
	c.loop.serving = k
	for q.n > 0 && !k.blocked && !k.closing && !k.mute && c.state != gone {
		it := q.at(0)
		if q.prefix == nil {
			c.begin(it.buf)
		}
		rest := q.total - q.sent
		n := min(rest, c.stream.Window())
		if n < rest && n < minPartial && (n <= 0 || rest > minPartial && k.h2.PeerWindow() > minPartial) {
			break
		}
		c.putRange(it.buf, n)
		if q.sent < q.total {
			continue
		}
		c.shift(true)
	}
	if q.n == 0 {
		c.caughtUp()
	}
	if c.state == ending && q.n == 0 {
		c.sendTrailers()
	}
}

// begin makes the first bytes of the queue's first item: envelope, opening and header for this link.
func (c *Conn) begin(buf *pool.Buf) {
	q, p := &c.q, buf.Aux.(*parcel)
	q.sent = 0
	if p.src == nil {
		q.prefix = c.loop.stock.Get(h2Prefix)
		n := len(buf.B)
		q.prefix.B = append(q.prefix.B, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		q.total = n + h2Prefix
		return
	}
	hdr := c.header(p.m.Header.Of(buf.B), &p.hd, p.id, p.nid, p.ttl)
	tail := len(buf.B) - int(p.m.Header.End)
	n := wire.OpeningSize(buf.B, &p.m, len(hdr)) + len(hdr) + tail
	q.prefix = c.loop.stock.Get(n - tail + h2Prefix)
	q.prefix.B = appendPrefix(q.prefix.B, buf.B, &p.m, hdr, n)
	q.total = n + h2Prefix
}

// putRange stages the next n bytes of the first item.
func (c *Conn) putRange(buf *pool.Buf, n int) {
	q, k := &c.q, c.sock
	x := k.outbox()
	if len(x.b)+min(n, longTail)+len(q.prefix.B) > outboxSize-64 || x.ext+n > batchLimit || len(x.pieces) >= maxPieces {
		if len(x.b) > 0 {
			k.flush()
			if k.blocked || k.closing || k.mute {
				return
			}
			x = k.outbox()
		}
		n = min(n, batchLimit)
	}
	w := writer{c: c, x: x, rest: n}
	if q.sent < len(q.prefix.B) {
		p := q.prefix.B[q.sent:]
		p = p[:min(len(p), n)]
		w.write(p, nil, true)
		q.sent += len(p)
		n -= len(p)
		c.left += uint64(len(p))
	}
	body := buf.B
	if p := buf.Aux.(*parcel); p.src != nil {
		body = body[p.m.Header.End:]
	}
	at := q.sent - len(q.prefix.B)
	if n > 0 {
		w.write(body[at:at+n], buf, false)
		q.sent += n
		c.left += uint64(n)
	}
}

// shift removes the first item, which has left (sent) or dies.
func (c *Conn) shift(sent bool) {
	l, q := c.loop, &c.q
	it := *q.at(0)
	p := it.buf.Aux.(*parcel)
	q.pop()
	q.bytes -= len(it.buf.B)
	if q.prefix != nil {
		q.prefix.Release()
		q.prefix = nil
	}
	q.sent, q.total = 0, 0
	if p.src == nil {
		q.control -= len(it.buf.B)
	} else if sent {
		l.n.delivered++
		l.n.bytes += uint64(len(it.buf.B) - int(p.m.Header.End))
	}
	if it.charged {
		q.charged -= p.cost
		l.credit(p.src, p.cost)
	}
	it.buf.Release()
}

// discard lets everything queued die with the connection.
func (c *Conn) discard(r Reason) {
	for c.q.n > 0 {
		if parcelOf(c.q.at(0).buf) != nil {
			c.loop.n.dropped[r]++
		}
		c.shift(false)
	}
}

// sift lets every queued item die that keep does not want; i is its place.
func (c *Conn) sift(r Reason, keep func(i int, it *item) bool) {
	l, q := c.loop, &c.q
	if q.n > 0 && q.prefix != nil && !keep(0, q.at(0)) {
		q.prefix.Release()
		q.prefix, q.sent, q.total = nil, 0, 0
	}
	kept := 0
	for i := range q.n {
		it := *q.at(i)
		if keep(i, &it) {
			*q.at(kept) = it
			kept++
			continue
		}
		p := it.buf.Aux.(*parcel)
		l.n.dropped[r]++
		q.lost++
		q.bytes -= len(it.buf.B)
		if it.charged {
			q.charged -= p.cost
			l.credit(p.src, p.cost)
		}
		it.buf.Release()
	}
	for i := kept; i < q.n; i++ {
		*q.at(i) = item{}
	}
	q.n = kept
}
