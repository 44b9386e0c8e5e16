package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	maxDepth = 128     // nesting, as upstream's reader
	maxNodes = 1 << 18 // values of a file with every alias expanded: the end of an alias bomb
	// maxRuleNodes is maxNodes for rules, of which there may be many: enough for all that rules.Compile takes.
	maxRuleNodes = 3 << 18
)

type kind uint8

const (
	nullKind kind = iota
	boolKind
	intKind
	floatKind
	stringKind
	listKind
	mapKind
)

// node is one YAML value. Aliases are expanded, so a tree has no shared nodes.
type node struct {
	kind kind
	pos  Position
	bool bool
	neg  bool // the integer is -uint
	uint uint64

	float   float64
	str     string
	from    string // the provider reference that str came from; "": written in the file
	items   []*node
	entries []entry
}

type entry struct{ key, val *node }

// get returns the value of a string key, nil if absent.
func (n *node) get(key string) *node {
	for _, e := range n.entries {
		if e.key.kind == stringKind && e.key.str == key {
			return e.val
		}
	}
	return nil
}

// describe spells the value as upstream's type errors do. Text that a provider put in is not repeated: it may be a
// secret.
func (n *node) describe() string {
	switch n.kind {
	case nullKind:
		return "unit value"
	case boolKind:
		return fmt.Sprintf("boolean `%t`", n.bool)
	case intKind:
		return "integer `" + n.number() + "`"
	case floatKind:
		text := strconv.FormatFloat(n.float, 'f', -1, 64)
		if !strings.ContainsAny(text, ".IN") {
			text += ".0"
		}
		return "floating point `" + text + "`"
	case stringKind:
		if n.from != "" {
			return "the string from " + n.from
		}
		return "string " + quote(n.str)
	case listKind:
		return "sequence"
	}
	return "map"
}

// number is an integer as text.
func (n *node) number() string {
	if n.neg {
		return fmt.Sprintf("-%d", n.uint)
	}
	return strconv.FormatUint(n.uint, 10)
}

// quote bounds and escapes text from the file for a message.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}

// tree reads exactly one YAML document.
func (d *decoder) tree(b []byte) (root *node) {
	// The parser reports some impossible states by panicking; foreign bytes must not end the process.
	defer func() {
		if r := recover(); r != nil {
			d.syntax(Position{}, fmt.Sprint("the parser failed: ", r))
			root = &node{}
		}
	}()
	root = &node{pos: Position{1, 1}}
	if b = d.yamlVersions(b); d.err != nil {
		return root
	}
	l, err := yaml.NewLoader(bytes.NewReader(b), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthFunc(checkDepth))))
	if err != nil {
		d.syntax(Position{}, err.Error())
		return root
	}
	var doc, second yaml.Node
	if err := l.Load(&doc); errors.Is(err, io.EOF) {
		return root // an empty file or only comments: null
	} else if err != nil {
		d.syntaxError(b, err)
		return root
	}
	if err := l.Load(&second); err == nil {
		d.syntax(Position{second.Line, second.Column},
			"deserializing from YAML containing more than one document is not supported")
		return root
	} else if !errors.Is(err, io.EOF) {
		d.syntaxError(b, err)
		return root
	}
	t := treeBuilder{d: d}
	for _, n := range doc.Content {
		root = t.build(n, "", 0)
	}
	return root
}

var errDepth = errors.New("recursion limit exceeded")

func checkDepth(depth int, _ *yaml.DepthContext) error {
	if depth > maxDepth {
		return errDepth
	}
	return nil
}

// syntaxError notes what the parser says about the file b.
func (d *decoder) syntaxError(b []byte, err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		d.syntax(Position{}, err.Error())
		return
	}
	text := le.Message
	if le.ContextMsg != "" {
		text += ", " + le.ContextMsg
		if le.ContextMark.Line > 0 {
			text += fmt.Sprintf(" that began at line %d column %d", le.ContextMark.Line, le.ContextMark.Column)
		}
	}
	d.syntax(Position{le.Mark.Line, le.Mark.Column}, text).hint(syntaxHint(b, le.Mark.Line))
}

func (d *decoder) syntax(p Position, text string) *Error {
	d.broken = true
	return d.fail(&node{pos: p}, "", "yaml parse error", text)
}

// treeBuilder turns the parser's nodes into ours. After the decoder's first error results no longer matter.
type treeBuilder struct {
	d     *decoder
	nodes int
}

func (t *treeBuilder) build(y *yaml.Node, path string, depth int) *node {
	n := &node{pos: Position{y.Line, y.Column}}
	t.nodes++
	switch {
	case t.d.err != nil && !t.d.collect, t.d.broken:
		return n
	case depth > maxDepth:
		t.d.syntax(n.pos, errDepth.Error())
		return n
	case t.d.many && t.nodes > maxRuleNodes:
		t.d.syntax(n.pos, fmt.Sprintf("the file has more than %d values, with what aliases repeat", maxRuleNodes))
		return n
	case !t.d.many && t.nodes > maxNodes:
		t.d.syntax(n.pos, "repetition limit exceeded")
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return t.build(y.Alias, path, depth+1)
	case yaml.SequenceNode:
		n.kind = listKind
		n.items = make([]*node, 0, len(y.Content))
		for i, c := range y.Content {
			n.items = append(n.items, t.build(c, indexed(path, i), depth+1))
		}
	case yaml.MappingNode:
		t.mapping(n, y, path, depth)
	default:
		t.scalar(n, y, path)
	}
	return n
}

func (t *treeBuilder) mapping(n *node, y *yaml.Node, path string, depth int) {
	n.kind = mapKind
	n.entries = make([]entry, 0, len(y.Content)/2)
	seen := make(map[string]bool, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := t.build(y.Content[i], path, depth+1)
		if key.kind <= stringKind {
			id := key.describe()
			if key.kind == stringKind {
				id = "=" + key.str
			}
			if seen[id] && !t.d.broken {
				text := key.describe()
				if key.kind == stringKind {
					text = quote(key.str)
				}
				t.d.fail(key, path, "yaml parse error", "duplicate entry with key "+text)
			}
			seen[id] = true
		}
		n.entries = append(n.entries, entry{key, t.build(y.Content[i+1], join(path, key.str), depth+1)})
	}
}

func (t *treeBuilder) scalar(n *node, y *yaml.Node, path string) {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	var want kind
	switch tag := y.Tag; {
	case y.Style&yaml.TaggedStyle == 0:
		want = mapKind // any
	case tag == "!!str":
		want = stringKind
	case tag == "!!bool":
		want = boolKind
	case tag == "!!int":
		want = intKind
	case tag == "!!float":
		want = floatKind
	case tag == "!!null":
		want = nullKind
	default:
		want = mapKind // a tag of the application's own says nothing here
	}
	if want == stringKind || want == mapKind && y.Style&quoted != 0 {
		n.kind, n.str = stringKind, y.Value
		return
	}
	if !n.setPlain(y.Value) {
		t.d.fail(n, path, "yaml parse error", "invalid type: integer `"+y.Value+"` as u128, expected any YAML value")
		return
	}
	if want == floatKind && n.kind == intKind {
		n.kind, n.float = floatKind, float64(n.uint)
		if n.neg {
			n.float = -n.float
		}
	}
	if want != mapKind && n.kind != want {
		t.d.fail(n, path, "yaml parse error", "invalid value: "+n.describe()+" does not fit its tag "+y.Tag)
	}
}

// join appends a key to a key path. Long keys are cut and long paths stay as they are, so that paths, which are made
// for every value, cost a hostile file's reader no more than a bounded amount each.
func join(path, key string) string {
	const longKey, longPath = 128, 1024
	switch {
	case len(path) > longPath:
		return path
	case len(key) > longKey:
		key = key[:longKey] + "…"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// indexed is join for an item of a list.
func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
