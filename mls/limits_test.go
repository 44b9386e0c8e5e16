package mls

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

func TestLimits(t *testing.T) {
	c := newCrowd(t, 1, 3, func(c *Config) { c.Limits = Limits{Members: 4, Message: 100 << 10, Proposals: 2} })
	g := c.members[0].group
	o := CommitOptions{}
	for i := range 2 {
		o.Proposals = append(o.Proposals, &Add{newPerson(t, 1, fmt.Sprint("n", i)).keyPackage()})
	}
	_, err := g.Commit(o)
	wantRefusal(t, err, Limit, ": group of 5 members, at most 4 are allowed")
	_, err = g.Process(make([]byte, 100<<10+1))
	wantRefusal(t, err, Limit, ": message of 102401 bytes")
	_, err = Join(c.members[0].cfg, make([]byte, 100<<10+1), JoinOptions{})
	wantRefusal(t, err, Limit, ": welcome or tree of more than 102400 bytes")
	_, err = Join(c.members[0].cfg, nil, JoinOptions{Tree: make([]byte, 100<<10+1)})
	wantRefusal(t, err, Limit, ": welcome or tree of more than 102400 bytes")
	for range 2 {
		c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
	}
	_, err = c.members[1].group.ProposeUpdate(Identity{}, nil)
	wantRefusal(t, err, Limit, ": 2 proposals wait already")

	// Members of one group need not agree on limits.
	mixed := newCrowd(t, 1, 2)
	joiner := newPerson(t, 1, "strict", func(c *Config) { c.Limits.Members = 3 })
	mixed.add(0, joiner)
	commit := must[*Change](t)(mixed.members[0].group.Commit(CommitOptions{Proposals: o.Proposals[:1]})).Commit
	_, err = joiner.group.Process(commit)
	wantRefusal(t, err, Limit, ": group of 4 members, at most 3 are allowed")
	_, commit, err = JoinExternal(newPerson(t, 1, "outside").cfg, must[[]byte](t)(mixed.members[0].group.GroupInfo(true, true)), ExternalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = joiner.group.Process(commit)
	wantRefusal(t, err, Limit, ": group of 4 members, at most 3 are allowed")
	mixed.commit(0, CommitOptions{Proposals: []Proposal{o.Proposals[0], &Remove{1}}}) // one for another

	big := newCrowd(t, 1, 9)
	p := newPerson(t, 1, "small", func(c *Config) { c.Limits.Members, c.Limits.Depth = 4, 9 })
	ch := big.commit(0, CommitOptions{Proposals: []Proposal{&Add{p.keyPackage()}}})
	_, err = Join(p.cfg, ch.Welcomes[0], JoinOptions{})
	wantRefusal(t, err, Limit, ": ratchet tree of more than 4 members")
	p.cfg.Limits = Limits{Depth: 3}
	_, err = Join(p.cfg, ch.Welcomes[0], JoinOptions{})
	wantRefusal(t, err, Limit, ": ratchet tree does not decode")
	p.cfg.Limits = Limits{Depth: 4}
	must[*Group](t)(Join(p.cfg, ch.Welcomes[0], JoinOptions{}))
}

// Blank leaves take room as well: the depth of the tree has a limit of its own.
func TestDepthOfTheTree(t *testing.T) {
	c := newCrowd(t, 1, 4)
	strict := c.members[1]
	strict.cfg.Limits.Depth = 2
	strict.restart()
	add := &Add{newPerson(t, 1, "fifth").keyPackage()}
	ch := must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{add}}))
	_, err := strict.group.Process(ch.Commit)
	wantRefusal(t, err, Limit, ": ratchet tree of 8 leaves, at most 4 are allowed")
	_, err = strict.group.Commit(CommitOptions{Proposals: []Proposal{add}})
	wantRefusal(t, err, Limit, ": ratchet tree of 8 leaves, at most 4 are allowed")
	must[*Received](t)(strict.group.Process(must[[]byte](t)(c.members[0].group.Propose(add, nil)))) // a removal may come with it
	leftOut(t, strict.group)
	c.members[0].group.DropPending()
	_, msg, err := JoinExternal(newPerson(t, 1, "fifth").cfg, must[[]byte](t)(c.members[0].group.GroupInfo(true, true)), ExternalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = strict.group.Process(msg)
	wantRefusal(t, err, Limit, ": ratchet tree of 8 leaves, at most 4 are allowed")
	c.commit(0, CommitOptions{Proposals: []Proposal{add, &Remove{3}}}) // one for another
	for _, x := range []struct {
		l    Limits
		want int
	}{{Limits{}, 13}, {Limits{Members: 1}, 1}, {Limits{Members: 4}, 3}, {Limits{Members: 5}, 4}, {Limits{Members: 4, Depth: 20}, 20}, {Limits{Depth: 99}, treemath.MaxDepth - 1}} {
		if d := x.l.filled().Depth; d != x.want {
			t.Errorf("%+v: depth %d, want %d", x.l, d, x.want)
		}
	}
}

// Lists of elements that are small in a message, and larger when decoded, are bounded by number.
func TestListsWithoutEnd(t *testing.T) {
	t.Parallel()
	p := newPerson(t, 1, "p")
	k := must[*KeyPackage](t)(p.cfg.NewKeyPackage())
	packed := func(change func(*KeyPackage, *LeafNode)) []byte {
		c, l := *k, copyLeaf(k.Leaf)
		c.raw, c.Leaf = nil, l
		change(&c, l)
		return c.Marshal()
	}
	group := newCrowd(t, 1, 2).members[0].group
	committed := func(c *commit) []byte {
		return signed(t, group, p.cfg.Key, framedContent{groupID: group.ID(), sender: Sender{Type: SenderMember}, kind: ContentCommit, body: body{commit: c}}, []byte("tag"))
	}
	path := func(nodes []updatePathNode) []byte {
		return committed(&commit{path: &updatePath{leaf: k.Leaf, nodes: nodes}})
	}
	extensions := func(n int) Extensions {
		var e Extensions
		for i := range n {
			e = append(e, Extension{ExtensionType(0x100 + i), nil})
		}
		return e
	}
	references := func(n int) []proposalOrRef { return slices.Repeat([]proposalOrRef{{ref: []byte("r")}}, n) }
	for _, c := range []struct {
		name string
		most int
		make func(n int) []byte
	}{
		{"extensions", maxExtensions, func(n int) []byte { return packed(func(k *KeyPackage, _ *LeafNode) { k.Extensions = extensions(n) }) }},
		{"extensions of a leaf", maxExtensions, func(n int) []byte { return packed(func(_ *KeyPackage, l *LeafNode) { l.Extensions = extensions(n) }) }},
		{"certificates", maxCertificates, func(n int) []byte {
			return packed(func(_ *KeyPackage, l *LeafNode) { l.Credential = X509Credential(make([][]byte, n)...) })
		}},
		{"capabilities", maxNumbers, func(n int) []byte {
			return packed(func(_ *KeyPackage, l *LeafNode) { l.Capabilities.Proposals = make([]ProposalType, n) })
		}},
		{"proposals of a commit", maxProposals, func(n int) []byte { return committed(&commit{proposals: references(n)}) }},
		{"nodes of a path", treemath.MaxDepth, func(n int) []byte { return path(make([]updatePathNode, n)) }},
		{"recipients of a node", maxRecipients, func(n int) []byte { return path([]updatePathNode{{secrets: make([]hpkeCiphertext, n)}}) }},
		{"recipients of all nodes", maxRecipients, func(n int) []byte {
			return path([]updatePathNode{{secrets: make([]hpkeCiphertext, maxRecipients/2)}, {secrets: make([]hpkeCiphertext, n-maxRecipients/2)}})
		}},
		{"recipients of a welcome", maxRecipients, func(n int) []byte {
			w := welcome{suite: 1, secrets: make([]welcomeSecrets, n)}
			return w.append(appendMessageHead(nil, WireWelcome))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseMessage(c.make(c.most)); err != nil {
				t.Errorf("%d: %v", c.most, err)
			}
			_, err := ParseMessage(c.make(c.most + 1))
			if wantRefusal(t, err, Limit, ": does not decode"); !errors.Is(err, codec.ErrMany) {
				t.Errorf("%v", err)
			}
		})
	}
	senders := func(n int) Extensions { return Extensions{ExternalSenders(make([]ExternalSender, n)...)} }
	if _, err := externalSenders(senders(maxSenders)); err != nil {
		t.Error(err)
	}
	_, err := externalSenders(senders(maxSenders + 1))
	wantRefusal(t, err, Limit, ": external_senders extension does not decode")
	_, err = Create(p.cfg, nil, senders(maxSenders+1)...)
	wantRefusal(t, err, Limit, ": extensions of the new group: external_senders extension does not decode")

	// What is only seen behind a seal: of a welcome. And what we would make ourselves.
	c := newCrowd(t, 1, 1)
	for _, n := range []int{maxPSKs, maxPSKs + 1} {
		joiner := newPerson(t, 1, "joiner")
		f := c.forgeWelcome(joiner)
		f.secrets.psks = slices.Repeat([]PSKID{{Type: PSKExternal, Nonce: make([]byte, 31)}}, n)
		if _, err := Join(joiner.cfg, f.seal(), JoinOptions{}); n > maxPSKs {
			wantRefusal(t, err, Limit, ": group secrets of a welcome does not decode")
		} else {
			wantRefusal(t, err, Invalid, "8.4: psk_nonce of 31 bytes in a welcome")
		}
	}
	_, err = c.members[0].group.Commit(CommitOptions{GroupInfo: extensions(maxExtensions + 1)})
	wantRefusal(t, err, Limit, "13.4: CommitOptions.GroupInfo: 257 extensions in a list")
}

// A type stands in a list of extensions once: in what is read, and in all that this side would make (section 13.4).
func TestExtensionsStandOnce(t *testing.T) {
	p := newPerson(t, 1, "p")
	twice := Extensions{{ExtensionExternalSenders, []byte{0}}, {ExtensionExternalSenders, []byte{0}}}
	const want = "13.4: external_senders stands in a list of extensions twice"
	_, err := Create(p.cfg, nil, twice...)
	wantRefusal(t, err, Invalid, "13.4: extensions of the new group: external_senders stands in a list of extensions twice")
	g := newCrowd(t, 1, 2).members[0].group
	unchanged(t, g, func() {
		for _, x := range []Proposal{&GroupContextExtensions{twice}, &ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: 1, Extensions: twice}} {
			_, err = g.Commit(CommitOptions{Proposals: []Proposal{x}})
			wantRefusal(t, err, Invalid, want)
			_, err = g.Propose(x, nil)
			wantRefusal(t, err, Invalid, want)
		}
		_, err = g.Commit(CommitOptions{Proposals: []Proposal{&Add{p.keyPackage()}}, GroupInfo: twice})
		wantRefusal(t, err, Invalid, "13.4: CommitOptions.GroupInfo: external_senders stands in a list of extensions twice")
	})
	k := must[*KeyPackage](t)(p.cfg.NewKeyPackage())
	k.raw, k.Extensions = nil, twice
	_, err = ParseKeyPackage(k.Marshal())
	if wantRefusal(t, err, Malformed, ": mls_key_package does not decode"); !errors.Is(err, errTwice) {
		t.Errorf("%v", err)
	}

	// A group is not created with what its creator cannot read or does not support.
	for _, c := range []struct {
		name string
		e    Extension
		kind Kind
		want string
	}{
		{"external_senders that do not decode", Extension{ExtensionExternalSenders, []byte{9}}, Malformed, ": extensions of the new group: external_senders extension does not decode"},
		{"required_capabilities that do not decode", Extension{ExtensionRequiredCapabilities, []byte{9}}, Malformed, ": extensions of the new group: required_capabilities extension does not decode"},
		{"an extension that its creator does not support", Extension{0xf00d, nil}, Invalid, "13.4: extensions of the new group: leaf 0: leaf node does not support"},
		{"a requirement that its creator does not meet", RequiredCapabilities{Proposals: []ProposalType{0xf00d}}.Extension(), Invalid, "7.3: extensions of the new group: leaf 0: leaf node does not support"},
	} {
		_, err = Create(p.cfg, nil, c.e)
		wantRefusal(t, err, c.kind, c.want)
	}
}
