package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// Rig is one node under test with the connections to it. One goroutine uses it.
type Rig struct {
	Target Target

	node  *process.Node // nil: the target runs by itself
	addrs []string
	turn  int // of the subscribers' addresses
	conns []load.Conn
	run   string // makes names unique, so that nothing of an earlier run is met
	names int

	progress func(result.Sample) // nil: nobody is told
	samples  []result.Sample
	curve    []result.Point
	notes    []string // what else there is to say about the measurement
}

// side says which end of the traffic a connection is for.
type side bool

const (
	publishing  side = true
	subscribing side = false
)

// sampled takes a sample of the measurement that goes on. One sampler runs at a time.
func (g *Rig) sampled(s result.Sample) {
	g.samples = append(g.samples, s)
	if g.progress != nil {
		g.progress(s)
	}
}

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
	g.node, g.addrs = n, []string{n.Addr}
	return nil
}

// Restart replaces the node by a fresh one. It is false when the node is not ours to restart.
func (g *Rig) Restart(ctx context.Context) (bool, error) {
	if g.node == nil {
		g.disconnect()
		return false, nil
	}
	if err := g.Close(); err != nil {
		return false, err
	}
	return true, g.start(ctx)
}

// Close ends connections and node. It reports a node that ended before, or had to be killed.
func (g *Rig) Close() error {
	var err error
	if g.node != nil {
		select {
		case <-g.node.Gone():
			err = errors.New(g.node.LogTail(2000))
		default:
		}
	}
	g.disconnect()
	if g.node != nil {
		if stop := g.node.Stop(); stop != nil {
			err = errors.Join(stop, err)
		}
		g.node = nil
	}
	return err
}

func (g *Rig) disconnect() {
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = g.conns[:0]
}

// addr is where the next connection goes.
func (g *Rig) addr(s side) string {
	if s == publishing || len(g.addrs) == 1 {
		return g.addrs[0]
	}
	g.turn++
	return g.addrs[1+g.turn%(len(g.addrs)-1)]
}

// Dial opens a connection that lives until Close.
func (g *Rig) Dial(ctx context.Context, s side, o load.DialOptions) (load.Conn, error) {
	c, err := g.Target.Dialer.Dial(ctx, g.addr(s), o)
	if err != nil {
		return nil, err
	}
	g.conns = append(g.conns, c)
	return c, nil
}

// Release closes a connection of Dial before the rest.
func (g *Rig) Release(c load.Conn) {
	_ = c.Close()
	g.conns = slices.DeleteFunc(g.conns, func(o load.Conn) bool { return o == c })
}

// Broken returns why the node or a connection ended, if one did.
func (g *Rig) Broken() error {
	if g.node != nil {
		select {
		case <-g.node.Gone():
			return errors.New("the node ended")
		default:
		}
	}
	for i, c := range g.conns {
		if err := c.Err(); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return nil
}

// Name returns an address nobody else uses. id 0: of a group.
func (g *Rig) Name(kind string, id uint64) load.Address {
	g.names++
	return load.Address{Parts: [3]string{"bench", g.run, kind + strconv.Itoa(g.names)}, ID: id}
}

// pid is the process to measure; 0: none.
func (g *Rig) pid() int {
	if g.node != nil {
		return g.node.PID()
	}
	return g.Target.PID
}

// Usage measures the node; false when its process is not known or not there.
func (g *Rig) Usage() (process.Usage, bool) {
	pid := g.pid()
	if pid == 0 {
		return process.Usage{}, false
	}
	u, err := process.Measure(pid)
	return u, err == nil && u.CPU > 0
}

// settled returns the node's resident memory once it stops moving, at the latest after three seconds; false when it cannot
// be measured.
func (g *Rig) settled(ctx context.Context) (int64, bool) {
	u, known := g.Usage()
	for range 12 {
		if !known || sleep(ctx, 250*time.Millisecond) != nil {
			break
		}
		was := u.RSS
		if u, known = g.Usage(); u.RSS-was < 64<<10 && was-u.RSS < 64<<10 {
			break
		}
	}
	return u.RSS, known
}

// sleep waits for d, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
