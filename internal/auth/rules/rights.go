package rules

import (
	"fmt"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Rights are what one identity may do. Immutable, and safe for all. Nil Rights are those of who is not judged.
type Rights struct {
	set   *Set
	rules numbers             // that are for it
	lists uint8               // acts of which these rules speak, as rule.lists
	kinds uint8               // that it may claim, as rule.kinds
	own   map[ownKey]struct{} // what patterns with variables have become; nil: nothing
	short [numActs]uint16     // shapes that occur there
	cut   bool                // there would have been more
}

// ownKey is what an identity may do with names that have key.
type ownKey struct {
	key
	act Act
}

// JudgesDialed reports whether links are judged that the node has opened.
func (s *Set) JudgesDialed() bool { return s.dialed }

// For returns what an identity may do; nil is somebody who has shown nothing. It takes some microseconds, and up to some hundred where
// variables of thousands of patterns stand for something, or where thousands of rules differ in nothing but issuer, mechanisms and claims
// that may be anything: that is for once in the life of a connection. A nil Set gives nil Rights.
func (s *Set) For(who *auth.Identity) *Rights {
	if s == nil {
		return nil
	}
	if who == nil {
		who = &auth.Identity{Mechanism: Anonymous}
	}
	r := &Rights{set: s}
	var keys []ownKey
	e := expansion{who: who, left: maxExpansions}
	m := meaning{who: who}
	for _, n := range s.whom.find(&m) {
		if x := &s.rules[n]; m.means(x) {
			r.rules.add(n, len(s.rules))
			r.lists |= x.lists
			r.kinds |= x.kinds
			keys = r.expand(&e, x, keys)
		}
	}
	if len(keys) > 0 {
		r.own = make(map[ownKey]struct{}, len(keys))
		for _, k := range keys {
			r.own[k] = struct{}{}
			r.short[k.act] |= 1 << k.shape
		}
	}
	return r
}

// expand appends what the patterns of x that have variables become.
func (r *Rights) expand(e *expansion, x *rule, keys []ownKey) []ownKey {
	for a := range numActs {
		if len(x.open[a]) == 0 {
			continue
		}
		e.found = func(k key) { keys = append(keys, ownKey{k, a}) }
		for i := range x.open[a] {
			if r.cut {
				return keys
			}
			r.cut = !e.expand(&x.open[a][i])
		}
	}
	return keys
}

// meaning finds out which rules mean an identity. What a claim says is looked up once.
type meaning struct {
	who  *auth.Identity
	said map[string]map[string]struct{} // by path
}

func (m *meaning) means(x *rule) bool {
	if len(x.mechanisms) > 0 && !slices.Contains(x.mechanisms, m.who.Mechanism) || !x.issuer.takes(m.who.Issuer) || !x.subject.takes(m.who.Subject) {
		return false
	}
	for i := range x.claims {
		if !m.says(&x.claims[i]) {
			return false
		}
	}
	return true
}

// saying returns what the claim says, whose path is at as one text.
func (m *meaning) saying(at string, path []string) map[string]struct{} {
	said, looked := m.said[at]
	if !looked {
		said = map[string]struct{}{}
		values(m.who.Claims, path, func(s string) bool { said[s] = struct{}{}; return true })
		if m.said == nil {
			m.said = map[string]map[string]struct{}{}
		}
		m.said[at] = said
	}
	return said
}

// says reports whether the identity has the claim, with one of its values.
func (m *meaning) says(c *claim) bool {
	said := m.saying(c.at, c.path)
	if c.values == nil {
		return len(said) > 0
	}
	few, many := c.values, said
	if len(few) > len(many) {
		few, many = many, few
	}
	for v := range few {
		if _, ok := many[v]; ok {
			return true
		}
	}
	return false
}

// May reports whether n may be used for an act. It allocates nothing.
func (r *Rights) May(a Act, n *wire.Name) bool {
	if r == nil {
		return true
	}
	if r.lists>>a&1 == 0 {
		return r.set.allow
	}
	x := &r.set.at[a]
	for s := range shape(shapes) {
		if r.short[a]>>s&1 != 0 {
			if _, ok := r.own[ownKey{keyOf(n, s), a}]; ok {
				return true
			}
		}
		if x.shapes>>s&1 != 0 {
			if at := x.rules[keyOf(n, s)]; at != nil && at.meets(&r.rules) {
				return true
			}
		}
	}
	return false
}

// MayClaim reports whether a connection may be of a kind; one that the protocol does not know is remote (P-neg-4).
func (r *Rights) MayClaim(k wire.LinkKind) bool {
	if k > wire.LinkEdge {
		k = wire.LinkRemote
	}
	switch {
	case r == nil:
		return true
	case r.lists&listsKinds == 0:
		return r.set.allow
	}
	return r.kinds>>k&1 != 0
}

// Why says, for an operator, on what the answer no to an act rests.
func (r *Rights) Why(a Act) string { return r.why(1<<a, a.String()+" names") }

// WhyClaim is Why for MayClaim.
func (r *Rights) WhyClaim() string { return r.why(listsKinds, "claim kinds") }

func (r *Rights) why(list uint8, what string) string {
	switch {
	case r.lists&list == 0:
		return "no rule lets this identity " + what + ", and the default is deny"
	case r.cut:
		return fmt.Sprintf("not in the lists of the rules for this identity, whose variables have more than %d values: further ones do not count", maxExpansions)
	}
	return "not in the lists of the rules for this identity"
}
