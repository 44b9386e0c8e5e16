package mls

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// A group whose members restart at every step lives as one whose members do not.
func TestLifeWithRestarts(t *testing.T) {
	for _, cs := range []CipherSuite{1, 2, 7, 65100} {
		t.Run(cs.String(), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, cs, 4)
			restart := func() {
				for _, p := range c.members {
					p.restart()
				}
			}
			restart()
			c.agree()
			id := Identity{Credential: BasicCredential([]byte("new")), Key: must[*SigningKey](t)(GenerateSigningKey(cs, stream("new key")))}
			c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(id, nil)))
			c.propose(2, &Remove{3})
			restart()
			c.commit(0, CommitOptions{})
			restart()
			c.agree()
			c.commit(1, CommitOptions{})
			restart()
			c.agree()

			// Late and out of order, across restarts.
			a, b := c.members[0], c.members[1]
			var messages [][]byte
			for i := range 5 {
				messages = append(messages, must[[]byte](t)(a.group.Protect(nil, []byte{byte(i)}, nil)))
				a.restart()
			}
			c.commit(2, CommitOptions{})
			for _, i := range []int{3, 1, 4, 0, 2} {
				b.restart()
				r := must[*Received](t)(b.group.Process(messages[i]))
				if r.Application[0] != byte(i) {
					t.Errorf("message %d reads %x", i, r.Application)
				}
				_, err := b.group.Process(messages[i])
				wantRefusal(t, err, Replayed, "9.2: is used up")
				b.restart()
				_, err = b.group.Process(messages[i])
				wantRefusal(t, err, Replayed, "9.2: is used up")
			}

			c.commit(0, CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("next"), Version: MLS10, CipherSuite: cs, Extensions: Extensions{{0xf000, []byte("x")}}}}})
			restart()
			if r := b.group.ReInit(); r == nil || string(r.GroupID) != "next" || len(r.Extensions) != 1 {
				t.Errorf("reinit %+v", r)
			}
			b.group.Wipe()
			b.restart()
			if b.group.Active() {
				t.Error("a wiped group is active")
			}
		})
	}
}

// Parts that do not belong together, or are none of this group's, are refused, whatever else is there.
func TestPartsThatAreRefused(t *testing.T) {
	t.Parallel()
	p, _ := savedMember(t, "a")
	byNumber := func(parts map[uint64][]byte, kind partKind) (n uint64) { // the newest of a kind
		for number, b := range parts {
			if h, _, _, _ := readPartHead(b); h.kind == kind && number > n {
				n = number
			}
		}
		return n
	}
	good := p.shelf.parts
	public, secret, message := byNumber(good, partPublic), byNumber(good, partSecret), byNumber(good, partMessage)
	other, _ := savedMember(t, "b") // the same numbers, of another history of a group of that name
	foreign := newPerson(t, 1, "foreign", kept)
	foreign.group = must[*Group](t)(Create(foreign.cfg, []byte("another group")))
	if err := foreign.shelf.save(foreign.group); err != nil {
		t.Fatal(err)
	}
	flip := func(n uint64, at int) func(map[uint64][]byte) {
		return func(m map[uint64][]byte) { m[n] = bytes.Clone(m[n]); m[n][(at+len(m[n]))%len(m[n])] ^= 1 }
	}
	cut := func(n uint64, to int) func(map[uint64][]byte) {
		return func(m map[uint64][]byte) { m[n] = m[n][:(to+len(m[n]))%len(m[n])] }
	}
	without := func(n uint64) func(map[uint64][]byte) { return func(m map[uint64][]byte) { delete(m, n) } }
	of := func(o *person, n uint64) func(map[uint64][]byte) {
		return func(m map[uint64][]byte) { m[n] = o.shelf.parts[n] }
	}
	const no = ": is damaged, or of another key or member"
	for _, c := range []struct {
		name   string
		change func(map[uint64][]byte)
		kind   Kind
		want   string
	}{
		{"nothing", func(m map[uint64][]byte) { clear(m) }, Missing, ": no secret part among 0 parts"},
		{"no secret part", without(secret), Missing, ": no secret part"},
		{"no public part", without(public), Missing, ": which is not here, or is another"},
		{"not the whole tree", without(1), Missing, ": stands on public part 1, which is not here"},
		{"a message part lost that another stands on", without(message - 1), Missing, ": which is not here, or is another"},
		{"a public part of another history", of(other, public), Missing, ": which is not here, or is another"},
		{"a secret part of another history", of(other, secret), Missing, ": which is not here, or is another"},
		{"the newest message part of another history", of(other, message), Missing, ": which is not here, or is another"},
		{"another message part of another history", of(other, message-1), Missing, ": which is not here, or is another"},
		{"a part of another group", func(m map[uint64][]byte) { m[message+9] = foreign.shelf.parts[2] }, WrongGroup, ": parts are of group"},
		{"a part twice", func(m map[uint64][]byte) { m[99] = m[message] }, Malformed, ": there are two parts"},
		{"a public part damaged", flip(public, -1), BadSignature, no},
		{"a secret part damaged", flip(secret, -40), BadSignature, no},
		{"a message part damaged", flip(message, -20), BadSignature, no},
		{"another number", flip(message, len(partMagic)+9), BadSignature, no},
		{"another kind", flip(message, len(partMagic)+1), BadSignature, no},
		{"another part below", flip(message, len(partMagic)+17), BadSignature, no},
		{"another run", flip(message, len(partMagic)+34), BadSignature, no},
		{"an older version", flip(secret, len(partMagic)), Unsupported, ": part of version 2, this is 3"},
		{"something else", flip(secret, 0), Malformed, ": no part of the state of a group"},
		{"cut at the end", cut(secret, -1), BadSignature, no},
		{"cut before the tag", cut(message, -17), BadSignature, no},
		{"cut in the head", cut(message, 40), Malformed, ": head of a part does not decode"},
		{"cut behind the head", cut(message, 75), Malformed, ": head of a part does not decode"},
		{"an empty part", cut(message, 0), Malformed, ": no part of the state of a group"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := maps.Clone(good)
			c.change(m)
			_, err := Restore(p.cfg, slices.Collect(maps.Values(m)))
			wantRefusal(t, err, c.kind, c.want)
		})
	}
	restored := must[*Group](t)(Restore(p.cfg, slices.Collect(maps.Values(good))))
	if !bytes.Equal(restored.appendState(nil), p.group.appendState(nil)) {
		t.Error("what was not changed gives another group")
	}

	for _, c := range []struct {
		name string
		cfg  func(*Config)
		kind Kind
		want string
	}{
		{"another key", func(c *Config) { c.StateKey = newStateKey("another") }, BadSignature, no},
		{"another member under the same key", func(c *Config) { c.StateKey = stateKeyOf("state key", "another") }, BadSignature, no},
		{"no key", func(c *Config) { c.StateKey = nil }, Misuse, ": Config.StateKey is nil"},
		{"a key that is wiped", func(c *Config) { c.StateKey = newStateKey("x"); c.StateKey.Wipe() }, Misuse, ": Config.StateKey is wiped"},
		{"a limit", func(c *Config) { c.Limits.Members = 1 }, Limit, ": ratchet tree of 8 leaves, 2 are allowed"},
		{"another suite", func(c *Config) { c.CipherSuite, c.Key = 3, must[*SigningKey](t)(GenerateSigningKey(3, nil)) }, Malformed, ": public part of a group does not decode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := *p.cfg
			c.cfg(&cfg)
			_, err := Restore(&cfg, p.shelf.all())
			wantRefusal(t, err, c.kind, c.want)
		})
	}
	_, err := NewStateKey(make([]byte, 31), "a")
	wantRefusal(t, err, Misuse, ": state key of 31 bytes")
	_, err = NewStateKey(make([]byte, StateKeySize), "")
	wantRefusal(t, err, Misuse, ": state key of no member")
	lost := newCrowd(t, 1, 2).members[0].group
	_, err = lost.Save()
	wantRefusal(t, err, Misuse, ": Config.StateKey is nil")
}

// Parts that only who has the key can make.
func TestStatesThatAreRefused(t *testing.T) {
	p := newCrowd(t, 2, 2, kept).members[0]
	must[[]byte](t)(p.group.ProposeUpdate(Identity{Key: must[*SigningKey](t)(GenerateSigningKey(2, nil))}, nil))
	must[*Change](t)(p.group.Commit(CommitOptions{SkipPending: true}))
	zero := func(secret []byte) func(*Group, []byte) {
		return func(_ *Group, text []byte) {
			found := false
			for at := bytes.Index(text, secret); at >= 0; at = bytes.Index(text, secret) {
				clear(text[at : at+len(secret)])
				found = true
			}
			if !found {
				t.Error("the part does not hold it")
			}
		}
	}
	entry := func(change func(*spentKey)) []byte {
		k := spentKey{leaf: 1, kind: ContentApplication}
		change(&k)
		return k.append(nil, 1)
	}
	for _, c := range []struct {
		name    string
		change  func(*Group)
		damage  func(*Group, []byte) // of the secret part
		message []byte
		cause   error
	}{
		{"whose leaf is blank", func(g *Group) { g.now.own = 9 }, nil, nil, errStateLeaf},
		{"whose secret tree is of another size", func(g *Group) { g.now.messages.secrets.leaves = 8 }, nil, nil, errStateTree},
		{"whose context does not decode", func(g *Group) { g.now.raw = append(g.now.raw, 0) }, nil, nil, codec.ErrTrailing},
		{"whose proposal does not decode", func(g *Group) {
			g.proposals[0].Proposal = &UnknownProposal{ProposalRemove, nil}
		}, nil, nil, codec.ErrShort},
		{"whose commit names nobody", func(g *Group) { g.unapplied[0].made.added = []LeafIndex{9} }, nil, nil, errStateChange},
		{"with a past epoch too many", func(g *Group) { g.past = append(g.past, g.now.messages) }, nil, nil, errStateEpochs},
		{"whose private key is none", nil, zero(p.group.now.keys[0].Bytes()), nil, errStateKey},
		{"whose signature key is none", nil, zero(p.group.now.signer.Bytes()), nil, errStateKey},
		{"whose update's key is none", nil, zero(p.group.proposals[0].own.key.Bytes()), nil, errStateKey},
		{"whose update's signature key is none", nil, zero(p.group.proposals[0].own.signer.Bytes()), nil, errStateKey},
		{"whose secret is long", nil, func(g *Group, text []byte) { // its length, and that of what follows
			at := bytes.Index(text, g.now.secrets.init.Bytes()) - 1
			copy(text[at:], []byte{0x40, 0x41})
		}, nil, errStateSize},
		{"that used a key of an epoch that is not here", nil, nil, (&spentKey{leaf: 1, kind: 1}).append(nil, 9), errStateEntry},
		{"that used a key of nobody", nil, nil, entry(func(k *spentKey) { k.leaf = 1 << 20 }), errStateEntry},
		{"that used a key of no kind", nil, nil, entry(func(k *spentKey) { k.kind = 9 }), errStateEntry},
		{"that used a key far ahead", nil, nil, entry(func(k *spentKey) { k.generation = 1 << 30 }), errStateEntry},
		{"that used a key of its own far ahead", nil, nil, entry(func(k *spentKey) { k.leaf, k.generation = 0, 1<<30 }), errStateEntry},
		{"that sent a commit which is not kept", nil, nil, append([]byte{entrySent}, make([]byte, 8)...), errStateEntry},
		{"with an entry of no type", nil, nil, []byte{7}, errStateEntry},
		{"with half an entry", nil, nil, entry(func(*spentKey) {})[:9], codec.ErrShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := must[*Group](t)(Restore(p.cfg, partsOf(must[*Saved](t)(p.group.SaveAll()))))
			public := g.appendPublic(nil, &tree{suite: g.suite})
			if c.change != nil {
				past := g.past
				c.change(g)
				public = g.appendPublic(nil, &tree{suite: g.suite})
				g.past = past
			}
			secret := g.appendSecret(nil, g.packChanges())
			if c.damage != nil {
				c.damage(g, secret)
			}
			part := func(text []byte) *openedPart { return &openedPart{partHead: partHead{group: g.ID()}, text: text} }
			h := snapshot{[]*openedPart{part(public)}, part(secret), []*openedPart{part(c.message)}}
			err := (&Group{cfg: p.cfg, suite: g.suite, limits: g.limits}).read(h)
			if wantRefusal(t, err, Malformed, ": part of a group does not decode"); !errors.Is(err, c.cause) {
				t.Errorf("%v, want %v", err, c.cause)
			}
		})
	}
}

// partsOf are the bytes of parts.
func partsOf(s *Saved) [][]byte {
	var all [][]byte
	for _, p := range s.Parts {
		all = append(all, p.Data)
	}
	return all
}

// Private key packages that do not fit together.
func TestPrivateKeyPackagesThatAreRefused(t *testing.T) {
	stored := func(cs CipherSuite, name string) *PrivateKeyPackage {
		p := newPerson(t, cs, name)
		return must[*PrivateKeyPackage](t)(p.cfg.KeyPackages.Get(must[[]byte](t)(p.keyPackage().Ref())))
	}
	a, b, long := stored(2, "a"), stored(2, "b"), stored(5, "long")
	whole := a.Marshal()
	if _, err := ParsePrivateKeyPackage(whole); err != nil {
		t.Fatal(err)
	}
	changed := *a.Package
	changed.raw, changed.CipherSuite = nil, 999
	const mixed = "10: private keys are not those of the key package"
	for _, c := range []struct {
		name string
		b    []byte
		kind Kind
		want string
	}{
		{"another version", append([]byte{2}, whole[1:]...), Unsupported, ": private key package of version 2"},
		{"nothing", nil, Malformed, ": key package in a private key package does not decode"},
		{"cut", whole[:len(whole)-1], Malformed, ": private key package does not decode"},
		{"a byte behind", append(bytes.Clone(whole), 0), Malformed, ": private key package does not decode"},
		{"a key package that is none", []byte{1, 1, 9, 0, 0, 0}, Malformed, ": key package in a private key package does not decode"},
		{"a suite that is not known", (&PrivateKeyPackage{&changed, a.init, a.leaf, a.signer}).Marshal(), Unsupported, "10: key package of"},
		{"an init key of another suite", (&PrivateKeyPackage{a.Package, long.init, a.leaf, a.signer}).Marshal(), Invalid, "10: private init key"},
		{"an encryption key of another suite", (&PrivateKeyPackage{a.Package, a.init, long.leaf, a.signer}).Marshal(), Invalid, "10: private encryption key"},
		{"a signature key of another suite", (&PrivateKeyPackage{a.Package, a.init, a.leaf, long.signer}).Marshal(), Invalid, "10: private signature key"},
		{"another's init key", (&PrivateKeyPackage{a.Package, b.init, a.leaf, a.signer}).Marshal(), Invalid, mixed},
		{"another's encryption key", (&PrivateKeyPackage{a.Package, a.init, b.leaf, a.signer}).Marshal(), Invalid, mixed},
		{"another's signature key", (&PrivateKeyPackage{a.Package, a.init, a.leaf, b.signer}).Marshal(), Invalid, mixed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParsePrivateKeyPackage(c.b)
			wantRefusal(t, err, c.kind, c.want)
		})
	}
	_, err := changed.Ref()
	wantRefusal(t, err, Unsupported, "10.1: key package of")
	_, err = ParseKeyPackage(must[[]byte](t)(newCrowd(t, 1, 1).members[0].group.GroupInfo(false, false)))
	wantRefusal(t, err, Malformed, "10: message is mls_group_info, want a key package")
}

// Two groups of one store are two histories, although the parts of one of them have gaps in their numbers: neither is
// taken for the other's.
func TestTwoGroupsOfOneStore(t *testing.T) {
	p := newCrowd(t, 1, 2, kept).members[0]
	p.save()
	a, b := p.restored(), p.restored()
	parts := p.shelf.all()
	say := func(g *Group) []byte {
		must[[]byte](t)(g.Protect(nil, []byte("x"), nil))
		return must[*Saved](t)(g.Save()).Parts[0].Data
	}
	first, lost, second := say(a), say(b), say(b)
	for _, more := range [][][]byte{{first}, {second}, {lost, second}} {
		if _, err := Restore(p.cfg, slices.Concat(parts, more)); err != nil {
			t.Error(err)
		}
	}
	_, err := Restore(p.cfg, slices.Concat(parts, [][]byte{first, second}))
	wantRefusal(t, err, Malformed, ": two groups of one store were in use at the same time")

	// One has written another secret part, and the other stands on the one before.
	a = p.restored()
	must[*Change](t)(a.Commit(CommitOptions{}))
	secret := must[*Saved](t)(a.Save()).Parts[0].Data
	_, err = Restore(p.cfg, slices.Concat(parts, [][]byte{secret, second}))
	wantRefusal(t, err, Missing, ": part 4 stands on secret part 2, which is not the newest, 3")
}

// A group is restored under a smaller window than the one that its messages came in.
func TestRestoreUnderASmallerWindow(t *testing.T) {
	c := newCrowd(t, 1, 2, kept)
	a, b := c.members[0], c.members[1]
	b.save()
	var messages [][]byte
	for range 30 {
		messages = append(messages, must[[]byte](t)(a.group.Protect(nil, []byte("x"), nil)))
	}
	for _, i := range []int{20, 0, 19} {
		must[*Received](t)(b.group.Process(messages[i]))
	}
	b.save()
	b.cfg.Limits.Window = 8
	b.group = b.restored()
	for _, i := range []int{20, 0, 19} {
		_, err := b.group.Process(messages[i])
		wantRefusal(t, err, Replayed, "9.2: is used up")
	}
	must[*Received](t)(b.group.Process(messages[18]))
}

// A message may be as far ahead after a restart as before, however large the window is.
func TestRestoreUnderALargeWindow(t *testing.T) {
	t.Parallel()
	const far = respendWindow + 10
	c := newCrowd(t, 1, 2, kept, func(c *Config) { c.Limits.Window = 2 * respendWindow })
	a, b := c.members[0], c.members[1]
	b.save()
	for range far {
		a.group.spendOf(t, a.group.Own())
	}
	msg := must[[]byte](t)(a.group.Protect(nil, []byte("x"), nil))
	must[*Received](t)(b.group.Process(msg))
	b.save()
	b.group = b.restored()
	_, err := b.group.Process(msg)
	wantRefusal(t, err, Replayed, "9.2: is used up")
	c.agree()
}

// What the power left in the store that is obsolete goes with the first Save after it, whatever that holds.
func TestLeftoversLeaveTheStore(t *testing.T) {
	for name, then := range map[string]func(*person){
		"nothing":   func(*person) {},
		"a message": func(p *person) { must[[]byte](t)(p.group.Protect(nil, nil, nil)) },
		"a commit":  func(p *person) { must[*Change](t)(p.group.Commit(CommitOptions{})) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, 1, 2, kept, func(c *Config) { c.PastEpochs, c.PSKEpochs = -1, -1 })
			b := c.members[1]
			must[[]byte](t)(b.group.Protect(nil, nil, nil))
			b.save()
			old := bytes.Clone(b.group.now.secrets.init.Bytes())
			c.commit(0, CommitOptions{})
			for _, p := range must[*Saved](t)(b.group.Save()).Parts {
				b.shelf.parts[p.Number] = p.Data
			}
			b.group = b.restored()
			if !bytes.Contains(b.shelf.text(t), old) {
				t.Fatal("nothing is left over")
			}
			then(b)
			b.save()
			if bytes.Contains(b.shelf.text(t), old) {
				t.Error("a secret of an epoch that is over is left")
			}
			if s := must[*Saved](t)(b.group.Save()); len(s.Parts) != 0 || len(s.Obsolete) != 0 {
				t.Errorf("%v, %d obsolete, of a group that has not changed", s, len(s.Obsolete))
			}
			b.group = b.restored()
			c.agree()
			b.save()
			b.group = b.restored()
			c.agree()
		})
	}
}

// Of a group that this member is no longer in, hardly more is kept than that.
func TestStateOfARemovedMember(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*crowd, *Group){
		"removed": func(c *crowd, _ *Group) { c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{1}}}) },
		"wiped":   func(_ *crowd, g *Group) { g.Wipe() },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, 1, 30, kept)
			p := c.members[1]
			p.save()
			c.commit(2, CommitOptions{})
			p.save()
			g := p.group
			id, tree := g.ID(), g.TreeHash()
			end(c, g)
			p.save()
			size := 0
			for _, part := range p.shelf.all() {
				size += len(part)
			}
			if n := len(p.shelf.parts); n != 2 || size > 1500 {
				t.Errorf("%d parts of %d bytes are kept", n, size)
			}
			for _, g := range []*Group{g, p.restored()} {
				m, same := g.Members(), string(g.ID()) == string(id) && string(g.TreeHash()) == string(tree)
				if g.Active() || len(m) != 1 || m[0].Leaf != 1 || !same {
					t.Errorf("%v, active %v, members %v", g, g.Active(), m)
				}
				_, err := g.Protect(nil, nil, nil)
				wantRefusal(t, err, Removed, "12.4.2: no longer in the group")
				g.Wipe()
				if s := must[*Saved](t)(g.SaveAll()); len(s.Parts) != 2 {
					t.Errorf("%v", s)
				}
			}
		})
	}
}
