package auth

import (
	"container/list"
	"net/netip"
)

// queue says which questions are judged now and which wait. Each network has a share: it may have no more of the places than are left
// to others. So one that fills its own leaves half of them, the next one a quarter, and who comes from elsewhere finds room. Networks
// whose questions wait take turns. Owned by its Guard, under mu.
type queue struct {
	atOnce, most int // how many are judged at the same time, how many wait

	running, waiting int
	shares           map[netip.Prefix]*share // those that have a question
	turns            list.List               // of *share, those whose questions wait, the next one first
}

// share is what one network has of a queue.
type share struct {
	network netip.Prefix
	running int
	waiting list.List     // of *question
	turn    *list.Element // in queue.turns; nil: none of it waits
}

func newQueue(atOnce, most int) queue {
	return queue{atOnce: atOnce, most: most, shares: map[netip.Prefix]*share{}}
}

// mayRun reports whether a network may have one more judged now.
func (u *queue) mayRun(s *share) bool { return s.running < u.atOnce-u.running }

// enter takes a question of a network: run says that it is to be judged now, else it waits, if it is taken at all.
func (u *queue) enter(q *question, network netip.Prefix) (run, taken bool) {
	s := u.shares[network]
	if s == nil {
		s = &share{network: network}
		u.shares[network] = s
	}
	defer u.tidy(s)
	q.share = s
	switch {
	case s.turn == nil && u.mayRun(s):
		u.running++
		s.running++
		return true, true
	case s.waiting.Len() < u.most-u.waiting:
		u.waiting++
		q.place = s.waiting.PushBack(q)
		if s.turn == nil {
			s.turn = u.turns.PushBack(s)
		}
		return false, true
	}
	return false, false
}

// leave drops a question if it waits.
func (u *queue) leave(q *question) {
	if q.place == nil {
		return
	}
	u.waiting--
	q.share.waiting.Remove(q.place)
	q.place = nil
	u.tidy(q.share)
}

// end notes that a question was judged.
func (u *queue) end(q *question) {
	u.running--
	q.share.running--
	u.tidy(q.share)
}

// next returns a question that waits and is to be judged now; nil: none may.
func (u *queue) next() *question {
	for at := u.turns.Front(); at != nil; at = at.Next() { // past networks alone whose questions are being judged: they are few
		s := at.Value.(*share)
		if !u.mayRun(s) {
			continue
		}
		q := s.waiting.Front().Value.(*question)
		u.running++
		s.running++
		u.turns.MoveToBack(at)
		u.leave(q)
		return q
	}
	return nil
}

// tidy takes a share out of turns, or forgets it, if it has nothing there.
func (u *queue) tidy(s *share) {
	if s.waiting.Len() > 0 {
		return
	}
	if s.turn != nil {
		u.turns.Remove(s.turn)
		s.turn = nil
	}
	if s.running == 0 {
		delete(u.shares, s.network)
	}
}
