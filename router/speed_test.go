package router

import (
	"fmt"
	"testing"
)

// journeys are the cases whose cost is watched: unicast and fan-out, same loop and across loops, an identity that
// stays and one that is new with each message.
func journeys(f func(name string, loops, dest, targets int, fresh bool)) {
	for _, loops := range []int{1, 2} {
		for _, targets := range []int{1, 8} {
			for _, fresh := range []bool{false, true} {
				where, identity := "same-loop", "constant"
				if loops > 1 {
					where = "across-loops"
				}
				if fresh {
					identity = "fresh"
				}
				f(fmt.Sprintf("%s/1-to-%d/%s", where, targets, identity), loops, loops-1, targets, fresh)
			}
		}
	}
}

// TestAllocsOfTheJourney: from the bytes of a read to the bytes handed to the kernel nothing is allocated; with TLS
// nothing but what crypto/tls takes for each time that it asks for records, which are 16 KiB at most.
func TestAllocsOfTheJourney(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testAllocsOfTheJourney(t, false) })
	t.Run("TLS", func(t *testing.T) { testAllocsOfTheJourney(t, true) })
}

func testAllocsOfTheJourney(t *testing.T, secure bool) {
	runs := 100
	switch {
	case !pooled: // only what arrives is judged
		runs = 10
	case long:
		runs = 200
	}
	journeys(func(name string, loops, dest, targets int, fresh bool) {
		for _, size := range []int{100, 16 << 10} {
			runs := runs
			if size > 1000 && !long {
				runs = min(runs, 10)
			}
			t.Run(fmt.Sprint(name, "/", size), func(t *testing.T) {
				j := newJourneyTLS(t, secure, loops, 0, dest, targets, size, 8, fresh)
				most := 0
				if secure {
					most = 1 + len(j.reads[0])/(16<<10)
				}
				for range max(3*len(j.reads), runs) {
					j.step() // memories and pools fill
				}
				before := j.r.stats()
				if n := testing.AllocsPerRun(runs, j.step); n > float64(most) && pooled {
					t.Errorf("%v allocations per read of 8 messages, want %d", n, most)
				}
				after := j.r.stats()
				if got, want := after.Delivered-before.Delivered, uint64((runs+1)*8*targets); got != want {
					t.Errorf("delivered %d, want %d; dropped %v", got, want, after.Dropped)
				}
			})
		}
	})
}

// BenchmarkJourney gives the node's own time per delivered message, without the kernel's.
func BenchmarkJourney(b *testing.B) {
	journeys(func(name string, loops, dest, targets int, fresh bool) {
		for _, size := range []int{100, 1 << 10, 16 << 10} {
			per := min(256, 200_000/(size+400))
			b.Run(fmt.Sprint(name, "/", size), func(b *testing.B) {
				j := newJourney(b, loops, 0, dest, targets, size, per, fresh)
				j.step()
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += per * targets {
					j.step()
				}
			})
		}
	})
}
