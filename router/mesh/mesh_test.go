package mesh

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// end is a connection of the node under test that the test plays by hand.
type end struct{ name string }

// stand is one node whose peers are played by the test.
type stand struct {
	t     *testing.T
	names *table.Table[end]
	m     *Mesh[end]
	poked map[*end]int
	done  []uint64 // acks of Hooks.Done, in order
	lasts []bool   // likewise
}

func newStand(t *testing.T, o Options) *stand {
	s := &stand{t: t, names: table.New[end](), poked: map[*end]int{}}
	if o.Budget == nil {
		o.Budget = &table.Budget{PerConn: 100}
	}
	if o.NodeID == "" {
		o.NodeID = "node"
	}
	s.m = New(s.names, o, Hooks[end]{
		Poke: func(p *end) { s.poked[p]++ },
		Gate: func(*end, bool, string) {},
		Done: func(_ *end, ack uint64, last bool) {
			s.done, s.lasts = append(s.done, ack), append(s.lasts, last)
		},
	})
	return s
}

func (s *stand) peer(name string) *end {
	s.t.Helper()
	p := &end{name}
	if _, _, err := s.m.Join(p, name, 0); err != nil {
		s.t.Fatal(err)
	}
	s.m.Fill()
	return p
}

func (s *stand) leave(p *end) {
	s.m.Leave(p)
	removeConn(s.names, p)
	for s.m.SweepStep(p) {
	}
}

// removeConn takes all steps of a removal.
func removeConn[C any](names *table.Table[C], c *C) (lost []table.Lost) {
	r := names.RemoveConn(c)
	for more := true; more; {
		var some []table.Lost
		some, more = r.Step()
		lost = append(lost, some...)
	}
	return lost
}

func (s *stand) add(c *end, n wire.NameText, sid uint64) (waits bool) {
	s.t.Helper()
	if _, err := s.names.Add(c, table.Edge, table.Key{Name: n.Name, HasID: true}, sid, n.Str, !n.NoStrings); err != nil {
		s.t.Fatal(err)
	}
	return s.m.Touch(n.Name, c, sid)
}

func (s *stand) remove(c *end, n wire.NameText, sid uint64) (waits bool) {
	s.t.Helper()
	if _, err := s.names.Remove(c, table.Key{Name: n.Name, HasID: true}, sid); err != nil {
		s.t.Fatal(err)
	}
	return s.m.Touch(n.Name, c, sid)
}

func (s *stand) offer(p *end, n wire.NameText, id uint64, ttl uint32) (waits bool) {
	s.t.Helper()
	waits, err := s.m.Offer(p, subscription(n, id, ttl))
	if err != nil {
		s.t.Fatal(err)
	}
	return waits
}

func subscription(n wire.NameText, id uint64, ttl uint32) *Subscription {
	return &Subscription{Key: table.Key{Name: n.Name, HasID: true}, ID: id, TTL: ttl, Str: n.Str, HasStr: true}
}

func (s *stand) withdraw(p *end, n wire.NameText, id uint64) {
	s.t.Helper()
	if found, _ := s.m.Withdraw(p, n.Name, id); !found {
		s.t.Fatalf("%s had not told %d", p.name, id)
	}
}

// next takes all that p is to be told.
func (s *stand) next(p *end) (ts []Tell) {
	for more := true; more; {
		var some []Tell
		some, more = s.m.Next(p, make([]Tell, 0, 2))
		ts = append(ts, some...)
	}
	return ts
}

// want takes what p is to be told and compares it. ids are not compared where want has 0.
func (s *stand) want(p *end, want ...Tell) []Tell {
	s.t.Helper()
	got := s.next(p)
	if len(got) != len(want) {
		s.t.Fatalf("%s is told %v, want %v", p.name, got, want)
	}
	for i := range got {
		g := got[i]
		if want[i].ID == 0 {
			g.ID = 0
		}
		if g != want[i] {
			s.t.Fatalf("%s is told %+v, want %+v", p.name, g, want[i])
		}
	}
	return got
}

func (s *stand) held(n wire.NameText) bool { return s.names.Kinds(&n.Name).Has(table.Peer) }

func (s *stand) ticks(n int) {
	for range n {
		s.m.Tick()
		for s.m.Due() {
		}
	}
}

func subscribeTo(n wire.NameText, id uint64, ttl uint32) Tell { return Tell{Name: n, ID: id, TTL: ttl} }
func leaveOf(n wire.NameText, id uint64) Tell {
	return Tell{Name: n, ID: id, TTL: relayTTL, Withdraw: true}
}

var relay = Options{Relay: true}

func TestOwnNamesAreToldAtLinkUpAndAsTheyChange(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		ttl  uint32
	}{{"links by hand", relay, 8}, {"full mesh", Options{}, 2}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, c.opt)
			app, early, late := &end{"app"}, simName(1), simName(2)
			s.add(app, early, 5)
			p := s.peer("p")
			id := s.want(p, subscribeTo(early, 0, c.ttl))[0].ID
			s.add(app, late, 6)
			s.add(&end{"other"}, late, 7) // held twice, told once
			s.want(p, subscribeTo(late, 0, c.ttl))
			s.remove(app, late, 6)
			s.want(p)
			s.m.Lost(removeConn(s.names, app))
			s.want(p, leaveOf(early, id))
		})
	}
}

// A name held here under id 0, as after a reconnect of its application, has a real id on its way and can be withdrawn.
func TestReplayedNamesTravelUnderARealID(t *testing.T) {
	s := newStand(t, relay)
	app, n := &end{"app"}, simName(1)
	p := s.peer("p")
	s.add(app, n, 0)
	id := s.want(p, subscribeTo(n, 0, 8))[0].ID
	if id == 0 {
		t.Error("told with id 0")
	}
	s.remove(app, n, 0)
	s.want(p, leaveOf(n, id))
}

// An upstream node that dials again keeps what it had learned: a restarted node must use the same ids to take it back.
// Rules: P-peer-7.
func TestOwnIDsSurviveARestart(t *testing.T) {
	n := simName(1)
	id := func(node string) uint64 {
		s := newStand(t, Options{Relay: true, NodeID: node})
		p := s.peer("p")
		s.add(&end{"app"}, n, 3)
		return s.next(p)[0].ID
	}
	if a, b := id("one"), id("one"); a != b {
		t.Errorf("ids of two lives: %d and %d", a, b)
	}
	if a, b := id("one"), id("two"); a == b {
		t.Error("two nodes use one id for a name")
	}
}

func TestAnIDThatTravelsForAnotherNameIsNotUsed(t *testing.T) {
	s := newStand(t, relay)
	n, other := simName(1), simName(2)
	p := s.peer("p")
	s.add(&end{"app"}, n, 3)
	id := s.next(p)[0].ID

	s = newStand(t, relay)
	p, q := s.peer("p"), s.peer("q")
	s.offer(p, other, id, 7)
	s.add(&end{"app"}, n, 3)
	if got := s.next(p)[0].ID; got == id || got == 0 {
		t.Errorf("told under id %d, which travels for another name", got)
	}
	s.want(q, subscribeTo(other, id, 7), subscribeTo(n, 0, 8))
}

// Rules: P-peer-5.
func TestPeersRoutesAreRelayedWhileTTLLasts(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		ttl  uint32
		want uint32 // 0: not told
	}{
		{"far from the end", relay, 7, 7},
		{"last hop but one", relay, 2, 2},
		{"who decrements 1 drops it", relay, 1, 0},
		{"an endless TTL ends", relay, 1 << 30, 7},
		{"full mesh relays nothing", Options{}, 7, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, c.opt)
			n := simName(1)
			p, q := s.peer("p"), s.peer("q")
			s.offer(p, n, 9, c.ttl)
			if !s.held(n) {
				t.Error("the name is not in the table")
			}
			s.want(p)
			if c.want == 0 {
				s.want(q)
			} else {
				s.want(q, subscribeTo(n, 9, c.want))
				s.want(s.peer("late"), subscribeTo(n, 9, c.want))
			}
			s.withdraw(p, n, 9)
			if s.held(n) {
				t.Error("the name is still in the table")
			}
			if c.want == 0 {
				s.want(q)
			} else {
				s.want(q, leaveOf(n, 9))
			}
		})
	}
}

// Rules: P-peer-6.
func TestTheNearestOfferIsUsed(t *testing.T) {
	s := newStand(t, relay)
	n := simName(1)
	p, q, w := s.peer("p"), s.peer("q"), s.peer("watch")
	holder := func(want *end) {
		t.Helper()
		if got := s.names.MatchAll(&n.Name, nil, table.All, nil); len(got) != 1 || got[0] != want {
			t.Fatalf("holders %v, want %v alone", got, want.name)
		}
	}
	s.offer(p, n, 9, 4)
	holder(p)
	s.want(w, subscribeTo(n, 9, 4))
	s.offer(q, n, 9, 4) // not better: it stays as it is
	holder(p)
	s.want(w)
	s.offer(q, n, 9, 6)
	holder(q)
	s.want(w, subscribeTo(n, 9, 6))
	s.want(p, subscribeTo(n, 9, 6))
	s.offer(p, n, 9, 6)
	s.withdraw(q, n, 9) // p is as near: it cannot be an echo
	holder(p)
	s.want(w)
}

// Where another way may be an echo, the route rests before it is used. Rules: P-peer-8.
func TestAFartherOfferRestsBeforeItIsUsed(t *testing.T) {
	for _, c := range []struct {
		name string
		echo bool
	}{{"an echo dies meanwhile", true}, {"a way around is used", false}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, relay)
			n := simName(1)
			p, q := s.peer("p"), s.peer("q")
			s.offer(p, n, 9, 7)
			s.offer(q, n, 9, 6)
			s.next(q)
			s.leave(p)
			if s.held(n) {
				t.Error("the offer is used at once")
			}
			s.want(q, leaveOf(n, 9))
			s.ticks(holdTicks - 1)
			if s.held(n) {
				t.Error("the offer is used too early")
			}
			if c.echo {
				s.withdraw(q, n, 9)
			}
			s.ticks(1)
			if got := s.held(n); got == c.echo {
				t.Errorf("held = %v after the rest", got)
			}
			s.want(q)
		})
	}
}

// An upstream node that loses its way forgets that another was offered: it is told again. Rules: P-peer-9.
func TestWhoLosesItsWayIsToldAgain(t *testing.T) {
	s := newStand(t, relay)
	n := simName(1)
	p, q := s.peer("p"), s.peer("q")
	s.offer(p, n, 9, 7)
	s.want(q, subscribeTo(n, 9, 7))
	s.offer(q, n, 9, 6)
	s.withdraw(q, n, 9)
	s.want(q, subscribeTo(n, 9, 7))
	s.want(q)
}

// Rules: P-peer-8.
func TestLostPeerIsWithdrawnFromTheOthers(t *testing.T) {
	s := newStand(t, relay)
	app, both, only := &end{"app"}, simName(1), simName(2)
	p, q, w := s.peer("p"), s.peer("q"), s.peer("watch")
	s.add(app, both, 1)
	s.offer(p, both, 8, 7)
	s.offer(p, only, 9, 7)
	own := s.next(w)[0].ID
	s.next(q)
	s.leave(p)
	for _, x := range []*end{q, w} {
		got := s.next(x)
		slices.SortFunc(got, func(a, b Tell) int { return cmp.Compare(a.ID, b.ID) })
		if !slices.Equal(got, []Tell{leaveOf(both, 8), leaveOf(only, 9)}) {
			t.Errorf("%s is told %v, want both withdrawn", x.name, got)
		}
	}
	s.remove(app, both, 1)
	s.want(w, leaveOf(both, own))
	s.next(q)
	if s.m.routes.n() != 0 {
		t.Errorf("%d routes are left", s.m.routes.n())
	}
}

func TestChangesThatCancelOutAreNotSent(t *testing.T) {
	s := newStand(t, relay)
	app, n := &end{"app"}, simName(1)
	p := s.peer("p")
	if !s.add(app, n, 1) {
		t.Fatal("nobody waits for the peer")
	}
	if s.remove(app, n, 1) || !slices.Equal(s.done, []uint64{1}) {
		t.Errorf("acknowledged %v, want the first, and the second not to wait", s.done)
	}
	s.want(p)
	if s.m.routes.n() != 0 {
		t.Errorf("%d routes are left", s.m.routes.n())
	}
}

// Upstream breaks on a name without strings.
func TestNamesThatCannotBeToldAreNot(t *testing.T) {
	long := wire.Text("org", "ns", strings.Repeat("x", maxText)).WithID(1, 1)
	mute := simName(1)
	mute.NoStrings = true
	for _, n := range []wire.NameText{mute, long} {
		s := newStand(t, relay)
		p := s.peer("p")
		if s.add(&end{"app"}, n, 1) {
			t.Error("somebody waits for what is not told")
		}
		s.want(p)
	}
	s := newStand(t, relay)
	p := s.peer("p")
	s.add(&end{"hostile"}, mute, 1)
	n := simName(1)
	s.add(&end{"app"}, n, 2) // the strings come with the second
	s.want(p, subscribeTo(n, 0, 8))
}

// Rules: P-peer-10.
func TestPeersNamesWithIDZero(t *testing.T) {
	for _, c := range []struct {
		name string
		sid  uint64 // of the Unsubscribe
	}{{"withdrawn with id 0", 0}, {"withdrawn with the id of old", 77}} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, relay)
			n := simName(1)
			p, q := s.peer("p"), s.peer("q")
			s.offer(p, n, 0, 7)
			s.offer(p, n, 0, 7)
			if !s.held(n) {
				t.Error("the name is not in the table")
			}
			id := s.want(q, subscribeTo(n, 0, 7))[0].ID
			if id == 0 {
				t.Error("relayed with id 0")
			}
			s.withdraw(p, n, c.sid)
			if s.held(n) {
				t.Error("the name is still in the table")
			}
			s.want(q, leaveOf(n, id))
			if found, _ := s.m.Withdraw(p, n.Name, c.sid); found {
				t.Error("withdrawn twice")
			}
		})
	}
}

// Rules: P-lim-3, P-lim-4.
func TestLimits(t *testing.T) {
	b := &table.Budget{PerConn: 2, Names: 4, Bytes: 24}
	s := newStand(t, Options{Relay: true, Budget: b})
	p, q := s.peer("p"), s.peer("q")
	s.offer(p, simName(1), 1, 7)
	s.offer(p, simName(2), 2, 7)
	s.offer(p, simName(2), 2, 7) // again: nothing new
	refused := func(p *end, x *Subscription, want string) {
		t.Helper()
		var full *table.Full
		if _, err := s.m.Offer(p, x); !errors.As(err, &full) || err.Error() != want {
			t.Errorf("offer of %v: %v, want %s", x.Key.Name, err, want)
		}
	}
	refused(p, subscription(simName(3), 3, 7), "too many subscriptions on this connection: the limit is 2")
	s.offer(q, simName(3), 3, 7) // each peer has its own limit
	s.withdraw(p, simName(1), 1)
	s.offer(p, simName(3), 3, 7)
	s.offer(q, simName(4), 4, 7)
	w := s.peer("w")
	refused(w, subscription(simName(4), 4, 7), "too many subscriptions at this node: the limit is 4")
	s.withdraw(q, simName(4), 4)
	other := wire.Text("org", "ns", strings.Repeat("x", 20))
	refused(w, subscription(other, 5, 7), "too many bytes of names at this node: the limit is 24")
	s.leave(w)
	for range MaxPeers - 2 {
		s.peer("another")
	}
	x := &end{"one too many"}
	if _, _, err := s.m.Join(x, "", 0); err != ErrPeers {
		t.Errorf("peer %d: %v, want ErrPeers", MaxPeers+1, err)
	}
	if _, err := s.m.Offer(x, subscription(simName(3), 3, 7)); err != ErrGone {
		t.Errorf("offer of no peer: %v, want ErrGone", err)
	}
	s.leave(p)
	s.peer("in its place")
}

func TestAcknowledgementsWaitForAllPeers(t *testing.T) {
	for _, c := range []struct {
		name string
		last func(s *stand, p *end, id uint64)
	}{
		{"until the last acknowledges", func(s *stand, p *end, id uint64) { s.m.Acked(p, id) }},
		{"until the last leaves", func(s *stand, p *end, _ uint64) { s.leave(p) }},
		{"or five ticks", func(s *stand, _ *end, _ uint64) { s.ticks(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, relay)
			n := simName(1)
			p, q := s.peer("p"), s.peer("q")
			if !s.add(&end{"app"}, n, 42) {
				t.Fatal("the acknowledgement does not wait")
			}
			id := s.next(p)[0].ID
			s.next(q)
			s.m.Acked(p, id)
			s.m.Acked(p, id) // twice counts once
			s.m.Acked(q, id+1)
			s.ticks(waitTicks - 1)
			if len(s.done) != 0 {
				t.Fatal("acknowledged too early")
			}
			c.last(s, q, id)
			if !slices.Equal(s.done, []uint64{42}) {
				t.Fatalf("acknowledged %v, want 42", s.done)
			}
			s.m.Acked(q, id)
			s.ticks(waitTicks)
			if len(s.done) != 1 || s.m.waits != 0 {
				t.Errorf("acknowledged %v; %d waits left", s.done, s.m.waits)
			}
		})
	}
}

// An acknowledgement that is on its way while another message goes out does not stand for that.
// Rules: P-sub-5, P-peer-4.
func TestAcknowledgementsAreCounted(t *testing.T) {
	s := newStand(t, relay)
	app, n := &end{"app"}, simName(1)
	p := s.peer("p")
	s.add(app, n, 1)
	id := s.next(p)[0].ID
	s.remove(app, n, 1)
	s.next(p)
	s.m.Acked(p, id)
	if len(s.done) != 1 {
		t.Errorf("acknowledged %v after the first answer, want the first", s.done)
	}
	s.m.Acked(p, id)
	if len(s.done) != 2 || s.lasts[0] || !s.lasts[1] {
		t.Errorf("acknowledged %v, as ends of subscriptions %v; want both, the second", s.done, s.lasts)
	}
}

func TestWaitsAreBounded(t *testing.T) {
	s := newStand(t, relay)
	app, n := &end{"app"}, simName(1)
	s.peer("deaf")
	waiting := 0
	for i := range uint64(2 * maxSame) {
		if s.add(app, n, i+1) {
			waiting++
		}
	}
	if waiting != maxSame {
		t.Errorf("%d wait for one name, want %d", waiting, maxSame)
	}
	s.ticks(waitTicks)
	if len(s.done) != waiting || len(s.m.slots[0].answers.pends) != 0 {
		t.Errorf("%d of %d acknowledged, %d pending", len(s.done), waiting, len(s.m.slots[0].answers.pends))
	}
}

func TestAPeerIsPokedOnce(t *testing.T) {
	s := newStand(t, relay)
	p := s.peer("p")
	for i := range 10 {
		s.add(&end{"app"}, simName(i), 1)
	}
	if s.poked[p] != 1 {
		t.Errorf("poked %d times before Next, want once", s.poked[p])
	}
	if _, more := s.m.Next(p, make([]Tell, 0, 4)); !more {
		t.Error("no more after 4 of 10")
	}
	s.add(&end{"app"}, simName(11), 1)
	if s.poked[p] != 1 {
		t.Error("poked although more was promised")
	}
	if got := len(s.next(p)); got != 7 {
		t.Errorf("%d left, want 7", got)
	}
	s.add(&end{"app"}, simName(12), 1)
	if s.poked[p] != 2 {
		t.Errorf("poked %d times, want twice", s.poked[p])
	}
}

// Without peers the mesh keeps nothing.
func TestNothingIsKeptForPeersThatLeft(t *testing.T) {
	s := newStand(t, relay)
	app := &end{"app"}
	s.add(app, simName(1), 1)
	if s.m.Active() || s.m.routes.n() != 0 {
		t.Error("a route without peers")
	}
	p := s.peer("p")
	s.offer(p, simName(2), 2, 7)
	s.leave(p)
	if s.m.Active() || s.m.routes.n() != 0 || s.m.routes.byID != nil || len(s.m.local) != 0 {
		t.Errorf("%d routes are left", s.m.routes.n())
	}
	s.want(s.peer("next"), subscribeTo(simName(1), 0, 8))
}

// Everything at once, for the race detector; then the peers must know what the table says.
func TestConcurrentUse(t *testing.T) {
	names := table.New[end]()
	m := New(names, Options{Relay: true, NodeID: "n"}, Hooks[end]{Poke: func(*end) {}, Done: func(*end, uint64, bool) {}})
	stay := &end{"stays"}
	if _, _, err := m.Join(stay, "stays", 0); err != nil {
		t.Fatal(err)
	}
	m.Fill()
	const each = 300
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() { // applications come, leave half of their names and sometimes all
			for i := range each {
				app, n := &end{"app"}, simName(1000*g+i)
				k := table.Key{Name: n.Name, HasID: true}
				_, _ = names.Add(app, table.Edge, k, 1, n.Str, true)
				m.Touch(n.Name, app, uint64(i))
				switch i % 3 {
				case 0:
					_, _ = names.Remove(app, k, 1)
					m.Touch(n.Name, app, uint64(i))
				case 1:
					m.Lost(removeConn(names, app))
				}
			}
		})
		wg.Go(func() { // peers come and go
			for i := range 20 {
				p := &end{"peer"}
				if _, _, err := m.Join(p, "peer", 0); err != nil {
					continue
				}
				m.Fill()
				for j := range 20 {
					n := simName(10_000 + j)
					_, _ = m.Offer(p, subscription(n, uint64(500+j), uint32(1+i%7)))
					m.Next(p, make([]Tell, 0, 64))
				}
				m.Leave(p)
				removeConn(names, p)
				for m.SweepStep(p) {
				}
			}
		})
	}
	told := map[key]bool{}
	drain := func() {
		for {
			ts, more := m.Next(stay, make([]Tell, 0, 64))
			for _, x := range ts {
				told[key{x.Name.Name, x.ID}] = !x.Withdraw
				m.Acked(stay, x.ID)
			}
			if !more {
				return
			}
		}
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	for running := true; running; {
		select {
		case <-over:
			running = false
		default:
		}
		drain()
		m.Tick()
		m.Due()
	}
	for range holdTicks + 1 {
		m.Tick()
		for m.Due() {
		}
		drain()
	}
	got := map[wire.Name]bool{}
	for k, up := range told {
		if up {
			got[k.name] = true
		}
	}
	want := 0
	names.Range(table.All, func(h table.Held) bool {
		want++
		if !got[h.Name] {
			t.Errorf("the peer was not told %v", h.Name)
		}
		return true
	})
	if len(got) != want || want != 3*each/3 {
		t.Errorf("the peer knows %d names, the table %d, want %d", len(got), want, each)
	}
}

// What a peer tells with id 0 gets an identity here, which goes when the name does, and is not found again.
func TestIdentitiesOfNamesToldWithoutAreForgotten(t *testing.T) {
	s := newStand(t, Options{Relay: true})
	p := s.peer("p")
	for i := range uint64(10) {
		n := wire.Text("a", "b", "c").WithID(i, 1)
		s.offer(p, n, 0, 7)
		s.withdraw(p, n, 77)
		if found, _ := s.m.Withdraw(p, n.Name, 77); found {
			t.Errorf("name %d was withdrawn twice", i)
		}
	}
	if n := len(s.m.of[p].alias); n != 0 {
		t.Errorf("%d identities are kept of names that the peer does not hold", n)
	}
}

// How long it took to tell a peer all is known when it has been told, though that was nothing.
func TestWhenAPeerIsSynced(t *testing.T) {
	synced := func(s *stand, p *end) bool {
		s.next(p)
		s.m.Synced(p, 1)
		i := slices.IndexFunc(s.m.Peers(), func(x PeerStatus[end]) bool { return x.Conn == p })
		return s.m.Peers()[i].Synced == 1
	}
	for name, o := range map[string]Options{"full mesh": {}, "by hand": {Relay: true, Guard: true}} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, o)
			first := s.peer("first")
			if s.poked[first] != 1 || !synced(s, first) {
				t.Errorf("a peer without names to be told: poked %d times, want once, and then it is synced", s.poked[first])
			}
			second := s.peer("second")
			for range openTicks {
				s.m.Tick()
			}
			if s.poked[second] == 0 {
				t.Error("a second peer is not looked at")
			}
		})
	}
	s := newStand(t, relay)
	s.add(&end{"app"}, simName(1), 1)
	p := &end{"p"}
	if _, _, err := s.m.Join(p, "p", 0); err != nil {
		t.Fatal(err)
	}
	if synced(s, p) {
		t.Error("synced before the names of the node were looked at")
	}
	if s.m.Fill(); s.poked[p] != 1 || !synced(s, p) {
		t.Errorf("poked %d times after these were, want once, and then it is synced", s.poked[p])
	}
}

// Of several links to the node that dials again the latest is asked for a sign of life. Rules: P-peer-11.
func TestTheLatestOfSeveralLinksIsAsked(t *testing.T) {
	s := newStand(t, relay)
	s.peer("n")
	second := s.peer("n")
	s.peer("other")
	older, _, err := s.m.Join(&end{"third"}, "n", 0)
	if err != nil || older != second {
		t.Errorf("asked is %v, %v; want the second link", older, err)
	}
}

// An offer that may be an echo rests for holdTicks, however often the route is looked at meanwhile. Rules: P-peer-8.
func TestARestIsNotPutOff(t *testing.T) {
	s := newStand(t, relay)
	p, q, x := s.peer("p"), s.peer("q"), s.peer("x")
	n := simName(1)
	s.offer(p, n, 7, 7)
	s.offer(q, n, 7, 3)
	s.next(x)
	s.withdraw(p, n, 7)
	for range holdTicks - 1 {
		s.ticks(1)
		s.offer(x, n, 7, 2) // the route is settled once more
		s.withdraw(x, n, 7)
	}
	if s.names.Kinds(&n.Name)&table.Only(table.Peer) != 0 {
		t.Fatal("an echo is used at once")
	}
	s.ticks(1)
	if s.names.Kinds(&n.Name)&table.Only(table.Peer) == 0 {
		t.Error("the offer that is left is not used after its rest")
	}
}
