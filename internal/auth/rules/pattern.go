package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// shape says which parts of a name are given: bits 0 to 2 the components, bit 3 the id. The others may be anything.
type shape uint8

const (
	idGiven = 1 << 3
	shapes  = 1 << 4
)

// key is what a pattern of a shape gives; the other parts are zero.
type key struct {
	name  wire.Name
	shape shape
}

// keyOf is the part of n that a shape gives.
func keyOf(n *wire.Name, s shape) key {
	k := key{shape: s}
	for i := range n.C {
		if s>>i&1 != 0 {
			k.name.C[i] = n.C[i]
		}
	}
	if s&idGiven != 0 {
		k.name.Hi, k.name.Lo = n.Hi, n.Lo
	}
	return k
}

// pattern is a pattern of names. Without variables it is its key.
type pattern struct {
	key   key
	parts [4]template // components and the text whose hash is the id; nil: given by key, or any
	open  bool        // it has variables
}

// template is a text with variables.
type template []piece

// piece is text or a variable.
type piece struct {
	text string
	v    *variable // nil: text
}

// variable is what an identity says of itself.
type variable struct {
	kind variableKind
	path []string // of a claim
}

type variableKind uint8

const (
	varSubject variableKind = iota
	varIssuer
	varClaim
)

// parsePattern reads ORG/NAMESPACE/APP or ORG/NAMESPACE/APP/ID.
func parsePattern(s string) (p pattern, err error) {
	if len(s) > MaxText {
		return p, fmt.Errorf("the pattern has %d bytes: at most %d can be", len(s), MaxText)
	}
	parts, err := splitPattern(s)
	if err != nil {
		return p, err
	}
	if len(parts) != 3 && len(parts) != 4 {
		return p, fmt.Errorf("%q has %d parts: want ORG/NAMESPACE/APP, where * stands for any, or that and /ID", s, len(parts))
	}
	for i, part := range parts[:3] {
		if err := p.component(i, part); err != nil {
			return p, fmt.Errorf("%q: %w", s, err)
		}
	}
	if len(parts) == 4 {
		if err := p.id(parts[3]); err != nil {
			return p, fmt.Errorf("%q: %w", s, err)
		}
	}
	return p, nil
}

// splitPattern cuts at slashes, but not within variables.
func splitPattern(s string) (parts []string, err error) {
	from := 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "${"):
			end := variableEnd(s[i:])
			if end < 0 {
				return nil, fmt.Errorf("%q: a variable has no end: want ${sub}, ${iss} or ${claims.NAME}", s)
			}
			i += end - 1
		case s[i] == '/':
			parts = append(parts, s[from:i])
			from = i + 1
		}
	}
	return append(parts, s[from:]), nil
}

// variableEnd is where the variable ends with which s begins; negative: it does not.
func variableEnd(s string) int {
	quoted := false
	for i := 2; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '}' && !quoted:
			return i + 1
		}
	}
	return -1
}

var errPartial = errors.New("* stands for a whole component: names travel as hashes, and whoever wants to finds a text of that " +
	"form with the hash of another name; list the names, or give them a component in common")

func (p *pattern) component(i int, s string) error {
	if s == "*" {
		return nil
	}
	if s == "" {
		return fmt.Errorf("component %d is empty: * stands for any", i+1)
	}
	t, err := parseTemplate(s)
	if err != nil {
		return err
	}
	for _, x := range t {
		if strings.Contains(x.text, "*") {
			return errPartial
		}
	}
	p.key.shape |= 1 << i
	if t.open() {
		p.parts[i], p.open = t, true
	} else {
		p.key.name.C[i] = wire.Hash(s)
	}
	return nil
}

// id reads the fourth part: *, NULL_COMPONENT, a UUID, or id(TEXT), the id of an app with that identity (P-name-3).
func (p *pattern) id(s string) error {
	if s == "*" {
		return nil
	}
	p.key.shape |= idGiven
	text, ok := strings.CutPrefix(s, "id(")
	if !ok {
		hi, lo, err := wire.ParseID(s)
		if err != nil {
			return fmt.Errorf("id %q is no UUID, nor NULL_COMPONENT, * or id(TEXT)", s)
		}
		p.key.name.Hi, p.key.name.Lo = hi, lo
		return nil
	}
	text, ok = strings.CutSuffix(text, ")")
	if !ok || text == "" {
		return fmt.Errorf("id %q: want id(TEXT), the id of an app of that identity", s)
	}
	t, err := parseTemplate(text)
	if err != nil {
		return err
	}
	if t.open() {
		p.parts[3], p.open = t, true
	} else {
		p.key.name.Hi, p.key.name.Lo = wire.HashID(text)
	}
	return nil
}

func parseTemplate(s string) (t template, err error) {
	for s != "" {
		at := strings.Index(s, "${")
		if at != 0 {
			if at < 0 {
				at = len(s)
			}
			t = append(t, piece{text: s[:at]})
			s = s[at:]
			continue
		}
		end := variableEnd(s)
		if end < 0 {
			return nil, fmt.Errorf("a variable has no end: want ${sub}, ${iss} or ${claims.NAME}")
		}
		v, err := parseVariable(s[2 : end-1])
		if err != nil {
			return nil, err
		}
		t = append(t, piece{v: v})
		s = s[end:]
	}
	return t, nil
}

func parseVariable(s string) (*variable, error) {
	switch rest, isClaim := strings.CutPrefix(s, "claims"); {
	case s == "sub":
		return &variable{kind: varSubject}, nil
	case s == "iss":
		return &variable{kind: varIssuer}, nil
	case isClaim && rest != "" && (rest[0] == '.' || rest[0] == '['):
		path, err := parsePath(strings.TrimPrefix(rest, "."))
		if err != nil {
			return nil, err
		}
		return &variable{kind: varClaim, path: path}, nil
	}
	return nil, fmt.Errorf(`unknown variable ${%s}: want ${sub}, ${iss} or ${claims.NAME}`, s)
}

// open reports whether t has variables.
func (t template) open() bool {
	for i := range t {
		if t[i].v != nil {
			return true
		}
	}
	return false
}

// each calls yield for what v can be for an identity.
func (v *variable) each(who *auth.Identity, yield func(string) bool) {
	var one string
	switch v.kind {
	case varSubject:
		one = who.Subject
	case varIssuer:
		one = who.Issuer
	default:
		values(who.Claims, v.path, yield)
		return
	}
	if one != "" && len(one) <= MaxText {
		yield(one)
	}
}

// maxExpansions bounds what variables of patterns become for one identity, keys and attempts together: claims may be lists,
// and a pattern may combine several.
const maxExpansions = 1 << 11

// expansion is the work of putting an identity into patterns.
type expansion struct {
	who   *auth.Identity
	left  int // of maxExpansions
	found func(key)
}

// expand finds all keys that p can be. It reports whether it has found all.
func (e *expansion) expand(p *pattern) bool { return e.part(p, 0, p.key) }

// part fills in the parts of k from i on.
func (e *expansion) part(p *pattern, i int, k key) bool {
	for i < len(p.parts) && p.parts[i] == nil {
		i++
	}
	if i == len(p.parts) {
		e.found(k)
		return true
	}
	return e.text(p.parts[i], "", func(s string) bool {
		if i < 3 {
			k.name.C[i] = wire.Hash(s)
		} else {
			k.name.Hi, k.name.Lo = wire.HashID(s)
		}
		return e.part(p, i+1, k)
	})
}

// text calls yield for what t can be, each after head, and reports whether it was all.
func (e *expansion) text(t template, head string, yield func(string) bool) (all bool) {
	switch {
	case e.left == 0:
		return false
	case len(head) > MaxText: // it stands for nothing
		return true
	case len(t) == 0:
		e.left--
		return yield(head)
	case t[0].v == nil:
		return e.text(t[1:], head+t[0].text, yield)
	}
	all = true
	t[0].v.each(e.who, func(s string) bool {
		if e.left == 0 {
			all = false
			return false
		}
		e.left--
		all = e.text(t[1:], head+s, yield)
		return all
	})
	return all
}
