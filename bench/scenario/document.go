package scenario

import (
	"fmt"
	"io/fs"
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
func (d document) at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: %w", d.name, n.Line, n.Column, fmt.Errorf(format, args...))
}

// open reads the mapping at the top of a file.
func (d document) open(fsys fs.FS, path string) (*yaml.Node, error) {
	b, err := fs.ReadFile(fsys, path)
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

// unknown is the error for a key that is none of names.
func (d document) unknown(key *yaml.Node, names ...string) error {
	return d.at(key, "no key %q%s", key.Value, suggest.Hint(key.Value, names))
}

func (d document) text(n *yaml.Node) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", d.at(n, "want a single value")
	}
	return n.Value, nil
}

// texts reads a list of single values.
func (d document) texts(n *yaml.Node) ([]string, error) {
	var all []string
	err := d.list(n, func(e *yaml.Node) error {
		text, err := d.text(e)
		all = append(all, text)
		return err
	})
	return all, err
}

// list calls take for each element of a sequence; a single value stands for a list of one.
func (d document) list(n *yaml.Node, take func(*yaml.Node) error) error {
	if n.Kind != yaml.SequenceNode {
		return take(n)
	}
	for _, e := range n.Content {
		if err := take(e); err != nil {
			return err
		}
	}
	return nil
}

// params applies the keys of a mapping to p. uses are the keys that have an effect; nil: all.
func (d document) params(n *yaml.Node, p *result.Params, uses []string) error {
	return d.fields(n, func(key, value *yaml.Node) error { return d.param(key, value, p, uses) })
}

func (d document) param(key, value *yaml.Node, p *result.Params, uses []string) error {
	text, err := d.text(value)
	if err != nil {
		return err
	}
	if uses != nil && !slices.Contains(uses, key.Value) {
		return d.at(key, "this scenario does not read %q%s", key.Value, suggest.Hint(key.Value, uses))
	}
	if err := p.Set(key.Value, text); err != nil {
		return d.at(value, "%w", err)
	}
	return nil
}
