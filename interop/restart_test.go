//go:build interop

package interop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a dialer of core 3.4.6 logs of its connection.
const (
	reconnected = "connection re-established successfully"
	gaveUp      = "unable to reconnect"
)

// watched makes an application log its reconnects.
var watched = []string{"--log", "slim_datapath=info"}

// quickOpening is below the first repeat of a lost discovery message (5 s): a session that opens within it was
// not delayed by a message that went to a dead or wrong application.
const quickOpening = 4500 * time.Millisecond

// slowestOpening opens sessions to b's name one after another, until one is not quick, wants that b gets all of them,
// and returns how long the slowest took to open. A ghost of the name would swallow some of the opening messages, which
// the node spreads over all holders of the name, and so delay them.
func (n *node) slowestOpening(t *testing.T, b *app) (slowest time.Duration) {
	t.Helper()
	for i := range 6 {
		p := n.opened(t, "send", fmt.Sprintf("org/ns/probe%d", i), "--to", b.name, "--count", "20", "--echo",
			"--interval-ms", "5000", "--retries", "20", "--timeout", "120")
		wantAnswers(t, p.succeed(t), 20)
		opened := time.Duration(p.expect(t, "session").number("open_us")) * time.Microsecond
		slowest = max(slowest, opened)
		wantSession(t, b, 20)
		if slowest > quickOpening {
			break
		}
	}
	return slowest
}

// wantOnlyReceiver wants that nobody but b attracts messages to its name.
func (n *node) wantOnlyReceiver(t *testing.T, b *app) {
	t.Helper()
	slowest := n.slowestOpening(t, b)
	if slowest > quickOpening { // somebody else is still there then, and a machine that stood still is not
		slowest = n.slowestOpening(t, b)
	}
	if slowest > quickOpening {
		t.Errorf("a session to %s opened after %v, want less than %v: something else holds the name", b.name, slowest, quickOpening)
	}
}

// restarts has applications connected while the node dies by stop, and wants that they go on after its restart.
func restarts(t *testing.T, k kind, stop func(t *testing.T, n *node, dialers ...*process)) {
	n := startNode(t, k)
	b := n.app(t, "echo", bob, watched...)
	members := []*app{n.member(t, "org/ns/member0", watched...), n.member(t, "org/ns/member1", watched...)}
	m := n.app(t, "moderate", "org/ns/moderator", append([]string{"--channel", channel, "--mls", "--interval-ms", "2000", "--retries", "12"}, watched...)...)
	all := append([]*app{b, m}, members...)
	m.invite(t, members...)
	exchange := func(round string) {
		t.Helper()
		m.do(t, event{"publish": round, "count": 50})
		for _, a := range members {
			a.receives(t, series(round, 50)...)
		}
		members[0].do(t, event{"publish": round, "count": 10})
		m.receives(t, series(round, 10)...)
		members[1].receives(t, series(round, 10)...)
	}
	exchange("before")

	for life := range 2 {
		stop(t, n, processes(all)...)
		n.start(t)
		if !reconnect(t, k, all, life) {
			return
		}
		exchange(fmt.Sprintf("life%d", life))
		wantAnswers(t, n.run(t, "send", alice, "--to", bob, "--count", "100", "--echo", "--mls"), 100)
		wantSession(t, b, 100)
	}

	// The dead node was replaced: what applications replayed, with subscription id 0, must leave with them.
	b.quit(t)
	n.wantOnlyReceiver(t, n.app(t, "echo", bob))
	for _, a := range append([]*app{m}, members...) {
		a.receivedNothing(t)
	}
	if code := n.stop(t); code != 0 {
		t.Errorf("%s: status %d after SIGTERM with applications connected, want 0", n.label, code)
	}
}

// reconnect waits until applications have reconnected after so many earlier lives of their node. It reports false
// if one has given up for ever, which only the control may cause: it may accept a connection while it stops, and
// a dialer of core 3.4.6 does not try again when such a connection breaks before its stream stands.
func reconnect(t *testing.T, k kind, apps []*app, lives int) bool {
	t.Helper()
	for _, a := range apps {
		lost := false
		ok := a.await(limit, func() bool {
			lost = countLines(a.lines, gaveUp) > 0
			return lost || countLines(a.lines, reconnected) > lives
		})
		a.skipIfLate(t)
		if lost && k == upstream {
			t.Logf("%s: gave up reconnecting to the control", a.label)
			return false
		}
		if lost || !ok {
			t.Fatalf("%s: no reconnect after %v, gave up: %t", a.label, limit, lost)
		}
	}
	return true
}

// skipIfLate skips the test if an application or a node of upstream's has lost its link for ever for want of time: it gives the negotiation of
// a new one five seconds, and does not try again.
func (p *process) skipIfLate(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if strings.Contains(l, gaveUp) && outOfTime.MatchString(l) {
			t.Skipf("%s: %s", p.label, l)
		}
	}
}

// comesBack waits until a dialler of upstream's has reconnected after so many earlier lives of its link.
func (p *process) comesBack(t *testing.T, lives int) {
	t.Helper()
	p.await(limit, func() bool { return countLines(p.lines, gaveUp) > 0 || countLines(p.lines, reconnected) > lives })
	p.skipIfLate(t)
	p.expectLine(t, reconnected, lives)
}

// crash kills the node while its dialers are frozen, so that all of them find its port closed when they go on.
func (n *node) crash(t *testing.T, dialers ...*process) {
	t.Helper()
	for _, d := range dialers {
		d.freeze(t)
	}
	n.kill()
	for _, d := range dialers {
		d.signal(t, syscall.SIGCONT)
	}
}

// stop ends the node in an orderly way and returns its exit status.
func (n *node) stop(t *testing.T) int {
	t.Helper()
	n.signal(t, syscall.SIGTERM)
	return n.exit(t, 2*limit)
}

// TestApplicationsSurviveAKilledNode: when the kernel ends a process it closes files from the highest descriptor
// down. A listener below the connections is thus the last to go: applications that see their connection end
// redial at once, are accepted and reset, and give up for ever. Ours must not lose one. Rules: P-end-2.
func TestApplicationsSurviveAKilledNode(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		restarts(t, k, func(_ *testing.T, n *node, _ ...*process) { n.kill() })
	})
}

func TestApplicationsSurviveAVanishedNode(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		restarts(t, k, func(t *testing.T, n *node, dialers ...*process) { n.crash(t, dialers...) })
	})
}

// Rules: P-end-1, P-end-2.
func TestApplicationsSurviveAStoppedNode(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		restarts(t, k, func(t *testing.T, n *node, _ ...*process) {
			if code := n.stop(t); code != 0 {
				t.Errorf("%s: status %d after SIGTERM with applications connected, want 0", n.label, code)
			}
		})
	})
}

// TestReplayedSubscriptionCanBeWithdrawn: an application replays its names with subscription id 0 after a
// reconnect and later withdraws them with their first ids. Upstream then answers "subscription id not found"
// and keeps the route, so that sessions to that name go half astray. Rules: P-sub-6.
func TestReplayedSubscriptionCanBeWithdrawn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		holder := n.script(t, &python, "org/ns/holder")
		holder.do(t, event{"subscribe": bob})
		n.crash(t, holder.process)
		n.start(t)
		n.awaitReplay(t, holder)
		result := holder.try(t, event{"unsubscribe": bob})
		if k == upstream {
			// The control shows the defect, and that the probe would find it.
			if result.flag("ok") || n.slowestOpening(t, n.app(t, "echo", bob)) < quickOpening {
				t.Errorf("the control withdrew a replayed subscription: %v", result)
			}
			return
		}
		if !result.flag("ok") {
			t.Errorf("unsubscribe after replay: %v", result)
		}
		n.wantOnlyReceiver(t, n.app(t, "echo", bob))
	})
}

// awaitReplay returns when the application is reachable again after a restart of the node.
func (n *node) awaitReplay(t *testing.T, a *app) {
	t.Helper()
	n.run(t, "send", "org/ns/waiter", "--to", a.name, "--interval-ms", "1000", "--retries", "20", "--no-close") // it might be closed before a sees it
	a.expect(t, "message")
}

// TestNoGhostsOfKilledSubscribers kills subscribers while messages for them wait in the node. Older upstream
// nodes then kept their subscriptions for ever.
func TestNoGhostsOfKilledSubscribers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		for range 3 {
			b := n.app(t, "echo", bob, "--quiet", "--sink")
			flood := n.opened(t, "send", alice, "--to", bob, "--unreliable", "--count", "1000000", "--size", "4000")
			b.expect(t, "session")
			b.freeze(t)
			n.awaitBacklog(t)
			b.kill()
			flood.kill()
		}
		n.wantOnlyReceiver(t, n.app(t, "echo", bob))
	})
}

// awaitBacklog returns when data lies unread before a frozen application of the node and no more comes: the
// node's output to it is blocked.
func (n *node) awaitBacklog(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for last, same := 0, 0; same < 5; {
		<-tick.C
		unread := unreadFrom(t, n.port)
		if same++; unread == 0 || unread != last {
			last, same = unread, 0
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: no backlog, %d bytes unread", n.label, unread)
		}
	}
}

// unreadFrom returns the largest receive queue, in bytes, of the loopback connections to a port.
func unreadFrom(t *testing.T, port int) (largest int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	remote := fmt.Sprintf("0100007F:%04X", port)
	for line := range strings.Lines(string(table)) {
		// sl local_address rem_address st tx_queue:rx_queue …
		f := strings.Fields(line)
		if len(f) < 5 || f[2] != remote {
			continue
		}
		_, queue, _ := strings.Cut(f[4], ":")
		if n, err := strconv.ParseInt(queue, 16, 64); err == nil {
			largest = max(largest, int(n))
		}
	}
	return largest
}
