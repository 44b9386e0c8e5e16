//go:build interop

package interop

import "testing"

// Applications on tonic with its defaults: small messages, a few at a time, for longer than any budget of the node's HTTP/2
// lasts. The node must not take them for a flood, and its own frames must not trip a guard of theirs.
func TestSmallExchangesGoOn(t *testing.T) {
	const count = 20000
	n := startNode(t, ours)
	b := n.app(t, "echo", bob, "--quiet")
	wantAnswers(t, n.run(t, "send", alice, "--to", bob, "--count", "20000", "--size", "16", "--inflight", "8", "--echo"), count)
	b.quit(t)
}
