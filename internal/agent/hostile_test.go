package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// lines is a log that is counted.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

func (l *lines) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

// A control plane that says what a node does not know, again and again, is heard on: that is counted, and said once. Rules: P-ctl-1.
func TestMessagesThatANodeDoesNotKnow(t *testing.T) {
	p := startCP(t, "127.0.0.1:0")
	said := &lines{}
	a := startAgent(t, startNode(t, "near"), Options{Log: slog.New(slog.NewTextHandler(said, nil))}, p.ln.Addr().String())
	x := p.registered(nil, nil)
	later := &controllerpb.ControlMessage{MessageId: strings.Repeat("m", 1<<10)}
	later.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 15, protowire.BytesType), []byte("a payload of later")))
	const n = 500
	for range n {
		x.send <- later
		x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_DeregisterNodeRequest{}}
		x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RouteListResponse{}}
		x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_Ack{}}                             // of nothing
		x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RegisterNodeResponse{}}            // once more
		x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_DeregisterNodeResponse{}}          // that was not asked for
		x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_ConfigCommandAck{}, MessageId: ""} // of a node
	}
	x.order(t, "last", nil, nil)
	if got := a.Status(); got.Invalid != 4*n || got.Planes[0].Registrations != 1 {
		t.Errorf("%d messages are counted as invalid, want %d; %d registrations", got.Invalid, 4*n, got.Planes[0].Registrations)
	}
	for _, text := range []string{"no payload, or one that is not known", "register or deregister node request", "not for nodes"} {
		if got := said.count(text); got != 1 {
			t.Errorf("%q is said %d times", text, got)
		}
	}
	if said.count(strings.Repeat("m", 100)) > 0 {
		t.Error("the whole of a long id is logged")
	}
}

// Orders that contradict themselves are obeyed as far as they can be: of links with one id the last one counts, a route over a link that
// is not ordered fails, and one that is there twice is one. Rules: P-ctl-6.
func TestOrdersThatContradictThemselves(t *testing.T) {
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	startAgent(t, n, Options{}, p.ln.Addr().String())
	x := p.registered(nil, nil)
	endpoint := far.About().Listeners[0]
	c := &controllerpb.ConfigurationCommand{Reconcile: true,
		ConnectionsToCreate: []*controllerpb.Connection{wantLink("l", "http://no..such-host.invalid:1"), wantLink("l", endpoint), {LinkId: "l", ConfigData: "no JSON"}},
		ConnectionsToDelete: []string{"l"}, // of no effect in a desired state
		RoutesToSet:         []*controllerpb.Route{wantRoute("l", alice), wantRoute("l", alice), wantRoute("m", alice)},
		RoutesToDelete:      []*controllerpb.Route{wantRoute("l", alice)}}
	links, routes := success(x.command(t, "1", c))
	if len(links) != 2 || links[0] != "l: ok" && links[1] != "l: ok" {
		t.Errorf("links %v, want one that is up, and a fault", links)
	}
	if want := "[l: ok l: ok m: connection not found]"; fmt.Sprint(routes) != want {
		t.Errorf("routes %v, want %s", routes, want)
	}
	if got := holders(n, alice); len(got) != 1 {
		t.Errorf("the name is held by %v", got)
	}
}

// A flood of commands, each for a link that nobody answers, takes as many as wait for their answer, and no more: the rest waits with its sender.
// Another control plane is served as ever. Rules: P-ctl-8.
func TestFloodOfCommands(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p, q := startCP(t, "127.0.0.1:0"), startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	a := startAgent(t, n, Options{}, p.ln.Addr().String(), q.ln.Addr().String())
	x, y := p.registered(nil, nil), q.registered(nil, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 0; ctx.Err() == nil; i++ {
			m := &controllerpb.ControlMessage{MessageId: fmt.Sprint("flood", i), Payload: &controllerpb.ControlMessage_ConfigCommand{
				ConfigCommand: &controllerpb.ConfigurationCommand{Reconcile: i%2 == 0, ConnectionsToCreate: []*controllerpb.Connection{
					{LinkId: fmt.Sprint("f", i%7), ConfigData: `{"endpoint": "http://127.0.0.1:9", "tls_required": false, "auth_method": "none"}`}}}}}
			select {
			case x.send <- m:
			case <-ctx.Done():
			case <-x.Context().Done():
				return
			}
		}
	}()
	for i := range 20 {
		ack := y.order(t, fmt.Sprint("honest", i), []*controllerpb.Connection{wantLink("good", far.About().Listeners[0])}, []*controllerpb.Route{wantRoute("good", alice)})
		if links, routes := success(ack); fmt.Sprint(links, routes) != "[good: ok] [good: ok]" {
			t.Fatalf("acknowledged %v and %v", links, routes)
		}
	}
	until(t, "the flood is answered, too", func() bool { return a.Status().Commands > 200 })
	cancel()
	<-sent
	// Of a flood that names seven, and one; those that end are counted, too.
	until(t, "there are few links", func() bool { return len(n.Links()) <= 2*8 })
}

// Thousands of routes in one order are set, and taken back by the next one. Rules: P-ctl-5.
func TestVeryManyRoutes(t *testing.T) {
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	a := startAgent(t, n, Options{}, p.ln.Addr().String())
	x := p.registered(nil, nil)
	link := []*controllerpb.Connection{wantLink("l", far.About().Listeners[0])}
	const many = 5_000
	var routes []*controllerpb.Route
	for i := range many {
		routes = append(routes, wantRoute("l", wire.Text("org", "ns", "many").WithID(1, uint64(i))))
	}
	x.order(t, "1", link, routes)
	until(t, "all are set", func() bool { return a.Status().Routes == many })
	x.order(t, "2", link, nil)
	until(t, "all are gone", func() bool { return a.Status().Routes == 0 })
}

// An order that is longer than what is read ends the stream, and is said once, however often it comes: what was ordered before stays, and
// another control plane is served. Rules: P-ctl-2, P-ctl-6.
func TestOrderThatIsTooLong(t *testing.T) {
	p, q := startCP(t, "127.0.0.1:0"), startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	said := &lines{}
	startAgent(t, n, Options{Log: slog.New(slog.NewTextHandler(said, nil))}, p.ln.Addr().String(), q.ln.Addr().String())
	link := []*controllerpb.Connection{wantLink("l", far.About().Listeners[0])}
	x, y := p.registered(nil, nil), q.registered(nil, nil)
	x.order(t, "1", link, []*controllerpb.Route{wantRoute("l", alice)})
	var routes []*controllerpb.Route
	for i := range 20_000 {
		routes = append(routes, wantRoute("l", wire.Text("org", strings.Repeat("x", 1<<10), "name").WithID(1, uint64(i))))
	}
	m := &controllerpb.ControlMessage{MessageId: "2", Payload: &controllerpb.ControlMessage_ConfigCommand{
		ConfigCommand: &controllerpb.ConfigurationCommand{Reconcile: true, ConnectionsToCreate: link, RoutesToSet: routes}}}
	if size := proto.Size(m); size <= maxMessage {
		t.Fatalf("the order has %d bytes", size)
	}
	for range 3 {
		x.send <- m
		<-x.over
		x = p.registered(nil, nil)
	}
	if got := said.count("more in one message than the 16 MiB that are read"); got != 1 {
		t.Errorf("it is said %d times", got)
	}
	ack := y.order(t, "3", nil, []*controllerpb.Route{wantRoute("l", wire.Text("org", "ns", "bob"))})
	if _, got := success(ack); fmt.Sprint(got) != "[l: ok]" {
		t.Errorf("acknowledged %v", got)
	}
	if got := fmt.Sprint(holders(n, alice)); got != "[l]" {
		t.Errorf("the name is held by %v", got)
	}
}

// A control plane that takes a connection and says nothing, and one that does not answer a registration, hold up neither the node's start nor
// its end, nor another control plane. Rules: P-ctl-2.
func TestControlPlanesThatDoNotAnswer(t *testing.T) {
	t.Parallel() // it waits for most of its time
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // the kernel takes connections
	dumb, p := startCP(t, "127.0.0.1:0"), startCP(t, "127.0.0.1:0")
	p.mute.Store(true)
	n, far := startNode(t, "near"), startNode(t, "far")
	a := startAgent(t, n, Options{}, ln.Addr().String(), dumb.ln.Addr().String(), p.ln.Addr().String())
	silent, _ := dumb.next()
	x := p.registered(nil, nil)
	ack := x.order(t, "1", []*controllerpb.Connection{wantLink("good", far.About().Listeners[0])}, nil)
	if links, _ := success(ack); fmt.Sprint(links) != "[good: ok]" {
		t.Errorf("links %v", links)
	}
	until(t, "they are connecting, registering and registered", func() bool {
		var all []string
		for _, s := range a.Status().Planes {
			all = append(all, s.State)
		}
		return fmt.Sprint(all) == "[connecting registering registered]"
	})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_DeregisterNodeResponse{}} // too early, and then none
	a.Close(ctx)
	if ctx.Err() != nil {
		t.Error("the end waits for them")
	}
	<-silent.over
}

// A link that two control planes order in different ways is dialled in the first one, and stays, until that is ordered no more: it does not go
// to and fro. Rules: P-ctl-6.
func TestLinkThatIsOrderedInTwoWays(t *testing.T) {
	p, q := startCP(t, "127.0.0.1:0"), startCP(t, "127.0.0.1:0")
	n, one, two := startNode(t, "near"), startNode(t, "one"), startNode(t, "two")
	said := &lines{}
	startAgent(t, n, Options{Log: slog.New(slog.NewTextHandler(said, nil))}, p.ln.Addr().String(), q.ln.Addr().String())
	x, y := p.registered(nil, nil), q.registered(nil, nil)
	want := func(c *call, id string, to *router.Node, text string) {
		t.Helper()
		if links, _ := success(c.order(t, id, []*controllerpb.Connection{wantLink("l", to.About().Listeners[0])}, nil)); len(links) != 1 || !strings.HasPrefix(links[0], text) {
			t.Errorf("order %s: links %v, want %q", id, links, text)
		}
	}
	want(x, "1", one, "l: ok")
	for i := range 20 {
		want(y, fmt.Sprint("y", i), two, "l: another control plane")
		want(x, fmt.Sprint("x", i), one, "l: ok")
	}
	if got := said.count("creating connection"); got != 1 {
		t.Errorf("the link is dialled %d times", got)
	}
	x.order(t, "none", nil, nil)
	want(y, "alone", two, "l: ok")
}

// Node ids and link ids are texts of whoever comes. What of them is cut off, or is no text, is told in such a way that it can be. Rules: P-ctl-2, P-ctl-8.
func TestTextsOfOthersCanBeTold(t *testing.T) {
	long := "x" + strings.Repeat("é", 300)
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, long)
	d, err := far.Dial(linkTo(n, long))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the link is up", func() bool { return d.Status().State == router.LinkUp })
	startAgent(t, n, Options{}, p.ln.Addr().String())
	_, m := p.next()
	if all := m.GetRegisterNodeRequest().GetConnections(); len(all) != 1 || !strings.HasPrefix(all[0].GetPeerNodeId(), long[:100]) {
		t.Errorf("the registration has connections %v", all)
	}
}

// linkTo is a remote link to a node, with that id.
func linkTo(to *router.Node, id string) router.Link {
	l := linkOf(to.About().Listeners[0], table.Remote)
	l.ID = id
	return l
}

// usual are times of the product, before TestMain lengthens them.
var usual = map[string]time.Duration{"registerTimeout": registerTimeout, "answerLimit": answerLimit, "settled": settled, "believed": believed, "grace": grace}

// What tests have more of has its usual length in a node. Rules: P-ctl-2, P-ctl-8, P-ctl-9, P-ctl-10, P-def-6.
func TestUsualTimes(t *testing.T) {
	want := map[string]time.Duration{"registerTimeout": 10 * time.Second, "answerLimit": 10 * time.Second, "settled": 10 * time.Second,
		"believed": 5 * time.Second, "grace": 15 * time.Second}
	if !maps.Equal(usual, want) || deregisterLimit != 2*time.Second {
		t.Errorf("%v, and %v for a goodbye", usual, deregisterLimit)
	}
}

// A control plane that takes half a minute to answer a registration is waited for that long in the end, and one that never does is not
// waited for for ever. Rules: P-ctl-2.
func TestPatienceWithControlPlanes(t *testing.T) {
	for unanswered, want := range map[int]time.Duration{0: registerTimeout, 1: 2 * registerTimeout, 2: 4 * registerTimeout, 3: 8 * registerTimeout, 1000: 8 * registerTimeout} {
		if got := patience(unanswered); got != want {
			t.Errorf("after %d: %v, want %v", unanswered, got, want)
		}
	}
}
