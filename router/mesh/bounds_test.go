package mesh

import (
	"fmt"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// crowd is a node with many peers, some of them on each name, and many names; it does everything that takes long.
func crowd(t *testing.T, peers, names int) *Mesh[end] {
	s := newStand(t, Options{Relay: true, Budget: &table.Budget{}})
	app := &end{"app"}
	for i := range names {
		s.add(app, simName(i), 1)
	}
	var ps []*end
	for i := range peers {
		p := &end{fmt.Sprint("p", i)}
		if _, _, err := s.m.Join(p, p.name, 0); err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
		s.m.Fill()
	}
	hear := func() {
		for _, p := range ps[1:] { // the first one takes nothing
			for more := true; more; {
				_, more = s.m.Next(p, make([]Tell, 0, 64))
			}
		}
	}
	hear()
	for i := range names / 2 { // waited for, and never acknowledged
		s.add(&end{"other"}, simName(names+i), uint64(i+1))
		_, _ = s.m.Offer(ps[i%peers], subscription(simName(i), uint64(i+1), 7))
		_, _ = s.m.Offer(ps[(i+1)%peers], subscription(simName(i), uint64(i+1), 6))
	}
	for i := range ps { // one name that all of them offer
		_, _ = s.m.Offer(ps[i], subscription(simName(3*names), 77, 7))
	}
	s.ticks(waitTicks + 1)
	hear()
	s.m.Lost(removeConn(s.names, app))
	hear()
	for _, p := range ps {
		s.leave(p)
	}
	if s.m.waits != 0 || s.m.routes.n() != 0 {
		t.Fatalf("%d waits and %d routes are left", s.m.waits, s.m.routes.n())
	}
	return s.m
}

// No loop waits longer for the mutex because there are more names: what one hold of it does is counted in steps.
func TestNoHoldOfTheMutexGrowsWithTheNames(t *testing.T) {
	const peers = 100
	// A portion, and one more change: it looks at every peer and at every offer and mark of its route a few times.
	const bound = portion + 8*peers
	for _, names := range []int{500, 5000} {
		if most := crowd(t, peers, names).most; most > bound {
			t.Errorf("%d names: one hold took %d steps, want %d at most", names, most, bound)
		}
	}
}

// A peer that has been told nothing yet and one that left cost nothing for each name.
func TestANewPeerIsNotPreparedFor(t *testing.T) {
	s := newStand(t, relay)
	app := &end{"app"}
	s.peer("first")
	for i := range 5000 {
		s.add(app, simName(i), 0)
	}
	s.m.most = 0
	p := &end{"p"}
	if _, _, err := s.m.Join(p, "p", 0); err != nil {
		t.Fatal(err)
	}
	s.m.Fill()
	if s.m.most > 10 || s.poked[p] != 1 {
		t.Errorf("to join took %d steps, poked %d times; want few, and once", s.m.most, s.poked[p])
	}
	if got := len(s.next(p)); got != 5000 {
		t.Errorf("told %d names, want 5000", got)
	}
}

// Changes of which there is nothing to say are stepped over in portions, too.
func TestNextStepsOverABoundedNumberOfChanges(t *testing.T) {
	s := newStand(t, Options{Relay: true, Budget: &table.Budget{}})
	p, app := s.peer("p"), &end{"app"}
	const names = 4 * portion
	for i := range names {
		s.offer(p, simName(i), uint64(i+1), 7) // not told to p, who told it
	}
	s.add(app, simName(names), 0)
	calls, told := 0, 0
	for more := true; more; calls++ {
		var ts []Tell
		ts, more = s.m.Next(p, make([]Tell, 0, 64))
		told += len(ts)
	}
	if told != 1 || calls != 1 {
		t.Errorf("%d messages in %d calls, want 1 in 1: a peer at the end of the list stays there", told, calls)
	}
	q := &end{"q"}
	if _, _, err := s.m.Join(q, "q", 0); err != nil {
		t.Fatal(err)
	}
	for i := range names {
		s.withdraw(p, simName(i), uint64(i+1))
		s.offer(p, simName(i), uint64(i+1), 1) // goes no farther
	}
	calls, told = 0, 0
	for more := true; more; calls++ {
		var ts []Tell
		ts, more = s.m.Next(q, make([]Tell, 0, 64))
		told += len(ts)
	}
	if told != 1 || calls < 4 || s.m.most > 3*portion {
		t.Errorf("%d messages in %d calls of at most %d steps, want 1 in at least 4", told, calls, s.m.most)
	}
}

// What is answered late or never by one peer keeps the subscribers of the node waiting once, not for ever.
func TestAPeerThatMissesAnAnswerIsNotWaitedForUntilItAnswers(t *testing.T) {
	s := newStand(t, relay)
	app := &end{"app"}
	mute, good := s.peer("mute"), s.peer("good")
	ids := map[wire.Name]uint64{}
	hear := func(p *end, acks bool) {
		for _, x := range s.next(p) {
			ids[x.Name.Name] = x.ID
			if acks {
				s.m.Acked(p, x.ID)
			}
		}
	}
	for i := range 3 {
		if !s.add(app, simName(i), uint64(i+1)) {
			t.Fatal("nobody waits")
		}
		hear(mute, false)
		hear(good, true)
	}
	if len(s.done) != 0 {
		t.Fatalf("acknowledged %v although one peer has not answered", s.done)
	}
	s.ticks(waitTicks)
	if len(s.done) != 3 {
		t.Fatalf("acknowledged %v after %d ticks, want all three", s.done, waitTicks)
	}
	s.add(app, simName(10), 10)
	hear(mute, false)
	hear(good, true)
	if len(s.done) != 4 {
		t.Errorf("acknowledged %v: a peer that missed an answer is waited for", s.done)
	}
	s.m.Acked(mute, ids[simName(0).Name])
	s.add(app, simName(11), 11)
	hear(good, true)
	if len(s.done) != 4 {
		t.Error("a peer that answers again is not waited for")
	}
	hear(mute, true)
	if len(s.done) != 5 {
		t.Errorf("acknowledged %v, want five", s.done)
	}
}

// A peer that comes again and again under other names and never answers keeps subscribers waiting for an ever smaller
// part of the time, whether it stays until it has missed its answer or leaves before; and good ones are waited for
// afterwards.
func TestNewPeersThatNeverAnswerAreWaitedForEverLess(t *testing.T) {
	for _, stays := range []int{waitTicks, waitTicks - 2} {
		s := newStand(t, relay)
		app := &end{"app"}
		waited, names := 0, 0
		for i := range 100 {
			p := s.peer(fmt.Sprint("false ", i))
			names++
			if s.add(app, simName(names), uint64(names)) {
				waited++
			}
			s.ticks(stays)
			s.leave(p)
		}
		if waited < 2 || waited > 8 {
			t.Errorf("peers that stay %d ticks: waited for %d of 100, want a few", stays, waited)
		}
		s.ticks(waitTicks<<maxMisses + 1)
		s.peer("good")
		if names++; !s.add(app, simName(names), uint64(names)) {
			t.Errorf("peers that stay %d ticks: a good one long after them is not waited for", stays)
		}
	}
}

// All who wait for a peer that has just missed an answer are let go together.
func TestAMissEndsAllWaitsForThatPeer(t *testing.T) {
	s := newStand(t, relay)
	s.peer("mute")
	s.add(&end{"app"}, simName(0), 1)
	s.ticks(waitTicks - 1)
	for i := range 2 * portion {
		s.add(&end{"app"}, simName(i+1), uint64(i+2))
	}
	s.ticks(1)
	if want := 2*portion + 1; len(s.done) != want || s.m.waits != 0 {
		t.Errorf("%d acknowledged, %d wait; want %d and none", len(s.done), s.m.waits, want)
	}
}

func TestHowFarAPeerIsWorthWaitingFor(t *testing.T) {
	newAnswers := func() *answers[end] { a := &answers[end]{}; a.init(); return a }
	t.Run("the first miss is forgiven with the first answer", func(t *testing.T) {
		a := newAnswers()
		a.missed(100)
		if a.mute = false; !a.worth(100) {
			t.Error("not waited for after its answer")
		}
	})
	t.Run("further ones exclude it for ever longer", func(t *testing.T) {
		a := newAnswers()
		last := uint32(0)
		for range maxMisses + 3 {
			a.missed(100)
			a.mute = false
			if a.until < last || last > 0 && !a.worth(a.until) || last > 0 && a.worth(a.until-1) {
				t.Fatalf("excluded until tick %d, before that until %d", a.until, last)
			}
			last = a.until
		}
		if last != 100+waitTicks<<maxMisses {
			t.Errorf("excluded until tick %d", last)
		}
	})
	t.Run("quick answers make up for misses", func(t *testing.T) {
		a := newAnswers()
		a.missed(100)
		for range rewardAfter {
			a.came(0)
		}
		a.missed(200)
		if a.mute = false; !a.worth(200) {
			t.Error("excluded although it had been quick for long")
		}
	})
	t.Run("late answers cost patience, quick ones bring it back", func(t *testing.T) {
		a := newAnswers()
		for range 2 * waitTicks {
			a.came(waitTicks - 1)
		}
		if a.patience != lateTicks {
			t.Errorf("patience %d after late answers, want %d", a.patience, lateTicks)
		}
		for range rewardAfter * waitTicks {
			a.came(1)
		}
		if a.patience != waitTicks {
			t.Errorf("patience %d after quick answers, want %d", a.patience, waitTicks)
		}
	})
}

// Each waits for the news of its own change only: who keeps changing a name does not put the others off for ever.
func TestWaitsForOneNameEndInTheirOrder(t *testing.T) {
	s := newStand(t, relay)
	p, app, n := s.peer("p"), &end{"app"}, simName(1)
	id := uint64(0)
	for i := range uint64(4) { // four messages under way
		if i%2 == 0 {
			s.add(app, n, 40+i)
		} else {
			s.remove(app, n, 40+i-1)
		}
		id = s.next(p)[0].ID
	}
	for i := range 4 {
		s.m.Acked(p, id)
		if len(s.done) != i+1 {
			t.Fatalf("%d waits are over after %d acknowledgements", len(s.done), i+1)
		}
	}
	if s.done[0] != 40 || s.done[2] != 42 {
		t.Errorf("acknowledged %v, want them in order", s.done)
	}
}

// An acknowledgement that comes before the message, as a late one of an earlier message does, ends no wait.
func TestAnAcknowledgementOfNothingSentDoesNotCount(t *testing.T) {
	s := newStand(t, relay)
	p, app, n := s.peer("p"), &end{"app"}, simName(1)
	s.add(app, n, 1)
	id := s.next(p)[0].ID
	s.m.Acked(p, id)
	s.remove(app, n, 1)
	s.m.Acked(p, id)
	if len(s.done) != 1 {
		t.Errorf("acknowledged %v before the peer was told", s.done)
	}
	s.next(p)
	s.m.Acked(p, id)
	if len(s.done) != 2 {
		t.Errorf("acknowledged %v, want both", s.done)
	}
}

// Who waits for a change that another undoes before the peer is told waits until the peer has come by, not for ever.
func TestAWaitForWhatIsNeverSaidEnds(t *testing.T) {
	s := newStand(t, relay)
	p, app, n := s.peer("p"), &end{"app"}, simName(1)
	s.add(app, n, 1)
	s.m.Acked(p, s.next(p)[0].ID)
	if !s.remove(app, n, 1) {
		t.Fatal("nobody waits for the withdrawal")
	}
	if s.add(&end{"other"}, n, 2) {
		t.Error("somebody waits for what the peer knows")
	}
	s.want(p)
	if !slices.Equal(s.done, []uint64{1, 1}) || s.m.waits != 0 {
		t.Errorf("acknowledged %v, %d wait", s.done, s.m.waits)
	}
}

// A node that lost its power and dials again is reached over the new link at once; the old one may look alive for
// minutes.
func TestTheYoungerLinkToANodeGoesFirst(t *testing.T) {
	for _, c := range []struct {
		name  string
		node  string // that the second link says it leads to
		older bool   // Join names the first
		used  string
	}{
		{"the same node", "node-1", true, "second"},
		{"another node", "node-2", false, "first"},
		{"a node without an id", "", false, "first"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, relay)
			first, second, n := &end{"first"}, &end{"second"}, simName(1)
			holder := func() string {
				got := ""
				for _, x := range s.names.MatchAll(&n.Name, nil, table.All, nil) {
					got += x.name
				}
				return got
			}
			join := func(p *end, node string) *end {
				older, _, err := s.m.Join(p, node, 0)
				if err != nil {
					t.Fatal(err)
				}
				return older
			}
			if c.node == "" {
				join(first, "")
			} else {
				join(first, "node-1")
			}
			s.offer(first, n, 9, 7)
			if got := join(second, c.node); (got == first) != c.older {
				t.Errorf("Join names %v as older, want the first: %v", got, c.older)
			}
			s.offer(second, n, 9, 7)
			if got := holder(); got != c.used {
				t.Errorf("messages go to %s, want %s", got, c.used)
			}
			s.offer(first, n, 9, 7) // it was alive after all
			if got := holder(); got != c.used {
				t.Errorf("after the first link has told again messages go to %s, want %s", got, c.used)
			}
			s.leave(first)
			if got := holder(); got != "second" {
				t.Errorf("without the first link messages go to %s", got)
			}
			third := &end{"third"}
			if got := join(third, c.node); c.node != "" && got != second {
				t.Errorf("Join names %v as older, want the second", got)
			}
		})
	}
}

// What a peer that comes, and one that goes, asks of the mutex is done some 64 steps at a time: each is a look at one route.
func TestPeersThatComeAndGoHoldTheMutexForFewSteps(t *testing.T) {
	const names, most = 5000, 64 + 8
	s := newStand(t, Options{Budget: &table.Budget{}})
	app := &end{"app"}
	for i := range names {
		s.add(app, simName(i), 0)
	}
	held := func(what string) {
		t.Helper()
		if s.m.most > most {
			t.Errorf("%s: one hold took %d steps, want %d at most", what, s.m.most, most)
		}
		s.m.most = 0
	}
	told := func(p *end) (n int) {
		for more := true; more; {
			var some []Tell
			some, more = s.m.Next(p, make([]Tell, 0, 1000))
			n += len(some)
			for _, x := range some {
				s.m.Acked(p, x.ID)
			}
		}
		return n
	}
	first, second := s.peer("first"), s.peer("second")
	held("they join")
	if n := told(first) + told(second); n != 2*names {
		t.Errorf("told %d names, want %d", n, 2*names)
	}
	held("they are told all names")
	for i := range names {
		s.offer(first, simName(names+i), uint64(i+1), 1)
	}
	held("one tells as many")
	told(second) // nothing of that, in a full mesh
	held("the other looks at them")
	s.leave(second)
	held("the other leaves")
	s.leave(first) // and all is forgotten
	held("the last one leaves")
	if got := s.names.Len(); got != names || s.m.routes.n() != 0 || s.m.entered.first != nil || s.m.slots[0] != nil {
		t.Errorf("%d names are in the table, want %d, and %d routes are left", got, names, s.m.routes.n())
	}
}

// A peer that joins while the names of one that left are being taken out of the table gets a slot of its own, and its names stay.
func TestAPeerComesWhileTheLastOneIsForgotten(t *testing.T) {
	const names = 5 * portion
	s := newStand(t, Options{Budget: &table.Budget{}})
	old := s.peer("old")
	for i := range names {
		s.offer(old, simName(i), uint64(i+1), 1)
	}
	s.m.Leave(old)
	removeConn(s.names, old)
	if !s.m.SweepStep(old) {
		t.Fatal("all is forgotten at once")
	}
	p := s.peer("new")
	for i := range names {
		s.offer(p, simName(i), uint64(i+1), 1)
	}
	for s.m.SweepStep(old) {
	}
	for i := range names {
		n := simName(i)
		if got := s.names.MatchAll(&n.Name, nil, table.All, nil); len(got) != 1 || got[0] != p {
			t.Fatalf("name %d is held by %v", i, got)
		}
	}
	s.leave(p)
	if s.names.Len() != 0 || len(s.m.slots) != 2 || s.m.slots[0] != nil || s.m.slots[1] != nil {
		t.Errorf("%d names are left", s.names.Len())
	}
}

// The node waits for maxWaits answers at most: who comes then is answered at once. Rules: P-peer-4.
func TestWaitsOfTheNodeAreBounded(t *testing.T) {
	s := newStand(t, relay)
	s.peer("deaf")
	if s.m.waits = maxWaits - 1; !s.add(&end{"app"}, simName(1), 1) {
		t.Error("nobody waits, and one more may")
	}
	if s.add(&end{"app"}, simName(2), 2) {
		t.Error("one waits too many")
	}
}

// What newcomers have cost is forgotten when none has cost anything for long. Rules: P-peer-4.
func TestNewcomersAreForgiven(t *testing.T) {
	var n newcomers
	for _, x := range []struct{ tick, misses, until uint32 }{{100, 1, 0}, {100, 1, 0}, {110, 2, 110 + waitTicks<<1},
		{110 + waitTicks<<maxMisses, 3, 110 + waitTicks<<maxMisses + waitTicks<<2}, {2000 + waitTicks<<maxMisses, 1, 110 + waitTicks<<maxMisses + waitTicks<<2}} {
		if n.missed(x.tick); n.misses != x.misses || n.until != x.until {
			t.Errorf("at %d: %d misses, nobody waits until %d; want %d and %d", x.tick, n.misses, n.until, x.misses, x.until)
		}
	}
}
