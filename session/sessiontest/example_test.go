package sessiontest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// echo is an agent that says what it is told.
func echo(ctx context.Context, o session.Options) error {
	a, err := session.Connect(ctx, o)
	if err != nil {
		return err
	}
	defer a.Close(context.WithoutCancel(ctx))
	l, err := a.Listen(session.ListenOptions{})
	if err != nil {
		return err
	}
	for s, err := range l.Sessions(ctx) {
		if err != nil {
			return err
		}
		for m, err := range s.Messages(ctx) {
			if err != nil {
				return err
			}
			if _, err := m.Reply(ctx, m.Content); err != nil {
				return err
			}
		}
	}
	return nil
}

// An agent is asked something, and the first answer gets lost. In a test, New is given its t, all is in a bubble of
// testing/synctest, and Close is not needed.
func Example() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = echo(ctx, net.Options("org/ns/echo")) }()

	s, err := net.App("org/ns/alice").Open(ctx, session.MustName("org/ns/echo"), session.SessionOptions{Plain: true})
	if err != nil {
		log.Fatal(err)
	}
	net.Drop("org/ns/echo", "org/ns/alice", "msg", 1)
	if _, err := s.Publish(ctx, session.Text("hello")); err != nil {
		log.Fatal(err)
	}
	m, err := s.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", m.Data)
	echoes := net.Log().Where(func(e *sessiontest.Entry) bool { return e.Type == "msg" && e.From != s.Self() })
	for _, e := range echoes.Entries[:2] {
		fmt.Println(e)
	}
	// Output:
	// hello
	// echo → alice ✗dropped        msg 1
	// echo → alice                 msg 1
}
