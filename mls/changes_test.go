package mls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"testing"
)

// Of several changes prepared in one epoch one happens; the others are refused, and discarding one leaves no trace.
func TestChangesHappenAsAWhole(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[0].group
	before := authenticator(t, g)
	a := must[*Change](t)(g.Commit(CommitOptions{}))
	b := must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{&Remove{2}}}))
	other := must[*Change](t)(c.members[1].group.Commit(CommitOptions{}))
	received := must[*Received](t)(g.Process(other.Commit)).Change
	if g.Epoch() != 1 || !bytes.Equal(authenticator(t, g), before) {
		t.Fatal("preparing changed the group")
	}
	a.Discard()
	a.Discard()
	wantRefusal(t, a.Apply(), Misuse, "14: the change was applied or discarded before")
	if err := received.Apply(); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, b.Apply(), PastEpoch, "14: the change leads out of epoch 1, the group is in 2")
	b.Discard()
	if err := other.Apply(); err != nil {
		t.Fatal(err)
	}
	r := must[*Received](t)(c.members[2].group.Process(other.Commit))
	if err := r.Change.Apply(); err != nil {
		t.Fatal(err)
	}
	c.agree()
	wantRefusal(t, received.Apply(), Misuse, "14: the change was applied or discarded before")
}

// Of two commits that hold an update of ours one is discarded: before or behind the other's coming into effect, its
// keys stay alive.
func TestDiscardLeavesLiveKeys(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		c := newCrowd(t, 2, 4)
		c.tell(0, must[[]byte](t)(c.members[0].group.ProposeUpdate(Identity{Key: must[*SigningKey](t)(GenerateSigningKey(2, nil))}, nil)))
		c.commit(3, CommitOptions{}) // with the update, so that there are keys of parents to lose
		c.tell(0, must[[]byte](t)(c.members[0].group.ProposeUpdate(Identity{}, nil)))
		winner := must[*Change](t)(c.members[1].group.Commit(CommitOptions{}))
		loser := must[*Change](t)(c.members[2].group.Commit(CommitOptions{}))
		g := c.members[0].group
		var discarded *Change
		discard := func() {
			unchanged(t, g, discarded.Discard)
		}
		if discarded = must[*Received](t)(g.Process(loser.Commit)).Change; !late {
			discard()
		}
		change := must[*Received](t)(g.Process(winner.Commit)).Change
		if err := change.Apply(); err != nil {
			t.Fatal(err)
		}
		if late {
			discard()
		}
		for _, p := range c.members[2:] {
			loser.Discard()
			if err := must[*Received](t)(p.group.Process(winner.Commit)).Change.Apply(); err != nil {
				t.Fatal(err)
			}
		}
		if err := winner.Apply(); err != nil {
			t.Fatal(err)
		}
		c.agree()
		c.members[0].restart()
		c.agree()
		c.commit(1, CommitOptions{})
		c.agree()
	}
}

// A group that has ended stays so: of two changes that were prepared, none brings it back after a removal or Wipe, and
// no two ended groups look as if they were in one epoch.
func TestEndedGroupsStayEnded(t *testing.T) {
	for name, end := range map[string]func(*crowd, *Group){
		"removed": func(c *crowd, g *Group) {
			ch := must[*Change](t)(c.members[1].group.Commit(CommitOptions{Proposals: []Proposal{&Remove{0}}}))
			if err := must[*Received](t)(g.Process(ch.Commit)).Change.Apply(); err != nil {
				t.Fatal(err)
			}
		},
		"wiped": func(_ *crowd, g *Group) { g.Wipe() },
	} {
		t.Run(name, func(t *testing.T) {
			const no = "12.4.2: this member is no longer in the group"
			c := newCrowd(t, 1, 3)
			g := c.members[0].group
			prepared := []*Change{must[*Change](t)(g.Commit(CommitOptions{})),
				must[*Received](t)(g.Process(must[*Change](t)(c.members[2].group.Commit(CommitOptions{})).Commit)).Change,
				must[*Received](t)(g.Process(must[*Change](t)(c.members[1].group.Commit(CommitOptions{Proposals: []Proposal{&Remove{0}}})).Commit)).Change}
			end(c, g)
			for _, ch := range prepared {
				unchanged(t, g, func() { wantRefusal(t, ch.Apply(), Removed, no) })
				ch.Discard()
			}
			c.members[0].restart()
			restored := c.members[0].group
			for _, ended := range []*Group{g, restored} {
				if a, err := ended.EpochAuthenticator(); a != nil {
					t.Errorf("epoch authenticator %x", a)
				} else {
					wantRefusal(t, err, Removed, no)
				}
				if ended.Active() {
					t.Error("it lives")
				}
				_, err := ended.ResumptionPSK(ended.Epoch())
				wantRefusal(t, err, Missing, "8.6: resumption key of epoch 1 is not kept")
			}
		})
	}
}

// starve runs f time and again, failing another one of the times that it asks for randomness, until all have been. Each
// time it must fail for that reason, and give nothing.
func starve(t *testing.T, cfg *Config, f func() (nothing bool, err error)) {
	t.Helper()
	random := cfg.Rand
	defer func() { cfg.Rand = random }()
	for fails := range 100 {
		reads := 0
		cfg.Rand = readFunc(func(b []byte) (int, error) {
			if reads++; reads == fails+1 {
				return 0, io.ErrUnexpectedEOF
			}
			return random.Read(b)
		})
		nothing, err := f()
		switch {
		case err == nil && reads == fails && fails > 0:
			return
		case !nothing || !errors.Is(err, io.ErrUnexpectedEOF):
			t.Fatalf("without randomness %d: %v, nothing given: %v", fails, err, nothing)
		}
	}
	t.Fatal("it takes randomness without end")
}

// Whatever takes randomness fails without, gives nothing, and leaves the group as it was: with all its keys and those
// of its messages.
func TestRandomnessThatFails(t *testing.T) {
	c := newCrowd(t, 2, 3, func(c *Config) { c.EncryptHandshake, c.GREASE = true, true })
	c.commit(0, CommitOptions{})
	c.agree() // all ratchets are open
	g, cfg := c.members[0].group, c.members[0].cfg
	k := newPerson(t, 2, "new").keyPackage()
	info := must[[]byte](t)(g.GroupInfo(true, true))
	joiner := newPerson(t, 2, "joiner", func(c *Config) { c.GREASE = true })
	joiner.psks["k"] = []byte("key")
	prefix := []byte("prefix")
	for _, x := range []struct {
		name string
		cfg  *Config
		f    func() (bool, error)
	}{
		{"a commit", cfg, func() (bool, error) {
			ch, err := g.Commit(CommitOptions{Proposals: []Proposal{&Add{k}, &Remove{2}}})
			return ch == nil, err
		}},
		{"an update", cfg, func() (bool, error) {
			msg, err := g.ProposeUpdate(Identity{}, nil)
			if err == nil {
				g.DropPending()
			}
			return msg == nil, err
		}},
		{"data", cfg, func() (bool, error) {
			msg, err := g.Protect(prefix, []byte("data"), nil)
			return bytes.Equal(msg, prefix), err
		}},
		{"a group info", cfg, func() (bool, error) { msg, err := g.GroupInfo(true, true); return msg == nil, err }},
		{"a state", cfg, func() (bool, error) { kept(cfg); saved, err := g.SaveAll(); return saved == nil, err }},
		{"a pre-shared key", cfg, func() (bool, error) { p, err := g.NewPSK(nil); return p == nil, err }},
		{"a branch", newPerson(t, 2, "m0").cfg, nil},
		{"a key package", joiner.cfg, func() (bool, error) { k, err := joiner.cfg.NewKeyPackage(); return k == nil, err }},
		{"a group", joiner.cfg, func() (bool, error) { g, err := Create(joiner.cfg, nil); return g == nil, err }},
		{"an external commit", joiner.cfg, func() (bool, error) {
			g, msg, err := JoinExternal(joiner.cfg, info, ExternalOptions{PSKs: [][]byte{[]byte("k")}})
			return g == nil && msg == nil, err
		}},
		{"a proposal from outside", joiner.cfg, func() (bool, error) {
			msg, err := ProposeFromOutside(joiner.cfg, g.ID(), g.Epoch(), 0, &Remove{1})
			return msg == nil, err
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.f == nil {
				x.f = func() (bool, error) {
					n, ch, err := g.Branch(x.cfg, []byte("branch"), nil)
					return n == nil && ch == nil, err
				}
			}
			before := g.appendState(nil)
			starve(t, x.cfg, func() (bool, error) {
				nothing, err := x.f()
				return nothing && (err == nil || bytes.Equal(before, g.appendState(nil))), err
			})
		})
	}
}

// A commit that fails halfway gives no change, and what it held is wiped.
func TestCommitsThatFail(t *testing.T) {
	c := newCrowd(t, 1, 3)
	g := c.members[0].group
	lost := must[*PreSharedKey](t)(g.NewPSK([]byte("k")))
	unchanged(t, g, func() {
		ch, err := g.Commit(CommitOptions{Path: true, Proposals: []Proposal{lost}})
		if wantRefusal(t, err, Missing, "8.4: pre-shared key 6b is not here"); ch != nil {
			t.Errorf("a change beside an error: %+v", ch)
		}
	})
	c.commit(1, CommitOptions{})
	c.agree()

	var to *epoch
	halfway := func(p Proposal) (*Change, error) { // without the checks in front of it
		l := &proposalList{suite: g.suite, committer: Sender{Type: SenderMember}, all: []Committed{{Proposal: p}}}
		if err := l.apply(&g.now.context, g.now.tree, g.limits); err != nil {
			t.Fatal(err)
		}
		to = &epoch{suite: g.suite, tree: l.tree, own: g.now.own, keys: g.now.keys.clone(), signer: g.now.signer, context: g.now.context}
		ch := &Change{group: g, base: g.now, next: to}
		return ch, g.makeCommit(ch, l, CommitOptions{Path: true})
	}
	noKey := newPerson(t, 1, "new").forgePackage(func(k *KeyPackage, _ *LeafNode) { k.InitKey = make([]byte, 32) })
	_, err := halfway(&Add{noKey})
	wantRefusal(t, err, Invalid, "12.4.3.1: init_key of the client at leaf 3")
	var prepared keyring
	failing := *g.cfg
	failing.PSK = func(*PSKID) ([]byte, error) { // the path has been made
		prepared = maps.Clone(to.keys)
		return nil, nil
	}
	g.cfg = &failing
	_, err = halfway(lost)
	wantRefusal(t, err, Missing, "8.4: pre-shared key 6b is not here")
	g.cfg = c.members[0].cfg
	for n, k := range prepared {
		if k.Bytes() != nil {
			t.Errorf("private key of node %d is left", n)
		}
	}
	if len(prepared) < 2 {
		t.Errorf("%d fresh keys were there to be wiped", len(prepared))
	}
	c.agree()
}

// Changes, epochs, proposals and key packages hold keys of their own: dropping one of them takes no key from another.
func TestKeysHaveOneOwner(t *testing.T) {
	apply := func(ch *Change) {
		t.Helper()
		if err := ch.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cs := range []CipherSuite{1, 2, 4, 65100} {
		t.Run(cs.String(), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, cs, 4)
			c.commit(3, CommitOptions{})
			g := c.members[0].group
			c.tell(0, must[[]byte](t)(g.ProposeUpdate(Identity{}, nil)))
			commit := must[*Change](t)(c.members[1].group.Commit(CommitOptions{}))
			other := must[*Received](t)(g.Process(commit.Commit)).Change
			change := must[*Received](t)(g.Process(commit.Commit)).Change
			g.DropPending() // the change holds the update of ours
			other.Discard()
			apply(change)
			for _, i := range []int{2, 3} {
				apply(must[*Received](t)(c.members[i].group.Process(commit.Commit)).Change)
			}
			apply(commit)
			c.agree()
			c.commit(1, CommitOptions{})
			c.commit(0, CommitOptions{})
			c.agree()

			// A key package that a store still holds is another's than the group's that it led to.
			p := newPerson(t, cs, "joiner")
			k := p.keyPackage()
			kept := must[*PrivateKeyPackage](t)(p.cfg.KeyPackages.Get(must[[]byte](t)(k.Ref())))
			welcome := c.commit(0, CommitOptions{Proposals: []Proposal{&Add{k}}}).Welcomes[0]
			p.group = must[*Group](t)(Join(p.cfg, welcome, JoinOptions{}))
			if kept.leaf.Bytes() != nil {
				t.Error("the key package's copy of the leaf's key is left")
			}
			c.members = append(c.members, p)
			c.agree()
			c.commit(1, CommitOptions{})
			c.agree()
		})
	}
}

// Pre-shared keys belong to the application: what it gave is not wiped, and its names do not fill our errors.
func TestPreSharedKeysStayTheApplications(t *testing.T) {
	c := newCrowd(t, 1, 2)
	joiner := newPerson(t, 1, "joiner")
	key := []byte("the application's key")
	for _, p := range append(c.members, joiner) {
		p.cfg.PSK = func(*PSKID) ([]byte, error) { return key, nil }
	}
	g := c.members[0].group
	ch := c.commit(0, CommitOptions{Proposals: []Proposal{must[*PreSharedKey](t)(g.NewPSK([]byte("k"))), &Add{joiner.keyPackage()}}})
	must[*Group](t)(Join(joiner.cfg, ch.Welcomes[0], JoinOptions{}))
	c.propose(1, must[*PreSharedKey](t)(g.NewPSK([]byte("k"))))
	must[*Change](t)(g.Commit(CommitOptions{}))
	_, _, err := JoinExternal(newPerson(t, 1, "x", func(c *Config) { c.PSK = joiner.cfg.PSK }).cfg, must[[]byte](t)(g.GroupInfo(true, true)), ExternalOptions{PSKs: [][]byte{{1}}})
	if err != nil {
		t.Fatal(err)
	}
	if string(key) != "the application's key" {
		t.Errorf("the key is %q now", key)
	}
	for _, p := range c.members {
		p.cfg.PSK = func(*PSKID) ([]byte, error) { return nil, errors.New("none") }
	}
	// Nothing is no key: all would have it.
	for _, nothing := range [][]byte{nil, {}} {
		none := func(*PSKID) ([]byte, error) { return nothing, nil }
		empty := newPerson(t, 1, fmt.Sprintf("empty %v", nothing == nil))
		welcome := c.commit(0, CommitOptions{Proposals: []Proposal{&Add{empty.keyPackage()}}}).Welcomes[0]
		empty.group = must[*Group](t)(Join(empty.cfg, welcome, JoinOptions{}))
		f := c.forge(0, must[*Change](t)(g.Commit(CommitOptions{})))
		f.add(must[*PreSharedKey](t)(g.NewPSK([]byte("k"))))
		for _, p := range []*person{c.members[0], empty} {
			p.cfg.PSK = none
		}
		const want = "8.4: pre-shared key 6b is not here: Config.PSK returned nothing"
		_, err = g.Commit(CommitOptions{Proposals: []Proposal{must[*PreSharedKey](t)(g.NewPSK([]byte("k")))}})
		wantRefusal(t, err, Missing, want)
		_, err = empty.group.Process(f.sign())
		wantRefusal(t, err, Missing, want)
		joiner := newPerson(t, 1, "outside", func(c *Config) { c.PSK = none })
		_, _, err = JoinExternal(joiner.cfg, must[[]byte](t)(g.GroupInfo(true, true)), ExternalOptions{PSKs: [][]byte{[]byte("k")}})
		wantRefusal(t, err, Missing, want)
		w := c.forgeWelcome(joiner)
		w.secrets.psks, w.psks = []PSKID{{Type: PSKExternal, ID: []byte("k"), Nonce: make([]byte, 32)}}, [][]byte{nil}
		_, err = Join(joiner.cfg, w.seal(), JoinOptions{})
		wantRefusal(t, err, Missing, want)
	}
	long := bytes.Repeat([]byte("i"), 1000)
	for _, id := range []*PSKID{{Type: PSKExternal, ID: long}, {Type: PSKResumption, Usage: UsageApplication, GroupID: long}} {
		_, err = g.psk(id)
		if wantRefusal(t, err, Missing, "8.4: pre-shared key 69"); len(err.Error()) > 200 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

// A commit that comes before its proposals, or that is discarded, can be processed again, as a private message too; a
// proposal cannot.
func TestCommitsAreProcessedAgain(t *testing.T) {
	for _, private := range []bool{false, true} {
		t.Run(fmt.Sprintf("private %v", private), func(t *testing.T) {
			c := newCrowd(t, 1, 4, func(c *Config) { c.EncryptHandshake = private })
			a, b := c.members[0].group, c.members[1].group
			proposal := must[[]byte](t)(c.members[2].group.Propose(&Remove{3}, nil))
			must[*Received](t)(a.Process(proposal))
			commit := must[*Change](t)(a.Commit(CommitOptions{})).Commit
			unchanged(t, b, func() {
				_, err := b.Process(commit)
				wantRefusal(t, err, Missing, "12.4.2: commit refers to proposal")
			})
			must[*Received](t)(b.Process(proposal))
			if private {
				_, err := b.Process(proposal)
				wantRefusal(t, err, Replayed, "9.2: key of generation 0 is used up")
			}
			must[*Received](t)(b.Process(commit)).Change.Discard()
			r := must[*Received](t)(b.Process(commit))
			if err := r.Change.Apply(); err != nil {
				t.Fatal(err)
			}
			if len(b.Members()) != 3 {
				t.Errorf("%d members", len(b.Members()))
			}
			_, err := b.Process(commit)
			wantRefusal(t, err, PastEpoch, "12.4.2: commit of epoch")
		})
	}
}
