package group

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Snapshot is a session as its records tell of it.
type Snapshot struct {
	state     state
	asks      map[uint32]*message.Message
	messages  []reliable.UnderWay
	sent      uint32
	positions map[uint64]*reliable.Position
	parts     [][]byte
	heeded    []heeded
}

var errNoHead = errors.New("its head is missing")

// ReadSnapshot reads records. They are the snapshot's from then on.
func ReadSnapshot(records []Record) (*Snapshot, error) {
	s := &Snapshot{asks: map[uint32]*message.Message{}, positions: map[uint64]*reliable.Position{}}
	for _, r := range records {
		if err := s.read(r); err != nil {
			return nil, fmt.Errorf("record %d/%d: %w", r.Kind, r.Number, err)
		}
	}
	switch {
	case s.state.Version == 0:
		return nil, errNoHead
	case s.state.Version != stateVersion:
		return nil, fmt.Errorf("it is of version %d, and this program knows %d: use the program that wrote it", s.state.Version, stateVersion)
	}
	return s, nil
}

func (s *Snapshot) read(r Record) error {
	switch r.Kind {
	case RecordHead:
		return json.Unmarshal(r.Value, &s.state)
	case RecordAsk:
		m, err := message.Decode(r.Value)
		if err != nil {
			return err
		}
		s.asks[m.ID] = m
	case RecordMessage:
		u, err := readUnderWay(r.Value)
		if err != nil {
			return err
		}
		s.messages = append(s.messages, u)
	case RecordSent:
		if len(r.Value) != 4 {
			return errors.New("it is damaged")
		}
		s.sent = binary.BigEndian.Uint32(r.Value)
	case RecordSource:
		p := new(reliable.Position)
		if err := json.Unmarshal(r.Value, p); err != nil {
			return err
		}
		s.positions[r.Number] = p
	case RecordPart:
		s.parts = append(s.parts, r.Value)
	case RecordHeeded:
		var h heeded
		if err := json.Unmarshal(r.Value, &h); err != nil {
			return err
		}
		s.heeded = append(s.heeded, h)
	default:
		return errors.New("nobody knows what it is")
	}
	return nil
}

// Options returns what the session was made with. Its Self has a name only, and MLS is to be filled in where Encrypted says so.
func (s *Snapshot) Options() Options {
	st := &s.state
	return Options{Kind: st.Kind, ID: st.ID, Self: Self{Name: st.Self}, Data: st.Data, Control: st.Control, Metadata: st.Metadata, Keep: true}
}

// Encrypted reports whether the session has an MLS group.
func (s *Snapshot) Encrypted() bool { return s.state.Encrypted }

// Moderator is who has opened the session.
func (s *Snapshot) Moderator() wire.NameText { return s.state.Moderator }

// Restore makes the machine anew. What it had under way goes on under the same ids: handle gives those messages their handles.
func (s *Snapshot) Restore(o Options, handle func(*reliable.UnderWay) Handle, now time.Time) (Machine, error) {
	c := newCore(o, o.Kind == message.PointToPoint)
	st := &s.state
	c.now, c.tag = now, max(st.Tag, 1)
	c.moderator, c.data, c.control = st.Moderator, st.DataName, st.ControlName
	if st.Away {
		c.away = away
	}
	lead := same(&st.Moderator, &st.Self)
	if c.mls != nil && (!lead || st.Commit > 0 || len(s.parts) > 0) { // a moderator alone has no MLS group yet
		var err error
		if c.mls.group, err = mls.Restore(o.MLS, s.parts); err != nil {
			return nil, err
		}
		c.mls.commit = st.Commit
	}
	c.send = reliable.NewSender[Handle](o.Data, s.sent)
	if lead {
		m := moderatorOf(c)
		m.restore(s, m, handle)
		m.missedByAbsent()
		m.goOn(s)
		m.settle()
		return m, nil
	}
	p := &Participant{core: c, phase: phaseJoined, mine: st.Mine, joined: st.Joined}
	p.since = st.Since
	p.fail, p.renew = p.shut, func() { p.behind(0) }
	p.restore(s, p, handle)
	p.goOn(s)
	p.settle()
	return p, nil
}

// restore makes what both roles have in common.
func (c *core) restore(s *Snapshot, role keepingRole, handle func(*reliable.UnderWay) Handle) {
	c.keep(&keeping{role: role, sent: s.sent})
	entering := map[wire.Name]bool{} // who is welcomed, and has not said that it is in
	for _, a := range s.state.Asks {
		if m := s.asks[a.ID]; m != nil && m.Type == message.GroupWelcome {
			entering[m.Dest.Name] = true
		}
	}
	c.roster = nil
	for _, p := range s.state.Roster {
		c.roster.put(p.Participant)
		c.rosterChanged()
		if same(&p.Name, &c.o.Self.Name) || entering[p.Name.Name] {
			continue
		}
		c.beat.track(p.Name)
		if p.First > 0 {
			c.send.Return(p.Name, p.First, c.now)
		}
	}
	c.replays.Senders = len(c.roster)
	c.remember(s.heeded)
	for n, p := range s.positions {
		c.receive.Restore(n, p, c.now)
	}
	c.send.Resume(s.messages, func(u *reliable.UnderWay) Handle { return handle(u) }, c.now)
	if len(c.roster) > 1 && c.away == there {
		c.beat.start(c.control, c.now)
	}
	for id := range s.asks {
		c.kept.asks[id] = true
	}
}

// again asks once more what was asked before; nil: it was answered by all.
func (c *core) again(s *Snapshot, st *askState, done func(missing []wire.NameText)) {
	m := s.asks[st.ID]
	m.Content = nil
	c.await(&ask{message: *m, lacking: st.Lacking, done: done})
}

// comeBack subscribes to the channel again. When that is done, the others are told that this member is back.
func (c *core) comeBack() {
	c.returning, c.subscribeAt = true, time.Time{}
	c.do(Subscribe{c.data})
	c.do(Subscribe{c.control})
}

// resubscribe tries that again.
func (c *core) resubscribe() {
	if !c.subscribeAt.IsZero() && !c.subscribeAt.After(c.now) {
		c.comeBack()
	}
}

// cameBack takes an answer to comeBack; true: it was the last one, and outdated is what to do if others are in another epoch.
func (c *core) cameBack(e *Subscribed, outdated func()) bool {
	switch {
	case e.Err != nil:
		c.subscribeAt = c.now.Add(c.o.Control.Interval)
		return false
	case !same(&e.Name, &c.control) || !c.subscribeAt.IsZero(): // the second of the two counts, unless the first has failed
		return false
	}
	c.returning = false
	if c.away != there {
		return true
	}
	c.outdated = outdated
	c.declared = c.declare(false, func(missing []wire.NameText) {
		c.declared, c.outdated = nil, nil
		for i := range missing {
			c.present(&missing[i], false)
		}
	})
	return true
}

// resumed is the task of a moderator that goes on with what it did before it was started again: messages are repeated until
// they are answered.
type resumed struct {
	open int
	tell *wire.NameText // who is out, and is told that when the others know
}

func (m *Moderator) goOn(s *Snapshot) {
	st := &s.state
	t := &resumed{tell: st.Tell}
	for i := range st.Asks {
		if msg := s.asks[st.Asks[i].ID]; msg != nil {
			t.open++
			m.again(s, &st.Asks[i], t.done(m, msg))
		}
	}
	for _, r := range st.Removals {
		m.queue = append(m.queue, &removal{name: r.Name, gone: r.Gone})
	}
	if st.Leaving {
		m.leaving = append(m.leaving, nil)
		m.queue = append(m.queue, new(closing))
	}
	if m.o.Kind == message.Group && st.Subscribed {
		m.subscribed = subscribedAsked
		m.comeBack()
	}
	if m.running = t; t.open == 0 {
		t.close(m)
	}
}

// done is what to do when msg is answered by all, or by those who are not missing.
func (t *resumed) done(m *Moderator, msg *message.Message) func(missing []wire.NameText) {
	switch c := msg.Command.(type) {
	case *message.Welcome:
		return func(missing []wire.NameText) {
			if len(missing) == 0 {
				t.entered(m, msg.Dest)
			} else {
				m.queue = append([]task{&removal{name: msg.Dest, gone: true}}, m.queue...)
			}
			t.shut(m, missing)
		}
	case *message.Update:
		return func(missing []wire.NameText) {
			for i := range missing {
				m.present(&missing[i], false)
			}
			if c.Op == message.OpRemove && t.tell != nil {
				leave := m.message(message.LeaveRequest, *t.tell, nil)
				t.open++
				m.ask(leave, []wire.NameText{*t.tell}, func([]wire.NameText) { t.shut(m, nil) })
				t.tell = nil
			}
			t.shut(m, nil)
		}
	case *message.Close:
		return func([]wire.NameText) { m.shut(nil) }
	}
	return func([]wire.NameText) { t.shut(m, nil) }
}

// entered makes who has been welcomed a member.
func (t *resumed) entered(m *Moderator, n wire.NameText) {
	p := m.roster.find(&n)
	if p == nil {
		return
	}
	now := *p
	now.Offline = false
	m.join(now)
	m.notify(Joined{n})
}

// shut notes that one message is done with. A session between two ends if the other one does not come.
func (t *resumed) shut(m *Moderator, missing []wire.NameText) {
	if len(missing) > 0 && m.o.Kind == message.PointToPoint {
		m.shut(ErrNoAnswer)
		return
	}
	if t.open--; t.open == 0 {
		t.close(m)
	}
}

func (t *resumed) close(m *Moderator) { m.finish(nil, nil) }

func (*resumed) start(*Moderator) {}

func (*resumed) reply(m *Moderator, in *Inbound) bool {
	return in.Message.Type == message.LeaveReply && m.core.answered(in.Message.ID, &in.Message.Source)
}

func (*resumed) ready(*Moderator, error) {}
func (*resumed) cancel(*Moderator)       {}

func (p *Participant) goOn(s *Snapshot) {
	st := &s.state
	if p.mls != nil && !p.mls.group.Active() {
		p.shut(ErrRemoved) // the request to leave has not come
		return
	}
	if st.Leaving {
		p.phase = phaseLeaving
		p.leaving = append(p.leaving, nil)
	}
	for i := range st.Asks {
		if s.asks[st.Asks[i].ID] != nil {
			p.again(s, &st.Asks[i], func([]wire.NameText) { p.shut(nil) })
		}
	}
	switch {
	case p.phase == phaseLeaving && len(p.asks) == 0:
		p.shut(nil)
	case p.phase == phaseJoined && p.o.Kind == message.Group:
		p.comeBack()
	}
}
