package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Rules: P-rule-9.
func TestFaultsOfRules(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "f:1:1: missing field `rules`"},
		{"no mapping", "[]", "f:1:1: invalid type: sequence, expected mapping"},
		{"no YAML", "a: [", "f"},
		{"an unknown key", "rules: []\nrule: []", "f:2:1: unknown field `rule`, expected one of `default`, `dialed`, `rules`; did you mean `rules`?"},
		{"an unknown decision", "rules: []\ndefault: yes", "f:2:10: default: unknown variant `yes`, expected `deny` or `allow`"},
		{"a misspelt act", "rules:\n  - subscribed: []", "f:2:5: rules[0].subscribed: unknown field `subscribed`, expected one of `who`, `claim`, `subscribe`, `publish`, `source`; did you mean `subscribe`?"},
		{"nothing", "rules:\n  - who: {subject: a}", "f:2:5: the rule allows nothing and forbids nothing: want claim, subscribe, publish or source"},
		{"a list that is null", "rules:\n  - subscribe:", "f:2:15: rules[0].subscribe: it is neither there nor absent: write [] to allow nothing, or leave the key out"},
		{"a list that is none", "rules:\n  - subscribe: a/b/c", "f:2:16: rules[0].subscribe: invalid type: string \"a/b/c\", expected a sequence; write a list, such as [VALUE]"},
		{"two patterns", "rules:\n  - subscribe: [a/b/c, a/b]\n    source:\n      - a/x*/c", "f:2:24: \"a/b\" has 2 parts: want ORG/NAMESPACE/APP, where * stands for any, or that and /ID\n" +
			"f:4:9: \"a/x*/c\": * stands for a whole component: names travel as hashes, and whoever wants to finds a text of that form with the hash of another name; list the names, or give them a component in common"},
		{"who without anything", "rules: [{who: {}, subscribe: []}]", "f:1:15: rules[0].who: it says nothing: without `who` a rule is for everybody"},
		{"an empty subject", "rules: [{who: {subject: ''}, subscribe: []}]", "f:1:25: rules[0].who.subject: it is empty, and nobody is: * is any that is not"},
		{"no mechanism", "rules: [{who: {mechanism: []}, subscribe: []}]", "f:1:27: rules[0].who.mechanism: the list is empty, and nobody is meant by it: leave the key out for anybody"},
		{"another mechanism", "rules: [{who: {mechanism: [jwt, jvt]}, subscribe: []}]", "f:1:33: unknown mechanism \"jvt\": did you mean jwt?"},
		{"a claim without value", "rules: [{who: {claims: {a: null}}, subscribe: []}]", "f:1:28: rules[0].who.claims.a: invalid type: unit value, expected a string"},
		{"no claims", "rules: [{who: {claims: {}}, subscribe: []}]", "f:1:24: rules[0].who.claims: the map is empty, and nobody is meant by it: leave the key out for anybody"},
		{"rules that are null", "default: allow\nrules:", "f:2:7: `rules` is neither there nor absent: write [] for no rules"},
		{"a fraction", "rules: [{who: {claims: {a: 1.5}}, subscribe: []}]", "f:1:28: rules[0].who.claims.a: invalid type: floating point `1.5`, expected a string; write it in quotes"},
		{"a name twice", "rules: []\nrules: []", "f:2:1: duplicate entry with key \"rules\""},
	} {
		set, faults := parseRules("f", []byte(c.file))
		var texts []string
		for _, f := range faults {
			texts = append(texts, f.String())
		}
		if got := strings.Join(texts, "\n"); set != nil || len(faults) == 0 || got != c.want && (c.want != "f" || !strings.HasPrefix(got, "f")) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
	if _, faults := LoadRules("no/such/file"); len(faults) != 1 || !strings.HasPrefix(faults[0].String(), "no/such/file: No such file") {
		t.Errorf("a missing file: %v", faults)
	}
}

// A file may have as many rules, patterns and values as there may be, with SLIMGO_TEST_LONG, and no more values than that takes. Rules: P-rule-9.
func TestManyRulesAreRead(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("rules:\n")
	many := rules.MaxRules / 16
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		many = rules.MaxRules
	}
	for i := range many {
		fmt.Fprintf(&b, "- who: {mechanism: jwt, issuer: i, subject: s%d, claims: {a: [b, c], d: [e, f]}}\n", i)
		fmt.Fprintf(&b, "  claim: [edge]\n  subscribe: [a/b/c%d, 'a/${sub}/*']\n  publish: [a/b/*]\n  source: [a/b/c%[1]d]\n", i)
	}
	if set, faults := parseRules("f", []byte(b.String())); set == nil || len(faults) > 0 {
		t.Errorf("%d rules with %d patterns: %v", many, 4*many, faults)
	}
	if many < rules.MaxRules {
		return // a sixteenth of all that may be, and not more than that
	}
	const bomb = "rules: []\nx: ["
	if _, faults := parseRules("f", []byte(bomb+strings.Repeat("1,", maxRuleNodes)+"]")); len(faults) != 1 || !strings.Contains(faults[0].String(), "more than 786432 values") {
		t.Errorf("many values: %v", faults)
	}
}

func TestRulesAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(`
default: allow
dialed: true
rules:
  - who: {mechanism: [jwt, oidc], issuer: "i*", subject: bob, claims: {n: 7, yes: true, '["a/b"]': [x, y]}}
    claim: [peer]
    subscribe: ["${claims.n}/ns/${sub}"]
    publish: []
    source: [org/ns/bob]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	set, faults := LoadRules(file)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if !set.JudgesDialed() {
		t.Error("dialed is not read")
	}
	bob := &auth.Identity{Mechanism: auth.OIDC, Issuer: "idp", Subject: "bob", Claims: map[string]any{"n": 7.0, "yes": true, "a/b": []any{"y"}}}
	in, out, from := wire.NewName("7", "ns", "bob"), wire.NewName("x", "ns", "bob"), wire.NewName("org", "ns", "bob")
	r := set.For(bob)
	if !r.MayClaim(wire.LinkPeer) || r.MayClaim(wire.LinkEdge) || !r.May(rules.Subscribe, &in) || r.May(rules.Subscribe, &out) ||
		r.May(rules.Publish, &in) || !r.May(rules.From, &from) || r.May(rules.From, &in) {
		t.Error("bob has other rights")
	}
	for _, change := range []func(*auth.Identity){func(i *auth.Identity) { i.Mechanism = "basic" }, func(i *auth.Identity) { i.Issuer = "x" },
		func(i *auth.Identity) { i.Subject = "al" }, func(i *auth.Identity) { i.Claims = map[string]any{"n": 7.0, "yes": true} }} {
		other := *bob
		change(&other)
		if r := set.For(&other); !r.May(rules.Publish, &in) { // the default: the rule is not for it
			t.Errorf("the rule is for %+v, too", other)
		}
	}
}

// The example of docs/authorization.md does what the page says.
func TestTheExampleOfRules(t *testing.T) {
	b, err := os.ReadFile("../docs/authorization.md")
	if err != nil {
		t.Fatal(err)
	}
	_, file, _ := strings.Cut(string(b), "```yaml\n# rules.yaml\n")
	file, _, _ = strings.Cut(file, "```")
	set, faults := parseRules("rules.yaml", []byte(file))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	who := func(sub, claim string, value any) *rules.Rights {
		return set.For(&auth.Identity{Mechanism: auth.JWT, Issuer: "https://login.example.org", Subject: sub, Claims: map[string]any{claim: value}})
	}
	alice, mallory, dashboard, node := who("alice", "team", "blue"), who("mallory", "team", "red"), who("dashboard", "", ""), who("n1", "roles", []any{"slim-node"})
	for _, c := range []struct {
		r    *rules.Rights
		act  rules.Act
		name string
		want bool
	}{
		{alice, rules.Subscribe, "example/channels-blue/plans", true}, {mallory, rules.Subscribe, "example/channels-blue/plans", false},
		{alice, rules.Subscribe, "example/channels-red/plans", false}, {alice, rules.Subscribe, "example/agents/alice", true},
		{alice, rules.Subscribe, "example/agents/mallory", false}, {alice, rules.Publish, "example/agents/mallory", true},
		{mallory, rules.From, "example/agents/alice", false}, {mallory, rules.From, "example/agents/mallory", true},
		{dashboard, rules.Subscribe, "example/channels-blue/plans", true}, {dashboard, rules.Publish, "example/agents/alice", false},
		{dashboard, rules.From, "example/agents/dashboard", false}, {node, rules.Subscribe, "any/thing/else", true},
		{set.For(nil), rules.Subscribe, "example/agents/alice", false},
	} {
		p := strings.Split(c.name, "/")
		n := wire.NewName(p[0], p[1], p[2])
		if got := c.r.May(c.act, &n); got != c.want {
			t.Errorf("%v %s: %v", c.act, c.name, got)
		}
	}
	if !alice.MayClaim(wire.LinkEdge) || alice.MayClaim(wire.LinkPeer) || alice.MayClaim(wire.LinkRemote) || !node.MayClaim(wire.LinkPeer) || set.For(nil).MayClaim(wire.LinkEdge) {
		t.Error("the wrong kinds may be claimed")
	}
}

// Rules: P-rule-9.
func TestAuthorizationIsThatOfTheFirstServer(t *testing.T) {
	two := func(first, second string) string {
		return "services: {slim/0: {dataplane: {servers: [{endpoint: '127.0.0.1:1', tls: {insecure: true}" + first + "}, {endpoint: '127.0.0.1:2', tls: {insecure: true}" + second + "}]}}}"
	}
	for _, c := range []struct{ file, want string }{
		{two(", authorization: r.yaml", ""), ""},
		{two(", authorization: r.yaml", ", authorization: r.yaml"), ""},
		{two("", ", authorization: r.yaml"), "it has no effect here: it is that of the first server, for all"},
		{two(", authorization: r.yaml", ", authorization: s.yaml"), "it has no effect here"},
		{two(", authorization: ''", ""), "the path of a file with rules is missing"},
		{two(", authorization: {rules: []}", ""), "invalid type: map, expected a string"},
		{two(", authorization: null", ""), "invalid type: unit value, expected a string"},
	} {
		cfg, _, err := parse("f", []byte(c.file), func(string) (string, bool) { return "", false })
		switch {
		case (err == nil) != (c.want == ""), err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v", c.file, err)
		case err == nil && (cfg.Services[0].Dataplane.Servers[0].Authorization != "r.yaml" || !strings.Contains(string(cfg.Show().YAML()), "authorization: r.yaml")):
			t.Errorf("%s: read as %s", c.file, cfg.Show().YAML())
		}
	}
}

// FuzzRulesFile: no file makes a panic; its faults are told with places in it.
func FuzzRulesFile(f *testing.F) {
	f.Add([]byte("rules:\n  - who: {mechanism: jwt, claims: {a.b: [1, x], '[\"q\"]': '*'}}\n    subscribe: ['a/${sub}/*', a/b/c/NULL_COMPONENT]\n"))
	f.Add([]byte("default: allow\ndialed: true\nrules: [{claim: [edge]}, {source: []}]"))
	f.Add([]byte("rules: &a [*a]"))
	f.Add([]byte("rules: [{subscribe: [1, true, null, 1.5, [], {}, 'x*/y/z', '${claims[\"}\"]}/a/b']}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, faults := parseRules("f", b)
		if (set == nil) == (len(faults) == 0) || len(faults) > maxFaults {
			t.Errorf("set %v, faults %v", set != nil, faults)
		}
		lines := strings.Count(string(b), "\n") + strings.Count(string(b), "\r") + 2
		for _, r := range faults {
			if r.Position.Line > lines+10*strings.Count(string(b), "\u2028")+10*strings.Count(string(b), "\u2029")+10*strings.Count(string(b), "\u0085") || r.File != "f" {
				t.Errorf("fault at %+v", r)
			}
		}
	})
}
