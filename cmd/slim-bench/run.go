package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // a condition does not hold
	exitInvalid = 2 // the command line, or a measurement that shows nothing
)

// command is one word of the command line.
type command struct {
	name, about string
	flags       func(*pflag.FlagSet) any // defines its flags and returns where they go
	run         func(ctx context.Context, p *program, opt any, args []string) error
	examples    string
	hidden      bool
}

// program is one call.
type program struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

func commands() []command {
	return []command{runCommand(), topCommand(), compareCommand(), listCommand(), sendCommand(), receiveCommand(), relayCommand()}
}

const intro = `slim-bench measures SLIM nodes from outside: what they deliver, how late, and what it costs them.

Usage
  slim-bench run SCENARIO… | FILE.yaml… [flags]    measure
  slim-bench run --suite NAME | FILE.yaml [flags]  measure, and judge by conditions
  slim-bench top FILE                              see what a run with --live FILE does
  slim-bench compare OLD.json NEW.json             what changed between two results
  slim-bench list                                  scenarios and suites
  slim-bench receive NAME                          see messages, on this machine or another
  slim-bench send NAME                             send them
  slim-bench COMMAND --help                        flags and examples

Examples
  slim-bench run p2p                               this machine, this build's node
  slim-bench run p2p fanout --target node.example:46357
  slim-bench run --suite smoke --node 'slim --config {config}'
  slim-bench run --suite behaviour --report out    what is no matter of speed, as a page
  slim-bench run p2p --versus 'rust=/opt/slim/slim --config {config}' --versus 'nats=nats:nats-server -a {host} -p {port}'
  slim-bench receive org/demo/bob                  and, in another shell:
  echo hello | slim-bench send org/demo/bob

Exit codes: 0 all conditions hold; 1 one does not; 2 the command line is wrong, or the run shows nothing (the node was
gone, the generator was the limit, too noisy to tell, interrupted).
`

// run is the whole program: arguments in, exit code out.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{args: args, stdin: stdin, stdout: stdout, stderr: stderr}
	err := p.dispatch(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		fmt.Fprintln(stderr, "slim-bench:", err)
		return exitFailed
	}
	fmt.Fprintln(stderr, "slim-bench:", err)
	return exitInvalid
}

func (p *program) dispatch(ctx context.Context) error {
	if len(p.args) == 0 {
		fmt.Fprint(p.stdout, intro)
		return nil
	}
	switch p.args[0] {
	case "help", "--help", "-h":
		fmt.Fprint(p.stdout, intro)
		return nil
	case "--version", "-v", "version":
		b := cli.ReadBuildInfo()
		fmt.Fprintln(p.stdout, "slim-bench", b.Version, b.SHA)
		return nil
	}
	var names []string
	for _, c := range commands() {
		if c.name == p.args[0] {
			return p.call(ctx, c)
		}
		if !c.hidden {
			names = append(names, c.name)
		}
	}
	return fmt.Errorf("no command %q%s (slim-bench --help)", p.args[0], suggest.Hint(p.args[0], names))
}

func newFlags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("slim-bench", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs
}

func (p *program) call(ctx context.Context, c command) error {
	fs := newFlags()
	opt := c.flags(fs)
	switch err := fs.Parse(p.args[1:]); {
	case errors.Is(err, pflag.ErrHelp):
		p.help(c, fs)
		return nil
	case err != nil:
		return flagError(c, fs, err)
	}
	return c.run(ctx, p, opt, fs.Args())
}

func (p *program) help(c command, fs *pflag.FlagSet) {
	fmt.Fprintf(p.stdout, "%s\n\nExamples\n%s", c.about, c.examples)
	if flags := fs.FlagUsagesWrapped(110); flags != "" {
		fmt.Fprintf(p.stdout, "\nFlags\n%s", flags)
	}
}

// flagError names the nearest flag to an unknown one.
func flagError(c command, fs *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return fmt.Errorf("%w (slim-bench %s --help)", err, c.name)
	}
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	name := strings.TrimLeft(unknown.GetSpecifiedName(), "-")
	if len(names) == 0 {
		return fmt.Errorf("no flag --%s: %s has none", name, c.name)
	}
	hint := ""
	if near := suggest.Nearest(name, names); near != "" {
		hint = "; did you mean --" + near + "?"
	}
	return fmt.Errorf("no flag --%s%s (slim-bench %s --help)", name, hint, c.name)
}
