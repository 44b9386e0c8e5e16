package mesh

import (
	"cmp"
	"maps"
	"slices"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// rust is an upstream node as far as peers notice: it passes on every subscription whose id it has not passed on yet, tells a
// new peer all that it knows, or in a full mesh what its applications hold, and sends a publish to all that match but the one
// that it came from. What it gets wrong is modelled, too: it remembers the ids of names that have ended with a connection, and
// of two holders of a name it tells a new peer of one.
type rust struct {
	at      *node
	seen    map[uint64]bool                 // ids that it has passed on
	told    map[wire.Name]uint64            // the id with which a name was passed on
	records map[*conn]map[key]wire.NameText // what each connection has subscribed to
	owed    map[uint64]*owed                // by id
}

// owed is an acknowledgement that waits for those of peers.
type owed struct {
	to   *conn
	left int
}

func newRust(n *node) *rust {
	return &rust{n, map[uint64]bool{}, map[wire.Name]uint64{}, map[*conn]map[key]wire.NameText{}, map[uint64]*owed{}}
}

// inOrder is an order of subscriptions: a history is the same each time.
func inOrder(a, b key) int {
	return cmp.Or(slices.Compare(a.name.C[:], b.name.C[:]), cmp.Compare(a.name.Hi, b.name.Hi), cmp.Compare(a.name.Lo, b.name.Lo), cmp.Compare(a.id, b.id))
}

func (r *rust) peers() (ps []*conn) {
	for _, l := range r.at.net.links {
		if l.at == r.at && l.up {
			ps = append(ps, l)
		}
	}
	return ps
}

// holders are the connections that have subscribed to n, in the order of their making.
func (r *rust) holders(n wire.Name) (out []*conn) {
	for _, c := range slices.Concat(r.at.apps, r.peers()) {
		for k := range r.records[c] {
			if k.name == n {
				out = append(out, c)
				break
			}
		}
	}
	return out
}

// last reports whether no connection of c's kind holds n.
func (r *rust) last(c *conn, n wire.Name) bool {
	return !slices.ContainsFunc(r.holders(n), func(o *conn) bool { return (o.far == nil) == (c.far == nil) })
}

func (r *rust) join(c *conn) {
	ids := map[wire.Name]key{}
	text := map[wire.Name]wire.NameText{}
	for _, o := range slices.Concat(r.at.apps, r.peers()) {
		for _, k := range slices.SortedFunc(maps.Keys(r.records[o]), inOrder) {
			if o != c && (r.at.relay || o.far == nil) {
				ids[k.name], text[k.name] = k, r.records[o][k]
			}
		}
	}
	for _, k := range slices.SortedFunc(maps.Values(ids), inOrder) {
		n := k.name
		r.seen[k.id], r.told[n] = true, k.id
		c.far.send(message{tell: Tell{Name: text[n], ID: k.id, TTL: r.ttl()}})
	}
}

// ttl is that with which it tells what its applications hold.
func (r *rust) ttl() uint32 {
	if r.at.relay {
		return relayTTL
	}
	return fullMeshTTL
}

// send puts m on its way to c. Subscriptions that an upstream node forwards leave in any order.
func (c *conn) send(m message) {
	i := len(c.in)
	for i > 0 && c.at.net.rng.IntN(4) == 0 && c.in[i-1].tell.ID != m.tell.ID && !c.in[i-1].pub {
		i--
	}
	c.in = slices.Insert(c.in, i, m)
}

func (r *rust) leave(c *conn) {
	records := r.records[c]
	delete(r.records, c)
	lost := slices.SortedFunc(maps.Keys(records), inOrder)
	for _, k := range slices.CompactFunc(lost, func(a, b key) bool { return a.name == b.name }) {
		n, nt := k.name, records[k]
		id, ok := r.told[n]
		if len(r.holders(n)) > 0 || !ok {
			continue
		}
		delete(r.told, n)
		delete(r.seen, id)
		for _, p := range r.peers() {
			p.far.send(message{tell: Tell{Name: nt, ID: id, TTL: r.ttl(), Withdraw: true}})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.owed)) { // whoever owes an answer there has gone: upstream waits for five seconds
		if o := r.owed[id]; o.left > 0 {
			delete(r.owed, id)
			r.ack(o.to, id)
		}
	}
}

func (r *rust) ack(to *conn, id uint64) {
	if to.far != nil && to.up && id != 0 {
		to.far.in = append(to.far.in, message{isAck: true, id: id})
	}
}

func (r *rust) receive(c *conn, m message) {
	x := m.tell
	switch {
	case m.isAck:
		if o := r.owed[m.id]; o != nil {
			if o.left--; o.left == 0 {
				delete(r.owed, m.id)
				r.ack(o.to, m.id)
			}
		}
	case x.TTL <= 1:
	case x.Withdraw:
		r.unsubscribe(c, x.Name, x.ID, x.TTL-1)
	default:
		r.subscribe(c, x.Name, x.ID, x.TTL-1)
	}
}

func (r *rust) subscribe(c *conn, nt wire.NameText, id uint64, ttl uint32) {
	if id != 0 && r.seen[id] {
		r.ack(c, id)
		return
	}
	first := r.last(c, nt.Name)
	if r.records[c] == nil {
		r.records[c] = map[key]wire.NameText{}
	}
	r.records[c][key{nt.Name, id}] = nt
	switch {
	case c.far == nil && first:
		r.spread(c, Tell{Name: nt, ID: id, TTL: r.ttl()})
	case c.far != nil && ttl >= 2:
		r.spread(c, Tell{Name: nt, ID: id, TTL: ttl})
	default:
		r.ack(c, id)
	}
}

func (r *rust) unsubscribe(c *conn, nt wire.NameText, id uint64, ttl uint32) {
	k := key{nt.Name, id}
	if _, ok := r.records[c][k]; !ok {
		r.ack(c, id)
		return
	}
	delete(r.records[c], k)
	switch {
	case c.far == nil && r.last(c, nt.Name):
		r.spread(c, Tell{Name: nt, ID: id, TTL: r.ttl(), Withdraw: true})
	case c.far != nil && ttl >= 2:
		r.spread(c, Tell{Name: nt, ID: id, TTL: ttl, Withdraw: true})
	default:
		r.ack(c, id)
	}
}

// spread sends x to all peers but c, and acknowledges it to c when they have.
func (r *rust) spread(c *conn, x Tell) {
	if x.Withdraw {
		delete(r.seen, x.ID)
		delete(r.told, x.Name.Name)
	} else {
		r.seen[x.ID], r.told[x.Name.Name] = true, x.ID
	}
	n := 0
	for _, p := range r.peers() {
		if p != c {
			n++
			p.far.send(message{tell: x})
		}
	}
	if n == 0 {
		r.ack(c, x.ID)
	} else if c.far != nil {
		r.owed[x.ID] = &owed{c, n}
	}
}
