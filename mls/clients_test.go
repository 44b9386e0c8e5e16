package mls

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// subjects names clients by what stands before a colon in their credential: alice has alice:1, alice:2 and so on.
func subjects(c *Config) {
	c.Client = func(c Credential) (string, error) {
		name, _, _ := strings.Cut(string(c.Identity), ":")
		if name == "nobody" {
			return "", errNobody
		}
		return name, nil
	}
}

var errNobody = errors.New("no token")

// withoutClients lets a member commit or join without the rule, as a hostile one does, while f runs.
func (p *person) withoutClients(f func()) {
	before := p.cfg.Client
	p.cfg.Client = nil
	f()
	p.cfg.Client = before
}

// clientNames are those of all members.
func clientNames(g *Group) (names []string) {
	for _, m := range g.Members() {
		names = append(names, m.Node.Client())
	}
	return names
}

// No client is in a group twice (section 12.2), whoever says that it may be.
func TestClientsAreInAGroupOnce(t *testing.T) {
	add := func(name string) *Add { return &Add{newPerson(t, 1, name).keyPackage()} }
	for _, x := range []struct {
		name string
		o    CommitOptions
		want string // "": it is in order
	}{
		{"a new client", CommitOptions{Proposals: []Proposal{add("new:1")}}, ""},
		{"a new client twice", CommitOptions{Proposals: []Proposal{add("new:1"), add("new:2")}},
			"12.2: leaves 3 and 4 are both of client"},
		{"one that is there", CommitOptions{Proposals: []Proposal{add("m2:1")}}, "12.2: leaves 2 and 3 are both of client"},
		{"the committer", CommitOptions{Proposals: []Proposal{add("m0:1")}}, "12.2: leaves 0 and 3 are both of client"},
		{"one whose old leaf goes", CommitOptions{Proposals: []Proposal{add("m2:1"), &Remove{2}}}, ""},
		{"one whose old leaf goes, twice", CommitOptions{Proposals: []Proposal{add("m2:1"), add("m2:2"), &Remove{2}}},
			"12.2: leaves 2 and 3 are both of client"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCrowd(t, 1, 3, subjects)
			a, b := c.members[0], c.members[1].group
			var ch *Change
			a.withoutClients(func() { ch = must[*Change](t)(a.group.Commit(x.o)) })
			_, err := b.Process(ch.Commit)
			_, ours := b.Commit(CommitOptions{Proposals: x.o.Proposals})
			if x.want == "" {
				if err != nil || ours != nil {
					t.Errorf("followed: %v, made: %v", err, ours)
				}
				return
			}
			wantRefusal(t, err, Invalid, x.want)
			if x.name != "the committer" {
				wantRefusal(t, ours, Invalid, x.want)
			}
		})
	}
}

// Of proposals that wait those are committed that bring no client a second time.
func TestProposalsOfTheSameClient(t *testing.T) {
	c := newCrowd(t, 1, 3, subjects)
	for _, name := range []string{"new:1", "new:2", "m1:1", "other:1"} {
		c.propose(0, &Add{newPerson(t, 1, name).keyPackage()})
	}
	ch := c.commit(2, CommitOptions{})
	if len(ch.Added) != 2 {
		t.Errorf("%d are added", len(ch.Added))
	}
	if got, want := clientNames(c.members[1].group), []string{"m0", "m1", "m2", "new", "other"}; !slices.Equal(got, want) {
		t.Errorf("members are %q, want %q", got, want)
	}
}

// Who joins looks at who is there.
func TestJoinersSeeClientsOnce(t *testing.T) {
	c := newCrowd(t, 1, 3)
	c.add(0, newPerson(t, 1, "m1:1"))
	joiner := newPerson(t, 1, "joiner", subjects)
	var ch *Change
	c.members[0].withoutClients(func() {
		ch = must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{joiner.keyPackage()}}}))
	})
	const twice = "12.2: leaves 1 and 3 are both of client"
	_, err := Join(joiner.cfg, ch.Welcomes[0], JoinOptions{})
	wantRefusal(t, err, Invalid, twice)
	info := must[[]byte](t)(c.members[0].group.GroupInfo(true, true))
	_, _, err = JoinExternal(joiner.cfg, info, ExternalOptions{})
	wantRefusal(t, err, Invalid, twice)
}

// A leaf is replaced by one of the same client (sections 12.1.2, 12.4.2).
func TestClientsReplaceTheirOwnLeaf(t *testing.T) {
	other := Identity{Credential: BasicCredential([]byte("m2:1"))}
	same := Identity{Credential: BasicCredential([]byte("m1:1"))}
	const want = `12.1.2: leaf of client "m1" is replaced by one of client "m2"`
	c := newCrowd(t, 1, 4, subjects)
	m1 := c.members[1]
	_, err := m1.group.Commit(CommitOptions{Identity: other})
	wantRefusal(t, err, Invalid, want)
	_, err = m1.group.ProposeUpdate(other, nil)
	wantRefusal(t, err, Invalid, want)
	m1.withoutClients(func() {
		_, err := c.members[0].group.Process(must[*Change](t)(m1.group.Commit(CommitOptions{Identity: other})).Commit)
		wantRefusal(t, err, Invalid, want)
		update := must[[]byte](t)(m1.group.ProposeUpdate(other, nil))
		for _, p := range []*person{c.members[0], c.members[3]} { // it is judged when it is committed
			must[*Received](t)(p.group.Process(update))
		}
	})
	ch := must[*Change](t)(c.members[0].group.Commit(CommitOptions{}))
	if ch.Discard(); len(ch.Proposals) > 0 {
		t.Errorf("committed %+v", ch.Proposals)
	}
	c.members[0].withoutClients(func() {
		ch := must[*Change](t)(c.members[0].group.Commit(CommitOptions{}))
		_, err := c.members[3].group.Process(ch.Commit)
		wantRefusal(t, err, Invalid, want)
		ch.Discard()
	})
	for _, p := range c.members {
		p.group.DropPending()
	}
	c.commit(1, CommitOptions{Identity: same})
	c.tell(1, must[[]byte](t)(m1.group.ProposeUpdate(Identity{Credential: BasicCredential([]byte("m1:2"))}, nil)))
	c.commit(0, CommitOptions{})
	c.agree()
	for _, p := range c.members {
		if got := clientNames(p.group); !slices.Equal(got, []string{"m0", "m1", "m2", "m3"}) {
			t.Errorf("%s sees %q", p.name, got)
		}
	}
	if id := m1.group.Identity(); string(id.Credential.Identity) != "m1:2" || id.Key != m1.cfg.Key {
		t.Errorf("m1 is %s in the group", id.Credential.Identity)
	}
}

// Who joins by an external commit takes out no other client, whatever Config.Credentials thinks of it (section
// 12.4.3.2).
func TestExternalCommitsTakeOutTheJoiner(t *testing.T) {
	t.Parallel()
	const another = "12.4.3.2: external commit removes another client than the one that joins"
	leaf := LeafIndex(2)
	for _, x := range []struct {
		name   string
		group  func(*Config)
		joiner string
		resync *LeafIndex
		want   string // "": it is in order
	}{
		{"another client, and none are named", func(*Config) {}, "m1:1", &leaf, another},
		{"another credential, and no clients are named", func(*Config) {}, "m2:1", &leaf, another},
		{"the same credential, and no clients are named", func(*Config) {}, "m2", &leaf, ""},
		{"another client", subjects, "joiner:1", &leaf, another},
		{"another credential of the client", subjects, "m2:1", &leaf, ""},
		{"a client that stays", subjects, "m2:1", nil, `12.2: client "m2", which joins, is at leaf 2 already`},
		{"a new client", subjects, "joiner:1", nil, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCrowd(t, 1, 4, x.group)
			info := must[[]byte](t)(c.members[0].group.GroupInfo(true, true))
			fair := newPerson(t, 1, x.joiner, x.group, func(c *Config) { c.Rand = stream("the joiner's") })
			fair.cfg.Key = must[*SigningKey](t)(GenerateSigningKey(1, fair.cfg.Rand))
			g, msg, err := JoinExternal(fair.cfg, info, ExternalOptions{Resync: x.resync})
			if x.want != "" {
				wantRefusal(t, err, Invalid, x.want)
				fair.cfg.Client = func(Credential) (string, error) { return fmt.Sprint(fair.cfg.Rand.Read(make([]byte, 1))), nil }
				msg = c.hostileJoin(fair, info, x.resync)
			} else if err != nil {
				t.Fatal(err)
			}
			for _, p := range c.members {
				if x.want != "" {
					unchanged(t, p.group, func() {
						_, err := p.group.Process(msg)
						wantRefusal(t, err, Invalid, x.want)
					})
					continue
				}
				if err := must[*Received](t)(p.group.Process(msg)).Change.Apply(); err != nil {
					t.Fatal(err)
				}
			}
			if x.want == "" {
				fair.group = g
				if x.resync != nil {
					c.members = slices.Delete(c.members, 2, 3)
				}
				c.members = append(c.members, fair)
				c.agree()
			}
		})
	}
}

// hostileJoin is the commit of a joiner who obeys no rule about clients: made in the name of the member it takes out,
// its leaf is changed and signed anew.
func (c *crowd) hostileJoin(p *person, info []byte, resync *LeafIndex) []byte {
	c.t.Helper()
	credential := p.cfg.Credential
	p.cfg.Client = nil
	if resync != nil {
		p.cfg.Credential = c.members[0].group.Member(*resync).Credential
	}
	f := c.forgeJoin(p, ExternalOptions{Resync: resync})
	f.leaf(func(l *LeafNode) { l.Credential = credential })
	return f.sign()
}

// The application reads a credential once, when its leaf comes, and finds the client in each message from it.
func TestClientsAreAskedForOnce(t *testing.T) {
	asked := 0
	counted := func(c *Config) {
		subjects(c)
		ask := c.Client
		c.Client = func(c Credential) (string, error) { asked++; return ask(c) }
	}
	c := newCrowd(t, 1, 3, kept)
	p := newPerson(t, 1, "p:1", kept, counted)
	c.add(0, p)
	if asked != 4 {
		t.Errorf("asked %d times for 4 members", asked)
	}
	read := func() {
		t.Helper()
		r := must[*Received](t)(p.group.Process(must[[]byte](t)(c.members[2].group.Protect(nil, []byte("x"), nil))))
		if r.Leaf.Client() != "m2" {
			t.Errorf("a message is from %q", r.Leaf.Client())
		}
	}
	asked = 0
	read()
	if asked != 0 {
		t.Errorf("asked %d times for a message", asked)
	}
	if at, ok := p.group.FindClient("m1"); !ok || at != 1 {
		t.Errorf("m1 is at %d, %v", at, ok)
	}
	if _, ok := p.group.FindClient(""); ok {
		t.Error("nobody is a member")
	}
	p.save()
	asked = 0
	p.group = p.restored()
	read()
	if asked != 5 { // and for its own credential
		t.Errorf("asked %d times for 4 members after a restart", asked)
	}
	ch := c.commit(0, CommitOptions{Path: true})
	if ch.Committer.After.Client() != "" || p.group.Member(0).Client() != "m0" {
		t.Errorf("the committer is %q and %q", ch.Committer.After.Client(), p.group.Member(0).Client())
	}
	ch = must[*Change](t)(c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Remove{2}}}))
	r := must[*Received](t)(p.group.Process(ch.Commit))
	if got := r.Change.Removed[0].Before.Client(); got != "m2" {
		t.Errorf("%q is removed", got)
	}
}

// A credential that names nobody is refused wherever it comes.
func TestCredentialsOfNobody(t *testing.T) {
	const want = "5.3.1: credential of basic says no client"
	c := newCrowd(t, 1, 2, subjects)
	add := CommitOptions{Proposals: []Proposal{&Add{newPerson(t, 1, "nobody:1").keyPackage()}}}
	_, err := c.members[0].group.Commit(add)
	if wantRefusal(t, err, Refused, want); !errors.Is(err, errNobody) {
		t.Errorf("the cause is lost: %v", err)
	}
	_, err = Create(newPerson(t, 1, "nobody:1", subjects).cfg, nil)
	wantRefusal(t, err, Refused, want)
	empty := newPerson(t, 1, "x", func(c *Config) { c.Client = func(Credential) (string, error) { return "", nil } })
	_, err = Create(empty.cfg, nil)
	wantRefusal(t, err, Refused, want)
}

// Two members of a group, whose StateKey is the same and names both alike, are not restored from each other's parts.
func TestStatesOfOtherClients(t *testing.T) {
	c := newCrowd(t, 1, 2, kept, subjects)
	a, b := c.members[0], c.members[1]
	a.save()
	b.save()
	_, err := Restore(a.cfg, b.shelf.all())
	wantRefusal(t, err, WrongGroup, `: state is that of client "m1", this is "m0"`)
	a.cfg = a.cfg.WithIdentity(Identity{Credential: BasicCredential([]byte("m0:later"))})
	a.restored()
}

// After a restart clients have their names as before: those whose late messages come when they are gone, and those whom
// a commit on its way concerns.
func TestNamesAfterARestart(t *testing.T) {
	c := newCrowd(t, 1, 4, kept, subjects)
	a := c.members[0]
	late := must[[]byte](t)(c.members[2].group.Protect(nil, []byte("late"), nil))
	c.commit(1, CommitOptions{Proposals: []Proposal{&Remove{2}}})
	a.restart()
	if r := must[*Received](t)(a.group.Process(late)); r.Leaf.Client() != "m2" {
		t.Errorf("a late message is of %q", r.Leaf.Client())
	}
	add := &Add{newPerson(t, 1, "new", subjects).keyPackage()}
	must[*Change](t)(a.group.Commit(CommitOptions{Proposals: []Proposal{add, &Remove{3}}}))
	a.restart()
	ch := a.group.Outstanding()[0]
	if len(ch.Added) != 1 || len(ch.Removed) != 1 || len(ch.Updated) != 1 {
		t.Fatalf("%+v", ch)
	}
	if got := []string{ch.Added[0].After.Client(), ch.Removed[0].Before.Client(), ch.Updated[0].After.Client(),
		ch.Committer.Before.Client()}; !slices.Equal(got, []string{"new", "m3", "m0", "m0"}) {
		t.Errorf("the commit on its way concerns %q", got)
	}
	if err := ch.Apply(); err != nil {
		t.Fatal(err)
	}
	if got := clientNames(a.group); !slices.Equal(got, []string{"m0", "m1", "new"}) {
		t.Errorf("members are %q", got)
	}
	a.cfg.Client = nil
	nameless := newCrowd(t, 1, 2).members[0].group
	if i, ok := nameless.FindClient(""); ok {
		t.Errorf("leaf %d is of a client without a name", i)
	}
}

// One callback is asked about proposals that arrive, and about the lists of commits; it sees who is in the group.
func TestProposedSeesTheGroup(t *testing.T) {
	var seen []string
	watch := func(c *Config) {
		subjects(c)
		c.Proposals = func(p *Proposed) error {
			r := p.Roster
			s := fmt.Sprintf("%v of epoch %d, %d members, by %s:", p.Stage, r.Epoch, len(r.Members()), p.Committer.Type)
			for _, x := range p.List {
				s += fmt.Sprintf(" %v of %s, waited %v", x.Proposal.Type(), r.Member(x.Sender.Leaf).Client(), x.ByReference)
			}
			seen = append(seen, s)
			return nil
		}
	}
	c := newCrowd(t, 1, 3, watch)
	seen = nil
	c.members[2].cfg.Proposals = nil
	c.propose(1, &Remove{2})
	c.commit(0, CommitOptions{SkipPending: true, Proposals: []Proposal{&Add{newPerson(t, 1, "new").keyPackage()}}})
	const arrival = "arrival of epoch 1, 3 members, by sender type 0x0000: remove of m1, waited true"
	want := []string{arrival, arrival, "commit of epoch 1, 3 members, by member: add of m0, waited false",
		"follow of epoch 1, 3 members, by member: add of m0, waited false"}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// Who judges credentials sees the group and what its word is for.
func TestPresentedSeesTheGroup(t *testing.T) {
	seen := map[string]bool{}
	watch := func(c *Config) {
		c.Credentials = func(p *Presented) error {
			r := p.Roster
			s := fmt.Sprintf("%s, %v, %d members", p.Credential.Identity, p.Stage, len(r.Members()))
			seen[fmt.Sprintf("%s of %s in epoch %d", s, r.GroupID, r.Epoch)] = true
			return nil
		}
	}
	c := newCrowd(t, 1, 2, watch)
	c.add(0, newPerson(t, 1, "m2", watch))
	for _, want := range []string{"m2, commit, 2 members of the group in epoch 1",
		"m2, follow, 2 members of the group in epoch 1", "m0, join, 3 members of the group in epoch 2"} {
		if !seen[want] {
			t.Errorf("%q was not seen, but %v", want, seen)
		}
	}
}

// Groups share a Config while the client gets another key in one of them: nothing of the Config changes, and key
// packages are made with who it is there.
func TestIdentitiesOfGroupsThatShareAConfig(t *testing.T) {
	p := newPerson(t, 1, "p", subjects, kept, func(c *Config) { c.Rand = nil })
	groups := []*Group{must[*Group](t)(Create(p.cfg, []byte("a"))), must[*Group](t)(Create(p.cfg, []byte("b")))}
	var wait sync.WaitGroup
	for i, g := range groups {
		wait.Go(func() {
			for k := range 10 {
				id := Identity{BasicCredential(fmt.Appendf(nil, "p:%d/%d", i, k)), must[*SigningKey](t)(GenerateSigningKey(1, nil))}
				if err := must[*Change](t)(g.Commit(CommitOptions{Identity: id})).Apply(); err != nil {
					t.Error(err)
				}
				kp := must[*KeyPackage](t)(g.cfg.WithIdentity(g.Identity()).NewKeyPackage())
				if !kp.Leaf.Credential.Equal(id.Credential) || !bytes.Equal(kp.Leaf.SignatureKey, id.Key.Public()) {
					t.Errorf("key package of %s", kp.Leaf.Credential.Identity)
				}
				must[*Saved](t)(g.Save())
			}
		})
	}
	wait.Wait()
	for i, g := range groups {
		id := g.Identity()
		g = must[*Group](t)(Restore(p.cfg, partsOf(must[*Saved](t)(g.SaveAll()))))
		if got := g.Identity(); !got.Credential.Equal(id.Credential) || !bytes.Equal(got.Key.Public(), id.Key.Public()) ||
			string(got.Credential.Identity) != fmt.Sprintf("p:%d/9", i) {
			t.Errorf("restored as %s", got.Credential.Identity)
		}
	}
}
