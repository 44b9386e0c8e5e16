package mesh

import (
	"slices"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Review goes through all routes once, to drop the offers that peers may not make any more. The zero Review is ready to begin.
// It belongs to its caller, but for what the mesh notes in it.
type Review[C any] struct {
	begun bool
	at    *route[C] // where it goes on; nil: at the end. Guarded by Mesh.mu
}

// ReviewStep does a portion of v and reports whether there is more; it must be called until there is not, or EndReview be. It
// drops each offer of a live peer that may says no to, and calls dropped with it: another peer's offer takes its place, or the
// route ends. Both are called with the mesh's mutex held: they must not block and not call the mesh. Offers that come
// meanwhile are looked at or not.
func (m *Mesh[C]) ReviewStep(v *Review[C], may func(c *C, n *wire.Name) bool, dropped func(c *C, n wire.NameText, id uint64)) (more bool) {
	m.lock()
	defer m.unlock()
	if !v.begun {
		v.begun, v.at = true, m.first
		m.reviews = append(m.reviews, v)
	}
	for v.at != nil && m.steps < m.portion {
		r := v.at
		v.at = r.next
		m.steps++
		m.reviewRoute(r, may, dropped)
	}
	if v.at != nil {
		return true
	}
	m.endReview(v)
	return false
}

// EndReview gives v up.
func (m *Mesh[C]) EndReview(v *Review[C]) {
	m.lock()
	defer m.unlock()
	m.endReview(v)
}

func (m *Mesh[C]) endReview(v *Review[C]) {
	m.reviews = slices.DeleteFunc(m.reviews, func(o *Review[C]) bool { return o == v })
	v.at = nil
}

func (m *Mesh[C]) reviewRoute(r *route[C], may func(*C, *wire.Name) bool, dropped func(*C, wire.NameText, uint64)) {
	some := false
	for i := r.offers() - 1; i >= 0; i-- { // dropOffer puts the last one in its place
		m.steps++
		p := m.by(r.offer(i))
		if p.gone || r.probe() != nil || may(p.conn, &r.name) {
			continue
		}
		m.dropOffer(r, p)
		dropped(p.conn, wire.NameText{Name: r.name, Str: r.str(), NoStrings: r.text == nil}, r.id)
		some = true
	}
	if some {
		m.settle(r)
	}
}

// stepOver has reviews that stand before r, which is taken out, stand before what follows it.
func (m *Mesh[C]) stepOver(r *route[C]) {
	for _, v := range m.reviews {
		if v.at == r {
			v.at = r.next
		}
	}
}
