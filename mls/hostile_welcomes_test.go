package mls

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// Welcomes that were tampered with by the one who made them.
func TestHostileWelcomes(t *testing.T) {
	type making struct {
		next *next
		info *groupInfo
		tree *tree
		who  *person
		own  LeafIndex
	}
	retree := func(m *making) {
		for i := range m.info.extensions {
			if m.info.extensions[i].Type == ExtensionRatchetTree {
				m.info.extensions[i].Data = m.tree.append(nil)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*testing.T, *making)
		want   Kind
	}{
		{"the tree is another", func(_ *testing.T, m *making) { m.tree = m.tree.clone(); m.tree.remove(1); retree(m) }, Invalid},
		{"a leaf's signature is damaged", func(_ *testing.T, m *making) {
			l := copyLeaf(m.tree.leaf(m.own)) // the only one that no parent hash covers
			l.Signature = make([]byte, 64)
			m.tree.setLeaf(m.own, l)
			m.info.context.treeHash = m.tree.hash()
			retree(m)
		}, BadSignature},
		{"a parent was not made by a member", func(_ *testing.T, m *making) {
			m.tree.nodes[1].parent = &parentNode{key: m.tree.nodes[1].parent.key, parentHash: []byte("made up")}
			m.tree.touch(1)
			m.info.context.treeHash = m.tree.hash()
			retree(m)
		}, Invalid},
		{"a parent's key stands in a leaf", func(_ *testing.T, m *making) {
			m.tree.nodes[1].parent = &parentNode{key: m.tree.leaf(0).EncryptionKey}
			m.tree.touch(1)
			m.info.context.treeHash = m.tree.hash()
			retree(m)
		}, Invalid},
		{"a blank leaf is unmerged", func(_ *testing.T, m *making) {
			const n = 3
			m.tree.nodes[n].parent = &parentNode{key: m.tree.nodes[n].parent.key, parentHash: m.tree.nodes[n].parent.parentHash, unmerged: []LeafIndex{7}}
			m.tree.touch(n)
			m.info.context.treeHash = m.tree.hash()
			retree(m)
		}, Invalid},
		{"unmerged leaves are not in order", func(_ *testing.T, m *making) {
			const n = 3
			m.tree.nodes[n].parent = &parentNode{key: m.tree.nodes[n].parent.key, parentHash: m.tree.nodes[n].parent.parentHash, unmerged: []LeafIndex{2, 1}}
			m.tree.touch(n)
			m.info.context.treeHash = m.tree.hash()
			retree(m)
		}, Invalid},
		{"the new member is not in the tree", func(_ *testing.T, m *making) {
			m.tree.remove(m.own)
			m.tree.shrink()
			m.info.context.treeHash = m.tree.hash()
			retree(m)
		}, Invalid},
		{"the tree ends with a blank", func(_ *testing.T, m *making) {
			m.info.extensions[0].Data = codec.AppendVector(nil, func(dst []byte) []byte { return append(dst, 0) })
		}, Malformed},
		{"the tree is empty", func(_ *testing.T, m *making) { m.info.extensions[0].Data = []byte{0} }, Malformed},
		{"the signer is blank", func(_ *testing.T, m *making) { m.info.signer = 9 }, Invalid},
		{"the signer is another", func(_ *testing.T, m *making) { m.info.signer = 1 }, BadSignature},
		{"the confirmation tag is wrong", func(_ *testing.T, m *making) { m.info.confirmationTag = make([]byte, 32) }, BadSignature},
		{"the group is of another suite", func(_ *testing.T, m *making) { m.info.context.suite = 3 }, Invalid},
		{"the group uses an extension that is not supported", func(_ *testing.T, m *making) { m.info.context.extensions = Extensions{{0xf00d, nil}} }, Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			crowd := newCrowd(t, 1, 4)
			crowd.commit(1, CommitOptions{})
			crowd.commit(0, CommitOptions{})
			g := crowd.members[0].group
			p := newPerson(t, 1, "joiner")
			k := p.keyPackage()
			l := &proposalList{suite: g.suite, committer: Sender{Type: SenderMember}, all: []Committed{{Proposal: &Add{k}}}}
			if err := l.apply(&g.now.context, g.now.tree, g.limits); err != nil {
				t.Fatal(err)
			}
			e := &epoch{suite: g.suite, tree: l.tree, keys: keyring{}, signer: g.now.signer, context: g.now.context}
			e.context.epoch++
			e.context.treeHash = l.tree.hash()
			m := &making{next: &next{epoch: e}, tree: l.tree, who: p, own: l.added[0]}
			m.info = &groupInfo{context: e.context, extensions: Extensions{{ExtensionRatchetTree, l.tree.append(nil)}}}
			tag := func() {
				e.context = m.info.context
				var j joined
				m.next.joiner.Set(bytes.Repeat([]byte{3}, 32))
				zero := secretOf(make([]byte, 32))
				j.derive(g.suite, &m.next.joiner, zero, e.context.append(nil))
				e.start(&j.epoch)
				m.next.welcome.Set(j.welcome.Bytes())
				m.info.confirmationTag = bytes.Clone(e.tag)
			}
			tag()
			confirmation := m.info.confirmationTag
			c.change(t, m)
			if bytes.Equal(confirmation, m.info.confirmationTag) {
				tag()
			}
			if err := m.info.sign(g.suite, rand.Reader, g.now.signer); err != nil {
				t.Fatal(err)
			}
			_, err := Join(p.cfg, welcomeOf(t, g.suite, m.next, m.info, k), JoinOptions{})
			wantKind(t, err, c.want)
			if kept := must[*PrivateKeyPackage](t)(p.cfg.KeyPackages.Get(must[[]byte](t)(k.Ref()))); kept == nil {
				t.Error("the key package is used up by a welcome that failed")
			}
		})
	}
}

// welcomeOf is a welcome for k with a given group info.
func welcomeOf(t *testing.T, s *suite.Suite, n *next, info *groupInfo, k *KeyPackage) []byte {
	t.Helper()
	var key messageKey
	welcomeKey(s, &n.welcome, &key)
	aead, err := s.AEAD(key.key[:s.KeySize()])
	if err != nil {
		t.Fatal(err)
	}
	sealed := aead.Seal(nil, key.nonce[:], info.append(nil), nil)
	gs := groupSecrets{joiner: n.joiner.Bytes()}
	kem, ct, err := s.EncryptWithLabel(rand.Reader, k.InitKey, welcomeLabel, sealed, gs.append(nil))
	if err != nil {
		t.Fatal(err)
	}
	w := welcome{suite: s.ID(), secrets: []welcomeSecrets{{must[[]byte](t)(k.Ref()), hpkeCiphertext{kem, ct}}}, groupInfo: sealed}
	return w.append(appendMessageHead(nil, WireWelcome))
}

// A welcome damaged on its way, and one used twice.
func TestWelcomesThatAreRefused(t *testing.T) {
	c := newCrowd(t, 1, 2)
	p := newPerson(t, 1, "joiner")
	ch := c.commit(0, CommitOptions{Path: true, Proposals: []Proposal{&Add{p.keyPackage()}}})
	w := ch.Welcomes[0]
	for i := range w {
		damaged := bytes.Clone(w)
		damaged[i] ^= 1
		for _, b := range [][]byte{damaged, w[:i]} {
			if _, err := Join(p.cfg, b, JoinOptions{}); KindOf(err) == 0 {
				t.Fatalf("damaged at %d: %v", i, err)
			}
		}
	}
	_, err := Join(p.cfg, w, JoinOptions{InUse: func([]byte) bool { return true }})
	wantKind(t, err, Invalid)
	_, err = Join(newPerson(t, 1, "other").cfg, w, JoinOptions{})
	wantKind(t, err, Missing)
	_, err = Join(newPerson(t, 2, "other").cfg, w, JoinOptions{})
	wantKind(t, err, Unsupported)
	_, err = Join(p.cfg, ch.Commit, JoinOptions{})
	wantKind(t, err, Misuse)
	p.group = must[*Group](t)(Join(p.cfg, w, JoinOptions{}))
	c.members = append(c.members, p)
	c.agree()
	_, err = Join(p.cfg, w, JoinOptions{})
	wantKind(t, err, Missing)
}
