//go:build interop

package interop

import (
	"fmt"
	"strings"
	"testing"
)

// fleet starts a gateway for each of some domains, ours and upstream's in turn. Of two that register at the same moment each may get a link
// to the other.
func (p *plane) fleet(t *testing.T, domains ...string) map[string]*gateway {
	t.Helper()
	all := map[string]*gateway{}
	for i, d := range domains {
		k := ours
		if i%2 == 1 {
			k = upstream
		}
		all[d] = p.startGateway(t, k, d, gatewayOptions{})
		p.untilConnected(t, i+1)
	}
	return all
}

// Shapes of domains: who reaches whom, over how many links. Rules: P-ctl-5, P-ctl-6.
func TestTopologies(t *testing.T) {
	for _, x := range []struct {
		name, topology string
		links          int
		reach, not     [][2]string // from, to
	}{
		{"full mesh", fullMesh, 3, [][2]string{{"a", "b"}, {"b", "c"}, {"c", "a"}}, nil},
		{"star", `topology: {links: [{domain: a, neighbors: ["*"]}]}`, 2, [][2]string{{"b", "c"}, {"c", "b"}, {"a", "c"}}, nil},
		{"chain", `topology: {links: [{domain: a, neighbors: [b]}, {domain: b, neighbors: [c]}]}`, 2, [][2]string{{"a", "c"}, {"c", "a"}}, nil},
		{"isolated spokes", `topology: {segments: [{name: "seg-$domain", links: [{domain: a, neighbors: ["$domain"]}]}]}`, 2,
			[][2]string{{"a", "b"}, {"b", "a"}, {"a", "c"}}, [][2]string{{"b", "c"}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			p := startPlane(t, x.topology)
			all := p.fleet(t, "a", "b", "c")
			p.untilLinks(t, x.links)
			echoes := map[string]*app{}
			for d, g := range all {
				echoes[d] = g.app(t, "echo", "org/ns/echo-"+d)
			}
			for i, r := range x.reach {
				p.untilRoute(t, all[r[0]], echoes[r[1]].name)
				wantAnswers(t, all[r[0]].run(t, "send", fmt.Sprintf("org/ns/alice-%d", i), sendArgs(echoes[r[1]].name, 50, i%2 == 0)...), 50)
			}
			for _, r := range x.not {
				if out := slimctl(t, all[r[0]].api, "node", "route", "list"); strings.Contains(out, echoes[r[1]].name+"/") {
					t.Errorf("%s knows %s:\n%s", r[0], echoes[r[1]].name, out)
				}
			}
		})
	}
}

// A gateway that leaves is replaced by another node of its domain, and one that comes back on another port is found. Rules: P-ctl-9, P-ctl-10.
func TestGatewaysComeAndGo(t *testing.T) {
	for _, end := range []string{"killed", "stopped"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			p := startPlane(t, fullMesh)
			a := p.startGateway(t, ours, "dom-a", gatewayOptions{})
			p.untilConnected(t, 1)
			b := p.startGateway(t, ours, "dom-b", gatewayOptions{})
			p.untilLinks(t, 1)
			other := p.startGateway(t, ours, "dom-a", gatewayOptions{})
			p.untilConnected(t, 3)
			if end == "killed" {
				a.kill()
			} else {
				a.quit(t)
			}
			p.until(t, "the link has moved", func(s string) bool { return strings.Contains(s, other.name) }, "controller", "link", "list")
			echo := b.app(t, "echo", "org/ns/echo")
			p.untilRoute(t, other, echo.name)
			wantAnswers(t, other.run(t, "send", alice, sendArgs(echo.name, 50, true)...), 50)

			if end == "killed" {
				return // the control plane goes on to choose the node that is gone
			}
			echo.quit(t)
			b.kill()
			p.until(t, "no link", links(0), "controller", "link", "list")
			b.port = freePort(t)
			b.configure(t, p, strings.TrimPrefix(b.name, "dom-b/"), gatewayOptions{})
			b.start(t)
			p.untilLinks(t, 1)
			echo = b.app(t, "echo", "org/ns/echo")
			p.untilRoute(t, other, echo.name)
			wantAnswers(t, other.run(t, "send", "org/ns/alice-2", sendArgs(echo.name, 50, true)...), 50)
		})
	}
}

// Whoever registers shows a secret, if the control plane wants one; one that is refused comes again. Rules: P-ctl-2, P-ctl-3.
func TestRegistrationNeedsASecret(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	p := startPlane(t, `topology: {links: [{domain: "*", neighbors: ["*"]}], registration_auth: {type: shared_secret, secrets: {dom-a: "`+secret+`", dom-b: "`+secret+`"}}}`)
	shows := func(s string) gatewayOptions {
		return gatewayOptions{service: "    auth: {type: shared_secret, secret: \"" + s + "\"}"}
	}
	a := p.startGateway(t, ours, "dom-a", shows(secret))
	b := p.startGateway(t, ours, "dom-b", shows("another secret that has 32 bytes, too"))
	b.expectLine(t, "registration rejected by control plane", 0)
	echo := b.app(t, "echo", "org/ns/echo") // what is local goes on
	wantAnswers(t, b.run(t, "send", "org/ns/local", sendArgs(echo.name, 10, false)...), 10)
	echo.quit(t)
	b.quit(t)
	b.configure(t, p, strings.TrimPrefix(b.name, "dom-b/"), shows(secret))
	b.start(t)
	p.untilLinks(t, 1)
	echo = b.app(t, "echo", "org/ns/echo")
	p.untilRoute(t, a, echo.name)
	wantAnswers(t, a.run(t, "send", alice, sendArgs(echo.name, 50, true)...), 50)
}

// A node of ours that shows a key of its own is taken as one of upstream's is, by a control plane that verifies nobody; and refused
// with it where secrets are asked for, which upstream's control plane cannot verify it by. Rules: P-ctl-3.
func TestRegistrationByAKey(t *testing.T) {
	shows := gatewayOptions{service: fmt.Sprintf("    auth: {type: jwt, private_key: {file: %q}, trusted_keys: {file: %q}}", holders(t, 1)[0].file, "/none")}
	for _, x := range mixtures[:2] {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			p := startPlane(t, fullMesh)
			a := p.startGateway(t, x.a, "dom-a", shows)
			p.untilConnected(t, 1)
			b := p.startGateway(t, x.b, "dom-b", shows)
			p.untilLinks(t, 1)
			echo := b.app(t, "echo", "org/ns/echo")
			p.untilRoute(t, a, echo.name)
			p.talk(t, a, alice, echo)
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		p := startPlane(t, `topology: {links: [{domain: "*", neighbors: ["*"]}], registration_auth: {type: shared_secret, secrets: {dom-a: "0123456789abcdef0123456789abcdef"}}}`)
		p.startGateway(t, ours, "dom-a", shows).expectLine(t, "registration rejected by control plane", 0)
	})
}

// Segments and links are changed while nodes run. Rules: P-ctl-6.
func TestTopologyIsChanged(t *testing.T) {
	p := startPlane(t, "")
	all := p.fleet(t, "a", "b")
	echo := all["b"].app(t, "echo", "org/ns/echo")
	for i := range 2 {
		slimctl(t, p.northbound, "controller", "link", "add", "a", "b")
		p.untilLinks(t, 1)
		p.untilRoute(t, all["a"], echo.name)
		wantAnswers(t, all["a"].run(t, "send", fmt.Sprintf("org/ns/alice-%d", i), sendArgs(echo.name, 50, false)...), 50)
		slimctl(t, p.northbound, "controller", "link", "remove", "a", "b") // nodes are not told of an order that becomes empty
		p.until(t, "no link", links(0), "controller", "link", "list")
	}
}
