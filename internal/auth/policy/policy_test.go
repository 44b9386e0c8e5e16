package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/seed31b3bfd0/slimgo/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func claimsOf(t testing.TB, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var claims map[string]any
	if err := d.Decode(&claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func newPolicy(t testing.TB, o Options) *Policy {
	t.Helper()
	if o.limit == 0 {
		o.limit = time.Hour // whatever the machine is at
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Every policy of the table, over all its claims, answers as upstream's node was seen to, or as the rule says under which it stands: P-pol-3,
// P-pol-4, P-pol-5, P-pol-6, P-pol-7, P-pol-8, P-pol-9, P-pol-10, P-pol-11, P-pol-12, P-pol-13. The other half is TestPolicies of package interop.
func TestTable(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile(filepath.Join("testdata", "policies.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var claims []map[string]any
	checked := 0
	for line := range strings.Lines(string(table)) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		verdict, text, _ := strings.Cut(rest, " ")
		text = strings.ReplaceAll(text, "⏎", "\n")
		o := Options{limit: time.Hour}
		switch kind {
		case "claims":
			c := claimsOf(t, text)
			c["iss"], c["exp"] = "slim", json.Number("1900000000")
			claims = append(claims, c)
			continue
		case "cel":
			o.CEL = text
		case "rego":
			o.Rego = "package slim.auth\n" + text
		case "module":
			o.Rego = text
		default:
			continue
		}
		checked++
		want := verdict
		if _, ours, found := strings.Cut(verdict, "/"); found {
			want = ours
		}
		got, why := "start", ""
		if p, err := New(o); err != nil {
			why = err.Error()
		} else {
			got = ""
			for _, c := range claims {
				err := p.Allow(t.Context(), c)
				why += fmt.Sprintf("\n\t%v", err)
				got += map[bool]string{true: "A", false: "d"}[err == nil]
			}
		}
		if got != want {
			t.Errorf("%s %s: %s, want %s%s", kind, text, got, want, why)
		}
	}
	if checked < 600 || len(claims) != 5 {
		t.Errorf("only %d policies, %d claims", checked, len(claims))
	}
}

// P-pol-1: what cannot be compiled is said as upstream does, with the key, and the file.
func TestRefusedAtStart(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	bad := write("bad.rego", "package slim.auth\nallow if {")
	big := write("big.rego", "package slim.auth\n#"+strings.Repeat("x", maxText))
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"syntax of CEL", Options{CEL: "1 +"}, "rego policy compilation failed: policy.cel: <input>:1:4: Syntax error: "},
		{"CEL that is blank", Options{CEL: "  "}, "rego policy compilation failed: policy.cel: <input>:1:3: Syntax error: "},
		{"CEL that is too long", Options{CEL: strings.Repeat("1+", maxText/2) + "1"}, "rego policy compilation failed: policy.cel: "},
		{"CEL that is too deep", Options{CEL: strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000)}, "rego policy compilation failed: policy.cel: "},
		{"syntax of Rego", Options{Rego: "package slim.auth\nallow if {"}, "rego policy compilation failed: policy.rego: 1 error occurred: slim/auth.rego:2: rego_parse_error: "},
		{"Rego that is blank", Options{Rego: "\n"}, "rego policy compilation failed: policy.rego: slim/auth.rego:0: rego_parse_error: empty module"},
		{"Rego of comments", Options{Rego: "# nothing\n"}, "rego policy compilation failed: policy.rego: "},
		{"a file", Options{File: bad}, "rego policy compilation failed: policy.rego_file: " + bad + ": 1 error occurred: " + bad + ":2: rego_parse_error: "},
		{"no file", Options{File: filepath.Join(dir, "none")}, "rego policy compilation failed: policy.rego_file: " + filepath.Join(dir, "none") + ": no such file or directory"},
		{"a folder", Options{File: dir}, "rego policy compilation failed: policy.rego_file: " + dir + ": is a directory"},
		{"a file that is too large", Options{File: big}, "rego policy compilation failed: policy.rego_file: " + big + ": larger than 1 MiB"},
		{"none", Options{}, "rego policy compilation failed: policy: it is empty"},
		{"two", Options{CEL: "true", Rego: "package slim.auth"}, "rego policy compilation failed: policy: more than one is given"},
	} {
		if _, err := New(c.o); err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s...", c.name, err, c.want)
		}
	}
}

// What is allowed to start and lets nobody pass, or may not mean what it says, is said.
func TestWarnings(t *testing.T) {
	for _, c := range []struct{ cel, rego, want string }{
		{cel: `"nodes" in claims.groups`},
		{cel: `claims.admin`},
		{cel: `group == "nodes"`, want: "undeclared reference to 'group'"},
		{cel: `claims.groups.size()`, want: "it gives a value of type int, and only true allows: nobody passes"},
		{rego: "package slim.auth\nallow if true"},
		{rego: "package slim.auth\nx if true", want: "it has no rule data.slim.auth.allow: nobody passes"},
		{rego: "package auth\nallow if true", want: "it has no rule data.slim.auth.allow: nobody passes"},
		{rego: "package slim\nauth.allow if true"},
		{rego: "package slim.auth\nallow contains 1"},
	} {
		p := newPolicy(t, Options{CEL: c.cel, Rego: c.rego})
		w := strings.Join(p.Status().Warnings, "; ")
		if (c.want == "") != (w == "") || !strings.Contains(w, c.want) {
			t.Errorf("%s%s: warnings %q, want %q", c.cel, c.rego, w, c.want)
		}
	}
}

// P-pol-2: the audit log hears which policy says no and why, on one line of bounded length.
func TestReasons(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		name, cel, rego, want string
	}{
		{"false", `1 == 2`, "", "policy.cel denies"},
		{"no boolean", `"true"`, "", "policy.cel denies: it gives a value of type string, and only true allows"},
		{"no claim", `"nodes" in claims.roles`, "", "policy.cel fails: no such key: roles"},
		{"an error", `claims.n / 0u == 1u`, "", "policy.cel fails: division by zero"},
		{"undefined", "", "allow if false", "policy.rego denies: data.slim.auth.allow is undefined"},
		{"false", "", "default allow := false", "policy.rego denies"},
		{"no boolean", "", `allow := "true"`, "policy.rego denies: data.slim.auth.allow is of type string, and only true allows"},
		{"an error", "", `allow if to_number(input.claims.sub) == 1`, "policy.rego fails: slim/auth.rego:2: eval_builtin_error: to_number: "},
		{"rules that differ", "", "allow := true if input.claims.n\nallow := false if input.claims.n", "policy.rego fails: slim/auth.rego:"},
		{"a claim that is long", "", "allow if time.parse_duration_ns(input.claims.long) == 1", "policy.rego fails: "},
	} {
		o := Options{CEL: c.cel}
		if c.rego != "" {
			o.Rego = "package slim.auth\n" + c.rego
		}
		err := newPolicy(t, o).Allow(t.Context(), map[string]any{"n": json.Number("1"), "sub": "a\nb", "long": long})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || len(err.Error()) > 500 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// P-pol-3: what no token of upstream's holds denies, whatever the policy says.
func TestClaimsThatAreNone(t *testing.T) {
	deep := func(n int) any {
		v := any("x")
		for range n {
			v = []any{v}
		}
		return v
	}
	for _, o := range []Options{{CEL: "true"}, {Rego: "package slim.auth\nallow := true"}} {
		p := newPolicy(t, o)
		for _, c := range []struct {
			name  string
			claim any
			want  string // "": allowed
		}{
			{"null", nil, ""},
			{"a list as deep as may be", deep(maxDepth - 1), ""},
			{"a list that is deeper", deep(maxDepth), "nested more than 128 deep"},
			{"the largest number", json.Number("1.7e308"), ""},
			{"a larger one", json.Number("1e309"), "a number that is too large"},
			{"a much larger one", json.Number("1e999999999"), "a number that is too large"},
			{"a tiny one", json.Number("1e-999999999"), ""},
			{"words of Go", []string{"a"}, ""},
			{"numbers of Go", []any{1, int64(-1), uint64(1), 1.5}, ""},
			{"no number", json.Number("0x10"), "a number that is too large, or none"},
			{"no JSON", make(chan int), "a claim is a chan int, which no JSON is"},
		} {
			err := p.Allow(t.Context(), map[string]any{"c": c.claim})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		}
	}
}

// P-pol-11: an evaluation ends by its steps, by its time, and with who asks; and denies then. Upstream's goes on for as long as it takes.
func TestBounds(t *testing.T) {
	var list []any
	for i := range 2000 {
		list = append(list, json.Number(fmt.Sprint(i)))
	}
	claims := map[string]any{"list": list, "cidr": "10.0.0.0/8", "huge": json.Number("1e308"), "a": strings.Repeat("a", 4000),
		"regex": strings.Repeat("(a{10}){100}", 500)}
	var patch []any
	for i := range 60 {
		patch = append(patch, map[string]any{"op": "copy", "from": "", "path": fmt.Sprint("/k", i)})
	}
	claims["patch"] = patch
	claims["patches"] = slices.Repeat([]any{map[string]any{"op": "replace", "path": "/0", "value": json.Number("1")}}, 1000)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	const never = time.Hour
	for _, c := range []struct {
		name, cel, rego, want string
		ctx                   context.Context
		limit                 time.Duration
	}{
		{"turns of turns", `claims.list.exists(x, claims.list.exists(y, claims.list.exists(z, x < 0u)))`, "",
			"fails: operation cancelled: actual cost limit exceeded", t.Context(), never},
		{"memory", `claims.list.map(x, claims.list.map(y, claims.a + string(y))).size() > 0`, "", "fails: ", t.Context(), never},
		{"time", `claims.list.exists(x, claims.list.exists(y, x < 0u))`, "", "takes too long: context deadline exceeded", t.Context(), 1},
		{"who asks is gone", `claims.list.exists(x, claims.list.exists(y, x < 0u))`, "", "takes too long: context canceled", over, never},
		{"steps", "", "allow if { some x in input.claims.list; some y in input.claims.list; x + y < 0 }", "takes more than 100000 steps", t.Context(), never},
		{"turns of a function", "", "allow if count(net.cidr_expand(input.claims.cidr)) > 0", "takes more than 100000 steps", t.Context(), never},
		{"turns of another", "", "allow if numbers.range(0, input.claims.huge)[0] == 0", "takes more than 100000 steps", t.Context(), never},
		{"time", "", "allow if { some x in input.claims.list; x < 0 }", "takes too long: context deadline exceeded", t.Context(), 1},
		{"who asks is gone", "", "allow if { some x in input.claims.list; x < 0 }", "takes too long: context canceled", over, never},
		{"a regular expression that grows", `claims.a.matches(claims.regex)`, "", "larger than 20000 instructions", t.Context(), never},
		{"another", `matches(claims.a, claims.regex)`, "", "larger than 20000 instructions", t.Context(), never},
		{"one in Rego", "", "allow if regex.match(input.claims.regex, input.claims.a)", "larger than 20000 instructions", t.Context(), never},
		{"to replace", "", `allow if regex.replace(input.claims.a, input.claims.regex, "") == ""`, "larger than 20000 instructions", t.Context(), never},
		{"to find", "", `allow if count(regex.find_n(input.claims.regex, input.claims.a, 1)) > 0`, "larger than 20000 instructions", t.Context(), never},
		{"to split", "", `allow if count(regex.split(input.claims.regex, input.claims.a)) > 0`, "larger than 20000 instructions", t.Context(), never},
		{"to look at", "", `allow if regex.is_valid(input.claims.regex)`, "larger than 20000 instructions", t.Context(), never},
		{"a patch that doubles", "", `allow if json.patch({"a": 1}, input.claims.patch).a == 1`, "larger than 20000 values", t.Context(), never},
		{"a patch of much", "", `allow if json.patch(input.claims.list, input.claims.patches) == []`, "larger than 20000 values, or all that", t.Context(), never},
	} {
		o := Options{CEL: c.cel, limit: c.limit}
		if c.rego != "" {
			o.Rego = "package slim.auth\n" + c.rego
		}
		if err := newPolicy(t, o).Allow(c.ctx, claims); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if p, err := New(Options{CEL: "true"}); err != nil || p.opt.limit != time.Second {
		t.Errorf("the limit is not a second: %+v, %v", p, err)
	}
}

// What is bounded is what it was for those who are within the bounds.
func TestBoundedFunctions(t *testing.T) {
	claims := map[string]any{"s": "node-17", "p": "^node-[0-9]+$", "bad": "(", "ops": []any{
		map[string]any{"op": "add", "path": "/b", "value": "x"}, map[string]any{"op": "copy", "from": "/b", "path": "/c"},
		map[string]any{"op": "test", "path": "/c", "value": "x"}, map[string]any{"op": "remove", "path": "/a"}}}
	for _, c := range []struct {
		cel, rego string
		want      string // "": it passes
	}{
		{`claims.s.matches(claims.p) && matches(claims.s, claims.p)`, "", ""},
		{`claims.s.matches("^(a|b){1000}$")`, "", "denies"},
		{`claims.s.matches(claims.bad)`, "", "missing closing"},
		{`claims.s.matches(1)`, "", "no such overload"},
		{`claims.ops.matches("x")`, "", "no such overload"},
		{"", "regex.match(input.claims.p, input.claims.s)", ""},
		{"", `regex.replace(input.claims.s, "[0-9]+", "x") == "node-x"`, ""},
		{"", `regex.split("-", input.claims.s) == ["node", "17"]`, ""},
		{"", `regex.find_n("[a-z]", input.claims.s, 2) == ["n", "o"]`, ""},
		{"", `not regex.is_valid(input.claims.bad)`, ""},
		{"", `json.patch({"a": 1}, input.claims.ops) == {"b": "x", "c": "x"}`, ""},
		{"", `json.patch({"a": 1}, []) == {"a": 1}`, ""},
		{"", `json.patch({"c": 1}, input.claims.ops)`, "fails: "},
		{"", `json.patch(input.claims.s, [{"op": "replace", "path": "", "value": 1}]) == 1`, ""},
	} {
		o := Options{CEL: c.cel}
		if c.rego != "" {
			o.Rego = "package slim.auth\nallow if " + c.rego
		}
		if err := newPolicy(t, o).Allow(t.Context(), claims); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s%s: %v, want %q", c.cel, c.rego, err, c.want)
		}
	}
}

// P-pol-6: the functions that a module may use are these, and no new one of the engine's comes by itself.
func TestNoWayOut(t *testing.T) {
	caps, err := capabilities()
	if err != nil {
		t.Fatal(err)
	}
	if caps.AllowNet == nil || len(caps.AllowNet) > 0 {
		t.Error("schemas may be fetched")
	}
	for _, b := range caps.Builtins {
		if b.Nondeterministic && b.Name != "time.now_ns" && b.Name != "uuid.rfc4122" {
			t.Errorf("%s is not determined by its arguments", b.Name)
		}
	}
	for _, name := range []string{
		"http.send", "net.lookup_ip_addr", "opa.runtime", "rego.parse_module", "rego.metadata.rule", "json.match_schema", "json.verify_schema",
		"graphql.is_valid", "providers.aws.sign_req", "io.jwt.decode_verify", "crypto.x509.parse_and_verify_certificates", "bits.lsh", "rand.intn",
	} {
		if slices.ContainsFunc(caps.Builtins, func(b *ast.Builtin) bool { return b.Name == name }) {
			t.Errorf("%s may be used", name)
		}
		if _, is := ast.BuiltinMap[name]; !is {
			t.Errorf("the engine has no %s", name)
		}
	}
	t.Setenv("SLIM_POLICY_TEST", "x")
	for _, text := range []string{"allow if opa.runtime().env.SLIM_POLICY_TEST", "import data.env\nallow if env", "allow if data.system"} {
		if p, err := New(Options{Rego: "package slim.auth\n" + text}); err == nil && p.Allow(t.Context(), nil) == nil {
			t.Errorf("%s: allowed", text)
		}
	}
}

// What breaks in an engine denies one, and stops nobody else.
func TestPanicDenies(t *testing.T) {
	p := newPolicy(t, Options{CEL: "true"})
	p.now.Store(&program{allow: func(context.Context, map[string]any) error { panic("index out of range") }})
	if err := p.Allow(t.Context(), nil); err == nil || err.Error() != "policy.cel broke: index out of range" {
		t.Errorf("%v", err)
	}
}

// Many ask at once, while the file changes: each answer is that of one of the two policies.
func TestConcurrently(t *testing.T) {
	f := newFile(t, "package slim.auth\nallow if input.claims.n > 0")
	cel := newPolicy(t, Options{CEL: `claims.groups.exists(g, g == "nodes")`})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				if err := f.p.Allow(t.Context(), map[string]any{"n": json.Number("1")}); err != nil {
					t.Error(err)
				}
				if err := f.p.Allow(t.Context(), map[string]any{"n": json.Number("-1")}); err == nil {
					t.Error("allowed")
				}
				if err := cel.Allow(t.Context(), map[string]any{"groups": []any{"nodes"}}); err != nil {
					t.Error(err)
				}
				if i == 0 {
					f.replace(t, fmt.Sprintf("package slim.auth\nallow if input.claims.n > 0\n# %v", time.Now()))
					if err := f.p.Reload(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

var errTimeout = errors.New("nothing was heard")
