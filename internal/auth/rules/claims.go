package rules

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// parsePath reads the path of a claim: NAME, NAME.NAME, or ["NAME"] for a name with other characters than letters, digits,
// _, - and :.
func parsePath(s string) (path []string, err error) {
	if s == "" {
		return nil, fmt.Errorf("the name of the claim is missing")
	}
	for first := true; s != ""; first = false {
		var name string
		switch s[0] {
		case '[':
			end := strings.Index(s, `"]`)
			if !strings.HasPrefix(s, `["`) || end < 2 {
				return nil, fmt.Errorf(`claim %q: a name in brackets is written ["NAME"]`, s)
			}
			name, s = s[2:end], s[end+2:]
		default:
			if !first {
				if s[0] != '.' {
					return nil, fmt.Errorf("claim: want a dot before %q", s)
				}
				s = s[1:]
			}
			end := strings.IndexAny(s, ".[")
			if end < 0 {
				end = len(s)
			}
			name, s = s[:end], s[end:]
			if strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
				return nil, fmt.Errorf(`claim %q has other characters than letters, digits, _, - and :, and is written ["%s"]`, name, name)
			}
		}
		if name == "" {
			return nil, fmt.Errorf("a name of the claim is empty")
		}
		if path = append(path, name); len(path) > maxDepth {
			return nil, fmt.Errorf("the claim lies deeper than %d", maxDepth)
		}
	}
	return path, nil
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == ':'
}

// values calls yield for what the claim at path says, as text: itself, or each item if it is a list. A claim that is missing,
// null, empty, an object or too long says nothing.
func values(claims map[string]any, path []string, yield func(string) bool) {
	var at any = claims
	for _, name := range path {
		m, _ := at.(map[string]any)
		at = m[name]
	}
	items, isList := at.([]any)
	if !isList {
		items = []any{at}
	}
	for _, x := range items {
		if s := scalar(x); s != "" && len(s) <= MaxText && !yield(s) {
			return
		}
	}
}

// scalar is a value as text, "" for none.
func scalar(x any) string {
	switch x := x.(type) {
	case string:
		return x
	case bool:
		return strconv.FormatBool(x)
	case json.Number:
		return x.String()
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return ""
}

// glob is a text in which one * may stand for any bytes. The zero glob takes everything.
type glob struct {
	set, star      bool
	prefix, suffix string // without a star: prefix is all
}

func parseGlob(s string) (g glob, err error) {
	g = glob{set: true}
	g.prefix, g.suffix, g.star = strings.Cut(s, "*")
	if strings.Contains(g.suffix, "*") {
		return g, fmt.Errorf("%q has more than one *", s)
	}
	return g, nil
}

// id is the same for globs that take the same: as written, "" for one that is not set.
func (g *glob) id() string {
	if g.star {
		return g.prefix + "*" + g.suffix
	}
	return g.prefix
}

// takes reports whether s is meant. An absent text, which is empty, is meant by a glob alone that is not set.
func (g *glob) takes(s string) bool {
	switch {
	case !g.set:
		return true
	case s == "":
		return false
	case !g.star:
		return s == g.prefix
	}
	return len(s) >= len(g.prefix)+len(g.suffix) && strings.HasPrefix(s, g.prefix) && strings.HasSuffix(s, g.suffix)
}
