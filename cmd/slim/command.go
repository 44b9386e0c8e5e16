package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// subcommand is what the program does instead of being a node. Upstream's has none: no command of ours begins like a
// flag, and no file is named without one, so its command lines mean what they did.
type subcommand struct {
	usage, help string
	flags       func(*pflag.FlagSet) any // declares the flags, and returns where they are kept
	run         func(p *program, ctx context.Context, flags any, args []string) error
}

// commands by their names.
var commands map[string]*subcommand

func init() { // not a literal: the commands name the table in their errors
	commands = map[string]*subcommand{"health": &healthCommand, "top": &topCommand, "config": &configCommand}
}

// unexpected refuses an argument that stands alone. tip is what helps if it resembles no command.
func unexpected(arg, tip string) error {
	var names []string
	for name := range commands {
		names = append(names, name)
	}
	slices.Sort(names)
	if slices.Contains(names, arg) {
		tip = "the command comes first: 'slim " + arg + "'"
	} else if near := suggest.Nearest(arg, names); near != "" {
		tip = "a similar command exists: '" + near + "'"
	}
	return fmt.Errorf("unexpected argument '%s' found\n\n  tip: %s", arg, tip)
}

// usage is a wrong command line of a command.
type usage struct{ text string }

func (e usage) Error() string { return e.text }

// command runs one of commands. It writes what was asked for to standard output as it is, and waits for who reads it.
func (p *program) command(ctx context.Context, name string, args []string) int {
	c := commands[name]
	p.report.w = p.stderr
	s := pflag.NewFlagSet(name, pflag.ContinueOnError)
	s.SetOutput(io.Discard)
	s.Usage = func() {}
	help := s.BoolP("help", "h", false, "")
	into := c.flags(s)
	err := s.Parse(args)
	switch {
	case err != nil:
		err = usage{usageError(err, s, c.help).Error()}
	case *help:
		io.WriteString(p.stdout, c.help)
		return cli.ExitOK
	default:
		err = c.run(p, ctx, into, s.Args())
	}
	switch e := err.(type) {
	case nil:
		return cli.ExitOK
	case usage:
		fmt.Fprintf(p.stderr, "error: %v\n\nUsage: %s\n\nFor more information, try '--help'.\n", e, c.usage)
		return cli.ExitUsage
	case silent:
	default:
		p.report.failed(err)
	}
	return cli.ExitError
}

// silent is a failure that has been told.
type silent struct{}

func (silent) Error() string { return "it has been told" }
