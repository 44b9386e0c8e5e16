//go:build !race

package uplink

import (
	"context"
	"testing"
)

// Not under the race detector: there crypto/sha256 allocates when it saves its state.
func TestAllocsOfAMessage(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		o    Options
		f    func(*testing.T, *Conn) func()
	}{
		{"Publish", Options{}, func(t *testing.T, c *Conn) func() {
			h, body := header(bob), content(0, 100)
			return func() { must(t, c.Publish(ctx, h, testSession, body)) }
		}},
		{"Send", Options{}, func(t *testing.T, c *Conn) func() {
			msg := publication(1, 100)
			return func() { must(t, c.Send(ctx, msg)) }
		}},
		{"Write", Options{}, func(t *testing.T, c *Conn) func() {
			batch := AppendFrame(AppendFrame(nil, publication(1, 100)), publication(1, 100))
			return func() { must(t, c.Write(ctx, batch)) }
		}},
		{"WriteThrough", Options{}, func(t *testing.T, c *Conn) func() {
			batch := AppendFrame(AppendFrame(nil, publication(1, 100)), publication(1, 100))
			return func() { must(t, c.WriteThrough(ctx, batch)) }
		}},
		{"Receive", Options{}, func(t *testing.T, c *Conn) func() {
			frame := fromNode(t, publication(1, 100), publication(2, 100))
			return func() {
				c.take(frame)
				for range 2 {
					_, err := c.Receive(ctx)
					must(t, err)
				}
			}
		}},
		{"Handle", Options{Handle: func([][]byte) {}}, func(t *testing.T, c *Conn) func() {
			frame := fromNode(t, publication(1, 100), publication(2, 100))
			return func() { c.take(frame) }
		}},
	} {
		con := byHand(t, c.o)
		run := c.f(t, con)
		for range 1000 { // buffers grow to their size
			run()
		}
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
		if err := con.Err(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func must(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}
