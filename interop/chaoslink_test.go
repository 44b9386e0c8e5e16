//go:build interop

package interop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/faults"
)

// link is a link over a line, or those of several applications, and what a test knows of it.
type link struct {
	*faults.Line
	name     string
	endpoint string // as its dialler's configuration has it
	random   *rand.Rand

	dialler *node         // of ours; nil: others dial
	both    bool          // the other end is ours, too, and finds that it is stranded; upstream's waits, and others with it
	pause   time.Duration // the shortest between two attempts of dialler
	rust    []*process    // that dial

	next  []damage       // that come
	ends  int            // damages so far that a link does not survive
	done  map[string]int // damages by name
	worst time.Duration  // from the moment at which a link can come back until it has
}

func (l *link) dialledBy(n *node, pause time.Duration) { l.dialler, l.pause = n, pause }

func (l *link) dialledByRust(all ...*process) { l.rust = all }

// lives is how often each of the diallers has tried to connect, or, of those that do not say that, has come back.
type lives []int

// look returns the lives of the diallers so far, and whether all are connected, as far as they say.
func (l *link) look(ctx context.Context) (n lives, up bool, err error) {
	if l.dialler == nil {
		for _, p := range l.rust {
			if p.count(gaveUp) > 0 {
				return nil, false, fmt.Errorf("%s has given up", p.label)
			}
			n = append(n, p.count(reconnected))
		}
		return n, true, nil
	}
	st, err := l.dialler.status(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, x := range st.Links {
		if x.Endpoint == l.endpoint {
			return lives{int(x.Attempts)}, x.State == "up", nil
		}
	}
	return nil, false, fmt.Errorf("no link to %s in %v", l.endpoint, st.Links)
}

// look again, so often.
const lookEvery = 20 * time.Millisecond

// awaitUp returns when the link is up, in a later life of each dialler than before.
func (l *link) awaitUp(ctx context.Context, before lives) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for {
		now, up, err := l.look(ctx)
		if err != nil {
			return err
		}
		for i, n := range before {
			up = up && (now[i] > n || l.dialler == nil && l.rust[i].ended())
		}
		if up {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not back after %v: lives %v, were %v", limit, now, before)
		}
		<-tick.C
	}
}

// ended reports whether the program has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// damage is what can happen to a link.
type damage struct {
	name string
	// do does it; wait waits for a random time, of less than a second.
	do func(l *link, wait func()) error
	// survives says that the link need not end by it.
	survives bool
	// found says that the ends must find by themselves that it is over, by their keepalive: in six seconds.
	found bool
}

// mostEnds is how often upstream's diallers may lose a link: they run each connection inside the last one, and after some
// 115 of them they get no further turn, and neither read nor notice an end, whatever node they are connected to.
const mostEnds = 90

// damages returns what can happen to l. The first is the shortest.
func damages(l *link) []damage {
	stall := damage{name: "stall", survives: true, do: func(l *link, wait func()) error {
		l.Stall()
		wait()
		l.Resume()
		return nil
	}}
	refuse := func(name string, end func(*faults.Line)) damage {
		return damage{name: name, do: func(l *link, wait func()) error {
			l.Refuse() // before the end: who dials at once is refused already
			end(l.Line)
			wait()
			return l.Admit()
		}}
	}
	all := []damage{refuse("cut, refused", (*faults.Line).Cut), refuse("reset, refused", (*faults.Line).Reset), stall}
	if l.dialler == nil { // upstream's diallers give up if they connect in vain
		return all
	}
	if l.both {
		all = append(all, damage{name: "strand", found: true, do: func(l *link, _ func()) error { l.Strand(); return nil }})
	}
	return append(all,
		damage{name: "cut", do: func(l *link, _ func()) error { l.Cut(); return nil }},
		damage{name: "reset", do: func(l *link, _ func()) error { l.Reset(); return nil }},
		damage{name: "cut, rejected", do: func(l *link, wait func()) error {
			since, accepted := time.Now(), l.Accepted()
			l.Reject()
			l.Cut()
			wait()
			err := l.Admit()
			// The first comes at once.
			if n, took := l.Accepted()-accepted, time.Since(since); l.pause > 0 && n > 2+uint64(took/l.pause) {
				err = fmt.Errorf("%d attempts within %v, with pauses of %v", n, took, l.pause)
			}
			return err
		}},
		damage{name: "stall, reset", do: func(l *link, wait func()) error {
			l.Stall()
			wait()
			l.Reset()
			l.Resume()
			return nil
		}},
		damage{name: "reset, silent", do: func(l *link, wait func()) error {
			l.Stall()
			l.Reset()
			wait()
			l.Resume()
			return nil
		}})
}

// suffer has l damaged until ctx is over, in all ways, in an order that is another each time. It returns when the link is
// up.
func (l *link) suffer(ctx context.Context) error {
	for {
		if len(l.next) == 0 {
			l.next = damages(l)
			l.random.Shuffle(len(l.next), func(i, j int) { l.next[i], l.next[j] = l.next[j], l.next[i] })
		}
		calm := time.Duration(l.random.Int64N(int64(1500 * time.Millisecond)))
		d := l.next[0]
		if l.dialler == nil && l.ends >= mostEnds && !d.survives {
			d.name, d.survives, d.do = "calm", true, func(*link, func()) error { return nil }
		}
		select {
		case <-time.After(calm):
		case <-ctx.Done():
			return nil
		}
		l.next = l.next[1:]
		if err := l.harm(context.WithoutCancel(ctx), d); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
}

// harm does one damage and returns when the link is up again, by the first attempt that was let through.
func (l *link) harm(ctx context.Context, d damage) error {
	before, _, err := l.look(ctx)
	if err != nil {
		return err
	}
	wait := func() { <-time.After(time.Duration(l.random.Int64N(int64(700 * time.Millisecond)))) }
	if err := d.do(l, wait); err != nil {
		return err
	}
	l.done[d.name]++
	if !d.survives {
		l.ends++
	}
	since, accepted := time.Now(), l.Accepted()
	if d.survives {
		before = nil
	}
	if err := l.awaitUp(ctx, before); err != nil {
		return err
	}
	if d.survives || d.found {
		return nil
	}
	took := time.Since(since)
	l.worst = max(l.worst, took)
	// A keepalive of five seconds may have ended an attempt.
	if n := l.Accepted() - accepted; l.dialler != nil && n > 1+uint64(took/(4*time.Second)) {
		return fmt.Errorf("it has taken %d attempts that were let through", n)
	}
	return nil
}
