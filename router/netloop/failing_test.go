package netloop

import (
	"testing"
	"time"
	"unsafe"
)

// set is t, which has a monotonic reading, by a wall clock that is set by d. There is no other way to such a time than into its
// representation: seconds of the wall clock from bit 30 on.
func set(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(d/time.Second) << 30 //nolint:gosec // see above
	return t
}

// A failure counts for some seconds: a listener that goes on failing says so each time it tries.
func TestListenerFailsForAMoment(t *testing.T) {
	var l Listener
	now := time.Now()
	if l.Failing(now) {
		t.Error("a listener fails that never did")
	}
	l.failed(now)
	for after, want := range map[time.Duration]bool{0: true, failingFor - 1: true, failingFor: false, time.Hour: false} {
		if got := l.Failing(now.Add(after)); got != want {
			t.Errorf("%v after a failure: failing %t, want %t", after, got, want)
		}
	}
	for _, by := range []time.Duration{-2 * time.Hour, -failingFor, 2 * time.Hour} { // the clock is set meanwhile
		if !l.Failing(set(now.Add(failingFor-1), by)) || l.Failing(set(now.Add(failingFor), by)) {
			t.Errorf("a listener whose clock is set by %v is not failing for as long as others", by)
		}
	}
}
