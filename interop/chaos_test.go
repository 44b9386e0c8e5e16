//go:build interop

package interop

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/faults"
)

var (
	chaosDuration = flag.Duration("chaos.duration", 12*time.Second, "how long the links of each chain are cut, stalled and reset")
	chaosSeed     = flag.Uint64("chaos.seed", 0, "of what happens to links, and when; 0: another one each time")
)

// chain is app – A – B – R – app: two nodes of ours and one of upstream, each with a link as peers to the next. A dials
// B; between B and R it is either. Each link, and those of the applications, goes over a line that can be damaged.
type chain struct {
	t         *testing.T
	transport string // between nodes: tcp, tls, unix or ws
	dir       string // of certificates and sockets
	paths     int    // of sockets so far

	a, b, r   *node
	ab, br    *link
	atA, atR  *link // of applications
	rustDials bool
}

// patience is how long sessions wait for what is lost: a message goes again every half a second until it is acknowledged.
// A session outlives an outage, with everything delivered, that is shorter than all retries, and than the three heartbeats
// of ten seconds after which a member is given up. With MLS there is a third limit: each retransmission is encrypted anew,
// and mls-rs reads nothing that is more than 1024 messages ahead of the last one it has read. So few are in flight here,
// and no link stays down for long; of longer outages nothing is promised.
var patience = []string{"--retries", "100", "--interval-ms", "500"}

// inflight is how many messages of one application wait for their acknowledgements.
const inflight = 8

// What the applications of a chain send, each second.
const (
	p2pRate   = 10
	groupRate = 3
)

// A chain whose links are all cut, stalled and reset at random, each for itself: each comes back with the first attempt
// that is let through, within its backoff; sessions, in pairs and in a group, deliver everything once and in order; and
// afterwards our nodes hold what they held before: names, goroutines, descriptors, queues. Rules: P-dial-3, P-peer-3.
func TestChainWhoseLinksAreDamaged(t *testing.T) {
	t.Parallel()
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-chaos.seed %d", seed)
	for i, x := range []struct {
		transport string
		rustDials bool
	}{{"tcp", false}, {"tls", true}, {"unix", false}, {"ws", true}} {
		t.Run(x.transport, func(t *testing.T) {
			t.Parallel()
			c := startChain(t, x.transport, x.rustDials, rand.New(rand.NewPCG(seed, uint64(i))))
			c.endure(*chaosDuration)
		})
	}
}

func startChain(t *testing.T, transport string, rustDials bool, random *rand.Rand) *chain {
	t.Helper()
	dir, err := os.MkdirTemp("", "slim") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ca := certstest.NewIssuer(t, "servers", false)
	files := map[string]string{"ca.pem": ca.PEM}
	files["cert.pem"], files["key.pem"] = ca.Pair("node")
	certstest.Write(t, dir, files)
	c := &chain{t: t, transport: transport, dir: dir, rustDials: rustDials}
	for _, n := range []**node{&c.a, &c.b, &c.r} {
		*n = &node{kind: ours, port: freePort(t), binding: "enforce"}
	}
	c.r.kind = upstream
	atB, atR := c.address(), c.address() // where the others dial
	c.ab = c.line("A to B", c.network(), atB, random)
	if rustDials {
		c.br = c.line("R to B", c.network(), atB, random)
	} else {
		c.br = c.line("B to R", c.network(), atR, random)
	}
	c.atA = c.line("applications to A", "tcp", c.a.address(), random)
	c.atR = c.line("applications to R", "tcp", c.r.address(), random)

	const exponential = "{type: exponential, base: 2, factor: 50, max_delay: 400ms, jitter: true}"
	const fixed = "{type: fixed_interval, interval: 200ms}"
	if rustDials {
		c.run(c.b, c.listener(atB))
		c.run(c.r, "", c.client(c.br, fixed))
		c.br.dialledByRust(c.r.process)
		c.r.expectLine(t, "client connected", 0)
	} else {
		c.run(c.r, c.listener(atR))
		c.run(c.b, c.listener(atB), c.client(c.br, exponential))
		c.br.dialledBy(c.b, 0)
	}
	c.run(c.a, "", c.client(c.ab, fixed))
	c.ab.dialledBy(c.a, 200*time.Millisecond)
	c.ab.both = true
	for _, l := range []*link{c.ab, c.br} {
		if err := l.awaitUp(t.Context(), nil); err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
	}
	return c
}

func (c *chain) network() string {
	if c.transport == "unix" {
		return "unix"
	}
	return "tcp"
}

// address is a new one, for a listener or a line between nodes.
func (c *chain) address() string {
	if c.transport == "unix" {
		c.paths++
		return filepath.Join(c.dir, "s"+strconv.Itoa(c.paths))
	}
	return fmt.Sprintf("127.0.0.1:%d", freePort(c.t))
}

// line starts a line to a target.
func (c *chain) line(name, network, target string, random *rand.Rand) *link {
	c.t.Helper()
	l := &link{name: name, random: rand.New(rand.NewPCG(random.Uint64(), random.Uint64())), done: map[string]int{},
		Line: &faults.Line{Network: network, Target: target, Listen: fmt.Sprintf("127.0.0.1:%d", freePort(c.t))}}
	if network == "unix" {
		l.Listen = c.address()
	}
	if err := l.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(l.Close)
	return l
}

// keepalive finds within six seconds that the other end is silent.
const keepalive = "time: 1s, timeout: 5s"

// listener is an entry of dataplane.servers for other nodes.
func (c *chain) listener(addr string) string {
	endpoint, tls := addr, "insecure: true"
	switch c.transport {
	case "tls":
		tls = fmt.Sprintf("source: {type: file, cert: %s/cert.pem, key: %[1]s/key.pem}", c.dir)
	case "unix":
		endpoint = "unix://" + addr
	case "ws":
		endpoint = "ws://" + addr + "/slim"
	}
	return fmt.Sprintf("{endpoint: %q, tls: {%s}, keepalive: {%s}}", endpoint, tls, keepalive)
}

// client is an entry of dataplane.clients that dials a line between nodes.
func (c *chain) client(l *link, backoff string) string {
	tls := "insecure: true"
	switch c.transport {
	case "tcp":
		l.endpoint = "http://" + l.Listen
	case "tls":
		l.endpoint = "https://" + l.Listen
		tls = fmt.Sprintf("ca_source: {type: file, path: %s/ca.pem}", c.dir)
	case "unix":
		l.endpoint = "unix://" + l.Listen
	case "ws":
		l.endpoint = "ws://" + l.Listen + "/slim"
	}
	return fmt.Sprintf("{endpoint: %q, server_name: localhost, tls: {%s}, connection_type: peer, connect_timeout: 20s, backoff: %s, "+
		"keepalive: {http2_keepalive: 1s, timeout: 5s, keep_alive_while_idle: true}}", l.endpoint, tls, backoff)
}

// run starts a node with a listener for applications, and what others it is given.
func (c *chain) run(n *node, server string, clients ...string) {
	c.t.Helper()
	text := nodeConfig(n.port, nil)
	if server != "" {
		text += "        - " + server + "\n"
	}
	if len(clients) > 0 {
		text += "      clients:\n        - " + strings.Join(clients, "\n        - ") + "\n"
	}
	n.config = filepath.Join(c.t.TempDir(), "node.yaml")
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if n.kind == ours {
		n.health = fmt.Sprintf("127.0.0.1:%d", freePort(c.t))
	}
	n.start(c.t)
}

// at is a node as applications reach it over a line.
func (c *chain) at(n *node, l *link) *node {
	x := *n
	x.client = fmt.Sprintf(`{"endpoint": "http://%s", "tls": {"insecure": true}, "backoff": {"type": "fixed_interval", "interval": "200ms"}}`, l.Listen)
	return &x
}

// endure has applications at both ends talk while the links are damaged, for d, and looks at what is left.
func (c *chain) endure(d time.Duration) {
	t := c.t
	atA, atR := c.at(c.a, c.atA), c.at(c.r, c.atR)
	timeout := fmt.Sprint(int((d + 2*limit).Seconds()))
	args := slices.Concat([]string{"--timeout", timeout}, watched)
	b := atR.app(t, "echo", bob, watched...)
	m := atA.app(t, "moderate", "org/ns/moderator", slices.Concat([]string{"--channel", channel, "--mls"}, args, patience)...)
	far := atR.member(t, "org/ns/far", args...)
	near := c.b.member(t, "org/ns/near", args...)
	m.invite(t, far, near)
	speakers, members := []*app{m, far}, []*app{m, far, near}
	for _, a := range speakers { // a member takes the first message that comes for the first that was sent
		a.do(t, event{"publish": "first"})
		for _, to := range members {
			if to != a {
				to.receives(t, "first")
			}
		}
	}
	before := map[*node]holding{c.a: c.a.settled(t), c.b: c.b.settled(t)}

	// Upstream's library calls a message acknowledged that it could not send since its line was down, and repeats it only for who misses it
	// behind a later one: all is sent for longer than anything is damaged.
	seconds := int(d/time.Second) + 6
	alice := atA.opened(t, "send", alice, slices.Concat([]string{"--to", bob, "--mls", "--echo", "--count", fmt.Sprint(seconds * p2pRate),
		"--rate", fmt.Sprint(p2pRate), "--inflight", fmt.Sprint(inflight)}, args, patience)...)
	b.expect(t, "session")
	alice.expect(t, "session") // it is open at both ends
	for i, a := range speakers {
		a.write(t, event{"publish": fmt.Sprint("speaker", i), "count": seconds * groupRate, "rate": groupRate, "inflight": inflight,
			"tag": "chaos"})
	}
	c.atA.dialledByRust(m.process, alice)
	c.atR.dialledByRust(b.process, far.process)
	const told = `"tag":"chaos"`
	c.damage(d, flow{alice, b.process, `"event":"summary"`}, flow{m.process, far.process, told}, flow{far.process, m.process, told},
		flow{far.process, near.process, told})

	summary := alice.succeed(t)
	wantAnswers(t, summary, seconds*p2pRate)
	wantSession(t, b, seconds*p2pRate)
	for i, a := range speakers {
		result := a.take(2*limit, func(e event) bool { return e.kind() == "result" && e["tag"] == "chaos" })
		if result == nil || !result.flag("ok") {
			t.Fatalf("%s: %v", a.label, result)
		}
		for _, to := range members {
			if to != a {
				to.receivesFrom(t, a, series(fmt.Sprint("speaker", i), seconds*groupRate)...)
			}
		}
	}
	for _, a := range members {
		a.receivedNothing(t)
	}
	for n, was := range before {
		n.wantAgain(t, was)
	}

	// All go, and a last cut lets upstream's node tell B its names anew: it withdraws none of those that an application
	// has replayed.
	m.quit(t)
	for _, a := range []*app{b, far, near} {
		a.quit(t)
	}
	if err := c.br.harm(t.Context(), damages(c.br)[0]); err != nil {
		t.Errorf("%s: %v", c.br.name, err)
	}
	for n := range before {
		n.wantNoNames(t)
	}
}

// receivesFrom wants exactly these texts as the next messages of one sender, in this order.
func (a *app) receivesFrom(t *testing.T, from *app, texts ...string) {
	t.Helper()
	for i, want := range texts {
		e := a.take(limit, func(e event) bool { return e.kind() == "message" && e.text("from") == from.name })
		if e == nil || unfilled(e.text("text")) != want {
			t.Fatalf("%s: message %d of %d of %s is %v, want %q", a.label, i+1, len(texts), from.name, e, want)
		}
	}
}

// flow is what one application sends to another: numbered messages, in a session.
type flow struct {
	from, to *process
	last     string // text of a line of from that says that it has sent everything
}

// stopped reports whether nothing more is to be expected.
func (f *flow) stopped() bool { return f.from.ended() || f.from.count(f.last) > 0 }

// storm is how long links are damaged at a time.
const storm = 4 * time.Second

// damage damages all links, each for itself, for d. After each storm all links come back, and every flow goes on: so
// none is interrupted for longer than its session outlives, however slow the machine.
func (c *chain) damage(d time.Duration, flows ...flow) {
	deadline := time.Now().Add(d)
	links := []*link{c.ab, c.br, c.atA, c.atR}
	for !c.t.Failed() && time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(c.t.Context(), min(storm, time.Until(deadline)))
		var work sync.WaitGroup
		failed := make([]error, len(links))
		for i, l := range links {
			work.Go(func() { failed[i] = l.suffer(ctx) })
		}
		work.Wait()
		cancel()
		for i, l := range links {
			for _, p := range l.rust {
				p.skipIfLate(c.t)
			}
			if err := failed[i]; err != nil {
				c.t.Errorf("%s: %v", l.name, err)
			}
		}
		for _, f := range flows {
			if !f.goesOn() {
				c.t.Errorf("nothing more of %s comes to %s", f.from.label, f.to.label)
				for _, n := range []*node{c.a, c.b} {
					st, err := n.status(c.t.Context())
					c.t.Logf("%s: names %v; dropped %v; deaths %v; %v", n.label, st.Names, st.Dropped, st.Deaths, err)
				}
			}
		}
	}
	for _, l := range links {
		c.t.Logf("%s: %v; back after %v at most", l.name, l.done, l.worst.Round(time.Millisecond))
	}
}

// goesOn returns when more has arrived, or everything. false: nothing comes.
func (f *flow) goesOn() bool {
	const message = `"event":"message"`
	before := f.to.count(message)
	for deadline := time.Now().Add(2 * limit); time.Now().Before(deadline); {
		if f.to.await(lookEvery, func() bool { return countLines(f.to.lines, message) > before }) || f.stopped() {
			return true
		}
	}
	return false
}
