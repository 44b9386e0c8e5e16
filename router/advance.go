package router

// While it is not known yet whether a receiver for which others wait is stalled, its senders go on at the pace that is
// asked of it, as if it took just that: a group does not come to a stop for a member that may be about to return a
// window, and whoever sends less than that does not wait at all. Rules: P-press-7.
//
//	oldest                                      newest
//	[ queued | charged, passed | charged          ]     each message passed lets its sender send as much once more
//	                            └ passes with what the receiver is behind the floor

// advance is how far a receiver has let its senders go on. Owned by the loop of the receiver.
type advance struct {
	passed int // so many messages come first in senders' lane that have been seen
	lent   int // memory of those that were charged, bytes: no more than the receiver is behind, nor than twice ConnBuffer
}

// framing is what a transport may add to a message, in bytes.
const framing = 16

// goOn lets senders that wait for c send as much more as c is behind, counted in memory.
func (c *Conn) goOn() {
	l, q := c.loop, &c.q
	a := &q.advance
	limit := min(q.watch.Behind(), 2*l.node.opt.ConnBuffer)
	a.lent = min(a.lent, limit) // what c has taken since then has made room
	var src *Conn
	n := 0 // bytes of src's
	for a.passed < q.n && l.queued.Over(0) <= 0 {
		it := q.at(a.passed)
		if it.charged {
			p := it.buf.Aux.(*parcel)
			if a.lent+p.cost > limit {
				break
			}
			a.lent += p.cost
			if p.src != src {
				l.advance(src, n)
				src, n = p.src, 0
			}
			n += len(it.buf.B) + framing
		}
		a.passed++
	}
	l.advance(src, n)
}

// advance lets sender c of any loop have n bytes to send, however much is charged to it. Several receivers that ask for
// it at the same time give it no more than one: all get the same messages.
func (l *loop) advance(c *Conn, n int) {
	switch {
	case n == 0:
	case c.loop == l:
		c.advanceTo(n)
	default:
		for was := c.advanced.Load(); was < int64(n); was = c.advanced.Load() {
			if c.advanced.CompareAndSwap(was, int64(n)) {
				l.notify(c)
				return
			}
		}
	}
}

// advanceTo lets c, of this loop, have n bytes to send.
func (c *Conn) advanceTo(n int) {
	if n > 0 && c.state != gone {
		defer c.guard() // it is not the receiver's fault
		c.stream.Advance(n)
	}
}
