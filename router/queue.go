package router

import (
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

const (
	// maxControl bounds the memory of acknowledgements that wait for one receiver, some ten thousand; they are never
	// dropped, so a peer that asks without reading is disconnected instead. Rules: P-press-3.
	maxControl = 8 << 20
	// leastControl is what it may have of them though the node has too much waiting. Rules: P-lim-10.
	leastControl = 64 << 10
)

// queue holds what a receiver could not take at once. Owned by the loop of its connection.
//
//	bytes <= ConnBuffer + one receive window of messages for each charged sender + maxControl
//
// and what they send by advance, no more than twice ConnBuffer for each loop.
//
// All sums are of memory, see costOf.
type queue struct {
	ring        // senders' lane
	own   ring  // the node's lane
	order lanes // of the two

	bytes   int         // of all items
	charged int         // of those their senders wait for
	control int         // of the node's own messages
	holder  pool.Holder // of bytes, among all queues of the loop
	since   int64       // tick in which something left, or the queue was no longer empty
	first   *pool.Buf   // header of the first item of senders as it leaves; nil: it is not made yet
	sent    int         // bytes of the item that is half out
	turn    lane        // whose first item that is, if sent is not 0

	waiting bool // in stallClock.waiting
	advance advance
	stall
}

// item is a message with one reference. Without a parcel's sender it is the node's own: complete and never dropped.
type item struct {
	buf     *pool.Buf
	charged bool // the sender's window is short by parcel.cost until this item has left or died
}

// len is the number of items in both lanes.
func (q *queue) len() int { return q.n + q.own.n }

// lane returns a lane's items.
func (q *queue) lane(l lane) *ring {
	if l == laneOwn {
		return &q.own
	}
	return &q.ring
}

// halfOut reports whether a part of senders' first item is out.
func (q *queue) halfOut() bool { return q.sent > 0 && q.turn == laneSenders }

// occupy counts what is queued for c, messages and bytes of memory; less, if negative.
func (c *Conn) occupy(messages, bytes int) {
	c.q.bytes += bytes
	c.loop.n.waiting += int64(messages)
	c.loop.queued.Add(bytes)
	c.loop.queued.Rank(&c.q.holder, c.q.bytes)
}

// dropFirst forgets how far senders' first item is.
func (c *Conn) dropFirst() {
	q := &c.q
	if q.first != nil {
		c.occupy(0, -q.first.Footprint())
		q.first.Release()
		q.first = nil
	}
	if q.turn == laneSenders {
		q.sent = 0
	}
}

// refuses says why a message of n bytes must die instead of being queued.
func (q *queue) refuses(n, limit int, p Policy) Reason {
	switch {
	case q.stalled:
		return ReasonStalled
	case p == Drop && q.len() > 0 && q.bytes+n > limit:
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
	full := q.bytes+p.cost > l.node.opt.ConnBuffer || l.queued.Over(p.cost) > l.chargesFrom()
	charge := full && p.src != c && l.rules.SlowConsumer != Drop
	d := &l.delivery
	q.push(item{buf: buf, charged: charge})
	d.queued, d.charged = true, charge
	c.occupy(1, p.cost)
	c.updateBusy()
	if charge {
		q.charged += p.cost
		if q.watching == nil {
			q.watching = new(watching)
		}
		q.inquiry.charged(p.src)
		if !held {
			p.src.hold(p.cost)
		}
		c.await()
	}
	l.n.queued++
	if q.len() == 1 {
		q.since = l.ticks
		c.pump() // the window may take a part of it
	}
	d.queued = false
	return charge
}

// sendOwn sends a message of the node itself: an acknowledgement, what a peer is told, a negotiation's reply. msg is
// copied. after: it stays behind what senders have queued for c.
func (c *Conn) sendOwn(msg []byte, after bool) {
	if c.muted {
		return
	}
	q := &c.q
	b := c.loop.net.Stock().Get(len(msg))
	b.B = append(b.B, msg...)
	p, ok := b.Aux.(*parcel)
	if !ok {
		p = new(parcel)
		b.Aux = p
	}
	*p = parcel{cost: costOf(b.B, b)}
	q.lane(q.order.place(after, q.n)).push(item{buf: b})
	c.occupy(1, p.cost)
	q.control += p.cost
	if q.len() == 1 {
		q.since = c.loop.ticks
	}
	if c.pump(); q.control > maxControl {
		c.giveUp(ReasonBacklog)
	} else if q.control > leastControl && c.loop.queued.Over(0) > c.loop.node.mostQueued() && !c.loop.makesRoom(c, 0) {
		c.giveUp(ReasonBacklog) // nobody has more waiting
	}
}

// pump sends from the queue what the stream takes.
func (c *Conn) pump() {
	q := &c.q
	for q.len() > 0 && c.state != gone {
		left, sent := c.sendNext()
		if !left {
			break
		}
		c.shift(q.turn, sent)
	}
	if q.len() > 0 {
		c.await()
	} else {
		c.caughtUp()
		if c.state == ending {
			if s, ok := c.stream.(transport.Lingerer); ok && c.hears {
				s.Linger()
			}
			c.stream.Finish(int(c.status), c.message)
		}
	}
}

// sendNext goes on with the first item of a lane and reports whether it has left, and been sent rather than died.
func (c *Conn) sendNext() (left, sent bool) {
	q, o := &c.q, &c.loop.out
	if q.sent == 0 {
		q.turn = q.order.next(q.own.n, q.n, q.order.bound > 0 && q.n > 0 && parcelOf(q.at(0).buf) == nil)
	}
	buf := q.lane(q.turn).at(0).buf
	p := buf.Aux.(*parcel)
	if p.src == nil {
		o.SetOwn(buf.B, buf)
	} else {
		o.Set(buf.B, buf, &p.m)
		if q.first != nil {
			o.Header = q.first.B
		} else if c.stream.Room() > 0 {
			o.Header = c.link.Header(p.m.Header.Of(buf.B), &p.hd)
			if c.outgrown(o) {
				c.drop(ReasonTooLarge)
				return true, false
			}
		} else {
			return false, false
		}
	}
	if q.sent == 0 && c.stream.Put(o) {
		return true, true
	}
	if p.src != nil && q.first == nil { // other headers may be made before this message is out
		q.first = c.loop.net.Stock().Get(len(o.Header))
		q.first.B = append(q.first.B, o.Header...)
		c.occupy(0, q.first.Footprint())
		o.Header = q.first.B
	}
	for total := c.stream.Size(o); q.sent < total; {
		n := c.stream.PutPart(o, q.sent, q.little)
		if n == 0 {
			return false, false
		}
		q.sent += n
		q.left += uint64(n)
		q.since = c.loop.ticks
		q.little = false
	}
	return true, true
}

// shift removes the first item of a lane, which has left (sent) or dies.
func (c *Conn) shift(from lane, sent bool) {
	l, q := c.loop, &c.q
	r := q.lane(from)
	it := *r.at(0)
	p := it.buf.Aux.(*parcel)
	r.pop()
	if sent {
		q.order.sent(from, len(it.buf.B), q.n)
	}
	c.occupy(-1, -p.cost)
	q.left++
	q.since = l.ticks
	c.updateBusy()
	if q.sent = 0; from == laneSenders {
		q.advance.passed = max(0, q.advance.passed-1)
		c.dropFirst()
	}
	if p.src == nil {
		if from == laneSenders {
			q.order.bound--
		}
		if q.control -= p.cost; c.untold && q.control <= newsBacklog/2 {
			c.hasNews()
		}
	} else if sent {
		l.n.delivered++
		c.delivered++
		n := uint64(len(it.buf.B) - int(p.m.Header.End))
		l.n.bytes += n
		c.deliveredBytes += n
	}
	if it.charged {
		q.charged -= p.cost
		l.credit(p.src, p.cost)
	}
	it.buf.Release()
}

// discard lets everything queued die with the connection.
func (c *Conn) discard(r Reason) {
	for c.q.own.n > 0 {
		c.shift(laneOwn, false)
	}
	for c.q.n > 0 {
		if parcelOf(c.q.at(0).buf) != nil {
			c.loop.n.drop(r)
		}
		c.shift(laneSenders, false)
	}
}

// sift lets every queued item of senders die that keep does not want; i is its place. keep wants the node's own.
func (c *Conn) sift(r Reason, keep func(i int, it *item) bool) {
	l, q := c.loop, &c.q
	if q.n > 0 && !keep(0, q.at(0)) {
		c.dropFirst()
	}
	kept := 0
	q.advance.passed = 0
	for i := range q.n {
		it := *q.at(i)
		if keep(i, &it) {
			*q.at(kept) = it
			kept++
			continue
		}
		p := it.buf.Aux.(*parcel)
		l.n.drop(r)
		q.lost++
		c.missed()
		c.occupy(-1, -p.cost)
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
	q.shrink()
	c.updateBusy()
}
