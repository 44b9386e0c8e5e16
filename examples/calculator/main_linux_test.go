package main

import (
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
)

func TestCalculator(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Shutdown(context.WithoutCancel(ctx))
	env := func(name string) string {
		return map[string]string{"SLIM_SECRET": "a secret of both, 32 bytes or more", "SLIM_ADDR": n.Addrs()[0].String()}[name]
	}
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- run(serving, nil, env, nil) }()
	for n.Stats().Names == 0 && ctx.Err() == nil { // else alice asks for the calculator a second later
		time.Sleep(time.Millisecond)
	}
	var out strings.Builder
	if err := run(ctx, []string{"-name", "org/demo/alice", "-of", "org/demo/calculator", "1", "2", "3"}, env, &out); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-name", "alice"}, {"-of", "calculator"}, {"-of", "org/demo/calculator", "x"}} {
		args = append([]string{"-name", "org/demo/bob"}, args...)
		err := run(ctx, args, env, io.Discard)
		if wrong := args[len(args)-1]; err == nil || !strings.Contains(err.Error(), strconv.Quote(wrong)) || strings.Contains(err.Error(), "strconv") {
			t.Errorf("%q: %v", args, err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	const want = "number 1\nnumber 2\nnumber 3\nso far 1\nso far 3\nso far 6\nsum 6\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
