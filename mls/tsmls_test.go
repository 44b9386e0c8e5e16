//go:build interop

package mls

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// late is a message that its readers get in a later epoch.
type late struct {
	from    member
	readers []member
	text    string
	msg     []byte
}

// mixed is a random life of a group whose members are of this package and of ts-mls.
type mixed struct {
	*history
	peer *tsPeer
	late []late
}

func newMixed(t *testing.T, peers *tsPeers, seed int) *mixed {
	t.Helper()
	h := &mixed{peer: peers.take(t)}
	h.history = &history{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 0)), suite: CipherSuite(1 + seed%3),
		client: h.newClient, barred: h.isKnown, harmless: required()}
	h.removable = func(gone []member) bool { return !h.lopsided(gone) }
	h.most = 2 + h.rng.IntN(9)
	creator := h.person()
	var err error
	switch m := creator.(type) {
	case *ours:
		m.group, err = Create(m.cfg, nil)
	case *typescript:
		err = m.create([]byte("the group"))
	}
	h.begin(creator)
	h.check(creator, err)
	return h
}

// newClient is of one implementation or the other: of that whose keys it shall have, and of the other if all members
// are of one.
func (h *mixed) newClient(c client) member {
	h.t.Helper()
	encrypt, typed := h.likely(1, 4), h.likely(1, 2)
	count := 0
	for _, m := range h.members {
		if _, is := m.(*typescript); is {
			count++
		}
	}
	if len(h.members) > 0 && (count == 0 || count == len(h.members)) {
		typed = count == 0
	}
	if c.keys != nil {
		_, typed = c.keys.(*typescript)
	}
	if typed {
		o, err := newTypescript(h.peer, h.suite, c, encrypt)
		h.check(o, err)
		return o
	}
	return h.newOurs(c, func(cfg *Config) {
		cfg.EncryptHandshake, cfg.GREASE = encrypt, h.likely(1, 2)
		if h.likely(1, 2) {
			cfg.Padding = PadStep
		}
	})
}

// tree is the group's tree as everybody sees it.
func (h *mixed) tree() *tree {
	h.t.Helper()
	b, err := h.members[0].info()
	h.check(h.members[0], err)
	s, _ := suite.Lookup(h.suite)
	return must[*tree](h.t)(findTree(s, must[*Message](h.t)(ParseMessage(b)).groupInfo, nil, DefaultLimits()))
}

// unjoinable reports whether ts-mls refuses to join a group of that tree. Whenever a leaf is unmerged in a node, it
// asks all nodes above that leaf for the same list of unmerged leaves, even those above the node. Section 12.4.3.1 asks
// only those between the two, and only to list the leaf.
func unjoinable(t *tree) bool {
	for _, n := range t.nodes {
		if n.parent == nil {
			continue
		}
		for _, leaf := range n.parent.unmerged {
			for a := range treemath.DirectPath(leaf.Node(), t.size()) {
				if p := t.nodes[a].parent; p != nil && !slices.Equal(p.unmerged, n.parent.unmerged) {
					return true
				}
			}
		}
	}
	return false
}

// lopsided reports whether nobody would be left in the left half of the tree without some. Then the root is in nobody's
// filtered direct path. ts-mls derives a path secret for it nevertheless, so that its commit secret is one derivation
// behind that of section 12.4.1.
func (h *mixed) lopsided(gone []member) bool {
	h.t.Helper()
	t := h.tree()
	var leaves []LeafIndex
	t.members(func(i LeafIndex, l *LeafNode) bool {
		if slices.ContainsFunc(gone, func(m member) bool { return string(l.Credential.Identity) == m.name() }) {
			leaves = append(leaves, i)
		}
		return true
	})
	for _, i := range leaves {
		t.remove(i)
	}
	t.shrink()
	return t.size() > 1 && t.empty(t.root().Left())
}

// isKnown reports whether err is that of ts-mls for such a tree.
func (h *mixed) isKnown(m member, err error) bool {
	h.t.Helper()
	_, is := m.(*typescript)
	return is && err != nil && strings.Contains(err.Error(), "must list leaf node in its unmerged_leaves") && unjoinable(h.tree())
}

// sendLate lets a member send what the others read behind the next commit.
func (h *mixed) sendLate() {
	h.t.Helper()
	from := h.any()
	l := late{from: from, readers: slices.Clone(h.members), text: "late of " + from.name()}
	var err error
	l.msg, err = from.send([]byte(l.text), nil)
	h.check(from, err)
	h.late = append(h.late, l)
}

func (h *mixed) readLate() {
	h.t.Helper()
	for _, l := range h.late {
		for _, m := range l.readers {
			if m == l.from || !slices.Contains(h.members, m) {
				continue
			}
			if text, _, err := m.read(l.msg); err != nil || string(text) != l.text {
				h.fail("%s reads %q of %s late: %v", m.name(), text, l.from.name(), err)
			}
		}
	}
	h.late = nil
}

// Groups of members of this package and of ts-mls live through random histories, as in TestDifferentialHistories, with
// messages of past epochs, and with proposals and commits that are public or private messages. MLS_HISTORIES is how
// many, MLS_SEED where to begin.
func TestDifferentialTypeScript(t *testing.T) {
	peers := &tsPeers{t: t, library: tsLibrary(t)}
	first, count := number(t, "MLS_SEED", 1), number(t, "MLS_HISTORIES", 10)
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := newMixed(t, peers, seed)
			for range 15 + h.rng.IntN(15) {
				h.step()
				h.readLate()
				h.sendLate()
			}
			t.Logf("%v, at most %d members: %d epochs, %d joins refused; ts-mls: %v",
				h.suite, h.most, h.epoch(), h.refused, h.peer.calls)
		})
	}
}

// What ts-mls does otherwise than the RFC about lists of proposals.
func TestDeparturesOfTSMLS(t *testing.T) {
	library := tsLibrary(t)
	harmless := &GroupContextExtensions{Extensions{required()}}
	group := func(t *testing.T, modern ...bool) *history {
		h, peer := &history{t: t, suite: 1}, startTS(t, library)
		h.gather(must[*typescript](t)(newTypescript(peer, 1, client{name: "theirs", modern: true}, false)), modern...)
		return h
	}
	testDepartures(t, group, []departure{
		{"12.1.7 allows to require what only those lack who are removed", true, func(h *history, g *Group) []Committed {
			return byValue(g, &GroupContextExtensions{Extensions{required(theExtension)}},
				&Remove{h.members[1].(*ours).group.Own()})
		}, "Not all members support required capabilities", []bool{true, false, true}},
		{"12.3 judges adds by the new extensions", true, func(h *history, g *Group) []Committed {
			h.extend(theExtension)
			return byValue(g, harmless, &Add{h.parsed(h.newOurs(client{name: "plain"}))})
		}, "doesn't support extension in GroupContext", []bool{true, true, true}},
		{"12.1.7 replaces extensions by none", true, func(h *history, g *Group) []Committed {
			h.extend(theExtension)
			return byValue(g, &GroupContextExtensions{})
		}, "OpenError", []bool{true, true, true}},
		{"12.1.4 forbids short nonces", false, func(h *history, g *Group) []Committed {
			for _, m := range h.members {
				h.check(m, m.learn("k", []byte("its own")))
			}
			return byValue(g, &PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: []byte("short")}})
		}, "", []bool{true, true, true}},
	})
	for name, with := range map[string][]wish{
		"12.4 asks for a path":                    {},
		"12.4.1 seals paths for the next context": {{kind: ProposalRemove, member: "m2"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := group(t, true, true, true)
			with = append(with, wish{kind: ProposalGroupContextExtensions, extensions: harmless.Extensions})
			commit, _, err := h.members[3].commit(with...)
			h.check(h.members[3], err)
			if err := h.members[0].take(commit); err == nil {
				t.Error("ts-mls has learnt to commit extensions: let it do so in histories")
			}
		})
	}
}
