package load

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottle(t *testing.T) {
	t.Run("lets all pass by default", func(t *testing.T) {
		if n := newThrottle().allow(4096, nil); n != 4096 {
			t.Errorf("allowed %d of 4096", n)
		}
	})
	t.Run("slowed to its rate", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			th := newThrottle()
			th.set(1024)
			<-th.change // as a reader that was waiting has
			begin, n := time.Now(), 0
			for time.Since(begin) < 10*time.Second {
				n += th.allow(4096, nil)
			}
			if n < 9*1024 || n > 10*1024 {
				t.Errorf("%d bytes in 10 s at 1024/s", n)
			}
		})
	})
	t.Run("stalled until told otherwise", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			th := newThrottle()
			th.set(0)
			allowed := make(chan int, 1)
			go func() { allowed <- th.allow(100, nil) }()
			synctest.Wait()
			if len(allowed) != 0 {
				t.Fatal("read while stalled")
			}
			th.set(-1)
			if n := <-allowed; n != 100 {
				t.Errorf("allowed %d of 100", n)
			}
		})
	})
	t.Run("let go when closed", func(t *testing.T) {
		th := newThrottle()
		th.set(0)
		closed := make(chan struct{})
		close(closed)
		<-th.change
		if n := th.allow(100, closed); n != 0 {
			t.Errorf("allowed %d on a closed connection", n)
		}
	})
}
