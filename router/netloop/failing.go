package netloop

import "time"

// failingFor is how long a failure to accept makes a listener failing: it tries again much sooner.
const failingFor = 3 * time.Second

// begun is what failures are counted from, by the monotonic clock: the other one may be set.
var begun = time.Now()

// failed notes that a connection could not be taken.
func (l *Listener) failed(now time.Time) { l.failedAt.Store(max(1, int64(now.Sub(begun)))) }

// Failing reports whether connections that wait at l cannot be taken now: for want of descriptors, or because the
// node is full. Safe for all.
func (l *Listener) Failing(now time.Time) bool {
	at := l.failedAt.Load()
	return at != 0 && now.Sub(begun)-time.Duration(at) < failingFor
}
