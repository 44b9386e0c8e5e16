package router

import (
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// fanout is a message for all who match on this loop, delivered in slices so that sockets get their turn. Its sender is
// charged with the message until the last slice. Messages of one sender follow each other in the loop's list, so none
// overtakes another.
type fanout struct {
	buf     *pool.Buf // one reference
	targets []*Conn   // of this loop; [at:] are still to be served
	at      int
	matched bool // targets are known
}

// later puts a message of c, of this loop, after its earlier ones.
func (c *Conn) later(buf *pool.Buf) {
	c.sending++
	c.hold(buf.Aux.(*parcel).cost)
	c.loop.addFanout(buf)
}

// addFanout takes over a reference to buf, and the charge of its sender.
func (l *loop) addFanout(buf *pool.Buf) {
	var f *fanout
	if n := len(l.spare); n > 0 {
		f, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		f = new(fanout)
	}
	f.buf = buf
	l.fanouts = append(l.fanouts, f)
}

// runFanouts goes on with fan-outs, oldest first, until the budget is spent. It reports whether all are done.
func (l *loop) runFanouts(until time.Time) (done bool) {
	for len(l.fanouts) > 0 {
		f := l.fanouts[0]
		if !f.matched {
			l.matchFanout(f)
		}
		for f.at < len(f.targets) {
			l.next(f)
			if f.at%lookEvery == 0 && !time.Now().Before(until) {
				return false
			}
		}
		l.fanouts = slices.Delete(l.fanouts, 0, 1)
		l.endFanout(f)
		if !time.Now().Before(until) {
			return len(l.fanouts) == 0
		}
	}
	return true
}

// matchFanout finds the targets of this loop and sends the message to the loops of the others, if it began here.
func (l *loop) matchFanout(f *fanout) {
	f.matched = true
	p := f.buf.Aux.(*parcel)
	if p.hd.Fanout == 1 {
		l.routeOne(f, p)
		return
	}
	f.targets = l.node.names.MatchAll(&p.hd.Dest.Name, p.src, p.filter, f.targets[:0])
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
	if p.src.loop == l {
		if own+len(away) == 0 {
			p.src.drop(ReasonNoMatch)
			p.src.logDeath(ReasonNoMatch, p.m.Header.Of(f.buf.B), &p.hd.Header)
		}
		l.sendAway(f.buf, away)
		clear(away)
		l.targets = away[:0]
	}
	clear(f.targets[own:])
	f.targets = f.targets[:own]
}

// routeOne is matchFanout for a message to one receiver, which waited for an earlier fan-out of its sender.
func (l *loop) routeOne(f *fanout, p *parcel) {
	t := l.node.names.MatchOne(&p.hd.Dest.Name, p.src, p.filter)
	if t != nil && unfit(t) {
		t = l.matchFit(&p.hd.Dest.Name, p.src, p.filter, t)
	}
	switch {
	case t == nil:
		p.src.drop(ReasonNoMatch)
		p.src.logDeath(ReasonNoMatch, p.m.Header.Of(f.buf.B), &p.hd.Header)
	case t.loop == l:
		f.targets = append(f.targets[:0], t)
	default:
		f.buf.Retain()
		l.credit(p.src, -p.cost)
		l.port.Push(t.loop.port, event{to: t, buf: f.buf})
	}
}

// next serves one target.
func (l *loop) next(f *fanout) {
	t := f.targets[f.at]
	f.targets[f.at] = nil
	f.at++
	p := f.buf.Aux.(*parcel)
	f.buf.Retain()
	if !t.accept(f.buf, p) {
		l.credit(p.src, -p.cost) // the queue has charged it; the fan-out's own charge goes on
	}
}

func (l *loop) endFanout(f *fanout) {
	p := f.buf.Aux.(*parcel)
	src, cost := p.src, p.cost
	f.buf.Release()
	f.targets = f.targets[:0]
	if cap(f.targets) > 4096 {
		f.targets = nil
	}
	f.buf, f.at, f.matched = nil, 0, false
	if len(l.spare) < 64 {
		l.spare = append(l.spare, f)
	}
	if src.loop == l {
		src.sending--
	}
	l.credit(src, cost)
}
