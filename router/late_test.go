package router

import (
	"testing"
	"time"
)

func TestLateAcknowledgementsKeepTheirOrder(t *testing.T) {
	t.Parallel() // beside those that wait
	var l lateAcks
	start, pushed, popped := time.Unix(1000, 0), uint64(0), uint64(0)
	if _, ok := l.wait(start); ok {
		t.Error("an empty list waits for something")
	}
	for round := range 200 {
		now := start.Add(time.Duration(round) * time.Millisecond)
		for range 100 {
			if only := l.push(lateAck{id: pushed, due: now.Add(20 * time.Millisecond)}); only != (pushed == popped) {
				t.Fatalf("push %d: only = %v, %d have left", pushed, only, popped)
			}
			pushed++
		}
		for {
			a, ok := l.pop(now)
			if !ok {
				break
			}
			if a.id != popped {
				t.Fatalf("popped %d, want %d", a.id, popped)
			}
			popped++
		}
		if d, ok := l.wait(now); !ok || d <= 0 || d > 20*time.Millisecond {
			t.Fatalf("round %d: the next waits %v, %v", round, d, ok)
		}
		if len(l.acks) > 4*2100 {
			t.Fatalf("%d places for %d acknowledgements", len(l.acks), pushed-popped)
		}
	}
	if popped != 18_000 {
		t.Errorf("%d were due, want 18,000", popped)
	}
	for range pushed - popped {
		l.pop(start.Add(time.Hour))
	}
	if l.acks != nil {
		t.Error("an empty list keeps memory")
	}
}
