package reliable

import (
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// UnderWay is a message that a sender keeps, as it is stored.
type UnderWay struct {
	ID      uint32
	To      wire.NameText // of one endpoint, out of order; zero: of all
	Payload Payload
}

// Keep has the sender note what changes, for Changes.
func (s *Sender[H]) Keep() { s.touched = map[uint32]struct{}{} }

// touch notes that a message has come, or is gone.
func (s *Sender[H]) touch(id uint32) {
	if s.touched != nil {
		s.touched[id] = struct{}{}
	}
}

// Changes calls f of each message that has come since the last call, or is under way no more: that is nil. What is kept for
// late requests only, and was reported as not delivered, is not under way.
func (s *Sender[H]) Changes(f func(id uint32, m *UnderWay)) {
	for id := range s.touched {
		if fl := s.flights[id]; fl != nil && !fl.late && (s.o.Interval > 0 || !fl.launched) {
			f(id, &UnderWay{ID: id, To: fl.to, Payload: fl.payload})
		} else {
			f(id, nil)
		}
	}
	clear(s.touched)
}

// First returns the first id in order that an endpoint gets; 0: there is no such endpoint.
func (s *Sender[H]) First(name wire.NameText) uint32 {
	if e := s.peers[name]; e != nil {
		return e.first
	}
	return 0
}

// Return makes name an endpoint whose stream began with first, as that of an earlier Sender.
func (s *Sender[H]) Return(name wire.NameText, first uint32, now time.Time) {
	s.Add(name, now)
	if e := s.peers[name]; first > 0 && first < idSpace {
		e.first = first
	}
}

// Resume sends messages again, under their ids, that an earlier Sender had under way: to all whose streams had begun by then.
// handle gives each its handle. It is called once, after Return of all endpoints, and not counted by Changes.
func (s *Sender[H]) Resume(ms []UnderWay, handle func(*UnderWay) H, now time.Time) {
	back := func(id uint32) uint32 { // how long ago it was published
		if id >= idSpace {
			return 0
		}
		return (s.next - id) % idSpace
	}
	slices.SortStableFunc(ms, func(a, b UnderWay) int { return int(back(b.ID)) - int(back(a.ID)) })
	for i := range ms {
		f := s.flight(ms[i].ID, ms[i].Payload, handle(&ms[i]))
		f.to = ms[i].To
		s.resume(f, now)
	}
	clear(s.touched)
	s.pump(now)
}

func (s *Sender[H]) resume(f *flight[H], now time.Time) {
	switch {
	case f.id < idSpace && len(s.peers) == 0:
		s.waiting = append(s.waiting, f)
		return
	case f.id < idSpace && s.o.Interval == 0:
		s.launch(f, now)
		return
	}
	f.launched = true
	for slot, e := range s.slots {
		if e != nil && (f.to == e.name || f.id < idSpace && !after(e.first, f.id)) {
			f.lacking.set(slot)
		}
	}
	if f.lacking.empty() { // nobody is left who was there then
		if f.id >= idSpace {
			f.missing = append(f.missing, f.to)
		}
		s.settle(f)
		return
	}
	s.repeat(f)
}

// Position is how far a source's stream has come, as it is stored.
type Position struct {
	Name  wire.NameText
	Begun bool     `json:",omitzero"`
	Tag   uint32   `json:",omitzero"`
	First uint32   `json:",omitzero"`
	Last  uint32   `json:",omitzero"`
	High  uint32   `json:",omitzero"`
	Quiet uint32   `json:",omitzero"`
	Apart []uint32 `json:",omitzero"`

	Missed []Span `json:",omitzero"` // ids that were given up
	Unsure uint32 `json:",omitzero"`
}

// Keep has the receiver note what changes, for Changes.
func (r *Receiver[T]) Keep() { r.touched = map[*source[T]]struct{}{} }

// touch notes that a source's position may have changed.
func (r *Receiver[T]) touch(s *source[T]) {
	if r.touched != nil {
		r.touched[s] = struct{}{}
	}
}

// Changes calls f of each source whose position has changed since the last call, by a number that it has for good. nil: it was
// forgotten.
func (r *Receiver[T]) Changes(f func(number uint64, p *Position)) {
	for s := range r.touched {
		switch p := s.position(); {
		case s.forgotten:
			f(s.number, nil)
		case p.Last != s.kept.Last || p.High != s.kept.High || p.Begun != s.kept.Begun || p.Quiet != s.kept.Quiet || s.fresh:
			s.kept, s.fresh = p, false
			p.Apart, p.Missed = slices.Collect(s.apart.All()), s.missed
			f(s.number, &p)
		}
	}
	clear(r.touched)
}

// position is that of s, without what came out of order.
func (s *source[T]) position() Position {
	return Position{Name: s.name, Begun: s.begun, Tag: s.tag, First: s.first, Last: s.last, High: s.high, Quiet: s.quiet, Unsure: s.unsure}
}

// Restore begins a source where an earlier Receiver had come to. What that one had asked for, or held, is asked for by the
// next Tick.
func (r *Receiver[T]) Restore(number uint64, p *Position, now time.Time) {
	s := &source[T]{
		name: p.Name, number: number, begun: p.Begun, tag: p.Tag, first: p.First, last: p.Last, high: p.High, quiet: p.Quiet,
		missed: p.Missed, unsure: p.Unsure,
	}
	r.numbers = max(r.numbers, number+1)
	r.sources[p.Name] = s
	for _, id := range p.Apart {
		s.apart.Push(id)
	}
	s.kept = s.position()
	if (s.high-s.last)%idSpace > Window {
		s.high = s.last
	}
	for missing := (s.last + 1) % idSpace; after(s.high, s.last) && missing != (s.high+1)%idSpace; missing = (missing + 1) % idSpace {
		g := &gap[T]{of: s, id: missing, deadline: now}
		if s.gaps == nil {
			s.gaps = map[uint32]*gap[T]{}
		}
		s.gaps[missing] = g
		r.gaps.Push(g)
	}
}
