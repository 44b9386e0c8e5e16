//go:build interop

package interop

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// How applications of the matrix are set up: ten seconds without an answer are one that does not come. Less than two are no reason to
// ask again, as upstream's moderators take two answers for an error.
const (
	storyInterval = 2000 // milliseconds
	storyRetries  = 4
)

// stepError is why a story has stopped.
type stepError struct{ step, text string }

func (e *stepError) Error() string { return e.step + ": " + e.text }

// story is what happens in one cell of the matrix: applications of two kinds on one node go through what a session can go through.
// Its methods stop it by a panic with a *stepError, which run returns: what upstream itself cannot do is expected to fail.
type story struct {
	t     *testing.T
	cell  cell
	nodes map[kind]*node

	telling int // how often it was begun
	step    string
	since   time.Time // of the step
	took    []string  // the steps before it
	apps    []*app
}

// tellings is how often a story is begun that upstream's applications have spoiled.
const tellings = 3

// spoilt is what applications of upstream's say when they were slow: a node does not wait for ever for who connects, a moderator gives up what
// it does when an answer comes twice, which it does after two seconds, and panics.
var spoilt = []string{": not ready", answeredTwice, "error receiving ack for message: channel closed",
	"error sending session internal message to session controller", "the session ended"}

// tell runs the story of a cell. Where upstream is alone with the nodes, and where what it says shows that it was too slow for
// itself, the story is told again.
func (c cell) tell(t *testing.T, nodes map[kind]*node) error {
	for i := 1; ; i++ {
		err := c.run(t, nodes, i)
		if c.judge(err) == nil || i == tellings {
			return err
		}
		again := err != nil && (c.control() == c || slices.ContainsFunc(spoilt, func(text string) bool { return strings.Contains(err.Error(), text) }))
		if !again {
			return err
		}
		t.Logf("it is told again, since it has stopped by: %v", err)
	}
}

// run tells the story of a cell once.
func (c cell) run(t *testing.T, nodes map[kind]*node, telling int) (err error) {
	s := &story{t: t, cell: c, nodes: nodes, telling: telling}
	defer func() {
		for _, a := range s.apps {
			a.kill()
		}
		s.begin("")
		t.Log(strings.Join(s.took, ", "))
		s.notices()
		if r := recover(); r != nil {
			failed, ok := r.(*stepError)
			if !ok {
				panic(r)
			}
			err = failed
		}
	}()
	if c.group {
		s.groups()
	} else {
		s.pairs()
	}
	return nil
}

// begin begins a step.
func (s *story) begin(step string) {
	now := time.Now()
	if s.step != "" {
		s.took = append(s.took, fmt.Sprintf("%s %.1f s", s.step, now.Sub(s.since).Seconds()))
	}
	s.step, s.since = step, now
}

// notices logs what applications of ours have refused and lost.
func (s *story) notices() {
	for _, a := range s.apps {
		for {
			e := a.take(0, func(e event) bool {
				return e.kind() == "notice" && (e.text("what") == "Refused" || e.text("what") == "Lost")
			})
			if e == nil {
				break
			}
			s.t.Logf("%s: %s %s", a.name, e.text("what"), e.text("text"))
		}
	}
}

func (s *story) fail(format string, args ...any) {
	panic(&stepError{s.step, fmt.Sprintf(format, args...)})
}

// try runs a command; an error is that which the application reports.
func (s *story) try(a *app, c event) error {
	tag := float64(lastTag.Add(1))
	c["tag"] = tag
	a.write(s.t, c)
	r := a.take(3*limit, func(e event) bool { return e.kind() == "result" && e["tag"] == tag })
	switch {
	case r == nil:
		s.fail("%s: no result of %v; %s", a.label, c, a.tail())
	case !r.flag("ok"):
		return errors.New(r.text("error"))
	}
	return nil
}

func (s *story) do(a *app, c event) {
	if err := s.try(a, c); err != nil {
		s.fail("%s: %v: %v", a.label, c, err)
	}
}

func (s *story) expect(a *app, kind string) {
	if a.take(2*limit, func(e event) bool { return e.kind() == kind && e.text("participant") == "" }) == nil {
		s.fail("%s: no %q event", a.label, kind)
	}
}

// hears wants exactly these texts as an application's next messages. Where nothing orders them, any order will do.
func (s *story) hears(a *app, texts ...string) {
	got := make([]string, 0, len(texts))
	for len(got) < len(texts) {
		e := a.take(2*limit, func(e event) bool { return e.kind() == "message" })
		if e == nil {
			s.fail("%s: %d of %d messages have come, from %q to %q of them", a.label, len(got), len(texts), texts[0], texts[len(texts)-1])
		}
		got = append(got, unfilled(e.text("text")))
	}
	if s.cell.unreliable {
		slices.Sort(got)
		texts = slices.Sorted(slices.Values(texts))
	}
	for i, want := range texts {
		if got[i] != want {
			s.fail("%s: message %d of %d is %q, want %q", a.label, i+1, len(texts), got[i], want)
		}
	}
}

// hearsAgain is hears of a member that was away: what was said meanwhile may come as well.
func (s *story) hearsAgain(a *app, away string, texts ...string) {
	for _, want := range texts {
		e := a.take(2*limit, func(e event) bool {
			return e.kind() == "message" && !strings.HasPrefix(e.text("text"), away+"#")
		})
		if e == nil || unfilled(e.text("text")) != want {
			s.fail("%s: got %v, want %q", a.label, e, want)
		}
	}
	for a.take(0, func(e event) bool { return e.kind() == "message" && strings.HasPrefix(e.text("text"), away+"#") }) != nil {
	}
}

func (s *story) hearsNothing(a *app) {
	if e := a.take(0, func(e event) bool { return e.kind() == "message" }); e != nil {
		s.fail("%s: unexpected message %v", a.label, e)
	}
}

// says lets an application publish, and wants that all others hear it.
func (s *story) says(a *app, text string, count int, others ...*app) {
	s.do(a, event{"publish": text, "count": count, "inflight": 16})
	for _, other := range others {
		s.hears(other, series(text, count)...)
	}
}

// name is one of this cell alone.
func (s *story) name(role string) string {
	return fmt.Sprintf("org/cell-%d-%d/%s", s.cell.number(), s.telling, role)
}

// member starts an application that waits for sessions.
func (s *story) member(role string) *app {
	return s.cell.participant.start(s, "join", s.name(role), "--stay")
}

func (s *story) settings(c event) event {
	c["mls"], c["unreliable"], c["interval_ms"], c["retries"] = !s.cell.plain, s.cell.unreliable, storyInterval, storyRetries
	return c
}

// flags are settings for slim-peer.
func (s *story) flags() []string {
	return append(shape{s.cell.plain, s.cell.unreliable}.flags(), "--interval-ms", strconv.Itoa(storyInterval), "--retries", strconv.Itoa(storyRetries), "--timeout", "30")
}

// lead starts the moderator of a group.
func (s *story) lead() *app {
	name, channel := s.name("moderator"), s.name("channel")
	if s.cell.moderator.rust() {
		m := s.cell.moderator.start(s, "moderate", name, append(s.flags(), "--channel", channel)...)
		s.expect(m, "session")
		return m
	}
	m := s.cell.moderator.start(s, "", name)
	s.do(m, s.settings(event{"group": channel}))
	s.expect(m, "session")
	return m
}

func (s *story) invite(m, a *app) {
	s.do(m, event{"invite": a.name})
	s.expect(a, "session")
}

// groups is the story of a group.
func (s *story) groups() {
	s.begin("start")
	b, c := s.member("b"), s.member("c")
	m := s.lead()
	s.begin("invite")
	s.invite(m, b)
	s.invite(m, c)
	s.begin("500 messages each way")
	s.says(m, "first", eachWay, b, c)
	s.says(b, "of b", eachWay, m, c)
	s.begin("remove")
	s.do(m, event{"remove": b.name})
	s.expect(b, "left")
	s.says(m, "without b", 10, c)
	s.hearsNothing(b)
	s.begin("invite again")
	s.invite(m, b)
	s.says(m, "with b", 10, b, c)
	s.says(b, "b again", 10, m, c)
	s.begin("leave")
	s.do(c, event{"leave": true})
	s.expect(c, "left") // a peer forgets its session after it
	s.says(m, "without c", 10, b)
	s.hearsNothing(c)
	s.begin("invite who has left")
	s.invite(m, c)
	s.says(c, "c again", 10, m, b)
	b = s.killed(m, b, c)
	s.rejoins(m, b, c)
	s.begin("moderator close")
	s.do(m, event{"close": true})
	s.expect(c, "left")
	for _, a := range []*app{m, b, c} {
		s.hearsNothing(a)
	}
}

// killed lets b die, and returns it as it is when it is there again.
func (s *story) killed(m, b, c *app) *app {
	s.begin("participant killed")
	b.kill()
	err := s.try(m, event{"publish": "b is dead", "count": 10})
	if tells := s.cell.moderator == golang && !s.cell.unreliable; tells && (err == nil || !strings.Contains(err.Error(), b.name)) {
		s.fail("messages that %s has not got are delivered: %v", b.name, err)
	}
	s.hears(c, series("b is dead", 10)...)
	_ = s.try(m, event{"remove": b.name}) // upstream's apps say that it failed, as the dead one does not answer
	s.says(c, "c goes on", 10, m)
	s.begin("participant back")
	b = s.member("b")
	s.invite(m, b)
	s.says(m, "b lives", 10, b, c)
	s.says(b, "I live", 10, m, c)
	return b
}

// rejoins lets c go away and come back: in the epoch in which it went, and in another one. b is removed meanwhile.
func (s *story) rejoins(m, b, c *app) {
	s.begin("suspend")
	s.do(c, event{"suspend": true})
	s.says(m, "c is away", 10, b)
	s.begin("rejoin")
	s.do(c, event{"rejoin": true})
	s.do(m, event{"publish": "c is back", "count": 10})
	s.hears(b, series("c is back", 10)...)
	s.hearsAgain(c, "c is away", series("c is back", 10)...)
	s.says(c, "I am back", 10, m, b)
	s.begin("suspend again")
	s.do(c, event{"suspend": true})
	s.do(m, event{"remove": b.name})
	s.expect(b, "left")
	s.begin("rejoin in another epoch")
	s.do(c, event{"rejoin": true})
	s.do(m, event{"publish": "in a new epoch", "count": 10})
	s.hearsAgain(c, "c is away", series("in a new epoch", 10)...)
	s.says(c, "I can read", 10, m)
}

// pairs is the story of sessions between two.
func (s *story) pairs() {
	s.begin("start")
	b := s.echo("b")
	l := s.member("leaver")
	m := s.caller()
	s.begin("invite")
	m.exchanges(s, b, eachWay)
	s.begin("invite again")
	m.exchanges(s, b, 10)
	s.begin("leave")
	m.opens(s, l)
	s.do(l, event{"leave": true})
	s.expect(l, "left")
	m.isLeft(s)
	s.begin("participant killed")
	m.opens(s, b)
	b.kill()
	m.closes(s)
	s.begin("participant back")
	b = s.echo("b")
	m.exchanges(s, b, 10)
	s.hearsNothing(b)
}

// echo starts an application that answers messages of sessions between two.
func (s *story) echo(role string) *app {
	if s.cell.participant.rust() {
		return s.cell.participant.start(s, "echo", s.name(role))
	}
	return s.cell.participant.start(s, "", s.name(role), "--echo")
}

// caller opens sessions between two.
type caller interface {
	// exchanges opens a session, says something that is answered, and closes the session.
	exchanges(s *story, b *app, count int)
	// opens opens a session, and says something.
	opens(s *story, b *app)
	closes(s *story)
	// isLeft wants that the session ends by itself.
	isLeft(s *story)
}

func (s *story) caller() caller {
	if s.cell.moderator.rust() {
		return &slimPeerCaller{}
	}
	return &scriptCaller{s.cell.moderator.start(s, "", s.name("moderator"))}
}

// scriptCaller takes commands.
type scriptCaller struct{ *app }

func (m *scriptCaller) open(s *story, b *app) {
	s.do(m.app, s.settings(event{"open": b.name}))
	s.expect(m.app, "session")
	s.expect(b, "session")
}

func (m *scriptCaller) exchanges(s *story, b *app, count int) {
	m.open(s, b)
	s.begin(fmt.Sprintf("%d messages each way", count))
	text := "to " + b.name
	s.do(m.app, event{"publish": text, "count": count})
	s.hears(b, series(text, count)...)
	s.hears(m.app, series("echo:"+text, count)...)
	s.begin("moderator close")
	s.do(m.app, event{"close": true})
	s.expect(m.app, "left")
	s.expect(b, "left")
}

func (m *scriptCaller) opens(s *story, b *app) {
	m.open(s, b)
	s.says(m.app, "hello", 1, b)
	m.drain() // an answer, if there is one
}

func (m *scriptCaller) closes(s *story) {
	_ = s.try(m.app, event{"close": true}) // the other one is dead
	s.expect(m.app, "left")
	m.drain()
}

func (m *scriptCaller) isLeft(s *story) { s.expect(m.app, "left") }

// slimPeerCaller runs "slim-peer send" for each session.
type slimPeerCaller struct{ p *process }

func (m *slimPeerCaller) send(s *story, b *app, count int, args ...string) *process {
	args = append(append(s.flags(), args...), "--to", b.name, "--count", strconv.Itoa(count), "--size", "16", "--inflight", "16")
	return s.node(s.cell.moderator).opened(s.t, "send", s.name("moderator"), args...)
}

func (m *slimPeerCaller) exchanges(s *story, b *app, count int) {
	p := m.send(s, b, count, "--echo")
	failed := func(e event) bool { return e.text("what") == "fatal" }
	if e := p.take(3*limit, func(e event) bool { return e.kind() == "session" || failed(e) }); e.kind() != "session" {
		s.fail("%s: %v", p.label, e)
	}
	s.expect(b, "session")
	s.begin(fmt.Sprintf("%d messages each way", count))
	r := p.take(3*limit, func(e event) bool { return e.kind() == "summary" || failed(e) })
	if r == nil || !r.flag("ok") || r.number("received") != count || r.number("wrong") != 0 && !s.cell.unreliable {
		s.fail("%s: %v", p.label, r)
	}
	s.hears(b, numbered(0, count)...)
	s.begin("moderator close")
	s.expect(b, "left")
}

func (m *slimPeerCaller) opens(s *story, b *app) {
	m.p = m.send(s, b, 1_000_000, "--rate", "20")
	s.expect(b, "session")
	s.hears(b, numbered(0, 1)...)
}

func (m *slimPeerCaller) closes(s *story) {
	m.p.signal(s.t, syscall.SIGTERM)
	m.ends(s)
}

func (m *slimPeerCaller) isLeft(s *story) { m.ends(s) }

func (m *slimPeerCaller) ends(s *story) {
	if m.p.take(2*limit, func(e event) bool { return e.kind() == "summary" || e.text("what") == "fatal" }) == nil {
		s.fail("%s: it does not end", m.p.label)
	}
}
