package simnet

import (
	"math/rand/v2"
	"time"
)

// Faults are what a network does to messages. The zero value delivers each once, and at once.
type Faults struct {
	Seed      uint64
	Delay     time.Duration // of each message
	Jitter    time.Duration // up to which more is drawn
	Loss      float64       // share of the messages that do not come
	Duplicate float64       // share of the others that come twice
	Late      float64       // share of what comes that others may overtake
	Lag       time.Duration // up to which that comes later
}

// Copy is a message as it arrives.
type Copy struct {
	After time.Duration
	Late  bool
}

// Copies draws how the nth message of a kind arrives: not at all, once or twice. It depends on nothing but the faults and
// these two, so that a message fares alike in whatever order a test's goroutines run.
func (f *Faults) Copies(kind string, nth uint64) []Copy {
	r := rand.New(rand.NewPCG(f.Seed^hash(kind), nth))
	if r.Float64() < f.Loss {
		return nil
	}
	copies := make([]Copy, 1, 2)
	if r.Float64() < f.Duplicate {
		copies = copies[:2]
	}
	for i := range copies {
		c := &copies[i]
		if c.After = f.Delay; f.Jitter > 0 {
			c.After += time.Duration(r.Int64N(int64(f.Jitter)))
		}
		if r.Float64() < f.Late && f.Lag > 0 {
			c.Late, c.After = true, c.After+time.Duration(r.Int64N(int64(f.Lag)))
		}
	}
	return copies
}

// hash is FNV-1a.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
