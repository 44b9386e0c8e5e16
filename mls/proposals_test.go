package mls

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestProposalsByReference(t *testing.T) {
	c := newCrowd(t, 2, 4)
	joiner := newPerson(t, 2, "joiner")
	c.propose(1, &Add{joiner.keyPackage()})
	c.propose(2, &Remove{c.members[3].group.Own()})
	c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
	if _, err := c.members[0].group.Protect(nil, []byte("data"), nil); !errors.Is(err, CommitDue) {
		t.Errorf("data while proposals wait: %v", err)
	}
	if p := c.members[0].group.Pending(); len(p) != 3 || !p[0].ByReference || p[0].Sender.Leaf != 1 {
		t.Errorf("pending %+v", p)
	}
	ch := c.commit(0, CommitOptions{})
	if len(ch.Proposals) != 3 || len(ch.Added) != 1 || len(ch.Removed) != 1 || len(ch.Updated) != 2 {
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
	if len(ch.Proposals) != 2 || !slices.Equal(leavesOf(ch.Updated), []LeafIndex{1, 0}) || !slices.Equal(leavesOf(ch.Removed), []LeafIndex{2}) {
		t.Errorf("committed %+v", ch.Proposals)
	}
	c.agree()
}

func TestProposalsFromOutside(t *testing.T) {
	service := newPerson(t, 1, "service")
	first := newPerson(t, 1, "m0")
	first.group = must[*Group](t)(Create(first.cfg, []byte("g"), ExternalSenders(ExternalSender{service.cfg.Key.Public(), service.cfg.Credential})))
	var vouched []string // whom the application knows
	admit := func(c *Config) {
		c.Proposals = func(p *Proposed) error {
			one := p.List[0]
			a, ok := one.Proposal.(*Add)
			if ok && one.Sender.Type == SenderNewMemberProposal && !slices.Contains(vouched, string(a.KeyPackage.Leaf.Credential.Identity)) {
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
	wantRefusal(t, err, Refused, "12.1.8: add of new_member_proposal was refused")
	vouched = append(vouched, "self")
	c.tell(-1, must[[]byte](t)(ProposeSelf(self.cfg, first.group.ID(), first.group.Epoch(), self.keyPackage())))
	ch := c.commit(1, CommitOptions{})
	self.group = must[*Group](t)(Join(self.cfg, ch.Welcomes[0], JoinOptions{}))
	c.members = append(c.members, self)
	if len(c.members) != 3 || len(ch.Removed) != 1 {
		t.Errorf("members %d, change %+v", len(c.members), ch)
	}
	c.agree()

	// Without Config.Proposals nobody vouches.
	for _, p := range c.members {
		p.cfg.Proposals = nil
	}
	again := newPerson(t, 1, "again")
	_, err = first.group.Process(must[[]byte](t)(ProposeSelf(again.cfg, first.group.ID(), first.group.Epoch(), again.keyPackage())))
	wantRefusal(t, err, Refused, "12.1.8: nobody vouches for it")
	c.tell(-1, must[[]byte](t)(ProposeFromOutside(service.cfg, first.group.ID(), first.group.Epoch(), 0, &Add{again.keyPackage()})))
	_, err = ProposeFromOutside(service.cfg, first.group.ID(), first.group.Epoch(), 0, &ExternalInit{})
	wantRefusal(t, err, Invalid, "12.1.8: which only members may")
}

// A hostile member proposes what the rules forbid: it does not wait for a commit, or it does and is in none.
func TestHostileProposals(t *testing.T) {
	const at = 2 // the hostile member's leaf
	update := func(change func(*Group, *LeafNode)) func(*crowd) Proposal {
		return func(c *crowd) Proposal {
			g := c.members[at].group
			l := copyLeaf(g.Member(at))
			l.Source, l.EncryptionKey = SourceUpdate, freshKey(c.t, 1)
			change(g, l)
			signLeaf(c.t, g.suite, l, g.now.signer, g.ID(), at)
			return &Update{l}
		}
	}
	value := func(p Proposal) func(*crowd) Proposal { return func(*crowd) Proposal { return p } }
	nonce := make([]byte, 32)
	for _, c := range []struct {
		name string
		make func(*crowd) Proposal
		kind Kind
		want string
	}{
		{"an update by a leaf of a key package", update(func(_ *Group, l *LeafNode) { l.Source = SourceKeyPackage }), Invalid, "7.3: source key_package, want update"},
		{"an update by a leaf of a commit", update(func(_ *Group, l *LeafNode) { l.Source = SourceCommit }), Invalid, "7.3: source commit, want update"},
		{"an update with its old key", update(func(g *Group, l *LeafNode) { l.EncryptionKey = g.Member(at).EncryptionKey }), Invalid, "7.3: encryption_key of a new leaf is the old one"},
		{"an update with another's encryption key", update(func(g *Group, l *LeafNode) { l.EncryptionKey = g.Member(0).EncryptionKey }), Invalid, "7.3: leaves 0 and 2 have the same encryption_key"},
		{"an update with a parent's encryption key", update(func(g *Group, l *LeafNode) { l.EncryptionKey = g.now.tree.nodes[1].parent.encryptionKey }), Invalid, "7.3: leaf 2 has the encryption_key of node 1"},
		{"an update with another's signature key", func(c *crowd) Proposal {
			l := copyLeaf(c.members[at].group.Member(at))
			other := c.members[3].group.now.signer
			l.Source, l.EncryptionKey, l.SignatureKey = SourceUpdate, freshKey(c.t, 1), other.Public()
			signLeaf(c.t, suiteOf(c.t, 1), l, other, c.members[at].group.ID(), at)
			return &Update{l}
		}, Invalid, "7.3: leaves 2 and 3 have the same signature_key"},
		{"an update whose encryption key is none", update(func(_ *Group, l *LeafNode) { l.EncryptionKey = []byte("x") }), Invalid, "7.3: encryption_key of a leaf node"},
		{"an update that carries what it does not list", update(func(_ *Group, l *LeafNode) { l.Extensions = Extensions{{0xf00d, nil}} }), Invalid, "7.3: which its capabilities do not list"},
		{"an update whose certificate is none", update(func(_ *Group, l *LeafNode) { l.Credential = X509Credential() }), Invalid, "5.3: holds no certificate"},
		{"an update whose credential nobody supports", update(func(_ *Group, l *LeafNode) { l.Credential = Credential{Type: 0xf00d} }), Invalid, "7.3: does not support credential type 0xf00d"},
		{"an update that does not support what the group requires", update(func(_ *Group, l *LeafNode) { l.Capabilities.Extensions = nil }), Invalid, "7.3: leaf 2: leaf node does not support extension type 0xf001, which the group requires"},
		{"an update signed for another place", func(c *crowd) Proposal {
			u := update(func(*Group, *LeafNode) {})(c).(*Update)
			signLeaf(c.t, suiteOf(c.t, 1), u.Leaf, c.members[at].group.now.signer, c.members[at].group.ID(), 3)
			return u
		}, BadSignature, "7.3: signature of a leaf node"},
		{"a remove of a blank leaf", value(&Remove{9}), Invalid, "12.1.3: leaf 9 is blank"},
		{"an external_init", value(&ExternalInit{nonce}), Invalid, "12.2: 1 proposals of type external_init, want 0"},
		{"a reinit to version 0", value(&ReInit{GroupID: nonce, CipherSuite: 1}), Invalid, "12.1.5: version 0 is below"},
		{"a pre-shared key with a long nonce", value(&PreSharedKey{PSKID{Type: PSKExternal, Nonce: make([]byte, 33)}}), Invalid, "12.1.4: psk_nonce of 33 bytes"},
		{"a resumption key of usage reinit", value(&PreSharedKey{PSKID{Type: PSKResumption, Usage: UsageReInit, Nonce: nonce}}), Invalid, "12.1.4: resumption key for reinit"},
		{"extensions that do not decode", value(&GroupContextExtensions{Extensions{{ExtensionExternalSenders, []byte{9}}}}), Malformed, ": external_senders extension"},
		{"extensions that nobody supports", value(&GroupContextExtensions{Extensions{{0xf00d, nil}}}), Invalid, "13.4: extension type 0xf00d, which the group uses"},
		{"a type that nobody supports", value(&UnknownProposal{ProposalType: 0xf00d}), Invalid, "12.2: does not support proposal type 0xf00d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			crowd := newCrowd(t, 1, 4, func(cfg *Config) {
				cfg.Capabilities.Extensions = []ExtensionType{0xf001}
				strictFor(c.name)(cfg)
			})
			crowd.commit(0, CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{RequiredCapabilities{Extensions: []ExtensionType{0xf001}}.Extension()}}}})
			hostile := crowd.members[at].group
			msg := say(t, hostile, hostile.now.signer, Sender{Type: SenderMember, Leaf: at}, c.make(crowd))
			notCommitted(t, crowd, msg, c.kind, c.want)
		})
	}
}

// say is a proposal in a public message of from, signed with key.
func say(t testing.TB, g *Group, key *SigningKey, from Sender, p Proposal) []byte {
	t.Helper()
	return signed(t, g, key, framedContent{groupID: g.ID(), epoch: g.Epoch(), sender: from, kind: ContentProposal, body: body{proposal: p}}, nil)
}

// Those outside may say little, and only who is vouched for.
func TestHostileOutsiders(t *testing.T) {
	service, banned := newPerson(t, 1, "service"), newPerson(t, 1, "banned")
	senders := ExternalSenders(ExternalSender{service.cfg.Key.Public(), service.cfg.Credential}, ExternalSender{banned.cfg.Key.Public(), banned.cfg.Credential},
		ExternalSender{[]byte("no key"), service.cfg.Credential})
	c := newCrowd(t, 1, 3)
	c.commit(0, CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{senders}}}})
	g := c.members[1].group
	g.cfg.Credentials = func(p *Presented) error {
		if p.Place == PlaceProposer && string(p.Credential.Identity) == "banned" {
			return errors.New("it is banned")
		}
		return nil
	}
	external := func(i uint32) Sender { return Sender{Type: SenderExternal, Index: i} }
	self := Sender{Type: SenderNewMemberProposal}
	fresh := newPerson(t, 1, "new")
	honest := must[*Change](t)(c.members[2].group.Commit(CommitOptions{}))
	content := parse(t, honest.Commit).public.content
	content.sender = external(0)
	for _, x := range []struct {
		name string
		msg  []byte
		kind Kind
		want string
	}{
		{"one who is not listed", say(t, g, service.cfg.Key, external(3), &Remove{2}), Invalid, "6.1: the group has 3 who may propose"},
		{"one who signs for another", say(t, g, fresh.cfg.Key, external(0), &Remove{2}), BadSignature, "6.1: signature of a proposal from external sender 0"},
		{"one who is refused", say(t, g, banned.cfg.Key, external(1), &Remove{2}), Refused, "5.3.1: credential of basic was refused"},
		{"one whose key is none", say(t, g, service.cfg.Key, external(2), &Remove{2}), Invalid, "12.1.8.1: signature key of external sender 2"},
		{"one who commits", signed(t, g, service.cfg.Key, content, []byte("tag")), Invalid, "6.1: commit from external sender 0, the group has 3 who may propose"},
		{"an update", say(t, g, service.cfg.Key, external(0), &Update{g.Member(2)}), Invalid, "12.1.8: external sender 0 proposes update, which only members may"},
		{"an external_init", say(t, g, service.cfg.Key, external(0), &ExternalInit{[]byte("x")}), Invalid, "12.1.8: external sender 0 proposes external_init, which only members may"},
		{"a type that is not known", say(t, g, service.cfg.Key, external(0), &UnknownProposal{ProposalType: 0xf00d}), Invalid, "12.1.8: which only members may"},
		{"a remove of a blank leaf", say(t, g, service.cfg.Key, external(0), &Remove{9}), Invalid, "12.1.3: leaf 9 is blank"},
		{"a client that proposes a remove", say(t, g, fresh.cfg.Key, self, &Remove{2}), Invalid, "6.1: proposal from new_member_proposal, want an add"},
		{"a client that proposes another", say(t, g, fresh.cfg.Key, self, &Add{service.keyPackage()}), BadSignature, "6.1: signature of a proposal from new_member_proposal"},
	} {
		t.Run(x.name, func(t *testing.T) {
			unchanged(t, g, func() {
				_, err := g.Process(x.msg)
				wantRefusal(t, err, x.kind, x.want)
			})
		})
	}
	// What senderKey refuses must not be in a list either, however it came there.
	wantRefusal(t, checkProposer(self, &Remove{2}), Invalid, "6.1: it may propose only its own add")
	for _, from := range []Sender{external(0), self} {
		_, err := g.receive(&authenticated{content: framedContent{sender: from, kind: ContentCommit, body: body{commit: new(commit)}}})
		wantRefusal(t, err, Invalid, "6.1: commit from "+from.String())
	}
}

// Updates that no message brings, since who may send them has been looked at before: rules of a list hold all the same.
func TestUpdatesOfNobody(t *testing.T) {
	g := newCrowd(t, 1, 2).members[0].group
	for _, c := range []struct {
		from Sender
		want string
	}{
		{Sender{Type: SenderExternal}, "12.2: update is not one that a member sent by itself"},
		{Sender{Type: SenderMember, Leaf: 9}, "12.1.2: leaf 9 is blank"},
	} {
		l := &proposalList{suite: g.suite, all: []Committed{{Proposal: &Update{g.Member(1)}, Sender: c.from, ByReference: true}}}
		wantRefusal(t, l.checkUpdates(&g.now.context, g.now.tree, rules{}), Invalid, c.want)
	}
}

// Proposals from outside have a quarter of the room, and do not keep those of members out. Received again, a proposal
// takes no more.
func TestRoomForProposals(t *testing.T) {
	service := newPerson(t, 1, "service")
	c := newCrowd(t, 1, 4, func(c *Config) { c.Limits.Proposals, c.Proposals = 8, func(*Proposed) error { return nil } })
	c.commit(0, CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{ExternalSenders(ExternalSender{service.cfg.Key.Public(), service.cfg.Credential})}}}})
	g := c.members[1].group
	outside := func(p Proposal) []byte {
		return must[[]byte](t)(ProposeFromOutside(service.cfg, g.ID(), g.Epoch(), 0, p))
	}
	first := outside(&Remove{2})
	must[*Received](t)(g.Process(first))
	fresh := newPerson(t, 1, "new")
	self := func() []byte { return must[[]byte](t)(ProposeSelf(fresh.cfg, g.ID(), g.Epoch(), fresh.keyPackage())) }
	must[*Received](t)(g.Process(self()))
	for _, msg := range [][]byte{outside(&Remove{3}), self()} {
		_, err := g.Process(msg)
		wantRefusal(t, err, Limit, ": 2 proposals wait already, 2 of them from outside")
	}
	for range 6 {
		must[*Received](t)(g.Process(must[[]byte](t)(c.members[2].group.ProposeUpdate(Identity{}, nil))))
	}
	_, err := g.Process(must[[]byte](t)(c.members[3].group.ProposeUpdate(Identity{}, nil)))
	wantRefusal(t, err, Limit, ": 8 proposals wait already")
	must[*Received](t)(g.Process(first))
	if n := len(g.Pending()); n != 8 {
		t.Errorf("%d proposals wait", n)
	}
}

// What waits must not keep a member from committing: of what does not go together the first is taken, and what the
// application refuses or has no key for is left out.
func TestPendingProposalsThatDoNotGoTogether(t *testing.T) {
	const private ExtensionType = 0xf001
	psk := &PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: make([]byte, 32)}}
	for _, c := range []struct {
		name      string
		propose   func(*crowd)
		committer func(*Config) // changes its mind after the proposals
		by        int           // who commits
		o         CommitOptions
		want      []ProposalType
	}{
		{"two adds of one client", func(c *crowd) {
			k := newPerson(c.t, 1, "new").keyPackage()
			c.propose(0, &Add{k})
			c.propose(1, &Add{k})
			c.propose(1, &Add{newPerson(c.t, 1, "other").keyPackage()})
		}, nil, 2, CommitOptions{}, []ProposalType{ProposalAdd, ProposalAdd}},
		{"an update and an add with one signature key", func(c *crowd) {
			fresh := newPerson(c.t, 1, "new")
			c.tell(1, must[[]byte](c.t)(c.members[1].group.ProposeUpdate(Identity{Key: fresh.cfg.Key}, nil)))
			c.propose(0, &Add{fresh.keyPackage()})
		}, nil, 2, CommitOptions{}, []ProposalType{ProposalUpdate}},
		{"extensions twice", func(c *crowd) {
			c.propose(0, &GroupContextExtensions{Extensions{{private, []byte("a")}}})
			c.propose(1, &GroupContextExtensions{Extensions{{private, []byte("b")}}})
			c.propose(1, &Remove{3})
		}, nil, 2, CommitOptions{}, []ProposalType{ProposalGroupContextExtensions, ProposalRemove}},
		{"extensions, and a client that does not support them", func(c *crowd) {
			c.propose(0, &GroupContextExtensions{Extensions{{private, nil}}})
			c.propose(1, &Add{newPerson(c.t, 1, "new").keyPackage()})
		}, nil, 2, CommitOptions{}, []ProposalType{ProposalGroupContextExtensions}},
		{"a pre-shared key twice", func(c *crowd) { c.propose(0, psk); c.propose(1, psk) }, nil, 2, CommitOptions{}, []ProposalType{ProposalPSK}},
		{"a pre-shared key that nobody has", func(c *crowd) {
			c.propose(0, must[*PreSharedKey](c.t)(c.members[0].group.NewPSK([]byte("unknown"))))
			c.propose(0, &Remove{3})
		}, nil, 2, CommitOptions{}, []ProposalType{ProposalRemove}},
		{"what Config.Proposals refuses", func(c *crowd) { c.propose(0, &Remove{3}); c.propose(0, psk) }, func(c *Config) {
			c.Proposals = func(p *Proposed) error {
				if slices.ContainsFunc(p.List, func(c Committed) bool { return c.Proposal.Type() == ProposalRemove }) {
					return errors.New("nobody goes")
				}
				return nil
			}
		}, 2, CommitOptions{}, []ProposalType{ProposalPSK}},
		{"what Config.Credentials refuses by now", func(c *crowd) {
			c.propose(0, &Add{newPerson(c.t, 1, "new").keyPackage()})
			c.propose(0, psk)
		}, func(c *Config) { c.Credentials = func(*Presented) error { return errors.New("nobody is known") } }, 2, CommitOptions{}, []ProposalType{ProposalPSK}},
		{"more members than are allowed", func(c *crowd) {
			for i := range 4 {
				c.propose(i, &Add{newPerson(c.t, 1, fmt.Sprint("new ", i)).keyPackage()})
			}
		}, nil, 2, CommitOptions{}, []ProposalType{ProposalAdd, ProposalAdd}},
		{"the removal of the committer", func(c *crowd) { c.propose(0, &Remove{2}); c.propose(0, &Remove{3}) }, nil, 2, CommitOptions{}, []ProposalType{ProposalRemove}},
		{"what the committer brings itself", func(c *crowd) { c.propose(0, &Remove{3}); c.propose(0, psk) }, nil, 2,
			CommitOptions{Proposals: []Proposal{&Remove{3}}}, []ProposalType{ProposalPSK, ProposalRemove}},
		{"a reinit beside what the committer brings", func(c *crowd) { c.propose(0, &ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: 1}) }, nil, 2,
			CommitOptions{Proposals: []Proposal{psk}}, []ProposalType{ProposalPSK}},
		{"two reinits", func(c *crowd) {
			c.propose(0, &ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: 1})
			c.propose(1, &ReInit{GroupID: []byte("other"), Version: MLS10, CipherSuite: 1})
		}, nil, 2, CommitOptions{}, []ProposalType{ProposalReInit}},
		{"nothing", func(c *crowd) { c.propose(0, &Remove{3}) }, nil, 2, CommitOptions{SkipPending: true}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			crowd := newCrowd(t, 1, 4, func(c *Config) {
				c.Capabilities.Extensions, c.Limits.Members = []ExtensionType{private}, 6
			})
			for _, p := range crowd.members {
				p.psks["k"] = []byte("key")
			}
			c.propose(crowd)
			if c.committer != nil {
				c.committer(crowd.members[c.by].cfg)
			}
			ch := crowd.commit(c.by, c.o)
			var got []ProposalType
			for _, p := range ch.Proposals {
				got = append(got, p.Proposal.Type())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("committed %v, want %v", got, c.want)
			}
			if ch.ReInit == nil {
				crowd.agree()
			}
		})
	}
	// An update whose key nobody has does not come to wait.
	crowd := newCrowd(t, 1, 3)
	_, err := crowd.members[0].group.Propose(&Update{crowd.members[0].group.Member(0)}, nil)
	wantRefusal(t, err, Misuse, "12.1.2: use ProposeUpdate")
}

// Proposals that are valid only together wait, whichever comes first; who commits takes all of them, and everybody
// follows, whether they stand in the commit by reference or by value (sections 12.1.7, 12.2).
func TestProposalsThatAreValidTogether(t *testing.T) {
	const private ExtensionType = 0xf001
	needs := &GroupContextExtensions{Extensions{RequiredCapabilities{Extensions: []ExtensionType{private}}.Extension()}}
	supports := func(c *Config) { c.Capabilities.Extensions = []ExtensionType{private} }
	for _, x := range []struct {
		name  string
		plain int // a member that lacks the extension
		list  func(*crowd) []Proposal
	}{
		{"an add of a client that a remove takes out", 3, func(c *crowd) []Proposal {
			return []Proposal{&Add{c.members[2].keyPackage()}, &Remove{2}}
		}},
		{"extensions that only a removed member lacks", 2, func(*crowd) []Proposal { return []Proposal{needs, &Remove{2}} }},
		{"extensions that are used, and that only a removed member lacks", 2, func(*crowd) []Proposal {
			return []Proposal{&GroupContextExtensions{Extensions{{private, nil}}}, &Remove{2}}
		}},
		{"a client that lacks what is no longer required", -1, func(c *crowd) []Proposal {
			c.commit(0, CommitOptions{Proposals: []Proposal{needs}})
			return []Proposal{&Add{newPerson(c.t, 1, "plain").keyPackage()}, &GroupContextExtensions{}}
		}},
		{"more members than are allowed, but for a removal", 3, func(c *crowd) []Proposal {
			return []Proposal{&Add{newPerson(c.t, 1, "a").keyPackage()}, &Add{newPerson(c.t, 1, "b").keyPackage()}, &Remove{2}}
		}},
	} {
		for _, order := range []string{"in order", "in reverse", "by value", "beside one that is not valid"} {
			t.Run(x.name+", "+order, func(t *testing.T) {
				t.Parallel()
				c := newCrowd(t, 1, 1, func(c *Config) { supports(c); c.Limits.Members = 5 })
				for i := 1; i < 4; i++ {
					p := newPerson(t, 1, fmt.Sprintf("m%d", i), func(c *Config) { c.Limits.Members = 5 })
					if i != x.plain {
						supports(p.cfg)
					}
					c.add(0, p)
				}
				list := x.list(c)
				if order == "by value" {
					c.commit(0, CommitOptions{Proposals: list})
					c.agree()
					return
				}
				if order == "beside one that is not valid" {
					c.propose(3, must[*PreSharedKey](t)(c.members[3].group.NewPSK([]byte("unknown"))))
				}
				if order == "in reverse" {
					slices.Reverse(list)
				}
				for i, p := range list {
					c.propose([]int{1, 3}[i%2], p)
				}
				if ch := c.commit(0, CommitOptions{}); len(ch.Proposals) != len(list) {
					t.Errorf("committed %+v", ch.Proposals)
				}
				c.agree()
			})
		}
	}
}

// A proposal that could not be sent does not wait here, where nobody else hears of it.
func TestProposalsThatCannotBeSent(t *testing.T) {
	c := newCrowd(t, 1, 2, func(c *Config) { c.EncryptHandshake = true })
	g := c.members[0].group
	c.propose(1, &Remove{0})
	starve(t, g.cfg, func() (bool, error) {
		msg, err := g.Propose(&Remove{1}, nil)
		return msg == nil && len(g.Pending()) == 1, err
	})
	if n := len(g.Pending()); n != 2 {
		t.Errorf("%d proposals wait", n)
	}
}

// Types that not everybody knows need only be supported by who stays.
func TestProposalsOfOtherTypes(t *testing.T) {
	c := newCrowd(t, 1, 2, func(c *Config) { c.Capabilities.Proposals = []ProposalType{0xf00d} })
	c.add(0, newPerson(t, 1, "plain"))
	other := &UnknownProposal{0xf00d, []byte("data")}
	_, err := c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{other}})
	wantRefusal(t, err, Invalid, "12.2: leaf 2 does not support proposal type 0xf00d")
	ch := c.commit(0, CommitOptions{Proposals: []Proposal{other, &Remove{2}}})
	if parse(t, ch.Commit).public.content.body.commit.path == nil {
		t.Error("a commit of a type that is not known has no path")
	}
	c.agree()
}

// A commit finds among what waits all that its own proposals need, whatever else waits.
func TestOwnProposalsThatNeedOthers(t *testing.T) {
	extend := wish{kind: ProposalGroupContextExtensions, extensions: Extensions{{theExtension, nil}}}
	group := func(t *testing.T) *history { // m1 and m2 lack the extension, and m4 has proposed to remove them
		h := &history{t: t, suite: 1}
		h.gather(h.newOurs(client{name: "m4", modern: true}), true, false, false, true)
		for _, gone := range []string{"m1", "m2"} {
			msg, err := h.members[4].propose(wish{kind: ProposalRemove, member: gone})
			h.check(h.members[4], err)
			h.told(h.members[4], msg)
		}
		return h
	}
	commits := func(t *testing.T, h *history, want int, values ...wish) {
		t.Helper()
		by := h.members[0].(*ours)
		commit, _, err := by.commit(values...)
		h.check(by, err)
		h.check(h.members[4], h.members[4].take(commit))
		if by.last != want || h.members[4].(*ours).last != want {
			t.Errorf("the commit holds %d proposals, want %d", by.last, want)
		}
	}
	t.Run("beside a removal of one whom it removes itself", func(t *testing.T) {
		h := group(t)
		msg, err := h.members[4].propose(wish{kind: ProposalRemove, member: "m3"})
		h.check(h.members[4], err)
		h.told(h.members[4], msg)
		commits(t, h, 4, wish{kind: ProposalRemove, member: "m3"}, extend)
	})
	t.Run("beside an add that does not fit", func(t *testing.T) {
		h := group(t)
		msg, err := h.members[4].propose(wish{kind: ProposalAdd, keyPackage: h.newOurs(client{name: "m5"}).keyPackage()})
		h.check(h.members[4], err)
		h.told(h.members[4], msg)
		commits(t, h, 3, extend)
	})
	t.Run("beside other extensions", func(t *testing.T) {
		h := group(t)
		msg, err := h.members[4].propose(wish{kind: ProposalGroupContextExtensions})
		h.check(h.members[4], err)
		h.told(h.members[4], msg)
		commits(t, h, 3, extend)
	})
}
