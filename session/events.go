package session

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
)

// Event is something that happens in a session beside messages: one of the types of this file.
type Event interface{ event() }

// Joined says that a member has come.
type Joined struct{ Name Name }

// Left says that a member has gone, or was removed.
type Left struct{ Name Name }

// Presence says that a member is offline: it was silent for thirty seconds, did not acknowledge, or said so; or that it is back.
type Presence struct {
	Name   Name
	Online bool
}

// Lost says that messages of a member will not come: those with ids First to Last.
type Lost struct {
	From        Name
	First, Last uint32
	Reason      string
}

// EpochChanged says that the session has new keys.
type EpochChanged struct{ Epoch uint64 }

// Outdated says that this app cannot decrypt what others say, and that the moderator does not let it in anew.
type Outdated struct{}

// TokenExpiring says, five minutes before, that members on the Rust library, from 3.4 on, will not read what this app sends in
// this encrypted session any more: the token that it has come with becomes void. Another session has another one. Members on
// this package read on. A moderator puts it off by itself: who is invited or removed in the second half of a token's life brings another.
type TokenExpiring struct{ At time.Time }

// Refused says that a message was not accepted.
type Refused struct {
	From Name
	Type string // such as group_update
	Err  error
}

// Unsigned says that a member does not sign the payloads of its control messages, as those on the Rust library older than 3.4 do not:
// with Binding Warn, and of each member once in ten minutes.
type Unsigned struct{ From Name }

// Overflow says that messages were dropped which nobody repeats, since the app had not taken others: in an unreliable session.
type Overflow struct{ Messages int }

// Undelivered says of a message that it was not delivered: Err is an ErrNotDelivered. ID is what members see as Message.ID, where the message
// was under way when the app was started again, and has no Delivery any more. Of others, whose Delivery says the same, it is 0, and several that
// the same members lack are one event.
type Undelivered struct {
	ID  uint32
	Err error
}

func (u Undelivered) missing() []Name {
	var e *NotDelivered
	if !errors.As(u.Err, &e) {
		return nil
	}
	return e.Missing
}

// Missed says that events were dropped, since the app had not taken others: the oldest.
type Missed struct{ Events int }

func (Joined) event()        {}
func (Left) event()          {}
func (Presence) event()      {}
func (Lost) event()          {}
func (EpochChanged) event()  {}
func (Outdated) event()      {}
func (TokenExpiring) event() {}
func (Refused) event()       {}
func (Unsigned) event()      {}
func (Overflow) event()      {}
func (Undelivered) event()   {}
func (Missed) event()        {}

// reasonOf says why messages are lost.
func reasonOf(l reliable.Loss) string {
	switch l {
	case reliable.Unanswered:
		return "its sender does not answer when asked for it"
	case reliable.Given:
		return "its sender has it no more"
	case reliable.Skipped:
		return "its sender is further ahead than it can repeat"
	case reliable.Overtaken:
		return "it came after what the stream was taken to begin with, as its sender's library does not say where that is"
	}
	return fmt.Sprintf("reason %d", l)
}

// mostEvents is how many wait for who listens to them.
const mostEvents = 256

// events wait for the app. The session's mu guards it.
type events struct {
	queue  fifo.Queue[Event]
	missed int
	waiting
}

// tell puts an event into the queue, in place of the oldest if it is full. What is dropped one after the other is one event.
func (s *Session) tell(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.events
	if more, ok := e.(Overflow); ok && x.queue.Len() > 0 {
		if last, ok := x.queue.At(x.queue.Len() - 1).(Overflow); ok {
			x.queue.Set(x.queue.Len()-1, Overflow{last.Messages + more.Messages})
			return
		}
	}
	if more, ok := e.(Undelivered); ok && x.queue.Len() > 0 {
		if last, ok := x.queue.At(x.queue.Len() - 1).(Undelivered); ok && last.ID == 0 && more.ID == 0 && slices.Equal(last.missing(), more.missing()) {
			return
		}
	}
	if x.queue.Len() >= mostEvents {
		x.queue.Pop()
		x.missed++
	}
	x.queue.Push(e)
	x.wake()
}

// NextEvent returns the next event; ErrClosed, when the session is over and all were returned, or the error of ctx.
func (s *Session) NextEvent(ctx context.Context) (Event, error) {
	x := &s.events
	return await(ctx, &s.mu, &x.waiting, func() (Event, bool, error) {
		switch {
		case x.missed > 0:
			n := x.missed
			x.missed = 0
			return Missed{n}, true, nil
		case x.queue.Len() > 0:
			return x.queue.Pop(), true, nil
		case s.ended:
			return nil, false, s.err
		}
		return nil, false, nil
	})
}

// Events are those that NextEvent returns, one after the other, until the session is over; the error of ctx comes last. Who does not look
// at them misses the oldest.
func (s *Session) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			e, err := s.NextEvent(ctx)
			if err != nil && ctx.Err() == nil || !yield(e, err) || err != nil {
				return
			}
		}
	}
}
