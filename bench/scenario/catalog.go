package scenario

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
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

func kindNames() []string { return suggest.Names(kinds, func(k Kind) string { return k.kind }) }

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
	*k = kinds[i]
	return nil
}

// LoadScenario returns the built-in scenario of that name, or the one of a file whose name ends in .yaml.
func LoadScenario(name string) (Scenario, error) {
	var f scenarioFile
	d := document{name}
	if err := d.open("scenario", kindNames(), &f); err != nil {
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
	start.InFlight = min(start.InFlight, cmp.Or(s.most, start.InFlight))
	if err := d.apply(f.Defaults, &start, s.Uses, false); err != nil {
		return s, err
	}
	s.Cases, err = d.cases(f.Cases, start, s.Uses)
	return s, err
}

// maxDocument bounds scenario and suite files, in bytes.
const maxDocument = 1 << 20

// document is a YAML file being read: its name stands in every error.
type document struct{ name string }

// at prefixes an error with file, line and column.
func (d document) at(n *yaml.Node, err error) error {
	return fmt.Errorf("%s:%d:%d: %w", d.name, n.Line, n.Column, err)
}

// isFile tells a path from the name of something built in.
func isFile(name string) bool { return slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)) }

// open reads the file that d names, a path or one of those of its kind that are built in, into the struct at out.
func (d document) open(kind string, names []string, out any) error {
	path, read := d.name, os.ReadFile
	if !isFile(path) {
		if !slices.Contains(names, path) {
			return fmt.Errorf("no %s %q%s (slim-bench list)", kind, path, suggest.Hint(path, names))
		}
		path, read = kind+"s/"+path+".yaml", files.ReadFile
	}
	b, err := read(path)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	return d.parse(b, out)
}

// parse reads text into a struct, whose fields are all the keys that there may be. Types that have rules of their own
// check them in UnmarshalYAML.
func (d document) parse(b []byte, out any) error {
	if len(b) > maxDocument {
		return fmt.Errorf("%s: %d bytes, want at most %d", d.name, len(b), maxDocument)
	}
	err := yaml.Load(b, out, yaml.WithKnownFields())
	var wrong *yaml.LoadError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s:%d:%d: %s", d.name, wrong.Mark.Line, wrong.Mark.Column, inWords(wrong.Message))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	return nil
}

var (
	unknownKey = regexp.MustCompile(`^field (.*) not found in type scenario\.(\w+)$`)
	wrongKind  = regexp.MustCompile(`^cannot construct .* into (\S+)$`)
)

// inWords says what the reader of YAML says of types in words of the file.
func inWords(message string) string {
	if m := unknownKey.FindStringSubmatch(message); m != nil {
		var keys []string
		for _, t := range []reflect.Type{reflect.TypeFor[scenarioFile](), reflect.TypeFor[suiteFile](), reflect.TypeFor[runFile]()} {
			for i := 0; t.Name() == m[2] && i < t.NumField(); i++ {
				keys = append(keys, cmp.Or(t.Field(i).Tag.Get("yaml"), strings.ToLower(t.Field(i).Name)))
			}
		}
		return fmt.Sprintf("no key %q%s", m[1], suggest.Hint(m[1], keys))
	}
	if m := wrongKind.FindStringSubmatch(message); m != nil {
		switch {
		case strings.HasPrefix(m[1], "[]"):
			return "want a list"
		case strings.HasPrefix(m[1], "scenario."):
			return "want a mapping of keys to values"
		}
		return "want a single value"
	}
	return message
}

// settings are parameters and their values as they are written, for cases that are not known yet.
type settings []setting

type setting struct{ key, value *yaml.Node }

// UnmarshalYAML implements yaml.Unmarshaler.
func (s *settings) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errors.New("want a mapping of keys to values")
	}
	given := func(key string) bool {
		return slices.ContainsFunc(*s, func(o setting) bool { return o.key.Value == key })
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || value.Kind != yaml.ScalarNode:
			return fmt.Errorf("%s: want a single value", key.Value)
		case given(key.Value):
			return fmt.Errorf("%s stands here twice", key.Value)
		}
		*s = append(*s, setting{key, value})
	}
	if keys := result.Exclusive(given); keys != nil {
		return fmt.Errorf("%s exclude each other", strings.Join(keys, " and "))
	}
	return nil
}

// apply gives p its values. uses are the keys that have an effect, nil: all; others are an error, or left out.
func (d document) apply(s settings, p *result.Params, uses []string, leaveOut bool) error {
	for _, one := range s {
		if uses != nil && !slices.Contains(uses, one.key.Value) {
			if leaveOut {
				continue
			}
			return d.at(one.key, fmt.Errorf("this scenario does not read %q%s", one.key.Value, suggest.Hint(one.key.Value, uses)))
		}
		if err := p.Set(one.key.Value, one.value.Value); err != nil {
			return d.at(one.value, err)
		}
	}
	return nil
}

// maxCases bounds the cases of one scenario, and the runs of a suite.
const maxCases = 256

// cases are those of a list, each of which changes start; no list: start alone.
func (d document) cases(each []settings, start result.Params, uses []string) ([]result.Params, error) {
	switch {
	case each == nil:
		return []result.Params{start}, nil
	case len(each) == 0:
		return nil, fmt.Errorf("%s: a scenario without cases does nothing", d.name)
	case len(each) > maxCases:
		return nil, fmt.Errorf("%s: %d cases of a scenario: want at most %d", d.name, len(each), maxCases)
	}
	var all []result.Params
	for _, s := range each {
		p := start
		if err := d.apply(s, &p, uses, false); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
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
	Transports   []yaml.Node
	Defaults     settings
	Runs         []runFile
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
	Require  []yaml.Node
	Nodes    []string
}

// LoadSuite returns the built-in suite of that name, or the one of a file whose name ends in .yaml. It has no targets yet.
func LoadSuite(name string) (Plan, error) {
	var f suiteFile
	d := document{name}
	if err := d.open("suite", Suites(), &f); err != nil {
		return Plan{}, err
	}
	return d.suite(f)
}

func (d document) suite(f suiteFile) (Plan, error) {
	p := Plan{Name: f.Suite, About: f.About, Rounds: 1}
	for n, to := range map[*yaml.Node]*int{&f.Rounds: &p.Rounds, &f.MaxRounds: &p.MaxRounds} {
		if err := load.ParseWhole(to, n.Value, 1, 1000); err != nil && !n.IsZero() {
			return p, d.at(n, err)
		}
	}
	p.MaxRounds = max(p.MaxRounds, p.Rounds)
	for i := range f.Transports {
		n := &f.Transports[i]
		if err := process.KnownTransport(n.Value); err != nil {
			return p, d.at(n, err)
		}
		p.Transports = append(p.Transports, n.Value)
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
	for i := range f.Require {
		n := &f.Require[i]
		r, err := result.ParseCondition(n.Value)
		if err == nil {
			err = r.Known()
		}
		if err == nil && r.Against != "" && f.Nodes != nil && !slices.Contains(f.Nodes, r.Against) {
			err = fmt.Errorf("condition %q: this run is not measured on %s; add it to its nodes", r, r.Against)
		}
		if err != nil {
			return nil, d.at(n, err)
		}
		c.Require = append(c.Require, r)
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
