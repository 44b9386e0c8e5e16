package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// decoder carries one load: the first error wins, and after it results no longer matter, so decoding functions return
// values and no errors.
type decoder struct {
	file     string
	context  string // outermost text of an error found now
	err      *Error
	warnings []Warning

	collect bool     // faults after the first are kept, too: see Check
	found   []*Error // these, in the order of the schema
	decoded int      // how many of these came before check
	broken  bool     // there is no tree to go on with
	many    bool     // the file is one of rules: see maxRuleNodes

	visit func(path string, keys []string) // of tests: hears of each block and the keys that it may have; nil: nobody does

	refused        []Reason // features in use that this node does not have
	refusedContext string   // of all of them
}

// fail notes an error of a class at a node and returns it for further detail. Only the first is kept.
func (d *decoder) fail(n *node, path, class, text string) *Error {
	e := &Error{
		Context: []string{d.context, class},
		Reasons: []Reason{{File: d.file, Position: n.pos, Path: path, Text: text}},
	}
	if d.err == nil {
		d.err = e
	}
	if d.collect && len(d.found) < maxFaults {
		d.found = append(d.found, e)
	}
	return e
}

// bad is fail for a value that does not decode.
func (d *decoder) bad(n *node, path, text string) *Error {
	return d.fail(n, path, "yaml parse error", text)
}

// mistyped is bad for a value of the wrong type; the text is upstream's.
func (d *decoder) mistyped(n *node, path, expected string) {
	d.bad(n, path, "invalid type: "+n.describe()+", expected "+expected).hint(typeHint(n, expected))
}

func (d *decoder) warn(p Position, path, text string) *Warning {
	d.warnings = append(d.warnings, Warning{File: d.file, Position: p, Path: path, Text: text})
	return &d.warnings[len(d.warnings)-1]
}

// inFileOrder sorts what was found in the order of the schema.
func (d *decoder) inFileOrder() {
	slices.SortStableFunc(d.warnings, func(a, b Warning) int { return a.Position.compare(b.Position) })
	slices.SortStableFunc(d.refused, func(a, b Reason) int { return a.Position.compare(b.Position) })
}

// unsupported notes that the file uses a feature this node does not have.
func (d *decoder) unsupported(p Position, path string) {
	d.refusedContext = d.context
	d.refused = append(d.refused, Reason{File: d.file, Position: p, Path: path, Text: "not supported yet: " + path})
}

// unknown says what becomes of keys that no field method asked for.
type unknown uint8

const (
	strict  unknown = iota // an error, with the accepted keys
	lenient                // a warning: upstream ignores them
)

// object reads the fields of one mapping. Each field method leaves its target as it is when the key is absent.
type object struct {
	d       *decoder
	n       *node
	path    string
	what    string // upstream's name for it
	unknown unknown
	absent  bool     // something else stands in its place
	keys    []string // asked for so far
}

// object begins a mapping; null stands for an empty one. what is upstream's name for it in type errors.
func (d *decoder) object(n *node, path, what string, u unknown) *object {
	absent := n.kind != mapKind && n.kind != nullKind
	if absent {
		d.mistyped(n, path, what)
		n = &node{pos: n.pos}
	}
	return &object{d: d, n: n, path: path, what: what, unknown: u, absent: absent}
}

// end handles the keys nobody asked for. Rules: P-conf-7.
func (o *object) end() {
	if o.d.visit != nil {
		o.d.visit(o.path, o.keys)
	}
	for _, e := range o.n.entries {
		switch {
		case e.key.kind != stringKind:
			o.d.bad(e.key, o.path, "invalid type: "+e.key.describe()+", expected field identifier")
		case slices.Contains(o.keys, e.key.str):
		case o.unknown == strict:
			o.d.bad(e.key, join(o.path, e.key.str), fmt.Sprintf("unknown field `%s`, expected %s", e.key.str, oneOf(o.keys))).
				lead(o.what, e.key.str, o.keys)
		default:
			w := o.d.warn(e.key.pos, join(o.path, e.key.str), "unknown key is ignored")
			(*Reason)(w).lead(o.what, e.key.str, o.keys)
		}
	}
}

// oneOf lists alternatives as upstream does.
func oneOf(words []string) string {
	all := "`" + strings.Join(words, "`, `") + "`"
	switch len(words) {
	case 1:
		return all
	case 2:
		return strings.Replace(all, ", ", " or ", 1)
	}
	return "one of " + all
}

func (o *object) get(key string) *node {
	if !slices.Contains(o.keys, key) {
		o.keys = append(o.keys, key)
	}
	return o.n.get(key)
}

// at returns the position of a key that was asked for, or of the mapping.
func (o *object) at(key string) Position {
	for _, e := range o.n.entries {
		if e.key.kind == stringKind && e.key.str == key {
			return e.key.pos
		}
	}
	return o.n.pos
}

// unused asks for a key that upstream reads and then does nothing with.
func (o *object) unused(key, why string) *node {
	v := o.get(key)
	if v != nil && v.kind != nullKind {
		o.d.warn(o.at(key), join(o.path, key), "has no effect"+why)
	}
	return v
}

// missing refuses the absence of a required key.
func (o *object) missing(key string) {
	o.d.bad(o.n, o.path, "missing field `"+key+"`")
}

func (o *object) required(key string) {
	if o.n.get(key) == nil && !o.absent {
		o.missing(key)
	}
}

func (o *object) bool(key string, to *bool) {
	if v := o.get(key); v != nil {
		if v.kind != boolKind {
			o.d.mistyped(v, join(o.path, key), "a boolean")
		}
		*to = v.bool
	}
}

func (o *object) str(key string, to *string) {
	if v := o.get(key); v != nil {
		*to = o.d.text(v, join(o.path, key))
	}
}

// optStr is str for a key whose null means absent. Rules: P-conf-6.
func (o *object) optStr(key string, to *string) {
	if v := o.get(key); v != nil && v.kind != nullKind {
		*to = o.d.text(v, join(o.path, key))
	}
}

// secret is str for a value that no message repeats.
func (o *object) secret(key string, to *Secret) {
	v := o.get(key)
	if v == nil {
		return
	}
	if v.kind != stringKind {
		o.d.bad(v, join(o.path, key), "invalid type: expected a string (a number must stand in quotes)")
	}
	to.text = v.str
}

func (d *decoder) text(v *node, path string) string {
	if v.kind != stringKind {
		d.mistyped(v, path, "a string")
	}
	return v.str
}

// uint reads an unsigned integer of so many bits; rust names it in errors.
func (o *object) uint(key, rust string, bits int, to *uint64) (ok bool) {
	v := o.get(key)
	if v == nil {
		return false
	}
	switch {
	case v.kind != intKind:
		o.d.mistyped(v, join(o.path, key), rust)
	case v.neg || bits < 64 && v.uint >= 1<<bits:
		o.d.bad(v, join(o.path, key), "invalid value: "+v.describe()+", expected "+rust)
	default:
		*to = v.uint
		return true
	}
	return false
}

// optUint is uint for a key whose null means absent.
func (o *object) optUint(key, rust string, bits int, to **uint64) {
	if v := o.n.get(key); v == nil || v.kind == nullKind {
		o.keys = append(o.keys, key)
		return
	}
	n := new(uint64)
	if o.uint(key, rust, bits, n) {
		*to = n
	}
}

func (o *object) duration(key string, to *time.Duration) {
	if v := o.get(key); v != nil {
		*to = o.d.durationValue(v, join(o.path, key))
	}
}

func (d *decoder) durationValue(v *node, path string) time.Duration {
	if v.kind != stringKind {
		d.mistyped(v, path, "string")
		return 0
	}
	t, err := ParseDuration(v.str)
	if err != nil {
		d.bad(v, path, fmt.Sprintf("invalid value: string %q, expected string", err)).hint(durationHint(v.str))
	}
	return t
}

// enum reads one of words, exactly as spelled.
func (o *object) enum(key string, to *string, words ...string) {
	if v := o.get(key); v != nil {
		*to = o.d.variant(v, join(o.path, key), "a Value::Tagged enum", words)
	}
}

// optEnum is enum for a key whose null means absent.
func (o *object) optEnum(key string, to *string, words ...string) {
	if v := o.get(key); v != nil && v.kind != nullKind {
		*to = o.d.variant(v, join(o.path, key), "a Value::Tagged enum", words)
	}
}

func (d *decoder) variant(v *node, path, what string, words []string) string {
	switch {
	case v.kind != stringKind:
		d.mistyped(v, path, what)
	case !slices.Contains(words, v.str):
		d.bad(v, path, fmt.Sprintf("unknown variant `%s`, expected %s", v.str, oneOf(words))).near(v.str, words)
	}
	return v.str
}

// list returns the items of a list; null is empty.
func (o *object) list(key string) []*node {
	v := o.get(key)
	if v == nil {
		return nil
	}
	if v.kind != listKind && v.kind != nullKind {
		o.d.mistyped(v, join(o.path, key), "a sequence")
	}
	return v.items
}

// strs reads a list of strings; null is empty.
func (o *object) strs(key string, to *[]string) {
	if o.n.get(key) != nil {
		*to = nil
	}
	for i, v := range o.list(key) {
		*to = append(*to, o.d.text(v, indexed(join(o.path, key), i)))
	}
}

// texts reads a map from string to string; null is empty.
func (o *object) texts(key string) map[string]string {
	v := o.get(key)
	if v == nil || v.kind == nullKind {
		return nil
	}
	path := join(o.path, key)
	if v.kind != mapKind {
		o.d.mistyped(v, path, "a map")
		return nil
	}
	m := make(map[string]string, len(v.entries))
	for _, e := range v.entries {
		k := o.d.text(e.key, path)
		m[k] = o.d.text(e.val, join(path, k))
	}
	return m
}

// data reads free data: strings, booleans, finite numbers, lists and maps with string keys; null means absent at the
// top and is an error below.
func (o *object) data(key string) map[string]any {
	v := o.get(key)
	if v == nil || v.kind == nullKind {
		return nil
	}
	path := join(o.path, key)
	if v.kind != mapKind {
		o.d.mistyped(v, path, "a map")
		return nil
	}
	m, _ := o.d.free(v, path).(map[string]any)
	return m
}

// Provided is text of free data that a reference has brought in, ${env:NAME} or ${file:PATH}: it may be a secret.
type Provided string

func (d *decoder) free(v *node, path string) any {
	switch v.kind {
	case boolKind:
		return v.bool
	case stringKind:
		if v.from != "" {
			return Provided(v.str)
		}
		return v.str
	case intKind:
		if v.neg {
			return -int64(v.uint)
		}
		return v.uint
	case floatKind:
		if !math.IsNaN(v.float) && !math.IsInf(v.float, 0) {
			return v.float
		}
	case listKind:
		out := make([]any, 0, len(v.items))
		for i, item := range v.items {
			out = append(out, d.free(item, indexed(path, i)))
		}
		return out
	case mapKind:
		m := make(map[string]any, len(v.entries))
		for _, e := range v.entries {
			m[d.text(e.key, path)] = d.free(e.val, join(path, e.key.str))
		}
		return m
	}
	d.bad(v, path, "data did not match any variant of untagged enum MetadataValue: "+v.describe())
	return nil
}

// Secret is a text that prints as asterisks and cannot be compared with ==. Rules: P-conf-20.
type Secret struct {
	_    [0]func()
	text string
}

// Reveal returns the text itself.
func (s Secret) Reveal() string { return s.text }

// String returns asterisks, also for %v in logs and dumps.
func (s Secret) String() string { return "********" }

// GoString is String for %#v.
func (s Secret) GoString() string { return "********" }

// MarshalText is String for encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte("********"), nil }
