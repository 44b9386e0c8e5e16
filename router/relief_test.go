package router

import (
	"runtime"
	"testing"
)

func TestReliefComesOnceAfterABurst(t *testing.T) {
	const much = 2 * reliefPeak
	for _, tc := range []struct {
		name  string
		taken []int64
		times int
	}{
		{"nothing", []int64{0, 0, 0, 0, 0}, 0},
		{"a small burst", []int64{reliefPeak - 1, 0, 0, 0, 0, 0}, 0},
		{"a burst", []int64{0, much, 0, 0, 0, 0, 0, 0, 0}, 1},
		{"a burst that goes on", []int64{much, 0, 0, much, 0, 0, much, much}, 0},
		{"two bursts", []int64{much, 0, 0, 0, 0, much, 0, 0, 0, 0}, 2},
		{"half of it stays", []int64{much, much / 2, much / 2, much / 2, much / 2}, 0},
	} {
		var r relief
		times := 0
		for _, n := range tc.taken {
			if r.due(n) {
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
	r := newRig(t, 1, Options{ConnBuffer: 256 << 20, SlowConsumer: Block})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	b.paused = true
	msg := a.publication(header(alice, bob, 1, "x"), 1, 300_000)
	before := heap()
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
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if grown := int(m.HeapInuse) - before; grown > 32<<20 {
		t.Errorf("the heap has %d MiB more than before the burst", grown>>20)
	}
}
