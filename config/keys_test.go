package config

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// walk decodes the reference, which has a block of every kind, and returns the keys that the decoder asks for, by block, and
// those that it warned of or refused.
func walk(t *testing.T) (keys map[string][]string, warned, refused []string) {
	t.Helper()
	b, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	keys = map[string][]string{}
	d := &decoder{file: referenceFile, context: contextLoad}
	d.visit = func(path string, of []string) {
		for _, k := range of {
			if block := blockOf(path); !slices.Contains(keys[block], k) {
				keys[block] = append(keys[block], k)
			}
		}
	}
	root := d.tree(b)
	parts := d.root(root)
	resolve(d, root, func(name string) (string, bool) { return name, true })
	d.err = nil // files that it names are not there
	c := &Config{}
	d.blocks(c, parts, root)
	d.check(c)
	for _, w := range d.warnings {
		if strings.Contains(w.Text, "has no effect") {
			warned = append(warned, keyOf(w.Path))
		}
	}
	for _, r := range d.refused {
		refused = append(refused, keyOf(r.Path))
	}
	return keys, warned, refused
}

var (
	index    = regexp.MustCompile(`\[\d+\]`)
	idOf     = regexp.MustCompile(`^services\.[^.]+`)
	likeness = []struct{ from, to string }{ // blocks that have the keys of others
		{"services.ID.controller", "services.ID.dataplane"},
		{"services.ID.dataplane.outbound_clients[]", "services.ID.dataplane.clients[]"},
		{"services.ID.peers.discovery.peers[]", "services.ID.dataplane.clients[]"},
		{"tracing.opentelemetry.grpc", "services.ID.dataplane.clients[]"},
		{"services.ID.dataplane.clients[].proxy.tls", "services.ID.dataplane.clients[].tls"},
		{"services.ID.dataplane.clients[].tls.source", "services.ID.dataplane.servers[].tls.source"},
		{"services.ID.dataplane.clients[].tls.ca_source", "services.ID.dataplane.servers[].tls.client_ca"},
		{"services.ID.dataplane.clients[].tls.reload_interval", "services.ID.dataplane.servers[].tls.reload_interval"},
		{"services.ID.dataplane.clients[].auth", "services.ID.dataplane.servers[].auth"},
	}
)

// blockOf is the path of a block as the tables have it.
func blockOf(path string) string {
	path = idOf.ReplaceAllString(index.ReplaceAllString(path, "[]"), "services.ID")
	for _, l := range likeness {
		if rest, ok := strings.CutPrefix(path, l.from); ok && (rest == "" || rest[0] == '.') {
			path = l.to + rest
		}
	}
	return path
}

// keyOf is the path of a key as the tables have it.
func keyOf(path string) string {
	at := strings.LastIndexByte(path, '.')
	return blockOf(path[:at]) + path[at:]
}

// tables reads docs/configuration.md: the state of each key, by its path.
func tables(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := regexp.MustCompile("^## `(.*)`$")
	key := regexp.MustCompile("`([a-z0-9_]+)`")
	states := map[string]string{}
	block := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "## ") {
			block = ""
			if m := heading.FindStringSubmatch(line); m != nil {
				block = m[1]
			}
			continue
		}
		cells := strings.Split(line, "|")
		if block == "" || len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		for _, m := range key.FindAllStringSubmatch(cells[1], -1) {
			if path := block + "." + m[1]; states[path] != "" {
				t.Errorf("%s stands twice in the tables", path)
			} else {
				states[path] = strings.TrimSpace(cells[2])
			}
		}
	}
	return states
}

// The tables of docs/configuration.md and the decoder know the same keys. What the tables call ignored is warned of, or has a
// value without effect; what they call later is refused. Rules: P-conf-7.
func TestTablesHaveEveryKey(t *testing.T) {
	keys, warned, refused := walk(t)
	states := tables(t)
	for _, block := range slices.Sorted(maps.Keys(keys)) {
		for _, k := range keys[block] {
			path := block + "." + k
			switch state := states[path]; {
			case path == "services.ID.dataplane.clients[].node_id": // of peers
			case state == "":
				t.Errorf("docs/configuration.md does not list %s", path)
			case !slices.Contains([]string{"done", "better", "ignored", "later"}, state):
				t.Errorf("docs/configuration.md: the state of %s is %q", path, state)
			}
		}
	}
	for path := range states {
		at := strings.LastIndexByte(path, '.')
		if !slices.Contains(keys[path[:at]], path[at+1:]) {
			t.Errorf("docs/configuration.md lists %s, which the decoder does not know", path)
		}
	}
	for _, path := range warned {
		if state := states[path]; state != "ignored" && state != "later" {
			t.Errorf("%s has no effect, and its state is %q", path, state)
		}
	}
	silent := []string{ // nothing is said of these: absent, or warned of by a value that the reference does not have
		"services.ID.dataplane.servers[].http2_only", "services.ID.dataplane.servers[].tls.ca_source",
		"services.ID.dataplane.servers[].tls.include_system_ca_certs_pool",
		"services.ID.dataplane.clients[].tls.reload_interval", "services.ID.dataplane.outbound_clients",
		"services.ID.dataplane.servers[].metadata",
	}
	for path, state := range states {
		if state == "ignored" && !slices.Contains(warned, path) && !slices.Contains(silent, path) && !strings.Contains(path, "reload_interval.") {
			t.Errorf("%s is ignored, and nothing warns of it", path)
		}
	}
	for _, path := range refused {
		if state := states[path]; state != "later" && !strings.HasSuffix(path, "source") && !strings.HasSuffix(path, "client_ca") {
			t.Errorf("%s is refused, and its state is %q", path, state)
		}
	}
}
