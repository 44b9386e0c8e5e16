package config

import (
	"slices"
	"testing"
)

func TestDifferences(t *testing.T) {
	const base = "services: {slim/0: {dataplane: {servers: [{endpoint: '127.0.0.1:1', tls: {insecure: true}}]}}}\n"
	load := func(text string) *Config {
		t.Helper()
		c, _, err := parse("f", []byte(text), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, tt := range map[string]struct {
		a, b string
		want []string
	}{
		"nothing":      {base, "# a comment\n" + base, nil},
		"a value":      {base, "runtime: {n_cores: 2}\n" + base, []string{"runtime.n_cores"}},
		"two values":   {"tracing: {log_level: warn}\n" + base, "runtime: {drain_timeout: 1s}\n" + base, []string{"runtime.drain_timeout", "tracing.log_level"}},
		"a list":       {base, "tracing: {filters: [slim]}\n" + base, []string{"tracing.filters"}},
		"a list empty": {base, "tracing: {filters: []}\n" + base, []string{"tracing.filters"}},
		"a key more":   {base, "services: {slim/0: {node_id: x, dataplane: {servers: [{endpoint: '127.0.0.1:1', tls: {insecure: true}}]}}}", []string{"services.slim/0.node_id"}},
		"a service more": {base, "services:\n  slim/0: &s {dataplane: {servers: [{endpoint: '127.0.0.1:1', tls: {insecure: true}}]}}\n  slim/1: *s\n",
			[]string{"services.slim/1"}},
		"a server": {base, "services: {slim/0: {dataplane: {servers: [{endpoint: '127.0.0.1:2', tls: {insecure: true}}]}}}", []string{"services.slim/0.dataplane.servers"}},
	} {
		a, b := load(tt.a), load(tt.b)
		if got := a.Differences(b); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if got := b.Differences(a); len(got) != len(tt.want) {
			t.Errorf("%s, the other way: %q, want %q", name, got, tt.want)
		}
	}
}

// Clients are the same wherever they stand, and not if a secret differs.
func TestSameClients(t *testing.T) {
	client := func(before, more string) *Client {
		t.Helper()
		c, _, err := parse("f", []byte(before+"services: {slim/0: {dataplane: {clients: [{endpoint: 'https://h:1'"+more+"}]}}}"), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		return &c.Services[0].Dataplane.Clients[0]
	}
	const key = ", tls: {source: {type: pem, cert: a, key: b}}, headers: {a: b}, backoff: {type: exponential, max_attempts: 3}, keepalive: {timeout: 1s}, metadata: {a: [1, x]}"
	for more, want := range map[string]bool{
		key: true,
		", tls: {source: {type: pem, cert: a, key: c}}, headers: {a: b}, backoff: {type: exponential, max_attempts: 3}, keepalive: {timeout: 1s}, metadata: {a: [1, x]}": false,
		", tls: {source: {type: pem, cert: a, key: b}}, headers: {a: c}, backoff: {type: exponential, max_attempts: 3}, keepalive: {timeout: 1s}, metadata: {a: [1, x]}": false,
		", tls: {source: {type: pem, cert: a, key: b}}, headers: {a: b}, backoff: {type: exponential, max_attempts: 4}, keepalive: {timeout: 1s}, metadata: {a: [1, x]}": false,
		", tls: {source: {type: pem, cert: a, key: b}}, headers: {a: b}, backoff: {type: exponential, max_attempts: 3}, metadata: {a: [1, x]}":                           false,
		", tls: {source: {type: pem, cert: a, key: b}}, headers: {a: b}, backoff: {type: exponential, max_attempts: 3}, keepalive: {timeout: 1s}, metadata: {a: [1, y]}": false,
	} {
		if got := client("", key).Same(client("\n\n  # elsewhere\n", more)); got != want {
			t.Errorf("%s: %v, want %v", more, got, want)
		}
	}
}
