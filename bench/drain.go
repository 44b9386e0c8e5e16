package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

const (
	drainQuiet = 2 * time.Second // nothing arrived for so long: the rest is lost
	drainLimit = 10 * time.Second
	stopLimit  = 2 * time.Second // for a sender that the node keeps waiting, and for the backlog of an open loop
	stillFor   = rescueAfter * 3 / 2
)

// finish stops the senders, waits for what is still under way, and judges. Nothing of the traffic runs any more when it
// returns.
func (t *traffic) finish(ctx context.Context) (verdict, error) {
	stopped := t.stop()
	err := t.rig.Broken()
	still := t.owed() && t.silence() > stillFor
	t.drain(ctx)
	if !stopped { // what such a sender had left in its buffers is no loss of the node: judged as sent it was not
		for _, c := range t.publisher {
			_ = c.Close()
		}
		t.sending.Wait()
	}
	t.settle()
	if t.rig.curve == nil {
		t.rig.curve = curve(t.delays(0))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.judge()
	if err == nil && still && v.lost > 0 {
		err = fmt.Errorf("the node had delivered nothing for %v at the end, although messages were under way", stillFor)
	}
	return v, errors.Join(err, t.err)
}

// stop ends the senders: open loops when they have sent what was due until now. It is false while one still waits for
// the node.
func (t *traffic) stop() bool {
	if t.p.Rate > 0 {
		now := load.Now()
		for _, s := range t.senders {
			s.Until(now)
		}
		ended(&t.sending, stopLimit)
	}
	t.cancel()
	t.looking.Wait()
	return ended(&t.sending, stopLimit)
}

// ended waits for a group, and reports whether it ended within the limit.
func ended(g *sync.WaitGroup, limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// drain waits until everything has arrived, or nothing arrives any more.
func (t *traffic) drain(ctx context.Context) {
	begin, moved, last := time.Now(), time.Now(), uint64(0)
	for time.Since(moved) < drainQuiet && time.Since(begin) < drainLimit {
		if t.judge().open() == 0 || sleep(ctx, 10*time.Millisecond) != nil {
			return
		}
		if n := t.total(); n != last {
			last, moved = n, time.Now()
		}
	}
}

// settle ends the recording of delays, and charges what has not arrived with the time for which it has been awaited: it
// would have been at least so late. That meets what was lost, and in an open loop what the node never let out.
func (t *traffic) settle() {
	for _, r := range t.receivers {
		r.Settle()
	}
	now := load.Now()
	for i, c := range t.courses {
		t.absent[i] = load.NewLatency()
		for _, f := range t.flows {
			if st := c[f.from]; !f.slow && st.first < st.end {
				for _, h := range f.seen.Holes(st.end) {
					charge(t.absent[i], h, st, now)
				}
			}
		}
	}
}

// charge records what is missing of a stretch.
func charge(to *load.Latency, h load.Hole, st stretch, now int64) {
	from, end := max(h.From, st.first), min(h.To, st.end)
	if from >= end {
		return
	}
	n := float64(h.Missing) * float64(end-from) / float64(h.To-h.From)
	to.RecordSpread(int64(n+0.5), now-st.at(end), now-st.at(from))
}

// verdict sums up what the sequences say.
type verdict struct {
	sent, lost, duplicates, reordered, foreign, changed, rescues uint64
	slowLost                                                     uint64 // of flows where loss is expected
}

func (v verdict) open() uint64 { return v.lost + v.slowLost }

func (t *traffic) judge() verdict {
	var v verdict
	for _, f := range t.flows {
		sent, seen := f.from.Sent(), f.seen.Seen()
		lost := seen.Missing
		if sent > seen.Next {
			lost += sent - seen.Next
		}
		if f.slow {
			v.slowLost += lost
		} else {
			v.lost += lost
		}
		v.duplicates += seen.Duplicates
		if !f.any {
			v.reordered += seen.Reordered
		}
	}
	for _, s := range t.senders {
		v.sent += s.Sent()
		v.rescues += s.Rescues()
	}
	for _, r := range t.receivers {
		v.foreign += r.Foreign()
		v.changed += r.Changed()
	}
	return v
}

// delays merges what was recorded in phase i. Only after finish.
func (t *traffic) delays(i int) *load.Latency {
	sum := load.NewLatency()
	for _, r := range t.receivers {
		sum.Merge(r.Delays(i))
	}
	sum.Merge(t.absent[i])
	return sum
}
