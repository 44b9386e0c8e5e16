package router

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// replacing makes two links to the same node, of which the second replaces the first.
func (r *rig) replacing(loops ...int) (old, young *peer) {
	r.t.Helper()
	old, young = r.dialAs(loops[0], wire.LinkRemote, "far"), r.dialAs(loops[1], wire.LinkRemote, "far")
	r.link(old).Replaces(r.link(old)) // changes nothing
	for range 2 {                     // nor does once more
		r.link(young).Replaces(r.link(old))
	}
	return old, young
}

// While a link replaces another one, a message to many goes over one of them only, and does not come back over the other one, nor
// twice, whichever loops they are on; one that its sender repeats over the same link does. Rules: P-ctl-9.
func TestMessagesPassOneOfTwoTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock stands still
		for _, loops := range [][]int{{0, 0, 0}, {0, 1, 0}, {0, 1, 2}, {1, 1, 0}} {
			r := newRig(t, 3, Options{})
			r.n.made = r.n.made.Add(-time.Second) // nothing ends in the moment of the start
			old, young := r.replacing(loops...)
			app := r.dial(loops[2])
			for id, p := range []*peer{old, young, app} {
				p.subscribe(group, uint64(id+1))
			}
			const n = 20
			for i := range n {
				app.publish(header(alice, group, 256, ""), i, 100)
			}
			if a, b := old.count(), young.count(); a+b != n || a != 0 && b != 0 && loops[0] == loops[1] {
				t.Errorf("%v: %d messages go over one link, %d over the other, want %d over one", loops, a, b, n)
			}
			far := header(bob, group, 256, "")
			for i := range n {
				old.publish(far, i, 100)
				young.publish(far, i, 100)
			}
			if got := app.count(); got != n {
				t.Errorf("%v: of %d messages that come over both links %d arrive", loops, n, got)
			}
			if a, b := old.count(), young.count(); a+b != 0 {
				t.Errorf("%v: %d and %d messages go back to where they came from", loops, a, b)
			}
			if got := r.stats().Dropped[ReasonRepeated]; got != n {
				t.Errorf("%v: %d messages are counted as repeated, want %d", loops, got, n)
			}
			if old.publish(far, 1, 100); app.count() != 1 {
				t.Errorf("%v: a repetition over the same link is lost", loops)
			}
			old.publish(header(bob, group, 1, ""), 1, 100)
			young.publish(header(bob, group, 1, ""), 1, 100)
			if got := app.count() + old.count() + young.count(); got != 2 {
				t.Errorf("%v: of two messages to one receiver %d arrive", loops, got)
			}
			for i := range n { // a moment before the end, and who holds the name at the other end sends it back
				app.publish(header(alice, group, 256, ""), n+i, 100)
			}
			gone := old.count() + young.count()
			old.abandon()
			r.settle()
			for i := range n {
				young.publish(header(alice, group, 256, ""), n+i, 100)
			}
			if got := app.count() + young.count(); gone != n || got != 0 && loops[0] == loops[1] {
				t.Errorf("%v: of %d messages that went over one of two links %d come back over the one that is left", loops, gone, got)
			}
			r.n.made = r.n.made.Add(-returnTime)
			if young.publish(far, 2, 100); app.count() != 1 {
				t.Errorf("%v: with one link left a message of before is lost", loops)
			}
			if app.publish(header(alice, group, 256, ""), 1, 100); young.count() != 1 {
				t.Errorf("%v: with one link left a message does not go over it", loops)
			}
		}
	})
}

// A link that may be replaced has a twin as soon as another one to the same node is up, and no other. Rules: P-ctl-9.
func TestLinksThatMayBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock stands still
		for name, tc := range map[string]struct {
			old, young string
			domain     string // of the second
			left       time.Duration
			want       bool
		}{
			"same node":         {"far", "far", "a", time.Hour, true},
			"another node":      {"far", "further", "a", time.Hour, false},
			"of another domain": {"far", "far", "b", time.Hour, false},
			"too late":          {"far", "far", "a", -time.Second, false},
			"no name":           {"", "", "a", time.Hour, false},
		} {
			r := newRig(t, 2, Options{})
			old := r.dialFrom(0, wire.LinkRemote, tc.old, "a")
			r.link(old).MayBeReplaced(time.Now().Add(tc.left))
			app := r.dial(0)
			app.subscribe(group, 1)
			young := r.dialFrom(1, wire.LinkRemote, tc.young, tc.domain)
			if got := old.c.twin.Load() != nil && young.c.twin.Load() != nil; got != tc.want {
				t.Errorf("%s: twins: %v, want %v", name, got, tc.want)
			}
			old.publish(header(bob, group, 256, ""), 1, 100)
			young.publish(header(bob, group, 256, ""), 1, 100)
			if got, want := app.count(), map[bool]int{true: 1, false: 2}[tc.want]; got != want {
				t.Errorf("%s: %d messages arrive, want %d", name, got, want)
			}
			for i, confirmed := range []bool{false, true} { // when the time is over
				if confirmed && tc.want {
					r.link(young).Replaces(r.link(old))
				}
				r.n.made = r.n.made.Add(-2 * time.Hour)
				old.publish(header(bob, group, 256, ""), 2+i, 100)
				young.publish(header(bob, group, 256, ""), 2+i, 100)
				if got, want := app.count(), map[bool]int{true: 1, false: 2}[tc.want && confirmed]; got != want {
					t.Errorf("%s, later, confirmed %v: %d messages arrive, want %d", name, confirmed, got, want)
				}
			}
		}
	})
}

// What goes over a link that may be replaced, or comes by it, does not come again over the one in its place, also if
// it is under way since before that was up. A time that is over without one gives the memory back. Rules: P-ctl-9.
func TestUnderWaySinceBeforeTheTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock stands still
		r := newRig(t, 2, Options{})
		old, app := r.dialAs(0, wire.LinkRemote, "far"), r.dial(0)
		old.subscribe(group, 1)
		app.subscribe(group, 1)
		mine, theirs := header(alice, group, 256, ""), header(bob, group, 256, "")
		said := func(p *peer, h *wire.PublishHeader, i int) int {
			p.publish(h, i, 100)
			return app.count() + old.count()
		}

		r.link(old).MayBeReplaced(time.Now())
		if old.c.twin.Load() != nil {
			t.Error("a link that may be replaced no more has memory for that")
		}
		r.link(old).MayBeReplaced(time.Now().Add(time.Hour))
		if got := said(app, mine, 1) + said(old, theirs, 2) + said(old, theirs, 2); got != 3 {
			t.Errorf("of three messages before the new link %d pass", got)
		}
		young := r.dialAs(1, wire.LinkRemote, "far")
		if got := said(young, mine, 1) + said(young, theirs, 2); got != 0 {
			t.Errorf("%d messages from before the new link come again over it", got)
		}
		if got := said(young, theirs, 3); got != 1 {
			t.Errorf("a new message over the new link comes to %d, want 1", got)
		}

		r.link(young).MayBeReplaced(time.Now().Add(time.Hour)) // at once
		old.abandon()
		r.settle()
		r.n.made = r.n.made.Add(-2 * returnTime)
		app.publish(mine, 4, 100)
		young.subscribe(group, 1)
		app.publish(mine, 5, 100)
		if third := r.dialAs(0, wire.LinkRemote, "far"); young.count() != 1 || said(third, mine, 5) != 0 {
			t.Error("a message that has gone over the second link comes again over the third")
		}

		first, second := r.dialAs(0, wire.LinkRemote, "it"), r.dialAs(1, wire.LinkRemote, "it")
		r.link(second).MayBeReplaced(time.Now().Add(time.Hour)) // before it is known what it replaces
		r.link(second).Replaces(r.link(first))
		first.subscribe(carol, 1)
		second.subscribe(carol, 1)
		app.publish(header(alice, carol, 256, ""), 6, 100)
		if got := first.count() + second.count(); got != 1 {
			t.Errorf("a message goes %d times over a link and the one in its place, which may be replaced, too", got)
		}
		first.abandon()
		r.settle()
		r.n.made = r.n.made.Add(-2 * returnTime)
		app.subscribe(carol, 1)
		app.publish(header(alice, carol, 256, ""), 7, 100)
		if third := r.dialAs(0, wire.LinkRemote, "it"); second.count() != 1 || said(third, header(alice, carol, 256, ""), 7) != 0 {
			t.Error("what has gone over a link that has replaced another one, and may be replaced, comes again over the third")
		}

		other := r.dialAs(1, wire.LinkRemote, "other")
		r.link(other).MayBeReplaced(time.Now().Add(time.Hour))
		if had := other.c.twin.Load(); had == nil {
			t.Error("a link that may be replaced remembers nothing")
		}
		if r.link(other).MayBeReplaced(time.Time{}); other.c.twin.Load() != nil {
			t.Error("a link that nothing has replaced in time keeps the memory for that")
		}
		if r.link(young).MayBeReplaced(time.Time{}); young.c.twin.Load() == nil {
			t.Error("a link that has a twin knows it no more")
		}
	})
}

// Links that nobody has confirmed in time do not hide what a third one brings; one that may be replaced remembers
// also after the end of another's time; and the last one gives the memory back. Rules: P-ctl-9.
func TestTwinsAfterTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock stands still
		for name, tc := range map[string]struct {
			ends   bool // the first link, before the time is over
			denied bool // the time is over before the second one is marked
			longer bool // the second one has more time
		}{"denied": {false, true, false}, "denied, first ended": {true, true, false},
			"first ended": {true, false, false}, "second has more time": {true, false, true}} {
			r := newRig(t, 2, Options{})
			app := r.dial(0)
			app.subscribe(group, 1)
			mark := func(p *peer, until time.Time) { r.link(p).MayBeReplaced(until) }
			link := func() *peer { return r.dialAs(0, wire.LinkRemote, "far") }
			first := link()
			mark(first, time.Now().Add(time.Hour))
			second := link()
			if !tc.denied {
				mark(second, time.Now().Add(3*time.Hour))
				mark(first, time.Time{})
			}
			if tc.ends {
				first.abandon()
				r.settle()
			}
			switch {
			case tc.denied:
				r.n.made = r.n.made.Add(-2 * time.Hour)
				mark(second, time.Now().Add(time.Hour))
			case tc.longer:
				r.n.made = r.n.made.Add(-2 * time.Hour)
			default:
				r.n.made = r.n.made.Add(-2 * returnTime)
			}
			second.subscribe(group, 1)
			app.publish(header(alice, group, 256, ""), 1, 100)
			second.publish(header(bob, group, 256, ""), 2, 100)
			third := link()
			third.publish(header(alice, group, 256, ""), 1, 100)
			third.publish(header(bob, group, 256, ""), 2, 100)
			if got, gone := app.count(), second.count(); got != 1 || gone != 1 {
				t.Errorf("%s: %d messages arrive and %d go, want 1 and 1", name, got, gone)
			}
			if !tc.ends {
				continue
			}
			third.abandon()
			r.settle()
			if mark(second, time.Time{}); second.c.twin.Load() == nil {
				t.Errorf("%s: what has gone over the third link is forgotten at once", name)
			}
			r.n.made = r.n.made.Add(-2 * returnTime)
			if mark(second, time.Time{}); second.c.twin.Load() != nil {
				t.Errorf("%s: a link that is alone again keeps its memory", name)
			}
		}
	})
}

// Links that nobody has confirmed in time are no twins of those that have one of them as a twin. One that may be
// replaced still may when another one has come and gone. Rules: P-ctl-9.
func TestTwinsOfTwinsThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock stands still
		r := newRig(t, 2, Options{})
		app := r.dial(0)
		app.subscribe(group, 1)
		said := 0
		arrive := func(by ...*peer) int { // a message that comes over all of them
			said++
			for _, p := range by {
				p.publish(header(bob, group, 256, ""), said, 100)
			}
			return app.count()
		}
		first := r.dialAs(0, wire.LinkRemote, "far")
		r.link(first).MayBeReplaced(time.Now().Add(time.Hour))
		second := r.dialAs(1, wire.LinkRemote, "far")
		if got := arrive(first, second); got != 1 {
			t.Errorf("a message over two links arrives %d times, want once", got)
		}
		r.n.made = r.n.made.Add(-2 * time.Hour) // there are two nodes of that name
		r.link(first).MayBeReplaced(time.Time{})
		third := r.dialAs(0, wire.LinkRemote, "far")
		r.link(third).Replaces(r.link(second))
		if a, b := arrive(first, second), arrive(second, third); a != 2 || b != 1 {
			t.Errorf("two messages, over links of two nodes and over two of one, arrive %d and %d times, want 2 and 1", a, b)
		}
		r.n.made = r.n.made.Add(-2 * returnTime)
		if r.link(first).MayBeReplaced(time.Time{}); first.c.twin.Load() != nil {
			t.Error("a link whose twin was none keeps the memory for it")
		}

		fourth, fifth := r.dialAs(0, wire.LinkRemote, "it"), r.dialAs(0, wire.LinkRemote, "other")
		r.link(fourth).MayBeReplaced(time.Now().Add(time.Hour))
		sixth := r.dialAs(1, wire.LinkRemote, "it")
		sixth.abandon()
		r.settle()
		r.n.made = r.n.made.Add(-2 * returnTime)
		before := arrive(fourth)
		seventh := r.dialAs(1, wire.LinkRemote, "it")
		said--
		if after := arrive(seventh); before != 1 || after != 0 {
			t.Errorf("a message from before the third link arrives %d times and over that %d times, want 1 and 0", before, after)
		}
		r.n.made = r.n.made.Add(-4 * time.Hour)
		r.link(fourth).MayBeReplaced(time.Time{})
		r.link(seventh).Replaces(r.link(fifth)) // and not what it may have replaced
		if a, b := arrive(fourth, seventh), arrive(fifth, seventh); a != 2 || b != 1 {
			t.Errorf("two messages, over links of two nodes and over two of one, arrive %d and %d times, want 2 and 1", a, b)
		}
	})
}

// A fan-out that takes several turns passes one of two links, too.
func TestLongFanoutsPassOneOfTwoTwins(t *testing.T) {
	r := newRig(t, 2, Options{})
	old, young := r.replacing(0, 1)
	var all []*peer
	for i := range 2 * lookEvery {
		p := r.dial(i % 2)
		p.subscribe(group, 1)
		all = append(all, p)
	}
	old.subscribe(group, 1)
	young.subscribe(group, 1)
	const n = 5
	slow := 0 // messages whose fan-out may have taken longer than they are remembered
	for i := range n {
		begun := time.Now()
		all[0].publish(header(alice, group, 256, ""), i, 100)
		r.settle()
		if time.Since(begun) >= repeatTime {
			slow++
		}
	}
	if a, b := old.count(), young.count(); a+b < n || a+b > n+slow {
		t.Errorf("%d messages go over one link, %d over the other, want %d together; %d took long", a, b, n, slow)
	}
	old.c.dead.Store(true) // it is leaving the table, which takes a while where it has many names: it gets nothing, and hides nothing
	all[0].publish(header(alice, group, 256, ""), n, 100)
	r.settle()
	old.c.dead.Store(false)
	if a, b := old.count(), young.count(); a != 0 || b != 1 {
		t.Errorf("a link that has ended gets %d messages, and the one in its place %d of one", a, b)
	}
	for _, p := range all[1:] {
		if got := p.count(); got != n+1 {
			t.Fatalf("somebody else gets %d messages, want %d", got, n+1)
		}
	}
	if s := r.stats(); s.Kinds[table.Remote] != 2 || len(s.Dropped) != 1 || s.Dropped[ReasonGone] != 1 {
		t.Errorf("stats = %+v", s)
	}
}

// One of two links may be far behind the other one: what comes over it then is known, too. Rules: P-ctl-9.
func TestTwinsRememberThousands(t *testing.T) {
	var x twins
	rng := rand.New(rand.NewPCG(1, 2))
	prints := make([]uint64, 20_000)
	const behind = 1000
	twice := 0
	for i := range prints {
		prints[i] = rng.Uint64()
		if now := time.Duration(i) * time.Second / 10_000; !x.passes(prints[i], 1, now) {
			t.Fatal("a new message does not pass")
		} else if i >= behind && x.passes(prints[i-behind], 2, now) {
			twice++
		}
	}
	if twice > len(prints)/100 {
		t.Errorf("%d of %d messages pass twice, over links of which one is %d messages behind", twice, len(prints), behind)
	}
}

// What is remembered of a message is forgotten after a while, and by others in its place.
func TestHowLongTwinsRemember(t *testing.T) {
	var x twins
	const start = (seenTimes - 100) * time.Millisecond // the time begins anew in between
	const a, b, out = 5 << 32, 6 << 32, 4 << 32        // messages of one place
	for i, c := range []struct {
		print, link uint64
		at          time.Duration
		want        bool
	}{
		{a, 1, 0, true}, {a, 2, 0, false}, {a, 1, 0, true}, {a, 2, repeatTime - time.Millisecond, false}, {a, 2, repeatTime, true}, {a, 1, repeatTime, false},
		{b, 1, repeatTime, true}, {a, 1, repeatTime, false}, {b, 2, repeatTime, false},
		{out, 1 | seenOut, 0, true}, {out, 2, returnTime - time.Millisecond, false}, {out, 1, returnTime - time.Millisecond, true}, // it may come back late
		{out, 2 | seenOut, repeatTime, true}, {out, 2, returnTime - time.Millisecond, false}, {out, 2, returnTime + repeatTime, true},
	} {
		if got := x.passes(c.print, c.link, start+c.at); got != c.want {
			t.Errorf("step %d: %v, want %v", i, got, c.want)
		}
	}
	for i := range uint64(seenWays) {
		if !x.passes((7+i)<<32, 1, start+repeatTime+time.Millisecond) {
			t.Errorf("message %d of one set does not pass", i)
		}
	}
	if !x.passes(a, 1, start+repeatTime+time.Millisecond) {
		t.Error("the oldest of a set is remembered still")
	}
}

// A loop may look for a message with a clock that it has read before another loop read its own: what that one has put there is new, not
// the oldest of all, and the set's times do not go back. Rules: P-ctl-9.
func TestTwinsWithClocksReadBefore(t *testing.T) {
	const now = time.Second
	msg := func(i int) uint64 { return uint64(i+1) << 32 }
	var x twins
	if !x.passes(msg(0), 1, now) || x.passes(msg(0), 2, now-time.Millisecond) || x.passes(msg(0), 2, now-repeatTime+time.Millisecond) {
		t.Error("a message passes twice, as the second link's clock was read before the first one's")
	}
	for i := 1; i < seenWays; i++ {
		x.passes(msg(i), 1, now+time.Duration(i)*time.Millisecond)
	}
	const last = seenWays - 1
	if !x.passes(msg(seenWays), 1, now-time.Millisecond) || x.passes(msg(last), 2, now+last*time.Millisecond) {
		t.Error("a message gives way to one whose clock was read before, though others are older")
	}
	x = twins{}
	for i := range seenWays {
		x.passes(msg(i), 1, now)
	}
	x.passes(msg(seenWays), 1, now-100*time.Millisecond) // takes the first place, and its time
	if x.passes(msg(seenWays), 2, now+repeatTime-50*time.Millisecond) {
		t.Error("a message is forgotten too early, as its clock was read before those of others")
	}
}

// Of two loops that look for one message at once, while other messages change its set, one lets it pass. Rules: P-ctl-9.
func TestTwinsThatLookAtOnce(t *testing.T) {
	var x twins
	var clock atomic.Int64 // a millisecond for each look, so that no two loops have read the same
	const others = seenWays - 2
	for round := range uint64(2_000) {
		var passed atomic.Int32
		var all sync.WaitGroup
		ready := make(chan struct{})
		for i := range uint64(others + 2) {
			print, number := (round*seenWays+max(i, 1))<<32, i%2 // 0 and 1 are one message, by two links
			all.Go(func() {
				<-ready
				now := time.Duration(clock.Add(1)) * time.Millisecond
				if i%3 == 0 {
					runtime.Gosched() // others read the clock, and look, meanwhile
				}
				if x.passes(print, number, now) && i < 2 {
					passed.Add(1)
				}
			})
		}
		close(ready)
		all.Wait()
		if got := passed.Load(); got != 1 {
			t.Fatalf("round %d: a message passes %d times, want once", round, got)
		}
	}
}

// Messages that differ in a name, in their length, or in what is within reach have fingerprints of their own; the header does not count, which
// each hop makes anew.
func TestFingerprints(t *testing.T) {
	sum := func(h *wire.PublishHeader, i, n int) uint64 {
		var m wire.Message
		var hd wire.Header
		b := wire.AppendPublish(nil, h, testSession, content(i, n))
		if err := wire.Scan(b, &m); err != nil {
			t.Fatal(err)
		}
		if err := wire.ParseHeader(b[m.Header.Off:m.Header.End], &hd); err != nil {
			t.Fatal(err)
		}
		return fingerprint(b, &m, &hd)
	}
	h := header(alice, group, 256, "")
	one := sum(h, 1, 100)
	for what, other := range map[string]uint64{
		"source":      sum(header(bob, group, 256, ""), 1, 100),
		"destination": sum(header(alice, bob, 256, ""), 1, 100),
		"content":     sum(h, 2, 100),
		"length":      sum(h, 1, 101),
	} {
		if other == one {
			t.Errorf("a message of another %s has the same fingerprint", what)
		}
	}
	if sum(h, 1, 4000) == sum(h, 1, 4001) {
		t.Error("messages that differ in length, out of reach, have one fingerprint")
	}
	if sum(header(alice, group, 256, "token"), 1, 100) != one {
		t.Error("a header that a hop has made anew changes the fingerprint")
	}
}
