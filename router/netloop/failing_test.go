package netloop

import (
	"testing"
	"time"
)

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
}
