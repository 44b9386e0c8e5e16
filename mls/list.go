package mls

import (
	"bytes"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// listMode is what sort of commit a list of proposals stands in.
type listMode uint8

const (
	regular  listMode = iota
	external          // by a joiner
	initial           // the first of a group that continues another: pre-shared keys of usage reinit or branch are in order
)

// proposalList is a list of proposals being judged and applied (RFC 9420, sections 12.2 and 12.3).
type proposalList struct {
	suite     *suite.Suite
	mode      listMode
	committer Sender
	all       []Committed
	ours      bool      // the commit is made here: the clock counts, for key packages that waited too
	joiner    *LeafNode // of an external commit

	// What applying it gives.
	tree       *tree
	extensions Extensions
	added      []LeafIndex // by Add, in order
	packages   []*KeyPackage
	updated    []LeafIndex
	removed    []LeafIndex
	psks       []PSKID
	init       *ExternalInit
	reinit     *ReInit
}

// each calls f for all proposals of one type.
func each[P Proposal](list []Committed, f func(Committed, P) error) error {
	for _, c := range list {
		if p, ok := c.Proposal.(P); ok {
			if err := f(c, p); err != nil {
				return within(err, "%v by %v", c.Proposal.Type(), c.Sender)
			}
		}
	}
	return nil
}

// number is how many proposals of a type there are.
func (l *proposalList) number(t ProposalType) int {
	n := 0
	for _, c := range l.all {
		if c.Proposal.Type() == t {
			n++
		}
	}
	return n
}

// checkLimits refuses what would make the group too large, before any of it is looked at.
func (l *proposalList) checkLimits(before *tree, limits Limits) error {
	n := before.count() + l.number(ProposalAdd) - l.number(ProposalRemove)
	if l.mode == external {
		n++
	}
	if n > limits.Members {
		return refuse(Limit, "", "group of %d members, at most %d are allowed", n, limits.Members)
	}
	return nil
}

// check is section 12.2 as far as the tree before the commit tells. What the commit makes of the tree is judged when it
// is applied.
func (l *proposalList) check(g *groupContext, before *tree, cfg *Config) error {
	if err := l.checkTogether(before); err != nil {
		return err
	}
	return l.checkAlone(g, before, cfg)
}

// checkAlone is what can be said of each proposal whatever stands beside it: what is wrong with one here is wrong in
// every list of this epoch.
func (l *proposalList) checkAlone(g *groupContext, before *tree, cfg *Config) error {
	for _, c := range []func(*tree) error{l.checkSenders, l.checkRemoves, l.checkPSKs, l.checkExtensions, l.checkReInit, l.checkExternalInit} {
		if err := c(before); err != nil {
			return err
		}
	}
	if l.ours || cfg.Strict {
		if err := l.checkStrict(); err != nil {
			return err
		}
	}
	if err := l.checkUpdates(g, before, cfg.rules(l.ours)); err != nil {
		return err
	}
	return l.checkAdds(cfg)
}

// checkTogether is what the list must be as a list. Of several types the functions above count, too.
func (l *proposalList) checkTogether(before *tree) error {
	for _, c := range []func(*tree) error{l.checkTypes, l.checkOncePerLeaf, l.checkSupported} {
		if err := c(before); err != nil {
			return err
		}
	}
	return nil
}

// checkStrict is what the RFC asks of proposals and mls-rs does not.
func (l *proposalList) checkStrict() error {
	for _, c := range l.all {
		switch p := c.Proposal.(type) {
		case *Add:
			if err := checkStrictPackage(l.suite, p.KeyPackage); err != nil {
				return err
			}
		case *Update:
			if err := checkStrictLeaf(l.suite, p.Leaf); err != nil {
				return err
			}
		case *GroupContextExtensions:
			if err := checkContextPlaces(p.Extensions); err != nil {
				return err
			}
		case *ReInit:
			if err := checkContextPlaces(p.Extensions); err != nil {
				return err
			}
			if len(p.GroupID) == 0 { // one that every other group could be given
				return refuse(Invalid, "12.1.5", "reinit to a group without an id")
			}
		}
	}
	return nil
}

// checkTypes: a joiner's commit holds only what it may (section 12.2, second list).
func (l *proposalList) checkTypes(*tree) error {
	if l.mode != external {
		return nil
	}
	for _, c := range l.all {
		switch c.Proposal.(type) {
		case *ExternalInit, *Remove, *PreSharedKey:
		default:
			return refuse(Invalid, "12.2", "external commit holds a proposal of type %v", c.Proposal.Type())
		}
		if c.ByReference {
			return refuse(Invalid, "12.4.3.2", "external commit holds a proposal by reference")
		}
	}
	if n := l.number(ProposalRemove); n > 1 {
		return refuse(Invalid, "12.2", "external commit holds %d removes, at most one may be there", n)
	}
	return nil
}

// checkSenders: a proposal comes from one who may make it (sections 12.1.2, 12.1.8).
func (l *proposalList) checkSenders(*tree) error {
	for _, c := range l.all {
		if err := checkProposer(c.Sender, c.Proposal); err != nil {
			return err
		}
	}
	return nil
}

// checkProposer: who is outside may propose some types only.
func checkProposer(s Sender, p Proposal) error {
	switch s.Type {
	case SenderExternal:
		switch p.Type() {
		case ProposalAdd, ProposalRemove, ProposalPSK, ProposalReInit, ProposalGroupContextExtensions:
		default:
			return refuse(Invalid, "12.1.8", "%v proposes %v, which only members may", s, p.Type())
		}
	case SenderNewMemberProposal:
		if p.Type() != ProposalAdd {
			return refuse(Invalid, "6.1", "%v proposes %v, it may propose only its own add", s, p.Type())
		}
	}
	return nil
}

// checkAdds: every key package is valid (section 12.1.1).
func (l *proposalList) checkAdds(cfg *Config) error {
	var adds []Committed
	for _, c := range l.all {
		if c.Proposal.Type() == ProposalAdd && !c.sound {
			adds = append(adds, c)
		}
	}
	r := cfg.rules(l.ours)
	return inParallel(len(adds), 8, func(i int) error {
		return within(checkKeyPackage(l.suite, adds[i].Proposal.(*Add).KeyPackage, r), "add by %v", adds[i].Sender)
	})
}

// checkRemoves: the leaf is taken (section 12.1.3), and the committer does not remove itself.
func (l *proposalList) checkRemoves(before *tree) error {
	return each(l.all, func(_ Committed, p *Remove) error {
		if before.leaf(p.Leaf) == nil {
			return refuse(Invalid, "12.1.3", "leaf %d is blank", p.Leaf)
		}
		if l.committer.Type == SenderMember && p.Leaf == l.committer.Leaf {
			return refuse(Invalid, "12.2", "committer %d removes itself", p.Leaf)
		}
		return nil
	})
}

// checkUpdates: the leaf is valid (section 12.1.2), its key is new, and it is not the committer's.
func (l *proposalList) checkUpdates(g *groupContext, before *tree, r rules) error {
	return each(l.all, func(c Committed, p *Update) error {
		if c.Sender.Type != SenderMember || !c.ByReference {
			return refuse(Invalid, "12.2", "update is not one that a member sent by itself")
		}
		if c.Sender == l.committer {
			return refuse(Invalid, "12.2", "update was made by the committer")
		}
		old := before.leaf(c.Sender.Leaf)
		if old == nil {
			return refuse(Invalid, "12.1.2", "leaf %d is blank", c.Sender.Leaf)
		}
		if c.sound {
			return nil
		}
		if err := checkLeafAlone(l.suite, p.Leaf, SourceUpdate, g.groupID, c.Sender.Leaf, r); err != nil {
			return err
		}
		return checkNewKey(p.Leaf, old)
	})
}

// checkNewKey: a leaf that replaces another has another encryption key (sections 7.3, 12.4.2).
func checkNewKey(l, old *LeafNode) error {
	if bytes.Equal(l.EncryptionKey, old.EncryptionKey) {
		return refuse(Invalid, "7.3", "encryption_key of a new leaf is the old one")
	}
	return nil
}

// checkOncePerLeaf: no leaf is updated or removed twice.
func (l *proposalList) checkOncePerLeaf(*tree) error {
	seen := map[LeafIndex]bool{}
	for _, c := range l.all {
		var i LeafIndex
		switch p := c.Proposal.(type) {
		case *Update:
			i = c.Sender.Leaf
		case *Remove:
			i = p.Leaf
		default:
			continue
		}
		if seen[i] {
			return refuse(Invalid, "12.2", "leaf %d is updated or removed twice", i)
		}
		seen[i] = true
	}
	return nil
}

// checkPSKs: nonces are whole, usages in place, and no key stands there twice (section 12.1.4).
func (l *proposalList) checkPSKs(*tree) error {
	if n := l.number(ProposalPSK); n > maxPSKs {
		return refuse(Limit, "8.4", "%d pre-shared keys in a commit, at most %d are allowed", n, maxPSKs)
	}
	seen := map[string]bool{}
	return each(l.all, func(_ Committed, p *PreSharedKey) error {
		if len(p.ID.Nonce) != l.suite.HashSize() {
			return refuse(Invalid, "12.1.4", "psk_nonce of %d bytes, want %d", len(p.ID.Nonce), l.suite.HashSize())
		}
		if p.ID.Type == PSKResumption && p.ID.Usage != UsageApplication && l.mode != initial {
			return refuse(Invalid, "12.1.4", "resumption key for %v outside of the commit it is for", p.ID.Usage)
		}
		id := string(p.ID.append(nil))
		if seen[id] {
			return refuse(Invalid, "12.2", "two proposals name the same key")
		}
		seen[id] = true
		return nil
	})
}

// checkExtensions: the extensions are replaced once, and can be read (section 12.1.7).
func (l *proposalList) checkExtensions(*tree) error {
	if n := l.number(ProposalGroupContextExtensions); n > 1 {
		return refuse(Invalid, "12.2", "extensions are replaced %d times", n)
	}
	return each(l.all, func(_ Committed, p *GroupContextExtensions) error {
		return checkContextExtensions(p.Extensions)
	})
}

// checkReInit: it stands alone, and the version does not go down (section 12.1.5).
func (l *proposalList) checkReInit(*tree) error {
	if l.number(ProposalReInit) > 0 && len(l.all) > 1 {
		return refuse(Invalid, "12.2", "reinit does not stand alone")
	}
	return each(l.all, func(_ Committed, p *ReInit) error {
		if p.Version < MLS10 {
			return refuse(Invalid, "12.1.5", "version %d is below the group's", p.Version)
		}
		return checkContextExtensions(p.Extensions)
	})
}

// checkExternalInit: one in a joiner's commit, none in another.
func (l *proposalList) checkExternalInit(*tree) error {
	want := 0
	if l.mode == external {
		want = 1
	}
	if n := l.number(ProposalExternalInit); n != want {
		return refuse(Invalid, "12.2", "%d proposals of type external_init, want %d", n, want)
	}
	return nil
}

// checkSupported: proposals that not everybody knows are listed by everybody who stays (section 12.2).
func (l *proposalList) checkSupported(before *tree) error {
	var types []ProposalType
	gone := map[LeafIndex]bool{}
	for _, c := range l.all {
		if t := c.Proposal.Type(); isGREASE(t) { // our own leaf may list it, and does not support it for that (section 13.5)
			return refuse(Invalid, "13.5", "proposal of %v: nobody supports it", t)
		} else if !t.isDefault() {
			types = append(types, t)
		}
		if r, ok := c.Proposal.(*Remove); ok {
			gone[r.Leaf] = true
		}
	}
	slices.Sort(types)
	if types = slices.Compact(types); len(types) == 0 {
		return nil
	}
	var err error
	before.members(func(i LeafIndex, m *LeafNode) bool {
		if gone[i] {
			return true
		}
		if t, is := missing(types, m.Capabilities.Proposals); is {
			err = refuse(Invalid, "12.2", "leaf %d does not support %v", i, t)
		}
		return err == nil
	})
	return err
}

// apply changes a copy of the tree, and judges what comes out (section 7.3).
func (l *proposalList) apply(g *groupContext, before *tree, limits Limits) error {
	l.change(g, before)
	if err := l.tree.checkDepth(limits); err != nil {
		return err
	}
	changed := slices.Concat(l.updated, l.added)
	if l.number(ProposalGroupContextExtensions) > 0 { // everybody must support the new ones
		changed = nil
		l.tree.members(func(i LeafIndex, _ *LeafNode) bool { changed = append(changed, i); return true })
	}
	if len(changed) == 0 {
		return nil
	}
	return l.tree.checkLeavesTogether(changed, l.extensions)
}

// change applies the list to a copy of the tree, in the order of section 12.3.
func (l *proposalList) change(g *groupContext, before *tree) {
	l.tree, l.extensions = before.clone(), g.extensions
	for _, c := range l.all {
		switch p := c.Proposal.(type) {
		case *GroupContextExtensions:
			l.extensions = p.Extensions
		case *Update:
			l.tree.update(c.Sender.Leaf, p.Leaf)
			l.updated = append(l.updated, c.Sender.Leaf)
		}
	}
	for _, c := range l.all {
		if p, ok := c.Proposal.(*Remove); ok {
			l.tree.remove(p.Leaf)
			l.removed = append(l.removed, p.Leaf)
		}
	}
	if len(l.removed) > 0 {
		l.tree.shrink()
	}
	for _, c := range l.all {
		switch p := c.Proposal.(type) {
		case *Add:
			l.added = append(l.added, l.tree.add(p.KeyPackage.Leaf))
			l.packages = append(l.packages, p.KeyPackage)
		case *PreSharedKey:
			l.psks = append(l.psks, p.ID)
		case *ExternalInit:
			l.init = p
		case *ReInit:
			l.reinit = p
		}
	}
	if l.mode == external {
		l.tree.vacant() // the joiner's: the tree may grow for it
	}
}

// stage is what the application is asked about it for.
func (l *proposalList) stage() Stage {
	if l.ours {
		return StageCommit
	}
	return StageFollow
}

// judge asks the application about new credentials, and then about the list as a whole.
func (l *proposalList) judge(cfg *Config, g *groupContext, before *tree) error {
	for i := range l.all {
		if c := &l.all[i]; !c.judged {
			if err := c.judge(cfg, l.stage(), g, before); err != nil {
				return err
			}
		}
	}
	if err := l.checkClients(cfg, l.joiner); err != nil {
		return err
	}
	if cfg.Proposals == nil {
		return nil
	}
	if err := cfg.Proposals(&Proposed{l.stage(), l.committer, slices.Clone(l.all), rosterOf(g, before)}); err != nil {
		return refuseFor(Refused, "12.2", err, "proposals of %v were refused", l.committer)
	}
	return nil
}

// judge asks the application about the credentials that a proposal brings into the group (section 5.3.1).
func (c *Committed) judge(cfg *Config, s Stage, g *groupContext, before *tree) error {
	r := rosterOf(g, before)
	switch p := c.Proposal.(type) {
	case *Add:
		leaf := p.KeyPackage.Leaf
		return cfg.judge(&Presented{Place: PlaceAdd, Stage: s, Roster: r, Credential: leaf.Credential, SignatureKey: leaf.SignatureKey, Node: leaf})
	case *Update:
		return cfg.judge(&Presented{Place: PlaceUpdate, Stage: s, Roster: r, Leaf: c.Sender.Leaf, Credential: p.Leaf.Credential,
			SignatureKey: p.Leaf.SignatureKey, Node: p.Leaf, Replaces: before.leaf(c.Sender.Leaf)})
	case *GroupContextExtensions:
		return cfg.judgeSenders(s, r, p.Extensions, g.extensions)
	}
	return nil
}

// valid is the rule for the commits of this member: it decides which of the proposals that wait a commit holds, and
// whether it is made. Afterwards l holds what the list does to the tree.
func (l *proposalList) valid(g *Group) error {
	now := g.now
	if err := l.checkLimits(now.tree, g.limits); err != nil {
		return err
	}
	if err := l.check(&now.context, now.tree, g.cfg); err != nil {
		return err
	}
	if err := l.apply(&now.context, now.tree, g.limits); err != nil {
		return err
	}
	for i := range l.all {
		if p, ok := l.all[i].Proposal.(*PreSharedKey); ok && !l.all[i].judged {
			k, err := g.psk(&p.ID)
			if err != nil {
				return err
			}
			clear(k)
		}
	}
	return l.judge(g.cfg, &now.context, now.tree)
}

// judgeSenders asks about those who may propose from outside, but for those who might before.
func (c *Config) judgeSenders(stage Stage, r Roster, now, before Extensions) error {
	senders, err := externalSenders(now)
	if err != nil {
		return err
	}
	old, err := externalSenders(before)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(old))
	for _, s := range old {
		known[string(s.append(nil))] = true
	}
	for _, s := range senders {
		if known[string(s.append(nil))] {
			continue
		}
		if err := c.judge(&Presented{Place: PlaceProposer, Stage: stage, Roster: r, Credential: s.Credential, SignatureKey: s.SignatureKey}); err != nil {
			return within(err, "external_senders")
		}
	}
	return nil
}

// needsPath reports whether the commit must bring new keys (section 12.4).
func (l *proposalList) needsPath() bool {
	return len(l.all) == 0 || slices.ContainsFunc(l.all, func(c Committed) bool {
		switch c.Proposal.Type() {
		case ProposalAdd, ProposalPSK, ProposalReInit:
			return false
		}
		return true
	})
}

// addedSet is the new leaves as a set: no path secret is encrypted for them.
func (l *proposalList) addedSet() map[LeafIndex]bool {
	set := make(map[LeafIndex]bool, len(l.added))
	for _, i := range l.added {
		set[i] = true
	}
	return set
}
