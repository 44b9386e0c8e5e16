package load

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wirePair is a publisher whose messages reach a receiver through a queue.
type wirePair struct {
	r     *Receiver
	queue chan []Stamp
	most  uint64 // in flight at most
	sent  uint64
}

func (w *wirePair) Send(first uint64, n int, at, step int64) error {
	batch := make([]Stamp, n)
	for i := range batch {
		batch[i] = Stamp{Seq: first + uint64(i), At: at + int64(i)*step}
	}
	w.sent += uint64(n)
	w.most = max(w.most, w.sent-w.r.From(0).Seen().Next)
	w.queue <- batch
	return nil
}

func (*wirePair) Waited() int64 { return 0 }

func (w *wirePair) run() {
	b := make([]byte, StampSize)
	for batch := range w.queue {
		w.r.Begin(Now())
		for _, s := range batch {
			s.Put(b)
			w.r.Deliver(b)
		}
		w.r.Flush()
	}
}

func TestClosedLoopKeepsItsLimit(t *testing.T) {
	for _, limit := range []int{1, 3, 64} {
		w := &wirePair{r: NewReceiver(0, 1, 1), queue: make(chan []Stamp, 64)}
		s := NewSender(w, StampSize, w.r.From(0))
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(w.run)
		done.Go(func() {
			if err := s.closed(ctx, limit); err != nil {
				t.Error(err)
			}
			close(w.queue)
		})
		for s.Sent() < 5000 {
			runtime.Gosched()
		}
		cancel()
		done.Wait()
		if w.most > uint64(limit) {
			t.Errorf("limit %d: %d were in flight", limit, w.most)
		}
		if got := w.r.From(0).Seen(); got.Next != s.Sent() || got.Missing != 0 {
			t.Errorf("limit %d: sent %d, seen %+v", limit, s.Sent(), got)
		}
	}
}

// deaf takes everything and delivers nothing.
type deaf struct{ calls chan int }

func (d deaf) Send(_ uint64, n int, _, _ int64) error {
	d.calls <- n
	return nil
}

func (deaf) Waited() int64 { return 0 }

func TestRescueLetsAClosedLoopGoOnAfterLoss(t *testing.T) {
	d := deaf{calls: make(chan int)}
	s := NewSender(d, StampSize, NewReceiver(0, 1, 1).From(0))
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = s.closed(ctx, 8) })
	if n := <-d.calls; n != 8 {
		t.Errorf("first batch of %d, want 8", n)
	}
	for s.Sent() != 8 {
		runtime.Gosched()
	}
	s.Rescue()
	if n := <-d.calls; n != 8 {
		t.Errorf("batch of %d after the rescue, want 8", n)
	}
	cancel()
	done.Wait()
	if s.Rescues() != 1 {
		t.Errorf("%d rescues counted", s.Rescues())
	}
}

func TestSenderReportsABrokenConnectionButNotItsOwnEnd(t *testing.T) {
	broken := errors.New("broken")
	s := NewSender(failing{broken}, StampSize)
	if err := s.closed(t.Context(), 0); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.closed(ctx, 0); err != nil {
		t.Errorf("after the end of the run: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Send(uint64, int, int64, int64) error { return f.err }
func (failing) Waited() int64                          { return 0 }

// pausing receives at once, but stops for a while once: what a node does that collects garbage.
type pausing struct {
	r      *Receiver
	from   int64 // when it stops
	pause  time.Duration
	waited int64
	own    bool // the pause is the generator's work, not the node's
}

func (p *pausing) Waited() int64 { return p.waited }

func (p *pausing) Send(first uint64, n int, at, step int64) error {
	if now := Now(); p.pause > 0 && now > p.from {
		time.Sleep(p.pause)
		p.pause = 0
		if !p.own {
			p.waited += Now() - now
		}
	}
	b := make([]byte, StampSize)
	p.r.Begin(Now())
	for i := range n {
		Stamp{Seq: first + uint64(i), At: at + int64(i)*step}.Put(b)
		p.r.Deliver(b)
	}
	p.r.Flush()
	return nil
}

const (
	length = time.Second
	pause  = 200 * time.Millisecond
)

// everyMillisecond runs an open loop for a second of a bubble's time, with one pause in its midst.
func everyMillisecond(t *testing.T, own bool) (*Sender, *pausing) {
	p := &pausing{r: NewReceiver(0, 1, 1), from: Now() + int64(300*time.Millisecond), pause: pause, own: own}
	p.r.Phase(0, 0)
	s := NewSender(p, StampSize)
	s.Sleep = SleepUntil
	ctx, cancel := context.WithTimeout(t.Context(), length+time.Microsecond)
	defer cancel()
	if err := s.open(ctx, constant(1e-6)); err != nil {
		t.Fatal(err)
	}
	return s, p
}

// within reports whether got lies as near to want as histograms are precise.
func within(got, want time.Duration) bool {
	return got >= want-want/100 && got <= want+want/100
}

// Coordinated omission: of 1 s with one pause of 200 ms, a fifth of the messages should have been sent during it. An
// honest p90 is 100 ms; a generator that waits for the node would have one late message in a thousand.
func TestOpenLoopChargesAPauseForEveryMessageItDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := everyMillisecond(t, false)
		if n := s.Sent(); n != uint64(length/time.Millisecond) {
			t.Errorf("%d sent in %v, want one each millisecond", n, length)
		}
		d := p.r.Delays(0)
		if p90 := time.Duration(d.Quantile(90)); !within(p90, pause/2) {
			t.Errorf("p90 %v, want %v: the pause is hidden", p90, pause/2)
		}
		if longest := time.Duration(d.Max()); !within(longest, pause) {
			t.Errorf("max %v, want the whole pause of %v", longest, pause)
		}
	})
}

// The time for which the node kept Send waiting is the node's, and so is the backlog that it leaves behind. What the
// generator takes for itself is its own, and each message of a batch is late by its own time.
func TestLagIsTheGeneratorsOwn(t *testing.T) {
	for _, own := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, _ := everyMillisecond(t, own)
			lag := s.Lag()
			if got := uint64(lag.Count()); got != s.Sent() {
				t.Errorf("own %v: lag of %d messages, %d were sent", own, got, s.Sent())
			}
			longest, p90 := time.Duration(lag.Max()), time.Duration(lag.Quantile(90))
			if !own && longest > time.Microsecond {
				t.Errorf("lag up to %v: the node's pause of %v is called the generator's", longest, pause)
			}
			if own && (!within(p90, pause/2) || !within(longest, pause-time.Millisecond)) { // a fifth of the messages, late by up to 199 ms
				t.Errorf("lag p90 %v, max %v: the generator's own pause is not seen as it was", p90, longest)
			}
		})
	}
}

func TestOpenLoopSendsAllThatWasDueBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pausing{r: NewReceiver(0, 1, 1), from: 1, pause: 100 * time.Millisecond}
		s := NewSender(p, StampSize)
		s.Sleep = SleepUntil
		end := Now() + int64(50*time.Millisecond) // in the midst of the pause
		s.Until(end)
		if err := s.open(t.Context(), constant(1e-6)); err != nil {
			t.Fatal(err)
		}
		if due := s.Due(end); s.Sent() != due || due != 49 {
			t.Errorf("%d sent of %d that were due in 50 ms, one each and the first after one", s.Sent(), due)
		}
	})
}

// Whatever sleeps, an open loop never sends before its time.
func TestPacersDoNotSendEarly(t *testing.T) {
	for name, p := range map[string]func(int64){"the system's": nil, "timers": SleepUntil} {
		early := &punctual{t: t, name: name}
		s := NewSender(early, StampSize)
		s.Sleep = p
		s.Last(50) // no end of time: it may have come before the loop has begun
		if err := s.open(t.Context(), constant(1e-5)); err != nil {
			t.Fatal(err)
		}
		if s.Sent() != 50 {
			t.Errorf("%s: %d sent, want 50", name, s.Sent())
		}
	}
}

// punctual takes messages not before they are due.
type punctual struct {
	t    *testing.T
	name string
}

func (p *punctual) Send(_ uint64, n int, at, step int64) error {
	if last := at + int64(n-1)*step; Now() < last {
		p.t.Errorf("%s: a message was sent %d ns early", p.name, last-Now())
	}
	return nil
}

func (*punctual) Waited() int64 { return 0 }

func TestDueCountsTheSchedule(t *testing.T) {
	s := NewSender(deaf{}, StampSize)
	if got := s.Due(1 << 40); got != 0 {
		t.Errorf("%d due without a schedule", got)
	}
	s.plan.Store(&plan{constant(0.1), 990})
	for at, want := range map[int64]uint64{0: 0, 1000: 0, 1001: 1, 1010: 1, 1011: 2, 1100: 10} {
		if got := s.Due(at); got != want {
			t.Errorf("before %d: %d, want %d", at, got, want)
		}
	}
}
