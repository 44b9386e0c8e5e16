package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// A control plane that has ordered something, and orders nothing more, has forgotten the node; one that has ordered nothing, or seldom
// does, has not. Rules: P-ctl-11.
func TestSilenceOfAControlPlane(t *testing.T) {
	state := func(links, routes int, reconcile bool) *controllerpb.ControlMessage {
		return &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_ConfigCommand{ConfigCommand: &controllerpb.ConfigurationCommand{
			ConnectionsToCreate: make([]*controllerpb.Connection, links), RoutesToSet: make([]*controllerpb.Route, routes), Reconcile: reconcile}}}
	}
	links, routes, nothing := state(1, 0, true), state(0, 1, true), state(0, 0, true)
	type step struct {
		after time.Duration
		m     *controllerpb.ControlMessage
	}
	each := func(pause time.Duration, n int, m *controllerpb.ControlMessage) (all []step) {
		return slices.Repeat([]step{{pause, m}}, n)
	}
	const minute, day = time.Minute, 24 * time.Hour
	for _, c := range []struct {
		name    string
		longest time.Duration // of earlier streams
		steps   []step
		over    time.Duration // after the last step; 0: never
	}{
		{"says nothing", 0, nil, 0},
		{"orders nothing", 0, each(minute, 3, nothing), 0},
		{"orders a link", 0, []step{{0, links}}, 5 * minute},
		{"orders a route", 0, []step{{0, routes}}, 5 * minute},
		{"orders every minute", 0, each(minute, 100, links), 5 * minute},
		{"orders at once what changes", 0, each(10*time.Millisecond, 100, links), 5 * minute},
		{"orders every four minutes", 0, each(4*minute, 20, links), 12 * minute},
		{"orders nothing any more", 0, []step{{0, links}, {minute, nothing}}, 0},
		{"orders again after it has ordered nothing for long", 0, []step{{0, links}, {minute, nothing}, {day, links}}, 5 * minute},
		{"sets single routes, which is no state", 0, []step{{0, state(0, 1, false)}}, 0},
		{"sets single routes after a state", 0, []step{{0, links}, {4 * minute, state(0, 1, false)}}, minute},
		{"asks for a list", 0, []step{{0, links}, {4 * minute, &controllerpb.ControlMessage{}}}, minute},
		{"was silent for an hour before", time.Hour, []step{{0, links}}, 3 * time.Hour},
		{"was silent for a month before", 30 * day, []step{{0, links}}, day},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended := make(chan time.Time, 100)
				p := &plane{opt: &Plane{}, longest: c.longest}
				w := &attention{plane: p, cancel: func() { ended <- time.Now() }}
				defer w.end()
				for _, s := range c.steps {
					time.Sleep(s.after)
					w.ordered(s.m)
				}
				last := time.Now()
				if len(ended) > 0 || w.forgotten() != nil {
					t.Fatal("it was taken for silent while it spoke")
				}
				time.Sleep(31 * day)
				synctest.Wait()
				var over time.Duration // 0: never
				if len(ended) == 1 {
					over = (<-ended).Sub(last)
				}
				switch err := w.forgotten(); {
				case over != c.over || (err != nil) != (over != 0) || err != nil && !strings.HasPrefix(err.Error(), "nothing was ordered for "):
					t.Errorf("taken for silent after %v, want %v: %v", over, c.over, err)
				case p.longest < c.over:
					t.Errorf("next time after three times %v", p.longest)
				}
			})
		})
	}
}

// A node whose control plane has forgotten it registers anew, and keeps the link and its routes. Rules: P-ctl-11, P-ctl-9.
func TestAForgottenNodeRegistersAnew(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	plane := planeAt(p.ln.Addr().String())
	plane.Quiet = time.Second
	a := startAgent(t, n, Options{Planes: []Plane{plane}})
	x := p.registered(nil, nil)
	links, routes := []*controllerpb.Connection{wantLink("l1", far.About().Listeners[0])}, []*controllerpb.Route{wantRoute("l1", alice)}
	x.want("1", links, routes)
	until(t, "the link is up", func() bool { return slices.Equal(holders(n, alice), []string{"l1"}) })
	before := n.Links()
	p.registered(links, routes)
	<-x.over
	until(t, "the node is registered anew", func() bool { return a.Status().Planes[0].Registrations == 2 })
	for range 2 { // after the answer the desk looks once more
		onDesk(a, func(*desk) {})
	}
	if got := holders(n, alice); !slices.Equal(got, []string{"l1"}) {
		t.Errorf("the name is held by %v", got)
	}
	if after := n.Links(); len(after) != 1 || after[0].Attempts != before[0].Attempts || after[0].Losses != 0 {
		t.Errorf("the link is another one: %+v, before %+v", after, before)
	}
}

// A control plane that had ordered something, and after a registration orders nothing, is asked once more: its other
// nodes may have come back at the same moment. Not so where a link has come up since, and not time after time. Rules:
// P-ctl-12.
func TestARegistrationInVain(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	const first = 200 * time.Millisecond
	plane := planeAt(p.ln.Addr().String())
	plane.First = first
	a := startAgent(t, n, Options{Planes: []Plane{plane}})
	registrations := func() uint64 { return a.Status().Planes[0].Registrations }
	stays := func(x *call, what string) {
		t.Helper()
		select {
		case <-x.over:
			t.Errorf("%s: the node registers once more", what)
		case <-time.After(2 * first):
		}
	}
	links, routes := []*controllerpb.Connection{wantLink("l1", far.About().Listeners[0])}, []*controllerpb.Route{wantRoute("l1", alice)}
	x := p.registered(nil, nil)
	stays(x, "nothing was ordered before")
	x.order(t, "1", links, routes)
	close(x.done) // the control plane is another one
	x = p.registered(nil, nil)
	x.want("2", nil, nil)
	y := p.registered(nil, nil)
	<-x.over
	if got := holders(n, alice); !slices.Equal(got, []string{"l1"}) {
		t.Errorf("the name is held by %v", got)
	}
	stays(y, "a registration was in vain")
	y.order(t, "3", links, routes)
	close(y.done)
	x = p.registered(links, routes)
	stays(x, "the answer has ordered it")
	x.order(t, "4", nil, nil)
	close(x.done)
	x = p.registered(nil, nil)
	stays(x, "nothing was wanted any more")
	until(t, "all registrations are counted", func() bool { return registrations() >= 5 })
	if got := registrations(); got != 5 {
		t.Errorf("%d registrations, want 5", got)
	}
}

// One that was registered with anew since nothing was ordered for long is one of those that had ordered something.
// Rules: P-ctl-11, P-ctl-12.
func TestARegistrationInVainAfterSilence(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	plane := planeAt(p.ln.Addr().String())
	plane.First, plane.Quiet = 100*time.Millisecond, 100*time.Millisecond
	startAgent(t, n, Options{Planes: []Plane{plane}})
	x := p.registered(nil, nil)
	x.want("1", []*controllerpb.Connection{wantLink("l1", far.About().Listeners[0])}, nil)
	y := p.registered(nil, nil)
	p.registered(nil, nil)
	<-x.over
	<-y.over
}

// Nodes of two domains may have one id: a link to one of them does not come in the place of one to the other. Rules:
// P-ctl-9.
func TestNodesOfOneIDInTwoDomains(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far, other := startNode(t, "near"), startNodeOf(t, "slim-0", "a"), startNodeOf(t, "slim-0", "b")
	a := startAgent(t, n, Options{}, p.ln.Addr().String())
	x := p.registered(nil, nil)
	x.order(t, "1", []*controllerpb.Connection{wantLink("l1", far.About().Listeners[0])}, []*controllerpb.Route{wantRoute("l1", alice)})
	close(x.done)
	x = p.registered(nil, nil)
	x.order(t, "2", []*controllerpb.Connection{wantLink("l2", other.About().Listeners[0])}, nil)
	for range 2 { // after the answer the desk looks once more
		onDesk(a, func(*desk) {})
	}
	if got := holders(n, alice); !slices.Equal(got, []string{"l1"}) {
		t.Errorf("the name is held by %v, want l1, which nothing has replaced", got)
	}
}

// A link that has come up since the registration may have been ordered of the other end: the node does not register
// once more. Rules: P-ctl-12.
func TestALinkThatWasOrderedElsewhere(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	startAgent(t, far, Options{}, p.ln.Addr().String())
	y := p.registered(nil, nil)
	before, since := wantLink("l1", n.About().Listeners[0]), wantLink("l2", n.About().Listeners[0])
	y.order(t, "1", []*controllerpb.Connection{before}, nil)
	until(t, "the link of before is up", func() bool { return n.Stats().Kinds[table.Remote] == 1 })
	a := startAgent(t, n, Options{}, p.ln.Addr().String())
	ends := func() bool {
		w := &attention{plane: a.planes[0], cancel: func() {}}
		w.first.Store(true)
		w.miss(time.Second)
		onDesk(a, func(*desk) {})
		return w.why.Load() != nil
	}
	x := p.registered(nil, nil)
	until(t, "the node is registered", func() bool { return a.Status().Planes[0].State == "registered" })
	if !ends() {
		t.Error("where there are links of before, the node does not register once more")
	}
	x.order(t, "2", []*controllerpb.Connection{wantLink("l3", far.About().Listeners[0])}, nil)
	if !ends() {
		t.Error("where the node has dialled a link itself, it does not register once more")
	}
	y.order(t, "3", []*controllerpb.Connection{before, since}, nil)
	until(t, "where a link has come up, the node does not register once more", func() bool { return !ends() })
}

// A node with peers may be ordered nothing since one of them is a gateway in its place: it does not register once
// more. Rules: P-ctl-12.
func TestANodeWithPeersIsOrderedNothing(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far, peer := startNode(t, "near"), startNode(t, "far"), startNode(t, "peer")
	l := linkOf(n.About().Listeners[0], table.Peer)
	l.ID = "peer:near"
	d, err := peer.Dial(l)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	until(t, "the peer is there", func() bool { return n.Stats().Kinds[table.Peer] == 1 })
	const first = 100 * time.Millisecond
	plane := planeAt(p.ln.Addr().String())
	plane.First = first
	startAgent(t, n, Options{Planes: []Plane{plane}})
	x := p.registered(nil, nil)
	x.order(t, "1", []*controllerpb.Connection{wantLink("l1", far.About().Listeners[0])}, nil)
	close(x.done)
	select {
	case <-p.registered(nil, nil).over:
		t.Error("the node registers once more")
	case <-time.After(3 * first):
	}
}

// A node that registers anew does so at once, whatever its backoff; else the backoff holds, and a little more. Rules:
// P-ctl-2, P-ctl-12.
func TestPausesBetweenRegistrations(t *testing.T) {
	p := &plane{log: slog.New(slog.DiscardHandler), opt: &Plane{
		Backoff: func(failed int) time.Duration { return time.Duration(failed) * time.Minute }}}
	lost := errors.New("lost")
	for i, c := range []struct {
		err  error
		want time.Duration
	}{{lost, time.Minute}, {lost, 2 * time.Minute}, {fmt.Errorf("why: %w", &forgotten{first: true}), anewPause},
		{&forgotten{first: true}, anewPause}, {lost, time.Minute}, {&forgotten{}, 2 * time.Minute}} {
		if got := p.pause(c.err, time.Second); got < c.want || got > c.want*9/8+1 {
			t.Errorf("step %d: a pause of %v, want %v and an eighth more at most", i, got, c.want)
		}
	}
	for _, odd := range []time.Duration{math.MinInt64, -time.Hour, -1, 0, math.MaxInt64} {
		p.opt.Backoff = func(int) time.Duration { return odd }
		if got := p.pause(lost, time.Second); got < odd || odd < math.MaxInt64 && got > odd+1 {
			t.Errorf("a pause of %v for %v", got, odd)
		}
	}
}

// Nodes do not all wait as long for a first order. Rules: P-ctl-12.
func TestHowLongTheFirstOrderIsWaitedFor(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 20 {
		wait := new(Plane).first()
		if seen[wait] = true; wait < firstTime || wait > firstTime*3/2 {
			t.Errorf("it is waited for %v", wait)
		}
	}
	if len(seen) == 1 {
		t.Error("it is always waited for as long")
	}
}

// What comes after a registration counts as nothing until something is ordered, and then as the last word. Rules:
// P-ctl-12.
func TestTheFirstOrderAfterARegistration(t *testing.T) {
	state := func(routes int) *controllerpb.ControlMessage {
		return &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_ConfigCommand{ConfigCommand: &controllerpb.ConfigurationCommand{
			RoutesToSet: make([]*controllerpb.Route, routes), Reconcile: true}}}
	}
	p := &plane{opt: &Plane{First: time.Hour}, ordered: true}
	w := &attention{plane: p}
	defer w.end()
	w.answered(false)
	if w.ordered(state(0)); !p.ordered || !w.first.Load() || w.timer == nil {
		t.Error("it does not wait for more than nothing")
	}
	if w.ordered(state(1)); !p.ordered || w.first.Load() {
		t.Error("it waits for the first order, which has come")
	}
	if w.ordered(state(0)); p.ordered {
		t.Error("nothing any more is not taken for that")
	}
	for _, p := range []*plane{{opt: &Plane{}}, {opt: &Plane{}, ordered: true, anew: true}} {
		w := &attention{plane: p}
		if w.answered(false); w.timer != nil {
			t.Errorf("it waits for the first order: %+v", p)
		}
	}
}
