package rules_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/wire"
)

func list(texts ...string) *rules.List {
	l := &rules.List{}
	for i, s := range texts {
		l.Texts = append(l.Texts, rules.Text{Text: s, Place: rules.Place{File: "f", Line: 7, Column: i + 1}})
	}
	return l
}

func text(s string) rules.Text {
	return rules.Text{Text: s, Place: rules.Place{File: "f", Line: 3, Column: 5}}
}

func texts(words ...string) (out []rules.Text) {
	for _, w := range words {
		out = append(out, text(w))
	}
	return out
}

func compile(t testing.TB, s rules.Source) *rules.Set {
	t.Helper()
	set, err := rules.Compile(&s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// claims are a token's, as its verifier has them.
func claims(t testing.TB, s string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

func name(s string) wire.Name {
	p := strings.SplitN(s, "/", 3)
	return wire.NewName(p[0], p[1], p[2])
}

func alice(t testing.TB) *auth.Identity {
	return &auth.Identity{Mechanism: auth.JWT, Subject: "alice", Issuer: "https://idp.example.org", Claims: claims(t,
		`{"team":"blue","groups":["x","y"],"n":7,"yes":true,"nothing":null,"empty":"","star":"*","in":{"deep":"d"},"https://e.org/role":"r","many":[[],{},null,"z"]}`)}
}

// Rules: P-rule-2, P-rule-3, P-rule-4.
func TestPatterns(t *testing.T) {
	who := alice(t)
	for _, c := range []struct{ pattern, name, why string }{
		{"org/ns/app", "org/ns/app", "all is given"},
		{"org/ns/app", "!org/ns/apt", "another app"},
		{"org/ns/app", "!Org/ns/app", "case counts"},
		{"org/ns/*", "org/ns/anything", "any app"},
		{"org/ns/*", "org/ns/", "also one without a name"},
		{"org/ns/*", "!org/n/anything", "of this namespace"},
		{"*/ns/app", "x/ns/app", "any organisation"},
		{"org/*/app", "org/x/app", "any namespace"},
		{"*/*/*", "a/b/c", "any name"},
		{"org/${sub}/*", "org/alice/x", "the subject"},
		{"org/${sub}/*", "!org/bob/x", "another's"},
		{"org/team-${claims.team}/*", "org/team-blue/x", "a claim within a component"},
		{"org/${claims.team}/*", "!org/red/x", "another value"},
		{"org/${claims.groups}/*", "org/x/a", "an item of a list"},
		{"org/${claims.groups}/*", "org/y/a", "another item"},
		{"org/${claims.groups}/*", "!org/z/a", "no item"},
		{"org/${claims.groups}/${claims.groups}", "org/x/y", "items combine"},
		{"org/${claims.n}/${claims.yes}", "org/7/true", "numbers and booleans"},
		{"org/${claims.in.deep}/*", "org/d/a", "a claim in another"},
		{`org/${claims["in"]["deep"]}/*`, "org/d/a", "the same, quoted"},
		{`org/${claims["https://e.org/role"]}/*`, "org/r/a", "a claim with slashes in its name"},
		{"org/${claims.missing}/*", "!org//a", "a claim that is missing matches nothing"},
		{"org/${claims.nothing}/*", "!org/null/a", "nor does null"},
		{"org/${claims.empty}/*", "!org//a", "nor what is empty"},
		{"org/${claims.in}/*", "!org//a", "nor an object"},
		{"org/x${claims.empty}/*", "!org/x/a", "nor a part of a component that is empty"},
		{"org/${claims.many}/*", "org/z/a", "of a list the items that are texts"},
		{"org/${claims.star}/*", "!org/x/a", "a value is no wildcard"},
		{"org/${claims.star}/*", "org/*/a", "but the text that it is"},
		{"org/${iss}/*", "!org/x/a", "the issuer"},
		{"org/$ns/a}b", "org/$ns/a}b", "a dollar without a brace is one"},
	} {
		want := c.name[0] != '!'
		n := name(strings.TrimPrefix(c.name, "!"))
		for a := rules.Subscribe; a <= rules.From; a++ {
			r := rules.Rule{}
			*[]**rules.List{&r.Subscribe, &r.Publish, &r.Source}[a] = list(c.pattern)
			rights := compile(t, rules.Source{Rules: []rules.Rule{r}}).For(who)
			if got := rights.May(a, &n); got != want {
				t.Errorf("%s: %q lets %v %q: %v", c.why, c.pattern, a, c.name, got)
			}
			for b := rules.Subscribe; b <= rules.From; b++ {
				if b != a && rights.May(b, &n) {
					t.Errorf("%q for %v lets %v, too", c.pattern, a, b)
				}
			}
		}
	}
}

func TestIDs(t *testing.T) {
	hi, lo := wire.HashID("alice")
	const uuid = "01234567-89ab-cdef-fedc-ba9876543210"
	for _, c := range []struct {
		pattern string
		hi, lo  uint64
		want    bool
	}{
		{"a/b/c", 1, 2, true},
		{"a/b/c/*", 1, 2, true},
		{"a/b/c/*", wire.Null, wire.Null, true},
		{"a/b/c/NULL_COMPONENT", wire.Null, wire.Null, true},
		{"a/b/c/NULL_COMPONENT", wire.Null, 0, false},
		{"a/b/c/" + uuid, 0x0123456789abcdef, 0xfedcba9876543210, true},
		{"a/b/c/" + uuid, 0x0123456789abcdef, 0xfedcba9876543211, false},
		{"a/b/*/id(alice)", hi, lo, true},
		{"a/b/*/id(${sub})", hi, lo, true},
		{"a/b/*/id(${sub})", hi, lo + 1, false},
		{"a/b/*/id(${sub})", wire.Null, wire.Null, false},
		{"a/b/*/id(${claims.missing})", hi, lo, false},
	} {
		r := compile(t, rules.Source{Rules: []rules.Rule{{Publish: list(c.pattern)}}}).For(alice(t))
		n := name("a/b/c").WithID(c.hi, c.lo)
		if got := r.May(rules.Publish, &n); got != c.want {
			t.Errorf("%q lets publish to %v: %v", c.pattern, n, got)
		}
	}
}

func TestWho(t *testing.T) {
	claim := func(path string, values ...string) rules.Who {
		return rules.Who{Claims: []rules.Claim{{Path: text(path), Values: texts(values...)}}}
	}
	who := alice(t)
	for _, c := range []struct {
		why  string
		who  rules.Who
		want bool
	}{
		{"nothing is asked", rules.Who{}, true},
		{"the mechanism", rules.Who{Mechanisms: texts("jwt")}, true},
		{"one of them", rules.Who{Mechanisms: texts("basic", "jwt")}, true},
		{"another", rules.Who{Mechanisms: texts("oidc")}, false},
		{"the subject", rules.Who{Subject: text("alice")}, true},
		{"its beginning", rules.Who{Subject: text("al*")}, true},
		{"its end", rules.Who{Subject: text("*ce")}, true},
		{"both", rules.Who{Subject: text("a*e")}, true},
		{"both, of less than they are", rules.Who{Subject: text("alic*lice")}, false},
		{"any", rules.Who{Subject: text("*")}, true},
		{"a part is not all", rules.Who{Subject: text("alic")}, false},
		{"another subject", rules.Who{Subject: text("bob")}, false},
		{"the issuer", rules.Who{Issuer: text("https://idp.example.org")}, true},
		{"another issuer, the same subject", rules.Who{Issuer: text("https://evil.example.org"), Subject: text("alice")}, false},
		{"a claim", claim("team", "blue"), true},
		{"one of its values", claim("team", "red", "blue"), true},
		{"another value", claim("team", "red"), false},
		{"any value", claim("team", "*"), true},
		{"any value of none", claim("missing", "*"), false},
		{"any value of null", claim("nothing", "*"), false},
		{"any value of an object", claim("in", "*"), false},
		{"an item", claim("groups", "y"), true},
		{"no item", claim("groups", "z"), false},
		{"a number", claim("n", "7"), true},
		{"a claim whose value is a star", claim("star", "x"), false},
		{"a deep one", claim("in.deep", "d"), true},
		{"a quoted one", claim(`["https://e.org/role"]`, "r"), true},
		{"all that is asked", rules.Who{Subject: text("alice"), Claims: []rules.Claim{{Path: text("team"), Values: texts("blue")}, {Path: text("n"), Values: texts("8")}}}, false},
	} {
		set := compile(t, rules.Source{Rules: []rules.Rule{{Who: c.who, Subscribe: list("*/*/*")}}})
		n := name("a/b/c")
		if got := set.For(who).May(rules.Subscribe, &n); got != c.want {
			t.Errorf("%s: %v", c.why, got)
		}
	}
	set := compile(t, rules.Source{Rules: []rules.Rule{{Who: rules.Who{Mechanisms: texts("none")}, Subscribe: list("a/b/c")},
		{Who: rules.Who{Subject: text("*")}, Publish: list("a/b/c")}}})
	n := name("a/b/c")
	if r := set.For(nil); !r.May(rules.Subscribe, &n) || r.May(rules.Publish, &n) {
		t.Error("who has shown nothing has the mechanism none, and no subject")
	}
}

// Rules: P-rule-2.
func TestListsAndTheDefault(t *testing.T) {
	in, out := name("a/b/c"), name("x/y/z")
	who := alice(t)
	for _, c := range []struct {
		why             string
		allow           bool
		lists           []*rules.List // of subscribe, one for each rule
		wantIn, wantOut bool
	}{
		{"no rule, deny", false, nil, false, false},
		{"no rule, allow", true, nil, true, true},
		{"no list, deny", false, []*rules.List{nil}, false, false},
		{"no list, allow", true, []*rules.List{nil}, true, true},
		{"a list, deny", false, []*rules.List{list("a/b/c")}, true, false},
		{"a list, allow: it restricts", true, []*rules.List{list("a/b/c")}, true, false},
		{"an empty list, allow", true, []*rules.List{list()}, false, false},
		{"an empty list takes nothing from another", true, []*rules.List{list(), list("a/b/c")}, true, false},
		{"two lists", false, []*rules.List{list("a/b/c"), list("x/y/z")}, true, true},
	} {
		src := rules.Source{Allow: c.allow}
		for _, l := range c.lists {
			src.Rules = append(src.Rules, rules.Rule{Subscribe: l, Claim: list("edge")})
		}
		r := compile(t, src).For(who)
		if r.May(rules.Subscribe, &in) != c.wantIn || r.May(rules.Subscribe, &out) != c.wantOut {
			t.Errorf("%s: %v and %v", c.why, r.May(rules.Subscribe, &in), r.May(rules.Subscribe, &out))
		}
	}
}

// Rules: P-rule-5.
func TestKinds(t *testing.T) {
	for _, c := range []struct {
		allow              bool
		claim              *rules.List
		edge, peer, remote bool
	}{
		{false, nil, false, false, false},
		{true, nil, true, true, true},
		{true, list(), false, false, false},
		{false, list("edge"), true, false, false},
		{true, list("peer"), false, true, false},
		{false, list("remote", "edge"), true, false, true},
	} {
		r := compile(t, rules.Source{Allow: c.allow, Rules: []rules.Rule{{Claim: c.claim, Subscribe: list()}}}).For(nil)
		if r.MayClaim(wire.LinkEdge) != c.edge || r.MayClaim(wire.LinkPeer) != c.peer || r.MayClaim(wire.LinkRemote) != c.remote {
			t.Errorf("%+v: %v %v %v", c, r.MayClaim(wire.LinkEdge), r.MayClaim(wire.LinkPeer), r.MayClaim(wire.LinkRemote))
		}
		if r.MayClaim(200) != c.remote {
			t.Errorf("%+v: a kind that nobody knows is remote", c)
		}
	}
}

func TestNoRightsAreAllRights(t *testing.T) {
	n := name("a/b/c")
	if r := (*rules.Set)(nil).For(alice(t)); r != nil || !r.May(rules.Publish, &n) || !r.MayClaim(wire.LinkPeer) {
		t.Error("without a set somebody is judged")
	}
}

func TestFaults(t *testing.T) {
	rule := func(r rules.Rule) rules.Source { return rules.Source{Rules: []rules.Rule{r}} }
	claim := func(path string, values ...string) rules.Source {
		return rule(rules.Rule{Subscribe: list(), Who: rules.Who{Claims: []rules.Claim{{Path: text(path), Values: texts(values...)}}}})
	}
	long := strings.Repeat("x", rules.MaxText+1)
	for _, c := range []struct {
		source rules.Source
		want   string
	}{
		{rule(rules.Rule{Subscribe: list("a/b/c", "a/b")}), `f:7:2: "a/b" has 2 parts: want ORG/NAMESPACE/APP`},
		{rule(rules.Rule{Subscribe: list("a/b/c/d/e")}), `has 5 parts`},
		{rule(rules.Rule{Publish: list("a//c")}), `component 2 is empty`},
		{rule(rules.Rule{Source: list("a/agent-*/c")}), `* stands for a whole component`},
		{rule(rules.Rule{Source: list("a/x*${sub}/c")}), `* stands for a whole component`},
		{rule(rules.Rule{Source: list("a/**/c")}), `* stands for a whole component`},
		{rule(rules.Rule{Source: list("a/${user}/c")}), `unknown variable ${user}`},
		{rule(rules.Rule{Source: list("a/${claims}/c")}), `unknown variable ${claims}`},
		{rule(rules.Rule{Source: list("a/${claims.}/c")}), `claim is missing`},
		{rule(rules.Rule{Source: list("a/${sub/c")}), `a variable has no end`},
		{rule(rules.Rule{Source: list("a/b/c/7")}), `id "7" is no UUID`},
		{rule(rules.Rule{Source: list("a/b/c/id()")}), `want id(TEXT)`},
		{rule(rules.Rule{Source: list("a/b/" + long)}), `the pattern has`},
		{rule(rules.Rule{Claim: list("edge", "pear")}), `f:7:2: unknown kind "pear": did you mean peer?`},
		{rule(rules.Rule{Claim: list("local")}), `unknown kind "local"`},
		{rule(rules.Rule{Place: rules.Place{File: "f", Line: 2, Column: 3}}), `f:2:3: the rule allows nothing and forbids nothing`},
		{rule(rules.Rule{Subscribe: list(), Who: rules.Who{Mechanisms: texts("jwd")}}), `f:3:5: unknown mechanism "jwd": did you mean jwt?`},
		{rule(rules.Rule{Subscribe: list(), Who: rules.Who{Subject: text("a*b*")}}), `more than one *`},
		{rule(rules.Rule{Subscribe: list(), Who: rules.Who{Issuer: text(long)}}), `the text has 1025 bytes`},
		{claim("", "x"), `the name of the claim is missing`},
		{claim("a..b", "x"), `is empty`},
		{claim("a.b.c.d.e.f.g.h.i", "x"), `lies deeper than 8`},
		{claim("https://e.org/r", "x"), `is written ["https://e"]`},
		{claim(`["a`, "x"), `a name in brackets`},
		{claim(`["a"]b`, "x"), `want a dot before "b"`},
		{claim("a"), `has no value`},
		{claim("a", ""), `an empty value`},
		{claim("a", "*", "b"), `stands alone`},
		{claim("a", long), `the text has 1025 bytes`},
		{rules.Source{Rules: make([]rules.Rule, rules.MaxRules+1)}, `at most 16384 can be`},
		{rule(rules.Rule{Subscribe: &rules.List{Texts: slices.Repeat(texts("a/b/c"), rules.MaxPatterns+1)}}), `at most 65536 can be`},
		{claim("a", slices.Repeat([]string{"x"}, rules.MaxValues+1)...), `65537 values of claims`},
	} {
		set, err := rules.Compile(&c.source)
		if err == nil || set != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	var all rules.Faults
	_, err := rules.Compile(&rules.Source{Rules: []rules.Rule{{Subscribe: list(slices.Repeat([]string{"a"}, 500)...)}}})
	if all, _ = err.(rules.Faults); len(all) != 100 {
		t.Errorf("%d faults are told", len(all))
	}
}

// twin judges as the documentation says it, from the texts alone.
type twin struct {
	src *rules.Source
	who *auth.Identity
}

func (w twin) says(path string) (out []string) {
	var at any = w.who.Claims
	for part := range strings.SplitSeq(path, ".") {
		m, _ := at.(map[string]any)
		at = m[part]
	}
	items, ok := at.([]any)
	if !ok {
		items = []any{at}
	}
	for _, x := range items {
		switch x.(type) {
		case string, bool, json.Number:
			if s := fmt.Sprint(x); s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

func (w twin) meant(r *rules.Rule) bool {
	like := func(pattern, s string) bool {
		if pattern == "" {
			return true
		}
		head, tail, star := strings.Cut(pattern, "*")
		return s != "" && (s == pattern && !star || star && strings.HasPrefix(s, head) && strings.HasSuffix(s[len(head):], tail))
	}
	ok := len(r.Who.Mechanisms) == 0
	for _, m := range r.Who.Mechanisms {
		ok = ok || m.Text == w.who.Mechanism
	}
	if !ok || !like(r.Who.Subject.Text, w.who.Subject) || !like(r.Who.Issuer.Text, w.who.Issuer) {
		return false
	}
	for _, c := range r.Who.Claims {
		said := w.says(c.Path.Text)
		if !slices.ContainsFunc(c.Values, func(v rules.Text) bool {
			return v.Text == "*" && len(said) > 0 || slices.Contains(said, v.Text)
		}) {
			return false
		}
	}
	return true
}

// filled are all texts that a component can be.
func (w twin) filled(component string) []string {
	at := strings.Index(component, "${")
	if at < 0 {
		return []string{component}
	}
	end := at + strings.Index(component[at:], "}")
	var said []string
	switch v := component[at+2 : end]; v {
	case "sub":
		said = []string{w.who.Subject}
	case "iss":
		said = []string{w.who.Issuer}
	default:
		said = w.says(strings.TrimPrefix(v, "claims."))
	}
	var out []string
	for _, s := range said {
		for _, rest := range w.filled(component[end+1:]) {
			if s != "" {
				out = append(out, component[:at]+s+rest)
			}
		}
	}
	return out
}

func (w twin) may(a rules.Act, name []string) bool {
	spoken := false
	for i := range w.src.Rules {
		r := &w.src.Rules[i]
		l := []*rules.List{r.Subscribe, r.Publish, r.Source}[a]
		if l == nil || !w.meant(r) {
			continue
		}
		spoken = true
		for _, p := range l.Texts {
			ok := true
			for i, part := range strings.Split(p.Text, "/") {
				ok = ok && (part == "*" || slices.Contains(w.filled(part), name[i]))
			}
			if ok {
				return true
			}
		}
	}
	return !spoken && w.src.Allow
}

// TestRightsAreThoseOfTheTwin compares random sets, identities and names with what a naive reading of the texts says.
func TestRightsAreThoseOfTheTwin(t *testing.T) {
	rnd := rand.New(rand.NewPCG(14, 7))
	pick := func(words ...string) string { return words[rnd.IntN(len(words))] }
	component := func() string {
		return pick("a", "b", "c", "*", "*", "${sub}", "${iss}", "${claims.t}", "${claims.g}", "a${claims.g}", "${claims.o.p}", "${claims.none}b", "${claims.n}")
	}
	lists := func() *rules.List {
		if rnd.IntN(3) == 0 {
			return nil
		}
		l := &rules.List{}
		for range rnd.IntN(3) {
			l.Texts = append(l.Texts, text(component()+"/"+component()+"/"+component()))
		}
		return l
	}
	yes, no := 0, 0
	for range 4000 {
		src := rules.Source{Allow: rnd.IntN(2) == 0}
		n := rnd.IntN(6)
		if rnd.IntN(20) == 0 {
			n = 60 + rnd.IntN(140) // enough for sets of rules that are bits
		}
		for range n {
			r := rules.Rule{Claim: list("edge"), Subscribe: lists(), Publish: lists(), Source: lists()}
			switch rnd.IntN(5) {
			case 0:
				r.Who.Subject = text(pick("a", "b", "*", "a*", "*b"))
			case 1:
				r.Who.Mechanisms = texts(pick("none", "jwt", "basic"), "oidc")
			case 2:
				r.Who.Issuer = text(pick("i", "j", "*"))
				r.Who.Claims = []rules.Claim{{Path: text(pick("t", "g", "o.p", "n")), Values: texts(pick("a", "b", "*"))}}
			case 3: // which an identity may have both of
				r.Who.Claims = []rules.Claim{{Path: text("t"), Values: texts("*")}, {Path: text(pick("g", "o.p")), Values: texts("b", "a", "c")}}
			}
			src.Rules = append(src.Rules, r)
		}
		var who *auth.Identity
		if rnd.IntN(5) > 0 {
			who = &auth.Identity{Mechanism: pick("jwt", "basic"), Subject: pick("", "a", "b", "ab"), Issuer: pick("", "i", "j"), Claims: claims(t, pick(
				`{}`, `{"t":"a"}`, `{"t":"a","g":["a","b"]}`, `{"g":["b",null,""],"o":{"p":"c"},"n":1}`, `{"g":[],"t":null,"o":"p","n":true}`))}
		}
		rights := compile(t, src).For(who)
		w := twin{&src, who}
		if who == nil {
			w.who = &auth.Identity{Mechanism: "none"}
		}
		for range 20 {
			parts := []string{pick("a", "b", "c", "ab", "*", "1"), pick("a", "b", "c", "aa", "i", ""), pick("a", "b", "cb", "j", "true")}
			n := wire.NewName(parts[0], parts[1], parts[2])
			a := rules.Act(rnd.IntN(3))
			got, want := rights.May(a, &n), w.may(a, parts)
			if got != want {
				t.Fatalf("%v %q by %+v: %v, want %v, of %+v", a, parts, w.who, got, want, src)
			}
			if got {
				yes++
			} else {
				no++
			}
		}
	}
	if yes < 5000 || no < 5000 {
		t.Errorf("%d were allowed and %d not: the sample is poor", yes, no)
	}
}

func TestAllocsOfALookup(t *testing.T) {
	r := compile(t, many(10_000)).For(alice(t))
	in, out := name("org/n9999/alice"), name("org/x/y")
	if n := testing.AllocsPerRun(1000, func() {
		if !r.May(rules.Publish, &in) || r.May(rules.Publish, &out) {
			t.Fatal("wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// many are n rules that all mean everybody with a subject.
func many(n int) rules.Source {
	var s rules.Source
	for i := range n {
		s.Rules = append(s.Rules, rules.Rule{Who: rules.Who{Subject: text("*")}, Publish: list(fmt.Sprintf("org/n%d/%s", i, []string{"${sub}", "alice"}[i%2]))})
	}
	return s
}

// What a hostile token makes of a large set is bounded: lists are not combined without end.
func TestExpansionsAreBounded(t *testing.T) {
	var items []string
	for i := range 3000 {
		items = append(items, fmt.Sprintf(`"%d"`, i))
	}
	who := &auth.Identity{Mechanism: auth.JWT, Subject: "x", Claims: claims(t, `{"g":[`+strings.Join(items, ",")+`]}`)}
	for _, p := range []string{"${claims.g}/${claims.g}/${claims.g}", "a${claims.g}${claims.g}${claims.g}/b/c", "${claims.g}/${claims.g}/${claims.none}",
		strings.Repeat("x", 600) + "${claims.g}${claims.g}${claims.g}/b/c/id(${claims.g})"} {
		r := compile(t, rules.Source{Rules: slices.Repeat([]rules.Rule{{Publish: list(p)}}, 5000)}).For(who)
		if n := rules.Own(r); n > 2048 {
			t.Errorf("%s: %d keys for one identity", p, n)
		}
		n := name("nobody/b/c")
		if r.May(rules.Publish, &n) {
			t.Errorf("%s: what does not match is allowed", p)
		}
		if why := r.Why(rules.Publish); !strings.Contains(why, "further ones do not count") {
			t.Errorf("%s: %s", p, why)
		}
	}
}

func TestWhy(t *testing.T) {
	set := compile(t, rules.Source{Rules: []rules.Rule{{Who: rules.Who{Subject: text("alice")}, Subscribe: list("a/b/c")}}})
	for _, c := range []struct{ got, want string }{
		{set.For(alice(t)).Why(rules.Subscribe), "not in the lists of the rules for this identity"},
		{set.For(nil).Why(rules.Subscribe), "no rule lets this identity subscribe to names, and the default is deny"},
		{set.For(alice(t)).WhyClaim(), "no rule lets this identity claim kinds, and the default is deny"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// FuzzRights: no text makes a panic, and what compiles means what the twin reads.
func FuzzRights(f *testing.F) {
	f.Add("a/b/c", "al*", "team", "blue", `{"team":"blue"}`, "alice", "a", "b", "c")
	f.Add("a/${sub}/*", "", "g", "*", `{"g":["x","y"]}`, "bob", "a", "bob", "c")
	f.Add("${claims.g}/x${claims.g}${claims.g}/*", "*", "o.p", "1", `{"g":["x","y"],"o":{"p":1}}`, "bob", "a", "bob", "c")
	f.Add(`a/${claims["x}"]}/b/id(${iss})`, "**", `["a b"]`, "", `{"x}":[[],{}]}`, "", "", "", "")
	f.Add("a/b/c/NULL_COMPONENT", "", "a", "b", `{}`, "", "a", "b", "c")
	f.Fuzz(func(t *testing.T, pattern, subject, path, value, token, sub, a, b, c string) {
		r := rules.Rule{Publish: list(pattern), Who: rules.Who{Subject: text(subject)}}
		if path != "" {
			r.Who.Claims = []rules.Claim{{Path: text(path), Values: texts(value)}}
		}
		src := rules.Source{Rules: []rules.Rule{r}}
		set, err := rules.Compile(&src)
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(token))
		d.UseNumber()
		var m map[string]any
		if d.Decode(&m) != nil {
			m = nil
		}
		who := &auth.Identity{Mechanism: auth.JWT, Subject: sub, Issuer: "i", Claims: m}
		n := wire.NewName(a, b, c)
		rights := set.For(who)
		got := rights.May(rules.Publish, &n)
		if strings.ContainsAny(pattern+path, `["]`) || strings.Count(pattern, "/") != 2 || len(token) > 500 || len(sub)+len(pattern) > 300 {
			return // more than the twin reads
		}
		if want := (twin{&src, who}).may(rules.Publish, []string{a, b, c}); got != want {
			t.Errorf("%q for %q: %v, want %v", pattern, who, got, want)
		}
	})
}

func BenchmarkMay(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		r := compile(b, many(n)).For(alice(b))
		in, out := name("org/n1/alice"), name("org/x/y")
		b.Run(fmt.Sprint(n, " rules"), func(b *testing.B) {
			for b.Loop() {
				r.May(rules.Publish, &in)
				r.May(rules.Publish, &out)
			}
		})
	}
}

// BenchmarkForOne: what each connection costs when rules change that are for teams, by a claim or by what the subject begins with.
func BenchmarkForOne(b *testing.B) {
	who := &auth.Identity{Mechanism: auth.JWT, Subject: "spiffe://a.org/t77/x", Claims: claims(b, `{"team":"t77","roles":["a","b"]}`)}
	for _, n := range []int{10, 10_000} {
		var claim, prefix rules.Source
		for i := range n {
			names := list(fmt.Sprintf("org/n%d/*", i))
			claim.Rules = append(claim.Rules, rules.Rule{Who: rules.Who{Claims: []rules.Claim{{Path: text("team"), Values: texts(fmt.Sprint("t", i))}}}, Publish: names})
			prefix.Rules = append(prefix.Rules, rules.Rule{Who: rules.Who{Subject: text(fmt.Sprintf("spiffe://a.org/t%d/*", i))}, Publish: names})
		}
		for what, src := range map[string]rules.Source{"claim": claim, "prefix": prefix} {
			set := compile(b, src)
			b.Run(fmt.Sprint(what, ", ", n, " rules"), func(b *testing.B) {
				for b.Loop() {
					set.For(who)
				}
			})
		}
	}
}

// crowds are n rules that could mean everybody, by what tells them apart.
func crowds(n int) map[string]rules.Source {
	all := map[string]rules.Source{"nothing, with variables": many(n)}
	add := func(what string, i int, w rules.Who) {
		s := all[what]
		s.Rules = append(s.Rules, rules.Rule{Who: w, Publish: list(fmt.Sprintf("org/n%d/*", i))})
		all[what] = s
	}
	for i := range n {
		add("nothing", i, rules.Who{})
		add("order", i, rules.Who{Mechanisms: [][]rules.Text{texts("jwt", "oidc"), texts("oidc", "jwt")}[i%2],
			Claims: []rules.Claim{{Path: text("team"), Values: texts("*")}}})
		add("suffix", i, rules.Who{Subject: text(fmt.Sprintf("*/t%d", i))})
		add("issuer", i, rules.Who{Issuer: text(fmt.Sprintf("https://%d.example.org", i))})
	}
	return all
}

// Whoever is judged by thousands of rules is compared with few of them, if they are for the same identities or tell subjects apart.
func TestFewRulesAreLookedAt(t *testing.T) {
	who := &auth.Identity{Mechanism: auth.JWT, Subject: "x/t77", Issuer: "https://77.example.org", Claims: claims(t, `{"team":"a"}`)}
	for what, src := range crowds(100) {
		in, out := name("org/n77/a"), name("org/n78/a")
		set := compile(t, src)
		want, both := 1, true
		switch what {
		case "issuer":
			want, both = 100, false
		case "suffix":
			both = false
		}
		if n := rules.Asked(set, who); n != want {
			t.Errorf("%s: %d rules are looked at, want %d", what, n, want)
		}
		if what == "nothing, with variables" {
			in, out = name("org/n77/alice"), name("org/n79/alice")
		}
		r := set.For(who)
		if !r.May(rules.Publish, &in) || r.May(rules.Publish, &out) != both {
			t.Errorf("%s: %v and %v", what, r.May(rules.Publish, &in), r.May(rules.Publish, &out))
		}
	}
}

// Rules are one only if they are for the same: each of these is for somebody else, whatever its texts look like.
func TestRulesForOthersAreNotOne(t *testing.T) {
	claim := func(path string, values ...string) rules.Claim {
		return rules.Claim{Path: text(path), Values: texts(values...)}
	}
	for i, pair := range [][2]rules.Who{
		{{Subject: text("a")}, {Issuer: text("a")}},
		{{Subject: text("*")}, {}},
		{{Subject: text("a*")}, {Subject: text("a")}},
		{{Mechanisms: texts("jwt")}, {Mechanisms: texts("jwt", "oidc")}},
		{{Claims: []rules.Claim{claim("a", "b", "c")}}, {Claims: []rules.Claim{claim("a", "b"), claim("a", "c")}}},
		{{Claims: []rules.Claim{claim("a", "*")}}, {Claims: []rules.Claim{claim("a", "b")}}},
		{{Claims: []rules.Claim{claim("a.b", "c")}}, {Claims: []rules.Claim{claim(`["a.b"]`, "c")}}},
		{{Claims: []rules.Claim{claim("a", `b" "c`)}}, {Claims: []rules.Claim{claim("a", "b", "c")}}},
		{{Issuer: text(`a" "b`)}, {Issuer: text("a"), Subject: text("b")}},
	} {
		if n := rules.Size(compile(t, rules.Source{Rules: []rules.Rule{{Who: pair[0], Publish: list("a/b/c")}, {Who: pair[1], Publish: list("a/b/d")}}})); n != 2 {
			t.Errorf("pair %d: %d rules, want 2", i, n)
		}
	}
}

// BenchmarkFor: what each connection costs when rules change that could be for everybody.
func BenchmarkFor(b *testing.B) {
	who := &auth.Identity{Mechanism: auth.JWT, Subject: "x/t77", Issuer: "https://77.example.org", Claims: claims(b, `{"team":"a"}`)}
	for _, n := range []int{10, 10_000} {
		for what, src := range crowds(n) {
			set := compile(b, src)
			b.Run(fmt.Sprint(what, ", ", n, " rules"), func(b *testing.B) {
				for b.Loop() {
					set.For(who)
				}
			})
		}
	}
}
