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
	queue   fifo.Queue[*flight[H]] // by deadline, since all wait equally long
	waiting []*flight[H]           // no endpoint has come yet
	late    fifo.Queue[*flight[H]]
	pending int // of flights, how many are not late

	bytes, lateBytes int // of those that are not late, and of those that are

	touched map[uint32]struct{} // messages that have come, or are gone, since Changes; nil: nobody asks
}

// endpoint is a member that receives.
type endpoint struct {
	name  wire.NameText
	slot  int
	first uint32 // the first message in order that was sent to it
	known bool   // it has acknowledged something in order
	tag   uint32 // under which it has said last that it does not know the stream
	self  uint32 // tag of its own stream, that it has told last; 0: none
}

// flight is a message that is kept.
type flight[H any] struct {
	id       uint32
	to       wire.NameText // of one endpoint, out of order; zero: of all
	payload  Payload
	handle   H
	lacking  bitset          // slots that have not acknowledged it
	missing  []wire.NameText // reported as not having acknowledged it
	owed     []wire.NameText // of missing: those who may still ask for it
	deadline time.Time
	tries    int
	late     bool // reported, kept for those who are missing
	gone     bool // not in flights any more

	first  Transmission // to all, in its place: each message has one
	result Result[H]    // likewise
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

// miss notes that name has not acknowledged f, which is not repeated to it any more.
func (f *flight[H]) miss(name wire.NameText) {
	f.missing = append(f.missing, name)
	f.owed = append(f.owed, name)
}

// excuse has name not get f any more.
func (f *flight[H]) excuse(name wire.NameText) {
	f.owed = slices.DeleteFunc(f.owed, func(other wire.NameText) bool { return other == name })
}

// inOrder returns what is in flight, oldest first.
func (s *Sender[H]) inOrder() []*flight[H] {
	fs := make([]*flight[H], 0, s.pending)
	for f := range s.queue.All() {
		if !f.gone && !f.late {
			fs = append(fs, f)
		}
	}
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
	f := &flight[H]{id: s.next, payload: p, handle: h}
	if len(s.peers) == 0 {
		s.keep(f)
		s.waiting = append(s.waiting, f)
		return f.id, nil
	}
	if s.o.Interval > 0 {
		s.keep(f)
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
	f := &flight[H]{id: id, to: name, payload: p, handle: h}
	s.Out = append(s.Out, Output[H]{Send: &Transmission{ID: id, To: name, Payload: &f.payload}})
	if s.o.Interval == 0 {
		s.report(f)
		return nil
	}
	s.keep(f)
	f.lacking.set(e.slot)
	s.enqueue(f, now)
	return nil
}

func (s *Sender[H]) keep(f *flight[H]) {
	s.flights[f.id] = f
	s.touch(f.id)
	s.pending++
	s.bytes += f.payload.Size()
}

// launch sends f, which has just got its id or its first endpoint, to all.
func (s *Sender[H]) launch(f *flight[H], now time.Time) {
	f.first = Transmission{ID: f.id, Payload: &f.payload, Everyone: true, First: s.first()}
	s.Out = append(s.Out, Output[H]{Send: &f.first})
	if s.o.Interval == 0 {
		s.drop(f)
		s.report(f)
		return
	}
	for _, e := range s.slots {
		if e != nil {
			f.lacking.set(e.slot)
		}
	}
	s.enqueue(f, now)
}

func (s *Sender[H]) enqueue(f *flight[H], now time.Time) {
	f.deadline = now.Add(s.o.Interval)
	s.queue.Push(f)
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
func (s *Sender[H]) Ack(id uint32, from wire.NameText) bool { return s.Acks(id, id, from) }

// Acks is Ack of all messages from first to last, in the circle of ids in order, if there are several.
func (s *Sender[H]) Acks(first, last uint32, from wire.NameText) (knows bool) {
	e := s.peers[from]
	if e == nil {
		return false
	}
	for id := first; id != last; id = (id + 1) % idSpace {
		knows = s.ack(id, e) || knows
	}
	return s.ack(last, e) || knows
}

func (s *Sender[H]) ack(id uint32, e *endpoint) bool {
	f := s.flights[id]
	if f == nil {
		return false
	}
	knows := id < idSpace && !after(e.first, id)
	e.known = e.known || knows
	if f.lacking.has(e.slot) {
		f.lacking.clear(e.slot)
		s.settle(f)
	}
	return knows
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
// anew under that name, which this one has missed: its stream begins anew with the next message.
func (s *Sender[H]) Is(from wire.NameText, tag uint32, now time.Time) {
	switch e := s.peers[from]; {
	case e == nil || tag == 0 || e.self == tag:
	case e.self == 0:
		e.self = tag
	default:
		s.anew(from, tag, now)
	}
}

// anew takes who has left and come back for somebody who comes now.
func (s *Sender[H]) anew(name wire.NameText, tag uint32, now time.Time) {
	s.Forget(name)
	s.Add(name, now)
	s.peers[name].self = tag
}

// Asked answers a request for a message: with it, if from still lacks it, or that it is gone. That is so also for what
// from has acknowledged, since it may have forgotten where it was, and must not get it twice.
func (s *Sender[H]) Asked(id uint32, from wire.NameText) {
	t := &Transmission{ID: id, To: from, Reply: true}
	if f := s.flights[id]; f != nil {
		e := s.peers[from]
		if e != nil && f.lacking.has(e.slot) || slices.Contains(f.owed, from) {
			t.Payload = &f.payload
		}
	}
	s.Out = append(s.Out, Output[H]{Send: t})
}

// settle ends f when nobody is left who lacks it.
func (s *Sender[H]) settle(f *flight[H]) {
	if f.late || !f.lacking.empty() {
		return
	}
	s.report(f)
	s.drop(f)
	if len(f.owed) == 0 {
		return
	}
	s.flights[f.id], f.late, f.gone = f, true, false
	s.late.Push(f)
	s.lateBytes += f.payload.Size()
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
		s.lateBytes -= f.payload.Size()
		return
	}
	s.bytes -= f.payload.Size()
	s.pending--
}

// Deadline returns when Tick is due; zero: never.
func (s *Sender[H]) Deadline() time.Time {
	for s.queue.Len() > 0 {
		f := s.queue.Front()
		if !f.gone && !f.late {
			return f.deadline
		}
		s.queue.Pop()
	}
	return time.Time{}
}

// Tick repeats what is due, and gives up what was repeated as often as it may be.
func (s *Sender[H]) Tick(now time.Time) {
	for {
		at := s.Deadline()
		if at.IsZero() || at.After(now) {
			return
		}
		f := s.queue.Pop()
		if f.tries == s.o.Retries {
			s.giveUp(f)
			continue
		}
		f.tries++
		s.repeat(f)
		s.enqueue(f, now)
	}
}

// Again repeats everything at once: the connection had been lost, and is back.
func (s *Sender[H]) Again(now time.Time) {
	fs := s.inOrder()
	s.queue = fifo.Queue[*flight[H]]{}
	for _, f := range fs {
		s.repeat(f)
		s.enqueue(f, now)
	}
}

// repeat sends f to each of those who lack it.
func (s *Sender[H]) repeat(f *flight[H]) {
	for slot := range f.lacking.all() {
		s.Out = append(s.Out, Output[H]{Send: &Transmission{ID: f.id, To: s.slots[slot].name, Payload: &f.payload, First: s.slots[slot].unknown()}})
	}
}

// unknown returns the first id of an endpoint that has not answered yet.
func (e *endpoint) unknown() uint32 {
	if e.known {
		return 0
	}
	return e.first
}

// giveUp reports f as not delivered to those who lack it, who are to be taken for offline.
func (s *Sender[H]) giveUp(f *flight[H]) {
	for slot := range f.lacking.all() {
		name := s.slots[slot].name
		f.miss(name)
		s.Out = append(s.Out, Output[H]{Silent: &name})
	}
	f.lacking = bitset{}
	s.settle(f)
}

// Close reports everything that is under way as not delivered to those who lack it.
func (s *Sender[H]) Close() {
	for _, f := range append(s.inOrder(), s.waiting...) {
		for slot := range f.lacking.all() {
			f.missing = append(f.missing, s.slots[slot].name)
		}
		s.report(f)
		s.drop(f)
	}
	s.waiting = nil
}

// after reports whether a comes after b in the circle of ids in order.
func after(a, b uint32) bool { d := (a - b) % idSpace; return d != 0 && d <= idSpace/2 }
