package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

// Target is a node to measure: one that is started for each measurement, or one that runs somewhere.
type Target struct {
	Name    string
	Command process.Command // empty text: Addrs run already
	Addrs   []string        // publishers use the first, subscribers the others in turn; one serves both
	PID     int             // process behind Addrs; 0: not measured
	Dialer  Dialer
	Note    string          // what is to be known of its figures
	Sleep   func(due int64) // of open loops, as Sender.Sleep
}

// Gone reports whether a target that runs by itself takes no connections any more.
func (t *Target) Gone(ctx context.Context) bool {
	for _, addr := range t.Addrs {
		c, err := t.Dialer.Dial(ctx, addr, DialOptions{})
		if err != nil {
			return ctx.Err() == nil
		}
		_ = c.Close()
	}
	return false
}

// Rig is one node under test, or a mesh of them, with the connections to it. One goroutine uses it; Dial, Open, Addr and Address
// are safe for all, and so is Broken while no node is replaced.
type Rig struct {
	Target Target

	// What a measurement has to tell beside its figures.
	Progress  func(Sample) // nil: nobody is told
	Samples   []Sample
	Histogram string // as Latency.Histogram
	Notes     []string

	nodes []*process.Node // none: the target runs by itself. ReplaceLast changes them with mu held
	spent time.Duration   // processor time of nodes that were replaced; likewise
	addrs []string
	run   string // makes names unique, so that nothing of an earlier run is met
	names int

	mu    sync.Mutex
	turn  int    // of the subscribers' addresses; guarded by mu
	conns []Conn // guarded by mu
}

// Side says which end of the traffic a connection is for.
type Side bool

// The sides.
const (
	Publishing  Side = true
	Subscribing Side = false
)

// NewRig starts the target if that is to be done.
func NewRig(ctx context.Context, t Target) (*Rig, error) {
	g := &Rig{Target: t}
	return g, g.start(ctx)
}

func (g *Rig) start(ctx context.Context) error {
	g.addrs = g.Target.Addrs
	g.run = strconv.FormatUint(rand.Uint64(), 36)
	if g.Target.Command.Text == "" {
		return nil
	}
	n, err := process.Start(ctx, g.Target.Command)
	if err != nil {
		return err
	}
	g.nodes, g.addrs = []*process.Node{n}, []string{n.Addr}
	return nil
}

// Restart replaces the node by a fresh one. Of one that is not ours to restart it closes the connections, and takes new names.
func (g *Rig) Restart(ctx context.Context) error {
	if err := g.Close(); err != nil {
		return err
	}
	return g.start(ctx)
}

// Close ends connections and node. It reports a node that ended before, or had to be killed.
func (g *Rig) Close() error {
	g.disconnect()
	var bad error
	for _, n := range g.nodes {
		tail := n.LogTail(2000) // which Stop removes
		if err := n.Stop(); err != nil {
			bad = errors.Join(bad, err, errors.New(tail))
		}
	}
	g.nodes, g.spent = nil, 0
	return bad
}

func (g *Rig) disconnect() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = g.conns[:0]
}

// Addr is where the next connection goes, as uplink.Dial takes it.
func (g *Rig) Addr(s Side) string {
	if s == Publishing || len(g.addrs) == 1 {
		return g.addrs[0]
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn++
	return g.addrs[1+g.turn%(len(g.addrs)-1)]
}

// Open opens a connection for the caller to close.
func (g *Rig) Open(ctx context.Context, s Side, o DialOptions) (Conn, error) {
	if len(g.nodes) > 0 {
		o.TLS = g.nodes[0].TLS
	}
	return g.Target.Dialer.Dial(ctx, g.Addr(s), o)
}

// Dial opens a connection that lives until Close, and whose end breaks the rig.
func (g *Rig) Dial(ctx context.Context, s Side, o DialOptions) (Conn, error) {
	c, err := g.Open(ctx, s, o)
	if err == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.conns = append(g.conns, c)
	}
	return c, err
}

// Broken returns why the node or a connection ended, if one did.
func (g *Rig) Broken() error {
	if slices.ContainsFunc(g.nodes, (*process.Node).Ended) {
		return errors.New("the node ended")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, c := range g.conns {
		if err := c.Err(); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return nil
}

// Address is the name of this run for something. id 0: of a group.
func (g *Rig) Address(what string, id uint64) Address {
	return Address{Parts: [3]string{"bench", g.run, what}, ID: id}
}

// Name returns an address that is used for nothing else.
func (g *Rig) Name(what string, id uint64) Address {
	g.names++
	return g.Address(what+strconv.Itoa(g.names), id)
}

// Usage measures the node, of a mesh all together; false when a process is not known or not there.
func (g *Rig) Usage() (sum usage.Usage, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	pids := []int{g.Target.PID}
	if len(g.nodes) > 0 {
		pids = pids[:0]
		for _, n := range g.nodes {
			pids = append(pids, n.PID())
		}
	}
	sum.CPU = g.spent
	for _, pid := range pids {
		if pid == 0 {
			return usage.Usage{}, false
		}
		u, err := usage.Of(pid)
		if err != nil {
			return usage.Usage{}, false
		}
		sum.Add(u)
	}
	return sum, true
}

// Settled returns the node's resident memory once it stops moving, at the latest after three seconds; false when it
// cannot be measured.
func (g *Rig) Settled(ctx context.Context) (int64, bool) {
	u, known := g.Usage()
	for range 12 {
		if !known || Sleep(ctx, 250*time.Millisecond) != nil {
			break
		}
		was := u.RSS
		if u, known = g.Usage(); u.RSS-was < 64<<10 && was-u.RSS < 64<<10 {
			break
		}
	}
	return u.RSS, known
}

// Sleep waits for d, or for the end of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
