// Command p2p is an app that answers, and one that asks: a session of two, encrypted from end to end.
//
//	export SLIM_SECRET='a secret of both, 32 bytes or more'
//	p2p -name org/demo/bob &
//	p2p -name org/demo/alice -to org/demo/bob hello
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/seed31b3bfd0/slimgo/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "p2p:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, out io.Writer) error {
	f := flag.NewFlagSet("p2p", flag.ContinueOnError)
	name := f.String("name", "org/demo/bob", "own name")
	to := f.String("to", "", "whom to ask; empty: answer others")
	count := f.Int("count", 0, "answer so many sessions; 0: until interrupted")
	if err := f.Parse(args); err != nil {
		return err
	}
	me, err := session.ParseName(*name)
	if err != nil {
		return err
	}
	o := session.Options{Name: me, Secret: []byte(env("SLIM_SECRET")), Logger: slog.Default()}
	if node := env("SLIM_ADDR"); node != "" {
		o.Nodes = []string{node}
	}
	app, err := session.Connect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = app.Close(context.WithoutCancel(ctx)) }()
	if *to == "" {
		return answer(ctx, app, *count, out)
	}
	peer, err := session.ParseName(*to)
	if err != nil {
		return err
	}
	return ask(ctx, app, peer, strings.Join(f.Args(), " "), out)
}

// answer answers everything that anybody says.
func answer(ctx context.Context, app *session.App, count int, out io.Writer) error {
	l, err := app.Listen(session.ListenOptions{})
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	defer all.Wait()
	for s, err := range l.Sessions(ctx) {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		all.Go(func() {
			for m, err := range s.Messages(ctx) {
				if err != nil {
					return
				}
				fmt.Fprintf(out, "%v: %s\n", m.From, m.Data)
				if _, err := m.Reply(ctx, session.Text(strings.ToUpper(string(m.Data)))); err != nil {
					return
				}
			}
		})
		if count--; count == 0 {
			return nil
		}
	}
	return nil
}

// ask says one thing, and prints the answer.
func ask(ctx context.Context, app *session.App, peer session.Name, text string, out io.Writer) error {
	s, err := app.Open(ctx, peer, session.SessionOptions{})
	if err != nil {
		return err
	}
	if _, err := s.Publish(ctx, session.Text(text)); err != nil {
		return err
	}
	m, err := s.Receive(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%v: %s\n", m.From, m.Data)
	return s.Close(ctx)
}
