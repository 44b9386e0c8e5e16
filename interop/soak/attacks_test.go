//go:build interop

package soak

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// attacks are all that the node has to bear at once; that its log stands still comes from this process.
var attacks = []program{
	{"resets", resets},
	{"half-open", halfOpen},
	{"trickle", trickle},
	{"reset-flood", resetFlood},
	{"frame-floods", frameFloods},
	{"negotiations", negotiations},
	{"header-blocks", headerBlocks},
	{"garbage", garbage},
	{"broken", brokenMessages},
	{"headers", largeHeaders},
	{"doubled", doubledFields},
	{"withheld", withheld},
	{"windowless", windowless},
	{"stopped", stoppedReceivers},
	{"trickling", tricklingReceivers},
	{"storm", subscriptionStorm},
	{"false-peers", falsePeers},
	{"false-remotes", falseRemotes},
	{"one-byte", oneByte},
	{"descriptors", manySockets},
	{"log-flood", logFlood},
	{"comings", comings},
}

// dial opens a socket to the node, from an address of this child: so the node's log tells whose it is, and a child that
// comes and goes uses up no ports but its own.
func (c *child) dial(ctx context.Context) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: roundTrip, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(c.number+1))}}
	nc, err := d.DialContext(ctx, "tcp", c.node)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.r.Sockets++
	c.mu.Unlock()
	return nc.(*net.TCPConn), nil
}

// dialUplink is dial for uplink.Options.
func (c *child) dialUplink(ctx context.Context, _ string) (net.Conn, error) {
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, err // not an interface that holds nil
	}
	return nc, nil
}

// again repeats what ends with an error sooner or later, and counts the errors.
func (c *child) again(ctx context.Context, f func() error) error {
	for c.pay(ctx) {
		err := f()
		c.ended(err)
		if err != nil && !pause(ctx, 5*time.Millisecond) { // refused at once: nothing was used up
			break
		}
	}
	return nil
}

// crowd runs f in n goroutines, again and again.
func (c *child) crowd(ctx context.Context, n int, f func(i int) error) error {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { _ = c.again(ctx, func() error { return f(i) }) })
	}
	all.Wait()
	return nil
}

// drain reads and discards until the end, which it returns. within bounds each wait.
func drain(nc net.Conn, within time.Duration) error {
	buf := make([]byte, 16<<10)
	for {
		_ = nc.SetReadDeadline(time.Now().Add(within))
		if _, err := nc.Read(buf); err != nil {
			return err
		}
	}
}

// write writes with a deadline.
func write(nc net.Conn, b []byte) error {
	_ = nc.SetWriteDeadline(time.Now().Add(roundTrip))
	_, err := nc.Write(b)
	return err
}

// hold keeps a socket that ctx may end.
func hold(ctx context.Context, nc net.Conn) (release func()) {
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	return func() {
		stop()
		nc.Close()
	}
}

// resets connects and resets, at every step of the way.
func resets(ctx context.Context, c *child) error {
	opening := openingBytes(1)
	var steps atomic.Int64
	return c.crowd(ctx, 16, func(i int) error {
		step := int(steps.Add(1))
		if i%8 == 7 { // after the negotiation, in the middle of a message
			u, err := c.uplink(ctx, uplink.Options{DialContext: c.dialResetting})
			if err != nil {
				return err
			}
			h := publication(c.name("nobody", 1), c.name("nobody", 2), 1)
			err = u.Publish(ctx, &h, session, blob(60_000))
			u.Abort()
			<-u.Done()
			return err
		}
		nc, err := c.dial(ctx)
		if err != nil {
			return err
		}
		defer nc.Close()
		_ = nc.SetLinger(0) // Close resets
		c.requested(1)
		return write(nc, opening[:len(opening)*(step%4)/3])
	})
}

// dialResetting is dialUplink for a socket whose Close resets.
func (c *child) dialResetting(ctx context.Context, _ string) (net.Conn, error) {
	nc, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	return nc, nc.SetLinger(0)
}

// halfOpen connects and says nothing, or not enough, until the node has had enough.
func halfOpen(ctx context.Context, c *child) error {
	opening := openingBytes(1)
	return c.crowd(ctx, 100, func(i int) error {
		nc, err := c.dial(ctx)
		if err != nil {
			return err
		}
		defer hold(ctx, nc)()
		if err := write(nc, opening[:len(opening)*(i%4)/3]); err != nil {
			return err
		}
		c.requested(1)
		return drain(nc, time.Minute)
	})
}

// trickle sends what is right, a byte at a time: preface, header block, PING, message.
func trickle(ctx context.Context, c *child) error {
	opening := openingBytes(1)
	ping := frame(framePing, 0, 0, make([]byte, 8))
	message := frame(frameData, 0, 1, append([]byte{0, 0, 0, 1, 0}, make([]byte, 256)...))
	parts := [][]byte{opening, opening[len(preface):], repeat(ping, 100), repeat(message, 10)}
	return c.crowd(ctx, 40, func(i int) error {
		nc, err := c.dial(ctx)
		if err != nil {
			return err
		}
		defer hold(ctx, nc)()
		fast := [][]byte{nil, opening[:len(preface)], opening, opening}[i%4]
		if err := write(nc, fast); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- drain(nc, time.Minute) }()
		for _, b := range parts[i%4] {
			if !pause(ctx, 100*time.Millisecond) || write(nc, []byte{b}) != nil {
				break
			}
			c.requested(1)
		}
		return <-ended
	})
}

// manySockets takes all descriptors that the node has, holds them, and lets go.
func manySockets(ctx context.Context, c *child) error {
	return c.again(ctx, func() error {
		var all []net.Conn
		defer func() {
			for _, nc := range all {
				nc.Close()
			}
		}()
		begin := time.Now()
		for len(all) < descriptors && time.Since(begin) < 5*time.Second && c.pay(ctx) {
			nc, err := c.dial(ctx)
			if err != nil {
				return err
			}
			all = append(all, nc)
			c.requested(1)
		}
		pause(ctx, 3*time.Second) // the node accepts what has queued
		for _, nc := range all {
			nc.Close()
		}
		pause(ctx, 2*time.Second)
		return nil
	})
}

// comings are clients that come, say something, and leave in order, all the time.
func comings(ctx context.Context, c *child) error {
	return c.crowd(ctx, 8, func(i int) error {
		u, err := c.uplink(ctx, uplink.Options{})
		if err != nil {
			return err
		}
		defer u.Abort()
		name := c.name("coming", uint64(i))
		h := publication(name, name, 1)
		if _, err := u.Subscribe(ctx, &h); err != nil {
			return err
		}
		for range 10 {
			if err := u.Publish(ctx, &h, session, blob(1000)); err != nil {
				return err
			}
		}
		c.requested(11)
		wait, cancel := context.WithTimeout(ctx, roundTrip)
		defer cancel()
		return u.Close(wait)
	})
}

// oneByte is an honest client whose bytes come and go one at a time. What it publishes must arrive.
func oneByte(ctx context.Context, c *child) error {
	o := uplink.Options{DialContext: func(dialing context.Context, _ string) (net.Conn, error) {
		nc, err := c.dial(dialing)
		if err != nil {
			return nil, err
		}
		return &slowConn{Conn: nc, pay: func() { c.pay(ctx) }, readMost: 1, writeMost: 1}, nil
	}}
	if err := c.converse(ctx, o, []int{100, 1000, 5000}); err != nil {
		return fmt.Errorf("an honest client was ended: %w", err)
	}
	return nil
}

// slowConn is a socket that reads and writes little at a time.
type slowConn struct {
	net.Conn
	pay                 func()        // called for each read and each part of a write; nil: nothing
	readMost, writeMost int           // bytes; 0: any number
	readEvery           time.Duration // before each read
}

func (s *slowConn) Read(b []byte) (int, error) {
	if s.pay != nil {
		s.pay()
	}
	if s.readEvery > 0 {
		pause(context.Background(), s.readEvery)
	}
	if s.readMost > 0 {
		b = b[:min(len(b), s.readMost)]
	}
	return s.Conn.Read(b)
}

func (s *slowConn) Write(b []byte) (n int, err error) {
	if s.writeMost == 0 {
		return s.Conn.Write(b)
	}
	for len(b) > 0 && err == nil {
		var k int
		k, err = s.Conn.Write(b[:min(len(b), s.writeMost)])
		b, n = b[k:], n+k
		if s.pay != nil && n%64 == 0 {
			s.pay()
		}
	}
	return n, err
}
