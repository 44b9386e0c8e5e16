package group

import (
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Product is in the version of messages that this implementation makes.
const Product = "slimgo"

// rejoinTask brings a member back whose epoch is over: one commit takes its old leaf out and a new one in.
//
//	RejoinRequest ──▶ answer with the welcome, and tell all the commit ── all have acknowledged ──▶ done
type rejoinTask struct {
	request *message.Message
	subject string
}

// rejoinReply is what a member was answered, for when it asks again.
type rejoinReply struct {
	id      uint32
	welcome message.Handshake
}

// rejoining takes a request.
func (m *Moderator) rejoining(in *Inbound) {
	msg := in.Message
	r := msg.Command.(*message.Rejoin)
	switch {
	case m.mls == nil || m.mls.group == nil:
		m.refuse(msg, errNoMLS)
	case !same(&msg.Source, &r.Participant):
		m.refuse(msg, errNotModer)
	case m.roster.find(&msg.Source) == nil:
		m.refuse(msg, errStranger)
	default:
		t := &rejoinTask{request: msg, subject: in.Claims.Subject}
		if old := m.rejoinOf(&msg.Source); old != nil { // it has given that one up
			*old = *t
			return
		}
		before := slices.Clone(m.asks)
		m.enqueue(t)
		// What it was asked to acknowledge before that it cannot, as it cannot follow. Were that waited for, the member would have given
		// its request up, and made another one, when it is answered, over and over.
		for _, a := range before {
			if a.message.Type == message.GroupUpdate {
				m.core.answered(a.message.ID, &msg.Source)
			}
		}
	}
}

// rejoinOf returns the task of a member that waits for its turn; nil: there is none.
func (m *Moderator) rejoinOf(n *wire.NameText) *rejoinTask {
	for _, waiting := range m.queue {
		if t, ok := waiting.(*rejoinTask); ok && same(&t.request.Source, n) {
			return t
		}
	}
	return nil
}

// rejoinAgain answers a request that has come before, unless that waits for its turn.
func (m *Moderator) rejoinAgain(msg *message.Message) bool {
	if t := m.rejoinOf(&msg.Source); t != nil && t.request.ID == msg.ID {
		return true
	}
	r, ok := m.rejoined[msg.Source.Name]
	if ok && r.id == msg.ID {
		m.rejoinAnswer(msg, r.welcome)
	}
	return ok && r.id == msg.ID
}

func (m *Moderator) rejoinAnswer(msg *message.Message, welcome message.Handshake) {
	r := m.message(message.RejoinReply, msg.Source, &message.Rejoined{Handshake: welcome})
	r.ID = msg.ID
	m.put(r)
}

func (t *rejoinTask) start(m *Moderator) {
	p := m.roster.find(&t.request.Source)
	if p == nil {
		m.finish(nil, nil)
		return
	}
	commit, welcome, err := m.mls.add(t.request.Command.(*message.Rejoin).KeyPackage, t.subject)
	if err != nil {
		m.refuse(t.request, err)
		m.finish(nil, nil)
		return
	}
	m.rejoined[p.Name.Name] = rejoinReply{t.request.ID, *welcome}
	m.rejoinAnswer(t.request, *welcome)
	m.beat.track(p.Name)
	m.present(&p.Name, true)
	update := &message.Update{Op: message.OpRejoin, Participant: *p, Roster: slices.Clone(m.roster), MLS: commit}
	m.tell(update, m.members(), func() { m.finish(nil, nil) })
}

func (*rejoinTask) reply(*Moderator, *Inbound) bool { return false }
func (*rejoinTask) ready(*Moderator, error)         {}
func (*rejoinTask) cancel(*Moderator)               {}

// patient is how many times a commit may come again before a member that has seen others follow it asks to be let in anew.
const patient = 3

// behind notes that this member is in an epoch that is over, or has lost the way into the next one. It asks to be let in
// anew, after a while in which the commit may come by itself; 0: at once.
func (p *Participant) behind(wait time.Duration) {
	if p.mls == nil || p.anew != nil || p.phase != phaseJoined {
		return
	}
	if at := p.now.Add(wait); p.askAnew.IsZero() || at.Before(p.askAnew) {
		p.askAnew = at
		p.askFrom = p.mls.epoch()
	}
}

// rejoin asks the moderator to be let in anew.
func (p *Participant) rejoin() {
	p.askAnew = time.Time{}
	if p.anew != nil {
		return
	}
	kp, err := p.mls.keyPackage(p.o.Self.Token(p.now))
	if err != nil {
		p.shut(err)
		return
	}
	m := p.message(message.RejoinRequest, p.moderator, &message.Rejoin{Participant: p.o.Self.Name, KeyPackage: kp})
	p.anew = p.ask(m, []wire.NameText{p.moderator}, func([]wire.NameText) {
		p.anew = nil
		p.back(ErrNoAnswer)
		p.notify(Outdated{})
	})
}

// Outdated says that this member cannot decrypt what others say, and that the moderator does not let it in anew.
type Outdated struct{}

func (Outdated) notice() {}

// readmitted enters the group anew.
func (p *Participant) readmitted(m *message.Message, r *message.Rejoined) error {
	if p.anew == nil || p.anew.message.ID != m.ID {
		return errUnexpected
	}
	if err := p.mls.welcomed(&r.Handshake); err != nil {
		return err
	}
	p.drop(p.anew)
	p.anew = nil
	p.mine = r.Commit
	p.answer(m, message.GroupAck)
	p.back(nil)
	return nil
}

// back ends what Resume has begun, if it has.
func (p *Participant) back(err error) {
	if p.away == coming {
		p.away = there
		if err != nil {
			p.away = away
		}
		p.changed(err)
	}
}

// acksRejoin reports whether this member may acknowledge the update that tells of its own return. The Rust moderator's
// task never ends if it does, and ends by giving up if it does not (it takes the acknowledgement of the reply, which bears
// the request's id, for a replay).
func acksRejoin(m *message.Message) bool { return strings.Contains(m.Version, Product) }
