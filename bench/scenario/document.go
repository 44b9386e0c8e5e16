package scenario

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
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

// list is what one or several values of a file stand for.
type list []*yaml.Node

// UnmarshalYAML takes a single value for a list of one.
func (l *list) UnmarshalYAML(n *yaml.Node) error {
	if *l = append(list{}, n.Content...); n.Kind != yaml.SequenceNode {
		*l = list{n}
	}
	return nil
}

// at prefixes an error with file, line and column.
func (d document) at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: %w", d.name, n.Line, n.Column, fmt.Errorf(format, args...))
}

// isFile tells a path from the name of something built in.
func isFile(name string) bool { return slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)) }

// open reads the mapping at the top of the file that d names, which is built in below folder unless it is a path.
func (d document) open(folder string) (*yaml.Node, error) {
	b, err := fs.ReadFile(files, folder+"/"+d.name+".yaml")
	if isFile(d.name) {
		b, err = os.ReadFile(d.name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return d.parse(b)
}

func (d document) parse(b []byte) (*yaml.Node, error) {
	if len(b) > maxDocument {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", d.name, len(b), maxDocument)
	}
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("%s: %s", d.name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) != 1 || n.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s: want a mapping of keys to values", d.name)
	}
	return n.Content[0], nil
}

// into reads a mapping into the struct at out, whose fields are all the keys that there may be.
func (d document) into(n *yaml.Node, out any) error {
	var keys []string
	for f := range reflect.TypeOf(out).Elem().Fields() {
		keys = append(keys, cmp.Or(f.Tag.Get("yaml"), strings.ToLower(f.Name)))
	}
	err := d.fields(n, func(key, _ *yaml.Node) error {
		if !slices.Contains(keys, key.Value) {
			return d.at(key, "no key %q%s", key.Value, suggest.Hint(key.Value, keys))
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = n.Load(out)
	var wrong *yaml.LoadError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s:%d:%d: %s", d.name, wrong.Mark.Line, wrong.Mark.Column, wrong.Message)
	}
	return err
}

// fields calls take for each key of a mapping. A key that comes twice is an error.
func (d document) fields(n *yaml.Node, take func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return d.at(n, "want a mapping of keys to values")
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			return d.at(key, "a key has to be a word")
		}
		if seen[key.Value] {
			return d.at(key, "%s stands here twice", key.Value)
		}
		seen[key.Value] = true
		if err := take(key, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (d document) text(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", d.at(n, "want a single value")
	}
	return n.Value, nil
}

// params applies the keys of a mapping, if there is one, to p. uses are the keys that have an effect; others are an
// error, unless they may be left out.
func (d document) params(n *yaml.Node, p *result.Params, uses []string, others bool) error {
	if n.IsZero() {
		return nil
	}
	return d.fields(n, func(key, value *yaml.Node) error {
		text, err := d.text(value)
		switch {
		case err != nil:
			return err
		case uses != nil && !slices.Contains(uses, key.Value) && others:
			return nil
		case uses != nil && !slices.Contains(uses, key.Value):
			return d.at(key, "this scenario does not read %q%s", key.Value, suggest.Hint(key.Value, uses))
		}
		if err := p.Set(key.Value, text); err != nil {
			return d.at(value, "%w", err)
		}
		return nil
	})
}
