package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
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

// choose fills in the targets.
func (o *runOptions) choose(ctx context.Context, plan *scenario.Plan) error {
	first, err := o.first(ctx)
	if err != nil {
		return err
	}
	plan.Targets = []load.Target{first}
	if err := o.ways(plan); err != nil {
		return err
	}
	for i, v := range o.versus {
		t, err := parseTarget(v, fmt.Sprintf("versus%d", i+1))
		if err != nil {
			return err
		}
		plan.Targets = append(plan.Targets, t)
	}
	if o.floor && relayFits(plan, first) {
		t, err := o.relay()
		if err != nil {
			return err
		}
		plan.Targets = append(plan.Targets, t)
	}
	for i := range plan.Cases {
		if n := plan.Cases[i].Nodes; len(n) > 0 {
			n[0] = first.Name
		}
	}
	if err := plan.Check(); err != nil {
		return err
	}
	// Nodes that may be missing in a suite may not in what is asked for beside it.
	asked := scenario.Plan{Targets: plan.Targets, Cases: []scenario.Case{{Require: o.required}}}
	if err := asked.Check(); err != nil {
		return err
	}
	for _, t := range plan.Targets {
		words, _ := process.Words(t.Command.Text) // parseTarget has read them
		if len(words) == 0 {
			continue
		}
		if _, err := exec.LookPath(words[0]); err != nil {
			return fmt.Errorf("--node or --versus %s: there is no program %q to start: %w", t.Name, words[0], err)
		}
	}
	return nil
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
func (o *runOptions) first(ctx context.Context) (load.Target, error) {
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
	path, err := ownNode()
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
	for _, addr := range addrs {
		if !here(o.pid, addr) {
			return fmt.Errorf("--pid %d: %s is not an address of this machine: measure its process there", o.pid, addr)
		}
	}
	if !slices.ContainsFunc(addrs, func(addr string) bool { return process.Listens(o.pid, addr) }) {
		return fmt.Errorf("--pid %d: it does not listen on %s, nor does a child of it: its figures are not the node's", o.pid, strings.Join(addrs, " or "))
	}
	return nil
}

// here reports whether an address is this machine's, or that of a process on it, which may live in a container.
func here(pid int, addr string) bool {
	network, addr := process.Split(addr)
	if network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(addr)
	ips, _ := net.LookupIP(host)
	own, _ := net.InterfaceAddrs()
	routes, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/fib_trie", pid))
	return slices.ContainsFunc(ips, func(ip net.IP) bool {
		return ip.IsLoopback() || strings.Contains(string(routes), "|-- "+ip.String()+"\n") ||
			slices.ContainsFunc(own, func(a net.Addr) bool { n, ok := a.(*net.IPNet); return ok && n.IP.Equal(ip) })
	})
}

// ownNode finds this build's node: the program beside this one.
func ownNode() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), "slim")
	if _, err := exec.LookPath(beside); err != nil {
		return "", errors.New("no node: give --node CMD or --target ADDRESS, or build this one's, to stand beside slim-bench " +
			"(go build -o bin/ ./cmd/slim ./cmd/slim-bench)")
	}
	return beside, nil
}
