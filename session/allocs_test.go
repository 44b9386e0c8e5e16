//go:build !race

package session

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// A message of a plain session that is reliable costs its two apps few objects, with 64 under way: the data itself, as it is sent
// and as it came, a Delivery, a Message, and what is kept of it to be repeated.
func TestAllocsOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := make([]*App, 2)
		links := make([]*pipeLink, 2)
		for i, name := range []string{"alice", "bob"} {
			var err error
			apps[i], err = Connect(t.Context(), Options{
				Name: MustName("org/ns/" + name), Secret: secret, Workers: 1, Link: func(_ context.Context, from Incoming) (Link, error) {
					links[i] = newPipeLink(from)
					return links[i], nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		links[0].to, links[1].to = links[1], links[0]
		l := listen(t, apps[1])
		a, err := apps[0].Open(t.Context(), MustName("org/ns/bob"), SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		content := Content{Data: make([]byte, 100)}
		const under = 64
		var all [under]*Delivery
		exchange := func() {
			for i := range all {
				if all[i], err = a.Publish(t.Context(), content); err != nil {
					t.Fatal(err)
				}
			}
			for i := range all {
				if _, err := b.Receive(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := all[i].Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 100 {
			exchange()
		}
		const times = 200
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			exchange()
		}
		runtime.ReadMemStats(&after)
		objects := float64(after.Mallocs-before.Mallocs) / times / under
		size := float64(after.TotalAlloc-before.TotalAlloc) / times / under
		t.Logf("a message costs %.1f objects and %.0f bytes", objects, size)
		if objects > 8 || size > 2500 {
			t.Errorf("a message costs %.1f objects and %.0f bytes", objects, size)
		}
		for _, app := range apps {
			if err := app.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// pipeLink brings everything that has come in a millisecond to one other app, and uses its memory again.
type pipeLink struct {
	from Incoming
	to   *pipeLink
	done chan struct{}
	stop chan struct{}

	mu    sync.Mutex
	batch [][]byte // guarded by mu
}

func newPipeLink(from Incoming) *pipeLink {
	l := &pipeLink{from: from, done: make(chan struct{}), stop: make(chan struct{})}
	from.Changed(nil)
	go l.run()
	return l
}

func (l *pipeLink) run() {
	defer close(l.done)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var batch [][]byte
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		l.mu.Lock()
		l.batch, batch = batch[:0], l.batch
		l.mu.Unlock()
		if len(batch) > 0 {
			l.from.Messages(batch)
		}
	}
}

func (l *pipeLink) TrySend(b []byte) error {
	to := l.to
	to.mu.Lock()
	defer to.mu.Unlock()
	if n := len(to.batch); n < cap(to.batch) { // what lay there has been read
		to.batch = to.batch[:n+1]
		to.batch[n] = append(to.batch[n][:0], b...)
		return nil
	}
	to.batch = append(to.batch, bytes.Clone(b))
	return nil
}

func (l *pipeLink) Await(context.Context, int) error { return nil }

func (l *pipeLink) Subscribe(context.Context, *wire.PublishHeader) (uint64, error) { return 1, nil }

func (l *pipeLink) Unsubscribe(context.Context, uint64) error { return nil }

func (l *pipeLink) Close(context.Context) error {
	close(l.stop)
	<-l.done
	return nil
}
