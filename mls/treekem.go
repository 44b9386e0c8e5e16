package mls

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// keyring holds the private keys of a member: of its leaf and of nodes above it. It owns them: no two keyrings, and
// nothing else, hold the same key, so that who drops one may wipe it, whatever has been prepared or proposed besides.
type keyring map[treemath.Node]*suite.PrivateKey

// clone is a keyring with copies of the keys.
func (k keyring) clone() keyring {
	c := make(keyring, len(k)+4)
	for n, key := range k {
		c[n] = key.Clone()
	}
	return c
}

// set hands over a key, in place of the one that may be there; nil: none.
func (k keyring) set(n treemath.Node, key *suite.PrivateKey) {
	k[n].Wipe()
	if k[n] = key; key == nil {
		delete(k, n)
	}
}

// forget drops the keys of nodes that are blank in t, or not in it.
func (k keyring) forget(t *tree) {
	for n := range k {
		if int(n) >= len(t.nodes) || t.nodes[n].blank() {
			k.set(n, nil)
		}
	}
}

func (k keyring) wipe() {
	for n := range k {
		k.set(n, nil)
	}
}

// pathSecrets are the secrets along a filtered direct path (RFC 9420, section 7.4): walked from the bottom, each made
// of the one before.
type pathSecrets struct {
	suite *suite.Suite
	now   suite.Secret
}

// keyPair is that of the node that the secret stands for.
func (p *pathSecrets) keyPair() (*suite.PrivateKey, error) {
	var node suite.Secret
	defer node.Wipe()
	p.suite.DeriveSecret(&node, &p.now, "node")
	return p.suite.DeriveKeyPair(&node)
}

// up goes to the next node, and from the last one to the commit secret.
func (p *pathSecrets) up() { p.suite.DeriveSecret(&p.now, &p.now, "path") }

// freshPath is what a committer makes: new keys for its leaf and for all nodes of its filtered direct path.
type freshPath struct {
	steps   []step
	secrets []suite.Secret // by step
	nodes   []*parentNode
	keys    keyring
	commit  suite.Secret
}

// wipe wipes its secrets. Its keys are those of the epoch that they were put into.
func (f *freshPath) wipe() {
	for i := range f.secrets {
		f.secrets[i].Wipe()
	}
	f.commit.Wipe()
}

// drop wipes all of a path that leads to no epoch.
func (f *freshPath) drop() {
	f.wipe()
	f.keys.wipe()
}

// secretFor is the path secret of the lowest node of the path that contains leaf l (section 12.4.1).
func (f *freshPath) secretFor(l LeafIndex) *suite.Secret {
	for i, s := range f.steps {
		if s.node.Contains(l.Node()) {
			return &f.secrets[i]
		}
	}
	return nil
}

// refreshPath makes new keys for the path of leaf i (section 7.5): it puts the parents into t and sets the parent hash
// and the encryption key of leaf, which its caller signs and puts into t.
func (t *tree) refreshPath(rand io.Reader, i LeafIndex, leaf *LeafNode) (*freshPath, error) {
	f := &freshPath{steps: t.filteredPath(i), keys: keyring{}}
	if err := t.fillPath(rand, i, leaf, f); err != nil {
		f.drop()
		return nil, err
	}
	leaf.ParentHash = t.mergePath(i, f.steps, f.nodes)
	return f, nil
}

// fillPath makes the keys of f.
func (t *tree) fillPath(rand io.Reader, i LeafIndex, leaf *LeafNode, f *freshPath) error {
	fresh, err := t.suite.GenerateKeyPair(rand)
	if err != nil {
		return err
	}
	f.keys[i.Node()] = fresh
	leaf.EncryptionKey = fresh.Public()

	p := pathSecrets{suite: t.suite}
	defer p.now.Wipe()
	if _, err := io.ReadFull(rand, p.now.Room(t.suite.HashSize())); err != nil {
		return fmt.Errorf("mls: randomness: %w", err)
	}
	f.secrets = make([]suite.Secret, len(f.steps))
	f.nodes = make([]*parentNode, len(f.steps))
	for k, s := range f.steps {
		f.secrets[k].Set(p.now.Bytes())
		key, err := p.keyPair()
		if err != nil {
			return err
		}
		f.keys[s.node] = key
		f.nodes[k] = &parentNode{encryptionKey: key.Public()}
		p.up()
	}
	f.commit.Set(p.now.Bytes())
	return nil
}

// mergePath replaces the parents above leaf i: those of steps by nodes, whose parent hashes it sets, the others by
// blanks. It returns the parent hash for the leaf.
func (t *tree) mergePath(i LeafIndex, steps []step, nodes []*parentNode) []byte {
	t.blankPath(i)
	h := []byte{}
	for k := len(steps) - 1; k >= 0; k-- {
		nodes[k].parentHash = h
		t.nodes[steps[k].node].parent = nodes[k]
		h = t.parentHash(nodes[k], t.hashOf(steps[k].copath))
	}
	return h
}

const updatePathLabel = "UpdatePathNode"

// seals are the encryptions of path secrets, each for one node of a resolution.
type seal struct {
	secret *suite.Secret
	node   treemath.Node
	out    *hpkeCiphertext
}

// encryptPath encrypts the secrets for all who are to know them, but for the leaves in added (section 7.6). context is
// the serialised provisional group context. The work is shared out to all processors.
func (t *tree) encryptPath(rand io.Reader, f *freshPath, context []byte, added map[LeafIndex]bool) ([]updatePathNode, error) {
	nodes := make([]updatePathNode, len(f.steps))
	var seals []seal
	for k, s := range f.steps {
		nodes[k].encryptionKey = f.nodes[k].encryptionKey
		t.recipients(s.copath, added, func(n treemath.Node) bool {
			seals = append(seals, seal{secret: &f.secrets[k], node: n})
			nodes[k].secrets = append(nodes[k].secrets, hpkeCiphertext{})
			return true
		})
	}
	at := 0
	for k := range nodes {
		for j := range nodes[k].secrets {
			seals[at].out = &nodes[k].secrets[j]
			at++
		}
	}
	// Each encryption has randomness of its own, read here in order: rand need not be safe for concurrent use, and who
	// gives the same gets the same.
	size := t.suite.EncryptRandomness()
	random := make([]byte, size*len(seals))
	defer clear(random)
	if _, err := io.ReadFull(rand, random); err != nil {
		return nil, fmt.Errorf("mls: randomness: %w", err)
	}
	c := t.suite.EncryptContext(updatePathLabel, context)
	return nodes, inParallel(len(seals), 4, func(i int) error {
		s := &seals[i]
		own, pub := bytes.NewReader(random[i*size:(i+1)*size]), t.nodes[s.node].encryptionKey()
		kem, ct, err := t.suite.EncryptIn(own, pub, &c, s.secret.Bytes())
		if err != nil {
			return refuseFor(Invalid, "7.6", err, "encryption key of node %d", s.node)
		}
		*s.out = hpkeCiphertext{kem, ct}
		return nil
	})
}

// recipients is the resolution of n without new members.
func (t *tree) recipients(n treemath.Node, added map[LeafIndex]bool, f func(treemath.Node) bool) bool {
	return t.resolution(n, func(m treemath.Node) bool {
		if l, ok := m.Leaf(); ok && added[l] {
			return true
		}
		return f(m)
	})
}

// inParallel runs f for 0 to n-1 on all processors, and on this goroutine alone for fewer than least. It stops at an
// error, and returns the first by number: numbers are handed out in order, so that all before it have been run.
func inParallel(n, least int, f func(int) error) error {
	workers := min(runtime.GOMAXPROCS(0), n)
	if n < least {
		workers = 1
	}
	errs := make([]error, n)
	var next atomic.Int64
	var failed atomic.Bool
	work := func() {
		for !failed.Load() {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			if errs[i] = f(i); errs[i] != nil {
				failed.Store(true)
			}
		}
	}
	var all sync.WaitGroup
	for range workers - 1 {
		all.Go(work)
	}
	work()
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// mergeUpdatePath puts a received path into t (section 7.5) and verifies what can be verified without keys: its shape
// and the parent hash that the leaf signs. added are leaves that this commit adds.
func (t *tree) mergeUpdatePath(from LeafIndex, u *updatePath, added map[LeafIndex]bool) ([]step, error) {
	steps := t.filteredPath(from)
	if len(u.nodes) != len(steps) {
		return nil, refuse(Invalid, "7.5", "update path has %d nodes, the filtered direct path of leaf %d has %d", len(u.nodes), from, len(steps))
	}
	nodes := make([]*parentNode, len(steps))
	for k, s := range steps {
		n := 0
		t.recipients(s.copath, added, func(treemath.Node) bool { n++; return true })
		if n != len(u.nodes[k].secrets) {
			return nil, refuse(Invalid, "7.6", "node %d of an update path has %d secrets for a resolution of %d", k, len(u.nodes[k].secrets), n)
		}
		if err := t.suite.CheckPublicKey(u.nodes[k].encryptionKey); err != nil {
			return nil, refuseFor(Invalid, "7.5", err, "node %d of an update path", k)
		}
		nodes[k] = &parentNode{encryptionKey: u.nodes[k].encryptionKey}
	}
	if h := t.mergePath(from, steps, nodes); !bytes.Equal(h, u.leaf.ParentHash) {
		return nil, refuse(Invalid, "7.9.2", "parent hash of the leaf in an update path is not that of the path")
	}
	t.setLeaf(from, u.leaf)
	return steps, nil
}

// decryptPath finds the secret meant for the member at own and derives all above it (section 7.5): the keys of the
// nodes it now knows, and the commit secret. before are the keys it has.
func (t *tree) decryptPath(own LeafIndex, before keyring, u *updatePath, steps []step, context []byte, added map[LeafIndex]bool, commit *suite.Secret) (keyring, error) {
	for k, s := range steps {
		if !s.copath.Contains(own.Node()) {
			continue
		}
		j, at := -1, 0
		var key *suite.PrivateKey
		t.recipients(s.copath, added, func(n treemath.Node) bool {
			if key = before[n]; key != nil {
				j = at
				return false
			}
			at++
			return true
		})
		if j < 0 {
			return nil, refuse(Invalid, "7.5", "none of the keys of leaf %d opens node %d of an update path", own, k)
		}
		c := u.nodes[k].secrets[j]
		secret, err := t.suite.DecryptWithLabel(key, updatePathLabel, context, c.kemOutput, c.ciphertext)
		if err != nil {
			return nil, refuseFor(BadSignature, "7.5", err, "path secret for leaf %d", own)
		}
		defer clear(secret)
		if len(secret) != t.suite.HashSize() {
			return nil, refuse(Invalid, "7.4", "path secret of %d bytes, want %d", len(secret), t.suite.HashSize())
		}
		return t.climb(secret, steps[k:], commit)
	}
	return nil, refuse(Invalid, "7.5", "update path does not reach leaf %d", own)
}

// climb derives the keys of steps from the path secret of the first one, compares them with the tree's, and leaves the
// commit secret in commit.
func (t *tree) climb(secret []byte, steps []step, commit *suite.Secret) (keyring, error) {
	keys := keyring{}
	if err := t.climbInto(keys, secret, steps, commit); err != nil {
		keys.wipe()
		return nil, err
	}
	return keys, nil
}

// climbInto puts the keys into keys, also those that it found before an error.
func (t *tree) climbInto(keys keyring, secret []byte, steps []step, commit *suite.Secret) error {
	p := pathSecrets{suite: t.suite}
	defer p.now.Wipe()
	p.now.Set(secret)
	for _, s := range steps {
		key, err := p.keyPair()
		if err != nil {
			return err
		}
		keys.set(s.node, key)
		if !bytes.Equal(key.Public(), t.nodes[s.node].encryptionKey()) {
			return refuse(Invalid, "7.5", "path secret does not give the key of node %d", s.node)
		}
		p.up()
	}
	commit.Set(p.now.Bytes())
	return nil
}
