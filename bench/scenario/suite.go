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
	Rounds       rounds
	MaxRounds    rounds   `yaml:"max-rounds"`
	Optional     []string `yaml:"optional-nodes"`
	Transports   []transport
	Defaults     settings
	Runs         []runFile
}

// rounds is how many rounds a suite may ask for; 0: it does not.
type rounds int

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *rounds) UnmarshalYAML(n *yaml.Node) error {
	return load.ParseWhole((*int)(r), n.Value, 1, 1000)
}

// transport is one of process.Transports.
type transport string

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *transport) UnmarshalYAML(n *yaml.Node) error {
	if *t = transport(n.Value); !slices.Contains(process.Transports(), n.Value) {
		return fmt.Errorf("no transport %q%s", n.Value, suggest.Hint(n.Value, process.Transports()))
	}
	return nil
}

// required is a condition, and where it stands.
type required struct {
	result.Condition
	at *yaml.Node
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *required) UnmarshalYAML(n *yaml.Node) (err error) {
	r.at = n
	if r.Condition, err = result.ParseCondition(n.Value); err == nil {
		err = r.Known()
	}
	return err
}

// runFile is an entry of runs:
//
//	scenario: p2p                    # a name, or a file beside this one
//	cases: [{size: 100}]             # optional: those of the scenario
//	nodes: [floor, base]             # optional: beside which other nodes; [] for none
//	require: ["lost <= 0", "node CPU per delivered / floor <= 2"]
type runFile struct {
	Scenario yaml.Node
	Cases    []settings
	Require  []required
	Nodes    []string
}

// LoadSuite returns the built-in suite of that name, or the one of a file whose name ends in .yaml.
func LoadSuite(name string) (Suite, error) {
	if !isFile(name) && !slices.Contains(Suites(), name) {
		return Suite{}, fmt.Errorf("no suite %q%s (slim-bench list)", name, suggest.Hint(name, Suites()))
	}
	var f suiteFile
	d := document{name}
	if err := d.open("suites", &f); err != nil {
		return Suite{}, err
	}
	return d.suite(f)
}

func (d document) suite(f suiteFile) (Suite, error) {
	s := Suite{Name: f.Suite, About: f.About, Optional: f.Optional, Rounds: max(int(f.Rounds), 1)}
	s.MaxRounds = max(int(f.MaxRounds), s.Rounds)
	for _, t := range f.Transports {
		s.Transports = append(s.Transports, string(t))
	}
	if err := d.apply(f.Defaults, new(result.Params), nil, false); err != nil {
		return s, err
	}
	if n := len(f.Runs); s.Name == "" || n == 0 || n > maxCases {
		return s, fmt.Errorf("%s: a suite has a name (suite: NAME) and a list of runs, %d at most", d.name, maxCases)
	}
	for _, r := range f.Runs {
		run, err := d.run(r, f.Defaults)
		if err != nil {
			return s, err
		}
		s.Runs = append(s.Runs, run)
	}
	return s, nil
}

func (d document) run(f runFile, defaults settings) (r SuiteRun, err error) {
	name := f.Scenario.Value
	if name == "" {
		return r, fmt.Errorf("%s: which scenario? (each run has a line scenario: NAME)", d.name)
	}
	if isFile(name) && !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(d.name), name)
	}
	if r.Scenario, err = LoadScenario(name); err != nil {
		return r, d.at(&f.Scenario, err)
	}
	if f.Nodes != nil {
		r.Nodes = append([]string{""}, f.Nodes...) // the first is the one that is judged
	}
	r.Cases = slices.Clone(r.Scenario.Cases)
	for i := range r.Cases {
		if err := d.apply(defaults, &r.Cases[i], r.Scenario.Uses, true); err != nil {
			return r, err
		}
	}
	if f.Cases != nil {
		if r.Cases, err = d.cases(f.Cases, r.Cases[0], r.Scenario.Uses); err != nil {
			return r, err
		}
	}
	for _, c := range f.Require {
		if c.Against != "" && r.Nodes != nil && !slices.Contains(r.Nodes, c.Against) {
			return r, d.at(c.at, fmt.Errorf("condition %q: this run is not measured on %s; add it to its nodes", c, c.Against))
		}
		r.Require = append(r.Require, c.Condition)
	}
	return r, nil
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
