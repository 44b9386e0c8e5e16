//go:build interop

package soak

import (
	"testing"
	"time"
)

// A child that has used more than its share waits until it has not; one that has used less cannot save that up.
func TestBudgetHoldsToItsShare(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name  string
		steps [][3]int // now, used, the debt that is due, in milliseconds
	}{
		{"within", [][3]int{{100, 50, 0}, {200, 100, 0}}},
		{"a little over", [][3]int{{100, 54, 0}}},
		{"over", [][3]int{{100, 80, 60}, {160, 80, 0}, {160, 90, 20}}},
		{"idle for long, then busy", [][3]int{{10_000, 0, 0}, {10_100, 100, 0}, {10_200, 200, 100}}},
	} {
		b := budget{since: at(0)}
		for i, s := range c.steps {
			got := b.debtAt(at(s[0]), time.Duration(s[1])*time.Millisecond)
			if want := time.Duration(s[2]) * time.Millisecond; got != want {
				t.Errorf("%s, step %d: debt %v, want %v", c.name, i, got, want)
			}
		}
	}
}
