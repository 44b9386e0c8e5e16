package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUpstreamExamples loads every example file of upstream. What upstream starts is started or refused by the key of
// the feature that is missing here; what upstream refuses is refused in its words.
func TestUpstreamExamples(t *testing.T) {
	const (
		no       = "error loading services | F:%s: not supported yet: services.slim/0."
		clients  = "dataplane.clients"
		source   = "dataplane.servers[0].tls.source (TLS)"
		tls      = " | F:%s: not supported yet: services.slim/0.dataplane.servers[0].tls.source (TLS)"
		client   = " | F:%s: not supported yet: services.slim/0.dataplane.servers[0].tls.client_ca (TLS)"
		auth     = " | F:%s: not supported yet: services.slim/0.dataplane.servers[0].auth"
		endpoint = "dataplane.servers[0].endpoint"
		mesh     = "error loading services | F:22:5: not supported yet: services.slim/0.controller | F:27:5: not supported yet: services.slim/0.peers"
		backoff  = "error loading services | F:23:5: not supported yet: services.slim/a.controller"
	)
	at := func(text string, places ...string) string {
		for _, p := range places {
			text = strings.Replace(text, "%s", p, 1)
		}
		return text
	}
	want := map[string]string{ // "" loads
		"base/client-config.yaml":                       at(no+clients, "18:7"),
		"base/server-config.yaml":                       "",
		"basic-auth/client-config.yaml":                 at(no+clients, "17:7"),
		"basic-auth/server-config.yaml":                 at(no+source+auth+" (basic)", "20:13", "24:11"),
		"control-plane/config.yaml":                     "failed to load configuration | invalid configuration - key database not valid | F:4:1: database: unknown key",
		"east-west/node-east.yaml":                      "",
		"east-west/node-west.yaml":                      at(no+clients, "25:7"),
		"exponential-backoff/config.yaml":               backoff,
		"fixed-interval-backoff/config.yaml":            backoff,
		"full-mesh/replica-1.yaml":                      mesh,
		"full-mesh/replica-2.yaml":                      mesh,
		"full-mesh/replica-3.yaml":                      mesh,
		"full-mesh/replica-4.yaml":                      mesh,
		"jwt-auth-ecdsa/client-config.yaml":             at(no+clients, "17:7"),
		"jwt-auth-ecdsa/server-config.yaml":             at(no+source+auth+" (jwt)", "20:11", "24:9"),
		"jwt-auth-hmac/client-config.yaml":              at(no+clients, "17:7"),
		"jwt-auth-hmac/server-config.yaml":              at(no+source+auth+" (jwt)", "20:13", "24:11"),
		"jwt-auth-rsa/client-config.yaml":               at(no+clients, "17:7"),
		"jwt-auth-rsa/server-config.yaml":               at(no+source+auth+" (jwt)", "20:13", "24:11"),
		"jwt-policy-filter/client-config.yaml":          at(no+clients, "17:7"),
		"jwt-policy-filter/server-config.yaml":          at(no+source+auth+" (jwt)", "20:13", "24:11"),
		"logging/example-config.yaml":                   "",
		"mtls/client-config.yaml":                       at(no+clients, "17:7"),
		"mtls/server-config.yaml":                       at(no+source+client, "20:13", "24:13"),
		"multi-transport/server-config.yaml":            at(no+endpoint+" (WebSocket)", "23:11"),
		"oidc-policy-filter/example-client-config.yaml": at(no+clients, "17:7"),
		"oidc-policy-filter/example-server-config.yaml": at(no+source+auth+" (oidc)", "20:13", "24:11"),
		"pqc/server-config.yaml":                        at(no+source, "21:13"),
		"proxy/http.yaml":                               at(no+clients, "17:7"),
		"proxy/https.yaml":                              at(no+clients, "17:7"),
		"reference/config.yaml":                         "error loading services | yaml parse error | F:69:13: services.slim/0.dataplane.servers[0].auth: missing field `type`, one of `basic`, `jwt`, `oidc`, `spire`, `none`",
		"spire/example-client.yaml":                     at(no+clients, "17:7"),
		"spire/example-server.yaml":                     at(no+source+client, "20:13", "24:13"),
		"telemetry/server-config.yaml":                  "invalid tracing configuration | F:9:5: not supported yet: tracing.opentelemetry.enabled",
		"tls/client-config.yaml":                        at(no+clients, "17:7"),
		"tls/server-config.yaml":                        at(no+source, "20:13"),
		"unix/client-config.yaml":                       at(no+clients, "18:7"),
		"unix/server-config.yaml":                       at(no+endpoint+" (unix socket)", "19:11"),
		"websocket/client-config-wss.yaml":              at(no+clients, "17:7"),
		"websocket/client-config.yaml":                  at(no+clients, "17:7"),
		"websocket/server-config-wss.yaml":              at(no+endpoint+" (WebSocket)"+tls, "18:11", "20:13"),
		"websocket/server-config.yaml":                  at(no+endpoint+" (WebSocket)", "17:11"),
	}
	env := func(k string) (string, bool) { return "password", k == "PASSWORD" }
	files, err := filepath.Glob("testdata/upstream/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name := filepath.ToSlash(strings.TrimPrefix(path, filepath.Join("testdata", "upstream")+string(filepath.Separator)))
		expected, ok := want[name]
		if !ok {
			t.Errorf("%s: no expectation", name)
			continue
		}
		delete(want, name)
		c, warnings, err := Load(path, env)
		if got := strings.ReplaceAll(causes(t, err), path, "F"); got != expected {
			t.Errorf("%s:\n got %s\nwant %s", name, got, expected)
		}
		if err == nil && (len(c.Services) != 1 || len(warnings) != 0) {
			t.Errorf("%s: %d services, warnings %v", name, len(c.Services), warnings)
		}
	}
	for name := range want {
		t.Errorf("%s: no such file", name)
	}
}

func TestMissingVariableIsAProviderError(t *testing.T) {
	_, _, err := Load("testdata/upstream/basic-auth/server-config.yaml", noEnv)
	want := `failed to load configuration | config provider error | environment variable error | ` +
		`testdata/upstream/basic-auth/server-config.yaml:27:23: services.slim/0.dataplane.servers[0].auth.password: environment variable not found: "PASSWORD"`
	if got := causes(t, err); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The reference file with its two faults corrected decodes to its end.
func TestCorrectedReferenceFileDecodes(t *testing.T) {
	b, err := os.ReadFile("testdata/upstream/reference/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(
		"            basic:\n", "            type: basic\n            username: u\n            password: p\n            basic:\n",
		"max_delay: 1500", "max_delay: 1500ms",
		"enabled: true", "enabled: false",
	).Replace(string(b))
	text = strings.ReplaceAll(text, "            # Basic authentication configuration\n", "")
	_, warnings, err := parse("f", []byte(text), noEnv)
	got := causes(t, err)
	if !strings.Contains(got, "missing server cert or key") {
		t.Errorf("got %s, want the refusal of a listener whose certificate is in dead keys", got)
	}
	for _, dead := range []string{"connection_timeout", "permit_without_stream", "cert_file"} {
		found := false
		for _, w := range warnings {
			found = found || strings.HasSuffix(w.Path, "."+dead)
		}
		if !found {
			t.Errorf("no warning of the dead key %s", dead)
		}
	}
}
