package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// A hostile member commits what the rules forbid: nobody follows, with the reason, and nobody's group changes.
func TestHostileMemberCommits(t *testing.T) {
	value := func(list ...Proposal) func(*forged) { return func(f *forged) { f.add(list...) } }
	leaf := func(change func(*forged, *LeafNode)) func(*forged) {
		return func(f *forged) { f.leaf(func(l *LeafNode) { change(f, l) }) }
	}
	from := func(s Sender) func(*forged) { return func(f *forged) { f.m.content.sender = s } }
	needs := func(q RequiredCapabilities) Proposal { return &GroupContextExtensions{Extensions{q.Extension()}} }
	next := &ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: 1}
	nonce := make([]byte, 32)
	one := &PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: nonce}}
	short := &PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: nonce[1:]}}
	branch := &PreSharedKey{PSKID{Type: PSKResumption, Usage: UsageBranch, GroupID: []byte("the group"), Nonce: nonce}}
	update := func(f *forged, i int) {
		f.c.tell(i, must[[]byte](f.c.t)(f.c.members[i].group.ProposeUpdate(Identity{}, nil)))
	}
	for _, c := range []struct {
		name   string
		change func(*forged)
		kind   Kind
		want   string
	}{
		{"it removes itself", value(&Remove{0}), Invalid, "12.2: removes itself"},
		{"it removes a blank leaf", value(&Remove{4}), Invalid, "12.1.3: leaf 4 is blank"},
		{"it removes a leaf outside of the tree", value(&Remove{1 << 30}), Invalid, "12.1.3: is blank"},
		{"it removes a leaf twice", value(&Remove{2}, &Remove{2}), Invalid, "12.2: leaf 2 is updated or removed twice"},
		{"two updates of one member", func(f *forged) { update(f, 2); update(f, 2); f.refer() }, Invalid, "12.2: leaf 2 is updated or removed twice"},
		{"an update and a remove of one member", func(f *forged) { update(f, 2); f.refer(); f.add(&Remove{2}) }, Invalid, "12.2: leaf 2 is updated or removed twice"},
		{"an update by value", func(f *forged) { f.add(&Update{f.g.now.tree.leaf(0)}) }, Invalid, "12.2: update is not one that a member sent"},
		{"its own update", func(f *forged) { update(f, 0); f.refer() }, Invalid, "12.2: update was made by the committer"},
		{"an external_init", value(&ExternalInit{[]byte("kem")}), Invalid, "12.2: 1 proposals of type external_init"},
		{"a reinit beside a remove", value(&Remove{2}, next), Invalid, "12.2: reinit does not stand alone"},
		{"a reinit to version 0", value(&ReInit{GroupID: []byte("x"), CipherSuite: 1}), Invalid, "12.1.5: version 0 is below"},
		{"a reinit with extensions that do not decode", value(&ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: 1, Extensions: Extensions{{ExtensionExternalSenders, []byte{9}}}}),
			Malformed, ": external_senders extension does not decode"},
		{"a reinit with requirements that do not decode", value(&ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: 1, Extensions: Extensions{{ExtensionRequiredCapabilities, []byte{9}}}}),
			Malformed, ": required_capabilities extension does not decode"},
		{"extensions twice", value(&GroupContextExtensions{}, &GroupContextExtensions{}), Invalid, "12.2: extensions are replaced 2 times"},
		{"required_capabilities that do not decode", value(&GroupContextExtensions{Extensions{{ExtensionRequiredCapabilities, []byte{9}}}}), Malformed, ": required_capabilities extension does not decode"},
		{"external_senders that do not decode", value(&GroupContextExtensions{Extensions{{ExtensionExternalSenders, []byte{9}}}}), Malformed, ": external_senders extension does not decode"},
		{"an extension that nobody supports", value(&GroupContextExtensions{Extensions{{0xf00d, nil}}}), Invalid, "13.4: which the group uses"},
		{"an extension that nobody supports is required", value(needs(RequiredCapabilities{Extensions: []ExtensionType{0xf00d}})), Invalid, "7.3: extension type 0xf00d, which the group requires"},
		{"a proposal that nobody supports is required", value(needs(RequiredCapabilities{Proposals: []ProposalType{0xf00d}})), Invalid, "7.3: proposal type 0xf00d, which the group requires"},
		{"a credential that nobody supports is required", value(needs(RequiredCapabilities{Credentials: []CredentialType{0xf00d}})), Invalid, "7.3: credential type 0xf00d, which the group requires"},
		{"a pre-shared key with a short nonce", value(short), Invalid, "12.1.4: psk_nonce of 31 bytes"},
		{"a pre-shared key twice", value(one, one), Invalid, "12.2: two proposals name the same key"},
		{"a resumption key of usage branch", value(branch), Invalid, "12.1.4: resumption key for branch"},
		{"a pre-shared key that is not here", value(one), Missing, "8.4: pre-shared key 6b is not here"},
		{"too many pre-shared keys", func(f *forged) { f.add(slices.Repeat([]Proposal{one}, maxPSKs+1)...) }, Limit, "8.4: 1025 pre-shared keys"},
		{"a proposal that nobody supports", value(&UnknownProposal{0xf00d, []byte("data")}), Invalid, "12.2: does not support proposal type 0xf00d"},
		{"a proposal that never arrived", func(f *forged) { f.made.proposals = append(f.made.proposals, proposalOrRef{ref: []byte("ref")}) }, Missing, "12.4.2: which has not arrived"},
		{"no path and no proposals", func(f *forged) { f.made.path = nil }, Invalid, "12.4.2: commit has no path"},
		{"no path for a remove", func(f *forged) { f.made.path = nil; f.add(&Remove{2}) }, Invalid, "12.4.2: commit has no path"},
		{"a node of the path is missing", func(f *forged) { f.made.path.nodes = f.made.path.nodes[1:] }, Invalid, "7.5: update path has 2 nodes"},
		{"a node too many", func(f *forged) {
			f.made.path.nodes = append(f.made.path.nodes, updatePathNode{encryptionKey: freshKey(f.c.t, 1)})
		}, Invalid, "7.5: update path has 4 nodes"},
		{"a path deeper than any tree", func(f *forged) { f.made.path.nodes = slices.Repeat(f.made.path.nodes[:1], 1<<10) }, Limit, ": does not decode"},
		{"a path secret is missing", func(f *forged) { f.made.path.nodes[1].secrets = f.made.path.nodes[1].secrets[1:] }, Invalid, "7.6: for a resolution of"},
		{"a path secret too many", func(f *forged) {
			n := &f.made.path.nodes[1]
			n.secrets = append(n.secrets, n.secrets[0])
		}, Invalid, "7.6: for a resolution of"},
		{"a path secret is damaged", func(f *forged) { f.made.path.nodes[0].secrets[0].ciphertext[3] ^= 1 }, BadSignature, "7.5: path secret for leaf 1"},
		{"a path secret is short", func(f *forged) { f.seal(0, 0, 2, make([]byte, 31)) }, Invalid, "7.4: path secret of 31 bytes"},
		{"a path secret is that of another node", func(f *forged) { f.seal(0, 0, 2, make([]byte, 32)) }, Invalid, "7.5: does not give the key of node 1"},
		{"the key of a node is none", func(f *forged) { f.made.path.nodes[0].encryptionKey = []byte("key") }, Invalid, "7.5: node 0 of an update path"},
		{"the key of a node is of low order", func(f *forged) { f.made.path.nodes[0].encryptionKey = make([]byte, 32) }, Invalid, "7.5: node 0 of an update path"},
		{"the key of a node is not that which its leaf signs", func(f *forged) { f.made.path.nodes[0].encryptionKey = freshKey(f.c.t, 1) }, Invalid, "7.9.2: parent hash of the leaf"},
		{"the key of a node stands in the tree", func(f *forged) { f.made.path.nodes[0].encryptionKey = f.g.now.tree.leaf(2).EncryptionKey }, Invalid, "12.4.2: stands in node 4"},
		{"two nodes have the same key", func(f *forged) { f.made.path.nodes[0].encryptionKey = f.made.path.nodes[1].encryptionKey }, Invalid, "12.4.2: two keys of an update path"},
		{"the leaf has its old key", leaf(func(f *forged, l *LeafNode) { l.EncryptionKey = f.g.now.tree.leaf(0).EncryptionKey }), Invalid, "7.3: encryption_key of a new leaf is the old one"},
		{"the leaf has another's encryption key", leaf(func(f *forged, l *LeafNode) { l.EncryptionKey = f.g.now.tree.leaf(2).EncryptionKey }), Invalid, "12.4.2: stands in node 4"},
		{"the leaf has another member's signature key", func(f *forged) {
			l := copyLeaf(f.made.path.leaf)
			l.SignatureKey = f.g.now.tree.leaf(3).SignatureKey
			signLeaf(f.c.t, f.g.suite, l, f.c.members[3].group.now.signer, f.g.ID(), 0)
			f.made.path.leaf = l
		}, Invalid, "7.3: leaves 0 and 3 have the same signature_key"},
		{"the leaf is of source update", leaf(func(_ *forged, l *LeafNode) { l.Source = SourceUpdate }), Invalid, "7.3: source update, want commit"},
		{"the leaf has another parent hash", leaf(func(_ *forged, l *LeafNode) { l.ParentHash = make([]byte, 32) }), Invalid, "7.9.2: parent hash of the leaf"},
		{"the leaf carries what it does not list", leaf(func(_ *forged, l *LeafNode) { l.Extensions = Extensions{{0xf00d, nil}} }), Invalid, "7.3: which its capabilities do not list"},
		{"the leaf has a credential that nobody supports", leaf(func(_ *forged, l *LeafNode) { l.Credential = Credential{Type: 0xf00d} }), Invalid, "7.3: does not support credential type 0xf00d"},
		{"the leaf does not support the others' credentials", leaf(func(_ *forged, l *LeafNode) { l.Capabilities.Credentials = nil }), Invalid, "7.3: leaf 0 does not support basic"},
		{"the leaf's encryption key is none", leaf(func(_ *forged, l *LeafNode) { l.EncryptionKey = []byte{1} }), Invalid, "7.3: encryption_key of a leaf node"},
		{"the leaf's signature key is none", leaf(func(_ *forged, l *LeafNode) { l.SignatureKey = []byte{1} }), Invalid, "7.3: signature_key of a leaf node"},
		{"the leaf's certificate is none", leaf(func(_ *forged, l *LeafNode) { l.Credential = X509Credential([]byte("no certificate")) }), Invalid, "5.3: does not decode"},
		{"the leaf's signature is another's", func(f *forged) {
			l := copyLeaf(f.made.path.leaf)
			l.Signature = bytes.Clone(l.Signature)
			l.Signature[5] ^= 1
			f.made.path.leaf = l
		}, BadSignature, "7.3: signature of a leaf node"},
		{"the leaf was signed for another place", func(f *forged) { f.at = 1; f.leaf(func(*LeafNode) {}) }, BadSignature, "7.3: signature of a leaf node"},
		{"the confirmation tag is wrong", func(f *forged) { f.m.auth.confirmationTag[0] ^= 1 }, BadSignature, "12.4.2: confirmation tag"},
		{"the confirmation tag is short", func(f *forged) { f.m.auth.confirmationTag = f.m.auth.confirmationTag[:8] }, BadSignature, "12.4.2: confirmation tag"},
		{"another epoch", func(f *forged) { f.m.content.epoch++ }, FutureEpoch, "12.4.2: commit of epoch"},
		{"the epoch before", func(f *forged) { f.m.content.epoch-- }, PastEpoch, "12.4.2: commit of epoch"},
		{"another group", func(f *forged) { f.m.content.groupID = []byte("other") }, WrongGroup, "6: message is for group"},
		{"signed by another member", func(f *forged) { f.key = f.c.members[3].group.now.signer }, BadSignature, "6.1: signature of a commit from member 0"},
		{"in the name of another member", from(Sender{Type: SenderMember, Leaf: 3}), BadSignature, "6.1: signature of a commit from member 3"},
		{"in the name of a blank leaf", from(Sender{Type: SenderMember, Leaf: 4}), Invalid, "6.1: commit from leaf 4, which is blank"},
		{"in the name of the receiver", from(Sender{Type: SenderMember, Leaf: 1}), BadSignature, "6.1: signature of a commit from member 1"},
		{"in the name of a joiner", from(Sender{Type: SenderNewMemberCommit}), Invalid, "12.2: 0 proposals of type external_init"},
		{"in the name of one outside", from(Sender{Type: SenderExternal}), Invalid, "6.1: the group has 0 who may propose"},
		{"in the name of a proposer", from(Sender{Type: SenderNewMemberProposal}), Invalid, "6.1: want an add"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			crowd := newCrowd(t, 1, 6, strictFor(c.name))
			crowd.commit(3, CommitOptions{})
			crowd.commit(0, CommitOptions{Proposals: []Proposal{&Remove{4}}})
			ch := must[*Change](t)(crowd.members[0].group.Commit(CommitOptions{}))
			f := crowd.forge(0, ch)
			c.change(f)
			msg, victim := f.sign(), crowd.members[1].group
			unchanged(t, victim, func() {
				_, err := victim.Process(msg)
				wantRefusal(t, err, c.kind, c.want)
			})
			// The honest commit is still followed.
			r := must[*Received](t)(victim.Process(ch.Commit))
			if err := errors.Join(r.Change.Apply(), ch.Apply()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(authenticator(t, victim), authenticator(t, f.g)) {
				t.Error("victim and hostile member differ")
			}
		})
	}
}

// A hostile client joins by a commit that the rules forbid. Whom it removes must not believe it either, though that one
// cannot see what is behind the commit.
func TestHostileExternalCommits(t *testing.T) {
	value := func(list ...Proposal) func(*forged) { return func(f *forged) { f.add(list...) } }
	leaf := func(change func(*forged, *LeafNode)) func(*forged) {
		return func(f *forged) { f.leaf(func(l *LeafNode) { change(f, l) }) }
	}
	replaced := func(f *forged) *LeafNode { return f.g.now.tree.leaf(f.made.proposals[1].proposal.(*Remove).Leaf) }
	nonce := make([]byte, 32)
	psk := &PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: nonce}}
	for _, c := range []struct {
		name   string
		change func(*forged)
		kind   Kind
		want   string
	}{
		{"a proposal by reference", func(f *forged) { f.c.propose(3, psk); f.refer() }, Invalid, "12.4.3.2: by reference"},
		{"an add", func(f *forged) { f.add(&Add{newPerson(f.c.t, 1, "friend").keyPackage()}) }, Invalid, "12.2: external commit holds a proposal of type add"},
		{"an update", func(f *forged) { f.add(&Update{f.g.now.tree.leaf(3)}) }, Invalid, "12.2: external commit holds a proposal of type update"},
		{"a reinit", value(&ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: 1}), Invalid, "12.2: external commit holds a proposal of type reinit"},
		{"extensions", value(&GroupContextExtensions{}), Invalid, "12.2: external commit holds a proposal of type group_context"},
		{"a proposal that nobody knows", value(&UnknownProposal{ProposalType: 0xf00d}), Invalid, "12.2: external commit holds a proposal of type proposal type 0xf00d"},
		{"two removes", value(&Remove{3}), Invalid, "12.2: external commit holds 2 removes"},
		{"no external_init", func(f *forged) { f.made.proposals = f.made.proposals[1:] }, Invalid, "12.2: 0 proposals of type external_init"},
		{"two external_inits", func(f *forged) { f.made.proposals = append(f.made.proposals, f.made.proposals[0]) }, Invalid, "12.2: 2 proposals of type external_init"},
		{"an external_init that is none", func(f *forged) { f.made.proposals[0].proposal = &ExternalInit{[]byte("garbage")} }, Invalid, "8.3: kem_output"},
		{"a pre-shared key with a short nonce", value(&PreSharedKey{PSKID{Type: PSKExternal, Nonce: nonce[1:]}}), Invalid, "12.1.4: psk_nonce of 31 bytes"},
		{"no path", func(f *forged) { f.made.path = nil }, Invalid, "12.4.3.2: want a commit with a path"},
		{"a node of the path is missing", func(f *forged) { f.made.path.nodes = f.made.path.nodes[1:] }, Invalid, "7.5: update path has 1 nodes"},
		{"the key of a node is none", func(f *forged) { f.made.path.nodes[0].encryptionKey = []byte("key") }, Invalid, "7.5: node 0 of an update path"},
		{"the leaf has the key of the one it replaces", leaf(func(f *forged, l *LeafNode) { l.EncryptionKey = replaced(f).EncryptionKey }), Invalid, "7.3: encryption_key of a new leaf is the old one"},
		{"the leaf has another's signature key", func(f *forged) {
			f.key = f.c.members[3].group.now.signer
			f.leaf(func(l *LeafNode) { l.SignatureKey = f.key.Public() })
		}, Invalid, "7.3: have the same signature_key"},
		{"the leaf is of source key_package", leaf(func(_ *forged, l *LeafNode) { l.Source = SourceKeyPackage }), Invalid, "7.3: source key_package, want commit"},
		{"the leaf has another parent hash", leaf(func(_ *forged, l *LeafNode) { l.ParentHash = make([]byte, 32) }), Invalid, "7.9.2: parent hash of the leaf"},
		{"the leaf was signed for another place", func(f *forged) { f.at += 9; f.leaf(func(*LeafNode) {}) }, BadSignature, "7.3: signature of a leaf node"},
		{"the leaf's signature key is none", leaf(func(_ *forged, l *LeafNode) { l.SignatureKey = []byte{1} }), Invalid, "7.3: signature_key of a leaf node"},
		{"signed by another", func(f *forged) { f.key = f.c.members[3].group.now.signer }, BadSignature, "6.1: signature of a commit from new_member_commit"},
		{"its credential is another", leaf(func(_ *forged, l *LeafNode) { l.Credential = BasicCredential([]byte("unknown")) }), Invalid, "12.4.3.2: removes another client"},
		{"a proposal in place of the commit", func(f *forged) {
			f.m.content.kind, f.m.content.body = ContentProposal, body{proposal: &Remove{1}}
		}, Invalid, "12.4.3.2: proposal from new_member_commit"},
	} {
		for _, removed := range []LeafIndex{1, 2} {
			t.Run(fmt.Sprintf("%s, leaf %d is removed", c.name, removed), func(t *testing.T) {
				t.Parallel()
				crowd := newCrowd(t, 1, 4)
				crowd.commit(3, CommitOptions{})
				victim := crowd.members[1].group
				victim.cfg.Credentials = func(p *Presented) error {
					if p.Place != PlaceExternal || p.Replaces != victim.Member(removed) || !p.Replaces.Credential.Equal(p.Credential) {
						return fmt.Errorf("%+v", p)
					}
					return nil
				}
				f := crowd.forgeJoin(newPerson(t, 1, fmt.Sprint("m", removed)), ExternalOptions{Resync: &removed})
				honest := f.sign()
				c.change(f)
				msg := f.sign()
				unchanged(t, victim, func() {
					_, err := victim.Process(msg)
					wantRefusal(t, err, c.kind, c.want)
				})
				if r := must[*Received](t)(victim.Process(honest)); r.Change.SelfRemoved != (removed == 1) {
					t.Errorf("change %+v", r.Change)
				}
			})
		}
	}

	// What only those who stay can see.
	crowd := newCrowd(t, 1, 3)
	victim := crowd.members[1].group
	f := crowd.forgeJoin(newPerson(t, 1, "x"), ExternalOptions{})
	f.m.auth.confirmationTag = make([]byte, 32)
	_, err := victim.Process(f.sign())
	wantRefusal(t, err, BadSignature, "12.4.2: confirmation tag")
	f = crowd.forgeJoin(newPerson(t, 1, "x"), ExternalOptions{})
	f.add(psk)
	_, err = victim.Process(f.sign())
	wantRefusal(t, err, Missing, "8.4: pre-shared key 6b is not here")
}

// A commit replayed, and one of a past epoch.
func TestCommitsOfOtherEpochs(t *testing.T) {
	c := newCrowd(t, 1, 3)
	first := c.commit(0, CommitOptions{})
	_, err := c.members[1].group.Process(first.Commit)
	wantRefusal(t, err, PastEpoch, "12.4.2: commit of epoch 1, the group is in 2 already")
	ahead := must[*Change](t)(c.members[0].group.Commit(CommitOptions{}))
	if err := ahead.Apply(); err != nil {
		t.Fatal(err)
	}
	future := must[*Change](t)(c.members[0].group.Commit(CommitOptions{}))
	_, err = c.members[1].group.Process(future.Commit)
	wantRefusal(t, err, FutureEpoch, "12.4.2: commit of epoch 3, the group is in 2: a commit before it is missing")
	data := must[[]byte](t)(c.members[0].group.Protect(nil, nil, nil))
	_, err = c.members[1].group.Process(data)
	wantRefusal(t, err, FutureEpoch, "6.3: message of epoch 3, the group is in 2: a commit before it is missing")
}
