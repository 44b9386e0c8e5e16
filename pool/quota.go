package pool

import "sync/atomic"

// Quota bounds what several owners together hold of something, in bytes.
//
//	Share (of one loop) ──> in steps ──> Quota <── in steps ── Share (of another)
//
// Each owner counts in a Share of its own and moves the sum only in steps, so that counting takes no line of memory
// from others as a rule. The sum is exact up to one step for each share.
type Quota struct {
	limit int64 // fixed after NewQuota
	_     pad
	used  atomic.Int64
	_     pad
}

// shareStep is how far a Share may be from what the Quota knows of it, in bytes.
const shareStep = 64 << 10

// NewQuota returns a quota of limit bytes.
func NewQuota(limit int64) *Quota { return &Quota{limit: limit} }

// Limit returns the bytes that all shares together should not exceed. Safe for all.
func (q *Quota) Limit() int64 { return q.limit }

// Join returns an empty share of q. Safe for all.
func (q *Quota) Join() Share { return Share{of: q} }

// Share is one owner's part of a Quota. Its methods belong to the owner.
type Share struct {
	of   *Quota
	held int64
	told int64 // of held, what the quota knows
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
