package netloop

import (
	"testing"
	"testing/synctest"
	"time"
)

// Tests that play with a manual loop must not depend on how long they take.
func TestManualLoopHasNoClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManual(0, func(*Loop) Owner { return &owner{} })
		tm := m.NewTimer()
		tm.Reset(time.Second)
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.Woken() || tm.Fired() {
			t.Error("the timer of a manual loop has fired")
		}
		tm.Stop()
	})
}
