package router

import (
	"fmt"
	"runtime/debug"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// A panic is a broken invariant of ours. It ends the connection it happened to and nothing else: every callback of
// gnet, every goroutine and every step of a loop that serves somebody else has a boundary.

// task is posted work.
type task struct {
	k *socket // to blame if it panics; nil: nobody
	f func()
}

// boundary, deferred, stops a panic of what is done for k.
func (l *loop) boundary(k *socket) {
	if r := recover(); r != nil {
		l.fault(r, k)
	}
}

// blame is boundary for work that serves many: l.serving tells whom it served when it panicked.
func (l *loop) blame() {
	if r := recover(); r != nil {
		l.fault(r, l.serving)
	}
}

// fault counts a panic and closes the socket it happened to, which says nothing more; nil: none is known.
func (l *loop) fault(r any, k *socket) {
	l.n.panics++
	remote := "unknown"
	if k != nil {
		remote = k.remote()
	}
	l.node.log.Error("internal error while processing a connection: it is closed, please report this",
		"target", targetProcessing, "remote", remote, "error", fmt.Sprint(r), "stack", string(debug.Stack()))
	if k == nil {
		return
	}
	if k.mute = true; !k.closing && !k.gone {
		k.closing = true
		l.doomed = append(l.doomed, k)
	}
	defer func() { _ = recover() }() // an outbox that cannot even be dropped is left to the collector
	k.dropOutbox()
}

// step runs a part of a callback that concerns no socket or many.
func (l *loop) step(f func(*loop)) {
	l.serving = nil
	defer l.blame()
	f(l)
}

// run runs posted work.
func (l *loop) run(t *task) {
	l.serving = t.k
	defer l.blame()
	t.f()
}

// shielded runs f on a goroutine of its own or in a timer; what says in the log what it was.
func (n *Node) shielded(what string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			n.panics.Add(1)
			n.log.Error("internal error: please report this", "target", targetService, "while", what,
				"error", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	f()
}

// find returns the item that holds buf; nil: it is not queued.
func (q *queue) find(buf *pool.Buf) *item {
	for i := range q.n {
		if it := q.at(i); it.buf == buf {
			return it
		}
	}
	return nil
}

// undelivered settles a message from another loop whose delivery to c panicked: it is c's queue's or given up, and
// the sender has what it is owed.
func (c *Conn) undelivered(buf *pool.Buf, src *Conn, cost int) {
	l := c.loop
	defer l.boundary(nil)
	it := c.q.find(buf)
	if it == nil {
		l.n.dropped[ReasonGone]++
		buf.Release()
	}
	if it == nil || !it.charged {
		l.credit(src, cost)
	}
}
