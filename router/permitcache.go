package router

import (
	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// decisions remembers what was decided about the latest names of a connection, so that rules are asked once for each while it
// uses few. It is direct mapped by name, and grows while names push each other out. Whoever uses more names, or makes them
// collide, has the rules asked again, which is bounded, too.
type decisions struct {
	slots     []decision // a power of two of them, or none
	evictions int
}

// maxDecisions bounds the slots: 14 KiB.
const maxDecisions = 256

type decision struct {
	name  wire.Name
	act   rules.Act
	known bool // else it is empty
	ok    bool
}

// at returns the slot of a name.
func (d *decisions) at(a rules.Act, n *wire.Name) *decision {
	h := (n.C[0] ^ n.C[1]*3 ^ n.C[2]*5 ^ n.Hi*7 ^ n.Lo*11 + uint64(a)) * 0x9e3779b97f4a7c15
	return &d.slots[h>>40&uint64(len(d.slots)-1)]
}

// mayPublish reports whether a message may go to one name and come from another, and whether the rules had to be asked.
func (p *permit) mayPublish(dest, source *wire.Name) (to, from, fresh bool) {
	to, fresh = p.may(rules.Publish, dest)
	if p.sourced && p.source == *source {
		return to, true, fresh
	}
	from, asked := p.may(rules.From, source)
	if from {
		p.source, p.sourced = *source, true
	}
	return to, from, fresh || asked
}

// may reports whether n may be used for an act, and whether the rules had to be asked.
func (p *permit) may(a rules.Act, n *wire.Name) (ok, fresh bool) {
	d := &p.decisions
	if len(d.slots) == 0 {
		d.slots = make([]decision, 4)
	}
	x := d.at(a, n)
	if x.known && x.act == a && x.name == *n {
		return x.ok, false
	}
	if x.known && len(d.slots) < maxDecisions {
		if d.evictions++; d.evictions > len(d.slots) {
			*d = decisions{slots: make([]decision, 4*len(d.slots))}
			x = d.at(a, n)
		}
	}
	*x = decision{name: *n, act: a, known: true, ok: p.rights.May(a, n)}
	return x.ok, true
}
