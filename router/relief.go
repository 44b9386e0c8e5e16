package router

import "runtime/debug"

const (
	// reliefPeak is how much messages must have taken for their memory to be given back at once.
	reliefPeak = 32 << 20
	// reliefTicks is for how many ticks they must take little.
	reliefTicks = 3
)

// relief gives memory back to the system after a burst. The collector runs when memory is taken, and an idle node takes
// none: what a burst has left would stay for minutes. Owned by the first loop.
type relief struct {
	peak int64 // most that messages took since the last time
	calm int   // ticks since they took more than an eighth of it
}

// due lets a tick pass in which messages take n bytes, and reports whether it is time.
func (r *relief) due(n int64) bool {
	r.peak = max(r.peak, n)
	if r.peak < reliefPeak || n > r.peak/8 {
		r.calm = 0
		return false
	}
	if r.calm++; r.calm < reliefTicks {
		return false
	}
	*r = relief{}
	return true
}

// relieve gives back what the last burst has left, if there was one and it is over.
func (n *Node) relieve() {
	taken := int64(0)
	for _, l := range n.loops {
		s := &l.n.shown
		taken += s.waitBytes.Load() + s.unfinished.Load()
	}
	if n.relief.due(taken) {
		n.chores.aside(func() {
			for range 2 { // pools give their memory up in two rounds
				debug.FreeOSMemory()
			}
		})
	}
}
