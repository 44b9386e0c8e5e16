package router

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// A connection that has negotiated and does nothing takes little memory: what only messages need is made when they
// come.
// Of these bytes the test itself takes some 500; in a process gnet's come to it, and half as much again for the
// collector.
func TestMemoryOfAnIdleConnection(t *testing.T) {
	const count, most = 500, 3350
	r := newRig(t, 1, Options{})
	memory := func() int {
		r.seconds(1)
		r.peers = nil // the clients
		return heap()
	}
	r.dial(0)
	before := memory()
	for range count {
		r.dial(0).buf = nil
	}
	if n := (memory() - before) / count; n > most {
		t.Errorf("%d bytes for each idle connection, want %d at most", n, most)
	} else {
		t.Logf("%d bytes for each idle connection", n)
	}
	for _, l := range r.loops {
		l.Each(func(k *netloop.Socket) { l.Hangup(k, unix.ECONNRESET) })
	}
}
