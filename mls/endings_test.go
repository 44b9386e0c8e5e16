package mls

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// What was prepared and came to nothing leaves no private key behind.

type fullStore struct{ last *PrivateKeyPackage }

func (s *fullStore) Put(_ []byte, p *PrivateKeyPackage) error {
	s.last = p
	return errors.New("no room")
}
func (*fullStore) Get([]byte) (*PrivateKeyPackage, error) { return nil, nil }
func (*fullStore) Delete([]byte) error                    { return nil }

func TestKeyPackagesThatAreNotStored(t *testing.T) {
	store := &fullStore{}
	p := newPerson(t, 1, "p", func(c *Config) { c.KeyPackages = store })
	if k, err := p.cfg.NewKeyPackage(); k != nil || err == nil || err.Error() != "no room" {
		t.Errorf("%v, %v", k, err)
	}
	if store.last.init.Bytes() != nil || store.last.leaf.Bytes() != nil {
		t.Error("a private key is left of a key package that could not be stored")
	}
	if len(p.cfg.Key.Bytes()) == 0 {
		t.Error("the signature key of the configuration is wiped")
	}
}

func TestUpdatesThatAreNotSent(t *testing.T) {
	c := newCrowd(t, 1, 2, func(c *Config) { c.EncryptHandshake = true })
	g, cfg := c.members[0].group, c.members[0].cfg
	random := cfg.Rand
	var keys []*suite.PrivateKey
	cfg.Rand = readFunc(func(b []byte) (int, error) {
		if len(g.proposals) > 0 { // for the message, when the update waits
			keys = append(keys, g.proposals[0].own.key)
			return 0, errors.New("no randomness")
		}
		return random.Read(b)
	})
	if _, err := g.ProposeUpdate(Identity{}, nil); err == nil || len(keys) != 1 {
		t.Fatalf("%v, %d keys", err, len(keys))
	}
	if keys[0].Bytes() != nil || len(g.proposals) > 0 {
		t.Error("the private key of an update that was not sent is left, or it waits")
	}
}

func TestJoinsThatFail(t *testing.T) {
	c := newCrowd(t, 1, 5)
	c.commit(1, CommitOptions{})
	p := newPerson(t, 1, "joiner")
	f := c.forgeWelcome(p)
	f.tag = make([]byte, 32)
	w := parse(t, f.seal()).welcome
	s := suiteOf(t, 1)
	private, _, entry, err := p.cfg.addressee(s, w, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	j := &joining{cfg: p.cfg, suite: s, private: private, limits: DefaultLimits()}
	if err := errors.Join(j.openSecrets(w, entry), j.openInfo(w)); err != nil {
		t.Fatal(err)
	}
	e := &epoch{suite: s, context: j.info.context, tree: j.tree, signer: private.signer, keys: keyring{}}
	wantRefusal(t, j.fill(e), BadSignature, "12.4.3.1: confirmation tag of the group info")
	key := e.keys[e.own.Node()]
	if key == nil || e.secrets.init.Len() == 0 || len(e.messages.secrets.closed) == 0 {
		t.Fatal("the epoch holds nothing that would have to be wiped")
	}
	e.drop()
	for i, secret := range e.secrets.all() {
		if secret.Len() != 0 {
			t.Errorf("secret %d is left", i)
		}
	}
	if key.Bytes() != nil || e.messages.senderData.Len() != 0 || len(e.messages.secrets.closed) != 0 {
		t.Error("a key is left")
	}
	if private.leaf.Bytes() == nil {
		t.Error("the key package, which can still be used, has lost its key")
	}
	(&epoch{}).drop() // with nothing in it
}

// A commit of another that turns out to be wrong when its epoch has been derived.
func TestEpochsThatAreNotFollowed(t *testing.T) {
	c := newCrowd(t, 1, 4)
	c.commit(1, CommitOptions{})
	g := c.members[0].group
	a := &parse(t, must[*Change](t)(c.members[2].group.Commit(CommitOptions{})).Commit).public.authenticated
	l := &proposalList{suite: g.suite, committer: a.content.sender}
	if err := l.apply(&g.now.context, g.now.tree, g.limits); err != nil {
		t.Fatal(err)
	}
	path := a.content.body.commit.path
	steps := must[[]step](t)(g.checkPath(l, a.content.sender.Leaf, path))
	context := g.now.context
	context.epoch, context.treeHash = g.Epoch()+1, l.tree.hash()
	to := &epoch{suite: g.suite, tree: l.tree, own: g.now.own, keys: g.ownKeys(l), signer: g.now.signer, context: context}
	keys := maps.Clone(to.keys)
	a.auth.confirmationTag[0] ^= 1
	err := g.followCommit(to, l, a, steps, &g.now.secrets.init)
	wantRefusal(t, err, BadSignature, "12.4.2: confirmation tag of a commit by member 2 is wrong")
	if to.tag == nil || len(keys) == 0 {
		t.Fatal("nothing was derived")
	}
	for i, s := range to.secrets.all() {
		if s.Len() != 0 {
			t.Errorf("secret %d is left", i)
		}
	}
	for n, k := range keys {
		if k.Bytes() != nil {
			t.Errorf("private key of node %d is left", n)
		}
	}
	if to.messages.senderData.Len() != 0 || len(to.messages.secrets.closed) != 0 || len(to.keys) != 0 {
		t.Error("a key is left")
	}
	c.agree()
}

// A path whose leaf cannot be signed.
func TestPathsThatAreNotMade(t *testing.T) {
	g := newCrowd(t, 1, 4).members[0].group
	tr, leaf := g.now.tree.clone(), copyLeaf(g.Member(0))
	f := must[*freshPath](t)(tr.refreshPath(stream("path"), 0, leaf))
	keys := maps.Clone(f.keys)
	none := readFunc(func([]byte) (int, error) { return 0, errors.New("no randomness") })
	to := &epoch{suite: g.suite, tree: tr, own: 0, signer: g.now.signer, context: g.now.context}
	if err := f.complete(g.suite, none, leaf, to, &proposalList{suite: g.suite, tree: tr}, &commit{}); err == nil {
		t.Fatal("it was made without randomness")
	}
	for n, k := range keys {
		if k.Bytes() != nil {
			t.Errorf("private key of node %d is left", n)
		}
	}
	if len(keys) != 3 || f.commit.Len() != 0 {
		t.Errorf("%d keys, commit secret of %d bytes", len(keys), f.commit.Len())
	}
}

// A path secret that does not give the keys of the tree: those that it gave are whoever's who wipes them.
func TestPathSecretsThatDoNotFit(t *testing.T) {
	c := newCrowd(t, 1, 4)
	tr := c.members[0].group.now.tree.clone()
	var first, commit suite.Secret
	first.Set(make([]byte, 32))
	p := pathSecrets{suite: tr.suite}
	p.now.Set(first.Bytes())
	good := must[*suite.PrivateKey](t)(p.keyPair())
	tr.nodes[1].parent = &parentNode{encryptionKey: good.Public()}
	tr.nodes[3].parent = &parentNode{encryptionKey: []byte("another")}
	keys := keyring{}
	err := tr.climbInto(keys, first.Bytes(), []step{{node: 1}, {node: 3}}, &commit)
	wantRefusal(t, err, Invalid, "7.5: path secret does not give the key of node 3")
	if len(keys) != 2 || keys[treemath.Node(3)] == nil || commit.Len() != 0 {
		t.Errorf("%d keys, commit secret of %d bytes", len(keys), commit.Len())
	}
}

// What is wiped at the end of a computation, part by part.
func TestPartsAreWiped(t *testing.T) {
	tr := newCrowd(t, 1, 4).members[0].group.now.tree.clone()
	f := must[*freshPath](t)(tr.refreshPath(stream("path"), 0, copyLeaf(tr.leaf(0))))
	f.wipe()
	for i := range f.secrets {
		if f.secrets[i].Len() != 0 || len(f.secrets) != 2 {
			t.Errorf("path secret %d of %d is left", i, len(f.secrets))
		}
	}
	if f.commit.Len() != 0 || f.keys[0].Bytes() == nil || len(f.keys) != 3 {
		t.Error("the commit secret is left, or the keys are not")
	}
	key := f.keys[1]
	if f.drop(); key.Bytes() != nil || len(f.keys) != 0 {
		t.Error("keys of a path that leads nowhere are left")
	}

	g := &groupSecrets{joiner: []byte("joiner"), path: []byte("path")}
	if g.wipe(); g.joiner[0] != 0 || g.path[0] != 0 {
		t.Error("group secrets are left")
	}
	var j joined
	j.epoch.Set([]byte("epoch"))
	j.welcome.Set([]byte("welcome"))
	if j.wipe(); j.epoch.Len()+j.welcome.Len() != 0 {
		t.Error("the secret of an epoch or welcome is left")
	}
	var n next
	n.joiner.Set([]byte("joiner"))
	n.welcome.Set([]byte("welcome"))
	if n.wipe(); n.joiner.Len()+n.welcome.Len() != 0 {
		t.Error("the secret of a joiner or welcome is left")
	}
	s := newSecretTree(tr.suite, 4, secretOf(make([]byte, 32)))
	r := must[*ratchet](t)(s.ratchet(1, ContentProposal))
	both, beside := s.ratchets[1], s.closed[5]
	r.skipped = map[uint32]*messageKey{7: {nonce: [12]byte{1}}}
	skipped := r.skipped[7]
	if s.wipe(); both.handshake.secret.Len()+both.application.secret.Len()+beside.Len() != 0 || *skipped != (messageKey{}) || len(s.ratchets)+len(s.closed) != 0 {
		t.Error("a secret of the tree is left")
	}
	join := &joining{secrets: &groupSecrets{joiner: []byte("joiner")}}
	join.joiner.Set([]byte("joiner"))
	join.psk.Set([]byte("psk"))
	if join.wipe(); join.joiner.Len()+join.psk.Len() != 0 || join.secrets.joiner[0] != 0 {
		t.Error("a secret of a welcome is left")
	}
}

// The text of a private message that opens and does not decode.
func TestTextsThatDoNotDecodeAreWiped(t *testing.T) {
	c := newCrowd(t, 1, 3)
	victim, hostile := c.members[0].group, c.members[2].group
	text := append(sealed(t, hostile, 2, []byte("a secret text")), 0, 1) // padding that is not zero
	generation := must[*ratchet](t)(victim.now.messages.secrets.ratchet(2, ContentApplication)).next
	p := parse(t, sealRaw(t, hostile, sealing{from: 2, generation: generation, kind: ContentApplication, content: text})).private
	var o privateContent
	var key claim
	err := victim.now.messages.unprotect(victim.suite, p, 0, 10, nil, &o, &key)
	wantRefusal(t, err, Malformed, ": content of a private message does not decode")
	if !bytes.Equal(o.text, make([]byte, len(text))) {
		t.Errorf("%q is left", o.text)
	}
}
