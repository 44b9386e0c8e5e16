package session_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
)

// startNode starts a node in this process; programs have one elsewhere.
func startNode(ctx context.Context) (url string, stop func()) {
	n, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		log.Fatal(err)
	}
	return "http://" + n.Addrs()[0].String(), func() { _ = n.Shutdown(ctx) }
}

func connect(ctx context.Context, node, name string) *session.App {
	app, err := session.Connect(ctx, session.Options{
		Name: session.MustName(name), Secret: []byte("a secret of all, 32 bytes or more"), Nodes: []string{node},
	})
	if err != nil {
		log.Fatal(err)
	}
	return app
}

// Two apps talk, encrypted from end to end.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node, stop := startNode(ctx)
	defer stop()

	bob := connect(ctx, node, "org/demo/bob")
	defer bob.Close(ctx)
	listener, err := bob.Listen(session.ListenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		s, err := listener.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		for m, err := range s.Messages(ctx) {
			if err != nil {
				log.Fatal(err)
			}
			if _, err := m.Reply(ctx, session.Text("hello, "+m.From.String())); err != nil {
				log.Fatal(err)
			}
		}
	}()

	alice := connect(ctx, node, "org/demo/alice")
	defer alice.Close(ctx)
	s, err := alice.Open(ctx, session.MustName("org/demo/bob"), session.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.Publish(ctx, session.Text("hello, bob")); err != nil {
		log.Fatal(err)
	}
	m, err := s.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v says %q\n", m.From, m.Data)
	// Output: org/demo/bob says "hello, org/demo/alice"
}

// An app in the process of its node needs no socket; others may be elsewhere.
func Example_inProcess() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node, err := router.Start(ctx, router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "example"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Shutdown(ctx)

	bob, err := session.Connect(ctx, session.Options{
		Name: session.MustName("org/demo/bob"), Secret: []byte("a secret of all, 32 bytes or more"), InProcess: node,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close(ctx)
	listener, err := bob.Listen(session.ListenOptions{})
	if err != nil {
		log.Fatal(err)
	}

	alice := connect(ctx, "http://"+node.Addrs()[0].String(), "org/demo/alice")
	defer alice.Close(ctx)
	s, err := alice.Open(ctx, session.MustName("org/demo/bob"), session.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.Publish(ctx, session.Text("hello, bob")); err != nil {
		log.Fatal(err)
	}
	heard, err := listener.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	m, err := heard.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%v says %q\n", m.From, m.Data)
	// Output: org/demo/alice says "hello, bob"
}

// A moderator opens a group, invites, and says something to all.
func ExampleApp_OpenGroup() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node, stop := startNode(ctx)
	defer stop()

	said := make(chan string)
	for _, name := range []string{"org/demo/bob", "org/demo/carol"} {
		app := connect(ctx, node, name)
		defer app.Close(ctx)
		listener, err := app.Listen(session.ListenOptions{})
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			for s := range listener.Sessions(ctx) {
				for m := range s.Messages(ctx) {
					said <- fmt.Sprintf("%v heard %q", s.Self(), m.Data)
				}
			}
		}()
	}

	alice := connect(ctx, node, "org/demo/alice")
	defer alice.Close(ctx)
	g, err := alice.OpenGroup(ctx, session.MustName("org/demo/chat"), session.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"org/demo/bob", "org/demo/carol"} {
		if err := g.Invite(ctx, session.MustName(name)); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := g.Publish(ctx, session.Text("hello, all")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-said)
	fmt.Println(<-said)
	for _, p := range g.Participants() {
		fmt.Println(p.Name, p.Online)
	}
	// Unordered output:
	// org/demo/bob heard "hello, all"
	// org/demo/carol heard "hello, all"
	// org/demo/alice true
	// org/demo/bob true
	// org/demo/carol true
}

// Who is invited decides, and says why not.
func ExampleApp_Listen() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node, stop := startNode(ctx)
	defer stop()

	bob := connect(ctx, node, "org/demo/bob")
	defer bob.Close(ctx)
	friend := session.MustName("org/demo/carol")
	_, err := bob.Listen(session.ListenOptions{Accept: func(i *session.Invitation) error {
		if !i.From.Same(friend) {
			return errors.New("we have not met")
		}
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}

	alice := connect(ctx, node, "org/demo/alice")
	defer alice.Close(ctx)
	_, err = alice.Open(ctx, session.MustName("org/demo/bob"), session.SessionOptions{})
	var declined *session.Declined
	if errors.As(err, &declined) {
		fmt.Println("declined:", declined.Reason)
	}
	// Output: declined: we have not met
}

// Many messages can be on their way; each Delivery says what has become of one.
func ExampleSession_Publish() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node, stop := startNode(ctx)
	defer stop()

	bob := connect(ctx, node, "org/demo/bob")
	defer bob.Close(ctx)
	if _, err := bob.Listen(session.ListenOptions{}); err != nil {
		log.Fatal(err)
	}

	alice := connect(ctx, node, "org/demo/alice")
	defer alice.Close(ctx)
	s, err := alice.Open(ctx, session.MustName("org/demo/bob"), session.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	var deliveries []*session.Delivery
	for i := range 1000 {
		d, err := s.Publish(ctx, session.Content{Data: fmt.Appendf(nil, `{"step":%d}`, i), Type: "application/json"})
		if err != nil {
			log.Fatal(err)
		}
		deliveries = append(deliveries, d)
	}
	delivered := 0
	for _, d := range deliveries {
		var missing *session.NotDelivered
		switch err := d.Wait(ctx); {
		case err == nil:
			delivered++
		case errors.As(err, &missing):
			fmt.Println("not delivered to", missing.Missing)
		default:
			log.Fatal(err)
		}
	}
	fmt.Println(delivered, "delivered")
	// Output: 1000 delivered
}

// Events tell what happens in a session beside messages.
func ExampleSession_Events() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	node, stop := startNode(ctx)
	defer stop()

	bob := connect(ctx, node, "org/demo/bob")
	defer bob.Close(ctx)
	if _, err := bob.Listen(session.ListenOptions{}); err != nil {
		log.Fatal(err)
	}

	alice := connect(ctx, node, "org/demo/alice")
	defer alice.Close(ctx)
	g, err := alice.OpenGroup(ctx, session.MustName("org/demo/chat"), session.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if err := g.Invite(ctx, bob.Name()); err != nil {
		log.Fatal(err)
	}
	if err := g.Remove(ctx, bob.Name()); err != nil {
		log.Fatal(err)
	}
	if err := g.Close(ctx); err != nil {
		log.Fatal(err)
	}
	for e := range g.Events(ctx) {
		switch e := e.(type) {
		case session.Joined:
			fmt.Println(e.Name, "has come")
		case session.Left:
			fmt.Println(e.Name, "has gone")
		case session.Presence:
			fmt.Println(e.Name, "is online:", e.Online)
		}
	}
	// Output:
	// org/demo/bob has come
	// org/demo/bob has gone
}
