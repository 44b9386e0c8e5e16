package router

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// local connects an application in the process.
func (r *rig) local(loop int) *app { return &app{far: r.attach(loop), r: r} }

// An app in the process and one behind a socket send to each other, whatever the size: what comes from the process has not made a
// hop, and what goes there is not signed. Rules: P-ttl-1, P-mac-8.
func TestLocalAndOthers(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, where := range placements {
		for _, size := range []int{8, 5_000, 300_000, 3 << 20} {
			t.Run(fmt.Sprint(where.name, "/", size), func(t *testing.T) {
				r := newRig(t, where.loops, Options{})
				a, b := r.local(where.source), r.dial(where.dest)
				a.subscribe(alice)
				b.subscribe(bob, 1)
				for i := range 3 {
					if !a.publish(bob, 1, i, size) {
						t.Fatal("held")
					}
					got := b.take()
					b.checkMAC(got)
					if h := decode(t, got).GetPublish().Header; numberOf(got) != i || h.Ttl != 8 {
						t.Errorf("message %d with a TTL of %d, want %d and 8", numberOf(got), h.Ttl, i)
					}
					b.sendBig(b.publication(header(bob, alice, 1, "x"), i, size))
					if a.run(); len(a.got) != 1 {
						t.Fatalf("%d messages", len(a.got))
					}
					if h := decode(t, a.got[0]).GetPublish().Header; numberOf(a.got[0]) != i || h.Ttl != 7 || h.HeaderMac != nil {
						t.Errorf("message %d with a TTL of %d and the MAC %x, want %d, 7 and none", numberOf(a.got[0]), h.Ttl, h.HeaderMac, i)
					}
					a.got = nil
				}
				if s := r.stats(); s.Delivered != 6 || len(s.Dropped) != 0 || s.Kinds[table.Local] != 1 || s.Connections != 2 || s.Sockets != 1 {
					t.Errorf("stats = %+v", s)
				}
			})
		}
	}
}

// An anycast message goes to an app in the process before others. Rules: P-any-1.
func TestLocalComesFirst(t *testing.T) {
	r := newRig(t, 2, Options{})
	sender, edge, own := r.dial(0), r.dial(0), r.local(1)
	edge.subscribe(bob, 1)
	own.subscribe(bob)
	for i := range 4 {
		sender.publish(header(alice, bob, 1, "x"), i, 100)
	}
	if own.wantNumbers(0); edge.count() != 0 {
		t.Error("an edge connection gets what one in the process could")
	}
	own.leave()
	if sender.publish(header(alice, bob, 1, "x"), 0, 100); edge.count() != 1 {
		t.Error("its name has not gone with the app")
	}
}

// A group of apps here and there, on all loops: each message comes to everybody but its sender, once and in order.
func TestFanoutToLocals(t *testing.T) {
	for _, loops := range []int{1, 3} {
		r := newRig(t, loops, Options{})
		var members []*app
		for i := range 90 { // more than are served at once
			a := r.local(i % loops)
			if i%3 == 0 {
				a = r.join(0, i%loops)
			}
			a.subscribe(group.WithID(uint64(i), 1))
			members = append(members, a)
		}
		for i := range 50 {
			if !members[1].publish(group, 256, i, 100) {
				t.Fatal("held")
			}
		}
		for i, m := range members {
			if n := m.wantNumbers(0); n != 50 && i != 1 || n != 0 && i == 1 {
				t.Errorf("%d loops: member %d has %d messages", loops, i, n)
			}
		}
	}
}

// An app in the process that is too slow is disconnected, where that is the policy; it can read what it had got, and the end.
func TestDisconnectOfALocal(t *testing.T) {
	r := newRig(t, 1, Options{SlowConsumer: Disconnect})
	a, b := r.join(0, 0), r.local(0)
	b.subscribe(bob)
	b.pause(true)
	a.flood(bob, 0, 20_000)
	for i := 0; b.conn().state != gone; i++ {
		if i > 500 {
			t.Fatal("never disconnected")
		}
		r.pass(stallLook)
	}
	b.pause(false)
	n := b.wantNumbers(0)
	status, text, over := b.far.(*ringFar).end.In.Ended()
	if n < 50 || !b.ended() || !over || status != statusExhausted || text == "" {
		t.Errorf("%d messages, ended %v with status %d %q", n, b.ended(), status, text)
	}
	if s := r.stats(); s.Connections != 1 || s.Names != 0 || s.Kinds[table.Local] != 0 || s.Dropped[ReasonGone]+s.Dropped[ReasonStalled] == 0 {
		t.Errorf("stats = %+v", s)
	}
}

// What apps in the process are is bounded and shown like all others.
func TestLimitsOfLocals(t *testing.T) {
	r := newRig(t, 1, Options{MaxConnections: 2, MaxSubscriptions: 2})
	a, b := r.local(0), r.local(0)
	l := r.n.loops[0]
	var refused error
	r.attachAs(l, func(s transport.Stream) (transport.Receiver, error) {
		x, err := l.admitLocal(s)
		refused = err
		return x, err
	})
	if refused == nil || !strings.Contains(refused.Error(), "--max-connections") {
		t.Errorf("a third one: %v", refused)
	}
	for i, want := range []bool{true, true, false} {
		n := bob.WithID(uint64(i), 0)
		a.send(wire.AppendSubscribe(nil, header(n, n, 1, ""), uint64(i+1)))
		a.run()
		var m wire.Message
		if len(a.got) != 1 || wire.Scan(a.got[0], &m) != nil {
			t.Fatalf("%d answers", len(a.got))
		}
		if id, ok, reason, err := wire.ParseAck(a.got[0], &m); err != nil || id != uint64(i+1) || ok != want || (reason == "") != want {
			t.Errorf("subscription %d: %d %v %q %v", i+1, id, ok, reason, err)
		}
		a.got = nil
	}
	x := a.conn().describe(0)
	if x.Transport != "rings" || x.Remote != "in process" || x.Agent != "app" || x.Kind != table.Local || x.State != "active" {
		t.Errorf("shown as %+v", x)
	}
	b.leave()
	if s := r.stats(); s.Kinds[table.Local] != 1 || s.Names != 2 || s.Refused[ReasonConnections] != 1 || s.Refused[ReasonSubscriptions] != 1 {
		t.Errorf("stats = %+v", s)
	}
	a.leave()
	if s := r.stats(); s.Kinds[table.Local] != 0 || s.Names != 0 || s.Connections != 0 || r.n.open.Load() != 0 || r.n.loops[0].group.Len() != 0 {
		t.Errorf("stats = %+v; %d open, %d in the group", s, r.n.open.Load(), r.n.loops[0].group.Len())
	}
}

// attachAs attaches an application and leaves the rest to accept.
func (r *rig) attachAs(l *loop, accept func(transport.Stream) (transport.Receiver, error)) {
	r.t.Helper()
	f := &ringFar{r: r}
	_ = l.group.Attach(f.pipes(), "app", accept)
	r.settle()
}

// A panic in what is done for an app in the process costs it, and others nothing.
func TestPanicOfALocal(t *testing.T) {
	for _, where := range placements {
		r := newRig(t, where.loops, Options{})
		a, b, other := r.local(where.source), r.local(where.dest), r.local(where.source)
		b.subscribe(bob)
		other.subscribe(alice)
		b.conn().link.Close() // what is sent to it is a panic
		for i := range 3 {
			a.publish(bob, 1, i, 100)
			a.publish(alice, 1, i, 100)
		}
		b.run()
		s := r.stats()
		if other.wantNumbers(0) != 3 || s.Panics == 0 || s.Connections != 2 || !b.ended() || a.ended() {
			t.Errorf("%s: a receiver: %+v, ended %v", where.name, s, b.ended())
		}
		a.conn().link.Close() // now what it sends is one
		a.publish(alice, 1, 3, 100)
		other.publish(alice.WithID(5, 5), 1, 0, 100)
		a.run()
		if s := r.stats(); s.Connections != 1 || !a.ended() {
			t.Errorf("%s: a sender: %+v, ended %v", where.name, s, a.ended())
		}
	}
}

// When the node stops, all that apps in the process were let put goes its way, what waits for them too, and then they
// are told.
func TestDrainOfLocals(t *testing.T) {
	for _, where := range placements {
		r := newRig(t, where.loops, Options{SlowConsumer: Block})
		a, b := r.local(where.source), r.local(where.dest)
		b.subscribe(bob)
		b.pause(true)
		count := a.flood(bob, 0, 20_000)
		f := a.far.(*ringFar)
		for _, l := range r.n.loops {
			l.post(l.drain)
		}
		r.settle()
		if f.end.Out.Enter() || f.end.Out.Leave() || f.send(nil) {
			t.Errorf("%s: an app can still send", where.name)
		}
		for _, l := range r.n.loops {
			if !l.inputRead() {
				t.Errorf("%s: loop %d has not read everything", where.name, l.index)
			}
			if err := l.group.Attach((&ringFar{r: r}).pipes(), "late", l.admitLocal); !errors.Is(err, transport.ErrStopping) {
				t.Errorf("%s: attached while the node stops: %v", where.name, err)
			}
			l.post(l.finishAll)
		}
		r.settle()
		b.pause(false)
		n := 0
		for range 200 {
			n = b.wantNumbers(n)
		}
		a.run()
		if n != count || !a.ended() || !b.ended() {
			t.Errorf("%s: %d of %d arrived; ended %v %v", where.name, n, count, a.ended(), b.ended())
		}
		for _, l := range r.n.loops {
			select {
			case <-l.drained:
			default:
				t.Errorf("%s: loop %d is not idle", where.name, l.index)
			}
		}
		if s := r.stats(); len(s.Dropped) != 0 || s.Connections != 0 {
			t.Errorf("%s: %+v", where.name, s)
		}
	}
}

// An app in the process that takes nothing does not hold the end of the node up.
func TestDrainDoesNotWaitForALocalThatIsStuck(t *testing.T) {
	r := newRig(t, 1, Options{SlowConsumer: Block})
	a, b := r.local(0), r.local(0)
	b.subscribe(bob)
	b.pause(true)
	a.flood(bob, 0, 20_000)
	l := r.n.loops[0]
	l.post(l.drain)
	l.post(l.finishAll)
	for i := 0; ; i++ {
		r.settle()
		select {
		case <-l.drained:
		default:
			if i > 60 {
				t.Fatal("it is waited for")
			}
			r.seconds(1)
			continue
		}
		break
	}
	if s := r.stats(); s.Refused[ReasonStalled] != 1 || s.Dropped[ReasonGone] == 0 {
		t.Errorf("stats = %+v", s)
	}
}

// The way of a message from the process, or to it, allocates nothing.
func TestAllocsOfLocals(t *testing.T) {
	for _, where := range placements {
		r := newRig(t, where.loops, Options{})
		a, b := r.local(where.source).far.(*ringFar), r.local(where.dest).far.(*ringFar)
		(&app{far: b, r: r}).subscribe(bob)
		msg := wire.AppendPublish(nil, header(alice, bob, 1, "x"), testSession, content(0, 100))
		step := func() {
			for range 8 {
				a.push(msg)
			}
			r.settle()
			if n := b.discard(); n != 8 {
				t.Errorf("%s: %d messages", where.name, n)
			}
			r.settle()
		}
		for range 100 {
			step()
		}
		if n := testing.AllocsPerRun(200, step); n != 0 && pooled {
			t.Errorf("%s: %v allocations for 8 messages", where.name, n)
		}
	}
}
