package mls

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// What people reported of other implementations of the RFC.

// mls-rs, pull request 352: trees that a group comes to by adds and removals, and that a joiner refuses, since a blank
// node above one with other unmerged leaves hid them from the parent hash.
func TestTreesOfManyHistories(t *testing.T) {
	t.Parallel()
	seeds := uint64(1)
	if long {
		seeds = 2
	}
	for seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 352))
		c := newCrowd(t, 1, 5)
		name := 0
		for range 30 {
			by := random.IntN(len(c.members))
			o := CommitOptions{Path: random.IntN(3) == 0}
			if len(c.members) > 3 && random.IntN(5) < 2 {
				if gone := random.IntN(len(c.members)); gone != by {
					o.Proposals = append(o.Proposals, &Remove{c.members[gone].group.Own()})
				}
			}
			var joiners []*person
			for range random.IntN(3) {
				if len(c.members)+len(joiners) < 16 {
					p := newPerson(t, 1, fmt.Sprintf("%d of %d", name, seed))
					name++
					joiners = append(joiners, p)
					o.Proposals = append(o.Proposals, &Add{p.keyPackage()})
				}
			}
			ch := c.commit(by, o)
			for _, p := range joiners { // who verifies the whole tree
				p.group = must[*Group](t)(Join(p.cfg, ch.Welcomes[0], JoinOptions{}))
				c.members = append(c.members, p)
			}
			for _, p := range c.members {
				c.checkKeys(p)
			}
		}
		c.agree()
	}
}

// mls-rs, pull request 308: a member with a commit of its own on its way is taken out, or not, by the external commit
// of its client or another.
func TestExternalCommitsBeforeOurOwn(t *testing.T) {
	for _, resync := range []LeafIndex{1, 2, noLeaf} {
		c := newCrowd(t, 1, 3)
		c.commit(2, CommitOptions{})
		g := c.members[1].group
		own := must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{&Add{newPerson(t, 1, "late").keyPackage()}}}))
		o := ExternalOptions{}
		if resync != noLeaf {
			o.Resync = &resync
		}
		joiner := newPerson(t, 1, "joiner")
		if resync != noLeaf { // it takes out nobody else
			joiner.cfg.Credential = c.members[resync].cfg.Credential
		}
		var msg []byte
		var err error
		if joiner.group, msg, err = JoinExternal(joiner.cfg, must[[]byte](t)(c.members[0].group.GroupInfo(true, true)), o); err != nil {
			t.Fatal(err)
		}
		stay := []*person{joiner}
		for _, p := range c.members {
			r := must[*Received](t)(p.group.Process(msg))
			if err := r.Change.Apply(); err != nil {
				t.Fatal(err)
			}
			if p.group.Active() {
				stay = append(stay, p)
			}
		}
		if want := PastEpoch; resync == 1 {
			wantRefusal(t, own.Apply(), Removed, "12.4.2: no longer in the group")
		} else {
			wantRefusal(t, own.Apply(), want, "14: the change leads out of epoch")
		}
		c.members = stay
		c.agree()
	}
}

// mls-rs, issue 233: the resumption key of the current epoch is not found.
func TestResumptionKeyOfThisEpoch(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[1].group
	c.commit(1, CommitOptions{Proposals: []Proposal{must[*PreSharedKey](t)(g.NewResumptionPSK(g.ID(), g.Epoch()))}})
	c.agree()
	for _, epoch := range []uint64{g.Epoch() + 1, 0} { // to come, and from before this member joined
		_, err := g.Commit(CommitOptions{Proposals: []Proposal{must[*PreSharedKey](t)(g.NewResumptionPSK(g.ID(), epoch))}})
		wantRefusal(t, err, Missing, "8.6: resumption key of epoch")
	}
}

// ts-mls, pull request 625: what the group requires is not asked of every leaf that comes into it.
func TestRequirementsOfEveryLeaf(t *testing.T) {
	lists := func(c *Config) { c.Capabilities.Proposals = []ProposalType{0xf00d} }
	c := newCrowd(t, 1, 3, lists)
	c.commit(0, CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{RequiredCapabilities{Proposals: []ProposalType{0xf00d}}.Extension()}}}})
	victim := c.members[1].group
	const want = "7.3: which the group requires"

	path := c.forge(0, must[*Change](t)(c.members[0].group.Commit(CommitOptions{})))
	path.leaf(func(l *LeafNode) { l.Capabilities.Proposals = nil })
	_, err := victim.Process(path.sign())
	wantRefusal(t, err, Invalid, want)

	join := c.forgeJoin(newPerson(t, 1, "joiner", lists), ExternalOptions{})
	join.leaf(func(l *LeafNode) { l.Capabilities.Proposals = nil })
	_, err = victim.Process(join.sign())
	wantRefusal(t, err, Invalid, want)
	_, _, err = JoinExternal(newPerson(t, 1, "joiner").cfg, must[[]byte](t)(c.members[0].group.GroupInfo(true, true)), ExternalOptions{})
	wantRefusal(t, err, Invalid, want)

	add := c.forge(0, must[*Change](t)(c.members[0].group.Commit(CommitOptions{})))
	add.add(&Add{newPerson(t, 1, "other").keyPackage()})
	_, err = victim.Process(add.sign())
	wantRefusal(t, err, Invalid, want)

	update := must[[]byte](t)(c.members[2].group.ProposeUpdate(Identity{}, nil))
	m := parse(t, update).public
	l := copyLeaf(m.content.body.proposal.(*Update).Leaf)
	l.Capabilities.Proposals = nil
	signLeaf(t, victim.suite, l, c.members[2].group.now.signer, victim.ID(), 2)
	m.content.body.proposal = &Update{l}
	update = signed(t, c.members[2].group, c.members[2].group.now.signer, m.content, nil)
	for _, p := range c.members[:2] {
		must[*Received](t)(p.group.Process(update))
	}
	refers := c.forge(0, must[*Change](t)(c.members[0].group.Commit(CommitOptions{SkipPending: true})))
	refers.refer()
	_, err = victim.Process(refers.sign())
	wantRefusal(t, err, Invalid, want)
}

// OpenMLS, pull request 1180: a commit that holds some of the proposals that wait, and not others.
func TestCommitsOfSomeProposals(t *testing.T) {
	c := newCrowd(t, 1, 4)
	c.propose(0, &Remove{3})
	c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
	g := c.members[2].group
	g.setPending(g.proposals[1:]) // one of those that came
	if ch := c.commit(2, CommitOptions{}); len(ch.Proposals) != 1 {
		t.Errorf("committed %v", ch.Proposals)
	}
	for _, p := range c.members {
		if len(p.group.Pending()) != 0 {
			t.Errorf("%s keeps a proposal of an epoch that is over", p.name)
		}
	}
	c.agree()
}
