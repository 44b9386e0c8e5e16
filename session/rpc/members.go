package rpc

import (
	"io"
	"sync"

	"github.com/seed31b3bfd0/slimgo/session"
)

// errAbsent is what a member is said to be that does not answer as it is not there.
var errAbsent = &Error{Code: Unavailable, Message: "it is offline, or has left"}

// members are those of a group that a call expects to answer: each until it has said that it is done, has failed or has gone. The call is over
// when all are (P-rpc-9). A member is known by its name without an id, since it answers under the name by which it was invited.
type members struct {
	names   []session.Name
	refusal func(n session.Name) error // why it could not be invited; nil: nothing is known

	mu   sync.Mutex
	list map[session.Name]*member // guarded by mu; nil until the call has begun
	left int                      // guarded by mu: that are not done
}

type member struct {
	self session.Name // with its id
	done bool
}

// begin finds out who is there to answer. false: no one is.
func (x *members) begin(c *call, l *link) bool {
	here := map[session.Name]session.Name{}
	for _, p := range l.s.Participants() {
		if p.Online && p.Receives && !p.Self {
			here[p.Name.Any()] = p.Name
		}
	}
	x.mu.Lock()
	if x.list != nil { // the session before this one was over too soon
		c.in.clear()
	}
	x.list, x.left = make(map[session.Name]*member, len(x.names)), len(x.names)
	for _, n := range x.names {
		x.list[n] = &member{self: here[n]}
	}
	x.mu.Unlock()
	for _, n := range x.names {
		if here[n].IsZero() {
			err := *errAbsent
			if cause := x.refusal(n); cause != nil {
				err.Message, err.cause = cause.Error(), cause
			}
			err.From = n
			c.finish(n, &err)
		}
	}
	return c.in.ended() == nil
}

// hear takes a frame of a member, or of somebody else, whose data count and nothing else.
func (c *call) hear(m *session.Message, k kind, failed *Error) {
	from := m.From.Any()
	if k != data {
		if k == end && !c.method.ServerStreams { // of one that has replied nothing is expected any more
			failed = &Error{Code: Internal, Message: "no reply, and no error", From: m.From}
		}
		c.finish(from, failed)
		return
	}
	c.members.mu.Lock()
	x := c.members.list[from]
	late := x != nil && x.done
	c.members.mu.Unlock()
	if late || !c.keep(m) {
		return
	}
	if !c.method.ServerStreams { // who goes now has answered
		c.finish(from, nil)
	}
}

// finish is the last word of a member; nil: it has said all.
func (c *call) finish(n session.Name, err *Error) {
	x := c.members
	x.mu.Lock()
	defer x.mu.Unlock()
	m := x.list[n.Any()]
	if m == nil || m.done {
		return
	}
	m.done = true
	if err != nil {
		c.in.put(item{err: err})
	}
	if x.left--; x.left == 0 {
		c.link.Load().remove(c)
		c.in.end(io.EOF)
	}
}

// gone ends what is expected of members, named with their ids, by an error of each that is like err. It reports whether the call is
// over.
func (c *call) gone(which func(n session.Name) bool, like *Error) bool {
	if c.in.ended() != nil { // perhaps by the same, on another goroutine: what members have said is still to be received
		return true
	}
	c.members.mu.Lock()
	var names []session.Name
	for _, m := range c.members.list {
		if !m.done && which(m.self) {
			names = append(names, m.self)
		}
	}
	c.members.mu.Unlock()
	for _, n := range names {
		err := *like
		err.From = n
		c.finish(n, &err)
	}
	return c.in.ended() != nil
}

// undone are the members that have not finished.
func (x *members) undone() (names []session.Name) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for n, m := range x.list {
		if !m.done {
			names = append(names, n)
		}
	}
	return names
}
