//go:build interop

package interop

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/faults"
)

var (
	fleetDuration = flag.Duration("fleet.duration", 20*time.Second, "how long the nodes of TestFleetThatIsHarmed are harmed")
	fleetSeed     = flag.Uint64("fleet.seed", 0, "of what happens to nodes, and when; 0: another one each time")
)

// fleet is five domains of a node each, ours and upstream's in turn, all linked with each other by a control plane. At each node there is
// an application of ours, one in Python and one in Rust. Where other nodes dial a node there is a line that can be damaged.
type fleet struct {
	t       *testing.T
	plane   *plane
	nodes   []*gateway
	lines   []*faults.Line // of the nodes
	dialled []string       // where that is
	star    bool           // whether only the first one is linked with the others
	apps    []*fleetApp
	random  *rand.Rand
	harms   map[string]int // that were done, by name
	reborn  map[string]int // applications that were started again, by language

	missing   map[pair]time.Time // since when the control plane has had no record of a link, where it should
	forgotten int                // links that it has forgotten
}

// fleetApp is an application of a fleet. It answers what comes.
type fleetApp struct {
	*app
	language string // Go, Python or Rust
	home     int    // its node
}

// Five nodes that are killed, stopped for a while, cut off, stalled and refused for as long as the flag says, all under one control plane:
// afterwards every application talks with every other, and our nodes hold what they held before. Applications on upstream's library
// may have given up, which they say: they are counted, and started again. Rules: P-ctl-9, P-dial-3.
func TestFleetThatIsHarmed(t *testing.T) {
	t.Parallel()
	seed := *fleetSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-fleet.seed %d", seed)
	f := startFleet(t, rand.New(rand.NewPCG(seed, 0)), ours, upstream, ours, upstream, ours)
	before := map[*gateway]holding{}
	files := map[*gateway]int{}
	for _, m := range f.nodes {
		if files[m] = m.openFiles(t); m.kind == ours {
			before[m] = m.settled(t)
		}
	}
	f.harm(*fleetDuration)
	f.recover()
	f.talk()
	for _, m := range f.nodes {
		if m.kind == upstream {
			t.Logf("%s has %d files open, had %d", m.label, m.openFiles(t), files[m])
			continue
		}
		m.eventually(t, func(h holding) string { return h.beyond(before[m], len(f.nodes)-1) })
	}
	t.Logf("harms %v; started again %v; links forgotten by the control plane: %d", f.harms, f.reborn, f.forgotten)
}

// pinged has links find within six seconds that they are stranded, at the end that dials, too.
const pinged = "enforce_node_connection: {keepalive: {tcp_keepalive: 1m, http2_keepalive: 1s, timeout: 5s, keep_alive_while_idle: true}}"

// stranded is how long before the end of all harms no link is stranded any more: by then it is found.
const stranded = 8 * time.Second

func startFleet(t *testing.T, random *rand.Rand, kinds ...kind) *fleet {
	t.Helper()
	f := &fleet{t: t, random: random, plane: startPlane(t, fullMesh+"\n"+pinged), harms: map[string]int{}, reborn: map[string]int{}}
	for i, k := range kinds {
		l := &faults.Line{Network: "tcp", Listen: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
		m := f.plane.newGateway(t, k, fmt.Sprint("dom-", i), gatewayOptions{external: l.Listen, server: "          keepalive: {" + keepalive + "}"})
		l.Target = m.address()
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		if k == ours {
			m.health = fmt.Sprintf("127.0.0.1:%d", freePort(t))
		}
		m.start(t)
		f.nodes, f.lines, f.dialled = append(f.nodes, m), append(f.lines, l), append(f.dialled, l.Listen)
		f.plane.untilConnected(t, i+1)
	}
	f.plane.untilLinks(t, len(kinds)*(len(kinds)-1)/2)
	for i := range f.nodes {
		for _, language := range []string{"Go", "Python", "Rust"} {
			f.apps = append(f.apps, f.startApp(language, i))
		}
	}
	f.untilRoutes()
	return f
}

func (f *fleet) startApp(language string, home int) *fleetApp {
	f.t.Helper()
	n, name := f.nodes[home].node, fmt.Sprintf("org/ns/%s-%d", strings.ToLower(language), home)
	x := &fleetApp{language: language, home: home}
	switch language {
	case "Go":
		x.app = ready(f.t, name, n.goPeer(f.t, name, "--echo"))
	case "Python":
		x.app = n.script(f.t, &python, name, "--echo")
	default:
		x.app = n.app(f.t, "echo", name)
	}
	return x
}

// harms are what can happen to a node. What it has begun is ended by the function that it returns.
var harms = []struct {
	name string
	do   func(f *fleet, i int) (end func())
}{
	{"kill", func(f *fleet, i int) func() {
		f.nodes[i].kill()
		return func() { f.nodes[i].start(f.t) }
	}},
	{"stop", func(f *fleet, i int) func() {
		f.nodes[i].freeze(f.t)
		return func() { f.nodes[i].signal(f.t, syscall.SIGCONT) }
	}},
	{"stall", func(f *fleet, i int) func() {
		f.lines[i].Stall()
		return f.lines[i].Resume
	}},
	{"cut", func(f *fleet, i int) func() {
		f.lines[i].Refuse()
		f.lines[i].Cut()
		return f.admit(i)
	}},
	{"reset", func(f *fleet, i int) func() {
		f.lines[i].Reset()
		return func() {}
	}},
	{"strand", func(f *fleet, i int) func() {
		f.lines[i].Strand()
		return func() {}
	}},
}

func (f *fleet) admit(i int) func() {
	return func() {
		if err := f.lines[i].Admit(); err != nil {
			f.t.Fatal(err)
		}
	}
}

// harm harms one or two nodes at a time, for d, while some of the applications talk.
func (f *fleet) harm(d time.Duration) {
	talkers := f.chatter(d)
	nap := func(most time.Duration) { time.Sleep(time.Duration(f.random.Int64N(int64(most)))) }
	for deadline := time.Now().Add(d); time.Now().Before(deadline); nap(1200 * time.Millisecond) {
		var ends []func()
		for _, i := range f.random.Perm(len(f.nodes))[:1+f.random.IntN(2)] {
			h := harms[f.random.IntN(len(harms))]
			if h.name == "strand" && time.Until(deadline) < stranded {
				h = harms[0]
			}
			f.harms[h.name]++
			ends = append(ends, h.do(f, i))
		}
		nap(1500 * time.Millisecond)
		for _, end := range ends {
			end()
		}
	}
	for _, p := range talkers {
		p.kill()
	}
}

// chatter has applications in Rust send to those at other nodes, whatever becomes of it.
func (f *fleet) chatter(d time.Duration) (all []*process) {
	const rate = 50
	for i, n := range f.nodes {
		to := f.apps[(3*i+4)%len(f.apps)]
		all = append(all, n.peer(f.t, "send", fmt.Sprint("org/ns/chatter-", i), "--to", to.name, "--count", fmt.Sprint(rate*int(d/time.Second)),
			"--rate", fmt.Sprint(rate), "--unreliable", "--inflight", "100"))
	}
	return all
}

// patient is how long a fleet may take to be whole again: upstream's control plane looks at everything every five seconds here, waits up
// to 90 for an answer of a node that it has asked, and after failures up to 30 until it asks again.
const patient = 3 * time.Minute

// recover waits until everything is linked and known again, and starts applications anew that have given up.
func (f *fleet) recover() {
	since := time.Now()
	for range 3 {
		f.untilLinked()
		f.t.Logf("all links are up %v after the last harm", time.Since(since).Round(time.Millisecond))
		for i, a := range f.apps {
			if f.attached(a) {
				continue
			}
			if a.language == "Go" || a.count(gaveUp) == 0 {
				f.t.Errorf("%s is not back at its node, and has not said that it gives up", a.label)
			}
			f.reborn[a.language]++
			a.kill()
			f.apps[i] = f.startApp(a.language, a.home)
		}
		f.untilRoutes()
		f.t.Logf("all names are known %v after the last harm", time.Since(since).Round(time.Millisecond))
		m, why := f.surplus()
		if m == nil {
			return
		}
		f.t.Logf("%s is started again: %s", m.label, why)
		m.kill()
		m.start(f.t)
	}
}

// surplus waits for some time until the control plane has only what it should, and returns the node whose end has it drop what is too much, and
// what that is; nil: nothing. It keeps two links between two nodes that have come back at the same moment. And when it routes all names while one
// of them is being taken back it routes that, too, and goes on to do so.
func (f *fleet) surplus() (m *gateway, why string) {
	for deadline := time.Now().Add(looks); ; time.Sleep(200 * time.Millisecond) {
		m, why = nil, ""
		for p, n := range f.between(f.links()) {
			if n > 1 {
				m, why = f.nodes[p[0]], fmt.Sprintf("it has %d links with %s", n, f.nodes[p[1]].name)
			}
		}
		told, routed := map[string]bool{}, map[string]string{}
		for line := range strings.Lines(slimctl(f.t, f.plane.northbound, "controller", "route", "list", "-a")) {
			switch x := strings.Fields(line); {
			case len(x) < 4 || x[3] == "DELETED" || x[0] == "SOURCE":
			case x[0] == "*":
				told[x[2]] = true
			default:
				routed[x[2]] = x[1]
			}
		}
		for name, home := range routed {
			if i := slices.IndexFunc(f.nodes, func(m *gateway) bool { return m.name == home }); i >= 0 && !told[name] {
				m, why = f.nodes[i], "nodes have a route to "+name+", which is no more"
			}
		}
		if m == nil || time.Now().After(deadline) {
			return m, why
		}
	}
}

// untilLinked waits until everything is linked again. What the control plane forgets meanwhile it is reminded of.
func (f *fleet) untilLinked() {
	f.t.Helper()
	looked := time.Now()
	f.eventually("all links", func() (string, bool) {
		out := f.links()
		missing := f.unlinked(out)
		if len(missing) > 0 && time.Since(looked) > looks {
			f.remember(f.links("--all"))
			looked = time.Now()
		}
		return out + fmt.Sprint("without a link: ", missing), len(missing) == 0
	})
}

// looks is how often it is looked for links that the control plane has forgotten, and forgets is how long a link has been missing then:
// the control plane looks at everything every five seconds.
const (
	looks   = 5 * time.Second
	forgets = 15 * time.Second
)

// pair are two nodes of a fleet, the lower one first.
type pair [2]int

// links lists the links that the control plane has, those only that are up unless the arguments say otherwise.
func (f *fleet) links(args ...string) string {
	return slimctl(f.t, f.plane.northbound, append([]string{"controller", "link", "list"}, args...)...)
}

// between counts the links of a list between two nodes, in either direction. The far end of a link that nobody has claimed is known by
// where it is dialled. There may be two links between the same nodes, of which each has come while the other one did.
func (f *fleet) between(list string) map[pair]int {
	all := map[pair]int{}
	for line := range strings.Lines(list) {
		var ends []int
		for i, m := range f.nodes {
			if strings.Contains(line, m.name+" ") || strings.Contains(line, "://"+f.dialled[i]+" ") {
				ends = append(ends, i)
			}
		}
		if len(ends) == 2 {
			all[pair(ends)]++
		}
	}
	return all
}

// unlinked are the nodes between which a list has no link that should have one.
func (f *fleet) unlinked(list string) (missing []pair) {
	linked := f.between(list)
	for j := range f.nodes {
		for i := range j {
			if linked[pair{i, j}] == 0 && (i == 0 || !f.star) {
				missing = append(missing, pair{i, j})
			}
		}
	}
	return missing
}

// remember starts a node anew whose link to another one upstream's control plane has forgotten, and counts that. When the last node of a
// domain goes the control plane marks the links to it as deleted, and orders their other ends to end them; when the node is back it takes
// the marks off. But if another end acknowledges that order only then, the record of its link is deleted nonetheless; and what it
// does at the end of a node's stream it may do when that node has registered again. Nothing makes another link. One is forgotten that has
// been in no list of all records (up, ordered, failed or marked) for some time in which both nodes were registered.
func (f *fleet) remember(list string) {
	if !strings.HasPrefix(list, "Links: ") { // slimctl could not be told
		return
	}
	registered := map[int]bool{}
	for line := range strings.Lines(slimctl(f.t, f.plane.northbound, "controller", "node", "list")) {
		for i, m := range f.nodes {
			if strings.Contains(line, m.name+" ") && strings.Contains(line, " Connected ") {
				registered[i] = true
			}
		}
	}
	now := time.Now()
	missing := map[pair]time.Time{}
	for _, p := range f.unlinked(list) {
		if !registered[p[0]] || !registered[p[1]] {
			continue
		}
		missing[p] = now
		if since, ok := f.missing[p]; ok {
			missing[p] = since
		}
		if now.Sub(missing[p]) >= forgets {
			a, b := f.nodes[p[0]], f.nodes[p[1]]
			f.t.Logf("the control plane has forgotten the link between %s and %s: %s is started again", a.name, b.name, a.label)
			f.forgotten++
			f.missing = nil
			a.kill()
			a.start(f.t)
			return
		}
	}
	f.missing = missing
}

// Upstream's control plane forgets a link whose one end is gone and comes back while the other one does not answer, whatever nodes these
// are. TestFleetThatIsHarmed has that happen, and knows it when it does.
func TestControlPlaneForgetsALink(t *testing.T) {
	upstreamsMayFail(t) // or be right this time
	for _, k := range []kind{ours, upstream} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			p := startPlane(t, fullMesh)
			b := p.startGateway(t, k, "dom-b", gatewayOptions{})
			p.untilConnected(t, 1)
			a := p.startGateway(t, k, "dom-a", gatewayOptions{}) // who comes last dials
			p.untilLinks(t, 1)
			f := &fleet{t: t, plane: p, nodes: []*gateway{a, b}, dialled: []string{a.address(), b.address()}}
			p.expectLine(t, "status=Applied", p.count("status=Applied")) // it waits for no answer of a for some seconds
			a.freeze(t)
			b.kill()
			p.expectLine(t, "sending desired state to node "+a.name+": 0 connections", 0)
			came := p.count("southbound: registering node dom-b/")
			b.start(t)
			p.expectLine(t, "southbound: registering node dom-b/", came)
			a.signal(t, syscall.SIGCONT)
			p.expectLine(t, "reconciler: deleted link record for", 0)
			if out, back := p.becomes(t, limit, links(1), "controller", "link", "list"); back {
				t.Fatalf("it forgets nothing any more: %s", out)
			}
			f.eventually("a link is known to be forgotten", func() (string, bool) {
				list := f.links("--all")
				f.remember(list)
				return list, f.forgotten == 1
			})
			p.untilLinks(t, 1)
		})
	}
}

// attached reports whether the node of an application knows it, at last.
func (f *fleet) attached(a *fleetApp) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		if strings.Contains(slimctl(f.t, f.nodes[a.home].api, "node", "route", "list"), a.name+"/") {
			return true
		}
		if a.ended() || a.count(gaveUp) > 0 || time.Now().After(deadline) {
			return false
		}
	}
}

// untilRoutes waits until each node has a route to each application elsewhere, as the control plane says and as the node does.
func (f *fleet) untilRoutes() {
	f.t.Helper()
	f.eventually("all routes", func() (string, bool) {
		out := slimctl(f.t, f.plane.northbound, "controller", "route", "list")
		have := map[[2]string]bool{}
		for line := range strings.Lines(out) {
			if x := strings.Fields(line); len(x) == 5 && x[3] == "APPLIED" {
				have[[2]string{x[0], x[2][:strings.LastIndexByte(x[2], '/')]}] = true
			}
		}
		missing := ""
		for _, a := range f.apps {
			for i, m := range f.nodes {
				if i != a.home && !have[[2]string{m.name, a.name}] {
					missing += fmt.Sprintf("%s has no route to %s\n", m.name, a.name)
				}
			}
		}
		return missing + out, missing == ""
	})
	for _, m := range f.nodes {
		f.eventually("all names at "+m.name, func() (string, bool) {
			out := slimctl(f.t, m.api, "node", "route", "list")
			return out, !slices.ContainsFunc(f.apps, func(a *fleetApp) bool { return !strings.Contains(out, a.name+"/") })
		})
	}
}

// eventually waits until something is so, or a fleet has no more time.
func (f *fleet) eventually(what string, ok func() (string, bool)) {
	f.t.Helper()
	for deadline := time.Now().Add(patient); ; time.Sleep(200 * time.Millisecond) {
		out, yes := ok()
		switch {
		case yes:
			return
		case time.Now().After(deadline):
			f.t.Fatalf("not in time: %s\n%s\n%s", what, out, f.plane.tail())
		}
	}
}

// talk has each application talk with each other one. Those in Rust that send are new ones, at the same node.
func (f *fleet) talk() {
	const each = 5
	f.t.Run("talk", func(t *testing.T) {
		for i, from := range f.apps {
			t.Run(fmt.Sprintf("%s at %d", from.language, from.home), func(t *testing.T) {
				t.Parallel()
				for j, to := range f.apps {
					switch {
					case i == j:
					case from.language == "Rust":
						name := fmt.Sprintf("org/ns/rust-%d-%d", i, j)
						wantAnswers(t, f.nodes[from.home].run(t, "send", name, sendArgs(to.name, each, false)...), each)
					default:
						text := fmt.Sprintf("%d to %d", i, j)
						session := from.do(t, event{"open": to.name})["session"]
						from.do(t, event{"publish": text, "count": each, "session": session})
						for _, want := range series("echo:"+text, each) {
							if from.take(limit, func(e event) bool { return e.kind() == "message" && unfilled(e.text("text")) == want }) == nil {
								t.Fatalf("%s: no %q of %s", from.label, want, to.label)
							}
						}
						from.do(t, event{"close": true, "session": session})
					}
				}
			})
		}
	})
}

// openFiles is how many descriptors a process has.
func (p *process) openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(p.cmd.Process.Pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// beyond says in what h is more than was, or other in its names, whose ids may have changed; "": in nothing. A link takes two more
// goroutines of the node that dials it, and which one does is another one after each start.
func (h *holding) beyond(was holding, links int) string {
	for _, name := range slices.Sorted(maps.Keys(h.numbers)) {
		most := was.numbers[name]
		if name == "go_goroutines" {
			most += float64(2 * links)
		}
		if h.numbers[name] > most {
			return fmt.Sprintf("%s is %v, was %v", name, h.numbers[name], was.numbers[name])
		}
	}
	plain := func(names map[string]map[string]int) map[string]int {
		all := map[string]int{}
		for n, holders := range names {
			n = n[:strings.LastIndexByte(n, '/')]
			for k, count := range holders {
				all[n+" "+k] += count
			}
		}
		return all
	}
	if a, b := plain(h.names), plain(was.names); !maps.Equal(a, b) {
		return fmt.Sprintf("names are %v, were %v", a, b)
	}
	if h.heap > was.heap+moreHeap {
		return fmt.Sprintf("heap is %v, was %v", h.heap, was.heap)
	}
	return ""
}
