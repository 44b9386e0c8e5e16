package netloop

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Acceptance is what becomes of the connections of a listener.
type Acceptance struct {
	// Handler makes the handler of a connection for its loop, the one with the fewest sockets.
	Handler func(*Loop) Handler
	// Full reports whether no connection may be taken now: clients wait in the kernel. nil: never.
	Full func() bool
	// Failed hears, once a minute at most, why connections are not taken.
	Failed func(*Listener, error)
}

// Accept hands the connections of ln to the loops until ln is closed. Without descriptors it leaves clients where they
// wait: one that is accepted and then reset may give up for good (P-end-1).
func (e *Engine) Accept(ln *Listener, a Acceptance) {
	for again := true; again; {
		panicked := true
		e.guarded(func() {
			again = e.acceptOne(ln, a)
			panicked = false
		})
		if panicked { // that costs one connection, not the listener
			again = ln.pause()
		}
	}
}

// acceptOne waits for a connection and takes it. It reports whether there may be another.
func (e *Engine) acceptOne(ln *Listener, a Acceptance) bool {
	if a.Full != nil && a.Full() {
		e.cannotAccept(ln, a, ErrFull)
		return ln.pause()
	}
	fd, err := ln.accept()
	switch {
	case errors.Is(err, net.ErrClosed):
		return false
	case err != nil:
		e.cannotAccept(ln, a, err)
		return ln.pause()
	}
	f := os.NewFile(uintptr(fd), "connection")
	defer func() { _ = f.Close() }()
	e.admit(ln, a, f)
	return true
}

// ErrFull is why nothing is accepted while Acceptance.Full says so.
var ErrFull = errors.New("the limit of sockets is reached")

// admit enrols an accepted connection, whose descriptor stays the caller's. gnet needs two further ones for a moment
// and keeps one: while there are none the client waits as it would if it had not been accepted.
func (e *Engine) admit(ln *Listener, a Acceptance, f *os.File) {
	for {
		err := e.enrolFile(a, f)
		if err == nil {
			return
		}
		e.cannotAccept(ln, a, err)
		if !exhausted(err) || !ln.pause() {
			return
		}
	}
}

// enrolFile makes a connection a socket of the loop that has the fewest.
func (e *Engine) enrolFile(a Acceptance, f *os.File) error {
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // gnet has its own duplicate, or none after a panic
	if c.RemoteAddr() == nil {       // it was reset while it waited to be accepted: gnet would dereference that
		return nil
	}
	l := e.leastLoaded()
	return l.Enrol(c, a.Handler(l))
}

// errNotWatched stands for the error that gnet keeps to itself when the loop cannot watch a socket.
var errNotWatched = os.NewSyscallError("epoll_ctl: see fs.epoll.max_user_watches", unix.ENOMEM)

// cannotAccept says once a minute why connections are not accepted.
func (e *Engine) cannotAccept(ln *Listener, a Acceptance, err error) {
	now := time.Now()
	ln.failed(now)
	if a.Failed != nil && e.refusals.due(now) {
		a.Failed(ln, err)
	}
}

func (e *Engine) leastLoaded() *Loop {
	best := e.loops[0]
	for _, l := range e.loops[1:] {
		if l.sockets.Load() < best.sockets.Load() {
			best = l
		}
	}
	return best
}
