package mls

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// What mls-rs refuses is refused here as well, whether we would make it or another has: in a group with members of
// both, it would split the group. The differential histories show that mls-rs does.
func TestRefusedAsByMLSRS(t *testing.T) {
	forge := func(change func(*LeafNode)) func(*crowd) Proposal {
		return func(c *crowd) Proposal {
			return &Add{newPerson(c.t, 1, "new").forgePackage(func(_ *KeyPackage, l *LeafNode) { change(l) })}
		}
	}
	context := func(e ...Extension) func(*crowd) Proposal {
		return func(*crowd) Proposal { return &GroupContextExtensions{e} }
	}
	odd := ExternalSender{newPerson(t, 1, "service").cfg.Key.Public(), Credential{Type: 0xf00d}}
	for _, x := range []struct {
		name string
		make func(*crowd) Proposal
		want string
	}{
		{"capabilities that list an extension of the RFC", forge(func(l *LeafNode) { l.Capabilities.Extensions = []ExtensionType{ExtensionExternalSenders} }), "7.2: capabilities list external_senders"},
		{"capabilities that list a proposal of the RFC", forge(func(l *LeafNode) { l.Capabilities.Proposals = []ProposalType{ProposalAdd} }), "7.2: capabilities list add"},
		{"a leaf with an application_id", forge(func(l *LeafNode) { l.Extensions = Extensions{{ExtensionApplicationID, []byte("id")}} }), "7.3: leaf node carries application_id"},
		{"a leaf with a tree", forge(func(l *LeafNode) { l.Extensions = Extensions{{ExtensionRatchetTree, nil}} }), "7.3: leaf node carries ratchet_tree"},
		{"a required extension of the RFC", context(RequiredCapabilities{Extensions: []ExtensionType{ExtensionExternalSenders}}.Extension()), "7.3: does not support external_senders, which the group requires"},
		{"a required proposal of the RFC", context(RequiredCapabilities{Proposals: []ProposalType{ProposalAdd}}.Extension()), "7.3: does not support add, which the group requires"},
		{"an external sender whose credential nobody supports", context(ExternalSenders(odd)), "12.1.8.1: does not support credential type 0xf00d"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, 1, 3)
			listRefused(t, c, []Proposal{x.make(c)}, Invalid, x.want)
		})
	}
	t.Run("in the tree of a joiner", func(t *testing.T) {
		p := newPerson(t, 1, "joiner")
		f := newCrowd(t, 1, 2).forgeWelcome(p)
		f.tree.add(newPerson(t, 1, "other").forgePackage(func(_ *KeyPackage, l *LeafNode) {
			l.Capabilities.Proposals = []ProposalType{ProposalRemove}
		}).Leaf)
		f.retree()
		_, err := Join(p.cfg, f.seal(), JoinOptions{})
		wantRefusal(t, err, Invalid, "7.2: leaf 3: capabilities list remove")
	})
}

// What the RFC refuses and mls-rs does not: nobody makes it, everybody follows who must, and with Config.Strict nobody
// does.
func TestStrictRules(t *testing.T) {
	forge := func(change func(*KeyPackage, *LeafNode)) func(*crowd) Proposal {
		return func(c *crowd) Proposal { return &Add{newPerson(c.t, 1, "new").forgePackage(change)} }
	}
	context := func(e ...Extension) func(*crowd) Proposal {
		return func(*crowd) Proposal { return &GroupContextExtensions{e} }
	}
	highBit := func(key []byte) []byte { b := bytes.Clone(key); b[31] |= 0x80; return b }
	for _, x := range []struct {
		name string
		make func(*crowd) Proposal
		want string
	}{
		{"a key package with an extension that its leaf does not list", forge(func(k *KeyPackage, _ *LeafNode) { k.Extensions = Extensions{{0xf00d, nil}} }), "10: key package with extension type 0xf00d"},
		{"a key package with an extension that belongs elsewhere", forge(func(k *KeyPackage, _ *LeafNode) { k.Extensions = Extensions{{ExtensionRatchetTree, nil}} }), "10: key package with ratchet_tree"},
		{"a leaf without the suite", forge(func(_ *KeyPackage, l *LeafNode) { l.Capabilities.CipherSuites = []CipherSuite{2} }), "7.2: do not list the version and cipher suite"},
		{"a leaf without the version", forge(func(_ *KeyPackage, l *LeafNode) { l.Capabilities.Versions = nil }), "7.2: do not list the version and cipher suite"},
		{"an encryption key that is none", forge(func(_ *KeyPackage, l *LeafNode) { l.EncryptionKey = []byte("x") }), "7.3: encryption_key of a leaf node"},
		{"an encryption key of low order", forge(func(_ *KeyPackage, l *LeafNode) { l.EncryptionKey = make([]byte, 32) }), "7.3: encryption_key of a leaf node"},
		{"an encryption key with its highest bit set", forge(func(_ *KeyPackage, l *LeafNode) { l.EncryptionKey = highBit(l.EncryptionKey) }), "7.3: encryption_key of a leaf node is not in its shortest form"},
		{"an init key with its highest bit set", forge(func(k *KeyPackage, _ *LeafNode) { k.InitKey = highBit(k.InitKey) }), "10.1: init_key of a key package is not in its shortest form"},
		{"a key package that is over", forge(func(_ *KeyPackage, l *LeafNode) { l.Lifetime.NotAfter = uint64(testTime.Unix()) - 1 }), "7.3: key package is valid from"},
		{"a tree in a group context", context(Extension{ExtensionRatchetTree, nil}), "17.3: ratchet_tree in a group context"},
		{"an external_pub in a group context", context(Extension{ExtensionExternalPub, nil}), "17.3: external_pub in a group context"},
		{"an application_id in a group context", context(Extension{ExtensionApplicationID, nil}), "17.3: application_id in a group context"},
		{"a tree in the context that a reinit asks for", func(*crowd) Proposal {
			return &ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: 1, Extensions: Extensions{{ExtensionRatchetTree, nil}}}
		}, "17.3: ratchet_tree in a group context"},
		{"a reinit to an empty id", func(*crowd) Proposal { return &ReInit{Version: MLS10, CipherSuite: 1} }, "12.1.5: reinit to a group without an id"},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, 1, 3)
			p := x.make(c)
			made, victim := c.members[0].group, c.members[1].group
			_, err := made.Commit(CommitOptions{Proposals: []Proposal{p}})
			wantRefusal(t, err, Invalid, x.want)
			msg := say(t, made, made.now.signer, Sender{Type: SenderMember}, p)
			must[*Received](t)(victim.Process(msg))
			leftOut(t, victim) // nor what another proposed

			// A commit of one who does not care.
			l := &proposalList{suite: made.suite, committer: Sender{Type: SenderMember}, all: []Committed{{Proposal: p}}}
			if err := l.valid(made); err != nil {
				t.Fatal(err)
			}
			ch := must[*Change](t)(made.commit(l, CommitOptions{}))
			must[*Received](t)(victim.Process(ch.Commit)).Change.Discard()
			victim.cfg.Strict = true
			_, err = victim.Process(ch.Commit)
			wantRefusal(t, err, Invalid, x.want)
			_, err = victim.Process(msg)
			wantRefusal(t, err, Invalid, x.want)
			if _, ok := p.(*ReInit); ok {
				return
			}
			if err := ch.Apply(); err != nil {
				t.Fatal(err)
			}
			joiner := newPerson(t, 1, "joiner")
			welcome := must[*Change](t)(made.Commit(CommitOptions{Proposals: []Proposal{&Add{joiner.keyPackage()}}})).Welcomes[0]
			if x.want[:2] == "10" { // the tree does not show it
				return
			}
			joiner.cfg.Strict = true
			_, err = Join(joiner.cfg, welcome, JoinOptions{})
			wantRefusal(t, err, Invalid, x.want)
			joiner.cfg.Strict = false
			must[*Group](t)(Join(joiner.cfg, welcome, JoinOptions{}))
		})
	}
}

// Nobody can seal for a member whose key is none: who commits is told which, and removes it.
func TestMembersWithoutAKey(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[0].group
	bad := &Add{newPerson(t, 1, "bad").forgePackage(func(_ *KeyPackage, l *LeafNode) { l.EncryptionKey = make([]byte, 32) })}
	l := &proposalList{suite: g.suite, committer: Sender{Type: SenderMember}, all: []Committed{{Proposal: bad}}}
	if err := l.valid(g); err != nil {
		t.Fatal(err)
	}
	ch := must[*Change](t)(g.commit(l, CommitOptions{}))
	for _, p := range c.members[1:] {
		if err := must[*Received](t)(p.group.Process(ch.Commit)).Change.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	_, err := c.members[1].group.Commit(CommitOptions{})
	wantRefusal(t, err, Invalid, "7.6: encryption key of node 6")
	c.commit(1, CommitOptions{Proposals: []Proposal{&Remove{3}}})
	c.agree()
}

// Clocks may differ as much as they are told to.
func TestClockSlack(t *testing.T) {
	for _, x := range []struct {
		ahead time.Duration // of the key package's maker, or behind
		slack time.Duration
		ok    bool
	}{
		{lifetimeSlack, 0, true}, {lifetimeSlack + time.Second, 0, false}, {lifetimeSlack + 2*time.Minute, 2 * time.Minute, true},
		{lifetimeSlack + 2*time.Minute + time.Second, 2 * time.Minute, false}, {-time.Hour - 2*time.Minute, 2 * time.Minute, true},
		{-time.Hour - 2*time.Minute - time.Second, 2 * time.Minute, false},
	} {
		c := newCrowd(t, 1, 2)
		p := newPerson(t, 1, "p", func(c *Config) { c.Now, c.Lifetime = func() time.Time { return testTime.Add(x.ahead) }, time.Hour })
		c.members[0].cfg.ClockSlack = x.slack
		_, err := c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{p.keyPackage()}}})
		if x.ok && err != nil {
			t.Errorf("%+v: %v", x, err)
		} else if !x.ok {
			wantRefusal(t, err, Invalid, "7.3: key package is valid from")
		}
	}
	// One that is valid now, and was not and will not be a slack from now.
	c := newCrowd(t, 1, 2)
	k := newPerson(t, 1, "p").forgePackage(func(_ *KeyPackage, l *LeafNode) {
		l.Lifetime = Lifetime{uint64(testTime.Unix()) - 5, uint64(testTime.Unix()) + 5}
	})
	c.members[0].cfg.ClockSlack = time.Minute
	must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}}))
	// A clock that begins with 1970 makes key packages all the same.
	early := newPerson(t, 1, "early", func(c *Config) { c.Now = func() time.Time { return time.Unix(10, 0) } })
	if l := early.keyPackage().Leaf.Lifetime; l.NotBefore != 0 || !l.Contains(time.Unix(10, 0)) {
		t.Errorf("lifetime %+v", l)
	}
}

// Our own values that mean nothing are no support of anything (section 13.5).
func TestOwnGREASEIsNoSupport(t *testing.T) {
	const grease = 0x1a1a
	c := newCrowd(t, 1, 3, func(c *Config) {
		c.Capabilities = Capabilities{Extensions: []ExtensionType{grease}, Proposals: []ProposalType{grease}, Credentials: []CredentialType{CredentialBasic, grease}}
	})
	if l := c.members[0].group.Member(1); !slices.Contains(l.Capabilities.Extensions, grease) {
		t.Fatalf("capabilities %+v", l.Capabilities)
	}
	for _, p := range []Proposal{
		&GroupContextExtensions{Extensions{{grease, nil}}},
		&GroupContextExtensions{Extensions{RequiredCapabilities{Extensions: []ExtensionType{grease}}.Extension()}},
		&GroupContextExtensions{Extensions{RequiredCapabilities{Proposals: []ProposalType{grease}}.Extension()}},
		&GroupContextExtensions{Extensions{RequiredCapabilities{Credentials: []CredentialType{grease}}.Extension()}},
		&UnknownProposal{ProposalType: grease},
	} {
		listRefused(t, c, []Proposal{p}, Invalid, "13.5: nobody supports it")
	}
	k := newPerson(t, 1, "new").forgePackage(func(_ *KeyPackage, l *LeafNode) {
		l.Credential.Type, l.Capabilities.Credentials = grease, []CredentialType{CredentialBasic, grease}
	})
	listRefused(t, c, []Proposal{&Add{k}}, Invalid, "13.5: nobody supports it")
	if isGREASE[ProposalType](0xfafa) || isGREASE[ProposalType](0x1a2a) || isGREASE[ProposalType](0x0a0b) || !isGREASE[ProposalType](0x0a0a) || !isGREASE[ProposalType](0xeaea) {
		t.Error("values that mean nothing are others")
	}
}
