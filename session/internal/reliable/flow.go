package reliable

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Copy is one that was handed over to be sent, until Sent is told what has become of it.
type Copy interface{ copyOf() }

// Fate is what has become of a copy.
type Fate uint8

const (
	Departed Fate = iota // it is on its way
	Refused              // there was no room for it: it is handed over once more, which does not count as a repeat
	Dropped              // there is no way at the moment: nobody can have answered it
	Rejected             // it can never be sent
)

// Sent notes what has become of a copy: each one that was handed over is told of once. The time in which it is to be acknowledged begins
// when it has left.
func (s *Sender[H]) Sent(c Copy, fate Fate, now time.Time) {
	f := c.(*flight[H])
	f.out--
	s.out--
	s.ahead -= f.size
	f.said, f.refused = fate == Departed, fate == Refused
	switch fate {
	case Departed:
		s.shut = false
	case Dropped:
		s.shut = s.o.Interval > 0
	}
	switch {
	case f.out > 0 || f.listed || f.gone || f.late:
	case s.o.Interval == 0: // nobody acknowledges it
		if fate != Departed {
			s.excuseAll(f)
		}
		s.report(f)
		s.drop(f)
	case fate == Rejected: // who asks for it hears that it is gone, and waits no longer
		s.excuseAll(f)
		f.lacking, f.owed = bitset{}, nil
		s.settle(f)
	case f.deadline.IsZero():
		s.rest(f, now)
	}
	s.pump(now)
}

// excuseAll reports f as not delivered to those who lack it.
func (s *Sender[H]) excuseAll(f *flight[H]) {
	for slot := range f.lacking.all() {
		f.missing = append(f.missing, s.slots[slot].name)
	}
}

// rest begins the time in which f is to be acknowledged.
func (s *Sender[H]) rest(f *flight[H], now time.Time) {
	f.deadline = now.Add(s.o.Interval)
	s.queue.Push(timed[H]{f, f.deadline})
}

// hand hands a copy over.
func (s *Sender[H]) hand(f *flight[H], t Transmission) {
	f.out++
	s.out++
	s.ahead += f.size
	t.ID, t.Payload, t.Copy = f.id, &f.payload, f
	to := &f.first
	if to.Copy != nil { // its place is taken
		to = new(Transmission)
	}
	*to = t
	s.Out = append(s.Out, Output[H]{Send: to})
}

// pump hands over what there is room for.
func (s *Sender[H]) pump(now time.Time) {
	for s.ahead < Ahead || s.out < aheadCopies {
		q := &s.asked
		if q.Len() == 0 {
			q = &s.again
		}
		if q.Len() == 0 {
			q = &s.fresh
		}
		if q.Len() == 0 {
			return
		}
		f := q.Front()
		switch {
		case f.gone || f.late:
		case s.shut:
			if f.out == 0 {
				f.said = false
				s.rest(f, now)
			}
			f.listed = false
			q.Pop()
			continue
		case f.fresh && f.to == (wire.NameText{}):
			s.apart = 0
			s.hand(f, Transmission{Everyone: true, First: s.first()})
		case f.fresh:
			s.apart++
			s.hand(f, Transmission{To: f.to})
		default:
			if slot, asked, ok := f.next(); ok {
				if s.apart++; s.apart >= mostApart && len(s.peers) > 1 && f.to == (wire.NameText{}) {
					s.apart = 0
					f.todo, f.replies = bitset{}, bitset{}
					s.hand(f, Transmission{Everyone: true, First: s.first()})
					continue
				}
				e := s.slots[slot]
				t := Transmission{To: e.name, Reply: asked}
				if !asked {
					t.First = e.unknown()
				}
				s.hand(f, t)
				continue // there may be more of them
			}
			if f.out == 0 && f.deadline.IsZero() && s.o.Interval > 0 {
				s.rest(f, now)
			}
		}
		f.fresh, f.listed = false, false
		q.Pop()
	}
}

// reach notes that e has answered for a message.
func (e *endpoint) reach(number uint64, now time.Time) {
	if number > e.reached {
		e.reached, e.at = number, now
	}
}

// due is when f is to be repeated to e: an interval after it has left, or after e has answered for what was sent before, if it was
// nothing later. So a way on which messages wait for those before them, as slow ones do, is not made slower by repeats.
func (s *Sender[H]) due(f *flight[H], e *endpoint) time.Time {
	if f.number > e.reached {
		if at := e.at.Add(s.o.Interval); at.After(f.deadline) {
			return at
		}
	}
	return f.deadline
}

// front returns the flight whose time ends first.
func (s *Sender[H]) front() (t timed[H], ok bool) {
	for s.queue.Len() > 0 {
		if t = s.queue.Front(); t.current() {
			return t, true
		}
		s.queue.Pop()
	}
	return t, false
}

// hold puts a flight aside whose time is over, and that everybody who lacks it has come near to: it is due at a time to come, and keeps
// nothing behind it back until then.
func (s *Sender[H]) hold(t timed[H]) {
	s.held = append(s.held, t)
	for slot := range t.f.lacking.all() {
		e := s.slots[slot]
		e.holds = true
		if d := s.due(t.f, e); s.heldAt.IsZero() || d.Before(s.heldAt) {
			s.heldAt = d
		}
	}
}

// release returns what was put aside, and keeps none. The list is lent until forget.
func (s *Sender[H]) release() []timed[H] {
	list := s.held
	s.held, s.heldBefore, s.heldAt = s.heldBefore[:0], list, time.Time{}
	for _, e := range s.slots {
		if e != nil {
			e.holds = false
		}
	}
	return list
}

// answered looks after what was put aside for e, who has answered: what was sent before that may be due now.
func (s *Sender[H]) answered(e *endpoint) {
	if !e.holds {
		return
	}
	list := s.release()
	for _, t := range list {
		if t.current() {
			s.hold(t)
		}
	}
	s.forget(list)
}

// forget ends what release has lent.
func (s *Sender[H]) forget(list []timed[H]) {
	if clear(list); cap(list) > keptQueue {
		s.heldBefore = nil
	}
}

// Deadline returns when Tick is due; zero: never.
func (s *Sender[H]) Deadline() time.Time {
	at := s.heldAt
	if t, ok := s.front(); ok && (at.IsZero() || t.at.Before(at)) {
		at = t.at
	}
	return at
}

// Tick repeats what is due, and gives up what was repeated as often as it may be.
func (s *Sender[H]) Tick(now time.Time) {
	s.shut = false
	var due []*flight[H]
	if !s.heldAt.IsZero() && !s.heldAt.After(now) {
		list := s.release()
		for _, t := range list {
			if t.current() {
				due = s.expire(t, due, now)
			}
		}
		s.forget(list)
	}
	for t, ok := s.front(); ok && !t.at.After(now); t, ok = s.front() {
		s.queue.Pop()
		due = s.expire(t, due, now)
	}
	slices.SortFunc(due, byNumber[H])
	for _, f := range due {
		s.again.Push(f)
	}
	s.pump(now)
}

// expire does what is due of a flight whose time is over. It is put with those that are to be repeated, if it is.
func (s *Sender[H]) expire(t timed[H], due []*flight[H], now time.Time) []*flight[H] {
	f := t.f
	var late bitset
	for slot := range f.lacking.all() {
		if !s.due(f, s.slots[slot]).After(now) {
			late.set(slot)
		}
	}
	if late.empty() {
		s.hold(t)
		return due
	}
	f.deadline = time.Time{}
	if f.listed || f.out > 0 { // a copy is on its way
		return due
	}
	switch {
	case f.tries == s.o.Retries && !f.refused:
		s.giveUp(f, late, now)
		return due
	case !f.refused:
		f.tries++
	}
	f.todo, f.listed = late, true
	return append(due, f)
}

func byNumber[H any](a, b *flight[H]) int { return cmp.Compare(a.number, b.number) }

// giveUp reports f as not delivered to those who lack it for so long, who are to be taken for offline if the last copy has left.
func (s *Sender[H]) giveUp(f *flight[H], late bitset, now time.Time) {
	for slot := range late.all() {
		name := s.slots[slot].name
		f.lacking.clear(slot)
		f.miss(name)
		if f.said {
			s.Out = append(s.Out, Output[H]{Silent: &name})
		}
	}
	if s.settle(f); !f.gone && !f.late { // others answer, one message after the other
		f.tries = 0
		s.rest(f, now)
	}
}

// Again repeats everything at once, in order: the connection had been lost, and is back.
func (s *Sender[H]) Again(now time.Time) {
	s.shut = false
	s.asked, s.again, s.fresh = fifo.Queue[*flight[H]]{}, fifo.Queue[*flight[H]]{}, fifo.Queue[*flight[H]]{}
	for _, f := range s.inOrder() {
		switch {
		case f.listed:
			s.again.Push(f)
		case f.out == 0:
			s.repeat(f)
		}
	}
	s.pump(now)
}

// repeat has f, of which no copy is on its way, handed over to each of those who lack it.
func (s *Sender[H]) repeat(f *flight[H]) {
	f.deadline, f.todo, f.listed = time.Time{}, f.lacking.clone(), true
	s.again.Push(f)
}

// unknown returns the first id of an endpoint that has not answered yet.
func (e *endpoint) unknown() uint32 {
	if e.known {
		return 0
	}
	return e.first
}
