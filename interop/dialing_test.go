//go:build interop

package interop

import "testing"

// TestDialledPeerCarriesSessionsBothWays: the node under test dials an upstream node as its peer; applications at both
// talk, also after the upstream node was killed and has come back, and what has left attracts nothing. Rules: P-dial-3,
// P-peer-3.
func TestDialledPeerCarriesSessionsBothWays(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		rust := startNode(t, upstream)
		n := startNode(t, k, rust.link("peer"))
		up := map[kind]string{ours: "kind=peer link_id=", upstream: "client connected"}[k]
		n.expectLine(t, up, 0)
		f := federation{node: n, rust: rust}
		atNode := n.app(t, "echo", "org/ns/at-node")
		atRust := rust.app(t, "echo", "org/ns/at-rust", watched...)
		f.talk(t, atNode, atRust)

		before := n.count(up)
		rust.crash(t, n.process, atRust.process)
		rust.start(t)
		if k == upstream {
			up, before = reconnected, 0
		}
		n.expectLine(t, up, before)
		atRust.comesBack(t, 0)
		f.talk(t, atNode, atRust)

		if k == upstream { // it leaves ghosts: TestPeerLinkCarriesSessionsBothWays
			return
		}
		atRust.quit(t)
		n.wantOnlyReceiver(t, n.app(t, "echo", atRust.name))
		atNode.quit(t)
		rust.wantOnlyReceiver(t, rust.app(t, "echo", atNode.name))
	})
}
