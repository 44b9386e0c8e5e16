//go:build !race

package reliable

import (
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// A message costs a sender one object, from when it is published until it is acknowledged, and a receiver none.
func TestAllocsOfAMessage(t *testing.T) {
	o, now := Options{Interval: time.Second, Retries: 10}, time.Unix(1e9, 0)
	name := wire.Text("org", "ns", "bob")
	s, p := NewSender[string](o, 0), text("text")
	s.Add(name, now)
	if n := testing.AllocsPerRun(1000, func() {
		for range 64 {
			if _, err := s.Publish(p, "text", now); err != nil {
				t.Fatal(err)
			}
		}
		for i := range s.Out {
			s.Sent(s.Out[i].Send.Copy, Departed, now)
		}
		s.Acks(s.Last()-63, s.Last(), name, now)
		if n := len(s.Out); n != 128 {
			t.Fatalf("%d outputs", n)
		}
		s.Out = s.Out[:0]
		s.Deadline() // lets go of what is acknowledged
	}); n > 65 { // the map grows anew now and then
		t.Errorf("64 messages cost a sender %v objects", n)
	}
	r, id := NewReceiver[int](o, true), uint32(0)
	if n := testing.AllocsPerRun(1000, func() {
		for range 64 {
			id++
			r.Receive(name, id, 0, 100, Start{}, now)
		}
		r.Out = r.Out[:0]
	}); n != 0 {
		t.Errorf("64 messages cost a receiver %v objects", n)
	}
}
