package pool

import "sync/atomic"

// Pipe carries Bufs from one station to another in the same process, first in first out. It is bounded in number and in
// bytes: what was put counts until it is returned, which its taker may do long after it has taken it.
//
//	 putter                                    taker
//	Room ─▶ Put ──▶ . . x x x x x . . ──▶ Take ─▶ Return
//	  ▲                  ring                        │
//	  └────────────── room, in bytes ◀───────────────┘
//
// Neither side waits for the other, and neither is woken while it is awake: the taker says with Rest that it goes to sleep, the
// putter is asleep when Room has found none. A side that goes to sleep says so first and looks once more after that, and
// the other one acts first and asks after that who sleeps: so whatever the order, one of them sees what the other has done.
//
// Concurrency: methods belong to the putter or to the taker as they say, and the two may overlap. Those that say nothing are
// safe for all.
type Pipe struct {
	// Fixed before the two ends know of each other.
	ring                  *Ring[*Buf]
	window                int // bytes
	wakeTaker, wakePutter func()
	_                     pad

	// The putter's.
	sent    atomic.Uint64 // bytes put since the start
	seen    uint64        // <= returned
	putting atomic.Bool   // between Enter and Leave
	over    atomic.Bool   // nothing follows; its store publishes status and text
	status  int
	text    string
	_       pad

	// The taker's.
	returned atomic.Uint64 // bytes of room given back since the start
	shut     atomic.Bool   // nothing is to be put any more
	ends     bool          // Rest has told it that the pipe is over
	_        pad

	awake atomic.Bool   // the taker looks again before it sleeps. Set by the putter, cleared by the taker
	waits atomic.Uint64 // the putter sleeps until returned is as large as this, less 1; 0: it does not
	_     pad
}

// Duplex is one end of two pipes: what goes into Out comes from In of the other end.
type Duplex struct{ In, Out *Pipe }

// Other is the other end.
func (d *Duplex) Other() *Duplex { return &Duplex{In: d.Out, Out: d.In} }

// NewPipe returns a pipe that takes so many Bufs, rounded up to a power of two, of window bytes together.
func NewPipe(bufs, window int) *Pipe {
	p := &Pipe{ring: NewRing[*Buf](bufs), window: window}
	p.awake.Store(true) // the taker has yet to look for the first time
	return p
}

// OnWake says how this end is woken, by the other one: something is there to be taken, or there is room. They must not block. It is
// called before this end uses the pipes, which begins with a look at In.
func (d *Duplex) OnWake(something, room func()) { d.In.wakeTaker, d.Out.wakePutter = something, room }

// Window returns how many bytes may be under way.
func (p *Pipe) Window() int { return p.window }

// Sent returns how many bytes were put since the start.
func (p *Pipe) Sent() uint64 { return p.sent.Load() }

// Returned returns how many bytes of room were given back since the start.
func (p *Pipe) Returned() uint64 { return p.returned.Load() }

// Room returns how many bytes may be put; the last Buf may be larger than that. 0: the putter will be woken when about half of the
// pipe is free, or, if it is already, at the next change. Putter only.
func (p *Pipe) Room() int {
	n := p.room()
	if n == 0 {
		p.await()
		if n = p.room(); n > 0 {
			p.waits.Store(0)
		}
	}
	return n
}

func (p *Pipe) room() int {
	if p.ring.full() {
		return 0
	}
	sent := p.sent.Load()
	if sent-p.seen >= uint64(p.window)/2 { // its line is the taker's: it is looked at seldom
		p.seen = p.returned.Load()
	}
	return max(0, p.window-int(sent-p.seen))
}

// await says that the putter goes to sleep; it has to look once more after that.
func (p *Pipe) await() {
	least := p.window / 2 // bytes that have to be free
	if p.ring.full() {
		least = 1
	}
	p.waits.Store(uint64(max(0, int(p.sent.Load())+least-p.window)) + 1)
}

// Waits reports whether the putter has found no room and was not woken since.
func (p *Pipe) Waits() bool { return p.waits.Load() != 0 }

// Put hands over one reference to b, after Room has found some. Signal is to follow. Putter only.
func (p *Pipe) Put(b *Buf) {
	n := uint64(len(b.B))
	p.sent.Store(p.sent.Load() + n)
	if !p.ring.Push(b) {
		panic("pool: Put into a full pipe")
	}
}

// Enter is for a putter from whom nothing may be lost though the taker shuts the pipe: what it puts before Leave will be
// taken. false: the pipe is shut, and nothing may be put. Putter only.
func (p *Pipe) Enter() bool {
	p.putting.Store(true)
	return !p.shut.Load()
}

// Leave ends what Enter has begun, whatever that returned. false: the pipe is shut. Putter only.
func (p *Pipe) Leave() bool {
	p.putting.Store(false)
	if p.shut.Load() { // the taker may have waited for this
		p.Signal()
		return false
	}
	return true
}

// Signal wakes the taker if it sleeps. Putter only.
func (p *Pipe) Signal() {
	if !p.awake.Load() && !p.awake.Swap(true) {
		p.wakeTaker()
	}
}

// End says that nothing follows, and why: status is a gRPC status code, text its message. The first call counts. Putter only.
func (p *Pipe) End(status int, text string) {
	if !p.over.Load() {
		p.status, p.text = status, text
		p.over.Store(true)
	}
	p.Signal()
}

// Ended returns what End was told; over: it was. What was put before may still be there.
func (p *Pipe) Ended() (status int, text string, over bool) {
	if !p.over.Load() {
		return 0, "", false
	}
	return p.status, p.text, true
}

// Take moves the oldest Bufs into dst, with their references, until dst is full or they have most bytes or more. Taker only.
func (p *Pipe) Take(dst []*Buf, most int) (n int) {
	for n < len(dst) && most > 0 {
		b, ok := p.ring.Pop()
		if !ok {
			break
		}
		dst[n] = b
		n++
		most -= len(b.B)
	}
	return n
}

// Return gives back n bytes of room, 0 or more, of what was taken, and wakes the putter if it sleeps and there is room. It is to
// be called after Take, too, when nothing is given back. Taker only.
func (p *Pipe) Return(n int) {
	if n > 0 {
		p.returned.Store(p.returned.Load() + uint64(n))
	}
	w := p.waits.Load()
	if w != 0 && p.returned.Load()+1 >= w && p.ring.Len() <= p.ring.Cap()/2 && p.waits.CompareAndSwap(w, 0) {
		p.wakePutter()
	}
}

// Advance is Return for a putter that shall go on though much of the room is still missing. Taker only.
func (p *Pipe) Advance(n int) {
	p.returned.Store(p.returned.Load() + uint64(n))
	if p.waits.Swap(0) != 0 {
		p.wakePutter()
	}
}

// Rest says that the taker goes to sleep until it is woken. false: something is there that it has not been told of. Taker only.
func (p *Pipe) Rest() bool {
	p.awake.Store(false)
	if p.ring.Len() == 0 && p.over.Load() == p.ends {
		return true
	}
	p.ends = p.over.Load()
	return p.awake.Swap(true) // then the putter has woken it at the same time
}

// Shut says that nothing shall be put any more; what was put is still to be taken, until Drained. Taker only.
func (p *Pipe) Shut() {
	p.shut.Store(true)
	if p.waits.Swap(0) != 0 {
		p.wakePutter()
	}
}

// IsShut reports whether the taker has shut the pipe.
func (p *Pipe) IsShut() bool { return p.shut.Load() }

// Drained reports whether nothing is there, and nothing will come: the putter has ended the pipe, or it is shut.
// Taker only.
func (p *Pipe) Drained() bool {
	return (p.over.Load() || p.shut.Load() && !p.putting.Load()) && p.ring.Len() == 0
}
