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
	ev group.Event  // nil: b, or nothing

	first func() // to be done by a session's worker before everything else; nil: nothing

	counted bool // it comes from the reader
}

// Bounds of what the reader has handed over and no session has looked at yet. Beyond them it does not read on, so that the
// node keeps what comes.
const (
	mostUnread      = workers.MostUnderWay
	mostUnreadBytes = 8 << 20
)

// inbound is the way of messages from the connection to the sessions.
type inbound struct {
	app  *App
	port *workers.Port[letter] // the reader's

	n, bytes atomic.Int64 // unread
	waits    atomic.Bool  // the reader does
	room     chan struct{}
}

// take is the reader's: it hands messages to the tasks of their sessions. A message of no session is for the front, which knows
// whether it may begin one.
func (in *inbound) take(msgs [][]byte) {
	for _, b := range msgs {
		id, t, ok := message.Peek(b)
		if !ok {
			in.app.n.unreadable.Add(1)
			continue
		}
		to := in.app.front.slot
		if s := in.app.sessions.find(id); s != nil && t != message.DiscoveryRequest {
			to = s.slot
		} else if t != message.DiscoveryRequest && t != message.JoinRequest {
			in.app.n.stray.Add(1)
			continue
		}
		in.await(len(b))
		in.port.Send(to, letter{b: bytes.Clone(b), t: t, counted: true})
	}
	in.port.Flush()
}

// await returns when there is room for n more bytes, and takes it.
func (in *inbound) await(n int) {
	for in.n.Load() >= mostUnread || in.n.Load() > 0 && in.bytes.Load()+int64(n) > mostUnreadBytes {
		in.port.Flush()
		in.waits.Store(true)
		// Looked at once more after saying so: who makes room either finds that said, or has made it before.
		if in.n.Load() >= mostUnread/2 || in.bytes.Load() > mostUnreadBytes/2 {
			select {
			case <-in.room:
			case <-in.app.life.Done():
				return
			}
		}
		in.waits.Store(false)
	}
	in.n.Add(1)
	in.bytes.Add(int64(n))
}

// read is a task's: it has looked at l.
func (in *inbound) read(l *letter) {
	if !l.counted {
		return
	}
	l.counted = false
	bytes, count := in.bytes.Add(-int64(len(l.b))), in.n.Add(-1)
	if in.waits.Load() && count < mostUnread/2 && bytes <= mostUnreadBytes/2 {
		select {
		case in.room <- struct{}{}:
		default:
		}
	}
}
