package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire"
)

func writeRules(t *testing.T, file string, subscribe string) {
	t.Helper()
	text := fmt.Sprintf("rules:\n  - claim: [edge]\n    subscribe: [%s]\n    publish: ['*/*/*']\n    source: ['*/*/*']\n", subscribe)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Rules of a file hold from the start; those of a file that changes are loaded by themselves, and what was allowed before is
// judged again. Rules: P-rule-8, P-rule-9.
func TestRulesOfAFile(t *testing.T) {
	t.Parallel() // it waits for most of its time
	file := filepath.Join(t.TempDir(), "rules.yaml")
	writeRules(t, file, "org/ns/*")
	with := serviceText([]string{plain("127.0.0.1:0", "authorization: "+file)}, nil)
	r := newReloading(t, with)
	r.watches = true
	r.begin()
	subscribe := func(name string, want string) {
		t.Helper()
		c := app(t, "tcp", "http://"+r.nodes[0].Addrs()[0].String())
		p := strings.Split(name, "/")
		n := wire.Text(p[0], p[1], p[2])
		_, err := c.Subscribe(t.Context(), &wire.PublishHeader{Source: n, Dest: n, Fanout: 1, TTL: 8})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	names := func(want int) {
		t.Helper()
		until(t, fmt.Sprint(want, " names"), func() bool { return r.nodes[0].Stats().Names == want })
	}
	subscribe("org/ns/a", "")
	subscribe("org/other/a", "not allowed to subscribe to org/other/a/NULL_COMPONENT")
	names(1)

	writeRules(t, file, "org/other/*, org/third/*")
	lines := r.await("configuration loaded anew")
	if !has(lines, file) {
		t.Errorf("it does not say what has changed:\n%s", strings.Join(lines, "\n"))
	}
	if !has(lines, "connections were judged by the new rules") { // beside what loads the file
		r.await("connections were judged by the new rules")
	}
	names(0)
	subscribe("org/other/a", "")
	subscribe("org/ns/a", "not allowed")

	writeRules(t, file, "org/ns")
	if lines := r.await("configuration is not loaded"); !has(lines, `"org/ns" has 2 parts`) && !has(lines, `\"org/ns\" has 2 parts`) {
		t.Errorf("it does not say what is wrong:\n%s", strings.Join(lines, "\n"))
	}
	subscribe("org/third/a", "")
	names(2)
	r.hangups <- syscall.SIGHUP
	r.await("configuration is not loaded")
	writeRules(t, file, "org/other/*")
	r.await("connections were judged by the new rules")
	names(1)

	r.write(serviceText([]string{plain("127.0.0.1:0")}, nil))
	r.await("connections were judged by the new rules")
	subscribe("any/thing/else", "")
	names(4) // org/ns/a and org/third/a, which were taken back, are there again
	if s := r.nodes[0].Stats(); s.Refused[router.ReasonDenied] != 4 {
		t.Errorf("refused %v, want 4 times denied", s.Refused)
	}
}

func TestFaultsOfRulesAreTold(t *testing.T) {
	dir := t.TempDir()
	file, node := filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "node.yaml")
	if err := os.WriteFile(node, []byte(serviceText([]string{plain("127.0.0.1:0", "authorization: "+file)}, nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ subscribe, want string }{
		{"", node + ":6:12: services.slim/0.dataplane.servers[0].authorization: " + file + ": No such file or directory (os error 2)"},
		{"a/b", file + `:3:17: "a/b" has 2 parts: want ORG/NAMESPACE/APP, where * stands for any, or that and /ID`},
	} {
		if c.subscribe != "" {
			writeRules(t, file, c.subscribe)
		}
		if code, out := checked(t, node); code != cli.ExitError || strings.TrimSpace(out) != c.want {
			t.Errorf("check: exit %d: %s\nwant %s", code, out, c.want)
		}
		r := newRig()
		r.start = startNode
		if code := r.program.run(t.Context(), []string{"--config", node}); code != cli.ExitError || !strings.Contains(r.errs.String()+r.out.String(), c.want) {
			t.Errorf("start: exit %d: %s%s\nwant %s", code, &r.errs, &r.out, c.want)
		}
	}
	writeRules(t, file, "a/b/c")
	if code, out := checked(t, node); code != cli.ExitOK {
		t.Errorf("exit %d: %s", code, out)
	}
}
