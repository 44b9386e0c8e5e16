package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"

	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// cases turns arguments and flags into what is to be measured; the targets are still missing.
func (o *runOptions) cases(args []string) (scenario.Plan, error) {
	var plan scenario.Plan
	var err error
	switch {
	case o.suite != "" && len(args) > 0:
		return plan, errors.New("give scenarios or --suite, not both")
	case o.suite != "":
		plan, err = o.suitePlan()
	case len(args) == 0:
		return plan, errors.New("run what? slim-bench list names the scenarios and suites")
	default:
		plan, err = o.scenarioPlan(args)
	}
	if err != nil {
		return plan, err
	}
	if o.required, err = conditions(o.require); err != nil {
		return plan, err
	}
	for _, c := range o.required {
		if err := c.Known(); err != nil {
			return plan, err
		}
	}
	for i := range plan.Cases {
		plan.Cases[i].Require = slices.Concat(plan.Cases[i].Require, o.required)
	}
	if o.suite == "" && len(o.required) > 0 && !o.fs.Changed("rounds") {
		plan.MaxRounds = enoughRounds
	}
	for flag, to := range map[string]*int{"rounds": &plan.Rounds, "max-rounds": &plan.MaxRounds} {
		if o.fs.Changed(flag) {
			n, _ := o.fs.GetInt(flag)
			if n < 1 {
				return plan, fmt.Errorf("--%s %d: want at least 1", flag, n)
			}
			*to = n
		}
	}
	return plan, nil
}

// enoughRounds is how far a run goes on its own to be sure of a condition.
const enoughRounds = 9

// suitePlan is the suite's, with the parameters given as flags on top of all its cases.
func (o *runOptions) suitePlan() (scenario.Plan, error) {
	s, err := scenario.LoadSuite(o.suite)
	if err != nil {
		return scenario.Plan{}, err
	}
	for i := range s.Runs {
		r := &s.Runs[i]
		for j := range r.Cases {
			list, err := o.vary(r.Cases[j:j+1], r.Scenario)
			if err != nil {
				return scenario.Plan{}, err
			}
			if len(list) != 1 {
				return scenario.Plan{}, errors.New("a parameter takes one value with --suite")
			}
			r.Cases[j] = list[0]
		}
	}
	return s.Plan([]load.Target{{}}), nil // names of nodes are resolved by choose
}

func (o *runOptions) scenarioPlan(args []string) (scenario.Plan, error) {
	plan := scenario.Plan{Rounds: 1}
	used := map[string]bool{}
	for _, name := range args {
		s, err := scenario.LoadScenario(name)
		if err != nil {
			return plan, err
		}
		for _, key := range s.Uses {
			used[key] = true
		}
		list := s.Cases
		if o.spans(s) {
			list = list[:1]
		}
		if list, err = o.vary(list, s); err != nil {
			return plan, err
		}
		for i, p := range list {
			if !slices.Contains(list[:i], p) {
				plan.Cases = append(plan.Cases, scenario.Case{Scenario: s, Params: p})
			}
		}
	}
	for _, k := range result.Keys() {
		if o.fs.Changed(k.Name) && !used[k.Name] {
			return plan, fmt.Errorf("--%s has no effect on %s", k.Name, strings.Join(args, " and "))
		}
	}
	return plan, nil
}

// spanning are the parameters that tell a scenario's own cases apart: giving one replaces those cases.
var spanning = []string{"size", "sizes", "identity", "inflight", "rate", "total-rate", "stages", "count", "pairs"}

func (o *runOptions) spans(s scenario.Scenario) bool {
	return slices.ContainsFunc(spanning, func(f string) bool { return o.fs.Changed(f) && slices.Contains(s.Uses, f) })
}

// vary applies all parameter flags that s reads to each case; several values make several cases.
func (o *runOptions) vary(list []result.Params, s scenario.Scenario) ([]result.Params, error) {
	closed := o.fs.Changed("inflight") && o.fs.Changed("rate") // both: closed and open cases beside each other
	for _, k := range result.Keys() {
		values := *o.params[k.Name]
		if len(values) == 0 || !slices.Contains(s.Uses, k.Name) {
			continue
		}
		var out []result.Params
		for _, p := range list {
			if k.Name == "rate" && closed {
				out = append(out, p)
			}
			for _, v := range values {
				q := p
				if err := q.Set(k.Name, v); err != nil {
					return nil, fmt.Errorf("--%w", err)
				}
				out = append(out, q)
			}
		}
		list = out
	}
	return list, nil
}

// choose fills in the targets. clean removes what it built.
func (o *runOptions) choose(ctx context.Context, plan *scenario.Plan, stderr io.Writer) (clean func(), err error) {
	clean = func() {}
	defer func() {
		if err != nil {
			clean()
		}
	}()
	first, err := o.first(ctx, &clean, stderr)
	if err != nil {
		return clean, err
	}
	plan.Targets = []load.Target{first}
	if err := o.ways(plan); err != nil {
		return clean, err
	}
	for i, v := range o.versus {
		t, err := parseTarget(v, fmt.Sprintf("versus%d", i+1))
		if err != nil {
			return clean, err
		}
		plan.Targets = append(plan.Targets, t)
	}
	if o.floor && relayFits(plan, first) {
		t, err := o.relay()
		if err != nil {
			return clean, err
		}
		plan.Targets = append(plan.Targets, t)
	}
	for i := range plan.Cases {
		if n := plan.Cases[i].Nodes; len(n) > 0 {
			n[0] = first.Name
		}
	}
	if err := plan.Check(); err != nil {
		return clean, err
	}
	// Nodes that may be missing in a suite may not in what is asked for beside it.
	return clean, scenario.Plan{Targets: plan.Targets, Cases: []scenario.Case{{Require: o.required}}}.Check()
}

// ways adds the transports of --transports, or those of a suite where the node can be started so.
func (o *runOptions) ways(plan *scenario.Plan) error {
	if o.fs.Changed("transports") {
		for _, way := range o.transports {
			if !slices.Contains(process.Transports(), way) {
				return fmt.Errorf("--transports: no transport %q%s", way, suggest.Hint(way, process.Transports()))
			}
		}
		plan.Transports = o.transports
		return plan.Ways()
	}
	if len(o.targets) == 0 {
		return plan.Ways()
	}
	return nil
}

// relay is the floor. It starts here; what it says of a node that may run elsewhere is what this generator can do.
func (o *runOptions) relay() (load.Target, error) {
	self, err := os.Executable()
	if err != nil {
		return load.Target{}, err
	}
	t, err := parseTarget(result.Floor+"=blind:"+quote(self)+" relay --listen {listen}", result.Floor)
	if len(o.targets) > 0 && o.pid == 0 {
		t.Note = "runs on this machine, wherever the target does: it shows what the generator can do here, not what that node has to cost"
	}
	return t, err
}

// relayFits reports whether the relay says something about this run: it speaks SLIM's frames, and knows no names.
func relayFits(plan *scenario.Plan, first load.Target) bool {
	if first.Dialer.Protocol() != load.SLIM {
		return false
	}
	return slices.ContainsFunc(plan.Cases, func(c scenario.Case) bool { return c.Scenario.Blind })
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// first is the node that is judged.
func (o *runOptions) first(ctx context.Context, clean *func(), stderr io.Writer) (load.Target, error) {
	switch {
	case o.node != "" && len(o.targets) > 0:
		return load.Target{}, errors.New("--node and --target exclude each other")
	case len(o.targets) > 0:
		t, err := parseAddresses(o.targets, "node", o.pid, &o.secure)
		if err == nil {
			err = errors.Join(reachable(ctx, t.Addrs), o.checkPID(t.Addrs))
		}
		return t, err
	case o.pid != 0:
		return load.Target{}, errors.New("--pid goes with --target")
	case o.node != "":
		return parseTarget(o.node, "node")
	}
	path, err := ownNode(ctx, clean, stderr)
	if err != nil {
		return load.Target{}, err
	}
	return parseTarget("slimgo="+quote(path)+" --config {config} --log-level error", "slimgo")
}

// reachLimit is how long a target may take to accept a connection.
const reachLimit = 5 * time.Second

// reachable finds addresses where nobody listens, before anything is built, started and measured in vain.
func reachable(ctx context.Context, addrs []string) error {
	d := net.Dialer{Timeout: reachLimit}
	for _, addr := range addrs {
		network, address := process.Split(addr)
		c, err := d.DialContext(ctx, network, address)
		if err != nil {
			return fmt.Errorf("--target %s: nobody answers there: start the node, or check the address (%w)", addr, err)
		}
		_ = c.Close()
	}
	return nil
}

// checkPID refuses a process that cannot be measured, and one that does not serve addrs: what is judged by its figures
// would be missing, or another's.
func (o *runOptions) checkPID(addrs []string) error {
	if !o.fs.Changed("pid") {
		return nil
	}
	if o.pid <= 0 {
		return fmt.Errorf("--pid %d: want the id of the node's process", o.pid)
	}
	if _, err := process.Measure(o.pid); err != nil {
		return fmt.Errorf("--pid %d: there is no such process to measure: %w", o.pid, err)
	}
	if !slices.ContainsFunc(addrs, func(addr string) bool { return process.Listens(o.pid, addr) }) {
		return fmt.Errorf("--pid %d: it does not listen on %s, nor does a child of it: its figures are not the node's", o.pid, strings.Join(addrs, " or "))
	}
	return nil
}

const nodePackage = "github.com/seed31b3bfd0/slimgo/cmd/slim"

// ownNode finds this build's node: the program beside this one, or else, in a checkout, what is built from it.
func ownNode(ctx context.Context, clean *func(), stderr io.Writer) (string, error) {
	const name = "slim"
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if st, err := os.Stat(beside); err == nil && st.Mode().IsRegular() {
			return beside, nil
		}
	}
	missing := errors.New("no node: give --node CMD or --target ADDRESS (there is no slim beside slim-bench, and this is no checkout of slimgo to build it from)")
	if out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Name}}", nodePackage).Output(); err != nil || strings.TrimSpace(string(out)) != "main" {
		return "", missing
	}
	dir, err := os.MkdirTemp("", "slim-bench-node-")
	if err != nil {
		return "", err
	}
	*clean = func() { _ = os.RemoveAll(dir) }
	fmt.Fprintln(stderr, "building", nodePackage)
	path := filepath.Join(dir, name)
	build := exec.CommandContext(ctx, "go", "build", "-o", path, nodePackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", nodePackage, err, out)
	}
	return path, nil
}
