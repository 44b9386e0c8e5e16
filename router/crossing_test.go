package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// crossing is a random history of senders and receivers on several loops, whose turns come in any order.
type crossing struct {
	*rig
	rnd       *rand.Rand
	senders   []*crossingSender
	receivers []*crossingReceiver
}

type crossingSender struct {
	*peer
	index, count int
	gone         bool
}

type crossingReceiver struct {
	*peer
	name wire.NameText
	want map[int][]int // numbers by sender
	gone bool          // nothing is asked of it any more
}

func newCrossing(t *testing.T, seed uint64) *crossing {
	x := &crossing{rig: newRig(t, 3, Options{SlowConsumer: Block, ConnBuffer: MinConnBuffer}), rnd: rand.New(rand.NewPCG(seed, 1))}
	for _, l := range x.n.loops { // from the start, bundles are used again
		for range bundlesAtRest {
			l.bundles.free.push(&bundle{home: &l.bundles})
		}
	}
	for i := range 4 {
		x.senders = append(x.senders, &crossingSender{peer: x.dial(i % 3), index: i})
	}
	for i := range 7 {
		x.window = uint32(1) << (10 + x.rnd.IntN(10))
		r := &crossingReceiver{peer: x.dial(i % 3), name: bob.WithID(uint64(i), 9), want: map[int][]int{}}
		r.subscribe(r.name, 1)
		r.subscribe(group, 2)
		x.receivers = append(x.receivers, r)
	}
	x.slow(func() time.Duration { return time.Duration(x.rnd.IntN(3)) * turnBudget / 2 })
	x.now = x.now.Add(-time.Second)
	return x
}

// send has a sender send some messages in one read.
func (x *crossing) send() {
	s := x.senders[x.rnd.IntN(len(x.senders))]
	if s.gone {
		return
	}
	s.trade()
	for range 1 + x.rnd.IntN(40) {
		size := []int{10, 500, 3000, maxBundled + 1000, 70_000}[x.rnd.IntN(5)]
		if size > 10_000 && x.rnd.IntN(4) > 0 {
			size = 100
		}
		if s.s.Window() < size+1000 {
			break
		}
		number := s.index<<32 | s.count
		s.count++
		identity := []string{"one", "two"}[x.rnd.IntN(2)]
		switch x.rnd.IntN(10) {
		case 0:
			s.stage(s.publication(header(alice, alice, 1, identity), number, size)) // nobody
		case 1:
			s.stage(s.publication(header(alice, group, 256, identity), number, size))
			for _, r := range x.receivers {
				r.want[s.index] = append(r.want[s.index], number)
			}
		default:
			r := x.receivers[x.rnd.IntN(len(x.receivers))]
			s.stage(s.publication(header(alice, r.name, 1, identity), number, size))
			r.want[s.index] = append(r.want[s.index], number)
		}
	}
	s.deliver()
}

// trade moves what there is both ways, and lets no loop have a turn.
func (p *peer) trade() (moved bool) {
	if p.shut() {
		return false
	}
	moved = p.read()
	if ctl := p.cli.Control(); len(ctl) > 0 {
		p.out = append(p.out, ctl...)
		p.cli.ControlDone()
		p.deliver()
		moved = true
	}
	return moved
}

// step is one event of the history.
func (x *crossing) step(ends bool) {
	r := x.receivers[x.rnd.IntN(len(x.receivers))]
	s := x.senders[x.rnd.IntN(len(x.senders))]
	switch op := x.rnd.IntN(100); {
	case op < 35:
		x.send()
	case op < 65:
		i := x.rnd.IntN(3)
		if b := &x.n.loops[i].budget; x.rnd.IntN(2) == 0 { // which is spent anywhere
			b.until, b.steps = x.now, x.rnd.IntN(lookSteps)
		}
		x.loops[i].RunTurn()
	case op < 88:
		for _, r := range x.receivers {
			r.trade()
		}
	case op < 92:
		r.paused = !r.paused && x.rnd.IntN(2) == 0
	case op < 94:
		x.seconds(1)
	case op < 97:
		l := x.n.loops[x.rnd.IntN(3)]
		l.post(func() { l.clock.pass(stallLook) })
	case !ends:
	case op == 97:
		r.gone = true
		r.loop.Hangup(r.sock, unix.ECONNRESET)
	case op == 98:
		r.gone = true
		r.breakOutput()
	case x.rnd.IntN(3) == 0:
		s.gone = true
		s.loop.Hangup(s.sock, unix.ECONNRESET)
	}
}

// finish lets everything arrive.
func (x *crossing) finish() {
	for moved := true; moved; {
		moved = false
		x.settle()
		for _, p := range x.peers {
			p.paused = false
			moved = p.trade() || moved
			p.loop.Ready()
		}
		for _, l := range x.n.loops { // a little room is used after a moment
			l.post(func() { l.clock.pass(stallLook) })
		}
	}
}

// Whatever the order in which loops have their turns, and whoever pauses, breaks or leaves: those who stay get every
// message of those who stay, in order, and in the end nothing waits, nobody is charged, and no memory is held. Rules:
// P-fwd-6.
func TestNothingIsLostBetweenLoops(t *testing.T) {
	seeds := uint64(4)
	if long {
		seeds = 24
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			live := pool.Live()
			x := newCrossing(t, seed)
			for range 300 {
				x.step(seed%2 == 1)
			}
			x.finish()
			for i, r := range x.receivers {
				if r.gone {
					continue
				}
				got := map[int][]int{}
				for _, n := range r.numbers() {
					got[n>>32] = append(got[n>>32], n)
				}
				for _, s := range x.senders {
					if !s.gone && !slices.Equal(got[s.index], r.want[s.index]) {
						t.Errorf("receiver %d got of sender %d %x, want %x", i, s.index, got[s.index], r.want[s.index])
					}
				}
			}
			x.settled(t)
			for _, p := range x.peers {
				p.abandon()
			}
			x.settle()
			x.settled(t)
			if s := x.stats(); s.Connections != 0 {
				t.Errorf("%d connections are left", s.Connections)
			}
			if n := pool.Live(); n != live {
				t.Errorf("%d buffers are held", n-live)
			}
		})
	}
}

// settled fails if anything is left on its way.
func (x *crossing) settled(t *testing.T) {
	t.Helper()
	s := x.stats()
	if s.Waiting != 0 || s.WaitingBytes != 0 || s.Held != 0 || s.Spilled != 0 || s.Unfinished != 0 || s.Blocked != 0 {
		t.Errorf("left: %+v", s)
	}
	for i, l := range x.n.loops {
		b := &l.bundles
		if b.collect(); b.under != 0 || b.open != 0 {
			t.Errorf("loop %d: %d bundles under way, %d open", i, b.under, b.open)
		}
		if !l.fanouts.idle() || len(l.fanouts.of) > 0 {
			t.Errorf("loop %d: a fan-out is under way, or a line waits", i)
		}
	}
}
