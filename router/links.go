package router

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
)

// LinkStatus is what an operator asks of a dialled link.
type LinkStatus struct {
	Endpoint string
	ID       string // link_id
	Kind     table.Kind
	Node     string // node id that the other end has said last; "": none
	State    LinkState
	Since    time.Time // when it came to State; waiting and opening count as one
	Attempts uint64    // to connect, since the start
	Losses   uint64    // of a link that was up
	Unarmed  uint64    // attempts in vain for want of credentials to show

	// Failure is why it was opened in vain or lost the last time, Failed when; "": it never was. Peers have a part in the
	// text.
	Failure string
	Failed  time.Time
}

// dialStatus is what changes of that. Safe for all.
type dialStatus struct {
	mu                        sync.Mutex
	now                       LinkStatus // guarded by mu, without what Link says
	attempts, losses, unarmed uint64     // guarded by mu
}

func (s *dialStatus) read() LinkStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.now
	x.Attempts, x.Losses, x.Unarmed = s.attempts, s.losses, s.unarmed
	return x
}

// becomes notes a change of state. Between two attempts that fail a link is as it was before them: down.
func (s *dialStatus) becomes(x LinkState, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	down := func(x LinkState) bool { return x == LinkWaiting || x == LinkOpening }
	if s.now.Since.IsZero() || !down(s.now.State) || !down(x) {
		s.now.Since = now
	}
	s.now.State = x
}

// lost notes that a link which was up is not any more: who reads that it was lost reads why, and not that it is up.
func (s *dialStatus) lost(why string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.losses++
	s.now.State, s.now.Since = LinkOpening, now
	s.now.Failure, s.now.Failed = kept(why), now
}

// failed notes why an attempt was in vain.
func (s *dialStatus) failed(why string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Failure, s.now.Failed = kept(why), now
}

// answers notes which node the other end says it is.
func (s *dialStatus) answers(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Node = kept(node)
}

// count adds one to attempts or unarmed.
func (s *dialStatus) count(n *uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

// dialers are those of a node.
type dialers struct {
	settled time.Duration // see there; immutable, 0: as there

	mu   sync.Mutex
	all  map[*Dialer]struct{} // guarded by mu; with those that are over, unless they are closed
	made uint64               // guarded by mu: how many there have been
	over bool                 // guarded by mu
}

func (s *dialers) add(d *Dialer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	if s.all == nil {
		s.all = map[*Dialer]struct{}{}
	}
	s.made++
	d.number = s.made
	s.all[d] = struct{}{}
	return true
}

func (s *dialers) remove(d *Dialer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, d)
}

// stop ends all attempts. Links that are up stay, as connections of the node.
func (s *dialers) stop() {
	s.mu.Lock()
	s.over = true
	all := s.all
	s.all = nil
	s.mu.Unlock()
	for d := range all {
		d.cancel()
	}
	for d := range all {
		<-d.done
	}
}

// Links returns the states of all dialled links, those that are over included, in the order of Node.Dial.
func (n *Node) Links() []LinkStatus {
	s := &n.dialers
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.SortedFunc(maps.Keys(s.all), func(a, b *Dialer) int { return cmp.Compare(a.number, b.number) })
	var out []LinkStatus
	for _, d := range all {
		out = append(out, d.Status())
	}
	return out
}

// closing reports whether the node is shutting down.
func (s *dialers) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}
