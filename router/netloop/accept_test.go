package netloop

import (
	"testing"
	"time"
)

func TestLackOfDescriptorsIsSaidOnceAMinute(t *testing.T) {
	var r rarely
	now := time.Now()
	for i, want := range []bool{true, false, false, true, false} {
		if got := r.due(now.Add(time.Duration(i) * 25 * time.Second)); got != want {
			t.Errorf("after %d s: %v", i*25, got)
		}
	}
}
