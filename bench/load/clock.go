package load

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

var start = time.Now()

// epoch is what Now reads at start. It keeps Now positive in a bubble of testing/synctest, too, whose time begins in the
// year 2000: 73 years.
const epoch = 1 << 61

// Now is the monotonic clock of all stamps, in nanoseconds. Always positive.
func Now() int64 { return int64(time.Since(start)) + epoch }

// SleepUntil returns at the time due on the clock of Now, with the precision of Go's timers. These round to a millisecond
// while a process is idle, too coarse for what is measured here, but in a bubble of testing/synctest they are exact.
func SleepUntil(due int64) { time.Sleep(time.Duration(due - Now())) }

// exactly takes a thread for naps, which sleep in the kernel with some ten microseconds of error, and returns what ends that.
func exactly() (end func()) {
	runtime.LockOSThread()
	// Refused only by kernels without the call; then the default slack of 50 µs holds.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // back to the default
		runtime.UnlockOSThread()
	}
}

// nap sleeps until the time due, or less when a signal came.
func nap(due int64) {
	if d := due - Now(); d > 0 {
		ts := unix.NsecToTimespec(d)
		_ = unix.Nanosleep(&ts, nil)
	}
}
