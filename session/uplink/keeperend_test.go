package uplink

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// insider is a node in this process, as far as apps see it.
type insider struct {
	over atomic.Bool
	ends chan *pool.Duplex // of those who have come; has room
}

func (n *insider) Loops() int { return 1 }

func (n *insider) Attach(_ context.Context, _ string, end *pool.Duplex) error {
	if n.over.Load() {
		return net.ErrClosed
	}
	end.OnWake(func() {}, func() {})
	n.ends <- end
	return nil
}

// A node in this process that is over does not come back: nobody waits for it, and everything says why. One that takes nobody for
// another reason is asked again.
func TestKeeperOfANodeThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &insider{ends: make(chan *pool.Duplex, 1)}
		var refusals atomic.Int32
		var last atomic.Value
		keeping := Keeping{
			Attach: func(ctx context.Context) (*Local, error) {
				if refusals.Add(-1) >= 0 {
					return nil, errors.New("no more of you")
				}
				return Attach(ctx, n, &LocalOptions{Handle: func([][]byte) {}})
			},
			Changed: func(err error) { last.Store(&err) },
		}
		refusals.Store(3)
		k, err := Keep(t.Context(), keeping)
		if err != nil {
			t.Fatal(err)
		}
		end := <-n.ends
		asked := make(chan error, 2)
		go func() {
			_, err := k.Subscribe(t.Context(), header(bob))
			asked <- err
		}()
		synctest.Wait()
		n.over.Store(true)
		end.Out.End(0, "")
		end.In.Shut()
		var left [1]*pool.Buf // the request
		if end.In.Take(left[:], 1<<20) == 1 {
			left[0].Release()
		}
		began := time.Now()
		if err := <-asked; !errors.Is(err, ErrOver) {
			t.Errorf("Subscribe that waits: %v", err)
		}
		synctest.Wait()
		if err := *last.Load().(*error); !errors.Is(err, ErrOver) {
			t.Errorf("told last: %v", err)
		}
		if err := k.TrySend(publication(1, 10)); !errors.Is(err, ErrOver) {
			t.Errorf("TrySend: %v", err)
		}
		if err := k.Send(t.Context(), publication(1, 10)); !errors.Is(err, ErrOver) {
			t.Errorf("Send: %v", err)
		}
		if _, err := k.Subscribe(t.Context(), header(bob)); !errors.Is(err, ErrOver) {
			t.Errorf("Subscribe: %v", err)
		}
		if err := k.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := k.TrySend(publication(1, 10)); !errors.Is(err, ErrClosed) {
			t.Errorf("TrySend after Close: %v", err)
		}
		if _, err := Keep(t.Context(), keeping); !errors.Is(err, ErrOver) {
			t.Errorf("another one: %v", err)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %v", d)
		}
	})
}

// A name that was asked for on a connection that has ended meanwhile is asked for on the next.
func TestKeeperLosesItsConnectionWhileItAsks(t *testing.T) {
	silent := true
	f := new(fake)
	f.message = func(p *peer, _ []byte, m *wire.Message) {
		if !silent {
			p.frame(wire.AppendAck(nil, m.SubID, true, ""))
		}
	}
	bubble(t, f, func(t *testing.T, f *fake) {
		k, _ := f.keep(t)
		p := <-f.joined
		done := make(chan error, 1)
		go func() {
			_, err := k.Subscribe(t.Context(), header(bob))
			done <- err
		}()
		settle()
		p.mu.Lock()
		silent = false
		p.mu.Unlock()
		_ = p.nc.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(asked(t, <-f.joined)) == 0 {
			t.Error("the next node was not asked")
		}
	})
}

// What is given up before the node has answered is withdrawn: else the node would send for ever what nobody wants.
func TestKeeperWithdrawsWhatItHasGivenUp(t *testing.T) {
	silent := true
	f := new(fake)
	f.message = func(p *peer, _ []byte, m *wire.Message) {
		if !silent {
			p.frame(wire.AppendAck(nil, m.SubID, true, ""))
		}
	}
	bubble(t, f, func(t *testing.T, f *fake) {
		k, _ := f.keep(t)
		p := <-f.joined
		speak := func(p *peer, speaks bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			silent = !speaks
		}
		give := func(what string, call func(ctx context.Context) error, p *peer, want ...string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", what, err)
			}
			settle()
			if got := asked(t, p); !slices.Equal(got, want) {
				t.Errorf("%s: the node was asked for %v, want %v", what, got, want)
			}
		}
		give("subscribing", func(ctx context.Context) error { _, err := k.Subscribe(ctx, header(bob)); return err }, p, "subscribe 1", "unsubscribe 1")

		speak(p, true)
		var ids []uint64
		for range 2 {
			id, err := k.Subscribe(t.Context(), header(bob))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		speak(p, false)
		_ = p.nc.Close()
		p = <-f.joined
		settle()
		if err := k.Unsubscribe(t.Context(), ids[0]); err != nil { // while the next node is being asked for it
			t.Error(err)
		}
		give("subscribing meanwhile", func(ctx context.Context) error { _, err := k.Subscribe(ctx, header(bob)); return err }, p, "subscribe 2", "subscribe 3")
		speak(p, true)
		for _, id := range ids {
			p.send(wire.AppendAck(nil, id, true, ""))
		}
		settle()
		if got := asked(t, p); !slices.Equal(got, []string{"subscribe 2", "subscribe 3", "unsubscribe 2"}) {
			t.Errorf("when there is a connection again the node was asked for %v", got)
		}
	})
}

// A keeper that is closed while it asks for its names again leaves no connection behind.
func TestKeeperIsClosedWhileItAsksAgain(t *testing.T) {
	silent := false
	f := new(fake)
	f.message = func(p *peer, _ []byte, m *wire.Message) {
		if !silent {
			p.frame(wire.AppendAck(nil, m.SubID, true, ""))
		}
	}
	bubble(t, f, func(t *testing.T, f *fake) {
		k, _ := f.keep(t)
		p := <-f.joined
		if _, err := k.Subscribe(t.Context(), header(bob)); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		silent = true
		p.mu.Unlock()
		_ = p.nc.Close()
		p = <-f.joined
		settle()
		if err := k.Close(t.Context()); err != nil {
			t.Error(err)
		}
		settle()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.gone {
			t.Error("the connection is left open")
		}
	})
}

// A connection that comes about although the keeper was closed meanwhile is not used.
func TestKeeperIsClosedWhileItConnects(t *testing.T) {
	bubble(t, new(fake), func(t *testing.T, f *fake) {
		k, told := f.keep(t)
		p := <-f.joined
		dial, closed := k.o.Dial, make(chan error, 1)
		k.o.Dial = func(context.Context) (*Conn, error) {
			go func() { closed <- k.Close(t.Context()) }()
			settle()
			return dial(t.Context())
		}
		told()
		_ = p.nc.Close()
		p = <-f.joined
		if err := <-closed; err != nil {
			t.Error(err)
		}
		settle()
		p.mu.Lock()
		gone := p.gone
		p.mu.Unlock()
		if !gone {
			t.Error("the connection is left open")
		}
		for _, err := range told() {
			if err == nil {
				t.Error("told of a connection")
			}
		}
	})
}
