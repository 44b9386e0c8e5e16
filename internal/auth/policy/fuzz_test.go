package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Claims are what a stranger has had signed: whatever they are, each policy answers, and the same when asked again; none breaks.
func FuzzAllow(f *testing.F) {
	policies := []*Policy{
		newPolicy(f, Options{limit: time.Minute, CEL: `"nodes" in claims.groups`}),
		newPolicy(f, Options{limit: time.Minute, CEL: `claims.all(k, size(k) < 9 || claims[k] == claims[k]) && claims.n + 1u > 2u || claims.s.matches("^" + claims.p)`}),
		newPolicy(f, Options{limit: time.Minute, CEL: `claims.a.map(x, claims.a.map(y, x == y)).size() > int(claims.n) / int(claims.m) || timestamp(claims.t) > timestamp(claims.u)`}),
		newPolicy(f, Options{limit: time.Minute, Rego: "package slim.auth\nallow if \"nodes\" in input.claims.groups"}),
		newPolicy(f, Options{limit: time.Minute, Rego: `package slim.auth
allow if {
	some path, v
	walk(input.claims, [path, v])
	regex.match(input.claims.p, sprintf(input.claims.s, [v, path]))
}
allow if {
	some x in input.claims.a
	some y in numbers.range(x, input.claims.n)
	y % input.claims.m == to_number(input.claims.s)
}
allow if glob.match(input.claims.p, [], replace(input.claims.s, input.claims.t, input.claims.u))
allow if json.unmarshal(input.claims.s) == yaml.unmarshal(input.claims.t)
allow if time.add_date(input.claims.n, input.claims.m, input.claims.m, 1) > units.parse(input.claims.s)
allow if json.patch(input.claims, input.claims.a) == object.union(input.claims, input.claims.o)
`}),
	}
	for _, seed := range []string{
		`{}`, `{"groups":["nodes"]}`, `{"groups":"nodes"}`, `{"groups":{"nodes":1}}`, `{"groups":[["nodes"],null,{"a":[]}]}`,
		`{"a":[1,2,3],"n":5,"m":0,"s":"%d %v","p":"(a{100}){9}","t":"2024-05-01T00:00:00Z","u":"x"}`,
		`{"a":[-9223372036854775808,18446744073709551615,1e308],"n":1e308,"m":-1,"s":"1e308","t":"a: &a [*a]"}`,
		`{"a":[{"op":"copy","from":"/a","path":"/a/0"}],"s":"[[[[","t":"[[[[","p":"[","o":{"a":{}}}`,
		`{"":{"":""},"\u0000":"\ud800","naïve":"ü"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 16<<10 { // as a token is, at most
			return
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		var claims map[string]any
		if d.Decode(&claims) != nil {
			return
		}
		for i, p := range policies {
			first, second := p.Allow(t.Context(), claims), p.Allow(t.Context(), claims)
			said := fmt.Sprint(first, second)
			if strings.Contains(said, "broke") {
				t.Errorf("policy %d: %s", i, said)
			}
			if (first == nil) != (second == nil) {
				t.Errorf("policy %d: %v, then %v", i, first, second)
			}
		}
	})
}
