package router

import (
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// Whoever scrapes asks no loop, and disturbs none.
func TestStatsAreReadWhileTrafficFlows(t *testing.T) {
	n := start(t, Options{Loops: 2})
	a, b := call(t, n), call(t, n)
	b.subscribe(bob)
	stop := make(chan struct{})
	var scrapers sync.WaitGroup
	for range 2 {
		scrapers.Go(func() {
			var last Stats
			for {
				s := n.Stats()
				if s.Received < last.Received || s.Delivered < last.Delivered || s.Bytes < last.Bytes {
					t.Errorf("counters go back: %+v after %+v", s, last)
				}
				last = s
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	const count = 300
	msg := publication(a.sign(header(alice, bob, 1, "x")), 0, 3000)
	for range count {
		a.send(msg)
	}
	b.await(func() bool { return len(b.got) == count })
	close(stop)
	scrapers.Wait()
	until(t, "the loops show what they did", func() bool {
		s := n.Stats()
		return s.Received == count+1 && s.Delivered == count && s.Connections == 2 &&
			s.Waiting == 0 && s.WaitingBytes == 0 && s.Held == 0 && s.Unfinished == 0
	})
}

// A node whose loops do not run answers all the same, and says so.
func TestStatsOfLoopsThatStandStill(t *testing.T) {
	r := newRig(t, 2, Options{})
	now := time.Now()
	r.loops[0].RunTick(now.Add(hang))
	r.loops[1].RunTick(now.Add(-time.Minute))
	if s := r.n.Stats(); s.Late != 1 {
		t.Errorf("%d loops are late, want 1", s.Late)
	}
}

// checkGauges compares what the loops count on the way with what is there.
func (r *rig) checkGauges() {
	r.t.Helper()
	var want Stats
	for _, p := range r.peers {
		if c := p.c; c != nil && c.state != gone {
			want.Waiting += int64(c.q.n)
			want.WaitingBytes += int64(c.q.bytes)
			want.Held += int64(c.held)
			if c.q.stalled {
				want.Stalled++
			}
		}
	}
	s := r.stats()
	got := [...]int64{s.Waiting, s.WaitingBytes, s.Held, s.Stalled}
	if want := [...]int64{want.Waiting, want.WaitingBytes, want.Held, want.Stalled}; got != want {
		r.t.Errorf("waiting, their bytes, held, stalled: %d, want %d", got, want)
	}
}

func TestGaugesAgreeWithWhatIsThere(t *testing.T) {
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			r, a, dead, alive := stuffed(t, Options{}, where.loops, where.dest)
			r.checkGauges()
			s := r.stats()
			if s.Waiting == 0 || s.Held == 0 || s.Blocked == 0 {
				t.Errorf("nothing is held up: %+v", s)
			}
			a.raw(append([]byte{0, 0, 0, 0x40, 0}, make([]byte, 2000)...)) // a message that is not complete
			if s := r.stats(); s.Unfinished < 2000 {
				t.Errorf("%d bytes are unfinished", s.Unfinished)
			}
			r.pass(time.Second) // it is stalled
			r.checkGauges()
			dead.paused = false
			dead.exchange()
			r.pass(time.Second)
			dead.exchange()
			r.checkGauges()
			a.abandon()
			dead.abandon()
			alive.abandon()
			s = r.stats()
			s.Dropped, s.Refused = nil, nil
			for _, g := range s.gauges() {
				if g.value != 0 && g.name != "late_loops" {
					t.Errorf("%s is %d after everybody has left", g.name, g.value)
				}
			}
		})
	}
}

// What one loop writes and others read shares no cache line with what it counts in.
func TestShownCountersStandApart(t *testing.T) {
	var n counters
	if d := unsafe.Offsetof(n.shown) - unsafe.Sizeof(n.tally); d < 128 {
		t.Errorf("%d bytes between", d)
	}
	var s shown
	if d := unsafe.Offsetof(s.conns) - unsafe.Offsetof(s.refused) - unsafe.Sizeof(s.refused); d < 128 {
		t.Errorf("%d bytes between counters and gauges", d)
	}
}

func TestEveryReasonAndGaugeIsInTheCountersRecord(t *testing.T) {
	s := Stats{Dropped: map[Reason]uint64{}, Refused: map[Reason]uint64{}}
	for r := reasonNone + 1; r < numReasons; r++ {
		s.Dropped[r], s.Refused[r] = 1, 1
		if strings.TrimLeft(r.String(), "abcdefghijklmnopqrstuvwxyz_0123456789") != "" || r.String() == "" {
			t.Errorf("reason %d is called %q", r, r)
		}
	}
	if n, want := len(s.Attrs()), 1+len(s.gauges())+6+2*int(numReasons-1); n != want {
		t.Errorf("%d attributes, want %d", n, want)
	}
}

// docs/operations.md tells of every number that a node logs, and of no other reason.
func TestOperationsTellOfEveryNumber(t *testing.T) {
	b, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(rest, "`")
			rows[name]++
		}
	}
	var s Stats
	for _, a := range s.Attrs()[1:] {
		if key := a.(slog.Attr).Key; rows[key] != 1 {
			t.Errorf("%s is told of %d times, want once", key, rows[key])
		}
	}
	twice := map[Reason]bool{ReasonTooLarge: true, ReasonStalled: true, ReasonQueued: true, ReasonDenied: true} // messages and peers
	for r := reasonNone + 1; r < numReasons; r++ {
		want := 1
		if twice[r] {
			want = 2
		}
		if rows[r.String()] != want {
			t.Errorf("reason %v is told of %d times, want %d", r, rows[r.String()], want)
		}
	}
	for _, line := range []string{"receiver takes too little", "receiver is too slow for others that wait for it",
		"too much waits in the node, and most for this receiver", "receiver has caught up"} {
		if !strings.Contains(string(b), line) {
			t.Errorf("%q is not told of", line)
		}
	}
}
