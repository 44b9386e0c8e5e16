package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench"
	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// options are the flags of run, as given.
type options struct {
	node     string
	versus   []string
	target   string
	pid      int
	rounds   int
	output   string
	gates    []string
	limits   []string
	quiet    bool
	profile  string
	sizes    []string
	identity []string
	inflight []string
	rates    []int
	pairs    []int
	p        bench.Params // flags with one value
}

func newOptions() (*options, *pflag.FlagSet) {
	o := new(options)
	fs := pflag.NewFlagSet("slim-bench run", pflag.ContinueOnError)
	fs.SortFlags = false
	fs.Usage = func() {}
	fs.StringVar(&o.node, "node", "", "[NAME=][nats:]CMD: start this node for each measurement; {listen}, {host}, {port} and {config} in CMD are replaced")
	fs.StringArrayVar(&o.versus, "versus", nil, "[NAME=][nats:]CMD: another node, measured in turn with the first; may be repeated")
	fs.StringVar(&o.target, "target", "", "address of a running node instead of --node: host:port, http://…, nats://…")
	fs.IntVar(&o.pid, "pid", 0, "process of --target, to measure its CPU and memory")
	fs.IntVar(&o.rounds, "rounds", 1, "measure everything so often; medians are printed")
	fs.StringArrayVar(&o.gates, "gate", nil, "NAME:RATIO: exit 1 unless NAME costs RATIO times the first node's CPU per delivered message, and the first node loses nothing; may be repeated")
	fs.StringArrayVar(&o.limits, "limit", nil, "METRIC=NUMBER: exit 1 if that metric of the first node is larger; may be repeated")
	fs.StringVar(&o.output, "output", "table", "table or json")
	fs.BoolVar(&o.quiet, "quiet", false, "no progress on stderr")
	fs.StringVar(&o.profile, "cpuprofile", "", "file for a CPU profile of the load generator itself")
	fs.StringSliceVar(&o.sizes, "size", nil, "payload bytes, e.g. 100,1K,16K")
	fs.StringSliceVar(&o.identity, "identity", nil, "constant, fresh (new text in each message) or both")
	fs.StringSliceVar(&o.inflight, "inflight", nil, "closed loop: messages under way for each sender, e.g. 1,64,1024; max: no limit")
	fs.IntSliceVar(&o.rates, "rate", nil, "open loop: messages per second for each sender, instead of --inflight")
	fs.IntSliceVar(&o.pairs, "pairs", nil, "p2p: senders and receivers, e.g. 1,8")
	fs.IntVar(&o.p.IdentitySize, "identity-size", 0, "characters of the identity (172)")
	fs.IntVar(&o.p.Fanout, "fanout", 0, "fanout, slow: members of the group (8)")
	fs.IntVar(&o.p.Conns, "conns", 0, "idle: connections (10000)")
	fs.IntVar(&o.p.Names, "names", 0, "table: names (50000)")
	fs.IntVar(&o.p.Holders, "holders", 0, "table: connections that hold them (1)")
	fs.DurationVar(&o.p.Stall, "stall", 0, "slow: how long one member is slow (10s)")
	fs.IntVar(&o.p.StallRate, "stall-rate", 0, "slow: bytes per second it reads; 0: none")
	fs.DurationVar(&o.p.Duration, "duration", 0, "length of each measurement (2s)")
	fs.DurationVar(&o.p.Warmup, "warmup", 0, "load before each measurement (500ms)")
	fs.DurationVar(&o.p.SetupLimit, "setup-limit", 0, "idle, table: time for connections and subscriptions (2m)")
	return o, fs
}

// plan turns flags into a plan.
func (o *options) plan(fs *pflag.FlagSet) (bench.Plan, error) {
	plan := bench.Plan{Rounds: o.rounds}
	if fs.NArg() == 0 {
		return plan, errors.New("run what? slim-bench list names the scenarios")
	}
	if o.rounds < 1 {
		return plan, fmt.Errorf("--rounds %d: want at least 1", o.rounds)
	}
	if o.output != "table" && o.output != "json" {
		return plan, fmt.Errorf("--output %s: want table or json", o.output)
	}
	var err error
	if plan.Targets, err = o.targets(); err != nil {
		return plan, err
	}
	for _, name := range fs.Args() {
		s, err := bench.Find(name)
		if err != nil {
			return plan, err
		}
		cases, err := o.cases(fs, s)
		if err != nil {
			return plan, err
		}
		plan.Cases = append(plan.Cases, cases...)
	}
	return plan, nil
}

func (o *options) targets() ([]bench.Target, error) {
	var all []bench.Target
	add := func(t bench.Target, err error) error {
		if err == nil && slices.ContainsFunc(all, func(u bench.Target) bool { return u.Name == t.Name }) {
			err = fmt.Errorf("two nodes are called %s", t.Name)
		}
		all = append(all, t)
		return err
	}
	var err error
	switch {
	case o.node != "" && o.target != "":
		err = errors.New("--node and --target exclude each other")
	case o.target != "":
		err = add(bench.ParseAddress(o.target, "node", o.pid))
	case o.node != "":
		err = add(bench.ParseTarget(o.node, "node"))
	default:
		err = errors.New("no node: give --node or --target")
	}
	for i, v := range o.versus {
		if err == nil {
			err = add(bench.ParseTarget(v, fmt.Sprintf("versus%d", i+1)))
		}
	}
	return all, err
}

// cases are the scenario's own, unless a flag that spans cases is given: then all combinations of those flags.
func (o *options) cases(fs *pflag.FlagSet, s bench.Scenario) ([]bench.Case, error) {
	spans := []string{"size", "identity", "inflight", "rate", "pairs"}
	list := s.Cases()
	if slices.ContainsFunc(spans, func(f string) bool { return fs.Changed(f) && slices.Contains(s.Uses, f) }) {
		var err error
		if list, err = o.combinations(list[0]); err != nil {
			return nil, err
		}
	}
	var cases []bench.Case
	seen := map[bench.Params]bool{}
	for _, p := range list {
		o.single(fs, &p)
		if !seen[p] {
			seen[p] = true
			cases = append(cases, bench.Case{Scenario: s, Params: p})
		}
	}
	return cases, nil
}

// combinations varies the first case of a scenario.
func (o *options) combinations(p bench.Params) ([]bench.Params, error) {
	list := []bench.Params{p}
	list, err := vary(list, o.sizes, func(p *bench.Params, v string) (err error) {
		p.Size, err = bench.ParseSize(v)
		if err == nil && p.Size < load.StampSize {
			err = fmt.Errorf("--size %s: a message needs %d bytes for its stamp", v, load.StampSize)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	list, err = vary(list, o.identity, func(p *bench.Params, v string) (err error) {
		p.Identity, err = load.ParseIdentity(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	if list, err = vary(list, o.pairs, func(p *bench.Params, v int) error {
		p.Pairs = v
		return positive("--pairs", v)
	}); err != nil {
		return nil, err
	}
	closed, err := vary(list, o.inflight, setInFlight)
	if err != nil {
		return nil, err
	}
	if len(o.rates) == 0 {
		return closed, nil
	}
	open, err := vary(list, o.rates, func(p *bench.Params, v int) error {
		p.Rate = v
		return positive("--rate", v)
	})
	if len(o.inflight) == 0 {
		return open, err
	}
	return append(closed, open...), err
}

func setInFlight(p *bench.Params, v string) error {
	if v == "max" {
		p.InFlight = 0
		return nil
	}
	if _, err := fmt.Sscanf(v, "%d", &p.InFlight); err != nil || p.InFlight < 1 {
		return fmt.Errorf("--inflight %s: want a number of messages, or max", v)
	}
	return nil
}

func positive(flag string, v int) error {
	if v < 1 {
		return fmt.Errorf("%s %d: want at least 1", flag, v)
	}
	return nil
}

// vary returns list with set applied for each value; the list itself when there are none.
func vary[T any](list []bench.Params, values []T, set func(*bench.Params, T) error) ([]bench.Params, error) {
	if len(values) == 0 {
		return list, nil
	}
	var out []bench.Params
	for _, p := range list {
		for _, v := range values {
			q := p
			if err := set(&q, v); err != nil {
				return nil, err
			}
			out = append(out, q)
		}
	}
	return out, nil
}

// single applies the flags with one value.
func (o *options) single(fs *pflag.FlagSet, p *bench.Params) {
	ints := map[string][2]*int{
		"identity-size": {&p.IdentitySize, &o.p.IdentitySize},
		"fanout":        {&p.Fanout, &o.p.Fanout},
		"conns":         {&p.Conns, &o.p.Conns},
		"names":         {&p.Names, &o.p.Names},
		"holders":       {&p.Holders, &o.p.Holders},
		"stall-rate":    {&p.StallRate, &o.p.StallRate},
	}
	for name, v := range ints {
		if fs.Changed(name) {
			*v[0] = *v[1]
		}
	}
	times := map[string][2]*time.Duration{
		"stall":       {&p.Stall, &o.p.Stall},
		"duration":    {&p.Duration, &o.p.Duration},
		"warmup":      {&p.Warmup, &o.p.Warmup},
		"setup-limit": {&p.SetupLimit, &o.p.SetupLimit},
	}
	for name, v := range times {
		if fs.Changed(name) {
			*v[0] = *v[1]
		}
	}
}
