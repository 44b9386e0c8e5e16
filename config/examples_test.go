package config

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// outcomes says what becomes of each example, by folder and file: "" loads; else the outermost texts of the refusal and
// the keys that it names. Upstream's files and ours of the same names share them.
var outcomes = func() map[string]string {
	return map[string]string{
		"base/client-config.yaml":                       "",
		"base/server-config.yaml":                       "",
		"basic-auth/client-config.yaml":                 "",
		"basic-auth/server-config.yaml":                 "",
		"control-plane/config.yaml":                     "failed to load configuration | invalid configuration - key database not valid | database",
		"east-west/node-east.yaml":                      "",
		"east-west/node-west.yaml":                      "",
		"exponential-backoff/config.yaml":               "",
		"fixed-interval-backoff/config.yaml":            "",
		"full-mesh/replica-1.yaml":                      "",
		"full-mesh/replica-2.yaml":                      "",
		"full-mesh/replica-3.yaml":                      "",
		"full-mesh/replica-4.yaml":                      "",
		"jwt-auth-ecdsa/client-config.yaml":             "",
		"jwt-auth-ecdsa/server-config.yaml":             "",
		"jwt-auth-hmac/client-config.yaml":              "",
		"jwt-auth-hmac/server-config.yaml":              "",
		"jwt-auth-rsa/client-config.yaml":               "",
		"jwt-auth-rsa/server-config.yaml":               "",
		"jwt-policy-filter/client-config.yaml":          "",
		"jwt-policy-filter/server-config.yaml":          "",
		"logging/example-config.yaml":                   "",
		"mtls/client-config.yaml":                       "",
		"mtls/server-config.yaml":                       "",
		"multi-transport/server-config.yaml":            "",
		"oidc-policy-filter/example-client-config.yaml": "",
		"oidc-policy-filter/example-server-config.yaml": "",
		"pqc/server-config.yaml":                        "",
		"proxy/http.yaml":                               "",
		"proxy/https.yaml":                              "",
		"spire/example-client.yaml":                     "",
		"spire/example-server.yaml":                     "",
		"telemetry/server-config.yaml":                  "invalid tracing configuration | tracing.opentelemetry.enabled",
		"tls/client-config.yaml":                        "",
		"tls/server-config.yaml":                        "",
		"unix/client-config.yaml":                       "",
		"unix/server-config.yaml":                       "",
		"websocket/client-config-wss.yaml":              "",
		"websocket/client-config.yaml":                  "",
		"websocket/server-config-wss.yaml":              "",
		"websocket/server-config.yaml":                  "",
	}
}()

// strangers are upstream's files that are for other programs, and what a node says of them.
var strangers = map[string]string{
	"telemetry/docker-compose.yml":        "error loading services | invalid configuration - key id cannot be empty not valid | jaeger",
	"telemetry/otel-collector-config.yml": "failed to load configuration | invalid configuration - key receivers not valid | receivers",
	"telemetry/prometheus.yml":            "failed to load configuration | invalid configuration - key global not valid | global",
}

const (
	referenceFile = "reference/config.yaml"
	// Upstream's node refuses its own reference file; ours of that name is TestReferenceHasEveryKey's.
	referenceOutcome = "error loading services | yaml parse error | slim/0.dataplane.servers[0].auth"
)

// TestExamples loads every example file: those of this folder, and upstream's where SLIM_UPSTREAM_CONFIG names them.
// What upstream starts is started, or refused by the keys of the features that are missing here; what upstream refuses
// is refused.
func TestExamples(t *testing.T) {
	t.Run("ours", func(t *testing.T) { runExamples(t, ".", outcomes) })
	dir := os.Getenv("SLIM_UPSTREAM_CONFIG")
	if dir == "" {
		t.Log("SLIM_UPSTREAM_CONFIG is not set: upstream's own example files are not tried, only ours of the same names")
		return
	}
	t.Run("upstream's", func(t *testing.T) {
		all := maps.Clone(outcomes)
		maps.Copy(all, strangers)
		runExamples(t, dir, all)
		if got := outcome(t, dir, referenceFile); got != referenceOutcome {
			t.Errorf("%s:\n got %s\nwant %s", referenceFile, got, referenceOutcome)
		}
	})
}

func runExamples(t *testing.T, dir string, want map[string]string) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.y*ml"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, path := range files {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.ToSlash(name)
		found[name] = true
		expected, ok := want[name]
		switch {
		case name == referenceFile:
		case !ok:
			t.Errorf("%s: no expectation", name)
		default:
			if got := outcome(t, dir, name); got != expected {
				t.Errorf("%s:\n got %s\nwant %s", name, got, expected)
			}
		}
	}
	for name := range want {
		if !found[name] {
			t.Errorf("%s: no such file in %s", name, dir)
		}
	}
}

// outcome loads a file as outcomes tells it. A file that loads must load without warnings, but for the one of upstream's
// that has a key which upstream does not know.
func outcome(t *testing.T, dir, name string) string {
	t.Helper()
	env := func(k string) (string, bool) { return "password", k == "PASSWORD" || k == "CLIENT_SECRET" }
	c, warnings, err := Load(filepath.Join(dir, filepath.FromSlash(name)), env)
	if err == nil {
		warnings = slices.DeleteFunc(warnings, func(w Warning) bool { return strings.HasSuffix(w.Path, ".websocket_auth_query_param") })
		if len(c.Services) != 1 || len(warnings) != 0 {
			t.Errorf("%s: %d services, warnings %v", name, len(c.Services), warnings)
		}
		return ""
	}
	e := err.(*Error)
	out := slices.Clone(e.Context)
	for _, r := range e.Reasons {
		if r.Position.Line == 0 {
			t.Errorf("%s: no position in %s", name, r)
		}
		out = append(out, strings.TrimPrefix(r.Path, "services."))
	}
	return strings.Join(out, " | ")
}

// Not only the refusals agree: what our examples switch on is what upstream's of the same name switch on.
func TestExamplesShowWhatUpstreamsShow(t *testing.T) {
	dir := os.Getenv("SLIM_UPSTREAM_CONFIG")
	if dir == "" {
		t.Log("SLIM_UPSTREAM_CONFIG is not set: our examples are compared with upstream's in CI only")
		return
	}
	// Values may differ, and boilerplate: what is free to choose, and keys that say what holds anyway.
	free := regexp.MustCompile(`^(runtime|tracing\.(log_level|display_thread_\w+)|.*\.servers|.*\.clients|.*node_id|.*duration|.*websocket_auth_query_param|.*target_spiffe_id)$`)
	for name := range outcomes {
		keys := func(path string) (out []string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			collectKeys((&decoder{}).tree(b), "", &out)
			out = slices.DeleteFunc(out, func(k string) bool { return free.MatchString(k) || strings.HasPrefix(k, "runtime.") })
			slices.Sort(out)
			return slices.Compact(out)
		}
		ours, theirs := keys(filepath.FromSlash(name)), keys(filepath.Join(dir, filepath.FromSlash(name)))
		if !slices.Equal(ours, theirs) {
			t.Errorf("%s has the keys\n%s\nupstream's\n%s", name, strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
		}
	}
}

// collectKeys lists the paths of the values of a tree that hold no others, and of empty ones; items of a list are
// alike, and the spellings of a claim are one.
func collectKeys(n *node, path string, out *[]string) {
	switch n.kind {
	case mapKind:
		for _, e := range n.entries {
			collectKeys(e.val, join(path, strings.Replace(e.key.str, "audiences", "audience", 1)), out)
		}
	case listKind:
		for _, item := range n.items {
			collectKeys(item, path, out)
		}
		if len(n.items) == 0 {
			*out = append(*out, path)
		}
	default:
		*out = append(*out, path)
	}
}

func TestMissingVariableIsAProviderError(t *testing.T) {
	_, _, err := Load("basic-auth/server-config.yaml", noEnv)
	want := `failed to load configuration | config provider error | environment variable error | ` +
		`basic-auth/server-config.yaml:13:23: services.slim/0.dataplane.servers[0].auth.password: environment variable not found: "PASSWORD"`
	if got := causes(t, err); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Keys of older files, which upstream's reference still has, are ignored with a word. Rules: P-conf-16.
func TestDeadKeysAreWarnings(t *testing.T) {
	_, warnings, err := parse("f", []byte(block("endpoint: 0.0.0.0:0", "tls: {cert_file: a, key_file: b}")+
		"      clients:\n        - {endpoint: http://x:1, connection_timeout: 1s, keepalive: {permit_without_stream: true}}\n"), noEnv)
	if got := causes(t, err); !strings.Contains(got, "missing server cert or key") {
		t.Errorf("got %s, want the refusal of a listener whose certificate is in dead keys", got)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.Path[strings.LastIndex(w.Path, ".")+1:])
	}
	if want := []string{"cert_file", "key_file", "connection_timeout", "permit_without_stream"}; !slices.Equal(got, want) {
		t.Errorf("warnings of %q, want of %q", got, want)
	}
}

// Our examples are written by us: upstream's have a licence and authors of their own.
func TestExamplesAreNoCopies(t *testing.T) {
	dir := os.Getenv("SLIM_UPSTREAM_CONFIG")
	if dir == "" {
		t.Log("SLIM_UPSTREAM_CONFIG is not set: our examples are compared with upstream's in CI only")
		return
	}
	comments := func(dir string) map[string]string {
		found := map[string]string{}
		files, err := filepath.Glob(filepath.Join(dir, "*", "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatal("no files in", dir, err)
		}
		for _, path := range files {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				if _, text, ok := strings.Cut(line, "# "); ok {
					found[strings.TrimSpace(text)] = path
				}
			}
		}
		return found
	}
	theirs := comments(dir)
	for text, path := range comments(".") {
		if theirs[text] != "" && strings.Count(text, " ") > 1 {
			t.Errorf("%s has the comment %q of %s", path, text, theirs[text])
		}
	}
}
