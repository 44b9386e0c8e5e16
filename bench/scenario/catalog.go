package scenario

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// isFile tells a path from the name of something built in.
func isFile(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// Scenarios returns the built-in scenarios in the order of their lists.
func Scenarios() ([]Scenario, error) {
	var all []Scenario
	for _, k := range kinds() {
		s, err := LoadScenario(k.kind)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// LoadScenario returns the built-in scenario of that name, or the one of a file whose name ends in .yaml:
//
//	scenario: p2p                    # what is done; slim-bench list names them
//	name: rpc                        # optional: what it is called in reports
//	about: small requests            # optional
//	defaults: {size: 200}            # optional: keys of all cases
//	cases: [{inflight: 1}, {rate: 2000}]
func LoadScenario(name string) (Scenario, error) {
	fsys, path := fs.FS(files), "scenarios/"+name+".yaml"
	if isFile(name) {
		dir, file := filepath.Split(name)
		fsys, path = os.DirFS(filepath.Clean(dir)), file
	} else if !slices.ContainsFunc(kinds(), func(k Kind) bool { return k.kind == name }) {
		return Scenario{}, fmt.Errorf("no scenario %q%s (slim-bench list)", name, suggest.Hint(name, kindNames()))
	}
	d := document{name: name}
	n, err := d.open(fsys, path)
	if err != nil {
		return Scenario{}, err
	}
	return d.scenario(n)
}

func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.kind)
	}
	return names
}

// scenario reads the file's top mapping.
func (d document) scenario(n *yaml.Node) (Scenario, error) {
	var s Scenario
	var defaults, cases *yaml.Node
	err := d.fields(n, func(key, value *yaml.Node) (err error) {
		switch key.Value {
		case "scenario":
			s, err = d.kind(value, s.Name)
		case "name":
			s.Name, err = d.text(value)
		case "about":
			s.About, err = d.text(value)
		case "defaults":
			defaults = value
		case "cases":
			cases = value
		default:
			err = d.unknown(key, "scenario", "name", "about", "defaults", "cases")
		}
		return err
	})
	if err != nil {
		return s, err
	}
	if s.Run == nil {
		return s, d.at(n, "key scenario is missing: what shall be done? (%s)", strings.Join(kindNames(), ", "))
	}
	start := result.Defaults()
	if defaults != nil {
		if err := d.params(defaults, &start, s.Uses); err != nil {
			return s, err
		}
	}
	s.Cases, err = d.cases(cases, start, s.Uses)
	return s, err
}

// kind starts a scenario from the kind that value names; a name that was read before stays.
func (d document) kind(value *yaml.Node, name string) (Scenario, error) {
	text, err := d.text(value)
	if err != nil {
		return Scenario{}, err
	}
	all := kinds()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.kind == text })
	if i < 0 {
		return Scenario{}, d.at(value, "no scenario %q%s", text, suggest.Hint(text, kindNames()))
	}
	k := all[i]
	if name == "" {
		name = k.kind
	}
	return Scenario{Name: name, Kind: k}, nil
}

// maxCases bounds the cases of one scenario.
const maxCases = 256

// cases reads a list of cases, each a mapping that changes start; no list: start alone.
func (d document) cases(n *yaml.Node, start result.Params, uses []string) ([]result.Params, error) {
	if n == nil {
		return []result.Params{start}, nil
	}
	var all []result.Params
	err := d.list(n, func(e *yaml.Node) error {
		p := start
		if err := d.params(e, &p, uses); err != nil {
			return err
		}
		if len(all) == maxCases {
			return d.at(e, "more than %d cases", maxCases)
		}
		all = append(all, p)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = d.at(n, "a scenario without cases does nothing")
	}
	return all, err
}
