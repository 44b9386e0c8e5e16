package mesh

import "github.com/seed31b3bfd0/slimgo/wire"

// index finds routes. Ids are random, so that one is enough but for peers that lie, and nodes that have a name of one under several
// ids; what shares its id with another is found by its name, too. The zero index is empty.
type index[C any] struct {
	byID  map[uint64]*route[C] // one of each id that has any, or had until lately
	rest  map[key]*route[C]    // those that came when byID had another of their id
	twins map[uint64]int       // their number, by id
}

// find returns the route of n with that id, or nil.
func (x *index[C]) find(n wire.Name, id uint64) *route[C] {
	if r := x.byID[id]; r != nil && r.name == n {
		return r
	}
	return x.rest[key{n, id}]
}

// count is the number of routes with that id.
func (x *index[C]) count(id uint64) int {
	if x.byID[id] == nil {
		return x.twins[id]
	}
	return x.twins[id] + 1
}

// add adds r, which is not there.
func (x *index[C]) add(r *route[C]) {
	switch {
	case x.byID == nil:
		x.byID, x.rest, x.twins = map[uint64]*route[C]{r.id: r}, map[key]*route[C]{}, map[uint64]int{}
	case x.byID[r.id] == nil:
		x.byID[r.id] = r
	default:
		x.rest[r.key] = r
		x.twins[r.id]++
	}
}

// remove removes r, which is there.
func (x *index[C]) remove(r *route[C]) {
	if x.byID[r.id] == r {
		delete(x.byID, r.id)
		return
	}
	delete(x.rest, r.key)
	if x.twins[r.id]--; x.twins[r.id] == 0 {
		delete(x.twins, r.id)
	}
}

// n is the number of routes.
func (x *index[C]) n() int { return len(x.byID) + len(x.rest) }
