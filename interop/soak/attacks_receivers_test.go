//go:build interop

package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// group are members that the node must not wait for.
type group []*mux

func (g group) close() {
	for _, m := range g {
		if m != nil {
			m.close()
		}
	}
}

// members subscribes streams of some sockets to a name of this child. None of them reads from then on.
func (c *child) members(ctx context.Context, sockets, streams int, what string, window uint32) (group, error) {
	g, errs := make(group, sockets), make([]error, sockets)
	var all sync.WaitGroup
	for i := range g {
		all.Go(func() {
			if g[i], errs[i] = c.mux(ctx, window); errs[i] == nil {
				errs[i] = c.join(ctx, g[i], streams, what)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

var nextMember atomic.Uint64

func (c *child) join(ctx context.Context, m *mux, streams int, what string) error {
	if err := m.negotiate(ctx, c, streams, wire.LinkEdge, "member"); err != nil {
		return err
	}
	for _, x := range m.streams {
		name := c.name(what, nextMember.Add(1))
		msg := x.signed(publication(name, name, 1), func(h *wire.PublishHeader) []byte { return wire.AppendSubscribe(nil, h, 1) })
		if err := m.put(x, msg); err != nil {
			return err
		}
	}
	for guard := time.Now().Add(roundTrip); c.pay(ctx); {
		missing := 0
		for _, x := range m.streams {
			if x.got == 0 && !x.ended {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		if time.Now().After(guard) {
			return context.DeadlineExceeded
		}
		if err := m.read(time.Second); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// until runs f for a time; that it was ended then is no error.
func (c *child) until(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	stop, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := f(stop); stop.Err() == nil {
		return err
	}
	return nil
}

// spray publishes to all members of a group of this child, as fast as the node takes it.
func (c *child) spray(ctx context.Context, what string, sizes []int) error {
	u, err := c.uplink(ctx, uplink.Options{})
	if err != nil {
		return err
	}
	defer u.Abort()
	h := publication(c.name("sprayer", 1), c.name(what, 0).WithID(wire.Null, wire.Null), 256)
	for i := 0; c.pay(ctx); i++ {
		if err := u.Publish(ctx, &h, session, blob(sizes[i%len(sizes)])); err != nil {
			return err
		}
		c.requested(1)
	}
	return ctx.Err()
}

// windowless has a group of thousands of members whose windows are closed, and publishes to them.
func windowless(ctx context.Context, c *child) error {
	return c.again(ctx, func() error {
		g, err := c.members(ctx, 20, 100, "windowless", 1000)
		if err != nil {
			return err
		}
		defer g.close()
		for _, m := range g {
			m.raw(frame(frameSettings, 0, 0, append([]byte{0, 4}, number(0)...)))
			if err := m.flush(); err != nil {
				return err
			}
		}
		return c.until(ctx, 10*time.Second, func(ctx context.Context) error {
			return c.spray(ctx, "windowless", []int{100, 10, 1000, 60_000})
		})
	})
}

// stoppedReceivers subscribes, and then its sockets are not read any more; some have small buffers.
func stoppedReceivers(ctx context.Context, c *child) error {
	return c.again(ctx, func() error {
		var gates []chan struct{}
		var all []*uplink.Conn
		defer func() {
			for i, u := range all {
				u.Abort()
				close(gates[i])
			}
		}()
		for i := range 12 {
			gate := &gatedConn{}
			u, err := c.uplink(ctx, uplink.Options{DialContext: gate.dial(c, i%2 == 0), Handle: func([][]byte) {}})
			if err != nil {
				return err
			}
			gates = append(gates, make(chan struct{}))
			all = append(all, u)
			name := c.name("stopped", uint64(i))
			h := publication(name, name, 1)
			if _, err := u.Subscribe(ctx, &h); err != nil {
				return err
			}
			gate.shut(gates[i])
		}
		return c.until(ctx, 10*time.Second, func(ctx context.Context) error {
			return c.spray(ctx, "stopped", []int{1000, 100, 60_000, 16_000})
		})
	})
}

// gatedConn is a socket whose reads can be stopped.
type gatedConn struct {
	net.Conn
	mu   sync.Mutex
	gate chan struct{} // guarded by mu; reads wait until it is closed; nil: they do not
}

// dial returns a function that dials this socket, with a small receive buffer or the kernel's default.
func (g *gatedConn) dial(c *child, small bool) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		nc, err := c.dial(ctx)
		if err != nil {
			return nil, err
		}
		if small {
			_ = nc.SetReadBuffer(4 << 10) // a hint
		}
		g.Conn = nc
		return g, nil
	}
}

// shut stops reads after the next one, until gate is closed.
func (g *gatedConn) shut(gate chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gate = gate
}

func (g *gatedConn) Read(b []byte) (int, error) {
	g.mu.Lock()
	gate := g.gate
	g.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return g.Conn.Read(b)
}

// tricklingReceivers read just below the stall rate, just above it, and a little faster, all in a group with one that
// is fast.
func tricklingReceivers(ctx context.Context, c *child) error {
	const floor = 256 << 10 // --stall-rate
	return c.again(ctx, func() error {
		var all []*uplink.Conn
		defer func() {
			for _, u := range all {
				u.Abort()
			}
		}()
		for i, percent := range []int{30, 80, 95, 105, 120, 200, 390, 0} {
			o := uplink.Options{Handle: func([][]byte) {}}
			if percent > 0 {
				const every = 50 * time.Millisecond
				most := floor * percent / 100 / int(time.Second/every)
				o.DialContext = func(ctx context.Context, _ string) (net.Conn, error) {
					nc, err := c.dial(ctx)
					return &slowConn{Conn: nc, readMost: most, readEvery: every}, err
				}
			}
			u, err := c.uplink(ctx, o)
			if err != nil {
				return err
			}
			all = append(all, u)
			name := c.name("trickling", uint64(i))
			h := publication(name, name, 1)
			if _, err := u.Subscribe(ctx, &h); err != nil {
				return err
			}
		}
		return c.until(ctx, 20*time.Second, func(ctx context.Context) error {
			return c.spray(ctx, "trickling", []int{1000, 100, 16_000})
		})
	})
}

// subscriptionStorm subscribes to tens of thousands of names, withdraws some, and leaves with the rest.
func subscriptionStorm(ctx context.Context, c *child) error {
	turn := uint64(0)
	return c.again(ctx, func() error {
		u, err := c.uplink(ctx, uplink.Options{Queue: 1 << 20})
		if err != nil {
			return err
		}
		defer u.Abort()
		turn++
		for i := uint64(0); i < 30_000 && c.pay(ctx); i++ {
			name := c.name("storm", turn<<32|i)
			if i%2 == 0 { // half of them have a prefix of their own
				name = wire.Text("storm", fmt.Sprint(c.number), fmt.Sprint(i)).WithID(turn, i)
			}
			h := publication(name, name, 1)
			if _, err := u.Request(ctx, wire.KindSubscribe, &h, i+1); err != nil {
				return err
			}
			if i%3 == 0 {
				if err := u.Send(ctx, wire.AppendUnsubscribe(nil, &h, i+1)); err != nil {
					return err
				}
			}
			c.requested(1)
		}
		return nil
	})
}

// falsePeers claims to be peers of the node, many on a socket, with thousands of names, and never answers.
func falsePeers(ctx context.Context, c *child) error {
	turn := uint64(0)
	return c.again(ctx, func() error {
		m, err := c.mux(ctx, 0)
		if err != nil {
			return err
		}
		defer m.close()
		turn++
		// Four of them may be on one socket; the others are refused.
		if err := m.negotiate(ctx, c, int([]uint64{4, 1, 100, 2}[turn%4]), wire.LinkPeer, fmt.Sprint("false-", turn)); err != nil {
			return err
		}
		for i := uint64(0); i < 20_000 && c.pay(ctx); i++ {
			name := c.name("peer", turn<<32|i)
			h := publication(name, name, 1)
			x := m.streams[i%uint64(len(m.streams))]
			if err := m.put(x, wire.AppendSubscribe(nil, &h, i+1)); err != nil {
				return err
			}
			c.requested(1)
			if i%500 == 0 { // HTTP/2 is answered, so the windows stay open
				if err := m.read(time.Millisecond); err != nil {
					return err
				}
			}
		}
		if !pause(ctx, 3*time.Second) { // mute
			return ctx.Err()
		}
		return m.read(time.Millisecond)
	})
}

// falseRemotes claims to be nodes of other domains, subscribes to names, and reads nothing.
func falseRemotes(ctx context.Context, c *child) error {
	return c.again(ctx, func() error {
		m, err := c.mux(ctx, 1000)
		if err != nil {
			return err
		}
		defer m.close()
		if err := m.negotiate(ctx, c, 50, wire.LinkRemote, "false"); err != nil {
			return err
		}
		for i, x := range m.streams {
			name := c.name("remote", uint64(i))
			msg := x.signed(publication(name, name, 1), func(h *wire.PublishHeader) []byte { return wire.AppendSubscribe(nil, h, 1) })
			if err := m.put(x, msg); err != nil {
				return err
			}
		}
		return c.until(ctx, 5*time.Second, func(ctx context.Context) error { return c.spray(ctx, "remote", []int{1000, 30_000}) })
	})
}
