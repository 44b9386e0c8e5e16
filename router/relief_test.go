package router

import (
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
)

func TestReliefComesOnceAfterABurst(t *testing.T) {
	const base, much = 16 << 20, 16<<20 + 2*reliefGrowth
	type look struct{ held, taken int64 }
	repeat := func(n int, first, then look) []look {
		return append([]look{first}, slices.Repeat([]look{then}, n)...)
	}
	idle, burst, left := look{base, 0}, look{much, much - base}, look{much, 0}
	for _, tc := range []struct {
		name  string
		looks []look
		times int
	}{
		{"nothing", []look{idle, idle, idle, idle, idle}, 0},
		{"a little is left", []look{idle, {base + reliefGrowth - 1, 0}, {base + reliefGrowth - 1, 0}, {base + reliefGrowth - 1, 0}}, 0},
		{"a burst", []look{idle, burst, left, left, left, idle, idle, idle, idle}, 1},
		{"much that no message took", []look{idle, left, left, left, idle, idle}, 1},
		{"a burst that goes on", []look{idle, burst, left, left, burst, left, left, burst, burst}, 0},
		{"two bursts", []look{idle, burst, left, left, left, idle, burst, left, left, left, idle}, 2},
		{"messages hold half of it", []look{idle, burst, {much, reliefGrowth}, {much, reliefGrowth}, {much, reliefGrowth}, {much, reliefGrowth}}, 0},
		{"nothing can be given back", repeat(30, idle, left), 3}, // after 3, 6 and 12 ticks
		{"nothing can be given back for long", repeat(1200, idle, left), 6 + (1200-189)/reliefRarely},
		{"another burst when nothing could", append(repeat(190, idle, left), look{2 * much, 0}, look{2 * much, 0}, look{2 * much, 0}), 7},
		{"what was needed is not any more", append(repeat(3, look{8 * much, 0}, idle), left, left, left, idle), 1},
	} {
		var r relief
		times := 0
		for _, l := range tc.looks {
			if r.due(l.held, l.taken) {
				r.begin()
				times++
			}
		}
		if times != tc.times {
			t.Errorf("%s: %d times, want %d", tc.name, times, tc.times)
		}
	}
}

// An idle node collects nothing by itself: what a burst has left is gone some ticks later all the same.
func TestMemoryOfABurstIsGivenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100)) // as a node has it
	for range 2 {
		debug.FreeOSMemory() // the burst is to need memory of its own, not what other tests have left
	}
	r := newRig(t, 1, Options{ConnBuffer: 256 << 20, SlowConsumer: Block})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	b.paused = true
	msg := a.publication(header(alice, bob, 1, "x"), 1, 300_000)
	runtime.GC()
	r.seconds(1) // the node has seen how little it holds
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before) // spans that others' objects are spread over are in use now, and afterwards
	for range 160 {
		a.sendBig(msg)
	}
	r.seconds(1)
	b.paused = false
	for b.c.q.len() > 0 {
		b.count()
	}
	r.seconds(reliefTicks + 1)
	r.settle()
	runtime.ReadMemStats(&after)
	if grown := int(after.HeapInuse) - int(before.HeapInuse); grown > 32<<20 {
		t.Errorf("the heap has %d MiB more than before the burst", grown>>20)
	}
}
