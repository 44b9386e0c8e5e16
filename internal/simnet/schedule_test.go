package simnet

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestSchedule(t *testing.T) {
	begin := time.Unix(1_000_000, 0)
	s := Schedule{Now: begin}
	var got []string
	say := func(what string) func() {
		return func() { got = append(got, fmt.Sprint(s.Now.Sub(begin), " ", what)) }
	}
	s.After(2*time.Second, say("later"))
	s.After(time.Second, say("first"))
	s.After(time.Second, func() {
		say("second")()
		s.After(0, say("at once"))
		s.After(5*time.Second, say("last"))
	})
	s.Run(2 * time.Second)
	if want := []string{"1s first", "1s second", "1s at once", "2s later"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s.Run(time.Second)
	if d := s.Now.Sub(begin); d != 3*time.Second {
		t.Errorf("it is %v", d)
	}
	s.Finish()
	if len(got) != 5 || got[4] != "6s last" {
		t.Errorf("%q", got)
	}
}

func TestFaults(t *testing.T) {
	f := Faults{Seed: 7, Delay: time.Second, Jitter: time.Second, Loss: 0.1, Duplicate: 0.2, Late: 0.3, Lag: time.Minute}
	const n = 10000
	var none, two, late int
	for i := range uint64(n) {
		copies := f.Copies("a to b", i)
		if !slices.Equal(copies, f.Copies("a to b", i)) {
			t.Fatal("the same message has fared otherwise")
		}
		switch len(copies) {
		case 0:
			none++
		case 2:
			two++
		}
		for _, c := range copies {
			switch most := f.Delay + f.Jitter; {
			case c.Late:
				late++
			case c.After >= most:
				t.Errorf("after %v", c.After)
			}
			if c.After < f.Delay {
				t.Errorf("after %v", c.After)
			}
		}
	}
	for what, share := range map[string][2]float64{
		"lost": {float64(none) / n, 0.1}, "twice": {float64(two) / n, 0.9 * 0.2}, "late": {float64(late) / n, 0.3 * 0.9 * 1.2},
	} {
		if share[0] < share[1]*0.8 || share[0] > share[1]*1.2 {
			t.Errorf("%s: %v, want about %v", what, share[0], share[1])
		}
	}
	if slices.Equal(f.Copies("a to b", 1), f.Copies("b to a", 1)) {
		t.Error("both ways are alike")
	}
}
