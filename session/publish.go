package session

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
)

// Content is what an app says.
type Content struct {
	Data []byte
	// Type is free text that says what Data is, in the clear; empty: DefaultType.
	Type string
	// Metadata goes with it, in the clear and, also where the session is encrypted, unprotected.
	Metadata map[string]string
}

// DefaultType is the Type of content that has none.
const DefaultType = "msg"

// Text is content of text.
func Text(s string) Content { return Content{Data: []byte(s)} }

// payload returns c as it is sent, copied, and its size. Its metadata may be that of other messages, too, and is not to be changed.
func (s *Session) payload(c *Content) (reliable.Payload, int, error) {
	p := reliable.Payload{Type: c.Type, Blob: bytes.Clone(c.Data)}
	if p.Type == "" {
		p.Type = DefaultType
	}
	if !utf8.ValidString(p.Type) {
		return p, 0, fmt.Errorf("%w: the type %q is no UTF-8 text, which others need to read the message", ErrConfig, p.Type)
	}
	md, length, err := s.said.copyOf(c.Metadata)
	p.Metadata = md
	size := len(p.Type) + len(p.Blob) + length
	if size > MaxContent {
		return p, 0, fmt.Errorf("%w: %d bytes, and it may have %d", ErrTooLarge, size, MaxContent)
	}
	return p, size, err
}

// said is the metadata that was sent last: what a stream of messages says again and again is checked and copied once. Safe for all.
type said struct {
	mu   sync.Mutex
	md   map[string]string // guarded by mu; never changed. nil: there is none, or it is too much to be kept
	size int               // guarded by mu: bytes of it
}

// mostSaid is how much metadata is kept, in bytes.
const mostSaid = 512

// copyOf returns md as it is now, and its bytes. The error is that of checkMetadata.
func (x *said) copyOf(md map[string]string) (map[string]string, int, error) {
	if len(md) == 0 {
		return nil, 0, nil
	}
	x.mu.Lock()
	last, size := x.md, x.size
	x.mu.Unlock()
	if maps.Equal(last, md) {
		return last, size, nil
	}
	size = 0
	for k, v := range md {
		size += len(k) + len(v)
	}
	md = maps.Clone(md)
	err := checkMetadata(md)
	if err == nil && size <= mostSaid {
		x.mu.Lock()
		x.md, x.size = md, size
		x.mu.Unlock()
	}
	return md, size, err
}

// Publish sends c to all other members, and returns when it is accepted: messages of one goroutine go out in order. It waits
// while too much of the session's is under way: 512 messages, or 16 MiB. c is copied. What becomes of it the Delivery says.
// While there is no other member that receives, it waits for one.
//
// Errors: ErrClosed; ErrTooLarge; ErrConfig, of reserved metadata, and of text that is no UTF-8; that of ctx. Nothing was sent then.
func (s *Session) Publish(ctx context.Context, c Content) (*Delivery, error) {
	return s.publish(ctx, c, nil)
}

// PublishTo sends c to one member of a group, the other one of a session between two, or this app itself. In a group it comes in no order
// with what is published. The Delivery is an ErrNotMember where there is no such member.
func (s *Session) PublishTo(ctx context.Context, to Name, c Content) (*Delivery, error) {
	if to = s.member(to); to == s.self && !s.mirrored {
		return s.remind(ctx, c)
	}
	return s.publish(ctx, c, &to)
}

// Reply sends c to who has sent m: PublishTo.
func (s *Session) Reply(ctx context.Context, m *Message, c Content) (*Delivery, error) {
	return s.PublishTo(ctx, m.From, c)
}

// member returns the full name of a member of which there is one instance at most; else n. Another one goes before this app.
func (s *Session) member(n Name) Name {
	if n.ID() != "" {
		return n
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	full := n
	for _, p := range s.roster {
		if p.Name.Same(n) {
			if full = p.Name; !p.Self {
				break
			}
		}
	}
	return full
}

// publish sends c to one member; nil: to all.
func (s *Session) publish(ctx context.Context, c Content, to *Name) (*Delivery, error) {
	p, size, err := s.payload(&c)
	if err != nil {
		return nil, err
	}
	if err := s.credit.take(ctx, size); err != nil {
		return nil, err
	}
	d := &Delivery{s: s, size: size}
	l := letter{}
	if to == nil {
		d.event = group.Publish{Payload: p, Handle: d}
		l.ev = &d.event
	} else {
		l.ev = group.PublishTo{To: to.t, Payload: p, Handle: d}
	}
	if err := s.post(l); err != nil {
		s.credit.give(size)
		return nil, err
	}
	return d, nil
}

// remind delivers c to this app itself.
func (s *Session) remind(ctx context.Context, c Content) (*Delivery, error) {
	p, size, err := s.payload(&c)
	if err != nil {
		return nil, err
	}
	if err := s.credit.take(ctx, 0); err != nil {
		return nil, err
	}
	d := &Delivery{s: s}
	r := &group.Received{Source: s.self.t, Dest: s.self.t, Direct: true, Payload: p, Size: size}
	if s.encrypted {
		r.Subject = s.app.who.subject
	}
	if !s.deliver(r, 0) {
		err = fmt.Errorf("%w: %w", ErrNotDelivered, errInbox)
	}
	d.resolve(err)
	return d, nil
}
