package group

import (
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Moderator has opened the session. It changes the membership, one task after the other.
//
//	Invite, Remove, a member leaves ──▶ queue ──▶ running ──▶ done, or given up ──▶ the next
//	Leave ──▶ after what is queued: closing ──▶ over
type Moderator struct {
	core
	running   task
	queue     []task
	advancing bool

	subscribed subscription
	leaving    []Handle
	rejoined   map[wire.Name]rejoinReply
	stale      map[wire.Name]int // members that have missed a change, of a group without MLS: 1, and how often they were told in vain
	outside    outsiders
	absence    absence // of the other one, of a session of two
}

var _ Machine = (*Moderator)(nil)

// task is one change of the membership.
type task interface {
	// start begins it, or ends it at once by Moderator.finish.
	start(m *Moderator)
	// reply takes an answer that is not a plain acknowledgement, and reports whether it was the awaited one.
	reply(m *Moderator, in *Inbound) bool
	// ready says that the node has taken the subscriptions to the channel, or why not.
	ready(m *Moderator, err error)
	// cancel ends it: the session is over.
	cancel(m *Moderator)
}

// subscription is how far the subscriptions to a channel are.
type subscription uint8

const (
	subscribedNot subscription = iota
	subscribedAsked
	subscribedDone
)

// NewModerator opens a session: with dest, of a session between two, or as the channel dest.
func NewModerator(o Options, dest wire.NameText) (*Moderator, error) {
	m := moderatorOf(newCore(o, o.Kind == message.PointToPoint))
	m.moderator, m.data, m.control = o.Self.Name, dest, dest
	if o.Kind == message.Group {
		var err error
		if m.data, m.control, err = identity.Channel(dest, o.Self.Subject); err != nil {
			return nil, err
		}
	}
	if o.Keep {
		m.keep(&keeping{role: m})
	}
	return m, nil
}

func moderatorOf(c core) *Moderator {
	m := &Moderator{core: c, rejoined: map[wire.Name]rejoinReply{}, stale: map[wire.Name]int{}, outside: outsiders{}}
	m.back, m.fail, m.renew = m.refresh, m.shut, m.renewEpoch
	if m.mls != nil && m.o.Verify != nil {
		m.mls.fresh = m.fresh
	}
	return m
}

// Step takes an event at this time.
func (m *Moderator) Step(ev Event, now time.Time) {
	m.begin(ev, now)
	if m.over {
		m.late(ev)
		return
	}
	m.touched(ev)
	switch e := ev.(type) {
	case *Inbound:
		m.full, m.in = e.Full, e
		m.inbound(e)
		m.full, m.in = false, nil
	case *Publish:
		m.publish(e)
	case PublishTo:
		m.publishTo(&e)
	case Invite:
		m.enqueue(&invite{name: e.Name, pin: e.Pin, handle: e.Handle})
	case Remove:
		m.enqueue(&removal{name: e.Name, handle: e.Handle})
	case Withdraw:
		m.withdraw(e.Handle)
	case Leave:
		m.leaving = append(m.leaving, e.Handle)
		if len(m.leaving) == 1 {
			m.enqueue(new(closing))
		}
	case Abandon:
		m.shut(nil)
	case Suspend:
		m.suspend(&e)
	case Resume:
		m.resume(&e, nil)
	case Subscribed:
		m.ready(&e)
	case Reconnected:
		m.send.Again(now)
	case *Sent:
		m.sentCopies(e)
	case Tick:
		m.remind()
		m.send.Tick(now)
		m.receive.Tick(now)
		m.beatNow()
		m.resubscribe()
	}
	if m.absence.step(&m.core, ev) {
		m.shut(ErrPeerGone)
	}
	m.settle()
}

// Deadline is when a Tick is due; zero: never.
func (m *Moderator) Deadline() time.Time {
	return earlier(m.core.Deadline(), m.absence.deadline(&m.core))
}

// late answers what comes when the session is over.
func (c *core) late(ev Event) {
	switch e := ev.(type) {
	case Leave:
		c.resolve(e.Handle, nil)
	case *Inbound:
		// A member that lacks the answer to its last request gets it once more.
		if !e.Message.Type.Control() {
			return
		}
		fresh, _ := c.verify(e)
		switch {
		case fresh && e.Message.Type == message.JoinRequest:
			c.do(Anew{*e})
		case fresh && e.Message.Type == message.LeaveRequest: // it has learnt before that it is out
			c.answer(e.Message, message.LeaveReply)
		}
	default:
		c.resolve(handleOf(ev), ErrClosed)
	}
}

// handleOf is the handle of a command; nil of other events.
func handleOf(ev Event) Handle {
	switch e := ev.(type) {
	case *Publish:
		return e.Handle
	case PublishTo:
		return e.Handle
	case Invite:
		return e.Handle
	case Remove:
		return e.Handle
	case Suspend:
		return e.Handle
	case Resume:
		return e.Handle
	}
	return nil
}

func (m *Moderator) inbound(in *Inbound) {
	msg := in.Message
	if m.deaf(msg.Type) {
		return
	}
	if !msg.Type.Control() {
		m.heard(msg, in.Size, in.Sealed)
		return
	}
	fresh, err := m.verify(in)
	switch {
	case err == errReplay && msg.Type == message.RejoinRequest && m.rejoinAgain(msg):
		return
	case err == errReplay && msg.Type == message.GroupAck: // it may bear the id of a request of the same member
	case err != nil:
		if t, ok := m.running.(*invite); ok && t.request != nil && t.request.message.ID == msg.ID && err != errReplay {
			t.doubts(err)
		}
		m.refuse(msg, err)
		return
	case !fresh:
		return
	}
	m.beat.heard(&msg.Source)
	switch msg.Type {
	case message.DiscoveryReply, message.JoinReply, message.LeaveReply:
		if m.running != nil && m.running.reply(m, in) {
			return
		}
		if msg.Type != message.LeaveReply || m.o.Kind == message.PointToPoint {
			m.refuse(msg, errUnexpected)
			return
		}
	}
	if m.o.Kind == message.Group && m.roster.find(&msg.Source) == nil {
		m.outsider(msg)
		return
	}
	switch msg.Type {
	case message.GroupAck:
		m.acked(msg)
	case message.GroupNack:
		m.nacked(msg)
	case message.Heartbeat:
		m.beaten(msg)
		if p := m.roster.find(&msg.Source); p != nil && !p.Offline {
			m.refresh(msg.Source)
		}
	case message.LeaveRequest:
		m.left(msg)
	case message.UpdateState:
		m.stated(msg)
	case message.RejoinRequest:
		m.rejoining(in)
	default:
		m.refuse(msg, errUnexpected)
	}
}

// left lets a participant go that wants to. It is answered at once, and the others are told in their turn.
func (m *Moderator) left(msg *message.Message) {
	if _, own := msg.Metadata[message.KeyLeaving]; !own {
		m.refuse(msg, errUnexpected)
		return
	}
	m.answer(msg, message.LeaveReply) // also who is out already, whose answer was lost
	if m.roster.find(&msg.Source) == nil {
		return
	}
	if m.o.Kind == message.PointToPoint {
		m.part(msg.Source)
		m.shut(nil)
		return
	}
	if m.goes(&msg.Source) {
		return
	}
	m.enqueue(&removal{name: msg.Source, gone: true})
	m.excuse(&msg.Source)
}

// members are those who are to answer what goes to all: those of the core, but for who has left and waits to be taken out.
func (m *Moderator) members() []wire.NameText {
	going := map[wire.Name]bool{} // of a thousand members hundreds may leave at a time
	for _, waiting := range m.queue {
		if t, ok := waiting.(*removal); ok && t.gone {
			going[t.name.Name] = true
		}
	}
	return slices.DeleteFunc(m.core.members(), func(n wire.NameText) bool { return going[n.Name] })
}

// goes reports whether a member has left, and waits to be taken out.
func (m *Moderator) goes(n *wire.NameText) bool {
	return slices.ContainsFunc(m.queue, func(waiting task) bool {
		t, ok := waiting.(*removal)
		return ok && t.gone && same(&t.name, n)
	})
}

func (m *Moderator) enqueue(t task) {
	m.queue = append(m.queue, t)
	m.advance()
}

// advance starts tasks as long as none is running. One that ends where it starts is followed by the next from here.
func (m *Moderator) advance() {
	if m.advancing {
		return
	}
	m.advancing = true
	defer func() { m.advancing = false }()
	for m.running == nil && len(m.queue) > 0 && !m.over {
		m.running, m.queue = m.queue[0], m.queue[1:]
		m.running.start(m)
	}
}

// finish ends the running task.
func (m *Moderator) finish(h Handle, err error) {
	m.running = nil
	m.rosterChanged() // who was on its way in is, or is not any more
	m.resolve(h, err)
	m.advance()
}

// subscribe asks for the messages of the channel, once. It reports whether the node has taken that already.
func (m *Moderator) subscribe() bool {
	if m.o.Kind == message.PointToPoint {
		return true
	}
	if m.subscribed == subscribedNot {
		m.subscribed = subscribedAsked
		m.do(Subscribe{m.data})
		m.do(Subscribe{m.control})
	}
	return m.subscribed == subscribedDone
}

func (m *Moderator) ready(e *Subscribed) {
	switch {
	case m.subscribed != subscribedAsked:
		return
	case m.returning:
		if !m.cameBack(e, nil) {
			return
		}
		m.subscribed = subscribedDone
	case e.Err != nil:
		m.subscribed = subscribedNot
	case !same(&e.Name, &m.control): // the second of the two
		return
	default:
		m.subscribed = subscribedDone
	}
	if m.running != nil {
		m.running.ready(m, e.Err)
	}
}

// shut ends the session for this member.
func (m *Moderator) shut(err error) {
	if m.over {
		return
	}
	if m.subscribed != subscribedNot {
		m.do(Unsubscribe{m.data})
		m.do(Unsubscribe{m.control})
	}
	running, queue := m.running, m.queue
	m.running, m.queue = nil, nil
	m.rosterChanged()
	m.end(err)
	if running != nil {
		running.cancel(m)
	}
	for _, t := range queue {
		t.cancel(m)
	}
	for _, h := range m.leaving {
		m.resolve(h, nil)
	}
}

// closing tells everybody that the session is over.
type closing struct{}

func (t *closing) start(m *Moderator) {
	others := m.members()
	if len(others) == 0 {
		m.shut(nil)
		return
	}
	var names []wire.NameText
	for i := range m.roster {
		names = append(names, m.roster[i].Name)
	}
	msg := m.all(message.GroupClose, &message.Close{Participants: names})
	if m.o.Kind == message.PointToPoint { // peers expect it under the name without an id
		msg.Dest = msg.Dest.WithID(wire.Null, wire.Null)
	}
	m.ask(msg, others, func([]wire.NameText) { m.shut(nil) })
}

func (*closing) reply(*Moderator, *Inbound) bool { return false }
func (*closing) ready(*Moderator, error)         {}
func (*closing) cancel(*Moderator)               {}
