package workers

import (
	"container/heap"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// Slice is how long a task may run while others wait.
const Slice = 250 * time.Microsecond

// MostUnderWay is how many parcels of a port may be on their way to a worker at a time.
const MostUnderWay = 1024

const (
	mostJobs = 1024 // that wait; more run where they are made
	mostTake = 256  // parcels that a worker takes before it runs a slot
)

// Task is what runs in a slot. Its methods are called by the slot's worker, one at a time.
type Task[E any] interface {
	// Take is given a parcel, in the order in which they came. It should be short: the work is Run's.
	Take(e E)
	// Run works, but not beyond until, and says whether there is more to do now, and when it is to run even if nothing
	// comes; zero: then not.
	Run(now, until time.Time) (more bool, next time.Time)
}

// Pool is a number of workers. E is what their slots are sent.
type Pool[E any] struct {
	workers  []*worker[E]
	exchange *pool.Exchange[parcel[E]]
	jobs     chan func()
	next     atomic.Uint32
	done     chan struct{}
	wg       sync.WaitGroup
}

type parcel[E any] struct {
	slot *Slot[E]
	e    E
}

// New starts n workers; 0: as many as there are processors.
func New[E any](n int) *Pool[E] {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	p := &Pool[E]{exchange: pool.NewExchange[parcel[E]](MostUnderWay), jobs: make(chan func(), mostJobs), done: make(chan struct{})}
	for range n {
		w := &worker[E]{pool: p, wake: make(chan struct{}, 1)}
		w.station = pool.NewStation(func() {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		})
		w.port = p.exchange.Join(w.station)
		p.workers = append(p.workers, w)
	}
	for _, w := range p.workers {
		p.wg.Go(w.loop)
	}
	return p
}

// Close stops the workers and waits for what they run. What waits is not run.
func (p *Pool[E]) Close() {
	close(p.done)
	p.wg.Wait()
}

// Workers is how many there are.
func (p *Pool[E]) Workers() int { return len(p.workers) }

// Do has f run by any worker that has time, or by the caller if too much waits. Safe for all.
func (p *Pool[E]) Do(f func()) {
	select {
	case p.jobs <- f:
	default:
		f()
	}
}

// Slot is a task's place.
type Slot[E any] struct {
	w    *worker[E]
	task Task[E]

	mu     sync.Mutex
	posted []E  // guarded by mu
	listed bool // guarded by mu: it is in worker.posted

	// The worker's.
	ready    bool // it is in worker.run
	deadline time.Time
	index    int // in worker.timers; below zero: not there
	removed  bool
}

// Add gives t a slot, of the worker whose turn it is.
func (p *Pool[E]) Add(t Task[E]) *Slot[E] {
	return &Slot[E]{w: p.workers[int(p.next.Add(1)-1)%len(p.workers)], task: t, index: -1}
}

// Post sends e to the slot. Safe for all, and in order for each; it never waits, so callers bound what they post.
func (s *Slot[E]) Post(e E) {
	s.mu.Lock()
	list := !s.listed
	if list {
		s.listed = true
		s.posted = s.w.list(s)
	}
	s.posted = append(s.posted, e)
	s.mu.Unlock()
	if list {
		s.w.station.Wake()
	}
}

// Remove ends the slot: it neither takes nor runs any more. It is called by its task.
func (s *Slot[E]) Remove() {
	s.removed = true
	s.schedule(time.Time{})
}

// Left returns what was posted and is not taken: of a pool that is closed.
func (s *Slot[E]) Left() []E {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.posted
	s.posted = nil
	return left
}

// Port is where one goroutine sends from.
type Port[E any] struct {
	station *pool.Station
	port    *pool.Port[parcel[E]]
}

// Join makes a port. wake is called, by a worker, when there is room again for what Flush could not move; it must not wait.
func (p *Pool[E]) Join(wake func()) *Port[E] {
	s := pool.NewStation(wake)
	return &Port[E]{s, p.exchange.Join(s)}
}

// Send sends e to a slot; Flush is to follow. What it sends is in order, and not ordered with Post. It never waits.
func (p *Port[E]) Send(s *Slot[E], e E) { p.port.Push(s.w.port, parcel[E]{s, e}) }

// Flush ends a batch. It returns how many parcels are not on their way yet, as a worker has MostUnderWay before it: they are when Flush is
// called again after wake, or in the next batch.
func (p *Port[E]) Flush() (left int) {
	p.station.Begin()
	p.port.Flush()
	return p.port.Spilled()
}

// worker runs slots.
type worker[E any] struct {
	pool    *Pool[E]
	station *pool.Station
	port    *pool.Port[parcel[E]]
	wake    chan struct{}

	mu     sync.Mutex
	posted []*Slot[E] // guarded by mu: slots to which something was posted
	spare  [][]E      // guarded by mu: memory for what is posted, which idle slots have not

	// The loop's.
	batch  [32]parcel[E]
	listed []*Slot[E]
	run    []*Slot[E]
	timers timers[E]
	since  time.Time // when others could have its processor last
}

// list has the worker look at what is posted to s, and returns memory for that. The lock of s is held.
func (w *worker[E]) list(s *Slot[E]) (spare []E) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted = append(w.posted, s)
	if n := len(w.spare) - 1; n >= 0 {
		spare, w.spare[n] = w.spare[n], nil
		w.spare = w.spare[:n]
	}
	return spare
}

// What was posted is taken, and its memory kept for others: so many lists of so many at most.
const (
	mostSpare     = 4
	mostSpareList = 512
)

func (w *worker[E]) keep(es []E) {
	if cap(es) > mostSpareList {
		return
	}
	clear(es)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.spare) < mostSpare {
		w.spare = append(w.spare, es[:0])
	}
}

func (w *worker[E]) loop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.station.Begin()
		more := w.take()
		now := time.Now()
		w.due(now)
		w.turn(now)
		select { // one job a turn: those of others do not wait for this worker's slots
		case f := <-w.pool.jobs:
			f()
			w.pause(time.Now())
			continue
		case <-w.pool.done:
			return
		default:
		}
		if more || len(w.run) > 0 {
			continue
		}
		wait := time.Hour
		if len(w.timers) > 0 {
			wait = time.Until(w.timers[0].deadline)
		}
		timer.Reset(wait)
		select {
		case <-w.wake:
		case <-timer.C:
		case f := <-w.pool.jobs:
			f()
		case <-w.pool.done:
			return
		}
		w.since = time.Now()
	}
}

// pause lets others have the processor if this worker has had it for a slice, and returns the time. The scheduler would let them wait for
// 10 ms, and among them may be the loops of a node in the process.
func (w *worker[E]) pause(now time.Time) time.Time {
	if now.Sub(w.since) < Slice {
		return now
	}
	runtime.Gosched()
	w.since = time.Now()
	return w.since
}

// take hands over what came, and reports whether there is more.
func (w *worker[E]) take() (more bool) {
	w.mu.Lock()
	w.listed, w.posted = w.posted, w.listed[:0]
	w.mu.Unlock()
	for i, s := range w.listed {
		w.listed[i] = nil
		s.mu.Lock()
		es := s.posted
		s.posted, s.listed = nil, false
		s.mu.Unlock()
		for _, e := range es {
			s.give(e)
		}
		w.keep(es)
	}
	for taken := 0; taken < mostTake; {
		n := w.port.Next(w.batch[:])
		if n == 0 {
			return false
		}
		for i := range w.batch[:n] {
			w.batch[i].slot.give(w.batch[i].e)
			w.batch[i] = parcel[E]{}
		}
		taken += n
	}
	return true
}

func (s *Slot[E]) give(e E) {
	if s.removed {
		return
	}
	s.task.Take(e)
	s.makeReady()
}

func (s *Slot[E]) makeReady() {
	if !s.ready && !s.removed {
		s.ready = true
		s.w.run = append(s.w.run, s)
	}
}

// due makes ready whose deadline has come.
func (w *worker[E]) due(now time.Time) {
	for len(w.timers) > 0 && !w.timers[0].deadline.After(now) {
		s := w.timers[0]
		s.schedule(time.Time{})
		s.makeReady()
	}
}

// turn runs the slots that are ready, each once, for no longer than a slice each.
func (w *worker[E]) turn(now time.Time) {
	n := len(w.run)
	for i := range n {
		s := w.run[i]
		w.run[i] = nil
		s.ready = false
		if s.removed {
			continue
		}
		more, next := s.task.Run(now, now.Add(Slice))
		now = time.Now()
		if !s.removed {
			s.schedule(next)
			if more {
				s.makeReady()
			}
		}
		now = w.pause(now)
	}
	w.run = append(w.run[:0], w.run[n:]...)
}

// schedule sets when the slot is to run at the latest; zero: then not.
func (s *Slot[E]) schedule(at time.Time) {
	switch {
	case at.IsZero() && s.index >= 0:
		heap.Remove(&s.w.timers, s.index)
	case at.IsZero():
	case s.index >= 0:
		s.deadline = at
		heap.Fix(&s.w.timers, s.index)
	default:
		s.deadline = at
		heap.Push(&s.w.timers, s)
	}
}

// timers is a heap by deadline.
type timers[E any] []*Slot[E]

func (t timers[E]) Len() int           { return len(t) }
func (t timers[E]) Less(i, j int) bool { return t[i].deadline.Before(t[j].deadline) }
func (t timers[E]) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

func (t *timers[E]) Push(x any) {
	s := x.(*Slot[E])
	s.index = len(*t)
	*t = append(*t, s)
}

func (t *timers[E]) Pop() any {
	old := *t
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	s.index = -1
	return s
}
