package mls

import (
	"cmp"
	"slices"
)

// choice is how a commit of ours comes to its list: what the caller brings, and all of what waits that can stand beside
// it (RFC 9420, section 12.4). What is no longer valid, what the application refuses and what does not go together with
// the rest is left out.
type choice struct {
	group     *Group
	committer Sender
	byValue   []Committed
	waiting   []Committed // eligible ones, in order of arrival

	chosen []int         // of waiting, ascending
	best   *proposalList // byValue with those
	tried  int           // lists, by pick
}

// maxTries is how many lists are tried of n proposals. Each that does not fit costs two, and once more when others have
// been chosen: so it takes many members who hand their signature keys on to each other to get there, and what was found
// until then is committed.
func maxTries(n int) int { return 256 + 8*n }

// list is the largest list that was found, judged and applied to a tree; an error is that of byValue alone. The rule is
// proposalList.valid for each list that is tried, so that what is chosen can be committed. Lists are tried whole and in
// halves: a few that do not fit among many cost little.
func (c *choice) list() (*proposalList, error) {
	all := make([]int, len(c.waiting))
	for i := range all {
		all[i] = i
	}
	err := c.try(all)
	if err == nil || len(all) == 0 {
		return c.best, err
	}
	err = c.try(nil)
	// Removals make room for adds of the same client, and new extensions for leaves that lack what was required: they
	// come first, whatever the order of arrival. What failed is tried again when more has been chosen.
	slices.SortStableFunc(all, func(i, j int) int { return cmp.Compare(c.rank(i), c.rank(j)) })
	if err != nil && c.complete(all) {
		all = slices.DeleteFunc(all, func(i int) bool { return slices.Contains(c.chosen, i) })
	}
	for before := -1; len(c.chosen) > before && len(all) > 0; {
		before = len(c.chosen)
		all = c.pick(all)
	}
	if c.best == nil {
		return nil, err
	}
	return c.best, nil
}

// complete tries what byValue may lack where it is not valid alone: all removals that wait, then what comes after them
// in list as well, rank by rank. Halves of list could part two of which byValue needs both.
func (c *choice) complete(list []int) bool {
	for i := range list {
		if i+1 < len(list) && c.rank(list[i]) == c.rank(list[i+1]) {
			continue
		}
		if c.try(slices.Sorted(slices.Values(list[:i+1]))) == nil {
			return true
		}
	}
	return false
}

// rank is when a proposal is tried.
func (c *choice) rank(i int) int {
	switch c.waiting[i].Proposal.Type() {
	case ProposalRemove:
		return 0
	case ProposalGroupContextExtensions:
		return 1
	case ProposalUpdate:
		return 2
	case ProposalAdd:
		return 4
	}
	return 3
}

// pick chooses of list what fits, and returns what does not.
func (c *choice) pick(list []int) []int {
	if c.tried++; c.tried > maxTries(len(c.waiting)) {
		return list
	}
	if len(list) == 0 || c.try(slices.Sorted(slices.Values(slices.Concat(c.chosen, list)))) == nil {
		return nil
	}
	if len(list) == 1 {
		return list
	}
	half := len(list) / 2
	left := c.pick(list[:half])
	return slices.Concat(left, c.pick(list[half:]))
}

// try judges byValue with those of waiting, and keeps the list if it is valid.
func (c *choice) try(of []int) error {
	l := &proposalList{suite: c.group.suite, committer: c.committer, ours: true}
	for _, i := range of {
		l.all = append(l.all, c.waiting[i])
	}
	l.all = append(l.all, c.byValue...)
	if err := l.valid(c.group); err != nil {
		return err
	}
	c.chosen, c.best = of, l
	return nil
}

// eligible are the proposals that wait and that a commit of ours with byValue may hold (section 12.2): those that are
// valid now by themselves, and not our own updates; of several for one leaf a removal, else the newest update; of
// several that bring the same client or key the first, and none where byValue does; a reinit only alone, and not where
// there are more.
func (g *Group) eligible(byValue []Committed) []Committed {
	var list []Committed
	for _, p := range g.proposals {
		c := p.Committed
		if c.Sender == (Sender{Type: SenderMember, Leaf: g.now.own}) && c.Proposal.Type() == ProposalUpdate ||
			slices.ContainsFunc(byValue, c.rivals) || g.judgeWaiting(&c) != nil {
			continue
		}
		list = append(list, c)
	}
	of := map[LeafIndex]int{} // index of the proposal for a leaf
	first := map[string]int{} // of what may be brought once
	rest := 0
	for i, c := range list {
		leaf, once := c.subject()
		if j, ok := of[leaf]; leaf != noLeaf && (!ok || list[j].Proposal.Type() == ProposalUpdate) {
			of[leaf] = i
		}
		if _, ok := first[once]; !ok {
			first[once] = i
		}
		if c.Proposal.Type() != ProposalReInit {
			rest++
		}
	}
	var chosen []Committed
	for i, c := range list {
		leaf, once := c.subject()
		switch {
		case leaf != noLeaf && (of[leaf] != i || leaf == g.now.own), once != "" && first[once] != i:
			continue
		case c.Proposal.Type() == ProposalReInit && (rest > 0 || len(byValue) > 0 || len(chosen) > 0):
			continue
		}
		chosen = append(chosen, c)
	}
	return chosen
}

const noLeaf = ^LeafIndex(0)

// subject is what a commit may hold only one proposal for: a leaf, or the client of an add or the name of a pre-shared
// key.
func (c *Committed) subject() (leaf LeafIndex, once string) {
	switch p := c.Proposal.(type) {
	case *Update:
		return c.Sender.Leaf, ""
	case *Remove:
		return p.Leaf, ""
	case *Add:
		return noLeaf, "a" + string(p.KeyPackage.Leaf.SignatureKey)
	case *PreSharedKey:
		return noLeaf, "p" + string(p.ID.append(nil))
	}
	return noLeaf, ""
}

// rivals reports whether no commit may hold both c and o (section 12.2).
func (c *Committed) rivals(o Committed) bool {
	leaf, once := c.subject()
	otherLeaf, otherOnce := o.subject()
	return leaf == otherLeaf && leaf != noLeaf || once == otherOnce && once != "" ||
		c.Proposal.Type() == ProposalGroupContextExtensions && o.Proposal.Type() == ProposalGroupContextExtensions
}

// judgeWaiting is what has to be said of a proposal that waits when it is to be committed and not before: whether its
// key package is valid now, what the application says of credentials, and whether a pre-shared key is here. It is said
// once a commit.
func (g *Group) judgeWaiting(c *Committed) error {
	alone := proposalList{suite: g.suite, all: []Committed{*c}}
	if err := alone.checkStrict(); err != nil {
		return err
	}
	switch p := c.Proposal.(type) {
	case *Add:
		if err := checkLeafLifetime(p.KeyPackage.Leaf, g.cfg.Now(), g.cfg.ClockSlack); err != nil {
			return err
		}
	case *PreSharedKey:
		k, err := g.psk(&p.ID)
		if err != nil {
			return err
		}
		clear(k)
	}
	err := c.judge(g.cfg, StageCommit, &g.now.context, g.now.tree)
	c.judged = err == nil
	return err
}

// unsupported reports whether c is of a type that this member does not know, and that nobody can commit as long as it
// is here.
func (g *Group) unsupported(c *Committed) bool {
	caps := &g.now.tree.leaf(g.now.own).Capabilities
	return isGREASE(c.Proposal.Type()) || !caps.hasProposal(c.Proposal.Type())
}
