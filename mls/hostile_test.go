package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// parse reads a message of ours, to be changed.
func parse(t testing.TB, msg []byte) *Message {
	t.Helper()
	return must[*Message](t)(ParseMessage(bytes.Clone(msg)))
}

// resign signs a changed public message anew, as a hostile member can.
func resign(t testing.TB, g *Group, p *publicMessage) []byte {
	t.Helper()
	tag := p.auth.confirmationTag
	a := must[*authenticated](t)(newAuthenticated(g.suite, rand.Reader, g.now.signer, WirePublicMessage, p.content, g.now.raw))
	a.auth.confirmationTag = tag
	return protectPublic(g.suite, a, g.now.secrets.membership.Bytes(), g.now.raw).append(appendMessageHead(nil, WirePublicMessage))
}

// copyLeaf is a leaf that may be changed and signed anew.
func copyLeaf(l *LeafNode) *LeafNode {
	c := *l
	c.raw, c.verifier = nil, nil
	return &c
}

// unchanged checks that what f does leaves the group as it was.
func unchanged(t testing.TB, g *Group, f func()) {
	t.Helper()
	before := g.appendState(nil)
	f()
	if !bytes.Equal(before, g.appendState(nil)) {
		t.Error("the group has changed")
	}
}

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

// The delivery service damages a message at every byte, and cuts it everywhere: nothing of that is taken for good, and the message
// itself is still read.
func TestDeliveryServiceDamages(t *testing.T) {
	c := newCrowd(t, 1, 3, func(c *Config) { c.Padding = PadStep })
	commit := must[*Change](t)(c.members[1].group.Commit(CommitOptions{}))
	proposal := must[[]byte](t)(c.members[2].group.Propose(&Remove{1}, nil))
	c.members[2].group.DropPending()
	data := must[[]byte](t)(c.members[1].group.Protect(nil, []byte("data"), []byte("aad")))
	victim := c.members[0].group
	for name, msg := range map[string][]byte{"commit": commit.Commit, "proposal": proposal, "data": data} {
		for i := range msg {
			for _, damaged := range [][]byte{append(append(bytes.Clone(msg[:i]), msg[i]^1), msg[i+1:]...), append(append(bytes.Clone(msg[:i]), msg[i]^0x80), msg[i+1:]...), msg[:i]} {
				unchangedBut(t, victim, func() {
					if r, err := victim.Process(damaged); err == nil {
						t.Fatalf("%s, damaged at %d, is taken for %+v", name, i, r)
					} else if KindOf(err) == 0 {
						t.Fatalf("%s, damaged at %d: %v", name, i, err)
					}
				})
			}
		}
		_, err := victim.Process(append(bytes.Clone(msg), 0))
		wantKind(t, err, Malformed)
	}
	r := must[*Received](t)(victim.Process(data))
	if string(r.Application) != "data" {
		t.Errorf("read %q", r.Application)
	}
	must[*Received](t)(victim.Process(commit.Commit))
	must[*Received](t)(victim.Process(proposal))
}

// unchangedBut is unchanged but for ratchets that were opened or moved on with the keys kept: epoch, tree, secrets, proposals.
func unchangedBut(t testing.TB, g *Group, f func()) {
	t.Helper()
	authenticator, epoch, pending := g.EpochAuthenticator(), g.Epoch(), len(g.proposals)
	f()
	if !bytes.Equal(authenticator, g.EpochAuthenticator()) || epoch != g.Epoch() || pending != len(g.proposals) {
		t.Fatal("the group has changed")
	}
}

func TestReplayAndReordering(t *testing.T) {
	c := newCrowd(t, 1, 2, func(c *Config) { c.Limits.Window = 10; c.PastEpochs = 1 })
	a, b := c.members[0].group, c.members[1].group
	var msgs [][]byte
	for i := range 30 {
		msgs = append(msgs, must[[]byte](t)(a.Protect(nil, []byte{byte(i)}, nil)))
	}
	read := func(i int, want Kind) {
		t.Helper()
		r, err := b.Process(msgs[i])
		if KindOf(err) != want || want == 0 && (err != nil || r.Application[0] != byte(i)) {
			t.Errorf("message %d: %v, want %v", i, err, want)
		}
	}
	read(11, Limit) // further ahead than the window
	read(10, 0)
	read(10, Replayed)
	read(0, 0)
	read(0, Replayed)
	read(20, 0)
	read(9, Replayed) // its key was dropped for newer ones
	read(10, Replayed)
	read(11, 0)
	read(15, 0)
	read(15, Replayed)
	if n := len(b.now.messages.secrets.ratchets[0].application.skipped); n > 10 {
		t.Errorf("%d keys kept, at most 10 may be", n)
	}
	c.commit(0, CommitOptions{})
	read(21, 0) // late
	read(21, Replayed)
	c.commit(1, CommitOptions{})
	read(22, WrongEpoch) // too late
	_, err := a.Process(msgs[0])
	wantKind(t, err, WrongEpoch)
	own := must[[]byte](t)(a.Protect(nil, []byte("x"), nil))
	_, err = a.Process(own)
	wantKind(t, err, Own)
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

// A hostile member protects what does not decode: zeros that are none, application data that is public.
func TestHostileContents(t *testing.T) {
	c := newCrowd(t, 1, 2)
	a, b := c.members[0].group, c.members[1].group
	seal := func(text []byte) []byte {
		p := &privateMessage{groupID: a.ID(), epoch: a.Epoch(), kind: ContentApplication}
		dst, err := a.now.messages.seal(a.suite, rand.Reader, appendMessageHead(nil, WirePrivateMessage), p, a.now.own, text, &authData{signature: []byte("s")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return dst
	}
	for name, text := range map[string][]byte{
		"length beyond the end":   {0x80, 0xff, 0xff, 0xff},
		"length not the shortest": {0x40, 0x01, 'x'},
		"no content":              {},
	} {
		_, err := b.Process(seal(text))
		if KindOf(err) != Malformed && KindOf(err) != BadSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := b.Process(seal(codec.AppendOpaque(nil, []byte("unsigned"))))
	wantKind(t, err, BadSignature)

	signed := must[*authenticated](t)(newAuthenticated(a.suite, rand.Reader, a.now.signer, WirePrivateMessage, framedContent{groupID: a.ID(), epoch: a.Epoch(),
		sender: Sender{Type: SenderMember}, kind: ContentApplication, body: body{application: []byte("text")}}, a.now.raw))
	p := &privateMessage{groupID: a.ID(), epoch: a.Epoch(), kind: ContentApplication}
	dirty := append(codec.AppendOpaque(nil, []byte("text")), signed.auth.append(nil, ContentApplication)...)
	dirty = append(dirty, 0, 0, 1)
	// The authentication is part of the body here, so that what looks like padding is not zero.
	msg := must[[]byte](t)(sealRaw(a, p, dirty))
	_, err = b.Process(msg)
	wantKind(t, err, Malformed)

	public := must[*authenticated](t)(newAuthenticated(a.suite, rand.Reader, a.now.signer, WirePublicMessage, framedContent{groupID: a.ID(), epoch: a.Epoch(),
		sender: Sender{Type: SenderMember}, kind: ContentApplication, body: body{application: []byte("text")}}, a.now.raw))
	_, err = b.Process(protectPublic(a.suite, public, a.now.secrets.membership.Bytes(), a.now.raw).append(appendMessageHead(nil, WirePublicMessage)))
	wantKind(t, err, Invalid)
	c.agree()
}

// sealRaw seals a whole PrivateMessageContent.
func sealRaw(g *Group, p *privateMessage, content []byte) ([]byte, error) {
	r, err := g.now.messages.secrets.open(g.now.own, p.kind)
	if err != nil {
		return nil, err
	}
	var key messageKey
	data := senderData{leaf: g.now.own, generation: r.next}
	if _, err := r.key(g.suite, r.next, 0, &key); err != nil {
		return nil, err
	}
	aead, err := g.suite.AEAD(key.key[:g.suite.KeySize()])
	if err != nil {
		return nil, err
	}
	p.ciphertext = aead.Seal(nil, key.nonce[:], content, p.appendHead(nil))
	r.spend(g.suite, data.generation, 0, nil)
	senderDataKey(g.suite, &g.now.messages.senderData, p.ciphertext, &key)
	if aead, err = g.suite.AEAD(key.key[:g.suite.KeySize()]); err != nil {
		return nil, err
	}
	p.senderData = aead.Seal(nil, key.nonce[:], data.append(nil), p.appendSenderAAD(nil))
	return p.append(appendMessageHead(nil, WirePrivateMessage)), nil
}

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

// The application's word counts: for credentials wherever they are presented, and for proposals.
func TestPolicy(t *testing.T) {
	refused := errors.New("the application says no")
	var places []Place
	watch := func(c *Config) {
		c.Credentials = func(p *Presented) error {
			places = append(places, p.Place)
			if p.Time != testTime {
				t.Errorf("judged at %v", p.Time)
			}
			if bytes.HasPrefix(p.Credential.Identity, []byte("bad")) {
				return refused
			}
			if p.Replaces != nil && !p.Replaces.Credential.Equal(p.Credential) {
				return fmt.Errorf("%s follows %s", p.Credential.Identity, p.Replaces.Credential.Identity)
			}
			return nil
		}
		c.Proposals = func(s Sender, list []Committed) error {
			for _, c := range list {
				if r, ok := c.Proposal.(*Remove); ok && r.Leaf == 0 {
					return refused
				}
			}
			return nil
		}
	}
	c := newCrowd(t, 1, 3, watch)
	for _, want := range []Place{PlaceAdd, PlaceMember} {
		if !bytes.Contains(placesBytes(places), []byte{byte(want)}) {
			t.Errorf("no credential was presented at place %d: %v", want, places)
		}
	}
	g := c.members[1].group
	_, err := g.Commit(CommitOptions{Proposals: []Proposal{&Add{newPerson(t, 1, "bad one").keyPackage()}}})
	if wantKind(t, err, Refused); !errors.Is(err, refused) {
		t.Errorf("cause is lost: %v", err)
	}
	_, err = g.Commit(CommitOptions{Proposals: []Proposal{&Remove{0}}})
	wantKind(t, err, Refused)
	other := must[*Change](t)(c.members[2].group.Commit(CommitOptions{Identity: Identity{Credential: BasicCredential([]byte("another"))}}))
	_, err = g.Process(other.Commit)
	wantKind(t, err, Refused)
	c.commit(2, CommitOptions{})
	c.agree()
}

func placesBytes(p []Place) []byte {
	var b []byte
	for _, v := range p {
		b = append(b, byte(v))
	}
	return b
}

func TestLimits(t *testing.T) {
	c := newCrowd(t, 1, 3, func(c *Config) { c.Limits = Limits{Members: 4, Message: 100 << 10, Proposals: 2} })
	g := c.members[0].group
	o := CommitOptions{}
	for i := range 2 {
		o.Proposals = append(o.Proposals, &Add{newPerson(t, 1, fmt.Sprint("n", i)).keyPackage()})
	}
	_, err := g.Commit(o)
	wantKind(t, err, Limit)
	_, err = g.Process(make([]byte, 100<<10+1))
	wantKind(t, err, Limit)
	for range 2 {
		c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
	}
	_, err = c.members[1].group.ProposeUpdate(Identity{}, nil)
	wantKind(t, err, Limit)

	// Members of one group need not agree on limits.
	mixed := newCrowd(t, 1, 2)
	joiner := newPerson(t, 1, "strict", func(c *Config) { c.Limits.Members = 3 })
	mixed.add(0, joiner)
	commit := must[*Change](t)(mixed.members[0].group.Commit(CommitOptions{Proposals: o.Proposals[:1]})).Commit
	_, err = joiner.group.Process(commit)
	wantKind(t, err, Limit)
	_, commit, err = JoinExternal(newPerson(t, 1, "outside").cfg, must[[]byte](t)(mixed.members[0].group.GroupInfo(true, true)), ExternalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = joiner.group.Process(commit)
	wantKind(t, err, Limit)

	big := newCrowd(t, 1, 9)
	p := newPerson(t, 1, "small", func(c *Config) { c.Limits.Members = 4 })
	ch := big.commit(0, CommitOptions{Proposals: []Proposal{&Add{p.keyPackage()}}})
	_, err = Join(p.cfg, ch.Welcomes[0], JoinOptions{})
	wantKind(t, err, Limit)
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	ok := newPerson(t, 1, "x").cfg
	for name, change := range map[string]func(*Config){
		"no suite":             func(c *Config) { c.CipherSuite = 0 },
		"no key":               func(c *Config) { c.Key = nil },
		"no clock":             func(c *Config) { c.Now = nil },
		"key of another suite": func(c *Config) { c.CipherSuite = 2 },
	} {
		cfg := *ok
		change(&cfg)
		if _, err := Create(&cfg, nil); KindOf(err) != Misuse && KindOf(err) != Unsupported {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := cfg.NewKeyPackage(); KindOf(err) != Misuse && KindOf(err) != Unsupported {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg := *ok
	cfg.KeyPackages = nil
	_, err := cfg.NewKeyPackage()
	wantKind(t, err, Misuse)
}
