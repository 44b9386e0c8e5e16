package load

import (
	"sync/atomic"
	"time"
)

// throttle lets a reader be stalled, or slowed down, from outside. Make it with newThrottle.
type throttle struct {
	rate   atomic.Int64 // 0: no limit; negative: stalled; else bytes a second
	change chan struct{}
}

// newThrottle returns one without limit.
func newThrottle() *throttle { return &throttle{change: make(chan struct{}, 1)} }

// set takes bytes a second; 0 stalls, negative takes the limit away.
func (t *throttle) set(bytesPerSecond int) {
	switch {
	case bytesPerSecond < 0:
		t.rate.Store(0)
	case bytesPerSecond == 0:
		t.rate.Store(-1)
	default:
		t.rate.Store(int64(bytesPerSecond))
	}
	select {
	case t.change <- struct{}{}:
	default:
	}
}

// throttleStep is how often a slowed reader reads.
const throttleStep = 100 * time.Millisecond

// allow returns how many of n bytes may be read now; it blocks while that is none. 0: closed.
func (t *throttle) allow(n int, closed <-chan struct{}) int {
	for {
		rate := t.rate.Load()
		if rate == 0 {
			return n
		}
		var after <-chan time.Time
		if rate > 0 {
			after = time.After(throttleStep)
		}
		select {
		case <-after:
			return min(n, max(1, int(rate*int64(throttleStep)/int64(time.Second))))
		case <-t.change:
		case <-closed:
			return 0
		}
	}
}
