package mls

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// secretsOf are all secrets of a group's epoch that can be named, by what they are.
func secretsOf(g *Group) map[string][]byte {
	m := map[string][]byte{}
	put := func(name string, b []byte) {
		if len(b) > 0 {
			m[name] = bytes.Clone(b)
		}
	}
	e := g.now
	for i, s := range e.secrets.all() {
		put(fmt.Sprintf("secret %d of epoch %d", i, g.Epoch()), s.Bytes())
	}
	put(fmt.Sprintf("sender data secret of epoch %d", g.Epoch()), e.messages.senderData.Bytes())
	for n, s := range e.messages.secrets.closed {
		put(fmt.Sprintf("tree secret of node %d, epoch %d", n, g.Epoch()), s.Bytes())
	}
	for n, k := range e.keys {
		put(fmt.Sprintf("private key of node %d, epoch %d", n, g.Epoch()), k.Bytes())
	}
	return m
}

// checkState checks whether the opened state of a group holds any of the secrets, and that it holds those it must.
func checkState(t *testing.T, g *Group, gone, kept map[string][]byte) {
	t.Helper()
	text := g.appendState(nil)
	for name, s := range gone {
		if bytes.Contains(text, s) {
			t.Errorf("state holds %s", name)
		}
	}
	for name, s := range kept {
		if !bytes.Contains(text, s) {
			t.Errorf("state does not hold %s: the search finds nothing", name)
		}
	}
}

// Keys of messages are gone when they are used, those of generations before them too unless they were jumped over;
// secrets of the tree are gone when what is below them has been derived (RFC 9420, section 9.2).
func TestUsedGenerationsAreGone(t *testing.T) {
	c := newCrowd(t, 1, 3)
	a, b := c.members[0].group, c.members[1].group
	c.commit(2, CommitOptions{})
	root := secretsOf(b)[fmt.Sprintf("tree secret of node %d, epoch %d", b.now.tree.root(), b.Epoch())]
	if root == nil {
		t.Fatal("the root is open before the first message")
	}
	chain := newSecretTree(b.suite, b.now.tree.size(), secretOf(root)) // what an attacker could compute
	r := must[*ratchet](t)(chain.ratchet(0, ContentApplication))
	keys, ratchets := map[string][]byte{}, map[string][]byte{}
	for g := range uint32(6) {
		var k messageKey
		ratchets[fmt.Sprintf("ratchet secret %d", g)] = bytes.Clone(r.secret.Bytes())
		if _, err := r.key(b.suite, g, 10, &k); err != nil {
			t.Fatal(err)
		}
		keys[fmt.Sprintf("key %d", g)] = bytes.Clone(k.key[:16])
		r.spend(b.suite, g, 10, nil)
	}
	next := map[string][]byte{"ratchet secret 6": bytes.Clone(r.secret.Bytes())}
	var messages [][]byte
	for range 6 {
		messages = append(messages, must[[]byte](t)(a.Protect(nil, []byte("text"), nil)))
	}
	checkState(t, a, union(keys, ratchets, map[string][]byte{"root": root}), next)

	must[*Received](t)(b.Process(messages[5]))
	skipped := without(keys, "key 5")
	checkState(t, b, union(ratchets, map[string][]byte{"key 5": keys["key 5"], "root": root}), union(skipped, next))
	for i := range 5 {
		must[*Received](t)(b.Process(messages[i]))
		skipped = without(skipped, fmt.Sprintf("key %d", i))
		checkState(t, b, union(ratchets, without(keys, names(skipped)...)), union(skipped, next))
	}
}

// Secrets of an epoch are gone when it is over, what protects its messages when it is no longer kept, private keys when
// the tree has others (sections 7.5, 9.2, 14).
func TestOldEpochsAreGone(t *testing.T) {
	c := newCrowd(t, 2, 4, func(c *Config) { c.PastEpochs, c.PSKEpochs = 2, 1 })
	b := c.members[1].group
	const steps = 6
	var epochs []map[string][]byte
	for i := range steps {
		epochs = append(epochs, secretsOf(b))
		c.commit([]int{0, 3, 1}[i%3], CommitOptions{})
		now := secretsOf(b)
		for age := range len(epochs) {
			old := epochs[len(epochs)-1-age]
			gone, kept := map[string][]byte{}, map[string][]byte{}
			for name, s := range old {
				epoch := b.Epoch() - uint64(age) - 1
				switch {
				case contains(now, s): // a private key that is still the tree's
				case name == fmt.Sprintf("secret 5 of epoch %d", epoch) && age < 1: // the resumption key
					kept[name] = s
				case age < 2 && (name == fmt.Sprintf("sender data secret of epoch %d", epoch) || strings.HasPrefix(name, "tree secret")):
					kept[name] = s
				default:
					gone[name] = s
				}
			}
			if age == 3 && len(gone) < 9 {
				t.Errorf("only %d secrets looked for", len(gone))
			}
			checkState(t, b, gone, kept)
		}
	}
	before := secretsOf(b)
	c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{1}}})
	if b.Active() {
		t.Fatal("not removed")
	}
	checkState(t, b, before, nil)
}

// What a change prepared is gone when it is discarded.
func TestDiscardedChangesAreGone(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[0].group
	ch := must[*Change](t)(g.Commit(CommitOptions{}))
	e, keys := ch.next, maps.Clone(ch.next.keys)
	ch.Discard()
	for _, s := range e.secrets.all() {
		if s.Len() != 0 {
			t.Error("a secret of a discarded change is left")
		}
	}
	if e.messages.senderData.Len() != 0 || len(e.messages.secrets.closed) != 0 {
		t.Error("message keys of a discarded change are left")
	}
	for n, k := range keys {
		if k.Bytes() != nil {
			t.Errorf("private key of node %d is left", n)
		}
	}
	for n, k := range g.now.keys {
		if k.Bytes() == nil {
			t.Errorf("private key of node %d of the group is wiped", n)
		}
	}
	c.agree()
}

// What is no longer of use is gone from memory, not only from the state: secrets and private keys of the epoch that
// ends, ratchets that late messages do not need, updates that nobody committed, the init key of a joiner.
func TestMemoryIsWiped(t *testing.T) {
	t.Run("the epoch that ends", func(t *testing.T) {
		c := newCrowd(t, 1, 4, func(c *Config) { c.EncryptHandshake, c.PastEpochs = true, 1 })
		c.commit(3, CommitOptions{})
		g := c.members[1].group
		c.agree()
		first := g.now.messages
		old, keys := g.now, maps.Clone(g.now.keys)
		own := bytes.Clone(keys[g.Own().Node()].Bytes())
		c.commit(0, CommitOptions{})
		for i, s := range old.secrets.all() {
			if s.Len() != 0 {
				t.Errorf("secret %d is left", i)
			}
		}
		for n, k := range keys {
			if k.Bytes() != nil {
				t.Errorf("private key of node %d is left", n)
			}
		}
		if !bytes.Equal(g.now.keys[g.Own().Node()].Bytes(), own) || len(keys) < 2 {
			t.Errorf("the key of a leaf that stays is gone, or there were %d keys", len(keys))
		}
		for l, r := range first.secrets.ratchets {
			if r.handshake.secret.Len() != 0 || (r.application.secret.Len() == 0) != (l == g.Own()) {
				t.Errorf("ratchets of member %d: %d, %d bytes", l, r.handshake.secret.Len(), r.application.secret.Len())
			}
		}
		if len(first.secrets.ratchets) != 4 {
			t.Errorf("%d members sent messages", len(first.secrets.ratchets))
		}
		left := first.secrets.ratchets[0]
		c.commit(0, CommitOptions{}) // now it is too old for late messages
		if left.application.secret.Len() != 0 || first.senderData.Len() != 0 || len(first.secrets.ratchets) != 0 || len(first.secrets.closed) != 0 {
			t.Error("keys of late messages are left")
		}
	})
	t.Run("a ratchet's keys that were jumped over", func(t *testing.T) {
		c := newCrowd(t, 1, 2, func(c *Config) { c.PastEpochs = -1 })
		a, b := c.members[0].group, c.members[1].group
		var msg []byte
		for range 3 {
			msg = must[[]byte](t)(a.Protect(nil, nil, nil))
		}
		must[*Received](t)(b.Process(msg))
		skipped := b.now.messages.secrets.ratchets[0].application.skipped
		var keys []*messageKey
		for _, k := range skipped {
			keys = append(keys, k)
		}
		c.commit(0, CommitOptions{})
		for _, k := range keys {
			if *k != (messageKey{}) {
				t.Error("a key is left")
			}
		}
		if len(keys) != 2 || len(skipped) != 0 {
			t.Errorf("%d keys, %d left", len(keys), len(skipped))
		}
	})
	t.Run("updates that nobody committed", func(t *testing.T) {
		for name, end := range map[string]func(*crowd, *Group){
			"dropped":     func(_ *crowd, g *Group) { g.DropPending() },
			"wiped":       func(_ *crowd, g *Group) { g.Wipe() },
			"passed over": func(c *crowd, _ *Group) { c.commit(1, CommitOptions{SkipPending: true}) },
			"we are gone": func(c *crowd, _ *Group) {
				c.commit(1, CommitOptions{SkipPending: true, Proposals: []Proposal{&Remove{0}}})
			},
			"we committed": func(c *crowd, _ *Group) { c.commit(0, CommitOptions{}) },
		} {
			c := newCrowd(t, 1, 3)
			g := c.members[0].group
			c.tell(0, must[[]byte](t)(g.ProposeUpdate(Identity{}, nil)))
			key := g.proposals[0].own.key
			raw := key.Bytes()
			end(c, g)
			if key.Bytes() != nil || !bytes.Equal(raw, make([]byte, len(raw))) {
				t.Errorf("%s: the key is left", name)
			}
		}
		c := newCrowd(t, 1, 3)
		g := c.members[0].group
		c.tell(0, must[[]byte](t)(g.ProposeUpdate(Identity{}, nil)))
		key := g.proposals[0].own.key
		c.commit(1, CommitOptions{})
		if key.Bytes() != nil || !bytes.Equal(g.now.keys[g.Own().Node()].Public(), key.Public()) || g.now.keys[g.Own().Node()].Bytes() == nil {
			t.Error("the key of an update that was committed is not in use, or there are two")
		}
	})
	t.Run("a group", func(t *testing.T) {
		c := newCrowd(t, 1, 3)
		c.commit(1, CommitOptions{})
		g := c.members[0].group
		e, key, past, resumption := g.now, g.now.keys[g.Own().Node()], g.past[0], g.resumption[0].secret
		g.Wipe()
		for i, s := range e.secrets.all() {
			if s.Len() != 0 {
				t.Errorf("secret %d is left", i)
			}
		}
		if key.Bytes() != nil || len(e.keys) != 0 || e.signer != nil || e.messages.senderData.Len() != 0 || past.senderData.Len() != 0 || resumption.Len() != 0 {
			t.Error("a secret is left")
		}
		c.members[0].cfg.Key.Public() // it is the configuration's
		if len(c.members[0].cfg.Key.Bytes()) == 0 {
			t.Error("the signature key of the configuration is wiped")
		}
	})
	t.Run("the key package of a joiner", func(t *testing.T) {
		c := newCrowd(t, 1, 2)
		p := newPerson(t, 1, "new")
		k := p.keyPackage()
		private := must[*PrivateKeyPackage](t)(p.cfg.KeyPackages.Get(must[[]byte](t)(k.Ref())))
		init := private.init.Bytes()
		ch := c.commit(0, CommitOptions{Proposals: []Proposal{&Add{k}}})
		p.group = must[*Group](t)(Join(p.cfg, ch.Welcomes[0], JoinOptions{}))
		if !bytes.Equal(init, make([]byte, len(init))) || private.init.Bytes() != nil {
			t.Error("the init key is left")
		}
		c.members = append(c.members, p)
		c.agree() // with the key of its leaf, which lives
		c.commit(1, CommitOptions{})
		c.agree()
	})
}

// Randomness that became a key or sealed one is wiped where it was read to.
func TestRandomnessIsWiped(t *testing.T) {
	for _, cs := range []CipherSuite{1, 2, 65100} {
		c := newCrowd(t, cs, 3)
		g, cfg := c.members[0].group, c.members[0].cfg
		k := newPerson(t, cs, "new").keyPackage()
		joiner := newPerson(t, cs, "joiner")
		info := must[[]byte](t)(g.GroupInfo(true, true))
		for name, f := range map[string]func() error{
			"a commit": func() error {
				_, err := g.Commit(CommitOptions{Path: true, Proposals: []Proposal{&Add{k}}})
				return err
			},
			"an update":          func() error { _, err := g.ProposeUpdate(Identity{}, nil); return err },
			"a key package":      func() error { _, err := cfg.NewKeyPackage(); return err },
			"a group":            func() error { _, err := Create(cfg, []byte("id")); return err },
			"an external commit": func() error { _, _, err := JoinExternal(joiner.cfg, info, ExternalOptions{}); return err },
		} {
			var read [][]byte
			cfg.Rand = readFunc(func(b []byte) (int, error) {
				if len(b) >= 16 {
					read = append(read, b)
				}
				return rand.Read(b)
			})
			joiner.cfg.Rand = cfg.Rand
			if err := f(); err != nil {
				t.Fatal(err)
			}
			for i, b := range read {
				if !bytes.Equal(b, make([]byte, len(b))) {
					t.Errorf("%v, %s: %d bytes of randomness, %d of %d, are left", cs, name, len(b), i, len(read))
				}
			}
			if len(read) == 0 {
				t.Errorf("%v, %s: it takes no randomness", cs, name)
			}
		}
	}
}

func union(ms ...map[string][]byte) map[string][]byte {
	u := map[string][]byte{}
	for _, m := range ms {
		for k, v := range m {
			u[k] = v
		}
	}
	return u
}

func without(m map[string][]byte, names ...string) map[string][]byte {
	u := union(m)
	for _, n := range names {
		delete(u, n)
	}
	return u
}

func names(m map[string][]byte) []string {
	var n []string
	for k := range m {
		n = append(n, k)
	}
	return n
}

func contains(m map[string][]byte, b []byte) bool {
	for _, v := range m {
		if bytes.Equal(v, b) {
			return true
		}
	}
	return false
}

// Room that is given back, whatever part of it was used last, holds nothing of the plaintexts that stood in it.
func TestScratchIsWiped(t *testing.T) {
	for _, n := range []int{20, maxSpareScratch, 2 * maxSpareScratch} {
		s := &scratch{a: bytes.Repeat([]byte{1}, n), b: bytes.Repeat([]byte{2}, n)}
		a, b := s.a, s.b
		s.a, s.b = a[:n/2], b[:0]
		s.key = messageKey{key: [maxKey]byte{3}, nonce: [nonceSize]byte{4}}
		s.reader.Reset(b)
		s.message.room.ciphertext = b
		s.done()
		if len(bytes.Trim(a, "\x00"))+len(bytes.Trim(b, "\x00")) > 0 {
			t.Errorf("of %d bytes some are left", n)
		}
		if s.key != (messageKey{}) {
			t.Error("a key is left")
		}
		if s.reader.Len() > 0 || s.message.room.ciphertext != nil {
			t.Error("a message is held that is the caller's")
		}
	}
}

// Text and additional data of a message are the caller's, who may append to both, and change what was given.
func TestWhatIsReceivedIsTheCallers(t *testing.T) {
	c := newCrowd(t, 2, 2)
	msg := must[[]byte](t)(c.members[0].group.Protect(nil, []byte("text"), []byte("data")))
	r := must[*Received](t)(c.members[1].group.Process(msg))
	clear(msg)
	_ = append(r.Application, "more of it than there is room for anywhere"...)
	_ = append(r.Application, '!')
	_ = append(r.AAD, '!')
	if string(r.Application) != "text" || string(r.AAD) != "data" {
		t.Errorf("text %q with %q", r.Application, r.AAD)
	}
}

// Memory of the caller's that a message does not fit into holds nothing of its text afterwards, however much of it
// would.
func TestOutgrownMemoryHoldsNoText(t *testing.T) {
	g := newCrowd(t, 1, 2, func(c *Config) { c.Padding = PadStep }).members[0].group
	text := bytes.Repeat([]byte("secret"), 20)
	for n := range 600 {
		dst := make([]byte, 0, n)
		must[[]byte](t)(g.Protect(dst, text, nil))
		if bytes.Contains(dst[:n], []byte("secret")) {
			t.Fatalf("the text is left in memory of %d bytes", n)
		}
	}
	f := framedContent{groupID: g.ID(), aad: make([]byte, 100), kind: ContentApplication}
	for n := range 1000 {
		memory := make([]byte, 0, n)
		room := scratch{a: memory}
		room.tbs(&f, text, g.now.raw)
		clear(room.a)
		if bytes.Contains(memory[:n], []byte("secret")) {
			t.Fatalf("the signed text is left in memory of %d bytes", n)
		}
	}
}

// A change that came too late keeps no secrets, whether its epoch is over or the group is.
func TestChangesThatCameTooLateAreWiped(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[1].group
	msg := must[*Change](t)(c.members[0].group.Commit(CommitOptions{})).Commit
	var changes []*Change
	for range 3 {
		changes = append(changes, must[*Received](t)(g.Process(msg)).Change)
	}
	late := func(ch *Change, kind Kind, want string) {
		t.Helper()
		keys := slices.Collect(maps.Values(ch.next.keys))
		for range 2 {
			wantRefusal(t, ch.Apply(), kind, want)
		}
		for _, s := range ch.next.secrets.all() {
			if s.Len() != 0 {
				t.Error("a secret is left")
			}
		}
		if ch.next.messages.senderData.Len() != 0 || len(ch.next.messages.secrets.closed) != 0 || len(ch.next.keys) != 0 || len(keys) == 0 || keys[0].Bytes() != nil {
			t.Error("a key is left")
		}
	}
	if err := changes[0].Apply(); err != nil {
		t.Fatal(err)
	}
	late(changes[1], PastEpoch, "14: the change leads out of epoch 1")
	must[[]byte](t)(g.Protect(nil, nil, nil)) // what was applied is whole
	g.Wipe()
	late(changes[2], Removed, "12.4.2: no longer in the group")
}
