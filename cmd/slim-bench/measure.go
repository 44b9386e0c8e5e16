package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/result"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/report"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// runOptions are the flags of run, as given.
type runOptions struct {
	fs         *pflag.FlagSet
	node       string
	versus     []string
	targets    []string
	secure     secureOptions
	transports []string
	stop       bool
	pid        int
	floor      bool
	suite      string
	rounds     int
	maxRounds  int
	require    []string
	required   []result.Condition // require, parsed
	output     string
	report     string
	quiet      bool
	color      string
	profile    string
	params     map[string]*[]string // by key
}

func runCommand() command {
	return command{
		name: "run",
		about: `slim-bench run SCENARIO… [flags] measures a node, or several in turn: every round measures each case on each node, with a
fresh process each time. Without --node and --target it measures this build's own node. A parameter flag with several
values, --size 100,1K, makes a case of each.`,
		examples: `  slim-bench run p2p                                          this build's node
  slim-bench run p2p --size 100,16K --identity fresh --rounds 5
  slim-bench run p2p --rate 2000 --duration 30s               delays at a steady rate
  slim-bench run fanout --target 10.0.0.1:46357 --target 10.0.0.2:46357   publishers on the first, subscribers on the second
  slim-bench run idle --conns 50000 --target 127.0.0.1:46357 --pid $(pidof slim)
  slim-bench run p2p --versus 'base=./slim-old --config {config}' --rounds 5 --max-rounds 15 --require 'node CPU per delivered / base <= 1.1'
  slim-bench run --suite behaviour --node 'slim --config {config}'
  slim-bench run --suite ci --report out                      out/index.html, out/summary.md, out/results.json
`,
		flags: runFlags,
		run: func(ctx context.Context, p *program, opt any, args []string) error {
			return p.measure(ctx, opt.(*runOptions), args)
		},
	}
}

func runFlags(fs *pflag.FlagSet) any {
	o := &runOptions{fs: fs, params: map[string]*[]string{}}
	fs.StringVar(&o.suite, "suite", "", strings.Join(scenario.Suites(), ", ")+", or a file: scenarios with conditions")
	fs.StringVar(&o.node, "node", "", "[NAME=][PROTOCOL:]CMD: start this node for each measurement; {listen}, {host}, {port} and {config} in CMD are replaced. PROTOCOL is nats, or tls, mtls, ws, wss or unix: how {config} makes a SLIM node listen")
	fs.StringArrayVar(&o.versus, "versus", nil, "[NAME=][PROTOCOL:]CMD: another node, measured in turn with the first; base=CMD is an earlier build; may be repeated")
	fs.StringArrayVar(&o.targets, "target", nil, "address of a running node instead of --node: host:port, http://, https://, ws://, wss://, unix:// or nats://; of a cluster: the first for publishers, the others for subscribers")
	o.secure.flags(fs)
	fs.StringSliceVar(&o.transports, "transports", nil, "measure the first node by these as well: "+strings.Join(process.Transports(), ", "))
	fs.IntVar(&o.pid, "pid", 0, "process of --target, to measure its CPU and memory")
	fs.BoolVar(&o.floor, "floor", true, "measure the blind relay beside the nodes, where a scenario allows it: what any node must cost")
	fs.IntVar(&o.rounds, "rounds", 0, "measure everything so often; medians are printed (1, or the suite's)")
	fs.IntVar(&o.maxRounds, "max-rounds", 0, "go on so far with cases whose conditions are unclear (the suite's)")
	fs.StringArrayVar(&o.require, "require", nil, "METRIC <= NUMBER, or METRIC / NODE <= NUMBER (or >=): exit 1 if it does not hold; may be repeated")
	fs.BoolVar(&o.stop, "stop-at-failure", false, "end the run when a condition fails")
	fs.StringVar(&o.output, "output", "table", "how results are printed")
	fs.StringVar(&o.report, "report", "", "folder for a page with plots (index.html), a summary (summary.md) and the results (results.json)")
	fs.BoolVar(&o.quiet, "quiet", false, "no progress on stderr")
	fs.StringVar(&o.color, "color", "auto", "auto, always or never")
	fs.StringVar(&o.profile, "cpuprofile", "", "file for a CPU profile of the load generator itself")
	for _, k := range result.Keys() {
		values := new([]string)
		o.params[k.Name] = values
		if k.Name == "sizes" {
			fs.StringArrayVar(values, k.Name, nil, k.Help) // its commas are its own
		} else {
			fs.StringSliceVar(values, k.Name, nil, k.Help)
		}
		takes(fs, "LIST", k.Name)
	}
	for word, flags := range map[string]string{"MIX": "sizes", "NAME|FILE.yaml": "suite", "CMD": "node versus", "ADDRESS": "target",
		"CONDITION": "require", "TRANSPORTS": "transports", "DIR": "report", "FILE": "cpuprofile", "table|json": "output", "WHEN": "color"} {
		takes(fs, word, strings.Fields(flags)...)
	}
	return o
}

// errFailed marks a valid run in which a condition does not hold.
var errFailed = errors.New("a condition does not hold")

// errInvalid marks a run that shows nothing.
var errInvalid = errors.New("the run is not valid")

func (p *program) measure(ctx context.Context, o *runOptions, args []string) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if !slices.Contains([]string{"auto", "always", "never"}, o.color) {
		return fmt.Errorf("--color %s: want auto, always or never", o.color)
	}
	plan, err := o.cases(args)
	if err != nil {
		return err
	}
	if o.report != "" { // said now, not when hours of measuring would be lost
		if err := report.MakeDir(o.report); err != nil {
			return fmt.Errorf("--report: %w", err)
		}
	}
	clean, err := o.choose(ctx, &plan, p.stderr)
	if err != nil {
		return err
	}
	defer clean()
	show := newProgress(p.stderr, o.quiet)
	plan.Progress, plan.StopAtFailure = show.tell, o.stop
	stop, err := profile(o.profile)
	if err != nil {
		return err
	}
	results, failed := plan.Run(ctx)
	show.done()
	err = stop()
	results.Command, results.Suite = p.args, o.suite
	return errors.Join(p.print(results, o), err, verdict(results, failed, o.output == "table"))
}

// print writes the results in the form that was asked for.
func (p *program) print(r *result.Results, o *runOptions) error {
	var err error
	if o.output == "json" {
		err = r.WriteJSON(p.stdout)
	} else {
		err = report.WriteTable(p.stdout, r, o.color == "always" || o.color == "auto" && cli.IsTerminal(p.stdout))
	}
	if o.report != "" {
		failed := report.WriteDir(o.report, r)
		if failed == nil {
			fmt.Fprintln(p.stderr, "report:", filepath.Join(o.report, "index.html"))
		}
		err = errors.Join(err, failed)
	}
	return err
}

// verdict turns results into the error that decides the exit code. A condition that fails in what was measured counts
// more than doubt elsewhere, but nothing counts in a run that was cut short. What a table has told is not told again.
func verdict(r *result.Results, failed error, table bool) error {
	bad := r.Failed()
	err, why := errInvalid, r.Invalid
	switch {
	case errors.Is(failed, context.Canceled):
		return fmt.Errorf("%w: interrupted", errInvalid)
	case failed != nil:
		why = strings.Split(failed.Error(), "\n")
	case len(bad) > 0:
		err, why = errFailed, nil
		for _, v := range bad {
			why = append(why, v.String())
		}
	case r.Valid:
		return nil
	}
	if table {
		return fmt.Errorf("%w (see above)", err)
	}
	return fmt.Errorf("%w:\n  %s", err, strings.Join(why, "\n  "))
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
