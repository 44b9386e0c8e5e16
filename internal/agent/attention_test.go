package agent

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
	addr := p.ln.Addr().String()
	a := startAgent(t, n, Options{Planes: []Plane{{Endpoint: "http://" + addr, Authority: addr, Quiet: 300 * time.Millisecond,
		Backoff: func(int) time.Duration { return 10 * time.Millisecond },
		Connect: func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", addr) }}}})
	x := p.registered(nil, nil)
	links, routes := []*controllerpb.Connection{wantLink("l1", far.About().Listeners[0])}, []*controllerpb.Route{wantRoute("l1", alice)}
	x.order(t, "1", links, routes)
	before := n.Links()
	y := p.registered(nil, nil)
	<-x.over
	y.order(t, "2", links, routes)
	if s := a.Status().Planes[0]; s.Registrations != 2 {
		t.Errorf("status: %+v", s)
	}
	if got := holders(n, alice); !slices.Equal(got, []string{"l1"}) {
		t.Errorf("the name is held by %v", got)
	}
	if after := n.Links(); len(after) != 1 || after[0].Attempts != before[0].Attempts || after[0].Losses != 0 {
		t.Errorf("the link is another one: %+v, before %+v", after, before)
	}
}
