package group

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// What of a session is stored, in records. A transaction has all that has changed, and what is sent or delivered comes after it.
//
//	Record      | holds                                                     | is written
//	head        | what the session is like, roster, tasks, who lacks what   | when that changes; not with each answer
//	ask         | a control message that is repeated until it is answered   | with the change that it tells of
//	message     | data under way                                            | when it is published
//	sent        | the last id in order                                      | when it is published
//	source      | how far a member's stream has come                        | when something of it is delivered
//	part        | of the MLS group: see package mls                         | with each message and commit
//	heeded      | the id of a control message that was taken                | with what that has changed
//
// Not stored is what others say again, or ask for again: messages held for a gap, replies, and control messages that change nothing.
type RecordKind uint8

const (
	RecordHead RecordKind = iota + 1
	RecordAsk
	RecordMessage
	RecordSent
	RecordSource
	RecordPart // sealed by package mls, and never written twice with different values
	RecordHeeded
)

// Record is a piece of a session's state.
type Record struct {
	Kind   RecordKind
	Number uint64 // one of those of its kind
	Value  []byte // nil: it is to be deleted
}

// stateVersion is that of the records.
const stateVersion = 1

// state is the head.
type state struct {
	Version   int
	Kind      message.Kind
	ID        uint32
	Self      wire.NameText
	Data      reliable.Options
	Control   reliable.Options
	Metadata  map[string]string `json:",omitempty"`
	Encrypted bool

	Moderator   wire.NameText
	DataName    wire.NameText
	ControlName wire.NameText
	Roster      []memberState
	Tag         uint32     // of what this member sends
	Commit      uint32     `json:",omitzero"`
	Away        bool       `json:",omitzero"`
	Asks        []askState `json:",omitempty"`
	Leaving     bool       `json:",omitzero"` // Leave was called

	// The moderator's.
	Subscribed bool           `json:",omitzero"`
	Removals   []removalState `json:",omitempty"`
	Tell       *wire.NameText `json:",omitempty"` // who is out, and to be told when the others know

	// A participant's.
	Mine   uint32    `json:",omitzero"`
	Joined uint32    `json:",omitzero"`
	Since  time.Time `json:",omitzero"`
}

type memberState struct {
	message.Participant
	First uint32 `json:",omitzero"` // where its stream of this member's data begins; 0: it gets none
}

// askState is who has not answered. The message is a record of its own.
type askState struct {
	ID      uint32
	Lacking []wire.NameText
}

type removalState struct {
	Name wire.NameText
	Gone bool `json:",omitzero"`
}

// keepingRole is a moderator or a participant.
type keepingRole interface {
	// lasting reports whether there is anything worth to be stored.
	lasting() bool
	// fill fills in the role's own.
	fill(s *state)
}

// keeping is what a machine knows of its records.
type keeping struct {
	role    keepingRole
	changed bool // the head may have
	head    []byte
	asks    map[uint32]bool
	sent    uint32
	heeded  []heeded // that are not stored yet
	count   uint64   // of all of them
}

// keep has the machine note what changes.
func (c *core) keep(k *keeping) {
	k.asks, k.changed = map[uint32]bool{}, true
	c.kept = k
	c.send.Keep()
	c.receive.Keep()
}

// touched notes that an event may have changed the head. Of what all members say at a time, heartbeats and acknowledgements, few
// change it, and those say so: it is as long as there are members. Who is asked once more than it need be, by a member that was
// started again and had not stored that it has answered, answers again.
func (c *core) touched(ev Event) {
	switch e := ev.(type) {
	case *Inbound:
		if t := e.Message.Type; !t.Control() || t == message.Heartbeat || t == message.GroupAck {
			return
		}
	case *Publish, PublishTo, Rest, *Sent:
		return
	}
	c.headChanged()
}

// headChanged notes that the head may have changed.
func (c *core) headChanged() {
	if c.kept != nil {
		c.kept.changed = true
	}
}

// Changes returns what has changed since the last call; none: nothing has, or the session is not, or no more, one that is
// stored.
func (c *core) Changes() (rs []Record, err error) {
	k := c.kept
	if k == nil || c.over || !k.role.lasting() {
		return nil, nil
	}
	if k.changed {
		k.changed = false
		if rs, err = c.headChanges(rs); err != nil {
			return nil, err
		}
	}
	if rs, err = c.heededChanges(rs); err != nil {
		return nil, err
	}
	if last := c.send.Last(); last != k.sent {
		k.sent = last
		rs = append(rs, Record{RecordSent, 0, binary.BigEndian.AppendUint32(nil, last)})
	}
	c.send.Changes(func(id uint32, m *reliable.UnderWay) {
		rs = append(rs, Record{RecordMessage, uint64(id), c.underWay(m)})
	})
	c.receive.Changes(func(number uint64, p *reliable.Position) {
		r := Record{Kind: RecordSource, Number: number}
		if p != nil {
			r.Value, err = json.Marshal(p)
		}
		rs = append(rs, r)
	})
	if err != nil {
		return nil, fmt.Errorf("position of a source: %w", err)
	}
	return c.mls.changes(rs)
}

// Stored says that what Changes gave last is stored.
func (c *core) Stored() error { return c.mls.stored() }

// headChanges gives the head, and the control messages that come or are gone, if they have changed.
func (c *core) headChanges(rs []Record) ([]Record, error) {
	k := c.kept
	s := c.state()
	k.role.fill(s)
	head, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("state of the session: %w", err)
	}
	if !bytes.Equal(head, k.head) {
		k.head = head
		rs = append(rs, Record{RecordHead, 0, head})
	}
	for _, a := range c.asks {
		if a.lasting() && !k.asks[a.message.ID] {
			k.asks[a.message.ID] = true
			rs = append(rs, Record{RecordAsk, uint64(a.message.ID), c.encoded(a.message)})
		}
	}
	for id := range k.asks {
		if c.asked(id) == nil {
			delete(k.asks, id)
			rs = append(rs, Record{RecordAsk, uint64(id), nil})
		}
	}
	return rs, nil
}

func (c *core) state() *state {
	s := &state{
		Version: stateVersion, Kind: c.o.Kind, ID: c.o.ID, Self: c.o.Self.Name, Data: c.o.Data, Control: c.o.Control, Metadata: c.o.Metadata,
		Encrypted: c.mls != nil, Moderator: c.moderator, DataName: c.data, ControlName: c.control, Tag: c.tag,
		Away: c.away == away || c.away == going,
	}
	if c.mls != nil {
		s.Commit = c.mls.commit
	}
	for _, p := range c.roster {
		s.Roster = append(s.Roster, memberState{p, c.send.First(p.Name)})
	}
	for _, a := range c.asks {
		if a.lasting() {
			s.Asks = append(s.Asks, askState{a.message.ID, slices.Clone(a.lacking)})
		}
	}
	return s
}

// lasting reports whether a is asked by a member that has been started again, too: what tells of changes that have been made.
func (a *ask) lasting() bool {
	switch a.message.Type {
	case message.GroupUpdate, message.GroupWelcome, message.GroupClose, message.LeaveRequest:
		return true
	}
	return false
}

// encoded is a message of this session as it is stored: without token and signatures.
func (c *core) encoded(m message.Message) []byte {
	m.Kind, m.Session = c.o.Kind, c.o.ID
	return m.Append(nil)
}

// underWay is the record of data; nil of none.
func (c *core) underWay(u *reliable.UnderWay) []byte {
	if u == nil {
		return nil
	}
	m := message.Message{
		Source: c.o.Self.Name, Dest: u.To, Type: message.Msg, ID: u.ID,
		PayloadType: u.Payload.Type, Blob: u.Payload.Blob, Metadata: u.Payload.Metadata,
	}
	if u.To == (wire.NameText{}) {
		m.Dest = c.o.Self.Name // which stands for all
	}
	return c.encoded(m)
}

// readUnderWay is the counterpart of underWay.
func readUnderWay(b []byte) (u reliable.UnderWay, err error) {
	m, err := message.Decode(b)
	if err != nil {
		return u, err
	}
	u = reliable.UnderWay{ID: m.ID, Payload: reliable.Payload{Type: m.PayloadType, Blob: m.Blob, Metadata: m.Metadata}}
	if !same(&m.Dest, &m.Source) {
		u.To = m.Dest
	}
	return u, nil
}

// changes gives the parts of the group that are not stored, and those that are obsolete.
func (c *crypto) changes(rs []Record) ([]Record, error) {
	if c == nil || c.group == nil {
		return rs, nil
	}
	s, err := c.group.Save()
	if err != nil {
		return nil, err
	}
	c.saved = s
	for _, p := range s.Parts {
		rs = append(rs, Record{RecordPart, p.Number, p.Data})
	}
	for _, n := range s.Obsolete {
		rs = append(rs, Record{RecordPart, n, nil})
	}
	return rs, nil
}

func (c *crypto) stored() error {
	if c == nil || c.saved == nil {
		return nil
	}
	s := c.saved
	c.saved = nil
	return s.Done()
}

func (m *Moderator) lasting() bool { return m.o.Kind == message.Group || len(m.roster) > 1 }

func (m *Moderator) fill(s *state) {
	s.Subscribed = m.subscribed != subscribedNot
	s.Leaving = len(m.leaving) > 0
	for _, t := range m.queue {
		if r, ok := t.(*removal); ok {
			s.Removals = append(s.Removals, removalState{r.name, r.gone})
		}
	}
	switch t := m.running.(type) {
	case *removal:
		if !t.gone && t.request == nil {
			s.Tell = &t.member.Name
		}
	case *resumed:
		s.Tell = t.tell
	case *invite:
		if t.err != nil { // it did not come, and others may not know yet that it was to
			s.Removals = append(s.Removals, removalState{t.joiner.Name, true})
		}
	}
}

func (p *Participant) lasting() bool { return p.phase != phaseInvited }

func (p *Participant) fill(s *state) {
	s.Leaving = p.phase == phaseLeaving
	s.Mine, s.Joined, s.Since = p.mine, p.joined, p.since
}
