package mls

import (
	"crypto/rand"
	"testing"
	"time"
)

// Key packages that must not be added: neither by us, nor by following another's commit.
func TestHostileKeyPackages(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *person, *KeyPackage, *LeafNode)
		want   Kind
	}{
		{"of another version", func(_ *testing.T, _ *person, k *KeyPackage, _ *LeafNode) { k.Version = 2 }, Unsupported},
		{"of another suite", func(_ *testing.T, _ *person, k *KeyPackage, _ *LeafNode) { k.CipherSuite = 3 }, Invalid},
		{"whose init key is the leaf's", func(_ *testing.T, _ *person, k *KeyPackage, l *LeafNode) { k.InitKey = l.EncryptionKey }, Invalid},
		{"whose init key is none", func(_ *testing.T, _ *person, k *KeyPackage, _ *LeafNode) { k.InitKey = []byte("x") }, Invalid},
		{"whose encryption key is none", func(_ *testing.T, _ *person, _ *KeyPackage, l *LeafNode) { l.EncryptionKey = nil }, Invalid},
		{"with a leaf for a commit", func(_ *testing.T, _ *person, _ *KeyPackage, l *LeafNode) { l.Source = SourceCommit }, Invalid},
		{"with a leaf for an update", func(_ *testing.T, _ *person, _ *KeyPackage, l *LeafNode) { l.Source = SourceUpdate }, Invalid},
		{"that carries what it does not list", func(_ *testing.T, _ *person, _ *KeyPackage, l *LeafNode) { l.Extensions = Extensions{{0xf00d, nil}} }, Invalid},
		{"that does not support basic credentials", func(_ *testing.T, _ *person, _ *KeyPackage, l *LeafNode) { l.Capabilities.Credentials = nil }, Invalid},
		{"with a credential that nobody supports", func(_ *testing.T, _ *person, _ *KeyPackage, l *LeafNode) {
			l.Credential = Credential{Type: 0xf00d}
			l.Capabilities.Credentials = append(l.Capabilities.Credentials, 0xf00d)
		}, Invalid},
		{"with a member's encryption key", func(_ *testing.T, p *person, _ *KeyPackage, l *LeafNode) {
			l.EncryptionKey = p.group.now.tree.leaf(1).EncryptionKey
		}, Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			crowd := newCrowd(t, 1, 2)
			p := newPerson(t, 1, "new")
			k := p.keyPackage()
			changed, l := *k, copyLeaf(k.Leaf)
			changed.raw, changed.Leaf = nil, l
			c.change(t, crowd.members[0], &changed, l)
			s := suiteOf(t, 1)
			if err := l.sign(s, rand.Reader, p.cfg.Key, nil, 0); err != nil {
				t.Fatal(err)
			}
			if err := changed.sign(s, rand.Reader, p.cfg.Key); err != nil {
				t.Fatal(err)
			}
			addRefused(t, crowd, &changed, c.want)
		})
	}
	t.Run("of a member", func(t *testing.T) {
		crowd := newCrowd(t, 1, 2)
		addRefused(t, crowd, crowd.members[1].keyPackage(), Invalid)
	})
	t.Run("twice", func(t *testing.T) {
		crowd := newCrowd(t, 1, 2)
		k := newPerson(t, 1, "new").keyPackage()
		_, err := crowd.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{k}, &Add{k}}})
		wantKind(t, err, Invalid)
	})
	t.Run("with a damaged signature", func(t *testing.T) {
		crowd := newCrowd(t, 1, 2)
		b := newPerson(t, 1, "new").keyPackage().Marshal()
		b[len(b)-1] ^= 1
		addRefused(t, crowd, must[*KeyPackage](t)(ParseKeyPackage(b)), BadSignature)
	})
	t.Run("with a damaged leaf signature", func(t *testing.T) {
		crowd := newCrowd(t, 1, 2)
		p := newPerson(t, 1, "new")
		k := *p.keyPackage()
		l := copyLeaf(k.Leaf)
		l.Signature = make([]byte, 64)
		k.raw, k.Leaf = nil, l
		if err := k.sign(suiteOf(t, 1), rand.Reader, p.cfg.Key); err != nil {
			t.Fatal(err)
		}
		addRefused(t, crowd, &k, BadSignature)
	})
}

// addRefused: member 0 does not add k, and member 1 does not follow member 0 when it does. What member 0 sends lacks nothing but
// the check.
func addRefused(t *testing.T, c *crowd, k *KeyPackage, want Kind) {
	t.Helper()
	k = must[*KeyPackage](t)(ParseKeyPackage(k.Marshal()))
	g, victim := c.members[0].group, c.members[1].group
	unchanged(t, g, func() {
		_, err := g.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}})
		wantKind(t, err, want)
	})
	m := parse(t, must[*Change](t)(g.Commit(CommitOptions{})).Commit).public
	m.content.body.commit.proposals = []proposalOrRef{{proposal: &Add{k}}}
	msg := resign(t, g, m)
	unchanged(t, victim, func() {
		_, err := victim.Process(msg)
		wantKind(t, err, want)
	})
}

// Who adds looks at the clock; who follows does not (section 7.3).
func TestExpiredKeyPackages(t *testing.T) {
	c := newCrowd(t, 1, 2)
	for name, at := range map[string]time.Time{"expired": testTime.Add(-365 * 24 * time.Hour), "not valid yet": testTime.Add(48 * time.Hour)} {
		p := newPerson(t, 1, name, func(c *Config) { c.Now = func() time.Time { return at } })
		k := p.keyPackage()
		_, err := c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}})
		wantKind(t, err, Invalid)
		careless := *c.members[0].cfg
		careless.Now = func() time.Time { return at }
		c.members[0].group.cfg = &careless
		c.add(0, p)
		c.members[0].group.cfg = c.members[0].cfg
	}
}
