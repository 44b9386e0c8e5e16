package scenario

import (
	"cmp"
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
	Scenario    Kind
	Name, About string
	Defaults    settings
	Cases       []settings
}

// UnmarshalYAML finds the kind of that name.
func (k *Kind) UnmarshalYAML(n *yaml.Node) error {
	i := slices.Index(kindNames(), n.Value)
	if i < 0 {
		return fmt.Errorf("no scenario %q%s", n.Value, suggest.Hint(n.Value, kindNames()))
	}
	*k = kinds()[i]
	return nil
}

// LoadScenario returns the built-in scenario of that name, or the one of a file whose name ends in .yaml.
func LoadScenario(name string) (Scenario, error) {
	if !isFile(name) && !slices.Contains(kindNames(), name) {
		return Scenario{}, fmt.Errorf("no scenario %q%s (slim-bench list)", name, suggest.Hint(name, kindNames()))
	}
	var f scenarioFile
	d := document{name}
	if err := d.open("scenarios", &f); err != nil {
		return Scenario{}, err
	}
	return d.scenario(f)
}

func (d document) scenario(f scenarioFile) (s Scenario, err error) {
	if f.Scenario.kind == "" {
		return s, fmt.Errorf("%s: key scenario is missing: what shall be done? (%s)", d.name, strings.Join(kindNames(), ", "))
	}
	s = Scenario{Name: cmp.Or(f.Name, f.Scenario.kind), About: f.About, Kind: f.Scenario}
	start := result.Defaults()
	if err := d.apply(f.Defaults, &start, s.Uses, false); err != nil {
		return s, err
	}
	s.Cases, err = d.cases(f.Cases, start, s.Uses)
	return s, err
}
