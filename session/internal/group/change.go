package group

import (
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// tell tells all others of a change. Those of whom it is awaited and who do not acknowledge it are taken for offline. done is
// called when no more acknowledgements are waited for.
//
// Without MLS a member that has missed a change has no way to see that: when it is back it is told who is in the group. With
// MLS it sees that the others are in another epoch, and is let in anew.
func (m *Moderator) tell(update *message.Update, others []wire.NameText, done func()) {
	m.missedByAbsent()
	m.ask(m.all(message.GroupUpdate, update), others, func(missing []wire.NameText) {
		for i := range missing {
			m.missed(&missing[i])
			m.present(&missing[i], false)
		}
		done()
	})
}

// freshMargin is how long the old token of a moderator must hold still when a commit brings a new one: members on the Rust library check
// both when they get it.
const freshMargin = 30 * time.Second

// fresh is a token for this member's leaf that a commit brings which is due anyway, in the second half of the life of the old one;
// empty: the old one serves. Rust members, from 3.4 on, read nothing of who has a void one, and let nobody in. It makes the
// commit bring new keys, too, which adds do not bring else.
func (m *Moderator) fresh(old string) string {
	was, err := m.o.Verify(old)
	if err != nil || was.Expires.IsZero() {
		return ""
	}
	token := m.o.Self.Token(m.now)
	now, err := m.o.Verify(token)
	left := was.Expires.Sub(m.now)
	if err != nil || left < freshMargin || left > now.Expires.Sub(m.now)/2 || now.Subject != was.Subject {
		return ""
	}
	m.notify(Renewed{now.Expires})
	return token
}

// missed notes that a member may not know of a change.
func (m *Moderator) missed(n *wire.NameText) {
	if m.mls == nil {
		m.stale[n.Name] = max(1, m.stale[n.Name])
	}
}

// missedByAbsent notes that of all who are not there.
func (m *Moderator) missedByAbsent() {
	for i := range m.roster {
		if p := &m.roster[i]; p.Offline {
			m.missed(&p.Name)
		}
	}
}

// refresh sees to it that a member that is back knows who is in the group, if it has missed a change.
func (m *Moderator) refresh(n wire.NameText) {
	if turn := m.stale[n.Name]; turn > 0 {
		delete(m.stale, n.Name)
		m.enqueue(&refreshment{n, turn})
	}
}

// mostRefreshments is how often a member that says that it is there is told in vain. A member on upstream's library drops what it is told until
// those who are not there any more have not answered that it is back.
const mostRefreshments = 3

// refreshment tells a member who is in the group. It is a task, so that what it says holds until the member has heard it.
//
//	tell it ── acknowledged, or not: then with its next heartbeat, or when it is back again ──▶ done
type refreshment struct {
	name wire.NameText
	turn int // how often it has been told then, if in vain
}

func (t *refreshment) start(m *Moderator) {
	p := m.roster.find(&t.name)
	if p == nil || p.Offline {
		if p != nil {
			m.missed(&t.name)
		}
		m.finish(nil, nil)
		return
	}
	update := &message.Update{Op: message.OpRejoin, Participant: *p, Roster: slices.Clone(m.roster)}
	m.ask(m.message(message.GroupUpdate, t.name, update), []wire.NameText{t.name}, func(missing []wire.NameText) {
		for i := range missing {
			if m.missed(&missing[i]); t.turn == mostRefreshments {
				m.present(&missing[i], false)
			} else {
				m.stale[missing[i].Name] = t.turn + 1
			}
		}
		m.finish(nil, nil)
	})
}

func (*refreshment) reply(*Moderator, *Inbound) bool { return false }
func (*refreshment) ready(*Moderator, error)         {}
func (*refreshment) cancel(*Moderator)               {}

// mostOut bounds how many outsiders are remembered.
const mostOut = 1024

// outsider answers who says something to the group and is no member: it was removed, and has not heard of that. It is told so
// now, once in a control interval.
func (m *Moderator) outsider(msg *message.Message) {
	switch t := m.running.(type) {
	case *invite:
		if same(&t.joiner.Name, &msg.Source) { // it is on its way in
			return
		}
	case *removal:
		if same(&t.member.Name, &msg.Source) && msg.Type != message.LeaveRequest { // it is told in its turn
			return
		}
	}
	switch msg.Type {
	case message.LeaveReply, message.GroupAck, message.GroupNack: // late, or for this
	case message.LeaveRequest:
		m.answer(msg, message.LeaveReply)
	default:
		if m.toldOut(msg) {
			return
		}
		if len(m.outside) >= mostOut {
			clear(m.outside)
		}
		m.outside[msg.Source.Name] = m.now
		r := m.message(message.LeaveRequest, msg.Source, nil)
		r.ID = m.newID()
		m.put(r)
	}
}

// toldOut reports whether an outsider was told so just now.
func (m *Moderator) toldOut(msg *message.Message) bool {
	at, ok := m.outside[msg.Source.Name]
	return ok && m.now.Sub(at) < m.o.Control.Interval
}

// outsiders are when somebody who is no member was told so last.
type outsiders = map[wire.Name]time.Time
