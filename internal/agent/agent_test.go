package agent

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue { // those side by side wait for most of their time
		_ = f.Value.Set("8")
	}
	// What is not tested here is not to be over because the machine is busy. grace stays below carryLimit.
	registerTimeout, answerLimit, settled, believed, grace = limit, limit, limit, limit, time.Minute
	leak.Main(m)
}

// limit is how long anything may take that a test waits for.
const limit = 2 * time.Minute

// startNode starts a real node that listens on a free port.
func startNode(t *testing.T, id string) *router.Node {
	t.Helper()
	return startNodeOf(t, id, "")
}

// startNodeOf is startNode of a node of a domain.
func startNodeOf(t *testing.T, id, domain string) *router.Node {
	t.Helper()
	n, err := router.Start(context.Background(), router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: id, Deployment: domain,
		Loops: 1, NegotiationTimeout: limit, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_ = n.Shutdown(ctx)
	})
	return n
}

// call is one stream of a node at a plane of the test.
type call struct {
	grpc.ServerStream
	got  chan *controllerpb.ControlMessage // what the node has sent
	send chan *controllerpb.ControlMessage // what is sent to it
	done chan struct{}                     // closed: the stream is ended
	over chan struct{}                     // it has ended
	past []*controllerpb.ControlMessage    // what take has passed over
}

// cp is a control plane that a test plays.
type cp struct {
	t      *testing.T
	ln     net.Listener
	server *grpc.Server
	calls  chan *call
	mute   atomic.Bool // it does not answer goodbyes
}

func startCP(t *testing.T, addr string) *cp {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &cp{t: t, ln: ln, server: grpc.NewServer(), calls: make(chan *call, 16)}
	c.server.RegisterService(&grpc.ServiceDesc{ServiceName: serviceName, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: methodName, ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return c.serve(s) }}}}, c)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = c.server.Serve(ln)
	}()
	t.Cleanup(func() {
		c.server.Stop()
		<-served
	})
	return c
}

func (c *cp) serve(s grpc.ServerStream) error {
	x := &call{ServerStream: s, got: make(chan *controllerpb.ControlMessage, 4096), send: make(chan *controllerpb.ControlMessage, 64),
		done: make(chan struct{}), over: make(chan struct{})}
	c.calls <- x
	go func() {
		defer close(x.over)
		for {
			m := &controllerpb.ControlMessage{}
			if s.RecvMsg(m) != nil {
				return
			}
			select {
			case x.got <- m:
			case <-s.Context().Done(): // the test does not take what it has caused
				return
			}
			if m.GetDeregisterNodeRequest() == nil || c.mute.Load() {
				continue
			}
			select {
			case x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_DeregisterNodeResponse{
				DeregisterNodeResponse: &controllerpb.DeregisterNodeResponse{Success: true}}}:
			case <-s.Context().Done():
			}
		}
	}()
	for {
		select {
		case m := <-x.send:
			if err := s.SendMsg(m); err != nil {
				return err
			}
		case <-x.done:
			return nil
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

// next waits for the next stream, and the registration on it.
func (c *cp) next() (*call, *controllerpb.ControlMessage) {
	c.t.Helper()
	select {
	case x := <-c.calls:
		m := x.take(c.t, "a registration", func(m *controllerpb.ControlMessage) bool { return m.GetRegisterNodeRequest() != nil })
		return x, m
	case <-time.After(limit):
		c.t.Fatal("the node does not come")
	}
	return nil, nil
}

// registered is next, with an answer that has these links and routes.
func (c *cp) registered(links []*controllerpb.Connection, routes []*controllerpb.Route) *call {
	c.t.Helper()
	x, m := c.next()
	x.send <- &controllerpb.ControlMessage{MessageId: "r", Payload: &controllerpb.ControlMessage_RegisterNodeResponse{
		RegisterNodeResponse: &controllerpb.RegisterNodeResponse{OriginalMessageId: m.GetMessageId(), Success: true, Connections: links, Routes: routes}}}
	return x
}

// take waits for a message, if it has not come before; others stay to be taken.
func (x *call) take(t *testing.T, what string, ok func(*controllerpb.ControlMessage) bool) *controllerpb.ControlMessage {
	t.Helper()
	if at := slices.IndexFunc(x.past, ok); at >= 0 {
		return x.past[at]
	}
	late := time.After(limit)
	for {
		select {
		case m := <-x.got:
			x.past = append(x.past, m)
			if ok(m) {
				return m
			}
		case <-late:
			t.Fatalf("the node does not send %s", what)
		}
	}
}

// want sends a desired state, whether the stream lives until its acknowledgement or not.
func (x *call) want(id string, links []*controllerpb.Connection, routes []*controllerpb.Route) {
	x.send <- &controllerpb.ControlMessage{MessageId: id, Payload: &controllerpb.ControlMessage_ConfigCommand{
		ConfigCommand: &controllerpb.ConfigurationCommand{ConnectionsToCreate: links, RoutesToSet: routes, Reconcile: true}}}
}

// order sends a desired state and returns its acknowledgement.
func (x *call) order(t *testing.T, id string, links []*controllerpb.Connection, routes []*controllerpb.Route) *controllerpb.ConfigurationCommandAck {
	t.Helper()
	return x.command(t, id, &controllerpb.ConfigurationCommand{ConnectionsToCreate: links, RoutesToSet: routes, Reconcile: true})
}

func (x *call) command(t *testing.T, id string, c *controllerpb.ConfigurationCommand) *controllerpb.ConfigurationCommandAck {
	t.Helper()
	x.send <- &controllerpb.ControlMessage{MessageId: id, Payload: &controllerpb.ControlMessage_ConfigCommand{ConfigCommand: c}}
	return x.take(t, "an acknowledgement of "+id, func(m *controllerpb.ControlMessage) bool {
		return m.GetConfigCommandAck().GetOriginalMessageId() == id
	}).GetConfigCommandAck()
}

// wantLink is a link to a node as a control plane orders it.
func wantLink(id, endpoint string) *controllerpb.Connection {
	return &controllerpb.Connection{LinkId: id, ConfigData: `{"endpoint": "` + endpoint + `", "tls_required": false, "auth_method": "none", "timeout": null, "new": 1}`}
}

func wantRoute(link string, n wire.NameText) *controllerpb.Route {
	return &controllerpb.Route{Name: nameFor(n), LinkId: &link}
}

// planeAt is how the control plane at an address is reached.
func planeAt(addr string) Plane {
	return Plane{Endpoint: "http://" + addr, Authority: addr, Connect: dialTo(addr), First: limit,
		Backoff: func(int) time.Duration { return 10 * time.Millisecond }}
}

// linkOf is how a node is dialled.
func linkOf(endpoint string, kind table.Kind) router.Link {
	addr := strings.TrimPrefix(endpoint, "http://")
	l := router.Link{Endpoint: endpoint, Kind: kind, Connect: dialTo(addr),
		Backoff: func(int) (time.Duration, bool) { return 20 * time.Millisecond, true }}
	l.Call.Scheme, l.Call.Authority = "http", addr
	return l
}

func dialTo(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", addr) }
}

// onDesk runs f on the desk of a, and waits for it.
func onDesk(a *Agent, f func(*desk)) {
	done := make(chan struct{})
	a.desk.post(func(d *desk) {
		defer close(done)
		f(d)
	})
	<-done
}

// startAgent starts the agent of a node, whose control planes are at these addresses.
func startAgent(t *testing.T, n *router.Node, o Options, addrs ...string) *Agent {
	t.Helper()
	if o.Node == nil {
		o.Node = n
	}
	o.NodeID, o.Domain = n.About().NodeID, "dom"
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, addr := range addrs {
		o.Planes = append(o.Planes, planeAt(addr))
	}
	if o.Link == nil {
		o.Link = func(w *Wanted) (router.Link, error) {
			if !strings.HasPrefix(w.Endpoint, "http://") {
				return router.Link{}, errors.New("no local credentials configured for " + w.Endpoint)
			}
			return linkOf(w.Endpoint, table.Remote), nil
		}
	}
	a, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		a.Close(ctx)
	})
	return a
}

// until waits for something that a test cannot be told of.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time: " + what)
		}
	}
}

// holders are the link ids of those that hold a name at a node.
func holders(n *router.Node, name wire.NameText) (ids []string) {
	n.Routes(16, func(r *router.Route) bool {
		if r.Name.Name == name.Name {
			for _, h := range r.Holders {
				ids = append(ids, h.LinkID)
			}
		}
		return true
	})
	slices.Sort(ids)
	return ids
}

func success(a *controllerpb.ConfigurationCommandAck) (links, routes []string) {
	text := func(ok bool, why string) string {
		if ok {
			return "ok"
		}
		return why
	}
	for _, c := range a.GetConnectionsStatus() {
		links = append(links, c.GetLinkId()+": "+text(c.GetSuccess(), c.GetErrorMsg()))
	}
	for _, r := range a.GetRoutesStatus() {
		routes = append(routes, r.GetRoute().GetLinkId()+": "+text(r.GetSuccess(), r.GetErrorMsg()))
	}
	return links, routes
}

var alice = wire.Text("org", "ns", "alice").WithID(1, 2)

// A desired state is dialled, routes are set over it, and what is not ordered any more ends. Rules: P-ctl-5, P-ctl-6, P-ctl-8.
func TestDesiredState(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	startAgent(t, n, Options{}, p.ln.Addr().String())
	x := p.registered(nil, nil)
	ack := x.order(t, "1", []*controllerpb.Connection{wantLink("l1", far.About().Listeners[0])}, []*controllerpb.Route{wantRoute("l1", alice), wantRoute("l2", alice)})
	links, routes := success(ack)
	if !slices.Equal(links, []string{"l1: ok"}) || !slices.Equal(routes, []string{"l1: ok", "l2: connection not found"}) {
		t.Errorf("acknowledged %v and %v", links, routes)
	}
	if got := holders(n, alice); !slices.Equal(got, []string{"l1"}) {
		t.Errorf("the name is held by %v", got)
	}
	x.take(t, "the link that has come up", func(m *controllerpb.ControlMessage) bool {
		r := m.GetConfigCommand().GetConnectionsReceived()
		return len(r) == 1 && r[0].GetLinkId() == "l1"
	})
	ack = x.order(t, "2", []*controllerpb.Connection{wantLink("l1", far.About().Listeners[0])}, nil)
	if links, routes = success(ack); !slices.Equal(links, []string{"l1: ok"}) || !slices.Equal(routes, []string{": ok"}) {
		t.Errorf("acknowledged %v and %v", links, routes)
	}
}

// Whatever keeps a link from being dialled is told, and nothing else suffers. Rules: P-ctl-6, P-ctl-8.
func TestLinksThatCannotBe(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	startAgent(t, n, Options{}, p.ln.Addr().String())
	x := p.registered(nil, nil)
	ack := x.order(t, "1", []*controllerpb.Connection{
		{LinkId: "json", ConfigData: "{"}, {LinkId: "schema", ConfigData: `{"endpoint": "http://x:1"}`},
		{LinkId: "", ConfigData: "{}"}, {LinkId: strings.Repeat("x", 2*maxLinkID), ConfigData: "{}"}, {LinkId: "x" + strings.Repeat("é", maxLinkID), ConfigData: "{}"},
		wantLink("scheme", "https://127.0.0.1:1"), wantLink("refused", "http://127.0.0.1:1"),
		wantLink("good", far.About().Listeners[0]), wantLink("name", "http://no..such-host.invalid:1"), // which no server is asked for
	}, []*controllerpb.Route{{}, wantRoute("good", alice)})
	links, routes := success(ack)
	want := map[string]string{"json": "Failed to parse config: ", "schema": "Failed to parse config: missing field `tls_required`", "scheme": "no local credentials configured for https://127.0.0.1:1",
		"refused": "Connection failed: ", "good": "ok", "name": "Connection failed: ", strings.Repeat("x", maxLinkID): "a link id has",
		"x" + strings.Repeat("é", maxLinkID/2-1) + "?": "a link id has"}
	for _, l := range links {
		id, text, _ := strings.Cut(l, ": ")
		if w, ok := want[id]; !ok || !strings.HasPrefix(text, w) {
			t.Errorf("link %s, want %q", l, w)
		}
		delete(want, id)
	}
	if len(want) > 0 || !slices.Equal(routes, []string{"good: ok"}) {
		t.Errorf("not acknowledged: %v; routes %v", want, routes)
	}
}

// Rules: P-ctl-2.
func TestRegistrationIsTriedAgain(t *testing.T) {
	t.Parallel() // it waits for most of its time
	for _, c := range []struct {
		name, said string
		f          func(x *call, m *controllerpb.ControlMessage)
	}{
		{"refused", "registration rejected by control plane", func(x *call, m *controllerpb.ControlMessage) {
			x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RegisterNodeResponse{RegisterNodeResponse: &controllerpb.RegisterNodeResponse{}}}
		}},
		{"ended", "registration handshake failed", func(x *call, m *controllerpb.ControlMessage) { close(x.done) }},
		{"commands and no answer", "commands come, and no answer", func(x *call, m *controllerpb.ControlMessage) {
			for range maxCommands + 1 {
				x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_ConfigCommand{ConfigCommand: &controllerpb.ConfigurationCommand{Reconcile: true}}}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startCP(t, "127.0.0.1:0")
			n := startNode(t, "near")
			said := &lines{}
			a := startAgent(t, n, Options{Log: slog.New(slog.NewTextHandler(said, nil))}, p.ln.Addr().String())
			for range 2 {
				x, m := p.next()
				c.f(x, m)
			}
			p.registered(nil, nil)
			until(t, "registered", func() bool { return a.Status().Planes[0].State == "registered" })
			for _, text := range []string{c.said, "connected to control plane"} {
				if got := said.count(text); got != 1 {
					t.Errorf("%q is said %d times, want once", text, got)
				}
			}
		})
	}
}

// A command that comes before the answer to the registration is obeyed. Rules: P-ctl-2.
func TestEarlyCommandIsObeyed(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	startAgent(t, n, Options{}, p.ln.Addr().String())
	x, m := p.next()
	x.send <- &controllerpb.ControlMessage{MessageId: "early", Payload: &controllerpb.ControlMessage_ConfigCommand{ConfigCommand: &controllerpb.ConfigurationCommand{
		Reconcile: true, ConnectionsToCreate: []*controllerpb.Connection{wantLink("l", far.About().Listeners[0])}}}}
	x.send <- &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RegisterNodeResponse{
		RegisterNodeResponse: &controllerpb.RegisterNodeResponse{OriginalMessageId: m.GetMessageId(), Success: true}}}
	x.take(t, "the acknowledgement", func(m *controllerpb.ControlMessage) bool {
		return m.GetConfigCommandAck().GetOriginalMessageId() == "early"
	})
}

// A control plane that comes back orders the same link under another id: routes move to it, and the name is held all the time.
// Rules: P-ctl-9.
func TestLinkUnderANewID(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	n, far := startNode(t, "near"), startNode(t, "far")
	startAgent(t, n, Options{}, p.ln.Addr().String())
	x := p.registered(nil, nil)
	endpoint := far.About().Listeners[0]
	x.order(t, "1", []*controllerpb.Connection{wantLink("old", endpoint)}, []*controllerpb.Route{wantRoute("old", alice)})
	lost := make(chan bool)
	stop, moved := make(chan struct{}), make(chan struct{})
	go func() {
		was := false
		for {
			select {
			case <-stop:
				lost <- was
				return
			case <-moved: // it is the link that is waited for, a while
				time.Sleep(100 * time.Microsecond)
			default:
			}
			was = was || len(holders(n, alice)) == 0
		}
	}()
	close(x.done)
	x = p.registered(nil, nil)
	bob := wire.Text("org", "ns", "bob")
	x.order(t, "2", []*controllerpb.Connection{wantLink("new", endpoint)}, nil)
	x.order(t, "3", []*controllerpb.Connection{wantLink("new", endpoint)}, []*controllerpb.Route{wantRoute("new", bob)})
	until(t, "the route has moved", func() bool { return slices.Equal(holders(n, alice), []string{"new"}) })
	close(moved)
	until(t, "the old link is closed", func() bool {
		for _, l := range n.Links() {
			if l.ID == "old" {
				return false
			}
		}
		return true
	})
	close(stop)
	if <-lost {
		t.Error("there was a time in which nobody held the name")
	}
	x.order(t, "4", []*controllerpb.Connection{wantLink("new", endpoint)}, []*controllerpb.Route{wantRoute("new", alice), wantRoute("new", bob)})
	x.order(t, "5", []*controllerpb.Connection{wantLink("new", endpoint)}, []*controllerpb.Route{wantRoute("new", bob)})
}

// Names are told as they come and go, whoever holds them, and all of them after a registration. Rules: P-ctl-4.
func TestNamesAreTold(t *testing.T) {
	t.Parallel() // it waits for most of its time
	p := startCP(t, "127.0.0.1:0")
	f := &fakeNode{Node: startNode(t, "near"), held: map[wire.Name]wire.NameText{}}
	f.hold(alice)
	a, err := Start(Options{Node: f, NodeID: "near", Log: slog.New(slog.DiscardHandler), Link: func(*Wanted) (router.Link, error) { return router.Link{}, nil },
		Planes: []Plane{{Authority: p.ln.Addr().String(), Backoff: func(int) time.Duration { return time.Millisecond },
			Connect: func(ctx context.Context) (net.Conn, error) { return net.Dial("tcp", p.ln.Addr().String()) }}}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close(context.Background())
	known := map[wire.Name]bool{}
	hear := func(x *call, done func() bool) {
		t.Helper()
		late := time.After(limit)
		for !done() {
			select {
			case m := <-x.got:
				for _, r := range m.GetConfigCommand().GetRoutesToSet() {
					n, _ := nameOf(r)
					known[n.Name] = true
				}
				for _, r := range m.GetConfigCommand().GetRoutesToDelete() {
					n, _ := nameOf(r)
					delete(known, n.Name)
				}
			case <-late:
				t.Fatalf("%d names are known", len(known))
			}
		}
	}
	x := p.registered(nil, nil)
	hear(x, func() bool { return known[alice.Name] })
	const many = maxMarks + 10
	f.burst(many)
	hear(x, func() bool { return len(known) == many+1 })
	f.clear()
	hear(x, func() bool { return len(known) == 0 })
	f.hold(alice)
	hear(x, func() bool { return len(known) == 1 })
	close(x.done)
	clear(known)
	hear(p.registered(nil, nil), func() bool { return known[alice.Name] })
}

// fakeNode is a node whose names a test makes.
type fakeNode struct {
	*router.Node
	held  map[wire.Name]wire.NameText
	watch *router.Watch
	mu    sync.Mutex // for held and watch
}

func (f *fakeNode) lock() (unlock func()) {
	f.mu.Lock()
	return f.mu.Unlock
}

func (f *fakeNode) Watch(w *router.Watch) []*router.ActiveLink {
	defer f.lock()()
	f.watch = w
	return nil
}

func (f *fakeNode) Held(n wire.Name) (wire.NameText, bool) {
	defer f.lock()()
	t, ok := f.held[n]
	return t, ok
}

func (f *fakeNode) EachHeld(g func(wire.NameText) bool) {
	unlock := f.lock()
	var all []wire.NameText
	for _, t := range f.held {
		all = append(all, t)
	}
	unlock()
	for _, t := range all {
		if !g(t) {
			return
		}
	}
}

func (f *fakeNode) hold(all ...wire.NameText) {
	unlock := f.lock()
	for _, t := range all {
		f.held[t.Name] = t
	}
	w := f.watch
	unlock()
	for _, t := range all {
		if w != nil {
			w.Name(t.Name)
		}
	}
}

func (f *fakeNode) burst(n int) {
	var all []wire.NameText
	for i := range n {
		all = append(all, wire.Text("org", "ns", "many").WithID(7, uint64(i)))
	}
	f.hold(all...)
}

func (f *fakeNode) clear() {
	unlock := f.lock()
	was := f.held
	f.held = map[wire.Name]wire.NameText{}
	w := f.watch
	unlock()
	for n := range was {
		w.Name(n)
	}
}

// A node that stops says so and waits for the answer, but not for long, and one that is told not to does not. Rules: P-ctl-10.
func TestGoodbye(t *testing.T) {
	t.Parallel() // it waits for most of its time
	for _, c := range []struct {
		name         string
		silent, mute bool
	}{{"answered", false, false}, {"not answered", false, true}, {"silent", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := startCP(t, "127.0.0.1:0")
			p.mute.Store(c.mute)
			log := &lines{}
			a := startAgent(t, startNode(t, "near"), Options{Silent: c.silent, goodbye: limit, Log: slog.New(slog.NewTextHandler(log, nil))}, p.ln.Addr().String())
			x := p.registered(nil, nil)
			until(t, "registered", func() bool { return a.Status().Planes[0].State == "registered" })
			goodbye := func(m *controllerpb.ControlMessage) bool {
				return m.GetDeregisterNodeRequest().GetNode().GetId() == "near"
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				a.Close(ctx)
			}()
			if !c.silent {
				x.take(t, "a goodbye", goodbye)
			}
			if c.mute { // its time is over at once
				cancel()
			}
			<-closed
			<-x.over
			for c.silent && len(x.got) > 0 {
				if goodbye(<-x.got) {
					t.Error("says goodbye")
				}
			}
			if answered := log.count("control plane has taken note that the node goes") == 1; answered != (c.name == "answered") {
				t.Errorf("tells of an answer: %v", answered)
			}
		})
	}
}

// Who calls the node's own API shows who it is, if it is asked for that. Rules: P-auth-1.
func TestOwnAPIAsksWhoCalls(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := auth.NewBasicVerifier("u", "right")
	g := auth.NewGuard(v, auth.GuardOptions{Timeout: limit})
	t.Cleanup(func() { g.Close(); v.Close() })
	a := startAgent(t, startNode(t, "near"), Options{Servers: []Server{{Listener: ln, Guard: g}}})
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for shown, want := range map[string]codes.Code{"": codes.Unauthenticated, "Basic dTp3cm9uZw==": codes.Unauthenticated, "Basic dTpyaWdodA==": codes.OK,
		strings.Repeat("x", auth.MaxAuthorization/2): codes.Unauthenticated} {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		if shown != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", shown)
		}
		s, err := conn.NewStream(ctx, &channelDesc, "/"+serviceName+"/"+methodName)
		if err == nil {
			_ = s.SendMsg(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RouteListRequest{}})
			err = s.RecvMsg(&controllerpb.ControlMessage{})
		}
		if got := status.Code(err); got != want {
			t.Errorf("%.20q: %v, want %v", shown, err, want)
		}
		cancel()
	}
	if got := a.Status(); got.Denied != 3 || got.Calls != 1 {
		t.Errorf("%d denied, %d calls; want 3 and 1", got.Denied, got.Calls)
	}
}

// Who connects to the node's own API and does not call, or is not let in, keeps nobody out, however many they are. Calls do.
func TestIdleCallersGiveWay(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := auth.NewBasicVerifier("u", "right")
	g := auth.NewGuard(v, auth.GuardOptions{Timeout: limit})
	t.Cleanup(func() { g.Close(); v.Close() })
	startAgent(t, startNode(t, "near"), Options{Servers: []Server{{Listener: ln, Guard: g}}})
	ctx := within(t)
	// call begins a call and asks for something; it goes on until over is called.
	call := func(shown string) (again func() error, over func(), err error) {
		conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, func() {}, err
		}
		over = func() { conn.Close() }
		s, err := conn.NewStream(metadata.AppendToOutgoingContext(ctx, "authorization", shown), &channelDesc, "/"+serviceName+"/"+methodName)
		if err != nil {
			return nil, over, err
		}
		again = func() error {
			if err := s.SendMsg(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RouteListRequest{}}); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return s.RecvMsg(&controllerpb.ControlMessage{})
		}
		return again, over, again()
	}
	const right, wrong = "Basic dTpyaWdodA==", "Basic dTp3cm9uZw=="
	again, over, err := call(right)
	defer over()
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxCallers { // that stay
		if i > 0 { // wrong credentials are answered ever later
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
				t.Fatal(err)
			}
			continue
		}
		_, over, err := call(wrong)
		defer over()
		if status.Code(err) != codes.Unauthenticated {
			t.Fatal(err)
		}
	}
	for range maxCallers - 1 {
		_, over, err := call(right)
		defer over()
		if err != nil {
			t.Fatalf("beside many who do not call: %v", err)
		}
	}
	if err := again(); err != nil {
		t.Errorf("the first call: %v", err)
	}
	late := make(chan error, 1)
	go func() {
		_, over, err := call(right)
		over()
		late <- err
	}()
	over() // makes room
	if err := <-late; err != nil {
		t.Errorf("one more call, when another one has ended: %v", err)
	}
}

// within is a context for all that takes no longer than anything may.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// The node's own API answers tools, and is bounded in what it takes. Rules: P-ctl-1, P-ctl-7, P-ctl-8.
func TestOwnAPI(t *testing.T) {
	n, far := startNode(t, "near"), startNode(t, "far")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, n, Options{Servers: []Server{{Endpoint: ln.Addr().String(), Listener: ln}},
		Link: func(w *Wanted) (router.Link, error) {
			l := router.Link{Endpoint: w.Endpoint, Kind: table.Remote, Connect: func(ctx context.Context) (net.Conn, error) {
				return net.Dial("tcp", strings.TrimPrefix(w.Endpoint, "http://"))
			}}
			l.Call.Scheme, l.Call.Authority = "http", "x"
			return l, nil
		}})
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// talk sends messages, says that there are no more, and returns the answers.
	talk := func(ms ...*controllerpb.ControlMessage) (out []*controllerpb.ControlMessage) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		s, err := conn.NewStream(ctx, &channelDesc, "/"+serviceName+"/"+methodName)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			if err := s.SendMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		_ = s.CloseSend()
		for {
			m := &controllerpb.ControlMessage{}
			err := s.RecvMsg(m)
			if errors.Is(err, io.EOF) {
				return out
			}
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, m)
		}
	}
	list := func() *controllerpb.RouteListResponse {
		t.Helper()
		out := talk(&controllerpb.ControlMessage{MessageId: "q", Payload: &controllerpb.ControlMessage_RouteListRequest{}})
		r := out[0].GetRouteListResponse()
		if len(out) != 1 || !r.GetDone() || r.GetOriginalMessageId() != "q" {
			t.Fatalf("answers %v", out)
		}
		return r
	}
	if r := list(); len(r.GetEntries()) != 0 {
		t.Errorf("routes %v of a node without any", r)
	}
	command := func(id string, c *controllerpb.ConfigurationCommand) *controllerpb.ControlMessage {
		return &controllerpb.ControlMessage{MessageId: id, Payload: &controllerpb.ControlMessage_ConfigCommand{ConfigCommand: c}}
	}
	out := talk(&controllerpb.ControlMessage{}, &controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_RegisterNodeRequest{}},
		command("1", &controllerpb.ConfigurationCommand{
			ConnectionsToCreate: []*controllerpb.Connection{{LinkId: "said", ConfigData: `{"endpoint": "` + far.About().Listeners[0] + `", "link_id": "own", "connection_type": "remote"}`}, {LinkId: "bad", ConfigData: "x"}},
			ConnectionsToDelete: []string{"none"}, RoutesToSet: []*controllerpb.Route{wantRoute("own", alice), wantRoute("other", alice)}}))
	if len(out) != 1 {
		t.Fatalf("answers %v", out)
	}
	links, routes := success(out[0].GetConfigCommandAck())
	for _, want := range []string{"none: Connection with link_id none not found", "said: ok"} {
		if !slices.Contains(links, want) {
			t.Errorf("links %q, want %q", links, want)
		}
	}
	if !slices.Equal(routes, []string{"other: Connection with link_id other not found", "own: ok"}) {
		t.Errorf("routes %q", routes)
	}
	if r := list(); len(r.GetEntries()) != 1 || r.GetEntries()[0].GetConnections()[0].GetPeerNodeId() != "far" {
		t.Errorf("routes %v", r)
	}
	out = talk(&controllerpb.ControlMessage{Payload: &controllerpb.ControlMessage_ConnectionListRequest{}})
	if es := out[0].GetConnectionListResponse().GetEntries(); len(es) != 2 || es[1].GetLinkId() != "own" {
		t.Errorf("connections %v, want the agent's and the link", es)
	}
	out = talk(command("2", &controllerpb.ConfigurationCommand{RoutesToDelete: []*controllerpb.Route{wantRoute("own", alice)}, ConnectionsToDelete: []string{"own"}}))
	if links, _ := success(out[0].GetConfigCommandAck()); !slices.Equal(links, []string{"own: ok"}) {
		t.Errorf("links %q", links)
	}
	until(t, "no links", func() bool { return len(n.Links()) == 0 })
	if got := a.Status(); got.Invalid != 2 || got.Calls != 5 {
		t.Errorf("%d messages counted as invalid, %d calls; want 2 and 5", got.Invalid, got.Calls)
	}
}
