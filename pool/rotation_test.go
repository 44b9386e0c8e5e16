package pool

import (
	"runtime"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

const rotationTestSize = 64 << 10 // the class with the fewest Bufs

// full returns a stock whose rotation for that size has all the Bufs that it may have, and how many these are.
func full(size int) (l *Local, most int) {
	l = NewLocal()
	l.GetCrossing(size).Release()
	most = l.crossing[class(size)].most
	for range most {
		l.GetCrossing(size).Release()
	}
	return l, most
}

// What others have read comes again when as much as a cache holds was handed out since.
func TestCrossingMemoryRestsBeforeItIsUsedAgain(t *testing.T) {
	for _, size := range []int{100, 1 << 10, rotationTestSize} {
		l, most := full(size)
		if n := most * Footprint(size); n > rotationBytes || n < rotationBytes*9/10 {
			t.Errorf("%d bytes: %d Bufs take %d KiB", size, most, n>>10)
		}
		last := map[*Buf]int{}
		for i := range 3 * most {
			b := l.GetCrossing(size)
			if was, ok := last[b]; ok && i-was != most {
				t.Fatalf("%d bytes: a Buf comes again after %d others, want %d", size, i-was-1, most-1)
			}
			last[b] = i
			b.Release()
		}
		if len(last) != most {
			t.Errorf("%d bytes: %d Bufs rotate, want %d", size, len(last), most)
		}
	}
}

// Whoever sends a message now and then needs no megabytes for that.
func TestRotationGrowsWithItsUse(t *testing.T) {
	l := NewLocal()
	for range 100 {
		for range 3 {
			l.GetCrossing(rotationTestSize).Release()
		}
		l.Tick()
	}
	if n := l.crossing[class(rotationTestSize)].made; n != 3 {
		t.Errorf("%d Bufs for three messages a tick", n)
	}
}

func TestRotationsAreBoundedTogether(t *testing.T) {
	l := NewLocal()
	for size := 256; size <= 64<<10; size *= 2 {
		for range 2 * rotationBytes / size {
			l.GetCrossing(size).Release()
		}
	}
	if l.rotating > rotationsMost || l.rotating < rotationsMost*9/10 {
		t.Errorf("%d KiB rotate, want %d", l.rotating>>10, rotationsMost>>10)
	}
}

// When all Bufs of the rotation are under way, others are used, which do not come back to it.
func TestRotationThatIsOutTakesOthers(t *testing.T) {
	l, most := full(rotationTestSize)
	held := map[*Buf]bool{}
	for range 2 * most {
		b := l.GetCrossing(rotationTestSize)
		if held[b] {
			t.Fatal("one Buf is handed out twice")
		}
		held[b] = true
	}
	for b := range held {
		b.Release()
	}
	seen := map[*Buf]bool{}
	for range 3 * most {
		b := l.GetCrossing(rotationTestSize)
		seen[b] = true
		b.Release()
	}
	if len(seen) != most {
		t.Errorf("%d Bufs rotate, want %d", len(seen), most)
	}
}

// Memory that nobody asks for is given back, and what is under way then, too, when it has come back.
func TestIdleRotationGivesItsMemoryBack(t *testing.T) {
	l, _ := full(rotationTestSize)
	out := l.GetCrossing(rotationTestSize)
	busy := func(n int) {
		for range n {
			l.GetCrossing(100).Release()
			l.Tick()
		}
	}
	busy(rotationIdle)
	if n := l.rotating; n < rotationBytes/2 {
		t.Errorf("after %d ticks %d KiB are left", rotationIdle, n>>10)
	}
	busy(1)
	if n := l.rotating; n != Footprint(rotationTestSize)+Footprint(100) {
		t.Errorf("%d bytes are counted when one Buf is under way", n)
	}
	out.Release()
	busy(1)
	if l.rotating != Footprint(100) || l.crossing[class(rotationTestSize)] != nil {
		t.Errorf("%d bytes are left of a class that is not used", l.rotating)
	}
	l.GetCrossing(rotationTestSize).Release() // and it goes on
}

// One loop takes and another releases, while the owner gives memory back and takes it anew.
func TestRotationTakesBackFromAnotherThread(t *testing.T) {
	const rounds = 20_000
	before := Live()
	ring := NewRing[*Buf](32)
	var wg sync.WaitGroup
	wg.Go(func() {
		for got := 0; got < rounds; {
			b, ok := ring.Pop()
			if !ok {
				runtime.Gosched()
				continue
			}
			if len(b.B) != 1 || b.B[0] != byte(got) {
				t.Errorf("Buf %d holds %v", got, b.B)
			}
			b.Release()
			got++
		}
	})
	l := NewLocal()
	for i := range rounds {
		b := l.GetCrossing(rotationTestSize)
		b.B = append(b.B, byte(i))
		for !ring.Push(b) {
			runtime.Gosched()
		}
		if i%2000 < 3*rotationIdle {
			l.Tick()
		}
		if i%5000 == 0 {
			for range 2 * rotationIdle {
				l.Tick()
			}
		}
	}
	wg.Wait()
	if got := Live(); got != before {
		t.Errorf("%d Bufs left", got-before)
	}
}

func TestRotationDoesNotAllocate(t *testing.T) {
	if invariant.On || raceEnabled {
		t.Log("measured in plain builds")
		return
	}
	l, _ := full(60_000)
	if got := testing.AllocsPerRun(1000, func() { l.GetCrossing(60_000).Release() }); got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}
