//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session"
)

// peerDialled is what a node says of each peer that it has reached.
var peerDialled = map[kind]string{ours: "client connected", upstream: "connected to peer"}

// TestFullMeshExamples: the four nodes of the example find each other, ours alone and beside upstream's, and names are known
// across. Rules: P-disc-1, P-disc-2.
func TestFullMeshExamples(t *testing.T) {
	t.Parallel()
	for _, e := range allExamples(t) {
		for _, kinds := range [][]kind{{ours, ours, ours, ours}, {ours, upstream, ours, upstream}, {upstream, ours, upstream, ours}} {
			t.Run(fmt.Sprint(e.name, "/", kinds), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t, e, patientServers)
				var nodes []*process
				for i, k := range kinds {
					nodes = append(nodes, p.run(t, k, fmt.Sprintf("full-mesh/replica-%d.yaml", i+1)))
				}
				for i, n := range nodes[:3] { // of each two, the first dials
					n.expectLine(t, peerDialled[kinds[i]], 2-i)
				}
				first := &node{process: nodes[0], kind: kinds[0], port: p.port[0], binding: "enforce"}
				second := &node{process: nodes[1], kind: kinds[1], port: p.port[1], binding: "enforce"}
				echo := second.app(t, "echo", bob)
				wantAnswers(t, first.run(t, "send", alice, sendArgs(bob, 20, false)...), 20)
				wantSession(t, echo, 20)
				stopInOrder(t, nodes...)
			})
		}
	}
}

// patientServers gives negotiations of links more time than upstream's five seconds, for those that a node dials, too.
func patientServers(name, text string, _ [2]int) string {
	if !strings.HasPrefix(name, "full-mesh/") {
		return text
	}
	return firstEndpoint.ReplaceAllString(text, "$0$1  negotiation_timeout_secs: 20\n")
}

// firstEndpoint is the listener's.
var firstEndpoint = regexp.MustCompile(`dataplane:\n +servers:\n( +)- endpoint: .*\n`)

// replicas are nodes that all have the same list of peers. Of each two the one that comes first in it dials.
type replicas []*node

// newReplicas configures nodes of these kinds and starts none.
func newReplicas(t *testing.T, kinds ...kind) (all replicas) {
	t.Helper()
	list := "    peers:\n      topology: full_mesh\n      discovery:\n        type: static\n        peers:\n"
	for _, k := range kinds {
		n := &node{kind: k, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
		all = append(all, n)
	}
	for i, n := range all {
		list += fmt.Sprintf("          - {node_id: replica-%d, endpoint: %q, tls: {insecure: true}}\n", i, n.url())
	}
	for i, n := range all {
		text := strings.Replace(nodeConfig(n.port, nil), fmt.Sprintf("node_id: node-%d", n.port), fmt.Sprintf("node_id: replica-%d", i), 1)
		if err := os.WriteFile(n.config, []byte(text+list), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// linked waits until those nodes have opened the links that are theirs to dial.
func (m replicas) linked(t *testing.T) {
	t.Helper()
	for i, n := range m {
		if dials := len(m) - 1 - i; dials > 0 {
			n.expectLine(t, peerDialled[n.kind], dials-1)
		}
	}
}

// talk wants sessions from each node to the apps of all others.
func (m replicas) talk(t *testing.T, apps []*app) {
	t.Helper()
	for i, n := range m {
		for j, a := range apps {
			if i == j {
				continue
			}
			wantAnswers(t, n.run(t, "send", fmt.Sprintf("org/ns/sender-%d", i), sendArgs(a.name, 20, false)...), 20)
			wantSession(t, a, 20)
		}
	}
}

// TestFullMeshOfBothKinds: four nodes with a list of peers, two ours and two upstream's, find each other in whatever order they
// start, and apps of all talk with each other. Rules: P-disc-1, P-disc-2.
func TestFullMeshOfBothKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		kinds []kind
		order []int
	}{
		{"ours dial", []kind{ours, ours, upstream, upstream}, []int{0, 1, 2, 3}},
		{"ours are dialled", []kind{upstream, upstream, ours, ours}, []int{0, 1, 2, 3}},
		{"dialled first", []kind{ours, upstream, ours, upstream}, []int{3, 2, 1, 0}},
		{"upstream's first", []kind{upstream, ours, upstream, ours}, []int{2, 0, 3, 1}},
		{"ours alone", []kind{ours, ours, ours, ours}, []int{1, 3, 0, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newReplicas(t, c.kinds...)
			for _, i := range c.order {
				m[i].start(t)
			}
			m.linked(t)
			var apps []*app
			for i, n := range m {
				apps = append(apps, n.app(t, "echo", fmt.Sprintf("org/ns/echo-%d", i)))
			}
			m.talk(t, apps)
		})
	}
}

// TestReplicasOfOursComeBack: a node of ours that is killed and started again is part of the full mesh as before, where it is
// dialled by upstream's nodes, and dials one of ours. An upstream node that was dialled before tells a node that dials again
// nothing more: that is its defect, in a mesh of its own kind, too. Rules: P-peer-11, P-disc-2.
func TestReplicasOfOursComeBack(t *testing.T) {
	t.Parallel()
	m := newReplicas(t, upstream, upstream, ours, ours)
	for _, n := range m {
		n.start(t)
	}
	m.linked(t)
	for _, i := range []int{2, 3} {
		before := []int{m[0].count(reconnected), m[1].count(reconnected)}
		dialers := []*process{m[0].process, m[1].process}
		if i == 3 {
			dialers = append(dialers, m[2].process)
		}
		m[i].crash(t, dialers...)
		m[i].start(t)
		for j := range before {
			m[j].comesBack(t, before[j])
		}
		m[2].expectLine(t, "client connected", i-2) // of its new life, and once more
	}
	var apps []*app
	for i, n := range m {
		apps = append(apps, n.app(t, "echo", fmt.Sprintf("org/ns/echo-%d", i)))
	}
	m.talk(t, apps)
}

// TestLanguagesAcrossAMesh: in a mesh of both kinds apps in Go, Python, Node.js and Rust talk over each link, in both directions.
func TestLanguagesAcrossAMesh(t *testing.T) {
	t.Parallel()
	m := newReplicas(t, ours, upstream, ours, upstream)
	for _, n := range m {
		n.binding = "warn" // Node.js signs no control messages
		n.start(t)
	}
	m.linked(t)
	var starting []*process
	for i, n := range m {
		starting = append(starting, n.launch(t, &python, fmt.Sprintf("org/ns/python-%d", i), "--echo"),
			n.launch(t, &javascript, fmt.Sprintf("org/ns/node-%d", i), "--echo"))
	}
	var py, js []*app
	var gos []*session.App
	for i, n := range m {
		py, js = append(py, python.ready(t, starting[2*i])), append(js, javascript.ready(t, starting[2*i+1]))
		gos = append(gos, n.connect(t, fmt.Sprintf("org/ns/go-%d", i)))
	}
	const each = 20
	for i, n := range m {
		for j := range m {
			if i == j {
				continue
			}
			text := fmt.Sprintf("%d to %d", i, j)
			for _, pair := range [][2]*app{{py[i], js[j]}, {js[i], py[j]}} {
				from, to := pair[0], pair[1]
				from.do(t, event{"open": to.name, "mls": true})
				from.expect(t, "session")
				to.expect(t, "session")
				from.do(t, event{"publish": text, "count": each})
				to.receives(t, series(text, each)...)
				from.receives(t, series("echo:"+text, each)...)
				from.do(t, event{"close": true})
				from.expect(t, "left")
				to.expect(t, "left")
			}
			s, err := gos[i].Open(within(t), session.MustName(py[j].name), session.SessionOptions{})
			if err != nil {
				t.Fatalf("%s: Go to Python: %v", text, err)
			}
			py[j].expect(t, "session")
			says(t, s, series(text, each)...)
			hears(t, s, series("echo:"+text, each)...)
			py[j].receives(t, series(text, each)...)
			if err := s.Close(within(t)); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			py[j].expect(t, "left")
			wantAnswers(t, n.run(t, "send", fmt.Sprintf("org/ns/rust-%d", i), sendArgs(js[j].name, each, true)...), each)
			js[j].expect(t, "session")
			js[j].receives(t, numbered(0, each)...)
			js[j].expect(t, "left")
		}
	}
}

// TestNodesAreKilledUnderTraffic: while each node of a mesh is killed and comes back, a session between two others goes on, and
// afterwards apps of the new one talk with those of all others. An upstream node has nothing to do with one that was killed and dials it
// again: that link is of no use, as it is not where all nodes are upstream's. Rules: P-peer-11, P-disc-2.
func TestNodesAreKilledUnderTraffic(t *testing.T) {
	t.Parallel()
	for _, kinds := range [][]kind{{ours, ours, ours, ours}, {ours, upstream, ours, upstream}, {upstream, upstream, ours, ours},
		{ours, ours, upstream, upstream}, {upstream, upstream, upstream, upstream}} {
		t.Run(fmt.Sprint(kinds), func(t *testing.T) {
			t.Parallel()
			m := &killedMesh{replicas: newReplicas(t, kinds...)}
			for _, n := range m.replicas {
				n.start(t)
			}
			m.linked(t)
			for k := len(kinds) - 1; k >= 0; k-- { // those first that dial nobody
				m.kill(t, k)
			}
			if dialled := slices.Contains(kinds[1:], upstream); dialled != (m.deaf > 0) {
				t.Errorf("%d pairs could not talk any more: that is to be so with upstream nodes that are dialled, and only with those", m.deaf)
			}
		})
	}
}

// killedMesh is a mesh whose nodes are killed one after the other.
type killedMesh struct {
	replicas
	killed [4]bool
	deaf   int // pairs that did not talk, and need not
}

// sound reports whether two nodes are to talk: not if one has dialled an upstream node twice.
func (m *killedMesh) sound(i, j int) bool {
	dialer, other := min(i, j), max(i, j)
	return m.replicas[other].kind != upstream || !m.killed[dialer]
}

// kill kills a node under traffic between two others, starts it again, and has it talk with all others.
func (m *killedMesh) kill(t *testing.T, k int) {
	t.Helper()
	const messages = 200
	var over func()
	for pair := range 16 {
		if from, to := pair/4, pair%4; from != to && from != k && to != k && m.sound(from, to) {
			echo := m.replicas[to].app(t, "echo", fmt.Sprintf("org/ns/beside-%d", k))
			flow := m.replicas[from].opened(t, "send", fmt.Sprintf("org/ns/flow-%d", k), "--to", echo.name, "--count", fmt.Sprint(messages), "--rate", "100", "--echo")
			echo.expect(t, "session")
			over = func() {
				wantAnswers(t, flow.succeed(t), messages)
				wantSession(t, echo, messages)
			}
			break
		}
	}
	var dialers []*process
	for _, n := range m.replicas[:k] {
		dialers = append(dialers, n.process)
	}
	m.replicas[k].crash(t, dialers...)
	m.replicas[k].start(t)
	m.killed[k] = true
	if over != nil {
		over()
	}
	for other := range m.replicas {
		if other != k {
			m.talk(t, k, other)
			m.talk(t, other, k)
		}
	}
}

// talk has an app of one node open a session to one of another.
func (m *killedMesh) talk(t *testing.T, from, to int) {
	t.Helper()
	start, retries := m.replicas[from].opened, "25"
	if !m.sound(from, to) {
		start, retries = m.replicas[from].peer, "2"
	}
	b := m.replicas[to].app(t, "echo", fmt.Sprintf("org/ns/asked-%d-%d", from, to))
	defer b.kill()
	p := start(t, "send", fmt.Sprintf("org/ns/asks-%d-%d", from, to), append(sendArgs(b.name, 20, false), "--interval-ms", "1000", "--retries", retries, "--timeout", "15")...)
	p.exit(t, 2*limit)
	e := p.take(limit, func(e event) bool { return e.kind() == "summary" })
	switch {
	case e != nil && e.number("received") == 20 && e.number("wrong") == 0:
	case m.sound(from, to):
		t.Errorf("from %s to %s: %v", m.replicas[from].label, m.replicas[to].label, e)
	default:
		m.deaf++
	}
}
