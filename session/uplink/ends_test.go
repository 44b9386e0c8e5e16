package uplink

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// Close loses nothing that was accepted, however small windows and buffers are, and says so.
func TestCloseLosesNothing(t *testing.T) {
	bubble(t, &fake{window: 2000}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{Queue: 1 << 20})
		const total = 500
		for i := range total {
			if err := c.TrySend(publication(i, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		if n := len(p.messages()); n != total || !p.ended {
			t.Errorf("%d messages of %d arrived, the end: %v", n, total, p.ended)
		}
		if err := c.Send(t.Context(), publication(0, 10)); !errors.Is(err, ErrClosed) {
			t.Errorf("sent afterwards: %v", err)
		}
		if _, err := c.Receive(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("received afterwards: %v", err)
		}
		if err := c.Close(t.Context()); err != nil || !errors.Is(c.Err(), ErrClosed) {
			t.Errorf("closed again: %v, %v", err, c.Err())
		}
		if c.NewMAC() != nil {
			t.Error("there is a key when all is over")
		}
	})
}

// What came before Close can be received after it; what comes meanwhile is dropped and holds nobody up.
func TestCloseGoesOnReading(t *testing.T) {
	bubble(t, &fake{stay: true}, func(t *testing.T, f *fake) {
		const window = 64 << 10
		c, p := f.dial(Options{Window: window})
		p.send(publication(1, 50))
		settle()
		closed := make(chan error)
		go func() { closed <- c.Close(t.Context()) }()
		settle()
		p.do(func() {
			for i := range 200 {
				p.frame(p.sign(publication(i, 1000)))
			}
		})
		p.end(0)
		if err := <-closed; err != nil {
			t.Errorf("close: %v", err)
		}
		if number(receive(t, c), 50) != 1 {
			t.Error("what came before is gone")
		}
		if _, err := c.Receive(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if s := c.Stats(); s.Discarded != 200 {
			t.Errorf("%+v", s)
		}
	})
}

// Close returns with its context, or with the connection, and then says that something may be lost.
func TestCloseTellsWhatItCouldNot(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      fake
		then   func(*peer)
		cause  error
		within time.Duration
	}{
		{"the node takes nothing", fake{hold: true, window: 2000}, nil, context.DeadlineExceeded, time.Minute},
		{"the node does not end", fake{stay: true}, nil, context.DeadlineExceeded, time.Minute},
		{"the node hangs up", fake{stay: true}, func(p *peer) { _ = p.nc.Close() }, io.EOF, time.Second},
		{"the network breaks", fake{stay: true}, func(p *peer) { p.nc.Reset() }, syscall.ECONNRESET, time.Second},
		{"the node ends first", fake{hold: true, window: 2000}, func(p *peer) { p.end(0) }, ErrEnded, time.Second},
		{"the node refuses", fake{stay: true}, func(p *peer) { p.end(7) }, nil, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, &c.f, func(t *testing.T, f *fake) {
				con, p := f.dial(Options{})
				for i := range 10 {
					if err := con.Send(t.Context(), publication(i, 1000)); err != nil {
						t.Fatal(err)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if c.then != nil {
					time.AfterFunc(100*time.Millisecond, func() { c.then(p) })
				}
				begin := time.Now()
				err := con.Close(ctx)
				if !errors.Is(err, ErrUnsent) || c.cause != nil && !errors.Is(err, c.cause) {
					t.Errorf("got %v, want %v", err, c.cause)
				}
				if took := time.Since(begin); took > c.within {
					t.Errorf("it took %v, want %v", took, c.within)
				}
			})
		})
	}
}

// Senders that wait when Close is called have not been accepted.
func TestCloseSendsWaitersAway(t *testing.T) {
	bubble(t, &fake{hold: true, window: 2000}, func(t *testing.T, f *fake) {
		c, _ := f.dial(Options{Queue: 1000})
		for c.TrySend(publication(0, 500)) == nil {
			settle()
		}
		var done sync.WaitGroup
		for range 5 {
			done.Go(func() {
				if err := c.Send(t.Context(), publication(0, 500)); !errors.Is(err, ErrClosed) {
					t.Errorf("got %v", err)
				}
			})
		}
		settle()
		ctx, cancel := context.WithCancel(t.Context())
		closed := make(chan error)
		go func() { closed <- c.Close(ctx) }()
		done.Wait()
		cancel()
		if err := <-closed; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// Abort ends all that waits, whatever it waits for.
func TestAbortEndsWaiting(t *testing.T) {
	bubble(t, &fake{hold: true, window: 2000, stay: true}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{Queue: 1000})
		for c.TrySend(publication(0, 500)) == nil {
			settle()
		}
		var done sync.WaitGroup
		for _, wait := range []func() error{
			func() error { return c.Send(t.Context(), publication(0, 500)) },
			func() error { _, err := c.Receive(t.Context()); return err },
			func() error { return c.Close(t.Context()) },
		} {
			done.Go(func() {
				if err := wait(); !errors.Is(err, ErrClosed) {
					t.Errorf("got %v", err)
				}
			})
		}
		settle()
		c.Abort()
		done.Wait()
		<-c.Done()
		settle()
		if p.mu.Lock(); !p.gone {
			t.Error("the node still sees a connection")
		}
		p.mu.Unlock()
	})
}

// The node's end is told with its reason, behind what it sent before.
func TestNodeEndsTheConnection(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(*peer)
		fault Fault
		text  string
	}{
		{"in order", func(p *peer) { p.status = 0 }, Node, "the node ended the channel"},
		{"with a status", func(p *peer) { p.status = 7 }, Node, `gRPC status 7: "as the test wants"`},
		{"by hanging up", func(p *peer) { _ = p.nc.CloseWrite() }, Network, "EOF"},
		{"by a farewell", func(p *peer) {
			p.h2.GoAwayNow(h2.EnhanceYourCalm, "too much", false)
			p.h2.Reset(p.stream, h2.Cancel)
		}, Node, "CANCEL"},
		{"by breaking HTTP/2", func(p *peer) { p.raw = []byte("\x00\x00\x00\x05\x04\x00\x00\x00\x01") }, Node,
			"PUSH_PROMISE"},
		{"in the midst of a message", func(p *peer) {
			p.queue = append(p.queue, 0, 0, 0, 1, 0, 1, 2, 3)
			p.status = 0
		}, Node, "broken"},
		{"with a message too large", func(p *peer) { p.queue = append(p.queue, 0, 0x7f, 0, 0, 0) }, Node, "limit"},
		{"with a compressed message", func(p *peer) { p.queue = append(p.queue, 1, 0, 0, 0, 0) }, Node, "compressed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, &fake{}, func(t *testing.T, f *fake) {
				con, p := f.dial(Options{})
				p.send(publication(1, 50))
				settle()
				p.do(func() { c.end(p) })
				if number(receive(t, con), 50) != 1 {
					t.Error("what was sent before is gone")
				}
				_, err := con.Receive(t.Context())
				var e *Error
				if !errors.As(err, &e) || e.Fault != c.fault || !strings.Contains(err.Error(), c.text) || con.Err() != err {
					t.Errorf("got %v, want %v: %s", err, c.fault, c.text)
				}
				select {
				case <-con.Done():
				default:
					t.Error("it still runs")
				}
			})
		})
	}
}

// A farewell that leaves the channel alone changes nothing yet.
func TestFarewellLetsTheChannelGoOn(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		p.do(func() { p.h2.GoAwayNow(h2.NoError, "soon", true) })
		settle()
		p.send(publication(1, 50))
		receive(t, c)
		if err := errors.Join(c.Send(t.Context(), publication(2, 50)), c.Close(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// After a write has failed, what the node had sent before is still received.
func TestFailedWriteLeavesWhatWasReceived(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		f.nw.Buffer = 8 << 20
		c, p := f.dial(Options{ReadBuffer: 1024})
		const total = 300
		p.do(func() {
			for i := range total {
				p.frame(p.sign(publication(i, 500)))
			}
			p.status = 0
		})
		settle()
		_ = p.nc.Close() // nothing is unread: what it sent arrives
		for i := range total {
			if got := number(receive(t, c), 500); got != i {
				t.Fatalf("message %d is %d", i, got)
			}
			_ = c.TrySend(publication(i, 500)) // fails, or is in vain
		}
		if _, err := c.Receive(t.Context()); err == nil {
			t.Error("no end")
		}
	})
}

// The same while the app lags behind: the writes fail long before the reads are through.
func TestFailedWriteDoesNotStopTheReader(t *testing.T) {
	enter, leave := make(chan int), make(chan struct{})
	o := Options{ReadBuffer: 1024, Handle: func(msgs [][]byte) { enter <- len(msgs); <-leave }}
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		enter, leave = make(chan int), make(chan struct{})
		f.nw.Buffer = 8 << 20
		c, p := f.dial(o)
		const total = 300
		p.do(func() {
			for i := range total {
				p.frame(p.sign(publication(i, 500)))
			}
		})
		got := <-enter
		settle()
		_ = p.nc.Close()
		_ = c.TrySend(publication(0, 500))
		settle()
		if err := c.TrySend(publication(0, 500)); err == nil || !strings.Contains(err.Error(), "writing") {
			t.Errorf("sent after a failed write: %v", err)
		}
		for got < total {
			leave <- struct{}{}
			got += <-enter
		}
		leave <- struct{}{}
		<-c.Done()
		if err := c.Err(); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("got %v", err)
		}
	})
}

// deaf is a connection whose writes fail from some time on; nothing comes of it either.
type deaf struct {
	net.Conn
	fails atomic.Bool
}

func (d *deaf) Write(b []byte) (int, error) {
	if d.fails.Load() {
		return 0, syscall.EPIPE
	}
	return d.Conn.Write(b)
}

// Where writing has failed and nothing comes the connection ends soon, with no keepalive, too.
func TestAFailedWriteEndsASilentConnection(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		d := &deaf{}
		c, err := Dial(t.Context(), f.addr, &Options{DialContext: func(ctx context.Context, addr string) (net.Conn, error) {
			var err error
			d.Conn, err = f.nw.Dial(ctx, addr)
			return d, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer abandon(c)
		<-f.joined
		d.fails.Store(true)
		_ = c.TrySend(publication(0, 50))
		time.Sleep(2 * lastRead)
		synctest.Wait()
		if err := c.Err(); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("after twice the time: %v", err)
		}
	})
}

func TestSilentNodesAreAsked(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, _ := f.dial(Options{Keepalive: 30 * time.Second})
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.Err() != nil {
			t.Errorf("a living node was given up: %v", c.Err())
		}
	})
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{Keepalive: 30 * time.Second, Pong: 5 * time.Second})
		p.do(func() { p.gone = true }) // its writer ends: it hears all and answers nothing
		begin := time.Now()
		<-c.Done()
		var e *Error
		err := c.Err()
		if !errors.As(err, &e) || e.Fault != Network || !strings.Contains(err.Error(), "no answer to a PING for 5s") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took < 35*time.Second || took > 65*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		p.do(func() { p.gone = true })
		time.Sleep(24 * time.Hour)
		if c.Err() != nil {
			t.Errorf("without keepalive: %v", c.Err())
		}
	})
}

// A node may ask for signs of life for as long as it likes.
func TestNodesPingsDoNotAddUp(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		for range 10_000 {
			p.do(p.h2.Ping)
			time.Sleep(10 * time.Second)
		}
		if c.Err() != nil {
			t.Errorf("after a day of PINGs: %v", c.Err())
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.pings != 10_000 {
			t.Errorf("%d of 10,000 were answered", p.pings)
		}
	})
}

// Nodes that flood, or do not read, cost a bounded amount of memory, and then the connection.
func TestHostileNodesAreCutOff(t *testing.T) {
	ping := "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
	t.Run("PINGs", func(t *testing.T) {
		bubble(t, &fake{}, func(t *testing.T, f *fake) {
			c, p := f.dial(Options{})
			p.do(func() { p.raw = []byte(strings.Repeat(ping, 10_000)) })
			<-c.Done()
			var e *h2.ConnError
			if err := c.Err(); !errors.As(err, &e) || e.Flood != h2.FloodPing {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("PINGs that DATA pays for, and no reading", func(t *testing.T) {
		bubble(t, &fake{}, func(t *testing.T, f *fake) {
			f.nw.Buffer = 32 << 10
			var wrote int64
			c, p := f.dial(Options{Handle: func([][]byte) {}})
			p.do(func() { p.gone = true })
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				msg := AppendFrame(nil, p.sign(publication(1, 12000)))
				var frame []byte
				frame = append(frame, byte(len(msg)>>16), byte(len(msg)>>8), byte(len(msg)), 0, 0, 0, 0, 0, 1)
				frame = append(append(frame, msg...), strings.Repeat(ping, 40)...)
				for {
					n, err := p.nc.Write(frame)
					if wrote += int64(n); err != nil {
						return
					}
				}
			}()
			<-c.Done()
			<-stop
			if err := c.Err(); !errors.Is(err, errUnread) {
				t.Errorf("got %v after %d bytes", err, wrote)
			}
			if wrote > 20<<20 {
				t.Errorf("it could send %d bytes without reading", wrote)
			}
		})
	})
	t.Run("nothing read, Close", func(t *testing.T) {
		bubble(t, &fake{serve: func(nc *simnet.Conn) {}}, func(t *testing.T, f *fake) {
			_ = f.refuses(Options{Setup: time.Second})
		})
	})
}
