//go:build !race

package hop

import "testing"

// Not under the race detector: without SHA instructions crypto/sha256 allocates there.
func TestHopAllocs(t *testing.T) {
	for _, j := range journeys {
		c := newTraffic(t, j.o, j.receivers, j.fresh, j.length)
		for range 3 * len(c.msgs) {
			c.step() // memories fill
		}
		if n := testing.AllocsPerRun(200, c.step); n != 0 {
			t.Errorf("%s: %v allocations", j.name, n)
		}
	}
}
