//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ruled is a node of ours with rules, and a listener for each of some users: who comes by it has that name.
type ruled struct {
	*node
	file  string
	ports map[string]int
}

func startRuled(t *testing.T, rules string, users ...string) *ruled {
	t.Helper()
	dir := t.TempDir()
	r := &ruled{&node{kind: ours, port: freePort(t), config: filepath.Join(dir, "node.yaml"), binding: "warn"}, filepath.Join(dir, "rules.yaml"), map[string]int{}}
	text := nodeConfig(r.port, nil) + fmt.Sprintf("          authorization: %s\n", r.file)
	for _, u := range users {
		r.ports[u] = freePort(t)
		text += fmt.Sprintf("        - {endpoint: \"127.0.0.1:%d\", tls: {insecure: true}, auth: {type: basic, username: %s, password: secret}}\n", r.ports[u], u)
	}
	for path, text := range map[string]string{r.config: text, r.file: rules} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start(t)
	if !r.await(limit, func() bool { return countLines(r.lines, "dataplane server started") == 1+len(users) }) {
		t.Fatalf("%s does not listen for all", r.label)
	}
	return r
}

// change replaces the rules, and returns when all connections were judged by the new ones.
func (r *ruled) change(t *testing.T, rules string) {
	t.Helper()
	before := r.count("connections were judged by the new rules")
	if err := os.WriteFile(r.file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	r.expectLine(t, "connections were judged by the new rules", before)
}

// of is the node as a user comes to it.
func (r *ruled) of(user string) *node {
	n := *r.node
	n.client = r.client(user, "")
	return &n
}

func (r *ruled) client(user, more string) string {
	return fmt.Sprintf(`{"endpoint": "http://127.0.0.1:%d", "tls": {"insecure": true}, "auth": {"type": "basic", "username": %q, "password": "secret"}%s}`,
		r.ports[user], user, more)
}

// link is an upstream node that dials as a user.
func (r *ruled) link(t *testing.T, user, kind string) *node {
	t.Helper()
	m := &node{kind: upstream, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "warn"}
	if err := os.WriteFile(m.config, []byte(nodeConfig(m.port, []string{r.client(user, `, "connection_type": "`+kind+`"`)})), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	return m
}

const rulesForAll = `rules:
  - {who: {subject: honest}, claim: [edge], subscribe: ["org/ns/*", "org/replies/*"], publish: ["*/*/*"], source: ["org/ns/*"]}
  - {who: {subject: mallory}, claim: [edge], subscribe: ["org/mallory/*"SHARED], publish: ["*/*/*"], source: ["org/mallory/*", "org/shared/*"]}
  - {who: {subject: mute}, claim: [edge], subscribe: ["org/ns/*"], publish: ["org/ns/*"], source: []}
  - {who: {subject: deaf}, claim: [edge], subscribe: ["org/deaf/*"], publish: ["org/deaf/*"], source: ["org/deaf/*"]}
  - {who: {subject: far}, claim: [peer], subscribe: ["org/far/*"], publish: ["*/*/*"], source: ["org/far/*"]}
`

// What upstream's applications and nodes see of rules: one that may not have its name has a subscription that fails; one that may not speak,
// or not in the name that it has, waits in vain until its retries are over; a subscription that was taken back gets nothing and one that is
// given back gets all again, without a word of the application; a peer's offer of a name that it may not have attracts nothing; and a node
// that may not be what it claims gives up. Whoever may do what it does has lost nothing after all of it. Rules: P-rule-5, P-rule-6, P-rule-7, P-rule-8.
func TestRulesForUpstreamsPeers(t *testing.T) {
	t.Parallel()
	with, without := strings.ReplaceAll(rulesForAll, "SHARED", `, "org/shared/*"`), strings.ReplaceAll(rulesForAll, "SHARED", "")
	r := startRuled(t, with, "honest", "mallory", "mute", "deaf", "far")
	honest, mallory := r.of("honest"), r.of("mallory")
	b := honest.app(t, "echo", "org/ns/bob")
	members := []*app{honest.member(t, "org/ns/one"), honest.script(t, &python, "org/ns/two")}
	m := honest.app(t, "moderate", "org/ns/moderator", "--channel", "org/ns/channel", "--mls")
	m.invite(t, members...)
	py := mallory.script(t, &python, "org/mallory/py", "--echo")
	rust := r.link(t, "far", "peer")
	rust.expectLine(t, "client connected", 0)

	round := func(what string) {
		t.Helper()
		wantAnswers(t, honest.run(t, "send", "org/ns/alice", sendArgs("org/ns/bob", 50, true)...), 50)
		m.do(t, event{"publish": what, "count": 20})
		for _, a := range members {
			a.receives(t, series(what, 20)...)
		}
	}
	hasty := []string{"--count", "1", "--echo", "--retries", "2", "--interval-ms", "200"}
	inVain := func(user, name, to string) {
		t.Helper()
		p := r.of(user).peer(t, "send", name, append(hasty, "--to", to)...)
		e := p.expect(t, "error")
		if !strings.Contains(e.text("error"), "retries exhausted") || p.exit(t, limit) != 1 {
			t.Errorf("%s as %s to %s: %v", user, name, to, e)
		}
	}
	round("at first")

	// Subscribe.
	p := mallory.peer(t, "echo", "org/ns/bob")
	if e := p.expect(t, "error"); !strings.Contains(e.text("error"), "ack rejected by datapath") || p.exit(t, limit) != 1 {
		t.Errorf("the name of another: %v", e)
	}
	if e := py.try(t, event{"subscribe": "org/ns/bob"}); e.flag("ok") {
		t.Errorf("the name of another, by a connection that goes on: %v", e)
	}
	r.expectLine(t, "subscription refused", 1)
	py.do(t, event{"subscribe": "org/shared/py"})
	// Publish, and publish from a name.
	inVain("deaf", "org/deaf/d", "org/ns/bob")
	inVain("mute", "org/ns/alice", "org/ns/bob")
	// A peer, and one that may not be what it wants to be.
	far := rust.app(t, "echo", "org/far/echo")
	wantAnswers(t, honest.run(t, "send", "org/ns/alice", sendArgs(far.name, 20, false)...), 20)
	thief := rust.app(t, "echo", "org/ns/bob") // its own node lets it have any name
	r.expectLine(t, "subscription refused", 2)
	r.link(t, "far", "remote").expectLine(t, "connection rejected by remote, will not reconnect", 0)
	round("beside all that")

	// Rules change.
	wantAnswers(t, honest.run(t, "send", "org/ns/alice", sendArgs("org/shared/py", 10, false)...), 10)
	r.change(t, without)
	inVain("honest", "org/ns/alice", "org/shared/py")
	wantAnswers(t, honest.run(t, "send", "org/ns/alice", sendArgs("org/mallory/py", 10, false)...), 10)
	round("without it")
	r.change(t, with)
	wantAnswers(t, honest.run(t, "send", "org/ns/alice", sendArgs("org/shared/py", 10, false)...), 10)
	round("with it again")

	for _, a := range append(members, b, m, far, py) {
		if n := a.count("reconnected"); n > 0 {
			t.Errorf("%s had to connect again %d times", a.label, n)
		}
	}
	thief.receivedNothing(t)
}
