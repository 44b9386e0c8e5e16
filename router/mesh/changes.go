package mesh

// changes is the list of all routes, those that changed last at its end. Every live peer stands before a route of it,
// or at the end, and knows what it should of all routes before that; a peer that left stands where its sweep goes on.
type changes[C any] struct {
	first, last *route[C]
	ended       []*peer[C] // live peers that stand at the end
	walking     int        // peers, live or not, that stand before a route
}

// stand puts p before r, which is nil for the end.
func (m *Mesh[C]) stand(p *peer[C], r *route[C]) {
	if p.at != nil {
		m.walking--
	}
	p.at = r
	switch {
	case r != nil:
		m.walking++
	case !p.gone:
		m.ended = append(m.ended, p)
	}
}

// depart takes p, which is about to leave, out.
func (m *Mesh[C]) depart(p *peer[C]) {
	if p.at != nil {
		p.at = nil
		m.walking--
		return
	}
	kept := m.ended[:0]
	for _, q := range m.ended {
		m.steps++
		if q != p {
			kept = append(kept, q)
		}
	}
	m.ended = m.ended[:len(kept)]
}

// link puts a new route at the end. Peers at the end need not be told of it.
func (m *Mesh[C]) link(r *route[C]) {
	r.prev = m.last
	if m.last == nil {
		m.first = r
	} else {
		m.last.next = r
	}
	m.last = r
}

// unlink takes r out; who stands before it steps over it.
func (m *Mesh[C]) unlink(r *route[C]) {
	if m.walking > 0 {
		for _, p := range m.slots {
			if m.steps++; p != nil && p.at == r {
				m.stand(p, r.next)
			}
		}
	}
	m.stepOver(r)
	if r.prev == nil {
		m.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		m.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
}

// changed puts r at the end, where all peers have yet to look at it, and wakes those who stood at the end and should
// be told.
func (m *Mesh[C]) changed(r *route[C]) {
	if r != m.last {
		m.unlink(r)
		m.link(r)
	}
	ended := m.ended
	m.ended = ended[:0]
	for _, p := range ended {
		m.steps++
		if !r.differs(p) {
			m.ended = append(m.ended, p)
			continue
		}
		m.walking++
		p.at = r
		m.poke(p)
	}
	clear(ended[len(m.ended):])
}

// remains are routes that were forgotten all at once when the last peer left, linked by next: those of peers that left are in the
// table yet. Until there are no more, these keep their slots.
type remains[C any] struct {
	first, last *route[C]
}

// take takes all routes of a list over.
func (e *remains[C]) take(l *changes[C]) {
	switch {
	case l.first == nil:
		return
	case e.first == nil:
		e.first = l.first
	default:
		e.last.next = l.first
	}
	e.last = l.last
}

// clear takes a portion of what remains out of the table.
func (m *Mesh[C]) clear() {
	e := &m.entered
	for e.first != nil && m.steps < m.portion {
		r := e.first
		m.steps++
		if p := m.parentOf(r); p != nil && r.probe() == nil {
			m.names.Leave(p.conn, r.name)
		}
		e.first, r.next, r.parent = r.next, nil, 0
	}
	if e.first == nil {
		e.last = nil
	}
}

func (m *Mesh[C]) poke(p *peer[C]) {
	if !p.poked {
		p.poked = true
		m.hooks.Poke(p.conn)
	}
}
