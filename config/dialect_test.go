package config

import (
	"errors"
	"strings"
	"testing"
)

// noEnv is an empty environment.
func noEnv(string) (string, bool) { return "", false }

// causes returns the texts of an error from the outermost on, "" for none.
func causes(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is a %T, want *Error: %v", err, err)
	}
	return strings.Join(append([]string{e.Context[0]}, e.Causes()...), " | ")
}

const running = "\nservices: {slim/0: {dataplane: {servers: [{endpoint: \"127.0.0.1:0\", tls: {insecure: true}}]}}}\n"

// TestDialect runs one file for each rule of the YAML dialect. The outcome of every row was compared with upstream's
// node 3.4.6; the texts behind the position are upstream's where upstream prints one. Rules: P-conf-5, P-conf-6.
func TestDialect(t *testing.T) {
	const (
		load    = "failed to load configuration | "
		yamlErr = load + "yaml parse error | "
		rt      = "invalid runtime configuration | yaml parse error | "
		tr      = "invalid tracing configuration | yaml parse error | "
	)
	for _, tt := range []struct {
		name, yaml string
		want       string // exact; "" loads
	}{
		{"empty file", "", load + "invalid configuration - impossible to parse yaml | f:1:1: expected a mapping, found unit value"},
		{"only comments", "# nothing\n", load + "invalid configuration - impossible to parse yaml | f:1:1: expected a mapping, found unit value"},
		{"root list", "[1]", load + "invalid configuration - impossible to parse yaml | f:1:1: expected a mapping, found sequence"},
		{"root scalar", "5", load + "invalid configuration - impossible to parse yaml | f:1:1: expected a mapping, found integer `5`"},
		{"root key not a string", "1: 2", load + "invalid configuration - impossible to parse yaml | f:1:1: key integer `1` is not a string"},
		{"unknown root key", "service: {}", load + "invalid configuration - key service not valid | f:1:1: service: unknown key; did you mean `services`?"},
		{"no services", "runtime: {}", "error loading services | invalid configuration - missing services | f:1:1: services: a node needs at least one service, such as slim/0"},
		{"empty services", "services: {}", "error loading services | invalid configuration - missing services | f:1:11: services: a node needs at least one service, such as slim/0"},
		{"services a list", "services: []", "error loading services | invalid configuration - impossible to parse yaml | f:1:11: services: expected a mapping, found sequence"},
		{"services null", "services:", "error loading services | invalid configuration - impossible to parse yaml | f:1:10: services: expected a mapping, found unit value"},

		{"yes is a string", "tracing: {display_thread_ids: yes}" + running, tr + "f:1:31: tracing.display_thread_ids: invalid type: string \"yes\", expected a boolean; write true or false, without quotes"},
		{"off is a string", "tracing: {display_thread_ids: off}" + running, tr + "f:1:31: tracing.display_thread_ids: invalid type: string \"off\", expected a boolean; write true or false, without quotes"},
		{"TRUE is a bool", "tracing: {display_thread_ids: TRUE}" + running, ""},
		{"True is a bool", "tracing: {display_thread_ids: True}" + running, ""},
		{"quoted true is a string", "tracing: {display_thread_ids: \"true\"}" + running, tr + "f:1:31: tracing.display_thread_ids: invalid type: string \"true\", expected a boolean; write true or false, without quotes"},
		{"quoted integer is a string", "runtime: {n_cores: \"4\"}" + running, rt + "f:1:20: runtime.n_cores: invalid type: string \"4\", expected usize; write a whole number, without quotes, leading zeros or a unit"},
		{"integer for a string", "runtime: {thread_name: 4}" + running, rt + "f:1:24: runtime.thread_name: invalid type: integer `4`, expected a string; write it in quotes"},
		{"bool for a string", "runtime: {thread_name: true}" + running, rt + "f:1:24: runtime.thread_name: invalid type: boolean `true`, expected a string; write it in quotes"},
		{"date is a string", "runtime: {thread_name: 2026-11-22}" + running, ""},
		{"empty quoted string", "runtime: {thread_name: \"\"}" + running, ""},
		{"null for a string", "runtime: {thread_name: }" + running, rt + "f:1:24: runtime.thread_name: invalid type: unit value, expected a string"},
		{"null for an integer", "runtime: {n_cores: ~}" + running, rt + "f:1:20: runtime.n_cores: invalid type: unit value, expected usize"},
		{"null for a struct of defaults", "runtime:" + running, ""},
		{"null for a list", "tracing: {filters: }" + running, ""},
		{"hexadecimal", "runtime: {n_cores: 0x10}" + running, ""},
		{"octal 0o10", "runtime: {n_cores: 0o10}" + running, ""},
		{"binary 0b11", "runtime: {n_cores: 0b11}" + running, ""},
		{"plus sign", "runtime: {n_cores: +1}" + running, ""},
		{"leading zero is a string", "runtime: {n_cores: 010}" + running, rt + "f:1:20: runtime.n_cores: invalid type: string \"010\", expected usize; write a whole number, without quotes, leading zeros or a unit"},
		{"underscore is a string", "runtime: {n_cores: 1_000}" + running, rt + "f:1:20: runtime.n_cores: invalid type: string \"1_000\", expected usize; write a whole number, without quotes, leading zeros or a unit"},
		{"float for an integer", "runtime: {n_cores: 4.0}" + running, rt + "f:1:20: runtime.n_cores: invalid type: floating point `4.0`, expected usize; write a whole number, without quotes, leading zeros or a unit"},
		{"exponent is a float", "runtime: {n_cores: 1e0}" + running, rt + "f:1:20: runtime.n_cores: invalid type: floating point `1.0`, expected usize; write a whole number, without quotes, leading zeros or a unit"},
		{"negative for unsigned", "runtime: {n_cores: -1}" + running, rt + "f:1:20: runtime.n_cores: invalid value: integer `-1`, expected usize"},
		{"integer beyond 64 bits", "runtime: {n_cores: 99999999999999999999}" + running, yamlErr + "f:1:20: runtime.n_cores: invalid type: integer `99999999999999999999` as u128, expected any YAML value"},
		{"integer beyond 64 bits anywhere", "tracing: {x: 99999999999999999999}" + running, yamlErr + "f:1:14: tracing.x: invalid type: integer `99999999999999999999` as u128, expected any YAML value"},
		{"list for an integer", "runtime: {n_cores: [1]}" + running, rt + "f:1:20: runtime.n_cores: invalid type: sequence, expected usize"},
		{"map for an integer", "runtime: {n_cores: {a: 1}}" + running, rt + "f:1:20: runtime.n_cores: invalid type: map, expected usize"},
		{"string for a list", "tracing: {filters: x}" + running, tr + "f:1:20: tracing.filters: invalid type: string \"x\", expected a sequence; write a list, such as [VALUE]"},
		{"scalar for a struct", "runtime: 5" + running, rt + "f:1:10: runtime: invalid type: integer `5`, expected struct RuntimeConfiguration"},
		{"duplicate key", "runtime: {n_cores: 1, n_cores: 2}" + running, yamlErr + "f:1:23: runtime: duplicate entry with key \"n_cores\""},
		{"duplicate key in an ignored place", "services: {slim/0: {dataplane: {servers: [{endpoint: x, foo: {a: 1, a: 1}}]}}}", yamlErr + "f:1:69: services.slim/0.dataplane.servers[0].foo: duplicate entry with key \"a\""},
		{"alias", "runtime: &r {n_cores: 1}\ntracing: {log_level: &l info, filters: [*l]}" + running, ""},
		{"unknown alias", "runtime: *nope" + running, yamlErr + "f:1:10: unknown anchor 'nope' referenced; a value that begins with * needs quotes"},
		{"merge key is an ordinary key", "runtime: {<<: {n_cores: 1}}" + running, rt + "f:1:11: runtime.<<: unknown field `<<`, expected one of `n_cores`, `thread_name`, `drain_timeout`"},
		{"two documents", "runtime: {}\n---\nruntime: {}\n", yamlErr + "f:2:1: deserializing from YAML containing more than one document is not supported"},
		{"version 1.1", "%YAML 1.1\n---" + running, ""},
		{"version 1.2", "%YAML 1.2\n---" + running + "...\n", ""},
		{"version with leading zeros", "%YAML 01.02\n---" + running, ""},
		{"version after byte order mark, comment and blank line", "\ufeff# c\r\n\r\n%YAML \t1.2 # d\r\n--- # e\r\nruntime: {n_cores: 1}" + running, ""},
		{"version beside a tag directive", "%TAG !e! tag:example.org,2026:\n%YAML 1.2\n---" + running, ""},
		{"version 1.0", "%YAML 1.0\n---" + running, yamlErr + "f:1:1: found incompatible YAML document: 1.0; this node reads YAML 1.1 and 1.2"},
		{"version 1.3", "# c\n%YAML 1.3\n---" + running, yamlErr + "f:2:1: found incompatible YAML document: 1.3; this node reads YAML 1.1 and 1.2"},
		{"version 2.1", "%YAML 2.1\n---" + running, yamlErr + "f:1:1: found incompatible YAML document: 2.1; this node reads YAML 1.1 and 1.2"},
		{"version beyond a byte", "%YAML 1.257\n---" + running, yamlErr + "f:1:1: found incompatible YAML document: 1.257; this node reads YAML 1.1 and 1.2"},
		{"two versions", "%YAML 1.2\n%YAML 1.2\n---" + running, yamlErr + "f:2:1: found duplicate %YAML directive"},
		{"version that is text", "runtime:\n  thread_name: |\n    %YAML 1.3\n" + running, ""},
		{"position below a version", "%YAML 1.2\n---\nruntime: {n_cores: yes}" + running, rt + "f:3:20: runtime.n_cores: invalid type: string \"yes\", expected usize"},
		{"byte order mark", "\ufeffruntime: {n_cores: 1}" + running, ""},
		{"CRLF", strings.ReplaceAll("runtime:\n  n_cores: 1"+running, "\n", "\r\n"), ""},
		{"tag str makes a string", "runtime: {thread_name: !!str 5}" + running, ""},
		{"tag int on a quoted scalar", "runtime: {n_cores: !!int \"1\"}" + running, ""},
		{"non-specific tag says nothing", "runtime: {n_cores: ! 1}" + running, ""},
		{"foreign tag says nothing", "runtime: {thread_name: !foo x}" + running, ""},
		{"unknown field", "runtime: {n_core: 1}" + running, rt + "f:1:11: runtime.n_core: unknown field `n_core`, expected one of `n_cores`, `thread_name`, `drain_timeout`; did you mean `n_cores`?"},
		{"filter is not filters", "tracing: {filter: x}" + running, tr + "f:1:11: tracing.filter: unknown field `filter`, expected one of `log_level`, `display_thread_names`, `display_thread_ids`, `filters`, `opentelemetry`; did you mean `filters`?"},
		{"integer for a duration", "runtime: {drain_timeout: 10}" + running, rt + "f:1:26: runtime.drain_timeout: invalid type: integer `10`, expected string; a duration needs a unit, such as 10s or 500ms"},
		{"bad unit", "runtime: {drain_timeout: 10x}" + running, rt + "f:1:26: runtime.drain_timeout: invalid value: string \"missing time duration format, must be multiples of `[0-9]+(ns|us|ms|[smhdwy])`\", expected string; write groups of a whole number and one of ns us ms s m h d w y, such as 1m 30s"},
		{"empty duration", "runtime: {drain_timeout: \"\"}" + running, rt + "f:1:26: runtime.drain_timeout: invalid value: string \"cannot parse integer from empty string\", expected string; write groups of a whole number and one of ns us ms s m h d w y, such as 1m 30s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parse("f", []byte(tt.yaml), noEnv)
			if got := causes(t, err); got != tt.want {
				t.Errorf("parse(%q)\n got %s\nwant %s", tt.yaml, got, tt.want)
			}
		})
	}
}

// The parser's own words are not upstream's; class and position are.
func TestDialectSyntaxErrorsHaveClassAndPosition(t *testing.T) {
	for _, tt := range []struct{ name, yaml, want string }{
		{"tab indentation", "runtime:\n\tn_cores: 1\n", "f:2:1: "},
		{"wrong indentation", "runtime:\n  n_cores: 1\n n: x\n", "f:3:2: "},
		{"version without document start", "%YAML 1.2" + running, "f:2:"},
		{"version without digits", "%YAML 1.\n---" + running, "f:1:"},
		{"open flow mapping", "runtime: {thread_name: ${env:X}}\n", "f:1:"},
		{"recursion", strings.Repeat("[", 200) + strings.Repeat("]", 200), "f:1:"},
		{"anchor inside itself", "a: &a [*a]", "f:1:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parse("f", []byte(tt.yaml), noEnv)
			got, want := causes(t, err), "failed to load configuration | yaml parse error | "+tt.want
			if !strings.HasPrefix(got, want) {
				t.Errorf("parse(%q)\n got %s\nwant %s…", tt.yaml, got, want)
			}
		})
	}
}

func TestScalarsAreTypedAsYAMLCore(t *testing.T) {
	for _, tt := range []struct{ plain, want string }{
		{"", "unit value"}, {"~", "unit value"}, {"null", "unit value"}, {"NULL", "unit value"}, {"nULL", `string "nULL"`},
		{"true", "boolean `true`"}, {"False", "boolean `false`"}, {"tRUE", `string "tRUE"`},
		{"0", "integer `0`"}, {"-0", "integer `0`"}, {"00", `string "00"`}, {"-01", `string "-01"`},
		{"18446744073709551615", "integer `18446744073709551615`"}, {"-9223372036854775808", "integer `-9223372036854775808`"},
		{"0xff", "integer `255`"}, {"-0xff", "integer `-255`"}, {"0x", `string "0x"`}, {"0xg", `string "0xg"`}, {"0o8", `string "0o8"`},
		{"1.5", "floating point `1.5`"}, {".5", "floating point `0.5`"}, {"1e3", "floating point `1000.0`"}, {"1.2.3", `string "1.2.3"`},
		{".inf", "floating point `+Inf`"}, {".nan", "floating point `NaN`"}, {"inf", `string "inf"`}, {"NaN", `string "NaN"`},
		{"+-1", `string "+-1"`}, {"-", `string "-"`}, {"+", `string "+"`}, {".", `string "."`}, {"1_0", `string "1_0"`},
		{"0x1p4", `string "0x1p4"`}, {"1:30", `string "1:30"`}, {"on", `string "on"`},
	} {
		n := &node{}
		if !n.setPlain(tt.plain) {
			t.Errorf("setPlain(%q) refuses it", tt.plain)
		}
		if got := n.describe(); got != tt.want {
			t.Errorf("setPlain(%q) = %s, want %s", tt.plain, got, tt.want)
		}
	}
}
