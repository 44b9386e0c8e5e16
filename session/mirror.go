package session

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// mirror is the machine of one of the two ends of a session of an app with itself, for which no message leaves the process: nodes bring
// nothing back to where it came from, and an MLS group has each member once.
//
//	Publish ──▶ reflected ──▶ the other end ── room for it ──▶ Deliver; settled ──▶ this end ──▶ Resolve
//	                              └── none: tried again, as often as one from elsewhere is repeated; else not delivered
type mirror struct {
	other    *Session
	self     message.Participant
	times    reliable.Options // zero: it is not reliable
	subject  string           // empty: it is plain
	token    func(now time.Time) string
	room     func() bool // for one more in this end's inbox
	overflow func()      // there was none

	out     []group.Output
	last    uint32                  // id of what was sent
	under   map[uint32]group.Handle // what the other end has not settled, by ids
	held    []reflected             // of the other end's
	again   time.Time               // when they are tried again; zero: there are none
	leaving []group.Handle
	over    bool
}

// reflected is a message for the other end.
type reflected struct {
	group.Tick
	r     *group.Received
	tries int
}

// settled says what has become of one.
type settled struct {
	group.Tick
	id  uint32
	err error
}

// departed says that the other end is over.
type departed struct{ group.Tick }

var _ group.Machine = (*mirror)(nil)

// Screen takes nothing: no message is for it.
func (*mirror) Screen(*message.Message, time.Time) (why error, take bool) { return errMirror, false }

// Prepare has nothing to prepare.
func (*mirror) Prepare(*message.Message) *group.Sealed { return nil }

// itself reports whether a name is this app's, and returns it in full.
func (a *App) itself(n Name) (wire.NameText, bool) {
	if n.Same(a.Name()) && (n.ID() == "" || n == a.Name()) {
		return a.self.Name, true
	}
	return a.called(&n.t)
}

// openMirror opens a session of the app with itself, under this name of it.
func (a *App) openMirror(name wire.NameText, o SessionOptions) (*Session, error) {
	if o.Pin != "" && o.Pin != a.Subject() {
		return nil, fmt.Errorf("%w: it is of the subject %q, and the pin is %q", ErrUnauthorized, a.Subject(), o.Pin)
	}
	p, err := a.reserve(a.Subject())
	if err != nil {
		a.n.noListener.Add(1)
		return nil, fmt.Errorf("%w: this app does not listen, or too many sessions wait for Accept", ErrTimeout)
	}
	if err := a.accepted(p.l, &Invitation{
		From: a.Name(), Subject: a.Subject(), To: Name{name}, Kind: PointToPoint, Encrypted: !o.Plain, Reliable: !o.Unreliable,
		Metadata: maps.Clone(o.Metadata),
	}); err != nil {
		p.release()
		return nil, err
	}
	ends, err := a.mirrors(name, o)
	if err != nil {
		p.release()
		return nil, err
	}
	ends[1].entering = p
	ends[1].task.machine.(*mirror).do(group.Notify{Notice: group.Opened{}})
	for _, s := range ends {
		s.slot.Post(letter{})
	}
	return ends[0], nil
}

// accepted asks the listener's policy.
func (a *App) accepted(l *Listener, i *Invitation) error {
	if l.o.Accept == nil {
		return nil
	}
	if err := l.o.Accept(i); err != nil {
		return &Declined{err.Error()}
	}
	return nil
}

// mirrors makes the two ends. The first has the id that o wants; none of them runs yet.
func (a *App) mirrors(name wire.NameText, o SessionOptions) (ends [2]*Session, err error) {
	g := group.Options{Kind: message.PointToPoint, Self: a.self, Control: o.timers(), Metadata: maps.Clone(o.Metadata)}
	if !o.Unreliable {
		g.Data = g.Control
	}
	var machines [2]*mirror
	for i := range ends {
		self := [2]wire.NameText{a.self.Name, name}[i]
		m := &mirror{
			self: message.Participant{Name: self, Sends: a.self.Sends, Receives: a.self.Receives}, times: g.Data, token: a.who.token,
			under: map[uint32]group.Handle{},
		}
		if !o.Plain {
			m.subject = a.Subject()
		}
		machines[i], g.Self.Name = m, self
		ends[i], err = a.draw(o.ID, func(id uint32) (*Session, error) {
			g.ID = id
			s := newSession(a, &g, m, Name{name}, Name{a.self.Name}, nil)
			s.mirrored, s.encrypted, s.task.keep = true, !o.Plain, nil
			return s, nil
		})
		if err != nil {
			if i == 1 {
				a.sessions.remove(ends[0])
			}
			return ends, err
		}
		m.room, m.overflow = ends[i].task.room, ends[i].task.overflow
		o.ID = 0
	}
	ends[1].dest = Name{a.self.Name}
	machines[0].other, machines[1].other = ends[1], ends[0]
	return ends, nil
}

func (m *mirror) do(o group.Output) { m.out = append(m.out, o) }

func (m *mirror) resolve(h group.Handle, err error) {
	if h != nil {
		m.do(group.Resolve{Handle: h, Err: err})
	}
}

// Step implements group.Machine.
func (m *mirror) Step(ev group.Event, now time.Time) {
	switch e := ev.(type) {
	case reflected:
		m.held = append(m.held, e)
		m.deliver(now)
	case settled:
		if h, ok := m.under[e.id]; ok {
			delete(m.under, e.id)
			m.resolve(h, e.err)
		}
		m.leave()
	case departed:
		m.end(ErrClosed)
	case *group.Publish:
		m.publish(e, now)
	case group.PublishTo:
		if e.To.Name != m.self.Name.Name && e.To.Name != m.other.self.t.Name {
			m.resolve(e.Handle, ErrNotMember)
			return
		}
		m.publish(&group.Publish{Payload: e.Payload, Handle: e.Handle}, now)
	case group.Invite:
		m.resolve(e.Handle, ErrPointToPoint)
	case group.Remove:
		m.resolve(e.Handle, ErrPointToPoint)
	case group.Suspend:
		m.resolve(e.Handle, ErrPointToPoint)
	case group.Resume:
		m.resolve(e.Handle, ErrPointToPoint)
	case group.Leave:
		if m.over {
			m.resolve(e.Handle, nil)
			return
		}
		m.leaving = append(m.leaving, e.Handle)
		m.leave()
	case group.Abandon:
		m.end(nil)
	case *group.Inbound:
		m.do(group.Notify{Notice: group.Refused{From: e.Message.Source, Type: e.Message.Type, Err: errMirror}})
	case group.Tick:
		m.deliver(now)
	}
}

// publish hands a message to the other end.
func (m *mirror) publish(e *group.Publish, now time.Time) {
	if m.over {
		m.resolve(e.Handle, ErrClosed)
		return
	}
	m.last++
	r := &group.Received{
		Source: m.self.Name, Dest: m.other.self.t, ID: m.last, Subject: m.subject, Identity: m.token(now), Payload: e.Payload, Size: e.Payload.Size(),
	}
	if m.times.Interval > 0 {
		m.under[r.ID] = e.Handle
	} else {
		m.resolve(e.Handle, nil)
	}
	m.other.slot.Post(letter{ev: reflected{r: r}})
}

// deliver hands this end's app what it has room for.
func (m *mirror) deliver(now time.Time) {
	for len(m.held) > 0 {
		e := &m.held[0]
		switch {
		case m.over || !m.self.Receives:
			m.settle(e, &group.NotDelivered{Missing: []wire.NameText{m.self.Name}})
		case m.room():
			m.do(group.Deliver{Received: e.r})
			m.settle(e, nil)
			if len(m.held) > 0 { // when the app has got this one
				m.again = now
			}
			return
		case m.again.After(now):
			return
		case e.tries >= m.times.Retries:
			m.overflow()
			m.settle(e, &group.NotDelivered{Missing: []wire.NameText{m.self.Name}})
		default:
			m.overflow()
			e.tries++
			m.again = now.Add(m.times.Interval)
			return
		}
	}
	m.again = time.Time{}
}

// settle tells the other end what has become of the first that is held.
func (m *mirror) settle(e *reflected, err error) {
	m.other.slot.Post(letter{ev: settled{id: e.r.ID, err: err}})
	m.held = slices.Delete(m.held, 0, 1)
	m.again = time.Time{}
}

// leave ends the session when this end wants to, and nothing of its own is under way.
func (m *mirror) leave() {
	if len(m.leaving) > 0 && len(m.under) == 0 {
		m.end(nil)
	}
}

func (m *mirror) end(err error) {
	if m.over {
		return
	}
	m.over = true
	m.deliver(time.Time{})
	m.other.slot.Post(letter{ev: departed{}})
	for _, id := range slices.Sorted(maps.Keys(m.under)) {
		m.resolve(m.under[id], &group.NotDelivered{Missing: []wire.NameText{m.other.self.t}})
	}
	clear(m.under)
	m.do(group.End{Err: err})
	for _, h := range m.leaving {
		m.resolve(h, nil)
	}
}

// Take implements group.Machine.
func (m *mirror) Take() []group.Output {
	out := m.out
	m.out = nil
	return out
}

// Recycle implements group.Machine.
func (*mirror) Recycle(group.Output) {}

// Deadline implements group.Machine.
func (m *mirror) Deadline() time.Time { return m.again }

// Epoch implements group.Machine.
func (*mirror) Epoch() uint64 { return message.NoEpoch }

// Roster implements group.Machine.
func (m *mirror) Roster() []message.Participant { return []message.Participant{m.self} }

// Version implements group.Machine: nobody comes or goes.
func (*mirror) Version() uint64 { return 0 }

// Changes implements group.Machine.
func (*mirror) Changes() ([]group.Record, error) { return nil, nil }

// Stored implements group.Machine.
func (*mirror) Stored() error { return nil }
