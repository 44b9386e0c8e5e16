package mesh

import "slices"

const (
	waitTicks = 5       // a peer has that many ticks to acknowledge (P-peer-4)
	maxWaits  = 1 << 16 // of the node; who comes then is answered at once
	maxSame   = 64      // for one route at one peer
)

// wait is a subscription whose acknowledgement is put off until peers have acknowledged what came of it.
type wait[C any] struct {
	conn       *C
	ack        uint64
	due        uint32
	on         []*pend[C]
	prev, next *wait[C]
}

// pend is what is on its way to one peer about the routes of one id while somebody waits for it.
type pend[C any] struct {
	p     *peer[C]
	id    uint64
	open  int // messages queued, or sent and not acknowledged, since the first wait
	waits []*wait[C]
}

// waitList is all waits, oldest first.
type waitList[C any] struct {
	first, last *wait[C]
	n           int
}

func (l *waitList[C]) push(w *wait[C]) {
	w.prev = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.n++
}

func (l *waitList[C]) remove(w *wait[C]) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	l.n--
}

// await makes c's acknowledgement wait for all peers but c for which r is queued. It is registered before anything
// is sent, so that no acknowledgement comes too early.
func (m *Mesh[C]) await(r *route[C], c *C, ack uint64) bool {
	if ack == 0 || r.queued == 0 || m.waits.n >= maxWaits || m.ids[r.id] != 1 {
		return false
	}
	var w *wait[C]
	for _, p := range m.slots {
		if p == nil || p.gone || p.conn == c || p.slot >= len(r.marks) || r.marks[p.slot]&queued == 0 {
			continue
		}
		pe := p.pends[r.id]
		if pe == nil {
			pe = &pend[C]{p: p, id: r.id, open: 1}
			p.pends[r.id] = pe
		}
		if len(pe.waits) >= maxSame {
			continue
		}
		if w == nil {
			w = &wait[C]{conn: c, ack: ack, due: m.tick + waitTicks}
			m.waits.push(w)
		}
		pe.waits = append(pe.waits, w)
		w.on = append(w.on, pe)
	}
	return w != nil
}

// Acked is an acknowledgement of peer c, good or bad. What nobody waits for is ignored.
func (m *Mesh[C]) Acked(c *C, id uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.of[c]; p != nil {
		m.answered(p, id)
	}
}

func (m *Mesh[C]) answered(p *peer[C], id uint64) {
	pe := p.pends[id]
	if pe == nil {
		return
	}
	if pe.open--; pe.open == 0 {
		m.resolve(pe)
	}
}

// resolve ends a pend: its peer knows, or will never.
func (m *Mesh[C]) resolve(pe *pend[C]) {
	delete(pe.p.pends, pe.id)
	for _, w := range pe.waits {
		w.on = slices.DeleteFunc(w.on, func(x *pend[C]) bool { return x == pe })
		if len(w.on) == 0 {
			m.waits.remove(w)
			m.hooks.Done(w.conn, w.ack)
		}
	}
}

// expire ends a wait whose peers had their time.
func (m *Mesh[C]) expire(w *wait[C]) {
	for _, pe := range w.on {
		pe.waits = slices.DeleteFunc(pe.waits, func(x *wait[C]) bool { return x == w })
		if len(pe.waits) == 0 {
			delete(pe.p.pends, pe.id)
		}
	}
	m.waits.remove(w)
	m.hooks.Done(w.conn, w.ack)
}
