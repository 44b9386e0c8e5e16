package group

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// A node, or whoever has seen it, could say a control message again as long as its token lives. A member remembers the ids of what it has
// heard (identity.Replays), but when it is started again, or is invited anew, it begins with an empty memory. So:
//
//   - what was heard of those types that change something is stored, with the change, and for as long as its token lives;
//   - of what a moderator says, nothing counts whose token is older than that of its last invitation: by its own clock, and its tokens
//     only become younger, unless that is set back.
//
// What is heard of the other types says only that its sender is there, or answers a request, whose id is drawn for it; and who asks to be let
// in anew is answered once more, since what it was answered is not stored.

// effective reports whether messages of a type change something.
func effective(t message.Type) bool {
	switch t {
	case message.JoinRequest, message.LeaveRequest, message.GroupUpdate, message.GroupClose, message.UpdateState:
		return true
	}
	return false
}

// mostHeeded is how many of them are stored: the last ones of all members together.
const mostHeeded = 1024

// heeded is one of them, as it is stored.
type heeded struct {
	Count  uint64 // of all, this one included; its number is that modulo mostHeeded
	From   wire.NameText
	ID     uint32
	Until  time.Time    `json:",omitzero"` // when its token expires; zero: never
	Answer message.Type `json:",omitzero"` // what it was answered with, and is when it comes again; zero: nothing
}

// stale reports whether a message was said before the moderator's last invitation, as tokens tell. Where the one of that is from the future,
// clocks were set back since then, and they tell nothing: the moderator would not be heard until its clock is there again.
func (c *core) stale(in *Inbound) bool {
	if c.since.After(c.now.Add(clockSlack)) {
		c.since = time.Time{}
	}
	m := in.Message
	return effective(m.Type) && !in.Claims.Issued.IsZero() && in.Claims.Issued.Before(c.since) && same(&m.Source, &c.moderator)
}

// heed notes a message of a member that has come for the first time.
func (c *core) heed(in *Inbound) {
	m := in.Message
	if m.Type == message.JoinRequest && same(&m.Source, &c.moderator) && in.Claims.Issued.After(c.since) {
		c.since = in.Claims.Issued
	}
	if c.kept == nil || !effective(m.Type) {
		return
	}
	c.kept.count++
	if len(c.kept.heeded) == mostHeeded { // nothing of the session is stored yet
		c.kept.heeded = c.kept.heeded[1:]
	}
	c.kept.heeded = append(c.kept.heeded, heeded{Count: c.kept.count, From: m.Source, ID: m.ID, Until: in.Claims.Expires})
}

// unheed forgets a message that was not taken, and may come again.
func (c *core) unheed(m *message.Message) {
	c.replays.Revoke(m.Source, m.ID)
	if c.kept != nil {
		c.kept.heeded = slices.DeleteFunc(c.kept.heeded, func(h heeded) bool { return h.ID == m.ID && same(&h.From, &m.Source) })
	}
}

// heededChanges gives those that are not stored yet.
func (c *core) heededChanges(rs []Record) ([]Record, error) {
	list := c.kept.heeded
	c.kept.heeded = nil
	for _, h := range list {
		h.Answer = c.acks[ackKey{h.From.Name, h.ID}]
		text, err := json.Marshal(h)
		if err != nil {
			return nil, err
		}
		rs = append(rs, Record{RecordHeeded, h.Count % mostHeeded, text})
	}
	return rs, nil
}

// remember takes what was stored of them.
func (c *core) remember(list []heeded) {
	slices.SortFunc(list, func(a, b heeded) int { return int(int64(a.Count - b.Count)) })
	for _, h := range list {
		c.kept.count = h.Count
		if !h.Until.IsZero() && h.Until.Before(c.now) {
			continue
		}
		c.replays.Seen(h.From, h.ID)
		if h.Answer != 0 {
			c.acks[ackKey{h.From.Name, h.ID}] = h.Answer
		}
	}
}
