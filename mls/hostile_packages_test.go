package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Key packages that must not be added: neither by us, nor by following another's commit, nor by a proposal.
func TestHostileKeyPackages(t *testing.T) {
	parent := func(g *Group) *parentNode { return g.now.tree.nodes[g.now.tree.root()].parent }
	for _, c := range []struct {
		name   string
		change func(*Group, *KeyPackage, *LeafNode)
		kind   Kind
		want   string
	}{
		{"of another suite", func(_ *Group, k *KeyPackage, _ *LeafNode) { k.CipherSuite = 3 }, Invalid, "10.1: the group has"},
		{"whose init key is the leaf's", func(_ *Group, k *KeyPackage, l *LeafNode) { k.InitKey = l.EncryptionKey }, Invalid, "10.1: init_key of a key package is its encryption_key"},
		{"whose init key is none", func(_ *Group, k *KeyPackage, _ *LeafNode) { k.InitKey = []byte("x") }, Invalid, "10.1: init_key of a key package"},
		{"whose encryption key is none", func(_ *Group, _ *KeyPackage, l *LeafNode) { l.EncryptionKey = nil }, Invalid, "7.3: encryption_key of a leaf node"},
		{"whose signature key is none", func(_ *Group, _ *KeyPackage, l *LeafNode) { l.SignatureKey = []byte("x") }, Invalid, "7.3: signature_key of a leaf node"},
		{"with a leaf for a commit", func(_ *Group, _ *KeyPackage, l *LeafNode) { l.Source = SourceCommit }, Invalid, "7.3: source commit, want key_package"},
		{"with a leaf for an update", func(_ *Group, _ *KeyPackage, l *LeafNode) { l.Source = SourceUpdate }, Invalid, "7.3: source update, want key_package"},
		{"that carries what it does not list", func(_ *Group, _ *KeyPackage, l *LeafNode) { l.Extensions = Extensions{{0xf00d, nil}} }, Invalid, "7.3: which its capabilities do not list"},
		{"that does not support basic credentials", func(_ *Group, _ *KeyPackage, l *LeafNode) { l.Capabilities.Credentials = nil }, Invalid, "7.3: leaf 4 does not support basic, which the group uses"},
		{"with a credential that nobody supports", func(_ *Group, _ *KeyPackage, l *LeafNode) {
			l.Credential = Credential{Type: 0xf00d}
			l.Capabilities.Credentials = append(l.Capabilities.Credentials, 0xf00d)
		}, Invalid, "7.3: leaf 0 does not support credential type 0xf00d, which the group uses"},
		{"with a member's encryption key", func(g *Group, _ *KeyPackage, l *LeafNode) { l.EncryptionKey = g.now.tree.leaf(1).EncryptionKey },
			Invalid, "7.3: leaves 1 and 4 have the same encryption_key"},
		{"with a parent's encryption key", func(g *Group, _ *KeyPackage, l *LeafNode) { l.EncryptionKey = parent(g).encryptionKey }, Invalid, "7.3: leaf 4 has the encryption_key of node 3"},
		{"that is valid for three years", func(_ *Group, _ *KeyPackage, l *LeafNode) { l.Lifetime.NotAfter = l.Lifetime.NotBefore + 3*365*24*3600 }, Invalid, "7.2: longer than Config.MaxLifetime of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			crowd := newCrowd(t, 1, 4, strictFor(c.name))
			crowd.commit(0, CommitOptions{})
			k := newPerson(t, 1, "new").forgePackage(func(k *KeyPackage, l *LeafNode) { c.change(crowd.members[0].group, k, l) })
			listRefused(t, crowd, []Proposal{&Add{k}}, c.kind, c.want)
		})
	}
	crowd := newCrowd(t, 1, 2)
	t.Run("of another version", func(t *testing.T) {
		p := newPerson(t, 1, "new")
		k := *p.keyPackage()
		k.raw, k.Version = nil, 2
		if err := k.sign(suiteOf(t, 1), rand.Reader, p.cfg.Key); err != nil {
			t.Fatal(err)
		}
		listRefused(t, crowd, []Proposal{&Add{&k}}, Unsupported, "10.1: protocol version 2")
		_, err := ParseKeyPackage(k.Marshal())
		wantRefusal(t, err, Unsupported, "10: key package of protocol version 2 in a message of version 1")
	})
	t.Run("of a member", func(t *testing.T) {
		listRefused(t, crowd, []Proposal{&Add{crowd.members[1].keyPackage()}}, Invalid, "7.3: leaves 1 and 2 have the same signature_key")
	})
	t.Run("twice", func(t *testing.T) {
		k := newPerson(t, 1, "new").keyPackage()
		listRefused(t, crowd, []Proposal{&Add{k}, &Add{k}}, Invalid, "7.3: leaves 2 and 3 have the same signature_key")
	})
	t.Run("with a damaged signature", func(t *testing.T) {
		b := newPerson(t, 1, "new").keyPackage().Marshal()
		b[len(b)-1] ^= 1
		listRefused(t, crowd, []Proposal{&Add{must[*KeyPackage](t)(ParseKeyPackage(b))}}, BadSignature, "10.1: signature of a key package")
	})
	t.Run("with a damaged leaf signature", func(t *testing.T) {
		p := newPerson(t, 1, "new")
		k := *p.keyPackage()
		l := copyLeaf(k.Leaf)
		l.Signature = make([]byte, 64)
		k.raw, k.Leaf = nil, l
		if err := k.sign(suiteOf(t, 1), rand.Reader, p.cfg.Key); err != nil {
			t.Fatal(err)
		}
		listRefused(t, crowd, []Proposal{&Add{&k}}, BadSignature, "7.3: signature of a leaf node")
	})
}

// strictFor is Config.Strict for the cases that need it.
func strictFor(name string) func(*Config) {
	return func(c *Config) { c.Strict = strings.HasSuffix(name, "encryption key is none") }
}

// Whoever seals for a key of low order seals for everybody: such keys are in no key package that is made or added here,
// and nobody comes to seal for one.
func TestKeysOfLowOrder(t *testing.T) {
	zero := func(key []byte) []byte { // of X25519 and X448, or the part of X25519 behind that of ML-KEM
		b := bytes.Clone(key)
		clear(b[max(0, len(b)-56):])
		return b
	}
	for _, cs := range []CipherSuite{1, 3, 4, 6, 65100} {
		t.Run(cs.String(), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, cs, 2, func(c *Config) { c.Strict = true })
			k := newPerson(t, cs, "new").forgePackage(func(_ *KeyPackage, l *LeafNode) { l.EncryptionKey = zero(l.EncryptionKey) })
			listRefused(t, c, []Proposal{&Add{k}}, Invalid, "7.3: encryption_key of a leaf node")
			k = newPerson(t, cs, "new").forgePackage(func(k *KeyPackage, _ *LeafNode) { k.InitKey = zero(k.InitKey) })
			listRefused(t, c, []Proposal{&Add{k}}, Invalid, "10.1: init_key of a key package")
		})
	}
}

// Of many who are added at once, none has the key of another, of a member or of a parent: leaves are then compared in
// another way than few.
func TestManyKeyPackagesAtOnce(t *testing.T) {
	c := newCrowd(t, 1, 4)
	c.commit(0, CommitOptions{})
	g := c.members[0].group
	var honest []Proposal
	for i := range 5 {
		honest = append(honest, &Add{newPerson(t, 1, fmt.Sprint("honest ", i)).keyPackage()})
	}
	with := func(change func(*LeafNode)) Proposal {
		return &Add{newPerson(t, 1, "new").forgePackage(func(_ *KeyPackage, l *LeafNode) { change(l) })}
	}
	for _, x := range []struct {
		name string
		one  Proposal
		want string
	}{
		{"a member's signature key", &Add{c.members[1].keyPackage()}, "7.3: leaves 1 and 9 have the same signature_key"},
		{"the signature key of another who is added", honest[2], "7.3: leaves 6 and 9 have the same signature_key"},
		{"a member's encryption key", with(func(l *LeafNode) { l.EncryptionKey = g.Member(1).EncryptionKey }), "7.3: leaves 1 and 9 have the same encryption_key"},
		{"the encryption key of another who is added", with(func(l *LeafNode) { l.EncryptionKey = honest[2].(*Add).KeyPackage.Leaf.EncryptionKey }), "7.3: leaves 6 and 9 have the same encryption_key"},
		{"the encryption key of a parent", with(func(l *LeafNode) { l.EncryptionKey = g.now.tree.nodes[3].parent.encryptionKey }), "7.3: leaf 9 has the encryption_key of node 3"},
	} {
		t.Run(x.name, func(t *testing.T) {
			listRefused(t, c, append(honest[:5:5], x.one), Invalid, x.want)
		})
	}
}

// listRefused: member 0 neither commits nor proposes the list, and member 1 does not follow member 0 when it does.
func listRefused(t *testing.T, c *crowd, list []Proposal, kind Kind, want string) {
	t.Helper()
	g := c.members[0].group
	unchanged(t, g, func() {
		_, err := g.Commit(CommitOptions{Proposals: list})
		wantRefusal(t, err, kind, want)
		if len(list) == 1 {
			if _, err = g.Propose(list[0], nil); err != nil {
				wantRefusal(t, err, kind, want)
			} else {
				leftOut(t, g)
			}
		}
	})
	notFollowed(t, c, list, kind, want)
}

// notFollowed is the second half of it: what member 0 sends lacks nothing but the check.
func notFollowed(t *testing.T, c *crowd, list []Proposal, kind Kind, want string) {
	t.Helper()
	f, victim := c.forge(0, must[*Change](t)(c.members[0].group.Commit(CommitOptions{}))), c.members[1].group
	f.add(list...)
	unchanged(t, victim, func() {
		_, err := victim.Process(f.sign())
		wantRefusal(t, err, kind, want)
	})
	if len(list) == 1 {
		f.m.content.kind, f.m.content.body = ContentProposal, body{proposal: list[0]}
		notCommitted(t, c, f.sign(), kind, want)
	}
}

// notCommitted: a proposal is refused when it arrives, or it waits, and member 1 neither commits it nor follows member
// 0 who does.
func notCommitted(t *testing.T, c *crowd, msg []byte, kind Kind, want string) {
	t.Helper()
	victim := c.members[1].group
	unchanged(t, victim, func() {
		if _, err := victim.Process(msg); err != nil {
			wantRefusal(t, err, kind, want)
			return
		}
		f := c.forge(0, must[*Change](t)(c.members[0].group.Commit(CommitOptions{})))
		f.made.proposals = append(f.made.proposals, proposalOrRef{ref: victim.proposals[0].ref})
		_, err := victim.Process(f.sign())
		wantRefusal(t, err, kind, want)
		leftOut(t, victim)
	})
}

// leftOut: a commit of g leaves out what waits, which is dropped behind it.
func leftOut(t *testing.T, g *Group) {
	t.Helper()
	ch := must[*Change](t)(g.Commit(CommitOptions{}))
	if len(ch.Proposals) != 0 {
		t.Errorf("committed %+v", ch.Proposals)
	}
	ch.Discard()
	g.DropPending()
}

// Who adds looks at the clock, at once and when it proposes; who follows does not (section 7.3).
func TestExpiredKeyPackages(t *testing.T) {
	c := newCrowd(t, 1, 2)
	g := c.members[0].group
	for name, at := range map[string]time.Time{"expired": testTime.Add(-365 * 24 * time.Hour), "not valid yet": testTime.Add(48 * time.Hour)} {
		p := newPerson(t, 1, name, func(c *Config) { c.Now = func() time.Time { return at } })
		k := p.keyPackage()
		unchanged(t, g, func() {
			_, err := g.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}})
			wantRefusal(t, err, Invalid, "7.3: key package is valid from")
			_, err = g.Propose(&Add{k}, nil)
			wantRefusal(t, err, Invalid, "7.3: key package is valid from")
		})
		cfg := c.members[0].cfg
		_, err := ProposeFromOutside(cfg, g.ID(), g.Epoch(), 0, &Add{k})
		wantRefusal(t, err, Invalid, "7.3: key package is valid from")
		_, err = ProposeSelf(cfg, g.ID(), g.Epoch(), k)
		wantRefusal(t, err, Invalid, "7.3: key package is valid from")
		_, _, err = g.Branch(newPerson(t, 1, "m0").cfg, []byte("branch"), []*KeyPackage{k})
		wantRefusal(t, err, Invalid, "7.3: key package is valid from")
		c.members[0].at(at, func() { c.add(0, p) })
	}
}

// A key package that expires while it waits, or is not valid yet, is not committed, and keeps a member neither from
// committing nor from sending. What it keeps waiting for is what is valid.
func TestKeyPackagesThatExpireWhileTheyWait(t *testing.T) {
	c := newCrowd(t, 1, 4)
	p := newPerson(t, 1, "late", func(c *Config) { c.Lifetime = time.Hour })
	c.propose(3, &Add{p.keyPackage()})
	late := c.members[3].group
	early := newPerson(t, 1, "early", func(c *Config) { c.Now = func() time.Time { return testTime.Add(9 * time.Hour) } }).keyPackage()
	msg := say(t, late, late.now.signer, Sender{Type: SenderMember, Leaf: 3}, &Add{early}) // by a clock that is ahead
	for _, p := range c.members[:3] {
		must[*Received](t)(p.group.Process(msg))
	}
	g, now := c.members[1].group, testTime
	c.members[1].cfg.Now = func() time.Time { return now }
	due := func(want bool) {
		t.Helper()
		if _, err := g.Protect(nil, []byte("data"), nil); !want && err != nil {
			t.Errorf("at %v: %v", now, err)
		} else if want {
			wantRefusal(t, err, CommitDue, "12.4: 2 proposals wait")
		}
	}
	due(true)
	now = testTime.Add(time.Hour) // the last second of the first
	due(true)
	now = now.Add(time.Second)
	due(false)
	now = now.Add(-time.Second) // the clock is put back
	due(true)
	now = testTime.AddDate(-10, 0, 0)
	due(false)
	now = testTime.AddDate(10, 0, 0) // it was wrong all the time
	due(false)
	now = testTime
	due(true)
	now = testTime.Add(time.Hour + time.Second)
	due(false)
	committed := func(o CommitOptions) int {
		t.Helper()
		ch := must[*Change](t)(g.Commit(o))
		ch.Discard()
		return len(ch.Proposals)
	}
	if n := committed(CommitOptions{}); n != 0 {
		t.Errorf("%d proposals are committed", n)
	}
	if n := committed(CommitOptions{Proposals: []Proposal{&Remove{3}}}); n != 1 {
		t.Errorf("%d proposals are committed beside the removal of who made them", n)
	}
	now = testTime.Add(8 * time.Hour) // the first second of the second
	due(true)
	if n := committed(CommitOptions{}); n != 1 {
		t.Errorf("%d proposals are committed when one is valid", n)
	}
	now = testTime.Add(2 * time.Hour)
	must[*Received](t)(g.Process(must[[]byte](t)(c.members[2].group.Propose(&Remove{3}, nil))))
	if _, err := g.Protect(nil, nil, nil); !errors.Is(err, CommitDue) {
		t.Errorf("data while a removal waits: %v", err)
	}
	c.members[1].cfg.Now = func() time.Time { return testTime.Add(2 * time.Hour) }
	if ch := must[*Change](t)(g.Commit(CommitOptions{})); len(ch.Proposals) != 1 || ch.Removed[0].Leaf != 3 {
		t.Errorf("committed %+v", ch.Proposals)
	}
}

// How long a key package may be valid is for the group to agree on (section 7.2).
func TestLifetimes(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, c := range []struct {
		most, length time.Duration
		ok           bool
	}{
		{0, 0, true}, {0, 2*year - lifetimeSlack, true}, {0, 2 * year, false}, {time.Hour + lifetimeSlack, time.Hour, true},
		{time.Hour + lifetimeSlack, time.Hour + time.Second, false}, {-1, 100 * year, true},
	} {
		crowd := newCrowd(t, 1, 1)
		crowd.members[0].cfg.MaxLifetime = c.most
		k := newPerson(t, 1, "new", func(cfg *Config) { cfg.Lifetime, cfg.MaxLifetime = c.length, -1 }).keyPackage()
		_, err := crowd.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}})
		if !c.ok {
			wantRefusal(t, err, Invalid, "7.2: longer than Config.MaxLifetime of")
		} else if err != nil {
			t.Errorf("a key package valid for %v where %v are allowed: %v", c.length, c.most, err)
		}
	}
	// None is made that those with the same limits would refuse.
	for _, length := range []time.Duration{2*year - lifetimeSlack, 2*year - lifetimeSlack + 1, 2 * year} {
		p := newPerson(t, 1, "new", func(cfg *Config) { cfg.Lifetime = length })
		_, err := p.cfg.NewKeyPackage()
		if length <= 2*year-lifetimeSlack {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		wantRefusal(t, err, Misuse, "7.2: are more than MaxLifetime, 17520h0m0s: nobody would add the client")
		_, err = Create(p.cfg, nil)
		wantRefusal(t, err, Misuse, "7.2: are more than MaxLifetime")
	}
	// A clock that was never set gives none that is valid for ever.
	for _, now := range []time.Time{{}, time.Unix(-1, 0), testTime.AddDate(-100, 0, 0)} {
		p := newPerson(t, 1, "new", func(cfg *Config) { cfg.Now, cfg.MaxLifetime = func() time.Time { return now }, -1 })
		_, err := p.cfg.NewKeyPackage()
		wantRefusal(t, err, Misuse, "7.2: set the clock")
		_, err = Create(p.cfg, nil)
		wantRefusal(t, err, Misuse, "7.2: set the clock")
	}
	never := newPerson(t, 1, "new").forgePackage(func(_ *KeyPackage, l *LeafNode) { l.Lifetime.NotBefore = l.Lifetime.NotAfter + 1 })
	notFollowed(t, newCrowd(t, 1, 2), []Proposal{&Add{never}}, Invalid, "7.2: which is never")
	if l := newPerson(t, 1, "new").keyPackage().Leaf.Lifetime; l.NotAfter-l.NotBefore != uint64((defaultLifetime+lifetimeSlack)/time.Second) {
		t.Errorf("lifetime %+v", l)
	}
}

// A leaf lists the type of its own credential, whatever else its capabilities are (section 7.2).
func TestOwnCredentialIsListed(t *testing.T) {
	other := func(c *Config) { c.Capabilities.Credentials = []CredentialType{CredentialX509} }
	c := newCrowd(t, 1, 1, other)
	c.add(0, newPerson(t, 1, "new", other))
	c.agree()
	if p := newPerson(t, 1, "p", other); len(p.keyPackage().Leaf.Capabilities.Credentials) != 2 || len(p.cfg.Capabilities.Credentials) != 1 {
		t.Error("the credential's type is not added, or to the configuration")
	}
}

// A key package is of its own: neither the bytes it was read from nor other groups that add the same one have a hold on
// what is in the tree.
func TestKeyPackagesAreNotShared(t *testing.T) {
	a, b := newCrowd(t, 1, 2), newCrowd(t, 1, 2)
	raw := newPerson(t, 1, "new").keyPackage().Marshal()
	k := must[*KeyPackage](t)(ParseKeyPackage(raw))
	clear(raw)
	if string(k.Leaf.Credential.Identity) != "new" {
		t.Error("a key package borrows the bytes it was read from")
	}
	var both sync.WaitGroup
	for _, c := range []*crowd{a, b} { // under the race detector this shows what is shared
		both.Go(func() { must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{k}}})) })
	}
	both.Wait()
	a.propose(1, &Add{k})
	b.commit(0, CommitOptions{Proposals: []Proposal{&Add{k}}})
	clear(k.raw)
	clear(k.Leaf.raw)
	clear(k.Leaf.Credential.Identity)
	clear(k.Leaf.EncryptionKey)
	if l := b.members[0].group.Member(2); string(l.Credential.Identity) != "new" {
		t.Errorf("the tree borrows a key package of the caller's: %q", l.Credential.Identity)
	}
	a.commit(0, CommitOptions{})
	if l := a.members[0].group.Member(2); string(l.Credential.Identity) != "new" {
		t.Errorf("a proposal borrows a key package of the caller's: %q", l.Credential.Identity)
	}
}

// What key packages are made with: capabilities without what all clients have, and extensions that these list, each
// once (section 10).
func TestKeyPackagesThatAreMade(t *testing.T) {
	p := newPerson(t, 1, "p", func(c *Config) {
		c.Capabilities = Capabilities{Extensions: []ExtensionType{ExtensionApplicationID, 0xf001, ExtensionExternalSenders}, Proposals: []ProposalType{ProposalAdd, 0xf002, ProposalGroupContextExtensions}}
	})
	k := must[*KeyPackage](t)(p.cfg.NewKeyPackage(Extension{0xf001, []byte("x")}))
	if c := k.Leaf.Capabilities; !slices.Equal(c.Extensions, []ExtensionType{0xf001}) || !slices.Equal(c.Proposals, []ProposalType{0xf002}) ||
		!slices.Contains(c.Versions, MLS10) || !slices.Contains(c.Credentials, CredentialBasic) {
		t.Errorf("capabilities %+v", c)
	}
	if c := p.cfg.Capabilities; !slices.Equal(c.Extensions, []ExtensionType{ExtensionApplicationID, 0xf001, ExtensionExternalSenders}) || len(c.Proposals) != 3 || c.Proposals[2] != ProposalGroupContextExtensions {
		t.Errorf("the configuration has changed: %+v", p.cfg.Capabilities)
	}
	_, err := p.cfg.NewKeyPackage(Extension{ExtensionApplicationID, []byte("id")}) // it belongs into a leaf
	wantRefusal(t, err, Misuse, "10: which Config.Capabilities does not list, or which belongs elsewhere")
	p.cfg.Capabilities.CipherSuites = []CipherSuite{2}
	if c := must[*KeyPackage](t)(p.cfg.NewKeyPackage()).Leaf.Capabilities; !slices.Equal(c.CipherSuites, []CipherSuite{2, 1}) {
		t.Errorf("capabilities %+v", c)
	}
	_, err = p.cfg.NewKeyPackage(Extension{0xf00d, nil})
	wantRefusal(t, err, Misuse, "10: which Config.Capabilities does not list")
	_, err = p.cfg.NewKeyPackage(Extension{0xf001, nil}, Extension{0xf001, nil})
	wantRefusal(t, err, Invalid, "13.4: stands in a list of extensions twice")
}
