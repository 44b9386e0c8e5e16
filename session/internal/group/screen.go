package group

import (
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// What a control message costs is its verification: a token, which a server may have to judge, and two signatures. So those that
// come to nothing whoever has signed them are found out first, and of the rest each sender has so many in a second.
//
//	Screen ── roster, ids, what is awaited ──▶ token ──▶ verify: id of the subject, pace, signatures ──▶ what it says
//	  └── refused, or dropped                    └── refused   └── refused

// How many control messages are verified in a second, and at once.
const (
	memberRate, memberBurst     = 512, 1024 // of each member, and of who is about to be one
	strangerRate, strangerBurst = 16, 64    // of all others together, in one session
)

// paces are what control messages are verified at.
type paces struct {
	members   identity.Paces
	awaited   identity.Pace // of who answers this member, and is none yet
	strangers identity.Pace
}

func newPaces() *paces {
	return &paces{
		members:   identity.Paces{Rate: memberRate, Burst: memberBurst, Most: 1 << 16},
		awaited:   identity.Pace{Rate: memberRate, Burst: memberBurst},
		strangers: identity.Pace{Rate: strangerRate, Burst: strangerBurst},
	}
}

// inTime takes a control message's place among those of its sender. Its token is right, and names the sender.
func (c *core) inTime(m *message.Message) bool {
	switch {
	case c.knows(m):
		return c.paces.members.Take(m.Source.Name, c.now)
	case c.asked(m.ID) != nil:
		return c.paces.awaited.Take(c.now)
	}
	return c.paces.strangers.Take(c.now) && (c.o.Strangers == nil || c.o.Strangers.Take(c.now))
}

// knows reports whether a message is, by its name, of a member, or of who has invited this one.
func (c *core) knows(m *message.Message) bool {
	return same(&m.Source, &c.moderator) || c.roster.find(&m.Source) != nil
}

// screen is what both roles look at; done: the message is not to be verified, and why is nil if nobody has to hear of it.
func (c *core) screen(m *message.Message) (why error, done bool) {
	_, answered := c.acks[ackKey{m.Source.Name, m.ID}]
	switch {
	case c.over:
		return nil, !answered && m.Type != message.JoinRequest && m.Type != message.LeaveRequest
	case c.deaf(m.Type):
		return nil, true
	case m.ID == 0:
		return errNoID, true
	case answered:
		return nil, false
	}
	switch m.Type {
	case message.GroupAck:
		switch a := c.asked(m.ID); {
		case a == nil || !a.lacks(&m.Source) && (a.tries == 0 || !c.knows(m)):
			return errUnexpected, true
		case !a.lacks(&m.Source): // what another one lacks was repeated to all
			return nil, true
		}
	case message.DiscoveryReply, message.JoinReply, message.LeaveReply, message.RejoinReply, message.GroupNack:
		if c.asked(m.ID) == nil {
			return errUnexpected, true
		}
	case message.JoinRequest, message.RejoinRequest: // are answered when they come again
	default:
		if c.knows(m) && c.replays.Has(m.Source, m.ID) {
			return errReplay, true
		}
	}
	return nil, false
}

// Screen says of a control message, before its token is judged, whether it is to be looked at at all. If not, why is nil where nobody
// has to hear of that.
func (m *Moderator) Screen(msg *message.Message, now time.Time) (why error, take bool) {
	m.now = now
	if why, done := m.screen(msg); done {
		answer := msg.Type == message.DiscoveryReply || msg.Type == message.JoinReply // to an invitation that was given up: it can be said anew
		if why == errUnexpected && !answer && m.o.Kind == message.Group && m.roster.find(&msg.Source) == nil {
			why = nil // it comes late, of who has gone
		}
		return why, false
	}
	if m.over || m.roster.find(&msg.Source) != nil {
		return nil, true
	}
	switch msg.Type {
	case message.DiscoveryReply, message.JoinReply, message.LeaveReply, message.LeaveRequest:
		return nil, true
	}
	if m.o.Kind == message.PointToPoint {
		return errStranger, false
	}
	return nil, !m.toldOut(msg) // else it does not know that it is out
}

// Screen says of a control message, before its token is judged, whether it is to be looked at at all. If not, why is nil where nobody
// has to hear of that.
func (p *Participant) Screen(m *message.Message, now time.Time) (why error, take bool) {
	p.now = now
	if why, done := p.screen(m); done {
		if why == errReplay && p.own(m) {
			why = nil
		}
		return why, false
	}
	if m.Type == message.JoinRequest && !p.over && !same(&m.Dest, &p.o.Self.Name) {
		return errOtherName, false // P-ses-6
	}
	if p.over || same(&m.Source, &p.moderator) {
		return nil, true
	}
	switch m.Type {
	case message.JoinRequest, message.GroupWelcome, message.GroupUpdate, message.LeaveRequest, message.GroupClose, message.LeaveReply,
		message.RejoinReply:
		return errNotModer, false
	case message.GroupAck, message.GroupNack, message.Heartbeat, message.UpdateState:
		if p.roster.find(&m.Source) == nil {
			return errStranger, false
		}
		return nil, true
	}
	return errUnexpected, false
}
