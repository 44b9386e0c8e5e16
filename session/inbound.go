package session

import (
	"bytes"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
)

// letter is what tasks are sent: an event, a message, or nothing but a reason to look what there is to do.
type letter struct {
	b  []byte       // a message, encoded
	t  message.Type // of b
	by uint32       // id of the way that has brought b; 0: not known
	ev group.Event  // nil: b, or nothing

	first func() // to be done by a session's worker before everything else; nil: nothing

	backlog *backlog // of which it is a part until it is looked at; nil: it does not come from the reader
}

// Bounds of what has come and nobody has looked at yet. A message counts for more than its bytes: even an empty one takes room.
//
// The reader waits for no single session, as others would wait with it: what is too much of one is dropped, before it is acknowledged. A
// sender of reliable data has no more than 16 MiB under way. Only where very many sessions have much that waits, because the app has too
// little time for all of it, the reader does not read on, so that the node keeps what comes.
const (
	mostBacklog      = 20 << 20  // of one session
	mostBacklogFront = 1 << 20   // of discoveries and invitations
	smallBacklog     = 256 << 10 // up to here a session has no part in it if others have too much
	mostUnread       = 64 << 20  // of all sessions; beyond it those are dropped that have more than a small one
	mostUnreadSmall  = 24 << 20  // of all sessions, of each no more than a small one; beyond it the reader waits
	mostEarly        = 32 << 20  // of messages of epochs to come, of all sessions, of each of them a quarter of that
	letterSize       = 512
)

// backlog is what waits for one task.
type backlog struct {
	most  int64
	bytes atomic.Int64
}

// inbound is the way of messages from the connection to the sessions.
//
//	take ── backlog of the session: too much ──▶ dropped, counted
//	 └── ring of its worker ──▶ the session's queue ──▶ looked at
type inbound struct {
	app  *App
	port *workers.Port[letter] // the reader's

	bytes atomic.Int64 // of all backlogs
	small atomic.Int64 // of each of them no more than a small one
	waits atomic.Bool  // the reader does, for small
	room  chan struct{}
}

func (in *inbound) open(a *App) {
	in.app, in.room = a, make(chan struct{}, 1)
	in.port = a.pool.Join(in.wake)
}

func (in *inbound) wake() {
	select {
	case in.room <- struct{}{}:
	default:
	}
}

// take is the reader's: it hands messages to the tasks of their sessions. A message of no session is for the front, which knows
// whether it may begin one.
func (in *inbound) take(by uint32, msgs [][]byte) {
	for _, b := range msgs {
		id, t, ok := message.Peek(b)
		if !ok {
			in.app.n.unreadable.Add(1)
			continue
		}
		to, log := in.app.front.slot, &in.app.front.backlog
		s := in.app.sessions.find(id)
		if s != nil && t != message.DiscoveryRequest {
			to, log = s.slot, &s.backlog
		} else if t != message.DiscoveryRequest && t != message.JoinRequest {
			in.app.n.stray.Add(1)
			continue
		}
		if !in.admit(log, int64(len(b)+letterSize)) {
			in.app.n.behind.Add(1)
			if t == message.Msg && s != nil && !s.reliable {
				s.tell(Overflow{1})
			}
			continue
		}
		in.port.Send(to, letter{b: bytes.Clone(b), t: t, by: by, backlog: log})
	}
	for in.port.Flush() > 0 { // a worker has as many before it as it can
		if !in.await() {
			return
		}
	}
}

// admit takes room for a message of this size; false: there is none. It waits where too many sessions are behind.
func (in *inbound) admit(log *backlog, size int64) bool {
	own := log.bytes.Load()
	switch {
	case own > 0 && own+size > log.most:
		return false
	case own > smallBacklog && in.bytes.Load()+size > mostUnread:
		return false
	}
	for in.small.Load() >= mostUnreadSmall {
		in.port.Flush()
		in.waits.Store(true)
		// Looked at once more after saying so: who makes room either finds that said, or has made it before.
		if in.small.Load() >= mostUnreadSmall/2 && !in.await() {
			return false
		}
		in.waits.Store(false)
	}
	in.count(log, size)
	return true
}

// await waits for wake; false: the app is over.
func (in *inbound) await() bool {
	select {
	case <-in.room:
		return true
	case <-in.app.life.Done():
		return false
	}
}

// count adds size, which may be less than nothing, to a backlog.
func (in *inbound) count(log *backlog, size int64) (small int64) {
	now := log.bytes.Add(size)
	in.bytes.Add(size)
	return in.small.Add(min(now, smallBacklog) - min(now-size, smallBacklog))
}

// read is a task's: it has looked at l.
func (in *inbound) read(l *letter) {
	if l.backlog == nil {
		return
	}
	small := in.count(l.backlog, -int64(len(l.b)+letterSize))
	l.backlog = nil
	if in.waits.Load() && small < mostUnreadSmall/2 {
		in.wake()
	}
}
