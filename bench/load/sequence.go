package load

import (
	"slices"
	"sync"
	"sync/atomic"
)

// maxGaps bounds the memory of a Sequence: with more holes than this open at once, the oldest are given up as lost.
const maxGaps = 4096

// Sequence judges the numbers of one sender as one receiver sees them. Numbers begin at 0 and ascend by one.
//
// See and Publish belong to the receiving goroutine. The counters of Seen may be read by anyone; they are stored by
// Publish, so they lag by at most one batch.
type Sequence struct {
	next       uint64 // highest number seen, plus one
	received   uint64 // messages, duplicates included
	missing    uint64 // numbers below next never seen
	duplicates uint64
	reordered  uint64 // messages that came after one with a higher number
	gaps       []gap  // ascending, disjoint; all of them below next
	given      Hole   // around all gaps that were given up; below those that are open
	instances  bool   // several receivers share it: one may lag behind, so a sender goes by what has come, not by what is newest

	guard *sync.Mutex // held by the receiving goroutine while it sees

	shared struct {
		next, received, missing, duplicates, reordered atomic.Uint64
		progress                                       atomic.Uint64 // what lets a closed loop go on
	}
	_      [64]byte // the next Sequence is written by another core
	sender atomic.Pointer[Sender]
}

// gap is a half-open range of numbers not seen.
type gap struct{ from, to uint64 }

// Seen is what a Sequence has counted.
type Seen struct {
	Next, Received, Missing, Duplicates, Reordered uint64
}

// See records one arrival.
func (q *Sequence) See(n uint64) {
	q.received++
	if n == q.next {
		q.next++
		return
	}
	q.outOfOrder(n)
}

func (q *Sequence) outOfOrder(n uint64) {
	if n > q.next {
		q.missing += n - q.next
		q.gaps = append(q.gaps, gap{q.next, n})
		if len(q.gaps) > maxGaps {
			q.giveUp(len(q.gaps) - maxGaps)
		}
		q.next = n + 1
		return
	}
	i, _ := slices.BinarySearchFunc(q.gaps, n, func(g gap, n uint64) int {
		if g.to <= n {
			return -1
		}
		return 1
	})
	if i == len(q.gaps) || n < q.gaps[i].from {
		q.duplicates++
		return
	}
	q.reordered++
	q.missing--
	switch g := q.gaps[i]; {
	case g.from+1 == g.to:
		q.gaps = slices.Delete(q.gaps, i, i+1)
	case n == g.from:
		q.gaps[i].from++
	case n+1 == g.to:
		q.gaps[i].to--
	default:
		q.gaps[i].to = n
		q.gaps = slices.Insert(q.gaps, i+1, gap{n + 1, g.to})
	}
}

// giveUp forgets the n oldest gaps, but for their number.
func (q *Sequence) giveUp(n int) {
	if q.given.Missing == 0 {
		q.given.From = q.gaps[0].from
	}
	for _, g := range q.gaps[:n] {
		q.given.Missing += g.to - g.from
		q.given.To = g.to
	}
	q.gaps = slices.Delete(q.gaps, 0, n)
}

// Hole is a half-open range of numbers, so many of which were never seen.
type Hole struct{ From, To, Missing uint64 }

// Holes returns what is missing below end. It waits for the receiver's batch that goes on.
func (q *Sequence) Holes(end uint64) []Hole {
	q.guard.Lock()
	defer q.guard.Unlock()
	var all []Hole
	if q.given.Missing > 0 {
		all = append(all, q.given)
	}
	for _, g := range q.gaps {
		all = append(all, Hole{g.from, g.to, g.to - g.from})
	}
	if q.next < end {
		all = append(all, Hole{q.next, end, end - q.next})
	}
	return all
}

// Publish makes the counts of this batch visible and wakes the sender if it waits for them.
func (q *Sequence) Publish() {
	q.shared.received.Store(q.received)
	q.shared.missing.Store(q.missing)
	q.shared.duplicates.Store(q.duplicates)
	q.shared.reordered.Store(q.reordered)
	q.shared.next.Store(q.next)
	if q.instances {
		q.shared.progress.Store(q.received - q.duplicates)
	} else {
		q.shared.progress.Store(q.next)
	}
	if s := q.sender.Load(); s != nil {
		s.acknowledge()
	}
}

// Seen returns the published counts.
func (q *Sequence) Seen() Seen {
	return Seen{
		Next:       q.shared.next.Load(),
		Received:   q.shared.received.Load(),
		Missing:    q.shared.missing.Load(),
		Duplicates: q.shared.duplicates.Load(),
		Reordered:  q.shared.reordered.Load(),
	}
}
