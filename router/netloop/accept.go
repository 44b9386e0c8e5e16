package netloop

import (
	"cmp"
	"crypto/tls"
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
	// Lost hears that the file of a unix socket was removed or replaced by somebody: nil if it was made again, else why
	// it cannot be, once for each reason. nil: nobody hears.
	Lost func(*Listener, error)

	// TLS is the configuration for the handshake with which a connection begins; nil: there is none, and no TLS. What
	// may change comes from its GetConfigForClient, so that tickets outlive a change. Both should have
	// DynamicRecordSizingDisabled: else records are small at first.
	TLS *tls.Config
	// Timeout is how long a handshake may take, from the acceptance on; 0: 10 s.
	Timeout time.Duration
	// Patience is how long a handshake may wait for its peer, in all, while there is no room for other sockets, be it that Full says so
	// or for want of descriptors: a flood of handshakes that stall holds what there is for no longer than that; 0: 2 s.
	Patience time.Duration
	// Refused hears of handshakes that failed, on the goroutine of each; nil: nobody does. Safe for all.
	Refused func(*Listener, *HandshakeError)
}

// Accept hands the connections of ln to the loops until ln is closed. Without descriptors it leaves clients where they
// wait: one that is accepted and then reset may give up for good (P-end-1).
// It returns when all handshakes have ended. Listener.Change gives those that come later another acceptance.
func (e *Engine) Accept(ln *Listener, a Acceptance) {
	ln.acceptance.CompareAndSwap(nil, &a)
	var hs handshakes
	defer hs.end()
	if ln.Addr().Network() == "unix" {
		hs.wg.Go(func() { // it ends with the listener
			ln.guardFile(e.opt.Tick, func(err error) {
				if a := ln.acceptance.Load(); a.Lost != nil {
					a.Lost(ln, err)
				}
			})
		})
	}
	for again := true; again; {
		panicked := true
		e.guarded(func() {
			again = e.acceptOne(ln, &hs)
			panicked = false
		})
		if panicked { // that costs one connection, not the listener
			again = ln.pause()
		}
	}
}

// acceptOne waits for a connection and takes it. It reports whether there may be another.
func (e *Engine) acceptOne(ln *Listener, hs *handshakes) bool {
	a := ln.acceptance.Load()
	switch {
	case !e.spare.room():
		hs.hurry(cmp.Or(a.Patience, handshakePatience))
		e.cannotAccept(ln, *a, errNoRoom)
		return ln.pause()
	case a.Full != nil && a.Full():
		hs.hurry(cmp.Or(a.Patience, handshakePatience))
		e.cannotAccept(ln, *a, ErrFull)
		return ln.pause()
	}
	fd, err := ln.accept(&e.spare.taking)
	a = ln.acceptance.Load() // now: it may have changed while nobody came
	switch {
	case errors.Is(err, net.ErrClosed):
		return false
	case err != nil:
		e.cannotAccept(ln, *a, err)
		return ln.pause()
	}
	c := newIncoming(fd)
	switch {
	case c == nil:
	case a.TLS != nil:
		e.admitSealed(ln, a, hs, c)
	default:
		defer func() { _ = c.Close() }()
		e.admit(ln, *a, c, e.leastLoaded(), nil, time.Time{})
	}
	return true
}

// ErrFull is why nothing is accepted while Acceptance.Full says so.
var ErrFull = errors.New("the limit of sockets is reached")

// errNoRoom is why nothing is accepted while the last descriptors are for others.
var errNoRoom = os.NewSyscallError("accept4", unix.EMFILE)

// admit makes an accepted connection, whose descriptor stays the caller's, a socket of loop l; s is its TLS, nil for
// none. gnet needs two further descriptors for a moment and keeps one instead of the caller's: they are spare. If others
// have taken even these, the client waits as it would if it had not been accepted, as long as it is there and until is
// not over; zero: for ever.
func (e *Engine) admit(ln *Listener, a Acceptance, c *incoming, l *Loop, s *sealed, until time.Time) {
	enrol := func() error { return enrolFile(a, c, l, s) }
	for {
		err := enrol()
		if err != nil && exhausted(err) {
			err = e.spare.hand(enrol)
		}
		if err == nil {
			return
		}
		e.cannotAccept(ln, a, err)
		if !exhausted(err) || c.left() || !until.IsZero() && time.Now().After(until) || !ln.pause() {
			return
		}
	}
}

// enrolFile makes a connection a socket of loop l.
func enrolFile(a Acceptance, in *incoming, l *Loop, s *sealed) error {
	c, err := net.FileConn(in.File)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // gnet has its own duplicate, or none after a panic
	if c.RemoteAddr() == nil {       // it has been reset since: gnet would dereference that
		return nil
	}
	k := &Socket{loop: l, handler: a.Handler(l), tls: s}
	if s != nil {
		k.written = uint64(s.written)
	}
	return l.enrol(c, k)
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
