package mls

import (
	"crypto/rand"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// Trees that somebody else gave, for every rule that they may break. Their hashes are right.
func TestHostileTrees(t *testing.T) {
	parent := func(n int, change func(*tree, *parentNode)) func(*crowd, *tree) {
		return func(_ *crowd, t *tree) {
			p := *t.nodes[n].parent
			change(t, &p)
			t.nodes[n].parent = &p
			t.touch(nodeIndex(n))
		}
	}
	unmerged := func(n int, list ...LeafIndex) func(*crowd, *tree) {
		return parent(n, func(_ *tree, p *parentNode) { p.unmerged = list })
	}
	leaf := func(i LeafIndex, change func(*LeafNode)) func(*crowd, *tree) {
		return func(c *crowd, t *tree) {
			l := copyLeaf(t.leaf(i))
			change(l)
			signLeaf(c.t, t.suite, l, c.members[i].group.now.signer, []byte("the group"), i)
			t.setLeaf(i, l)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*crowd, *tree)
		e      Extensions
		kind   Kind
		want   string
	}{
		{"a blank leaf is unmerged", func(c *crowd, t *tree) { t.setLeaf(2, nil); unmerged(3, 2)(c, t) }, nil, Invalid, "12.4.3.1: unmerged leaf 2 of node 3 is no member below it"},
		{"a leaf that is not below is unmerged", unmerged(1, 2), nil, Invalid, "12.4.3.1: unmerged leaf 2 of node 1 is no member below it"},
		{"a leaf outside of the tree is unmerged", unmerged(3, 99), nil, Invalid, "12.4.3.1: unmerged leaf 99 of node 3 is no member below it"},
		{"unmerged leaves are not in order", unmerged(3, 2, 1), nil, Invalid, "7.1: unmerged leaves of node 3 are not in order"},
		{"a leaf is unmerged twice", unmerged(3, 2, 2), nil, Invalid, "7.1: unmerged leaves of node 3 are not in order"},
		{"an unmerged leaf is missing between", unmerged(3, 1), nil, Invalid, "12.4.3.1: leaf 1 is unmerged in node 3 and not in node 1 below it"},
		{"a parent has a leaf's key", parent(1, func(t *tree, p *parentNode) { p.encryptionKey = t.leaf(0).EncryptionKey }), nil, Invalid, "12.4.3.1: nodes 0 and 1 have the same encryption key"},
		{"two parents have the same key", parent(3, func(t *tree, p *parentNode) { p.encryptionKey = t.nodes[1].parent.encryptionKey }), nil, Invalid, "12.4.3.1: nodes 1 and 3 have the same encryption key"},
		{"two leaves have the same encryption key", func(c *crowd, t *tree) {
			leaf(2, func(l *LeafNode) { l.EncryptionKey = t.leaf(3).EncryptionKey })(c, t)
		}, nil, Invalid, "12.4.3.1: nodes 4 and 6 have the same encryption key"},
		{"the key of a parent is none", parent(3, func(_ *tree, p *parentNode) { p.encryptionKey = []byte("key") }), nil, Invalid, "7.1: encryption key of node 3"},
		{"the key of a parent is of low order", parent(3, func(_ *tree, p *parentNode) { p.encryptionKey = make([]byte, 32) }), nil, Invalid, "7.1: encryption key of node 3"},
		{"a parent was not made by a member", parent(3, func(_ *tree, p *parentNode) { p.parentHash = []byte("made up") }), nil, Invalid, "7.9.2: parent node 3 is not parent-hash valid"},
		{"a leaf was changed since its parent was made", leaf(3, func(l *LeafNode) { l.EncryptionKey = freshKey(t, 1) }), nil, Invalid, "7.9.2: parent node 3 is not parent-hash valid"},
		{"a parent stands above a blank leaf", func(_ *crowd, t *tree) { t.setLeaf(1, nil) }, nil, Invalid, "7.9.2: parent node 1 is not parent-hash valid"},
		{"a leaf carries what it does not list", leaf(0, func(l *LeafNode) { l.Extensions = Extensions{{0xf00d, nil}} }), nil, Invalid, "7.3: leaf 0: leaf node carries"},
		{"a leaf is not signed", func(_ *crowd, t *tree) {
			l := copyLeaf(t.leaf(0))
			l.Signature = make([]byte, 64)
			t.setLeaf(0, l)
		}, nil, BadSignature, "7.3: leaf 0: signature of a leaf node"},
		{"a leaf was signed for another place", func(c *crowd, t *tree) {
			l := copyLeaf(t.leaf(0))
			signLeaf(c.t, t.suite, l, c.members[0].group.now.signer, []byte("the group"), 1)
			t.setLeaf(0, l)
		}, nil, BadSignature, "7.3: leaf 0: signature of a leaf node"},
		{"a leaf has a credential that others do not support", leaf(0, func(l *LeafNode) { l.Credential.Type = 0xf00d }), nil, Invalid, "7.3: leaf 0 does not support credential type 0xf00d"},
		{"two leaves have the same signature key", func(c *crowd, t *tree) {
			l := copyLeaf(t.leaf(0))
			l.SignatureKey = t.leaf(2).SignatureKey
			signLeaf(c.t, t.suite, l, c.members[2].group.now.signer, []byte("the group"), 0)
			t.setLeaf(0, l)
		}, nil, Invalid, "7.3: leaves 0 and 2 have the same signature_key"},
		{"an extension of the group is not supported", nil, Extensions{{0xf00d, nil}}, Invalid, "13.4: leaf 0: leaf node does not support extension type 0xf00d"},
		{"an extension is required", nil, Extensions{RequiredCapabilities{Extensions: []ExtensionType{0xf00d}}.Extension()}, Invalid, "7.3: leaf 0: leaf node does not support extension type 0xf00d"},
		{"a proposal is required", nil, Extensions{RequiredCapabilities{Proposals: []ProposalType{0xf00d}}.Extension()}, Invalid, "7.3: leaf 0: leaf node does not support proposal type 0xf00d"},
		{"a credential is required", nil, Extensions{RequiredCapabilities{Credentials: []CredentialType{0xf00d}}.Extension()}, Invalid, "7.3: leaf 0: leaf node does not support credential type 0xf00d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			crowd := newCrowd(t, 1, 4)
			crowd.commit(0, CommitOptions{})
			context := crowd.members[0].group.now.context
			tree := crowd.members[0].group.now.tree.clone()
			if err := tree.checkReceived(&context, rules{most: -1}); err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(crowd, tree)
			}
			context.treeHash, context.extensions = tree.hash(), c.e
			wantRefusal(t, tree.checkReceived(&context, rules{most: -1}), c.kind, c.want)
		})
	}
}

// Parent hashes alone, where another rule sees the same (RFC 9420, section 7.9.2): all nodes below a parent are those
// of the commit that made it, or unmerged.
func TestParentHashes(t *testing.T) {
	c := newCrowd(t, 1, 4)
	c.commit(1, CommitOptions{})
	whole := c.members[0].group.now.tree
	if err := whole.checkParentHashes(); err != nil {
		t.Fatal(err)
	}
	hidden := whole.clone() // leaf 0 is unmerged in the root, and below it in a node that does not say so
	p := *hidden.nodes[3].parent
	p.unmerged = []LeafIndex{0}
	hidden.nodes[3].parent = &p
	hidden.touch(3)
	wantRefusal(t, hidden.checkParentHashes(), Invalid, "7.9.2: parent node 3 is not parent-hash valid")

	beside := whole.clone() // leaf 0 stands beside the leaf that made the root, and is not unmerged
	beside.nodes[1].parent = nil
	l := copyLeaf(beside.leaf(1))
	l.ParentHash = beside.parentHash(beside.nodes[3].parent, beside.hashOf(nodeIndex(5)))
	beside.setLeaf(1, l)
	wantRefusal(t, beside.checkParentHashes(), Invalid, "7.9.2: parent node 3 is not parent-hash valid")
	p = *beside.nodes[3].parent
	p.unmerged = []LeafIndex{0}
	beside.nodes[3].parent = &p
	beside.touch(3)
	if err := beside.checkParentHashes(); err != nil {
		t.Errorf("leaf 0 is unmerged: %v", err)
	}
}

// Every member supports every credential in use, of which there are not many types (section 7.3).
func TestCredentialTypes(t *testing.T) {
	for _, n := range []int{maxCredentialTypes, maxCredentialTypes + 1} {
		var all []CredentialType
		for i := range n {
			all = append(all, CredentialType(0xf000+i))
		}
		var tr *tree
		for i := range n {
			l := &LeafNode{SignatureKey: []byte{byte(i)}, Credential: Credential{Type: all[i]}, Capabilities: Capabilities{Credentials: all}}
			if tr == nil {
				tr = newTree(suiteOf(t, 1), l)
			} else {
				tr.add(l)
			}
		}
		if err := tr.checkCredentialTypes(); n > maxCredentialTypes {
			wantRefusal(t, err, Limit, "7.3: members have more than 16 types of credentials")
		} else if err != nil {
			t.Error(err)
		}
	}
}

// Paths that do not fit who receives them.
func TestPathsThatDoNotFit(t *testing.T) {
	c := newCrowd(t, 1, 4)
	g := c.members[0].group
	f := c.forge(0, must[*Change](t)(g.Commit(CommitOptions{})))
	context := f.next.context
	context.confirmedHash = g.now.context.confirmedHash
	steps := g.now.tree.filteredPath(0)
	for _, x := range []struct {
		name string
		own  LeafIndex
		keys keyring
		want string
	}{
		{"no key", 1, keyring{}, "7.5: none of the keys of leaf 1 opens node 0"},
		{"the sender", 0, g.now.keys, "7.5: update path does not reach leaf 0"},
	} {
		var secret suite.Secret
		_, err := f.next.tree.decryptPath(x.own, x.keys, f.made.path, steps, context.append(nil), nil, &secret)
		wantRefusal(t, err, Invalid, x.want)
	}
	bad := g.now.tree.clone()
	l := copyLeaf(bad.leaf(3))
	l.EncryptionKey = make([]byte, 32)
	bad.setLeaf(3, l)
	fresh := must[*freshPath](t)(bad.refreshPath(rand.Reader, 0, copyLeaf(bad.leaf(0))))
	_, err := bad.encryptPath(rand.Reader, fresh, nil, nil)
	wantRefusal(t, err, Invalid, "7.6: encryption key of node 6")
	long := &updatePath{leaf: f.made.path.leaf, nodes: make([]updatePathNode, treemath.MaxDepth+1)}
	wantRefusal(t, g.now.tree.checkPathKeys(long), Invalid, "7.5: update path has 32 nodes, no tree is that deep")
}
