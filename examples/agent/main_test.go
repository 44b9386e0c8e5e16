package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
)

func TestAgent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Shutdown(ctx)
	env := func(name string) string {
		return map[string]string{"SLIM_SECRET": "a secret of all, 32 bytes or more", "SLIM_ADDR": n.Addrs()[0].String()}[name]
	}
	serving, interrupt := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- run(serving, []string{"-name", "org/demo/adder", "-allow", "org/demo/alice,org/demo/carol"}, env, slog.New(slog.DiscardHandler))
	}()
	for n.Stats().Names == 0 && ctx.Err() == nil { // else alice asks for the agent a second later
		time.Sleep(time.Millisecond)
	}
	connect := func(name string) *session.App {
		app, err := session.Connect(ctx, session.Options{
			Name: session.MustName(name), Secret: []byte(env("SLIM_SECRET")), Nodes: []string{env("SLIM_ADDR")},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = app.Close(ctx) })
		return app
	}
	alice, mallory := connect("org/demo/alice"), connect("org/demo/mallory")
	adder := session.MustName("org/demo/adder")
	ask := func(s *session.Session, question, want string) {
		t.Helper()
		if _, err := s.Publish(ctx, session.Text(question)); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Receive(ctx); err != nil || string(m.Data) != want || !m.From.Same(adder) {
			t.Errorf("%s: %v, %v, want %s", question, m, err, want)
		}
	}

	two, err := alice.Open(ctx, adder, session.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ask(two, "sum 1 2 3.5", "6.5")
	ask(two, "sum one", `that is wrong: "one" is no number`)
	ask(two, "sing", `I do not know how to "sing"`)
	if err := two.Close(ctx); err != nil {
		t.Error(err)
	}

	group, err := alice.OpenGroup(ctx, session.MustName("org/demo/room"), session.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := group.Invite(ctx, adder); err != nil {
		t.Fatal(err)
	}
	for _, talk := range []string{"sum 1 1", "clock: time"} { // not for the agent
		if _, err := group.Publish(ctx, session.Text(talk)); err != nil {
			t.Fatal(err)
		}
	}
	ask(group, "adder: sum 20 22", "42")
	if err := group.Close(ctx); err != nil {
		t.Error(err)
	}

	_, err = mallory.Open(ctx, adder, session.SessionOptions{})
	if !errors.Is(err, session.ErrDeclined) || !strings.Contains(err.Error(), "not on my list") {
		t.Errorf("mallory: %v, want that it is declined", err)
	}
	interrupt()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
