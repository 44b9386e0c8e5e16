package mls

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// save writes what has changed of a member's group, and gives its size.
func (p *person) save() int {
	p.t.Helper()
	saved := must[*Saved](p.t)(p.group.Save())
	n := 0
	for _, part := range saved.Parts {
		n += len(part.Data)
	}
	if err := p.shelf.put(saved); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// spendOf spends the next key of a member's application ratchet, as a message of it does.
func (g *Group) spendOf(t testing.TB, l LeafIndex) {
	t.Helper()
	r := must[*ratchet](t)(g.now.messages.secrets.ratchet(l, ContentApplication))
	r.spend(g.suite, r.next, g.limits.Window, nil)
}

// A message takes the same room in a group of 2 and in one of 500, whoever sends it; with the secret parts that follow
// upon many, less than 1 kB. What a commit takes is what it changes.
func TestSizesOfParts(t *testing.T) {
	t.Parallel()
	const members, messages = 500, 3000
	type sizes struct{ first, message, most, mean, commit int }
	measure := func(n int) (s sizes) {
		p := &person{t: t, group: must[*Group](t)(Create(newPerson(t, 1, "m", kept).cfg, bytes.Repeat([]byte{'g'}, 32)))}
		var o CommitOptions
		for i := 1; i < n; i++ {
			o.Proposals = append(o.Proposals, &Add{newPerson(t, 1, fmt.Sprintf("m%d", i)).keyPackage()})
		}
		o.Path = true
		for range 2 {
			if err := must[*Change](t)(p.group.Commit(o)).Apply(); err != nil {
				t.Fatal(err)
			}
			s.first, s.commit, o = s.commit, p.save(), CommitOptions{}
		}
		total := 0
		for i := range messages {
			p.group.spendOf(t, LeafIndex(i%n))
			size := p.save()
			total += size
			s.most = max(s.most, size)
			if i == 0 {
				s.message = size
			}
		}
		s.mean = total / messages
		restored := must[*Group](t)(Restore(p.group.cfg, p.shelf.all()))
		if !bytes.Equal(restored.appendState(nil), p.group.appendState(nil)) {
			t.Errorf("%d members: what is restored is another group", n)
		}
		t.Logf("%d members: %+v bytes", n, s)
		return s
	}
	small, large := measure(2), measure(members)
	if small.message != large.message || large.message > 200 {
		t.Errorf("a message takes %d and %d bytes", small.message, large.message)
	}
	if large.mean >= 1000 || small.mean >= 1000 {
		t.Errorf("messages take %d and %d bytes on average", small.mean, large.mean)
	}
	if large.commit > large.first/5 {
		t.Errorf("a commit takes %d bytes, all of the group %d", large.commit, large.first)
	}
}

// Messages that were jumped over take no room in the part of the one that jumped.
func TestJumpsTakeNoRoom(t *testing.T) {
	c := newCrowd(t, 1, 2, kept)
	a, b := c.members[0], c.members[1]
	b.save()
	var last []byte
	for range 1000 {
		last = must[[]byte](t)(a.group.Protect(nil, nil, nil))
	}
	must[*Received](t)(b.group.Process(last))
	if n := b.save(); n > 200 {
		t.Errorf("a message that is 1,000 ahead takes %d bytes", n)
	}
	if restored := b.restored(); !bytes.Equal(restored.appendState(nil), b.group.appendState(nil)) {
		t.Error("what is restored is another group")
	}
}

// What was not written is in the next Save as well, whether Save was called again or not; written late, it harms
// nothing.
func TestWritesThatFail(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, 3, kept)
	a, b := c.members[0], c.members[1]
	same := func(p *person) {
		t.Helper()
		if !bytes.Equal(p.restored().appendState(nil), p.group.appendState(nil)) {
			t.Error("what is restored is another group")
		}
	}
	message := func() { must[*Received](t)(b.group.Process(must[[]byte](t)(a.group.Protect(nil, nil, nil)))) }
	lost := must[*Saved](t)(b.group.Save()) // before anything is stored
	message()
	b.save()
	if err := lost.Done(); err != nil {
		t.Error(err)
	}
	same(b)
	message()
	must[*Saved](t)(b.group.Save())
	message()
	b.save()
	same(b)
	// Written in order, done late.
	message()
	first := must[*Saved](t)(b.group.Save())
	message()
	second := must[*Saved](t)(b.group.Save())
	for _, s := range []*Saved{first, second} {
		for _, p := range s.Parts {
			b.shelf.parts[p.Number] = p.Data
		}
	}
	message()
	if err := errors.Join(first.Done(), second.Done()); err != nil {
		t.Fatal(err)
	}
	b.save()
	same(b)
	// More than a message part holds, and epochs that come and go between what is made and done.
	for range 3 * maxSpent {
		message()
	}
	late := must[*Saved](t)(b.group.Save())
	if len(late.Parts) != 1 || len(late.Obsolete) == 0 {
		t.Errorf("%v, %d obsolete", late, len(late.Obsolete))
	}
	c.commit(0, CommitOptions{})
	message()
	if err := b.shelf.put(late); err != nil {
		t.Fatal(err)
	}
	b.save()
	same(b)
	if s := must[*Saved](t)(b.group.Save()); len(s.Parts) != 0 {
		t.Errorf("%v of a group that has not changed", s)
	}
	// All of it, into a new store.
	if err := b.shelf.put(must[*Saved](t)(b.group.SaveAll())); err != nil {
		t.Fatal(err)
	}
	if len(b.shelf.parts) != 2 {
		t.Errorf("%d parts of all", len(b.shelf.parts))
	}
	same(b)
	// All of it written, and what is obsolete deleted, but not done.
	s := must[*Saved](t)(b.group.SaveAll())
	clear(b.shelf.parts)
	for _, p := range s.Parts {
		b.shelf.parts[p.Number] = p.Data
	}
	message()
	b.save()
	same(b)
	// Another key.
	cfg := *b.cfg
	cfg.StateKey = newStateKey("another")
	b.cfg, b.group.cfg = &cfg, &cfg
	b.save()
	same(b)

	for range maxUndone {
		message()
		must[*Saved](t)(b.group.Save())
	}
	message()
	_, err := b.group.Save()
	wantRefusal(t, err, Busy, ": saved states in a row are not done")
	if l := &b.group.ledger; len(l.obsolete)+len(l.messages) > 2*maxUndone || len(l.waiting) > 2 {
		t.Errorf("%d numbers and %d parts are kept", len(l.obsolete)+len(l.messages), len(l.waiting))
	}
}

// Two groups made of one store never seal with the same key and nonce, whatever number their parts get.
func TestRunsHaveKeysOfTheirOwn(t *testing.T) {
	p := newCrowd(t, 1, 2, kept, func(c *Config) { c.Rand = nil }).members[0]
	p.save()
	runs := map[partRun]bool{}
	for range 3 {
		g := p.restored()
		must[[]byte](t)(g.Protect(nil, []byte("x"), nil))
		part := must[*Saved](t)(g.Save()).Parts[0]
		h, _, _, err := readPartHead(part.Data)
		if err != nil {
			t.Fatal(err)
		}
		if part.Number != 3 || runs[h.run] {
			t.Errorf("part %d of run %x", part.Number, h.run)
		}
		runs[h.run] = true
	}
	// Nor do copies of one, which nobody should make.
	g := p.restored()
	must[*Saved](t)(g.SaveAll())
	twin := *g
	for _, g := range []*Group{g, &twin} {
		part := must[*Saved](t)(g.SaveAll()).Parts[0]
		h, _, _, err := readPartHead(part.Data)
		if err != nil {
			t.Fatal(err)
		}
		if runs[h.run] {
			t.Errorf("part %d of run %x, again", part.Number, h.run)
		}
		runs[h.run] = true
	}
}

// What the store holds is opened and searched: secrets of an epoch are gone with the commit that ends it, keys of
// messages with the next secret part, those of a commit with its end.
func TestKeysLeaveTheStore(t *testing.T) {
	c := newCrowd(t, 1, 3, kept, func(c *Config) { c.PastEpochs, c.PSKEpochs = -1, -1 })
	a, b := c.members[0], c.members[1]
	b.save()
	c.commit(0, CommitOptions{})
	b.save()
	find := func(secrets map[string][]byte) (n int) {
		text := b.shelf.text(t)
		for _, s := range secrets {
			if bytes.Contains(text, s) {
				n++
			}
		}
		return n
	}
	old := secretsOf(b.group)
	if n := find(old); n != len(old) {
		t.Errorf("%d of %d secrets are found: the search finds nothing", n, len(old))
	}
	ch := must[*Change](t)(b.group.Commit(CommitOptions{}))
	b.save()
	change := map[string][]byte{}
	for i, s := range ch.next.secrets.all() {
		change[fmt.Sprint(i)] = bytes.Clone(s.Bytes())
	}
	if n := find(change); n != len(change) {
		t.Errorf("%d of %d secrets of a commit are found", n, len(change))
	}
	ch.Discard()
	b.save()
	if n := find(change); n != 0 {
		t.Errorf("%d secrets of a commit that was discarded are left", n)
	}
	must[*Received](t)(b.group.Process(must[[]byte](t)(a.group.Protect(nil, nil, nil))))
	b.save()
	b.group = b.restored() // from here on it knows the store by what it found there
	for i := range 4 * minMessageParts {
		must[*Received](t)(b.group.Process(must[[]byte](t)(a.group.Protect(nil, nil, nil))))
		if b.save(); len(b.shelf.parts) > 3*minMessageParts {
			t.Fatalf("%d parts after %d messages", len(b.shelf.parts), i)
		}
	}
	root := fmt.Sprintf("tree secret of node %d, epoch %d", b.group.now.tree.root(), b.group.Epoch())
	if n := find(map[string][]byte{"": old[root]}); n != 0 || old[root] == nil {
		t.Error("the secret above ratchets that were used is left")
	}
	c.commit(2, CommitOptions{Path: true})
	b.save()
	now := secretsOf(b.group)
	gone := map[string][]byte{}
	for name, s := range old {
		if !contains(now, s) {
			gone[name] = s
		}
	}
	if n := find(gone); n != 0 || len(gone) < 9 {
		t.Errorf("%d of %d secrets of an epoch that is over are left", n, len(gone))
	}
	b.group.Wipe()
	b.save()
	if n := find(now); n != 0 {
		t.Errorf("%d secrets of a wiped group are left", n)
	}
	if g := b.restored(); g.Active() {
		t.Error("a wiped group is active")
	}
}

// A commit on its way is saved, restored and applied when it comes back; of several one takes effect.
func TestCommitsOnTheirWay(t *testing.T) {
	t.Parallel()
	for _, encrypt := range []bool{false, true} {
		t.Run(fmt.Sprintf("encrypted %v", encrypt), func(t *testing.T) {
			c := newCrowd(t, 2, 4, kept, func(c *Config) { c.EncryptHandshake = encrypt })
			a := c.members[0]
			c.commit(3, CommitOptions{})
			c.propose(1, &Remove{2})
			joiner := newPerson(t, 2, "new")
			id := Identity{Credential: BasicCredential([]byte("other")), Key: must[*SigningKey](t)(GenerateSigningKey(2, stream("other")))}
			first := must[*Change](t)(a.group.Commit(CommitOptions{SkipPending: true}))
			second := must[*Change](t)(a.group.Commit(CommitOptions{Proposals: []Proposal{&Add{joiner.keyPackage()}}, Identity: id, AAD: []byte("aad")}))
			a.restart()
			out := a.group.Outstanding()
			if len(out) != 2 || !bytes.Equal(out[0].Commit, first.Commit) {
				t.Fatalf("%v are outstanding", out)
			}
			got := out[1]
			for _, f := range [][2]any{{got.Sender, second.Sender}, {got.Epoch, second.Epoch}, {got.Added, second.Added}, {got.Updated, second.Updated},
				{got.Removed, second.Removed}, {got.AAD, second.AAD}, {got.SelfRemoved, second.SelfRemoved}, {got.Committer, second.Committer}, {got.External, second.External}, {got.Commit, second.Commit},
				{got.Welcomes, second.Welcomes}, {got.ReInit, second.ReInit}, {len(got.Proposals), 2}} {
				if !reflect.DeepEqual(f[0], f[1]) {
					t.Errorf("restored %v, made %v", f[0], f[1])
				}
			}
			for i, p := range got.Proposals {
				want := second.Proposals[i]
				if !bytes.Equal(appendProposal(nil, p.Proposal), appendProposal(nil, want.Proposal)) || p.Sender != want.Sender || p.ByReference != want.ByReference {
					t.Errorf("restored %+v, made %+v", p, want)
				}
			}
			_, err := a.group.Process(second.Commit)
			wantRefusal(t, err, Own, map[bool]string{false: "12.4: commit is our own", true: "6.3.1: message is our own"}[encrypt])
			for _, p := range c.members[1:] {
				if err := must[*Received](t)(p.group.Process(second.Commit)).Change.Apply(); err != nil {
					t.Fatal(err)
				}
			}
			if err := got.Apply(); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, out[0].Apply(), PastEpoch, "14: the change leads out of epoch")
			joiner.group = must[*Group](t)(Join(joiner.cfg, got.Welcomes[0], JoinOptions{}))
			c.members = append(slices.Delete(c.members, 2, 3), joiner)
			c.agree()
			a.restart()
			c.agree()
			if string(a.group.Member(a.group.Own()).Credential.Identity) != "other" || len(a.group.Outstanding()) != 0 {
				t.Errorf("%v, %d outstanding", a.group, len(a.group.Outstanding()))
			}
			// Another member's commit comes first.
			must[*Change](t)(a.group.Commit(CommitOptions{}))
			end := must[*Change](t)(a.group.Commit(CommitOptions{Proposals: []Proposal{&ReInit{GroupID: []byte("n"), Version: MLS10, CipherSuite: 2}}}))
			a.restart()
			out = a.group.Outstanding()
			if len(out) != 2 || out[1].ReInit == nil || !bytes.Equal(out[1].ReInit.appendBody(nil), end.ReInit.appendBody(nil)) {
				t.Fatalf("%v are outstanding", out)
			}
			c.commit(1, CommitOptions{})
			for _, o := range out {
				wantRefusal(t, o.Apply(), PastEpoch, "14: the change leads out of epoch")
			}
			a.restart()
			if n := len(a.group.Outstanding()); n != 0 {
				t.Errorf("%d commits are outstanding in another epoch", n)
			}
			// One that is discarded is not there any more.
			must[*Change](t)(a.group.Commit(CommitOptions{}))
			a.restart()
			a.group.Outstanding()[0].Discard()
			a.restart()
			if n := len(a.group.Outstanding()); n != 0 {
				t.Errorf("%d commits are outstanding that were discarded", n)
			}
			c.agree()
		})
	}
}

// A commit on its way that takes a leaf out and replaces another by reference is there after a restart, and one that
// names leaves that are not there is not.
func TestLeavesOfCommitsOnTheirWay(t *testing.T) {
	c := newCrowd(t, 1, 4, kept)
	a := c.members[0]
	c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
	c.propose(1, &Remove{3})
	made := must[*Change](t)(a.group.Commit(CommitOptions{Proposals: []Proposal{&Add{newPerson(t, 1, "new").keyPackage()}}}))
	a.restart()
	ch := a.group.Outstanding()[0]
	if !reflect.DeepEqual(ch.Updated, made.Updated) || !reflect.DeepEqual(ch.Removed, made.Removed) || len(ch.Updated) != 2 || !ch.fits() {
		t.Errorf("restored %+v, %+v, made %+v, %+v", ch.Updated, ch.Removed, made.Updated, made.Removed)
	}
	all, added := ch.made.all, ch.made.added
	for name, change := range map[string]func(*Change){
		"an update of nobody": func(c *Change) {
			c.made.all[0].Sender.Leaf = c.next.tree.add(copyLeaf(c.next.tree.leaf(1)))
		},
		"an update of one who is not there after it": func(c *Change) {
			c.made.all[0].Sender.Leaf = 2
			c.next.tree.remove(2)
		},
		"a removal of nobody":                    func(c *Change) { c.made.all[1].Proposal = &Remove{99} },
		"an add to no leaf":                      func(c *Change) { c.made.added = []LeafIndex{99} },
		"an add without its leaf":                func(c *Change) { c.made.added = nil },
		"a leaf that nobody is added to":         func(c *Change) { c.made.added = []LeafIndex{3, 3} },
		"a committer that is not there after it": func(c *Change) { c.Sender.Leaf = 99 },
	} {
		x := *ch
		x.made.all, x.made.added, x.next = slices.Clone(all), slices.Clone(added), &epoch{tree: ch.next.tree.clone()}
		if change(&x); x.fits() {
			t.Errorf("%s fits", name)
		}
	}
}

// A private proposal of this member is known for its own when it comes back, after a restart too.
func TestOwnProposalAfterARestart(t *testing.T) {
	c := newCrowd(t, 1, 2, kept, func(c *Config) { c.EncryptHandshake = true })
	a := c.members[0]
	msg := must[[]byte](t)(a.group.ProposeUpdate(Identity{}, nil))
	a.restart()
	_, err := a.group.Process(msg)
	wantRefusal(t, err, Own, "6.3.1: message is our own")
}

// brokenPackages is a store of key packages that deletes nothing.
type brokenPackages struct{ MemoryStore }

func (*brokenPackages) Delete([]byte) error { return errPower }

// The key package that a group was joined by is there until the group is stored, and gone then.
func TestKeyPackagesGoWhenTheGroupIsStored(t *testing.T) {
	c := newCrowd(t, 1, 2)
	p := newPerson(t, 1, "new", kept)
	k := p.keyPackage()
	ref := must[[]byte](t)(k.Ref())
	there := func() *PrivateKeyPackage { return must[*PrivateKeyPackage](t)(p.cfg.KeyPackages.Get(ref)) }
	private := there()
	welcome := c.commit(0, CommitOptions{Proposals: []Proposal{&Add{k}}}).Welcomes[0]
	must[*Group](t)(Join(p.cfg, welcome, JoinOptions{}))
	if there() == nil {
		t.Fatal("the key package is gone, and no group is stored")
	}
	p.group = must[*Group](t)(Join(p.cfg, welcome, JoinOptions{})) // after a crash
	saved := must[*Saved](t)(p.group.Save())
	if there() == nil {
		t.Fatal("the key package is gone, and the group is not stored")
	}
	if err := p.shelf.put(saved); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved.KeyPackage, ref) {
		t.Errorf("the key package to be deleted is %x, want %x", saved.KeyPackage, ref)
	}
	if k := must[*Saved](t)(p.group.Save()).KeyPackage; k != nil {
		t.Errorf("key package %x is to be deleted once more", k)
	}
	if there() != nil || private.init.Bytes() != nil || private.leaf.Bytes() != nil {
		t.Error("the key package is left")
	}
	c.members = append(c.members, p)
	c.agree()
	p.restart()
	c.agree()

	// A crash between the write and what follows it.
	q := newPerson(t, 1, "newer", kept)
	k = q.keyPackage()
	ref = must[[]byte](t)(k.Ref())
	welcome = c.commit(0, CommitOptions{Proposals: []Proposal{&Add{k}}}).Welcomes[0]
	q.group = must[*Group](t)(Join(q.cfg, welcome, JoinOptions{}))
	parts := partsOf(must[*Saved](t)(q.group.Save()))
	q.group = must[*Group](t)(Restore(q.cfg, parts))
	if got := must[*PrivateKeyPackage](t)(q.cfg.KeyPackages.Get(ref)); got != nil {
		t.Error("the key package is left after a restart")
	}
	c.members = append(c.members, q)
	c.agree()

	// A store that does not delete it, for a while.
	r := newPerson(t, 1, "newest", kept)
	broken := new(brokenPackages)
	r.cfg.KeyPackages = broken
	k = r.keyPackage()
	ref = must[[]byte](t)(k.Ref())
	welcome = c.commit(0, CommitOptions{Proposals: []Proposal{&Add{k}}}).Welcomes[0]
	r.group = must[*Group](t)(Join(r.cfg, welcome, JoinOptions{}))
	saved = must[*Saved](t)(r.group.Save())
	if err := r.shelf.put(saved); !errors.Is(err, errPower) {
		t.Errorf("got %v, want the store's error", err)
	}
	r.group = r.restored()
	r.cfg.KeyPackages = &broken.MemoryStore
	must[[]byte](t)(r.group.Protect(nil, nil, nil))
	r.save()
	if got := must[*PrivateKeyPackage](t)(r.cfg.KeyPackages.Get(ref)); got != nil {
		t.Error("the key package is left by a store that works again")
	}
}

// A tree that is large and nearly empty, and one that has shrunk.
func TestSparseTrees(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, 3, kept)
	a := c.members[0]
	a.save()
	var o CommitOptions
	var people []*person
	for i := range 40 {
		people = append(people, newPerson(t, 1, fmt.Sprint(i), kept))
	}
	c.add(0, people...)
	a.save()
	for i := 1; i < 42; i++ {
		o.Proposals = append(o.Proposals, &Remove{LeafIndex(i)})
	}
	c.commit(0, o)
	c.agree()
	check := func(width uint32) {
		t.Helper()
		for _, f := range []func() (*Saved, error){a.group.Save, a.group.SaveAll} {
			if err := a.shelf.put(must[*Saved](t)(f())); err != nil {
				t.Fatal(err)
			}
			if g := a.restored(); g.now.tree.size() != width || !bytes.Equal(g.appendState(nil), a.group.appendState(nil)) {
				t.Errorf("what is restored is another group, of %d leaves", g.now.tree.size())
			}
		}
	}
	check(64)
	a.restart()
	c.commit(1, CommitOptions{})
	c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{42}}})
	check(1)
	c.add(0, newPerson(t, 1, "x"))
	check(2)
	a.restart()
	c.commit(1, CommitOptions{})
	c.agree()
}

// Proposals that were dropped do not come back, and those that came after them are there.
func TestDroppedProposals(t *testing.T) {
	c := newCrowd(t, 1, 3, kept)
	a := c.members[0]
	for _, drop := range []bool{true, false} {
		c.propose(1, &Remove{2})
		a.save()
		must[[]byte](t)(a.group.ProposeUpdate(Identity{}, nil))
		a.save()
		if n := len(a.restored().Pending()); n != 2 {
			t.Errorf("%d proposals wait, want 2", n)
		}
		a.group.DropPending()
		if drop {
			a.save()
			if n := len(a.restored().Pending()); n != 0 {
				t.Errorf("%d proposals wait that were dropped", n)
			}
		}
		must[[]byte](t)(a.group.Propose(&Remove{1}, nil))
		a.save()
		if p := a.restored().Pending(); len(p) != 1 || p[0].Proposal.(*Remove).Leaf != 1 {
			t.Errorf("%v wait", p)
		}
		a.group.DropPending()
		c.members[1].group.DropPending()
		c.members[2].group.DropPending()
	}
}
