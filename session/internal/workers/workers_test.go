package workers

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// task notes what it is given, and when it runs.
type task struct {
	mu    sync.Mutex
	got   []int
	runs  []time.Time
	left  int           // runs in which there is more to do
	every time.Duration // when to run again; 0: never
	work  func(until time.Time)
	busy  atomic.Bool
}

func (t *task) Take(e int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = append(t.got, e)
}

func (t *task) Run(now, until time.Time) (more bool, next time.Time) {
	if t.busy.Swap(true) {
		panic("a task runs twice at a time")
	}
	defer t.busy.Store(false)
	if t.work != nil {
		t.work(until)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs = append(t.runs, now)
	if t.every > 0 {
		next = now.Add(t.every)
	}
	t.left--
	return t.left > 0, next
}

func (t *task) has() ([]int, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.got), len(t.runs)
}

func TestEverythingComesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New[int](3)
		tasks, slots := make([]*task, 10), make([]*Slot[int], 10)
		for i := range tasks {
			tasks[i] = new(task)
			slots[i] = p.Add(tasks[i])
		}
		var wg sync.WaitGroup
		for source := range 4 {
			wg.Go(func() {
				port := p.Join(func() {})
				for n := range 500 {
					for i := range slots {
						if source%2 == 0 {
							slots[i].Post(source<<16 | n)
							continue
						}
						port.Send(slots[i], source<<16|n)
					}
					port.Flush()
					if n%64 == 63 {
						time.Sleep(time.Millisecond) // all is taken: no more than MostUnderWay are on their way
					}
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		for i := range tasks {
			got, _ := tasks[i].has()
			next := [4]int{}
			for _, e := range got {
				if source := e >> 16; e&0xffff != next[source] {
					t.Fatalf("slot %d: %d of source %d came before %d", i, e&0xffff, source, next[source])
				} else {
					next[source]++
				}
			}
			if next != [4]int{500, 500, 500, 500} {
				t.Errorf("slot %d got %v", i, next)
			}
		}
		p.Close()
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New[int](1)
		begin := time.Now()
		often, once := &task{every: time.Second}, new(task)
		p.Add(often).Post(1)
		p.Add(once).Post(1)
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		if _, n := once.has(); n != 1 {
			t.Errorf("without a deadline it runs %d times", n)
		}
		for i, at := range often.runs {
			if want := begin.Add(time.Duration(i) * time.Second); !at.Equal(want) {
				t.Errorf("run %d at %v, want %v", i, at.Sub(begin), want.Sub(begin))
			}
		}
		if len(often.runs) != 4 {
			t.Errorf("%d runs", len(often.runs))
		}
		p.Close()
		time.Sleep(10 * time.Second)
		if len(often.runs) != 4 {
			t.Error("it runs when the pool is closed")
		}
	})
}

// A deadline that has changed when something came meanwhile is the one that counts, whether it is earlier or later, or there is none any more.
func TestDeadlinesThatChange(t *testing.T) {
	for _, c := range []struct{ first, then, at time.Duration }{
		{time.Minute, time.Second, 11 * time.Second}, {20 * time.Second, time.Minute, 70 * time.Second}, {20 * time.Second, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := New[int](1)
			defer p.Close()
			begin := time.Now()
			changes := &task{every: c.first}
			slot := p.Add(changes)
			slot.Post(1)
			p.Add(&task{every: 7 * time.Second}).Post(1) // another one in the heap
			synctest.Wait()
			changes.mu.Lock()
			changes.every = c.then
			changes.mu.Unlock()
			time.Sleep(10 * time.Second)
			slot.Post(2)
			time.Sleep(65 * time.Second)
			synctest.Wait()
			if c.at == 0 {
				if len(changes.runs) != 2 {
					t.Errorf("%+v: %d runs", c, len(changes.runs))
				}
				return
			}
			if len(changes.runs) < 3 || changes.runs[2].Sub(begin) != c.at {
				t.Errorf("%+v: runs %v", c, changes.runs)
			}
		})
	}
}

// One that has much to do does not keep the others of its worker waiting.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New[int](1)
		long := &task{left: 1000, work: func(until time.Time) { time.Sleep(time.Until(until)) }}
		p.Add(long).Post(1)
		time.Sleep(10 * time.Millisecond)
		short := new(task)
		p.Add(short).Post(1)
		time.Sleep(2 * Slice)
		synctest.Wait()
		if _, n := short.has(); n != 1 {
			t.Errorf("it runs %d times beside a long one", n)
		}
		if _, n := long.has(); n == 1000 {
			t.Error("the long one is over: the test is of nothing")
		}
		var done atomic.Bool
		p.Do(func() { done.Store(true) })
		time.Sleep(2 * Slice)
		if !done.Load() {
			t.Error("a job waits for a long task")
		}
		time.Sleep(time.Second)
		p.Close()
	})
}

// A worker that has much to do lets others have its processor after each slice.
func TestWorkersYield(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := New[int](1)
	defer p.Close()
	var runs atomic.Int64
	busy := &task{left: 1 << 30, work: func(until time.Time) {
		for runs.Add(1); time.Now().Before(until); {
		}
	}}
	p.Add(busy).Post(1)
	for runs.Load() == 0 {
		runtime.Gosched()
	}
	var between []int64 // runs of the task while this goroutine waits for the processor
	for range 31 {
		before := runs.Load()
		runtime.Gosched()
		between = append(between, runs.Load()-before)
	}
	slices.Sort(between)
	if n := between[len(between)/2]; n > 4 {
		t.Errorf("others wait for %d slices", n)
	}
}

// So does one that has many jobs, none of which is long.
func TestWorkersYieldBetweenJobs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := New[int](1)
	defer p.Close()
	var runs, over atomic.Int64
	var job func()
	job = func() {
		for end := time.Now().Add(Slice / 10); time.Now().Before(end); {
		}
		if runs.Add(1); over.Load() == 0 {
			p.Do(job)
		}
	}
	p.Do(job)
	for runs.Load() == 0 {
		runtime.Gosched()
	}
	var between []int64 // runs while this goroutine waits for the processor
	for range 31 {
		before := runs.Load()
		runtime.Gosched()
		between = append(between, runs.Load()-before)
	}
	over.Store(1)
	slices.Sort(between)
	if n := between[len(between)/2]; n > 40 {
		t.Errorf("others wait for %d jobs", n)
	}
}

func TestJobsOfABusyPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New[int](1)
		stop := make(chan struct{})
		p.Add(&task{work: func(time.Time) { <-stop }}).Post(1)
		synctest.Wait()
		var done atomic.Int64
		for range mostJobs + 10 {
			p.Do(func() { done.Add(1) })
		}
		if n := done.Load(); n != 10 {
			t.Errorf("%d jobs ran where they were made, want 10", n)
		}
		close(stop)
		synctest.Wait()
		if n := done.Load(); n != mostJobs+10 {
			t.Errorf("%d jobs ran", n)
		}
		p.Close()
	})
}

// ender removes its slot when it runs.
type ender struct {
	task
	slot *Slot[int]
}

func (e *ender) Run(now, until time.Time) (bool, time.Time) {
	e.task.Run(now, until)
	e.slot.Remove()
	return true, now.Add(time.Second)
}

func TestRemovedSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New[int](1)
		e := new(ender)
		e.slot = p.Add(e)
		e.slot.Post(1)
		time.Sleep(2 * time.Second)
		e.slot.Post(2)
		time.Sleep(2 * time.Second)
		if got, runs := e.has(); len(got) != 1 || runs != 1 {
			t.Errorf("it was given %v and ran %d times", got, runs)
		}
		p.Close()
	})
}
