package sessiontest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Options say what a network is like. The zero value loses nothing, and takes five milliseconds from one app to another.
// Shares are from 0 to 1, and drawn for each receiver of a message.
type Options struct {
	// Seed decides what is drawn: with the same one a test that sends the same messages loses the same. 0 is a seed like
	// others.
	Seed uint64
	// Delay is how long a message is under way; 0: DefaultDelay.
	Delay time.Duration
	// Jitter is up to how much longer, as it is drawn. Messages of one app to another stay in order all the same.
	Jitter time.Duration
	// Loss is the share of messages that do not come.
	Loss float64
	// Duplicate is the share of the others that come twice.
	Duplicate float64
	// Reorder is the share of what comes that others may overtake, since it takes up to Lag longer; 0: ten times Delay.
	Reorder float64
	Lag     time.Duration
	// Log is how many messages are kept for Net.Log, the last ones; 0: DefaultLog.
	Log int
	// Quiet keeps the network from showing its log when the test has failed.
	Quiet bool
}

const mostShown = 500 // messages, when a test has failed

// Defaults of Options.
const (
	DefaultDelay = 5 * time.Millisecond
	DefaultLog   = 10_000
)

// Net is a network in memory: a node, and the connections of apps to it. All methods are safe for all.
type Net struct {
	t      testing.TB // nil: there is none
	o      Options
	faults simnet.Faults
	begin  time.Time

	mu      sync.Mutex
	routes  routes                         // guarded by mu
	links   []*link                        // guarded by mu; of apps that are there, in the order in which they came
	apps    []*session.App                 // guarded by mu; that App has made
	born    map[string]int                 // guarded by mu; instances of each name so far
	sent    map[lane]uint64                // guarded by mu; messages so far
	islands map[string]int                 // guarded by mu; by name; none: the mainland
	made    int                            // guarded by mu; islands
	rules   []*Rule                        // guarded by mu
	log     log                            // guarded by mu
	names   map[wire.NameText]session.Name // guarded by mu
}

// lane is messages of a type from one app to another: each is numbered by itself, so that what becomes of one does not
// depend on how many of another type there are.
type lane struct{ from, to, kind string }

// New makes a network. It shows its log when t has failed, together with its seed. t may be nil, outside of tests: then
// Close is to be called.
func New(t testing.TB, o Options) *Net {
	if o.Delay <= 0 {
		o.Delay = DefaultDelay
	}
	if o.Lag <= 0 {
		o.Lag = 10 * o.Delay
	}
	if o.Log <= 0 {
		o.Log = DefaultLog
	}
	n := &Net{
		t: t, o: o, begin: time.Now(), born: map[string]int{}, sent: map[lane]uint64{},
		islands: map[string]int{}, names: map[wire.NameText]session.Name{},
		faults: simnet.Faults{
			Seed: o.Seed, Delay: o.Delay, Jitter: o.Jitter, Loss: o.Loss, Duplicate: o.Duplicate, Late: o.Reorder, Lag: o.Lag,
		},
	}
	if t != nil {
		t.Cleanup(func() {
			n.Close()
			if t.Failed() && !o.Quiet {
				t.Logf("the network, of seed %d:\n%v", o.Seed, n.Log().Tail(mostShown))
			}
		})
	}
	return n
}

// secret is that of all apps that bring no identity.
var secret = []byte("a secret of sessiontest, of thirty-two bytes and more")

// Options are those of an app in this network, for session.Connect: for agents that connect themselves. Fields but Link may
// be changed. name is as in "org/ns/alice".
func (n *Net) Options(name string) session.Options {
	return session.Options{Name: session.MustName(name), Secret: secret, Workers: 1, Link: func(_ context.Context, from session.Incoming) (session.Link, error) {
		return n.attach(name, from), nil
	}}
}

// App connects an app, and closes it when the test is over.
func (n *Net) App(name string, change ...func(*session.Options)) *session.App {
	if n.t != nil {
		n.t.Helper()
	}
	o := n.Options(name)
	for _, f := range change {
		f(&o)
	}
	a, err := session.Connect(context.Background(), o)
	if err != nil {
		n.fail("%s: connecting: %v", name, err)
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.apps = append(n.apps, a)
	return a
}

// fail ends the test, or the program.
func (n *Net) fail(format string, args ...any) {
	if n.t == nil {
		panic("sessiontest: " + fmt.Sprintf(format, args...))
	}
	n.t.Helper()
	n.t.Fatalf(format, args...)
}

// closing is how long an app may take to close.
const closing = 2 * time.Minute

// Close closes all apps that App has made, the last first. A test that has given New its t need not call it.
func (n *Net) Close() {
	n.mu.Lock()
	apps := n.apps
	n.apps = nil
	n.mu.Unlock()
	for _, a := range slices.Backward(apps) {
		ctx, cancel := context.WithTimeout(context.Background(), closing)
		err := a.Close(ctx)
		cancel()
		if err != nil && n.t != nil {
			n.t.Errorf("%v: close: %v", a.Name(), err)
		}
	}
}

// Crash has an app, or all instances of it, vanish as a process does that is killed: it says nothing more to anybody, the node
// forgets its subscriptions, and what it has not read is lost. Its sessions are over for itself, too; if it has a Store, they go on
// in the next app of the same name with it.
func (n *Net) Crash(name string) {
	n.mu.Lock()
	var dead []*session.App
	n.apps = slices.DeleteFunc(n.apps, func(a *session.App) bool {
		if a.Name().String() != name {
			return false
		}
		dead = append(dead, a)
		return true
	})
	n.mu.Unlock()
	for _, l := range n.linksOf(name) {
		l.end()
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for _, a := range dead {
		_ = a.Stop(over)
	}
}

// Disconnect takes the connection of an app away, which is told so; Reconnect brings it back, with its subscriptions.
func (n *Net) Disconnect(name string) {
	for _, l := range n.linksOf(name) {
		l.setDown(true)
	}
}

// Reconnect ends Disconnect.
func (n *Net) Reconnect(name string) {
	for _, l := range n.linksOf(name) {
		l.setDown(false)
	}
}

// Slow has an app's way to the node take so many bytes a second, of which little waits with the connection; 0: it takes everything at
// once, as it does at first.
func (n *Net) Slow(name string, bytesPerSecond int) {
	for _, l := range n.linksOf(name) {
		l.setRate(bytesPerSecond)
	}
}

// Hold has the node take nothing from an app, so that what it sends waits, as it does under pressure, until Release.
func (n *Net) Hold(name string) {
	for _, l := range n.linksOf(name) {
		l.setHeld(true)
	}
}

// Release ends Hold.
func (n *Net) Release(name string) {
	for _, l := range n.linksOf(name) {
		l.setHeld(false)
	}
}

// linksOf returns the connections of apps of this name.
func (n *Net) linksOf(name string) (list []*link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		if l.name == name {
			list = append(list, l)
		}
	}
	if list == nil {
		panic(fmt.Sprintf("sessiontest: there is no app %q", name))
	}
	return list
}

// Partition makes an island of these apps: they reach each other, and nobody else, until Heal. Apps that come later under these
// names are on it, too. An app that is on an island already moves to the new one.
func (n *Net) Partition(names ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made++
	for _, name := range names {
		n.islands[name] = n.made
	}
}

// Heal ends all partitions.
func (n *Net) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.islands)
}

// Subscriptions returns how many names the node has of an app: those under which it can be invited, and two of each group.
func (n *Net) Subscriptions(name string) (count int) {
	links := n.linksOf(name)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.routes.subscriptions {
		if slices.Contains(links, s.by) {
			count++
		}
	}
	return count
}

// SetLoss changes Options.Loss, Duplicate and Reorder from now on.
func (n *Net) SetLoss(loss, duplicate, reorder float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults.Loss, n.faults.Duplicate, n.faults.Late = loss, duplicate, reorder
}

// Rule is something that a script does to some messages. Its fields are not changed while it stands.
type Rule struct {
	// Match says which: it is asked for each receiver of each message, one at a time, and is not to call the network.
	Match func(m *Entry, receiver string) bool
	// Drop loses them; else they come this much later, and others may overtake them.
	Drop  bool
	Delay time.Duration
	// Most is how many messages the rule is for; 0: all.
	Most int

	met int // guarded by the network's mu
}

// Add makes a rule hold; the earliest that matches a message decides.
func (n *Net) Add(r *Rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = append(n.rules, r)
}

// Remove ends a rule.
func (n *Net) Remove(r *Rule) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules = slices.DeleteFunc(n.rules, func(other *Rule) bool { return other == r })
}

// Drop loses the first messages, or all if most is 0, of a type, such as "group_ack", from one app to another; "" stands for
// any.
func (n *Net) Drop(from, to, kind string, most int) *Rule {
	r := &Rule{Drop: true, Most: most, Match: func(m *Entry, receiver string) bool {
		return (from == "" || m.From.String() == from) && (to == "" || receiver == to) && (kind == "" || m.Type == kind)
	}}
	n.Add(r)
	return r
}

// Met returns how many messages the rule has been for.
func (n *Net) Met(r *Rule) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return r.met
}
