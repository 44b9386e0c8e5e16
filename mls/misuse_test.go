package mls

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// Errors are told apart by errors.Is, with their kind and with their cause.
func TestErrorsAreCompared(t *testing.T) {
	cause := errors.New("cause")
	for _, err := range []error{refuseFor(Missing, "8.4", cause, "x"), within(refuseFor(Missing, "8.4", cause, "x"), "y"),
		fmt.Errorf("of the caller: %w", refuseFor(Missing, "8.4", cause, "x"))} {
		if !errors.Is(err, Missing) || !errors.Is(err, cause) || errors.Is(err, Invalid) || KindOf(err) != Missing {
			t.Errorf("%v: kind %v", err, KindOf(err))
		}
	}
	if errors.Is(cause, Missing) || errors.Is(nil, Missing) {
		t.Error("an error of others has a kind")
	}
}

// Proposals that are nil, or lack what they need, are refused before anything is done with them.
func TestProposalsThatAreNil(t *testing.T) {
	c := newCrowd(t, 1, 2)
	g, cfg := c.members[0].group, c.members[0].cfg
	for _, p := range []Proposal{nil, (*Add)(nil), &Add{}, &Add{&KeyPackage{}}, (*Update)(nil), &Update{}, (*Remove)(nil), (*PreSharedKey)(nil), (*ReInit)(nil),
		(*ExternalInit)(nil), (*GroupContextExtensions)(nil), (*UnknownProposal)(nil)} {
		unchanged(t, g, func() {
			const want = "12.1: is nil, or what it needs is"
			_, err := g.Commit(CommitOptions{Proposals: []Proposal{p}})
			wantRefusal(t, err, Misuse, want)
			if _, ok := p.(*Update); !ok {
				_, err = g.Propose(p, nil)
				wantRefusal(t, err, Misuse, want)
			}
			_, err = ProposeFromOutside(cfg, g.ID(), 1, 0, p)
			wantRefusal(t, err, Misuse, want)
			if a, ok := p.(*Add); ok && a != nil {
				_, err = ProposeSelf(cfg, g.ID(), 1, a.KeyPackage)
				wantRefusal(t, err, Misuse, want)
				_, _, err = g.Branch(newPerson(t, 1, "m0").cfg, nil, []*KeyPackage{a.KeyPackage})
				wantRefusal(t, err, Misuse, want)
			}
		})
	}
}

// A group whose application no longer says whom to believe believes nobody.
func TestNobodyIsBelievedUnasked(t *testing.T) {
	c := newCrowd(t, 1, 2)
	g := c.members[0].group
	k := newPerson(t, 1, "new").keyPackage()
	commit := must[*Change](t)(c.members[1].group.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}})).Commit
	c.members[0].cfg.Credentials = nil
	const want = "5.3.1: Config.Credentials is nil: nobody is believed"
	_, err := g.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}})
	wantRefusal(t, err, Refused, want)
	_, err = g.Process(commit)
	wantRefusal(t, err, Refused, want)
}

// A group info holds the tree once, whoever adds it.
func TestTreeStandsOnce(t *testing.T) {
	g := newCrowd(t, 1, 2).members[0].group
	o := CommitOptions{Proposals: []Proposal{&Add{newPerson(t, 1, "new").keyPackage()}}, GroupInfo: Extensions{{ExtensionRatchetTree, g.Tree()}}}
	unchanged(t, g, func() {
		_, err := g.Commit(o)
		wantRefusal(t, err, Invalid, "13.4: group info: ratchet_tree stands in a list of extensions twice")
	})
}

// A member's proposals keep others from sending (section 12.4) only if Config.Proposals lets them in.
func TestProposalsThatMayNotMute(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[0].group
	msg := must[[]byte](t)(c.members[1].group.Propose(&Remove{2}, nil))
	c.members[0].cfg.Proposals = func(*Proposed) error { return errMuted }
	_, err := g.Process(msg)
	wantRefusal(t, err, Refused, "12.1.8: remove of member 1 was refused")
	must[[]byte](t)(g.Protect(nil, []byte("data"), nil))
	c.members[0].cfg.Proposals = nil
	must[*Received](t)(g.Process(msg))
	_, err = g.Protect(nil, []byte("data"), nil)
	wantRefusal(t, err, CommitDue, "12.4: 1 proposals wait")
}

var errMuted = refuse(Refused, "", "only the moderator commits")

// A reinit to an empty id that others made is followed to the letter.
func TestReInitToAnEmptyID(t *testing.T) {
	c := newCrowd(t, 1, 2)
	l := &proposalList{suite: c.members[0].group.suite, committer: Sender{Type: SenderMember}, all: []Committed{{Proposal: &ReInit{Version: MLS10, CipherSuite: 1}}}}
	g := c.members[0].group
	if err := l.valid(g); err != nil {
		t.Fatal(err)
	}
	ch := must[*Change](t)(g.commit(l, CommitOptions{}))
	if err := must[*Received](t)(c.members[1].group.Process(ch.Commit)).Change.Apply(); err != nil {
		t.Fatal(err)
	}
	joiner := newPerson(t, 1, "m0")
	next, first, err := c.members[1].group.Continue(newPerson(t, 1, "m1").cfg, []*KeyPackage{joiner.keyPackage()})
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	joined := must[*Group](t)(Join(joiner.cfg, first.Welcomes[0], JoinOptions{Continues: g}))
	if len(next.ID()) != 0 || len(joined.ID()) != 0 {
		t.Errorf("ids %x, %x", next.ID(), joined.ID())
	}
}

// A member who lost its place comes back by a commit of its own that proves that it was there, and joins no group that
// it is in.
func TestExternalJoinWithAResumptionKey(t *testing.T) {
	c := newCrowd(t, 1, 3)
	old := c.members[2].group
	epoch, key := old.Epoch(), must[[]byte](t)(old.ResumptionPSK(old.Epoch()))
	c.members = c.members[:2]
	c.commit(0, CommitOptions{})
	info := must[[]byte](t)(c.members[0].group.GroupInfo(true, true))
	leaf := LeafIndex(2)
	back := newPerson(t, 1, "m2", func(c *Config) { c.Rand = stream("again") })
	back.cfg.Key = must[*SigningKey](t)(GenerateSigningKey(1, back.cfg.Rand))
	back.cfg.PSK = func(id *PSKID) ([]byte, error) {
		if id.Type == PSKResumption && id.Usage == UsageApplication && string(id.GroupID) == "the group" && id.Epoch == epoch {
			return key, nil
		}
		return nil, nil
	}
	o := ExternalOptions{Resync: &leaf, Resumption: []PSKID{{GroupID: []byte("the group"), Epoch: epoch}}, InUse: func([]byte) bool { return true }}
	g, msg, err := JoinExternal(back.cfg, info, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.members {
		ch := must[*Received](t)(p.group.Process(msg)).Change
		if len(ch.Proposals) != 3 {
			t.Errorf("proposals %+v", ch.Proposals)
		}
		if err := ch.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	back.group = g
	c.members = append(c.members, back)
	c.agree()

	asked := false
	_, _, err = JoinExternal(newPerson(t, 1, "x").cfg, must[[]byte](t)(g.GroupInfo(true, true)), ExternalOptions{InUse: func(id []byte) bool {
		asked = bytes.Equal(id, g.ID())
		return true
	}})
	if wantRefusal(t, err, Invalid, "12.4.3.1: this client is in a group"); !asked {
		t.Error("nobody was asked")
	}
}

// A member that takes another identity with its commit is judged as the others will judge it (section 7.3).
func TestOwnNewIdentities(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[0].group
	_, err := g.Commit(CommitOptions{Identity: Identity{Key: c.members[1].cfg.Key}})
	wantRefusal(t, err, Invalid, "7.3: leaves 0 and 1 have the same signature_key")
	_, err = g.Commit(CommitOptions{Identity: Identity{Credential: Credential{Type: 0xf00d}}})
	wantRefusal(t, err, Invalid, "7.3: does not support credential type 0xf00d, which the group uses")
	key := must[*SigningKey](t)(GenerateSigningKey(1, stream("another")))
	c.commit(0, CommitOptions{Identity: Identity{Key: key, Credential: BasicCredential([]byte("another"))}})
	c.agree()
}

// A session tells apart, by errors.Is alone, what it does another thing about each time.
func TestKindsThatSessionsTellApart(t *testing.T) {
	c := newCrowd(t, 1, 3)
	a, b := c.members[0].group, c.members[1].group
	old := must[[]byte](t)(a.Protect(nil, []byte("x"), nil))
	ch := must[*Change](t)(a.Commit(CommitOptions{}))
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	next := must[[]byte](t)(a.Protect(nil, []byte("x"), nil))
	nextCommit := must[*Change](t)(a.Commit(CommitOptions{})).Commit
	for _, msg := range [][]byte{next, nextCommit} { // a commit is missing
		if _, err := b.Process(msg); !errors.Is(err, FutureEpoch) || errors.Is(err, PastEpoch) {
			t.Errorf("of an epoch to come: %v", err)
		}
	}
	mine := must[*Change](t)(b.Commit(CommitOptions{}))
	if err := must[*Received](t)(b.Process(ch.Commit)).Change.Apply(); err != nil {
		t.Fatal(err)
	}
	b.forget(0, 0)
	for _, msg := range [][]byte{old, ch.Commit} { // to be acknowledged, and no more
		if _, err := b.Process(msg); !errors.Is(err, PastEpoch) || errors.Is(err, FutureEpoch) {
			t.Errorf("of an epoch that is over: %v", err)
		}
	}
	if err := mine.Apply(); !errors.Is(err, PastEpoch) {
		t.Errorf("a commit that came second: %v", err)
	}
	must[[]byte](t)(b.Propose(&Remove{2}, nil)) // data waits for a commit
	if _, err := b.Protect(nil, nil, nil); !errors.Is(err, CommitDue) {
		t.Errorf("data while a proposal waits: %v", err)
	}
	b.DropPending()
	if err := must[*Change](t)(b.Commit(CommitOptions{Proposals: []Proposal{&ReInit{[]byte("n"), MLS10, 1, nil}}})).Apply(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Protect(nil, nil, nil); !errors.Is(err, Ended) {
		t.Errorf("data after a reinit: %v", err)
	}
}
