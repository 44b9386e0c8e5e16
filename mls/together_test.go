package mls

import (
	"fmt"
	"slices"
	"strings"
)

// wish is a proposal that a member is to make.
type wish struct {
	kind       ProposalType
	keyPackage []byte     // of an add
	member     string     // of a remove, by its identity
	key        string     // name of an external pre-shared key; empty: the resumption key of epoch
	epoch      uint64     // of this group
	extensions Extensions // of group_context_extensions
}

func (w wish) String() string {
	switch {
	case w.kind == ProposalRemove:
		return "remove " + w.member
	case w.kind == ProposalPSK && w.key != "":
		return w.key
	case w.kind == ProposalPSK:
		return fmt.Sprintf("resumption key of epoch %d", w.epoch)
	case w.kind == ProposalGroupContextExtensions:
		var types []ExtensionType
		for _, e := range w.extensions {
			types = append(types, e.Type)
		}
		return fmt.Sprint(types)
	}
	return w.kind.String()
}

// said is a proposal that a member sends by itself.
type said struct {
	by   member
	wish wish
}

// togetherness is the making of a list of proposals, by several members, for one commit.
type togetherness struct {
	*history
	committer member
	values    []wish // by value, in this order
	said      []said // by reference
	people    []member
	gone      []member
	modern    bool // who comes supports theExtension
	count     int  // proposals that the commit must hold
}

// commitTogether lets members propose what is valid together, and often only so: a client that the same list removes
// comes back, with its keys or with others; extensions that only those lack who are removed; updates, removals, adds
// and pre-shared keys of several members, by reference and by value. Where committer chooses, some do not go together.
func (h *history) commitTogether(committer member) {
	h.t.Helper()
	l := &togetherness{history: h, committer: committer, modern: h.extended || h.likely(1, 2)}
	extended := h.extended
	if h.likely(1, 2) && !committer.traits().noExtensions {
		extended = l.extend()
	}
	if h.likely(1, 2) && len(l.gone) == 0 {
		if m := h.victim(committer); m != nil {
			l.rejoin(m)
		}
	}
	if m := h.victim(committer, l.gone...); m != nil && h.likely(1, 3) {
		l.remove(m)
	}
	for range h.rng.IntN(3) {
		if h.room() > len(l.people) {
			l.add(h.person())
		}
	}
	l.update()
	l.mix()
	l.contradict()
	l.commit()
	h.extended = extended
}

// put lets anybody propose w, or committer bring it by value.
func (l *togetherness) put(w wish) {
	l.count++
	if l.likely(1, 2) {
		l.values = append(l.values, w)
	} else {
		l.said = append(l.said, said{l.any(), w})
	}
}

func (l *togetherness) remove(m member) {
	l.gone = append(l.gone, m)
	l.put(wish{kind: ProposalRemove, member: m.name()})
}

func (l *togetherness) add(m member) {
	l.people = append(l.people, m)
	l.put(wish{kind: ProposalAdd, keyPackage: m.keyPackage()})
}

// rejoin removes m and adds its client anew: half of the time as SLIM's moderators do, by value, the add first.
func (l *togetherness) rejoin(m member) {
	c := client{name: m.name(), modern: l.modern}
	if l.likely(2, 3) && !l.someone(func(o traits) bool { return o.oldKeys }) {
		c.keys = m
	}
	again := l.client(c)
	l.note("%s comes back, with its keys: %v", m.name(), c.keys != nil)
	if l.likely(1, 2) {
		l.gone, l.people, l.count = append(l.gone, m), append(l.people, again), l.count+2
		l.values = append(l.values, wish{kind: ProposalAdd, keyPackage: again.keyPackage()},
			wish{kind: ProposalRemove, member: m.name()})
		return
	}
	l.add(again)
	l.remove(m)
}

// someone reports whether a member is of some sort.
func (h *history) someone(is func(traits) bool) bool {
	return slices.ContainsFunc(h.members, func(m member) bool { return is(m.traits()) })
}

// extend replaces the extensions of the group. It reports whether theExtension is among them.
func (l *togetherness) extend() (extended bool) {
	list := Extensions{l.harmless}
	lacking := slices.DeleteFunc(slices.Clone(l.members), func(m member) bool { return !m.traits().plain })
	switch {
	case l.extended && l.likely(1, 2): // no longer; who comes may lack it
		l.modern = l.someone(func(o traits) bool { return o.oldRules }) || l.likely(1, 2)
	case l.extended:
		list, extended = append(list, Extension{theExtension, fmt.Appendf(nil, "%d", l.rng.IntN(100))}), true
	case len(lacking) < len(l.members)-1 && len(lacking) <= 3 && !slices.Contains(lacking, l.committer) &&
		(len(lacking) == 0 || l.removable == nil || l.removable(lacking)):
		list, extended = Extensions{{theExtension, []byte("new")}}, true
		l.modern, l.history.extended = true, true
		for _, m := range lacking {
			if l.likely(1, 2) {
				l.rejoin(m)
			} else {
				l.remove(m)
			}
		}
	}
	// Newcomers are made from now on as the next extensions ask.
	l.history.extended = l.modern && l.history.extended || extended
	l.put(wish{kind: ProposalGroupContextExtensions, extensions: list})
	return extended
}

// update lets members of ours who stay update their leaves.
func (l *togetherness) update() {
	for _, m := range l.members {
		if m != l.committer && !slices.Contains(l.gone, m) && !m.traits().noUpdates && l.likely(1, 4) {
			l.said, l.count = append(l.said, said{m, wish{kind: ProposalUpdate}}), l.count+1
		}
	}
}

// mix mixes in pre-shared keys: external ones that all are given, and resumption keys, which newcomers do not have.
func (l *togetherness) mix() {
	all := slices.Concat(l.members, l.people)
	room := 6 // keys
	if l.committer.traits().ownKeyOrder {
		room = 1
	}
	if !slices.ContainsFunc(all, func(m member) bool { return m.traits().noKeys }) {
		for range min(l.rng.IntN(3), room) {
			room--
			l.made++
			w := wish{kind: ProposalPSK, key: fmt.Sprintf("key%d", l.made)}
			for _, m := range all {
				l.check(m, m.learn(w.key, []byte("secret of "+w.key)))
			}
			l.put(w)
		}
	}
	if len(l.people) > 0 || l.someone(func(o traits) bool { return o.noResumption }) {
		return
	}
	epoch, from := l.epoch(), uint64(0)
	for _, since := range l.since {
		from = max(from, since)
	}
	for e := from; e <= epoch; e++ {
		if e+2 <= epoch || l.likely(2, 3) || room == 0 {
			continue
		}
		room--
		l.put(wish{kind: ProposalPSK, epoch: e})
		if !l.someone(func(o traits) bool { return o.oneNonce }) && l.likely(1, 3) && room > 0 {
			room--
			l.put(wish{kind: ProposalPSK, epoch: e}) // with another nonce it is another key
		}
	}
}

// contradict adds what the committer has to leave out: a second removal, an update of who is removed.
func (l *togetherness) contradict() {
	if l.committer.traits().whole {
		return
	}
	for _, m := range l.gone {
		if l.likely(1, 3) {
			l.said = append(l.said, said{l.committer, wish{kind: ProposalRemove, member: m.name()}})
		}
		if !m.traits().noUpdates && l.likely(1, 3) {
			l.said = append(l.said, said{m, wish{kind: ProposalUpdate}})
		}
	}
}

// commit lets all be proposed, and committed.
func (l *togetherness) commit() {
	l.t.Helper()
	l.rng.Shuffle(len(l.said), func(i, j int) { l.said[i], l.said[j] = l.said[j], l.said[i] })
	for _, s := range l.said {
		l.note("%s proposes: %v", s.by.name(), s.wish)
		msg, err := s.by.propose(s.wish)
		l.check(s.by, err)
		l.told(s.by, msg)
	}
	l.note("%s commits %d proposals, by value %v; come: %s, leave: %s",
		l.committer.name(), l.count, l.values, listed(l.people), listed(l.gone))
	commit, welcome, err := l.committer.commit(l.values...)
	l.check(l.committer, err)
	for _, m := range l.gone {
		l.without(m)
	}
	l.told(l.committer, commit)
	for _, m := range l.gone {
		if len(l.people) == 0 || !m.traits().blind {
			l.check(m, m.leave(commit))
		}
	}
	for _, m := range l.members {
		if o, is := m.(*ours); is && o.last != l.count {
			l.fail("the commit holds %d proposals for %s, want %d", o.last, m.name(), l.count)
		}
	}
	l.enter(l.committer, l.people, welcome)
}

// forgeCommit is a commit of a hostile member of g that no rule was asked about.
func forgeCommit(g *Group, list []Committed, path bool) (*Change, error) {
	l := &proposalList{suite: g.suite, committer: Sender{Type: SenderMember, Leaf: g.Own()}}
	for _, c := range list { // what can be done to a tree at all
		if p, ok := c.Proposal.(*Remove); !ok || g.Member(p.Leaf) != nil {
			l.all = append(l.all, c)
		}
	}
	l.change(&g.now.context, g.now.tree)
	l.all = list
	if l.tree.leaf(g.Own()) == nil { // it removed itself
		l.tree.setLeaf(g.Own(), g.Member(g.Own()))
	}
	to := &epoch{suite: g.suite, tree: l.tree, own: g.now.own, keys: g.now.keys.clone(), signer: g.now.signer,
		context: groupContext{suite: g.suite.ID(), groupID: g.now.context.groupID, epoch: g.Epoch() + 1,
			confirmedHash: g.now.context.confirmedHash, extensions: l.extensions}}
	ch := &Change{Sender: l.committer, Epoch: to.context.epoch, Proposals: l.all, ReInit: l.reinit,
		group: g, base: g.now, next: to}
	none := g.cfg.PSK
	defer func() { g.cfg.PSK = none }()
	g.cfg.PSK = func(*PSKID) ([]byte, error) { return []byte("its own"), nil }
	err := g.makeCommit(ch, l, CommitOptions{Path: path})
	ch.show()
	return ch, err
}

// byValue are proposals of the member itself.
func byValue(g *Group, proposals ...Proposal) (list []Committed) {
	for _, p := range proposals {
		list = append(list, Committed{Proposal: p, Sender: Sender{Type: SenderMember, Leaf: g.Own()}})
	}
	return list
}

// required is the extension that asks all members for others; for none, it asks for basic credentials, which all have.
func required(types ...ExtensionType) Extension {
	if len(types) == 0 {
		return RequiredCapabilities{Credentials: []CredentialType{CredentialBasic}}.Extension()
	}
	return RequiredCapabilities{Extensions: types}.Extension()
}

// What some implementations follow.
const (
	misread    = "extension required that nobody has"
	overlooked = "add of a client that stays"
)

// wrongTogether are lists that every implementation refuses, although most of what is in them is valid in another. o is
// another member than the committer, of ours or not.
var wrongTogether = []struct {
	name string
	make func(h *history, g *Group, o member) []Proposal
}{
	{overlooked, func(h *history, _ *Group, o member) []Proposal {
		return []Proposal{&Add{h.parsed(o)}}
	}},
	{overlooked + ", and remove of another", func(h *history, g *Group, o member) []Proposal {
		list := []Proposal{&Add{h.parsed(o)}}
		for _, m := range g.Members() {
			if m.Leaf != g.Own() && string(m.Node.Credential.Identity) != o.name() {
				return append(list, &Remove{m.Leaf})
			}
		}
		return list
	}},
	{"add of a client twice", func(h *history, _ *Group, _ member) []Proposal {
		n := h.newOurs(client{name: "twice", modern: true})
		return []Proposal{&Add{h.parsed(n)}, &Add{h.parsed(n)}}
	}},
	{"remove of a member twice", func(_ *history, g *Group, o member) []Proposal {
		i, _ := g.Find(func(_ LeafIndex, l *LeafNode) bool { return string(l.Credential.Identity) == o.name() })
		return []Proposal{&Remove{i}, &Remove{i}}
	}},
	{"remove of nobody", func(*history, *Group, member) []Proposal { return []Proposal{&Remove{1 << 20}} }},
	{"reinit beside an add", func(h *history, g *Group, _ member) []Proposal {
		return []Proposal{&ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: g.CipherSuite()},
			&Add{h.parsed(h.newOurs(client{name: "beside", modern: true}))}}
	}},
	{misread, func(*history, *Group, member) []Proposal {
		return []Proposal{&GroupContextExtensions{Extensions{required(0xf00e)}}}
	}},
	{misread + " but some", func(h *history, _ *Group, _ member) []Proposal {
		return []Proposal{&GroupContextExtensions{Extensions{required(theExtension)}},
			&Add{h.parsed(h.newOurs(client{name: "lacking"}))}}
	}},
}

func (h *history) parsed(m member) *KeyPackage {
	h.t.Helper()
	return must[*KeyPackage](h.t)(ParseKeyPackage(m.keyPackage()))
}

// refuseTogether lets a member of ours commit a list that nobody may follow, and nobody does: all stay where they are.
func (h *history) refuseTogether() {
	h.t.Helper()
	var by *ours
	for _, i := range h.rng.Perm(len(h.members)) {
		if o, is := h.members[i].(*ours); is {
			by = o
		}
	}
	other := h.any()
	if by == nil || other == member(by) || h.someone(func(o traits) bool { return o.lenient }) {
		return
	}
	wrong := wrongTogether[h.rng.IntN(len(wrongTogether))]
	if strings.HasPrefix(wrong.name, misread) && h.someone(func(o traits) bool { return o.otherRequired }) ||
		strings.HasPrefix(wrong.name, overlooked) && other.traits().overlooks {
		return
	}
	ch, err := forgeCommit(by.group, byValue(by.group, wrong.make(h, by.group, other)...), h.likely(1, 2))
	h.check(by, err)
	defer ch.Discard()
	h.note("%s commits what is wrong: %s", by.name(), wrong.name)
	for _, m := range h.members {
		if m != member(by) && m.take(ch.Commit) == nil {
			h.fail("%s follows a commit that holds: %s", m.name(), wrong.name)
		}
	}
}
