// Package faults is a proxy that damages traffic on purpose, so that one can see whether a measurement finds it. It ends
// HTTP/2 on both sides and passes whole SLIM messages on as they are, negotiation and MACs included; what goes from the node to
// a client and is a publish may be dropped, doubled, swapped or delayed. It counts what it did.
package faults

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/simnet"
)

// Plan is what happens to publishes on their way to clients. Each number counts publishes of the whole proxy, from 1; zero: never.
type Plan struct {
	DropEvery   uint64        // one of so many vanishes
	DoubleEvery uint64        // one of so many comes twice
	SwapEvery   uint64        // one of so many comes behind the next one
	DelayEvery  uint64        // one of so many waits
	Delay       time.Duration // for so long, and what comes behind it waits too
	// Pause is called before each publish goes on, from clients and to them, by several goroutines. nil: never.
	Pause func()
	// Window is how many bytes a peer may send ahead of what goes on; 0: 4 MiB.
	Window uint32
	Net    *simnet.Net // where proxy and node are; nil: on loopback
}

// Done is what a proxy has done.
type Done struct{ Passed, Dropped, Doubled, Swapped, Delayed uint64 }

// Proxy listens on a free address and passes connections on to a node.
type Proxy struct {
	plan Plan
	node string
	l    net.Listener
	work sync.WaitGroup

	passed, dropped, doubled, swapped, delayed atomic.Uint64

	mu     sync.Mutex
	ends   map[*end]struct{}
	closed bool
	silent bool // nothing goes on any more
}

// Start opens a proxy in front of the node at addr.
func Start(addr string, plan Plan) (*Proxy, error) {
	l, err := plan.listen()
	if err != nil {
		return nil, err
	}
	p := &Proxy{plan: plan, node: addr, l: l, ends: map[*end]struct{}{}}
	p.work.Go(p.accept)
	return p, nil
}

func (p Plan) listen() (net.Listener, error) {
	if p.Net != nil {
		return p.Net.Listen(), nil
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

func (p Plan) dial(addr string) (net.Conn, error) {
	if p.Net != nil {
		return p.Net.Dial(context.Background(), addr)
	}
	return net.Dial("tcp", addr)
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.l.Addr().String() }

// Done returns the counts so far.
func (p *Proxy) Done() Done {
	return Done{p.passed.Load(), p.dropped.Load(), p.doubled.Load(), p.swapped.Load(), p.delayed.Load()}
}

// Silence makes the proxy keep everything that would go to clients from now on, with all sockets open.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
}

// Close ends all connections and returns when nothing runs any more.
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

func (p *Proxy) accept() {
	for {
		nc, err := p.l.Accept()
		if err != nil {
			return
		}
		up, err := p.plan.dial(p.node)
		if err != nil {
			_ = nc.Close()
			continue
		}
		p.join(nc, up)
	}
}

// join connects the two sides of a client's connection.
func (p *Proxy) join(client, node net.Conn) {
	down, up := newEnd(p, client, false), newEnd(p, node, true)
	down.other, up.other = up, down
	p.mu.Lock()
	p.ends[down], p.ends[up] = struct{}{}, struct{}{}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		_, _ = client.Close(), node.Close()
	}
	for _, e := range []*end{down, up} {
		p.work.Go(e.read)
		p.work.Go(e.write)
	}
}

func (p *Proxy) quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.silent
}

// every counts one and reports whether it is a kth one.
func every(n, k uint64) bool { return k > 0 && n%k == 0 }

// fate applies the plan to a publish for a client: what goes out now, in order.
func (p *Proxy) fate(to *end, msg []byte) [][]byte {
	n := p.passed.Add(1)
	if every(n, p.plan.DropEvery) {
		p.dropped.Add(1)
		return nil
	}
	if every(n, p.plan.DelayEvery) {
		p.delayed.Add(1)
		wait := time.NewTimer(p.plan.Delay)
		<-wait.C
	}
	if every(n, p.plan.SwapEvery) && to.kept == nil {
		to.kept = msg
		return nil
	}
	out := [][]byte{msg}
	if every(n, p.plan.DoubleEvery) {
		p.doubled.Add(1)
		out = append(out, msg)
	}
	if to.kept != nil {
		p.swapped.Add(1)
		out = append(out, to.kept)
		to.kept = nil
	}
	return out
}
