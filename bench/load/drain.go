package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/process"
)

const (
	stillFor   = rescueAfter * 3 / 2
	DrainQuiet = 20 * time.Second // of silence, after which the rest is lost: busy machines stand still at times
	LossQuiet  = 2 * time.Second  // the same where it changes no verdict
	DrainLimit = time.Minute      // for which the rest is awaited at most
	stopLimit  = 2 * time.Second  // for a sender that the node keeps waiting, and for the backlog of an open loop
)

// finish stops the senders, waits for what is still under way, and judges. failed: the measurement has, whatever comes.
func (t *Traffic) finish(ctx context.Context, failed bool) error {
	stopped := t.stop()
	still := t.owed() && time.Duration(Now()-max(t.arrivals().Last, t.begun.At)) > stillFor
	t.drain(ctx, failed)
	err := t.Rig.Broken()
	if !stopped { // what such a sender had left in its buffers is no loss of the node: judged as sent it was not
		t.Rig.disconnect()
		<-t.ended
	}
	t.settle()
	i := max(0, slices.IndexFunc(t.Phases, func(p Phase) bool { return p.Prefix == "" }))
	if t.Phases[i].Prefix == "" || t.Rig.Histogram == "" { // that of which percentiles are told without a word before them
		t.Rig.Histogram = t.Delays(i).Histogram()
	}
	t.Verdict = t.judge()
	if err == nil && still && t.Verdict.Lost > 0 {
		err = fmt.Errorf("the node had delivered nothing for %v at the end, although messages were under way", stillFor)
	}
	return errors.Join(err, t.err)
}

// stop ends the senders: open loops when they have sent what was due until now. It is false while one still waits for the node.
func (t *Traffic) stop() bool {
	if t.Open() {
		now := Now()
		for _, s := range t.senders {
			s.Until(now)
		}
		t.endedWithin(stopLimit)
	}
	t.cancel()
	t.looking.Wait()
	return t.endedWithin(stopLimit)
}

// endedWithin waits for the senders, and reports whether they ended in time.
func (t *Traffic) endedWithin(limit time.Duration) bool {
	select {
	case <-t.ended:
		return true
	case <-time.After(limit):
		return false
	}
}

// drain waits until everything has arrived, or nothing arrives any more.
func (t *Traffic) drain(ctx context.Context, failed bool) {
	// A message is lost for certain if a later one of its sender has come, but for instances that share theirs.
	lost := func(f Flow) bool { return !f.Slow && !f.Seen.shared && f.Seen.Seen().Missing > 0 }
	last, moved := uint64(0), time.Now()
	_ = process.Until(ctx, 10*time.Millisecond, DrainLimit, func() bool {
		if n := t.arrivals().Messages; n != last {
			last, moved = n, time.Now()
		}
		v, quiet := t.judge(), time.Since(moved)
		certain := failed || v.Lost == 0 || t.Rig.Broken() != nil || slices.ContainsFunc(t.flows, lost)
		return v.Lost+v.SlowLost == 0 || quiet >= DrainQuiet || certain && quiet >= LossQuiet
	})
}

// settle ends the recording of delays, and charges what has not arrived with the time for which it has been awaited: it
// would have been at least so late. That meets what was lost, and in an open loop what the node never let out.
func (t *Traffic) settle() {
	for _, r := range t.receivers {
		r.Settle()
	}
	now := Now()
	for i := range t.Spans {
		span := &t.Spans[i]
		span.absent = NewLatency()
		for _, f := range t.flows {
			if st := span.sent[f.From]; !f.Slow && st.first < st.end {
				for _, h := range f.Seen.Holes(st.end) {
					charge(span.absent, h, st, now)
				}
			}
		}
	}
}

// charge records what is missing of a stretch.
func charge(to *Latency, h Hole, st stretch, now int64) {
	if from, end := max(h.From, st.first), min(h.To, st.end); from < end {
		n := float64(h.Missing) * float64(end-from) / float64(h.To-h.From)
		to.RecordSpread(int64(n+0.5), now-st.at(end), now-st.at(from))
	}
}

// Verdict sums up what the sequences say.
type Verdict struct {
	Lost, Duplicates, Reordered, Foreign, Changed, Rescues uint64
	SlowLost                                               uint64 // of flows where loss is expected
}

func (t *Traffic) judge() (v Verdict) {
	for _, f := range t.flows {
		sent, seen := f.From.Sent(), f.Seen.Seen()
		lost := seen.Missing + max(sent, seen.Next) - seen.Next
		if f.Slow {
			v.SlowLost += lost
		} else {
			v.Lost += lost
		}
		v.Duplicates += seen.Duplicates
		if !f.Seen.shared { // several receivers do not wait for each other: their order says nothing
			v.Reordered += seen.Reordered
		}
	}
	for _, s := range t.senders {
		v.Rescues += s.Rescues()
	}
	got := t.arrivals()
	v.Foreign, v.Changed = got.Foreign, got.Changed
	return v
}

// Delays merges what was recorded in phase i, and what was to come in it and has not. Only after Run.
func (t *Traffic) Delays(i int) *Latency {
	sum := NewLatency()
	for _, r := range t.receivers {
		sum.Merge(r.Delays(i))
	}
	if i < len(t.Spans) {
		sum.Merge(t.Spans[i].absent)
	}
	return sum
}

// Lag is how late the generator itself sent, in an open loop; of a closed one nothing. Only after Run.
func (t *Traffic) Lag() *Latency {
	sum := NewLatency()
	for _, s := range t.senders {
		sum.Merge(s.Lag())
	}
	return sum
}
