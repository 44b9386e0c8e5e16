package load

import (
	"runtime"

	"golang.org/x/sys/unix"
)

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
