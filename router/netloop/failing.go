package netloop

import "time"

// failingFor is how long a failure to accept makes a listener failing: it tries again much sooner.
const failingFor = 3 * time.Second

// failed notes that a connection could not be taken.
func (l *Listener) failed(now time.Time) { l.failedAt.Store(now.UnixNano()) }

// Failing reports whether connections that wait at l cannot be taken now: for want of descriptors, or because the
// node is full. Safe for all.
func (l *Listener) Failing(now time.Time) bool {
	at := l.failedAt.Load()
	return at != 0 && now.UnixNano()-at < int64(failingFor)
}
