package router

import (
	"errors"
	"net"
	"testing"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// An app in the process is told apart whether its node is full, which may pass, or has been shut down, which does not.
func TestAttachToANodeThatIsOver(t *testing.T) {
	t.Parallel() // it waits for a client that does not close
	n := startAt(t, Options{Listen: []string{"127.0.0.1:0"}, Loops: 1, MaxConnections: 1})
	attach := func() error {
		d := &pool.Duplex{In: pool.NewPipe(16, 1<<20), Out: pool.NewPipe(16, 1<<20)}
		d.OnWake(func() {}, func() {})
		return n.Attach(t.Context(), "test", d.Other())
	}
	call(t, n)
	if err := attach(); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("a full node says %v", err)
	}
	if err := n.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := attach(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a node that is over says %v", err)
	}
}
