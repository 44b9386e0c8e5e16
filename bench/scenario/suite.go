package scenario

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Suite is a list of scenarios with conditions.
type Suite struct {
	Name, About       string
	Rounds, MaxRounds int
	Optional          []string // names of nodes that may be missing: conditions on them are skipped then
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
func Suites() []string { return []string{"smoke", "behaviour", "ci", "full"} }

// LoadSuite returns the built-in suite of that name, or the one of a file whose name ends in .yaml:
//
//	suite: mine
//	about: what my cluster has to do     # optional
//	rounds: 5                            # optional, 1
//	max-rounds: 15                       # optional, rounds: how far doubt about a condition may go
//	optional-nodes: [base]               # optional: may be missing, and conditions on them are skipped then
//	defaults: {duration: 1s}             # optional: for all runs whose scenario reads the key
//	runs:
//	  - scenario: p2p                    # a name, or a file beside this one
//	    cases: [{size: 100}]             # optional: those of the scenario
//	    nodes: [floor, base]             # optional: beside which other nodes; [] for none
//	    require: ["lost <= 0", "node CPU per delivered / floor <= 2"]
func LoadSuite(name string) (Suite, error) {
	fsys, path, dir := fs.FS(files), "suites/"+name+".yaml", ""
	if isFile(name) {
		var file string
		dir, file = filepath.Split(name)
		fsys, path = os.DirFS(filepath.Clean(dir)), file
	} else if !slices.Contains(Suites(), name) {
		return Suite{}, fmt.Errorf("no suite %q%s (slim-bench list)", name, suggest.Hint(name, Suites()))
	}
	d := document{name: name}
	n, err := d.open(fsys, path)
	if err != nil {
		return Suite{}, err
	}
	return d.suite(n, dir)
}

func (d document) suite(n *yaml.Node, dir string) (Suite, error) {
	s := Suite{Rounds: 1}
	var runs, defaults *yaml.Node
	err := d.fields(n, func(key, value *yaml.Node) (err error) {
		switch key.Value {
		case "suite":
			s.Name, err = d.text(value)
		case "about":
			s.About, err = d.text(value)
		case "rounds":
			err = d.count(value, &s.Rounds)
		case "max-rounds":
			err = d.count(value, &s.MaxRounds)
		case "optional-nodes":
			s.Optional, err = d.texts(value)
		case "defaults":
			defaults = value
			err = d.params(value, new(result.Params), nil)
		case "runs":
			runs = value
		default:
			err = d.unknown(key, "suite", "about", "rounds", "max-rounds", "optional-nodes", "defaults", "runs")
		}
		return err
	})
	if err != nil {
		return s, err
	}
	if s.Name == "" || runs == nil || runs.Kind != yaml.SequenceNode || len(runs.Content) == 0 {
		return s, d.at(n, "a suite has a name (suite: NAME) and a list of runs")
	}
	s.MaxRounds = max(s.MaxRounds, s.Rounds)
	if len(runs.Content) > maxCases {
		return s, d.at(runs, "%d runs: want at most %d", len(runs.Content), maxCases)
	}
	for _, e := range runs.Content {
		run, err := d.run(e, defaults, dir)
		if err != nil {
			return s, err
		}
		s.Runs = append(s.Runs, run)
	}
	return s, nil
}

// maxRounds bounds what a suite may ask for.
const maxRounds = 1000

func (d document) count(n *yaml.Node, to *int) error {
	text, err := d.text(n)
	if err == nil {
		if err = load.ParseWhole(to, text, 1, maxRounds); err != nil {
			err = d.at(n, "%w", err)
		}
	}
	return err
}

func (d document) run(n, defaults *yaml.Node, dir string) (SuiteRun, error) {
	var r SuiteRun
	var scenario, cases, require *yaml.Node
	err := d.fields(n, func(key, value *yaml.Node) (err error) {
		switch key.Value {
		case "scenario":
			scenario = value
		case "cases":
			cases = value
		case "nodes":
			r.Nodes, err = d.texts(value)
			r.Nodes = append([]string{""}, r.Nodes...) // "": the one that is judged
		case "require":
			require = value
		default:
			err = d.unknown(key, "scenario", "cases", "nodes", "require")
		}
		return err
	})
	if err != nil {
		return r, err
	}
	if scenario == nil {
		return r, d.at(n, "which scenario? (scenario: NAME)")
	}
	name, err := d.text(scenario)
	if err != nil {
		return r, err
	}
	if isFile(name) && !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	if r.Scenario, err = LoadScenario(name); err != nil {
		return r, d.at(scenario, "%w", err)
	}
	if r.Cases, err = d.suiteCases(cases, defaults, r.Scenario); err != nil || require == nil {
		return r, err
	}
	return r, d.conditions(require, &r)
}

// conditions reads those of a run. They may name the nodes that the run is measured on.
func (d document) conditions(n *yaml.Node, r *SuiteRun) error {
	return d.list(n, func(e *yaml.Node) error {
		text, err := d.text(e)
		if err != nil {
			return err
		}
		c, err := result.ParseCondition(text)
		if err != nil {
			return d.at(e, "%w", err)
		}
		if c.Against != "" && r.Nodes != nil && !slices.Contains(r.Nodes, c.Against) {
			return d.at(e, "condition %q: this run is not measured on %s; add it to its nodes", c, c.Against)
		}
		r.Require = append(r.Require, c)
		return nil
	})
}

// suiteCases are those of the suite, or else those of the scenario, with the suite's defaults below them.
func (d document) suiteCases(cases, defaults *yaml.Node, s Scenario) ([]result.Params, error) {
	apply := func(p result.Params) (result.Params, error) {
		if defaults == nil {
			return p, nil
		}
		err := d.fields(defaults, func(key, value *yaml.Node) error {
			if !slices.Contains(s.Uses, key.Value) {
				return nil
			}
			return d.param(key, value, &p, s.Uses)
		})
		return p, err
	}
	if cases == nil {
		var all []result.Params
		for _, p := range s.Cases {
			p, err := apply(p)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
		return all, nil
	}
	start, err := apply(s.Cases[0])
	if err != nil {
		return nil, err
	}
	return d.cases(cases, start, s.Uses)
}

// Plan puts the suite's runs to the targets, of which the first is the one that is judged.
func (s Suite) Plan(targets []load.Target) Plan {
	p := Plan{Targets: targets, Rounds: s.Rounds, MaxRounds: s.MaxRounds, Optional: s.Optional}
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
