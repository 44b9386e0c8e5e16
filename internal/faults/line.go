package faults

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/ports"
)

// Line is a stretch of network between those who dial it and who listens at its target. It passes bytes both ways, and
// is cut, reset, stalled and stranded when a test says so. It does not understand what it passes on, in pieces so small
// that an end mostly comes in the middle of a message. Its methods are safe for all; its fields are set before Start.
type Line struct {
	Network string // of both sides: tcp or unix
	Listen  string // where it is dialled; Start puts the port in place of a port 0
	Target  string // where it leads

	accepted atomic.Uint64
	work     sync.WaitGroup

	mu      sync.Mutex
	ln      net.Listener       // guarded by mu; nil: who dials is refused
	idle    chan struct{}      // guarded by mu; closed when ln has handed over its last connection
	pairs   map[*pair]struct{} // guarded by mu
	stalled chan struct{}      // guarded by mu; closed when bytes pass again; nil: they pass
	reject  bool               // guarded by mu: who dials is accepted and reset
	closed  bool               // guarded by mu
}

// piece is how much is passed on at once, in bytes: a message is mostly more than one.
const piece = 509

// connectTimeout bounds the connection to the target, which listens on this machine.
const connectTimeout = 10 * time.Second

// pair is a connection of who dials, and that to the target.
type pair struct {
	line *Line
	over chan struct{} // closed when it has ended

	mu       sync.Mutex
	ends     [2]net.Conn // guarded by mu until both are there; the target's may be nil
	left     int         // guarded by mu: directions that have not ended
	ended    bool        // guarded by mu
	stranded bool        // guarded by mu: nothing passes any more
}

// Start lets it be dialled.
func (l *Line) Start() error {
	l.pairs = map[*pair]struct{}{}
	return l.Admit()
}

// Admit lets it be dialled, after Refuse, Reject or Start.
func (l *Line) Admit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reject = false
	if l.ln != nil || l.closed {
		return nil
	}
	ln, err := net.Listen(l.Network, l.Listen)
	if err != nil {
		return err
	}
	l.ln, l.Listen = ln, ln.Addr().String()
	idle := make(chan struct{})
	l.idle = idle
	l.work.Go(func() {
		defer close(idle)
		l.accept(ln)
	})
	return nil
}

func (l *Line) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		l.accepted.Add(1)
		l.join(c)
	}
}

// join makes a pair of a connection that was accepted.
func (l *Line) join(c net.Conn) {
	p := &pair{line: l, over: make(chan struct{}), ends: [2]net.Conn{c}, left: 2}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.reject {
		p.end(true)
		return
	}
	l.pairs[p] = struct{}{}
	l.work.Go(p.connect)
}

// Refuse has the kernel refuse who dials. What is connected goes on, and is known to Cut when it returns.
func (l *Line) Refuse() {
	l.mu.Lock()
	ln, idle := l.ln, l.idle
	l.ln = nil
	l.mu.Unlock()
	if ln != nil {
		ports.Close(ln)
		<-idle
	}
}

// Reject accepts who dials and resets the connection.
func (l *Line) Reject() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reject = true
}

// Stall keeps all bytes, and all ends, of connections that are there and of those that come, until Resume.
func (l *Line) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled == nil {
		l.stalled = make(chan struct{})
	}
}

// Resume ends Stall: what was kept goes on.
func (l *Line) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stalled != nil {
		close(l.stalled)
		l.stalled = nil
	}
}

// Strand keeps all bytes and all ends of the connections that are there, for ever: neither side hears of the other
// again. Those that come are not concerned.
func (l *Line) Strand() {
	for _, p := range l.all() {
		p.mu.Lock()
		p.stranded = true
		p.mu.Unlock()
	}
}

// Cut ends all connections as one does that closes them.
func (l *Line) Cut() { l.endAll(false) }

// Reset ends all connections by a reset, where the network has one.
func (l *Line) Reset() { l.endAll(true) }

func (l *Line) endAll(reset bool) {
	for _, p := range l.all() {
		p.end(reset)
	}
}

func (l *Line) all() (out []*pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		out = append(out, p)
	}
	return out
}

// Accepted returns how many connections were accepted so far, those that were reset among them.
func (l *Line) Accepted() uint64 { return l.accepted.Load() }

// Open returns how many connections have not ended, stranded ones among them.
func (l *Line) Open() int { return len(l.all()) }

// Close ends everything and returns when all goroutines are gone.
func (l *Line) Close() {
	l.Refuse()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Reset()
	l.Resume()
	l.work.Wait()
}

// connect completes a pair, and starts its directions.
func (p *pair) connect() {
	c, err := net.DialTimeout(p.line.Network, p.line.Target, connectTimeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || p.ended {
		if err == nil {
			_ = c.Close()
		}
		p.finish(true)
		return
	}
	p.ends[1] = c
	p.line.work.Go(func() { p.pass(p.ends[0], p.ends[1]) })
	p.line.work.Go(func() { p.pass(p.ends[1], p.ends[0]) })
}

// pass is one direction.
func (p *pair) pass(from, to net.Conn) {
	b := make([]byte, piece)
	for {
		n, err := from.Read(b)
		if !p.mayPass() {
			return
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				p.end(true)
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			p.half(to)
			return
		default:
			p.end(true)
			return
		}
	}
}

// mayPass waits while the line is stalled. false: the pair has ended.
func (p *pair) mayPass() bool {
	for {
		p.line.mu.Lock()
		stalled := p.line.stalled
		p.line.mu.Unlock()
		p.mu.Lock()
		stranded, ended := p.stranded, p.ended
		p.mu.Unlock()
		switch {
		case ended:
			return false
		case stranded:
			<-p.over
		case stalled == nil:
			return true
		default:
			select {
			case <-stalled:
			case <-p.over:
			}
		}
	}
}

// half passes on that one direction has ended.
func (p *pair) half(to net.Conn) {
	if w, ok := to.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left == 0 {
		p.finish(false)
	}
}

// end ends both connections.
func (p *pair) end(reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(reset)
}

// finish is end; mu is held.
func (p *pair) finish(reset bool) {
	if p.ended {
		return
	}
	p.ended = true
	close(p.over)
	for _, c := range p.ends {
		if t, ok := c.(*net.TCPConn); ok && reset {
			_ = t.SetLinger(0)
		}
		if c != nil {
			_ = c.Close()
		}
	}
	p.line.work.Go(func() { p.line.forget(p) }) // not here: the line's lock is taken before that of a pair
}

func (l *Line) forget(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pairs, p)
}
