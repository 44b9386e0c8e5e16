package hop

import "cmp"

// Defaults of Options.
const (
	DefaultMaxHeader = 64 << 10
	DefaultMemory    = 16 << 20
)

// Options of a Scratch.
type Options struct {
	// Index tells the Scratch from others whose headers its links get, 0 to MaxScratches-1: ids of headers must differ.
	Index int
	// MaxHeader bounds the header of a publish and what comes before it, in bytes; 0: 64 KiB.
	MaxHeader int
	// Memory bounds what the links remember together, in bytes; 0: 16 MiB; negative: nothing is remembered.
	Memory int
}

// MaxScratches is how many may share headers.
const MaxScratches = 1 << 10

// maxRemembered is the longest header that is remembered, in bytes; longer ones are worked out each time, but for the
// latest of the Scratch.
const maxRemembered = 4 << 10

// Scratch is what the links of one event loop have in common: memory for work that ends with a call, the budget of what
// they remember, and a place each for the latest header that could not be remembered, on its way in and on its way out.
type Scratch struct {
	maxHeader int
	lastID    uint64 // of a header or a pair of names; unique among Scratches by its remainder
	budget    budget

	rest, rest2 []byte // parts of MAC preimages
	tag, tag2   [32]byte

	in     Known // of inOf
	inOf   *Link // nil: none
	out    sent  // of outOf
	outOf  *Link // nil: none
	inUse  bool  // since the last tick
	outUse bool
}

// NewScratch makes a Scratch.
func NewScratch(o Options) *Scratch {
	if o.Index < 0 || o.Index >= MaxScratches {
		panic("hop: index of a Scratch out of range")
	}
	return &Scratch{maxHeader: cmp.Or(o.MaxHeader, DefaultMaxHeader), lastID: uint64(o.Index),
		budget: budget{limit: max(0, cmp.Or(o.Memory, DefaultMemory))}}
}

// Tick gives back what links have not used for a while. To be called once a second.
func (s *Scratch) Tick() {
	s.budget.tick()
	if !s.inUse {
		s.in.clear()
		s.in.raw, s.inOf = nil, nil
	}
	if !s.outUse {
		s.out.clear()
		s.out.raw, s.outOf = nil, nil
	}
	s.inUse, s.outUse = false, false
}

// Held is how many bytes the links remember.
func (s *Scratch) Held() int { return s.budget.held }

// newID gives a number that no other header has, in this Scratch or another.
func (s *Scratch) newID() uint64 {
	s.lastID += MaxScratches
	return s.lastID
}
