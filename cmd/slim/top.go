package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/internal/admin"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// topFlags are those of slim top.
type topFlags struct {
	addr     address
	find     string
	interval time.Duration
	rows     int
	once     bool
	output   string
}

var topCommand = subcommand{
	usage: "slim top [--addr <ADDR>] [--find <TEXT>] [--output <FORM>]",
	help: `Show what a node does, again and again: its connections with their rates, queues and stalls, who holds which name,
which messages died and why, and who was turned away. The node must run with --health.

Usage: slim top [OPTIONS]

Options:
      --addr <ADDR>           Where the node serves --health: PORT or HOST:PORT [default: 127.0.0.1:9464]
      --find <TEXT>           Only what has to do with a text: a name, an address, a user agent, a link, a reason
      --interval <DURATION>   Time between two looks, such as 500ms or 5s [default: 1s]
      --rows <N>              Connections and names that are asked for, 1 to 1000 [default: 200]
      --once                  Look twice, for the rates, print that, and end; so does a standard output that is no terminal
      --output <FORM>         text, or json: one look, with everything the node tells [default: text]
  -h, --help                  Print help

Exit codes: 0 ended by a signal or after its work, 1 the node does not answer, 2 wrong command line.

Examples:
  slim top
  slim top --find org/demo/bob
      Why does this application get nothing?
  slim top --addr 10.0.0.7:9464 --output json
      From elsewhere, which the node allows with --status.
`,
	flags: func(s *pflag.FlagSet) any {
		f := &topFlags{addr: defaultAdmin, interval: time.Second, rows: 200, output: "text"}
		s.Var(&f.addr, "addr", "")
		s.StringVar(&f.find, "find", "", "")
		s.Var(&duration{&f.interval, "--once looks once"}, "interval", "")
		s.Var(&number{&f.rows, 1, 1000}, "rows", "")
		s.BoolVar(&f.once, "once", false, "")
		s.Var(&choice{to: &f.output, words: []string{"text", "json"}}, "output", "")
		return f
	},
	run: func(p *program, ctx context.Context, into any, args []string) error {
		if len(args) > 0 {
			return usage{fmt.Sprintf("unexpected argument '%s' found", args[0])}
		}
		f := into.(*topFlags)
		return p.top(ctx, f, func(ctx context.Context) (*admin.Status, error) {
			return admin.Look(ctx, string(f.addr), f.find, f.rows)
		})
	},
}

// top looks at a node until a signal comes, or once.
func (p *program) top(ctx context.Context, f *topFlags, look func(context.Context) (*admin.Status, error)) error {
	unanswered := func(err error) error { return &failure{context: []string{"cannot look at the node"}, cause: err} }
	first, err := look(ctx)
	switch {
	case err != nil:
		return unanswered(err)
	case f.output == "json":
		return p.printJSON(first)
	}
	signals := newSignals(p)
	defer signals.ignore()
	v := view{before: first}
	if f.once || !p.terminal {
		if !signals.wait(ctx, f.interval) {
			return nil
		}
		st, err := look(ctx)
		if err != nil {
			return unanswered(err)
		}
		_, err = fmt.Fprint(p.stdout, v.draw(st, 160, math.MaxInt))
		return err
	}
	st := first
	cli.Watch(p.stdout, func() bool {
		again := signals.wait(ctx, f.interval)
		if again {
			st, err = look(ctx)
		}
		return again
	}, func() string {
		if err != nil {
			return "no answer: " + err.Error() + "\n"
		}
		columns, rows := p.columns()
		return v.draw(st, columns, rows)
	})
	return nil
}
