package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Act is what a name is used for.
type Act uint8

// The acts.
const (
	Subscribe Act = iota
	Publish       // to the name
	From          // publish from the name
	numActs
)

var acts = [numActs]string{"subscribe to", "publish to", "publish from"}

// String says it in words: "subscribe to".
func (a Act) String() string {
	if a < numActs {
		return acts[a]
	}
	return fmt.Sprintf("act(%d)", uint8(a))
}

// Set is a Source, compiled. Immutable, and safe for all. A nil Set is none: nobody is to be judged.
type Set struct {
	allow, dialed bool
	rules         []rule         // one for each Who, however many there were
	at            [numActs]index // patterns without variables
	whom          whom
}

// rule is what is left of the Rules with one Who: as rules only allow, they are one.
type rule struct {
	mechanisms      []string
	issuer, subject glob
	claims          []claim
	lists           uint8 // bit for each Act, and claims for kinds
	kinds           uint8 // bit for each wire.LinkKind
	open            [numActs][]pattern
}

// listsKinds is the bit of rule.lists for Claim.
const listsKinds = 1 << numActs

type claim struct {
	path   []string
	at     string              // path, as one text
	values map[string]struct{} // nil: any
}

// index are patterns of an act without variables, by what they give.
type index struct {
	shapes uint16 // that occur, a bit for each
	rules  map[key]*numbers
}

func (x *index) add(k key, n uint32, all int) {
	if x.rules == nil {
		x.rules = map[key]*numbers{}
	}
	at := x.rules[k]
	if at == nil {
		at = new(numbers)
		x.rules[k] = at
	}
	x.shapes |= 1 << k.shape
	at.add(n, all)
}

// Compile makes a Set of s, or says all that is wrong with it: the error is Faults.
func Compile(s *Source) (*Set, error) {
	c := compiler{set: &Set{allow: s.Allow, dialed: s.Dialed, whom: newWhom()}, byWho: map[string]int{}}
	if len(s.Rules) > MaxRules {
		c.fault(s.Rules[MaxRules].Place, fmt.Errorf("there are %d rules: at most %d can be", len(s.Rules), MaxRules))
		return nil, c.faults
	}
	for i := range s.Rules {
		c.rule(&s.Rules[i])
	}
	if c.patterns > MaxPatterns {
		c.fault(Place{}, fmt.Errorf("there are %d patterns of names: at most %d can be", c.patterns, MaxPatterns))
	}
	if c.values > MaxValues {
		c.fault(Place{}, fmt.Errorf("there are %d values of claims: at most %d can be", c.values, MaxValues))
	}
	if len(c.faults) > 0 {
		slices.SortStableFunc(c.faults, func(a, b Fault) int { return a.Place.compare(b.Place) })
		return nil, c.faults
	}
	c.index()
	return c.set, nil
}

type compiler struct {
	set              *Set
	byWho            map[string]int // numbers of set.rules
	closed           []closed
	patterns, values int
	faults           Faults
}

func (c *compiler) fault(p Place, err error) {
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, Fault{p, err.Error()})
	}
}

// closed is a pattern without variables.
type closed struct {
	rule int
	act  Act
	key  key
}

func (c *compiler) rule(r *Rule) {
	who := rule{}
	c.who(&who, &r.Who)
	id := who.id()
	n, has := c.byWho[id]
	if !has {
		n = len(c.set.rules)
		c.byWho[id] = n
		c.set.rules = append(c.set.rules, who)
		c.set.whom.add(uint32(n), &who)
	}
	c.kinds(n, r.Claim)
	for a, l := range [numActs]*List{r.Subscribe, r.Publish, r.Source} {
		c.list(n, Act(a), l)
	}
	if r.Claim == nil && r.Subscribe == nil && r.Publish == nil && r.Source == nil {
		c.fault(r.Place, fmt.Errorf("the rule allows nothing and forbids nothing: want claim, subscribe, publish or source"))
	}
}

// id is the same for all rules that are for the same identities by the same words.
func (r *rule) id() string {
	claims := make([]string, len(r.claims))
	for i := range r.claims {
		x := &r.claims[i]
		claims[i] = fmt.Sprintf("%s %t %q", x.at, x.values == nil, slices.Sorted(maps.Keys(x.values)))
	}
	slices.Sort(claims)
	mechanisms := slices.Sorted(slices.Values(r.mechanisms))
	return fmt.Sprintf("%q %q %q", mechanisms, []string{r.issuer.id(), r.subject.id()}, claims)
}

// index makes the indexes of all patterns without variables.
func (c *compiler) index() {
	slices.SortStableFunc(c.closed, func(a, b closed) int { return cmp.Compare(a.rule, b.rule) })
	for i := range c.closed {
		x := &c.closed[i]
		c.set.at[x.act].add(x.key, uint32(x.rule), len(c.set.rules))
	}
}

// mechanisms are the words of Who.Mechanisms.
var mechanisms = []string{Anonymous, auth.Basic, auth.JWT, auth.OIDC, auth.SPIRE, auth.MTLS, auth.Secret, Dialed}

func (c *compiler) who(out *rule, w *Who) {
	for _, m := range w.Mechanisms {
		if c.word(m, "mechanism", mechanisms) {
			out.mechanisms = append(out.mechanisms, m.Text)
		}
	}
	for _, g := range []struct {
		text Text
		to   *glob
	}{{w.Issuer, &out.issuer}, {w.Subject, &out.subject}} {
		if g.text.Text == "" || !c.short(g.text) {
			continue
		}
		var err error
		if *g.to, err = parseGlob(g.text.Text); err != nil {
			c.fault(g.text.Place, err)
		}
	}
	for _, x := range w.Claims {
		c.claim(out, &x)
	}
}

func (c *compiler) claim(out *rule, x *Claim) {
	if !c.short(x.Path) {
		return
	}
	path, err := parsePath(x.Path.Text)
	if err != nil {
		c.fault(x.Path.Place, err)
		return
	}
	if len(x.Values) == 0 {
		c.fault(x.Path.Place, fmt.Errorf("claim %s has no value, with which nobody is meant: * is any", x.Path.Text))
	}
	k := claim{path: path, at: fmt.Sprintf("%q", path), values: map[string]struct{}{}}
	for _, v := range x.Values {
		switch {
		case !c.short(v):
		case v.Text == "":
			c.fault(v.Place, fmt.Errorf("claim %s: an empty value is never found: * is any", x.Path.Text))
		case v.Text == "*" && len(x.Values) > 1:
			c.fault(v.Place, fmt.Errorf("claim %s: * is any value, and stands alone", x.Path.Text))
		case v.Text == "*":
			k.values = nil
		default:
			k.values[v.Text] = struct{}{}
		}
	}
	c.values += len(x.Values)
	out.claims = append(out.claims, k)
}

var kindWords = []string{"edge", "peer", "remote"}

func (c *compiler) kinds(n int, l *List) {
	if l == nil {
		return
	}
	out := &c.set.rules[n]
	out.lists |= listsKinds
	for _, t := range l.Texts {
		if !c.word(t, "kind", kindWords) {
			continue
		}
		out.kinds |= 1 << [...]wire.LinkKind{wire.LinkEdge, wire.LinkPeer, wire.LinkRemote}[slices.Index(kindWords, t.Text)]
	}
}

func (c *compiler) list(n int, a Act, l *List) {
	if l == nil {
		return
	}
	out := &c.set.rules[n]
	out.lists |= 1 << a
	if c.patterns += len(l.Texts); c.patterns > MaxPatterns {
		return
	}
	for _, t := range l.Texts {
		p, err := parsePattern(t.Text)
		switch {
		case err != nil:
			c.fault(t.Place, err)
		case p.open:
			out.open[a] = append(out.open[a], p)
		default:
			c.closed = append(c.closed, closed{n, a, p.key})
		}
	}
}

func (c *compiler) word(t Text, what string, words []string) bool {
	if slices.Contains(words, t.Text) {
		return true
	}
	text := fmt.Sprintf("unknown %s %q: want one of %v", what, cut(t.Text), words)
	if near := suggest.Nearest(t.Text, words); near != "" {
		text = fmt.Sprintf("unknown %s %q: did you mean %s?", what, cut(t.Text), near)
	}
	c.fault(t.Place, fmt.Errorf("%s", text))
	return false
}

func (c *compiler) short(t Text) bool {
	if len(t.Text) > MaxText {
		c.fault(t.Place, fmt.Errorf("the text has %d bytes: at most %d can be", len(t.Text), MaxText))
		return false
	}
	return true
}

// cut is the beginning of a text, for errors.
func cut(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
