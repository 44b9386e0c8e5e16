package mls

import (
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// Change is a commit that was made or received and has been verified, and has not happened yet: Apply makes it happen,
// as a whole. Not applying it leaves the group as it was; Discard wipes what it holds.
//
// The fields say all that it will do, for whoever decides whether it may. They are copies: nothing happens when they
// are changed.
type Change struct {
	Sender Sender // of the commit
	Epoch  uint64 // that it leads to
	AAD    []byte // authenticated_data of the commit

	// Committer is the leaf of who made the commit. If there is a path its leaf node is another after it; the same one
	// otherwise. Of an external commit it is the leaf that the joiner takes, with nobody before.
	Committer LeafChange
	External  bool        // the committer was no member: it joins by this commit
	Replaces  *LeafChange // of an external commit: the leaf that the joiner removes, its own one of old; nil: none

	Proposals []Committed  // all, in the order of the commit, with who made each
	Added     []LeafChange // who comes: by Add in the order of those, and a joiner by its external commit
	Removed   []LeafChange // who goes, in the order of the removes
	Updated   []LeafChange // whose leaf node is replaced: by Update in the order of those, and the committer's by its path

	Extensions  *GroupContextExtensions // those that replace the group's; nil: they stay
	PSKs        []PSKID                 // the pre-shared keys that are mixed in, in their order
	ReInit      *ReInit                 // ends the group; nil: it goes on
	SelfRemoved bool                    // this member is no longer in the group after it

	// Of commits of this member: what to send. Welcomes are for those who were added, in the order of Added if they
	// are separate.
	Commit   []byte
	Welcomes [][]byte
	Note     []byte // CommitOptions.Note

	group *Group
	base  *epoch
	next  *epoch // nil: this member is removed
	end   *ReInit
	made  madeCommit
	done  bool
}

// madeCommit is what is kept, and saved, of a commit of this member: what the fields show are copies.
type madeCommit struct {
	sent     []byte
	welcomes [][]byte
	aad      []byte
	keep     bool
	note     []byte
	all      []Committed
	added    []LeafIndex // of the adds in all
}

// show fills in what is to be sent.
func (c *Change) show() {
	c.AAD, c.Commit, c.Note = slices.Clone(c.made.aad), slices.Clone(c.made.sent), slices.Clone(c.made.note)
	for _, w := range c.made.welcomes {
		c.Welcomes = append(c.Welcomes, slices.Clone(w))
	}
}

// LeafChange is what a commit does to one leaf of the tree. Where one member goes and another comes to its leaf there
// are two of them.
type LeafChange struct {
	Leaf   LeafIndex
	Before *LeafNode // who sits there before; nil: who comes now
	After  *LeafNode // who sits there after; nil: who goes now
	By     Sender    // who proposed it; the committer where it needs no proposal
}

// describe fills in what the change does. all are its proposals, added the leaves of those who come; the trees are
// those before and after it.
func (c *Change) describe(before, after *tree, all []Committed, added []LeafIndex) {
	c.External = c.Sender.Type == SenderNewMemberCommit
	c.Proposals = make([]Committed, len(all))
	adds := added
	for i := range all {
		p := all[i].copied()
		c.Proposals[i] = p
		switch x := p.Proposal.(type) {
		case *Add:
			c.Added = append(c.Added, LeafChange{Leaf: adds[0], After: after.leaf(adds[0]).copied(), By: p.Sender})
			adds = adds[1:]
		case *Update:
			at := p.Sender.Leaf
			c.Updated = append(c.Updated, LeafChange{at, before.leaf(at).copied(), after.leaf(at).copied(), p.Sender})
		case *Remove:
			c.Removed = append(c.Removed, LeafChange{Leaf: x.Leaf, Before: before.leaf(x.Leaf).copied(), By: p.Sender})
		case *GroupContextExtensions:
			c.Extensions = &GroupContextExtensions{x.Extensions.copied()}
		case *PreSharedKey:
			c.PSKs = append(c.PSKs, x.ID.copied())
		case *ReInit:
			c.ReInit = x.copied()
		}
	}
	if c.External {
		at := adds[0]
		c.Committer = LeafChange{Leaf: at, After: after.leaf(at).copied(), By: c.Sender}
		c.Added = append(c.Added, c.Committer.copied())
		if len(c.Removed) > 0 {
			old := c.Removed[0].copied()
			c.Replaces = &old
		}
		return
	}
	at := c.Sender.Leaf
	old, now := before.leaf(at), after.leaf(at)
	c.Committer = LeafChange{at, old.copied(), now.copied(), c.Sender}
	if !old.Equal(now) {
		c.Updated = append(c.Updated, c.Committer.copied())
	}
}

// Apply makes the change happen. A commit of this member is applied when the delivery service has accepted it, or
// before it is sent where nobody else commits (CommitOptions.Keep); of several commits of one epoch only one can be.
// One that can be applied no more, because its epoch is over, is wiped.
func (c *Change) Apply() error {
	switch {
	case c.done:
		return refuse(Misuse, "14", "the change was applied or discarded before")
	case c.group.removed:
		c.wipe()
		return c.group.usable()
	case c.group.now != c.base:
		c.wipe()
		return refuse(PastEpoch, "14", "the change leads out of epoch %d, the group is in %d", c.base.context.epoch, c.group.Epoch())
	}
	c.finish()
	if c.next == nil {
		c.group.Wipe()
		return nil
	}
	c.group.reinit = c.end
	c.group.enter(c.next)
	if c.made.keep {
		c.group.unsent = append(c.group.unsent, c)
		c.base, c.next = nil, nil // only what is to be sent is kept
	}
	return nil
}

// Discard wipes the secrets of a change that will not be applied. One of ours that is neither applied nor discarded is
// kept until its epoch is over, so that its commit is known when it comes back.
func (c *Change) Discard() {
	if c.done {
		return
	}
	c.finish()
	c.wipe()
}

func (c *Change) wipe() {
	if c.next == nil {
		return
	}
	if c.next.messages != nil { // nil of a commit that failed halfway
		c.next.messages.wipe()
	}
	c.next.secrets.wipe()
	c.next.keys.wipe()
}

// finish notes that the change was applied or discarded.
func (c *Change) finish() {
	c.done = true
	if slices.Contains(c.group.unapplied, c) {
		c.group.changed(partSecret)
	}
	c.group.unapplied = slices.DeleteFunc(c.group.unapplied, func(o *Change) bool { return o == c })
}

// copied is a copy that shares nothing.
func (l LeafChange) copied() LeafChange {
	return LeafChange{l.Leaf, l.Before.copied(), l.After.copied(), l.By}
}

// copied is a copy that shares nothing; nil of nil.
func (l *LeafNode) copied() *LeafNode {
	if l == nil {
		return nil
	}
	c := readLeafNode(codec.NewReader(l.append(nil)))
	c.client = l.client
	return c
}

// copied is a copy that shares nothing.
func (c *Committed) copied() Committed {
	r := codec.NewReader(appendProposal(nil, c.Proposal))
	return Committed{Proposal: readProposal(r), Sender: c.Sender, ByReference: c.ByReference}
}

// copied is a copy that shares nothing.
func (p *ReInit) copied() *ReInit {
	return &ReInit{slices.Clone(p.GroupID), p.Version, p.CipherSuite, p.Extensions.copied()}
}

// copied is a copy that shares nothing.
func (p *PSKID) copied() PSKID {
	c := *p
	c.ID, c.GroupID, c.Nonce = slices.Clone(p.ID), slices.Clone(p.GroupID), slices.Clone(p.Nonce)
	return c
}

// copied is a copy that shares nothing.
func (e Extensions) copied() Extensions {
	c := make(Extensions, len(e))
	for i, x := range e {
		c[i] = Extension{x.Type, slices.Clone(x.Data)}
	}
	return c
}
