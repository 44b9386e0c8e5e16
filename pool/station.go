package pool

import (
	"sync"
	"sync/atomic"
)

// Station is one who takes part in rings: an event loop, a session worker. It can be woken, and given work.
//
// Concurrency: Wake and Post are safe for all; Begin belongs to the owner.
type Station struct {
	wake   func()
	signal atomic.Bool // a wake is under way

	mu     sync.Mutex
	posted []func() // guarded by mu

	// The owner's.
	running []func() // posted work that has not run yet
}

// NewStation returns a station. wake makes its owner call Begin soon; it is called by any goroutine, must not block, and is
// not called again before Begin.
func NewStation(wake func()) *Station { return &Station{wake: wake} }

// Wake makes the owner run soon. However many callers there are, one wake is under way at most.
func (s *Station) Wake() {
	if s.signal.Load() || s.signal.Swap(true) { // a load first: a swap takes the cache line from its owner
		return
	}
	s.wake()
}

// Post has f run by the owner, after what was posted before. For cold work only: it takes a lock and allocates.
func (s *Station) Post(f func()) {
	s.mu.Lock()
	s.posted = append(s.posted, f)
	s.mu.Unlock()
	s.Wake()
}

// Begin starts a turn of the owner: whoever wakes from now on causes another turn, and what was posted runs. If some of
// it panics, the rest is still there and runs in the next turn, which is due at once. Owner only.
func (s *Station) Begin() {
	s.signal.Store(false)
	s.mu.Lock()
	s.running = append(s.running, s.posted...)
	clear(s.posted)
	s.posted = s.posted[:0]
	s.mu.Unlock()
	if len(s.running) == 0 {
		return
	}
	defer func() {
		if len(s.running) > 0 {
			s.Wake()
		}
	}()
	for len(s.running) > 0 {
		f := s.running[0]
		s.running[0] = nil
		if s.running = s.running[1:]; len(s.running) == 0 {
			s.running = nil
		}
		f()
	}
}

// Exchange connects stations by rings of E, one for each ordered pair, made on first use.
type Exchange[E any] struct {
	ringSize int
	mu       sync.Mutex // guards the making of ports and rings
	ports    int
}

// NewExchange returns an exchange whose rings hold ringSize values each.
func NewExchange[E any](ringSize int) *Exchange[E] { return &Exchange[E]{ringSize: ringSize} }

// Join gives station s a port. Safe for all.
func (x *Exchange[E]) Join(s *Station) *Port[E] {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := &Port[E]{exchange: x, station: s, index: x.ports}
	p.in.Store(&[]*inlet[E]{})
	x.ports++
	return p
}

// Port is a station's end of its rings.
//
//	Push ──> ring of the pair ──> Next of the other port
//	  └─ full: spill, in order, moved on by Flush; Next wakes its owner when there is room again
//
// Concurrency: all methods belong to the station's owner.
type Port[E any] struct {
	exchange *Exchange[E]
	station  *Station
	index    int

	in    atomic.Pointer[[]*inlet[E]] // replaced whole, under the exchange's lock, when a producer makes its ring
	turn  int                         // inlet that Next begins with
	out   []outlet[E]                 // by index of the target
	dirty []*outlet[E]                // pushed to since the last Flush
	spill int                         // values in all spills
}

// inlet is what both ends of a ring know. Its fields but waits are immutable.
type inlet[E any] struct {
	ring *Ring[E]
	from *Station
	// The producer has a spill. It is set before the producer tries the ring, and looked at by the consumer after it has
	// taken something: so whatever the order, one of them finds the room.
	waits atomic.Bool
}

// outlet is the producer's end of one ring.
type outlet[E any] struct {
	to     *Port[E]
	ring   *Ring[E]
	in     *inlet[E] // nil: there is no ring yet
	spill  []E       // what the ring had no room for, in order
	memory []E       // where spill began when it was empty last
	dirty  bool
	mark   uint64 // the ring's head once all has been taken that was pushed before the last Mark
}

// Station returns the station whose port it is.
func (p *Port[E]) Station() *Station { return p.station }

// Push hands e to the owner of to, which is woken by Flush. It never waits: what the ring has no room for spills, so the
// caller bounds what is under way.
func (p *Port[E]) Push(to *Port[E], e E) {
	for to.index >= len(p.out) {
		p.out = append(p.out, outlet[E]{})
		p.dirty = p.dirty[:0] // it points into the old slice
		for i := range p.out {
			if p.out[i].dirty {
				p.dirty = append(p.dirty, &p.out[i])
			}
		}
	}
	o := &p.out[to.index]
	if o.in == nil {
		p.open(o, to)
	}
	if !o.dirty {
		o.dirty = true
		p.dirty = append(p.dirty, o)
	}
	if len(o.spill) > 0 || !o.ring.Push(e) {
		if o.spill = append(o.spill, e); len(o.spill) == 1 {
			o.memory = o.spill
		}
		p.spill++
	}
}

// open makes the ring of an ordered pair.
func (p *Port[E]) open(o *outlet[E], to *Port[E]) {
	p.exchange.mu.Lock()
	defer p.exchange.mu.Unlock()
	o.to, o.ring = to, NewRing[E](p.exchange.ringSize)
	o.in = &inlet[E]{ring: o.ring, from: p.station}
	have := *to.in.Load()
	grown := append(have[:len(have):len(have)], o.in)
	to.in.Store(&grown)
}

// Flush ends a batch: what had spilled moves into rings as far as there is room, and everybody who was pushed to is
// woken.
func (p *Port[E]) Flush() {
	if p.spill > 0 {
		for i := range p.out {
			if o := &p.out[i]; len(o.spill) > 0 {
				p.moveSpill(o)
			}
		}
	}
	for _, o := range p.dirty {
		o.dirty = false
		o.to.station.Wake()
	}
	p.dirty = p.dirty[:0]
}

func (p *Port[E]) moveSpill(o *outlet[E]) {
	o.in.waits.Store(true)
	n := o.ring.PushN(o.spill)
	if n == 0 {
		return
	}
	if n == len(o.spill) {
		o.in.waits.Store(false)
	}
	p.spill -= n
	clear(o.spill[:n])
	if o.spill = o.spill[n:]; len(o.spill) == 0 {
		if o.spill = o.memory[:0]; cap(o.spill) > 2*p.exchange.ringSize {
			o.spill, o.memory = nil, nil
		}
	}
	if !o.dirty {
		o.dirty = true
		p.dirty = append(p.dirty, o)
	}
}

// Next moves up to len(dst) values that others have pushed into dst and returns how many. Each call looks at the rings in
// turn, so that no producer is kept waiting by another.
func (p *Port[E]) Next(dst []E) int {
	ins := *p.in.Load()
	for range ins {
		if p.turn++; p.turn >= len(ins) {
			p.turn = 0
		}
		in := ins[p.turn]
		if n := in.ring.PopN(dst); n > 0 {
			if in.waits.Load() && in.ring.Len() <= in.ring.Cap()/2 {
				in.waits.Store(false)
				in.from.Wake()
			}
			return n
		}
	}
	return 0
}

// Spilled returns how many values wait for room in rings. Their station is woken when there is some: Flush moves them.
func (p *Port[E]) Spilled() int { return p.spill }

// Mark notes what was pushed until now, for Passed.
func (p *Port[E]) Mark() {
	for i := range p.out {
		if o := &p.out[i]; o.ring != nil {
			o.mark = o.ring.tail.Load() + uint64(len(o.spill))
		}
	}
}

// Passed reports whether others have taken everything that was pushed before the last Mark. What came after it does not
// count.
func (p *Port[E]) Passed() bool {
	for i := range p.out {
		if o := &p.out[i]; o.ring != nil && o.ring.head.Load() < o.mark {
			return false
		}
	}
	return true
}
