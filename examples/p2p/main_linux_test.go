package main

import (
	"context"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
)

func TestP2P(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Shutdown(ctx)
	env := func(name string) string {
		return map[string]string{"SLIM_SECRET": "a secret of both, 32 bytes or more", "SLIM_ADDR": n.Addrs()[0].String()}[name]
	}
	bob, alice := new(text), new(text)
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-name", "org/demo/bob", "-count", "1"}, env, bob) }()
	for n.Stats().Names == 0 && ctx.Err() == nil { // else alice asks for bob a second later
		time.Sleep(time.Millisecond)
	}
	if err := run(ctx, []string{"-name", "org/demo/alice", "-to", "org/demo/bob", "hello", "there"}, env, alice); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := bob.String() + alice.String(); got != "org/demo/alice: hello there\norg/demo/bob: HELLO THERE\n" {
		t.Errorf("%q", got)
	}
}
