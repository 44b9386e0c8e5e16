package session_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// The examples of this file have a network in memory, which a program has not: it connects with session.Connect to a node.

// must is for examples: programs look at errors.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// serve has an app take what comes, and do this with each message.
func serve(app *session.App, do func(m *session.Message)) {
	l := must(app.Listen(session.ListenOptions{}))
	go func() {
		for s := range l.Sessions(context.Background()) {
			go func() {
				for m, err := range s.Messages(context.Background()) {
					if err != nil { // it was removed, for instance
						return
					}
					do(m)
				}
			}()
		}
	}()
}

// echo has an app say what it is told.
func echo(app *session.App) {
	serve(app, func(m *session.Message) { must(m.Reply(context.Background(), m.Content)) })
}

// What an app is made with. Of a node there is an address, and of the secret all who are to believe each other know it.
func ExampleConnect() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	o := net.Options("org/demo/alice") // a program has Nodes in the place of this network
	o.Secret = []byte("a secret of all, 32 bytes or more")
	app, err := session.Connect(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close(ctx)
	fmt.Println(app.Name(), len(app.Name().ID()))
	// Output: org/demo/alice 36
}

// A question and its answer, encrypted from end to end.
func ExampleApp_Open() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	echo(bob)

	s, err := alice.Open(ctx, session.MustName("org/demo/bob"), session.SessionOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close(ctx)
	must(s.Publish(ctx, session.Content{Data: []byte(`{"question":6}`), Type: "application/json"}))
	m := must(s.Receive(ctx))
	fmt.Printf("%v says %s, of type %s; encrypted: %v\n", m.From, m.Data, m.Type, s.Encrypted())
	// Output: org/demo/bob says {"question":6}, of type application/json; encrypted: true
}

// An app that talks to itself finds out whether it still answers.
func ExampleApp_Open_itself() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	agent := net.App("org/demo/agent")
	echo(agent)

	alive := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s, err := agent.Open(ctx, agent.Name(), session.SessionOptions{})
		if err != nil {
			return err
		}
		defer s.Close(ctx)
		if _, err := s.Publish(ctx, session.Text("are you there?")); err != nil {
			return err
		}
		_, err = s.Receive(ctx)
		return err
	}
	fmt.Println(alive())
	// Output: <nil>
}

// An app is found under further names.
func ExampleApp_Subscribe() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	weather := session.MustName("org/services/weather")
	check(bob.Subscribe(ctx, weather))
	echo(bob)

	s := must(alice.Open(ctx, weather, session.SessionOptions{}))
	fmt.Println(s.Participants()[1].Name)
	check(s.Close(ctx))
	check(bob.Unsubscribe(ctx, weather))
	// Output: org/services/weather
}

// An app with a Store is stopped, started again, and goes on.
func ExampleApp_Sessions() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	echo(net.App("org/demo/bob"))

	store := new(session.MemoryStore) // programs have a file: package session/sqlite
	withStore := func(o *session.Options) {
		o.Store, o.StoreKey = store, make([]byte, session.StoreKeySize) // and random bytes
	}
	alice := net.App("org/demo/alice", withStore)
	must(alice.Open(ctx, session.MustName("org/demo/bob"), session.SessionOptions{}))
	check(alice.Stop(ctx))

	alice = net.App("org/demo/alice", withStore)
	for _, s := range alice.Sessions() {
		must(s.Publish(ctx, session.Text("back again")))
		fmt.Printf("%s\n", must(s.Receive(ctx)).Data)
	}
	// Output: back again
}

// Stop leaves the sessions as they are, and Close ends them.
func ExampleApp_Stop() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	echo(bob)
	s := must(alice.Open(ctx, bob.Name(), session.SessionOptions{}))

	check(alice.Stop(ctx))
	check(bob.Stop(ctx))
	fmt.Println(s.Err())
	fmt.Println(errors.Is(s.Err(), session.ErrClosed))
	// Output:
	// the session is closed: the app is stopped
	// true
}

// A server: each session is served by itself.
func ExampleListener_Sessions() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")

	l := must(bob.Listen(session.ListenOptions{}))
	go func() {
		for s, err := range l.Sessions(ctx) {
			if err != nil {
				return
			}
			go func() {
				for m, err := range s.Messages(ctx) {
					if err != nil {
						return
					}
					_, _ = m.Reply(ctx, session.Text("you said "+string(m.Data)))
				}
			}()
		}
	}()

	s := must(alice.Open(ctx, bob.Name(), session.SessionOptions{}))
	must(s.Publish(ctx, session.Text("hello")))
	fmt.Printf("%s\n", must(s.Receive(ctx)).Data)
	// Output: you said hello
}

// One session, and no other.
func ExampleListener_Accept() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	l := must(bob.Listen(session.ListenOptions{}))

	must(alice.Open(ctx, bob.Name(), session.SessionOptions{Metadata: map[string]string{"topic": "tea"}}))
	s := must(l.Accept(ctx))
	l.Close()
	fmt.Println(s.Moderator(), s.Metadata()["topic"])
	// Output: org/demo/alice tea
}

// A moderator invites, sees who is there, and removes.
func ExampleSession_Invite() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice := net.App("org/demo/alice")
	for _, name := range []string{"org/demo/bob", "org/demo/carol"} {
		echo(net.App(name))
	}
	g := must(alice.OpenGroup(ctx, session.MustName("org/demo/channel"), session.SessionOptions{}))
	for _, name := range []string{"org/demo/bob", "org/demo/carol"} {
		if err := g.Invite(ctx, session.MustName(name)); err != nil {
			log.Fatal(err) // errors.Is: ErrTimeout, ErrDeclined, ErrMember, ErrUnauthorized
		}
	}
	for _, p := range g.Participants() {
		fmt.Println(p.Name, p.Online)
	}
	// Output:
	// org/demo/alice true
	// org/demo/bob true
	// org/demo/carol true
}

// Who is removed reads nothing any more, and gets to know it.
func ExampleSession_Remove() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	l := must(bob.Listen(session.ListenOptions{}))
	g := must(alice.OpenGroup(ctx, session.MustName("org/demo/channel"), session.SessionOptions{}))
	check(g.Invite(ctx, bob.Name()))
	s := must(l.Accept(ctx))

	check(g.Remove(ctx, bob.Name()))
	<-s.Done()
	fmt.Println(errors.Is(s.Err(), session.ErrRemoved), len(g.Participants()))
	// Output: true 1
}

// A member of a group says something to one other.
func ExampleSession_PublishTo() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob, carol := net.App("org/demo/alice"), net.App("org/demo/bob"), net.App("org/demo/carol")
	heard := make(chan string)
	for _, app := range []*session.App{bob, carol} {
		serve(app, func(m *session.Message) {
			heard <- fmt.Sprintf("%v hears %q, for it alone: %v", app.Name(), m.Data, m.Direct)
		})
	}
	g := must(alice.OpenGroup(ctx, session.MustName("org/demo/channel"), session.SessionOptions{}))
	check(g.Invite(ctx, bob.Name()))
	check(g.Invite(ctx, carol.Name()))

	must(g.PublishTo(ctx, carol.Name(), session.Text("psst")))
	fmt.Println(<-heard)
	// Output: org/demo/carol hears "psst", for it alone: true
}

// Messages come one after the other, as long as the context lets them.
func ExampleSession_Receive() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	echo(bob)
	s := must(alice.Open(ctx, bob.Name(), session.SessionOptions{}))

	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, err := s.Receive(short)
	fmt.Println(err)
	must(s.Publish(ctx, session.Text("hello")))
	m := must(s.Receive(ctx))
	fmt.Printf("%s from %v, whose token names it: %v\n", m.Data, m.From, m.Subject == bob.Subject())
	// Output:
	// context deadline exceeded
	// hello from org/demo/bob, whose token names it: true
}

// A loop over messages ends with the session; an error says that this was in no orderly way.
func ExampleSession_Messages() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	l := must(bob.Listen(session.ListenOptions{}))
	s := must(alice.Open(ctx, bob.Name(), session.SessionOptions{}))
	for _, text := range []string{"one", "two", "three"} {
		must(s.Publish(ctx, session.Text(text)))
	}
	check(s.Close(ctx)) // when all was delivered

	for m, err := range must(l.Accept(ctx)).Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d: %s\n", m.ID, m.Data)
	}
	// Output:
	// 1: one
	// 2: two
	// 3: three
}

// An answer goes to who has asked, also in a group.
func ExampleMessage_Reply() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	serve(bob, func(m *session.Message) {
		must(m.Reply(ctx, session.Text("42")))
	})
	g := must(alice.OpenGroup(ctx, session.MustName("org/demo/channel"), session.SessionOptions{}))
	check(g.Invite(ctx, bob.Name()))
	must(g.Publish(ctx, session.Text("6 times 7?")))
	m := must(g.Receive(ctx))
	fmt.Printf("%v: %s\n", m.From, m.Data)
	// Output: org/demo/bob: 42
}

// With AtLeastOnce a message comes again after a restart, until it is said to be handled.
func ExampleMessage_Handled() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice := net.App("org/demo/alice")
	store := new(session.MemoryStore)
	again := func(o *session.Options) {
		o.Store, o.StoreKey, o.AtLeastOnce = store, make([]byte, session.StoreKeySize), true
	}
	bob := net.App("org/demo/bob", again)
	l := must(bob.Listen(session.ListenOptions{}))
	s := must(alice.Open(ctx, bob.Name(), session.SessionOptions{}))
	for _, text := range []string{"pay the bill", "water the plants"} {
		check(must(s.Publish(ctx, session.Text(text))).Wait(ctx))
	}
	work := must(l.Accept(ctx))
	must(work.Receive(ctx)).Handled()
	must(work.Receive(ctx)) // and bob is stopped in the midst of it
	check(bob.Stop(ctx))

	bob = net.App("org/demo/bob", again)
	fmt.Printf("%s\n", must(bob.Sessions()[0].Receive(ctx)).Data)
	// Output: water the plants
}

// A member that goes away for a while, and comes back.
func ExampleSession_Suspend() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	l := must(bob.Listen(session.ListenOptions{}))
	g := must(alice.OpenGroup(ctx, session.MustName("org/demo/channel"), session.SessionOptions{}))
	check(g.Invite(ctx, bob.Name()))
	s := must(l.Accept(ctx))

	check(s.Suspend(ctx)) // nobody waits for bob now
	fmt.Println(g.Participants()[1].Online)
	check(s.Resume(ctx))
	fmt.Println(g.Participants()[1].Online)
	// Output:
	// false
	// true
}

// Resume says that nobody has let the app in anew, where that is so.
func ExampleSession_Resume() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	l := must(bob.Listen(session.ListenOptions{}))
	g := must(alice.OpenGroup(ctx, session.MustName("org/demo/channel"), session.SessionOptions{}))
	check(g.Invite(ctx, bob.Name()))
	s := must(l.Accept(ctx))

	fmt.Println(s.Resume(ctx)) // it was not away
	check(s.Suspend(ctx))
	fmt.Println(s.Resume(ctx))
	// Output:
	// this member is going or coming, or where it is to go already
	// <nil>
}

// Close waits until what was published is acknowledged, and the others know.
func ExampleSession_Close() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	l := must(bob.Listen(session.ListenOptions{}))
	s := must(alice.Open(ctx, bob.Name(), session.SessionOptions{}))
	must(s.Publish(ctx, session.Text("the last word")))
	check(s.Close(ctx))

	other := must(l.Accept(ctx))
	fmt.Printf("%s\n", must(other.Receive(ctx)).Data)
	_, err := other.Receive(ctx)
	fmt.Println(err)
	// Output:
	// the last word
	// the session is closed
}

// A Delivery says what has become of a message, and an error, who has not got it.
func ExampleDelivery_Wait() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	echo(bob)
	s := must(alice.Open(ctx, bob.Name(), session.SessionOptions{Interval: 100 * time.Millisecond, Retries: 30}))

	d := must(s.Publish(ctx, session.Text("hello")))
	fmt.Println(d.Wait(ctx))
	net.Partition("org/demo/bob") // nothing comes through
	d = must(s.Publish(ctx, session.Text("are you there?")))
	var lost *session.NotDelivered
	if errors.As(d.Wait(ctx), &lost) {
		fmt.Println("missing:", lost.Missing[0])
	}
	net.Heal()
	// Output:
	// <nil>
	// missing: org/demo/bob
}

// Events are what happens beside messages.
func ExampleSession_NextEvent() {
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alice, bob := net.App("org/demo/alice"), net.App("org/demo/bob")
	echo(bob)
	g := must(alice.OpenGroup(ctx, session.MustName("org/demo/channel"), session.SessionOptions{Plain: true}))
	check(g.Invite(ctx, bob.Name()))
	if e, ok := must(g.NextEvent(ctx)).(session.Joined); ok {
		fmt.Println(e.Name, "has come")
	}
	// Output: org/demo/bob has come
}

// Names are compared, and are keys of maps; those of two instances of an app differ.
func ExampleParseName() {
	n, err := session.ParseName("org/demo/alice")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, n.ID() == "", n == session.MustName("org/demo/alice"))
	_, err = session.ParseName("alice")
	fmt.Println(err)
	// Output:
	// org/demo/alice true true
	// options are wrong: name "alice": want org/namespace/app
}
