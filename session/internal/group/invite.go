package group

import (
	"fmt"
	"slices"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// invite takes a member in.
//
//	is it there? ── no answer, or no member of the name ──▶ discover ── reply ──▶ take its old self out ──▶ subscribe ── taken ──▶
//	  └── it answers: ErrMember
//	join ── reply ──▶ welcome it, and tell the others ── all acknowledged ──▶ done
//
// A member of the name may have left, or have been started anew, with another id, and this moderator has not heard of it. It is asked,
// and replaced if it is silent and somebody comes in its place; else it stays what it was.
//
// It is done when the new member has acknowledged that it is in, and so can decrypt. Others that do not answer are taken
// for offline. If the new one does not, the invitation has failed, and the member is taken out again, or the session
// between two is closed by who has wanted it.
type invite struct {
	name   wire.NameText
	pin    string
	handle Handle

	request *ask
	silent  bool   // the member of the name has been asked, and does not answer
	subject string // of the joiner
	joiner  message.Participant
	open    int // acknowledgements that are awaited: of the new member, and of the others
	in      bool
	err     error
	doubt   error // why the first answer was not believed; another one may come
}

func (t *invite) start(m *Moderator) {
	if m.o.Kind == message.PointToPoint && len(m.roster) > 1 {
		m.finish(t.handle, ErrPointToPoint)
		return
	}
	p := m.roster.findApp(&t.name)
	switch {
	case t.joiner.Name != (wire.NameText{}): // it is found, and its old self is out
		t.enter(m)
	case p == nil || p.Offline:
		t.discover(m)
	case same(&p.Name, &m.o.Self.Name), m.away != there: // a moderator that is not there does not say that it is
		m.finish(t.handle, ErrMember)
	default:
		t.check(m, p.Name)
	}
}

// presenceRepeats is how often a member is asked whether it is there, once more than that, before somebody else may take its place.
const presenceRepeats = 3

// check asks a member whether it is there, by telling it that this one is: all implementations answer that, in whatever epoch they are.
func (t *invite) check(m *Moderator, n wire.NameText) {
	msg := m.message(message.UpdateState, n, &message.State{Participant: m.o.Self.Name, Epoch: m.mls.epoch()})
	t.request = m.ask(msg, []wire.NameText{n}, func(missing []wire.NameText) {
		t.request = nil
		switch {
		case len(missing) > 0:
			t.silent = true
			t.discover(m)
		case m.goes(&n): // which it has said instead
			m.queue = append(m.queue, t)
			m.finish(nil, nil)
		default:
			m.finish(t.handle, ErrMember)
		}
	})
	t.request.most = min(presenceRepeats, m.o.Control.Retries)
}

func (t *invite) discover(m *Moderator) {
	msg := m.message(message.DiscoveryRequest, t.name, nil)
	t.request = m.ask(msg, []wire.NameText{t.name}, func([]wire.NameText) { m.finish(t.handle, t.unanswered()) })
}

// doubts notes why an answer is not believed: the first one says most, since repeats of it are refused as such.
func (t *invite) doubts(err error) {
	if t.doubt == nil {
		t.doubt = err
	}
}

// unanswered is why there is no answer.
func (t *invite) unanswered() error {
	if t.doubt == nil {
		return ErrNoAnswer
	}
	return fmt.Errorf("%w: %w: %w", ErrNoAnswer, ErrRefusedJoiner, t.doubt)
}

func (t *invite) reply(m *Moderator, in *Inbound) bool {
	msg := in.Message
	if t.request == nil || t.request.message.ID != msg.ID {
		return false
	}
	if t.pin != "" && in.Claims.Subject != t.pin { // another instance may be the right one
		err := fmt.Errorf("it is of the subject %q, and the pin is %q", in.Claims.Subject, t.pin)
		t.doubts(err)
		m.refuse(msg, err)
		return true
	}
	switch msg.Type {
	case message.DiscoveryReply:
		if t.request.message.Type != message.DiscoveryRequest || !sameApp(&msg.Source, &t.name) ||
			!t.name.Name.IsNull() && !same(&msg.Source, &t.name) {
			return false
		}
		t.found(m, in)
	case message.JoinReply:
		joined := msg.Command.(*message.Joined)
		if t.request.message.Type != message.JoinRequest || !same(&msg.Source, &t.joiner.Name) ||
			!same(&msg.Source, &joined.Participant.Name) || in.Claims.Subject != t.subject {
			return false
		}
		if reason, declined := msg.Metadata[keyReason]; declined {
			m.drop(t.request)
			m.finish(t.handle, &Declined{reason})
			return true
		}
		t.answered(m, joined)
	default:
		return false
	}
	return true
}

// found knows which instance it is.
func (t *invite) found(m *Moderator, in *Inbound) {
	m.drop(t.request)
	t.request = nil
	t.joiner.Name, t.subject, t.doubt = in.Message.Source, in.Claims.Subject, nil
	if other := m.roster.findTwin(&t.joiner.Name); other != nil && m.mls != nil { // whose leaf it would take (P-ses-6)
		m.finish(t.handle, fmt.Errorf("%w: it is of the identity %q, as %v is, and an encrypted session has one member of each", ErrRefusedJoiner, t.subject, other.Name))
		return
	}
	switch p := m.roster.findApp(&t.name); {
	case m.o.Kind == message.PointToPoint || p == nil:
		t.enter(m)
	case !p.Offline && !t.silent: // it is back
		m.finish(t.handle, ErrMember)
	default:
		m.queue = append([]task{&removal{name: p.Name, gone: true}, t}, m.queue...)
		m.finish(nil, nil)
	}
}

// enter prepares the session for who is found.
func (t *invite) enter(m *Moderator) {
	if err := m.mls.create(); err != nil {
		m.finish(t.handle, err)
		return
	}
	if m.o.Kind == message.PointToPoint {
		m.data, m.control = t.joiner.Name, t.joiner.Name
	}
	m.beat.start(m.control, m.now)
	if m.subscribe() {
		t.join(m)
	}
}

func (t *invite) ready(m *Moderator, err error) {
	if err != nil {
		m.finish(t.handle, fmt.Errorf("subscribing to the channel: %w", err))
		return
	}
	t.join(m)
}

// join says what the session is like.
func (t *invite) join(m *Moderator) {
	command := new(message.Join)
	if d := m.o.Data; d.Interval > 0 {
		command.Timers = &message.Timers{Timeout: uint32(d.Interval.Milliseconds()), Retries: uint32(d.Retries)}
	}
	if m.o.Kind == message.Group {
		command.Channel, command.Control = &m.data, &m.control
	}
	if m.mls != nil {
		command.MLS = &message.MLSSettings{Percent: 100}
	}
	msg := m.message(message.JoinRequest, t.joiner.Name, command)
	msg.Metadata = cloneMetadata(m.o.Metadata)
	t.request = m.ask(msg, []wire.NameText{t.joiner.Name}, func([]wire.NameText) { m.finish(t.handle, t.unanswered()) })
}

// answered has all that a member needs.
func (t *invite) answered(m *Moderator, joined *message.Joined) {
	m.drop(t.request)
	t.request = nil
	t.joiner = joined.Participant
	var commit, welcome *message.Handshake
	if m.mls != nil {
		var err error
		if commit, welcome, err = m.mls.add(joined.KeyPackage, t.subject); err != nil {
			m.finish(t.handle, fmt.Errorf("%w: %w", ErrRefusedJoiner, err))
			return
		}
	}
	others := m.members()
	m.roster.put(t.joiner)
	m.rosterChanged()
	delete(m.outside, t.joiner.Name.Name)
	m.missedByAbsent()
	if len(others) > 0 {
		t.open++
		update := &message.Update{Op: message.OpAdd, Participant: t.joiner, Roster: slices.Clone(m.roster), MLS: commit}
		m.tell(update, others, func() { t.close(m, nil) })
	}
	t.open++
	msg := m.message(message.GroupWelcome, t.joiner.Name, &message.Welcome{Roster: slices.Clone(m.roster), MLS: welcome})
	m.ask(msg, []wire.NameText{t.joiner.Name}, func(missing []wire.NameText) {
		if len(missing) > 0 {
			t.close(m, ErrNoAnswer)
			return
		}
		t.in = true
		m.join(t.joiner)
		m.notify(Joined{t.joiner.Name})
		t.close(m, nil)
	})
}

// Roster is everybody who is in the session; borrowed. Who has not said yet that it is in is not: it gets no data either.
func (m *Moderator) Roster() []message.Participant {
	t, ok := m.running.(*invite)
	if !ok || t.open == 0 || t.in {
		return m.roster
	}
	return slices.DeleteFunc(slices.Clone(m.roster), func(p message.Participant) bool { return same(&p.Name, &t.joiner.Name) })
}

// close notes that one of the two phases is over.
func (t *invite) close(m *Moderator, err error) {
	if err != nil {
		t.err = err
	}
	if t.open--; t.open > 0 {
		return
	}
	if t.err != nil && m.o.Kind == message.Group { // it may have been in, and that its acknowledgement was lost
		m.queue = append([]task{&removal{name: t.joiner.Name}}, m.queue...)
	}
	m.finish(t.handle, t.err)
}

func (t *invite) cancel(m *Moderator) { m.resolve(t.handle, ErrClosed) }

// withdraw takes back an invitation that has not been answered: one that has is gone through with.
func (m *Moderator) withdraw(h Handle) {
	for i, waiting := range m.queue {
		if t, ok := waiting.(*invite); ok && t.handle == h {
			m.queue = append(m.queue[:i:i], m.queue[i+1:]...)
			m.resolve(h, ErrWithdrawn)
			return
		}
	}
	if t, ok := m.running.(*invite); ok && t.handle == h && t.open == 0 {
		if t.request != nil {
			m.drop(t.request)
		}
		m.finish(h, ErrWithdrawn)
	}
}
