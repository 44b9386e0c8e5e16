package table

import (
	"maps"
	"slices"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// holdings are the subscriptions of one connection: the way back from a connection to its names. Guarded by the
// table's mu; names is the Removal's after RemoveConn.
type holdings struct {
	kind    Kind // given with the first Add; the connection's as long as it holds anything
	records int  // sum over names of holding.n, while the connection is in the table
	names   names
	entered int                   // names by Enter, which are not among names
	shared  map[wire.Name]int     // how many times more than once a name is held: by Enter, and all records of it together
	removed bool                  // RemoveConn was called; only what was entered is left
	revoked map[wire.Name]revoked // what Restore could give back, up to maxRevoked names: neither held nor counted
}

// revoked is how a name was held. Peers hear of names with strings only.
type revoked struct {
	holding
	str    [3]string
	hasStr bool
}

// revoke keeps what was held of n.
func (h *holdings) revoke(n wire.Name, have revoked) {
	before, ok := h.revoked[n]
	switch {
	case ok:
		for _, r := range have.all() {
			if !before.has(r) {
				before.add(r)
			}
		}
		have.holding = before.holding
	case len(h.revoked) >= maxRevoked:
		return
	case h.revoked == nil:
		h.revoked = map[wire.Name]revoked{}
	}
	h.revoked[n] = have
}

// forget drops a record of k.Name that was revoked, as Table.Remove finds it, and reports whether there was one. What is held comes first.
func (h *holdings) forget(k Key, sid uint64) bool {
	have, ok := h.revoked[k.Name]
	if !ok {
		return false
	}
	held, holds := h.names.get(k.Name)
	for _, r := range []record{{sid, k.HasID}, {0, k.HasID}} {
		if holds && held.has(r) {
			return false
		}
		if have.has(r) {
			h.drop(k.Name, r)
			return true
		}
	}
	return false
}

// drop takes a record of n away that was revoked.
func (h *holdings) drop(n wire.Name, r record) {
	have := h.revoked[n]
	if _, last := have.remove(r); last {
		delete(h.revoked, n)
	} else {
		h.revoked[n] = have
	}
}

// names maps a name to how it is held. Most connections have a few, and the smallest map has eight places.
type names struct {
	few  []named
	many map[wire.Name]holding // nil until there are more than fewNames, then instead of few
}

const fewNames = 8

type named struct {
	name wire.Name
	holding
}

func (m *names) n() int { return len(m.few) + len(m.many) }

func (m *names) get(n wire.Name) (holding, bool) {
	if m.many != nil {
		h, ok := m.many[n]
		return h, ok
	}
	for i := range m.few {
		if m.few[i].name == n {
			return m.few[i].holding, true
		}
	}
	return holding{}, false
}

// put sets how n is held.
func (m *names) put(n wire.Name, h holding) {
	if m.many != nil {
		m.many[n] = h
		return
	}
	for i := range m.few {
		if m.few[i].name == n {
			m.few[i].holding = h
			return
		}
	}
	if len(m.few) < fewNames {
		m.few = append(m.few, named{n, h})
		return
	}
	m.many = make(map[wire.Name]holding, 2*fewNames)
	for _, f := range m.few {
		m.many[f.name] = f.holding
	}
	m.few = nil
	m.many[n] = h
}

func (m *names) delete(n wire.Name) {
	delete(m.many, n)
	m.few = slices.DeleteFunc(m.few, func(f named) bool { return f.name == n })
}

// take moves up to most names to dst, and returns how many records they had.
func (m *names) take(dst []wire.Name, most int) (_ []wire.Name, records int) {
	for len(m.few) > 0 && len(dst) < most {
		last := len(m.few) - 1
		dst = append(dst, m.few[last].name)
		records += m.few[last].n()
		m.few = m.few[:last]
	}
	for n, h := range m.many {
		if len(dst) == most {
			break
		}
		dst = append(dst, n)
		records += h.n()
		delete(m.many, n)
	}
	return dst, records
}

// record is one subscription of a connection to a name. The name alone decides what matches; whether name_id was
// present only which record an unsubscribe means (EncodedName is compared as a whole, as upstream).
type record struct {
	sid   uint64
	hasID bool
}

// holding is the records of one connection for one name, at least one.
type holding struct {
	one  record
	more map[record]struct{} // all records, if there ever were several; one is then unused
}

func (h *holding) has(r record) bool {
	if h.more == nil {
		return h.one == r
	}
	_, ok := h.more[r]
	return ok
}

// n is the number of records.
func (h *holding) n() int { return max(1, len(h.more)) }

// add adds r, which is not there yet.
func (h *holding) add(r record) {
	if h.more == nil {
		h.more = map[record]struct{}{h.one: {}}
	}
	h.more[r] = struct{}{}
}

// remove tells whether r was there, and whether it was the last record: then h is unfit for further use.
func (h *holding) remove(r record) (was, last bool) {
	if h.more == nil {
		return h.one == r, h.one == r
	}
	if _, ok := h.more[r]; !ok {
		return false, false
	}
	delete(h.more, r) // never back to one: to find it in a map that was large takes long
	return true, len(h.more) == 0
}

// all returns all records.
func (h *holding) all() []record {
	if h.more == nil {
		return []record{h.one}
	}
	return slices.Collect(maps.Keys(h.more))
}

// ids returns the subscription ids of up to most records, at least one.
func (h *holding) ids(most int) (ids []uint64) {
	if h.more == nil {
		return []uint64{h.one.sid}
	}
	for r := range h.more {
		if ids = append(ids, r.sid); len(ids) >= most {
			break
		}
	}
	return ids
}
