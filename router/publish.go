package router

import (
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// parcel is what a message needs to be sent later or by another loop. It travels in Buf.Aux beside the bytes,
// is written before the first reference is handed over and only read after that.
type parcel struct {
	m    wire.Message
	hd   wire.Header // offsets into the header inside the Buf
	id   uint64      // of the header, see seen
	nid  uint64
	ttl  uint32
	cost int   // bytes of DATA the message took from its sender's window
	src  *Conn // sender; nil for the node's own messages
}

// publish is steps 5 and 6 of the journey: match and deliver.
func (c *Conn) publish(b []byte, buf *pool.Buf, s *seen) {
	l := c.loop
	ts := l.targets[:0]
	if s.hd.Fanout == 1 {
		t := l.node.names.MatchOne(&s.hd.Dest.Name, c, c.filter)
		if t != nil && t.dead.Load() {
			t = l.anyAlive(l.node.names.MatchAll(&s.hd.Dest.Name, c, c.filter, ts))
		}
		if t != nil {
			ts = append(ts, t)
		}
	} else {
		ts = l.node.names.MatchAll(&s.hd.Dest.Name, c, c.filter, ts)
	}
	l.targets = ts
	if len(ts) == 0 {
		c.drop(ReasonNoMatch)
		return
	}
	if s.next = ts[0]; len(ts) > 2 {
		l.signPairs(ts, s)
	}
	var shared *pool.Buf
	for at := 0; at < len(ts); {
		at, shared = c.deliver(ts, at, shared, b, buf, s)
	}
	if shared != nil {
		shared.Release()
	}
}

// deliver hands a message to ts[at:] and returns how far it came: the target before that is at fault if it is not the
// last. shared is the message in counted memory once a target has needed that.
func (c *Conn) deliver(ts []*Conn, at int, shared *pool.Buf, b []byte, buf *pool.Buf, s *seen) (next int, _ *pool.Buf) {
	l := c.loop
	var held *Conn // has a reference to shared, or is getting it
	defer func() {
		if r := recover(); r != nil {
			l.fault(r, l.serving)
			switch {
			case held == nil:
				l.n.dropped[ReasonGone]++
			case held.q.find(shared) == nil:
				l.n.dropped[ReasonGone]++
				shared.Release()
			}
		}
	}()
	for next = at; next < len(ts); {
		t := ts[next]
		ts[next] = nil
		next++
		if t.loop == l {
			if l.serving = t.sock; t.dead.Load() {
				c.drop(ReasonGone)
				continue
			}
			if t.q.len() == 0 && t.put(b, buf, &l.msg, t.header(s.raw, &s.hd, s.id, s.nid, s.ttl)) {
				continue
			}
			if r := t.q.refuses(len(b), l.node.opt.ConnBuffer, l.node.opt.SlowConsumer); r != reasonNone {
				l.n.dropped[r]++
				t.q.lost++
				continue
			}
		}
		if shared == nil {
			shared = share(b, buf, &l.msg, s, c)
		}
		if t.loop == l {
			shared.Retain()
			held = t
			t.enqueue(shared, false)
			held = nil
			continue
		}
		l.serving = c.sock
		c.hold(len(b) + h2Prefix)
		shared.Retain()
		l.push(t.loop, event{to: t, buf: shared})
	}
	return next, shared
}

// anyAlive returns the first of ts that has not just ended, and forgets the others.
func (l *loop) anyAlive(ts []*Conn) (alive *Conn) {
	for i, t := range ts {
		if alive == nil && !t.dead.Load() {
			alive = t
		}
		ts[i] = nil
	}
	return alive
}

// h2Prefix is the gRPC envelope that each message also takes from a window.
const h2Prefix = 5

// share returns message b in counted memory with its parcel, one reference of which is the caller's: b's own Buf
// if it has one, else a copy, the only one the message ever gets.
func share(b []byte, buf *pool.Buf, m *wire.Message, s *seen, src *Conn) *pool.Buf {
	if buf == nil {
		buf = src.loop.stock.Get(len(b))
		buf.B = append(buf.B, b...)
	} else {
		buf.Retain()
	}
	p, ok := buf.Aux.(*parcel)
	if !ok {
		p = new(parcel)
		buf.Aux = p
	}
	p.m, p.hd, p.id, p.nid, p.ttl, p.cost, p.src = *m, s.hd, s.id, s.nid, s.ttl, len(b)+h2Prefix, src
	return buf
}

// header returns the header as it leaves on c's link: remembered, or rewritten and signed anew (dataplane.md
// section 4.6, egress). A tag of an earlier hop never goes on. The result is valid until the next call.
func (c *Conn) header(h []byte, hd *wire.Header, id, nid uint64, ttl uint32) []byte {
	if len(h) > maxRemembered {
		nid = 0 // of the one slot that holds no names
		c.loop.large = sent{raw: c.loop.large.raw[:0]}
	}
	o := &c.loop.large
	if nid != 0 {
		o = c.outm.slot(nid)
	}
	if o.id == id {
		return o.raw
	}
	var tag []byte
	if c.mac != nil {
		l := c.loop
		if !o.hashed {
			l.rest = mac.AppendNames(l.rest[:0], c.linkID, h, hd)
			c.mac.Names(&o.nst, l.rest)
			o.hashed = true
		}
		l.rest = mac.AppendRest(l.rest[:0], h, hd, ttl, true)
		c.mac.Tag(&l.tag, &o.nst, l.rest)
		tag = l.tag[:]
	}
	o.raw = wire.AppendHeader(o.raw[:0], h, hd, ttl, tag)
	if o.id = id; nid == 0 {
		o.id = 0
	}
	return o.raw
}

// hold charges c, of this loop, with n bytes: its window is not refilled by them for now.
func (c *Conn) hold(n int) {
	if c.state != gone {
		c.sock.h2.Hold(c.stream, n)
	}
}

// release gives c, of this loop, n bytes back.
func (c *Conn) release(n int) {
	if c.state != gone {
		l := c.loop
		served := l.serving
		l.serving = c.sock
		c.sock.h2.Hold(c.stream, -n)
		c.sock.markDirty()
		l.serving = served
	}
}

// credit gives sender c of any loop n bytes back.
func (l *loop) credit(c *Conn, n int) {
	switch {
	case c == nil || n == 0:
	case c.loop == l:
		c.release(n)
	default:
		c.returned.Add(int64(n))
		if !c.notified.Swap(true) {
			l.push(c.loop, event{to: c})
		}
	}
}

// push hands an event to another loop, which is woken at the end of the batch.
func (l *loop) push(to *loop, e event) {
	o := &l.out[to.index]
	if o.ring == nil {
		o.ring = pool.NewRing[event](ringSize)
		to.inbound[l.index].Store(o.ring)
	}
	o.dirty = true
	if len(o.spill) > 0 || !o.ring.Push(e) {
		o.spill = append(o.spill, e)
	}
}

func (l *loop) pushSpill(o *outbound) {
	n := o.ring.PushN(o.spill)
	if n == 0 {
		return
	}
	o.dirty = true
	m := copy(o.spill, o.spill[n:])
	clear(o.spill[m:])
	o.spill = o.spill[:m]
	if m == 0 && cap(o.spill) > ringSize {
		o.spill = nil
	}
}

// popRings serves what other loops have left, up to one ring's worth of each so that sockets get their turn.
func (l *loop) popRings() {
	for i := range l.inbound {
		r := l.inbound[i].Load()
		if r == nil {
			continue
		}
		for served := 0; served < ringSize; {
			n := r.PopN(l.events[:])
			if n == 0 {
				break
			}
			l.serve(l.events[:n])
			served += n
		}
		if r.Len() > 0 {
			l.wake()
		}
	}
}

// serve is step 8 for messages of other loops.
func (l *loop) serve(es []event) {
	for len(es) > 0 {
		es = l.serveSome(es)
	}
}

// serveSome serves events up to the first that panics and returns the rest. Credit of one sender is gathered over a
// run of its messages.
func (l *loop) serveSome(es []event) (rest []event) {
	var src *Conn
	owed := 0
	var now event // taken and not done with
	rest = es
	defer func() {
		if r := recover(); r != nil {
			l.fault(r, l.serving)
			if now.buf != nil {
				now.to.undelivered(now.buf, now.buf.Aux.(*parcel).src, now.buf.Aux.(*parcel).cost)
			}
			l.settle(src, owed)
		}
	}()
	for len(es) > 0 {
		t, buf := es[0].to, es[0].buf
		var p *parcel
		if buf != nil {
			if p = buf.Aux.(*parcel); p.src != src {
				last, n := src, owed
				src, owed = p.src, 0
				l.credit(last, n)
			}
		}
		now, es[0] = es[0], event{}
		es = es[1:]
		rest = es
		l.serving = t.sock
		if buf == nil {
			t.notified.Store(false)
			t.release(int(t.returned.Swap(0)))
			continue
		}
		cost := p.cost // accept may give the memory back
		if t.accept(buf, p) {
			owed += cost
		}
		now.buf = nil
	}
	last, n := src, owed
	src, owed = nil, 0
	l.credit(last, n)
	return nil
}

// settle gives a sender its credit in the wake of somebody else's panic.
func (l *loop) settle(src *Conn, owed int) {
	defer l.blame()
	l.credit(src, owed)
}

// accept takes a message of another loop, which hands over its reference and has charged the sender. It reports
// whether the sender's credit is due now.
func (c *Conn) accept(buf *pool.Buf, p *parcel) bool {
	l := c.loop
	if c.dead.Load() {
		l.n.dropped[ReasonGone]++
		buf.Release()
		return true
	}
	if c.q.len() == 0 && c.put(buf.B, buf, &p.m, c.header(p.m.Header.Of(buf.B), &p.hd, p.id, p.nid, p.ttl)) {
		buf.Release()
		return true
	}
	if r := c.q.refuses(len(buf.B), l.node.opt.ConnBuffer, l.node.opt.SlowConsumer); r != reasonNone {
		l.n.dropped[r]++
		c.q.lost++
		buf.Release()
		return true
	}
	return !c.enqueue(buf, true)
}
