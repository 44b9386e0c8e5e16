//go:build !race

package uplink

import (
	"testing"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// One message at a time goes to and fro without an allocation.
func TestAllocsOfALocal(t *testing.T) {
	n := beside(t, router.Options{})
	c := make(chan struct{}, 1)
	b, err := Attach(t.Context(), n, &LocalOptions{Handle: func([][]byte) { c <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Subscribe(t.Context(), header(bob)); err != nil {
		t.Fatal(err)
	}
	a := attach(t, n, newEar(8, 0))
	msg := wire.AppendPublish(nil, header(bob), testSession, content(0, 100))
	step := func() {
		if err := a.TrySend(msg); err != nil {
			t.Error(err)
		}
		<-c
	}
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(2000, step); n >= 1 { // less: the node's tick, once a second
		t.Errorf("%v allocations a message", n)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
