package reliable

import (
	"errors"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Ids of messages: those in order count 1, 2, … and go round at idSpace; those to one member of a group, out of order, lie
// above.
const (
	idSpace = 1 << 31
)

// Bounds of what a sender keeps. Window is what the peers' implementations keep, too.
const (
	Window      = 512
	WindowBytes = 16 << 20
)

// Ahead is how many bytes of copies a sender hands over before it is told that earlier ones have left: a Sent makes room. What it has
// not handed over is encrypted later, waits behind nothing else that its member has to say, and is repeated by nobody. Two copies
// are always allowed, whatever their size, so that one can be made while the other leaves.
const (
	Ahead       = 128 << 10
	aheadCopies = 2
)

// Payload is application data.
type Payload struct {
	Type     string
	Blob     []byte
	Metadata map[string]string
}

// Size is what it counts for in WindowBytes.
func (p *Payload) Size() int {
	n := len(p.Type) + len(p.Blob)
	for k, v := range p.Metadata {
		n += len(k) + len(v)
	}
	return n
}

// Errors of a Sender's callers.
var (
	ErrFull    = errors.New("as much as may be is under way unacknowledged")
	ErrUnknown = errors.New("no such endpoint")
)

// Transmission is a message to be sent.
type Transmission struct {
	ID      uint32
	To      wire.NameText // of one endpoint; not looked at if Everyone
	Payload *Payload      // nil: a reply to a request for what is gone

	Everyone bool   // to the destination of the session
	Reply    bool   // answers a request
	First    uint32 // nonzero: some endpoint that is new may know nothing earlier than this id

	Copy Copy // for Sent; nil: it is not asked for
}

// Result is what became of a message.
type Result[H any] struct {
	Handle  H
	Missing []wire.NameText // who has not acknowledged it; none: delivered
}

// Output is what a sender wants done: one of the three.
type Output[H any] struct {
	Send   *Transmission
	Result *Result[H]
	Silent *wire.NameText // an endpoint that has not answered for the last time: it is to be taken for offline
}

// Options of a session's data.
type Options struct {
	Interval time.Duration // between repeats; 0: nothing is acknowledged or repeated
	Retries  int           // repeats before a message is given up
}

// Sender sends the data of one member. H is what the caller knows its messages by.
type Sender[H any] struct {
	Out []Output[H] // appended to by every method, and emptied by the owner

	o       Options
	next    uint32
	peers   map[wire.NameText]*endpoint
	slots   []*endpoint // by bit; nil: free
	flights map[uint32]*flight[H]
	queue   fifo.Queue[timed[H]] // by deadline, since all wait equally long
	held    []timed[H]           // whose time is over, and who are not due yet: Sender.due
	heldAt  time.Time            // when the first of them is, or earlier; zero: there is none
	waiting []*flight[H]         // no endpoint has come yet
	late    fifo.Queue[*flight[H]]
	pending int // of flights, how many are not late

	heldBefore []timed[H] // empty: memory for held

	bytes, lateBytes int // of those that are not late, and of those that are

	touched map[uint32]struct{} // messages that have come, or are gone, since Changes; nil: nobody asks

	apart    int       // copies and replies to one endpoint since the last copy that was for all
	denied   int       // replies that a message is gone, since deniedAt
	deniedAt time.Time // when the first of them was made

	published  uint64                 // messages so far
	asked      fifo.Queue[*flight[H]] // to be handed over first, to those who wait for them
	again      fifo.Queue[*flight[H]] // then, to those in flight.todo
	fresh      fifo.Queue[*flight[H]] // then, for the first time
	out, ahead int                    // copies that were handed over and have not left, and their bytes
	shut       bool                   // a copy had no way: until one has left, or it is time to try again, none is handed over
}

// endpoint is a member that receives.
type endpoint struct {
	name  wire.NameText
	slot  int
	first uint32 // the first message in order that was sent to it
	known bool   // it has acknowledged something in order
	tag   uint32 // under which it has said last that it does not know the stream
	self  uint32 // tag of its own stream, that it has told last; 0: none

	holds   bool      // it lacks some of Sender.held
	reached uint64    // the latest message that it has answered for, by flight.number
	at      time.Time // when it has
}

// NewSender returns a sender whose last id in order was last; 0 for a new session.
func NewSender[H any](o Options, last uint32) *Sender[H] {
	s := &Sender[H]{o: o, next: last, peers: map[wire.NameText]*endpoint{}, flights: map[uint32]*flight[H]{}}
	s.queue.Keep = keptQueue
	return s
}

const keptQueue = 128 // entries of a sender's queue for which there is memory while it rests

// Last returns the last id in order, for who restores the session.
func (s *Sender[H]) Last() uint32 { return s.next }

// Add makes name an endpoint of what is published from now on, and of what waits for a first one.
func (s *Sender[H]) Add(name wire.NameText, now time.Time) {
	if s.peers[name] != nil {
		return
	}
	e := &endpoint{name: name, slot: len(s.slots), first: (s.next + 1) % idSpace}
	for i, other := range s.slots {
		if other == nil {
			e.slot = i
			break
		}
	}
	if e.slot == len(s.slots) {
		s.slots = append(s.slots, nil)
	}
	s.slots[e.slot] = e
	s.peers[name] = e
	for _, f := range s.inOrder() { // what has not been handed over is for those who were there before
		if f.fresh && f.to == (wire.NameText{}) {
			f.fresh, f.todo = false, f.lacking.clone()
		}
	}
	if waiting := s.waiting; len(waiting) > 0 {
		e.first = waiting[0].id
		s.waiting = nil
		for _, f := range waiting {
			s.launch(f, now)
		}
	}
}

// Remove takes name, which is offline, out of the endpoints. What it lacks is reported as not delivered to it, and kept for when
// it asks.
func (s *Sender[H]) Remove(name wire.NameText) {
	e := s.peers[name]
	if e == nil {
		return
	}
	for _, f := range s.inOrder() {
		if f.lacking.has(e.slot) {
			f.lacking.clear(e.slot)
			f.miss(name)
			s.settle(f)
		}
	}
	delete(s.peers, name)
	s.slots[e.slot] = nil
}

// Forget takes name, which has left for good, out of the endpoints. What it lacks is reported as not delivered to it, and is not
// for who comes under that name later: that one may have had it before it left.
func (s *Sender[H]) Forget(name wire.NameText) {
	s.Remove(name)
	for _, f := range s.inOrder() {
		f.excuse(name)
	}
	late := s.late
	s.late = fifo.Queue[*flight[H]]{}
	for f := range late.All() {
		if f.excuse(name); len(f.owed) == 0 {
			s.drop(f)
			continue
		}
		s.late.Push(f)
	}
}

// inOrder returns what is in flight, oldest first.
func (s *Sender[H]) inOrder() []*flight[H] {
	fs := make([]*flight[H], 0, s.pending)
	for _, f := range s.flights {
		if f.launched && !f.late {
			fs = append(fs, f)
		}
	}
	slices.SortFunc(fs, byNumber[H])
	return fs
}

// Room reports whether Publish takes a message of this size.
func (s *Sender[H]) Room(p *Payload) bool {
	return s.pending == 0 || s.pending < Window && s.bytes+p.Size() <= WindowBytes
}

// Publish sends p to all endpoints; p is kept. Without endpoints it waits for the first. An error is ErrFull.
func (s *Sender[H]) Publish(p Payload, h H, now time.Time) (id uint32, err error) {
	if !s.Room(&p) {
		return 0, ErrFull
	}
	s.next = (s.next + 1) % idSpace
	f := s.flight(s.next, p, h)
	if len(s.peers) == 0 {
		s.waiting = append(s.waiting, f)
		return f.id, nil
	}
	s.launch(f, now)
	return f.id, nil
}

// PublishTo sends p to one endpoint, out of order, with an id that the caller has drawn: idSpace or above, not in use. An
// error is ErrFull or ErrUnknown.
func (s *Sender[H]) PublishTo(name wire.NameText, id uint32, p Payload, h H, now time.Time) error {
	e := s.peers[name]
	switch {
	case e == nil:
		return ErrUnknown
	case !s.Room(&p):
		return ErrFull
	}
	f := s.flight(id, p, h)
	f.to = name
	s.launch(f, now)
	return nil
}

// flight makes a message one that is kept.
func (s *Sender[H]) flight(id uint32, p Payload, h H) *flight[H] {
	s.published++
	f := &flight[H]{id: id, payload: p, size: p.Size(), handle: h, number: s.published}
	s.flights[f.id] = f
	s.touch(f.id)
	s.pending++
	s.bytes += f.size
	return f
}

// launch puts f, which has just got its id or its first endpoint, on its way: to all, or to the one that it is for.
func (s *Sender[H]) launch(f *flight[H], now time.Time) {
	f.launched, f.fresh, f.listed = true, true, true
	for slot, e := range s.slots {
		if e != nil && (f.to == (wire.NameText{}) || f.to == e.name) {
			f.lacking.set(slot)
		}
	}
	s.fresh.Push(f)
	s.pump(now)
}

// first is the earliest id that some endpoint which has not answered yet may have missed; 0: all have.
func (s *Sender[H]) first() uint32 {
	first := uint32(0)
	for _, e := range s.slots {
		if e != nil && !e.known && (first == 0 || after(first, e.first)) {
			first = e.first
		}
	}
	return first
}

// Ack notes that from has taken the message. It reports whether that shows that from knows the stream: what was sent
// before it came was acknowledged by one of its name that was here then.
func (s *Sender[H]) Ack(id uint32, from wire.NameText, now time.Time) bool {
	return s.Acks(id, id, from, now)
}

// Acks is Ack of all messages from first to last, in the circle of ids in order, if there are several.
func (s *Sender[H]) Acks(first, last uint32, from wire.NameText, now time.Time) (knows bool) {
	e := s.peers[from]
	if e == nil {
		return false
	}
	for id := first; id != last; id = (id + 1) % idSpace {
		knows = s.ack(id, e, now) || knows
	}
	knows = s.ack(last, e, now) || knows
	s.answered(e)
	return knows
}

func (s *Sender[H]) ack(id uint32, e *endpoint, now time.Time) bool {
	f := s.flights[id]
	if f == nil {
		return false
	}
	knows := id < idSpace && !after(e.first, id)
	e.known = e.known || knows
	e.reach(f.number, now)
	if f.lacking.has(e.slot) {
		f.lacking.clear(e.slot)
		s.settle(f)
	}
	return knows
}

// Missed notes that from has given up the message before it came: it is not delivered to it, and not repeated.
func (s *Sender[H]) Missed(id uint32, from wire.NameText, now time.Time) {
	e := s.peers[from]
	f := s.flights[id]
	if e == nil || f == nil {
		return
	}
	e.reach(f.number, now)
	if f.lacking.has(e.slot) {
		f.lacking.clear(e.slot)
		f.missing = append(f.missing, from)
		s.settle(f)
	}
	s.answered(e)
}

// Unknown notes that from does not know the stream, although it has acknowledged something: it has left and come back, which this
// member has missed. Its stream begins anew with the next message. tag is that of its own stream, for when it says so several
// times.
func (s *Sender[H]) Unknown(from wire.NameText, tag uint32, now time.Time) {
	e := s.peers[from]
	if e == nil || !e.known || e.tag == tag {
		return
	}
	s.anew(from, tag, now)
	s.peers[from].tag = tag
}

// Is notes the tag of from's own stream; 0: it does not tell. Another one than before is that of a member that has come
// anew under that name, which this one has missed: its stream begins anew with the next message. It reports whether it does.
func (s *Sender[H]) Is(from wire.NameText, tag uint32, now time.Time) bool {
	switch e := s.peers[from]; {
	case e == nil || tag == 0 || e.self == tag:
		return false
	case e.self == 0:
		e.self = tag
		return false
	}
	s.anew(from, tag, now)
	return true
}

// anew takes who has left and come back for somebody who comes now.
func (s *Sender[H]) anew(name wire.NameText, tag uint32, now time.Time) {
	s.Forget(name)
	s.Add(name, now)
	s.peers[name].self = tag
}

// Asked answers a request for a message: with it, if from still lacks it and no copy of it is on its way, or that it is gone. That
// is so also for what from has acknowledged, since it may have forgotten where it was, and must not get it twice.
func (s *Sender[H]) Asked(id uint32, from wire.NameText, now time.Time) {
	e, f := s.peers[from], s.flights[id]
	switch {
	case f != nil && e != nil && f.lacking.has(e.slot):
		if f.fresh || !f.listed && f.out > 0 || f.given.again(from, s.o.Interval/2, now) {
			return
		}
		if !f.listed {
			f.listed = true
			s.asked.Push(f)
		}
		f.todo.set(e.slot)
		f.replies.set(e.slot)
		s.pump(now)
	case f != nil && slices.Contains(f.owed, from):
		if f.out == 0 && !f.given.again(from, s.o.Interval/2, now) {
			s.apart++
			s.hand(f, Transmission{To: from, Reply: true})
		}
	case s.deny(now):
		s.Out = append(s.Out, Output[H]{Send: &Transmission{ID: id, To: from, Reply: true}})
	}
}

// mostApart is how many copies may go to one endpoint before the next one goes to all. Each is encrypted with a key of its own, and
// those who get none of them can follow the one that they do get if they have missed no more than 1024 keys (P-ses-2; RFC 9420, 9.1).
const mostApart = 256

// deny reports whether there is room for one more reply that a message is gone. Anybody who knows a member's name can ask, and each reply
// is signed, and takes a key: so there are as many in a second as a member asks for, and where there are others, so many between copies
// that they get.
func (s *Sender[H]) deny(now time.Time) bool {
	if now.Sub(s.deniedAt) >= askTime {
		s.deniedAt, s.denied = now, 0
	}
	if s.denied >= mostAsked || len(s.peers) > 1 && s.apart >= 2*mostApart {
		return false
	}
	s.denied++
	s.apart++
	return true
}

// settle ends f when nobody is left who lacks it.
func (s *Sender[H]) settle(f *flight[H]) {
	if f.late || !f.lacking.empty() {
		return
	}
	s.report(f)
	s.drop(f)
	if len(f.owed) == 0 || s.o.Interval == 0 {
		return
	}
	s.flights[f.id], f.late, f.gone = f, true, false
	s.late.Push(f)
	s.lateBytes += f.size
	for s.late.Len() > Window || s.lateBytes > WindowBytes {
		s.drop(s.late.Pop())
	}
}

func (s *Sender[H]) report(f *flight[H]) {
	f.result = Result[H]{Handle: f.handle, Missing: f.missing}
	s.Out = append(s.Out, Output[H]{Result: &f.result})
}

// drop forgets f, if it was kept.
func (s *Sender[H]) drop(f *flight[H]) {
	if f.gone || s.flights[f.id] != f {
		return
	}
	delete(s.flights, f.id)
	f.gone = true
	s.touch(f.id)
	if f.late {
		s.lateBytes -= f.size
		return
	}
	s.bytes -= f.size
	s.pending--
}

// Close reports everything that is under way as not delivered to those who lack it.
func (s *Sender[H]) Close() {
	for _, f := range append(s.inOrder(), s.waiting...) {
		s.excuseAll(f)
		s.report(f)
		s.drop(f)
	}
	s.waiting = nil
}

// after reports whether a comes after b in the circle of ids in order.
func after(a, b uint32) bool { d := (a - b) % idSpace; return d != 0 && d <= idSpace/2 }
