package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestSequenceTellsLossDuplicatesAndReordering(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []uint64
		want Seen
	}{
		{"nothing", nil, Seen{}},
		{"in order", []uint64{0, 1, 2}, Seen{Next: 3, Received: 3}},
		{"a gap is missing", []uint64{0, 3}, Seen{Next: 4, Received: 2, Missing: 2}},
		{"the first never came", []uint64{1}, Seen{Next: 2, Received: 1, Missing: 1}},
		{"again is a duplicate", []uint64{0, 0, 1, 0}, Seen{Next: 2, Received: 4, Duplicates: 2}},
		{"late is reordered, and no longer missing", []uint64{0, 2, 1}, Seen{Next: 3, Received: 3, Reordered: 1}},
		{"late twice is reordered once, duplicate once", []uint64{0, 2, 1, 1}, Seen{Next: 3, Received: 4, Reordered: 1, Duplicates: 1}},
		{"late from the middle of a gap", []uint64{5, 2}, Seen{Next: 6, Received: 2, Missing: 4, Reordered: 1}},
		{"a gap filled backwards", []uint64{4, 3, 2, 1, 0}, Seen{Next: 5, Received: 5, Reordered: 4}},
		{"duplicate of a message behind a gap", []uint64{0, 5, 5, 0}, Seen{Next: 6, Received: 4, Missing: 4, Duplicates: 2}},
		{"two gaps", []uint64{1, 3, 0, 2, 2}, Seen{Next: 4, Received: 5, Reordered: 2, Duplicates: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var q Sequence
			for _, n := range c.in {
				q.See(n)
			}
			q.Publish()
			if got := q.Seen(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// A sequence agrees with a set of everything seen, for any damage.
func TestSequenceAgreesWithASet(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q Sequence
		seen := map[uint64]bool{}
		var want Seen
		for range 300 {
			n := uint64(r.IntN(200))
			q.See(n)
			want.Received++
			switch {
			case seen[n]:
				want.Duplicates++
			case n < want.Next:
				want.Reordered++
			default:
				want.Next = n + 1
			}
			seen[n] = true
		}
		want.Missing = want.Next - uint64(len(seen))
		q.Publish()
		if got := q.Seen(); got != want {
			t.Fatalf("seed %d: got %+v, want %+v", seed, got, want)
		}
	}
}

func TestSequenceForgetsOldestGapsBeyondItsBound(t *testing.T) {
	var q Sequence
	const n = maxGaps + 10
	for i := range uint64(n) {
		q.See(2*i + 1)
	}
	if len(q.gaps) != maxGaps {
		t.Fatalf("%d gaps kept, want %d", len(q.gaps), maxGaps)
	}
	q.See(2*n - 2) // the newest gap is known
	q.See(0)       // the oldest is not
	q.Publish()
	if got := q.Seen(); got.Reordered != 1 || got.Duplicates != 1 || got.Missing != n-1 {
		t.Errorf("got %+v", got)
	}
}

func TestStampComesBackFromTheEndOfAMessage(t *testing.T) {
	want := Stamp{Seq: 1<<39 + 7, At: 123456789, Sender: 42}
	b := make([]byte, 100)
	for _, size := range []int{StampSize, 60, 100} {
		want.Put(b[len(b)-size:])
		if got, ok := ReadStamp(b); !ok || got != want {
			t.Errorf("a payload of %d bytes: got %+v %v, want %+v", size, got, ok, want)
		}
		for i := range b {
			b[i] ^= 0x10
			if got, ok := ReadStamp(b); ok != (i < len(b)-size) {
				t.Errorf("byte %d of a payload of %d was changed: got %+v %v", i-len(b)+size, size, got, ok)
			}
			b[i] ^= 0x10
		}
	}
	if _, ok := ReadStamp(b[:99]); ok {
		t.Error("a stamp that is cut was taken")
	}
	if _, ok := ReadStamp(b[:10]); ok {
		t.Error("a message shorter than a stamp was taken")
	}
}

// Of a long payload each byte is covered in one message or another, and the last ones in each.
func TestLongPayloadsAreCoveredInTurn(t *testing.T) {
	b := make([]byte, 9000)
	for i := range b[:len(b)-StampSize] {
		found := 0
		for seq := range uint64(50) {
			Stamp{Seq: seq}.Put(b)
			if _, ok := ReadStamp(b); !ok {
				t.Fatalf("message %d as it was sent was not taken", seq)
			}
			b[i] ^= 1
			if _, ok := ReadStamp(b); !ok {
				found++
			}
			b[i] = 0
		}
		if found == 0 || i >= len(b)-StampSize-maxPart && found != 50 {
			t.Fatalf("a change of byte %d is found in %d messages of 50", i, found)
		}
	}
}

func TestReceiverAllocatesNothing(t *testing.T) {
	r := NewReceiver(3, 2, 1)
	r.Phase(0, 0)
	b := make([]byte, 64)
	var seq uint64
	batch := func() {
		r.Begin(1000)
		for range 4 {
			Stamp{Seq: seq, At: 10, Sender: 4}.Put(b[len(b)-StampSize:])
			r.Deliver(b)
			seq++
		}
		r.Flush()
	}
	batch()
	if n := testing.AllocsPerRun(100, batch); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n, bytes := r.Arrivals().Messages, r.Arrivals().Bytes; n != seq || bytes != seq*64 {
		t.Errorf("total %d messages, %d bytes after %d of 64", n, bytes, seq)
	}
	if got := r.From(4).Seen(); got.Next != seq || got.Missing != 0 {
		t.Errorf("sender 4: %+v", got)
	}
	if got := r.Delays(0).Count(); got != int64(seq) {
		t.Errorf("%d delays of %d", got, seq)
	}
}

func TestReceiverCountsForeignAndChangedMessages(t *testing.T) {
	r := NewReceiver(3, 2, 1)
	b := make([]byte, 64)
	r.Begin(1)
	r.Deliver(b)
	for _, sender := range []uint32{2, 5} {
		Stamp{Sender: sender}.Put(b[len(b)-StampSize:])
		r.Deliver(b)
	}
	Stamp{Sender: 3}.Put(b[len(b)-StampSize:])
	r.Deliver(b)
	r.Flush()
	if n := r.Arrivals().Messages; n != 1 || r.Arrivals().Foreign != 2 || r.Arrivals().Changed != 1 {
		t.Errorf("%d of ours, %d foreign, %d changed; want 1, 2, 1", n, r.Arrivals().Foreign, r.Arrivals().Changed)
	}
}

// A message belongs to the phase in which it was to be sent, also when it arrives behind its end, or in the next one.
func TestReceiverRecordsByStamp(t *testing.T) {
	r := NewReceiver(0, 1, 2)
	b := make([]byte, StampSize)
	deliver := func(seq uint64, at, now int64) {
		Stamp{Seq: seq, At: at}.Put(b)
		r.Begin(now)
		r.Deliver(b)
		r.Flush()
	}
	deliver(0, 10, 20) // before
	r.Phase(1, 100)
	deliver(1, 90, 120) // sent before the phase
	deliver(2, 110, 150)
	deliver(3, 140, 400)
	if got := r.End(500, 600); got != 250 {
		t.Errorf("silence %d, want 250", got)
	}
	deliver(4, 490, 800) // held back beyond the end
	deliver(5, 500, 600) // sent behind it
	r.Phase(0, 900)
	deliver(6, 495, 950) // held back into the next phase
	deliver(7, 910, 960)
	if got := r.End(1000, 1600); got != 640 {
		t.Errorf("silence with its open end %d, want 640", got)
	}
	r.Phase(0, 2000)
	if got := r.End(2100, 2500); got != 500 {
		t.Errorf("silence of a phase in which nothing came %d, want all its 500", got)
	}
	r.Settle()
	deliver(8, 499, 2600) // too late for anything
	if a, b := r.Delays(0).Count(), r.Delays(1).Count(); a != 1 || b != 4 {
		t.Errorf("%d and %d delays, want 1 and 4", a, b)
	}
	if a, b := r.Delays(0).Max(), r.Delays(1).Max(); a != 50 || b != 455 {
		t.Errorf("longest delays %d and %d, want 50 and 455", a, b)
	}
}

func TestSequenceTellsItsHoles(t *testing.T) {
	r := NewReceiver(0, 1, 1)
	q := r.From(0)
	for _, n := range []uint64{0, 1, 5, 6, 9} {
		q.See(n)
	}
	want := []Hole{{2, 5, 3}, {7, 9, 2}, {10, 12, 2}}
	if got := q.Holes(12); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := q.Holes(10); !slices.Equal(got, want[:2]) {
		t.Errorf("up to what came: got %v, want %v", got, want[:2])
	}
	for n := uint64(11); n < 11+2*(maxGaps+10); n += 2 { // more gaps than are kept
		q.See(n)
	}
	missing := uint64(0)
	holes := q.Holes(0)
	for _, h := range holes {
		missing += h.Missing
	}
	if want := q.seen.Missing; missing != want || holes[0].From != 2 || holes[0].To != holes[1].From-1 { // between two gaps one came
		t.Errorf("%d of %d missing ones are in holes; the oldest is %v before %v", missing, want, holes[0], holes[1])
	}
}

func TestLatencySpreadsDelays(t *testing.T) {
	for _, n := range []int64{1, 10, 100_000} {
		l := NewLatency()
		l.RecordSpread(n, 1_000_000, 3_000_000)
		if p50 := l.Quantile(50); l.Count() != n || p50 < 1_700_000 || p50 > 2_100_000 {
			t.Errorf("%d delays between 1 and 3 ms: %d counted, p50 %d", n, l.Count(), p50)
		}
	}
}

func TestLatencyCountsRunsOfEqualDelays(t *testing.T) {
	a, b := NewLatency(), NewLatency()
	for range 99 {
		a.Record(1000)
	}
	b.Record(5_000_000)
	b.Record(-3) // clamped
	a.Merge(b)
	if a.Count() != 101 {
		t.Errorf("%d recorded, want 101", a.Count())
	}
	if p50 := a.Quantile(50); p50 != 1000 {
		t.Errorf("p50 %d, want 1000", p50)
	}
	if got := a.Max(); got < 4_990_000 || got > 5_010_000 {
		t.Errorf("max %d, want 5 ms within a thousandth", got)
	}
}

// What is missing of a part of a sender's numbers is charged to that part by its share.
func TestHoleIsChargedToItsPhaseByShare(t *testing.T) {
	to := NewLatency()
	charge(to, Hole{From: 0, To: 100, Missing: 40}, stretch{first: 75, end: 200, from: 0, to: 125}, 1000)
	if n, most, least := to.Count(), to.Max(), to.Quantile(0); n != 10 || most > 1000 || most < 990 || least < 975 || least > 980 {
		t.Errorf("%d of a quarter of a hole of 40, awaited for %d to %d of 975 to 1000", n, least, most)
	}
	if charge(to, Hole{From: 0, To: 75, Missing: 40}, stretch{first: 75, end: 200}, 1000); to.Count() != 10 {
		t.Error("a hole before the phase is charged to it")
	}
}

// What a slow member misses is expected, and no loss of those that are measured.
func TestSamplesCountTheLossOfThoseThatAreNotSlow(t *testing.T) {
	for slow, want := range map[bool]uint64{true: 0, false: 4} {
		traffic := NewTraffic(&Rig{}, Case{})
		r := NewReceiver(0, 1, 1)
		traffic.Expect(Flow{From: NewSender(nil, StampSize), Seen: r.From(0), Slow: slow})
		r.From(0).See(4)
		begun := traffic.mark()
		begun.At -= 1e9
		if traffic.sample(begun); traffic.Rig.Samples[0].Lost != want {
			t.Errorf("slow %v: %d lost, want %d", slow, traffic.Rig.Samples[0].Lost, want)
		}
	}
}

// What a slow member does not get was not let out for those that are measured.
func TestMarksCountWhatIsForThoseThatAreNotSlow(t *testing.T) {
	for slow, want := range map[bool]uint64{true: 0, false: 7} {
		traffic, s := NewTraffic(&Rig{}, Case{}), NewSender(nil, StampSize)
		s.sent.Store(7)
		s.plan.Store(&plan{constant(1), 0})
		s.last = 7
		traffic.Expect(Flow{From: s, Seen: NewReceiver(0, 1, 1).From(0), Slow: slow})
		if m := traffic.mark(); m.Sent != want || m.Offered != want {
			t.Errorf("slow %v: %d sent of %d, want %d", slow, m.Sent, m.Offered, want)
		}
	}
}

// A sample that begins in one phase and ends in another is of neither.
func TestSamplesOfTwoPhasesAreOfNone(t *testing.T) {
	traffic := NewTraffic(&Rig{}, Case{})
	begun := traffic.mark()
	traffic.inPhase(Measured)
	begun.At--
	if begun = traffic.sample(begun); traffic.Rig.Samples[0].Phase != WarmUp {
		t.Errorf("from the warm-up into the measurement: %q", traffic.Rig.Samples[0].Phase)
	}
	begun.At--
	if traffic.sample(begun); traffic.Rig.Samples[1].Phase != Measured {
		t.Errorf("within the measurement: %q", traffic.Rig.Samples[1].Phase)
	}
}

// Who waits for what several receivers share is not let go on by the same message twice.
func TestDuplicatesOfSharedMessagesAcknowledgeNothing(t *testing.T) {
	a := NewReceiver(0, 1, 1)
	s, b := NewSender(nil, StampSize, a.From(0)), make([]byte, StampSize)
	for i, r := range []*Receiver{a, a.Instance(), a.Instance()} {
		Stamp{Seq: uint64(i / 2)}.Put(b)
		r.Begin(1)
		r.Deliver(b)
		r.Flush()
	}
	if got := s.Acknowledged(); got != 2 { // the first came twice
		t.Errorf("%d acknowledged, want 2", got)
	}
}

// In an open loop a phase has the messages that were due in it, also those that the node let nobody send.
func TestPhaseOfAnOpenLoopIsByWhatWasDue(t *testing.T) {
	s := NewSender(nil, StampSize)
	s.sent.Store(7)
	begin := Now()
	s.plan.Store(&plan{constant(1e-6), begin})
	for rate, want := range map[int]uint64{0: 7, 1000: 99} { // the hundredth is due at 100 ms
		traffic := NewTraffic(&Rig{}, Case{Rate: rate})
		if got := traffic.scheduled(s, begin+int64(100*time.Millisecond)); got != want {
			t.Errorf("at %d/s the phase begins with number %d, want %d", rate, got, want)
		}
	}
}
