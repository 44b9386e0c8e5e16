// Package faults is a SLIM node that damages traffic on purpose, so that one can see whether a measurement finds it. It
// ends the channel and the link of each client. Behind it stands a real node, towards which each client has a
// connection of its own (session/uplink), or, where time is simulated and a real node cannot run, nothing: then it
// confirms names and forwards by exact name itself. It counts what it did. What it cannot write it keeps in memory
// without limit. A Line damages the network below, whatever it carries.
package faults

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Fate is what becomes of one delivery.
type Fate uint8

// The fates.
const (
	Deliver  Fate = iota
	Drop          // it vanishes
	Twice         // it goes out two times
	Swap          // it goes out behind the next one for the same client
	Late          // it waits for Proxy.Delay, and what its sender sends behind it waits, too
	Change        // a byte of the last 64 is another
	Astray        // it goes to another client that has names; to nobody if there is none
	Unsigned      // its MAC is wrong
	fates
)

// Every returns a Proxy.Fate in which one of k deliveries has fate f, the first as number k-1.
func Every(k uint64, f Fate) func(uint64) Fate {
	return func(n uint64) Fate {
		if n%k == k-1 {
			return f
		}
		return Deliver
	}
}

// Proxy accepts clients from Start until Close. Its fields are set before.
type Proxy struct {
	// Fate chooses the fate of delivery n, counted from 0 over all clients. It is called by several goroutines. nil:
	// all are delivered.
	Fate  func(n uint64) Fate
	Delay time.Duration // of Late
	// Pause is called before a publish of a client is taken, by several goroutines; what the client sends behind it
	// waits. nil: never.
	Pause  func()
	Window uint32      // how many bytes a client may send ahead; 0: 1 MiB
	Refuse string      // the reason for which every name is refused; empty: none is
	Mute   bool        // it accepts sockets and never says a word
	Deaf   bool        // it gives no window back for what it receives
	Rotate bool        // without a node: of several clients with one name each gets a message in turn; else always the first
	Net    *simnet.Net // where it listens; nil: on loopback
	Node   string      // address of the node behind it; empty: there is none

	l         net.Listener
	work      sync.WaitGroup
	full      chan struct{}
	fill      sync.Once
	forwarded atomic.Uint64 // publishes, of which each is for one client or for all
	passed    atomic.Uint64 // deliveries
	done      [fates]atomic.Uint64
	silent    atomic.Bool

	mu     sync.Mutex
	ends   map[*end]struct{}
	names  map[wire.Name][]*end
	closed bool
}

// Start listens on a free address.
func (p *Proxy) Start() error {
	var err error
	if p.Net != nil {
		p.l = p.Net.Listen()
	} else if p.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	p.ends, p.names, p.full = map[*end]struct{}{}, map[wire.Name][]*end{}, make(chan struct{})
	p.work.Go(func() {
		for {
			nc, err := p.l.Accept()
			if err != nil {
				return
			}
			p.join(nc)
		}
	})
	return nil
}

func (p *Proxy) join(nc net.Conn) {
	e := newEnd(p, nc)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = nc.Close()
		return
	}
	p.ends[e] = struct{}{}
	p.work.Go(e.read)
	p.work.Go(e.write)
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Done returns how many deliveries have met fate f. Of those to be swapped only what went out behind another counts.
func (p *Proxy) Done(f Fate) uint64 { return p.done[f].Load() }

// Deliveries returns how many there were, whatever became of them.
func (p *Proxy) Deliveries() uint64 { return p.passed.Load() }

// Silence makes the proxy keep every delivery from now on, with all sockets open.
func (p *Proxy) Silence() { p.silent.Store(true) }

// AwaitFull returns when a client has used up its window towards a deaf proxy.
func (p *Proxy) AwaitFull() { <-p.full }

// Names returns how many names clients hold.
func (p *Proxy) Names() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.names)
}

// Close ends everything and returns when all goroutines are gone.
func (p *Proxy) Close() {
	_ = p.l.Close()
	p.mu.Lock()
	p.closed = true
	for e := range p.ends {
		_ = e.nc.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}
