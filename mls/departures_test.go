package mls

import (
	"strings"
	"testing"
)

// departure is a list of proposals about which another implementation is not of the RFC's mind. Histories go around
// these: see traits.
type departure struct {
	name    string // what the RFC says, and where
	allowed bool   // by the RFC
	list    func(h *history, g *Group) []Committed
	refusal string // of the other implementation; empty: it follows
	modern  []bool // see gather
}

// gather makes a group of a member of ours for each of modern, named m0 and so on, which supports theExtension or not,
// and of another, the last.
func (h *history) gather(other member, modern ...bool) {
	h.t.Helper()
	var packages []wish
	for i, m := range modern {
		o := h.newOurs(client{name: "m" + string(rune('0'+i)), modern: m})
		h.members = append(h.members, o)
		packages = append(packages, wish{kind: ProposalAdd, keyPackage: o.keyPackage()})
	}
	h.members = append(h.members, other)
	packages = append(packages, wish{kind: ProposalAdd, keyPackage: other.keyPackage()})
	first := h.members[0].(*ours)
	first.group = must[*Group](h.t)(Create(first.cfg, nil))
	_, welcome, err := first.commit(packages[1:]...)
	h.check(first, err)
	for _, m := range h.members[1:] {
		h.check(m, m.join(welcome))
	}
}

// extend lets the group have an extension.
func (h *history) extend(t ExtensionType) {
	h.t.Helper()
	commit, _, err := h.members[0].commit(wish{kind: ProposalGroupContextExtensions, extensions: Extensions{{t, nil}}})
	h.check(h.members[0], err)
	h.told(h.members[0], commit)
}

// testDepartures lets the first member commit each list, whatever its rules say, and asks the last of ours and the
// other implementation about it.
func testDepartures(t *testing.T, group func(t *testing.T, modern ...bool) *history, list []departure) {
	for _, d := range list {
		t.Run(d.name, func(t *testing.T) {
			h := group(t, d.modern...)
			by, last, other := h.members[0].(*ours), h.members[len(h.members)-2], h.members[len(h.members)-1]
			ch, err := forgeCommit(by.group, d.list(h, by.group), true)
			h.check(by, err)
			if err := last.take(ch.Commit); (err == nil) != d.allowed {
				t.Errorf("ours: %v", err)
			}
			switch err := other.take(ch.Commit); {
			case (err == nil) == d.allowed:
				t.Errorf("the other implementation does as the RFC says: let histories try it: %v", err)
			case err != nil && !strings.Contains(err.Error(), d.refusal):
				t.Errorf("refused for another reason: %v, want %s", err, d.refusal)
			}
		})
	}
}

// What mls-go does otherwise than the RFC about lists of proposals.
func TestDeparturesOfMLSGo(t *testing.T) {
	t.Parallel()
	group := func(cs CipherSuite) func(t *testing.T, modern ...bool) *history {
		return func(t *testing.T, modern ...bool) *history {
			h := &history{t: t, suite: cs}
			h.gather(newTheirs(t, cs, "theirs"), modern...)
			return h
		}
	}
	three := []bool{true, true, true}
	testDepartures(t, group(2), []departure{
		{"7.3 forbids a client twice", false, func(h *history, g *Group) []Committed {
			other := h.members[3]
			commit, _, err := other.commit()
			h.check(other, err)
			h.told(other, commit)
			return byValue(g, &Add{h.parsed(other)})
		}, "", three},
	})
	testDepartures(t, group(1), []departure{
		{"12.2 allows to add a client that is removed, with its key", true, func(h *history, g *Group) []Committed {
			old := h.members[1].(*ours)
			return byValue(g, &Add{h.parsed(h.newOurs(client{name: "m1", modern: true, keys: old}))}, &Remove{old.group.Own()})
		}, "signature key in Add proposal already in use", three},
		{"12.2 allows a pre-shared key twice, with two nonces", true, func(h *history, g *Group) []Committed {
			one := must[*PreSharedKey](t)(g.NewResumptionPSK(g.ID(), 1))
			return byValue(g, one, must[*PreSharedKey](t)(g.NewResumptionPSK(g.ID(), 1)))
		}, "duplicate PSK ID", three},
		{"11.1 begins required_capabilities with extensions", true, func(_ *history, g *Group) []Committed {
			return byValue(g, &GroupContextExtensions{Extensions{required()}})
		}, "does not support required extension", three},
		{"11.1 forbids what members do not support", false, func(_ *history, g *Group) []Committed {
			return byValue(g, &GroupContextExtensions{Extensions{required(0xf00e)}})
		}, "", three},
		{"12.2 forbids extensions twice", false, func(_ *history, g *Group) []Committed {
			return byValue(g, &GroupContextExtensions{}, &GroupContextExtensions{})
		}, "", three},
		{"12.2 forbids to update and remove a leaf", false, func(h *history, g *Group) []Committed {
			msg, err := h.members[1].propose(wish{kind: ProposalUpdate})
			h.check(h.members[1], err)
			h.told(h.members[1], msg)
			return append(g.Pending(), byValue(g, &Remove{h.members[1].(*ours).group.Own()})...)
		}, "", three},
	})
}
