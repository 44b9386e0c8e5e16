package mls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// stream is randomness that is the same in every run: one stream a seed.
func stream(seed string) io.Reader {
	var key [chacha20.KeySize]byte
	copy(key[:], seed)
	c, err := chacha20.NewUnauthenticatedCipher(key[:], make([]byte, chacha20.NonceSize))
	if err != nil {
		panic(err)
	}
	return readFunc(func(b []byte) (int, error) {
		clear(b)
		c.XORKeyStream(b, b)
		return len(b), nil
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// testTime is the time of all tests.
var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// person is a client with at most one group.
type person struct {
	t     testing.TB
	name  string
	cfg   *Config
	group *Group
	psks  map[string][]byte
	shelf shelf
}

func newPerson(t testing.TB, cs CipherSuite, name string, change ...func(*Config)) *person {
	t.Helper()
	p := &person{t: t, name: name, psks: map[string][]byte{}}
	random := stream(name)
	p.cfg = &Config{CipherSuite: cs, Credential: BasicCredential([]byte(name)), Now: func() time.Time { return testTime }, Rand: random,
		KeyPackages: &MemoryStore{}, Credentials: AcceptAll, PSK: func(id *PSKID) ([]byte, error) {
			if k, ok := p.psks[string(id.ID)]; ok {
				return k, nil
			}
			return nil, errors.New("unknown key")
		}}
	p.cfg.Key = must[*SigningKey](t)(GenerateSigningKey(cs, random))
	for _, f := range change {
		f(p.cfg)
	}
	return p
}

func (p *person) keyPackage() *KeyPackage {
	p.t.Helper()
	k := must[*KeyPackage](p.t)(p.cfg.NewKeyPackage())
	return must[*KeyPackage](p.t)(ParseKeyPackage(k.Marshal()))
}

// forgePackage is a key package that its maker changes before signing it.
func (p *person) forgePackage(change func(*KeyPackage, *LeafNode)) *KeyPackage {
	p.t.Helper()
	k := *p.keyPackage()
	l, s := copyLeaf(k.Leaf), suiteOf(p.t, p.cfg.CipherSuite)
	k.raw, k.Leaf = nil, l
	change(&k, l)
	signLeaf(p.t, s, l, p.cfg.Key, nil, 0)
	if err := k.sign(s, rand.Reader, p.cfg.Key); err != nil {
		p.t.Fatal(err)
	}
	return k.clone()
}

// at is the time of a member's group while f runs.
func (p *person) at(now time.Time, f func()) {
	before, cfg := p.group.cfg, *p.group.cfg
	cfg.Now = func() time.Time { return now }
	p.group.cfg = &cfg
	f()
	p.group.cfg = before
}

// crowd is a group whose members all see everything.
type crowd struct {
	t       testing.TB
	suite   CipherSuite
	members []*person
	checked map[string]bool // trees, with their contexts, that were found to be valid
}

// newCrowd is a group of n members, m0 to m(n-1).
func newCrowd(t testing.TB, cs CipherSuite, n int, change ...func(*Config)) *crowd {
	t.Helper()
	c := &crowd{t: t, suite: cs}
	first := newPerson(t, cs, "m0", change...)
	first.group = must[*Group](t)(Create(first.cfg, []byte("the group")))
	c.members = []*person{first}
	var more []*person
	for i := 1; i < n; i++ {
		more = append(more, newPerson(t, cs, fmt.Sprintf("m%d", i), change...))
	}
	if len(more) > 0 {
		c.add(0, more...)
	}
	return c
}

// add lets member i add people.
func (c *crowd) add(i int, people ...*person) {
	c.t.Helper()
	var o CommitOptions
	for _, p := range people {
		o.Proposals = append(o.Proposals, &Add{p.keyPackage()})
	}
	ch := c.commit(i, o)
	for k, p := range people {
		p.group = must[*Group](c.t)(Join(p.cfg, ch.Welcomes[min(k, len(ch.Welcomes)-1)], JoinOptions{}))
		c.members = append(c.members, p)
	}
	c.agree()
}

// commit lets member i commit, and the others apply it. Those who are removed leave the crowd.
func (c *crowd) commit(i int, o CommitOptions) *Change {
	c.t.Helper()
	ch := must[*Change](c.t)(c.members[i].group.Commit(o))
	var stay []*person
	for k, p := range c.members {
		if k != i {
			r, err := p.group.Process(ch.Commit)
			if err != nil {
				c.t.Fatalf("%s: %v", p.name, err)
			}
			if err := r.Change.Apply(); err != nil {
				c.t.Fatalf("%s: %v", p.name, err)
			}
			if r.Change.SelfRemoved {
				continue
			}
		}
		stay = append(stay, p)
	}
	if err := ch.Apply(); err != nil {
		c.t.Fatal(err)
	}
	c.members = stay
	return ch
}

// propose lets member i propose, and the others take note.
func (c *crowd) propose(i int, p Proposal) {
	c.t.Helper()
	c.tell(i, must[[]byte](c.t)(c.members[i].group.Propose(p, nil)))
}

// tell gives a message of member i to all others.
func (c *crowd) tell(i int, msg []byte) {
	c.t.Helper()
	for k, p := range c.members {
		if k != i {
			if _, err := p.group.Process(msg); err != nil {
				c.t.Fatalf("%s: %v", p.name, err)
			}
		}
	}
}

// agree checks that all members are in the same state and read each other.
func (c *crowd) agree() {
	c.t.Helper()
	first := c.members[0].group
	for _, p := range c.members {
		g := p.group
		if g.Epoch() != first.Epoch() || !bytes.Equal(authenticator(c.t, g), authenticator(c.t, first)) || !bytes.Equal(g.TreeHash(), first.TreeHash()) {
			c.t.Fatalf("%s is in another state than %s: epochs %d, %d", p.name, c.members[0].name, g.Epoch(), first.Epoch())
		}
		want := must[[]byte](c.t)(first.Export("label", []byte("context"), 40))
		if got := must[[]byte](c.t)(g.Export("label", []byte("context"), 40)); !bytes.Equal(got, want) {
			c.t.Fatalf("%s exports another secret", p.name)
		}
		c.checkKeys(p)
	}
	for i, p := range c.members {
		text := []byte("hello of " + p.name)
		msg := must[[]byte](c.t)(p.group.Protect(nil, text, []byte("aad")))
		for k, q := range c.members {
			if i == k {
				continue
			}
			r, err := q.group.Process(msg)
			if err != nil {
				c.t.Fatalf("%s cannot read %s: %v", q.name, p.name, err)
			}
			if !bytes.Equal(r.Application, text) || string(r.AAD) != "aad" || r.Sender.Leaf != p.group.Own() || r.Epoch != p.group.Epoch() {
				c.t.Fatalf("%s read %+v", q.name, r)
			}
		}
	}
}

// checkKeys: a member has exactly the private keys of the nodes above it in which it is not unmerged, and they fit.
func (c *crowd) checkKeys(p *person) {
	c.t.Helper()
	e := p.group.now
	for n, k := range e.keys {
		if !n.Contains(e.own.Node()) || !bytes.Equal(k.Public(), e.tree.nodes[n].encryptionKey()) {
			c.t.Fatalf("%s has a key for node %d that is not the tree's", p.name, n)
		}
	}
	for i := 1; i < len(e.tree.nodes); i += 2 {
		n := nodeIndex(i)
		parent := e.tree.nodes[i].parent
		if parent == nil || !n.Contains(e.own.Node()) {
			continue
		}
		_, unmerged := slices.BinarySearch(parent.unmerged, e.own)
		if (e.keys[n] != nil) == unmerged {
			c.t.Fatalf("%s, unmerged in node %d: %v, has its key: %v", p.name, n, unmerged, e.keys[n] != nil)
		}
	}
	// What members have is mostly the same, and each signature in it takes its time.
	same := string(e.tree.append(e.context.append(nil)))
	if c.checked[same] {
		return
	}
	if err := e.tree.checkReceived(&e.context, rules{most: -1}); err != nil {
		c.t.Fatalf("tree of %s: %v", p.name, err)
	}
	if c.checked == nil {
		c.checked = map[string]bool{}
	}
	c.checked[same] = true
}

// authenticator is that of an epoch of a group that lives.
func authenticator(t testing.TB, g *Group) []byte {
	t.Helper()
	return must[[]byte](t)(g.EpochAuthenticator())
}

func nodeIndex(i int) treemath.Node { return treemath.Node(i) }

// wantRefusal checks the kind of an error and which rule it comes from: its section and a part of its text, as "12.2:
// removes itself". By the kind alone, another rule that refuses the same would hide that this one is missing.
func wantRefusal(t testing.TB, err error, kind Kind, want string) {
	t.Helper()
	section, text, ok := strings.Cut(want, ": ")
	var e *Error
	if !ok || !errors.As(err, &e) || e.Kind != kind || e.Section != section || !strings.Contains(e.What, text) {
		t.Errorf("got %v (%v), want %v, %q", err, KindOf(err), kind, want)
	}
}

// parse reads a message of ours, to be changed.
func parse(t testing.TB, msg []byte) *Message {
	t.Helper()
	return must[*Message](t)(ParseMessage(bytes.Clone(msg)))
}

// signed is a public message, signed with key; in the name of a member, it has the tag that all members of g can make.
func signed(t testing.TB, g *Group, key *SigningKey, f framedContent, confirmationTag []byte) []byte {
	t.Helper()
	a := must[*authenticated](t)(newAuthenticated(g.suite, rand.Reader, key, WirePublicMessage, f, g.now.raw))
	a.auth.confirmationTag = confirmationTag
	return protectPublic(g.suite, a, g.now.secrets.membership.Bytes(), g.now.raw).append(appendMessageHead(nil, WirePublicMessage))
}

// forged is a commit that its maker changes before signing it.
type forged struct {
	c    *crowd
	g    *Group      // of a member in the epoch of the commit: the maker's unless it joins
	key  *SigningKey // of the maker
	at   LeafIndex   // of the maker
	next *epoch      // behind the honest commit
	m    *publicMessage
	made *commit
}

// forge is a commit of member i, to be changed.
func (c *crowd) forge(i int, ch *Change) *forged {
	c.t.Helper()
	g := c.members[i].group
	m := parse(c.t, ch.Commit).public
	return &forged{c, g, g.now.signer, g.Own(), ch.next, m, m.content.body.commit}
}

// forgeJoin is an external commit of p, to be changed.
func (c *crowd) forgeJoin(p *person, o ExternalOptions) *forged {
	c.t.Helper()
	g, msg, err := JoinExternal(p.cfg, must[[]byte](c.t)(c.members[0].group.GroupInfo(true, true)), o)
	if err != nil {
		c.t.Fatal(err)
	}
	m := parse(c.t, msg).public
	return &forged{c, c.members[0].group, p.cfg.Key, g.Own(), g.now, m, m.content.body.commit}
}

// sign is the message.
func (f *forged) sign() []byte {
	f.c.t.Helper()
	return signed(f.c.t, f.g, f.key, f.m.content, f.m.auth.confirmationTag)
}

// add puts proposals behind those of the commit.
func (f *forged) add(list ...Proposal) {
	for _, p := range list {
		f.made.proposals = append(f.made.proposals, proposalOrRef{proposal: p})
	}
}

// refer puts references to all proposals that wait behind those of the commit.
func (f *forged) refer() {
	for _, p := range f.g.proposals {
		f.made.proposals = append(f.made.proposals, proposalOrRef{ref: p.ref})
	}
}

// leaf changes the leaf of the path and signs it anew.
func (f *forged) leaf(change func(*LeafNode)) {
	f.c.t.Helper()
	l := copyLeaf(f.made.path.leaf)
	change(l)
	signLeaf(f.c.t, f.g.suite, l, f.key, f.g.ID(), f.at)
	f.made.path.leaf = l
}

// seal replaces what node k of the path holds for the j-th of its recipients, the node to.
func (f *forged) seal(k, j int, to treemath.Node, secret []byte) {
	f.c.t.Helper()
	context := f.next.context
	context.confirmedHash = f.g.now.context.confirmedHash
	kem, ct, err := f.g.suite.EncryptWithLabel(rand.Reader, f.next.tree.nodes[to].encryptionKey(), updatePathLabel, context.append(nil), secret)
	if err != nil {
		f.c.t.Fatal(err)
	}
	f.made.path.nodes[k].secrets[j] = hpkeCiphertext{kem, ct}
}

// signLeaf signs a leaf whatever it holds.
func signLeaf(t testing.TB, s *suite.Suite, l *LeafNode, key *SigningKey, group []byte, at LeafIndex) {
	t.Helper()
	l.raw = nil
	unsigned := l.appendUnsigned(nil)
	l.Signature = must[[]byte](t)(s.SignWithLabel(rand.Reader, key, leafNodeLabel, l.tbs(nil, group, at)))
	l.raw, l.unsigned = codec.AppendOpaque(unsigned, l.Signature), len(unsigned)
}

// freshKey is a public HPKE key.
func freshKey(t testing.TB, cs CipherSuite) []byte {
	t.Helper()
	return must[*suite.PrivateKey](t)(suiteOf(t, cs).GenerateKeyPair(rand.Reader)).Public()
}

// copyLeaf is a leaf that may be changed and signed anew.
func copyLeaf(l *LeafNode) *LeafNode {
	c := *l
	c.raw, c.parsed = nil, nil
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
