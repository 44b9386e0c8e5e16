package group

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Participant was invited to a session.
//
//	JoinRequest ──▶ invited ── GroupWelcome ──▶ subscribing ── taken ──▶ joined ── LeaveRequest, GroupClose ──▶ over
//	                   └── none comes ──▶ over                              └── Leave ──▶ leaving ── LeaveReply, or none ──▶ over
type Participant struct {
	core
	phase   phase
	expires time.Time        // of phaseInvited, and of a member that is out; zero: neither
	request *message.Message // the JoinRequest that was answered last
	joined  uint32           // its id
	welcome *message.Message // not acknowledged yet: its subscriptions are under way
	leaving []Handle

	askAnew time.Time // when to ask to be let in anew; zero: there is no need
	askFrom uint64    // epoch when the need was seen
	anew    *ask      // the request for that, while it waits
	mine    uint32    // number of the commit that has let this member in anew; 0: none

	absence absence // of the other one, of a session of two
}

var _ Machine = (*Participant)(nil)

type phase uint8

const (
	phaseInvited phase = iota
	phaseSubscribing
	phaseJoined
	phaseLeaving
)

// Opened says that the session is there for the app.
type Opened struct{}

func (Opened) notice() {}

// Errors that end a participant's session.
var (
	ErrNoWelcome = fmt.Errorf("%w: it was not completed by who has invited", ErrClosed)
	ErrRemoved   = fmt.Errorf("%w: this member was removed", ErrClosed)
)

// NewParticipant takes an invitation. What o says of data, metadata and MLS is that of the request (Invited). An error
// says that the request is not to be believed, or asks for what this member has not; nobody is told.
func NewParticipant(o Options, in *Inbound, now time.Time) (*Participant, error) {
	p := &Participant{core: newCore(o, o.Kind == message.PointToPoint)}
	p.now, p.fail, p.renew = now, p.shut, func() { p.behind(0) }
	if o.Keep {
		p.keep(&keeping{role: p})
	}
	m, join := in.Message, in.Message.Command.(*message.Join)
	p.moderator, p.data, p.control = m.Source, m.Source, m.Source
	if _, err := p.verify(in); err != nil {
		return nil, err
	}
	if o.Kind == message.Group {
		if join.Channel == nil || join.Control == nil {
			return nil, errNoChannel
		}
		data, control, err := identity.Channel(*join.Channel, in.Claims.Subject)
		if err != nil || !same(&data, join.Channel) || !same(&control, join.Control) || wire.Text(data.Str[0], data.Str[1], data.Str[2]).Name.C != data.Name.C {
			return nil, errForeignChannel
		}
		p.data, p.control = data, control
	}
	p.beat.start(p.control, now)
	p.expires = p.patience(1)
	p.joining(m)
	p.settle()
	return p, nil
}

// patience is when somebody has given up who has sent so many requests, one after the other.
func (p *Participant) patience(requests int) time.Time {
	return p.now.Add(time.Duration(requests*(p.o.Control.Retries+1)+1) * p.o.Control.Interval)
}

// joining answers a request to join.
func (p *Participant) joining(m *message.Message) {
	kp, err := p.mls.keyPackage(p.o.Self.Token(p.now))
	if err != nil {
		p.fail(err)
		return
	}
	p.request, p.joined = m, m.ID
	r := p.message(message.JoinReply, m.Source, &message.Joined{KeyPackage: kp, Participant: p.o.Self.participant()})
	r.ID = m.ID
	p.put(r)
}

// Deadline is when a Tick is due; zero: never.
func (p *Participant) Deadline() time.Time {
	if p.over {
		return time.Time{}
	}
	return earlier(earlier(p.expires, p.askAnew), earlier(p.absence.deadline(&p.core), p.core.Deadline()))
}

// Step takes an event at this time.
func (p *Participant) Step(ev Event, now time.Time) {
	p.begin(ev, now)
	if p.over {
		p.late(ev)
		return
	}
	p.touched(ev)
	switch e := ev.(type) {
	case *Inbound:
		p.full, p.in = e.Full, e
		p.inbound(e)
		p.full, p.in = false, nil
	case *Publish:
		p.publish(e)
	case PublishTo:
		p.publishTo(&e)
	case Invite:
		p.resolve(e.Handle, ErrNotModerator)
	case Remove:
		p.resolve(e.Handle, ErrNotModerator)
	case Leave:
		p.leave(e.Handle)
	case Abandon:
		p.shut(nil)
	case Suspend:
		if p.phase != phaseJoined {
			p.resolve(e.Handle, ErrBusy)
			break
		}
		p.suspend(&e)
	case Resume:
		p.resume(&e, func() {
			p.rejoin()
		})
	case Subscribed:
		p.subscribed(&e)
	case Reconnected:
		p.send.Again(now)
	case *Sent:
		p.sentCopies(e)
	case Tick:
		p.tick()
	}
	if p.absence.step(&p.core, ev) {
		p.shut(ErrPeerGone)
	}
	p.settle()
}

func (p *Participant) tick() {
	if !p.expires.IsZero() && !p.expires.After(p.now) {
		if p.phase == phaseInvited {
			p.shut(ErrNoWelcome)
		} else {
			p.shut(ErrRemoved)
		}
		return
	}
	if !p.askAnew.IsZero() && !p.askAnew.After(p.now) {
		if p.askAnew = (time.Time{}); p.mls.epoch() == p.askFrom {
			p.rejoin()
		}
	}
	p.remind()
	p.send.Tick(p.now)
	p.receive.Tick(p.now)
	p.beatNow()
	p.resubscribe()
}

func (p *Participant) inbound(in *Inbound) {
	m := in.Message
	if p.deaf(m.Type) {
		return
	}
	if !m.Type.Control() {
		if p.phase == phaseInvited {
			p.refuse(m, errUnexpected)
			return
		}
		p.heard(m, in.Size, in.Sealed)
		return
	}
	fresh, err := p.verify(in)
	switch {
	case err == errReplay && m.Type == message.JoinRequest && p.phase == phaseInvited && p.request.ID == m.ID:
		p.joining(m) // the answer was lost
		return
	case err == errReplay && p.own(m):
		return
	case err != nil:
		p.refuse(m, err)
		return
	case !fresh:
		return
	}
	p.beat.heard(&m.Source)
	if m.Type == message.JoinRequest && p.phase != phaseInvited && same(&m.Source, &p.moderator) {
		// Who is invited is no member any more, and has not heard why.
		p.shut(ErrRemoved)
		p.do(Anew{*in})
		return
	}
	switch m.Type {
	case message.JoinRequest, message.GroupWelcome, message.GroupUpdate, message.LeaveRequest, message.GroupClose, message.LeaveReply,
		message.RejoinReply:
		if !same(&m.Source, &p.moderator) {
			p.refuse(m, errNotModer)
			return
		}
		if m.Type == message.JoinRequest && p.phase == phaseJoined && m.ID != p.joined {
			p.shut(ErrRemoved) // which this member has not heard of
			p.do(Anew{*in})
			return
		}
		if err := p.ordered(m); err != nil {
			var wait *notJudged
			if errors.As(err, &wait) {
				p.unheed(m)
				p.do(Unjudged{*in, wait.tokens})
				return
			}
			if errors.Is(err, errGap) { // it comes again, and may be of use then
				p.unheed(m)
			}
			p.refuse(m, err)
		}
	case message.GroupAck:
		p.acked(m)
	case message.GroupNack:
		p.nacked(m)
	case message.Heartbeat:
		if p.beaten(m) {
			p.behind(patient * p.o.Control.Interval) // the commit may be under way, or comes again
		}
	case message.UpdateState:
		p.stated(m)
	default:
		p.refuse(m, errUnexpected)
	}
}

// own reports whether m tells others that this member comes, which is repeated until they know.
func (p *Participant) own(m *message.Message) bool {
	u, ok := m.Command.(*message.Update)
	return ok && u.Op == message.OpAdd && same(&u.Participant.Name, &p.o.Self.Name)
}

// ordered does what the moderator says.
func (p *Participant) ordered(m *message.Message) error {
	switch c := m.Command.(type) {
	case *message.Join:
		p.joining(m)
	case *message.Welcome:
		return p.welcomed(m, c)
	case *message.Update:
		return p.updated(m, c)
	case *message.Rejoined:
		return p.readmitted(m, c)
	case *message.Close:
		p.answer(m, message.GroupAck)
		p.shut(ErrClosed)
	default:
		if m.Type == message.LeaveRequest {
			p.answer(m, message.LeaveReply)
			p.shut(ErrRemoved)
		} else if !p.answered(m.ID, &m.Source) {
			return errUnexpected
		}
	}
	return nil
}

func (p *Participant) welcomed(m *message.Message, c *message.Welcome) error {
	if p.phase == phaseJoined && p.entered(c.MLS) { // its acknowledgement was lost, and what this member knew of it, too
		p.answer(m, message.GroupAck)
		return nil
	}
	switch {
	case p.phase != phaseInvited:
		return errUnexpected
	case len(c.Roster) > mostMembers:
		return errCrowd
	}
	if err := p.mls.welcomed(c.MLS); err != nil {
		return err
	}
	p.enter(c.Roster)
	if p.o.Kind == message.PointToPoint {
		p.opened(m)
		return nil
	}
	p.phase, p.welcome, p.expires = phaseSubscribing, m, time.Time{}
	p.do(Subscribe{p.data})
	p.do(Subscribe{p.control})
	return nil
}

// entered reports whether this member is in the epoch of a welcome already, or in a later one.
func (p *Participant) entered(h *message.Handshake) bool {
	return p.mls == nil || h != nil && h.Commit <= p.mls.commit
}

// enter makes roster the session's.
func (p *Participant) enter(roster []message.Participant) {
	p.roster = nil
	for _, other := range roster {
		p.join(other)
	}
	p.roster.put(p.o.Self.participant())
	p.rosterChanged()
}

func (p *Participant) subscribed(e *Subscribed) {
	switch {
	case p.returning:
		p.cameBack(e, p.rejoin)
	case p.phase != phaseSubscribing:
	case e.Err != nil:
		p.phase = phaseInvited // the welcome comes again, but is of no use any more
		p.shut(fmt.Errorf("subscribing to the channel: %w", e.Err))
	case same(&e.Name, &p.control):
		p.opened(p.welcome)
		p.welcome = nil
	}
}

// opened is in, and says so.
func (p *Participant) opened(welcome *message.Message) {
	p.phase, p.expires = phaseJoined, time.Time{}
	p.notify(Opened{})
	p.answer(welcome, message.GroupAck)
}

// updated follows a change of the membership.
func (p *Participant) updated(m *message.Message, c *message.Update) error {
	switch {
	case p.phase == phaseInvited:
		return errUnexpected
	case len(c.Roster) > mostMembers:
		return errCrowd
	}
	who := c.Participant
	self := same(&who.Name, &p.o.Self.Name)
	switch {
	case c.Op == message.OpAdd && self:
		return nil // its own invitation, which others are told of
	case c.Op == message.OpRejoin && self:
		return p.returned(m, c)
	}
	removed, err := p.mls.follow(c.MLS)
	switch {
	case errors.Is(err, errOldCommit) && c.MLS.Commit == p.mine:
	case errors.Is(err, errOldCommit): // the acknowledgement was lost
		p.answer(m, message.GroupAck)
		return nil
	case errors.As(err, new(*notJudged)):
		return err
	case err != nil:
		p.behind(0)
		return err
	}
	switch {
	case removed || c.Op == message.OpRemove && self:
		p.expires = p.patience(2) // the request to leave follows, when the others have acknowledged
	case c.Op == message.OpRemove:
		p.part(who.Name)
	case c.Op == message.OpRejoin && p.roster.find(&who.Name) != nil:
		p.beat.track(who.Name)
		p.present(&who.Name, !who.Offline)
	default:
		p.part(who.Name) // if it is known it has gone and come anew, and this member has missed the one
		p.join(who)
		p.notify(Joined{who.Name})
	}
	p.agree(c.Roster, &who.Name)
	p.answer(m, message.GroupAck)
	for _, held := range p.mls.release() {
		p.heard(held.message, held.size, nil)
	}
	return nil
}

// returned takes the word of the moderator that this member is back: what has changed meanwhile.
func (p *Participant) returned(m *message.Message, c *message.Update) error {
	if p.mls != nil && (c.MLS == nil || c.MLS.Commit > p.mls.commit) {
		p.behind(0) // unless the answer to its request is still under way
		return errGap
	}
	p.agree(c.Roster, nil)
	for i := range c.Roster {
		if other := &c.Roster[i]; !same(&other.Name, &p.o.Self.Name) {
			p.present(&other.Name, !other.Offline)
		}
	}
	if acksRejoin(m) {
		p.answer(m, message.GroupAck)
	}
	return nil
}

// agree makes the members those whom the moderator knows, and tells of the difference: this member may have missed a change. What
// has become of one of them was said apart from that.
func (p *Participant) agree(now []message.Participant, but *wire.NameText) {
	if len(now) == 0 {
		return
	}
	apart := func(n *wire.NameText) bool { return same(n, &p.o.Self.Name) || but != nil && same(n, but) }
	there := roster(now).names()
	for _, old := range slices.Clone(p.roster) {
		if !apart(&old.Name) && !there[old.Name.Name] {
			p.part(old.Name)
		}
	}
	known := p.roster.names()
	for _, other := range now {
		if !apart(&other.Name) && !known[other.Name.Name] {
			p.join(other)
			p.notify(Joined{other.Name})
		}
	}
}

// leave tells the moderator, and waits for its answer.
func (p *Participant) leave(h Handle) {
	p.leaving = append(p.leaving, h)
	if p.phase == phaseLeaving {
		return
	}
	if p.phase == phaseInvited {
		p.shut(nil)
		return
	}
	p.unsubscribe()
	p.phase = phaseLeaving
	m := p.message(message.LeaveRequest, p.moderator, nil)
	m.Metadata = map[string]string{message.KeyLeaving: "TRUE"}
	p.ask(m, []wire.NameText{p.moderator}, func([]wire.NameText) { p.shut(nil) })
}

func (p *Participant) unsubscribe() {
	if p.o.Kind == message.Group && (p.phase == phaseSubscribing || p.phase == phaseJoined) {
		p.do(Unsubscribe{p.data})
		p.do(Unsubscribe{p.control})
	}
}

// shut ends the session for this member.
func (p *Participant) shut(err error) {
	if p.over {
		return
	}
	p.unsubscribe()
	p.end(err)
	for _, h := range p.leaving {
		p.resolve(h, nil)
	}
}
