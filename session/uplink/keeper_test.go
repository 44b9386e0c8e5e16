package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// keep connects a keeper to f. told returns what it told, and forgets it.
func (f *fake) keep(t *testing.T) (k *Keeper, told func() []error) {
	t.Helper()
	var mu sync.Mutex
	var changes []error
	k, err := Keep(t.Context(), Keeping{
		Dial: func(ctx context.Context) (*Conn, error) {
			return Dial(ctx, f.addr, &Options{DialContext: f.nw.Dial, Handle: func([][]byte) {}})
		},
		Changed: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			changes = append(changes, err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close(context.Background()) })
	k.mu.Lock()
	k.nextID = 0 // so that tests can tell of ids
	k.mu.Unlock()
	return k, func() []error {
		settle()
		mu.Lock()
		defer mu.Unlock()
		was := changes
		changes = nil
		return was
	}
}

// asked returns what a node was asked for: the kind and id of each request, in their order.
func asked(t *testing.T, p *peer) (list []string) {
	t.Helper()
	for _, msg := range p.messages() {
		var m wire.Message
		if err := wire.Scan(msg, &m); err != nil {
			t.Fatal(err)
		}
		if m.Kind != wire.KindPublish {
			list = append(list, fmt.Sprint(m.Kind, " ", m.SubID&^keeperIDs))
		}
	}
	return list
}

func TestKeeperComesBackWithItsNames(t *testing.T) {
	bubble(t, new(fake), func(t *testing.T, f *fake) {
		k, told := f.keep(t)
		p := <-f.joined
		var ids []uint64
		for range 3 {
			id, err := k.Subscribe(t.Context(), header(bob))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if err := k.Unsubscribe(t.Context(), ids[1]); err != nil {
			t.Fatal(err)
		}
		if got := asked(t, p); !slices.Equal(got, []string{"subscribe 1", "subscribe 2", "subscribe 3", "unsubscribe 2"}) {
			t.Errorf("the node was asked for %v", got)
		}
		if got := told(); len(got) != 1 || got[0] != nil {
			t.Errorf("told %v", got)
		}
		for range 3 {
			_ = p.nc.Close()
			p = <-f.joined
			if got := asked(t, p); !slices.Equal(got, []string{"subscribe 1", "subscribe 3"}) {
				t.Errorf("the next node was asked for %v", got)
			}
			if got := told(); len(got) != 2 || got[0] == nil || got[1] != nil {
				t.Errorf("told %v", got)
			}
		}
		if err := k.TrySend(publication(1, 10)); err != nil {
			t.Error(err)
		}
		if n := len(p.messages()); n != 3 {
			t.Errorf("%d messages", n)
		}
		if err := k.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := k.TrySend(publication(1, 10)); !errors.Is(err, ErrClosed) {
			t.Errorf("sent afterwards: %v", err)
		}
		if _, err := k.Subscribe(t.Context(), header(bob)); !errors.Is(err, ErrClosed) {
			t.Errorf("subscribed afterwards: %v", err)
		}
		if err := k.Close(t.Context()); err != nil {
			t.Errorf("closed again: %v", err)
		}
	})
}

// While there is no connection, what is sent at once fails, and what may wait waits.
func TestKeeperWithoutConnection(t *testing.T) {
	bubble(t, new(fake), func(t *testing.T, f *fake) {
		k, told := f.keep(t)
		p := <-f.joined
		dial := k.o.Dial
		var mu sync.Mutex
		down := true
		k.o.Dial = func(ctx context.Context) (*Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return nil, errors.New("nobody there")
			}
			return dial(ctx)
		}
		_ = p.nc.Close()
		settle()
		if err := k.TrySend(publication(1, 10)); !errors.Is(err, ErrDown) {
			t.Errorf("sent: %v", err)
		}
		if err := k.Await(t.Context(), 0); !errors.Is(err, ErrDown) {
			t.Errorf("awaited: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Subscribe(short, header(bob)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("subscribed: %v", err)
		}
		if err := k.Send(short, publication(1, 10)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("sent: %v", err)
		}
		done := make(chan error, 2)
		go func() {
			_, err := k.Subscribe(t.Context(), header(bob))
			done <- err
		}()
		go func() { done <- k.Send(t.Context(), publication(1, 10)) }()
		time.Sleep(time.Minute)
		mu.Lock()
		down = false
		mu.Unlock()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if n := len((<-f.joined).messages()); n < 2 || n > 3 { // the name is asked for as one of before, and perhaps once more
			t.Errorf("%d messages", n)
		}
		if got := told(); len(got) < 8 || got[len(got)-1] != nil {
			t.Errorf("told %v", got)
		}
	})
}

func TestKeeperOfARefusedName(t *testing.T) {
	f := new(fake)
	f.message = func(p *peer, _ []byte, m *wire.Message) { p.frame(wire.AppendAck(nil, m.SubID, false, "not yours")) }
	bubble(t, f, func(t *testing.T, f *fake) {
		k, _ := f.keep(t)
		p := <-f.joined
		var refused *NameError
		if _, err := k.Subscribe(t.Context(), header(bob)); !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
		_ = p.nc.Close()
		if got := asked(t, <-f.joined); len(got) != 0 {
			t.Errorf("the next node was asked for %v", got)
		}
	})
}

func TestKeeperThatFindsNobody(t *testing.T) {
	bubble(t, new(fake), func(t *testing.T, f *fake) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cause, tries := errors.New("nobody there"), 0
		_, err := Keep(ctx, Keeping{Dial: func(context.Context) (*Conn, error) {
			tries++
			return nil, cause
		}})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) || tries < 8 || tries > 12 {
			t.Errorf("%v after %d attempts", err, tries)
		}
	})
}

// A node that ends each connection soon after it has taken it is asked ever more seldom; one that ends a connection that has lasted is
// asked at once.
func TestKeeperOfANodeThatEndsConnectionsSoon(t *testing.T) {
	bubble(t, new(fake), func(t *testing.T, f *fake) {
		f.keep(t)
		next := func(lasts time.Duration) (pause time.Duration) {
			p := <-f.joined
			time.Sleep(lasts)
			_ = p.nc.Close()
			begin := time.Now()
			p = <-f.joined
			f.joined <- p
			return time.Since(begin)
		}
		const soon = settled / 10 // when it is there
		for _, c := range []struct{ lasts, pause time.Duration }{{time.Minute, 0}, {settled / 2, 0}, {soon, 500 * time.Millisecond},
			{soon, time.Second}, {soon, 2 * time.Second}, {settled, 0}, {soon, 0}, {soon, 500 * time.Millisecond}} {
			if got := next(c.lasts).Truncate(100 * time.Millisecond); got != c.pause {
				t.Errorf("after a connection of %v it waits for %v, want %v", c.lasts, got, c.pause)
			}
		}
	})
}

func TestBackoffOfKeepers(t *testing.T) {
	for failed, want := range map[int]time.Duration{1: 500 * time.Millisecond, 2: time.Second, 5: 8 * time.Second, 6: 10 * time.Second, 1000: 10 * time.Second} {
		if got := backoff(failed); got != want {
			t.Errorf("after %d failures: %v, want %v", failed, got, want)
		}
	}
}

// Applications at different nodes of a mesh shall not use the same ids, by whichever way they subscribe. Rules: P-sub-9.
func TestIDsBeginAtRandom(t *testing.T) {
	ids := map[uint64]bool{}
	for range 3 {
		bubble(t, new(fake), func(t *testing.T, f *fake) {
			k, err := Keep(t.Context(), Keeping{Dial: func(ctx context.Context) (*Conn, error) {
				return Dial(ctx, f.addr, &Options{DialContext: f.nw.Dial, Handle: func([][]byte) {}})
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = k.Close(context.Background()) }()
			id, err := k.Subscribe(t.Context(), header(bob))
			if err != nil {
				t.Fatal(err)
			}
			ids[id] = true
		})
		var q requests
		r := new(Request)
		if err := q.add(r); err != nil {
			t.Fatal(err)
		}
		ids[r.ID] = true
	}
	if len(ids) != 6 {
		t.Errorf("ids %v: want six that differ", ids)
	}
}
