package session

import (
	"context"
	"errors"
	"iter"
	"maps"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
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

	number uint64 // of its record; 0: none, or no more
	size   int
}

// Handled says that the app has done with m what it had to, so that it need not come again: of an app with AtLeastOnce, which
// is to call it once of each message, and gets no more while it owes that for 1,024 messages, or 8 MiB. Else it does nothing.
func (m *Message) Handled() {
	s := m.Session
	if s == nil || !s.app.o.AtLeastOnce {
		return
	}
	s.mu.Lock()
	n := m.number
	if m.number = 0; n != 0 {
		s.inbox.unhandled--
		s.inbox.bytes -= m.size
	}
	s.mu.Unlock()
	if n != 0 {
		s.slot.Post(letter{first: func() { s.task.took(n, nil) }})
	}
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

	mostInboxKept = 64 // for which an empty one keeps memory
)

var errInbox = errors.New("as much as may be waits for Receive")

// inbox is messages that wait for the app. The session's mu guards it.
type inbox struct {
	messages  fifo.Queue[received]
	unhandled int // that the app has got, and that are stored until it says that they are handled
	bytes     int // of both
	waiting
}

type received struct {
	m       *Message
	removal *call // of its record, which is under way; nil: it is not
}

// room reports whether there is room for one more, after n that come.
func (x *inbox) room(n, bytes int) bool {
	return x.messages.Len()+x.unhandled+n < mostInbox && x.bytes+bytes < mostInboxBytes
}

// deliver puts a message into the inbox, unless there is much more in it than may be. Its metadata may be that of
// others, too. number is that of its record, if it has one.
func (s *Session) deliver(r *group.Received, number uint64) bool {
	m := &Message{
		Session: s, From: Name{r.Source}, To: Name{r.Dest}, Subject: r.Subject, ID: r.ID, Direct: r.Direct, Token: r.Identity,
		Content: Content{Data: r.Payload.Blob, Type: r.Payload.Type, Metadata: appMetadata(r.Payload.Metadata)},
		number:  number, size: r.Size,
	}
	if m.Type == "" {
		m.Type = DefaultType
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || number == 0 && (s.inbox.messages.Len() >= 2*mostInbox || s.inbox.bytes > 4*mostInboxBytes) {
		return false
	}
	s.inbox.messages.Push(received{m: m})
	s.inbox.bytes += m.size
	s.inbox.wake()
	return true
}

// Receive returns the next message. When the session is over, what has come is returned first, and then an error that is ErrClosed, and
// says why. The other error is that of ctx.
//
// Where the app has a Store, and not AtLeastOnce, it takes as long as the store takes to note that this message is not to come again.
func (s *Session) Receive(ctx context.Context) (*Message, error) {
	m, err := s.receive(ctx)
	if m != nil {
		m.Metadata = maps.Clone(m.Metadata)
	}
	return m, err
}

// receive is Receive of a message whose metadata may be that of others, too.
func (s *Session) receive(ctx context.Context) (*Message, error) {
	x := &s.inbox
	r, err := await(ctx, &s.mu, &x.waiting, func() (r received, ok bool, err error) {
		switch {
		case x.messages.Len() > 0:
			r = x.messages.Pop()
			switch {
			case r.m.number == 0 || s.forgotten:
				r.m.number = 0
				x.bytes -= r.m.size
			case s.app.o.AtLeastOnce:
				x.unhandled++
			}
			return r, true, nil
		case s.ended:
			return r, false, s.err
		}
		return r, false, nil
	})
	if err != nil || r.m.number == 0 || s.app.o.AtLeastOnce {
		return r.m, err
	}
	if err := s.remove(ctx, &r); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		x.messages.Unpop(r)
		x.wake()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x.bytes -= r.m.size
	r.m.number = 0
	return r.m, nil
}

// ReceiveMany is Receive of all messages that have come, as many as to has room for, for those who take very many: it waits for one. It returns
// how many there are; with an error there is none. Messages that say the same share their Metadata, which is not to be changed.
//
// Where the app has a Store it is one message at a time.
func (s *Session) ReceiveMany(ctx context.Context, to []*Message) (int, error) {
	if len(to) == 0 {
		return 0, nil
	}
	m, err := s.receive(ctx)
	if err != nil {
		return 0, err
	}
	to[0] = m
	n := 1
	if s.app.vault != nil {
		return n, nil
	}
	x := &s.inbox
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; n < len(to) && x.messages.Len() > 0; n++ {
		to[n] = x.messages.Pop().m
		x.bytes -= to[n].size
	}
	return n, nil
}

// remove has the record of r deleted, and waits for that.
func (s *Session) remove(ctx context.Context, r *received) error {
	if r.removal == nil {
		c, n := newCall(), r.m.number
		r.removal = c
		s.slot.Post(letter{first: func() { s.task.took(n, c) }})
	}
	select {
	case err := <-r.removal.result:
		if r.removal = nil; err != nil {
			return err
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.app.life.Done():
		return ErrStopped
	}
}

// Messages are those that Receive returns, one after the other, until the session is over. If that was in no orderly way, or ctx
// is over, the error comes last. Of an app with AtLeastOnce, a message is Handled when the loop goes on after it.
func (s *Session) Messages(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for {
			m, err := s.Receive(ctx)
			if err == ErrClosed || !yield(m, err) || err != nil {
				return
			}
			m.Handled()
		}
	}
}
