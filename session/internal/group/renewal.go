package group

import (
	"errors"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// renewal begins a new epoch, in which the moderator follows again whom it has missed too much of.
//
//	commit nothing but new keys, and tell all ── all have acknowledged ──▶ done
type renewal struct{}

// renewEvery is how often a member asks for a new epoch at most (P-ses-3). Others of the group can feign that it has reason to.
const renewEvery = beatInterval

// lostTrack looks at why a message is not decrypted. Keys of data are made one from the other, for each message and each repeat one, and a
// member that was cut off may have missed more than it may be made to work through. All that its sender says in this epoch is lost
// to it then, so it needs another one.
func (c *core) lostTrack(err error) {
	var e *mls.Error
	if !errors.As(err, &e) || e.Kind != mls.Limit || e.Section != "9.1" {
		return
	}
	if !c.renewed.IsZero() && c.now.Sub(c.renewed) < renewEvery {
		return
	}
	c.renewed = c.now
	c.renew()
}

// renewEpoch is what a moderator does then: it commits, as nobody else does.
func (m *Moderator) renewEpoch() {
	is := func(t task) bool { _, ok := t.(*renewal); return ok }
	if m.running == nil || !is(m.running) && !slices.ContainsFunc(m.queue, is) {
		m.enqueue(new(renewal))
	}
}

func (t *renewal) start(m *Moderator) {
	self := m.roster.find(&m.o.Self.Name)
	others := m.members()
	if self == nil || len(others) == 0 {
		m.finish(nil, nil)
		return
	}
	change, err := m.mls.apply(nil)
	if err != nil {
		m.finish(nil, nil) // the next message that it cannot read is another reason
		return
	}
	commit := &message.Handshake{Commit: m.mls.commit, Content: change.Commit}
	update := &message.Update{Op: message.OpRejoin, Participant: *self, Roster: slices.Clone(m.roster), MLS: commit}
	m.tell(update, others, func() { m.finish(nil, nil) })
}

func (*renewal) reply(*Moderator, *Inbound) bool { return false }
func (*renewal) ready(*Moderator, error)         {}
func (*renewal) cancel(*Moderator)               {}
