package sessiontest

import (
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// routes is the node's table: who has which name.
type routes struct {
	subscriptions []subscription
	made          uint64
	turns         map[wire.Name]int // of messages for one of several
}

type subscription struct {
	by   *link
	name wire.Name
	id   uint64
}

func (t *routes) add(by *link, name wire.Name) uint64 {
	t.made++
	t.subscriptions = append(t.subscriptions, subscription{by, name, t.made})
	return t.made
}

func (t *routes) remove(which func(*subscription) bool) {
	t.subscriptions = slices.DeleteFunc(t.subscriptions, func(s subscription) bool { return which(&s) })
}

// match returns those but from who have the name, or one of them in turns: an id is its own subscribers', the null id is held by
// all who have the other three parts. Rules: P-any, P-mul.
func (t *routes) match(name wire.Name, all bool, from *link) (to []*link) {
	for i := range t.subscriptions {
		s := &t.subscriptions[i]
		if (s.name == name || name.IsNull() && s.name.C == name.C) && s.by != from && !slices.Contains(to, s.by) {
			to = append(to, s.by)
		}
	}
	if all || len(to) < 2 {
		return to
	}
	if t.turns == nil {
		t.turns = map[wire.Name]int{}
	}
	turn := t.turns[name]
	t.turns[name]++
	return to[turn%len(to):][:1]
}

// subscribe gives an app a name.
func (n *Net) subscribe(l *link, name wire.Name) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.links, l) {
		return 0, uplink.ErrClosed
	}
	return n.routes.add(l, name), nil
}

// carry routes a message as a node does: by the whole name, or by its three parts if it has no id; to one of those who have it, or
// to all, and never back to where it came from. What nobody has is lost.
func (n *Net) carry(from *link, b []byte) {
	m, err := message.Decode(b)
	if err != nil {
		n.fail("%s sends what is no message of a session: %v", from.label, err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.entry(from, m)
	for _, l := range n.routes.match(m.Dest.Name, m.Fanout > 1, from) {
		n.send(from, l, e, b)
	}
	n.log.add(e, n.o.Log)
}

// send has a message arrive at one app, in the way that script and lottery want. mu is held.
func (n *Net) send(from, to *link, e *Entry, b []byte) {
	lane := lane{from.label, to.label, e.Type}
	n.sent[lane]++
	r := Receiver{Name: to.label, Fate: Arrived}
	copies := n.faults.Copies(lane.from+">"+lane.to+">"+lane.kind, n.sent[lane])
	rule := n.rule(e, to.name)
	switch {
	case n.islands[from.name] != n.islands[to.name]:
		r.Fate, copies = Cut, nil
	case rule != nil && rule.Drop:
		r.Fate, copies = Dropped, nil
	case rule != nil:
		copies = []simnet.Copy{{After: n.o.Delay + rule.Delay, Late: true}}
	case len(copies) == 0:
		r.Fate = Lost
	}
	for i, c := range copies {
		switch {
		case !to.put(from, c.After, c.Late, b):
			r.Fate = Cut
		case i > 0:
			r.Fate = Doubled
		case c.Late:
			r.Fate = Delayed
		}
	}
	e.To = append(e.To, r)
}

// rule returns the one that holds for a message. mu is held.
func (n *Net) rule(e *Entry, receiver string) *Rule {
	for _, r := range n.rules {
		if (r.Most == 0 || r.met < r.Most) && r.Match(e, receiver) {
			r.met++
			return r
		}
	}
	return nil
}
