package router

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Who waits while a round runs shares the next one, and nobody has one that had begun before.
func TestWhoWaitsSharesARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s settling
		var at []time.Time // beginnings of rounds
		running := false
		forward := func(context.Context) error {
			if running {
				t.Error("two rounds at a time")
			}
			running = true
			at = append(at, time.Now())
			time.Sleep(time.Second)
			running = false
			return nil
		}
		begun := time.Now()
		var all sync.WaitGroup
		wait := func(n int) {
			for range n {
				called := time.Now()
				all.Go(func() {
					if err := s.wait(t.Context(), forward); err != nil {
						t.Error(err)
					}
					if took := time.Since(called); took < time.Second || took > 2*time.Second {
						t.Errorf("it took %v", took)
					}
				})
			}
		}
		wait(1)
		time.Sleep(time.Second / 2)
		wait(1000) // share the second
		time.Sleep(time.Second)
		wait(1000) // while the second runs: the third
		all.Wait()
		if len(at) != 3 || time.Since(begun) != 3*time.Second {
			t.Errorf("%d rounds within %v", len(at), time.Since(begun))
		}
		wait(1)
		all.Wait()
		if len(at) != 4 {
			t.Error("a later one has no round")
		}
	})
}

// The time of one who waits is its own: where that of the one who runs a round ends, or of one who waits, others have theirs.
func TestTimesOfThoseWhoWaitForARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s settling
		forward := func(ctx context.Context) error {
			select {
			case <-time.After(10 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		begun := time.Now()
		var all sync.WaitGroup
		for _, c := range []struct {
			limit, over time.Duration
			ok          bool
		}{
			{time.Second, time.Second, false},         // runs the first round, which comes to nothing
			{3 * time.Second, 3 * time.Second, false}, // and the second
			{2 * time.Second, 2 * time.Second, false}, // waits for that
			{time.Minute, 13 * time.Second, true},     // waits for that, and runs the third
		} {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				err := s.wait(ctx, forward)
				if took := time.Since(begun); took != c.over || (err == nil) != c.ok || err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("one with %v had %v after %v, want one after %v", c.limit, err, took, c.over)
				}
			})
			synctest.Wait()
		}
		all.Wait()
	})
}
