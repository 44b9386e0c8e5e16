package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// A hostile member commits what the rules forbid: nobody follows, with the reason, and nobody's group changes.
func TestHostileMemberCommits(t *testing.T) {
	type hostile struct {
		c    *crowd
		g    *Group // the hostile member's: member 0 of 5, leaf 4 blank
		m    *publicMessage
		made *commit
	}
	value := func(p Proposal) proposalOrRef { return proposalOrRef{proposal: p} }
	// leaf changes the leaf of the path and signs it anew.
	leaf := func(f func(h *hostile, l *LeafNode)) func(*testing.T, *hostile) {
		return func(t *testing.T, h *hostile) {
			l := copyLeaf(h.made.path.leaf)
			f(h, l)
			if err := l.sign(h.g.suite, rand.Reader, h.g.now.signer, h.g.ID(), 0); err != nil {
				t.Fatal(err)
			}
			h.made.path.leaf = l
		}
	}
	add := func(p Proposal) func(*testing.T, *hostile) {
		return func(_ *testing.T, h *hostile) { h.made.proposals = append(h.made.proposals, value(p)) }
	}
	nonce := make([]byte, 32)
	for _, c := range []struct {
		name   string
		change func(*testing.T, *hostile)
		want   Kind
	}{
		{"it removes itself", add(&Remove{0}), Invalid},
		{"it removes a blank leaf", add(&Remove{4}), Invalid},
		{"it removes a leaf outside of the tree", add(&Remove{1 << 30}), Invalid},
		{"it removes a leaf twice", func(t *testing.T, h *hostile) { add(&Remove{2})(t, h); add(&Remove{2})(t, h) }, Invalid},
		{"an update by value", func(t *testing.T, h *hostile) { add(&Update{h.g.now.tree.leaf(0)})(t, h) }, Invalid},
		{"an external_init", add(&ExternalInit{[]byte("kem")}), Invalid},
		{"a reinit beside a remove", func(t *testing.T, h *hostile) {
			add(&Remove{2})(t, h)
			add(&ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: 1})(t, h)
		}, Invalid},
		{"a reinit to version 0", add(&ReInit{GroupID: []byte("x"), CipherSuite: 1}), Invalid},
		{"extensions twice", func(t *testing.T, h *hostile) {
			add(&GroupContextExtensions{})(t, h)
			add(&GroupContextExtensions{})(t, h)
		}, Invalid},
		{"extensions that do not decode", add(&GroupContextExtensions{Extensions{{ExtensionRequiredCapabilities, []byte{9}}}}), Malformed},
		{"an extension that nobody supports", add(&GroupContextExtensions{Extensions{{0xf00d, nil}}}), Invalid},
		{"a pre-shared key with a short nonce", add(&PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: nonce[1:]}}), Invalid},
		{"a pre-shared key twice", func(t *testing.T, h *hostile) {
			p := &PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: nonce}}
			add(p)(t, h)
			add(p)(t, h)
		}, Invalid},
		{"a resumption key of usage branch", add(&PreSharedKey{PSKID{Type: PSKResumption, Usage: UsageBranch, GroupID: []byte("the group"), Nonce: nonce}}), Invalid},
		{"a pre-shared key that is not here", add(&PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: nonce}}), Missing},
		{"a proposal that nobody supports", add(&UnknownProposal{0xf00d, []byte("data")}), Invalid},
		{"a proposal that never arrived", func(_ *testing.T, h *hostile) {
			h.made.proposals = append(h.made.proposals, proposalOrRef{ref: []byte("ref")})
		}, Missing},
		{"no path and no proposals", func(_ *testing.T, h *hostile) { h.made.path = nil }, Invalid},
		{"no path for a remove", func(t *testing.T, h *hostile) { h.made.path = nil; add(&Remove{2})(t, h) }, Invalid},
		{"a node of the path is missing", func(_ *testing.T, h *hostile) { h.made.path.nodes = h.made.path.nodes[1:] }, Invalid},
		{"a node too many", func(_ *testing.T, h *hostile) {
			h.made.path.nodes = append(h.made.path.nodes, updatePathNode{key: must[*suite.PrivateKey](t)(h.g.suite.GenerateKeyPair(rand.Reader)).Public()})
		}, Invalid},
		{"a path deeper than any tree", func(_ *testing.T, h *hostile) {
			h.made.path.nodes = slices.Repeat(h.made.path.nodes[:1], 1<<10)
		}, Limit},
		{"a path secret is missing", func(_ *testing.T, h *hostile) { h.made.path.nodes[1].secrets = h.made.path.nodes[1].secrets[1:] }, Invalid},
		{"a path secret too many", func(_ *testing.T, h *hostile) {
			n := &h.made.path.nodes[1]
			n.secrets = append(n.secrets, n.secrets[0])
		}, Invalid},
		{"a path secret is damaged", func(_ *testing.T, h *hostile) { h.made.path.nodes[0].secrets[0].ciphertext[3] ^= 1 }, BadSignature},
		{"the key of a node is not that of its secret", func(t *testing.T, h *hostile) {
			h.made.path.nodes[0].key = must[*suite.PrivateKey](t)(h.g.suite.GenerateKeyPair(rand.Reader)).Public()
		}, Invalid},
		{"the key of a node is none", func(_ *testing.T, h *hostile) { h.made.path.nodes[0].key = []byte("key") }, Invalid},
		{"the key of a node stands in the tree", func(_ *testing.T, h *hostile) { h.made.path.nodes[0].key = h.g.now.tree.leaf(2).EncryptionKey }, Invalid},
		{"two nodes have the same key", func(_ *testing.T, h *hostile) { h.made.path.nodes[0].key = h.made.path.nodes[1].key }, Invalid},
		{"the leaf has its old key", leaf(func(h *hostile, l *LeafNode) { l.EncryptionKey = h.g.now.tree.leaf(0).EncryptionKey }), Invalid},
		{"the leaf has another member's signature key", func(t *testing.T, h *hostile) {
			l := copyLeaf(h.made.path.leaf)
			l.SignatureKey = h.g.now.tree.leaf(3).SignatureKey
			if err := l.sign(h.g.suite, rand.Reader, h.c.members[3].group.now.signer, h.g.ID(), 0); err != nil {
				t.Fatal(err)
			}
			h.made.path.leaf = l
		}, Invalid},
		{"the leaf is of source update", leaf(func(_ *hostile, l *LeafNode) { l.Source = SourceUpdate }), Invalid},
		{"the leaf has another parent hash", leaf(func(_ *hostile, l *LeafNode) { l.ParentHash = make([]byte, 32) }), Invalid},
		{"the leaf carries what it does not list", leaf(func(_ *hostile, l *LeafNode) { l.Extensions = Extensions{{0xf00d, nil}} }), Invalid},
		{"the leaf has a credential that nobody supports", leaf(func(_ *hostile, l *LeafNode) { l.Credential = Credential{Type: 0xf00d} }), Invalid},
		{"the leaf does not support the others' credentials", leaf(func(_ *hostile, l *LeafNode) { l.Capabilities.Credentials = nil }), Invalid},
		{"the leaf's encryption key is none", leaf(func(_ *hostile, l *LeafNode) { l.EncryptionKey = []byte{1} }), Invalid},
		{"the leaf's signature is another's", func(_ *testing.T, h *hostile) {
			l := copyLeaf(h.made.path.leaf)
			l.Signature = bytes.Clone(l.Signature)
			l.Signature[5] ^= 1
			h.made.path.leaf = readLeafNode(codec.NewReader(l.append(nil)))
		}, BadSignature},
		{"the leaf was signed for another place", func(t *testing.T, h *hostile) {
			l := copyLeaf(h.made.path.leaf)
			if err := l.sign(h.g.suite, rand.Reader, h.g.now.signer, h.g.ID(), 1); err != nil {
				t.Fatal(err)
			}
			h.made.path.leaf = l
		}, BadSignature},
		{"the confirmation tag is wrong", func(_ *testing.T, h *hostile) { h.m.auth.confirmationTag[0] ^= 1 }, BadSignature},
		{"the confirmation tag is short", func(_ *testing.T, h *hostile) { h.m.auth.confirmationTag = h.m.auth.confirmationTag[:8] }, BadSignature},
		{"another epoch", func(_ *testing.T, h *hostile) { h.m.content.epoch++ }, WrongEpoch},
		{"the epoch before", func(_ *testing.T, h *hostile) { h.m.content.epoch-- }, WrongEpoch},
		{"another group", func(_ *testing.T, h *hostile) { h.m.content.groupID = []byte("other") }, WrongGroup},
		{"in the name of another member", func(_ *testing.T, h *hostile) { h.m.content.sender.Leaf = 3 }, BadSignature},
		{"in the name of a blank leaf", func(_ *testing.T, h *hostile) { h.m.content.sender.Leaf = 4 }, Invalid},
		{"in the name of the receiver", func(_ *testing.T, h *hostile) { h.m.content.sender.Leaf = 1 }, Own},
		{"in the name of a joiner", func(_ *testing.T, h *hostile) { h.m.content.sender = Sender{Type: SenderNewMemberCommit} }, Invalid},
		{"in the name of one outside", func(_ *testing.T, h *hostile) { h.m.content.sender = Sender{Type: SenderExternal} }, Invalid},
		{"in the name of a proposer", func(_ *testing.T, h *hostile) { h.m.content.sender = Sender{Type: SenderNewMemberProposal} }, Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			crowd := newCrowd(t, 1, 6)
			crowd.commit(3, CommitOptions{})
			crowd.commit(0, CommitOptions{Proposals: []Proposal{&Remove{4}}})
			g := crowd.members[0].group
			ch := must[*Change](t)(g.Commit(CommitOptions{}))
			m := parse(t, ch.Commit).public
			h := &hostile{crowd, g, m, m.content.body.commit}
			c.change(t, h)
			msg := resign(t, g, m)
			victim := crowd.members[1].group
			unchanged(t, victim, func() {
				_, err := victim.Process(msg)
				wantKind(t, err, c.want)
			})
			// The honest commit is still followed.
			r := must[*Received](t)(victim.Process(ch.Commit))
			if err := errors.Join(r.Change.Apply(), ch.Apply()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(victim.EpochAuthenticator(), g.EpochAuthenticator()) {
				t.Error("victim and hostile member differ")
			}
		})
	}
}

// A commit replayed, and one of a past epoch.
func TestCommitsOfOtherEpochs(t *testing.T) {
	c := newCrowd(t, 1, 3)
	first := c.commit(0, CommitOptions{})
	_, err := c.members[1].group.Process(first.Commit)
	wantKind(t, err, WrongEpoch)
	ahead := must[*Change](t)(c.members[0].group.Commit(CommitOptions{}))
	if err := ahead.Apply(); err != nil {
		t.Fatal(err)
	}
	future := must[*Change](t)(c.members[0].group.Commit(CommitOptions{}))
	_, err = c.members[1].group.Process(future.Commit)
	wantKind(t, err, WrongEpoch)
	data := must[[]byte](t)(c.members[0].group.Protect(nil, nil, nil))
	_, err = c.members[1].group.Process(data)
	wantKind(t, err, WrongEpoch)
}
