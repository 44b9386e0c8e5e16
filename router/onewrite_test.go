package router

import (
	"testing"

	"github.com/seed31b3bfd0/slimgo/router/netloop"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// writes counts the writes of a socket.
type writes struct {
	netloop.Handler
	n int
}

func (w *writes) Flushing(last bool) {
	w.n++
	w.Handler.Flushing(last)
}

// What a read of the default size brings leaves with one write, also where each header gets a tag that it came without: a write is
// most of what a node does for short messages.
func TestAReadLeavesWithOneWrite(t *testing.T) {
	r := newRig(t, 1, Options{RelayPeerPublishes: true})
	h := &writes{Handler: r.n.loops[0].group.AcceptGRPC()}
	b := r.connectBy(0, h)
	b.negotiate(wire.LinkEdge, "node-of-test")
	b.subscribe(bob, 1)
	a := r.dialAs(0, wire.LinkPeer, "peer-of-test")
	b.openWindows()
	b.blackHole(t)
	if err := a.cli.Feed(append(windowUpdate(0, 1<<30), windowUpdate(a.s.ID, 1<<30)...), a); err != nil {
		t.Fatal(err)
	}
	messages := a.reads(t, 1, 1, 100, bob, 1, false)[0]
	count := DefaultReadBuffer / len(messages)
	read := a.reads(t, 1, count, 100, bob, 1, false)[0]
	before := r.stats().Delivered
	h.n = 0
	a.feed(read)
	r.settle()
	if n := r.stats().Delivered - before; n != uint64(count) {
		t.Fatalf("%d of %d messages were delivered", n, count)
	}
	if h.n != 1 {
		t.Errorf("%d writes for %d messages of %d bytes", h.n, count, len(messages))
	}
}
