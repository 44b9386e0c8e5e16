package scenario

import (
	"context"
	"errors"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/router"
	subscriptions "github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// nodeCommand is what the test binary is called with to play a node, with the path of its configuration.
const nodeCommand = "play-node"

// playNode is a node of a full mesh until it is told to end: it dials the peers whose ids sort after its own.
func playNode(config string) error {
	b, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var c struct {
		Services map[string]struct {
			ID        string `yaml:"node_id"`
			Dataplane struct {
				Servers []struct{ Endpoint string }
			}
			Peers struct {
				Discovery struct {
					Peers []struct {
						ID       string `yaml:"node_id"`
						Endpoint string
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(b, &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := c.Services["slim/0"]
	n, err := router.Start(ctx, router.Options{Listen: []string{s.Dataplane.Servers[0].Endpoint}, NodeID: s.ID, Loops: 1,
		StallTimeout: time.Minute, HoldTimeout: time.Minute, NegotiationTimeout: time.Minute})
	if err != nil {
		return err
	}
	for _, p := range s.Peers.Discovery.Peers {
		if p.ID <= s.ID {
			continue
		}
		addr := strings.TrimPrefix(p.Endpoint, "http://")
		if _, err := n.Dial(router.Link{Endpoint: addr, Kind: subscriptions.Peer, Call: transport.Call{Scheme: "http", Authority: addr},
			Backoff: func(int) (time.Duration, bool) { return 10 * time.Millisecond, true },
			Connect: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = n.Shutdown(ending) // what still flows is nobody's any more
	return nil
}

// A mesh whose nodes do not find each other is an error, and so is one of nodes that run already, or have no configuration.
func TestMeshThatIsNone(t *testing.T) {
	node := process.Quote(os.Args[0], nodeCommand) + " {config}"
	for _, c := range []struct {
		name, want string
		target     load.Target
	}{
		{"running nodes", "give a command", ownNode(t)},
		{"no configuration", "give {config}", load.Target{Name: "x", Dialer: client.Dialer{}, Command: process.Command{Text: "x {listen}"}}},
		{"a transport", "no transport", load.Target{Name: "x", Dialer: client.Dialer{}, Command: process.Command{Text: node, Transport: "ws"}}},
	} {
		g := &load.Rig{Target: c.target}
		if err := g.Mesh(t.Context(), 3); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// Nodes that have never heard of each other: each of them is alone.
	one, other := ownNode(t), ownNode(t)
	g, err := load.NewRig(t.Context(), load.Target{Name: "two", Addrs: []string{one.Addrs[0], other.Addrs[0]}, Dialer: client.Dialer{}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	r, name := load.NewReceiver(0, 1, 0), g.Name("nobody", 1)
	c, err := g.Dial(t.Context(), load.Subscribing, load.DialOptions{Sink: r})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe(t.Context(), 1, 0, func(int) load.Address { return name }); err != nil {
		t.Fatal(err)
	}
	for _, side := range []load.Side{load.Subscribing, load.Publishing} {
		from, err := g.Dial(t.Context(), side, load.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if side == load.Publishing {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
		}
		if err := known(ctx, g, from, r, []load.Address{name}); (err != nil) != (side == load.Publishing) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: %v", side, err)
		}
	}
}

// lagging is a connection to a node that delivers in each round what it is told to, by the distance from the round's first number. After
// that it takes nothing, until it is closed.
type lagging struct {
	load.Conn // of what is not called
	r         *load.Receiver
	come      [][]int
	rounds    int
	closed    chan struct{}
}

func (l *lagging) Publisher(load.Message) (load.Publisher, error) { return l, nil }
func (l *lagging) Waited() int64                                  { return 0 }
func (l *lagging) Err() error                                     { return nil }
func (l *lagging) Close() error                                   { close(l.closed); return nil }

func (l *lagging) Send(first uint64, _ int, at, _ int64) error {
	if l.rounds == len(l.come) {
		<-l.closed
		return net.ErrClosed
	}
	l.r.Begin(load.Now())
	for _, i := range l.come[l.rounds] {
		b := make([]byte, 64)
		load.Stamp{Seq: first + uint64(i), At: at}.Put(b)
		l.r.Deliver(b)
	}
	l.r.Flush()
	l.rounds++
	return nil
}

// Names are known when all of one round comes: what comes late of one before does not stand for it. A node that takes nothing holds
// nobody up.
func TestNamesAreKnownByOneRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		names := make([]load.Address, 4)
		l := &lagging{r: load.NewReceiver(0, 1, 0), come: [][]int{{3}, {-4, -3, -2, 3}, {0, 1, 2, 3}}}
		if err := known(t.Context(), new(load.Rig), l, l.r, names); err != nil || l.rounds != 3 {
			t.Errorf("after %d rounds: %v, want them known after 3", l.rounds, err)
		}
		l = &lagging{r: load.NewReceiver(0, 1, 0), come: [][]int{{1, 3}}, closed: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := known(ctx, new(load.Rig), l, l.r, names); err == nil || !strings.Contains(err.Error(), "of 4 names 0 were known") {
			t.Errorf("a node that takes nothing: %v", err)
		}
	})
}

// Of a node that is killed and comes back late the others are measured on, and one that does not come back is told of by its own words.
func TestNodeThatComesBackLateOrNever(t *testing.T) {
	t.Parallel() // it waits for most of its time
	for again, want := range map[string]string{"sleep 1": "", "echo no second time; exit 1": "no second time"} {
		t.Run(again, func(t *testing.T) {
			t.Parallel()
			script := `if [ -e "$2.seen" ]; then ` + again + `; fi; : >"$2.seen"; exec "$1" ` + nodeCommand + ` "$2"`
			err := comesBack(t, script)
			for tries := 1; tries < 4 && err != nil && strings.Contains(err.Error(), "ddress already in use"); tries++ {
				err = comesBack(t, script) // another took the port while the node was away
			}
			if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// comesBack measures a mesh of nodes that script starts while the last one is replaced.
func comesBack(t *testing.T, script string) error {
	t.Helper()
	g, err := load.NewRig(t.Context(), load.Target{Name: "own", Dialer: client.Dialer{},
		Command: process.Command{Text: process.Quote("sh", "-c", script, "sh", os.Args[0], "{config}")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Mesh(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	p := quick(func(p *result.Params) {
		p.Nodes, p.Names, p.SetupLimit, p.Duration = 3, 200, time.Minute, 60*time.Millisecond
		p.Rate = 500 // while the node is away nothing else is looked at
	})
	_, failed := joining(t.Context(), g, p)
	for i, s := range g.Samples {
		if s.NodeCPU < 0 || s.NodeCPU > 100 || s.RSS == 0 {
			t.Errorf("sample %d: %+v", i, s)
		}
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	return failed
}
