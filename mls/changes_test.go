package mls

import (
	"bytes"
	"testing"
)

// Of several changes prepared in one epoch one happens; the others are refused, and discarding one leaves no trace.
func TestChangesHappenAsAWhole(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[0].group
	before := g.EpochAuthenticator()
	a := must[*Change](t)(g.Commit(CommitOptions{}))
	b := must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{&Remove{2}}}))
	other := must[*Change](t)(c.members[1].group.Commit(CommitOptions{}))
	received := must[*Received](t)(g.Process(other.Commit)).Change
	if g.Epoch() != 1 || !bytes.Equal(g.EpochAuthenticator(), before) {
		t.Fatal("preparing changed the group")
	}
	a.Discard()
	wantKind(t, a.Apply(), Misuse)
	if err := received.Apply(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, b.Apply(), WrongEpoch)
	b.Discard()
	if err := other.Apply(); err != nil {
		t.Fatal(err)
	}
	r := must[*Received](t)(c.members[2].group.Process(other.Commit))
	if err := r.Change.Apply(); err != nil {
		t.Fatal(err)
	}
	c.agree()
	wantKind(t, received.Apply(), Misuse)
}
