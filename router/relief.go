package router

import (
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

const (
	// reliefGrowth is how much the process must have grown for its memory to be given back at once.
	reliefGrowth = 32 << 20
	// reliefTicks is for how many ticks messages must take little. Each time that little came of it this is doubled, up
	// to reliefRarely: as rare as what the collector does by itself.
	reliefTicks  = 3
	reliefRarely = 120
)

// relief gives memory back to the system after a burst. The collector runs when memory is taken, and an idle node takes
// none: what a burst has left would stay for minutes. Owned by the first loop.
type relief struct {
	least int64 // that the process ever held, bytes
	last  int64 // that it held when memory had been given back
	calm  int   // ticks since messages took more than an eighth of what it has grown by
	wait  int   // ticks that must be calm
	begun bool  // memory has been given back since the last tick

	running atomic.Bool // memory is being given back, on another goroutine
}

// due lets a tick pass in which the process holds held bytes, taken of them by messages, and reports whether it is
// time.
func (r *relief) due(held, taken int64) bool {
	if r.least == 0 || held < r.least {
		r.least = held
	}
	if r.begun {
		r.begun, r.last = false, held
	}
	grown := held - r.least
	if grown < reliefGrowth || held-r.last >= max(reliefGrowth, r.last/2) {
		r.wait = reliefTicks // another burst
	}
	if grown < reliefGrowth || taken > grown/8 {
		r.calm = 0
		return false
	}
	r.calm++
	return r.calm >= r.wait
}

// begin says that memory is being given back.
func (r *relief) begin() {
	r.calm, r.begun = 0, true
	r.wait = min(2*r.wait, reliefRarely)
	r.running.Store(true)
}

// relieve gives back what the last burst has left, if there was one and it is over.
func (n *Node) relieve() {
	taken := int64(0)
	for _, l := range n.loops {
		s := &l.n.shown
		taken += s.waitBytes.Load() + s.unfinished.Load()
	}
	if n.relief.running.Load() || !n.relief.due(heldMemory(), taken) {
		return
	}
	n.relief.begin()
	n.chores.aside(func() {
		defer n.relief.running.Store(false)
		for range 2 { // pools give their memory up in two rounds
			debug.FreeOSMemory()
		}
	})
}

// heldMemory is how many bytes the runtime has of the system: a look of some microseconds that stops nothing.
func heldMemory() int64 {
	samples := [...]metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples[:])
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
