package session

import (
	"bytes"
	"context"
	"fmt"
	"maps"
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

// payload returns c as it is sent, copied, and its size.
func (c *Content) payload() (reliable.Payload, int, error) {
	p := reliable.Payload{Type: c.Type, Blob: bytes.Clone(c.Data), Metadata: maps.Clone(c.Metadata)}
	if p.Type == "" {
		p.Type = DefaultType
	}
	if !utf8.ValidString(p.Type) {
		return p, 0, fmt.Errorf("%w: the type %q is no UTF-8 text, which others need to read the message", ErrConfig, p.Type)
	}
	size := len(p.Type) + len(p.Blob)
	for k, v := range p.Metadata {
		size += len(k) + len(v)
	}
	if size > MaxContent {
		return p, 0, fmt.Errorf("%w: %d bytes, and it may have %d", ErrTooLarge, size, MaxContent)
	}
	return p, size, checkMetadata(c.Metadata)
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
	p, size, err := c.payload()
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
	p, size, err := c.payload()
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
