package mesh

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// publish sends a message that came from c on, as both kinds of nodes do.
func (n *node) publish(c *conn, name wire.Name, id uint64, ttl int) {
	if ttl <= 0 {
		return
	}
	var to []*conn
	switch {
	case n.rust != nil:
		to = n.rust.holders(name)
		if c.far != nil && !n.relay {
			to = slices.DeleteFunc(to, func(o *conn) bool { return o.far != nil })
		}
	case c.far != nil && !c.open:
	case c.far != nil && !n.relay:
		to = n.names.MatchAll(&name, c, table.All.Without(table.Peer), nil)
	default:
		to = n.names.MatchAll(&name, c, table.All, nil)
	}
	for _, t := range to {
		switch {
		case t == c:
		case t.far == nil:
			t.got[id]++
		case t.up:
			t.far.in = append(t.far.in, message{pub: true, id: id, ttl: ttl, tell: Tell{Name: wire.NameText{Name: name}}})
		}
	}
}

// passes reports whether names and messages pass on a link.
func (c *conn) passes() bool {
	end := func(c *conn) bool { return c.at.rust != nil || c.open }
	return c.up && end(c) && end(c.far)
}

// distances are those of all nodes from a, over links that pass, in links.
func (s *net) distances(a *node, passes func(*conn) bool) map[*node]int {
	far := map[*node]int{a: 0}
	for todo := []*node{a}; len(todo) > 0; todo = todo[1:] {
		for _, l := range s.links {
			if _, seen := far[l.far.at]; l.at == todo[0] && passes(l) && !seen {
				far[l.far.at] = far[l.at] + 1
				todo = append(todo, l.far.at)
			}
		}
	}
	return far
}

// checkTree wants the links that pass to be a tree that reaches whatever can be reached.
func (s *net) checkTree() {
	s.t.Helper()
	passing := 0
	for _, l := range s.links {
		if l.passes() {
			passing++
		}
	}
	parts, seen := 0, map[*node]bool{}
	for _, n := range s.nodes {
		all, tree := s.distances(n, func(l *conn) bool { return l.up }), s.distances(n, (*conn).passes)
		if len(all) != len(tree) {
			s.t.Errorf("%s reaches %d nodes, and %d over links that pass", n.name, len(all), len(tree))
		}
		if !seen[n] {
			parts++
			for b := range all {
				seen[b] = true
			}
		}
	}
	if passing/2 != len(s.nodes)-parts {
		s.t.Errorf("%d links pass between %d nodes in %d parts: there is a loop", passing/2, len(s.nodes), parts)
	}
}

// checkPublishes has each node send a message to each name: no subscriber gets it twice, nobody else gets it, and, if all, every one
// within reach does.
func (s *net) checkPublishes(names []wire.NameText, all bool) {
	s.t.Helper()
	for _, n := range s.nodes {
		far := s.distances(n, (*conn).passes)
		for _, nt := range names {
			s.pubs++
			id := s.pubs
			sender := n.app()
			before := s.msgs
			n.publish(sender, nt.Name, id, relayTTL-1)
			s.quiet()
			if got := s.msgs - before; got >= len(s.nodes) {
				s.t.Errorf("a message to %v took %d messages", nt.Name.Lo, got)
			}
			sender.die()
			for b, d := range far {
				for _, a := range b.apps {
					_, holds := a.held[nt.Name]
					want := 0
					if holds {
						want = 1
					}
					reach := all && d <= relayTTL-2
					if !s.relayed() {
						reach = all && d <= 1
					}
					if got := a.got[id]; got > want || got < want && reach {
						s.t.Errorf("a message to %v from %s came %d times to a subscriber at %s, %d links away, want %d",
							nt.Name.Lo, n.name, got, b.name, d, want)
					}
				}
			}
		}
	}
}

func (s *net) relayed() bool { return s.nodes[len(s.nodes)-1].relay }

// seeds is how many random networks are tried: 300 in full.
func seeds(short uint64) uint64 {
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		return 300
	}
	return short
}

// randomLinks connects nodes at random, often with loops and sometimes with two links between the same; upstream nodes, the first
// ones, have no loop among themselves: what they do then is theirs.
func randomLinks(rng *rand.Rand, nodes, rusts int) (links [][2]int) {
	part := make([]int, rusts)
	for i := range part {
		part[i] = i
	}
	for range nodes + rng.IntN(nodes+1) {
		a, b := rng.IntN(nodes), rng.IntN(nodes)
		if a == b {
			continue
		}
		if a < rusts && b < rusts {
			if part[a] == part[b] {
				continue
			}
			from, to := part[a], part[b]
			for i := range part {
				if part[i] == from {
					part[i] = to
				}
			}
		}
		links = append(links, [2]int{a, b})
	}
	return links
}

// checkTables wants the peers that each node of ours sends a name's messages to to be those behind which it is held, and nothing
// to be left of what is held no more. The oracle walks over the links that pass, and knows no more of nodes than how far a name
// goes. Rules: P-peer-1, P-peer-5.
func (s *net) checkTables(names []wire.NameText) {
	s.t.Helper()
	for _, n := range s.nodes {
		if n.rust != nil {
			continue
		}
		routes := 0
		for _, nt := range names {
			var want []*conn
			for _, l := range s.links {
				if l.at != n || !l.passes() {
					continue
				}
				held := 0
				for b, d := range s.distances(l.far.at, func(x *conn) bool { return x.passes() && x != l.far && x.at.relay }) {
					if d+1 < relayTTL && b.holds(nt.Name) {
						held++
					}
				}
				if held > 0 {
					want = append(want, l)
				}
				routes += held
			}
			got := n.names.MatchAll(&nt.Name, nil, table.Only(table.Peer), nil)
			for _, l := range s.links {
				if w, g := slices.Contains(want, l), slices.Contains(got, l); w != g {
					s.t.Errorf("%s sends %v to %s: %v, want %v", n.name, nt.Name.Lo, l.far.at.name, g, w)
				}
			}
			if n.holds(nt.Name) {
				routes++
			}
		}
		if got := n.routes(); n.m.Active() && got > routes { // of two holders behind an upstream node it may know of one
			s.t.Errorf("%s has %d routes, want %d", n.name, got, routes)
		}
	}
}

// checkProbes wants each probe to be known exactly where it can come to, so that none is left of links that are gone.
func (s *net) checkProbes() {
	s.t.Helper()
	known := map[*node]int{}
	for i, l := range s.links {
		if l.at.rust != nil || !l.up || s.ends(l.at) < 2 {
			continue
		}
		known[l.at]++
		w := s.weight(i)
		for b := range s.distances(l.far.at, func(x *conn) bool {
			at := slices.Index(s.links, x)
			return x.up && x.at != l.at && (x.at.rust != nil && x.far.at.rust != nil || s.weight(at).compare(w) < 0)
		}) {
			if b != l.at {
				known[b]++
			}
		}
	}
	for _, n := range s.nodes {
		if n.rust == nil && n.m.Active() {
			got := 0
			for r := n.m.first; r != nil; r = r.next {
				if r.probe() != nil && r.held == 0 { // those that rest have just been withdrawn
					got++
				}
			}
			if got != known[n] {
				s.t.Errorf("%s knows %d probes, want %d", n.name, got, known[n])
			}
		}
	}
}

// ends is how many links of n are up.
func (s *net) ends(n *node) (up int) {
	for _, l := range s.links {
		if l.at == n && l.up {
			up++
		}
	}
	return up
}

// weight is that of the link of which links[i] is an end.
func (s *net) weight(i int) weight {
	a, b := nodeNumber(s.links[i].at.name), nodeNumber(s.links[i^1].at.name)
	return weight{min(a, b), max(a, b), uint64(i / 2)}
}

// restart has an upstream node begin anew.
func (s *net) restart(n *node) {
	var lost []*conn
	for _, l := range s.links {
		if l.at == n && l.up {
			lost = append(lost, l)
		}
	}
	for _, l := range lost {
		s.linkDown(l)
	}
	n.apps, n.rust = nil, newRust(n)
	for _, l := range lost {
		s.linkUp(l)
	}
}

// In random networks of up to twelve nodes, with loops, losses, restarts and slow peers, the links that pass become a tree, each
// node knows what others hold, and a message reaches every subscriber once. Rules: P-loop-1, P-loop-3.
func TestNoMessageComesTwice(t *testing.T) {
	names := []wire.NameText{simName(1), simName(2), simName(3)}
	for seed := range seeds(30) {
		rng := rand.New(rand.NewPCG(seed, 15))
		nodes := 2 + rng.IntN(11)
		s := newMixedNet(t, seed, nodes, 0, randomLinks(rng, nodes, 0), true, true)
		if len(s.links) == 0 {
			continue
		}
		for round := range 3 {
			s.chaos(names)
			s.checkTree()
			s.checkProbes()
			s.checkTables(names)
			s.checkPublishes(names, true)
			if t.Failed() {
				t.Fatalf("seed %d, round %d: %d nodes", seed, round, nodes)
			}
		}
		s.emptied()
		s.checkTables(names)
		if t.Failed() {
			t.Fatalf("seed %d: %d nodes, when all applications have gone", seed, nodes)
		}
	}
}

// The same with upstream nodes between, as long as each loop runs through a node of ours, and in full meshes of both kinds.
// Upstream nodes lose names on links that end, so in a network in which links do, nothing is wanted but that no message comes
// twice; when they have been restarted, and applications subscribe to all that they want anew, everything is.
// Rules: P-loop-1, P-loop-6.
func TestNoMessageComesTwiceBesideUpstream(t *testing.T) {
	for _, shape := range []struct {
		name  string
		relay bool
	}{{"links by hand", true}, {"full mesh", false}} {
		t.Run(shape.name, func(t *testing.T) {
			for seed := range seeds(30) {
				besideUpstream(t, seed, shape.relay)
			}
		})
	}
}

func besideUpstream(t *testing.T, seed uint64, relay bool) {
	names := []wire.NameText{simName(1), simName(2), simName(3)}
	rng := rand.New(rand.NewPCG(seed, 17))
	nodes := 2 + rng.IntN(11)
	rusts := rng.IntN(nodes)
	links := allLinks(nodes)
	if relay {
		links = randomLinks(rng, nodes, rusts)
	}
	s := newMixedNet(t, seed, nodes, rusts, links, relay, true)
	if len(s.links) == 0 {
		return
	}
	check := func(when string) {
		if relay {
			s.checkTree()
		}
		if t.Failed() {
			t.Fatalf("seed %d: %d nodes, %d of them upstream's, %s", seed, nodes, rusts, when)
		}
	}
	for range 3 {
		s.chaos(names)
		s.checkPublishes(names, false)
		check("in chaos")
	}
	s.emptied()
	for _, n := range s.nodes {
		if n.rust != nil {
			s.restart(n)
		}
	}
	s.rest()
	if relay {
		s.checkProbes()
	}
	s.checkTables(names)
	check("when all applications have gone")
	for range 20 {
		n := s.nodes[s.rng.IntN(len(s.nodes))]
		n.app().subscribe(names[s.rng.IntN(len(names))])
	}
	s.rest()
	s.checkTables(names)
	s.checkPublishes(names, true)
	check("when applications have come again")
}

// allLinks are those of a full mesh.
func allLinks(nodes int) (links [][2]int) {
	for a := range nodes {
		for b := range a {
			links = append(links, [2]int{a, b})
		}
	}
	return links
}

// chaos lets much happen to the network, and then lets it rest.
func (s *net) chaos(names []wire.NameText) {
	for range 15 {
		s.happen(names)
		for range s.rng.IntN(20) {
			s.step()
		}
	}
	s.rest()
}

// emptied is the network after all applications have gone.
func (s *net) emptied() {
	for _, n := range s.nodes {
		for len(n.apps) > 0 {
			n.apps[0].die()
		}
	}
	s.rest()
}

// In a full mesh, which passes nothing on, every subscriber gets a message once by its shape alone. Rules: P-loop-6.
func TestNoMessageComesTwiceInAFullMesh(t *testing.T) {
	names := []wire.NameText{simName(1), simName(2), simName(3)}
	for seed := range seeds(40) {
		rng := rand.New(rand.NewPCG(seed, 16))
		nodes := 2 + rng.IntN(11)
		s := newNet(t, seed, nodes, allLinks(nodes), false)
		for range 30 {
			s.happen(names)
			for range s.rng.IntN(20) {
				s.step()
			}
		}
		s.rest()
		s.check(names, 1)
		s.checkPublishes(names, true)
		if t.Failed() {
			t.Fatalf("seed %d: %d nodes", seed, nodes)
		}
	}
}

func TestProbesAreRead(t *testing.T) {
	of := weight{1, 2, 3}
	s := probeName(of, 4, 5).Str
	if got, node, ok := parseProbe(s); !ok || got != of || node != 4 {
		t.Errorf("%q is read as %v of %d, %v", s, got, node, ok)
	}
	for _, x := range [][3]string{{"slimgo", s[1], s[2]}, {s[0], "", ""}, {s[0], s[1] + ".", s[2]}, {s[0], "1.2.3", s[2]}, {s[0], s[1], s[2] + "0"},
		{s[0], s[2], s[1]}, {s[0], s[1][1:], s[2]}, {s[0], s[1], "000000000000000G.0000000000000005"}} {
		if of, node, ok := parseProbe(x); ok {
			t.Errorf("%q is read as %v of %d", x, of, node)
		}
	}
}

// guarded are the options of a node whose links stand by.
var guarded = Options{Relay: true, Guard: true}

// What a peer says of probes is bounded, and is not a name. Rules: P-loop-7, P-loop-2.
func TestProbesAreBounded(t *testing.T) {
	o := guarded
	o.Budget = &table.Budget{}
	s := newStand(t, o)
	p := s.peer("p")
	for i := range uint64(maxProbes + 10) {
		s.offer(p, probeName(s.m.of[p].weight, 7, i+1), i+1, probeTTL)
	}
	if n := s.m.routes.n(); n != maxProbes || s.names.Len() != 0 {
		t.Errorf("%d probes are kept, want %d, and %d names, want none", n, maxProbes, s.names.Len())
	}
	if ps := s.m.Peers(); ps[0].Learned != 0 {
		t.Errorf("%d names are learned, want none", ps[0].Learned)
	}
	s.withdraw(p, probeName(s.m.of[p].weight, 7, maxProbes+5), maxProbes+5) // one that was not heeded: no fault of the peer's
	s.leave(p)
	if names, bytes := s.m.opt.Budget.Used(); s.m.routes.n() != 0 || names != 0 || bytes != 0 {
		t.Errorf("%d routes are left, %d names and %d bytes of the budget", s.m.routes.n(), names, bytes)
	}
}

// A node with one peer link asks nothing, and that link is open; nor do applications ask. Rules: P-loop-2, P-loop-3.
func TestOnlyPeersAreProbed(t *testing.T) {
	s := newStand(t, guarded)
	p := s.peer("p")
	s.add(&end{"app"}, probeName(weight{1, 2, 3}, 4, 5), 1)
	s.add(&end{"app"}, simName(1), 2)
	s.want(p, subscribeTo(simName(1), 0, relayTTL))
	q := s.peer("q")
	for _, x := range []*end{p, q} {
		ts := s.next(x)
		if len(ts) != 1 || !IsProbe(&ts[0].Name.Name) || ts[0].TTL != probeTTL {
			t.Errorf("%s is told %v, want a probe", x.name, ts)
		}
	}
	s.leave(q)
	s.want(p, s.withdrawal(p)...)
}

// withdrawal is what p is told when its probe ends.
func (s *stand) withdrawal(p *end) []Tell {
	for r := s.m.first; r != nil; r = r.next {
		if r.probe() != nil && r.told(s.m.of[p]) != 0 {
			return []Tell{{Name: wire.NameText{Name: r.name, Str: r.str()}, ID: r.id, TTL: probeTTL, Withdraw: true}}
		}
	}
	return nil
}

// A link opens when its peer has acknowledged all probes, or does not for too long. Rules: P-loop-3.
func TestALinkOpensWhenItsPeerHasAnswered(t *testing.T) {
	for _, answers := range []bool{true, false} {
		s := newStand(t, guarded)
		s.peer("p")
		q := s.peer("q")
		open := func() bool { return s.m.of[q].guard.open }
		for _, x := range s.next(q) {
			if answers {
				s.m.Acked(q, x.ID)
			}
		}
		ticks := 0
		for ; !open() && ticks < 20; ticks++ {
			s.ticks(1)
		}
		want := openTicks
		if !answers {
			want = giveUpTicks
		}
		if ticks != want {
			t.Errorf("answers %v: open after %d ticks, want %d", answers, ticks, want)
		}
	}
}

// In a full mesh a node passes probes on, and no names, and has none of its own. Rules: P-loop-2, P-loop-6.
func TestAFullMeshPassesProbesOn(t *testing.T) {
	s := newStand(t, Options{Guard: true})
	p, q := s.peer("p"), s.peer("q")
	n := probeName(weight{1, 2, 3}, 4, 5)
	s.offer(p, n, 5, probeTTL-1)
	s.offer(p, simName(1), 6, relayTTL-1)
	s.want(q, subscribeTo(n, 5, probeTTL-1))
	s.want(p)
}

// Two links that are open to one node id for a while are those of two nodes that have the same, which is said once. One that stands by is not, nor
// one that is soon lost. Rules: P-loop-7.
func TestNodesOfOneID(t *testing.T) {
	s := newStand(t, Options{Relay: true})
	var said [][2]*end
	s.m.hooks.Double = func(p, q *end) { said = append(said, [2]*end{p, q}) }
	s.ticks(doubleTicks / 2)
	a := s.peer("same")
	s.peer("another")
	lost := s.peer("same")
	s.ticks(doubleTicks - 1)
	s.leave(lost)
	b := s.peer("same")
	s.ticks(doubleTicks - 1)
	if len(said) > 0 {
		t.Errorf("said too early: %v", said)
	}
	s.ticks(3 * doubleTicks)
	if len(said) != 1 || !slices.Contains(said[0][:], a) || !slices.Contains(said[0][:], b) {
		t.Errorf("said %v, want once, of two", said)
	}
	c := s.peer("same")
	s.ticks(3 * doubleTicks)
	if len(said) != 2 || !slices.Contains(said[1][:], c) {
		t.Errorf("said %v, want of a third, too", said)
	}
	s = newStand(t, guarded)
	s.m.hooks.Double = func(p, q *end) { t.Error("a link that stands by is said to be another node's") }
	p, q := s.peer("same"), s.peer("same")
	for _, e := range []*end{p, q} { // each gets the other's probe back
		for _, x := range s.next(e) {
			if other := map[*end]*end{p: q, q: p}[e]; IsProbe(&x.Name.Name) {
				s.offer(other, x.Name, x.ID, x.TTL-1)
			}
		}
	}
	s.ticks(3)
	if open := s.m.Peers()[0].Open && s.m.Peers()[1].Open; open {
		t.Fatal("no link stands by")
	}
	s.ticks(doubleTicks + 10) // then there are new probes
}

// A probe that a peer of upstream's takes back from us is doubted: it is withdrawn from all, and nobody's offer counts for holdTicks,
// also not that in use. Rules: P-loop-5.
func TestAProbeThatIsTakenBackIsDoubted(t *testing.T) {
	s := newStand(t, Options{Guard: true}) // has no probes of its own
	q, p := s.peer("q"), s.peer("p")
	n := probeName(weight{1, 2, 3}, 4, 5)
	s.offer(q, n, 5, probeTTL-1)
	s.want(p, subscribeTo(n, 5, probeTTL-1))
	s.offer(p, n, 5, probeTTL-5) // an echo
	s.withdraw(p, n, 5)
	s.want(p, Tell{Name: n, ID: 5, TTL: probeTTL, Withdraw: true})
	s.ticks(holdTicks - 1)
	s.want(p)
	s.ticks(1)
	s.want(p, subscribeTo(n, 5, probeTTL-1))
}

// A link whose probe does not come back any more is probed anew at the next tick, and opens. Rules: P-loop-4.
func TestALinkThatStandsByIsProbedAnew(t *testing.T) {
	s := newStand(t, guarded)
	p, q := s.peer("p"), s.peer("q")
	probe := func(x *end) *Tell {
		for _, tell := range s.next(x) {
			if s.m.Acked(x, tell.ID); !tell.Withdraw && s.m.of[x].guard.probe.id == tell.ID {
				return &tell
			}
		}
		return nil
	}
	late, other := p, q // the link that comes after the other one
	if s.m.of[p].weight.compare(s.m.of[q].weight) < 0 {
		late, other = q, p
	}
	first := probe(late)
	probe(other)
	if first == nil {
		t.Fatal("no probe of the link")
	}
	s.offer(other, first.Name, first.ID, probeTTL-3)
	if x := s.m.of[late].guard; !x.standby || x.open {
		t.Fatal("the link does not stand by though its probe is back")
	}
	s.withdraw(other, first.Name, first.ID)
	s.ticks(1)
	if second := probe(late); second == nil || second.ID == first.ID {
		t.Fatalf("it is not probed anew: %v", second)
	}
	for range openTicks {
		s.ticks(1)
		s.next(late)
		s.next(other)
	}
	if x := s.m.of[late].guard; x.standby || !x.open {
		t.Error("the link is not open, though its new probe does not come back")
	}
}

// A probe is replaced after 60 to 76 seconds: what others have forgotten of it they learn again. Rules: P-loop-5.
func TestProbesAreReplaced(t *testing.T) {
	s := newStand(t, guarded)
	p, _ := s.peer("p"), s.peer("q")
	first := s.m.of[p].guard.probe.id
	s.ticks(refreshTicks - 1)
	if s.m.of[p].guard.probe.id != first {
		t.Error("a probe is replaced before its time")
	}
	s.ticks(17)
	if s.m.of[p].guard.probe.id == first {
		t.Error("a probe is not replaced")
	}
}

// A peer that leaves while its routes are gone through leaves no review behind.
func TestAReviewEndsWithItsPeer(t *testing.T) {
	s := newStand(t, Options{Relay: true, Guard: true, Budget: &table.Budget{}})
	p := s.peer("p")
	s.peer("q")
	for i := range 3 * portion {
		s.offer(p, simName(i), uint64(i+1), 7)
	}
	if !s.m.RegateStep(p) {
		t.Fatal("all of the routes in one step")
	}
	s.leave(p)
	if n := len(s.m.reviews); n != 0 {
		t.Errorf("%d reviews are left", n)
	}
}
