package netloop

import (
	"net"
	"os"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// Handler makes something of a socket's bytes. All methods run on the socket's loop, inside a batch.
type Handler interface {
	// Opened comes first.
	Opened(k *Socket)
	// Read takes all of p, which is borrowed until return.
	Read(p []byte)
	// Flushing says that the outbox is about to be written: the last moment to add what must go with it. last: this is
	// the end of the batch, and no other method of the handler is running.
	Flushing(last bool)
	// Flushed says that everything staged has been written.
	Flushed()
	// Writable says that everything the kernel had not taken has been: Flush works again.
	Writable()
	// Muted says that nothing can be sent any more; what the peer has sent until now is still read.
	Muted()
	// Ended says that the peer sends nothing more but may still read. true: there is output for it, the socket lives on
	// until Close, and no Read follows. false: close it.
	Ended() (more bool)
	// Closed comes last, at the end of a batch; err is nil after Close.
	Closed(err error)
}

// Socket is one connected socket. Owned by its loop.
type Socket struct {
	loop    *Loop
	handler Handler
	gc      gnet.Conn // nil on a manual loop
	fd      int
	remote  string  // the peer's address; empty: it was gone before the socket was looked at
	tls     *sealed // nil: no TLS
	err     error   // why it ended, for Closed

	box     *Outbox   // output of this batch; nil between batches
	rest    *pool.Buf // what the kernel did not take; nil: not blocked
	restAt  int       // of rest, what is written since
	written uint64    // bytes that the kernel has taken since the start
	got     uint64    // bytes read since the start
	allowed int       // bytes that may be read though paused
	backlog *backlog  // of a unix socket; nil: it is none
	due     uint64    // got once all has been read that there was at Loop.MarkInput

	dirty        bool // in Loop.dirty
	closing      bool // to be closed, or closed
	ended        bool // the peer reads an end after what is written
	muted        bool // a write has failed, or nothing may be written any more: output is dropped
	closedByGnet bool // gnet has closed its descriptor, or is about to
	own          bool // fd is a duplicate of our own, which gnet does not know
	inputEnded   bool // the peer sends nothing more
	paused       bool // not read for the time being, but for allowed bytes
	dead         bool // in Loop.closed, or done
	watched      bool // known to the epoll instance of our own

	// QuickAck makes the kernel acknowledge short reads at once: for peers that leave Nagle's algorithm on, whose next
	// small write waits for our acknowledgement. Set by the handler; off at first.
	QuickAck bool
}

// Loop returns the loop that owns the socket.
func (k *Socket) Loop() *Loop { return k.loop }

// Remote returns the peer's address as text, "unknown" if the peer was gone before the socket was looked at.
func (k *Socket) Remote() string {
	if k.remote == "" {
		return "unknown"
	}
	return k.remote
}

// Blocked reports whether the kernel has not taken everything: what is staged waits until Handler.Writable.
func (k *Socket) Blocked() bool { return k.rest != nil }

// Takes reports whether output can be staged and flushed: the socket is neither blocked nor muted nor
// closing.
func (k *Socket) Takes() bool { return k.rest == nil && !k.closing && !k.muted }

// Closing reports whether the socket is to be closed or is closed: it takes no output.
func (k *Socket) Closing() bool { return k.closing }

// Muted reports whether output is dropped: a write has failed, or Silence was called.
func (k *Socket) Muted() bool { return k.muted }

// Silence ends the output for ever: what waits is dropped. What the peer has sent until now is still read, then the
// socket is closed; what comes later the kernel answers with a reset.
func (k *Socket) Silence() {
	if k.muted {
		return
	}
	k.muted = true
	k.loop.silenced = append(k.loop.silenced, k)
	k.loop.inBatch()
}

// hush tells the handler of a silenced socket, and has its end read.
func (k *Socket) hush() {
	k.dropOutput()
	if k.dead {
		return
	}
	k.handler.Muted()
	if k.inputEnded || k.gc == nil { // nothing is read any more
		k.die(k.err)
		return
	}
	_ = unix.Shutdown(k.fd, unix.SHUT_RDWR) // fails if the connection is over: then its end is to be read anyway
}

// Close closes the socket at the end of the batch, without waiting for output that the kernel has not taken.
func (k *Socket) Close() {
	if !k.closing {
		k.closing = true
		k.loop.toClose = append(k.loop.toClose, k)
		k.loop.inBatch()
	}
}

// abort is Close for a socket whose state cannot be trusted: nothing more is written to it.
func (k *Socket) abort() {
	k.muted = true
	k.Close()
	defer func() { _ = recover() }() // output that cannot even be dropped is left to the collector
	k.dropOutput()
}

// inBatch makes sure that a batch ends after what a posted function or a timer has done. Inside callbacks it does.
func (l *Loop) inBatch() {
	if !l.inside {
		l.station.Wake()
	}
}

// EndOutput half-closes the socket: the peer reads the end after everything written. Not while output waits.
func (k *Socket) EndOutput() {
	if !k.muted && !k.dead {
		k.ended = true
		if k.sayEnd(); k.rest == nil { // else the FIN follows what waits
			_ = unix.Shutdown(k.fd, unix.SHUT_WR)
		}
	}
}

// OutputEnded reports whether EndOutput was called.
func (k *Socket) OutputEnded() bool { return k.ended }

// Written returns how many bytes the kernel has taken since the start: of TLS all that was sent, the handshake
// included.
func (k *Socket) Written() uint64 { return k.written }

// Unacknowledged returns how many bytes the kernel holds that the peer's has not acknowledged, unsent ones included
// (SIOCOUTQ). On a unix socket it is what the peer has not read, estimated from its memory. 0 if the socket is gone. It
// is a system call.
func (k *Socket) Unacknowledged() int {
	if k.dead {
		return 0
	}
	n, err := unix.IoctlGetInt(k.fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	if k.backlog != nil {
		return k.backlog.look(k.written, n)
	}
	return n
}

// Received returns how many bytes were read since the start, after the handshake of TLS.
func (k *Socket) Received() uint64 { return k.got }

// Waiting returns how many bytes the kernel has not taken yet.
func (k *Socket) Waiting() int {
	n := 0
	if k.tls != nil {
		n = len(k.tls.out)
	}
	if k.rest != nil {
		n += len(k.rest.B) - k.restAt
	}
	return n
}

// Descriptor is for options of the kernel; the socket keeps it.
func (k *Socket) Descriptor() int { return k.fd }

// shut closes the descriptor of a socket that is to be closed.
func (k *Socket) shut() {
	switch {
	case k.dead:
	case k.own, k.gc == nil:
		k.sayEnd()
		k.die(nil)
	case !k.closedByGnet:
		k.sayEnd()
		_ = k.gc.EventLoop().Close(k.gc) // OnClose
	}
}

// die ends the socket: its handler is told at the end of the batch.
func (k *Socket) die(err error) {
	if k.dead {
		return
	}
	k.dead, k.closing, k.muted = true, true, true
	if k.err == nil {
		k.err = err
	}
	k.loop.engine.ready.forget(k)
	if k.own {
		_ = unix.Close(k.fd)
	}
	k.loop.closed = append(k.loop.closed, k)
	k.loop.inBatch()
	k.dropOutput() // last: what a fault has left of it must not keep the handler from being told
}

// bury tells the handler of a dead socket.
func (k *Socket) bury() {
	l := k.loop
	if _, ok := l.live[k]; !ok {
		return
	}
	delete(l.live, k)
	l.sockets.Add(-1)
	k.handler.Closed(k.err)
}

// fileConn wraps a descriptor, which it takes over, as a net.Conn.
func fileConn(fd int, name string) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}
