package uplink

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted is a socket that counts what is written to it.
type counted struct {
	net.Conn
	n atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// dialCounted is dial with the socket between.
func (f *fake) dialCounted(o Options) (*Conn, *peer, *counted) {
	f.t.Helper()
	var nc *counted
	o.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := f.nw.Dial(ctx, addr)
		nc = &counted{Conn: c}
		return nc, err
	}
	c, err := Dial(f.t.Context(), f.addr, &o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { abandon(c) })
	return c, <-f.joined, nc
}

// signedBatch is messages from..to-1 as their maker has signed them.
func signedBatch(t *testing.T, c *Conn, from, to, size int) (batch []byte) {
	t.Helper()
	own := signer{hasher: hasher{mac: c.NewMAC(), linkID: c.Link().ID}}
	defer own.close()
	for i := from; i < to; i++ {
		head, tail, err := own.sign(publication(i, size))
		if err != nil {
			t.Fatal(err)
		}
		batch = append(append(batch, head...), tail...)
	}
	return batch
}

func TestWriteThroughIsWithTheKernel(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p, nc := f.dialCounted(Options{})
		for i := range 10 {
			batch := signedBatch(t, c, 20*i, 20*i+20, 100)
			before := nc.n.Load()
			if err := c.WriteThrough(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			if n := nc.n.Load() - before; n < int64(len(batch)) {
				t.Fatalf("%d bytes of %d are written", n, len(batch))
			}
		}
		for i, msg := range p.messages() {
			if number(msg, 100) != i {
				t.Fatalf("message %d is %d", i, number(msg, 100))
			}
		}
		if err := c.WriteThrough(t.Context(), []byte{1, 2, 3}); err == nil {
			t.Error("half a batch was taken")
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.WriteThrough(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if n := len(p.messages()); n != 200 {
			t.Errorf("%d messages of 200", n)
		}
	})
}

// While the node's window is closed WriteThrough waits, and that is counted. What it had accepted when its context
// ended is sent all the same, once.
func TestWriteThroughWaitsForTheWindow(t *testing.T) {
	bubble(t, &fake{hold: true, window: 3000}, func(t *testing.T, f *fake) {
		c, p, _ := f.dialCounted(Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.WriteThrough(ctx, signedBatch(t, c, 0, 5, 1000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if w := c.Waited(); w != time.Minute {
			t.Errorf("waited %v", w)
		}
		var sent error
		var done sync.WaitGroup
		done.Go(func() { sent = c.WriteThrough(t.Context(), signedBatch(t, c, 5, 10, 1000)) })
		settle()
		p.do(func() {
			p.f.hold = false
			for _, m := range p.got {
				p.h2.Hold(p.stream, -len(m)-prefixLen)
			}
		})
		done.Wait()
		if sent != nil {
			t.Error(sent)
		}
		for i, msg := range p.messages() {
			if number(msg, 1000) != i {
				t.Fatalf("message %d is %d", i, number(msg, 1000))
			}
		}
		if n := len(p.messages()); n != 10 {
			t.Errorf("%d messages of 10", n)
		}
	})
}

// The end of the connection ends a WriteThrough that waits, and Close waits for what it has accepted.
func TestWriteThroughEnds(t *testing.T) {
	bubble(t, &fake{hold: true, window: 3000}, func(t *testing.T, f *fake) {
		c, _, _ := f.dialCounted(Options{})
		var sent error
		var done sync.WaitGroup
		done.Go(func() { sent = c.WriteThrough(t.Context(), signedBatch(t, c, 0, 5, 1000)) })
		settle()
		c.Abort()
		done.Wait()
		if !errors.Is(sent, ErrClosed) {
			t.Errorf("after Abort: %v", sent)
		}
		<-c.Done()

		c, p, _ := f.dialCounted(Options{})
		done.Go(func() { sent = c.WriteThrough(t.Context(), signedBatch(t, c, 0, 5, 1000)) })
		settle()
		var closed error
		done.Go(func() { closed = c.Close(t.Context()) })
		settle()
		p.do(func() {
			p.f.hold = false
			for _, m := range p.got {
				p.h2.Hold(p.stream, -len(m)-prefixLen)
			}
		})
		done.Wait()
		if n := len(p.messages()); closed != nil || sent != nil || n != 5 {
			t.Errorf("closed %v, sent %v, %d messages", closed, sent, n)
		}

		c, p, _ = f.dialCounted(Options{})
		p.nc.Reset()
		settle()
		if err := c.WriteThrough(t.Context(), signedBatch(t, c, 0, 1, 100)); err == nil {
			t.Error("no error on a socket that was reset")
		}
	})
}

// stuck is a socket that takes nothing once it is armed, until it is closed.
type stuck struct {
	net.Conn
	armed  atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	if s.armed.Load() {
		<-s.closed
	}
	return s.Conn.Write(b)
}

func (s *stuck) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Conn.Close()
}

// The connection ends while its socket takes nothing: so do its goroutines, and whoever writes or waits.
func TestWriteThroughOfASocketThatTakesNothing(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		nc := &stuck{closed: make(chan struct{})}
		c, err := Dial(t.Context(), f.addr, &Options{DialContext: func(ctx context.Context, addr string) (_ net.Conn, err error) {
			nc.Conn, err = f.nw.Dial(ctx, addr)
			return nc, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		nc.armed.Store(true)
		var sent [3]error
		var done sync.WaitGroup
		for i := range sent {
			batch := signedBatch(t, c, 0, 1, 100)
			done.Go(func() { sent[i] = c.WriteThrough(t.Context(), batch) })
		}
		settle()
		c.Abort()
		done.Wait()
		<-c.Done()
		if w := c.Waited(); w != 0 {
			t.Errorf("waited %v for the socket, which counts that itself", w)
		}
		for i, err := range sent {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("sender %d: %v", i, err)
			}
		}
	})
}
