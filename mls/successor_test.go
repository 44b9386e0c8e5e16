package mls

import (
	"fmt"
	"strings"
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
		wantRefusal(t, err, Ended, "11.2: the group was ended by a reinit")
		_, err = p.group.Commit(CommitOptions{})
		wantRefusal(t, err, Ended, "11.2: the group was ended by a reinit")
	}
	c.members[1].group.reinit = nil // who goes on all the same is not heard
	msg := must[[]byte](t)(c.members[1].group.Propose(&Remove{2}, nil))
	c.members[1].group.DropPending()
	c.members[1].group.reinit = c.members[0].group.reinit
	_, err := c.members[0].group.Process(msg)
	wantRefusal(t, err, Ended, "11.2: the group was ended by a reinit")
	next := make([]*person, 3)
	var packages []*KeyPackage
	for i := range next {
		next[i] = newPerson(t, 2, fmt.Sprintf("m%d", i))
		if i != 1 {
			packages = append(packages, next[i].keyPackage())
		}
	}
	_, _, err = c.members[1].group.Continue(next[1].cfg, packages[1:])
	wantRefusal(t, err, Invalid, "12.4.3.1: a member of the old group is no member of the new one: leaf 0")
	_, _, err = c.members[1].group.Continue(newPerson(t, 1, "m1").cfg, packages)
	wantRefusal(t, err, Misuse, "11.2: the configuration of")
	g, ch, err := c.members[1].group.Continue(next[1].cfg, packages)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	next[1].group = g
	_, err = Join(next[0].cfg, ch.Welcomes[0], JoinOptions{})
	wantRefusal(t, err, Missing, "12.4.3.1: welcome comes from another group by reinit: give it in JoinOptions")
	for _, i := range []int{0, 2} {
		next[i].group = must[*Group](t)(Join(next[i].cfg, ch.Welcomes[0], JoinOptions{Continues: c.members[i].group}))
	}
	n := &crowd{t: t, suite: 2, members: next}
	n.agree()
	if string(g.ID()) != "next" || g.Epoch() != 1 {
		t.Errorf("group %q, epoch %d", g.ID(), g.Epoch())
	}
	_, _, err = g.Continue(next[1].cfg, nil)
	wantRefusal(t, err, Misuse, "11.2: the group was not ended by a reinit")
	c.members[0].group.Wipe()
	_, _, err = c.members[0].group.Continue(next[0].cfg, packages)
	wantRefusal(t, err, Misuse, "11.2: the group was not ended by a reinit")

	// A reinit may ask for what is not here.
	c = newCrowd(t, 1, 1)
	c.commit(0, CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("next"), Version: 2, CipherSuite: 1}}})
	_, _, err = c.members[0].group.Continue(c.members[0].cfg, nil)
	wantRefusal(t, err, Unsupported, "11.2: the new group is of protocol version 2")
}

// A group may be ended in favour of one with the same name. What proves that they belong together is the key of the old
// one.
func TestReInitToTheSameName(t *testing.T) {
	c := newCrowd(t, 1, 2)
	c.commit(0, CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("the group"), Version: MLS10, CipherSuite: 1}}})
	a, b := c.members[0], c.members[1]
	g, ch, err := a.group.Continue(a.cfg, []*KeyPackage{b.keyPackage()})
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	b.group = must[*Group](t)(Join(b.cfg, ch.Welcomes[0], JoinOptions{Continues: b.group}))
	a.group = g
	c.agree()
	c.commit(1, CommitOptions{Proposals: []Proposal{must[*PreSharedKey](t)(b.group.NewResumptionPSK(b.group.ID(), 1))}})
	c.agree()
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
	c.commit(0, CommitOptions{}) // the group may go on meanwhile
	b.group = must[*Group](t)(Join(b.cfg, ch.Welcomes[0], JoinOptions{Branches: c.members[3].group}))
	n := &crowd{t: t, suite: 1, members: []*person{a, b}}
	n.agree()
	c.agree()

	stranger := newPerson(t, 1, "stranger")
	creator := newPerson(t, 1, "m1")
	_, _, err = c.members[1].group.Branch(creator.cfg, []byte("other"), []*KeyPackage{stranger.keyPackage()})
	wantRefusal(t, err, Invalid, "12.4.3.1: a member of the branch is no member of the group")
	_, _, err = c.members[1].group.Branch(newPerson(t, 1, "m1", func(c *Config) { c.Key = nil }).cfg, []byte("other"), nil)
	wantRefusal(t, err, Misuse, ": Config.Key is nil")
	_, _, err = c.members[1].group.Branch(creator.cfg, []byte("other"), []*KeyPackage{newPerson(t, 3, "m3").keyPackage()})
	wantRefusal(t, err, Invalid, "10.1: key package of")
	_, _, err = c.members[1].group.Branch(newPerson(t, 2, "m1").cfg, []byte("other"), nil)
	wantRefusal(t, err, Misuse, "11.3: the configuration of")
	creator.cfg.Client = func(c Credential) (string, error) { // the stranger has got another credential
		return strings.Replace(string(c.Identity), "stranger", "m2", 1), nil
	}
	_, ch, err = c.members[1].group.Branch(creator.cfg, []byte("other"), []*KeyPackage{stranger.keyPackage()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Join(stranger.cfg, ch.Welcomes[0], JoinOptions{Branches: c.members[3].group})
	wantRefusal(t, err, Invalid, "12.4.3.1: a member of the branch is no member of the group")
	stranger.cfg.Client = creator.cfg.Client
	must[*Group](t)(Join(stranger.cfg, ch.Welcomes[0], JoinOptions{Branches: c.members[3].group}))
}

// Groups that claim to continue another, and are not what was agreed on there (sections 11.2, 11.3, 12.4.3.1).
func TestHostileSuccessors(t *testing.T) {
	// The group that claims it is "the group", of member m0, who adds m1; the old one is of them too.
	agreed := ReInit{GroupID: []byte("the group"), Version: MLS10, CipherSuite: 1}
	other := func(change func(*ReInit)) *ReInit {
		r := agreed
		change(&r)
		return &r
	}
	for _, c := range []struct {
		name   string
		old    int // members
		suite  CipherSuite
		usage  PSKUsage
		reinit *ReInit
		change func(*forgedWelcome)
		kind   Kind // 0: it joins
		want   string
	}{
		{name: "an honest reinit", old: 2, suite: 1, usage: UsageReInit, reinit: &agreed},
		{name: "an honest branch", old: 3, suite: 1, usage: UsageBranch},
		{"a reinit that is none", 2, 1, UsageReInit, nil, nil, Invalid, "11.2: was not ended by a reinit"},
		{"a reinit to another group", 2, 1, UsageReInit, other(func(r *ReInit) { r.GroupID = []byte("next") }), nil, Invalid, "11.2: new group is not what the reinit asked for"},
		{"a reinit to another suite", 2, 1, UsageReInit, other(func(r *ReInit) { r.CipherSuite = 2 }), nil, Invalid, "11.2: new group is not what the reinit asked for"},
		{"a reinit to another version", 2, 1, UsageReInit, other(func(r *ReInit) { r.Version = 2 }), nil, Invalid, "11.2: new group is not what the reinit asked for"},
		{"a reinit to other extensions", 2, 1, UsageReInit, other(func(r *ReInit) { r.Extensions = Extensions{{ExtensionExternalSenders, []byte{0}}} }), nil, Invalid, "11.2: new group is not what the reinit asked for"},
		{"a reinit without a member", 3, 1, UsageReInit, &agreed, nil, Invalid, "12.4.3.1: a member of the old group is no member of the new one: leaf 2"},
		{"a reinit with the key of the epoch before", 2, 1, UsageReInit, &agreed, func(f *forgedWelcome) { f.secrets.psks[0].Epoch-- }, Invalid, "11.2: welcome continues epoch 1 of a group that ended in 2"},
		{"a reinit with the key of another group", 2, 1, UsageReInit, &agreed, func(f *forgedWelcome) { f.secrets.psks[0].GroupID = []byte("unrelated") }, Invalid, "12.4.3.1: welcome comes from group"},
		{"a reinit in a later epoch", 2, 1, UsageReInit, &agreed, func(f *forgedWelcome) { f.context.epoch = 2 }, Invalid, "12.4.3.1: group that comes from another is in epoch 2, want 1"},
		{"a branch in a later epoch", 3, 1, UsageBranch, nil, func(f *forgedWelcome) { f.context.epoch = 7 }, Invalid, "12.4.3.1: group that comes from another is in epoch 7, want 1"},
		{"a branch of another group", 3, 1, UsageBranch, nil, func(f *forgedWelcome) { f.secrets.psks[0].GroupID = []byte("unrelated") }, Invalid, "12.4.3.1: welcome comes from group"},
		{"a branch of another suite", 3, 3, UsageBranch, nil, nil, Invalid, "11.3: the group is of"},
		{"a branch with a stranger", 1, 1, UsageBranch, nil, nil, Invalid, "12.4.3.1: a member of the branch is no member of the group"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			old := newCrowd(t, c.suite, c.old)
			if c.reinit != nil {
				old.commit(0, CommitOptions{Proposals: []Proposal{c.reinit}})
			}
			from := old.members[min(1, c.old-1)].group
			p := newPerson(t, 1, "m1")
			f := newCrowd(t, 1, 1).forgeWelcome(p)
			f.continues(from, c.usage)
			if c.change != nil {
				c.change(f)
			}
			o := JoinOptions{Continues: from}
			if c.usage == UsageBranch {
				o = JoinOptions{Branches: from}
			}
			_, err := Join(p.cfg, f.seal(), o)
			if c.kind != 0 {
				wantRefusal(t, err, c.kind, c.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// Who waits for the group that continues or branches from another joins no other one: the welcome must name the
// resumption key of just that use, which proves that it comes from a member.
func TestOriginIsProved(t *testing.T) {
	for _, x := range []struct {
		name  string
		made  PSKUsage // 0: the welcome names no key
		asked PSKUsage // 0: nothing is asked
		kind  Kind
		want  string
	}{
		{"a group on its own for the one that follows", 0, UsageReInit, Invalid, "12.4.3.1: it names no key for reinit"},
		{"a group on its own for a branch", 0, UsageBranch, Invalid, "12.4.3.1: it names no key for branch"},
		{"a key for something else for a branch", UsageApplication, UsageBranch, Invalid, "12.4.3.1: it names no key for branch"},
		{"a branch for the group that follows", UsageBranch, UsageReInit, Invalid, "12.4.3.1: names a resumption key for branch, want reinit"},
		{"the group that follows for a branch", UsageReInit, UsageBranch, Invalid, "12.4.3.1: names a resumption key for reinit, want branch"},
		{"a branch for a group on its own", UsageBranch, 0, Missing, "12.4.3.1: welcome comes from another group by branch"},
		{"the group that follows", UsageReInit, UsageReInit, 0, ""},
		{"a branch", UsageBranch, UsageBranch, 0, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			old := newCrowd(t, 1, 2)
			old.commit(0, CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("the group"), Version: MLS10, CipherSuite: 1}}})
			from := old.members[1].group
			p := newPerson(t, 1, "m1")
			f := newCrowd(t, 1, 1).forgeWelcome(p)
			if x.made != 0 {
				f.continues(from, x.made)
			}
			p.cfg.PSK = func(id *PSKID) ([]byte, error) { return from.ResumptionPSK(id.Epoch) }
			o := map[PSKUsage]JoinOptions{UsageReInit: {Continues: from}, UsageBranch: {Branches: from}}[x.asked]
			_, err := Join(p.cfg, f.seal(), o)
			if x.kind != 0 {
				wantRefusal(t, err, x.kind, x.want)
			} else if err != nil {
				t.Error(err)
			}
			o = JoinOptions{Continues: from, Branches: from}
			_, err = Join(p.cfg, f.seal(), o)
			wantRefusal(t, err, Misuse, "11: a group has one origin")
		})
	}
}
