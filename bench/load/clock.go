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

// Pacer sleeps for an open loop. One goroutine uses it.
type Pacer interface {
	Until(due int64) // returns at the time due on the clock of Now, or a little earlier
	Done()           // ends its use
}

// Timers is a Pacer with the precision of Go's timers. These round to a millisecond while a process is idle, too coarse for
// what is measured here, but in a bubble of testing/synctest they are exact.
type Timers struct{}

// Until implements Pacer.
func (Timers) Until(due int64) { time.Sleep(time.Duration(due - Now())) }

// Done implements Pacer.
func (Timers) Done() {}

// kernelPacer sleeps with some ten microseconds of error: the goroutine takes a thread and sleeps in the kernel with the
// smallest slack.
type kernelPacer struct{}

func newPacer() Pacer {
	runtime.LockOSThread()
	// Refused only by kernels without the call; then the default slack of 50 µs holds.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return kernelPacer{}
}

func (kernelPacer) Done() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // back to the default
	runtime.UnlockOSThread()
}

// Until may return earlier than its time when a signal came.
func (kernelPacer) Until(due int64) {
	if d := due - Now(); d > 0 {
		ts := unix.NsecToTimespec(d)
		_ = unix.Nanosleep(&ts, nil)
	}
}
