//go:build linux

// Command embedded is a node and two apps in one process: the apps talk through memory, encrypted from end to end, and others may
// connect to the node meanwhile.
//
//	embedded -listen 127.0.0.1:46357 hello
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "embedded:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	f := flag.NewFlagSet("embedded", flag.ContinueOnError)
	listen := f.String("listen", "", "where others can connect, HOST:PORT; empty: nowhere")
	if err := f.Parse(args); err != nil {
		return err
	}
	var o router.Options
	if *listen != "" {
		o.Listen = []string{*listen}
	}
	node, err := router.Start(ctx, o)
	if err != nil {
		return err
	}
	// What is deferred runs in the reverse order: first the apps end, then the node.
	defer func() { _ = node.Shutdown(context.WithoutCancel(ctx)) }()

	bob, err := connect(ctx, node, "org/demo/bob")
	if err != nil {
		return err
	}
	defer func() { _ = bob.Close(context.WithoutCancel(ctx)) }()
	l, err := bob.Listen(session.ListenOptions{})
	if err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() { heard <- answer(ctx, l) }()

	alice, err := connect(ctx, node, "org/demo/alice")
	if err != nil {
		return err
	}
	defer func() { _ = alice.Close(context.WithoutCancel(ctx)) }()
	s, err := alice.Open(ctx, bob.Name(), session.SessionOptions{})
	if err != nil {
		return err
	}
	if _, err := s.Publish(ctx, session.Text(strings.Join(f.Args(), " "))); err != nil {
		return err
	}
	m, err := s.Receive(ctx)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%v: %s\n", m.From, m.Data)
	return <-heard
}

func connect(ctx context.Context, node *router.Node, name string) (*session.App, error) {
	return session.Connect(ctx, session.Options{
		Name: session.MustName(name), Secret: []byte("a secret of both, 32 bytes or more"), InProcess: node,
	})
}

// answer answers the first message of the first session.
func answer(ctx context.Context, l *session.Listener) error {
	s, err := l.Accept(ctx)
	if err != nil {
		return err
	}
	m, err := s.Receive(ctx)
	if err != nil {
		return err
	}
	d, err := m.Reply(ctx, session.Text(strings.ToUpper(string(m.Data))))
	if err != nil {
		return err
	}
	return d.Wait(ctx)
}
