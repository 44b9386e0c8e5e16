package pool

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Quota bounds what several owners together hold of something, in bytes.
//
//	Share (of one loop) ──> in steps ──> Quota <── in steps ── Share (of another)
//
// Each owner counts in a Share of its own and moves the sum only in steps, so that counting takes no line of memory
// from others as a rule. The sum is exact up to one step for each share.
//
// When the limit is reached, the one who holds most shall pay, not the one who comes next. An owner ranks those for
// whom it counts (Share.Rank), and the quota knows of each share how much its largest holds, roughly: so the largest of
// all is found without a look at the others, however many there are, and without a lock.
type Quota struct {
	limit int64 // fixed after NewQuota
	_     pad
	used  atomic.Int64
	_     pad

	mu    sync.Mutex              // of Join
	seats atomic.Pointer[[]*seat] // replaced whole by Join
}

// seat is what everybody may know of one share.
type seat struct {
	top     atomic.Int32 // rank of its largest holder; 0: it has none that counts
	asked   atomic.Bool  // relieve was called, and its owner has not said Asked yet
	relieve func()       // immutable
	_       pad
}

// shareStep is how far a Share may be from what the Quota knows of it, in bytes.
const shareStep = 64 << 10

// NewQuota returns a quota of limit bytes.
func NewQuota(limit int64) *Quota {
	q := &Quota{limit: limit}
	q.seats.Store(new([]*seat))
	return q
}

// Limit returns the bytes that all shares together should not exceed. Safe for all.
func (q *Quota) Limit() int64 { return q.limit }

// Join returns an empty share of q. relieve, which any goroutine may call and which must not block, has the share's
// owner make room soon: it calls Asked and gives up what its largest holder has. nil: the owner is never asked. Safe
// for all.
func (q *Quota) Join(relieve func()) *Share {
	s := &Share{of: q, seat: &seat{relieve: relieve}}
	q.mu.Lock()
	defer q.mu.Unlock()
	seats := append([]*seat(nil), *q.seats.Load()...)
	seats = append(seats, s.seat)
	q.seats.Store(&seats)
	return s
}

// Share is one owner's part of a Quota. Its methods belong to the owner.
type Share struct {
	of   *Quota
	seat *seat
	held int64
	told int64 // of held, what the quota knows

	used  [numRanks / 64]uint64 // bit for each rank with a holder
	ranks [numRanks]*Holder     // those of one rank, linked by next
}

// Add counts n bytes more, or less if negative. It does not ask whether they fit.
func (s *Share) Add(n int) {
	s.held += int64(n)
	if d := s.held - s.told; d >= shareStep || d <= -shareStep {
		s.of.used.Add(d)
		s.told = s.held
	}
}

// Held returns the bytes of this share.
func (s *Share) Held() int64 { return s.held }

// Over returns by how many bytes all shares together exceed the limit if this one adds n; negative: so many are left.
func (s *Share) Over(n int) int64 { return s.of.used.Load() + s.held - s.told + int64(n) - s.of.limit }

// Holder is one of those for whom a Share counts, such as a queue. The zero Holder holds nothing. It belongs to the
// share's owner and must not be copied while it holds anything.
type Holder struct {
	Owner any // who it is, for the one who finds it with Larger

	rank       int32 // where it stands in Share.ranks; 0: nowhere
	prev, next *Holder
}

const (
	numRanks  = 128
	leastRank = 12 // holders of less than 4 KiB are not ranked
)

// rankOf returns the rank of a holder of n bytes: four for each power of two, so that holders of one rank differ by a
// quarter at most; 0 for one that is not ranked.
func rankOf(n int) int32 {
	k := bits.Len(uint(max(n, 0)))
	if k <= leastRank {
		return 0
	}
	return min(int32(4*(k-leastRank-1)+n>>(k-3)&3+1), numRanks-1)
}

// Rank says that h holds n bytes from now on. It takes the same time however many holders there are.
func (s *Share) Rank(h *Holder, n int) {
	if r := rankOf(n); r != h.rank {
		s.move(h, r)
	}
}

// move puts h into the list of rank r.
func (s *Share) move(h *Holder, r int32) {
	if h.rank > 0 {
		if h.prev != nil {
			h.prev.next = h.next
		} else if s.ranks[h.rank] = h.next; h.next == nil {
			s.used[h.rank/64] &^= 1 << (h.rank % 64)
		}
		if h.next != nil {
			h.next.prev = h.prev
		}
		h.prev, h.next = nil, nil
	}
	if h.rank = r; r > 0 {
		if h.next = s.ranks[r]; h.next != nil {
			h.next.prev = h
		}
		s.ranks[r] = h
		s.used[r/64] |= 1 << (r % 64)
	}
	if top := s.top(); top != s.seat.top.Load() {
		s.seat.top.Store(top)
	}
}

// top returns the highest rank that any holder has, 0 if none is ranked.
func (s *Share) top() int32 {
	for i := len(s.used) - 1; i >= 0; i-- {
		if s.used[i] != 0 {
			return int32(64*i + bits.Len64(s.used[i]) - 1)
		}
	}
	return 0
}

// Larger returns a holder of this share that has more than n bytes, by a rank at least, and than which no other share
// has a larger one. elsewhere says that there is none because another share has a larger one: its owner was asked to
// give that up, which takes a moment. It looks at each share once, and at no other holder.
func (s *Share) Larger(n int) (h *Holder, elsewhere bool) {
	var most *seat
	own, best := s.top(), rankOf(n)
	if own > best {
		best, h = own, s.ranks[own]
	}
	for _, x := range *s.of.seats.Load() {
		if r := x.top.Load(); x != s.seat && r > best && x.relieve != nil {
			best, most = r, x
		}
	}
	if most == nil {
		return h, false
	}
	if !most.asked.Swap(true) {
		most.relieve()
	}
	return nil, true
}

// Asked is called by the owner when it begins to do what the share's relieve has asked for.
func (s *Share) Asked() { s.seat.asked.Store(false) }
