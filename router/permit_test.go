package router

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/rules"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
)

// ruleList is a list of rules; "" none, "-" an empty one.
func ruleList(s string) *rules.List {
	switch s {
	case "":
		return nil
	case "-":
		return &rules.List{}
	}
	l := &rules.List{}
	for _, p := range strings.Fields(s) {
		l.Texts = append(l.Texts, rules.Text{Text: p})
	}
	return l
}

// ruleFor is a rule for a subject, "" for everybody.
func ruleFor(subject, claim, subscribe, publish, source string) rules.Rule {
	return rules.Rule{Who: rules.Who{Subject: rules.Text{Text: subject}}, Claim: ruleList(claim), Subscribe: ruleList(subscribe),
		Publish: ruleList(publish), Source: ruleList(source)}
}

func ruleSet(t testing.TB, all ...rules.Rule) *rules.Set {
	t.Helper()
	s, err := rules.Compile(&rules.Source{Rules: all})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decisionLog keeps what it is told.
type decisionLog struct{ events []auth.Event }

func (a *decisionLog) Note(e *auth.Event) { a.events = append(a.events, *e) }

// take returns the events since the last take as lines, and forgets them.
func (a *decisionLog) take() string {
	var b strings.Builder
	for _, e := range a.events {
		word := "denied"
		if e.Allowed {
			word = "allowed"
		}
		fmt.Fprintf(&b, "%s %s %s %s %s<%s %s\n", word, e.Act, e.Subject, e.Kind, e.Name, e.Source, e.Reason)
	}
	a.events = nil
	return b.String()
}

func someone(subject string) *auth.Identity {
	return &auth.Identity{Mechanism: auth.JWT, Subject: subject, Issuer: "i"}
}

// joinAs connects who, whose listener knows that.
func (r *rig) joinAs(loop int, kind wire.LinkKind, who *auth.Identity) *peer {
	r.t.Helper()
	r.who = who
	defer func() { r.who = nil }()
	return r.dialAs(loop, kind, "node-of-test")
}

// Rules: P-rule-1, P-rule-6, P-rule-7.
func TestNamesAreJudged(t *testing.T) {
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			log := &decisionLog{}
			r := newRig(t, where.loops, Options{Audit: log, Authorization: ruleSet(t,
				ruleFor("alice", "edge", "org/ns/${sub}", "org/ns/bob", "org/ns/alice"), ruleFor("bob", "edge", "org/ns/bob", "-", ""))})
			a := r.joinAs(where.source, wire.LinkEdge, someone("alice"))
			b := r.joinAs(where.dest, wire.LinkEdge, someone("bob"))
			b.subscribe(bob, 1)
			log.take()

			a.request(bob, 2)
			a.wantAck(2, false, "not allowed to subscribe to org/ns/bob/00000000-0000-0003-0000-000000000004")
			a.subscribe(alice, 3)
			if got, want := log.take(), "denied subscribe alice edge org/ns/bob/00000000-0000-0003-0000-000000000004< not in the lists of the rules for this identity\n"+
				"allowed subscribe alice edge org/ns/alice/00000000-0000-0001-0000-000000000002< \n"; got != want {
				t.Errorf("audit:\n%swant\n%s", got, want)
			}

			for i, c := range []struct {
				from *peer
				h    *wire.PublishHeader
				want int
			}{
				{a, header(alice, bob, 1, "x"), 1},
				{a, header(alice, bob, 1, "x"), 1},
				{a, header(alice, bob, 1, "y"), 1},
				{a, header(alice, bob, 7, "y"), 1},
				{a, header(bob, bob, 1, "x"), 0},      // not its name
				{a, header(alice, group, 256, ""), 0}, // not a name for it
				{a, header(alice, alice, 1, ""), 0},   // it may subscribe to it, not publish
				{b, header(bob, alice, 1, ""), 0},     // an empty list
				{a, header(alice, bob, 1, "x"), 1},
			} {
				c.from.publish(c.h, i, 10)
				if got := a.count() + b.count(); got != c.want {
					t.Errorf("publish %d: %d messages come, want %d", i, got, c.want)
				}
			}
			if s := r.stats(); s.Dropped[ReasonDenied] != 4 || s.Delivered != 5 || s.Refused[ReasonDenied] != 1 || s.Refused[ReasonSubscribe] != 0 {
				t.Errorf("stats: %+v", s)
			}
			got := log.take()
			for _, want := range []string{
				"allowed publish alice edge org/ns/bob/00000000-0000-0003-0000-000000000004<org/ns/alice/00000000-0000-0001-0000-000000000002 \n",
				"denied publish alice edge org/ns/bob/00000000-0000-0003-0000-000000000004<org/ns/bob/00000000-0000-0003-0000-000000000004 its source is not in",
				"denied publish alice edge org/ns/group/NULL_COMPONENT<org/ns/alice/00000000-0000-0001-0000-000000000002 its destination is not in",
				"denied publish bob edge org/ns/alice/00000000-0000-0001-0000-000000000002<org/ns/bob/00000000-0000-0003-0000-000000000004 its destination is not in",
			} {
				if strings.Count(got, want) != 1 {
					t.Errorf("audit:\n%swant once\n%s", got, want)
				}
			}
			a.unsubscribe(alice, 3)
			a.wantAck(3, true, "")
		})
	}
}

// The strings beside a name may say anything: what counts is what routes. Rules: P-rule-3.
func TestStringsOfNamesAreNotBelieved(t *testing.T) {
	log := &decisionLog{}
	r := newRig(t, 1, Options{Audit: log, Authorization: ruleSet(t, ruleFor("", "edge", "org/ns/bob", "org/ns/bob", "org/ns/alice"))})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	log.take()
	denied := wire.Text("org", "ns", "secret").WithID(3, 4)
	disguised, disclosed := denied, bob
	disguised.Str, disclosed.Str = bob.Str, denied.Str
	a.request(disguised, 2)
	a.wantAck(2, false, "not allowed to subscribe to "+disguised.Name.String())
	a.publish(header(alice, disguised, 1, ""), 0, 10)
	from := alice
	from.Name = denied.Name
	a.publish(header(from, bob, 1, ""), 0, 10)
	if n := b.count(); n != 0 {
		t.Errorf("%d messages come from or to a name in disguise", n)
	}
	a.publish(header(alice, disclosed, 1, ""), 0, 10)
	if n := b.count(); n != 1 {
		t.Errorf("%d messages come to a name that is allowed, whatever its strings say", n)
	}
	if got := log.take(); strings.Contains(got, "secret") || strings.Count(got, denied.Name.String()) != 3 {
		t.Errorf("audit believes strings:\n%s", got)
	}
}

// The log says once of a connection what it may not subscribe to, and why. Rules: P-rule-6.
func TestLogSaysWhatIsNotAllowed(t *testing.T) {
	j := newJournal(slog.LevelWarn)
	r := newRig(t, 1, Options{Log: j.log(), Authorization: ruleSet(t, ruleFor("", "edge", "org/ns/bob", "-", "-"))})
	a := r.dial(0)
	for id := range uint64(3) {
		a.request(alice, id+1)
		a.wantAck(id+1, false, "not allowed to subscribe to "+alice.String())
	}
	lines := j.all("subscription refused")
	if len(lines) != 1 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	matches(t, lines[0], `level=WARN .* conn_id=1 .*reason=`+ReasonDenied.String()+` name=`+alice.String()+` why=\S`)
}

// Rules: P-rule-5.
func TestKindsAreJudged(t *testing.T) {
	log := &decisionLog{}
	set := ruleSet(t, ruleFor("node-*", "peer remote", "*/*/*", "", ""), ruleFor("app", "edge", "*/*/*", "", ""))
	for _, c := range []struct {
		who  *auth.Identity
		kind wire.LinkKind
		ok   bool
	}{
		{someone("app"), wire.LinkEdge, true}, {someone("app"), wire.LinkPeer, false}, {someone("app"), wire.LinkRemote, false},
		{someone("node-1"), wire.LinkPeer, true}, {someone("node-1"), wire.LinkRemote, true}, {someone("node-1"), wire.LinkEdge, false},
		{nil, wire.LinkEdge, false},
	} {
		r := newRig(t, 1, Options{Audit: log, Authorization: set})
		p := r.joinAs(0, c.kind, c.who)
		p.exchange()
		if (p.end == nil) != c.ok {
			t.Errorf("%+v: end %+v", c, p.end)
		}
		if p.end != nil && (p.end.GRPCStatus != statusPermissionDenied || !strings.Contains(p.end.Message, "not allowed to be a connection of kind")) {
			t.Errorf("%+v: told %+v", c, p.end)
		}
		if s := r.stats(); s.Refused[ReasonClaim] != uint64(map[bool]int{false: 1}[c.ok]) {
			t.Errorf("%+v: refused %v", c, s.Refused)
		}
		for k := range r.n.claims.granted {
			if g := r.n.claims.granted[k].Load(); g != 0 && (table.Kind(k) != kindOf(c.kind) || !c.ok || g != 1) {
				t.Errorf("%+v: %d grants of kind %v", c, g, table.Kind(k))
			}
		}
		if got := log.take(); strings.HasPrefix(got, "allowed claim") != c.ok || strings.Count(got, "\n") != 1 {
			t.Errorf("%+v: audit %s", c, got)
		}
	}
}

// Apps in the process and, unless the set says so, links of the node's own are not judged. Rules: P-rule-1.
func TestWhoIsJudged(t *testing.T) {
	plain := ruleSet(t)
	all, err := rules.Compile(&rules.Source{Dialed: true})
	if err != nil {
		t.Fatal(err)
	}
	dialed := &outgoing{dialer: &Dialer{link: Link{Endpoint: "http://b:1"}}}
	for _, c := range []struct {
		conn *Conn
		set  *rules.Set
		want bool
	}{
		{&Conn{kind: table.Edge}, nil, false}, {&Conn{kind: table.Edge}, plain, true}, {&Conn{kind: table.Peer}, plain, true},
		{&Conn{kind: table.Local}, plain, false}, {&Conn{kind: table.Local}, all, false},
		{&Conn{kind: table.Peer, dialed: dialed}, plain, false}, {&Conn{kind: table.Peer, dialed: dialed}, all, true},
	} {
		if got := c.conn.judged(c.set); got != c.want {
			t.Errorf("kind %v, dialed %v: %v", c.conn.kind, c.conn.dialed != nil, got)
		}
	}
	if who := (&Conn{dialed: dialed}).identity(); who.Mechanism != rules.Dialed || who.Subject != "http://b:1" {
		t.Errorf("at the other end of a link is %+v", who)
	}
}

// Rules are asked once for each name: what is known of a header counts as long as its names, and no longer than the rules.
func TestRulesAreAskedOnce(t *testing.T) {
	r := newRig(t, 1, Options{Authorization: ruleSet(t, ruleFor("", "edge", "*/*/*", "org/ns/bob", "*/*/*"))})
	a, b := r.dial(0), r.dial(0)
	b.subscribe(bob, 1)
	send := func(dest wire.NameText, identity string) int {
		a.publish(header(alice, dest, 1, identity), 0, 10)
		return b.count()
	}
	if send(bob, "x") != 1 {
		t.Fatal("not allowed")
	}
	nothing := ruleSet(t).For(nil)
	a.c.permit.rights = nothing
	if send(bob, "x") != 1 || send(bob, "y") != 1 {
		t.Error("a header with names that were allowed is judged again")
	}
	a.c.permit.decisions = decisions{}
	if send(bob, "x") != 1 || send(bob, "z") != 1 {
		t.Error("what is known of a header does not count")
	}
	other := bob
	other.Str[0] = "other bytes, the same name"
	if send(other, "x") != 0 {
		t.Error("another header is taken for one that was allowed")
	}
	a.c.permit.stamp++
	if send(bob, "x") != 0 {
		t.Error("what older rules have allowed still counts")
	}
	b.request(alice, 2)
	b.wantAck(2, true, "")
	b.c.permit.rights = nothing
	b.request(alice, 3)
	b.wantAck(3, true, "") // the rules were asked about it
	b.c.arm(nothing)
	b.request(alice, 4)
	b.wantAck(4, false, "not allowed to subscribe to org/ns/alice/00000000-0000-0001-0000-000000000002")
}

// Whatever names a connection uses, what is remembered is bounded and true.
func TestDecisionsAreBoundedAndTrue(t *testing.T) {
	p := &permit{rights: ruleSet(t, ruleFor("", "edge", "org/*/a", "*/ns/b", "-")).For(nil), stamp: 1}
	names := 200_000
	if long {
		names = 5_000_000
	}
	for i := range names {
		n := wire.Name{C: [3]uint64{wire.Hash("org"), uint64(i) * 0x10001, wire.Hash("a")}, Hi: uint64(i % 3)}
		if i%2 == 0 {
			n.C[1], n.C[2] = wire.Hash("ns"), uint64(i)
		}
		if i%5 == 0 {
			n.C[2] = wire.Hash("b")
		}
		for a := rules.Subscribe; a <= rules.From; a++ {
			for range 2 {
				if ok, _ := p.may(a, &n); ok != p.rights.May(a, &n) {
					t.Fatalf("name %d for %v: %v", i, a, ok)
				}
			}
			if _, fresh := p.may(a, &n); fresh {
				t.Fatal("a name that was just judged is not known")
			}
		}
		if len(p.decisions.slots) > maxDecisions {
			t.Fatalf("%d slots", len(p.decisions.slots))
		}
	}
	if len(p.decisions.slots) != maxDecisions {
		t.Errorf("%d slots", len(p.decisions.slots))
	}
}

// A name of zeros, as an empty slot has one, is judged as any other.
func TestNamesOfZerosAreJudged(t *testing.T) {
	zeros := new(wire.Name)
	for a := rules.Subscribe; a <= rules.From; a++ {
		p := &permit{rights: ruleSet(t, ruleFor("", "edge", "*/*/*", "*/*/*", "*/*/*")).For(nil), stamp: 1}
		for i := range 2 {
			if ok, fresh := p.may(a, zeros); !ok || fresh != (i == 0) {
				t.Errorf("for %v, time %d: allowed is %v, fresh %v", a, i+1, ok, fresh)
			}
		}
	}
}

// The source that is known is the latest that was allowed, and nothing else; nor is a name of zeros.
func TestSourcesAreJudged(t *testing.T) {
	p := &permit{rights: ruleSet(t, ruleFor("", "edge", "-", "*/*/*", "org/ns/a org/ns/b")).For(nil), stamp: 1}
	name := func(app string) *wire.Name { n := wire.NewName("org", "ns", app); return &n }
	for i, c := range []struct {
		source *wire.Name
		want   bool
	}{{&wire.Name{}, false}, {name("a"), true}, {name("a"), true}, {name("c"), false}, {name("a"), true}, {name("b"), true}, {name("c"), false}, {name("b"), true}, {&wire.Name{}, false}} {
		if to, from, _ := p.mayPublish(name("x"), c.source); !to || from != c.want {
			t.Errorf("step %d: %v, %v, want %v", i, to, from, c.want)
		}
	}
}

// Who causes many decisions does not fill the audit log, nor crowd out those of the other kind. Rules: P-rule-7.
func TestAuditIsBounded(t *testing.T) {
	log := &decisionLog{}
	r := newRig(t, 1, Options{Audit: log, Authorization: ruleSet(t, ruleFor("", "edge", "org/ns/*", "*/*/*", "*/*/*"))})
	a := r.dial(0)
	for i := range 500 {
		a.publish(header(alice, wire.Text("x", "y", fmt.Sprint(i)), 1, ""), 0, 10)
	}
	for i := range 100 {
		a.request(wire.Text("x", "y", fmt.Sprint(i)), uint64(i+1))
	}
	a.count()
	got := log.take()
	if allowed, denied := strings.Count(got, "allowed "), strings.Count(got, "denied "); allowed != auditsASecond || denied != auditsASecond {
		t.Errorf("%d and %d are written down", allowed, denied)
	}
	r.seconds(1)
	a.request(wire.Text("x", "y", "last"), 1000)
	a.wantAck(1000, false, "not allowed to subscribe to x/y/last/NULL_COMPONENT")
	if got := log.take(); !strings.Contains(got, "rules for this identity; 68 more like this") {
		t.Errorf("audit: %s", got)
	}
}

// rule has the rig obey other rules, and its loops run until all that follows is done.
func (r *rig) rule(set *rules.Set) {
	r.t.Helper()
	r.obeys(set)
	r.drive()
}

func (r *rig) obeys(set *rules.Set) {
	n := r.n
	n.rules.Authorization = set
	o := n.rules
	for _, l := range n.loops {
		l.post(func() { l.obey(o) })
	}
	n.review(set)
}

func (r *rig) drive() {
	c := &r.n.chores
	for busy := true; busy; runtime.Gosched() {
		c.mu.Lock()
		busy = c.living > 0
		c.mu.Unlock()
		for _, l := range r.loops {
			if l.Woken() {
				l.RunTurn()
			}
		}
	}
	r.settle()
}

// Rules: P-rule-8.
func TestNewRulesTakeBackWhatIsNotAllowedAnyMore(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, where := range placements {
		t.Run(where.name, func(t *testing.T) {
			log := &decisionLog{}
			r := newRig(t, where.loops, Options{Audit: log, RelayPeerPublishes: true,
				Authorization: ruleSet(t, ruleFor("", "edge peer", "*/*/*", "*/*/*", "*/*/*"))})
			a, b := r.joinAs(where.source, wire.LinkEdge, someone("alice")), r.joinAs(where.dest, wire.LinkEdge, someone("bob"))
			far := r.dialAs(where.source, wire.LinkPeer, "n1")
			names := make([]wire.NameText, 300)
			for i := range names {
				names[i] = wire.Text("org", []string{"ns", "old"}[i%2], fmt.Sprint("app", i)).WithID(1, uint64(i))
				b.request(names[i], uint64(i+1))
				far.ack(far.hear().id)
				b.wantAck(uint64(i+1), true, "")
			}
			b.request(names[1], 1001)
			b.wantAck(1001, true, "")
			a.request(alice, 7)
			far.ack(far.hear().id)
			a.wantAck(7, true, "")
			a.publish(header(alice, names[1], 1, ""), 1, 10)
			a.publish(header(alice, names[2], 1, ""), 1, 10)
			if n := b.count(); n != 2 {
				t.Fatalf("%d messages", n)
			}
			held := r.n.names.Len()
			log.take()

			r.rule(ruleSet(t, ruleFor("", "edge peer", "org/ns/*", "*/*/*", "org/ns/*")))

			want := map[uint64]bool{1001: true}
			for i := 1; i < len(names); i += 2 {
				want[uint64(i+1)] = true
			}
			b.exchange()
			for range len(want) {
				var m wire.Message
				ack := b.take()
				if err := wire.Scan(ack, &m); err != nil {
					t.Fatal(err)
				}
				id, ok, text, err := wire.ParseAck(ack, &m)
				if err != nil || ok || !want[id] || !strings.HasPrefix(text, "not allowed any more to subscribe to org/old/app") {
					t.Fatalf("told %d %v %q %v", id, ok, text, err)
				}
				delete(want, id)
			}
			b.silent()
			if n := r.n.names.Len(); n != held-151 {
				t.Errorf("%d subscriptions of %d are left, want 151 less", n, held)
			}
			for range 150 {
				if x := far.hear(); !x.withdraw || x.name.C[1] != wire.Hash("old") {
					t.Fatalf("the peer hears %+v", x)
				}
			}
			far.silent()
			if n, kept := len(r.n.names.MatchAll(&names[1].Name, nil, table.All, nil)), len(r.n.names.MatchAll(&names[2].Name, nil, table.All, nil)); n != 0 || kept != 1 {
				t.Errorf("%d hold what is not allowed, %d what is", n, kept)
			}
			for i := range names {
				a.publish(header(alice, names[i], 1, ""), i, 10)
			}
			if n := b.count(); n != 150 {
				t.Errorf("%d messages come, want 150", n)
			}
			if s := r.stats(); s.Dropped[ReasonNoMatch] != 150 || s.Dropped[ReasonDenied] != 0 || s.Refused[ReasonDenied] != 150 {
				t.Errorf("dropped %v, refused %v", s.Dropped, s.Refused)
			}
			if got := log.take(); !strings.Contains(got, "denied subscribe bob edge org/old/app") || !strings.Contains(got, "the rules have changed") {
				t.Errorf("audit: %s", got)
			}
			b.request(names[1], 2000)
			b.wantAck(2000, false, "not allowed to subscribe to "+names[1].String())
			a.publish(header(wire.Text("org", "old", "x"), names[2], 1, ""), 0, 10)
			if n := b.count(); n != 0 {
				t.Error("a source is allowed that is not any more")
			}

			b.unsubscribe(names[3], 4) // which it does not want back
			b.wantAck(4, true, "")
			r.rule(ruleSet(t, ruleFor("", "edge peer", "org/ns/* org/old/app5", "*/*/*", "*/*/*")))
			b.wantAck(6, true, "") // it is given back
			if x := far.hear(); x.withdraw || x.name.C != names[5].Name.C {
				t.Fatalf("the peer hears %+v", x)
			} else {
				far.ack(x.id)
			}
			for _, l := range r.n.loops {
				l.audits.tick() // there is room for what comes
			}
			r.rule(nil) // all is allowed again
			want = map[uint64]bool{1001: true}
			for i := 1; i < len(names); i += 2 {
				want[uint64(i+1)] = i != 3 && i != 5
			}
			b.exchange()
			for range len(want) - 2 {
				var m wire.Message
				ack := b.take()
				if err := wire.Scan(ack, &m); err != nil {
					t.Fatal(err)
				}
				if id, ok, text, err := wire.ParseAck(ack, &m); err != nil || !ok || !want[id] {
					t.Fatalf("told %d %v %q %v", id, ok, text, err)
				} else {
					delete(want, id)
				}
			}
			b.silent()
			for range 148 {
				if x := far.hear(); x.withdraw || x.name.C[1] != wire.Hash("old") {
					t.Fatalf("the peer hears %+v", x)
				}
			}
			if n := r.n.names.Len(); n != held-1 {
				t.Errorf("%d subscriptions, want %d", n, held-1)
			}
			if got := log.take(); !strings.Contains(got, "it was taken back, and the rules have changed") {
				t.Errorf("audit: %s", got)
			}
			b.request(names[1], 2001)
			b.wantAck(2001, true, "")
			for i := range names {
				a.publish(header(wire.Text("org", "old", "x"), names[i], 1, ""), i, 10)
			}
			if n := b.count(); n != 299 || a.c.permit != nil || b.c.permit != nil {
				t.Errorf("without rules %d messages come, want 299", n)
			}
			if a.end != nil || b.end != nil || far.end != nil {
				t.Error("a connection has ended")
			}
		})
	}
}

// A connection that may not be what it is any more ends with the reason; others go on. Rules: P-rule-8.
func TestNewRulesEndConnectionsOfKindsNotAllowed(t *testing.T) {
	log := &decisionLog{}
	r := newRig(t, 2, Options{Audit: log})
	a, b := r.joinAs(0, wire.LinkEdge, someone("alice")), r.joinAs(1, wire.LinkEdge, someone("bob"))
	p, q := r.joinAs(0, wire.LinkPeer, someone("n1")), r.joinAs(1, wire.LinkRemote, someone("n2"))
	a.subscribe(alice, 0)
	log.take()
	r.rule(ruleSet(t, ruleFor("alice", "edge", "*/*/*", "*/*/*", "*/*/*"), ruleFor("n*", "peer", "*/*/*", "*/*/*", "*/*/*")))
	for _, x := range []*peer{a, b, p, q} {
		x.exchange()
	}
	if a.end != nil || p.end != nil {
		t.Errorf("ended: %+v, %+v", a.end, p.end)
	}
	for _, x := range []*peer{b, q} {
		if x.end == nil || x.end.GRPCStatus != statusPermissionDenied || !strings.HasPrefix(x.end.Message, "not allowed any more to be a connection of kind ") {
			t.Errorf("ended: %+v", x.end)
		}
	}
	if got, want := log.take(), "close"; strings.Count(got, want) != 2 {
		t.Errorf("audit: %s", got)
	}
	if s := r.stats(); s.Refused[ReasonClaim] != 2 {
		t.Errorf("refused %v", s.Refused)
	}
	p.publish(header(bob, alice, 1, ""), 0, 10)
	p.count()
	if a.count() != 1 {
		t.Error("who is still allowed is disturbed")
	}
}

// A link that this node has opened is what it is, whatever may be claimed; the names behind it are judged. Rules: P-rule-1, P-rule-8.
func TestNewRulesDoNotEndLinksOfTheNode(t *testing.T) {
	r := newRig(t, 1, Options{})
	x := r.dialAs(0, wire.LinkEdge, "n1")
	x.subscribe(bob, 1)
	x.c.dialed = &outgoing{dialer: &Dialer{link: Link{Endpoint: "http://b:1"}}}
	set, err := rules.Compile(&rules.Source{Dialed: true, Rules: []rules.Rule{ruleFor("", "peer", "-", "-", "-")}})
	if err != nil {
		t.Fatal(err)
	}
	r.rule(set)
	x.c.dialed = nil // the rest is as of any other
	x.exchange()
	if n := r.n.names.Len(); x.end != nil || n != 0 {
		t.Errorf("end %+v, and %d names are left", x.end, n)
	}
}

// What a peer offers is judged by its rights; where one is not allowed any more another's offer takes its place.
// Rules: P-rule-6, P-rule-8.
func TestOffersOfPeersAreJudged(t *testing.T) {
	both := func(first string) *rules.Set {
		return ruleSet(t, ruleFor("n1", "peer", first, "*/*/*", "*/*/*"), ruleFor("n2", "peer", "org/ns/*", "*/*/*", "*/*/*"),
			ruleFor("alice", "edge", "*/*/*", "*/*/*", "*/*/*"))
	}
	r := newRig(t, 2, Options{Authorization: both("org/ns/*")})
	join := func(loop int, id string) *peer {
		r.who = someone(id)
		defer func() { r.who = nil }()
		return r.dialAs(loop, wire.LinkPeer, id)
	}
	p, q := join(0, "n1"), join(1, "n2")
	a := r.joinAs(0, wire.LinkEdge, someone("alice"))
	secret := wire.Text("org", "secret", "x")
	p.request(secret, 4)
	r.seconds(1)
	p.exchange()
	if r.n.names.Kinds(&secret.Name) != 0 {
		t.Error("a peer's name is taken that it may not hold")
	}
	p.count()
	for i := range 20 {
		p.request(appName(i), 50) // the same route by both
		q.request(appName(i), 50)
	}
	p.count()
	q.count()
	holder := func(i int) *Conn {
		n := appName(i).Name
		return r.n.names.MatchOne(&n, nil, table.All)
	}
	if holder(3) != p.c {
		t.Fatal("the first offer is not in use")
	}
	a.publish(header(alice, appName(3), 1, ""), 0, 10)
	if p.count() != 1 {
		t.Error("no message to the first peer")
	}
	r.rule(both("-"))
	for i := range 20 {
		if holder(i) != q.c {
			t.Errorf("name %d is held by %v", i, holder(i))
		}
	}
	a.publish(header(alice, appName(3), 1, ""), 0, 10)
	if p.count() != 0 || q.count() != 1 {
		t.Error("the message does not take the other way")
	}
	if s := r.stats(); s.Refused[ReasonDenied] != 21 {
		t.Errorf("refused %v", s.Refused)
	}
	r.rule(ruleSet(t, ruleFor("n*", "peer", "-", "", ""), ruleFor("alice", "edge", "", "*/*/*", "*/*/*")))
	if n := r.n.names.Len(); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
	if p.end != nil || q.end != nil {
		t.Error("a peer has ended")
	}
}

// Only the newest rules count, however fast they change.
func TestRulesThatChangeDuringAReview(t *testing.T) {
	r := newRig(t, 2, Options{})
	b := r.joinAs(1, wire.LinkEdge, someone("bob"))
	for i := range 200 {
		b.subscribe(appName(i), uint64(i+1))
	}
	open := ruleSet(t, ruleFor("", "edge", "*/*/*", "*/*/*", "*/*/*"))
	closed := ruleSet(t, ruleFor("", "edge", "-", "-", "-"))
	r.obeys(closed) // it does not come to anything before the next
	r.obeys(open)
	r.drive()
	if n := r.n.names.Len(); n != 200 {
		t.Errorf("%d names are left", n)
	}
	r.obeys(open)
	r.obeys(closed)
	r.drive()
	b.exchange()
	if n := r.n.names.Len(); n != 0 || b.end != nil {
		t.Errorf("%d names are left, end %+v", n, b.end)
	}
}

// A claim that waits for its rights while the rules change gets those of the new ones.
func TestRulesThatChangeDuringANegotiation(t *testing.T) {
	for _, c := range []struct {
		then *rules.Set
		ok   bool
	}{{ruleSet(t, ruleFor("", "edge", "-", "", "")), true}, {ruleSet(t, ruleFor("", "peer", "-", "", "")), false}, {nil, true}} {
		r := newRig(t, 1, Options{Authorization: ruleSet(t, ruleFor("", "edge", "org/ns/*", "", ""))})
		p := r.connect(0)
		p.open()
		m := link.New(&link.Config{Role: link.Dialer, LinkID: "l", Kind: wire.LinkEdge, Version: "3.4.6", NodeID: "n", Strict: true, Rand: rand.Reader})
		req, err := m.Start(nil)
		if err != nil {
			t.Fatal(err)
		}
		p.stage(req)
		out := p.out
		p.out = nil
		p.cli.Cut()
		p.feed(out)
		if p.c.state != claimed {
			t.Fatalf("state %v before its rights are known", p.c.state)
		}
		o := r.n.rules
		o.Authorization = c.then
		r.n.loops[0].obey(o) // before what was found under the old rules comes to the loop
		r.drive()
		p.exchange()
		switch {
		case (p.end == nil) != c.ok:
			t.Errorf("end %+v", p.end)
		case c.ok && c.then == nil && p.c.permit != nil:
			t.Error("it is judged without rules")
		case c.ok && c.then != nil:
			n := wire.NewName("org", "ns", "x")
			if ok, _ := p.c.permit.may(rules.Subscribe, &n); ok {
				t.Error("it has rights of the old rules")
			}
		}
	}
}

// TestAllocsOfTheJourneyWithRules is TestAllocsOfTheJourney with all that is sent judged.
func TestAllocsOfTheJourneyWithRules(t *testing.T) {
	journeys(func(name string, loops, dest, targets int, fresh bool) {
		t.Run(name, func(t *testing.T) {
			j := newJourney(t, loops, 0, dest, targets, 100, 8, fresh)
			j.a.c.arm(ruleSet(t, ruleFor("", "edge", "-", "org/ns/*", "org/*/alice")).For(nil))
			for range 200 { // memories fill, and what two loops share in turns is made (pool.Local.GetCrossing)
				j.step()
			}
			before := j.r.stats()
			if n := testing.AllocsPerRun(200, j.step); n > 0 && pooled {
				t.Errorf("%v allocations per read of 8 messages", n)
			}
			after := j.r.stats()
			if got, want := after.Delivered-before.Delivered, uint64(201*8*targets); got != want {
				t.Errorf("delivered %d, want %d; dropped %v", got, want, after.Dropped)
			}
		})
	})
}

// BenchmarkRules is BenchmarkJourney of a constant and of a fresh identity, without rules and with them: reads of 256 messages by
// turns, so that whatever else the machine does meets both. Its metrics are of the medians, for each message.
func BenchmarkRules(b *testing.B) {
	for _, fresh := range []bool{false, true} {
		b.Run(fmt.Sprintf("fresh=%v", fresh), func(b *testing.B) {
			const per = 256
			var ways [2]*journey
			var took [2][]time.Duration
			for i := range ways {
				ways[i] = newJourney(b, 1, 0, 0, 1, 100, per, fresh)
				took[i] = make([]time.Duration, 0, 1<<16)
			}
			ways[1].a.c.arm(ruleSet(b, ruleFor("", "edge", "-", "org/ns/*", "org/*/alice")).For(nil))
			for _, j := range ways {
				for range 2 * len(j.reads) {
					j.step()
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				for i, j := range ways {
					began := time.Now()
					j.step()
					if d := time.Since(began); len(took[i]) < cap(took[i]) {
						took[i] = append(took[i], d)
					}
				}
			}
			var ns [2]float64
			for i := range took {
				slices.Sort(took[i])
				ns[i] = float64(took[i][len(took[i])/2]) / per
			}
			b.ReportMetric(ns[0], "ns/message")
			b.ReportMetric(ns[1], "judged-ns/message")
			b.ReportMetric(ns[1]-ns[0], "added-ns/message")
		})
	}
}

// BenchmarkDecisions is what a publish costs whose header is new and whose names were used before, beside all that a new header costs.
func BenchmarkDecisions(b *testing.B) {
	for _, names := range []int{1, 16, 1024} {
		b.Run(fmt.Sprintf("names=%d", names), func(b *testing.B) {
			p := &permit{rights: ruleSet(b, ruleFor("", "edge", "-", "org/ns/*", "org/*/alice")).For(nil), stamp: 1}
			dest := make([]wire.Name, names)
			for i := range dest {
				dest[i] = wire.NewName("org", "ns", fmt.Sprint(i))
			}
			for range 100 {
				for i := range dest {
					p.mayPublish(&dest[i], &alice.Name)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p.mayPublish(&dest[i%names], &alice.Name)
				i++
			}
		})
	}
}
