package mesh

import "github.com/seed31b3bfd0/slimgo/wire"

// Tell is one message to a peer: a Subscribe, or an Unsubscribe if Withdraw.
type Tell struct {
	Name     wire.NameText
	ID       uint64
	TTL      uint32
	Withdraw bool
}

// Next appends to dst the next messages for peer c, as many as dst has room for, in the order in which they must be
// sent. The owner of c calls it after Poke, and again as long as more is true.
func (m *Mesh[C]) Next(c *C, dst []Tell) (_ []Tell, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.of[c]
	if p == nil {
		return dst, false
	}
	for len(dst) < cap(dst) {
		r, ok := p.queue.pop()
		if !ok {
			p.poked = false
			return dst, false
		}
		k := &r.marks[p.slot]
		r.queued--
		want := m.want(r, p)
		if told := *k & toldMask; told == want && (*k&again == 0 || want == 0) {
			*k = told
			m.answered(p, r.id) // nothing to say, so nothing to wait for
		} else {
			*k = want
			t := Tell{Name: wire.NameText{Name: r.name, Str: r.str}, ID: r.id, TTL: uint32(want), Withdraw: want == 0}
			if t.Withdraw {
				t.TTL = uint32(relayTTL)
			}
			dst = append(dst, t)
		}
		m.forget(r)
	}
	return dst, true
}

// Tick is one second.
func (m *Mesh[C]) Tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tick++
}

// Due does what the time of the last Tick asks for, or a part of it: then more is true and the caller comes again
// soon.
func (m *Mesh[C]) Due() (more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range sweepStep {
		w := m.waits.first
		if w == nil || w.due > m.tick {
			break
		}
		m.expire(w)
	}
	for range sweepStep {
		h, ok := m.holds.peek()
		if !ok || h.due > m.tick {
			w := m.waits.first
			return w != nil && w.due <= m.tick
		}
		m.holds.pop()
		if r := h.r; r.held == h.due {
			r.held, r.near = 0, 0
			m.settle(r)
		}
	}
	return true
}

// fifo is a queue; the zero value is empty.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) push(v T) { f.items = append(f.items, v) }

func (f *fifo[T]) peek() (v T, ok bool) {
	if f.head == len(f.items) {
		return v, false
	}
	return f.items[f.head], true
}

func (f *fifo[T]) pop() (v T, ok bool) {
	if v, ok = f.peek(); !ok {
		return v, false
	}
	var none T
	f.items[f.head] = none
	f.head++
	switch n := len(f.items); {
	case f.head == n:
		*f = fifo[T]{}
	case f.head >= 1024 && f.head >= n/2:
		f.items = append([]T(nil), f.items[f.head:]...)
		f.head = 0
	}
	return v, true
}
