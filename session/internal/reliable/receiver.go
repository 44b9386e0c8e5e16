package reliable

import (
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/fifo"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// HeldBytes bounds what a receiver holds of messages that came before their turn. What has no room is not taken, and comes
// again.
const HeldBytes = 16 << 20

// Why messages are lost to a receiver.
type Loss uint8

const (
	Unanswered Loss = iota // requests for it were not answered
	Given                  // its sender has it no more
	Skipped                // its sender is further ahead than it can repeat
	Overtaken              // the stream begins with what has come before it, as its sender does not say where that is
)

// Step is what a receiver wants done.
type Step[T any] struct {
	From wire.NameText
	Kind StepKind
	ID   uint32 // of Lost: the first
	Item T      // of Deliver
	Last uint32 // of Lost
	Loss Loss   // of Lost
	Tell bool   // of Ack: its sender may not know yet that this member knows the stream
	Hear bool   // of Ack: its sender understands those of several messages
}

// StepKind says what a Step is.
type StepKind uint8

const (
	Deliver StepKind = iota // hand Item to the app
	Ack                     // acknowledge ID
	Request                 // ask for ID
	Lost                    // tell the app that ID to Last will not come
	Unknown                 // tell the sender that this member does not know its stream, and has not taken ID
	Missed                  // tell the sender that ID had been given up when it came
)

// Receiver puts the data of all other members in order. T is what the caller knows a message by.
type Receiver[T any] struct {
	Out []Step[T] // appended to by every method, and emptied by the owner

	o       Options
	fromOne bool
	sources map[wire.NameText]*source[T]
	gaps    fifo.Queue[*gap[T]] // by deadline, since all wait equally long
	bytes   int                 // held

	touched map[*source[T]]struct{} // whose position may have changed since Changes; nil: nobody asks
	numbers uint64                  // that sources have got
}

// source is one member's stream.
type source[T any] struct {
	name  wire.NameText
	begun bool
	hears bool     // its sender has said so with what came last: Start.Hears
	tag   uint32   // of the stream, as its sender says; 0: it has not said
	first uint32   // where it began; 0: its sender does not tell, or that was so long ago that ids do not show it
	last  uint32   // delivered, or lost
	high  uint32   // highest that has come, or was asked for
	quiet uint32   // the first that came; an earlier one that is gone was not meant for this member
	guess uint32   // where it began, as far as one can know; 0: its sender says where, or nothing was overtaken for long
	over  []uint32 // ids before guess that have come, and of which the app was told
	held  map[uint32]held[T]
	gaps  map[uint32]*gap[T]
	apart fifo.Queue[uint32] // ids that came out of order on purpose, the last ones

	missed []Span // that were given up, the last ones, in order
	unsure uint32 // of ids up to and with it nobody knows whether they were given up; 0: of none, or it is too long ago

	moved  time.Time // when something was delivered
	asking time.Time // when the messages that are counted by asked were asked for, the first of them
	asked  int

	number    uint64
	kept      Position // that Changes has told
	fresh     bool     // Changes has to tell, whatever it was
	forgotten bool
}

// held waits for its turn.
type held[T any] struct {
	item T
	size int
	lost bool
	loss Loss
}

// gap is an id that was asked for.
type gap[T any] struct {
	of       *source[T]
	id       uint32
	deadline time.Time
	tries    int
	done     bool
}

// NewReceiver returns a receiver. fromOne says that streams begin with 1, as those of a new point-to-point session do;
// else they begin with what comes first.
func NewReceiver[T any](o Options, fromOne bool) *Receiver[T] {
	return &Receiver[T]{o: o, fromOne: fromOne, sources: map[wire.NameText]*source[T]{}}
}

// Start is what a sender says of its stream to those who may not know it.
type Start struct {
	First uint32 // where it begins for this member; 0: the sender says nothing
	Tag   uint32 // of this stream; another one of the same member, which counts anew, has another tag. 0: likewise
	Tells bool   // its sender always says this to those of whom it does not know that they know it
	Hears bool   // its sender understands Missed, and acknowledgements of several messages
}

// Receive takes a message of from, of size bytes. start is what its sender says with it. It reports whether the message was
// taken: if not, it has to come again.
func (r *Receiver[T]) Receive(from wire.NameText, id uint32, item T, size int, start Start, now time.Time) bool {
	if r.o.Interval == 0 {
		r.put(Step[T]{From: from, Kind: Deliver, ID: id, Item: item})
		return true
	}
	done := len(r.Out)
	ok := r.receive(from, id, item, size, start, now)
	if start.First != 0 {
		for i := done; i < len(r.Out); i++ {
			r.Out[i].Tell = r.Out[i].Kind == Ack
		}
	}
	return ok
}

func (r *Receiver[T]) receive(from wire.NameText, id uint32, item T, size int, start Start, now time.Time) bool {
	s := r.source(from)
	s.hears = start.Hears
	r.touch(s)
	if id >= idSpace {
		r.apart(s, id, item)
		return true
	}
	if start.Tag != 0 && start.Tag != s.tag {
		if s.tag != 0 && !after(start.First, s.last) { // it has left and come back, which this member has missed
			r.Forget(from)
			s = r.source(from)
			s.hears = start.Hears
			r.touch(s)
		}
		s.tag = start.Tag
	}
	if !s.begun {
		if start.Tells && start.First == 0 { // it takes this member for one that was here before
			r.put(Step[T]{From: from, Kind: Unknown, ID: id})
			return true
		}
		s.begin(id, start)
	}
	if g := s.gaps[id]; g != nil {
		g.done = true
		delete(s.gaps, id)
	}
	switch ahead := (id - s.last) % idSpace; {
	case (ahead == 0 || ahead > idSpace/2) && s.before(id):
		if start.Tells { // else it answers a request, which is not this member's
			r.put(Step[T]{From: from, Kind: Unknown, ID: id})
		}
	case (ahead == 0 || ahead > idSpace/2) && start.Hears && s.gave(id):
		r.put(Step[T]{From: from, Kind: Missed, ID: id})
	case ahead == 0 || ahead > idSpace/2:
		// Again: the first acknowledgement was lost. Or it was given up, and its sender cannot be told: peers' implementations
		// report it as delivered in the end, whoever has acknowledged it, and would take this member for offline until then.
		if s.overtaken(id) {
			r.lost(s, id, id, Overtaken)
		}
		r.put(Step[T]{From: from, Kind: Ack, ID: id, Hear: s.hears})
	case ahead == 1:
		s.moved = now
		r.deliver(s, id, item)
		r.release(s)
	default:
		if h, ok := s.held[id]; ok && !h.lost {
			return true
		}
		if r.bytes+size > HeldBytes {
			return false
		}
		if ahead > Window {
			r.skip(s, (id-Window)%idSpace)
		}
		r.hold(s, id, held[T]{item: item, size: size})
		r.ask(s, id, now)
		r.release(s)
	}
	return true
}

func (r *Receiver[T]) source(name wire.NameText) *source[T] {
	s := r.sources[name]
	if s == nil {
		s = &source[T]{name: name, begun: r.fromOne, number: r.numbers, fresh: true}
		r.numbers++
		r.sources[name] = s
	}
	return s
}

// begin sets where the stream begins whose message id has come.
func (s *source[T]) begin(id uint32, start Start) {
	s.begun = true
	first := start.First
	if ahead := (id - first) % idSpace; first == 0 || first >= idSpace || ahead >= Window {
		first = id
	}
	s.last = (first - 1) % idSpace
	s.high = s.last
	s.quiet = id
	switch {
	case start.Tells:
		s.first = first
	case start.First == 0:
		s.guess = id
	}
}

// mostOvertaken bounds the ids from before the beginning of a stream that the app is told of.
const mostOvertaken = 64

// overtaken reports whether id, which is not after last, comes for the first time, and after what the stream was taken to begin with. Its sender
// repeats it to this member, so that it was meant to have it.
func (s *source[T]) overtaken(id uint32) bool {
	if n := (s.guess - id) % idSpace; s.guess == 0 || n == 0 || n > mostOvertaken || len(s.over) == mostOvertaken || slices.Contains(s.over, id) {
		return false
	}
	s.over = append(s.over, id)
	return true
}

// pass notes that everything up to and with id has had its turn.
func (s *source[T]) pass(id uint32) {
	if s.last = id; (s.last-s.first)%idSpace > idSpace/4 {
		s.first = 0
	}
	if s.unsure != 0 && (s.last-s.unsure)%idSpace > idSpace/4 {
		s.unsure = 0
	}
	if s.guess != 0 && (s.last-s.guess)%idSpace > Window { // a sender repeats nothing for so long
		s.guess, s.over = 0, nil
	}
	for len(s.missed) > 0 && (s.last-s.missed[0].Last)%idSpace > idSpace/4 {
		s.missed = slices.Delete(s.missed, 0, 1)
	}
}

// Span is ids, one after the other.
type Span struct{ First, Last uint32 }

// mostMissed bounds the spans of ids that were given up that a source's are remembered.
const mostMissed = 64

// miss notes that first to last were given up.
func (s *source[T]) miss(first, last uint32) {
	if n := len(s.missed); n > 0 && (s.missed[n-1].Last+1)%idSpace == first {
		s.missed[n-1].Last = last
		return
	}
	if len(s.missed) == mostMissed {
		s.unsure = s.missed[0].Last
		s.missed = slices.Delete(s.missed, 0, 1)
	}
	s.missed = append(s.missed, Span{first, last})
}

// gave reports whether id, which is not after last, was given up, or may have been.
func (s *source[T]) gave(id uint32) bool {
	within := func(m Span) bool { return (id-m.First)%idSpace <= (m.Last-m.First)%idSpace }
	return s.unsure != 0 && !after(id, s.unsure) || slices.ContainsFunc(s.missed, within)
}

// before reports whether id, which is not after last, is of before the stream began: this member has never had it. Its
// sender takes this member for one that was here then.
func (s *source[T]) before(id uint32) bool {
	return s.first != 0 && (s.last-id)%idSpace >= (s.last+1-s.first)%idSpace
}

// apart takes a message that is for this member alone, and in no order.
func (r *Receiver[T]) apart(s *source[T], id uint32, item T) {
	again := false
	for known := range s.apart.All() {
		again = again || known == id
	}
	if !again {
		if s.apart.Push(id); s.apart.Len() > Window {
			s.apart.Pop()
		}
		s.fresh = true
		r.put(Step[T]{From: s.name, Kind: Deliver, ID: id, Item: item})
	}
	r.put(Step[T]{From: s.name, Kind: Ack, ID: id})
}

// deliver hands over the next message.
func (r *Receiver[T]) deliver(s *source[T], id uint32, item T) {
	s.pass(id)
	if after(id, s.high) {
		s.high = id
	}
	r.put(Step[T]{From: s.name, Kind: Deliver, ID: id, Item: item})
	r.put(Step[T]{From: s.name, Kind: Ack, ID: id, Hear: s.hears})
}

// hold keeps h until its turn.
func (r *Receiver[T]) hold(s *source[T], id uint32, h held[T]) {
	if s.held == nil {
		s.held = map[uint32]held[T]{}
	}
	s.held[id] = h
	r.bytes += h.size
}

// Of one member no more than mostAsked messages are asked for at once in a time of askTime; others wait for their Tick. Ids that run
// ahead are no reason to say many times what they have said.
const (
	mostAsked = 2 * Window
	askTime   = time.Second
)

// ask asks for everything between the highest known id and this one.
func (r *Receiver[T]) ask(s *source[T], id uint32, now time.Time) {
	if !after(id, s.high) {
		return
	}
	if now.Sub(s.asking) >= askTime {
		s.asking, s.asked = now, 0
	}
	for missing := (s.high + 1) % idSpace; missing != id; missing = (missing + 1) % idSpace {
		g := &gap[T]{of: s, id: missing, deadline: now.Add(r.o.Interval)}
		if s.gaps == nil {
			s.gaps = map[uint32]*gap[T]{}
		}
		s.gaps[missing] = g
		r.gaps.Push(g)
		if s.asked < mostAsked {
			s.asked++
			r.put(Step[T]{From: s.name, Kind: Request, ID: missing})
		}
	}
	s.high = id
}

// release hands over what was held and is next.
func (r *Receiver[T]) release(s *source[T]) {
	for {
		id := (s.last + 1) % idSpace
		h, ok := s.held[id]
		if !ok {
			return
		}
		r.take(s, id, h)
	}
}

// take hands over what was held under id, which is next.
func (r *Receiver[T]) take(s *source[T], id uint32, h held[T]) {
	delete(s.held, id)
	r.bytes -= h.size
	if !h.lost {
		r.deliver(s, id, h.item)
		return
	}
	s.miss(id, id)
	if s.pass(id); h.loss != Given || r.fromOne || after(id, s.quiet) {
		r.lost(s, id, id, h.loss)
	}
}

// lost reports that first to last will not come, together with what was lost just before.
func (r *Receiver[T]) lost(s *source[T], first, last uint32, why Loss) {
	if n := len(r.Out); n > 0 {
		if p := &r.Out[n-1]; p.Kind == Lost && p.From == s.name && p.Loss == why && (p.Last+1)%idSpace == first {
			p.Last = last
			return
		}
	}
	r.put(Step[T]{From: s.name, Kind: Lost, ID: first, Last: last, Loss: why})
}

// skip gives up what has not come up to and with last.
func (r *Receiver[T]) skip(s *source[T], last uint32) {
	distance := func(id uint32) uint32 { return (id - s.last) % idSpace }
	end := distance(last)
	ids := make([]uint32, 0, len(s.held))
	for id := range s.held {
		if distance(id) <= end {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b uint32) int { return int(distance(a)) - int(distance(b)) })
	for _, id := range append(ids, (last+1)%idSpace) {
		if next := (s.last + 1) % idSpace; next != id {
			r.lost(s, next, (id-1)%idSpace, Skipped)
			s.miss(next, (id-1)%idSpace)
			s.pass((id - 1) % idSpace)
		}
		if h, ok := s.held[id]; ok && id != (last+1)%idSpace {
			r.take(s, id, h)
		}
	}
	for id, g := range s.gaps {
		if !after(id, last) {
			g.done = true
			delete(s.gaps, id)
		}
	}
	if after(last, s.high) {
		s.high = last
	}
}

// Gone notes that from has the message no more that was asked for.
func (r *Receiver[T]) Gone(from wire.NameText, id uint32) {
	s := r.sources[from]
	if s == nil || s.gaps[id] == nil {
		return
	}
	r.giveUp(s.gaps[id], Given)
}

// giveUp puts a loss in the place of a gap.
func (r *Receiver[T]) giveUp(g *gap[T], why Loss) {
	g.done = true
	r.touch(g.of)
	delete(g.of.gaps, g.id)
	r.hold(g.of, g.id, held[T]{lost: true, loss: why})
	r.release(g.of)
}

// Forget forgets a member who has left for good.
func (r *Receiver[T]) Forget(name wire.NameText) {
	s := r.sources[name]
	if s == nil {
		return
	}
	for _, g := range s.gaps {
		g.done = true
	}
	for _, h := range s.held {
		r.bytes -= h.size
	}
	delete(r.sources, name)
	s.forgotten = true
	r.touch(s)
}

// Deadline returns when Tick is due; zero: never.
func (r *Receiver[T]) Deadline() time.Time {
	for r.gaps.Len() > 0 {
		if g := r.gaps.Front(); !g.done {
			return g.deadline
		}
		r.gaps.Pop()
	}
	return time.Time{}
}

// Tick asks once more for what is due, and gives up what was asked for as often as may be.
func (r *Receiver[T]) Tick(now time.Time) {
	for {
		at := r.Deadline()
		if at.IsZero() || at.After(now) {
			return
		}
		g := r.gaps.Pop()
		if now.Sub(g.of.moved) < r.o.Interval { // what is before it comes, one after the other
			g.deadline = now.Add(r.o.Interval)
			r.gaps.Push(g)
			continue
		}
		if g.tries == r.o.Retries {
			r.giveUp(g, Unanswered)
			continue
		}
		g.tries++
		g.deadline = now.Add(r.o.Interval)
		r.gaps.Push(g)
		r.put(Step[T]{From: g.of.name, Kind: Request, ID: g.id})
	}
}

func (r *Receiver[T]) put(s Step[T]) { r.Out = append(r.Out, s) }
