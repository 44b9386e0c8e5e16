package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench"
)

// Exit codes.
const (
	exitOK      = 0
	exitGate    = 1 // a gate does not hold
	exitInvalid = 2 // usage, or a measurement that failed
)

const usage = `slim-bench measures SLIM nodes from outside.

  slim-bench run SCENARIO… [flags]   measure
  slim-bench list                    scenarios, and the flags each one reads

Examples
  slim-bench run p2p --node 'go run ./cmd/slim --config {config}'
  slim-bench run p2p fanout --node 'ours=slim --config {config}' --versus 'rust=/opt/slim/slim --config {config}'
  slim-bench run p2p --node 'slim --config {config}' --versus 'nats=nats:nats-server -a {host} -p {port}' --size 100,1K
  slim-bench run slow --target 127.0.0.1:46357 --pid 4711

Flags of run
`

// run is the whole program: arguments in, exit code out.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, fs := newOptions()
	command := "help"
	if len(args) > 0 {
		command = args[0]
	}
	var err error
	switch command {
	case "run":
		err = runCommand(ctx, o, fs, args, stdout, stderr)
	case "list":
		list(stdout)
	case "help", "--help", "-h":
		help(stdout, fs)
	default:
		err = fmt.Errorf("no command %q; try slim-bench --help", command)
	}
	switch {
	case errors.Is(err, pflag.ErrHelp):
		help(stdout, fs)
	case errors.Is(err, errGate):
		fmt.Fprintln(stderr, "slim-bench:", err)
		return exitGate
	case err != nil:
		fmt.Fprintln(stderr, "slim-bench:", err)
		return exitInvalid
	}
	return exitOK
}

func help(w io.Writer, fs *pflag.FlagSet) {
	fmt.Fprint(w, usage, fs.FlagUsagesWrapped(110))
}

func list(w io.Writer) {
	for _, s := range bench.Scenarios() {
		fmt.Fprintf(w, "%-8s %s\n", s.Name, s.About)
		fmt.Fprintf(w, "%-8s   flags: --%s\n", "", strings.Join(s.Uses, " --"))
		for _, p := range s.Cases() {
			fmt.Fprintf(w, "%-8s   case:  %s\n", "", s.Label(p))
		}
	}
}

func runCommand(ctx context.Context, o *options, fs *pflag.FlagSet, args []string, stdout, stderr io.Writer) error {
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	gates, limits, err := o.conditions()
	if err != nil {
		return err
	}
	plan, err := o.plan(fs)
	if err != nil {
		return err
	}
	begun := time.Now()
	if !o.quiet {
		plan.Progress = func(s bench.Step) {
			fmt.Fprintf(stderr, "[%6.1fs] %d/%d round %d: %s on %s\n",
				time.Since(begun).Seconds(), s.Number, s.Of, s.Round, s.Case.Label(), s.Target.Name)
		}
	}
	stop, err := profile(o.profile)
	if err != nil {
		return err
	}
	results, failed := plan.Run(ctx)
	failed = errors.Join(failed, stop())
	results.Command = args
	if o.output == "json" {
		err = results.WriteJSON(stdout)
	} else {
		err = results.WriteTable(stdout)
	}
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	var unmet []string
	if len(gates) > 0 {
		unmet = results.Check(gates)
	}
	if unmet = append(unmet, results.CheckLimits(limits)...); len(unmet) > 0 {
		return fmt.Errorf("%w:\n  %s", errGate, strings.Join(unmet, "\n  "))
	}
	return nil
}

// errGate marks a run that is valid but does not fulfil its gates.
var errGate = errors.New("gate does not hold")

// conditions reads --gate and --limit, before anything is measured.
func (o *options) conditions() (gates []bench.Gate, limits []bench.Limit, err error) {
	for _, s := range o.gates {
		g, err := bench.ParseGate(s)
		if err != nil {
			return nil, nil, err
		}
		gates = append(gates, g)
	}
	for _, s := range o.limits {
		l, err := bench.ParseLimit(s)
		if err != nil {
			return nil, nil, err
		}
		limits = append(limits, l)
	}
	return gates, limits, nil
}

// profile writes a CPU profile of this process to the file until the returned function is called. An empty name: none.
func profile(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
