//go:build interop

package interop

import (
	"fmt"
	"testing"
)

// many is the number of messages of each session between two applications.
const many = 1000

// TestP2PBetweenLanguages opens sessions from each of Rust (core 3.4.6), Python (3.4.6) and Node.js
// (2.0.0-alpha.10) to each other, without and with MLS. The older core signs no control messages, so the
// newer ones must not enforce identities here.
func TestP2PBetweenLanguages(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		n.binding = "warn"
		callers := map[string]*app{
			"python": n.script(t, &python, "org/ns/python"),
			"node":   n.script(t, &javascript, "org/ns/node"),
		}
		for _, b := range []*app{
			n.app(t, "echo", "org/ns/rust-echo"),
			n.script(t, &python, "org/ns/python-echo", "--echo"),
			n.script(t, &javascript, "org/ns/node-echo", "--echo"),
		} {
			for _, mls := range []bool{false, true} {
				wantAnswers(t, n.run(t, "send", "org/ns/rust", sendArgs(b.name, many, mls)...), many)
				b.receives(t, numbered(0, many)...)
				for from, c := range callers {
					text := fmt.Sprintf("%s to %s, MLS %t", from, b.name, mls)
					c.do(t, event{"open": b.name, "mls": mls})
					c.do(t, event{"publish": text, "count": many})
					b.receives(t, series(text, many)...)
					c.receives(t, series("echo:"+text, many)...)
					c.do(t, event{"close": true})
					c.expect(t, "left")
				}
			}
			b.receivedNothing(t)
		}
	})
}

func sendArgs(to string, count int, mls bool) []string {
	args := []string{"--to", to, "--count", fmt.Sprint(count), "--echo"}
	if mls {
		args = append(args, "--mls")
	}
	return args
}

// TestGroupOfLanguages has one MLS group with a member of each language, led by each of them in turn.
func TestGroupOfLanguages(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		n.binding = "warn"
		rust := n.member(t, "org/ns/rust")
		late := n.member(t, "org/ns/late")
		py := n.script(t, &python, "org/ns/python")
		js := n.script(t, &javascript, "org/ns/node")

		m := n.app(t, "moderate", "org/ns/moderator", "--channel", channel, "--mls")
		group(t, m, []*app{rust, py, js}, late)
		endGroup(t, m, py, js, late)

		py.do(t, event{"group": channel + "-python", "mls": true})
		group(t, py, []*app{js, rust}, late)
		endGroup(t, py, rust, late)

		js.do(t, event{"group": channel + "-node", "mls": true})
		group(t, js, []*app{rust, py}, late)
		endGroup(t, js, py, late)
	})
}

// TestEnforcedIdentitiesBetweenLanguages: Rust and Python of core 3.4.6 talk when both enforce identities. To
// them the control messages of core 2.0.0-alpha.10 are unsigned, so that its sessions do not open; this is
// between the applications, and so it must be with either node.
func TestEnforcedIdentitiesBetweenLanguages(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		py := n.script(t, &python, "org/ns/python", "--echo")
		wantAnswers(t, n.run(t, "send", "org/ns/rust", sendArgs(py.name, 50, true)...), 50)
		py.receives(t, numbered(0, 50)...)

		js := n.script(t, &javascript, "org/ns/node", "--echo")
		seen := false
		for _, retries := range []string{"1", "8"} { // the second time for an answer that comes late
			p := n.peer(t, "send", "org/ns/rust", "--to", js.name, "--interval-ms", "1000", "--retries", retries, "--log", "warn")
			if e := p.expect(t, "error"); e.text("what") != "fatal" {
				t.Errorf("session with an application that signs nothing: %v, want it refused", e)
			}
			p.exit(t, limit) // the log is in
			if seen = p.count("payload isn't signed") > 0; seen {
				break
			}
		}
		if !seen {
			t.Error("refused for another reason than the missing signature")
		}
		js.receivedNothing(t)
	})
}
