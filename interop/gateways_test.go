//go:build interop

package interop

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// three are the kinds of the nodes of three domains.
var three = [][]kind{{ours, ours, ours}, {ours, upstream, ours}, {upstream, ours, upstream}}

// domains starts a gateway for each of domains a, b, c of these kinds. Who comes later dials.
func (p *plane) domains(t *testing.T, kinds []kind) (all []*gateway) {
	t.Helper()
	for i, k := range kinds {
		all = append(all, p.startGateway(t, k, string(rune('a'+i)), gatewayOptions{}))
		p.untilConnected(t, i+1)
	}
	return all
}

// applied are the rows of a list of routes of slimctl that are applied, as source, destination and name without id.
func applied(list string) (all [][3]string) {
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) == 5 && f[3] == "APPLIED" {
			all = append(all, [3]string{f[0], f[1], f[2][:strings.LastIndexByte(f[2], '/')]})
		}
	}
	return all
}

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// back starts a node again that was killed, where it was.
func (m *gateway) back(t *testing.T) {
	t.Helper()
	m.start(t)
}

// Names and nodes come and go in a full mesh of three domains: each is known where it is, once, and of what is gone nothing is left. A node
// that was the last of its domain, and comes back, is linked as before, and the others' links are the same all the time. Rules: P-ctl-4, P-ctl-5.
func TestNamesAndNodesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, kinds := range three {
		t.Run(fmt.Sprint(kinds), func(t *testing.T) {
			t.Parallel()
			p := startPlane(t, fullMesh)
			all := p.domains(t, kinds)
			a, b, c := all[0], all[1], all[2]
			p.untilLinks(t, 3)
			one, two := b.app(t, "echo", "org/ns/one"), b.app(t, "echo", "org/ns/two")
			for _, m := range []*gateway{a, c} {
				p.untilRoute(t, m, one.name)
				p.untilRoute(t, m, two.name)
			}
			one.quit(t)
			p.untilNoRoute(t, one.name)
			p.untilRoute(t, a, two.name)
			p.talk(t, a, alice, two)

			const shared = "org/ns/shared"
			atB, atC := b.app(t, "echo", shared), c.app(t, "echo", shared)
			p.until(t, "the name is known of both", func(s string) bool {
				n := 0
				for _, r := range applied(s) {
					if r[2] == shared && r[0] == a.name {
						n++
					}
				}
				return n == 2
			}, "controller", "route", "list")
			seen := map[[3]string]int{}
			for _, r := range applied(slimctl(t, p.northbound, "controller", "route", "list")) {
				if seen[r]++; seen[r] > 1 && r[2] == shared {
					t.Errorf("two routes of %s to %s of one name", r[0], r[1])
				}
			}
			atB.quit(t)

			between := func() string {
				for line := range strings.Lines(slimctl(t, p.northbound, "controller", "link", "list")) {
					if strings.Contains(line, a.name) && strings.Contains(line, b.name) {
						return anyUUID.FindString(line)
					}
				}
				return ""
			}
			before := between()
			c.kill()
			atC.kill()
			p.untilLinks(t, 1)
			if now := between(); now != before || now == "" {
				t.Errorf("the link of others was %q, and is %q", before, now)
			}
			p.untilNoRoute(t, shared)
			p.until(t, "it is known to be gone", func(s string) bool { return strings.Contains(s, "DELETED") }, "controller", "route", "list", "-a")
			p.talk(t, a, "org/ns/alice-2", two)

			c.back(t)
			p.untilLinks(t, 3)
			atC = c.app(t, "echo", shared)
			p.untilRoute(t, a, shared)
			p.untilRoute(t, c, two.name)
			p.talk(t, a, "org/ns/alice-3", atC)
			p.talk(t, c, "org/ns/alice-4", two)
		})
	}
}

// A hub of a star that is gone takes all links with it, and brings them back: spokes reach each other through it again. Rules: P-ctl-5.
func TestHubOfAStarComesBack(t *testing.T) {
	for _, kinds := range three {
		t.Run(fmt.Sprint(kinds), func(t *testing.T) {
			t.Parallel()
			p := startPlane(t, `topology: {links: [{domain: a, neighbors: ["*"]}]}`)
			all := p.domains(t, kinds)
			hub, b, c := all[0], all[1], all[2]
			p.untilLinks(t, 2)
			echo := b.app(t, "echo", "org/ns/echo")
			p.untilRoute(t, c, echo.name)
			p.talk(t, c, alice, echo)
			hub.kill()
			p.untilLinks(t, 0)
			// A record of a link whose other end has yet to take note is forgotten (TestControlPlaneForgetsALink) if the hub comes back before
			// that. It may stay for as long as the hub is away: a node of upstream's that was still ordered to dial it does nothing else.
			p.becomes(t, limit, func(s string) bool { return strings.HasPrefix(s, "Links: ") && !strings.Contains(s, "://") },
				"controller", "link", "list", "-a")
			hub.back(t)
			f := &fleet{t: t, plane: p, nodes: all, dialled: []string{hub.address(), b.address(), c.address()}, star: true}
			f.untilLinked()
			p.untilLinks(t, 2)
			p.untilRoute(t, c, echo.name)
			p.talk(t, c, "org/ns/alice-2", echo)
			late := c.app(t, "echo", "org/ns/late")
			p.untilRoute(t, b, late.name)
			p.talk(t, b, "org/ns/alice-3", late)
		})
	}
}

// A node at which others dial, and that leaves, is replaced by another one of its domain, which they dial then. Rules: P-ctl-9.
func TestGatewayThatIsDialledIsReplaced(t *testing.T) {
	for _, x := range mixtures[:2] {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			p := startPlane(t, fullMesh)
			b := p.startGateway(t, x.b, "dom-b", gatewayOptions{})
			p.untilConnected(t, 1)
			a := p.startGateway(t, x.a, "dom-a", gatewayOptions{}) // dials b
			p.untilLinks(t, 1)
			other := p.startGateway(t, x.b, "dom-b", gatewayOptions{})
			p.untilConnected(t, 3)
			b.kill()
			p.until(t, "the link has moved", func(s string) bool { return links(1)(s) && strings.Contains(s, other.name) }, "controller", "link", "list")
			echo := other.app(t, "echo", "org/ns/echo")
			p.untilRoute(t, a, echo.name)
			p.talk(t, a, alice, echo)
		})
	}
}

// Domains, their secrets and segments are added and removed while nodes run. Rules: P-ctl-2, P-ctl-3.
func TestDomainsAndSegmentsAreChanged(t *testing.T) {
	for _, x := range mixtures[:2] {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			const secret = "0123456789abcdef0123456789abcdef"
			p := startPlane(t, "topology: {registration_auth: {type: shared_secret}}")
			shows := gatewayOptions{service: `    auth: {type: shared_secret, secret: "` + secret + `"}`}
			a := p.startGateway(t, x.a, "a", shows) // refused so far
			if x.a == ours {
				a.expectLine(t, "registration rejected by control plane", 0)
			}
			for _, d := range []string{"a", "b"} {
				slimctl(t, p.northbound, "controller", "domain", "add", d, secret)
			}
			b := p.startGateway(t, x.b, "b", shows)
			p.untilConnected(t, 2)
			echo := b.app(t, "echo", "org/ns/echo")
			slimctl(t, p.northbound, "controller", "segment", "add", "more")
			slimctl(t, p.northbound, "controller", "link", "add", "a", "b", "-s", "more")
			p.untilLinks(t, 1)
			p.untilRoute(t, a, echo.name)
			p.talk(t, a, alice, echo)
			slimctl(t, p.northbound, "controller", "segment", "remove", "more")
			p.untilLinks(t, 0)
			p.until(t, "no route of a", func(s string) bool {
				return !slices.ContainsFunc(applied(s), func(r [3]string) bool { return r[0] == a.name && r[2] == echo.name })
			}, "controller", "route", "list")
			slimctl(t, p.northbound, "controller", "domain", "remove", "b")
			p.until(t, "the domain is gone", func(s string) bool { return !strings.Contains(s, b.name) }, "controller", "node", "list")
			wantAnswers(t, b.run(t, "send", "org/ns/local", sendArgs(echo.name, 20, false)...), 20) // what is local goes on
		})
	}
}

// A node of ours obeys several control planes: what they order adds up. One of upstream's has each of them cut what the other wants. Rules: P-ctl-6.
func TestSeveralControlPlanes(t *testing.T) {
	t.Parallel()
	for _, far := range []kind{ours, upstream} {
		t.Run(string(far), func(t *testing.T) {
			t.Parallel()
			p, q := startPlane(t, fullMesh), startPlane(t, fullMesh)
			b, c := p.startGateway(t, far, "b", gatewayOptions{}), q.startGateway(t, far, "c", gatewayOptions{})
			p.untilConnected(t, 1)
			q.untilConnected(t, 1)
			a := p.startGateway(t, ours, "a", gatewayOptions{further: []*plane{q}})
			atB, atC, atA := b.app(t, "echo", "org/ns/at-b"), c.app(t, "echo", "org/ns/at-c"), a.app(t, "echo", "org/ns/at-a")
			for i := range 2 {
				p.untilLinks(t, 1)
				q.untilLinks(t, 1)
				p.untilRoute(t, a, atB.name)
				q.untilRoute(t, a, atC.name)
				p.talk(t, a, fmt.Sprint("org/ns/alice-1", i), atB)
				q.talk(t, a, fmt.Sprint("org/ns/alice-2", i), atC)
				p.untilRoute(t, b, atA.name)
				p.talk(t, b, fmt.Sprint("org/ns/alice-3", i), atA)
				if i == 1 || far == upstream { // whose nodes may never come back to a control plane
					return
				}
				var talks []*process // while one of them is gone: the other's link goes on, and its own, too
				for j, to := range []*app{atB, atC} {
					s := a.opened(t, "send", fmt.Sprint("org/ns/alice-4", j), append(sendArgs(to.name, 300, false), "--rate", "100")...)
					s.expect(t, "session")
					talks = append(talks, s)
				}
				p.kill()
				for j, to := range []*app{atB, atC} {
					wantAnswers(t, talks[j].succeed(t), 300)
					wantSession(t, to, 300)
				}
				p.start(t)
				for range 2 { // upstream's control plane stands still now and then when nodes come back at the same moment
					if _, back := p.becomes(t, limit, func(s string) bool {
						return slices.ContainsFunc(applied(s), func(r [3]string) bool { return r[0] == a.name && r[2] == atB.name })
					}, "controller", "route", "list"); back && !p.twoLinks(t) {
						break
					}
					t.Log("the control plane is started again")
					p.kill()
					p.start(t)
				}
			}
		})
	}
}
