package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// net is several nodes, each with a table and a mesh, and links between them whose messages the test delivers one
// by one, in any order that keeps each link's own.
type net struct {
	t      testing.TB
	rng    *rand.Rand
	nodes  []*node
	links  []*conn // both ends of each
	swept  []*conn // ends of lost links whose sweep is not over
	regate []*conn // ends of links for which there is more to do since they have opened or stand by
	stale  []*conn // ends of links to a node that has lost its power, which do not know it yet
	msgs   int     // delivered
	guard  bool    // links that close a loop stand by
	pubs   uint64  // messages that were published
}

type node struct {
	net   *net
	name  string
	relay bool
	names *table.Table[conn]
	m     *Mesh[conn]
	apps  []*conn
	rust  *rust // an upstream node; nil: one of ours
}

// conn is a connection of a node: an application or one end of a link.
type conn struct {
	at     *node
	far    *conn // nil: an application
	up     bool
	open   bool // what comes is passed on
	slow   bool // it takes its time
	poked  bool
	in     []message // on the way to this end
	held   map[wire.Name]uint64
	got    map[uint64]int // publishes, by id
	acks   map[uint64]int // awaited, by id
	lastID uint64
}

type message struct {
	tell  Tell
	isAck bool
	id    uint64 // of an ack, or of a publish
	pub   bool
	ttl   int // of a publish
}

var simText = [3]string{"org", "ns", "app"}

func simName(i int) wire.NameText {
	return wire.NameText{Name: wire.NewName(simText[0], simText[1], simText[2]).WithID(1, uint64(i)), Str: simText}
}

func newNet(t testing.TB, seed uint64, nodes int, links [][2]int, relay bool) *net {
	return newMixedNet(t, seed, nodes, 0, links, relay, false)
}

// newMixedNet is newNet in which the first nodes are upstream's.
func newMixedNet(t testing.TB, seed uint64, nodes, rusts int, links [][2]int, relay, guard bool) *net {
	s := &net{t: t, rng: rand.New(rand.NewPCG(seed, 1)), guard: guard}
	for i := range nodes {
		n := &node{net: s, name: fmt.Sprintf("n%d", i), relay: relay}
		if i < rusts {
			n.rust = newRust(n)
		}
		n.begin()
		s.nodes = append(s.nodes, n)
	}
	for _, l := range links {
		a, b := &conn{at: s.nodes[l[0]]}, &conn{at: s.nodes[l[1]]}
		a.far, b.far = b, a
		s.links = append(s.links, a, b)
		s.linkUp(a)
	}
	return s
}

// begin gives a node an empty table and a mesh without peers.
func (n *node) begin() {
	if n.rust != nil {
		return
	}
	n.names = table.New[conn]()
	n.m = New(n.names, Options{Relay: n.relay, Guard: n.net.guard && n.relay, NodeID: n.name, Budget: &table.Budget{}}, Hooks[conn]{
		Poke: func(c *conn) {
			if c.poked {
				n.net.t.Error("poked twice before Next")
			}
			c.poked = true
		},
		Gate: func(c *conn, open bool, _ string) {
			c.open = open
			if !slices.Contains(n.net.regate, c) {
				n.net.regate = append(n.net.regate, c)
			}
		},
		Done: func(c *conn, id uint64, _ bool) { c.acknowledged(id) },
	})
	n.m.portion = 3 // long work is seldom done in one go
}

// powerLoss lets a node begin anew and dial again. Its neighbours do not see that the old links are dead until stale ones
// are ended.
func (s *net) powerLoss(n *node) {
	n.apps = nil
	n.begin()
	for i, l := range s.links {
		if l.at != n || !l.up {
			continue
		}
		old, far := l.far, &conn{at: l.far.at}
		old.far, old.in = nil, nil
		s.stale = append(s.stale, old)
		s.links[i] = &conn{at: n, far: far}
		s.links[i^1] = far
		far.far = s.links[i]
		s.linkUp(far)
	}
}

// endStale is the keepalive of a dead link.
func (s *net) endStale() {
	l := s.stale[0]
	s.stale = s.stale[1:]
	l.up, l.poked = false, false
	if l.at.rust != nil {
		l.at.rust.leave(l)
		return
	}
	l.at.m.Leave(l)
	removeConn(l.at.names, l)
	s.swept = append(s.swept, l)
}

// linkUp brings a link up, both ends as new connections, as after a reconnect.
func (s *net) linkUp(c *conn) {
	for i, l := range s.links {
		if l == c || l == c.far {
			n := &conn{at: l.at, up: true}
			s.links[i] = n
		}
	}
	i := slices.IndexFunc(s.links, func(l *conn) bool { return l.far == nil })
	a, b := s.links[i], s.links[i^1]
	a.far, b.far = b, a
	for _, l := range []*conn{a, b} {
		if l.at.rust != nil {
			l.at.rust.join(l)
			continue
		}
		l.slow = s.guard && s.rng.IntN(8) == 0
		_, open, err := l.at.m.Join(l, l.far.at.name, uint64(i/2))
		if err != nil {
			s.t.Fatal(err)
		}
		l.open = l.open || open
		l.at.m.Fill()
	}
}

// linkDown loses a link with everything on it.
func (s *net) linkDown(c *conn) {
	for _, l := range []*conn{c, c.far} {
		l.up, l.in, l.poked = false, nil, false
		if l.at.rust != nil {
			l.at.rust.leave(l)
			continue
		}
		l.at.m.Leave(l)
		removeConn(l.at.names, l)
		s.swept = append(s.swept, l)
	}
}

func (n *node) app() *conn {
	c := &conn{at: n, up: true, held: map[wire.Name]uint64{}, acks: map[uint64]int{}, got: map[uint64]int{}, lastID: n.net.rng.Uint64()}
	n.apps = append(n.apps, c)
	return c
}

func (c *conn) subscribe(nt wire.NameText) {
	if _, ok := c.held[nt.Name]; ok {
		return
	}
	c.lastID++
	c.held[nt.Name] = c.lastID
	if c.at.rust != nil {
		c.at.rust.subscribe(c, nt, c.lastID, 0)
		return
	}
	if _, err := c.at.names.Add(c, table.Edge, table.Key{Name: nt.Name, HasID: true}, c.lastID, nt.Str, true); err != nil {
		c.at.net.t.Fatal(err)
	}
	c.told(nt.Name, c.lastID)
}

func (c *conn) unsubscribe(nt wire.NameText) {
	id, ok := c.held[nt.Name]
	if !ok {
		return
	}
	delete(c.held, nt.Name)
	if c.at.rust != nil {
		c.at.rust.unsubscribe(c, nt, id, 0)
		return
	}
	if _, err := c.at.names.Remove(c, table.Key{Name: nt.Name, HasID: true}, id); err != nil {
		c.at.net.t.Fatal(err)
	}
	c.told(nt.Name, id)
}

func (c *conn) told(n wire.Name, id uint64) {
	c.acks[id]++
	if !c.at.m.Active() || !c.at.m.Touch(n, c, id) {
		c.acknowledged(id)
	}
}

func (c *conn) acknowledged(id uint64) {
	if c.far == nil && c.held == nil { // a stale link
		return
	}
	if c.far != nil {
		if c.up {
			c.far.in = append(c.far.in, message{isAck: true, id: id})
		}
		return
	}
	if c.acks[id]--; c.acks[id] < 0 {
		c.at.net.t.Errorf("%s: an application's subscription was acknowledged twice", c.at.name)
	}
}

func (c *conn) die() {
	c.at.apps = slices.DeleteFunc(c.at.apps, func(x *conn) bool { return x == c })
	if c.at.rust != nil {
		c.at.rust.leave(c)
		return
	}
	c.at.m.Lost(removeConn(c.at.names, c))
}

// step delivers one message or lets one peer be told something, and reports whether there was anything to do.
func (s *net) step() bool {
	for _, l := range s.stale { // what they say reaches nobody
		if l.poked {
			_, l.poked = l.at.m.Next(l, make([]Tell, 0, 3))
		}
	}
	var can []*conn
	for _, l := range s.links {
		if l.poked || len(l.in) > 0 {
			can = append(can, l)
		}
	}
	if n := len(s.regate); n > 0 && s.rng.IntN(2) == 0 {
		i := s.rng.IntN(n)
		if l := s.regate[i]; !l.at.m.RegateStep(l) {
			s.regate = slices.Delete(s.regate, i, i+1)
		}
		return true
	}
	if i := s.rng.IntN(len(can) + 2*len(s.swept) + 1); i < 2*len(s.swept) {
		i /= 2
		if l := s.swept[i]; !l.at.m.SweepStep(l) {
			s.swept = slices.Delete(s.swept, i, i+1)
		}
		return true
	}
	if len(can) == 0 {
		return len(s.swept)+len(s.regate) > 0
	}
	l := can[s.rng.IntN(len(can))]
	if l.slow && s.rng.IntN(8) > 0 {
		return true
	}
	if l.poked && (len(l.in) == 0 || s.rng.IntN(2) == 0) {
		ts, more := l.at.m.Next(l, make([]Tell, 0, 1+s.rng.IntN(3)))
		l.poked = more
		for _, x := range ts {
			l.far.in = append(l.far.in, message{tell: x})
		}
		return true
	}
	m := l.in[0]
	l.in = l.in[1:]
	s.msgs++
	l.receive(m)
	return true
}

func (c *conn) receive(m message) {
	x := m.tell
	if m.pub {
		c.at.publish(c, x.Name.Name, m.id, m.ttl-1)
		return
	}
	if r := c.at.rust; r != nil {
		r.receive(c, m)
		return
	}
	switch ttl := x.TTL - 1; {
	case m.isAck:
		c.at.m.Acked(c, m.id)
	case ttl == 0:
		c.at.net.t.Errorf("%s was told with TTL 1", c.at.name)
	case x.Withdraw:
		if _, waits := c.at.m.Withdraw(c, x.Name.Name, x.ID); !waits {
			c.acknowledged(x.ID)
		}
	default:
		waits, err := c.at.m.Offer(c, subscription(x.Name, x.ID, ttl))
		if err != nil {
			c.at.net.t.Fatal(err)
		}
		if !waits {
			c.acknowledged(x.ID)
		}
	}
}

// quiet delivers everything, and reports how many messages it took.
func (s *net) quiet() int {
	before := s.msgs
	for n := 0; s.step(); n++ {
		if n > 1_000_000 {
			s.t.Fatal("the nodes never stop talking")
		}
	}
	return s.msgs - before
}

func (s *net) tick() {
	if len(s.stale) > 0 && s.rng.IntN(2) == 0 {
		s.endStale()
	}
	for _, n := range s.nodes {
		if n.rust != nil {
			continue
		}
		n.m.Tick()
		for n.m.Due() {
		}
	}
}

// rest lets time pass until nothing more can happen.
func (s *net) rest() {
	for len(s.stale) > 0 {
		s.endStale()
	}
	s.quiet()
	ticks := 12 * (holdTicks + 1)
	if s.guard {
		ticks = probeTTL * (holdTicks + 2) // an echo by way of upstream nodes loses a hop in that time
	}
	for range ticks {
		s.tick()
		s.quiet()
	}
}

// holders says which nodes that a can reach, but for a, hold n, and at what distance.
func (s *net) holders(a *node, n wire.Name) map[*node]int {
	far := s.distances(a, (*conn).passes)
	delete(far, a)
	for b := range far {
		if !b.holds(n) {
			delete(far, b)
		}
	}
	return far
}

// routes is how many names of nodes are in use.
func (n *node) routes() (some int) {
	for r := n.m.first; r != nil; r = r.next {
		if r.probe() == nil && r.ttl > 0 {
			some++
		}
	}
	return some
}

func (n *node) holds(name wire.Name) bool {
	return slices.ContainsFunc(n.apps, func(c *conn) bool { _, ok := c.held[name]; return ok })
}

// verify says what of a mesh's bookkeeping does not agree.
func verify[C any](m *Mesh[C]) (wrong string) {
	listed, walking, own := map[*route[C]]int{}, 0, 0
	for r, last := m.first, (*route[C])(nil); r != nil; r, last = r.next, r {
		if r.prev != last || m.routes.find(r.name, r.id) != r {
			return "a route is not where it should be in the list of changes"
		}
		listed[r] = len(listed)
		own += r.own()
	}
	if len(listed) != m.routes.n() || (m.last != nil && m.last.next != nil) || (m.first == nil) != (m.last == nil) {
		return fmt.Sprintf("%d routes, %d in the list of changes", m.routes.n(), len(listed))
	}
	offers, ended := 0, 0
	for _, p := range m.slots {
		if p == nil {
			continue
		}
		if p.at != nil {
			walking++
		} else if !p.gone {
			ended++
		}
		n := 0
		for r := range listed {
			if m.offerOf(r, p) != nil {
				n++
			}
			if !p.gone && r.differs(p) && (p.at == nil || listed[r] < listed[p.at] || !p.poked) {
				return "a peer is not going to be told what it should know"
			}
		}
		if n != p.offers {
			return fmt.Sprintf("a peer has %d offers, counted %d", n, p.offers)
		}
		offers += n
	}
	if walking != m.walking || ended != len(m.ended) {
		return fmt.Sprintf("%d peers walk and %d are at the end, counted %d and %d",
			walking, ended, m.walking, len(m.ended))
	}
	names, bytes := m.opt.Budget.Used()
	if int(names) != offers || int(bytes) != own || offers != m.offers || own != m.textBytes {
		return fmt.Sprintf("%d offers and %d bytes, counted %d and %d, in the budget %d and %d",
			offers, own, m.offers, m.textBytes, names, bytes)
	}
	return ""
}

// check wants each node to know exactly the names that others hold, once for each holder, and the way to each.
func (s *net) check(names []wire.NameText, reach int) {
	s.t.Helper()
	for _, n := range s.nodes {
		own := 0
		for _, nt := range names {
			want := s.holders(n, nt.Name)
			if n.holds(nt.Name) {
				own++
			}
			near := 0
			for b, d := range want {
				r := n.route(nt.Name, b)
				if d > reach {
					if r != nil {
						s.t.Errorf("%s knows %v of %s, which is %d hops away", n.name, nt.Name.Lo, b.name, d)
					}
					continue
				}
				near++
				if !s.leads(n, b, nt.Name) {
					s.t.Errorf("%s has no way to %v at %s (%d hops)", n.name, nt.Name.Lo, b.name, d)
				}
			}
			if got := n.names.Kinds(&nt.Name).Has(table.Peer); got != (near > 0) {
				s.t.Errorf("%s: a peer holds %v = %v, want %v", n.name, nt.Name.Lo, got, near > 0)
			}
			own += near
		}
		if n.m.Active() {
			if got := n.routes(); got != own {
				s.t.Errorf("%s has %d routes, want %d", n.name, got, own)
			}
		}
		if n.m.waits != 0 || len(n.m.routes.byID) != n.m.routes.n() {
			s.t.Errorf("%s: %d waits are left, %d ids for %d routes", n.name, n.m.waits, len(n.m.routes.byID), n.m.routes.n())
		}
		for _, c := range n.apps {
			for id, k := range c.acks {
				if k != 0 {
					s.t.Errorf("%s: subscription %d is not acknowledged", n.name, id)
				}
			}
		}
	}
}

// route is what n knows of name at b.
func (n *node) route(name wire.Name, b *node) *route[conn] {
	own := b.m.local[name]
	if own == nil {
		return nil
	}
	return n.m.routes.find(own.name, own.id)
}

// leads follows the way from a to b.
func (s *net) leads(a, b *node, name wire.Name) bool {
	for range len(s.nodes) {
		r := a.route(name, b)
		if r == nil || r.parent == 0 || !a.m.parentOf(r).conn.up {
			return r != nil && r.is(local) && a == b
		}
		a = a.m.parentOf(r).conn.far.at
	}
	return a == b
}

var shapes = []struct {
	name  string
	nodes int
	links [][2]int
}{
	{"pair", 2, [][2]int{{0, 1}}},
	{"star", 3, [][2]int{{0, 1}, {0, 2}}},
	{"triangle", 3, [][2]int{{0, 1}, {1, 2}, {2, 0}}},
	{"double link", 2, [][2]int{{0, 1}, {0, 1}}},
	{"ring", 5, [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 0}}},
	{"clique", 4, [][2]int{{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}}},
}

// After any history of applications and links, every node knows what others hold, and nothing else.
func TestEveryNodeKnowsWhatOthersHold(t *testing.T) {
	names := []wire.NameText{simName(1), simName(2), simName(3), simName(4)}
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			for seed := range uint64(60) {
				s := newNet(t, seed, shape.nodes, shape.links, true)
				for range 40 {
					s.happen(names)
					for range s.rng.IntN(12) {
						s.step()
					}
				}
				s.rest()
				s.check(names, relayTTL-1)
				for _, l := range s.links {
					if !l.up {
						s.linkUp(l)
					}
				}
				s.rest()
				s.check(names, relayTTL-1)
				for _, n := range s.nodes {
					for len(n.apps) > 0 {
						n.apps[0].die()
					}
				}
				s.rest()
				s.check(names, relayTTL-1)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// happen does one thing to the network.
func (s *net) happen(names []wire.NameText) {
	for _, n := range s.nodes {
		if n.rust != nil {
			continue
		}
		if wrong := verify(n.m); wrong != "" {
			s.t.Fatalf("%s: %s", n.name, wrong)
		}
	}
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	l := s.links[s.rng.IntN(len(s.links))]
	nt := names[s.rng.IntN(len(names))]
	if len(n.apps) == 0 {
		n.app()
	}
	c := n.apps[s.rng.IntN(len(n.apps))]
	switch k := s.rng.IntN(20); {
	case k < 8:
		c.subscribe(nt)
	case k < 12:
		c.unsubscribe(nt)
	case k == 12:
		c.die()
	case k == 13:
		n.app()
	case k == 14:
		s.tick()
	case k < 17 && l.up:
		s.linkDown(l)
	case k == 19 && s.rng.IntN(3) == 0:
		if n.rust != nil {
			s.restart(n)
		} else {
			s.powerLoss(n)
		}
	case !l.up:
		s.linkUp(l)
	}
}

// A route goes as far as its TTL: seven nodes behind its own. Rules: P-peer-5.
func TestRoutesEndWithTheirTTL(t *testing.T) {
	const nodes = 11
	var links [][2]int
	for i := range nodes - 1 {
		links = append(links, [2]int{i, i + 1})
	}
	s := newNet(t, 1, nodes, links, true)
	c := s.nodes[0].app()
	c.subscribe(simName(1))
	s.rest()
	s.check([]wire.NameText{simName(1)}, relayTTL-1)
	c.die()
	s.rest()
	s.check([]wire.NameText{simName(1)}, relayTTL-1)
}

// Without relaying, a node hears from its neighbours of their own names only. Rules: P-peer-1.
func TestFullMeshTellsNeighboursOnly(t *testing.T) {
	s := newNet(t, 1, 3, [][2]int{{0, 1}, {1, 2}}, false)
	s.nodes[0].app().subscribe(simName(1))
	s.nodes[1].app().subscribe(simName(2))
	s.rest()
	s.check([]wire.NameText{simName(1), simName(2)}, 1)
}

// When an application leaves, the news of it goes everywhere once, without echoes.
func TestDeathSpreadsWithoutEchoes(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			for seed := range uint64(50) {
				s := newNet(t, seed, shape.nodes, shape.links, true)
				c := s.nodes[0].app()
				c.subscribe(simName(1))
				came := s.quiet()
				s.rest()
				c.die()
				// A few are told again who withdraw before they hear of the death themselves.
				left := s.quiet()
				if left > 5*came {
					t.Errorf("seed %d: %d messages for the death of a name, %d for its birth", seed, left, came)
				}
				for _, n := range s.nodes {
					if n.names.Len() != 0 || n.m.routes.n() != 0 {
						t.Errorf("seed %d: %s still knows the name", seed, n.name)
					}
				}
			}
		})
	}
}

// A lost link is gone around as soon as echoes have had their time.
func TestLostLinksAreGoneAround(t *testing.T) {
	s := newNet(t, 1, 3, [][2]int{{0, 1}, {1, 2}, {2, 0}}, true)
	s.nodes[0].app().subscribe(simName(1))
	s.quiet()
	s.linkDown(s.links[0])
	for range holdTicks {
		s.quiet()
		s.tick()
	}
	s.quiet()
	s.check([]wire.NameText{simName(1)}, relayTTL-1)
}
