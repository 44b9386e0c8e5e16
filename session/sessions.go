package session

import (
	"container/list"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/wire"
)

const shards = 64

// sessions finds an app's sessions by their ids. Readers take no lock: a shard is replaced whole when a session comes or goes.
type sessions struct {
	mu     sync.Mutex // of writers
	shards [shards]atomic.Pointer[map[uint32]*Session]
	n      atomic.Int64
	under  map[wire.Name]int // guarded by mu: how many are under a name of the app, and hear by it
}

func (t *sessions) find(id uint32) *Session {
	m := t.shards[id%shards].Load()
	if m == nil {
		return nil
	}
	return (*m)[id]
}

// add enters s, unless its id is taken.
func (t *sessions) add(s *Session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.shards[s.id%shards].Load()
	if old != nil && (*old)[s.id] != nil {
		return false
	}
	shard := map[uint32]*Session{s.id: s}
	if old != nil {
		maps.Copy(shard, *old)
	}
	t.shards[s.id%shards].Store(&shard)
	t.n.Add(1)
	if !s.mirrored {
		if t.under == nil {
			t.under = map[wire.Name]int{}
		}
		t.under[s.self.t.Name]++
	}
	return true
}

// use reports whether there are sessions under this name of the app.
func (t *sessions) use(n wire.Name) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.under[n] > 0
}

// remove takes s out, if it is there.
func (t *sessions) remove(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.shards[s.id%shards].Load()
	if old == nil || (*old)[s.id] != s {
		return
	}
	t.n.Add(-1)
	if n := s.self.t.Name; !s.mirrored {
		if t.under[n]--; t.under[n] == 0 {
			delete(t.under, n)
		}
	}
	if len(*old) == 1 {
		t.shards[s.id%shards].Store(nil)
		return
	}
	shard := maps.Clone(*old)
	delete(shard, s.id)
	t.shards[s.id%shards].Store(&shard)
}

// all returns the sessions that there are.
func (t *sessions) all() (list []*Session) {
	for i := range t.shards {
		if m := t.shards[i].Load(); m != nil {
			for _, s := range *m {
				list = append(list, s)
			}
		}
	}
	return list
}

// mostEnded is how many sessions that are over may be asked for their last answers.
const mostEnded = 1024

// ended are those, in the order in which they have ended. The zero value holds mostEnded.
type ended struct {
	most int // 0: mostEnded

	mu   sync.Mutex
	list list.List // of *Session; guarded by mu
}

// add enters s, and has the one forgotten that was over before all others, where there are too many. The place is for remove.
func (e *ended) add(s *Session) *list.Element {
	most := e.most
	if most == 0 {
		most = mostEnded
	}
	e.mu.Lock()
	place := e.list.PushBack(s)
	var first *Session
	if e.list.Len() > most {
		first = e.list.Remove(e.list.Front()).(*Session)
	}
	e.mu.Unlock()
	if first != nil {
		first.slot.Post(letter{first: first.task.bury})
	}
	return place
}

// remove takes one out, if it is there.
func (e *ended) remove(place *list.Element) {
	if place == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list.Remove(place)
}
