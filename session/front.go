package session

import (
	"maps"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// front takes the messages that begin sessions. It is a task like sessions, so that it keeps no worker from them.
type front struct {
	app   *App
	slot  *workers.Slot[letter]
	queue fifo.Queue[letter]
	out   []byte // scratch
	lane  lane

	answered map[discovery]answered
}

// discovery is a request of somebody who looks for this app.
type discovery struct {
	from        wire.Name
	session, id uint32
}

// answered is when a discovery was answered last, and which session there was of its id then.
type answered struct {
	at time.Time
	s  *Session
}

const (
	mostDiscoveries = 1024                  // whose answers are remembered
	oneDiscovery    = 50 * time.Millisecond // requests in that time have waited together, and are one
)

func newFront(a *App) *front {
	f := &front{app: a}
	f.slot = a.pool.Add(f)
	return f
}

// Take takes a letter for Run.
func (f *front) Take(l letter) { f.queue.Push(l) }

// Run answers what has come.
func (f *front) Run(_, until time.Time) (more bool, next time.Time) {
	for f.queue.Len() > 0 {
		now := time.Now()
		if !now.Before(until) {
			return true, time.Time{}
		}
		l := f.queue.Pop()
		in, ok := l.ev.(*group.Inbound) // an invitation that came to a session that is over
		if !ok {
			f.app.in.read(&l)
			m, err := message.Decode(l.b)
			if err != nil {
				f.app.n.unreadable.Add(1)
				continue
			}
			in = f.app.judge(m, now)
		}
		f.answer(in, l, now)
	}
	return false, time.Time{}
}

// judge looks at the token of a control message.
func (a *App) judge(m *message.Message, now time.Time) *group.Inbound {
	in := &group.Inbound{Message: m, At: now}
	if in.Claims, in.Why = a.who.verify(m.Identity, now); in.Why != nil {
		in.Claims = nil
	}
	return in
}

func (f *front) answer(in *group.Inbound, l letter, now time.Time) {
	m := in.Message
	if s := f.app.sessions.find(m.Session); s != nil && m.Type == message.JoinRequest {
		if l.b != nil { // it began after the reader had looked; one that has come back from there is not sent again
			s.slot.Post(letter{b: l.b, t: l.t})
		}
		return
	}
	name, ok := f.app.called(&m.Dest)
	if !ok {
		f.app.n.stray.Add(1)
		return
	}
	if in.Claims == nil {
		f.app.n.unbelieved.Add(1)
		f.app.log.Warn("invitation not believed", "from", m.Source.String(), "error", in.Why)
		return
	}
	switch m.Type {
	case message.DiscoveryRequest:
		f.discovered(in, &name)
	case message.JoinRequest:
		f.invited(in, name, now)
	}
}

// discovered answers who looks for this app, while it can take an invitation. Others of the same name may be able to.
func (f *front) discovered(in *group.Inbound, name *wire.NameText) {
	if !f.app.accepts() {
		f.app.n.noListener.Add(1)
		return
	}
	r := group.Answer(f.app.self, in, *name)
	if r == nil {
		f.app.n.unbelieved.Add(1)
		return
	}
	if f.fresh(in) {
		f.send(r)
	}
}

// fresh reports whether a discovery is to be answered. One that comes again is answered again, as the answer may have been lost, but
// not when the invitation has followed, nor when it has come just now: two answers are more than upstream's moderators bear.
func (f *front) fresh(in *group.Inbound) bool {
	m := in.Message
	d, s := discovery{m.Source.Name, m.Session, m.ID}, f.app.sessions.find(m.Session)
	if last, ok := f.answered[d]; ok && (s != nil && s != last.s || in.At.Sub(last.at) < oneDiscovery) {
		return false
	}
	if f.answered == nil || len(f.answered) >= mostDiscoveries {
		f.answered = map[discovery]answered{}
	}
	f.answered[d] = answered{in.At, s}
	return true
}

func (f *front) send(m *message.Message) {
	f.out = m.Append(f.out[:0])
	f.app.out.send(parcel{lane: &f.lane, b: f.out})
	if cap(f.out) > mostOnLink {
		f.out = nil
	}
}

// invited begins a session, or declines it.
func (f *front) invited(in *group.Inbound, name wire.NameText, now time.Time) {
	m := in.Message
	join := m.Command.(*message.Join)
	l := f.app.reserve()
	if l == nil {
		f.app.n.noListener.Add(1)
		f.decline(in, "it takes no further sessions now")
		return
	}
	i := &Invitation{
		From: Name{m.Source}, Subject: in.Claims.Subject, To: Name{name}, Kind: Kind(m.Kind),
		Encrypted: join.MLS != nil, Reliable: join.Timers != nil, Metadata: appMetadata(m.Metadata),
	}
	if join.Channel != nil {
		i.Channel = Name{*join.Channel}.Any()
	}
	if l.o.Accept != nil {
		if err := l.o.Accept(i); err != nil {
			l.release()
			f.app.log.Info("invitation declined", "from", m.Source.String(), "reason", err)
			f.decline(in, err.Error())
			return
		}
	}
	o := group.Options{
		Kind: m.Kind, ID: m.Session, Self: f.app.self, Strict: f.app.o.Binding == Enforce, Random: random32, Keep: f.app.vault != nil,
		Metadata: i.Metadata, Patience: f.app.o.patience(),
		Control: reliable.Options{Interval: defaultInterval, Retries: defaultRetries},
	}
	o.Self.Name = name
	if t := join.Timers; t != nil {
		o.Data = reliable.Options{Interval: time.Duration(t.Timeout) * time.Millisecond, Retries: int(min(t.Retries, maxRetries))}
		if t.Timeout == 0 {
			o.Data.Interval = defaultInterval
		}
		o.Data = bounded(o.Data)
		o.Control = patient(o.Data)
	}
	if join.MLS != nil {
		o.MLS = f.app.mls(now)
	}
	p, err := group.NewParticipant(o, in, now)
	if err != nil {
		l.release()
		f.app.n.unbelieved.Add(1)
		f.app.log.Warn("invitation not believed", "from", m.Source.String(), "error", err)
		return
	}
	dest := i.From
	if o.Kind == message.Group {
		dest = i.Channel
	}
	s := newSession(f.app, &o, p, dest, i.From, nil)
	s.listener = l
	if !f.app.sessions.add(s) { // an id that was drawn here just now; it is asked again
		l.release()
		return
	}
	s.slot.Post(letter{})
}

// decline tells who can understand it that this app does not come.
func (f *front) decline(in *group.Inbound, reason string) {
	if r := group.Decline(f.app.self, in, reason); r != nil {
		f.send(r)
	}
}

// appMetadata is what of a message's metadata is the app's.
func appMetadata(md map[string]string) map[string]string {
	md = maps.Clone(md)
	for _, key := range []string{message.KeyPayloadSignature, message.KeyPeerSubject, message.KeyPublishTo} {
		delete(md, key)
	}
	if len(md) == 0 {
		return nil
	}
	return md
}
