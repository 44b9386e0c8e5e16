package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// forgedWelcome is a welcome that its maker, member 0, changes before signing and sealing it.
type forgedWelcome struct {
	forgedInfo
	c        *crowd
	joiner   *person
	k        *KeyPackage
	own      LeafIndex // of the joiner
	secrets  groupSecrets
	psks     [][]byte     // that secrets name
	tag      []byte       // in place of the right one
	damage   func([]byte) // what is done to the group info before it is sealed
	text     []byte       // in place of secrets
	infoText []byte       // in place of the group info
}

// forgeWelcome adds p and tells it by a commit without a path, which nobody else will hear of.
func (c *crowd) forgeWelcome(p *person) *forgedWelcome {
	c.t.Helper()
	g, k := c.members[0].group, p.keyPackage()
	l := &proposalList{suite: g.suite, committer: Sender{Type: SenderMember}, all: []Committed{{Proposal: &Add{k}}}}
	if err := l.apply(&g.now.context, g.now.tree, g.limits); err != nil {
		c.t.Fatal(err)
	}
	f := &forgedWelcome{c: c, joiner: p, k: k, own: l.added[0], secrets: groupSecrets{joiner: bytes.Repeat([]byte{3}, 32)},
		forgedInfo: forgedInfo{&groupInfo{context: g.now.context}, l.tree, g.now.signer}}
	f.context.epoch++
	f.retree()
	return f
}

// continues makes it the welcome of a group that continues another.
func (f *forgedWelcome) continues(from *Group, usage PSKUsage) {
	f.c.t.Helper()
	f.secrets.psks = []PSKID{{Type: PSKResumption, Usage: usage, GroupID: from.ID(), Epoch: from.Epoch(), Nonce: make([]byte, 32)}}
	f.psks = [][]byte{must[[]byte](f.c.t)(from.ResumptionPSK(from.Epoch()))}
}

// seal is the welcome.
func (f *forgedWelcome) seal() []byte {
	t, s := f.c.t, f.c.members[0].group.suite
	t.Helper()
	joiner, psk := new(suite.Secret), secretOf(make([]byte, 32))
	joiner.Set(f.secrets.joiner)
	if len(f.psks) == len(f.secrets.psks) {
		pskSecret(s, psk, f.secrets.psks, f.psks)
	}
	e := &epoch{suite: s, context: f.context, tree: f.tree}
	var j joined
	j.derive(s, joiner, psk, e.context.append(nil))
	e.start(&j.epoch)
	if f.confirmationTag = f.tag; f.tag == nil {
		f.confirmationTag = e.tag
	}
	if err := f.sign(s, rand.Reader, f.signer); err != nil {
		t.Fatal(err)
	}
	if f.infoText == nil {
		f.infoText = f.append(nil)
	}
	if f.damage != nil {
		f.damage(f.infoText)
	}
	if f.text == nil {
		f.text = f.secrets.append(nil)
	}
	return sealWelcome(t, s, &j.welcome, f.k, f.infoText, f.text)
}

// sealWelcome is a welcome for k with any group info and group secrets.
func sealWelcome(t testing.TB, s *suite.Suite, secret *suite.Secret, k *KeyPackage, info, secrets []byte) []byte {
	t.Helper()
	var key messageKey
	welcomeKey(s, secret, &key)
	aead, err := s.AEAD(key.key[:s.KeySize()])
	if err != nil {
		t.Fatal(err)
	}
	sealed := aead.Seal(nil, key.nonce[:], info, nil)
	kem, ct, err := s.EncryptWithLabel(rand.Reader, k.InitKey, welcomeLabel, sealed, secrets)
	if err != nil {
		t.Fatal(err)
	}
	w := welcome{suite: s.ID(), secrets: []welcomeSecrets{{must[[]byte](t)(k.Ref()), hpkeCiphertext{kem, ct}}}, groupInfo: sealed}
	return w.append(appendMessageHead(nil, WireWelcome))
}

// Welcomes that were tampered with by the one who made them.
func TestHostileWelcomes(t *testing.T) {
	service := newPerson(t, 1, "service")
	senders := ExternalSenders(ExternalSender{service.cfg.Key.Public(), service.cfg.Credential})
	psk := func(nonce int) PSKID { return PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: make([]byte, nonce)} }
	special := func(n byte) PSKID {
		return PSKID{Type: PSKResumption, Usage: UsageBranch, GroupID: []byte("old"), Nonce: bytes.Repeat([]byte{n}, 32)}
	}
	names := func(list ...PSKID) func(*forgedWelcome) { return func(f *forgedWelcome) { f.secrets.psks = list } }
	uses := func(e ...Extension) func(*forgedWelcome) { return func(f *forgedWelcome) { f.context.extensions = e } }
	refuses := func(place Place, leaf LeafIndex) func(*forgedWelcome) {
		return func(f *forgedWelcome) {
			f.joiner.cfg.Credentials = func(p *Presented) error {
				if p.Leaf == f.own {
					t.Error("the joiner is asked for its own credential")
				}
				if p.Place == place && p.Leaf == leaf {
					return errors.New("unknown")
				}
				return nil
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*forgedWelcome)
		kind   Kind // 0: it joins
		want   string
	}{
		{name: "an honest one", change: func(*forgedWelcome) {}},
		{"the tree is another", func(f *forgedWelcome) { f.context.treeHash = make([]byte, 32) }, Invalid, "12.4.3.1: tree hash is not that of the group info"},
		{"a leaf's signature is damaged", func(f *forgedWelcome) {
			l := copyLeaf(newPerson(f.c.t, 1, "other").keyPackage().Leaf) // beside the joiner, where no parent hash covers it
			l.Signature = make([]byte, 64)
			f.tree.add(l)
			f.retree()
		}, BadSignature, "7.3: leaf 6: signature of a leaf node"},
		{"the new member is not in the tree", func(f *forgedWelcome) {
			f.tree.remove(f.own)
			f.retree()
		}, Invalid, "12.4.3.1: no leaf of the tree is that of the key package"},
		{"the tree ends with a blank", func(f *forgedWelcome) { f.set(ExtensionRatchetTree, []byte{1, 0}) }, Malformed, ": ratchet tree does not decode"},
		{"the tree is empty", func(f *forgedWelcome) { f.set(ExtensionRatchetTree, []byte{0}) }, Malformed, ": ratchet tree does not decode"},
		{"the signer is blank", func(f *forgedWelcome) { f.groupInfo.signer = 9 }, Invalid, "12.4.3.1: signed by leaf 9, which is blank"},
		{"the signer is another", func(f *forgedWelcome) { f.groupInfo.signer = 1 }, BadSignature, "12.4.3.1: signature of a group info by leaf 1"},
		{"the signer is the new member", func(f *forgedWelcome) {
			f.groupInfo.signer, f.signer, f.secrets.path = f.own, f.joiner.cfg.Key, make([]byte, 32)
		}, Invalid, "12.4.3.1: signed by the new member itself"},
		{"the confirmation tag is wrong", func(f *forgedWelcome) { f.tag = make([]byte, 32) }, BadSignature, "12.4.3.1: confirmation tag of the group info"},
		{"the group is of another suite", func(f *forgedWelcome) { f.context.suite = 3 }, Invalid, "12.4.3.1: the key package is of"},
		{"the group is of another version", func(f *forgedWelcome) { f.damage = func(b []byte) { b[1] = 2 } }, Unsupported, "8.1: group of protocol version 2"},
		{"the group uses an extension that is not supported", uses(Extension{0xf00d, nil}), Invalid, "13.4: leaf node does not support extension type 0xf00d"},
		{"the group requires a credential that is not supported", uses(RequiredCapabilities{Credentials: []CredentialType{9}}.Extension()), Invalid, "7.3: which the group requires"},
		{"required_capabilities do not decode", uses(Extension{ExtensionRequiredCapabilities, []byte{9}}), Malformed, ": required_capabilities extension does not decode"},
		{"external_senders do not decode", uses(Extension{ExtensionExternalSenders, []byte{9}}), Malformed, ": external_senders extension does not decode"},
		{"an external sender is refused", func(f *forgedWelcome) { uses(senders)(f); refuses(PlaceProposer, 0)(f) }, Refused, "5.3.1: external_senders: credential of basic was refused"},
		{"a member is refused", refuses(PlaceMember, 2), Refused, "5.3.1: leaf 2: credential of basic was refused"},
		{"the group info does not decode", func(f *forgedWelcome) { f.infoText = []byte{0, 1} }, Malformed, ": group info of a welcome does not decode"},
		{"the group info does not open", func(f *forgedWelcome) { f.psks, f.secrets.psks = nil, []PSKID{psk(32)} }, BadSignature, "12.4.3.1: group info of a welcome does not open"},
		{"the group secrets do not decode", func(f *forgedWelcome) { f.text = []byte{9} }, Malformed, ": group secrets of a welcome does not decode"},
		{"bytes behind the group secrets", func(f *forgedWelcome) { f.text = append(f.secrets.append(nil), 0) }, Malformed, ": group secrets of a welcome does not decode"},
		{"the joiner secret is short", func(f *forgedWelcome) { f.text = (&groupSecrets{joiner: make([]byte, 31)}).append(nil) }, Malformed, "12.4.3.1: secrets of a welcome are not of 32 bytes"},
		{"the path secret is long", func(f *forgedWelcome) { f.secrets.path = make([]byte, 33) }, Malformed, "12.4.3.1: secrets of a welcome are not of 32 bytes"},
		{"the path secret is of no node", func(f *forgedWelcome) { f.secrets.path = make([]byte, 32) }, Invalid, "7.5: path secret does not give the key of node 7"},
		{"the path secret is of a blank node", func(f *forgedWelcome) {
			f.secrets.path = make([]byte, 32)
			f.tree.nodes[7].parent = nil
			f.tree.touch(7)
			f.retree()
		}, Invalid, "12.4.3.1: path secret of a welcome is that of node 7, which is blank"},
		{"a pre-shared key with a short nonce", names(psk(31)), Invalid, "8.4: psk_nonce of 31 bytes in a welcome"},
		{"a pre-shared key twice", names(psk(32), psk(32)), Invalid, "12.4.3.1: names a pre-shared key twice"},
		{"a pre-shared key that is not here", func(f *forgedWelcome) { delete(f.joiner.psks, "k"); names(psk(32))(f) }, Missing, "8.4: pre-shared key 6b is not here"},
		{"two groups that are continued", names(special(1), special(2)), Invalid, "12.4.3.1: welcome comes from 2 groups"},
		{"a group that is continued is not here", names(special(1)), Missing, "12.4.3.1: welcome comes from another group by branch: give it in JoinOptions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			crowd := newCrowd(t, 1, 5)
			crowd.commit(1, CommitOptions{})
			crowd.commit(0, CommitOptions{})
			p := newPerson(t, 1, "joiner")
			p.psks["k"] = []byte("key")
			f := crowd.forgeWelcome(p)
			c.change(f)
			_, err := Join(p.cfg, f.seal(), JoinOptions{})
			if c.kind == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, c.kind, c.want)
			if kept := must[*PrivateKeyPackage](t)(p.cfg.KeyPackages.Get(must[[]byte](t)(f.k.Ref()))); kept == nil || kept.init.Bytes() == nil {
				t.Error("the key package is used up by a welcome that failed")
			}
		})
	}
}

// A welcome damaged on its way, and one used twice.
func TestWelcomesThatAreRefused(t *testing.T) {
	t.Parallel()
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
	_, err := Join(p.cfg, w, JoinOptions{InUse: func(id []byte) bool { return string(id) == "the group" }})
	wantRefusal(t, err, Invalid, "12.4.3.1: this client is in a group")
	_, err = Join(newPerson(t, 1, "other").cfg, w, JoinOptions{})
	wantRefusal(t, err, Missing, "12.4.3.1: for none of this client's key packages")
	_, err = Join(newPerson(t, 2, "other").cfg, w, JoinOptions{})
	wantRefusal(t, err, Unsupported, "12.4.3.1: this client has")
	_, err = Join(p.cfg, ch.Commit, JoinOptions{})
	wantRefusal(t, err, Malformed, "12.4.3.1: want a welcome")
	damaged := parse(t, w)
	damaged.welcome.secrets[0].secrets.ciphertext[0] ^= 1
	_, err = Join(p.cfg, damaged.append(nil), JoinOptions{})
	wantRefusal(t, err, BadSignature, "12.4.3.1: group secrets of a welcome")
	storeless := *p.cfg
	storeless.KeyPackages = nil
	_, err = Join(&storeless, w, JoinOptions{})
	wantRefusal(t, err, Misuse, "10: Config.KeyPackages is nil")
	mixed, other := newPerson(t, 1, "mixed"), newPerson(t, 3, "mixed")
	k := must[*PrivateKeyPackage](t)(other.cfg.KeyPackages.Get(must[[]byte](t)(other.keyPackage().Ref())))
	if err := mixed.cfg.KeyPackages.Put(parse(t, w).welcome.secrets[0].newMember, k); err != nil {
		t.Fatal(err)
	}
	_, err = Join(mixed.cfg, w, JoinOptions{})
	wantRefusal(t, err, Invalid, "12.4.3.1: for a key package of")
	p.group = must[*Group](t)(Join(p.cfg, w, JoinOptions{InUse: func([]byte) bool { return false }}))
	c.members = append(c.members, p)
	c.agree()
	_, err = Join(p.cfg, w, JoinOptions{})
	wantRefusal(t, err, Missing, "12.4.3.1: for none of this client's key packages")
}
