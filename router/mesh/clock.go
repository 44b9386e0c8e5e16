package mesh

// Tick is one second.
func (m *Mesh[C]) Tick() {
	m.lock()
	defer m.unlock()
	m.tick++
	m.guardAll()
	if m.tick%doubleTicks == 0 {
		m.doubles()
	}
}

// doubleTicks is how long two links to one node id have to be open until it is said: longer than a dead one takes to be found, which
// is asked for a sign of life as the other comes, and than nodes that have dialled each other take to end one.
const doubleTicks = 30

// doubles says which links are open beside another one to the same node id, which is that of two nodes then: of what both tell of a name only
// the younger's counts, and messages miss the other. It is said once of each link. Rules: P-loop-7.
func (m *Mesh[C]) doubles() {
	if m.hooks.Double == nil {
		return
	}
	first := map[string]*peer[C]{}
	for _, p := range m.slots {
		m.steps++
		if p == nil || p.gone || !p.guard.open || p.node == "" || m.tick-p.joined < doubleTicks {
			continue
		}
		q := first[p.node]
		first[p.node] = p
		if q == nil || p.doubled && q.doubled {
			continue
		}
		p.doubled, q.doubled = true, true
		m.hooks.Double(p.conn, q.conn)
	}
}

// Due does what the time of the last Tick asks for, or a portion of it: then more is true and the caller comes again
// soon.
func (m *Mesh[C]) Due() (more bool) {
	m.lock()
	defer m.unlock()
	steps := len(m.slots) + m.portion
	for _, p := range m.slots {
		m.steps++
		if p == nil || p.gone {
			continue
		}
		a := &p.answers
		if x := a.first; x != nil && !a.mute && m.tick-x.since >= a.patience {
			m.owes(p)
			a.missed(m.tick)
		}
		if a.mute {
			m.release(p, steps)
			more = more || a.first != nil
		}
	}
	for m.steps < steps {
		h, ok := m.holds.peek()
		if !ok || h.due > m.tick {
			return more
		}
		m.holds.pop()
		m.steps++
		if r := h.r; r.held == h.due {
			r.held, r.near = 0, 0
			m.settle(r)
		}
	}
	return true
}

// fifo is a queue of blocks, none of which is ever copied; the zero value is empty.
type fifo[T any] struct {
	first, last *block[T]
}

type block[T any] struct {
	items      [64]T
	head, tail int
	next       *block[T]
}

func (f *fifo[T]) push(v T) {
	if f.last == nil {
		f.first = &block[T]{}
		f.last = f.first
	} else if f.last.tail == len(f.last.items) {
		f.last.next = &block[T]{}
		f.last = f.last.next
	}
	f.last.items[f.last.tail] = v
	f.last.tail++
}

func (f *fifo[T]) peek() (v T, ok bool) {
	if f.first == nil {
		return v, false
	}
	return f.first.items[f.first.head], true
}

// pop removes the first item; there must be one.
func (f *fifo[T]) pop() {
	b := f.first
	var none T
	b.items[b.head] = none
	if b.head++; b.head < b.tail {
		return
	}
	if f.first = b.next; f.first == nil {
		f.last = nil
	}
}
