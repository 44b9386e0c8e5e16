package router

import (
	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// parcel is what a message needs to be sent later or by another loop. It travels in Buf.Aux beside the bytes, is
// written before the first reference is handed over and only read after that.
type parcel struct {
	m      wire.Message
	hd     hop.Header   // offsets into the header inside the Buf
	cost   int          // memory that it takes while it waits, in bytes: its sender is charged with that
	src    *Conn        // sender; nil for the node's own messages
	filter table.Filter // of the sender
	asked  bool         // a receiver wants to know whether another takes the message at once
}

// publish is steps 5 and 6 of the journey: match and deliver.
func (c *Conn) publish(b []byte, buf *pool.Buf, k *hop.Known) {
	l := c.loop
	if k.Fanout != 1 && c.repeats(b, &l.msg, &k.Header.Header, false) {
		c.drop(ReasonRepeated)
		return
	}
	if c.sending > 0 { // a fan-out of its is not done: nothing overtakes it
		c.later(share(b, buf, &l.msg, k, c))
		return
	}
	if k.Fanout == 1 {
		c.publishOne(b, buf, k)
		return
	}
	ts := l.place(k).MatchAll(&k.Dest.Name, c, c.filter, l.targets[:0])
	l.targets = ts
	w := weight(len(b), len(k.Raw()))
	switch {
	case len(ts) == 0:
		c.drop(ReasonNoMatch)
		c.logDeath(ReasonNoMatch, k.Raw(), &k.Header.Header)
		return
	case len(ts) > lookEvery || len(ts) > 1 && len(ts)*w > turnBytes || l.budget.spent:
		clear(ts)
		c.later(share(b, buf, &l.msg, k, c))
		return
	}
	l.expect(k, ts[0])
	if len(ts) > 2 && !k.Again() {
		l.signPairs(ts, k)
	}
	d := &l.delivery
	d.b, d.buf, d.k, d.src = b, buf, k, c
	away := false
	for at := 0; at < len(ts); {
		at, away = l.deliverAll(ts, at, away)
	}
	if away {
		l.sendAway(d.share(l), ts)
	}
	l.budget.deliver(len(ts), w)
	clear(ts)
	if d.shared != nil {
		d.shared.Release()
		d.shared = nil
	}
}

// place is where the table has the prefix that k goes to, which is looked for once for many messages.
func (l *loop) place(k *hop.Known) table.Place[Conn] {
	was, _ := k.Found.(table.Place[Conn])
	at := l.node.names.Place(&k.Dest.Name, was)
	if at != was {
		k.Found = at
	}
	return at
}

// delivery is a message that is being given to its receivers on its own loop. b and buf are borrowed meanwhile.
type delivery struct {
	b      []byte
	buf    *pool.Buf // owns b; nil: it is borrowed from the read
	k      *hop.Known
	src    *Conn
	shared *pool.Buf // the message in memory that can wait; nil: nobody has needed it
	lent   *pool.Buf // the same while a reference to it is being handed to a queue

	queued, charged bool // of Conn.enqueue while it runs: the queue has the message, and has charged the sender
}

// share returns the message in counted memory; the reference stays the delivery's.
func (d *delivery) share(l *loop) *pool.Buf {
	if d.shared == nil {
		d.shared = share(d.b, d.buf, &l.msg, d.k, d.src)
	}
	return d.shared
}

// deliverAll serves ts[at:] as far as they are of this loop, and forgets those. It returns where to go on, which is
// after the one whose fault has interrupted it, and whether any is of another loop.
func (l *loop) deliverAll(ts []*Conn, at int, away bool) (next int, others bool) {
	next, others = at, away
	defer l.guardTarget(ts, &next)
	d, o := &l.delivery, &l.out
	o.Set(d.b, d.buf, &l.msg)
	asked := d.src.service.asked.Load()
	for ; next < len(ts); next++ {
		t := ts[next]
		if t.loop != l {
			others = true
			continue
		}
		switch {
		case t.dead.Load():
			l.n.drop(ReasonGone)
		case t.repeats(d.b, &l.msg, &d.k.Header.Header, true): // it has gone over the link that t replaces, or the other way round
		case t.q.len() == 0 && t.put(t.link.Header(d.k.Raw(), &d.k.Header)):
			if asked {
				asked = false
				d.src.service.note()
			}
		case t.turnsAway(d.b, d.buf):
		default:
			d.lent = d.share(l)
			d.lent.Retain()
			t.enqueue(d.lent, false)
			d.lent = nil
			o.Set(d.b, d.buf, &l.msg) // the queue has used it
		}
		ts[next] = nil
	}
	return next, others
}

// guardTarget, deferred around deliveries to ts, is the boundary of their faults: a panic costs ts[*next] its socket,
// and the others are served next.
func (l *loop) guardTarget(ts []*Conn, next *int) {
	if *next == len(ts) {
		return
	}
	if r := recover(); r != nil {
		ts[*next].misdelivered(r, l.delivery.lent)
		l.delivery.lent = nil
		ts[*next] = nil
		*next++
	}
}

// sendAway hands a fan-out to each other loop that has one of ts: one event each, whoever matches there.
func (l *loop) sendAway(shared *pool.Buf, ts []*Conn) {
	p := shared.Aux.(*parcel)
	for i := range ts {
		t := ts[i]
		if t == nil || t.loop == l {
			continue
		}
		for j := i; j < len(ts); j++ {
			if ts[j] != nil && ts[j].loop == t.loop {
				ts[j] = nil
			}
		}
		shared.Retain()
		l.credit(p.src, -p.cost)
		l.push(t.loop, event{buf: shared})
	}
}

// publishOne is publish for one receiver of those that match.
func (c *Conn) publishOne(b []byte, buf *pool.Buf, k *hop.Known) {
	l := c.loop
	t := l.place(k).MatchOne(&k.Dest.Name, c, c.filter)
	if t != nil && unfit(t) {
		t = l.matchFit(&k.Dest.Name, c, c.filter, t)
	}
	if t == nil {
		c.drop(ReasonNoMatch)
		c.logDeath(ReasonNoMatch, k.Raw(), &k.Header.Header)
		return
	}
	l.expect(k, t)
	if t.loop == l {
		c.deliverOne(t, b, buf, k)
		return
	}
	if len(b) <= maxBundled && l.pack(t, b, k, c) {
		return
	}
	shared := share(b, buf, &l.msg, k, c)
	c.hold(shared.Aux.(*parcel).cost)
	l.push(t.loop, event{to: t, buf: shared})
}

// expect tells k where it probably goes. The link of a receiver on another loop is not to be looked at here.
func (l *loop) expect(k *hop.Known, t *Conn) {
	if t.loop == l {
		k.Expect(&t.link)
	} else {
		k.Expect(nil)
	}
}

// deliverOne gives message b, in loop.msg, to t of the same loop.
func (c *Conn) deliverOne(t *Conn, b []byte, buf *pool.Buf, k *hop.Known) {
	done := false
	defer func() {
		if !done {
			t.failedOne(recover())
		}
	}()
	l := c.loop
	l.out.Set(b, buf, &l.msg)
	switch {
	case t.dead.Load():
		l.n.drop(ReasonGone)
	case t.q.len() == 0 && t.put(t.link.Header(k.Raw(), &k.Header)):
		if c.service.asked.Load() {
			c.service.note()
		}
	case t.turnsAway(b, buf):
	default:
		d := &l.delivery
		d.lent = share(b, buf, &l.msg, k, c)
		t.enqueue(d.lent, false)
		d.lent = nil
	}
	done = true
}

// failedOne is the boundary of c's faults: a delivery to it has panicked with r.
func (c *Conn) failedOne(r any) {
	d := &c.loop.delivery
	c.misdelivered(r, d.lent)
	d.lent = nil
}

// matchFit returns another connection for an anycast message of src than t, which is busy or over: one that is neither
// if there is one, else one that at least lives. nil: there is none. Rules: P-any-4.
func (l *loop) matchFit(n *wire.Name, src *Conn, f table.Filter, t *Conn) *Conn {
	if free := l.node.names.MatchFree(n, src, f, unfit); free != nil {
		return free
	}
	if t.dead.Load() {
		l.targets = l.node.names.MatchAll(n, src, f, l.targets[:0])
		t = firstAlive(l.targets)
	}
	return t
}

// firstAlive returns the first of ts that has not just ended, and forgets all.
func firstAlive(ts []*Conn) (alive *Conn) {
	for i, t := range ts {
		if alive == nil && !t.dead.Load() {
			alive = t
		}
		ts[i] = nil
	}
	return alive
}

// put is step 7: the message in loop.out, with header hdr instead of its own, into the stream, or to its death if it is
// too long. false: it does not take it now.
func (c *Conn) put(hdr []byte) bool {
	l := c.loop
	o := &l.out
	o.Header = hdr
	if c.outgrown(o) {
		c.drop(ReasonTooLarge)
		return true
	}
	if c.state != active || !c.stream.Put(o) {
		return false
	}
	l.n.delivered++
	c.delivered++
	n := uint64(len(o.B) - int(o.Parts.Header.End))
	l.n.bytes += n
	c.deliveredBytes += n
	return true
}

// outgrown reports whether o is longer, with the header that we have given it, than c takes: it came by a transport
// that takes more, or a header MAC is new because it comes from a peer (P-tr-5).
func (c *Conn) outgrown(o *transport.Message) bool {
	most := int(c.most)
	return len(o.B)+len(o.Header) > most && o.Len() > most
}

// turnsAway counts message b that must not even wait for c, and reports so.
func (c *Conn) turnsAway(b []byte, buf *pool.Buf) bool {
	l := c.loop
	n := costOf(b, buf)
	r := c.q.refuses(n, l.node.opt.ConnBuffer, l.rules.SlowConsumer)
	if r == reasonNone && l.queued.Over(n) > l.node.mostQueued() && !l.makesRoom(c, n) {
		r = ReasonQueued
	}
	if r == reasonNone {
		return false
	}
	l.n.drop(r)
	c.q.lost++
	c.missed()
	return true
}

// share returns message b in counted memory with its parcel, one reference of which is the caller's: b's own Buf if it
// has one, else a copy, the only one the message ever gets.
func share(b []byte, buf *pool.Buf, m *wire.Message, k *hop.Known, src *Conn) *pool.Buf {
	return src.loop.share(b, buf, m, &k.Header, src, src.service.asked.Load())
}

// share is share on any loop, for a message with header hd.
func (l *loop) share(b []byte, buf *pool.Buf, m *wire.Message, hd *hop.Header, src *Conn, asked bool) *pool.Buf {
	if buf == nil {
		buf = l.net.Stock().Get(len(b))
		buf.B = append(buf.B, b...)
	} else {
		buf.Retain()
	}
	p, ok := buf.Aux.(*parcel)
	if !ok {
		p = new(parcel)
		buf.Aux = p
	}
	p.m, p.hd, p.cost, p.src, p.filter, p.asked = *m, *hd, costOf(b, buf), src, src.filter, asked
	return buf
}

// signPairs signs a header that is new to the receivers of a fan-out in pairs.
//
// It is work in advance: whose signing panics is found out when its own header is made.
func (l *loop) signPairs(ts []*Conn, k *hop.Known) {
	defer func() { _ = recover() }()
	pairs := l.hops.Sign(k)
	for _, t := range ts {
		if t.loop == l && t.state == active && !t.q.stalled {
			pairs.Add(&t.link)
		}
	}
}

// credit gives sender c of any loop n bytes back; negative n: charges it.
func (l *loop) credit(c *Conn, n int) {
	switch {
	case c == nil || n == 0:
	case c.loop == l:
		c.release(n)
	default:
		c.returned.Add(int64(n))
		l.notify(c)
	}
}

// notify has sender c of another loop look at what was left for it.
func (l *loop) notify(c *Conn) {
	if !c.notified.Swap(true) {
		l.port.Push(c.loop.port, event{to: c})
	}
}

// serveRings serves what other loops have left, until the budget is spent.
func (l *loop) serveRings() {
	l.left = true
	for !l.budget.spent {
		if l.at == l.end {
			if l.at, l.end = 0, l.port.Next(l.events[:]); l.end == 0 {
				l.left = false
				return
			}
			l.batch++
		}
		for l.at < l.end && !l.budget.spent {
			e := l.events[l.at]
			if e.bundle != nil && !l.serveBundle(e.bundle) {
				continue // the rest has its turn later
			}
			l.events[l.at] = event{}
			l.at++ // first: a panic costs this event only
			if e.bundle != nil {
				l.endBundle(e.bundle)
				continue
			}
			if e.to != nil && e.buf != nil && len(l.fanouts.of) == 0 {
				w := weightOf(e.buf)
				l.takeOne(e) // the usual case
				l.budget.deliver(1, w)
				continue
			}
			l.take(e)
		}
	}
}

// take is step 8 for one event of another loop.
func (l *loop) take(e event) {
	switch {
	case e.buf == nil:
		e.to.notified.Store(false)
		e.to.release(int(e.to.returned.Swap(0)))
		e.to.advanceTo(int(e.to.advanced.Swap(0)))
	case e.to == nil:
		l.fan(e.buf)
	case l.fanouts.waits(e.buf.Aux.(*parcel).src):
		l.lineUp(e.buf.Aux.(*parcel).src, e)
	default:
		l.budget.deliver(1, weightOf(e.buf))
		l.takeOne(e)
		return
	}
	l.budget.step(moveSteps)
}

// takeOne delivers a message for one receiver, whose sender is charged with it.
func (l *loop) takeOne(e event) {
	p := e.buf.Aux.(*parcel)
	src, cost := p.src, p.cost // accept may give the memory back
	l.out.Set(e.buf.B, e.buf, &p.m)
	if e.to.accept(e.buf, p) {
		l.credit(src, cost)
	}
}

// accept takes a message in counted memory, set in loop.out, with a reference; its sender is charged. It reports
// whether the sender's credit is due now.
func (c *Conn) accept(buf *pool.Buf, p *parcel) (settled bool) {
	done := false
	defer func() { // the boundary of c's faults
		if !done {
			settled = c.misdelivered(recover(), buf)
		}
	}()
	settled = true
	switch {
	case c.dead.Load():
		c.loop.n.drop(ReasonGone)
	case c.q.len() == 0 && c.put(c.link.Header(p.m.Header.Of(buf.B), &p.hd)):
		if p.asked {
			p.src.service.note()
		}
	case c.turnsAway(buf.B, buf):
	default:
		settled = !c.enqueue(buf, true)
		done = true
		return settled
	}
	done = true
	buf.Release()
	return true
}
