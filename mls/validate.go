package mls

import (
	"bytes"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// The checks of RFC 9420, section 7.3, one function each, and what puts them together.

// checkLeafSource: the leaf was made for the place where it stands.
func checkLeafSource(l *LeafNode, want LeafNodeSource) error {
	if l.Source != want {
		return refuse(Invalid, "7.3", "leaf node has source %v, want %v", l.Source, want)
	}
	return nil
}

// checkLeafKeys: the signature key is one of the suite. That the other is one, too, mls-rs does not look at: it is
// among the strict rules. Nothing is sealed for a key that is none, and a commit that would have to can be made when
// its leaf is removed.
func checkLeafKeys(s *suite.Suite, l *LeafNode) error {
	_, err := l.verifier(s)
	return err
}

// rules are how strict to be with what others made.
type rules struct {
	most   time.Duration // that a key package may be valid; negative: any
	now    time.Time     // zero: the clock is not looked at
	slack  time.Duration // that clocks may differ
	strict bool          // see Config.Strict
}

// rules are those for what is made here, or for what others made.
func (c *Config) rules(ours bool) rules {
	r := rules{most: c.maxLifetime(), slack: c.ClockSlack, strict: ours || c.Strict}
	if r.strict {
		r.now = c.Now()
	}
	return r
}

// checkLeafLifetime: now lies in it, or not further away than slack. Only who sends the leaf, in an Add, must look
// (section 7.3): on its way it may expire.
func checkLeafLifetime(l *LeafNode, now time.Time, slack time.Duration) error {
	if l.Source == SourceKeyPackage && !l.Lifetime.Contains(now.Add(slack)) && !l.Lifetime.Contains(now.Add(-slack)) && !l.Lifetime.Contains(now) {
		return refuse(Invalid, "7.3", "key package is valid from %v to %v, now is %v, and clocks may differ by %v", time.Unix(int64(l.Lifetime.NotBefore), 0).UTC(),
			time.Unix(int64(min(l.Lifetime.NotAfter, 1<<40)), 0).UTC(), now.UTC().Truncate(time.Second), slack)
	}
	return nil
}

// checkLeafLifetimeLength: the key package is not valid for longer than most; negative: any length (section 7.2).
func checkLeafLifetimeLength(l *LeafNode, most time.Duration) error {
	if l.Source != SourceKeyPackage || most < 0 {
		return nil
	}
	if l.Lifetime.NotAfter < l.Lifetime.NotBefore {
		return refuse(Invalid, "7.2", "key package is valid from %d to %d, which is never", l.Lifetime.NotBefore, l.Lifetime.NotAfter)
	}
	if l.Lifetime.NotAfter-l.Lifetime.NotBefore > uint64(most/time.Second) {
		return refuse(Invalid, "7.2", "key package is valid from %d to %d, longer than Config.MaxLifetime of %v",
			l.Lifetime.NotBefore, l.Lifetime.NotAfter, most)
	}
	return nil
}

// checkLeafExtensions: what the leaf carries, its capabilities list. The types of the RFC, which must not be listed,
// are so in no leaf: not those that belong elsewhere (section 17.3), and not application_id either, which section 7.2
// would have but mls-rs refuses.
func checkLeafExtensions(l *LeafNode) error {
	if t, is := missing(l.Extensions.types(true), l.Capabilities.Extensions); is {
		return refuse(Invalid, "7.3", "leaf node carries %v, which its capabilities do not list", t)
	}
	return nil
}

// checkCapabilities: what all clients have is not listed (section 7.2).
func checkCapabilities(c *Capabilities) error {
	if i := slices.IndexFunc(c.Extensions, ExtensionType.isDefault); i >= 0 {
		return refuse(Invalid, "7.2", "capabilities list %v, which all clients have", c.Extensions[i])
	}
	if i := slices.IndexFunc(c.Proposals, ProposalType.isDefault); i >= 0 {
		return refuse(Invalid, "7.2", "capabilities list %v, which all clients have", c.Proposals[i])
	}
	return nil
}

// checkStrictLeaf is what the RFC asks of a leaf and mls-rs does not: the client lists version and suite of the group
// (section 7.2), and its key is the only encoding of itself, so that no two that look different are the same (section
// 7.3; RFC 7748, section 5).
func checkStrictLeaf(s *suite.Suite, l *LeafNode) error {
	if !slices.Contains(l.Capabilities.Versions, MLS10) || !slices.Contains(l.Capabilities.CipherSuites, s.ID()) {
		return refuse(Invalid, "7.2", "capabilities of a leaf node do not list the version and cipher suite that it is used with")
	}
	if err := s.CheckPublicKey(l.EncryptionKey); err != nil {
		return refuseFor(Invalid, "7.3", err, "encryption_key of a leaf node")
	}
	if !s.Canonical(l.EncryptionKey) {
		return refuse(Invalid, "7.3", "encryption_key of a leaf node is not in its shortest form: its highest bit is set")
	}
	return nil
}

// checkStrictPackage is the same for a key package: what it carries belongs there and is listed by its leaf (sections
// 10, 17.3).
func checkStrictPackage(s *suite.Suite, k *KeyPackage) error {
	if !s.Canonical(k.InitKey) {
		return refuse(Invalid, "10.1", "init_key of a key package is not in its shortest form: its highest bit is set")
	}
	if err := k.checkExtensions(); err != nil {
		return err
	}
	return checkStrictLeaf(s, k.Leaf)
}

// checkLeafRequired: the leaf lists what the group requires (section 11.1). Types that all clients have need not be
// required, and cannot be: no leaf lists them.
func checkLeafRequired(l *LeafNode, q RequiredCapabilities) error {
	if t, is := missing(q.Extensions, l.Capabilities.Extensions); is {
		return refuse(Invalid, "7.3", "leaf node does not support %v, which the group requires", t)
	}
	if t, is := missing(q.Proposals, l.Capabilities.Proposals); is {
		return refuse(Invalid, "7.3", "leaf node does not support %v, which the group requires", t)
	}
	if t, is := missing(q.Credentials, l.Capabilities.Credentials); is {
		return refuse(Invalid, "7.3", "leaf node does not support %v, which the group requires", t)
	}
	return nil
}

// checkGroupExtensions: the leaf supports the extensions of the group context (section 13.4).
func checkGroupExtensions(l *LeafNode, e Extensions) error {
	if t, is := missing(e.types(false), l.Capabilities.Extensions); is {
		return refuse(Invalid, "13.4", "leaf node does not support %v, which the group uses", t)
	}
	return nil
}

// checkLeafSenders: the leaf supports the credentials of those who may propose from outside. The RFC does not say so;
// mls-rs asks for it.
func checkLeafSenders(l *LeafNode, senders []ExternalSender) error {
	types := make([]CredentialType, len(senders))
	for i := range senders {
		types[i] = senders[i].Credential.Type
	}
	if t, is := missing(types, l.Capabilities.Credentials); is {
		return refuse(Invalid, "12.1.8.1", "leaf node does not support %v, which an external sender has", t)
	}
	return nil
}

// checkLeafAlone is what can be said of a leaf without its neighbours. group and index are where it stands, for its
// signature.
func checkLeafAlone(s *suite.Suite, l *LeafNode, source LeafNodeSource, group []byte, index LeafIndex, r rules) error {
	if err := checkLeafSource(l, source); err != nil {
		return err
	}
	if err := checkLeafLifetimeLength(l, r.most); err != nil {
		return err
	}
	if !r.now.IsZero() {
		if err := checkLeafLifetime(l, r.now, r.slack); err != nil {
			return err
		}
	}
	if err := checkCapabilities(&l.Capabilities); err != nil {
		return err
	}
	if r.strict {
		if err := checkStrictLeaf(s, l); err != nil {
			return err
		}
	}
	if err := checkLeafKeys(s, l); err != nil {
		return err
	}
	if err := checkCertificate(s.ID(), l.Credential, l.SignatureKey); err != nil {
		return err
	}
	if err := checkLeafExtensions(l); err != nil {
		return err
	}
	return l.verify(s, group, index)
}

// checkKeyPackage is section 10.1.
func checkKeyPackage(s *suite.Suite, k *KeyPackage, r rules) error {
	if err := k.checkVersion(s.ID()); err != nil {
		return err
	}
	if r.strict {
		if err := checkStrictPackage(s, k); err != nil {
			return err
		}
	}
	if err := checkLeafAlone(s, k.Leaf, SourceKeyPackage, nil, 0, r); err != nil {
		return err
	}
	if err := k.checkSignature(s); err != nil {
		return err
	}
	return k.checkInitKey(s)
}

// checkUnique: no other leaf has the signature key of one of changed, and no other node its encryption key.
func (t *tree) checkUnique(changed []LeafIndex) error {
	if len(changed) <= 4 {
		for _, i := range changed {
			if err := t.checkUniqueLeaf(i); err != nil {
				return err
			}
		}
		return nil
	}
	signature, encryption := make(map[string]LeafIndex, t.size()), make(map[string]LeafIndex, t.size())
	var twin error
	t.members(func(i LeafIndex, l *LeafNode) bool {
		if j, ok := signature[string(l.SignatureKey)]; ok {
			twin = sameKeys(l, t.leaf(j), i, j)
		}
		if j, ok := encryption[string(l.EncryptionKey)]; ok {
			twin = sameKeys(l, t.leaf(j), i, j)
		}
		signature[string(l.SignatureKey)], encryption[string(l.EncryptionKey)] = i, i
		return twin == nil
	})
	for n := 1; n < len(t.nodes) && twin == nil; n += 2 {
		if p := t.nodes[n].parent; p != nil {
			if i, ok := encryption[string(p.encryptionKey)]; ok {
				twin = sameAsParent(i, n)
			}
		}
	}
	return twin
}

// checkUniqueLeaf is the same for one leaf.
func (t *tree) checkUniqueLeaf(i LeafIndex) error {
	l := t.leaf(i)
	for n := range t.nodes {
		switch m := &t.nodes[n]; {
		case m.leaf != nil && LeafIndex(n/2) != i:
			if err := sameKeys(l, m.leaf, i, LeafIndex(n/2)); err != nil {
				return err
			}
		case m.parent != nil && bytes.Equal(m.parent.encryptionKey, l.EncryptionKey):
			return sameAsParent(i, n)
		}
	}
	return nil
}

func sameAsParent(i LeafIndex, n int) error {
	return refuse(Invalid, "7.3", "leaf %d has the encryption_key of node %d", i, n)
}

func sameKeys(l, m *LeafNode, i, j LeafIndex) error {
	switch {
	case bytes.Equal(l.SignatureKey, m.SignatureKey):
		return refuse(Invalid, "7.3", "leaves %d and %d have the same signature_key", min(i, j), max(i, j))
	case bytes.Equal(l.EncryptionKey, m.EncryptionKey):
		return refuse(Invalid, "7.3", "leaves %d and %d have the same encryption_key", min(i, j), max(i, j))
	}
	return nil
}

// checkCredentialTypes: every member supports every type of credential in use.
func (t *tree) checkCredentialTypes() error {
	used := map[CredentialType]bool{}
	t.members(func(_ LeafIndex, l *LeafNode) bool {
		used[l.Credential.Type] = true
		return len(used) <= maxCredentialTypes
	})
	if len(used) > maxCredentialTypes {
		return refuse(Limit, "7.3", "members have more than %d types of credentials", maxCredentialTypes)
	}
	var err error
	t.members(func(i LeafIndex, l *LeafNode) bool {
		if isGREASE(l.Credential.Type) { // our own leaf may list it, and does not support it for that (section 13.5)
			err = refuse(Invalid, "13.5", "leaf %d has a credential of %v: nobody supports it", i, l.Credential.Type)
		}
		for c := range used {
			if !slices.Contains(l.Capabilities.Credentials, c) {
				err = refuse(Invalid, "7.3", "leaf %d does not support %v, which the group uses", i, c)
			}
		}
		return err == nil
	})
	return err
}

const maxCredentialTypes = 16

// checkLeavesTogether is what section 7.3 says of leaves beside each other, after some have changed.
func (t *tree) checkLeavesTogether(changed []LeafIndex, e Extensions) error {
	q, err := requiredCapabilities(e)
	if err != nil {
		return err
	}
	senders, err := externalSenders(e)
	if err != nil {
		return err
	}
	for _, i := range changed {
		l := t.leaf(i)
		if err := checkLeafSenders(l, senders); err != nil {
			return within(err, "leaf %d", i)
		}
		if err := checkLeafRequired(l, q); err != nil {
			return within(err, "leaf %d", i)
		}
		if err := checkGroupExtensions(l, e); err != nil {
			return within(err, "leaf %d", i)
		}
	}
	if err := t.checkUnique(changed); err != nil {
		return err
	}
	return t.checkCredentialTypes()
}

// checkPathKeys: no key of an update path stands in the tree already, nor twice in the path (section 12.4.2).
func (t *tree) checkPathKeys(u *updatePath) error {
	if len(u.nodes) > treemath.MaxDepth {
		return refuse(Invalid, "7.5", "update path has %d nodes, no tree is that deep", len(u.nodes))
	}
	keys := [][]byte{u.leaf.EncryptionKey}
	for i := range u.nodes {
		keys = append(keys, u.nodes[i].encryptionKey)
	}
	for i, k := range keys {
		for _, o := range keys[:i] {
			if bytes.Equal(k, o) {
				return refuse(Invalid, "12.4.2", "two keys of an update path are the same")
			}
		}
	}
	for i := range t.nodes {
		have := t.nodes[i].encryptionKey()
		if have == nil {
			continue
		}
		for _, k := range keys {
			if bytes.Equal(k, have) {
				return refuse(Invalid, "12.4.2", "a key of an update path stands in node %d already", i)
			}
		}
	}
	return nil
}

// The checks of section 12.4.3.1 on a tree that somebody else gave.

// checkTreeHash: it is the tree that the group info speaks of.
func (t *tree) checkTreeHash(want []byte) error {
	if !bytes.Equal(t.hash(), want) {
		return refuse(Invalid, "12.4.3.1", "tree hash is not that of the group info")
	}
	return nil
}

// checkLeaves verifies every leaf by itself; the signatures on all processors.
func (t *tree) checkLeaves(group []byte, r rules) error {
	var all []LeafIndex
	t.members(func(i LeafIndex, _ *LeafNode) bool { all = append(all, i); return true })
	return inParallel(len(all), 4, func(k int) error {
		l := t.leaf(all[k])
		return within(checkLeafAlone(t.suite, l, l.Source, group, all[k], r), "leaf %d", all[k])
	})
}

// checkUnmerged: unmerged leaves are members below their node, in order, and unmerged as well in all nodes between.
func (t *tree) checkUnmerged() error {
	for i := 1; i < len(t.nodes); i += 2 {
		p, n := t.nodes[i].parent, treemath.Node(i)
		if p == nil {
			continue
		}
		for k, l := range p.unmerged {
			if k > 0 && p.unmerged[k-1] >= l {
				return refuse(Invalid, "7.1", "unmerged leaves of node %d are not in order", n)
			}
			if t.leaf(l) == nil || !n.Contains(l.Node()) {
				return refuse(Invalid, "12.4.3.1", "unmerged leaf %d of node %d is no member below it", l, n)
			}
			for m := l.Node().Parent(); m != n; m = m.Parent() {
				q := t.nodes[m].parent
				if q == nil {
					continue
				}
				if _, ok := slices.BinarySearch(q.unmerged, l); !ok {
					return refuse(Invalid, "12.4.3.1", "leaf %d is unmerged in node %d and not in node %d below it", l, n, m)
				}
			}
		}
	}
	return nil
}

// checkParentKeys: keys of parents are keys of the suite, and stand nowhere else in the tree.
func (t *tree) checkParentKeys() error {
	seen := make(map[string]int, len(t.nodes))
	for i := range t.nodes {
		k := t.nodes[i].encryptionKey()
		if k == nil {
			continue
		}
		if j, twice := seen[string(k)]; twice {
			return refuse(Invalid, "12.4.3.1", "nodes %d and %d have the same encryption key", j, i)
		}
		seen[string(k)] = i
		if t.nodes[i].parent != nil {
			if err := t.suite.CheckPublicKey(k); err != nil {
				return refuseFor(Invalid, "7.1", err, "encryption key of node %d", i)
			}
		}
	}
	return nil
}

// checkReceived is all of it, for a tree that somebody else gave. The hash comes first: a tree that is not the
// group's is not worth more. Signatures come last: they cost more than all the rest, and stop at the first that does
// not verify.
func (t *tree) checkReceived(c *groupContext, r rules) error {
	if r.strict {
		if err := checkContextPlaces(c.extensions); err != nil {
			return err
		}
	}
	if err := t.checkTreeHash(c.treeHash); err != nil {
		return err
	}
	if err := t.checkUnmerged(); err != nil {
		return err
	}
	if err := t.checkParentKeys(); err != nil {
		return err
	}
	var all []LeafIndex
	t.members(func(i LeafIndex, _ *LeafNode) bool { all = append(all, i); return true })
	if err := t.checkLeavesTogether(all, c.extensions); err != nil {
		return err
	}
	if err := t.checkParentHashes(); err != nil {
		return err
	}
	return t.checkLeaves(c.groupID, r)
}
