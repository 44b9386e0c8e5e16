package group

import (
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Suspend says that this member will not be there for the time being. It stays in the group. Only of a group.
type Suspend struct{ Handle Handle }

// Resume says that it is back.
type Resume struct{ Handle Handle }

func (Suspend) event() {}
func (Resume) event()  {}

// suspended says whether this member is there.
//
//	there ── Suspend ──▶ going ── all have acknowledged, or do not answer ──▶ away ── Resume ──▶ coming ── likewise ──▶ there
//	                                                                                               └── epochs differ ──▶ rejoin
type suspension uint8

const (
	there suspension = iota
	going
	away
	coming
)

// suspend begins to be away.
func (c *core) suspend(e *Suspend) {
	switch {
	case c.o.Kind == message.PointToPoint:
		c.resolve(e.Handle, ErrPointToPoint)
		return
	case c.away != there:
		c.resolve(e.Handle, ErrBusy)
		return
	}
	c.away, c.changing = going, e.Handle
	c.declare(true, func([]wire.NameText) {
		c.away = away
		c.beat.pause()
		c.mls.release() // of no use when it is back
		c.changed(nil)
	})
}

// changed says what has become of a Suspend or a Resume, if one is under way.
func (c *core) changed(err error) {
	h := c.changing
	c.changing = nil
	c.resolve(h, err)
}

// resume begins to be back. outdated is what to do if others are in another epoch.
func (c *core) resume(e *Resume, outdated func()) {
	switch {
	case c.o.Kind == message.PointToPoint:
		c.resolve(e.Handle, ErrPointToPoint)
		return
	case c.away != away:
		c.resolve(e.Handle, ErrBusy)
		return
	}
	c.away, c.changing = coming, e.Handle
	c.outdated = outdated
	c.beat.start(c.control, c.now)
	for _, n := range c.members() {
		c.present(&n, false) // until it answers
	}
	back := func([]wire.NameText) {
		c.declared, c.outdated = nil, nil
		c.away = there
		c.changed(nil)
	}
	c.declared = c.declare(false, back)
}

// declare tells all others what this member's state is. Those who are offline here are asked as well.
func (c *core) declare(offline bool, done func([]wire.NameText)) *ask {
	var others []wire.NameText
	for i := range c.roster {
		if p := &c.roster[i]; !same(&p.Name, &c.o.Self.Name) && (!offline || !p.Offline) {
			others = append(others, p.Name)
		}
	}
	if len(others) == 0 {
		done(nil)
		return nil
	}
	state := &message.State{Participant: c.o.Self.Name, Offline: offline, Epoch: c.mls.epoch()}
	return c.ask(c.all(message.UpdateState, state), others, done)
}

// stated takes the state of a member: its own word, or a moderator's.
func (c *core) stated(m *message.Message) {
	s := m.Command.(*message.State)
	p := c.roster.find(&s.Participant)
	switch {
	case p == nil:
		c.refuse(m, errStranger)
	case !same(&m.Source, &s.Participant) && !same(&m.Source, &c.moderator):
		c.refuse(m, errNotModer)
	case s.Offline:
		c.present(&s.Participant, false)
		c.answer(m, message.GroupAck)
	case !c.mls.isIn(s.Epoch):
		c.answer(m, message.GroupNack)
	default:
		c.beat.track(s.Participant)
		c.present(&s.Participant, true)
		c.answer(m, message.GroupAck)
	}
}

// nacked takes the word of a member that it is in another epoch.
func (c *core) nacked(m *message.Message) {
	a := c.declared
	if same(&c.moderator, &c.o.Self.Name) && c.answered(m.ID, &m.Source) {
		return // it is the other one that is behind, and hears that from heartbeats
	}
	if a == nil || a.message.ID != m.ID || c.outdated == nil {
		c.refuse(m, errUnexpected)
		return
	}
	c.drop(a)
	c.declared = nil
	outdated := c.outdated
	c.outdated = nil
	outdated()
}

// acked takes an acknowledgement. Who acknowledges that this member is back is there itself.
func (c *core) acked(m *message.Message) {
	back := c.declared != nil && c.declared.message.ID == m.ID
	if !c.answered(m.ID, &m.Source) {
		c.refuse(m, errUnexpected)
		return
	}
	if back {
		c.present(&m.Source, true)
	}
}

// deaf reports whether a message is to be dropped, since this member is away: all are but answers, and what ends its membership. A
// moderator cares for that of others.
func (c *core) deaf(t message.Type) bool {
	switch {
	case c.away != away:
		return false
	case same(&c.o.Self.Name, &c.moderator):
		return t == message.Msg || t == message.RtxReply
	}
	switch t {
	case message.MsgAck, message.RtxRequest, message.GroupAck, message.GroupNack, message.LeaveReply, message.RejoinReply,
		message.LeaveRequest, message.GroupClose, message.JoinRequest:
		return false
	}
	return true
}
