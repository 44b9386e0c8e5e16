package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Keys, policies and rules whose files are broken while the node runs are told of by metrics and /status.json, with the reason, until
// they are good again.
func TestAuthLoadsThatFailAreShown(t *testing.T) {
	t.Parallel() // beside those that wait
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const policy = "package slim.auth\nallow if true"
	keys := `{"keys":[{"kty":"oct","alg":"HS256","k":"` + strings.Repeat("A", 43) + `"}]}`
	write("keys.json", keys)
	write("policy.rego", policy)
	write("token", "a.b.c")
	writeRules(t, path("rules.yaml"), "a/b/c")
	r := startReloading(t, serviceText(
		[]string{plain("127.0.0.1:0", fmt.Sprintf("auth: {type: jwt, claims: {audience: [slim]}, key: {type: decoding, algorithm: HS256, format: jwks, key: {file: %s}}, "+
			"policy: {rego_file: %s}}, authorization: %s", path("keys.json"), path("policy.rego"), path("rules.yaml")))},
		[]string{plain("http://127.0.0.1:1", "auth: {type: static_jwt, file: "+path("token")+"}")}), "--health", "0")
	addr := ""
	for _, l := range r.await("admin server started") {
		_, addr, _ = strings.Cut(l, "endpoint=")
	}
	r.await("service started")
	listener := r.nodes[0].Addrs()[0].String()
	shows := func(page string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			until(t, page+" shows "+want, func() bool {
				_, body := ask(t, addr, page)
				return strings.Contains(body, want)
			})
		}
	}
	loaded := func(what string, good int) string {
		key, endpoint := "dataplane.servers[0].auth", listener
		if what == "token" {
			key, endpoint = "dataplane.clients[0].auth", "http://127.0.0.1:1"
		}
		return fmt.Sprintf("slim_auth_last_load_successful{endpoint=%q,key=%q,service=%q,what=%q} %d", endpoint, key, "slim/0", what, good)
	}
	shows("/metrics", loaded("keys", 1), loaded("policy", 1), loaded("token", 1), "slim_config_last_reload_successful 1")

	write("keys.json", "broken")
	write("policy.rego", "broken")
	write("token", "two words")
	write("rules.yaml", "broken: 1")
	r.hangups <- syscall.SIGHUP
	shows("/metrics", loaded("keys", 0), loaded("policy", 0), loaded("token", 0), "slim_config_last_reload_successful 0")
	shows("/status.json", `"fault":"key.key `+path("keys.json"), `"fault":"rego policy compilation failed: policy.rego_file: `+path("policy.rego"),
		`"fault":"file `+path("token"), "The keys of "+listener+" (dataplane.servers[0].auth) cannot be loaded since ", path("rules.yaml")+":1:1: ")

	write("keys.json", keys)
	write("policy.rego", policy)
	write("token", "a.b.c")
	writeRules(t, path("rules.yaml"), "a/b/c")
	r.hangups <- syscall.SIGHUP
	shows("/metrics", loaded("keys", 1), loaded("policy", 1), loaded("token", 1), "slim_config_last_reload_successful 1")
}
