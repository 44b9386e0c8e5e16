package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// block wraps the lines of one server entry, which begins at line 5 column 11.
func block(lines ...string) string {
	return "services:\n  slim/0:\n    dataplane:\n      servers:\n        - " + strings.Join(lines, "\n          ") + "\n"
}

// TestWhatToDo: what people write in good faith is refused, as upstream refuses it, and told how to be written.
func TestWhatToDo(t *testing.T) {
	const insecure = "tls: {insecure: true}"
	for _, tt := range []struct{ name, yaml, want string }{ // want ends the error
		{"brackets without quotes", block("endpoint: [::1]:21010", insecure), `; an address in brackets needs quotes: "[::1]:21010"`},
		{"brackets without quotes, all addresses", block("endpoint: [::]:46357", insecure), `; an address in brackets needs quotes: "[::]:46357"`},
		{"brackets without quotes in a flow mapping", serverFile("{endpoint: [::1]:0, tls: {insecure: true}}"), `; an address in brackets needs quotes: "[::1]:0"`},
		{"brackets without quotes, zone", block("endpoint: [fe80::1%eth0]:1"), `; an address in brackets needs quotes: "[fe80::1%eth0]:1"`},
		{"brackets without quotes and port", block("endpoint: [::1]", insecure), "expected a string; an address in brackets needs quotes"},
		{"no brackets", block("endpoint: ::1:21010", insecure), `; an IPv6 address stands in brackets, such as "[::1]:46357"`},
		{"reference in the endpoint", block("endpoint: 127.0.0.1:${env:PORT}", insecure), "; ${env:NAME} and ${file:PATH} work as a whole value only"},
		{"reference in a flow mapping", "runtime: {thread_name: ${env:X}}" + running, `; between braces or brackets a reference needs quotes: "${env:X}"`},
		{"no port", block("endpoint: 127.0.0.1", insecure), "; the port is missing: 127.0.0.1:46357"},
		{"no address", block("endpoint: \":80\"", insecure), "; for all addresses write 0.0.0.0:80"},
		{"every address as a star", block("endpoint: \"*:80\"", insecure), "; write an IP address, such as 0.0.0.0:46357 for all addresses or 127.0.0.1:46357 for this machine only"},
		{"a name", block("endpoint: localhost:80", insecure), "; write an IP address, such as 0.0.0.0:46357 for all addresses or 127.0.0.1:46357 for this machine only"},
		{"a scheme", block("endpoint: http://0.0.0.0:80", insecure), "; write it without a scheme, such as 0.0.0.0:46357"},

		{"a star without quotes", block("endpoint: *:80", insecure), "; a value that begins with * needs quotes"},
		{"an at sign without quotes", "runtime:\n  thread_name: @slim" + running, "; a value that begins with @ needs quotes"},
		{"a percent sign in a list", "tracing:\n  filters:\n    - %a" + running, "; a value that begins with % needs quotes"},
		{"a colon in a value", "runtime:\n  thread_name: a: b" + running, "; a value that holds a colon and a space needs quotes"},
		{"tabs", "runtime:\n\tn_cores: 1\n", "; indent with spaces, not with tabs"},
		{"no idea", "runtime: }\n", "did not find expected node content, while parsing a block node that began at line 1 column 10"},

		{"duration without unit", "runtime: {drain_timeout: 10}" + running, "expected string; a duration needs a unit, such as 10s or 500ms"},
		{"duration without unit, quoted", "runtime: {drain_timeout: \" 10 \"}" + running, "expected string; a duration needs a unit, such as 10s or 500ms"},
		{"fraction without unit", "runtime: {drain_timeout: 0.5}" + running, "expected string; a duration needs a unit, such as 10s or 500ms"},
		{"zero without unit", "runtime: {drain_timeout: 0}" + running, "expected string; a duration needs a unit, such as 10s or 500ms"},
		{"duration with decimals", "runtime: {drain_timeout: 1.5s}" + running, "expected string; a duration has no decimals: write 1500ms, not 1.5s"},
		{"duration with a word", "runtime: {drain_timeout: 10 seconds}" + running, "; write groups of a whole number and one of ns us ms s m h d w y, such as 1m 30s"},
		{"keepalive without unit", block("endpoint: 127.0.0.1:0", insecure, "keepalive: {time: 30}"), "keepalive.time: invalid type: integer `30`, expected string; a duration needs a unit, such as 10s or 500ms"},
		{"seconds with unit", block("endpoint: 127.0.0.1:0", insecure, "negotiation_timeout_secs: 5s"), "; write a whole number, without quotes, leading zeros or a unit"},
		{"text for a list", "tracing: {filters: slim}" + running, "; write a list, such as [VALUE]"},
		{"number for text", block("endpoint: 127.0.0.1:0", "auth: {type: basic, username: 1, password: x}"), "auth.username: invalid type: integer `1`, expected a string; write it in quotes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := parse("f", []byte(tt.yaml), noEnv)
			if got := causes(t, err); !strings.HasSuffix(got, tt.want) {
				t.Errorf("parse(%q)\n got %s\nwant …%s", tt.yaml, got, tt.want)
			}
		})
	}
}

// Shapes of files that are still around are refused with what they are called now.
func TestOldShapes(t *testing.T) {
	for file, want := range map[string]string{
		"services: {gateway/0: {pubsub: {servers: []}}}":        "services.gateway/0.pubsub: unknown field `pubsub`, expected one of `node_id`, `domain_name`, `auth`, `dataplane`, `controller`, `peers`, `default_gateway`; it is now `dataplane`",
		"services: {slim/0: {group_name: a}}":                   "unknown field `group_name`, expected one of `node_id`, `domain_name`, `auth`, `dataplane`, `controller`, `peers`, `default_gateway`; did you mean `domain_name`?",
		"services: {gateway/0: {server: {endpoint: '[::]:1'}}}": "services.gateway/0.server: unknown field `server`, expected one of `node_id`, `domain_name`, `auth`, `dataplane`, `controller`, `peers`, `default_gateway`; it is now `dataplane.servers`, a list",
		"server: {endpoint: '[::]:1'}":                          "server: unknown key; it is now `services.slim/0.dataplane.servers`, a list",
		"client: {}":                                            "client: unknown key; it is now `services.slim/0.dataplane.clients`, a list",
		"pubsub: {}":                                            "pubsub: unknown key; it is now `services.slim/0.dataplane`",
		"gateway/0: {pubsub: {}}":                               "gateway/0: unknown key; it is now `services.slim/0`",
		"gateway: {}":                                           "gateway: unknown key; it is now `services.slim/0`",
		"group_name: a":                                         "group_name: unknown key; it is now `services.slim/0.domain_name`",
		"tracing: {filter: a}":                                  "unknown field `filter`, expected one of `log_level`, `display_thread_names`, `display_thread_ids`, `filters`, `opentelemetry`; did you mean `filters`?",
	} {
		_, _, err := parse("f", []byte(file), noEnv)
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", file, err, want)
		}
	}
	_, warnings, err := parse("f", []byte(strings.Replace(running, "slim/0", "gateway/0", 1)), noEnv)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), "services.gateway/0: works under any name, but services of nodes are called slim/0 now") {
		t.Errorf("a service called gateway/0: %v, %v", warnings, err)
	}
}

// Old keys that upstream ignores are ignored with a word about what there is instead.
func TestOldKeysThatAreGone(t *testing.T) {
	_, warnings, err := parse("f", []byte(serverFile("{endpoint: '127.0.0.1:0', tls: {insecure: true}, max_recv_msg_size: 4, keepalive: {permit_without_stream: true}}")), noEnv)
	all := fmt.Sprint(warnings)
	for _, want := range []string{"max_recv_msg_size: unknown key is ignored; remove it: a message has 4 MiB at most by gRPC",
		"permit_without_stream: unknown key is ignored; remove it: it is now `keep_alive_while_idle` in `keepalive` of a client"} {
		if err != nil || len(warnings) != 2 || !strings.Contains(all, want) {
			t.Errorf("%v, %v, want %s", err, warnings, want)
		}
	}
}

// A hint looks at one line and not for long.
func TestHintsOfHostileLinesAreBounded(t *testing.T) {
	long := strings.Repeat("[::", 1<<20)
	if got := syntaxHint([]byte(long+"\n"+long), 2); got != "" {
		t.Errorf("hint %q of a line of brackets", got)
	}
	if got := syntaxHint([]byte("a\nb"), 7); got != "" {
		t.Errorf("hint %q of a line that is not there", got)
	}
}

// Rules: P-conf-20.
func TestHintsDoNotRepeatSecrets(t *testing.T) {
	env := func(string) (string, bool) { return "s3cret${env:Y}", true }
	_, warnings, err := parse("f", []byte(serverFile(`{endpoint: "${env:X}", auth: {type: basic, username: "${env:X}", password: "a${env:X}s3cret"}, tls: {insecure: true}}`)), env)
	for _, w := range warnings {
		if strings.Contains(w.String(), "s3cret") {
			t.Errorf("warning repeats a value: %s", w)
		}
	}
	if err == nil || len(warnings) != 1 {
		t.Errorf("error %v, warnings %v: want an error and a warning of the password", err, warnings)
	}
}

// Zero is a time, not the absence of one.
func TestZeroDurationsAreZero(t *testing.T) {
	c, _, err := parse("f", []byte("runtime: {drain_timeout: 0s}\n"+block("endpoint: 127.0.0.1:0", "tls: {insecure: true}", "keepalive: {time: 0s, timeout: 0ms}")), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	k := c.Services[0].Dataplane.Servers[0].Keepalive
	if got := [3]time.Duration{c.Runtime.DrainTimeout, k.Time, k.Timeout}; got != [3]time.Duration{} {
		t.Errorf("drain timeout, keepalive time and timeout are %v, want zeros", got)
	}
}
