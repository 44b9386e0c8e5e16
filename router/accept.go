package router

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// accept hands the connections of one listener to the loops. Without descriptors it leaves clients where they wait:
// one that is accepted and then reset may give up for good (dataplane.md section 8).
func (n *Node) accept(ln *listener) {
	for {
		fd, err := ln.accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			n.cannotAccept(ln, err)
			if !ln.pause() {
				return
			}
		default:
			f := os.NewFile(uintptr(fd), "connection")
			n.shielded("accepting a connection", func() { n.admit(ln, f) })
			_ = f.Close()
		}
	}
}

// admit enrols an accepted connection, whose descriptor stays the caller's. gnet needs two further ones for a moment
// and keeps one: while there are none the client waits as it would if it had not been accepted.
func (n *Node) admit(ln *listener, f *os.File) {
	for {
		err := n.enroll(f)
		if err == nil {
			return
		}
		n.cannotAccept(ln, err)
		if !exhausted(err) || !ln.pause() {
			return
		}
	}
}

// enroll makes a connection a socket of the loop that has the fewest.
func (n *Node) enroll(f *os.File) error {
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	if c.RemoteAddr() == nil { // it was reset while it waited to be accepted: gnet would dereference that
		_ = c.Close()
		return nil
	}
	l := n.leastLoaded()
	l.sockets.Add(1)
	k := &socket{loop: l}
	if _, err = l.client.EnrollContext(c, k); err == nil && k.gc == nil {
		err = errNotWatched
	}
	if err != nil {
		l.sockets.Add(-1)
	}
	return err
}

// errNotWatched stands for the error that gnet keeps to itself when the loop cannot watch a socket.
var errNotWatched = os.NewSyscallError("epoll_ctl: see fs.epoll.max_user_watches", unix.ENOMEM)

// cannotAccept says once a minute why connections are not accepted.
func (n *Node) cannotAccept(ln *listener, err error) {
	if n.refusals.due(time.Now()) {
		n.log.Error("cannot accept a connection: raise the limit of open files if that is the cause",
			"target", targetService, "endpoint", ln.Addr().String(), "error", err)
	}
}

func (n *Node) leastLoaded() *loop {
	best := n.loops[0]
	for _, l := range n.loops[1:] {
		if l.sockets.Load() < best.sockets.Load() {
			best = l
		}
	}
	return best
}
