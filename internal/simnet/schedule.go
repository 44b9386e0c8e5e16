package simnet

import (
	"container/heap"
	"time"
)

// Schedule is a list of what is to happen, in a time of its own: for machines that are given the time, in tests without
// goroutines. What is due at the same time happens in the order in which it was planned.
type Schedule struct {
	// Now is the time. It moves in Run and Finish only.
	Now time.Time

	planned planned
	made    int
}

// After plans do for this much later.
func (s *Schedule) After(d time.Duration, do func()) {
	s.made++
	heap.Push(&s.planned, occasion{s.Now.Add(d), s.made, do})
}

// Run lets this much time pass, and happen what is due meanwhile.
func (s *Schedule) Run(d time.Duration) {
	end := s.Now.Add(d)
	for len(s.planned) > 0 && !s.planned[0].at.After(end) {
		s.next()
	}
	s.Now = end
}

// Finish lets happen everything that is planned, and what is planned by that.
func (s *Schedule) Finish() {
	for len(s.planned) > 0 {
		s.next()
	}
}

func (s *Schedule) next() {
	o := heap.Pop(&s.planned).(occasion)
	if o.at.After(s.Now) {
		s.Now = o.at
	}
	o.do()
}

type occasion struct {
	at  time.Time
	seq int
	do  func()
}

// planned is a heap by time.
type planned []occasion

func (p planned) Len() int { return len(p) }
func (p planned) Less(i, j int) bool {
	return p[i].at.Before(p[j].at) || p[i].at.Equal(p[j].at) && p[i].seq < p[j].seq
}
func (p planned) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *planned) Push(x any)   { *p = append(*p, x.(occasion)) }
func (p *planned) Pop() any {
	last := len(*p) - 1
	o := (*p)[last]
	(*p)[last] = occasion{}
	*p = (*p)[:last]
	return o
}
