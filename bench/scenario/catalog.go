package scenario

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// The scenarios and suites that come with the program. Files of one's own have the same form.
//
//go:embed scenarios/*.yaml suites/*.yaml
var files embed.FS

// Scenarios returns the built-in scenarios in the order of their lists.
func Scenarios() ([]Scenario, error) {
	var all []Scenario
	for _, name := range kindNames() {
		s, err := LoadScenario(name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.kind)
	}
	return names
}

// scenarioFile is a scenario as it is written:
//
//	scenario: p2p                    # what is done; slim-bench list names them
//	name: rpc                        # optional: what it is called in reports
//	about: small requests            # optional
//	defaults: {size: 200}            # optional: keys of all cases
//	cases: [{inflight: 1}, {rate: 2000}]
type scenarioFile struct {
	Scenario    yaml.Node
	Name, About string
	Defaults    yaml.Node
	Cases       list
}

// LoadScenario returns the built-in scenario of that name, or the one of a file whose name ends in .yaml.
func LoadScenario(name string) (Scenario, error) {
	if !isFile(name) && !slices.Contains(kindNames(), name) {
		return Scenario{}, fmt.Errorf("no scenario %q%s (slim-bench list)", name, suggest.Hint(name, kindNames()))
	}
	d := document{name}
	n, err := d.open("scenarios")
	if err != nil {
		return Scenario{}, err
	}
	return d.scenario(n)
}

func (d document) scenario(n *yaml.Node) (s Scenario, err error) {
	var f scenarioFile
	if err := d.into(n, &f); err != nil {
		return s, err
	}
	if f.Scenario.IsZero() {
		return s, d.at(n, "key scenario is missing: what shall be done? (%s)", strings.Join(kindNames(), ", "))
	}
	kind, err := d.text(&f.Scenario)
	if err != nil {
		return s, err
	}
	i := slices.Index(kindNames(), kind)
	if i < 0 {
		return s, d.at(&f.Scenario, "no scenario %q%s", kind, suggest.Hint(kind, kindNames()))
	}
	s = Scenario{Name: f.Name, About: f.About, Kind: kinds()[i]}
	if s.Name == "" {
		s.Name = kind
	}
	start := result.Defaults()
	if err := d.params(&f.Defaults, &start, s.Uses, false); err != nil {
		return s, err
	}
	s.Cases, err = d.cases(n, f.Cases, start, s.Uses)
	return s, err
}

// maxCases bounds the cases of one scenario.
const maxCases = 256

// cases reads the list of cases of a mapping, each a mapping that changes start; no list: start alone.
func (d document) cases(of *yaml.Node, each list, start result.Params, uses []string) ([]result.Params, error) {
	if each == nil {
		return []result.Params{start}, nil
	}
	if len(each) == 0 {
		return nil, d.at(of, "a scenario without cases does nothing")
	}
	var all []result.Params
	for _, n := range each {
		p := start
		if err := d.params(n, &p, uses, false); err != nil {
			return nil, err
		}
		if len(all) == maxCases {
			return nil, d.at(n, "more than %d cases", maxCases)
		}
		all = append(all, p)
	}
	return all, nil
}
