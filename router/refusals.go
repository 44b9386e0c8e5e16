package router

import (
	"net"
	"slices"
	"sync"
	"time"
)

// refusals are the last troubleKept that were noted, in no order. One peer that is turned away again and again takes one
// of them, and one that finds ever new ways takes those of its own host first. The zero value is ready.
type refusals struct {
	all    []Refusal
	second int64 // the Unix time of the latest
	fresh  int   // texts that were kept in that second
}

// same reports whether o is one more of the same: a peer comes from another port each time.
func (r *Refusal) same(o *Refusal) bool {
	return r.Reason == o.Reason && r.Endpoint == o.Endpoint && r.host() == o.host() && r.Agent == o.Agent
}

// host is where the peer is, without its port.
func (r *Refusal) host() string {
	if h, _, err := net.SplitHostPort(r.Remote); err == nil {
		return h
	}
	return r.Remote
}

// add notes that somebody was turned away. Further peers, and texts, are kept only so often in a second.
func (s *refusals) add(now time.Time, r *Refusal, err error) {
	if sec := now.Unix(); sec != s.second {
		s.second, s.fresh = sec, 0
	}
	r.Agent, r.First, r.Last, r.Count = kept(r.Agent), now, now, 1
	at := slices.IndexFunc(s.all, func(o Refusal) bool { return o.same(r) })
	s.fresh++
	fresh := s.fresh <= troubleASecond
	if fresh && err != nil {
		r.Text = kept(err.Error())
	}
	switch {
	case at >= 0 && fresh:
		r.follow(&s.all[at])
		s.all[at] = *r
	case at >= 0:
		s.all[at].Last = now
		s.all[at].Count++
	case !fresh:
	case len(s.all) < troubleKept:
		s.all = append(s.all, *r)
	default:
		s.all[s.worst()] = *r
	}
}

// follow makes r the latest of those that o counts.
func (r *Refusal) follow(o *Refusal) {
	r.First = o.First
	r.Count += o.Count
}

// worst returns which is given up for another: of the host that has most of them, the one that was noted longest ago.
func (s *refusals) worst() int {
	of := map[string]int{}
	for i := range s.all {
		of[s.all[i].host()]++
	}
	at := 0
	for i := range s.all {
		a, b := &s.all[i], &s.all[at]
		if n, m := of[a.host()], of[b.host()]; n > m || n == m && a.Last.Before(b.Last) {
			at = i
		}
	}
	return at
}

// together puts refusals of several loops together, the latest first. It sorts what it is given.
func together(sorted []Refusal) (all []Refusal) {
	slices.SortStableFunc(sorted, func(a, b Refusal) int { return b.Last.Compare(a.Last) })
	for _, r := range sorted {
		at := slices.IndexFunc(all, func(o Refusal) bool { return o.same(&r) })
		if at < 0 {
			all = append(all, r)
			continue
		}
		all[at].Count += r.Count
		if r.First.Before(all[at].First) {
			all[at].First = r.First
		}
	}
	return all
}

// sharedRefusals are those of peers that never come to a loop. Safe for all.
type sharedRefusals struct {
	mu sync.Mutex
	of refusals // guarded by mu
}

func (s *sharedRefusals) add(now time.Time, r *Refusal, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of.add(now, r, err)
}

func (s *sharedRefusals) list() []Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.of.all)
}
