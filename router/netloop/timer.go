package netloop

import (
	"sync/atomic"
	"time"
)

// Timer runs a function on a loop some time later. Owned by the loop.
type Timer struct {
	due   atomic.Bool
	timer *time.Timer // nil: of a manual loop, never fires
}

// NewTimer returns a timer that is not set. When it fires, the loop turns; then Fired reports true once.
func (l *Loop) NewTimer() *Timer {
	t := new(Timer)
	if l.manual {
		return t
	}
	t.timer = time.AfterFunc(time.Hour, func() {
		t.due.Store(true)
		l.station.Wake()
	})
	t.timer.Stop()
	return t
}

// Reset has the timer fire after d, and not before, whatever was set.
func (t *Timer) Reset(d time.Duration) {
	if t.timer != nil {
		t.timer.Reset(d)
	}
}

// Stop unsets the timer; if it has fired already, Fired may still report true.
func (t *Timer) Stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// Fired reports whether the timer has fired since the last call. For Owner.Turn.
func (t *Timer) Fired() bool { return t.due.Load() && t.due.Swap(false) }
