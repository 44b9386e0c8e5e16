package mls

import (
	"bytes"
	"fmt"
	"testing"
)

var testSuites = []CipherSuite{X25519AES128SHA256Ed25519, P256AES128SHA256P256, X25519ChaCha20SHA256Ed25519, X448AES256SHA512Ed448,
	P521AES256SHA512P521, X448ChaCha20SHA512Ed448, P384AES256SHA384P384, MLKEM768X25519AES128Ed25519}

// The life of a group, in every suite, with handshakes in both wire formats.
func TestLifeOfAGroup(t *testing.T) {
	for i, cs := range testSuites {
		if !long && (cs == P521AES256SHA512P521 || cs == X448ChaCha20SHA512Ed448) { // X448 and a curve without assembly are among the others
			continue
		}
		for _, encrypted := range []bool{false, true} {
			if i > 0 && encrypted == (i%2 == 0) { // both with one suite, then by turns
				continue
			}
			t.Run(fmt.Sprintf("%v, encrypted %v", cs, encrypted), func(t *testing.T) {
				t.Parallel()
				c := newCrowd(t, cs, 3, func(c *Config) { c.EncryptHandshake, c.Padding = encrypted, PadStep })
				c.commit(1, CommitOptions{})
				c.agree()
				c.add(2, newPerson(t, cs, "late"))
				c.commit(3, CommitOptions{})
				c.agree()
				c.tell(1, must[[]byte](t)(c.members[1].group.ProposeUpdate(Identity{}, nil)))
				c.commit(0, CommitOptions{})
				c.agree()
				gone := c.members[1]
				ch := c.commit(2, CommitOptions{Proposals: []Proposal{&Remove{gone.group.Own()}}})
				if len(ch.Removed) != 1 || gone.group.Active() || len(c.members) != 3 {
					t.Errorf("removed %v", ch.Removed)
				}
				const no = "12.4.2: this member is no longer in the group"
				_, err := gone.group.Protect(nil, []byte("x"), nil)
				wantRefusal(t, err, Removed, no)
				_, err = gone.group.Process(ch.Commit)
				wantRefusal(t, err, Removed, no)
				_, err = gone.group.Commit(CommitOptions{})
				wantRefusal(t, err, Removed, no)
				_, err = gone.group.Propose(&Remove{0}, nil)
				wantRefusal(t, err, Removed, no)
				_, err = gone.group.ProposeUpdate(Identity{}, nil)
				wantRefusal(t, err, Removed, no)
				_, err = gone.group.GroupInfo(true, true)
				wantRefusal(t, err, Removed, no)
				_, err = gone.group.Export("label", nil, 1)
				wantRefusal(t, err, Removed, no)
				_, _, err = gone.group.Branch(gone.cfg, nil, nil)
				wantRefusal(t, err, Removed, no)
				c.agree()
				joiners := []*person{newPerson(t, cs, "again")}
				if long || i == 0 { // where signatures are dear, one is enough
					joiners = append(joiners, newPerson(t, cs, "more"), newPerson(t, cs, "and more"))
				}
				c.add(0, joiners...)
				c.commit(len(c.members)-1, CommitOptions{})
				c.agree()
			})
		}
	}
}

// Values that mean nothing disturb nobody (section 13.5).
func TestGREASE(t *testing.T) {
	c := newCrowd(t, 1, 3, func(c *Config) { c.GREASE = true })
	c.add(1, newPerson(t, 1, "plain"))
	c.commit(3, CommitOptions{})
	c.agree()
	l := c.members[0].group.Member(1)
	if n := len(l.Capabilities.Extensions); n != 1 || l.Capabilities.Extensions[0]&0x0f0f != 0x0a0a {
		t.Errorf("capabilities %+v", l.Capabilities)
	}
	m := parse(t, must[[]byte](t)(c.members[0].group.GroupInfo(false, false)))
	if e := m.groupInfo.extensions; len(e) != 1 || e[0].Type&0x0f0f != 0x0a0a {
		t.Errorf("extensions %v", e)
	}
}

func TestGroupOfOne(t *testing.T) {
	c := newCrowd(t, 1, 1)
	g := c.members[0].group
	for want := uint64(1); want < 4; want++ {
		c.commit(0, CommitOptions{})
		if g.Epoch() != want {
			t.Fatalf("epoch %d, want %d", g.Epoch(), want)
		}
	}
	if m := g.Members(); len(m) != 1 || m[0].Leaf != 0 || string(m[0].Node.Credential.Identity) != "m0" {
		t.Errorf("members %+v", m)
	}
}

func TestCreateMakesAnID(t *testing.T) {
	a := must[*Group](t)(Create(newPerson(t, 1, "a").cfg, nil))
	b := must[*Group](t)(Create(newPerson(t, 1, "b").cfg, nil))
	if len(a.ID()) != 32 || bytes.Equal(a.ID(), b.ID()) {
		t.Errorf("ids %x, %x", a.ID(), b.ID())
	}
}

// A group that grows and shrinks through all sizes: trees are extended and truncated, blanks filled from the left.
func TestGrowAndShrink(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, 1)
	for i := range 12 {
		c.add(i%len(c.members), newPerson(t, 1, fmt.Sprintf("n%d", i)))
		if i%3 == 0 {
			c.commit(len(c.members)-1, CommitOptions{})
			c.agree()
		}
	}
	for len(c.members) > 1 {
		last := c.members[len(c.members)-1].group.Own()
		c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{last}}})
		c.agree()
		if size := c.members[0].group.now.tree.size(); int(size) >= 2*len(c.members) && size > 1 {
			t.Fatalf("%d members in a tree of %d leaves", len(c.members), size)
		}
	}
}

// A joiner whose path to the root has a blank node that the commit's path passes over: it is told secrets of the nodes
// below and above it.
func TestJoinBelowABlankNode(t *testing.T) {
	c := newCrowd(t, 1, 5)
	c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{1}, &Remove{2}, &Remove{3}}})
	p := newPerson(t, 1, "new")
	ch := c.commit(0, CommitOptions{Path: true, Proposals: []Proposal{&Add{p.keyPackage()}}})
	p.group = must[*Group](t)(Join(p.cfg, ch.Welcomes[0], JoinOptions{}))
	c.members = append(c.members, p)
	nodes := p.group.now.tree.nodes
	if p.group.Own() != 1 || nodes[1].parent == nil || nodes[3].parent != nil || nodes[7].parent == nil {
		t.Fatal("the tree is another")
	}
	c.agree()
}

// Members who were added below a parent that does not know them open paths with the keys of their leaves, whichever of
// several they are.
func TestUnmergedLeaves(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 1, 8)
	c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{5}, &Remove{6}}})
	c.commit(5, CommitOptions{})
	c.add(0, newPerson(t, 1, "a"), newPerson(t, 1, "b"))
	if p := c.members[0].group.now.tree.nodes[11].parent; p == nil || len(p.unmerged) != 2 {
		t.Fatalf("parent %+v", p)
	}
	c.commit(0, CommitOptions{})
	c.agree()
	c.commit(6, CommitOptions{})
	c.agree()
}

func TestPreSharedKeys(t *testing.T) {
	c := newCrowd(t, 1, 3)
	joiner := newPerson(t, 1, "joiner")
	for _, p := range append(c.members, joiner) {
		p.psks["one"], p.psks["two"] = []byte("secret one"), []byte("secret two")
	}
	g := c.members[0].group
	one, two := must[*PreSharedKey](t)(g.NewPSK([]byte("one"))), must[*PreSharedKey](t)(g.NewPSK([]byte("two")))
	ch := c.commit(0, CommitOptions{Proposals: []Proposal{one, &Add{joiner.keyPackage()}, two}})
	joiner.group = must[*Group](t)(Join(joiner.cfg, ch.Welcomes[0], JoinOptions{}))
	c.members = append(c.members, joiner)
	c.agree()

	// The key counts: who has another one sees a wrong confirmation tag.
	c.members[1].psks["one"] = []byte("another")
	again := must[*PreSharedKey](t)(g.NewPSK([]byte("one")))
	ch = must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{again}}))
	_, err := c.members[1].group.Process(ch.Commit)
	wantRefusal(t, err, BadSignature, "12.4.2: confirmation tag of a commit by member 0 is wrong")
	delete(c.members[2].psks, "one")
	_, err = c.members[2].group.Process(ch.Commit)
	wantRefusal(t, err, Missing, "8.4: pre-shared key 6f6e65 is not here")

	// Keys of past epochs of the group itself.
	past := must[*PreSharedKey](t)(g.NewResumptionPSK(g.ID(), g.Epoch()-0))
	ch = must[*Change](t)(g.Commit(CommitOptions{Proposals: []Proposal{past}}))
	r := must[*Received](t)(c.members[1].group.Process(ch.Commit))
	if err := r.Change.Apply(); err != nil {
		t.Fatal(err)
	}
	_, err = g.ResumptionPSK(g.Epoch() + 1)
	wantRefusal(t, err, Missing, "8.6: resumption key of epoch 3 is not kept")
	for _, n := range []int{-1, 255*32 + 1} {
		_, err = g.Export("label", nil, n)
		wantRefusal(t, err, Misuse, "8.5: bytes asked of the exporter")
	}
}

func TestGroupContextExtensions(t *testing.T) {
	const private ExtensionType = 0xf001
	supports := func(c *Config) { c.Capabilities.Extensions = []ExtensionType{private} }
	c := newCrowd(t, 1, 3, supports)
	c.commit(0, CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{
		{private, []byte("data")}, RequiredCapabilities{Extensions: []ExtensionType{private}}.Extension()}}}})
	c.agree()
	if b, ok := c.members[2].group.Extensions().Find(private); !ok || string(b) != "data" {
		t.Errorf("extensions %v", c.members[2].group.Extensions())
	}
	stranger := newPerson(t, 1, "stranger")
	_, err := c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&Add{stranger.keyPackage()}}})
	wantRefusal(t, err, Invalid, "7.3: leaf 3: leaf node does not support extension type 0xf001, which the group requires")
	c.add(1, newPerson(t, 1, "knows it", supports))
	_, err = c.members[0].group.Commit(CommitOptions{Proposals: []Proposal{&GroupContextExtensions{Extensions{
		RequiredCapabilities{Proposals: []ProposalType{0xf00d}}.Extension()}}}})
	wantRefusal(t, err, Invalid, "7.3: leaf 0: leaf node does not support proposal type 0xf00d, which the group requires")
}

func TestIdentityChanges(t *testing.T) {
	c := newCrowd(t, 2, 3)
	fresh := func(i int) Identity {
		return Identity{Credential: BasicCredential([]byte(fmt.Sprintf("new %d", i))), Key: must[*SigningKey](t)(GenerateSigningKey(2, stream(fmt.Sprint("key", i))))}
	}
	c.commit(1, CommitOptions{Identity: fresh(1)})
	c.agree()
	c.tell(2, must[[]byte](t)(c.members[2].group.ProposeUpdate(fresh(2), nil)))
	c.commit(0, CommitOptions{})
	c.agree()
	for i := 1; i < 3; i++ {
		l := c.members[0].group.Member(LeafIndex(i))
		if string(l.Credential.Identity) != fmt.Sprintf("new %d", i) || !bytes.Equal(l.SignatureKey, fresh(i).Key.Public()) {
			t.Errorf("member %d is %q", i, l.Credential.Identity)
		}
	}
	c.commit(2, CommitOptions{})
	c.commit(1, CommitOptions{})
	c.agree()
}

func TestSeparateWelcomesAndTreeApart(t *testing.T) {
	c := newCrowd(t, 1, 2)
	people := []*person{newPerson(t, 1, "a"), newPerson(t, 1, "b")}
	o := CommitOptions{Separate: true, WithoutTree: true, Path: true}
	for _, p := range people {
		o.Proposals = append(o.Proposals, &Add{p.keyPackage()})
	}
	ch := c.commit(0, o)
	if len(ch.Welcomes) != 2 {
		t.Fatalf("%d welcomes", len(ch.Welcomes))
	}
	_, err := Join(people[0].cfg, ch.Welcomes[1], JoinOptions{Tree: c.members[0].group.Tree()})
	wantRefusal(t, err, Missing, "12.4.3.1: welcome is for none of this client's key packages")
	_, err = Join(people[0].cfg, ch.Welcomes[0], JoinOptions{})
	wantRefusal(t, err, Missing, "12.4.3.3: group info holds no tree")
	for i, p := range people {
		p.group = must[*Group](t)(Join(p.cfg, ch.Welcomes[i], JoinOptions{Tree: c.members[0].group.Tree()}))
		c.members = append(c.members, p)
	}
	c.agree()
}

// What is given may change when the call is over: messages, trees, identifiers, authenticated data.
func TestGivenSlicesAreNotKept(t *testing.T) {
	id := []byte("the group")
	first := newPerson(t, 1, "m0")
	first.group = must[*Group](t)(Create(first.cfg, id))
	clear(id)
	c := &crowd{t: t, suite: 1, members: []*person{first}}
	take := func(p *person, msg []byte) *Received {
		t.Helper()
		b := bytes.Clone(msg)
		r := must[*Received](t)(p.group.Process(b))
		clear(b)
		return r
	}
	join := func(p *person, msg []byte, tree []byte) {
		t.Helper()
		b := bytes.Clone(msg)
		p.group = must[*Group](t)(Join(p.cfg, b, JoinOptions{Tree: tree}))
		clear(b)
		clear(tree)
		c.members = append(c.members, p)
	}
	follow := func(ch *Change, by int) {
		t.Helper()
		for i, p := range c.members {
			if i != by {
				r := take(p, ch.Commit)
				if string(r.AAD) != "aad" || string(r.Change.AAD) != "aad" {
					t.Errorf("aad %q", r.AAD)
				}
				if err := r.Change.Apply(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := ch.Apply(); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(by int, o CommitOptions) *Change {
		t.Helper()
		o.AAD = []byte("aad")
		ch := must[*Change](t)(c.members[by].group.Commit(o))
		clear(o.AAD)
		if string(ch.AAD) != "aad" {
			t.Errorf("aad %q", ch.AAD)
		}
		follow(ch, by)
		return ch
	}
	for i, o := range []CommitOptions{{}, {WithoutTree: true}} {
		p := newPerson(t, 1, fmt.Sprintf("m%d", i+1))
		o.Proposals = []Proposal{&Add{p.keyPackage()}}
		ch := commit(0, o)
		var tree []byte
		if o.WithoutTree {
			tree = c.members[0].group.Tree()
		}
		join(p, ch.Welcomes[0], tree)
	}
	for i := range 3 {
		msg := must[[]byte](t)(c.members[i].group.ProposeUpdate(Identity{}, nil))
		for k, p := range c.members {
			if k != i {
				take(p, msg)
			}
		}
		commit((i+1)%3, CommitOptions{})
	}
	for i, withTree := range []bool{true, false} {
		info := must[[]byte](t)(c.members[0].group.GroupInfo(withTree, true))
		o := ExternalOptions{AAD: []byte("aad")}
		if !withTree {
			o.Tree = c.members[0].group.Tree()
		}
		p := newPerson(t, 1, fmt.Sprintf("m%d", i+3))
		g, msg, err := JoinExternal(p.cfg, info, o)
		if err != nil {
			t.Fatal(err)
		}
		clear(info)
		clear(o.Tree)
		for _, m := range c.members {
			if err := take(m, msg).Change.Apply(); err != nil {
				t.Fatal(err)
			}
		}
		p.group = g
		c.members = append(c.members, p)
		commit(len(c.members)-1, CommitOptions{})
	}
	data := must[[]byte](t)(first.group.Protect(nil, []byte("data"), []byte("aad")))
	if r := take(c.members[1], data); string(r.Application) != "data" || string(r.AAD) != "aad" {
		t.Errorf("read %q with %q", r.Application, r.AAD)
	}
	c.agree()
}
