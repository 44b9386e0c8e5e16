package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

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

// open reads the file that d names, which is built in below folder unless it is a path, into the struct at out.
func (d document) open(folder string, out any) error {
	b, err := fs.ReadFile(files, folder+"/"+d.name+".yaml")
	if isFile(d.name) {
		b, err = os.ReadFile(d.name)
	}
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
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || value.Kind != yaml.ScalarNode:
			return fmt.Errorf("%s: want a single value", key.Value)
		case slices.ContainsFunc(*s, func(o setting) bool { return o.key.Value == key.Value }):
			return fmt.Errorf("%s stands here twice", key.Value)
		}
		*s = append(*s, setting{key, value})
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
