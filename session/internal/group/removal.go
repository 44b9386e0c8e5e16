package group

import (
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// removal takes a member out.
//
//	tell the others ── all acknowledged ──▶ tell the member, unless it has gone ── reply ──▶ done
//
// The member is out from the beginning: it gets and is expected to answer nothing any more. Others that do not answer are
// taken for offline.
type removal struct {
	name   wire.NameText
	gone   bool // it knows
	handle Handle

	member  message.Participant
	request *ask
}

func (t *removal) start(m *Moderator) {
	if m.o.Kind == message.PointToPoint {
		m.finish(t.handle, ErrPointToPoint)
		return
	}
	p := m.roster.findApp(&t.name)
	if p == nil || same(&p.Name, &m.o.Self.Name) {
		m.finish(t.handle, ErrNotMember)
		return
	}
	t.member = *p
	roster := append([]message.Participant(nil), m.roster...)
	var commit *message.Handshake
	if m.mls != nil {
		var err error
		if commit, err = m.mls.removeNamed(&t.member.Name); err != nil {
			m.finish(t.handle, err)
			return
		}
	}
	m.part(t.member.Name)
	delete(m.stale, t.member.Name.Name)
	delete(m.rejoined, t.member.Name.Name)
	others := m.members()
	if len(others) == 0 {
		m.missedByAbsent()
		t.told(m)
		return
	}
	update := &message.Update{Op: message.OpRemove, Participant: t.member, Roster: roster, MLS: commit}
	m.tell(update, others, func() { t.told(m) })
}

// told has told the others.
func (t *removal) told(m *Moderator) {
	if t.gone {
		m.finish(t.handle, nil)
		return
	}
	msg := m.message(message.LeaveRequest, t.member.Name, nil)
	t.request = m.ask(msg, []wire.NameText{t.member.Name}, func([]wire.NameText) { m.finish(t.handle, nil) })
}

func (t *removal) reply(m *Moderator, in *Inbound) bool {
	msg := in.Message
	return msg.Type == message.LeaveReply && t.request != nil && t.request.message.ID == msg.ID && m.core.answered(msg.ID, &msg.Source)
}

func (*removal) ready(*Moderator, error) {}

func (t *removal) cancel(m *Moderator) { m.resolve(t.handle, ErrClosed) }
