package router

import (
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// A message for many receivers is delivered in slices, so that no callback holds its loop for longer than turnBudget, and
// sockets get their turn in between. What must not overtake it waits in the line of its sender; the lines of a loop are
// served in turns, a message each, so that a sender of many such messages keeps no other waiting.
//
//	publish ──▶ fits into the budget: at once                  fanout of the loop, a slice a turn
//	   └──────▶ line of the sender, on its own loop ──turn──▶    │ receivers of this loop
//	                                                             └ one event for each other loop
//	rings ─────▶ at once, or the line of the sender, on this loop
//
// A sender is charged with each of its messages that waits, or is under way, once for each loop; credit returns when the
// last receiver of the loop has been served.

// line holds what waits of one sender on one loop, in order.
type line struct {
	src    *Conn
	events fifo[event]
	marked int // of these, the first ones that were there at fanouts.mark
}

// fanouts are those of one loop. Owned by it.
type fanouts struct {
	of    map[*Conn]*line // whose messages wait, or whose message is under way and was interrupted
	order fifo[*line]     // those with events
	spare []*line         // not in use
	now   fanout          // under way

	marked int // in all lines
}

// fanout is a message on its way to all who match on this loop.
type fanout struct {
	buf     *pool.Buf // one reference; nil: none is under way
	targets []*Conn   // of this loop; [at:] are still to be served
	at      int
	marked  bool // it was there at fanouts.mark
}

// idle reports whether nothing waits and nothing is under way.
func (f *fanouts) idle() bool { return f.now.buf == nil && f.order.len() == 0 }

// mark notes what waits and what is under way, for passed.
func (f *fanouts) mark() {
	f.marked = 0
	for _, n := range f.of {
		n.marked = n.events.len()
		f.marked += n.marked
	}
	f.now.marked = f.now.buf != nil
}

// passed reports whether everything noted by mark has been served. What came after that does not count.
func (f *fanouts) passed() bool { return f.marked == 0 && !f.now.marked }

// take takes the first event of a line.
func (f *fanouts) take(n *line) (e event, marked bool) {
	if marked = n.marked > 0; marked {
		n.marked--
		f.marked--
	}
	return n.events.pop(), marked
}

// later puts a message of c, of this loop, after its earlier ones.
func (c *Conn) later(buf *pool.Buf) {
	c.sending++
	c.hold(buf.Aux.(*parcel).cost)
	c.loop.lineUp(c, event{buf: buf})
	c.loop.runLines()
}

// lineUp puts e, a message of src, into its line, with its reference and the charge of its sender.
func (l *loop) lineUp(src *Conn, e event) {
	f := &l.fanouts
	n := f.of[src]
	if n == nil {
		n = f.open(src)
	}
	if n.events.push(e); n.events.len() == 1 && (f.now.buf == nil || f.now.src() != src) {
		f.order.push(n)
	}
}

func (f *fanouts) open(src *Conn) *line {
	var n *line
	if k := len(f.spare); k > 0 {
		n, f.spare = f.spare[k-1], f.spare[:k-1]
	} else {
		n = new(line)
	}
	n.src = src
	if f.of == nil {
		f.of = map[*Conn]*line{}
	}
	f.of[src] = n
	return n
}

// turn ends the turn of src, one of whose messages has been served: it has another after the other lines, or no line any
// more.
func (f *fanouts) turn(src *Conn) {
	n := f.of[src]
	switch {
	case n == nil:
	case n.events.len() > 0:
		f.order.push(n)
	default:
		delete(f.of, src)
		if n.src = nil; len(f.spare) < 64 {
			f.spare = append(f.spare, n)
		}
	}
}

// waits reports whether messages of src wait on this loop: later ones must not overtake them.
func (f *fanouts) waits(src *Conn) bool { return len(f.of) > 0 && f.of[src] != nil }

// runLines goes on with what waits, until the budget is spent. It reports whether nothing is left.
func (l *loop) runLines() (done bool) {
	f := &l.fanouts
	for !f.idle() {
		if l.budget.spent {
			return false
		}
		if f.now.buf != nil {
			l.goOn()
			continue
		}
		n := f.order.pop()
		e, marked := f.take(n)
		l.serve(n.src, e, marked)
	}
	return true
}

// serve begins with the first message of a line.
func (l *loop) serve(src *Conn, e event, marked bool) {
	if e.to == nil && e.buf.Aux.(*parcel).hd.Fanout != 1 {
		l.begin(e.buf)
		l.fanouts.now.marked = marked
		return
	}
	defer l.fanouts.turn(src) // after a panic, too
	l.budget.deliver(1, weightOf(e.buf))
	if e.to == nil {
		l.routeOne(e.buf)
	} else { // from a ring
		l.takeOne(e)
	}
}

// fan takes a fan-out that has come from another loop.
func (l *loop) fan(buf *pool.Buf) {
	if l.fanouts.idle() && !l.budget.spent { // the usual case: no line
		l.begin(buf)
		if l.goOn(); l.fanouts.now.buf == nil {
			return
		}
		l.fanouts.open(l.fanouts.now.src()) // interrupted
		return
	}
	l.lineUp(buf.Aux.(*parcel).src, event{buf: buf})
}

// src is the sender of the message that is under way.
func (f *fanout) src() *Conn { return f.buf.Aux.(*parcel).src }

// begin makes a message the one that is under way: it finds the receivers on this loop and, if it is of this loop, sends
// it to the loops of the others.
func (l *loop) begin(buf *pool.Buf) {
	f := &l.fanouts.now
	f.buf, f.at = buf, 0
	p := buf.Aux.(*parcel)
	f.targets = l.node.names.MatchAll(&p.hd.Dest.Name, p.src, p.filter, f.targets[:0])
	l.budget.step(moveSteps * (1 + len(f.targets)))
	own := 0
	away := l.targets[:0]
	for _, t := range f.targets {
		if t.loop == l {
			f.targets[own] = t
			own++
		} else if p.src.loop == l {
			away = append(away, t)
		}
	}
	clear(f.targets[own:])
	f.targets = f.targets[:own]
	switch {
	case p.src.loop != l:
		if own == 0 { // it was sent here for receivers that have left since then
			l.n.drop(ReasonGone)
		}
		return
	case own+len(away) == 0:
		l.noMatch(buf, p)
	}
	l.sendAway(buf, away)
	clear(away)
	l.targets = away[:0]
}

// noMatch counts a message that has waited, of a sender of this loop, and that reaches nobody.
func (l *loop) noMatch(buf *pool.Buf, p *parcel) {
	p.src.drop(ReasonNoMatch)
	p.src.logDeath(ReasonNoMatch, p.m.Header.Of(buf.B), &p.hd.Header)
}

// goOn serves receivers of the message under way until the budget is spent, or all are served.
func (l *loop) goOn() {
	f := &l.fanouts.now
	p := f.buf.Aux.(*parcel)
	l.out.Set(f.buf.B, f.buf, &p.m)
	w := weightOf(f.buf)
	for f.at < len(f.targets) {
		l.next(f, p)
		if l.budget.deliver(1, w) && f.at < len(f.targets) {
			return
		}
	}
	l.endFanout()
}

// next serves one receiver with message p, in loop.out.
func (l *loop) next(f *fanout, p *parcel) {
	t := f.targets[f.at]
	f.targets[f.at] = nil
	f.at++
	if !t.dead.Load() && t.repeats(f.buf.B, &p.m, &p.hd.Header, true) { // it has gone over the link that t replaces, or the other way round
		return
	}
	f.buf.Retain()
	if !t.accept(f.buf, p) {
		l.credit(p.src, -p.cost) // the queue has charged it; the fan-out's own charge goes on
	}
	if l.out.Buf != f.buf || l.out.Parts != &p.m { // a queue has used it
		l.out.Set(f.buf.B, f.buf, &p.m)
	}
}

// endFanout gives back what the message under way has held.
func (l *loop) endFanout() {
	f := &l.fanouts.now
	p := f.buf.Aux.(*parcel)
	src, cost := p.src, p.cost
	f.buf.Release()
	f.buf, f.marked = nil, false
	if f.targets = f.targets[:0]; cap(f.targets) > 4096 {
		f.targets = nil
	}
	l.settled(src, cost)
}

// settled ends the wait of a message of src on this loop: it has left, or died, or its queue has charged the sender anew.
func (l *loop) settled(src *Conn, cost int) {
	if src.loop == l {
		src.sending--
	}
	l.fanouts.turn(src)
	l.credit(src, cost)
}

// routeOne delivers a message to one receiver that waited for earlier ones of its sender, of this loop.
func (l *loop) routeOne(buf *pool.Buf) {
	p := buf.Aux.(*parcel)
	src, cost := p.src, p.cost
	src.sending--
	t := l.node.names.MatchOne(&p.hd.Dest.Name, src, p.filter)
	if t != nil && unfit(t) {
		t = l.matchFit(&p.hd.Dest.Name, src, p.filter, t)
	}
	l.out.Set(buf.B, buf, &p.m)
	switch {
	case t == nil:
		l.noMatch(buf, p)
		buf.Release()
	case t.loop != l:
		l.push(t.loop, event{to: t, buf: buf}) // with the charge
		return
	case !t.accept(buf, p):
		return // the queue has the charge
	}
	l.credit(src, cost)
}

// budget bounds what one callback does for others than its socket: when it is spent, the rest is left for another turn.
// The clock is read seldom; what is only staged is written after it was read, and so bounded in bytes. Owned by its
// loop.
type budget struct {
	now   func() time.Time
	steps int       // what was done since the clock was read
	bytes int       // weight of what was delivered in this callback
	until time.Time // zero: it was not read in this callback
	spent bool
}

// What is done in steps, some 10 ns each.
const (
	moveSteps    = 1                        // an event is moved, a receiver found
	deliverSteps = 8                        // a message is given to one receiver
	lookSteps    = lookEvery * deliverSteps // the clock is read
	stepBytes    = 1 << 10                  // weight that makes a step more
)

// turnBytes is the weight that one callback delivers: what a slow machine copies in turnBudget.
const turnBytes = 4 << 20

// weight is the bytes that a message of n bytes with a header of so many costs for each receiver. A header that links
// do not remember (P-lim-5) is copied and hashed each time, which takes four times as long as to write it.
func weight(n, header int) int {
	if header > longHeader {
		n += 3 * header
	}
	return n
}

const longHeader = 4 << 10

// weightOf is the weight of a message in counted memory.
func weightOf(b *pool.Buf) int { return weight(len(b.B), b.Aux.(*parcel).m.Header.Len()) }

// deliver counts a message of that weight that was given to so many receivers, and reports whether the budget is spent.
func (b *budget) deliver(receivers, weight int) bool {
	if b.bytes += receivers * weight; b.bytes > turnBytes {
		b.spent = true
	}
	return b.step(receivers * (deliverSteps + weight/stepBytes))
}

// step counts n steps and reports whether the budget is spent.
func (b *budget) step(n int) bool {
	if b.steps += n; b.steps < lookSteps {
		return b.spent
	}
	return b.look()
}

func (b *budget) look() bool {
	b.steps = 0
	if now := b.now(); b.until.IsZero() {
		b.until = now.Add(turnBudget)
	} else if !now.Before(b.until) {
		b.spent = true
	}
	return b.spent
}

// renew is for the end of a callback.
func (b *budget) renew() { b.steps, b.bytes, b.until, b.spent = 0, 0, time.Time{}, false }

// fifo is a queue in one piece of memory.
type fifo[T any] struct {
	items []T // [head:] are queued
	head  int
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }

// pop takes the oldest; there is one.
func (q *fifo[T]) pop() T {
	var zero T
	v := q.items[q.head]
	q.items[q.head] = zero
	q.head++
	switch n := q.len(); {
	case n == 0:
		if q.items, q.head = q.items[:0], 0; cap(q.items) > 1024 {
			q.items = nil
		}
	case q.head >= 64 && q.head > n: // so that each value is moved once, if at all
		clear(q.items[copy(q.items, q.items[q.head:]):])
		q.items, q.head = q.items[:n], 0
	}
	return v
}
