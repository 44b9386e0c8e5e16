package router

import (
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Short messages that go to one receiver each, on another loop, travel in bundles: memory that crosses from one
// processor to another costs least when it is read in the order in which it was written, and what has to be counted,
// pushed and given back is so once for many messages.
//
//	publish ──▶ open bundle for the loop ── full, end of the batch, or another event for that loop ──▶ ring
//	                                                                                                   │
//	 freed bundles ◀── all served ── in order, until the budget is spent: put, or copied where it waits ◀┘
//
// Nothing that waits holds a bundle: it would hold its neighbours' memory, too. Senders are charged with each message
// while it is under way, as if it had memory of its own, which it gets where it waits. Who travels alone, a long
// message or one for many, stays in order: the open bundle goes before it.
//
// Both the bytes and what describes them come by turns from more memory than a cache has (pool.Local.GetCrossing): a
// store into a line that another processor has just read costs several times what else is done with a message, and
// stores wait for each other.

const (
	maxBundle      = 32 << 10 // bytes of a bundle
	maxBundled     = 4 << 10  // longest message that is bundled
	bundleItems    = 128      // most messages of a bundle
	bundlesUnder   = 256      // most bundles of a loop that are under way; beyond, messages travel alone
	bundlesAtRest  = 64       // that it keeps, and as many are made before one is used again
	leastBundleCap = 8        // messages that a new one has room for
)

// bundle is messages for connections of one loop, in the order in which they came. It belongs to the loop that packs it
// until it is pushed, and then to the other one until that gives it back.
type bundle struct {
	buf   *pool.Buf // one reference: the messages, one after the other
	items []bundled
	heads []bundledHead
	home  *bundles
	next  *bundle // in home.back

	// Of the loop that serves it.
	at  int   // items[at:] are still to be served
	src *Conn // is owed
	due int   // so many bytes of credit
}

// bundled is one message.
type bundled struct {
	to        *Conn
	m         wire.Message
	from, end uint32 // in bundle.buf
	cost      int32  // its sender is charged with that
	head      int32  // in bundle.heads
	asked     bool   // as in a parcel
}

// bundledHead is the header of one message or several in a row.
type bundledHead struct {
	hd  hop.Header // offsets into the header inside each message
	src *Conn
}

// bundles are those of one loop. Owned by it, but for back.
type bundles struct {
	to    []packing     // by the index of the other loop
	open  int           // of these
	free  fifo[*bundle] // by turns, as their memory
	under int           // under way, or open

	back atomic.Pointer[bundle] // those that others have served, linked by next; safe for all
}

// packing is what is being packed for one other loop.
type packing struct {
	loop *loop
	open *bundle // nil: none
	size int     // bytes packed in the last batch that had any: the next one needs as much
	sum  int     // bytes packed in this batch, without the open bundle
}

// pack puts message b of src, in loop.msg, with header k, into the bundle for t's loop, and charges src with it. b is
// copied. false: it has to travel alone.
func (l *loop) pack(t *Conn, b []byte, k *hop.Known, src *Conn) bool {
	p := &l.bundles.to[t.loop.index]
	x := p.open
	if x == nil || len(b) > cap(x.buf.B)-len(x.buf.B) || len(x.items) == bundleItems {
		if x = l.openBundle(p, t.loop, len(b)); x == nil {
			return false
		}
	}
	head := len(x.heads) - 1
	if head < 0 || x.heads[head].src != src || !x.heads[head].hd.Same(k) {
		x.heads = append(x.heads, bundledHead{})
		head++
		h := &x.heads[head]
		h.hd, h.src = k.Header, src
	}
	n := len(x.items)
	if n < cap(x.items) {
		x.items = x.items[:n+1]
	} else {
		x.items = append(x.items, bundled{})
	}
	cost := costOf(b, nil)
	from := len(x.buf.B)
	x.buf.B = append(x.buf.B, b...)
	i := &x.items[n]
	i.to, i.m, i.from, i.end = t, l.msg, uint32(from), uint32(from+len(b))
	i.cost, i.head, i.asked = int32(cost), int32(head), src.service.asked.Load()
	src.hold(cost)
	return true
}

// openBundle opens a bundle for another loop, with room for n bytes; nil: too many are under way.
func (l *loop) openBundle(p *packing, to *loop, n int) *bundle {
	s := &l.bundles
	size := p.size
	if p.open != nil { // it is full
		l.ship(p)
		size = max(size, 2*p.sum)
	}
	x := s.take()
	if x == nil {
		return nil
	}
	if stock := l.net.Stock(); size > maxBundle/2 {
		x.buf = stock.GetCrossing(maxBundle)
	} else {
		x.buf = stock.Get(max(n, size))
	}
	p.loop, p.open = to, x
	s.open++
	return x
}

// ship pushes the open bundle for another loop.
func (l *loop) ship(p *packing) {
	x := p.open
	p.open = nil
	l.bundles.open--
	p.sum += len(x.buf.B)
	l.port.Push(p.loop.port, event{bundle: x})
}

// push pushes e to another loop, after what is packed for it.
func (l *loop) push(to *loop, e event) {
	if p := &l.bundles.to[to.index]; p.open != nil {
		l.ship(p)
	}
	l.port.Push(to.port, e)
}

// shipAll ends the packing of a batch.
func (l *loop) shipAll() {
	if l.bundles.open == 0 {
		return
	}
	for i := range l.bundles.to {
		p := &l.bundles.to[i]
		if p.open != nil {
			l.ship(p)
		}
		if p.sum > 0 {
			p.size, p.sum = p.sum, 0
		}
	}
}

// take takes an empty bundle; nil: too many are under way.
func (s *bundles) take() *bundle {
	if s.free.len() == 0 {
		s.collect()
	}
	if s.free.len() > 0 && s.free.len()+s.under >= bundlesAtRest {
		s.under++
		return s.free.pop()
	}
	if s.under >= bundlesUnder {
		return nil
	}
	s.under++
	return &bundle{home: s, items: make([]bundled, 0, leastBundleCap), heads: make([]bundledHead, 0, 1)}
}

// collect takes back what others have served.
func (s *bundles) collect() {
	if s.back.Load() == nil {
		return
	}
	for x := s.back.Swap(nil); x != nil; {
		next := x.next
		x.next = nil
		s.under--
		if s.free.len() < bundlesAtRest {
			s.free.push(x)
		}
		x = next
	}
}

// tidy has bundles that are not in use forget whom they were for.
func (s *bundles) tidy() {
	s.collect()
	for _, x := range s.free.items[s.free.head:] {
		clear(x.items[:cap(x.items)])
		clear(x.heads[:cap(x.heads)])
	}
}

// giveBack returns x, which is served, to the loop that has packed it.
func (x *bundle) giveBack() {
	s := x.home
	x.items, x.heads, x.at, x.src = x.items[:0], x.heads[:0], 0, nil
	for {
		x.next = s.back.Load()
		if s.back.CompareAndSwap(x.next, x) {
			return
		}
	}
}

// serveBundle serves x, which another loop has packed, until the budget is spent, and reports whether nothing is left.
func (l *loop) serveBundle(x *bundle) (done bool) {
	for x.at < len(x.items) && !l.budget.spent {
		l.serveItems(x) // again after a panic
	}
	l.credit(x.src, x.due)
	x.src, x.due = nil, 0
	return x.at == len(x.items)
}

// endBundle gives back what a bundle has held.
func (l *loop) endBundle(x *bundle) {
	buf := x.buf
	x.buf = nil
	x.giveBack()
	buf.Release()
}

// serveItems is serveBundle until a receiver panics.
func (l *loop) serveItems(x *bundle) {
	defer l.guardItem(x)
	for x.at < len(x.items) && !l.budget.spent {
		i := &x.items[x.at]
		h := &x.heads[i.head]
		x.at++ // first: a panic costs this message only
		if len(l.fanouts.of) > 0 && l.fanouts.waits(h.src) {
			l.lineUp(h.src, event{to: i.to, buf: l.unpack(x, i)}) // with the charge
			l.budget.step(moveSteps)
			continue
		}
		if l.deliverItem(x, i, h) {
			x.owe(l, h.src, int(i.cost))
		}
		l.budget.deliver(1, weight(int(i.end-i.from), i.m.Header.Len()))
	}
}

// deliverItem gives message i of x to its receiver, and reports whether the sender's credit is due now.
func (l *loop) deliverItem(x *bundle, i *bundled, h *bundledHead) (settled bool) {
	t, b := i.to, x.buf.B[i.from:i.end]
	l.out.Set(b, x.buf, &i.m)
	switch {
	case t.dead.Load():
		l.n.drop(ReasonGone)
	case t.q.len() == 0 && t.put(t.link.Header(i.m.Header.Of(b), &h.hd)):
		if i.asked {
			h.src.service.note()
		}
	case t.turnsAway(b, nil):
	default:
		d := &l.delivery
		d.lent = l.unpack(x, i)
		charged := t.enqueue(d.lent, true)
		d.lent = nil
		return !charged
	}
	return true
}

// guardItem, deferred around deliveries from x, is the boundary of their faults: a panic costs the receiver its socket.
func (l *loop) guardItem(x *bundle) {
	r := recover()
	if r == nil {
		return
	}
	i := &x.items[x.at-1]
	settled := i.to.misdelivered(r, l.delivery.lent)
	l.delivery.lent = nil
	if settled {
		x.owe(l, x.heads[i.head].src, int(i.cost))
	}
}

// unpack returns message i of x in memory of its own, as share does.
func (l *loop) unpack(x *bundle, i *bundled) *pool.Buf {
	h := &x.heads[i.head]
	return l.share(x.buf.B[i.from:i.end], nil, &i.m, &h.hd, h.src, i.asked)
}

// owe notes n bytes of credit for src: it gets them when another sender's message follows, or none.
func (x *bundle) owe(l *loop, src *Conn, n int) {
	if x.src != src {
		l.credit(x.src, x.due)
		x.src, x.due = src, 0
	}
	x.due += n
}
