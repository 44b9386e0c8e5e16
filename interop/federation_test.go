//go:build interop

package interop

import (
	"fmt"
	"testing"
)

// federation is the node under test and a real upstream node that dials it by dataplane.clients.
type federation struct {
	node *node // under test
	rust *node // upstream, the dialer
}

func startFederation(t *testing.T, k kind, link string) federation {
	t.Helper()
	n := startNode(t, k)
	f := federation{node: n, rust: startNode(t, upstream, n.link(link))}
	f.rust.expectLine(t, "client connected", 0)
	return f
}

// restart replaces the node under test on its port and waits for the dialer.
func (f *federation) restart(t *testing.T, apps ...*app) {
	t.Helper()
	before := f.rust.count(reconnected)
	at := make([]int, len(apps))
	for i, a := range apps {
		at[i] = a.count(reconnected)
	}
	f.node.crash(t, append(processes(apps), f.rust.process)...)
	f.node.start(t)
	f.rust.comesBack(t, before)
	for i, a := range apps {
		a.comesBack(t, at[i])
	}
}

// talk wants sessions in both directions between applications at different nodes.
func (f *federation) talk(t *testing.T, atNode, atRust *app) {
	t.Helper()
	for _, c := range []struct {
		from *node
		to   *app
	}{{f.rust, atNode}, {f.node, atRust}} {
		for _, mls := range []bool{false, true} {
			wantAnswers(t, c.from.run(t, "send", alice, sendArgs(c.to.name, 200, mls)...), 200)
			wantSession(t, c.to, 200)
		}
	}
}

// TestPeerLinkCarriesSessionsBothWays: with connection_type peer both nodes tell each other their subscriptions,
// so that applications talk without a controller.
func TestPeerLinkCarriesSessionsBothWays(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		f := startFederation(t, k, "peer")
		atNode := f.node.app(t, "echo", "org/ns/at-node", watched...)
		atRust := f.rust.app(t, "echo", "org/ns/at-rust")
		f.talk(t, atNode, atRust)

		m := f.node.app(t, "moderate", "org/ns/moderator", "--channel", channel, "--mls")
		members := []*app{f.node.member(t, "org/ns/member0"), f.rust.member(t, "org/ns/member1"), f.rust.member(t, "org/ns/member2")}
		group(t, m, members, f.node.member(t, "org/ns/late"))
		m.quit(t)

		f.restart(t, atNode)
		f.talk(t, atNode, atRust)

		// What left on one side must not attract messages on the other.
		atRust.quit(t)
		f.node.wantOnlyReceiver(t, f.node.app(t, "echo", atRust.name))
		if k == upstream {
			// It tells its peer the replayed name with id 0, does not withdraw that, and so leaves a ghost there.
			return
		}
		atNode.quit(t)
		f.rust.wantOnlyReceiver(t, f.rust.app(t, "echo", atNode.name))
	})
}

// TestLinksOfARustNodeComeBack: whatever the type of its link, an upstream node finds ours again after a restart
// and serves its own applications at once. Over a peer link it tells us their names first and answers them
// only when we have acknowledged, or after 5 s. Rules: P-tr-8, P-def-5.
func TestLinksOfARustNodeComeBack(t *testing.T) {
	t.Parallel()
	const late = "peer ACK timeout" // upstream says so when it has waited for 5 s
	for _, link := range []string{"edge", "peer"} {
		t.Run(link, func(t *testing.T) {
			onBoth(t, func(t *testing.T, k kind) {
				f := startFederation(t, k, link)
				atNode := f.node.app(t, "echo", "org/ns/at-node", watched...)
				for life := range 2 {
					var atRust *app
					for tries := 1; ; tries++ { // the first of a link; a busy machine may have one wait as well, but not three
						before := f.rust.count(late)
						atRust = f.rust.app(t, "echo", fmt.Sprintf("org/ns/at-rust%d-%d", life, tries))
						if f.rust.count(late) == before {
							break
						}
						if tries == 3 {
							t.Errorf("the first application of each of %d links had to wait: %q", tries, late)
							break
						}
						if life == 0 {
							f.rust.kill()
							f.node.kill()
							f = startFederation(t, k, link)
							atNode = f.node.app(t, "echo", "org/ns/at-node", watched...)
						} else {
							f.restart(t, atNode)
						}
					}
					f.talkLocally(t, atNode, atRust)
					if life == 0 {
						f.restart(t, atNode)
					}
				}
			})
		})
	}
}

// talkLocally wants sessions between applications at the same node.
func (f *federation) talkLocally(t *testing.T, atNode, atRust *app) {
	t.Helper()
	for _, c := range []struct {
		at *node
		to *app
	}{{f.node, atNode}, {f.rust, atRust}} {
		// One name for each node: the two may know each other's applications.
		name := fmt.Sprintf("%s-%d", alice, c.at.port)
		wantAnswers(t, c.at.run(t, "send", name, sendArgs(c.to.name, 50, true)...), 50)
		wantSession(t, c.to, 50)
	}
}

// TestEdgeLinkAloneCarriesNoSession: a stand-alone node sends its applications' subscriptions over an edge link
// only for a controller or with "forward_to", and its default gateway serves applications in its own process
// only. Upstream to upstream is the same; over an edge link a node is reached by applications, not by nodes.
// Rules: P-sub-8.
func TestEdgeLinkAloneCarriesNoSession(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		f := startFederation(t, k, "edge")
		atNode := f.node.app(t, "echo", "org/ns/at-node")
		atRust := f.rust.app(t, "echo", "org/ns/at-rust")
		for _, c := range []struct {
			from *node
			to   *app
		}{{f.rust, atNode}, {f.node, atRust}} {
			p := c.from.peer(t, "send", alice, "--to", c.to.name, "--interval-ms", "1000", "--retries", "1")
			if e := p.expect(t, "error"); e.text("what") != "fatal" {
				t.Errorf("session over an edge link: %v, want none", e)
			}
			c.to.receivedNothing(t)
		}
	})
}
