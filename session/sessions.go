package session

import (
	"maps"
	"sync"
	"sync/atomic"
)

const shards = 64

// sessions finds an app's sessions by their ids. Readers take no lock: a shard is replaced whole when a session comes or goes.
type sessions struct {
	mu     sync.Mutex // of writers
	shards [shards]atomic.Pointer[map[uint32]*Session]
	n      atomic.Int64
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
	return true
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
