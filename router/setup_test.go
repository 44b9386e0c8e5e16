package router

import (
	"testing"
	"testing/synctest"

	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// What a stream took that was opened and reset is free again before its negotiation would have run out.
func TestStreamsThatEndAtOnceAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock stands still
		r := newRig(t, 1, Options{})
		const sockets, streams = 30, 200
		l := r.n.loops[0]
		most := 0
		for range sockets {
			p := r.connect(0)
			for range streams {
				p.open()
				p.cli.Reset(p.s, h2.Cancel)
				p.exchange()
				most = max(most, len(l.setup))
			}
			p.abandon()
		}
		if most > 64 {
			t.Errorf("%d connections were waited for of which none was open", most)
		}
		// Those that are there are still waited for, and end in time.
		p := r.connect(0)
		p.open()
		r.seconds(10)
		p.exchange()
		if p.end == nil || len(l.setup) != 0 {
			t.Errorf("stream end %+v, %d waited for", p.end, len(l.setup))
		}
	})
}
