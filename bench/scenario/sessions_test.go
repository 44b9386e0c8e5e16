package scenario

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/session"
)

func TestEarsCountWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name                  string
		numbers               []uint64
		duplicates, reordered uint64
	}{
		{"in order", []uint64{0, 1, 2, 3}, 0, 0},
		{"the first is missing", []uint64{1, 2}, 0, 1},
		{"a gap", []uint64{0, 2, 3}, 0, 1},
		{"twice", []uint64{0, 1, 1, 2}, 1, 0},
	} {
		var e ears
		next := uint64(0)
		for _, n := range c.numbers {
			next = e.count(next, n)
		}
		if e.received.Load() != uint64(len(c.numbers)) || e.duplicates.Load() != c.duplicates || e.reordered.Load() != c.reordered {
			t.Errorf("%s: %d received, %d twice, %d out of order", c.name, e.received.Load(), e.duplicates.Load(), e.reordered.Load())
		}
	}
}

// Several sessions of one app are all opened, talk, and are looked at when they are idle; a group is told of by its last join.
func TestSessionsAreOpenedAndLookedAt(t *testing.T) {
	t.Parallel()
	tg := ownNode(t)
	ms := metrics(t, tg, "mls", quick(func(p *result.Params) { p.Members, p.Sessions, p.Count = 2, 30, 90 }))
	for _, name := range []string{"joins", "messages delivered", "sender CPU per delivered", "receiver CPU per delivered", "p50"} {
		if ms[name] <= 0 {
			t.Errorf("%s: %v", name, ms[name])
		}
	}
	if _, told := ms["receiver RSS per idle session"]; !told || ms["sessions"] != 30 || ms["last join"] != 0 {
		t.Errorf("got %v", ms)
	}
	ms = metrics(t, tg, "session", quick(func(p *result.Params) { p.Members = 5 }))
	if _, told := ms["receiver RSS per idle session"]; told || ms["last join"] <= 0 || ms["lost"] != 0 {
		t.Errorf("of a group: %v", ms)
	}
}

// What the other process cannot do is told with its words, and what sessions cannot be measured by before anything is started.
func TestSessionsSayWhyTheyCannotBeMeasured(t *testing.T) {
	t.Parallel()
	if _, err := engage(t.Context(), cast{Node: "nowhere://x", Secret: strings.Repeat("s", 32), Names: []string{"bench/test/one"}}); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a node that cannot be: %v", err)
	}
	g, err := load.NewRig(t.Context(), load.Target{Addrs: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	p := with(func(p *result.Params) { p.Members = 1 })
	if _, err := load1(t, "mls").Run(t.Context(), g, p); err == nil || !strings.Contains(err.Error(), "nobody to talk with") {
		t.Errorf("one alone: %v", err)
	}
}

// A run that is interrupted tells what there was until then, with what the other process has heard.
func TestSessionsThatAreInterruptedTellWhatTheyHave(t *testing.T) {
	t.Parallel()
	g, err := load.NewRig(t.Context(), ownNode(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := with(func(p *result.Params) { p.Members, p.Sessions, p.Warmup, p.Duration = 2, 1, 0, time.Hour })
	s := &talk{p: p, rig: g, options: session.SessionOptions{Plain: true, Retries: 600}, delays: load.NewLatency()}
	defer func() {
		if err := s.close(ctx); err != nil {
			t.Error(err)
		}
	}()
	if err := s.connect(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.meet(ctx); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = process.Until(ctx, time.Millisecond, time.Minute, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.delays.Count() > 100
		})
		first, err := s.others.tell("") // what is acknowledged need not have been read yet
		_ = process.Until(ctx, time.Millisecond, time.Minute, func() bool {
			now, bad := s.others.tell("")
			return err != nil || bad != nil || now.Received > first.Received
		})
		cancel()
	}()
	from, to, err := s.run(ctx, 1, s.send)
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "the process of") {
		t.Errorf("got %v", err)
	}
	if ms := s.rates(from, to); value(ms, "messages delivered") <= 0 {
		t.Errorf("got %v", ms)
	}
}
