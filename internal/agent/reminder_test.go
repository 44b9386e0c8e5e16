package agent

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	network "github.com/seed31b3bfd0/slimgo/internal/faults"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// holding is a node with an app that holds a name.
type holding struct {
	*router.Node
	name wire.NameText
}

func (h holding) Held(n wire.Name) (wire.NameText, bool) { return h.name, n == h.name.Name }

// When a link is closed in whose place another one has come, the other end is reminded of the names that both ends hold, by subscriptions
// without a hop left, and of no others: it may have told its control plane that it holds them no more. Their routes stay meanwhile,
// whatever is ordered, and not for ever. Rules: P-def-6.
func TestNamesThatALinkTakesWithIt(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	a := startAgent(t, n, Options{Node: holding{n, alice}}, p.ln.Addr().String())
	endpoint, bob := far.About().Listeners[0], wire.Text("org", "ns", "bob")
	order := func(x *call, id, link string, names ...wire.NameText) {
		t.Helper()
		var rs []*controllerpb.Route
		for _, n := range names {
			rs = append(rs, wantRoute(link, n))
		}
		x.order(t, id, []*controllerpb.Connection{wantLink(link, endpoint)}, rs)
	}
	x := p.registered(nil, nil)
	order(x, "1", "old", alice, bob)
	close(x.done)
	x = p.registered(nil, nil)
	order(x, "2", "new", alice, bob)
	until(t, "the old link is closed", func() bool { return len(n.Links()) == 1 && n.Links()[0].ID == "new" })
	order(x, "3", "new")
	until(t, "the other name has no route any more", func() bool { return len(holders(n, bob)) == 0 })
	if got := fmt.Sprint(holders(n, alice)); got != "[new]" {
		t.Errorf("the name that both ends hold is routed over %s", got)
	}
	reminded := func() uint64 { return far.Stats().Dropped[router.ReasonTTL] }
	until(t, "the other end is reminded", func() bool { return reminded() > 0 })
	a.desk.post(func(d *desk) { // its time passes at once
		for i := range d.reminders {
			r := &d.reminders[i]
			if left := time.Until(r.until); left > believed {
				t.Errorf("the routes stay for another %v", left)
			}
			r.until = time.Now()
		}
	})
	until(t, "nothing is left", func() bool { return len(holders(n, alice)) == 0 })
	if got := reminded(); got != 1 {
		t.Errorf("%d subscriptions without a hop left, want one", got)
	}
	if d := far.Stats().Dropped; len(d) != 1 {
		t.Errorf("dropped: %v", d)
	}
}

// It is reminded when the old link has ended, however long that takes, since it tells its control plane nothing before. Rules: P-def-6.
func TestReminderWaitsForTheEndOfTheOldLink(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	endpoint := far.About().Listeners[0]
	line := &network.Line{Network: "tcp", Listen: "127.0.0.1:0", Target: strings.TrimPrefix(endpoint, "http://")}
	if err := line.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	a := startAgent(t, n, Options{Node: holding{n, alice}, Link: func(w *Wanted) (router.Link, error) {
		addr := line.Target
		if w.ID == "old" {
			addr = line.Listen
		}
		l := router.Link{Endpoint: w.Endpoint, Kind: table.Remote, CloseTimeout: limit, Connect: func(context.Context) (net.Conn, error) { return net.Dial("tcp", addr) }}
		l.Call.Scheme, l.Call.Authority = "http", addr
		return l, nil
	}}, p.ln.Addr().String())
	x := p.registered(nil, nil)
	x.order(t, "1", []*controllerpb.Connection{wantLink("old", endpoint)}, []*controllerpb.Route{wantRoute("old", alice)})
	close(x.done)
	x = p.registered(nil, nil)
	line.Stall()
	x.order(t, "2", []*controllerpb.Connection{wantLink("new", endpoint)}, []*controllerpb.Route{wantRoute("new", alice)})
	looked := func(now time.Time) (waits, told int) {
		onDesk(a, func(d *desk) {
			d.remind(now)
			for _, r := range d.reminders {
				if r.old != nil {
					waits++
				} else if r.at.IsZero() {
					told++
				}
			}
		})
		return waits, told
	}
	until(t, "the old link is closed", func() bool {
		waits, _ := looked(time.Now())
		return waits == 1
	})
	if waits, told := looked(time.Now().Add(time.Hour)); waits != 1 || told != 0 {
		t.Errorf("before the end of the old link %d wait, and %d are told", waits, told)
	}
	line.Resume()
	until(t, "the other end is reminded", func() bool { return far.Stats().Dropped[router.ReasonTTL] == 1 })
}

// A control plane that comes back orders links under other ids as soon as it has a registration: before that it is known which of them
// others may come in the place of, and for a while after the answer. Rules: P-ctl-9.
func TestLinksAreReplaceableBeforeARegistration(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	a := startAgent(t, n, Options{}, p.ln.Addr().String())
	until := func() (at time.Time) {
		onDesk(a, func(d *desk) {
			if x := d.newest("l"); x != nil {
				at = x.replaceable
			}
		})
		return at
	}
	x := p.registered(nil, nil)
	x.order(t, "1", []*controllerpb.Connection{wantLink("l", far.About().Listeners[0])}, nil)
	first, before := until(), time.Now()
	close(x.done)
	x, m := p.next()
	second := until()
	if at := before.Add(registerTimeout + grace); !second.After(first) || second.Before(at) {
		t.Errorf("when the control plane has the request a link may be replaced until %v, before that until %v, want %v or later", second, first, at)
	}
	onDesk(a, func(d *desk) {
		if next := d.foresee(second.Add(-1)); !next.Equal(second) {
			t.Errorf("a link that may be replaced until %v is looked after at %v", second, next)
		}
		if next, x := d.foresee(second), d.newest("l"); !next.IsZero() || x == nil || !x.replaceable.IsZero() {
			t.Errorf("a link may be replaced when that time is over; next look at %v", next)
		}
	})
	x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RegisterNodeResponse{
		RegisterNodeResponse: &controllerpb.RegisterNodeResponse{OriginalMessageId: m.GetMessageId(), Success: true}}}
}
