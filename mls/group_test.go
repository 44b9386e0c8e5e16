package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

var testSuites = []CipherSuite{X25519AES128SHA256Ed25519, P256AES128SHA256P256, X25519ChaCha20SHA256Ed25519, X448AES256SHA512Ed448,
	P521AES256SHA512P521, X448ChaCha20SHA512Ed448, P384AES256SHA384P384, MLKEM768X25519AES128Ed25519}

// The life of a group, in every suite, with handshakes in both wire formats.
func TestLifeOfAGroup(t *testing.T) {
	for _, cs := range testSuites {
		for _, encrypted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, encrypted %v", cs, encrypted), func(t *testing.T) {
				t.Parallel()
				c := newCrowd(t, cs, 3, func(c *Config) { c.EncryptHandshake, c.Padding = encrypted, PadStep })
				c.commit(1, CommitOptions{})
				c.agree()
				c.add(2, newPerson(t, cs, "late"))
				c.commit(3, CommitOptions{})
				c.agree()
				c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
				c.commit(0, CommitOptions{})
				c.agree()
				gone := c.members[1]
				ch := c.commit(2, CommitOptions{Proposals: []Proposal{&Remove{gone.group.Own()}}})
				if len(ch.Removed) != 1 || gone.group.Active() || len(c.members) != 3 {
					t.Errorf("removed %v", ch.Removed)
				}
				_, err := gone.group.Protect(nil, []byte("x"), nil)
				wantKind(t, err, Removed)
				_, err = gone.group.Process(ch.Commit)
				wantKind(t, err, Removed)
				c.agree()
				c.add(0, newPerson(t, cs, "again"), newPerson(t, cs, "more"), newPerson(t, cs, "and more"))
				c.commit(4, CommitOptions{})
				c.agree()
			})
		}
	}
}

// Values that mean nothing disturb nobody (section 13.5).
func TestGREASE(t *testing.T) {
	c := newCrowd(t, 1, 3, func(c *Config) { c.GREASE = true })
	c.add(1, newPerson(t, 1, "plain"))
	c.commit(3, CommitOptions{})
	c.agree()
	l := c.members[0].group.Member(1)
	if n := len(l.Capabilities.Extensions); n != 1 || l.Capabilities.Extensions[0]&0x0f0f != 0x0a0a {
		t.Errorf("capabilities %+v", l.Capabilities)
	}
	m := parse(t, must[[]byte](t)(c.members[0].group.GroupInfo(false, false)))
	if e := m.groupInfo.extensions; len(e) != 1 || e[0].Type&0x0f0f != 0x0a0a {
		t.Errorf("extensions %v", e)
	}
}

func TestGroupOfOne(t *testing.T) {
	c := newCrowd(t, 1, 1)
	g := c.members[0].group
	for want := uint64(1); want < 4; want++ {
		c.commit(0, CommitOptions{})
		if g.Epoch() != want {
			t.Fatalf("epoch %d, want %d", g.Epoch(), want)
		}
	}
	if m := g.Members(); len(m) != 1 || m[0].Leaf != 0 || string(m[0].Node.Credential.Identity) != "m0" {
		t.Errorf("members %+v", m)
	}
}

func TestCreateMakesAnID(t *testing.T) {
	a := must[*Group](t)(Create(newPerson(t, 1, "a").cfg, nil))
	b := must[*Group](t)(Create(newPerson(t, 1, "b").cfg, nil))
	if len(a.ID()) != 32 || bytes.Equal(a.ID(), b.ID()) {
		t.Errorf("ids %x, %x", a.ID(), b.ID())
	}
}

// A group that grows and shrinks through all sizes: trees are extended and truncated, blanks filled from the left.
func TestGrowAndShrink(t *testing.T) {
	c := newCrowd(t, 1, 1)
	for i := range 12 {
		c.add(i%len(c.members), newPerson(t, 1, fmt.Sprintf("n%d", i)))
		if i%3 == 0 {
			c.commit(len(c.members)-1, CommitOptions{})
			c.agree()
		}
	}
	for len(c.members) > 1 {
		last := c.members[len(c.members)-1].group.Own()
		c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{last}}})
		c.agree()
		if size := c.members[0].group.now.tree.size(); int(size) >= 2*len(c.members) && size > 1 {
			t.Fatalf("%d members in a tree of %d leaves", len(c.members), size)
		}
	}
}

func TestProposalsByReference(t *testing.T) {
	c := newCrowd(t, 2, 4)
	joiner := newPerson(t, 2, "joiner")
	c.propose(1, &Add{joiner.keyPackage()})
	c.propose(2, &Remove{c.members[3].group.Own()})
	c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
	if _, err := c.members[0].group.Protect(nil, []byte("data"), nil); KindOf(err) != Misuse {
		t.Errorf("data while proposals wait: %v", err)
	}
	if p := c.members[0].group.Pending(); len(p) != 3 || !p[0].ByReference || p[0].Sender.Leaf != 1 {
		t.Errorf("pending %+v", p)
	}
	ch := c.commit(0, CommitOptions{})
	if len(ch.Proposals) != 3 || len(ch.Added) != 1 || len(ch.Removed) != 1 || len(ch.Updated) != 1 {
		t.Errorf("change %+v", ch)
	}
	joiner.group = must[*Group](t)(Join(joiner.cfg, ch.Welcomes[0], JoinOptions{}))
	c.members = append(c.members, joiner)
	c.agree()
	if len(c.members[0].group.Pending()) != 0 {
		t.Error("proposals outlive their epoch")
	}
}

// Of several proposals for one leaf the committer takes a removal, else the newest update, and its own update never.
func TestCommitterChoosesAmongProposals(t *testing.T) {
	c := newCrowd(t, 1, 4)
	update := func(i int) { c.tell(i, must[[]byte](t)(c.members[i].group.ProposeUpdate(Identity{}, nil))) }
	update(0)
	update(1)
	update(1)
	update(2)
	c.propose(3, &Remove{2})
	c.propose(1, &ReInit{GroupID: []byte("new"), Version: MLS10, CipherSuite: 1})
	ch := c.commit(0, CommitOptions{})
	if len(ch.Proposals) != 2 || len(ch.Updated) != 1 || ch.Updated[0] != 1 || len(ch.Removed) != 1 || ch.Removed[0] != 2 {
		t.Errorf("committed %+v", ch.Proposals)
	}
	c.agree()
}

func TestPreSharedKeys(t *testing.T) {
	c := newCrowd(t, 1, 3)
	joiner := newPerson(t, 1, "joiner")
	for _, p := range append(c.members, joiner) {
		p.psks["one"], p.psks["two"] = []byte("secret one"), []byte("secret two")
	}
	g := c.members[0].group
	one, two := must[*PreSharedKey](t)(g.NewPSK([]byte("one"))), must[*PreSharedKey](t)(g.NewPSK([]byte("two")))
	ch := c.commit(0, CommitOptions{Proposals: []Proposal{one, &Add{joiner.keyPackage()}, two}})
	joiner.group = must[*Group](t)(Join(joiner.cfg, ch.Welcomes[0], JoinOptions{}))
	c.members = append(c.members, joiner)
	c.agree()

	// The key counts: who has another one sees a wrong confirmation tag.
	c.members[1].psks["one"] = []byte("another")
	again := must[*PreSharedKey](t)(g.NewPSK([]byte("one")))
	ch = must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{again}}))
	_, err := c.members[1].group.Process(ch.Commit)
	wantKind(t, err, BadSignature)
	delete(c.members[2].psks, "one")
	_, err = c.members[2].group.Process(ch.Commit)
	wantKind(t, err, Missing)

	// Keys of past epochs of the group itself.
	past := must[*PreSharedKey](t)(g.NewResumptionPSK(g.ID(), g.Epoch()-0))
	ch = must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{past}}))
	r := must[*Received](t)(c.members[1].group.Process(ch.Commit))
	if err := r.Change.Apply(); err != nil {
		t.Fatal(err)
	}
}

func TestGroupContextExtensions(t *testing.T) {
	const private ExtensionType = 0xf001
	supports := func(c *Config) { c.Capabilities.Extensions = []ExtensionType{private} }
	c := newCrowd(t, 1, 3, supports)
	c.commit(0, CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{
		{private, []byte("data")}, RequiredCapabilities{Extensions: []ExtensionType{private}}.Extension()}}}})
	c.agree()
	if b, ok := c.members[2].group.Extensions().Find(private); !ok || string(b) != "data" {
		t.Errorf("extensions %v", c.members[2].group.Extensions())
	}
	stranger := newPerson(t, 1, "stranger")
	_, err := c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{stranger.keyPackage()}}})
	wantKind(t, err, Invalid)
	c.add(1, newPerson(t, 1, "knows it", supports))
	_, err = c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{
		RequiredCapabilities{Proposals: []ProposalType{0xf00d}}.Extension()}}}})
	wantKind(t, err, Invalid)
}

func TestIdentityChanges(t *testing.T) {
	c := newCrowd(t, 2, 3)
	fresh := func(i int) Identity {
		return Identity{Credential: BasicCredential([]byte(fmt.Sprintf("new %d", i))), Key: must[*SigningKey](t)(GenerateSigningKey(2, stream(fmt.Sprint("key", i))))}
	}
	c.commit(1, CommitOptions{Identity: fresh(1)})
	c.agree()
	c.tell(2, must[[]byte](t)(c.members[2].group.ProposeUpdate(fresh(2), nil)))
	c.commit(0, CommitOptions{})
	c.agree()
	for i := 1; i < 3; i++ {
		l := c.members[0].group.Member(LeafIndex(i))
		if string(l.Credential.Identity) != fmt.Sprintf("new %d", i) || !bytes.Equal(l.SignatureKey, fresh(i).Key.Public()) {
			t.Errorf("member %d is %q", i, l.Credential.Identity)
		}
	}
	c.commit(2, CommitOptions{})
	c.commit(1, CommitOptions{})
	c.agree()
}

func TestExternalJoin(t *testing.T) {
	for _, cs := range []CipherSuite{1, 2, 4, 65100} {
		t.Run(cs.String(), func(t *testing.T) {
			c := newCrowd(t, cs, 3)
			join := func(p *person, o ExternalOptions, withTree bool) {
				t.Helper()
				info := must[[]byte](t)(c.members[0].group.GroupInfo(withTree, true))
				if !withTree {
					o.Tree = c.members[0].group.Tree()
				}
				g, msg, err := JoinExternal(p.cfg, info, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range c.members {
					if m == p {
						continue
					}
					r := must[*Received](t)(m.group.Process(msg))
					if r.Sender.Type != SenderNewMemberCommit || len(r.Change.Added) != 1 || r.Change.Added[0] != g.Own() {
						t.Errorf("change %+v", r.Change)
					}
					if err := r.Change.Apply(); err != nil {
						t.Fatal(err)
					}
				}
				p.group = g
			}
			p := newPerson(t, cs, "outsider")
			join(p, ExternalOptions{}, true)
			c.members = append(c.members, p)
			c.agree()
			c.commit(3, CommitOptions{})
			c.agree()

			// Resync: the same client again, its old leaf goes.
			old := c.members[1].group.Own()
			p = newPerson(t, cs, "m1")
			p.psks["k"] = []byte("key")
			for _, m := range c.members {
				m.psks["k"] = []byte("key")
			}
			lost := c.members[1]
			c.members = append(c.members[:1:1], c.members[2:]...)
			join(p, ExternalOptions{Resync: &old, PSKs: [][]byte{[]byte("k")}}, false)
			c.members = append(c.members, p)
			c.agree()
			if lost.group.Epoch() == p.group.Epoch() {
				t.Error("the old appearance came along")
			}
		})
	}
}

func TestGroupInfoWithoutExternalPub(t *testing.T) {
	c := newCrowd(t, 1, 2)
	_, _, err := JoinExternal(newPerson(t, 1, "x").cfg, must[[]byte](t)(c.members[0].group.GroupInfo(true, false)), ExternalOptions{})
	wantKind(t, err, Missing)
	_, _, err = JoinExternal(newPerson(t, 1, "x").cfg, must[[]byte](t)(c.members[0].group.GroupInfo(false, true)), ExternalOptions{})
	wantKind(t, err, Missing)
}

func TestProposalsFromOutside(t *testing.T) {
	service := newPerson(t, 1, "service")
	first := newPerson(t, 1, "m0")
	first.group = must[*Group](t)(Create(first.cfg, []byte("g"), ExternalSenders(ExternalSender{service.cfg.Key.Public(), service.cfg.Credential})))
	var vouched []string // whom the application knows
	admit := func(c *Config) {
		c.Admit = func(p Committed) error {
			a, ok := p.Proposal.(*Add)
			if ok && p.Sender.Type == SenderNewMemberProposal && !slices.Contains(vouched, string(a.KeyPackage.Leaf.Credential.Identity)) {
				return errors.New("nobody knows it")
			}
			return nil
		}
	}
	admit(first.cfg)
	c := &crowd{t: t, suite: 1, members: []*person{first}}
	c.add(0, newPerson(t, 1, "m1", admit), newPerson(t, 1, "m2", admit))

	c.tell(-1, must[[]byte](t)(ProposeFromOutside(service.cfg, first.group.ID(), first.group.Epoch(), 0, &Remove{2})))
	self := newPerson(t, 1, "self")
	msg := must[[]byte](t)(ProposeSelf(self.cfg, first.group.ID(), first.group.Epoch(), self.keyPackage()))
	_, err := first.group.Process(msg)
	wantKind(t, err, Refused)
	vouched = append(vouched, "self")
	c.tell(-1, must[[]byte](t)(ProposeSelf(self.cfg, first.group.ID(), first.group.Epoch(), self.keyPackage())))
	ch := c.commit(1, CommitOptions{})
	self.group = must[*Group](t)(Join(self.cfg, ch.Welcomes[0], JoinOptions{}))
	c.members = append(c.members, self)
	if len(c.members) != 3 || len(ch.Removed) != 1 {
		t.Errorf("members %d, change %+v", len(c.members), ch)
	}
	c.agree()

	stranger := newPerson(t, 1, "stranger")
	_, err = c.members[0].group.Process(must[[]byte](t)(ProposeFromOutside(stranger.cfg, first.group.ID(), first.group.Epoch(), 0, &Remove{1})))
	wantKind(t, err, BadSignature)
	_, err = c.members[0].group.Process(must[[]byte](t)(ProposeFromOutside(service.cfg, first.group.ID(), first.group.Epoch(), 1, &Remove{1})))
	wantKind(t, err, Invalid)
	_, err = ProposeFromOutside(service.cfg, first.group.ID(), first.group.Epoch(), 0, &ExternalInit{})
	wantKind(t, err, Invalid)
}

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

func TestSeparateWelcomesAndTreeApart(t *testing.T) {
	c := newCrowd(t, 1, 2)
	people := []*person{newPerson(t, 1, "a"), newPerson(t, 1, "b")}
	o := CommitOptions{Separate: true, WithoutTree: true, Path: true}
	for _, p := range people {
		o.Proposals = append(o.Proposals, &Add{p.keyPackage()})
	}
	ch := c.commit(0, o)
	if len(ch.Welcomes) != 2 {
		t.Fatalf("%d welcomes", len(ch.Welcomes))
	}
	_, err := Join(people[0].cfg, ch.Welcomes[1], JoinOptions{Tree: c.members[0].group.Tree()})
	wantKind(t, err, Missing)
	_, err = Join(people[0].cfg, ch.Welcomes[0], JoinOptions{})
	wantKind(t, err, Missing)
	for i, p := range people {
		p.group = must[*Group](t)(Join(p.cfg, ch.Welcomes[i], JoinOptions{Tree: c.members[0].group.Tree()}))
		c.members = append(c.members, p)
	}
	c.agree()
}

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
