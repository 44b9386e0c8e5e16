package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/report"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
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
	require    []string
	required   []result.Condition // require, parsed
	outputs    []string
	report     string
	live       string
	quiet      bool
	params     map[string]*[]string // by key
}

func (p *program) runCommand() *cobra.Command {
	o := new(runOptions)
	c := &cobra.Command{
		Use: "run SCENARIO…",
		Long: `slim-bench run SCENARIO… [flags] measures a node, or several in turn: every round measures each case on each node, with a
fresh process each time. Without --node and --target it measures this build's own node. A parameter flag with several
values, --size 100,1K, makes a case of each.`,
		Example: `  slim-bench run p2p                                          this build's node
  slim-bench run p2p --size 100,16K --identity fresh --rounds 5
  slim-bench run p2p --rate 2000 --duration 30s               delays at a steady rate
  slim-bench run fanout --target 10.0.0.1:46357 --target 10.0.0.2:46357   publishers on the first, subscribers on the second
  slim-bench run idle --conns 50000 --target 127.0.0.1:46357 --pid $(pidof slim)
  slim-bench run p2p --versus 'base=./slim-old --config {config}' --rounds 5 --max-rounds 15 --require 'node CPU per delivered / base <= 1.1'
  slim-bench run --suite behaviour --node 'slim --config {config}'
  slim-bench run --suite ci --report out                      out/index.html, out/summary.md, out/results.json
  slim-bench run p2p --output text --output prometheus=/var/lib/node_exporter/bench.prom --output hdr=p2p.hlog
`,
		RunE: func(c *cobra.Command, args []string) error { return p.measure(c.Context(), o, args) },
	}
	o.flags(c.Flags())
	return c
}

func (o *runOptions) flags(fs *pflag.FlagSet) {
	o.fs, o.params = fs, map[string]*[]string{}
	fs.StringVar(&o.suite, "suite", "", "`NAME|FILE.yaml`: "+strings.Join(scenario.Suites(), ", ")+
		", or a file: scenarios with conditions")
	fs.StringVar(&o.node, "node", "", "[NAME=][PROTOCOL:]`CMD`: start this node for each measurement; {listen}, {host}, {port} and "+
		"{config} in CMD are replaced. PROTOCOL is tls, mtls, ws, wss or unix: how {config} makes the node listen")
	fs.StringArrayVar(&o.versus, "versus", nil, "[NAME=][PROTOCOL:]`CMD`: another node, measured in turn with the first; base=CMD is an "+
		"earlier build; may be repeated")
	fs.StringArrayVar(&o.targets, "target", nil, "`ADDRESS` of a running node instead of --node: host:port, http://, https://, ws://, "+
		"wss:// or unix://; of a cluster: the first for publishers, the others for subscribers")
	o.secure.flags(fs)
	fs.StringSliceVar(&o.transports, "transports", nil, "measure the first node by these `TRANSPORTS` as well: "+
		strings.Join(process.Transports(), ", "))
	fs.IntVar(&o.pid, "pid", 0, "process of --target, to measure its CPU and memory")
	fs.BoolVar(&o.floor, "floor", true, "measure the blind relay beside the nodes, where a scenario allows it: what any node must cost")
	fs.Int("rounds", 0, "measure everything so often; medians are printed (1, or the suite's)")
	fs.Int("max-rounds", 0, "go on so far with cases whose conditions are unclear (the suite's)")
	fs.StringArrayVar(&o.require, "require", nil, "`CONDITION`: METRIC <= NUMBER, or METRIC / NODE <= NUMBER (or >=): exit 1 if it does not "+
		"hold; may be repeated")
	fs.BoolVar(&o.stop, "stop-at-failure", false, "end the run when a condition fails")
	outputFlag(fs, &o.outputs)
	fs.StringVar(&o.report, "report", "", "folder `DIR` for a page (index.html), a summary (summary.md) and the results (results.json)")
	fs.StringVar(&o.live, "live", "", "`FILE` that is kept up to date while the run goes on, for slim-bench top")
	fs.BoolVar(&o.quiet, "quiet", false, "no progress on stderr")
	for _, k := range result.Keys() {
		define := fs.StringSliceVar
		if k.Name == "sizes" || k.Name == "stages" { // their commas are their own
			define = fs.StringArrayVar
		}
		o.params[k.Name] = new([]string)
		define(o.params[k.Name], k.Name, nil, k.Help)
	}
}

func outputFlag(fs *pflag.FlagSet, to *[]string) {
	var forms []string
	for _, f := range report.Forms() {
		forms = append(forms, f.Name+": "+f.About)
	}
	fs.StringArrayVar(to, "output", []string{"text"}, "`FORM|FORM=FILE` of the results, on standard output or in a file; may be repeated; "+
		strings.Join(forms, "; "))
}

var (
	errFailed  = errors.New("a condition does not hold") // of a valid run
	errInvalid = errors.New("the run is not valid")      // it shows nothing
)

// output is a form of results, and the file it goes to; empty: standard output.
type output struct {
	report.Form
	file string
}

// parseOutputs reads FORM or FORM=FILE, and makes sure that files can be written, before there is anything to lose.
func parseOutputs(texts []string) (all []output, err error) {
	forms := report.Forms()
	for _, text := range texts {
		name, file, inFile := strings.Cut(text, "=")
		i := slices.IndexFunc(forms, func(f report.Form) bool { return f.Name == name })
		switch {
		case i < 0:
			names := suggest.Names(forms, func(f report.Form) string { return f.Name })
			return nil, fmt.Errorf("--output: no form %q%s", name, suggest.Hint(name, names))
		case inFile && file == "":
			return nil, fmt.Errorf("--output %s: want a file behind the =", text)
		case inFile:
			err = report.Prepare(file)
		}
		if err != nil {
			return nil, fmt.Errorf("--output %s: %w", text, err)
		}
		all = append(all, output{forms[i], file})
	}
	return all, nil
}

func (p *program) measure(ctx context.Context, o *runOptions, args []string) error {
	if o.report != "" {
		o.outputs = append(o.outputs, "html="+filepath.Join(o.report, "index.html"), "markdown="+filepath.Join(o.report, "summary.md"),
			"json="+filepath.Join(o.report, "results.json"))
	}
	outputs, err := parseOutputs(o.outputs)
	if err != nil {
		return err
	}
	plan, err := o.cases(args)
	if err != nil {
		return err
	}
	if o.live != "" {
		if err := report.Prepare(o.live); err != nil {
			return fmt.Errorf("--live: %w", err)
		}
	}
	if err := o.choose(ctx, &plan); err != nil {
		return err
	}
	show := newProgress(p.stderr, o.quiet, o.live)
	plan.StopAtFailure, plan.Progress = o.stop, show.tell
	results, failed := plan.Run(ctx)
	err = show.done()
	results.Command, results.Suite = p.args, o.suite
	return errors.Join(err, p.tell(results, failed, outputs))
}

// tell writes the results in the forms that were asked for, and returns the error that decides the exit code.
func (p *program) tell(r *result.Results, failed error, outputs []output) error {
	said := false // in a form for people who wait for the end of the run
	var errs []error
	for _, out := range outputs {
		if out.file == "" {
			said = said || out.Name == "text"
			errs = append(errs, out.Write(p.stdout, r))
		} else {
			errs = append(errs, report.Save(out.file, func(w io.Writer) error { return out.Write(w, r) }))
		}
	}
	return errors.Join(append(errs, verdict(r, failed, said))...)
}

// verdict turns results into the error that decides the exit code. A condition that fails in what was measured counts
// more than doubt elsewhere, but nothing counts in a run that was cut short. What text has told is not told again.
func verdict(r *result.Results, failed error, table bool) error {
	bad := r.Failed()
	err, why := errInvalid, r.Reasons()
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

// compareOptions are the flags of compare.
type compareOptions struct {
	alpha            float64
	require, outputs []string
}

func (p *program) compareCommand() *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use: "compare OLD.json NEW.json",
		Long: `slim-bench compare OLD.json NEW.json shows what changed between two results, the first nodes of both: medians, the
change with its interval, and the probability that chance did it (Mann-Whitney). "~" means that it may have. A condition
passes when the whole interval keeps its bound and fails when the whole interval breaks it; what lies between is unclear.
Results of different runs have met different machines: for a gate, measure both builds in one run (slim-bench run
--versus base=…).

Exit codes: 0 all conditions hold; 1 one does not; 2 nothing can be concluded: results are not valid, a case or a metric is
missing, the rounds are too few or too noisy, or the generator was the limit.`,
		Example: `  slim-bench run p2p --rounds 8 --output json > old.json      # then another build
  slim-bench compare old.json new.json
  slim-bench compare old.json new.json --require 'node CPU per delivered / old <= 1.1' --require 'lost / old <= 1'
  slim-bench compare old.json new.json --alpha 0.001 --output html=changes.html
`,
		RunE: func(_ *cobra.Command, args []string) error { return p.compare(&o, args) },
	}
	fs := c.Flags()
	fs.Float64Var(&o.alpha, "alpha", 0.05, "changes with a probability below are called changes; intervals hold with the "+
		"rest of it (0.05: 95 %)")
	fs.StringArrayVar(&o.require, "require", nil, "`CONDITION`: METRIC / old <= NUMBER (or >=), judged in every case that "+
		"has the metric: exit 1 if it does not hold; may be repeated")
	outputFlag(fs, &o.outputs)
	return c
}

func (p *program) compare(o *compareOptions, args []string) error {
	if len(args) != 2 {
		return errors.New("compare what? slim-bench compare OLD.json NEW.json")
	}
	outputs, err := parseOutputs(o.outputs)
	if err != nil {
		return err
	}
	require, err := conditions(o.require)
	if err != nil {
		return err
	}
	before, err := readResults(args[0])
	after, err2 := readResults(args[1])
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	x, err := result.Compare(before, after, o.alpha, require)
	if err != nil {
		return err
	}
	x.Command = p.args
	return p.tell(x, nil, outputs)
}

// conditions reads those of --require.
func conditions(texts []string) ([]result.Condition, error) {
	var all []result.Condition
	for _, s := range texts {
		c, err := result.ParseCondition(s)
		if err == nil {
			err = c.Known()
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func readResults(path string) (*result.Results, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := result.ReadJSON(f)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return r, err
}
