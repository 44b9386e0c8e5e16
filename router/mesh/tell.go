package mesh

import "github.com/seed31b3bfd0/slimgo/wire"

// Tell is one message to a peer: a Subscribe, or an Unsubscribe if Withdraw.
type Tell struct {
	Name     wire.NameText
	ID       uint64
	TTL      uint32
	Withdraw bool
}

// Next appends to dst the next messages for peer c, at most as many as dst has room for, in the order in which they
// must be sent. The owner of c calls it after Poke, and again as long as more is true; it may append nothing and
// there is more.
func (m *Mesh[C]) Next(c *C, dst []Tell) (_ []Tell, more bool) {
	m.lock()
	defer m.unlock()
	p := m.of[c]
	if p == nil {
		return dst, false
	}
	for p.at != nil && len(dst) < cap(dst) && m.steps < m.portion {
		r := p.at
		m.steps++
		m.stand(p, r.next)
		if r.differs(p) {
			t := r.tell(p)
			dst = append(dst, t)
			p.guard.said(r, &t)
			m.passed(p, r.id, true)
		} else {
			m.passed(p, r.id, false)
		}
		m.forget(r)
	}
	if p.at != nil {
		return dst, true
	}
	p.poked = false
	return dst, false
}

// tell is the message after which p knows of r what it should.
func (r *route[C]) tell(p *peer[C]) Tell {
	want := r.want(p)
	r.note(p, want)
	t := Tell{Name: wire.NameText{Name: r.name, Str: r.str()}, ID: r.id, TTL: uint32(want), Withdraw: want == 0}
	if t.Withdraw {
		t.TTL = uint32(r.mostTTL())
	}
	return t
}
