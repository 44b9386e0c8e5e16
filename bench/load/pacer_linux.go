package load

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// pacer sleeps to a point in time with some ten microseconds of error. The timers of the Go runtime round to a
// millisecond while a process is idle, too coarse for the delays measured here, so the goroutine takes a thread and
// sleeps in the kernel with the smallest slack.
type pacer struct{}

func newPacer() pacer {
	runtime.LockOSThread()
	// Refused only by kernels without the call; then the default slack of 50 µs holds.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return pacer{}
}

func (pacer) done() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // back to the default
	runtime.UnlockOSThread()
}

// until returns at the time due on the clock of Now, or a little earlier when a signal came.
func (pacer) until(due int64) {
	if d := due - Now(); d > 0 {
		ts := unix.NsecToTimespec(d)
		_ = unix.Nanosleep(&ts, nil)
	}
}
