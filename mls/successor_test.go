package mls

import (
	"fmt"
	"testing"
)

func TestReInit(t *testing.T) {
	c := newCrowd(t, 1, 3)
	c.commit(0, CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: 2}}})
	for _, p := range c.members {
		if p.group.Active() || p.group.ReInit() == nil {
			t.Error("the group lives on")
		}
		_, err := p.group.Protect(nil, []byte("x"), nil)
		wantKind(t, err, Misuse)
	}
	next := make([]*person, 3)
	var packages []*KeyPackage
	for i := range next {
		next[i] = newPerson(t, 2, fmt.Sprintf("m%d", i))
		if i != 1 {
			packages = append(packages, next[i].keyPackage())
		}
	}
	_, _, err := c.members[1].group.Continue(next[1].cfg, packages[1:])
	wantKind(t, err, Invalid) // without member 0
	g, ch, err := c.members[1].group.Continue(next[1].cfg, packages)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	next[1].group = g
	_, err = Join(next[0].cfg, ch.Welcomes[0], JoinOptions{})
	wantKind(t, err, Missing)
	for _, i := range []int{0, 2} {
		next[i].group = must[*Group](t)(Join(next[i].cfg, ch.Welcomes[0], JoinOptions{From: c.members[i].group}))
	}
	n := &crowd{t: t, suite: 2, members: next}
	n.agree()
	if string(g.ID()) != "next" || g.Epoch() != 1 {
		t.Errorf("group %q, epoch %d", g.ID(), g.Epoch())
	}
}

func TestBranch(t *testing.T) {
	c := newCrowd(t, 1, 4)
	a, b := newPerson(t, 1, "m1"), newPerson(t, 1, "m3")
	g, ch, err := c.members[1].group.Branch(a.cfg, []byte("branch"), []*KeyPackage{b.keyPackage()})
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	a.group = g
	b.group = must[*Group](t)(Join(b.cfg, ch.Welcomes[0], JoinOptions{From: c.members[3].group}))
	n := &crowd{t: t, suite: 1, members: []*person{a, b}}
	n.agree()
	c.agree()

	stranger := newPerson(t, 1, "stranger")
	creator := newPerson(t, 1, "m1")
	_, _, err = c.members[1].group.Branch(creator.cfg, []byte("other"), []*KeyPackage{stranger.keyPackage()})
	wantKind(t, err, Invalid)
	creator.cfg.SameClient = func(Credential, Credential) bool { return true }
	_, ch, err = c.members[1].group.Branch(creator.cfg, []byte("other"), []*KeyPackage{stranger.keyPackage()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Join(stranger.cfg, ch.Welcomes[0], JoinOptions{From: c.members[3].group})
	wantKind(t, err, Invalid)
}
