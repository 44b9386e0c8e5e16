package load

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// StampSize is how many bytes a stamp takes. It lies at the very end of a payload, so that a receiver finds it without
// decoding what is in front: neither SLIM nor NATS nodes change the end of a message.
const StampSize = 24

const (
	maxSeq   = 1 << 40 // twelve days at a million messages a second
	maxPart  = 2 << 10 // bytes; of a longer payload two of them are looked at: a generator has to be cheaper than a node
	sumSalt  = 0x51a7be4c << 32
	sumPrime = 0x9e3779b97f4a7c15
)

var zeros [2 * maxPart]byte

// Stamp identifies one message of one sender, whose payload is zero up to the stamp.
//
//	seq      5 bytes  counts from 0 for each sender
//	size     3 bytes  of the payload, the stamp included
//	at       8 bytes  nanoseconds on the clock of Now: when it was sent, or should have been (open loop)
//	sender   4 bytes
//	sum      4 bytes  of the fields before it
//
// All integers are little-endian.
type Stamp struct {
	Seq    uint64
	At     int64
	Sender uint32
}

// Put writes the stamp into the end of a whole payload, which is at least StampSize bytes long.
func (s Stamp) Put(payload []byte) { s.PutEnd(payload, len(payload)) }

// PutEnd writes the stamp of a payload of size bytes into b, the end of it.
func (s Stamp) PutEnd(b []byte, size int) {
	b = b[len(b)-StampSize:]
	head := s.Seq%maxSeq | uint64(size)<<40
	binary.LittleEndian.PutUint64(b, head)
	binary.LittleEndian.PutUint64(b[8:], uint64(s.At))
	binary.LittleEndian.PutUint32(b[16:], s.Sender)
	binary.LittleEndian.PutUint32(b[20:], sum(head, uint64(s.At), s.Sender))
}

// sum mixes each field so that no other value of it alone gives the same, but for one in four billion.
func sum(head, at uint64, sender uint32) uint32 {
	h := (head ^ sumSalt) * sumPrime
	h = (h ^ h>>32 ^ at) * sumPrime
	h = (h ^ h>>32 ^ uint64(sender)) * sumPrime
	return uint32(h >> 32)
}

// ReadStamp reads the stamp at the end of a message. It is false for messages without one, and for those whose payload is not
// the one that was stamped. Of a long payload it looks at the last part, and at one that goes on from each message to the next.
func ReadStamp(msg []byte) (Stamp, bool) {
	if len(msg) < StampSize {
		return Stamp{}, false
	}
	b := msg[len(msg)-StampSize:]
	head, at, sender := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:])
	size, seq := int(head>>40), head%maxSeq
	if size < StampSize || size > len(msg) || binary.LittleEndian.Uint32(b[20:]) != sum(head, at, sender) {
		return Stamp{}, false
	}
	body := msg[len(msg)-size : len(msg)-StampSize]
	if n := len(body); n > len(zeros) {
		begin := min(int(seq%uint64(n/maxPart))*maxPart, n-len(zeros))
		if !bytes.Equal(body[begin:begin+maxPart], zeros[:maxPart]) {
			return Stamp{}, false
		}
		body = body[n-maxPart:]
	}
	return Stamp{Seq: seq, At: int64(at), Sender: sender}, bytes.Equal(body, zeros[:len(body)])
}

// maxGaps bounds the memory of a Sequence: with more holes than this open at once, the oldest are given up as lost.
const maxGaps = 4096

// Sequence judges the numbers of one sender as one receiver sees them. Numbers begin at 0 and ascend by one.
//
// See and Publish belong to the receiving goroutine, which holds the guard meanwhile. The others are safe for all, and wait
// for a batch that goes on.
type Sequence struct {
	seen   Seen
	gaps   []gap // ascending, disjoint; all of them below seen.Next
	given  Hole  // around all gaps that were given up; below those that are open
	shared bool  // by receivers of which one may lag behind, so a sender goes by what has come, not by what is newest

	guard *sync.Mutex // the receiver's; nil: it has none, and one goroutine uses all

	progress atomic.Uint64 // what lets a closed loop go on; stored by Publish
	_        [64]byte      // the next Sequence is written by another core
	sender   atomic.Pointer[Sender]
}

// gap is a half-open range of numbers not seen.
type gap struct{ from, to uint64 }

// Seen is what a Sequence has counted.
type Seen struct {
	Next       uint64 // highest number seen, plus one
	Received   uint64 // messages, duplicates included
	Missing    uint64 // numbers below Next never seen
	Duplicates uint64
	Reordered  uint64 // messages that came after one with a higher number
}

// See records one arrival.
func (q *Sequence) See(n uint64) {
	q.seen.Received++
	if n == q.seen.Next {
		q.seen.Next++
		return
	}
	q.outOfOrder(n)
}

func (q *Sequence) outOfOrder(n uint64) {
	if n > q.seen.Next {
		q.seen.Missing += n - q.seen.Next
		q.gaps = append(q.gaps, gap{q.seen.Next, n})
		if len(q.gaps) > maxGaps {
			q.giveUp(len(q.gaps) - maxGaps)
		}
		q.seen.Next = n + 1
		return
	}
	i, _ := slices.BinarySearchFunc(q.gaps, n, func(g gap, n uint64) int {
		if g.to <= n {
			return -1
		}
		return 1
	})
	if i == len(q.gaps) || n < q.gaps[i].from {
		q.seen.Duplicates++
		return
	}
	q.seen.Reordered++
	q.seen.Missing--
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

// Holes returns what is missing below end, of a Sequence of a Receiver.
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
	if q.seen.Next < end {
		all = append(all, Hole{q.seen.Next, end, end - q.seen.Next})
	}
	return all
}

// Publish lets the sender go on that waits for what this batch has brought.
func (q *Sequence) Publish() {
	if q.shared {
		q.progress.Store(q.seen.Received - q.seen.Duplicates)
	} else {
		q.progress.Store(q.seen.Next)
	}
	if s := q.sender.Load(); s != nil {
		s.acknowledge()
	}
}

// Seen returns the counts.
func (q *Sequence) Seen() Seen {
	if q.guard != nil {
		q.guard.Lock()
		defer q.guard.Unlock()
	}
	return q.seen
}
