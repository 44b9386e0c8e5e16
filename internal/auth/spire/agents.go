package spire

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Options are those of Agents.
type Options struct {
	// Told hears when a Workload API begins to fail, and with nil when it gives again what it is asked for: once for each
	// change. It must not block. nil: nobody does.
	Told func(address string, err error)
	// Offline: no API is asked for anything. A configuration is only looked at.
	Offline bool
	// Now is the clock that tells expired from good. nil: time.Now.
	Now func() time.Time

	pace pace // its zero: usualPace; tests wait less
}

// Agents are the Agents in use, one for each address. Safe for all.
type Agents struct {
	opt Options

	mu     sync.Mutex
	all    map[string]*Agent // guarded by mu
	closed bool              // guarded by mu
}

// NewAgents returns a set without any.
func NewAgents(o Options) *Agents {
	if o.Told == nil {
		o.Told = func(string, error) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.pace == (pace{}) {
		o.pace = usualPace
	}
	return &Agents{opt: o, all: map[string]*Agent{}}
}

// errClosed is why an Agent that was closed gives nothing.
var errClosed = errors.New("the connection to the Workload API was closed")

// At returns the Agent of an address that Address has made. It lives until Keep or Close ends it.
func (a *Agents) At(address string) (*Agent, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, errClosed
	}
	if x := a.all[address]; x != nil {
		return x, nil
	}
	x, err := newAgent(address, &a.opt)
	if err != nil {
		return nil, err
	}
	a.all[address] = x
	return x, nil
}

// Loads returns how often each API in use gave what it was asked for, by address.
func (a *Agents) Loads() map[string]auth.Loads {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]auth.Loads{}
	for address, x := range a.all {
		x.mu.Lock()
		out[address] = x.loads
		x.mu.Unlock()
	}
	return out
}

// Keep closes all Agents but those of these addresses.
func (a *Agents) Keep(addresses []string) {
	var gone []*Agent
	a.mu.Lock()
	for address, x := range a.all {
		if !slices.Contains(addresses, address) {
			gone = append(gone, x)
			delete(a.all, address)
		}
	}
	a.mu.Unlock()
	for _, x := range gone {
		x.close()
	}
}

// Close closes all Agents. There are no others after it.
func (a *Agents) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.Keep(nil)
}
