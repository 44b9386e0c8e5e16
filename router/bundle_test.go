package router

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// deliver gives the node one read: what p has staged.
func (p *peer) deliver() {
	out := p.out
	p.out = nil
	p.cli.Cut()
	p.feed(out)
}

// stageOne stages message i for bob, with a payload of size bytes.
func (p *peer) stageOne(i, size int) {
	p.stage(p.publication(header(alice, bob, 1, "x"), i, size))
}

// numbers are those of the messages that p has got.
func (p *peer) numbers() (ns []int) {
	p.exchange()
	for _, b := range p.got {
		ns = append(ns, numberOf(b))
	}
	p.got = nil
	return ns
}

// inOrder fails unless ns are the numbers from 0 to count-1.
func inOrder(t *testing.T, ns []int, count int) {
	t.Helper()
	if len(ns) != count {
		t.Fatalf("%d messages of %d", len(ns), count)
	}
	for i, n := range ns {
		if n != i {
			t.Fatalf("message %d comes at place %d", n, i)
		}
	}
}

// Short messages in bundles, long ones and fan-outs, which travel alone, stay in the order of their sender, in one read
// as in several, whether the receiver takes them at once or they wait, and with budgets that end anywhere. Rules:
// P-fwd-6.
func TestOrderHoldsBetweenBundlesAndOthers(t *testing.T) {
	for _, paused := range []bool{false, true} {
		r := newRig(t, 2, Options{ConnBuffer: 64 << 20})
		a, b := r.dial(0), r.dial(1)
		b.subscribe(bob, 1)
		b.subscribe(group, 2)
		m := a.metered()
		r.slow(func() time.Duration { return turnBudget / 2 })
		b.paused = paused
		count := 0
		for range 3 { // reads
			for i := range 70 {
				switch {
				case i%11 == 5:
					a.stageOne(count, maxBundled+1000)
				case i%13 == 7:
					a.stage(a.publication(header(alice, group, 256, "x"), count, 10))
				default:
					a.stageOne(count, 10+i%3*500)
				}
				count++
			}
			a.deliver()
		}
		if r.n.loops[0].bundles.under == 0 {
			t.Fatal("nothing travels in bundles")
		}
		r.settle()
		b.paused = false
		inOrder(t, b.numbers(), count)
		if m.charged != 0 {
			t.Errorf("the sender is charged with %d bytes at the end", m.charged)
		}
	}
}

// A receiver that breaks in the middle of a bundle costs the others nothing, and the sender gets its credit back.
func TestPanicInABundleIsTheReceivers(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b, c := r.dial(0), r.dial(1), r.dial(1)
	b.subscribe(alice, 1)
	c.subscribe(bob, 1)
	m := a.metered()
	b.breakOutput()
	const count = 20
	for i := range count {
		a.stage(a.publication(header(bob, alice, 1, "x"), i, 100))
		a.stageOne(i, 100)
	}
	a.deliver()
	r.settle()
	inOrder(t, c.numbers(), count)
	if s := r.stats(); s.Panics == 0 || s.Delivered != count || s.Dropped[ReasonGone] != count {
		t.Errorf("%+v", s)
	}
	if a.shut() || !b.shut() || c.shut() {
		t.Errorf("closed: the sender %v, who broke %v, the other %v", a.shut(), b.shut(), c.shut())
	}
	if m.charged != 0 {
		t.Errorf("the sender is charged with %d bytes at the end", m.charged)
	}
}

// A bundle is left half served when the budget is spent; the node that stops then waits for the rest. Rules: P-end-3.
func TestHalfServedBundleIsWaitedFor(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(bob, 1)
	r.slow(func() time.Duration { return turnBudget }) // 128 receivers a turn
	const count = lookEvery + 30 + bundleItems - 10
	for i := range count {
		a.stageOne(i, 10)
		if i == lookEvery+30 {
			a.deliver()
		}
	}
	a.deliver()
	l := r.n.loops[1]
	r.loops[1].RunTurn()
	if l.at == l.end || l.events[l.at].bundle == nil || l.events[l.at].bundle.at == 0 {
		t.Fatal("no bundle is half served: the test shows nothing")
	}
	l.markEvents()
	for turns := 0; !l.eventsPassed(); turns++ {
		if turns > 10 {
			t.Fatal("it is never served")
		}
		r.loops[1].RunTurn()
	}
	if n := r.stats().Delivered; n != count {
		t.Errorf("%d of %d messages are delivered when nothing is waited for any more", n, count)
	}
	inOrder(t, b.numbers(), count)
}

// What is packed and not pushed yet counts as what is in rings.
func TestOpenBundleIsMarked(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(bob, 1)
	l := r.n.loops[0]
	msg := a.publication(header(alice, bob, 1, "x"), 0, 10)
	l.post(func() {
		a.c.Receive(msg, nil)
		if l.bundles.open != 1 {
			t.Error("nothing is packed: the test shows nothing")
		}
		stages[3].mark(l)
		if stages[3].passed(l) {
			t.Error("a packed message is not waited for")
		}
	})
	r.settle()
	if !stages[3].passed(l) || len(b.numbers()) != 1 {
		t.Error("it has not arrived")
	}
}

// Messages that wait for a slow receiver hold no bundle: its other messages may be for others.
func TestWhatWaitsHoldsNoBundle(t *testing.T) {
	r := newRig(t, 2, Options{ConnBuffer: 64 << 20})
	r.window = 1
	b := r.dial(1)
	b.hoard = true
	r.window = 0
	a := r.dial(0)
	b.subscribe(bob, 0)
	for i := range 100 {
		a.stageOne(i, 1000)
	}
	a.deliver()
	r.settle()
	s := &r.n.loops[0].bundles
	s.collect()
	if b.c.q.n < 90 || s.under != 0 {
		t.Errorf("%d messages wait, and %d bundles are held", b.c.q.n, s.under)
	}
}

// However many reads come before the other loop has its turn, the memory of bundles is bounded, and order holds for
// what travels without one.
func TestBundlesUnderWayAreBounded(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(bob, 1)
	const count = bundlesUnder * 3 / 2
	for i := range count {
		a.stageOne(i, 10)
		a.deliver()
	}
	s := &r.n.loops[0].bundles
	if s.under != bundlesUnder {
		t.Errorf("%d bundles are under way, want %d", s.under, bundlesUnder)
	}
	r.settle()
	inOrder(t, b.numbers(), count)
	if s.collect(); s.under != 0 || s.free.len() > bundlesAtRest {
		t.Errorf("%d bundles are under way at the end, %d are kept", s.under, s.free.len())
	}
}

// Bundles that are not in use hold no connection that has ended.
func TestBundlesAtRestForget(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(bob, 1)
	for i := range 10 {
		a.stageOne(i, 10)
	}
	a.deliver()
	r.settle()
	r.seconds(1)
	s := &r.n.loops[0].bundles
	if s.free.len() == 0 {
		t.Fatal("no bundle is at rest")
	}
	for _, x := range s.free.items[s.free.head:] {
		for _, i := range x.items[:cap(x.items)] {
			if i.to != nil {
				t.Fatal("a bundle remembers whom it was for")
			}
		}
		for _, h := range x.heads[:cap(x.heads)] {
			if h.src != nil {
				t.Fatal("a bundle remembers who has sent it")
			}
		}
	}
}

// Long reads fill several bundles, whose memory comes by turns: when all have been used, nothing is allocated.
func TestAllocsOfLongBundles(t *testing.T) {
	warm, runs := 300, 100
	if !pooled { // only what arrives is judged
		warm, runs = 30, 10
	}
	for _, fresh := range []bool{false, true} {
		j := newJourney(t, 2, 0, 1, 1, 1<<10, 64, fresh)
		for range warm {
			j.step() // memories, rotations and pools fill
		}
		if n := testing.AllocsPerRun(runs, j.step); n != 0 && pooled {
			t.Errorf("%v allocations per read of 64 messages, want 0", n)
		}
	}
}

// Messages of one bundle leave with their own headers, whether these are the same in a row or not. Rules: P-mac-5.
func TestBundledMessagesKeepTheirHeaders(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(bob, 1)
	identities := []string{"one", "one", "two", "one", "three", "three"}
	for i, identity := range identities {
		a.stage(a.publication(header(alice, bob, 1, identity), i, 10))
	}
	a.deliver()
	r.settle()
	b.exchange()
	if len(b.got) != len(identities) {
		t.Fatalf("%d messages", len(b.got))
	}
	for i, got := range b.got {
		b.checkMAC(got)
		if id := decode(t, got).GetPublish().GetHeader().GetIdentity(); id != identities[i] || numberOf(got) != i {
			t.Errorf("message %d comes with number %d from %q, want %q", i, numberOf(got), id, identities[i])
		}
	}
}

// A fan-out is under way on the receivers' loop when messages of its sender come, in a bundle or alone: they wait
// behind
// it, and who wants to hear of one still does. Rules: P-fwd-6.
func TestNothingOvertakesAFanout(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, size := range []int{10, maxBundled + 1000} {
		r := newRig(t, 2, Options{})
		a := r.dial(0)
		var ps []*peer
		for i := range 3 * lookEvery {
			p := r.dial(1)
			p.subscribe(group.WithID(uint64(i), 1), 1)
			p.subscribe(bob.WithID(uint64(i), 1), 2)
			ps = append(ps, p)
		}
		m := a.metered()
		r.slow(func() time.Duration { return turnBudget }) // 128 receivers a turn
		a.stage(a.publication(header(alice, group, 256, "x"), 0, 10))
		a.deliver()
		a.c.service.asked.Store(true)
		for i := len(ps) - 1; i >= 0; i-- { // those first who have to wait for the fan-out
			a.stage(a.publication(header(alice, bob.WithID(uint64(i), 1), 1, "x"), 1, size))
		}
		a.deliver()
		r.settle()
		for _, p := range ps {
			inOrder(t, p.numbers(), 2)
		}
		if m.charged != 0 {
			t.Errorf("the sender is charged with %d bytes at the end", m.charged)
		}
		if a.c.service.served.Load() == 0 {
			t.Error("nobody has heard that a receiver took a message at once")
		}
	}
}

// Several streams of a socket share a bundle: each gets the credit for its own messages. Rules: P-press-1.
func TestCreditOfABundleGoesToEachSender(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(bob, 1)
	other := *a
	meters := []*meter{a.metered()}
	a.negotiate(wire.LinkEdge, "another")
	meters = append(meters, a.metered())
	const count = 40
	for i := range count {
		a.s, other.s = other.s, a.s
		a.mac, other.mac = other.mac, a.mac
		a.linkID, other.linkID = other.linkID, a.linkID
		a.stageOne(i, 100)
		a.cli.Cut()
	}
	a.deliver()
	r.settle()
	inOrder(t, b.numbers(), count)
	for i, m := range meters {
		if m.charged != 0 {
			t.Errorf("sender %d is charged with %d bytes at the end", i, m.charged)
		}
	}
}

// What describes a bundle is bounded, too, however short its messages are.
func TestMessagesOfABundleAreBounded(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(bob, 1)
	const reads, count = 3, 3 * bundleItems / 2 // after the first, room for all of a read's bytes is made at once
	for i := range reads * count {
		a.stageOne(i, 0)
		if i%count == count-1 {
			a.deliver()
		}
	}
	r.settle()
	inOrder(t, b.numbers(), reads*count)
	s := &r.n.loops[0].bundles
	s.collect()
	for _, x := range s.free.items[s.free.head:] {
		if items := x.items[:cap(x.items)]; len(items) > bundleItems && items[bundleItems].to != nil {
			t.Fatalf("a bundle has held more than %d messages", bundleItems)
		}
	}
}

// A receiver that wants to know whether its sender serves others hears of what comes in bundles, too. Rules: P-press-5.
func TestBundledMessageIsNoted(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	b.subscribe(bob, 1)
	a.c.service.asked.Store(true)
	a.stageOne(0, 10)
	a.deliver()
	r.settle()
	if a.c.service.asked.Load() || a.c.service.served.Load() != 1 {
		t.Errorf("asked %v, served %d", a.c.service.asked.Load(), a.c.service.served.Load())
	}
}

// A receiver on another loop ends while its sender's next header is verified, which is signed in advance where it
// probably goes: that loop's memory is its own. It takes the race detector to see it.
func TestLinksOfOtherLoopsAreLeftAlone(t *testing.T) {
	for _, fanout := range []uint32{1, 256} {
		r := newRig(t, 2, Options{})
		a, b := r.dial(0), r.dial(1)
		b.subscribe(bob, 1)
		a.publish(header(alice, bob, fanout, "one"), 0, 10)
		a.stage(a.publication(header(alice, bob, fanout, "two"), 1, 10))
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.loops[1].Hangup(b.sock, unix.ECONNRESET)
		}()
		a.deliver()
		<-done
		r.settle()
	}
}
