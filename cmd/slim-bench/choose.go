package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
	"github.com/seed31b3bfd0/slimgo/internal/usage"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// cases turns arguments and flags into what is to be measured; the targets are still missing.
func (o *runOptions) cases(args []string) (plan scenario.Plan, err error) {
	switch {
	case o.suite != "" && len(args) > 0:
		return plan, errors.New("give scenarios or --suite, not both")
	case o.suite != "":
		plan, err = scenario.LoadSuite(o.suite)
	case len(args) == 0:
		return plan, errors.New("run what? slim-bench list names the scenarios and suites")
	default:
		plan, err = o.scenarios(args)
	}
	if err == nil {
		err = o.vary(&plan, cmp.Or(o.suite, strings.Join(args, " and ")))
	}
	if err != nil {
		return plan, err
	}
	if o.required, err = conditions(o.require); err != nil {
		return plan, err
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

// spanning are the parameters that tell a scenario's own cases apart: giving one replaces those cases.
var spanning = []string{"size", "sizes", "identity", "inflight", "rate", "total-rate", "stages", "count", "pairs", "stall-rate", "sessions", "members",
	"replies"}

// scenarios are the cases of those that are named.
func (o *runOptions) scenarios(names []string) (scenario.Plan, error) {
	plan := scenario.Plan{Rounds: 1}
	for _, name := range names {
		s, err := scenario.LoadScenario(name)
		if err != nil {
			return plan, err
		}
		list := s.Cases
		if slices.ContainsFunc(spanning, func(f string) bool { return o.fs.Changed(f) && slices.Contains(s.Uses, f) }) {
			list = list[:1]
		}
		for _, p := range list {
			plan.Cases = append(plan.Cases, scenario.Case{Scenario: s, Params: p})
		}
	}
	return plan, nil
}

// vary applies the parameter flags to the cases of what is named; several values make several cases.
func (o *runOptions) vary(plan *scenario.Plan, what string) error {
	for _, k := range result.Keys() {
		values := *o.params[k.Name]
		if len(values) == 0 {
			continue
		}
		if o.suite != "" && len(values) > 1 {
			return errors.New("a parameter takes one value with --suite")
		}
		// Rate and window: closed and open cases beside each other.
		used, err := plan.Vary(k.Name, values, k.Name == "rate" && o.fs.Changed("inflight") && o.suite == "")
		switch {
		case err != nil:
			return fmt.Errorf("--%w", err)
		case !used:
			return fmt.Errorf("--%s has no effect on %s", k.Name, what)
		}
	}
	return nil
}

// choose fills in the targets.
func (o *runOptions) choose(ctx context.Context, plan *scenario.Plan) error {
	first, err := o.first(ctx)
	if err != nil {
		return err
	}
	plan.Targets = []load.Target{first}
	if o.fs.Changed("transports") {
		plan.Transports = o.transports
	}
	if o.fs.Changed("transports") || len(o.targets) == 0 { // those of a suite only where the node can be started so
		if err := plan.Ways(); err != nil {
			return err
		}
	}
	for i, v := range o.versus {
		t, err := parseTarget(v, fmt.Sprintf("versus%d", i+1))
		if err != nil {
			return err
		}
		plan.Targets = append(plan.Targets, t)
	}
	blind := func(c scenario.Case) bool { return c.Scenario.Blind }
	if o.floor && first.Dialer.Protocol() == load.SLIM && slices.ContainsFunc(plan.Cases, blind) {
		t, err := o.relay()
		if err != nil {
			return err
		}
		plan.Targets = append(plan.Targets, t)
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

// relay is the floor. It starts here; what it says of a node that may run elsewhere is what this generator can do.
func (o *runOptions) relay() (load.Target, error) {
	self, err := os.Executable()
	if err != nil {
		return load.Target{}, err
	}
	t, err := parseTarget(result.Floor+"=blind:"+process.Quote(self)+" relay --listen {listen}", result.Floor)
	if len(o.targets) > 0 && o.pid == 0 {
		t.Note = "runs on this machine, wherever the target does: it shows what the generator can do here, not what that node has to cost"
	}
	return t, err
}

// first is the node that is judged.
func (o *runOptions) first(ctx context.Context) (load.Target, error) {
	switch {
	case len(o.targets) > 0:
		t, err := parseAddresses(o.targets, o.pid, &o.secure)
		if err == nil {
			err = o.check(ctx, t.Addrs)
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
	return parseTarget("slimgo="+process.Quote(path)+" --config {config} --log-level error", "slimgo")
}

// check finds addresses where nobody listens, before anything is built, started and measured in vain, and refuses a process that
// cannot be measured, or does not serve all of them: what is judged by its figures would be missing, or only a part of the node's.
func (o *runOptions) check(ctx context.Context, addrs []string) error {
	asked := o.fs.Changed("pid")
	if asked && o.pid <= 0 {
		return fmt.Errorf("--pid %d: want the id of the node's process", o.pid)
	}
	if _, err := usage.Of(o.pid); asked && err != nil {
		return fmt.Errorf("--pid %d: there is no such process to measure: %w", o.pid, err)
	}
	if asked && slices.Contains(usage.Tree(o.pid)[1:], os.Getpid()) {
		return fmt.Errorf("--pid %d: it has started slim-bench, too, which would be measured with the node: give the node's own process", o.pid)
	}
	for _, addr := range addrs {
		dialling, cancel := context.WithTimeout(ctx, reachLimit)
		c, err := process.Reach(dialling, addr)
		cancel()
		if err != nil {
			return fmt.Errorf("--target %s: nobody answers there: start the node, or check the address (%w)", addr, err)
		}
		if asked {
			err = process.Serves(ctx, o.pid, c)
		}
		if _ = c.Close(); err != nil {
			return fmt.Errorf("--pid %d: %w", o.pid, err)
		}
	}
	return nil
}

const reachLimit = 5 * time.Second // for a target to take a connection

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

// secureOptions are the flags for listeners with TLS.
type secureOptions struct {
	ca, cert, key string
	insecure      bool
}

func (s *secureOptions) flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.ca, "ca", "", "`FILE` with the authority that https:// and wss:// targets are checked against; without it, those of the system")
	fs.StringVar(&s.cert, "cert", "", "`FILE` with a certificate to show them, with --key")
	fs.StringVar(&s.key, "key", "", "`FILE` with its private key")
	fs.BoolVar(&s.insecure, "insecure", false, "take any certificate of theirs")
}

// config is what they ask for.
func (s *secureOptions) config() (*tls.Config, error) {
	o := certs.Options{SkipVerify: s.insecure, SystemCAs: s.ca == ""}
	if s.ca != "" {
		o.CA = certs.Authority{Kind: certs.Files, CA: s.ca}
	}
	if s.cert != "" || s.key != "" {
		o.Own = certs.Pair{Kind: certs.Files, Cert: s.cert, Key: s.key}
	}
	k, err := certs.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("--ca, --cert, --key: %w", err)
	}
	return k.Client(), nil
}

// parseTarget reads [NAME=][PROTOCOL:]CMD, where a protocol is blind or a transport of the started node. Without a
// name it is called name.
func parseTarget(text, name string) (load.Target, error) {
	if before, after, ok := strings.Cut(text, "="); ok && before != "" && !strings.ContainsAny(before, " /{:\"'") {
		name, text = before, after
	}
	t := load.Target{Name: name, Dialer: client.Dialer{}}
	switch word, rest, _ := strings.Cut(text, ":"); {
	case word == load.Blind:
		t.Dialer, text = client.Dialer{Blind: true}, rest
	case slices.Contains(process.Transports(), word):
		t.Command.Transport, text = word, rest
	}
	if _, err := process.Words(text); err != nil {
		return t, fmt.Errorf("node %s: %w", name, err)
	}
	t.Command.Text = text
	return t, nil
}

// parseAddresses reads the addresses of a node that runs, or of the nodes of a cluster: host:port, or the URL of a listener.
func parseAddresses(texts []string, pid int, secure *secureOptions) (load.Target, error) {
	t := load.Target{Name: "node", PID: pid, Addrs: texts}
	config, err := secure.config()
	if err != nil {
		return t, err
	}
	t.Dialer = client.Dialer{TLS: config}
	for _, text := range texts {
		if _, err := uplink.ParseURL(text); err != nil {
			return t, fmt.Errorf("target %q: %w", text, err)
		}
	}
	return t, nil
}
