// Command agent is an agent that answers: to whoever is allowed to ask, in sessions of two, and in groups when it is called by its name.
//
//	export SLIM_SECRET='a secret of all, 32 bytes or more'
//	agent -name org/demo/clock -allow org/demo/alice &
//	p2p -name org/demo/alice -to org/demo/clock time    (examples/p2p)
//
// In a group it answers to "clock: time", and to nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, slog.Default()); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

// agent is what it is called, and what it can.
type agent struct {
	name   string // the last part
	allow  []session.Name
	skills map[string]func(args []string) (string, error)
	log    *slog.Logger
}

func run(ctx context.Context, args []string, env func(string) string, log *slog.Logger) error {
	f := flag.NewFlagSet("agent", flag.ContinueOnError)
	name := f.String("name", "org/demo/clock", "own name")
	allow := f.String("allow", "", "who may ask: names, with commas between; empty: everybody who knows the secret")
	if err := f.Parse(args); err != nil {
		return err
	}
	me, err := session.ParseName(*name)
	if err != nil {
		return err
	}
	a := &agent{name: me.Parts()[2], log: log, skills: map[string]func([]string) (string, error){"time": clock, "sum": sum}}
	for s := range strings.SplitSeq(*allow, ",") {
		if s == "" {
			continue
		}
		n, err := session.ParseName(s)
		if err != nil {
			return err
		}
		a.allow = append(a.allow, n)
	}
	o := session.Options{Name: me, Secret: []byte(env("SLIM_SECRET")), Logger: log}
	if node := env("SLIM_ADDR"); node != "" {
		o.Nodes = []string{node}
	}
	app, err := session.Connect(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = app.Close(context.WithoutCancel(ctx)) }()
	return a.serve(ctx, app)
}

// serve answers in all sessions to which the agent is invited, until ctx ends.
func (a *agent) serve(ctx context.Context, app *session.App) error {
	l, err := app.Listen(session.ListenOptions{Accept: a.accept})
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
					a.log.Info("session is over", "with", s.Moderator(), "why", err)
					return
				}
				if err := a.answer(ctx, m); err != nil {
					a.log.Warn("no answer", "to", m.From, "why", err)
				}
			}
		})
	}
	return nil
}

// accept decides who may ask.
func (a *agent) accept(i *session.Invitation) error {
	if len(a.allow) == 0 || slices.ContainsFunc(a.allow, i.From.Same) {
		return nil
	}
	return fmt.Errorf("%v is not on my list", i.From)
}

// answer answers a question, to who has asked it.
func (a *agent) answer(ctx context.Context, m *session.Message) error {
	question := string(m.Data)
	if m.Session.Kind() == session.Group && !m.Direct {
		called, rest, ok := strings.Cut(question, ":")
		if !ok || strings.TrimSpace(called) != a.name {
			return nil // others are talking
		}
		question = rest
	}
	words := strings.Fields(question)
	if len(words) == 0 {
		return nil
	}
	text := "I do not know how to " + strconv.Quote(words[0])
	if skill, ok := a.skills[words[0]]; ok {
		result, err := skill(words[1:])
		if text = result; err != nil {
			text = "that is wrong: " + err.Error()
		}
	}
	_, err := m.Reply(ctx, session.Text(text))
	return err
}

func clock([]string) (string, error) { return time.Now().UTC().Format(time.TimeOnly + " UTC"), nil }

func sum(args []string) (string, error) {
	total := 0.0
	for _, arg := range args {
		x, err := strconv.ParseFloat(arg, 64)
		if err != nil {
			return "", fmt.Errorf("%q is no number", arg)
		}
		total += x
	}
	return strconv.FormatFloat(total, 'g', -1, 64), nil
}
