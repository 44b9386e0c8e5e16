package load

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func staged(t *testing.T, text string, warmup time.Duration) schedule {
	t.Helper()
	s, err := ParseStages(text)
	if err != nil {
		t.Fatal(err)
	}
	return Case{Stages: s, Warmup: warmup}.schedule(0, 1)
}

// Messages are counted as they are due, none twice and none left out, whatever the rates do.
func TestScheduleCountsWhatIsDue(t *testing.T) {
	for name, s := range map[string]schedule{
		"a constant rate":       constant(1.0 / 3),
		"one a second":          constant(1e-9),
		"up and down":           staged(t, "1000:1s,3000:2s,500:0s,500:1s,7:500ms", 0),
		"down from the begin":   staged(t, "900:1ms,1:1s", 0),
		"warm-up and one stage": staged(t, "1234:3s", 700*time.Millisecond),
	} {
		last := int64(0)
		for i := range uint64(3000) {
			due := s.due(i)
			if due == never {
				break
			}
			if due < last || s.count(due) > i || s.count(due+1) < i+1 {
				t.Fatalf("%s: message %d is due at %d, the one before at %d; %d before, %d until then", name, i, due, last, s.count(due), s.count(due+1))
			}
			last = due
		}
	}
}

// In a stage the rate goes evenly from the one before it to its own.
func TestStagesRampEvenly(t *testing.T) {
	s := staged(t, "1000:2s,3000:4s,500:0s,500:1s", time.Second)
	for _, c := range []struct {
		at   time.Duration
		want float64 // messages before it
	}{{time.Second, 1000}, {3 * time.Second, 3000}, {5 * time.Second, 3000 + 2*1500}, {7 * time.Second, 3000 + 8000}, {8 * time.Second, 11500}, {time.Hour, 11500}} {
		if got := float64(s.count(int64(c.at))); math.Abs(got-c.want) > 1 {
			t.Errorf("before %v: %v messages, want %v", c.at, got, c.want)
		}
	}
	if s.due(11501) != never {
		t.Error("messages after the last stage")
	}
	for _, bad := range []string{"", "1000", "1000:", "0:1s", "x:1s", "10:-1s", "10:0s", "10:1s,,", "100000000:1s"} {
		if _, err := ParseStages(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if got := Stages("1:1s,2:500ms").Length(); got != 1500*time.Millisecond {
		t.Errorf("they take %v", got)
	}
}

// A rate of all senders is shared out, and an open loop follows its stages to their end.
func TestOpenLoopFollowsItsStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Case{Stages: "2000:1s,6000:1s"}
		s := NewSender(taking{}, StampSize)
		s.Sleep = SleepUntil
		begun := time.Now()
		if err := s.open(t.Context(), c.schedule(1, 2)); err != nil {
			t.Fatal(err)
		}
		if n, took := s.Sent(), time.Since(begun); n < 2999 || n > 3000 || took > 2*time.Second {
			t.Errorf("one of two senders sent %d in %v, want half of 2,000 and of 4,000 in 2 s", n, took)
		}
	})
	if a, b := (Case{TotalRate: 3000}).schedule(1, 3), (Case{Rate: 1000}).schedule(1, 3); a.due(999) != b.due(999) {
		t.Errorf("a third of 3,000/s: message 1000 at %d, of 1,000/s at %d", a.due(999), b.due(999))
	}
}

// Senders take turns, so that what is let out of all together comes evenly, at whatever rate and however many there are.
func TestSendersTakeTurns(t *testing.T) {
	const n = 200
	for name, x := range map[string]struct {
		c    Case
		each time.Duration // between two messages of all
	}{
		"a total rate": {Case{TotalRate: 100}, 10 * time.Millisecond},
		"a rate":       {Case{Rate: 5}, time.Millisecond},
		"stages":       {Case{Stages: "1000:1s,1000:3s"}, time.Millisecond},
	} {
		var due []int64
		for k := range n {
			s := x.c.schedule(k, n)
			for i := range uint64(3) {
				due = append(due, s.due(i))
			}
		}
		slices.Sort(due)
		for i, at := range due {
			if want := int64(x.each) * int64(i+1); at < want-1 || at > want+1 {
				t.Fatalf("%s: message %d of all is due at %v, want %v", name, i, time.Duration(at), time.Duration(want))
			}
		}
	}
}

func TestLoopsEndWithTheirLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, loop := range map[string]func(*Sender) error{
			"open":   func(s *Sender) error { return s.open(t.Context(), constant(1e-6)) },
			"closed": func(s *Sender) error { return s.closed(t.Context(), 10) },
		} {
			s := NewSender(taking{}, StampSize)
			s.Sleep = SleepUntil
			s.Last(777)
			if err := loop(s); err != nil || s.Sent() != 777 {
				t.Errorf("%s: %d sent, %v; want 777", name, s.Sent(), err)
			}
		}
	})
}

// taking takes everything at once.
type taking struct{}

func (taking) Send(uint64, int, int64, int64) error { return nil }
func (taking) Waited() int64                        { return 0 }

// Processes of a machine read one clock by one name.
func TestClockIsSharedAndNamed(t *testing.T) {
	before, name := Now(), ClockName()
	uptime, err := os.ReadFile("/proc/uptime") // of the same clock, or of one that also counts suspension
	if err != nil {
		t.Fatal(err)
	}
	after, again := Now(), ClockName()
	var seconds float64
	if _, err := fmt.Sscan(string(uptime), &seconds); err != nil {
		t.Fatal(err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		t.Fatal(err)
	}
	if name == "" || again != name || after < before || float64(before-1<<61) > (seconds+1)*1e9 || ts.Nano() < before-1<<61 {
		t.Errorf("%d by %q, then %d by %q, %g s after the start", before, name, after, again, seconds)
	}
}
