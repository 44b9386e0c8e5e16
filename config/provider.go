package config

import "strings"

// maxProvided bounds the bytes that all references of one file may bring in.
const maxProvided = 4 * MaxFileSize

// resolve replaces every string value of the tree that is a reference, ${env:NAME} or ${file:PATH}, by what it names:
// values only, once, and only if the whole value is the reference. The result is always a string. Rules: P-conf-9.
func resolve(d *decoder, root *node, env func(string) (string, bool)) {
	r := resolver{d: d, env: env}
	r.walk(root, "")
}

type resolver struct {
	d     *decoder
	env   func(string) (string, bool)
	bytes int // brought in so far; beyond maxProvided nothing more is
}

func (r *resolver) walk(n *node, path string) {
	if r.d.err != nil && !r.d.collect || r.bytes > maxProvided {
		return
	}
	switch n.kind {
	case stringKind:
		switch {
		case strings.HasPrefix(n.str, "${") && strings.HasSuffix(n.str, "}"):
			r.replace(n, path)
		case referenceInside(n.str):
			r.d.warn(n.pos, path, "the reference in it is not replaced: "+wholeValueOnly)
		}
	case listKind:
		for i, item := range n.items {
			r.walk(item, indexed(path, i))
		}
	case mapKind:
		for _, e := range n.entries {
			r.walk(e.val, join(path, e.key.str))
		}
	}
}

func (r *resolver) replace(n *node, path string) {
	reference := n.str
	provider, argument, ok := strings.Cut(reference[2:len(reference)-1], ":")
	fail := func(text, hint string, classes ...string) {
		e := r.d.fail(n, path, providerError, text)
		e.Context = append(e.Context, classes...)
		e.hint(hint)
	}
	switch {
	case ok && provider == "env":
		v, found := r.env(argument)
		if !found {
			fail("environment variable not found: "+quote(argument), nameHint(argument), "environment variable error")
			return
		}
		n.str = v
	case ok && provider == "file":
		b, err := readFile(argument)
		if err != nil {
			fail(ioText(err)+": "+quote(argument), nameHint(argument), "file error")
			return
		}
		n.str = string(b)
	default:
		fail("not found: "+quote(reference)+" names no provider", "there are ${env:NAME} and ${file:PATH}")
		return
	}
	n.from = reference
	if r.bytes += len(n.str); r.bytes > maxProvided {
		fail("the values of all references together are too large", "")
	}
}
