package scenario

import (
	"fmt"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

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

// LoadSuite returns the built-in suite of that name, or the one of a file whose name ends in .yaml. It has no targets yet.
func LoadSuite(name string) (Plan, error) {
	if !isFile(name) && !slices.Contains(Suites(), name) {
		return Plan{}, fmt.Errorf("no suite %q%s (slim-bench list)", name, suggest.Hint(name, Suites()))
	}
	var f suiteFile
	d := document{name}
	if err := d.open("suites", &f); err != nil {
		return Plan{}, err
	}
	return d.suite(f)
}

func (d document) suite(f suiteFile) (Plan, error) {
	p := Plan{Name: f.Suite, About: f.About, Optional: f.Optional, Rounds: max(int(f.Rounds), 1)}
	p.MaxRounds = max(int(f.MaxRounds), p.Rounds)
	for _, t := range f.Transports {
		p.Transports = append(p.Transports, string(t))
	}
	p.Optional = slices.Concat(f.Optional, p.Transports)
	if err := d.apply(f.Defaults, new(result.Params), nil, false); err != nil {
		return p, err
	}
	if n := len(f.Runs); p.Name == "" || n == 0 || n > maxCases {
		return p, fmt.Errorf("%s: a suite has a name (suite: NAME) and a list of runs, %d at most", d.name, maxCases)
	}
	for _, r := range f.Runs {
		cases, err := d.run(r, f.Defaults)
		if err != nil {
			return p, err
		}
		p.Cases = append(p.Cases, cases...)
	}
	return p, nil
}

// run returns the cases of one run.
func (d document) run(f runFile, defaults settings) (all []Case, err error) {
	name := f.Scenario.Value
	if name == "" {
		return nil, fmt.Errorf("%s: which scenario? (each run has a line scenario: NAME)", d.name)
	}
	if isFile(name) && !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(d.name), name)
	}
	c := Case{Nodes: f.Nodes}
	if c.Scenario, err = LoadScenario(name); err != nil {
		return nil, d.at(&f.Scenario, err)
	}
	for _, r := range f.Require {
		if r.Against != "" && f.Nodes != nil && !slices.Contains(f.Nodes, r.Against) {
			return nil, d.at(r.at, fmt.Errorf("condition %q: this run is not measured on %s; add it to its nodes", r, r.Against))
		}
		c.Require = append(c.Require, r.Condition)
	}
	params := slices.Clone(c.Scenario.Cases)
	for i := range params {
		if err := d.apply(defaults, &params[i], c.Scenario.Uses, true); err != nil {
			return nil, err
		}
	}
	if f.Cases != nil {
		if params, err = d.cases(f.Cases, params[0], c.Scenario.Uses); err != nil {
			return nil, err
		}
	}
	for _, c.Params = range params {
		all = append(all, c)
	}
	return all, nil
}
