//go:build interop

package interop

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// away is how long the control plane is gone in TestControlPlaneIsKilled.
var away = flag.Duration("control.away", 5*time.Second, "how long a control plane is gone")

// sentRate is how many messages a second go to one app there; a fifth as many go to a group from each of its two members.
var sentRate = flag.Int("control.rate", 200, "how many messages a second are sent while a control plane is gone")

// plane is upstream's control plane as a process.
type plane struct {
	*process
	config                 string
	northbound, southbound int
}

// startPlane starts a control plane with more of its configuration, in YAML.
func startPlane(t *testing.T, more string) *plane {
	t.Helper()
	p := &plane{northbound: freePort(t), southbound: freePort(t), config: filepath.Join(t.TempDir(), "plane.yaml")}
	text := fmt.Sprintf(`northbound: {endpoint: "127.0.0.1:%d", tls: {insecure: true}}
southbound: {endpoint: "127.0.0.1:%d", tls: {insecure: true}}
reconciler: {base_retry_delay: 50ms, reconcile_period: 5s}
%s
`, p.northbound, p.southbound, more)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	return p
}

func (p *plane) start(t *testing.T) {
	t.Helper()
	p.process = spawn(t, "control plane", nil, filepath.Join(peers, "slim-control-plane"), "--config", p.config)
	p.expectLine(t, "control plane started", 0)
}

// fullMesh is a topology in which every domain is linked with every other.
const fullMesh = `topology: {links: [{domain: "*", neighbors: ["*"]}]}`

// gateway is a node that a control plane drives.
type gateway struct {
	*node
	name   string // DOMAIN/NODE_ID
	api    int    // port of its own control API
	domain string
}

// gatewayOptions are what is special to a gateway.
type gatewayOptions struct {
	id, service, server, controller string   // YAML, indented as the keys there; "": nothing
	api, metadata                   string   // further keys of its own control API, and of its listener's metadata, each after a comma
	external                        string   // where other nodes dial it, HOST:PORT; "": where it listens
	tls                             string   // of its listener; "": none
	further                         []*plane // with which it registers, too
}

// startGateway starts a node of a domain that registers with p.
func (p *plane) startGateway(t *testing.T, k kind, domain string, o gatewayOptions) *gateway {
	t.Helper()
	m := p.newGateway(t, k, domain, o)
	m.start(t)
	return m
}

// start starts a gateway, and returns when its control API listens, too.
func (m *gateway) start(t *testing.T) {
	t.Helper()
	m.node.start(t)
	m.untilListens(t, fmt.Sprintf("127.0.0.1:%d", m.api))
}

// newGateway is startGateway without the start.
func (p *plane) newGateway(t *testing.T, k kind, domain string, o gatewayOptions) *gateway {
	t.Helper()
	m := &gateway{domain: domain, api: freePort(t)}
	m.node = &node{kind: k, port: freePort(t), config: filepath.Join(t.TempDir(), "gateway.yaml"), binding: "enforce", ordered: true}
	id := o.id
	if id == "" {
		id = fmt.Sprintf("node-%d", m.port)
	}
	m.name = domain + "/" + id
	m.configure(t, p, id, o)
	return m
}

func (m *gateway) configure(t *testing.T, p *plane, id string, o gatewayOptions) {
	t.Helper()
	var clients []string
	for _, x := range append([]*plane{p}, o.further...) {
		clients = append(clients, fmt.Sprintf(`{endpoint: "http://127.0.0.1:%d", tls: {insecure: true}}`, x.southbound))
	}
	text := fmt.Sprintf(`tracing: {log_level: info}
runtime: {drain_timeout: 20s}
services:
  slim/0:
    node_id: %s
    domain_name: %s
%s
    dataplane:
      servers:
        - endpoint: 127.0.0.1:%d
          negotiation_timeout_secs: 20
          tls: {%s}
          metadata: {external_endpoint: %q%s}
%s
    controller:
      servers: [{endpoint: "127.0.0.1:%d", tls: {insecure: true}%s}]
      clients: [%s]
%s
`, id, m.domain, o.service, m.port, cmp.Or(o.tls, "insecure: true"), cmp.Or(o.external, m.address()), o.metadata, o.server, m.api, o.api,
		strings.Join(clients, ", "), o.controller)
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// slimctl runs upstream's tool against an endpoint and returns what it prints.
func slimctl(t *testing.T, port int, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(peers, "slimctl"), append([]string{"--server", fmt.Sprintf("127.0.0.1:%d", port)}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s\n%v", out, err)
	}
	return string(out)
}

// becomes runs slimctl again and again until what it prints is as wanted, and reports whether that was in time d.
func (p *plane) becomes(t *testing.T, d time.Duration, ok func(string) bool, args ...string) (out string, inTime bool) {
	t.Helper()
	for deadline := time.Now().Add(d); ; time.Sleep(50 * time.Millisecond) {
		if out = slimctl(t, p.northbound, args...); ok(out) {
			return out, true
		}
		if time.Now().After(deadline) {
			return out, false
		}
	}
}

// hopeless is set when a long wait was in vain: what is wrong everywhere is not waited for everywhere.
var hopeless atomic.Bool

// longWait is how long what must be may take.
func longWait() time.Duration {
	if hopeless.Load() {
		return limit
	}
	return patient
}

// until is becomes that must be, in the time that a control plane may take.
func (p *plane) until(t *testing.T, what string, ok func(string) bool, args ...string) {
	t.Helper()
	if out, inTime := p.becomes(t, longWait(), ok, args...); !inTime {
		hopeless.Store(true)
		t.Fatalf("%s: slimctl %s prints\n%s\n%s", what, strings.Join(args, " "), out, p.tail())
	}
}

// links says whether there are that many links in a list of slimctl.
func links(n int) func(string) bool {
	return func(s string) bool { return strings.HasPrefix(s, fmt.Sprintf("Links: %d ", n)) }
}

// untilLinks waits until that many links are applied.
func (p *plane) untilLinks(t *testing.T, n int) {
	t.Helper()
	p.until(t, fmt.Sprintf("%d links", n), links(n), "controller", "link", "list")
}

// untilConnected waits until that many nodes are registered.
func (p *plane) untilConnected(t *testing.T, n int) {
	t.Helper()
	p.until(t, fmt.Sprintf("%d nodes", n), func(s string) bool { return strings.Count(s, " Connected ") == n }, "controller", "node", "list")
}

// untilRoute waits until the node from has a route to a name.
func (p *plane) untilRoute(t *testing.T, from *gateway, name string) {
	t.Helper()
	p.until(t, from.name+" has a route to "+name, func(s string) bool {
		for line := range strings.Lines(s) {
			if f := strings.Fields(line); len(f) == 5 && f[0] == from.name && strings.HasPrefix(f[2], name+"/") && f[3] == "APPLIED" {
				return true
			}
		}
		return false
	}, "controller", "route", "list")
}

// untilNoRoute waits until nobody has a route to a name.
func (p *plane) untilNoRoute(t *testing.T, name string) {
	t.Helper()
	p.until(t, "no route to "+name, func(s string) bool { return !strings.Contains(s, " "+name+"/") }, "controller", "route", "list")
}

// mixtures are the kinds of two nodes.
var mixtures = []mixture{{"ours alone", ours, ours}, {"ours and upstream's", ours, upstream}, {"upstream's alone", upstream, upstream}}

type mixture struct {
	name string
	a, b kind
}

// comesBack is how long the nodes may take to have their link again when a control plane was killed. One of upstream's
// may never have it.
func (x mixture) comesBack() time.Duration {
	if x.b == upstream {
		return limit
	}
	return longWait()
}

// linked starts a control plane and two nodes of two domains, the first of which dials the other, and waits for their link.
func (x mixture) linked(t *testing.T) (p *plane, a, b *gateway) {
	t.Helper()
	p = startPlane(t, fullMesh)
	b = p.startGateway(t, x.b, "dom-b", gatewayOptions{})
	p.untilConnected(t, 1)
	a = p.startGateway(t, x.a, "dom-a", gatewayOptions{}) // who comes last dials
	p.untilLinks(t, 1)
	return p, a, b
}

// masked is a list of slimctl with what differs between two runs taken out: ids of links, ports, and so widths of columns.
func masked(s string) string {
	s = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).ReplaceAllString(s, "UUID")
	s = regexp.MustCompile(`node-\d+`).ReplaceAllString(s, "NODE")
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
		if strings.Trim(lines[i], "-") == "" {
			lines[i] = ""
		}
	}
	if len(lines) > 4 {
		slices.Sort(lines[4:]) // the order is that of a hash map upstream
	}
	return strings.Join(lines, "\n")
}

// Upstream's slimctl prints the same of our node as of a Rust one in the same state, whichever end has opened the link. Rules: P-ctl-8.
func TestSlimctlPrintsTheSameOfBothNodes(t *testing.T) {
	state := func(t *testing.T, k kind, dials bool) (out string) {
		p := startPlane(t, fullMesh)
		kinds := map[string]kind{"dom-a": k, "dom-b": upstream}
		order := []string{"dom-a", "dom-b"} // who comes last dials
		if dials {
			order = []string{"dom-b", "dom-a"}
		}
		all := map[string]*gateway{}
		for i, d := range order {
			all[d] = p.startGateway(t, kinds[d], d, gatewayOptions{})
			p.untilConnected(t, i+1)
		}
		a, b := all["dom-a"], all["dom-b"]
		p.untilLinks(t, 1)
		list := func(what string) {
			out += what + "\n"
			for _, l := range [][]string{{"node", "connection", "list"}, {"node", "route", "list"}} {
				out += masked(slimctl(t, a.api, l...)) + "\n"
			}
			out += masked(slimctl(t, p.northbound, "controller", "connection", "list", "-n", a.name)) + "\n"
			out += masked(slimctl(t, p.northbound, "controller", "route", "list", "-n", a.name)) + "\n"
		}
		list("linked")
		far := b.app(t, "echo", "org/ns/far")
		p.untilRoute(t, a, far.name)
		near := a.app(t, "echo", "org/ns/near")
		p.untilRoute(t, b, near.name)
		list("with applications")
		near.quit(t)
		p.untilNoRoute(t, near.name)
		far.quit(t)
		p.untilNoRoute(t, far.name)
		if dials { // else the last route stays: an order that becomes empty is not sent
			a.untilPrints(t, "no routes", "0 route(s)", "node", "route", "list")
		}
		list("without")
		return out
	}
	for _, dials := range []bool{true, false} {
		t.Run(fmt.Sprint("dials ", dials), func(t *testing.T) {
			t.Parallel()
			want, got := state(t, upstream, dials), state(t, ours, dials)
			if got != want {
				t.Errorf("of our node slimctl prints\n%s\nof a Rust one\n%s", got, want)
			}
		})
	}
}

// untilPrints waits until slimctl prints a text of a node.
func (m *gateway) untilPrints(t *testing.T, what, text string, args ...string) {
	t.Helper()
	var out string
	for deadline := time.Now().Add(longWait()); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if out = slimctl(t, m.api, args...); strings.Contains(out, text) {
			return
		}
	}
	hopeless.Store(true)
	t.Fatalf("%s: slimctl %s prints\n%s", what, strings.Join(args, " "), out)
}

// Whoever calls the API of a node shows who it is, where that is asked for: slimctl is refused by both nodes, and then prints the same.
// Ours refuses by a status of gRPC, which slimctl explains, and upstream's by one of HTTP. Rules: P-ctl-1.
func TestAPIOfANodeAsksWhoCalls(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		m := startPlane(t, fullMesh).startGateway(t, k, "dom-a", gatewayOptions{api: ", auth: {type: basic, username: u, password: right}"})
		for _, shown := range [][]string{nil, {"-b", "u:wrong"}, {"-b", "u:right"}} {
			for _, l := range []string{"connection", "route"} {
				out := slimctl(t, m.api, append([]string{"node", l, "ls"}, shown...)...)
				want := "authenticat"
				if slices.Contains(shown, "u:right") {
					want = map[string]string{"connection": "1 connection(s)", "route": "0 route(s)"}[l]
				}
				if !strings.Contains(out, want) {
					t.Errorf("%s list, %v: no %q in\n%s", l, shown, want, out)
				}
			}
		}
	})
}

// Two domains: links, routes both ways, what an end takes back. Rules: P-ctl-4, P-ctl-5, P-ctl-6.
func TestControlPlaneLinksTwoDomains(t *testing.T) {
	for _, x := range mixtures {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			p := startPlane(t, fullMesh)
			a := p.startGateway(t, x.a, "dom-a", gatewayOptions{})
			p.untilConnected(t, 1)
			b := p.startGateway(t, x.b, "dom-b", gatewayOptions{})
			p.untilLinks(t, 1)
			atA, atB := a.app(t, "echo", "org/ns/at-a"), b.app(t, "echo", "org/ns/at-b")
			p.untilRoute(t, b, atA.name)
			p.untilRoute(t, a, atB.name)
			for _, c := range []struct {
				from *gateway
				to   *app
				name string
			}{{a, atB, "org/ns/alice-a"}, {b, atA, "org/ns/alice-b"}} {
				p.talk(t, c.from, c.name, c.to)
			}
			atA.quit(t)
			p.untilNoRoute(t, atA.name)
			wantAnswers(t, a.run(t, "send", "org/ns/alice-c", sendArgs(atB.name, 20, false)...), 20)
			atB.quit(t)
			p.untilNoRoute(t, atB.name)
		})
	}
}

// talk has an app of from send to one elsewhere, until that works: routes of the sender come after its name.
func (p *plane) talk(t *testing.T, from *gateway, name string, to *app) {
	t.Helper()
	wantAnswers(t, from.run(t, "send", name, sendArgs(to.name, 100, true)...), 100)
	wantSession(t, to, 100)
}

// A control plane that is killed and started again takes nothing from messages over links that our nodes dial: it orders the same
// links under new ids, and they are dialled before the old ones are closed. Of a fleet of upstream's alone it is only said what is
// lost: its nodes cut their links when they connect again. Rules: P-ctl-9, P-ctl-12, P-def-6.
func TestControlPlaneIsKilled(t *testing.T) {
	t.Parallel()
	for _, x := range mixtures {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			p, a, b := x.linked(t)
			echo := b.app(t, "echo", "org/ns/echo")
			p.untilRoute(t, a, echo.name)
			seconds := int((*away + 25*time.Second) / time.Second)
			total := *sentRate * seconds
			sender := a.opened(t, "send", alice, "--to", echo.name, "--count", fmt.Sprint(total), "--rate", fmt.Sprint(*sentRate), "--unreliable", "--echo",
				"--timeout", fmt.Sprint(int((*away + 60*time.Second).Seconds())))
			sender.expect(t, "session")
			group := startCrossing(t, a, b, *sentRate/5, seconds)
			dials := strings.Contains(slimctl(t, a.api, "node", "connection", "list"), "Outgoing") && x.a == ours ||
				strings.Contains(slimctl(t, b.api, "node", "connection", "list"), "Outgoing") && x.b == ours
			time.Sleep(2 * time.Second) // of traffic before it
			p.kill()
			time.Sleep(*away)
			p.start(t)
			back := p.linkedAgain(t, x.comesBack())
			if p.twoLinks(t) {
				return
			}
			if !back {
				if x.b == upstream {
					t.Logf("%s: upstream's node does not come back to its control plane", x.name) // it gives up when a call fails
					return
				}
				t.Fatal("there is no link again")
			}
			p.untilRoute(t, a, echo.name)
			e := sender.take(*away+90*time.Second, func(e event) bool { return e.kind() == "summary" })
			if e == nil {
				t.Fatalf("no summary: %s", sender.tail())
			}
			lost := e.number("sent") - e.number("received")
			t.Logf("%s, ours dials: %v: %d sent, %d answered, %d lost", x.name, dials, e.number("sent"), e.number("received"), lost)
			if lost != 0 && dials {
				t.Errorf("%d messages are lost", lost)
			}
			group.count(t, dials)
		})
	}
}

// linkedAgain waits until two nodes are linked, maybe twice, and reports whether that was in time d.
func (p *plane) linkedAgain(t *testing.T, d time.Duration) bool {
	t.Helper()
	_, back := p.becomes(t, d, func(s string) bool { return links(1)(s) || links(2)(s) }, "controller", "link", "list")
	return back
}

// twoLinks reports whether a control plane has made two links between two nodes, which it does, and keeps them, where both have come back to it
// within some milliseconds.
func (p *plane) twoLinks(t *testing.T) bool {
	t.Helper()
	list := slimctl(t, p.northbound, "controller", "link", "list", "-a")
	two := strings.Count(list, "://") > 1
	if two {
		t.Logf("the control plane has made two links:\n%s", list)
	}
	return two
}

// crossing is a group of two, one at each of two nodes, who both speak all the time, to all.
type crossing struct {
	ends  [2]*app
	total int
}

// startCrossing starts a group whose members say rate messages a second each.
func startCrossing(t *testing.T, a, b *gateway, rate, seconds int) *crossing {
	t.Helper()
	c := &crossing{total: rate * seconds}
	for i := 1; ; i++ {
		c.ends[0] = a.app(t, "moderate", fmt.Sprint("org/ns/moderator-", i), "--channel", channel, "--unreliable")
		c.ends[1] = b.member(t, fmt.Sprint("org/ns/member-", i))
		e := c.ends[0].try(t, event{"invite": c.ends[1].name})
		if e.flag("ok") {
			break
		}
		if i == 3 || !strings.Contains(e.text("error"), answeredTwice) {
			t.Fatal(e)
		}
		t.Logf("the group is begun again: %v", e)
		c.ends[0].kill()
		c.ends[1].kill()
	}
	c.ends[1].expect(t, "session")
	for i, x := range c.ends { // until it goes both ways: routes of the channel come after it
		deadline := time.Now().Add(longWait())
		for to := c.ends[1-i]; to.take(500*time.Millisecond, func(e event) bool { return e.kind() == "message" }) == nil; {
			if time.Now().After(deadline) {
				hopeless.Store(true)
				t.Fatalf("nothing of %s comes to %s", x.label, to.label)
			}
			x.do(t, event{"publish": "early"})
		}
	}
	for i, x := range c.ends {
		x.write(t, event{"publish": fmt.Sprint("end", i), "count": c.total, "rate": rate, "inflight": 1000, "tag": "crossing"})
	}
	return c
}

// count waits for the end, and looks what has come to each: everything, if that is to be, and nothing twice. When a link ends, upstream's
// node takes back all names that were routed over it, those that it holds itself, too, such as that of a channel: unless it is
// reminded of them nothing more comes to the end there (P-def-6).
func (c *crossing) count(t *testing.T, whole bool) {
	t.Helper()
	for _, x := range c.ends {
		if x.take(4*limit, func(e event) bool { return e.kind() == "result" && e["tag"] == "crossing" }) == nil {
			t.Fatalf("%s does not come to an end", x.label)
		}
	}
	for i, x := range c.ends {
		x.await(limit, func() bool {
			different := map[string]bool{}
			for _, e := range x.events {
				if s := unfilled(e.text("text")); e.kind() == "message" && strings.HasPrefix(s, fmt.Sprint("end", 1-i, "#")) {
					different[s] = true
				}
			}
			return !whole || len(different) >= c.total
		})
	}
	time.Sleep(time.Second) // what is on its way
	for i, x := range c.ends {
		times, own := map[string]int{}, 0
		for _, e := range x.drain() {
			switch s := unfilled(e.text("text")); {
			case strings.HasPrefix(s, fmt.Sprint("end", 1-i, "#")):
				times[s]++
			case strings.HasPrefix(s, fmt.Sprint("end", i, "#")):
				own++
			case s != "early":
				t.Errorf("%s hears %q, which nobody has said", c.ends[i].name, s)
			}
		}
		if own > 0 && whole {
			t.Errorf("%s hears %d messages of its own", c.ends[i].name, own)
		}
		twice := 0
		for _, n := range times {
			if n > 1 {
				twice++
			}
		}
		t.Logf("of %d messages to all %d came to %s, %d of them more than once", c.total, len(times), c.ends[i].name, twice)
		if whole && (len(times) != c.total || twice > 0) {
			t.Errorf("of %d messages to all %d came to %s, %d of them more than once", c.total, len(times), c.ends[i].name, twice)
		}
	}
}
