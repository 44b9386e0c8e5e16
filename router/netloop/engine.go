package netloop

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// Options configure an Engine. Nothing may change after Start.
type Options struct {
	// Loops is the number of event loops, at least 1.
	Loops int
	// ReadBuffer is the size in bytes of each loop's read buffer; gnet rounds it up to a power of two. At least 1024.
	ReadBuffer int
	// Tick is how often Owner.Tick is called; 0: a second.
	Tick time.Duration
}

// Owner is told what happens to a loop as a whole. Its methods run on the loop, but for Panicked with a nil socket.
type Owner interface {
	// Turn runs when the loop was woken, after the posted work.
	Turn()
	// Batch runs at the end of each callback, when everything staged is written: time to wake others.
	Batch()
	// Tick runs every Options.Tick.
	Tick(now time.Time)
	// Panicked reports a panic in a callback with its stack. k is the socket that was served and will be closed; nil
	// if none was, or if the panic was in a goroutine of the engine.
	Panicked(k *Socket, value any, stack []byte)
}

// Engine is a set of loops. Its methods are safe for all.
type Engine struct {
	opt    Options
	linger time.Duration // bridgeLinger, but in tests
	loops  []*Loop
	ready  watcher
	epoll  *readiness // the same, but for manual loops

	done     chan struct{} // closed by Stop
	refusals rarely        // of what cannot be accepted
	turns    chan struct{} // of handshakes that compute
	spare    spare         // descriptors

	mu      sync.Mutex
	stopped bool           // guarded by mu: nothing is added to workers any more
	workers sync.WaitGroup // goroutines, and calls of Enrol
}

// Start starts the loops. owner makes the owner of each, before anything happens to it.
func Start(o Options, owner func(*Loop) Owner) (*Engine, error) {
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	e := &Engine{opt: o, linger: bridgeLinger, done: make(chan struct{}), turns: make(chan struct{}, handshakeTurns(o.Loops))}
	var err error
	if e.epoll, err = newReadiness(); err != nil {
		return nil, fmt.Errorf("netloop: %w%s", err, startHint(err))
	}
	e.ready = e.epoll
	for i := range o.Loops {
		l, err := e.startLoop(i, owner)
		if l != nil {
			e.loops = append(e.loops, l)
		}
		if err != nil {
			e.Stop()
			return nil, fmt.Errorf("netloop: event loop %d: %w%s", i, err, startHint(err))
		}
	}
	if err := e.spare.begin(); err != nil {
		e.Stop()
		return nil, fmt.Errorf("netloop: %w", err)
	}
	e.Go(e.epoll.run)
	e.Go(e.tick)
	return e, nil
}

// startHint says what to do when the kernel refuses what loops are made of.
func startHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC): // of epoll_ctl, and no disk is meant
		return " (the kernel lets this user watch no more descriptors: raise fs.epoll.max_user_watches, or run fewer loops)"
	case errors.Is(err, unix.EMFILE):
		return " (raise the limit of open files, or run fewer loops)"
	case errors.Is(err, unix.ENFILE):
		return " (all processes together have too many open files: raise fs.file-max)"
	}
	return ""
}

// Loops returns the loops in order of their Index.
func (e *Engine) Loops() []*Loop { return e.loops }

// Go runs f on a goroutine of the engine, behind a boundary: a panic is reported to the first loop's owner and ends f
// alone. Stop waits for f; after Stop it does nothing.
func (e *Engine) Go(f func()) {
	if e.begin() {
		go func() {
			defer e.workers.Done()
			e.guarded(f)
		}()
	}
}

// begin notes work that Stop waits for, until workers.Done; false: the engine has stopped.
func (e *Engine) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.stopped {
		e.workers.Add(1)
	}
	return !e.stopped
}

// guarded runs f behind a boundary.
func (e *Engine) guarded(f func()) {
	defer func() {
		if r := recover(); r != nil && len(e.loops) > 0 {
			e.loops[0].owner.Panicked(nil, r, debug.Stack())
		}
	}()
	f()
}

// Done is closed when Stop begins.
func (e *Engine) Done() <-chan struct{} { return e.done }

// stopping reports whether Stop has begun.
func (e *Engine) stopping() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Stop closes all sockets, without waiting for what they have still to send, and ends all goroutines. Listeners are
// closed by their owner, before. Later calls do nothing.
func (e *Engine) Stop() {
	e.mu.Lock()
	again := e.stopped
	e.stopped = true
	e.mu.Unlock()
	if again {
		return
	}
	close(e.done)
	e.epoll.stop()
	e.workers.Wait() // nobody but loops touches a loop from now on, and Wake of a stopped loop does nothing
	for _, l := range e.loops {
		l.stop()
	}
	e.epoll.close()
	e.spare.close()
}

// tick wakes every loop once a tick.
func (e *Engine) tick() {
	t := time.NewTicker(e.opt.Tick)
	defer t.Stop()
	for {
		select {
		case <-e.done:
			return
		case <-t.C:
			e.spare.look()
			for _, l := range e.loops {
				l.tickDue.Store(true)
				l.station.Wake()
			}
		}
	}
}

// quietLogger keeps gnet's own log out of ours: what matters there reaches us as errors.
type quietLogger struct{}

func (quietLogger) Debugf(string, ...any) {}
func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Warnf(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}
func (quietLogger) Fatalf(string, ...any) {}

var _ gnet.EventHandler = (*Loop)(nil)
