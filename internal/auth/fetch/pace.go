package fetch

import (
	"sync"
	"time"
)

// Pace bounds how often something is done that strangers can cause, such as asking for keys again because a token names one
// that is not known. Safe for all; not to be copied after first use.
type Pace struct {
	// Every is the time between two; 0: DefaultPace. Immutable after first use.
	Every time.Duration

	mu   sync.Mutex
	next time.Time // not before
}

// DefaultPace is how often keys are asked for again, at most, because a token names one that is not known.
const DefaultPace = 10 * time.Second

// Try reports whether it may be done now, and then counts it as done.
func (p *Pace) Try(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.next) {
		return false
	}
	every := p.Every
	if every == 0 {
		every = DefaultPace
	}
	p.next = now.Add(every)
	return true
}
