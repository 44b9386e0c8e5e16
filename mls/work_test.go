package mls

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// Work that is shared out ends soon after an error, and the first error by number is told.
func TestSharedWorkEndsWithAnError(t *testing.T) {
	t.Parallel()
	const n = 1 << 20
	first := errors.New("number 3")
	for range 20 {
		var done atomic.Int64
		err := inParallel(n, 4, func(i int) error {
			done.Add(1)
			switch {
			case i == 3:
				return first
			case i > 3:
				return fmt.Errorf("number %d", i)
			}
			return nil
		})
		if !errors.Is(err, first) {
			t.Fatalf("got %v", err)
		}
		if done.Load() > n/2 {
			t.Fatalf("%d of %d were done after an error", done.Load(), n)
		}
	}
	if err := inParallel(0, 4, func(int) error { return errors.New("nothing to do") }); err != nil {
		t.Error(err)
	}
}

// askedStore counts what is asked of it.
type askedStore struct {
	KeyPackageStore
	asked int
}

func (s *askedStore) Get(ref []byte) (*PrivateKeyPackage, error) {
	s.asked++
	return s.KeyPackageStore.Get(ref)
}

// A welcome makes a store search for no more key packages than a group may have members, and for each once.
func TestWelcomesAskTheStoreLittle(t *testing.T) {
	p := newPerson(t, 1, "p", func(c *Config) { c.Limits.Members = 100 })
	store := &askedStore{KeyPackageStore: p.cfg.KeyPackages}
	p.cfg.KeyPackages = store
	ask := func(refs ...[]byte) error {
		store.asked = 0
		w := welcome{suite: 1}
		for _, r := range refs {
			w.secrets = append(w.secrets, welcomeSecrets{newMember: r})
		}
		_, err := Join(p.cfg, w.append(appendMessageHead(nil, WireWelcome)), JoinOptions{})
		return err
	}
	ref := func(i int) []byte { return append(make([]byte, 30), byte(i>>8), byte(i)) }
	var many [][]byte
	for i := range 101 {
		many = append(many, ref(i))
	}
	wantRefusal(t, ask(many...), Limit, "12.4.3.1: welcome for 101 new members, a group may have 100")
	if store.asked != 0 {
		t.Errorf("asked %d times", store.asked)
	}
	const none = "12.4.3.1: welcome is for none of this client's key packages"
	wantRefusal(t, ask(many[:100]...), Missing, none)
	if store.asked != 100 {
		t.Errorf("asked %d times for 100", store.asked)
	}
	wantRefusal(t, ask(ref(1), ref(2), ref(1), nil, ref(2)[:31], append(ref(3), 0)), Missing, none)
	if store.asked != 2 {
		t.Errorf("asked %d times for two that are references", store.asked)
	}
}

// A member has a quarter of the room for proposals that wait, or what it was given: others can still propose.
func TestRoomOfAMember(t *testing.T) {
	c := newCrowd(t, 1, 3, func(c *Config) { c.Limits.Proposals, c.Limits.PerMember = 8, 3 })
	g := c.members[0].group
	propose := func(i int) error {
		m := c.members[i].group
		_, err := g.Process(must[[]byte](t)(m.ProposeUpdate(Identity{}, nil)))
		m.DropPending()
		return err
	}
	for range 3 {
		if err := propose(1); err != nil {
			t.Fatal(err)
		}
	}
	wantRefusal(t, propose(1), Limit, ": 3 proposals of member 1 wait already")
	if err := propose(2); err != nil {
		t.Error(err)
	}
	for limits, want := range map[Limits]int{{}: 256, {Proposals: 8}: 8, {Proposals: 40}: 16, {Proposals: 400}: 100, {Proposals: 400, PerMember: 7}: 7} {
		if got := limits.filled().PerMember; got != want {
			t.Errorf("%+v: room for %d, want %d", limits, got, want)
		}
	}
}

// What an outsider can make a member do before anybody has vouched for it is little: who it is comes before the work
// with the tree.
func TestJoinersAreJudgedFirst(t *testing.T) {
	c := newCrowd(t, 1, 5)
	f := c.forgeJoin(newPerson(t, 1, "stranger"), ExternalOptions{})
	f.made.path.nodes = f.made.path.nodes[:1] // for which the tree must be looked at
	victim := c.members[1]
	_, err := victim.group.Process(f.sign())
	wantRefusal(t, err, Invalid, "7.5: update path has 1 nodes")
	victim.cfg.Credentials = func(p *Presented) error {
		if p.Place != PlaceExternal || string(p.Credential.Identity) != "stranger" {
			t.Errorf("asked about %+v", p)
		}
		return errors.New("unknown")
	}
	_, err = victim.group.Process(f.sign())
	wantRefusal(t, err, Refused, "5.3.1: credential of basic was refused")
}

// Of several things that are wrong with a welcome, the one that costs least to see is told, and nothing dearer is done:
// the confirmation tag before the tree, the hash of the tree before what is in it, signatures and credentials last.
func TestWelcomesAreRefusedForWhatCostsLeast(t *testing.T) {
	unsigned := func(f *forgedWelcome) {
		l := newPerson(t, 1, "unsigned").keyPackage().Leaf
		l = copyLeaf(l)
		l.Signature = make([]byte, 64)
		l.raw, l.unsigned = nil, len(l.appendUnsigned(nil))
		l.raw = l.append(nil)
		f.tree.add(l)
	}
	twice := func(f *forgedWelcome) { f.tree.add(f.tree.leaf(1)) }
	for _, x := range []struct {
		name  string
		wrong []func(*forgedWelcome)
		kind  Kind
		want  string
	}{
		{"tag, hash and signature", []func(*forgedWelcome){unsigned, (*forgedWelcome).retree,
			func(f *forgedWelcome) { f.context.treeHash = make([]byte, 32); f.tag = make([]byte, 32) }},
			BadSignature, "12.4.3.1: confirmation tag of the group info is wrong"},
		{"hash, keys and signature", []func(*forgedWelcome){unsigned, twice, (*forgedWelcome).retree,
			func(f *forgedWelcome) { f.context.treeHash = make([]byte, 32) }},
			Invalid, "12.4.3.1: tree hash is not that of the group info"},
		{"keys and signature", []func(*forgedWelcome){unsigned, twice, (*forgedWelcome).retree},
			Invalid, "12.4.3.1: have the same encryption key"},
		{"signature", []func(*forgedWelcome){unsigned, (*forgedWelcome).retree},
			BadSignature, "7.3: signature of a leaf node does not verify"},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := newPerson(t, 1, "joiner", func(c *Config) {
				c.Credentials = func(*Presented) error { t.Error("asked about a credential"); return nil }
			})
			f := newCrowd(t, 1, 2).forgeWelcome(p)
			for _, wrong := range x.wrong {
				wrong(f)
			}
			_, err := Join(p.cfg, f.seal(), JoinOptions{})
			wantRefusal(t, err, x.kind, x.want)
		})
	}
}

// waitingAdds lets n proposals wait at member 0, and gives what a commit would hold by value instead.
func waitingAdds(t testing.TB, n int) (g *Group, byValue []Proposal, asked *int) {
	t.Helper()
	c := newCrowd(t, 1, 5, plain)
	asked = new(int)
	g = c.members[0].group
	g.limits.PerMember = n
	for i := range n {
		p := newPerson(t, 1, fmt.Sprint("new ", i), plain)
		k := must[*KeyPackage](t)(p.cfg.NewKeyPackage())
		byValue = append(byValue, &Add{k})
		from := c.members[1+i%4].group
		must[*Received](t)(g.Process(say(t, from, from.now.signer, Sender{Type: SenderMember, Leaf: from.Own()}, &Add{k})))
	}
	g.cfg.Credentials = func(*Presented) error { *asked++; return nil }
	return g, byValue, asked
}

// However many proposals wait, each credential is judged once a commit, whether all are chosen or some do not fit.
func TestCommitsAskOncePerProposal(t *testing.T) {
	t.Parallel()
	const n = 200
	g, _, asked := waitingAdds(t, n)
	ch := must[*Change](t)(g.Commit(CommitOptions{}))
	if len(ch.Proposals) != n || *asked != n {
		t.Errorf("%d proposals, %d credentials judged", len(ch.Proposals), *asked)
	}
	ch.Discard()
	*asked = 0
	g.limits.Members = 105 // 100 of them have room
	ch = must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{&Remove{4}}}))
	if len(ch.Proposals) != 102 || *asked != n || ch.Proposals[101].Proposal.Type() != ProposalRemove ||
		!slices.Equal(leavesOf(ch.Removed), []LeafIndex{4}) {
		t.Errorf("%d proposals, %d credentials judged", len(ch.Proposals), *asked)
	}
}

// What was found in order when it arrived is not verified again after a restart, by none of the lists that a commit
// tries: of many adds of which one fits that would be two signatures each, a thousand times.
func TestWaitingProposalsStaySound(t *testing.T) {
	c := newCrowd(t, 1, 3, kept)
	a := c.members[0]
	c.propose(1, &Add{newPerson(t, 1, "new").keyPackage()})
	a.save() // the next one is in a message part
	c.propose(1, &Remove{2})
	for _, p := range [][]pending{a.group.proposals, func() []pending { a.restart(); return a.group.proposals }()} {
		if len(p) != 2 || !p[0].sound || !p[1].sound {
			t.Errorf("%d proposals wait, %+v", len(p), p)
		}
	}
	for _, p := range a.group.proposals { // who looked at it again would find it wrong
		if add, ok := p.Proposal.(*Add); ok {
			add.KeyPackage.Signature = []byte("none")
		}
	}
	if ch := must[*Change](t)(a.group.Commit(CommitOptions{})); len(ch.Proposals) != 2 {
		t.Errorf("%d proposals are committed", len(ch.Proposals))
	}
}

// Updates each of which needs the next one, since it takes its signature key over, and an add that fits nowhere: what a
// commit tries does not grow with the square of them.
func TestChainsOfUpdates(t *testing.T) {
	t.Parallel()
	for _, n := range []int{6, 40} {
		c := newCrowd(t, 1, n+2)
		g := c.members[0].group
		for i := 1; i <= n; i++ {
			key := must[*SigningKey](t)(GenerateSigningKey(1, stream("the last")))
			if i < n {
				key = c.members[i+1].cfg.Key
			}
			must[*Received](t)(g.Process(must[[]byte](t)(c.members[i].group.ProposeUpdate(Identity{Key: key}, nil))))
		}
		k := newPerson(t, 1, "bad").forgePackage(func(_ *KeyPackage, l *LeafNode) { l.EncryptionKey = g.Member(0).EncryptionKey })
		from := c.members[n+1].group
		must[*Received](t)(g.Process(say(t, from, from.now.signer, Sender{Type: SenderMember, Leaf: from.Own()}, &Add{k})))
		x := choice{group: g, committer: Sender{Type: SenderMember, Leaf: g.Own()}, waiting: g.eligible(nil)}
		l := must[*proposalList](t)(x.list())
		if len(x.waiting) != n+1 || x.tried > 2*maxTries(n+1) || len(l.all) == 0 || n < 10 && len(l.all) != n {
			t.Errorf("%d lists of %d proposals were tried, and %d are chosen", x.tried, len(x.waiting), len(l.all))
		}
		must[*Change](t)(g.Commit(CommitOptions{}))
	}
}

// Long lists of capabilities are compared once, and not each with each: a member can list, require and propose all
// numbers that there are.
func TestLongListsOfCapabilities(t *testing.T) {
	t.Parallel()
	var all []uint16
	for i := 1 << 8; i < 1<<16; i++ {
		if v := uint16(i); !isGREASE(v) {
			all = append(all, v)
		}
	}
	l := &LeafNode{}
	var q RequiredCapabilities
	list := &proposalList{}
	for _, v := range all {
		l.Capabilities.Extensions = append(l.Capabilities.Extensions, ExtensionType(v))
		l.Capabilities.Proposals = append(l.Capabilities.Proposals, ProposalType(v))
		l.Capabilities.Credentials = append(l.Capabilities.Credentials, CredentialType(v))
		list.all = append(list.all, Committed{Proposal: &UnknownProposal{ProposalType: ProposalType(v)}})
	}
	slices.Reverse(l.Capabilities.Proposals)
	q = RequiredCapabilities{l.Capabilities.Extensions, slices.Clone(l.Capabilities.Proposals), l.Capabilities.Credentials}
	slices.Reverse(q.Proposals)
	e := Extensions{}
	for i := range maxExtensions {
		e = append(e, Extension{ExtensionType(all[len(all)-1-i]), nil})
	}
	senders := make([]ExternalSender, maxSenders)
	for i := range senders {
		senders[i].Credential.Type = CredentialType(all[len(all)-1-i])
	}
	members := &tree{nodes: []treeNode{{leaf: l}}}
	read := quickest(func() { requiredCapabilities(Extensions{q.Extension()}) })
	for name, f := range map[string]func() error{
		"required":            func() error { return checkLeafRequired(l, q) },
		"extensions":          func() error { return checkGroupExtensions(l, e) },
		"extensions of leafs": func() error { return checkLeafExtensions(&LeafNode{Capabilities: l.Capabilities, Extensions: e}) },
		"external senders":    func() error { return checkLeafSenders(l, senders) },
		"proposals":           func() error { return list.checkSupported(members) },
	} {
		var err error
		if d := quickest(func() { err = f() }); err != nil || d > 60*read {
			t.Errorf("%s: %v; %v, reading such lists takes %v", name, err, d, read)
		}
	}
	for i, c := range []struct {
		want, have []uint16
		first      uint16
	}{
		{all, all, 0}, {all, all[1:], all[0]}, {all, all[:len(all)-1], all[len(all)-1]}, {[]uint16{7}, all, 7}, {all[:3], all[1:3], all[0]}, {nil, nil, 0}, {[]uint16{9, 8}, nil, 9},
		{[]uint16{0}, []uint16{1}, 0}, {append(slices.Clone(all), 64), all, 64},
	} {
		v, is := missing(c.want, c.have)
		if lacks := !slices.Equal(c.want, c.have); v != c.first || is != lacks {
			t.Errorf("%d: %d %v", i, v, is)
		}
	}
}

// quickest is the shortest of some times that f takes: what else the machine does lengthens the others.
func quickest(f func()) time.Duration {
	best := time.Duration(1 << 62)
	for range 20 {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	return best
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Who may propose from outside, and whether the members of one group are in another, is found out by comparing each
// once.
func TestWhoIsWhomIsFoundOnce(t *testing.T) {
	key := newPerson(t, 1, "k").cfg.Key.Public()
	list := func(last byte) Extensions {
		var all []ExternalSender
		for i := range 256 {
			id := make([]byte, 1<<10)
			id[1000], id[1001] = byte(i), last
			all = append(all, ExternalSender{key, BasicCredential(id)})
		}
		return Extensions{ExternalSenders(all...)}
	}
	cfg := newPerson(t, 1, "p").cfg
	asked := 0
	cfg.Credentials = func(*Presented) error { asked++; return nil }
	now, before := list(1), list(2)
	if n := allocated(func() {
		if err := cfg.judgeSenders(StageFollow, Roster{}, now, before); err != nil {
			t.Error(err)
		}
	}); n > 8<<20 || asked != 256 {
		t.Errorf("%d bytes were allocated to compare 256 senders with 256, %d were judged", n, asked)
	}
	asked = 0
	if err := cfg.judgeSenders(StageFollow, Roster{}, now, now); err != nil || asked != 0 {
		t.Errorf("%v, %d were judged that stay", err, asked)
	}

	group := func(from, n int) *tree {
		var all *tree
		for i := range n {
			l := &LeafNode{Credential: BasicCredential([]byte(fmt.Sprint("identity ", from+i)))}
			if all == nil {
				all = newTree(suiteOf(t, 1), l)
			} else {
				all.add(l)
			}
		}
		return all
	}
	const n = 512
	if bytes := allocated(func() {
		if err := allIn(group(0, n), group(0, n), new(Config), ""); err != nil {
			t.Error(err)
		}
	}); bytes > 4<<20 {
		t.Errorf("%d bytes were allocated to compare %d members", bytes, n)
	}
	calls := 0
	named := &Config{Client: func(c Credential) (string, error) { calls++; return string(c.Identity), nil }}
	if err := allIn(group(1, n-1), group(0, n), named, ""); err != nil || calls > 2*n {
		t.Errorf("%v, %d credentials of %d members were read", err, calls, n)
	}
	for _, f := range []*Config{new(Config), named} {
		wantRefusal(t, allIn(group(0, 4), group(1, 4), f, "none"), Invalid, "12.4.3.1: none: leaf 0")
		wantRefusal(t, allIn(group(1, 4), group(0, 4), f, "none"), Invalid, "12.4.3.1: none: leaf 3")
	}
}
