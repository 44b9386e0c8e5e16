package mls

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// Outstanding are the commits of this member that it has neither applied nor discarded in this epoch, in the order in
// which they were made; also those from before a restart. The one whose Commit comes back is applied. That ends the
// others, as does another member's commit: theirs is PastEpoch then.
func (g *Group) Outstanding() []*Change { return slices.Clone(g.unapplied) }

// maxUnsent is how many commits may be kept that others do not have.
const maxUnsent = 64

// Unsent are the commits of this member that were made with CommitOptions.Keep and applied, until Sent is called of
// them: in their order, and also after a restart. Of one from before a restart only Sender, Epoch, AAD, Commit,
// Welcomes and Note are known.
func (g *Group) Unsent() []*Change { return slices.Clone(g.unsent) }

// Sent says that a commit of Group.Unsent, and its welcomes, need not be kept any more: those whom they are for have
// them. It is saved with the next Save, and a crash before that leaves it to be sent once more. Of others it does
// nothing.
func (c *Change) Sent() {
	g := c.group
	if i := slices.Index(g.unsent, c); i >= 0 {
		g.unsent = slices.Delete(slices.Clone(g.unsent), i, i+1)
		g.ledger.sent = append(g.ledger.sent, c.Epoch)
	}
}

// appendUnsent appends a commit that is kept until it has been sent.
func (c *Change) appendUnsent(dst []byte) []byte {
	return c.appendMessages(binary.BigEndian.AppendUint64(dst, c.Epoch))
}

func (g *Group) readUnsent(r *codec.Reader) {
	c := &Change{Sender: Sender{Type: SenderMember, Leaf: g.now.own}, Epoch: r.Uint64(), group: g, done: true}
	c.readMessages(r)
	c.show()
	g.unsent = append(g.unsent, c)
}

// appendMessages appends what is to be sent of a commit, and what the application notes of it.
func (c *Change) appendMessages(dst []byte) []byte {
	dst = codec.AppendOpaque(codec.AppendOpaque(dst, c.made.aad), c.made.sent)
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, w := range c.made.welcomes {
			dst = codec.AppendOpaque(dst, w)
		}
		return dst
	})
	return codec.AppendOpaque(dst, c.made.note)
}

// readMessages reads what appendMessages wrote, and copies it.
func (c *Change) readMessages(r *codec.Reader) {
	c.made.aad, c.made.sent = bytes.Clone(r.Opaque()), bytes.Clone(r.Opaque())
	r.Vector(codec.MaxVector, func(r *codec.Reader) { c.made.welcomes = append(c.made.welcomes, bytes.Clone(r.Opaque())) })
	c.made.note = bytes.Clone(r.Opaque())
}

// messagesRoom is at least the length of what appendMessages appends.
func (c *Change) messagesRoom() int {
	n := 32 + len(c.made.aad) + len(c.made.sent) + len(c.made.note)
	for _, w := range c.made.welcomes {
		n += 4 + len(w)
	}
	return n
}

// packChanges gives what of the commits on their way is not secret, in their order.
func (g *Group) packChanges() [][]byte {
	var all [][]byte
	for _, c := range g.unapplied {
		all = append(all, c.append(make([]byte, 0, c.room())))
	}
	return all
}

// room is about the length of what append appends.
func (c *Change) room() int {
	n := 256 + 4*len(c.made.added) + c.messagesRoom() + c.next.publicRoom(c.base.tree)
	for _, p := range c.made.all {
		n += 16 + lengthOf(p.Proposal)
	}
	return n
}

// append appends what of a commit of this member is not secret. What the change will do is told by that.
func (c *Change) append(dst []byte) []byte {
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, p := range c.made.all {
			dst = appendBool(p.Sender.append(appendProposal(dst, p.Proposal)), p.ByReference)
		}
		return dst
	})
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, l := range c.made.added {
			dst = binary.BigEndian.AppendUint32(dst, uint32(l))
		}
		return dst
	})
	return c.next.appendPublic(c.appendMessages(appendBool(dst, c.made.keep)), c.base.tree)
}

// readChange reads what append wrote, as an opaque.
func (g *Group) readChange(in *codec.Reader) *Change {
	r := codec.NewReader(bytes.Clone(in.Opaque()))
	c := &Change{Sender: Sender{Type: SenderMember, Leaf: g.now.own}, group: g, base: g.now}
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		p := Committed{Proposal: readProposal(r), Sender: readSender(r), ByReference: r.Optional()}
		c.made.all = append(c.made.all, p)
		if end, ok := p.Proposal.(*ReInit); ok {
			c.end = end
		}
	})
	r.Vector(codec.MaxVector, func(r *codec.Reader) { c.made.added = append(c.made.added, LeafIndex(r.Uint32())) })
	c.made.keep = r.Optional()
	c.readMessages(r)
	c.next = readPublicEpoch(r, g.suite, g.limits, g.now.tree)
	err := r.Finish()
	if err == nil && !c.fits() {
		err = errStateChange
	}
	if err != nil {
		in.Fail(err)
		return c
	}
	c.Epoch = c.next.context.epoch
	c.show()
	return c
}

// describeUnapplied fills in what restored commits do, when it is known whose leaves they name.
func (g *Group) describeUnapplied() {
	for _, c := range g.unapplied {
		c.describe(c.base.tree, c.next.tree, c.made.all, c.made.added)
	}
}

// fits reports whether the leaves that a restored commit names are in the trees before and after it.
func (c *Change) fits() bool {
	before, after, adds := c.base.tree, c.next.tree, 0
	for _, p := range c.made.all {
		switch x := p.Proposal.(type) {
		case *Add:
			if adds++; adds > len(c.made.added) || after.leaf(c.made.added[adds-1]) == nil {
				return false
			}
		case *Update:
			if before.leaf(p.Sender.Leaf) == nil || after.leaf(p.Sender.Leaf) == nil {
				return false
			}
		case *Remove:
			if before.leaf(x.Leaf) == nil {
				return false
			}
		}
	}
	return adds == len(c.made.added) && after.leaf(c.Sender.Leaf) != nil
}
