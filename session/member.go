package session

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// member is a session's task: it runs the machine, and does what that wants done, in order. Everything of it is the
// worker's.
type member struct {
	s       *Session
	machine group.Machine
	keep    *keeper             // nil: nothing of it is stored
	queue   *fifo.Queue[letter] // of queues; nil: nothing waits
	ahead   ahead               // of the queue: whose signatures are being verified
	helpers *helpers            // with those; nil: there were none yet
	doubts  doubts              // whose tokens are being judged
	first   fifo.Queue[func()]  // to be done before the queue
	todo    []group.Output      // of the machine, not done yet
	changed bool                // the roster or the epoch may have
	version uint64              // of the roster, and the epoch, that the app sees, or will when they are stored
	epoch   uint64
	over    bool
	until   time.Time     // when who lacks a last answer has got it, after the end; zero: it goes on, or all is done
	place   *list.Element // among those that have ended; nil: none
	expires time.Time     // of the token in this member's leaf, which others may look at with each message; zero: never, or told
	in      message.Decoder
	this    entry         // the one that is looked at, if it has not waited
	data    group.Inbound // the last one
	enc     message.Encoder
	out     []byte     // scratch
	sent    group.Sent // of which the machine is to be told
	heard   []group.SentCopy
	names   channelNames

	unsigned identity.Paces // at which the app is told of members that do not sign payloads
}

// Take takes a letter for Run.
func (t *member) Take(l letter) {
	if l.first != nil {
		t.first.Push(l.first)
		return
	}
	if t.queue == nil {
		t.queue = queues.Get().(*fifo.Queue[letter])
	}
	t.queue.Push(l)
}

// mostLetters is how many letters there is memory for in a queue that rests.
const mostLetters = 512

// queues are empty ones: sessions that rest have none. They are those of all apps: the runtime holds on to each pool until the next
// but one collection, and an app with a pool inside would outlive its end by that, with all that it reaches.
var queues = sync.Pool{New: func() any { return &fifo.Queue[letter]{Keep: mostLetters} }}

// Run looks at what has come, and then at the time: where there is much to do what is awaited may have been here before its time was over,
// and is not to be asked for once more.
func (t *member) Run(now, until time.Time) (more bool, next time.Time) {
	for t.first.Len() > 0 {
		if !time.Now().Before(until) {
			return true, time.Time{}
		}
		t.first.Pop()()
	}
	t.apply() // what the machine has done when it was made
	for more = t.step(now); more; more = t.step(now) {
		if now = time.Now(); !now.Before(until) {
			break
		}
	}
	if t.data.More {
		t.data.More = false
		t.machine.Step(group.Rest{}, now)
		t.apply()
	}
	t.tick(now)
	if t.queue != nil && t.queue.Len() == 0 {
		queues.Put(t.queue)
		t.queue = nil
	}
	if t.changed && (t.keep == nil || t.keep.busy == nil) {
		t.changed = false
		t.showView(t.changedView())
	}
	return more, t.deadline(now)
}

// tick lets the machine do what is due.
func (t *member) tick(now time.Time) {
	if at := t.machine.Deadline(); !at.IsZero() && !at.After(now) {
		t.changed = true
		t.machine.Step(group.Tick{}, now)
		t.apply()
	}
	if at := t.warning(now); !at.IsZero() && !at.After(now) {
		t.s.tell(TokenExpiring{t.expires})
		t.expires = time.Time{}
	}
	if !t.until.IsZero() && !t.until.After(now) {
		t.bury()
	}
}

// bury forgets a session that is over.
func (t *member) bury() {
	t.until = time.Time{}
	t.s.app.sessions.remove(t.s)
	t.s.app.left(t.s)
	t.s.app.ended.remove(t.place)
	t.place = nil
}

func (t *member) deadline(now time.Time) time.Time {
	return earlier(t.machine.Deadline(), earlier(t.until, t.warning(now)))
}

// warnBefore is how long before it happens the app is told that a token expires.
const warnBefore = 5 * time.Minute

// warning is when the app is to be told that; zero: never. It is a time of the clock that nobody sets, as other deadlines are: among those a
// time that a token tells would be in an order that changes when the other clock is set, and they would wait for it.
func (t *member) warning(now time.Time) time.Time {
	if t.expires.IsZero() || t.over {
		return time.Time{}
	}
	return now.Add(t.expires.Sub(now) - warnBefore)
}

// earlier returns the earlier of two times of which either may be zero, which is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// step looks at one thing; false: there was none.
func (t *member) step(now time.Time) bool {
	switch {
	case t.behind():
		return false
	case t.ahead.Len() > 0:
		return t.goAhead(now)
	case t.doubts.ready.Len() > 0:
		t.look(t.doubts.ready.Pop(), now)
		t.apply()
		return true
	case t.queue.Len() == 0:
		return false
	}
	l := t.queue.Pop()
	switch {
	case l.b != nil:
		t.hear(&l, now)
	case l.ev == stop{}:
		t.stop()
		return true
	case l.ev != nil:
		t.changed = true
		t.machine.Step(l.ev, now)
	}
	t.apply()
	return true
}

// behind reports whether what is done waits for the store already, as much as may.
func (t *member) behind() bool {
	return t.keep != nil && t.keep.busy != nil && len(t.todo) >= mostBehind
}

// room reports whether the app takes more, after what is on its way to it.
func (t *member) room() bool {
	n, bytes := 0, 0
	if t.keep != nil {
		n, bytes = t.keep.coming, t.keep.comingBytes
	}
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inbox.room(n, bytes)
}

// hear takes a message: it is looked at, or waits, and what it says of itself is then its own.
func (t *member) hear(l *letter, now time.Time) {
	if m := t.decode(l); m != nil {
		t.this = entry{l: *l, m: m, lent: true}
		t.look(&t.this, now)
		t.this = entry{}
		t.in.Release()
	}
}

// decode decodes a message; nil: it is none, or none of this session. Of data it is lent until the next one.
func (t *member) decode(l *letter) *message.Message {
	s := t.s
	m, err := t.in.Decode(l.b)
	switch {
	case err != nil || m.Session != s.id:
		s.app.n.unreadable.Add(1)
	case m.Kind != s.kind:
		s.app.n.stray.Add(1)
	default:
		return m
	}
	s.app.in.read(l)
	t.in.Release()
	return nil
}

// look has a message's turn: its own, unless what its sender has said before waits.
func (t *member) look(a *entry, now time.Time) {
	switch {
	case t.doubts.behind(a):
	case a.m.Type.Control():
		t.command(a, now)
	case t.prepares():
		t.prepare(a)
	default:
		t.take(a, now)
	}
}

// command takes a control message: if it is worth that, and its token, and one that comes with it, is judged.
func (t *member) command(a *entry, now time.Time) {
	app := t.s.app
	if why, take := t.machine.Screen(a.m, now); !take {
		app.in.read(&a.l)
		if why != nil {
			t.refused(a.m, why)
		}
		return
	}
	if tokens := app.unjudged(a.m, now); len(tokens) > 0 {
		t.park(a, tokens)
		return
	}
	app.in.read(&a.l)
	t.changed = true
	in := app.judge(a.m, now)
	in.Rounds = a.rounds
	t.machine.Step(in, now)
	if in.Believed {
		t.s.lanes.heard(app, a)
	}
}

// park has a message wait for tokens, or refuses it.
func (t *member) park(a *entry, tokens []string) {
	if !t.doubts.park(a, tokens) {
		t.s.app.in.read(&a.l)
		t.refused(a.m, errTokens)
	}
}

func (t *member) refused(m *message.Message, why error) {
	t.notice(group.Refused{From: m.Source, Type: m.Type, Err: why})
}

// take takes a message of data.
func (t *member) take(a *entry, now time.Time) {
	t.s.app.in.read(&a.l)
	t.data = group.Inbound{
		Message: a.m, At: now, Size: len(a.l.b), Sealed: a.sealed, More: t.queue.Len()+t.ahead.Len()+t.doubts.ready.Len() > 0,
	}
	if (a.m.Type == message.Msg || a.m.Type == message.RtxReply) && !t.over && !t.room() {
		t.data.Full = true
		t.overflow()
	}
	t.machine.Step(&t.data, now)
	if t.data.Believed && a.l.by != 0 {
		t.s.lanes.by = a.l.by
	}
	if a.sealed != nil {
		a.sealed.Drop()
	}
	t.data = group.Inbound{More: t.data.More}
}

// prepares reports whether there is data after this, and a worker that could verify its signature meanwhile.
func (t *member) prepares() bool {
	return t.s.encrypted && t.s.app.pool.Workers() > 1 && t.queue.Len() > 0 && isData(t.queue.At(0))
}

func isData(l letter) bool { return l.b != nil && !l.t.Control() }

// prepare puts data where it waits until its signature is verified.
func (t *member) prepare(a *entry) {
	a = a.kept()
	if a.sealed = t.machine.Prepare(a.m); a.sealed != nil {
		a.check = &check{verify: a.sealed.Verify, wake: func() { t.s.slot.Post(letter{}) }}
		if t.ahead.Len() > 0 { // the first is the owner's
			t.helped().offer(a.check)
		}
	}
	t.ahead.Push(a)
}

// helped returns the workers that may help.
func (t *member) helped() *helpers {
	if t.helpers == nil {
		t.helpers = &helpers{pool: t.s.app.pool}
	}
	return t.helpers
}

// goAhead takes the first of the messages that are ahead, or does something so that it can be taken; false: there is nothing to be done.
func (t *member) goAhead(now time.Time) bool {
	for n := 0; n < aheadStep && t.ahead.Len() < mostAhead && t.queue.Len() > 0 && isData(t.queue.At(0)); n++ {
		l := t.queue.Pop()
		if m := t.decode(&l); m != nil {
			if a := (&entry{l: l, m: m, lent: true}).kept(); !t.doubts.behind(a) {
				t.prepare(a)
			}
			t.in.Release()
		}
	}
	ok, progress := t.ahead.verified()
	if !ok {
		return progress
	}
	t.take(t.ahead.Pop(), now)
	t.apply()
	return true
}

func (t *member) overflow() {
	t.s.app.n.overflow.Add(1)
	if !t.s.reliable {
		t.s.tell(Overflow{1})
	}
}

func (t *member) do(o group.Output) {
	s := t.s
	switch o := o.(type) {
	case group.Send:
		t.send(o)
	case group.Subscribe:
		t.names.put(s, nameRequest{o.Name, true})
	case group.Unsubscribe:
		t.names.put(s, nameRequest{o.Name, false})
	case group.Deliver:
		t.keep.came(o.Received)
		if !s.deliver(o.Received, 0) {
			t.overflow()
		}
	case storedDeliver:
		t.keep.came(o.Received)
		s.deliver(o.Received, o.number)
	case group.Resolve:
		h := o.Handle.(handle)
		if _, waits := h.(*call); waits {
			t.show()
		}
		h.resolve(o.Err)
	case group.Delivered:
		for _, h := range *o.Messages {
			h.(handle).resolve(nil)
		}
	case group.Notify:
		t.show()
		t.notice(o.Notice)
	case group.Unjudged:
		t.park(&entry{m: o.Inbound.Message, rounds: o.Inbound.Rounds}, o.Tokens)
	case group.Anew:
		t.bury()
		s.app.front.slot.Post(letter{ev: &o.Invitation, by: s.lanes.by})
	case group.End:
		t.end(o.Err)
	}
}

// send sends a message. What others ask for or await goes before what is published, and in no order. A heartbeat goes before data alone:
// its epoch is one that others know of.
func (t *member) send(o group.Send) {
	if n := len(o.Message.Blob); n > mostOnLink/2 {
		t.out = slices.Grow(t.out[:0], n+mostHeader)
	}
	t.out = t.enc.Append(t.out[:0], o.Message)
	order := inOrder
	switch o.Message.Type {
	case message.Msg, message.RtxReply:
		order = data
	case message.MsgAck, message.RtxRequest, message.GroupAck, message.GroupNack, message.LeaveReply:
		order = answer
	case message.Heartbeat:
		order = beforeData
	}
	fate, waits := t.s.app.send(&t.s.lanes, parcel{
		b: t.out, of: o.Of, order: order, patient: !t.s.reliable && o.Message.Type == message.Msg,
	})
	if cap(t.out) > 2*mostOnLink || len(t.out) > mostOnLink { // it is much, or the outlet's
		t.out = nil
	}
	if !waits && o.Of != nil {
		t.sent.Copies = append(t.sent.Copies, group.SentCopy{Of: o.Of, Fate: fate})
	}
}

// mostHeader is what is around the data of most messages, in bytes.
const mostHeader = 2 << 10

// hearOfSent tells the machine what has become of messages that had to wait.
func (t *member) hearOfSent() {
	heard := t.s.app.out.takeSent(&t.s.lanes.own, t.heard[:0])
	t.sent.Copies = append(t.sent.Copies, heard...)
	clear(heard)
	t.heard = heard
	for o, l := range t.s.lanes.far {
		t.sent.Copies = append(t.sent.Copies, o.takeSent(l, nil)...)
	}
	t.apply()
}

// tellSent tells the machine what has become of messages; false: nothing that it does not know.
func (t *member) tellSent() bool {
	if len(t.sent.Copies) == 0 {
		return false
	}
	t.machine.Step(&t.sent, time.Now())
	clear(t.sent.Copies)
	t.sent.Copies = t.sent.Copies[:0]
	return true
}

const (
	unsignedTime = 10 * time.Minute
	mostUnsigned = 256 // members that are told apart
)

func (t *member) notice(n group.Notice) {
	s := t.s
	switch n := n.(type) {
	case group.Opened:
		t.showRoster()
		p := s.entering
		if s.entering = nil; p != nil && !p.opened(s) {
			p.release()
			s.leave()
		}
	case group.Joined:
		s.tell(Joined{Name{n.Name}})
	case group.Left:
		s.tell(Left{Name{n.Name}})
	case group.Presence:
		s.tell(Presence{Name{n.Name}, n.Online})
	case group.Lost:
		s.tell(Lost{Name{n.From}, n.First, n.Last, reasonOf(n.Why)})
	case group.Renewed:
		t.expires = n.Expires
	case group.Outdated:
		s.tell(Outdated{})
	case group.Unsigned:
		now := time.Now()
		s.app.unsigned(n.From, n.Type, now)
		if t.unsigned.Rate == 0 {
			t.unsigned = identity.Paces{Rate: 1 / unsignedTime.Seconds(), Burst: 1, Most: mostUnsigned}
		}
		if t.unsigned.Take(n.From.Name, now) {
			s.tell(Unsigned{Name{n.From}})
		}
	case group.Refused:
		s.app.n.refused.Add(1)
		s.app.log.Debug("message refused", "session", s.id, "from", n.From.String(), "type", n.Type.String(), "error", n.Err)
		if n.Type == message.GroupAck || n.Type == message.MsgAck { // honest members repeat them, and say them too late
			return
		}
		s.tell(Refused{Name{n.From}, n.Type.String(), n.Err})
	}
}

// end ends the session for the app. Others that lack an answer can still ask for it, for a while; none is owed where nothing has
// followed an invitation, which may come again.
func (t *member) end(err error) {
	s := t.s
	t.over = true
	t.until = time.Now()
	if err != group.ErrNoWelcome {
		t.until = t.until.Add(time.Duration(s.control.Retries+1) * s.control.Interval)
		t.place = s.app.ended.add(s)
	}
	if err == nil {
		err = ErrClosed
	}
	if p := s.entering; p != nil { // it never was open
		s.entering = nil
		p.release()
	}
	s.credit.end()
	s.mu.Lock()
	s.ended, s.err = true, err
	s.forgotten = s.closing && t.keep != nil && !t.keep.dead
	s.inbox.wake()
	s.events.wake()
	s.mu.Unlock()
	close(s.done)
	if t.keep.unreceived() {
		s.app.keepPast(s)
	}
	s.app.unqueue(s)
	s.app.log.Debug("session over", "session", s.id, "reason", err)
}

// unqueue takes a session that is over, and of which there is nothing to be received, from those that wait for Accept: its place is free.
func (a *App) unqueue(s *Session) {
	a.mu.Lock()
	l, restored := a.listener, s.restored
	a.mu.Unlock()
	if l == nil || restored {
		return
	}
	s.mu.Lock()
	empty := s.inbox.messages.Len() == 0
	s.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.queue, s); empty && i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
		if s.place != nil {
			s.place.free()
			s.place = nil
		}
	}
}

// view is what an app sees of a session's machine.
type view struct {
	roster []Participant
	epoch  uint64
}

// show lets the app see what has changed before it is told of it. What a store has to keep is seen when that has it.
func (t *member) show() {
	if t.changed && t.keep == nil {
		t.changed = false
		t.showView(t.changedView())
	}
}

// showView lets the app see v; nil: as before.
func (t *member) showView(v *view) {
	if v == nil {
		return
	}
	s := t.s
	s.mu.Lock()
	was := s.epoch
	s.epoch = v.epoch
	if !slices.Equal(v.roster, s.roster) {
		s.roster = v.roster
	}
	s.mu.Unlock()
	if v.epoch != was && v.epoch != message.NoEpoch {
		s.tell(EpochChanged{v.epoch})
	}
}

// changedView is view, or nil if it is as it was.
func (t *member) changedView() *view {
	version, epoch := t.machine.Version(), t.machine.Epoch()
	if version == t.version && epoch == t.epoch {
		return nil
	}
	t.version, t.epoch = version, epoch
	return t.view()
}

func (t *member) view() *view {
	s := t.s
	roster := t.machine.Roster()
	list := make([]Participant, len(roster))
	for i := range roster {
		p := &roster[i]
		list[i] = Participant{Name: Name{p.Name}, Online: !p.Offline, Sends: p.Sends, Receives: p.Receives, Self: p.Name == s.self.t}
	}
	return &view{list, t.machine.Epoch()}
}

func (t *member) showRoster() {
	list := t.view().roster
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if !slices.Equal(list, t.s.roster) {
		t.s.roster = list
	}
}
