package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
)

func TestPoll(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Shutdown(context.WithoutCancel(ctx))
	env := func(name string) string {
		return map[string]string{"SLIM_SECRET": "a secret of all, 32 bytes or more", "SLIM_ADDR": n.Addrs()[0].String()}[name]
	}
	nobody := make(chan error, 1) // who is not there takes its time, here beside the others
	go func() {
		nobody <- run(ctx, []string{"-name", "org/demo/erin", "-of", "org/demo/nobody", "-wait", "1s", "lunch?"}, env, io.Discard)
	}()
	voting, stop := context.WithCancel(ctx)
	done := make(chan error, 2)
	for name, answer := range map[string]string{"bob": "pizza", "carol": "pizza"} {
		go func() { done <- run(voting, []string{"-name", "org/demo/" + name, "-vote", answer}, env, io.Discard) }()
	}
	for wait := time.Second; ; wait += time.Second / 2 { // until both are there, and quick enough
		var out strings.Builder
		err := run(ctx, []string{"-name", "org/demo/alice", "-of", "org/demo/bob, org/demo/carol,org/demo/dave", "-wait", wait.String(), "lunch?"}, env, &out)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		slices.Sort(lines)
		if err == nil && slices.Equal(lines, []string{"2 for pizza", "org/demo/bob: pizza", "org/demo/carol: pizza", "org/demo/dave has not voted: UNAVAILABLE"}) {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("%v: %q", err, lines)
		}
	}
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if <-nobody == nil {
		t.Error("a poll of nobody is no error")
	}
}
