package transport

import "time"

// Floor is what is asked of a peer for whom others wait. Rules: P-press-4.
type Floor struct {
	Rate    int           // bytes a second
	Timeout time.Duration // how long it may take less, at least
}

const (
	// Look is how often a peer is to be compared with a floor.
	Look = 25 * time.Millisecond
	// grace is how late a peer may be: it reads when its scheduler lets it, and the node looks only now and then. With two
	// looks it stays within the 100 ms in which one that stops is to be found.
	grace = 50 * time.Millisecond
	// longestRTT bounds what a peer is given for its distance: it decides itself when it acknowledges.
	longestRTT = time.Second
)

// bound returns how many bytes a peer may take less than the floor demands before it is stalled. lump is how many
// bytes at once it takes, rtt how long its answer is on the way: one that reads steadily at the floor's rate shows
// nothing of it for the time that a lump takes at that rate.
func (f *Floor) bound(lump int, rtt time.Duration) float64 {
	rate := float64(f.Rate)
	return max(rate*max(f.Timeout, 2*min(rtt, longestRTT)).Seconds(), float64(lump)) + rate*grace.Seconds()
}

// Shortfall is how many bytes a peer has taken less than a rate demands since it last kept up with that rate. It is
// never below zero: having been faster before buys nothing.
type Shortfall float64

// Demand lets dt pass, in which rate bytes a second were to be taken.
func (s *Shortfall) Demand(dt time.Duration, rate int) { *s += Shortfall(float64(rate) * dt.Seconds()) }

// Pay takes off n bytes that were taken, and returns how many of them were too many.
func (s *Shortfall) Pay(n uint64) (rest uint64) {
	if float64(n) <= float64(*s) {
		*s -= Shortfall(n)
		return 0
	}
	rest = n - uint64(*s)
	*s = 0
	return rest
}

// Relax takes off what rate demands in dt.
func (s *Shortfall) Relax(dt time.Duration, rate int) {
	*s = max(0, *s-Shortfall(float64(rate)*dt.Seconds()))
}

// Watch compares what a stream's peer takes with a floor, from look to look. The zero Watch is to be started.
type Watch struct {
	taken  uint64    // of the stream, at the last look
	socket uint64    // of the socket
	window Shortfall // while the peer keeps the stream's window closed
	kernel Shortfall // while its kernel does not take what is there for it
	shared Shortfall // while other streams keep the window of all closed
}

// Start begins with nothing to blame the peer for.
func (w *Watch) Start(p *Progress) { *w = Watch{taken: p.Taken, socket: p.SocketTaken} }

// Look lets dt pass since the last look, after which the stream's progress is p. It returns how many bytes of the
// stream the peer has taken in that time, at least, and whether it is stalled: since it last kept up it has taken
// less than the floor demands in the longer of its timeout and the time that the peer's lumps take at its rate. Of
// several streams on a socket, one whose window stays closed is stalled though the socket goes on, and none is blamed
// for its neighbour: HeldUp.
func (w *Watch) Look(dt time.Duration, p *Progress, f *Floor) (fresh uint64, stalled bool) {
	fresh = p.Taken - w.taken
	socket := p.SocketTaken - w.socket
	w.taken, w.socket = p.Taken, p.SocketTaken
	short := Shortfall(0)
	if p.Limit == LimitShared {
		w.shared.Demand(dt, f.Rate)
	}
	w.shared.Pay(socket)
	switch p.Limit {
	case LimitNone, LimitShared:
		w.kernel.Pay(socket)
		w.window.Pay(fresh)
		return fresh, false
	case LimitWindow:
		w.window.Demand(dt, f.Rate)
		rest := w.window.Pay(fresh)
		w.kernel.Pay(rest + socket - min(fresh, socket))
		short = w.window
	case LimitSocket:
		w.kernel.Demand(dt, f.Rate)
		w.window.Pay(min(w.kernel.Pay(socket), fresh))
		short = w.kernel
	}
	return fresh, float64(short) >= f.bound(p.Lump, p.RTT)
}

// Behind returns how many bytes the peer has taken less than the floor demands since it last kept up, as of the last
// look.
func (w *Watch) Behind() int { return int(max(w.window, w.kernel, w.shared)) }

// HeldUp reports whether other streams of the socket have kept the window of all closed for too long: since it was open
// the peer has taken less of all of them than the floor demands. p is that of the last look.
func (w *Watch) HeldUp(p *Progress, f *Floor) bool {
	return p.Limit == LimitShared && float64(w.shared) >= f.bound(p.Lump, p.RTT)
}
