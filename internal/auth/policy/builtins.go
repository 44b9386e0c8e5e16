package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
)

// functions are the built-in functions that a module may use: those of upstream's engine, so that what starts here starts there, without
// what could reach out of the process (http.send, opa.runtime, schemas, which may refer to others), without what a claim could be kept
// busy by, or fill the memory with, where nothing counts the turns (bits.lsh, graph.reachable_paths, regex.template_match), and without
// chance (rand.intn). P-pol-6.
const functions = `
	eq equal neq lt lte gt gte assign plus minus mul div rem and or internal.member_2 internal.member_3 internal.print internal.template_string
	abs ceil floor round numbers.range numbers.range_step
	bits.and bits.negate bits.or bits.rsh bits.xor
	count max min product sort sum
	array.concat array.reverse array.slice
	intersection union
	object.filter object.get object.keys object.remove object.subset object.union object.union_n
	concat contains endswith format_int indexof indexof_n lower replace split sprintf startswith
	strings.any_prefix_match strings.any_suffix_match strings.count strings.replace_n strings.reverse substring
	trim trim_left trim_prefix trim_right trim_space trim_suffix upper
	to_number is_array is_boolean is_null is_number is_object is_set is_string type_name
	base64.decode base64.encode base64.is_valid base64url.decode base64url.encode base64url.encode_no_pad hex.decode hex.encode
	json.filter json.is_valid json.marshal json.marshal_with_options json.patch json.remove json.unmarshal
	yaml.is_valid yaml.marshal yaml.unmarshal
	urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object
	glob.match glob.quote_meta regex.find_n regex.is_valid regex.match regex.replace regex.split
	graph.reachable walk
	net.cidr_contains net.cidr_expand net.cidr_is_valid
	semver.compare semver.is_valid units.parse units.parse_bytes uuid.parse uuid.rfc4122
	time.add_date time.clock time.date time.diff time.format time.now_ns time.parse_duration_ns time.parse_ns time.parse_rfc3339_ns time.weekday
	trace`

// capabilities are what a module may use.
var capabilities = sync.OnceValues(func() (*ast.Capabilities, error) {
	all := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
	c := &ast.Capabilities{FutureKeywords: all.FutureKeywords, Features: all.Features, AllowNet: []string{}}
	words := strings.Fields(functions)
	for _, b := range all.Builtins {
		if slices.Contains(words, b.Name) {
			c.Builtins = append(c.Builtins, b)
		}
	}
	if len(c.Builtins) != len(words) {
		return nil, fmt.Errorf("the engine has only %d of %d built-in functions", len(c.Builtins), len(words))
	}
	return c, nil
})

// noData is the store of an evaluation: there is no data but the module's. Nothing but Read is called.
type noData struct{ storage.Store }

func (noData) Read(_ context.Context, _ storage.Transaction, path storage.Path) (any, error) {
	if len(path) == 0 {
		return map[string]any{}, nil
	}
	return nil, &storage.Error{Code: storage.NotFoundErr}
}
