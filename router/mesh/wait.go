package mesh

const (
	waitTicks = 5       // a peer has that many ticks to acknowledge (P-peer-4)
	lateTicks = 2       // an acknowledgement that took so many is late
	maxWaits  = 1 << 17 // of the node; who comes then is answered at once
	maxSame   = 64      // for one route at one peer
)

// wait is a subscription whose acknowledgement is put off until peers have acknowledged what came of it.
type wait[C any] struct {
	conn  *C
	ack   uint64
	last  bool // of an Unsubscribe
	peers int  // that have yet to acknowledge
}

// waiter is the part of one peer in a wait.
type waiter[C any] struct {
	w          *wait[C]
	on         *pend[C]
	target     uint32 // that many messages of on the peer has to acknowledge
	since      uint32 // tick
	prev, next *waiter[C]
}

// pend counts the messages to one peer about the routes of one id while somebody waits for it. Those who came first are
// answered first: who keeps changing a name keeps nobody else waiting.
type pend[C any] struct {
	id          uint64
	sent, acked uint32
	waiters     []*waiter[C] // by target; not empty
}

// answers is what one peer owes to those who wait for it, and how far it is worth waiting for. A peer that misses an
// answer is waited for no more until it gives one; after more misses nobody waits for it for ever longer, unless it
// was quick in between. Rules: P-peer-4.
type answers[C any] struct {
	pends       map[uint64]*pend[C] // by route id
	first, last *waiter[C]          // of all pends, by age
	mute        bool                // it missed one, and has given none since
	patience    uint32              // ticks that it has, lateTicks to waitTicks
	until       uint32              // tick before which nobody waits for it
	misses      uint32              // lately
	quick       uint32              // answers in time since the last late one
	proven      bool                // it has given rewardAfter answers in time
}

// newcomers is what peers that had not proven themselves have cost, whoever they said they were: node ids are not
// proven, so one that misses its answers could come again under another, and be waited for each time. Rules: P-peer-4.
type newcomers struct {
	misses uint32 // lately
	last   uint32 // tick of the last one
	until  uint32 // tick before which nobody waits for who comes
}

// missed notes that a newcomer has missed an answer, or left without.
func (n *newcomers) missed(tick uint32) {
	switch {
	case n.misses > 0 && n.last == tick: // they came together
		return
	case tick-n.last > waitTicks<<maxMisses:
		n.misses = 0
	}
	if n.misses > 0 {
		n.until = tick + waitTicks<<n.misses
	}
	n.last, n.misses = tick, min(n.misses+1, maxMisses)
}

// owes notes that p has not answered in time, or is leaving.
func (m *Mesh[C]) owes(p *peer[C]) {
	if p.answers.first != nil && !p.answers.proven {
		m.newcomers.missed(m.tick)
	}
}

const (
	rewardAfter = 32 // quick answers, after which a peer is given more patience again
	maxMisses   = 7  // counted: the longest exclusion is waitTicks<<maxMisses ticks
)

func (a *answers[C]) init() { a.pends, a.patience = map[uint64]*pend[C]{}, waitTicks }

// worth reports whether it is worth waiting for the peer.
func (a *answers[C]) worth(tick uint32) bool { return !a.mute && tick >= a.until }

// missed notes that an answer did not come in time.
func (a *answers[C]) missed(tick uint32) {
	if a.misses > 0 {
		a.until = tick + waitTicks<<a.misses
	}
	a.mute, a.quick = true, 0
	a.misses = min(a.misses+1, maxMisses)
}

// came notes an answer that took so many ticks.
func (a *answers[C]) came(took uint32) {
	if took >= lateTicks {
		a.quick = 0
		a.patience = max(a.patience-1, lateTicks)
		return
	}
	if a.quick++; a.quick == rewardAfter {
		a.quick, a.proven = 0, true
		a.patience = min(a.patience+1, waitTicks)
		a.misses -= min(a.misses, 1)
	}
}

func (a *answers[C]) push(x *waiter[C]) {
	x.prev = a.last
	if a.last == nil {
		a.first = x
	} else {
		a.last.next = x
	}
	a.last = x
	x.on.waiters = append(x.on.waiters, x)
}

// shift takes the first waiter of a pend out.
func (a *answers[C]) shift(pe *pend[C]) *waiter[C] {
	x := pe.waiters[0]
	if pe.waiters = pe.waiters[1:]; len(pe.waiters) == 0 {
		delete(a.pends, pe.id)
	}
	if x.prev == nil {
		a.first = x.next
	} else {
		x.prev.next = x.next
	}
	if x.next == nil {
		a.last = x.prev
	} else {
		x.next.prev = x.prev
	}
	return x
}

// await makes c's acknowledgement wait for all peers but c that should know of r something else than they were told.
// It is registered before anything is sent, so that no acknowledgement comes too early.
func (m *Mesh[C]) await(r *route[C], c *C, ack uint64, last bool) bool {
	if ack == 0 || m.routes.count(r.id) != 1 {
		return false
	}
	w := &wait[C]{conn: c, ack: ack, last: last}
	for _, p := range m.slots {
		m.steps++
		if p == nil || p.gone || p.conn == c || m.waits >= maxWaits || !r.differs(p) || !p.answers.worth(m.tick) {
			continue
		}
		pe := p.answers.pends[r.id]
		if pe == nil {
			pe = &pend[C]{id: r.id}
			p.answers.pends[r.id] = pe
		}
		if len(pe.waiters) >= maxSame {
			continue
		}
		p.answers.push(&waiter[C]{w: w, on: pe, target: pe.sent + 1, since: m.tick})
		w.peers++
		m.waits++
	}
	if w.peers > 0 {
		r.set(awaited, true)
	}
	return w.peers > 0
}

// Acked is an acknowledgement of peer c, good or bad. What nobody waits for is ignored.
func (m *Mesh[C]) Acked(c *C, id uint64) {
	m.lock()
	defer m.unlock()
	p := m.of[c]
	if p == nil {
		return
	}
	a := &p.answers
	a.mute = false
	delete(p.guard.unacked, id)
	if pe := a.pends[id]; pe != nil && pe.acked < pe.sent {
		pe.acked++
		for len(pe.waiters) > 0 && pe.waiters[0].target <= pe.acked {
			a.came(m.tick - pe.waiters[0].since)
			m.resolve(a.shift(pe))
		}
	}
}

// passed notes that p has come by the route of that id: it was sent a message about it, or there was nothing to say.
func (m *Mesh[C]) passed(p *peer[C], id uint64, sent bool) {
	a := &p.answers
	pe := a.pends[id]
	if pe == nil {
		return
	}
	if sent {
		pe.sent++
		return
	}
	for i := len(pe.waiters) - 1; i >= 0 && pe.waiters[i].target > pe.sent; i-- {
		m.steps++
		pe.waiters[i].target = pe.sent
	}
	for len(pe.waiters) > 0 && pe.waiters[0].target <= pe.acked {
		m.resolve(a.shift(pe))
	}
}

// release ends the wait for p of all who wait, or of as many as steps allow.
func (m *Mesh[C]) release(p *peer[C], steps int) {
	for a := &p.answers; a.first != nil && m.steps < steps; {
		m.resolve(a.shift(a.first.on))
	}
}

// resolve ends a waiter, which was taken out: its peer knows, or is waited for no more.
func (m *Mesh[C]) resolve(x *waiter[C]) {
	m.steps++
	m.waits--
	if x.w.peers--; x.w.peers == 0 {
		m.hooks.Done(x.w.conn, x.w.ack, x.w.last)
	}
}
