package scenario

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Suite is a list of scenarios with conditions.
type Suite struct {
	Name, About       string
	Rounds, MaxRounds int
	Optional          []string // names of nodes that may be missing: conditions on them are skipped then
	Transports        []string // by which the first node is measured as well; each is a node of that name
	Runs              []SuiteRun
}

// SuiteRun is one entry of a suite: cases of one scenario, where they run, and what must hold.
type SuiteRun struct {
	Scenario Scenario
	Cases    []result.Params
	Nodes    []string // names of targets; empty: all. The first target is always measured
	Require  []result.Condition
}

// Suites returns the names of the built-in suites, from the shortest to the longest.
func Suites() []string { return []string{"smoke", "behaviour", "ci", "transports", "full"} }

// suiteFile is a suite as it is written:
//
//	suite: mine
//	about: what my cluster has to do     # optional
//	rounds: 5                            # optional, 1
//	max-rounds: 15                       # optional, rounds: how far doubt about a condition may go
//	optional-nodes: [base]               # optional: may be missing, and conditions on them are skipped then
//	transports: [tls, ws]                # optional: the first node once more by each of these, as a node of that name
//	defaults: {duration: 1s}             # optional: for all runs whose scenario reads the key
//	runs: [...]
type suiteFile struct {
	Suite, About string
	Rounds       yaml.Node
	MaxRounds    yaml.Node `yaml:"max-rounds"`
	Optional     []string  `yaml:"optional-nodes"`
	Transports   list
	Defaults     yaml.Node
	Runs         list
}

// runFile is an entry of runs:
//
//	scenario: p2p                    # a name, or a file beside this one
//	cases: [{size: 100}]             # optional: those of the scenario
//	nodes: [floor, base]             # optional: beside which other nodes; [] for none
//	require: ["lost <= 0", "node CPU per delivered / floor <= 2"]
type runFile struct {
	Scenario       yaml.Node
	Cases, Require list
	Nodes          list
}

// LoadSuite returns the built-in suite of that name, or the one of a file whose name ends in .yaml.
func LoadSuite(name string) (Suite, error) {
	if !isFile(name) && !slices.Contains(Suites(), name) {
		return Suite{}, fmt.Errorf("no suite %q%s (slim-bench list)", name, suggest.Hint(name, Suites()))
	}
	d := document{name}
	n, err := d.open("suites")
	if err != nil {
		return Suite{}, err
	}
	return d.suite(n)
}

// maxRounds bounds what a suite may ask for.
const maxRounds = 1000

func (d document) suite(n *yaml.Node) (Suite, error) {
	var f suiteFile
	s := Suite{Rounds: 1}
	if err := d.into(n, &f); err != nil {
		return s, err
	}
	s.Name, s.About, s.Optional = f.Suite, f.About, f.Optional
	for _, c := range []struct {
		from *yaml.Node
		to   *int
	}{{&f.Rounds, &s.Rounds}, {&f.MaxRounds, &s.MaxRounds}} {
		if !c.from.IsZero() {
			if err := load.ParseWhole(c.to, c.from.Value, 1, maxRounds); err != nil {
				return s, d.at(c.from, "%w", err)
			}
		}
	}
	s.MaxRounds = max(s.MaxRounds, s.Rounds)
	for _, e := range f.Transports {
		if !slices.Contains(process.Transports(), e.Value) {
			return s, d.at(e, "no transport %q%s", e.Value, suggest.Hint(e.Value, process.Transports()))
		}
		s.Transports = append(s.Transports, e.Value)
	}
	if err := d.params(&f.Defaults, new(result.Params), nil, false); err != nil {
		return s, err
	}
	if s.Name == "" || len(f.Runs) == 0 {
		return s, d.at(n, "a suite has a name (suite: NAME) and a list of runs")
	}
	if len(f.Runs) > maxCases {
		return s, d.at(f.Runs[maxCases], "%d runs: want at most %d", len(f.Runs), maxCases)
	}
	for _, e := range f.Runs {
		run, err := d.run(e, &f.Defaults)
		if err != nil {
			return s, err
		}
		s.Runs = append(s.Runs, run)
	}
	return s, nil
}

func (d document) run(n, defaults *yaml.Node) (r SuiteRun, err error) {
	var f runFile
	if err := d.into(n, &f); err != nil {
		return r, err
	}
	if f.Scenario.IsZero() {
		return r, d.at(n, "which scenario? (scenario: NAME)")
	}
	name, err := d.text(&f.Scenario)
	if err != nil {
		return r, err
	}
	if isFile(name) && !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(d.name), name)
	}
	if r.Scenario, err = LoadScenario(name); err != nil {
		return r, d.at(&f.Scenario, "%w", err)
	}
	if f.Nodes != nil {
		r.Nodes = []string{""} // the one that is judged
	}
	for _, e := range f.Nodes {
		name, err := d.text(e)
		if err != nil {
			return r, err
		}
		r.Nodes = append(r.Nodes, name)
	}
	r.Cases = slices.Clone(r.Scenario.Cases)
	for i := range r.Cases {
		if err := d.params(defaults, &r.Cases[i], r.Scenario.Uses, true); err != nil {
			return r, err
		}
	}
	if f.Cases != nil {
		if r.Cases, err = d.cases(n, f.Cases, r.Cases[0], r.Scenario.Uses); err != nil {
			return r, err
		}
	}
	for _, e := range f.Require {
		c, err := d.condition(e, r.Nodes)
		if err != nil {
			return r, err
		}
		r.Require = append(r.Require, c)
	}
	return r, nil
}

// condition reads one of a run. It may name the nodes that the run is measured on; nil: all.
func (d document) condition(n *yaml.Node, nodes []string) (c result.Condition, err error) {
	text, err := d.text(n)
	if err != nil {
		return c, err
	}
	if c, err = result.ParseCondition(text); err == nil {
		err = c.Known()
	}
	if err != nil {
		return c, d.at(n, "%w", err)
	}
	if c.Against != "" && nodes != nil && !slices.Contains(nodes, c.Against) {
		err = d.at(n, "condition %q: this run is not measured on %s; add it to its nodes", c, c.Against)
	}
	return c, err
}

// Plan puts the suite's runs to the targets, of which the first is the one that is judged.
func (s Suite) Plan(targets []load.Target) Plan {
	p := Plan{Targets: targets, Rounds: s.Rounds, MaxRounds: s.MaxRounds, Optional: slices.Concat(s.Optional, s.Transports), Transports: s.Transports}
	for _, r := range s.Runs {
		nodes := slices.Clone(r.Nodes)
		if len(nodes) > 0 {
			nodes[0] = targets[0].Name
		}
		for _, params := range r.Cases {
			p.Cases = append(p.Cases, Case{Scenario: r.Scenario, Params: params, Nodes: nodes, Require: r.Require})
		}
	}
	return p
}

// String lists what the suite does.
func (s Suite) String() string {
	var b strings.Builder
	for _, r := range s.Runs {
		for _, p := range r.Cases {
			fmt.Fprintf(&b, "%s %s\n", r.Scenario.Name, r.Scenario.Label(p))
		}
		for _, c := range r.Require {
			fmt.Fprintf(&b, "  %s\n", c)
		}
	}
	return b.String()
}
