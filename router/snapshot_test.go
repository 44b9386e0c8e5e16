package router

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// connections asks the node of the rig while its loops run.
func (r *rig) connections() []Connection {
	r.t.Helper()
	var all []Connection
	r.asking(func() (err error) {
		all, err = r.n.Connections(r.t.Context(), 4)
		return err
	})
	return all
}

// asking runs the loops until f, a question, is answered.
func (r *rig) asking(f func() error) {
	r.t.Helper()
	answer := make(chan error, 1)
	go func() { answer <- f() }()
	for {
		r.settle()
		select {
		case err := <-answer:
			if err != nil {
				r.t.Fatal(err)
			}
			return
		default:
		}
	}
}

func TestConnectionsTellWhoDoesWhat(t *testing.T) {
	r := newRig(t, 2, Options{})
	r.agent = "grpc-test/1"
	a, b := r.dial(0), r.dialAs(1, wire.LinkRemote, "elsewhere")
	mute := r.connect(0)
	mute.open()
	b.subscribe(bob, 7)
	a.publish(header(alice, bob, 1, "x"), 0, 1000)
	a.publish(header(alice, group, 1, "x"), 0, 10) // nobody has it
	b.exchange()

	all := r.connections()
	if len(all) != 3 {
		t.Fatalf("%d connections, want 3: %+v", len(all), all)
	}
	x, y, z := all[0], all[1], all[2]
	if x.Kind != table.Edge || x.State != "active" || x.Loop != 0 || x.LinkID != "link-node-of-test" || x.Version != "3.4.6" ||
		x.Agent != "grpc-test/1" || x.Received != 3 || x.ReceivedBytes < 1000 || x.Dropped != 1 || x.Unmatched != 1 || x.LastDrop != ReasonNoMatch {
		t.Errorf("the sender is %+v", x)
	}
	if y.Kind != table.Remote || y.State != "active" || y.Loop != 1 || y.Node != "elsewhere" || y.Delivered != 1 || y.DeliveredBytes < 1000 ||
		y.Names != 1 || !slices.Equal(y.Some, []string{bob.String()}) {
		t.Errorf("the receiver is %+v", y)
	}
	if z.State != "negotiating" || z.LinkID != "" || z.Names != 0 {
		t.Errorf("who has not negotiated is %+v", z)
	}
	mute.abandon()
	b.abandon()
	r.settle()
	if all := r.connections(); len(all) != 1 || all[0].ID != x.ID {
		t.Errorf("after two have left there are %+v", all)
	}
}

func TestStalledConnectionTellsForHowLong(t *testing.T) {
	r, _, dead, _ := stuffed(t, Options{}, 1, 0)
	r.pass(DefaultStallTimeout + 6*stallLook)
	dead.c.about.losses.stalledAt -= time.Minute
	i := slices.IndexFunc(r.connections(), func(x Connection) bool { return x.ID == dead.c.id })
	x := r.connections()[i]
	if x.Stalled < time.Minute || x.Queued == 0 || x.QueuedBytes == 0 || x.Missed == 0 {
		t.Errorf("the stalled one is %+v", x)
	}
}

// silent is a stream that nothing is asked of but who is there.
type silent struct {
	transport.Stream
	peer transport.Peer
}

func (s *silent) Peer() *transport.Peer { return &s.peer }

func (s *silent) Identity() *auth.Identity { return nil }

// A loop with very many connections tells of a bounded number in each turn, and of all who stay, whoever comes and
// leaves meanwhile.
func TestConnectionsAreToldInSlices(t *testing.T) {
	r := newRig(t, 1, Options{})
	l := r.n.loops[0]
	var stay, leave []*Conn
	add := func() *Conn {
		c := &Conn{id: uint64(len(stay)+len(leave)) + 1, loop: l, stream: new(silent)}
		l.enlist(c)
		return c
	}
	for i := range 10 * snapshotSlice {
		if i%3 == 0 {
			leave = append(leave, add())
		} else {
			stay = append(stay, add())
		}
	}
	var got []Connection
	turns := 0
	for at, before := -1, 0; at != 0; before = len(got) {
		got, at = l.describe(got, at)
		if n := len(got) - before; n > snapshotSlice {
			t.Fatalf("%d connections in a turn", n)
		}
		turns++
		for range min(len(leave), snapshotSlice) { // the oldest leave, so others are moved to their places
			l.delist(leave[0])
			leave = leave[1:]
		}
		l.enlist(&Conn{id: uint64(1e6 + turns), loop: l, stream: new(silent)})
	}
	seen := map[uint64]bool{}
	for _, x := range got {
		seen[x.ID] = true
	}
	for _, c := range stay {
		if !seen[c.id] {
			t.Fatalf("%d, who has stayed, is missing", c.id)
		}
	}
	if turns < 5 {
		t.Errorf("all that in %d turns", turns)
	}
	for len(l.live) > 0 { // each is where it believes to be
		n := len(l.live)
		if l.delist(l.live[0]); len(l.live) != n-1 {
			t.Fatalf("%d are left of %d", len(l.live), n)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	r := newRig(t, 1, Options{})
	l := r.n.loops[0]
	for range MostConnections + 3*snapshotSlice {
		l.enlist(&Conn{loop: l, stream: new(silent)})
	}
	var got []Connection
	for at := -1; at != 0; {
		got, at = l.describe(got, at)
	}
	if len(got) != MostConnections {
		t.Errorf("%d are told of, want %d", len(got), MostConnections)
	}
	l.live = nil
}

// Who is turned away, and what reaches nobody, is told with its reason and words; however many there are, a few are
// kept.
func TestTroubleTellsWhyMessagesReachNobody(t *testing.T) {
	r := newRig(t, 2, Options{})
	var refusals []Refusal
	var deaths []Death
	look := func() {
		r.asking(func() (err error) {
			refusals, deaths, err = r.n.Trouble(r.t.Context())
			return err
		})
	}
	a := r.dial(0)
	a.publish(header(alice, bob, 1, "x"), 0, 10)
	if look(); len(deaths) != 0 {
		t.Errorf("noted though nobody has looked: %+v", deaths)
	}
	for range 3 {
		a.publish(header(alice, bob, 1, "x"), 0, 10)
	}
	a.publish(header(alice, group, 5, "x"), 0, 10)
	bad := header(alice, bob, 1, "x")
	a.sign(bad)
	bad.MAC[0]++
	a.send(wire.AppendPublish(nil, bad, testSession, nil))
	stranger := r.connect(1)
	stranger.open()
	stranger.send([]byte("no negotiation"))
	look()
	var told []string
	for _, d := range deaths {
		told = append(told, d.Reason.String()+" "+d.Name+" "+strings.Repeat("x", int(d.Count)))
		if d.Conn != a.c.id || d.Source != alice.String() {
			t.Errorf("of connection %d from %q: %+v", d.Conn, d.Source, d)
		}
	}
	slices.Sort(told)
	if want := []string{"bad_mac " + bob.String() + " x", "no_match " + bob.String() + " xxx", "no_match " + group.String() + " x"}; !slices.Equal(told, want) {
		t.Errorf("deaths %q, want %q", told, want)
	}
	told = told[:0]
	for _, x := range refusals {
		told = append(told, x.Reason.String()+" "+x.Text)
	}
	if len(told) != 2 || !strings.HasPrefix(told[0], "negotiation_failed ") && !strings.HasPrefix(told[1], "negotiation_failed ") || !slices.Contains(told, "bad_mac ") {
		t.Errorf("refusals %q", told)
	}
	r.seconds(watchedFor)
	a.publish(header(alice, bob.WithID(9, 9), 1, "x"), 0, 10)
	if look(); len(deaths) != 3 {
		t.Errorf("%d deaths, want the three from before: nobody has looked for a minute", len(deaths))
	}
}

// A flood of messages that reach nobody costs the loop no more than a few, in whichever names they come.
func TestDeathsAreBounded(t *testing.T) {
	r := newRig(t, 1, Options{})
	a := r.dial(0)
	l := r.n.loops[0]
	l.trouble.watched = watchedFor
	for id := range uint64(2 * troubleASecond) {
		a.publish(header(alice, bob.WithID(id, id), 1, "x"), 0, 10)
	}
	if n := len(l.trouble.deaths.all); n != troubleASecond {
		t.Errorf("%d deaths are noted in a second, want %d", n, troubleASecond)
	}
	for id := range uint64(10 * troubleASecond) {
		if id%troubleASecond == 0 {
			l.trouble.tick()
		}
		a.publish(header(alice, bob.WithID(id, 1), 1, "x"), 0, 10)
	}
	if n := len(l.trouble.deaths.all); n != troubleKept {
		t.Errorf("%d deaths are kept, want %d", n, troubleKept)
	}
}

// A node that cannot take further sockets is not ready: clients wait in the kernel, and had better go elsewhere.
func TestFullNodeIsNotReady(t *testing.T) {
	n := start(t, Options{MaxSockets: 1})
	call(t, n)
	until(t, "the node is not ready", func() bool {
		err := n.Ready()
		return err != nil && strings.Contains(err.Error(), "--max-sockets")
	})
}

func TestNamesTellWhoHoldsThem(t *testing.T) {
	r := newRig(t, 2, Options{})
	a, b := r.dial(0), r.dial(1)
	a.subscribe(bob, 1)
	b.subscribe(bob, 2)
	b.subscribe(group.WithID(1, 1), 3)
	names, complete, err := r.n.Names(t.Context(), nil, 10, 1, 1000)
	if err != nil || !complete || len(names) != 2 {
		t.Fatalf("%+v, complete %t, %v", names, complete, err)
	}
	wanted := func(name string, _ []uint64) bool { return name == bob.String() }
	if names, complete, _ = r.n.Names(t.Context(), wanted, 10, 1, 1000); len(names) != 1 || !complete ||
		names[0].Holders[table.Edge] != 2 || len(names[0].Some) != 1 {
		t.Errorf("%+v, complete %t", names, complete)
	}
	if names, complete, _ = r.n.Names(t.Context(), nil, 1, 1, 1000); len(names) != 1 || complete {
		t.Errorf("with room for one: %+v, complete %t", names, complete)
	}
	if names, complete, _ = r.n.Names(t.Context(), nil, 10, 1, 1); len(names) != 1 || complete {
		t.Errorf("in one step: %+v, complete %t", names, complete)
	}
}

func TestNodeThatStopsAnswersQuestions(t *testing.T) {
	n, err := Start(t.Context(), Options{Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); err != nil {
		t.Errorf("a node that has started is not ready: %v", err)
	}
	if _, err := n.Connections(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Connections(t.Context(), 1); !errors.Is(err, errStopped) {
		t.Errorf("after the end: %v", err)
	}
	if err := n.Ready(); err == nil {
		t.Error("a node that has stopped is ready")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := n.Trouble(ctx); err == nil {
		t.Error("a question that was given up is answered")
	}
}

// A loop that does not run is told of by readiness, at once.
func TestNodeWithALateLoopIsNotReady(t *testing.T) {
	r := newRig(t, 2, Options{})
	r.loops[0].RunTick(time.Now().Add(hang))
	if err := r.n.Ready(); err != nil {
		t.Error(err)
	}
	r.loops[1].RunTick(time.Now().Add(-time.Minute))
	if err := r.n.Ready(); err == nil {
		t.Error("a node whose loop has not run for a minute is ready")
	}
}

func TestStatsTellKindsOfConnections(t *testing.T) {
	r := newRig(t, 1, Options{})
	r.dial(0)
	r.dial(0)
	r.dialAs(0, wire.LinkRemote, "far")
	r.connect(0).open()
	s := r.stats()
	if s.Kinds[table.Edge] != 2 || s.Kinds[table.Remote] != 1 || s.Negotiating != 1 || s.BytesIn == 0 {
		t.Errorf("%+v", s)
	}
}

// Operators may ask whenever they like, while connections come, send and leave on all loops.
func TestOperatorsAskWhileTrafficFlows(t *testing.T) {
	n := start(t, Options{Loops: 2})
	a, b := call(t, n), call(t, n)
	b.subscribe(bob)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 3 {
		asking.Go(func() {
			for {
				all, err := n.Connections(context.Background(), 2)
				if err != nil || len(all) < 2 {
					t.Errorf("%d connections, %v", len(all), err)
				}
				if _, _, err := n.Trouble(context.Background()); err != nil {
					t.Error(err)
				}
				if names, _, err := n.Names(context.Background(), nil, 10, 2, 100); err != nil || len(names) == 0 {
					t.Errorf("names %v, %v", names, err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	msg := publication(a.sign(header(alice, bob, 1, "x")), 0, 3000)
	lost := wire.AppendPublish(nil, a.sign(header(alice, group, 1, "x")), testSession, nil)
	for range 30 {
		c := call(t, n)
		c.subscribe(bob.WithID(9, 9))
		for range 5 {
			a.send(msg)
			a.send(lost)
		}
		_ = c.c.Close()
	}
	b.await(func() bool { return len(b.got) == 150 })
	close(stop)
	asking.Wait()
	until(t, "only two are left", func() bool {
		all, err := n.Connections(t.Context(), 2)
		return err == nil && len(all) == 2 && all[0].Unmatched == 150 && all[1].Delivered >= 150
	})
}
