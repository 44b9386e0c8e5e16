package session

import (
	"errors"
	"maps"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// front takes the messages that begin sessions. It is a task like sessions, so that it keeps no worker from them.
//
//	discovery ── nobody listens, or it was answered just now ──▶ dropped
//	invitation └▶ token ── not that of its source ──▶ dropped, counted
//	                └▶ pace ── too many of one, or of all ──▶ dropped, counted
//	                     └▶ signatures ──▶ answer
type front struct {
	app     *App
	slot    *workers.Slot[letter]
	backlog backlog // the reader's, and the worker's
	queue   fifo.Queue[letter]
	doubts  doubts
	out     []byte // scratch
	lanes   lanes

	paces identity.Paces // at which signatures are verified: of each sender
	all   identity.Pace  // and of all
	asked identity.Pace  // at which a Verifier is asked

	answered map[discovery]answered
}

// How many messages to the front are verified in a second, and at once.
const (
	frontRate, frontBurst       = 512, 1024  // of each sender: two for each session
	frontRateAll, frontBurstAll = 1024, 2048 // a quarter of a processor
	askRate, askBurst           = 64, 256    // tokens that a Verifier is asked about
	mostSenders                 = 4096       // that are told apart

	strangerRate, strangerBurst = 256, 512 // of those who are no members, in all sessions of an app
)

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
	f := &front{
		app: a, paces: identity.Paces{Rate: frontRate, Burst: frontBurst, Most: mostSenders},
		all: identity.Pace{Rate: frontRateAll, Burst: frontBurstAll}, asked: identity.Pace{Rate: askRate, Burst: askBurst},
	}
	f.backlog.most = mostBacklogFront
	f.lanes.open(nil)
	f.slot = a.pool.Add(f)
	f.doubts = doubts{app: a, slot: f.slot, most: mostDoubtsFront}
	return f
}

// Take takes a letter for Run.
func (f *front) Take(l letter) { f.queue.Push(l) }

// Run answers what has come.
func (f *front) Run(_, until time.Time) (more bool, next time.Time) {
	for {
		now := time.Now()
		switch {
		case f.queue.Len()+f.doubts.ready.Len() == 0:
			return false, time.Time{}
		case !now.Before(until):
			return true, time.Time{}
		case f.doubts.ready.Len() > 0:
			f.look(f.doubts.ready.Pop(), now)
			continue
		}
		l := f.queue.Pop()
		switch in, ok := l.ev.(*group.Inbound); {
		case l.first != nil:
			l.first()
		case ok: // an invitation that came to a session that is over
			f.lanes.by = l.by
			f.answer(in, now)
		default:
			m, err := message.Decode(l.b)
			if err != nil {
				f.app.in.read(&l)
				f.app.n.unreadable.Add(1)
				continue
			}
			f.look(&entry{l: l, m: m}, now)
		}
	}
}

// judge looks at the token of a control message. It was judged before.
func (a *App) judge(m *message.Message, now time.Time) *group.Inbound {
	in := &group.Inbound{Message: m, At: now}
	if in.Claims, in.Why, _ = a.who.judged(m.Identity, now); in.Why != nil {
		in.Claims = nil
	}
	return in
}

// look has a message's turn: what costs little is looked at first.
func (f *front) look(a *entry, now time.Time) {
	if f.doubts.behind(a) {
		return
	}
	m := a.m
	if s := f.app.sessions.find(m.Session); s != nil && m.Type == message.JoinRequest { // it began after the reader had looked
		f.app.in.read(&a.l)
		s.slot.Post(letter{b: a.l.b, t: a.l.t})
		return
	}
	if !f.wanted(m, now) {
		f.app.in.read(&a.l)
		return
	}
	if tokens := f.app.unjudged(m, now); len(tokens) > 0 {
		if !f.asked.Take(now) || !f.doubts.park(a, tokens) {
			f.app.in.read(&a.l)
			f.app.n.hasty.Add(1)
		}
		return
	}
	f.app.in.read(&a.l)
	in := f.app.judge(m, now)
	switch {
	case in.Claims == nil:
		f.unbelieved(m, in.Why, now)
	case !identity.IsOf(&m.Source, in.Claims.Subject):
		f.unbelieved(m, errForeignName, now)
	case !f.paces.Take(m.Source.Name, now) || !f.all.Take(now):
		f.app.n.hasty.Add(1)
	default:
		f.lanes.by = a.l.by
		f.answer(in, now)
		if in.Believed {
			f.lanes.heard(f.app, a)
		}
	}
}

var errForeignName = errors.New("the id of its source is not that of its token's subject")

// unbelieved counts a message that is not believed, and tells of it.
func (f *front) unbelieved(m *message.Message, why error, now time.Time) {
	f.app.n.unbelieved.Add(1)
	f.app.disbelief.warn(f.app.log, now, "invitation not believed", "from", m.Source.String(), "error", why)
}

// wanted reports whether a message could lead to something, whoever has signed it.
func (f *front) wanted(m *message.Message, now time.Time) bool {
	if _, ok := f.app.called(&m.Dest); !ok {
		f.app.n.stray.Add(1)
		return false
	}
	if m.Type == message.JoinRequest {
		return true
	}
	if !f.app.accepts() {
		f.app.n.noListener.Add(1)
		return false
	}
	return f.fresh(m, now)
}

func (f *front) answer(in *group.Inbound, now time.Time) {
	m := in.Message
	name, ok := f.app.called(&m.Dest)
	switch {
	case !ok:
		f.app.n.stray.Add(1)
	case m.Type == message.DiscoveryRequest:
		f.discovered(in, &name)
	case m.Type == message.JoinRequest && f.app.sessions.find(m.Session) == nil:
		f.invited(in, name, now)
	}
}

// discovered answers who looks for this app, while it can take an invitation. Others of the same name may be able to.
func (f *front) discovered(in *group.Inbound, name *wire.NameText) {
	r, signed, err := group.Answer(f.app.self, in, *name, f.app.o.Binding == Enforce)
	if err != nil {
		f.unbelieved(in.Message, err, in.At)
		return
	}
	if !signed && f.app.o.Binding == Warn {
		f.app.unsigned(in.Message.Source, in.Message.Type, in.At)
	}
	in.Believed = true
	f.remember(in)
	f.send(r)
}

// unsigned counts a control message of somebody who does not sign payloads, and tells of it.
func (a *App) unsigned(from wire.NameText, t message.Type, now time.Time) {
	a.n.unsigned.Add(1)
	a.unbound.warn(a.log, now, "control message without a signature of its payload", "from", from.String(), "type", t.String())
}

// fresh reports whether a discovery is to be answered. One that comes again is answered again, as the answer may have been lost, but
// not when the invitation has followed, nor when it has come just now: two answers are more than upstream's moderators bear.
func (f *front) fresh(m *message.Message, now time.Time) bool {
	s := f.app.sessions.find(m.Session)
	last, ok := f.answered[discovery{m.Source.Name, m.Session, m.ID}]
	return !ok || (s == nil || s == last.s) && now.Sub(last.at) >= oneDiscovery
}

// remember notes that a discovery is answered.
func (f *front) remember(in *group.Inbound) {
	if f.answered == nil || len(f.answered) >= mostDiscoveries {
		f.answered = map[discovery]answered{}
	}
	m := in.Message
	f.answered[discovery{m.Source.Name, m.Session, m.ID}] = answered{in.At, f.app.sessions.find(m.Session)}
}

func (f *front) send(m *message.Message) {
	f.out = m.Append(f.out[:0])
	f.app.send(&f.lanes, parcel{b: f.out})
	if cap(f.out) > mostOnLink {
		f.out = nil
	}
}

// invited begins a session, or declines it.
func (f *front) invited(in *group.Inbound, name wire.NameText, now time.Time) {
	m := in.Message
	join := m.Command.(*message.Join)
	p, err := f.app.reserve(in.Claims.Subject)
	if err != nil {
		f.app.n.noListener.Add(1)
		f.decline(in, err.Error())
		return
	}
	i := &Invitation{
		From: Name{m.Source}, Subject: in.Claims.Subject, To: Name{name}, Kind: Kind(m.Kind),
		Encrypted: join.MLS != nil, Reliable: join.Timers != nil, Metadata: maps.Clone(appMetadata(m.Metadata)),
	}
	if join.Channel != nil {
		i.Channel = Name{*join.Channel}.Any()
	}
	if accept := p.l.o.Accept; accept != nil {
		if err := accept(i); err != nil {
			p.release()
			f.app.log.Info("invitation declined", "from", m.Source.String(), "reason", err)
			f.decline(in, err.Error())
			return
		}
	}
	o := group.Options{
		Kind: m.Kind, ID: m.Session, Self: f.app.self, Strict: f.app.o.Binding == Enforce, Random: random32, Keep: f.app.vault != nil,
		Strangers: &f.app.strangers, Early: &f.app.early, Warn: f.app.o.Binding == Warn,
		Metadata: i.Metadata, Patience: f.app.o.patience(), Replay: f.app.o.replays(),
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
		o.MLS = f.app.mls(now, nil)
	}
	machine, err := group.NewParticipant(o, in, now)
	if err != nil {
		p.release()
		f.unbelieved(m, err, now)
		return
	}
	dest := i.From
	if o.Kind == message.Group {
		dest = i.Channel
	}
	s := newSession(f.app, &o, machine, dest, i.From, nil)
	s.entering, s.lanes.by = p, f.lanes.by
	if !f.app.sessions.add(s) { // an id that was drawn here just now; it is asked again
		p.release()
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

// appMetadata is what of a message's metadata is the app's. It is not to be changed.
func appMetadata(md map[string]string) map[string]string {
	md = message.Without(md, message.KeyPayloadSignature, message.KeyPeerSubject, message.KeyPublishTo)
	if len(md) == 0 {
		return nil
	}
	return md
}
