package pool

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// worker runs a station until it is told to end: turn is its whole life.
type worker struct {
	s    *Station
	bell chan struct{}
}

func newWorker() *worker {
	w := &worker{bell: make(chan struct{}, 1)}
	w.s = NewStation(func() { w.bell <- struct{}{} })
	return w
}

func TestStationWakesOnceATurn(t *testing.T) {
	wakes := 0
	s := NewStation(func() { wakes++ })
	for range 3 {
		s.Wake()
	}
	if wakes != 1 {
		t.Errorf("%d wakes before the turn, want 1", wakes)
	}
	s.Begin()
	s.Wake()
	if wakes != 2 {
		t.Errorf("%d wakes after the turn, want 2", wakes)
	}
}

func TestStationRunsPostedWorkInOrder(t *testing.T) {
	s := NewStation(func() {})
	var got []int
	for i := range 3 {
		s.Post(func() { got = append(got, i) })
	}
	s.Begin()
	if len(got) != 3 || got[0] != 0 || got[1] != 1 || got[2] != 2 {
		t.Errorf("ran %v", got)
	}
}

// A turn allows wakes before it takes what was posted: whoever posts while it takes that causes another one. Here the
// turn cannot get at it, so it has to allow them meanwhile.
func TestWorkPostedWhileATurnBeginsIsNotForgotten(t *testing.T) {
	s := NewStation(func() {})
	s.Wake()
	s.mu.Lock()
	var turn sync.WaitGroup
	turn.Go(s.Begin)
	for guard := time.Now().Add(time.Minute); s.signal.Load(); runtime.Gosched() {
		if time.Now().After(guard) {
			t.Error("a wake would be lost: the turn has begun to take work, and there is none after it")
			break
		}
	}
	s.mu.Unlock()
	turn.Wait()
}

// A fault in posted work costs that work and no other.
func TestStationKeepsPostedWorkOverAPanic(t *testing.T) {
	wakes := 0
	s := NewStation(func() { wakes++ })
	var got []int
	s.Post(func() { got = append(got, 0) })
	s.Post(func() { panic("fault") })
	s.Post(func() { got = append(got, 2) })
	func() {
		defer func() { _ = recover() }()
		s.Begin()
	}()
	if wakes != 2 {
		t.Fatalf("%d wakes, want another for the rest", wakes)
	}
	s.Post(func() { got = append(got, 3) })
	s.Begin()
	if len(got) != 3 || got[1] != 2 || got[2] != 3 {
		t.Errorf("ran %v", got)
	}
}

func TestPortKeepsOrderThroughSpills(t *testing.T) {
	x := NewExchange[int](4)
	a, b := x.Join(NewStation(func() {})), x.Join(NewStation(func() {}))
	next, want := 0, 0
	var dst [3]int
	for range 100 {
		for range 7 {
			a.Push(b, next)
			next++
		}
		a.Flush()
		for range 2 {
			for _, v := range dst[:b.Next(dst[:])] {
				if v != want {
					t.Fatalf("got %d, want %d", v, want)
				}
				want++
			}
		}
	}
	a.Mark()
	if a.Spilled() == 0 || a.Passed() {
		t.Error("nothing spilled: the test shows nothing")
	}
	for want < next {
		a.Flush()
		for _, v := range dst[:b.Next(dst[:])] {
			if v != want {
				t.Fatalf("got %d, want %d", v, want)
			}
			want++
		}
	}
	if a.Spilled() != 0 || !a.Passed() {
		t.Errorf("%d spilled, passed %v at the end", a.Spilled(), a.Passed())
	}
}

// What was pushed before Mark passes, in rings as in spills; what comes after it is not waited for.
func TestMarkIsPassedByWhatCameBefore(t *testing.T) {
	x := NewExchange[int](4)
	a, b, c := x.Join(NewStation(func() {})), x.Join(NewStation(func() {})), x.Join(NewStation(func() {}))
	var dst [3]int
	for i := range 10 { // four in the ring, six spilled
		a.Push(b, i)
	}
	a.Push(c, 0)
	a.Mark()
	c.Next(dst[:])
	for taken := 0; taken < 10; {
		if a.Passed() {
			t.Fatalf("passed with %d of 10 taken", taken)
		}
		a.Push(b, 100)
		a.Push(b, 100)
		a.Flush()
		taken += b.Next(dst[:2])
	}
	if !a.Passed() || a.Spilled() == 0 {
		t.Errorf("passed %v, %d spilled", a.Passed(), a.Spilled())
	}
}

// What had spilled moves on when the consumer has made room: the producer, which has nothing else to do, is woken for it.
func TestSpillsNeedNoClock(t *testing.T) {
	x := NewExchange[int](16)
	var woken [2]bool
	var ports [2]*Port[int]
	for i := range ports {
		ports[i] = x.Join(NewStation(func() { woken[i] = true }))
	}
	const count = 1000
	for i := range count {
		ports[0].Push(ports[1], i)
	}
	ports[0].Flush()
	got, turns := 0, 0
	var dst [5]int
	for woken[0] || woken[1] {
		turns++
		for i, p := range ports {
			if !woken[i] {
				continue
			}
			woken[i] = false
			p.Station().Begin()
			for n := p.Next(dst[:]); n > 0; n = p.Next(dst[:]) {
				got += n
			}
			p.Flush()
		}
	}
	if got != count || ports[0].Spilled() != 0 {
		t.Errorf("%d of %d values came, %d are spilled, and everybody sleeps", got, count, ports[0].Spilled())
	}
	if turns > count/8+2 {
		t.Errorf("%d turns", turns)
	}
}

func TestPortServesProducersInTurn(t *testing.T) {
	x := NewExchange[int](64)
	sink := x.Join(NewStation(func() {}))
	loud, quiet := x.Join(NewStation(func() {})), x.Join(NewStation(func() {}))
	for range 64 {
		loud.Push(sink, 1)
	}
	quiet.Push(sink, 2)
	var dst [8]int
	for call := range 2 {
		if n := sink.Next(dst[:]); dst[0] == 2 {
			return
		} else if n == 0 {
			t.Fatal("nothing came")
		} else if call == 1 {
			t.Error("two calls of Next served the loud producer alone")
		}
	}
}

// Stations that join later are producers like the first ones; under -race this shows that rings are published safely.
func TestStationsExchangeAllValues(t *testing.T) {
	const stations, each = 5, 5000
	x := NewExchange[[2]int](16)
	var ws [stations]*worker
	var ports [stations]*Port[[2]int]
	for i := range ws {
		ws[i] = newWorker()
		ports[i] = x.Join(ws[i].s)
	}
	var left atomic.Int64
	left.Store(stations * (stations - 1) * each)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for me := range stations {
		wg.Go(func() {
			p := ports[me]
			var want [stations]int
			var dst [32][2]int
			sent := 0
			ws[me].s.Wake()
			for {
				select {
				case <-done:
					return
				case <-ws[me].bell:
				}
				ws[me].s.Begin()
				for range 10 {
					if sent < each {
						for to := range stations {
							if to != me {
								p.Push(ports[to], [2]int{me, sent})
							}
						}
						sent++
					}
				}
				p.Flush()
				for n := p.Next(dst[:]); n > 0; n = p.Next(dst[:]) {
					for _, v := range dst[:n] {
						if v[1] != want[v[0]] {
							t.Errorf("from %d: %d, want %d", v[0], v[1], want[v[0]])
						}
						want[v[0]]++
					}
					if left.Add(-int64(n)) == 0 {
						close(done)
					}
				}
				if sent < each {
					ws[me].s.Wake()
				}
			}
		})
	}
	wg.Wait()
}

func TestPushingAllocatesNothing(t *testing.T) {
	x := NewExchange[*int](64)
	a, b := x.Join(NewStation(func() {})), x.Join(NewStation(func() {}))
	v := new(int)
	var dst [8]*int
	if got := testing.AllocsPerRun(1000, func() {
		a.Push(b, v)
		a.Flush()
		b.Station().Begin()
		b.Next(dst[:])
	}); got != 0 && !raceEnabled {
		t.Errorf("%v allocations", got)
	}
}
