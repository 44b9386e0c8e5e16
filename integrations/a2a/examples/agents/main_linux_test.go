package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

const (
	secret = "a secret of both, 32 bytes or more"
	spelt  = "task working\nword To\nword Rome\nword by\nword train\ntask completed\n"
)

// node starts a node, and returns an environment for its apps.
func node(t *testing.T, ctx context.Context) (env func(string) string) {
	t.Helper()
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Shutdown(context.Background()) })
	return func(name string) string {
		return map[string]string{"SLIM_SECRET": secret, "SLIM_ADDR": n.Addrs()[0].String()}[name]
	}
}

// serving runs the agent until the test is over.
func serving(t *testing.T, ctx context.Context, env func(string) string) {
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- run(ctx, nil, env, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAgents(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	env := node(t, ctx)
	serving(t, ctx, env)
	var out strings.Builder
	for { // the agent may not be there yet
		out.Reset()
		err := run(ctx, []string{"-name", "org/demo/alice", "-of", "org/demo/speller", "To", "Rome", "by", "train"}, env, &out)
		if err == nil {
			break
		}
		if !errors.Is(err, rpc.Unavailable) || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if out.String() != spelt {
		t.Errorf("%q, want %q", out.String(), spelt)
	}
}
