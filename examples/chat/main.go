// Command chat is a chat of a group, encrypted from end to end. One opens a channel and invites; the others wait.
//
//	export SLIM_SECRET='a secret of all, 32 bytes or more'
//	chat -name org/demo/bob                                       (in one terminal)
//	chat -name org/demo/alice -channel org/demo/chat org/demo/bob (in another)
//
// Each line is said to all. The one who has opened the channel may also type /invite NAME and /remove NAME, and everybody
// /who and /quit.
package main

import (
	"bufio"
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
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env func(string) string, in io.Reader, out io.Writer) error {
	f := flag.NewFlagSet("chat", flag.ContinueOnError)
	name := f.String("name", "org/demo/alice", "own name")
	channel := f.String("channel", "", "channel to open; empty: wait for an invitation")
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
	c := &chat{out: out}
	if *channel == "" {
		err = c.join(ctx, app)
	} else {
		err = c.open(ctx, app, *channel, f.Args())
	}
	if err != nil {
		return err
	}
	return c.talk(ctx, in)
}

// chat is a session and a terminal.
type chat struct {
	s   *session.Session
	mu  sync.Mutex
	out io.Writer // guarded by mu
}

func (c *chat) print(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, format+"\n", args...)
}

// join waits for an invitation.
func (c *chat) join(ctx context.Context, app *session.App) error {
	l, err := app.Listen(session.ListenOptions{})
	if err != nil {
		return err
	}
	if c.s, err = l.Accept(ctx); err != nil {
		return err
	}
	l.Close() // nobody else is to wait
	c.print("* %v has invited to %v", c.s.Moderator(), c.s.Dest())
	return nil
}

// open opens a channel and invites to it.
func (c *chat) open(ctx context.Context, app *session.App, channel string, names []string) error {
	n, err := session.ParseName(channel)
	if err != nil {
		return err
	}
	if c.s, err = app.OpenGroup(ctx, n, session.SessionOptions{}); err != nil {
		return err
	}
	for _, name := range names {
		c.change(ctx, name, c.s.Invite)
	}
	return nil
}

// change invites or removes somebody.
func (c *chat) change(ctx context.Context, name string, do func(context.Context, session.Name) error) {
	n, err := session.ParseName(name)
	if err == nil {
		err = do(ctx, n)
	}
	if err != nil {
		c.print("* %s: %v", name, err)
	}
}

// talk says what is typed and prints what others say, until either ends.
func (c *chat) talk(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() {
		for m, err := range c.s.Messages(ctx) {
			if err == nil {
				c.print("%v: %s", m.From, m.Data)
			}
		}
		if ctx.Err() == nil {
			c.print("* the chat is over: %v", c.s.Err())
		}
	})
	all.Go(func() {
		for e, err := range c.s.Events(ctx) {
			if err == nil {
				c.event(e)
			}
		}
	})
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if quit := c.line(ctx, lines.Text()); quit {
			break
		}
	}
	err := c.s.Close(context.WithoutCancel(ctx))
	return errors.Join(err, lines.Err())
}

func (c *chat) event(e session.Event) {
	switch e := e.(type) {
	case session.Joined:
		c.print("* %v has come", e.Name)
	case session.Left:
		c.print("* %v has gone", e.Name)
	case session.Presence:
		if e.Online {
			c.print("* %v is back", e.Name)
		} else {
			c.print("* %v is offline", e.Name)
		}
	case session.Lost:
		c.print("* %d messages of %v are lost", e.Last-e.First+1, e.From)
	}
}

// line does what a line says, and reports whether it was the last.
func (c *chat) line(ctx context.Context, text string) (quit bool) {
	command, rest, _ := strings.Cut(text, " ")
	switch command {
	case "":
	case "/quit":
		return true
	case "/invite":
		c.change(ctx, rest, c.s.Invite)
	case "/remove":
		c.change(ctx, rest, c.s.Remove)
	case "/who":
		for _, p := range c.s.Participants() {
			c.print("* %v, online: %v", p.Name, p.Online)
		}
	default:
		d, err := c.s.Publish(ctx, session.Text(text))
		if err == nil {
			err = d.Wait(ctx)
		}
		if err != nil {
			c.print("* %v", err)
		}
	}
	return false
}
