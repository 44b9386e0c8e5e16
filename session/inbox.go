package session

import (
	"context"
	"errors"
	"iter"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
)

// Message is what another member has said.
type Message struct {
	Content
	Session *Session
	From    Name // with its id
	To      Name // the session's Dest, or this app
	// Subject is that of the sender's token; it is verified by the encryption. Empty: the session is plain, and From is not
	// verified either.
	Subject string
	// ID counts the messages of a member, from one on; those that are Direct have ids of no order.
	ID     uint32
	Direct bool // for this app alone: PublishTo
	// Token came with it. Nobody has verified it.
	Token string
}

// Reply sends c to who has sent m: Session.Reply.
func (m *Message) Reply(ctx context.Context, c Content) (*Delivery, error) {
	return m.Session.Reply(ctx, m, c)
}

// Bounds of what waits for Receive. What comes beyond that is not taken: a reliable sender repeats it until there is room, and
// takes this app for offline if that lasts.
const (
	mostInbox      = 1024
	mostInboxBytes = 8 << 20
)

var errInbox = errors.New("as much as may be waits for Receive")

// inbox is messages that wait for the app. The session's mu guards it.
type inbox struct {
	messages fifo[received]
	bytes    int
	waiting
}

type received struct {
	m    *Message
	size int
}

func (x *inbox) room() bool { return x.messages.len() < mostInbox && x.bytes < mostInboxBytes }

func (s *Session) room() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inbox.room()
}

// deliver puts a message into the inbox, unless there is much more in it than may be.
func (s *Session) deliver(r *group.Received, size int) bool {
	m := &Message{
		Session: s, From: Name{r.Source}, To: Name{r.Dest}, Subject: r.Subject, ID: r.ID, Direct: r.Direct, Token: r.Identity,
		Content: Content{Data: r.Payload.Blob, Type: r.Payload.Type, Metadata: appMetadata(r.Payload.Metadata)},
	}
	if m.Type == "" {
		m.Type = DefaultType
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.inbox.messages.len() >= 2*mostInbox || s.inbox.bytes > 4*mostInboxBytes {
		return false
	}
	s.inbox.messages.push(received{m, size})
	s.inbox.bytes += size
	s.inbox.wake()
	return true
}

// Receive returns the next message. When the session is over, what has come is returned first, and then an error that is ErrClosed, and
// says why. The other error is that of ctx.
func (s *Session) Receive(ctx context.Context) (*Message, error) {
	x := &s.inbox
	return await(ctx, &s.mu, &x.waiting, func() (*Message, bool, error) {
		switch {
		case x.messages.len() > 0:
			r := x.messages.pop()
			x.bytes -= r.size
			return r.m, true, nil
		case s.ended:
			return nil, false, s.err
		}
		return nil, false, nil
	})
}

// Messages are those that Receive returns, one after the other, until the session is over. If that was in no orderly way, or ctx
// is over, the error comes last.
func (s *Session) Messages(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for {
			m, err := s.Receive(ctx)
			if err == ErrClosed || !yield(m, err) || err != nil {
				return
			}
		}
	}
}
