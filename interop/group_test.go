//go:build interop

package interop

import (
	"fmt"
	"testing"
)

const channel = "org/ns/channel"

// member starts an application that waits for invitations and outlives its sessions.
func (n *node) member(t *testing.T, name string, args ...string) *app {
	t.Helper()
	return n.app(t, "join", name, append([]string{"--stay"}, args...)...)
}

func (a *app) invite(t *testing.T, members ...*app) {
	t.Helper()
	for _, m := range members {
		a.do(t, event{"invite": m.name})
		m.expect(t, "session")
	}
}

// group leads members through the life of a group: m invites all, everybody speaks, one is removed, a late
// one is invited. All applications see the right messages once, each sender's in order.
func group(t *testing.T, m *app, members []*app, late *app) {
	t.Helper()
	m.invite(t, members...)

	m.do(t, event{"publish": "first", "count": 200, "inflight": 20})
	for _, a := range members {
		a.receives(t, series("first", 200)...)
	}

	// Each speaker waits for its own acknowledgements, so that speakers do not interleave at the listeners.
	for i, speaker := range members {
		text := fmt.Sprintf("member%d", i)
		speaker.do(t, event{"publish": text, "count": 20})
		m.receives(t, series(text, 20)...)
		for _, a := range members {
			if a != speaker {
				a.receives(t, series(text, 20)...)
			}
		}
	}

	removed, rest := members[0], members[1:]
	m.do(t, event{"remove": removed.name})
	removed.expect(t, "left")
	m.do(t, event{"publish": "second", "count": 20})
	for _, a := range rest {
		a.receives(t, series("second", 20)...)
	}

	m.invite(t, late)
	m.do(t, event{"publish": "third", "count": 20})
	late.receives(t, series("third", 20)...)
	late.do(t, event{"publish": "late", "count": 5})
	m.receives(t, series("late", 5)...)
	for _, a := range rest {
		a.receives(t, series("third", 20)...)
		a.receives(t, series("late", 5)...)
	}

	for _, a := range append([]*app{m, late}, members...) {
		a.receivedNothing(t)
	}
}

func TestGroupOfFour(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) { groupOfFour(t, k) })
}

func TestGroupOfFourWithMLS(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) { groupOfFour(t, k, "--mls") })
}

func groupOfFour(t *testing.T, k kind, options ...string) {
	n := startNode(t, k)
	var members []*app
	for i := range 3 {
		members = append(members, n.member(t, fmt.Sprintf("org/ns/member%d", i)))
	}
	late := n.member(t, "org/ns/late")
	m := n.app(t, "moderate", "org/ns/moderator", append([]string{"--channel", channel}, options...)...)
	group(t, m, members, late)
	endGroup(t, m, append(members[1:], late)...)
}

// endGroup closes the group; all members must see its end.
func endGroup(t *testing.T, m *app, members ...*app) {
	t.Helper()
	m.do(t, event{"close": true})
	for _, a := range members {
		a.expect(t, "left")
	}
}
