package mls

import (
	"bytes"
	"crypto/rand"
	"runtime"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// The fuzzer may spend a minute on making one input shorter: run it with -fuzzminimizetime 10x, as .ci/run does.

// corpus is one message of every sort, from a small group.
type corpus struct {
	c       *crowd
	all     [][]byte // whole MLSMessages
	commits [][]byte // bodies of commits
	props   [][]byte // proposals with their type
	welcome []byte
	joiner  *person
	private []byte
	secrets []byte // GroupSecrets
	info    []byte // GroupInfo
}

func newCorpus(t testing.TB) *corpus {
	t.Helper()
	k := &corpus{c: newCrowd(t, 1, 5)}
	k.c.commit(3, CommitOptions{})
	k.c.commit(0, CommitOptions{Proposals: []Proposal{&Remove{2}}})
	g := k.c.members[0].group
	k.joiner = newPerson(t, 1, "joiner")
	kp := k.joiner.keyPackage()
	k.private = must[*PrivateKeyPackage](t)(k.joiner.cfg.KeyPackages.Get(must[[]byte](t)(kp.Ref()))).Marshal()
	psk := must[*PreSharedKey](t)(g.NewPSK([]byte("k")))
	for _, p := range k.c.members {
		p.psks["k"] = []byte("key")
	}
	k.joiner.psks["k"] = []byte("key")
	for _, p := range []Proposal{&Add{kp}, &Remove{1}, psk, &ReInit{GroupID: []byte("n"), Version: MLS10, CipherSuite: 1}, &ExternalInit{make([]byte, 32)},
		&GroupContextExtensions{Extensions{RequiredCapabilities{Credentials: []CredentialType{1}}.Extension(), ExternalSenders(ExternalSender{kp.Leaf.SignatureKey, kp.Leaf.Credential})}},
		&UnknownProposal{0xf00d, []byte("data")}} {
		k.props = append(k.props, appendProposal(nil, p))
	}
	update := must[[]byte](t)(k.c.members[1].group.ProposeUpdate(Identity{}, nil))
	k.all = append(k.all, update)
	k.props = append(k.props, appendProposal(nil, parse(t, update).public.content.body.proposal))
	for _, m := range k.c.members {
		m.group.DropPending()
	}
	for _, o := range []CommitOptions{{}, {Proposals: []Proposal{&Add{kp}, psk}, Path: true}, {Proposals: []Proposal{&Remove{1}}}, {Proposals: []Proposal{&Add{kp}}}} {
		ch := must[*Change](t)(g.Commit(o))
		k.all = append(k.all, ch.Commit)
		k.commits = append(k.commits, parse(t, ch.Commit).public.content.body.commit.append(nil))
		if len(ch.Welcomes) > 0 {
			k.welcome = ch.Welcomes[0]
			k.all = append(k.all, k.welcome)
		}
	}
	info := must[[]byte](t)(g.GroupInfo(true, true))
	k.info = info[4:]
	_, ext, err := JoinExternal(k.joiner.cfg, info, ExternalOptions{PSKs: [][]byte{[]byte("k")}})
	if err != nil {
		t.Fatal(err)
	}
	k.commits = append(k.commits, parse(t, ext).public.content.body.commit.append(nil))
	k.all = append(k.all, info, ext, kp.Marshal(), must[[]byte](t)(g.Protect(nil, []byte("text"), []byte("aad"))))
	gs := groupSecrets{joiner: make([]byte, 32), path: make([]byte, 32), psks: []PSKID{psk.ID}}
	k.secrets = gs.append(nil)
	return k
}

// Whatever decodes is written again to the byte: there is one form.
func FuzzParseMessage(f *testing.F) {
	for _, m := range newCorpus(f).all {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil {
			if KindOf(err) == 0 {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		if got := m.append(nil); !bytes.Equal(got, b) {
			t.Fatalf("read %x, written %x", b, got)
		}
	})
}

var fuzzLimits = Limits{Members: 100, Depth: 7}

// The fuzzer minimises every input that covers something new, byte by byte: small trees, no signatures and one
// goroutine, so that the same input covers the same, leave it time to find some. Trees with signatures are in welcomes,
// which FuzzProcess makes.
func FuzzTree(f *testing.F) {
	runtime.GOMAXPROCS(1)
	for _, n := range []int{1, 2, 3, 5} {
		g := newCrowd(f, 1, n, func(c *Config) {
			c.Credential, c.Capabilities.CipherSuites = BasicCredential(nil), []CipherSuite{1}
		}).members[0].group
		small := newTree(g.suite, smallLeaf(0))
		for i := 1; i < n; i++ {
			small.add(smallLeaf(byte(i)))
		}
		for i := 1; i < len(small.nodes); i += 4 {
			small.nodes[i].parent = &parentNode{encryptionKey: freshKey(f, 1), parentHash: []byte{}}
		}
		f.Add(small.append(nil))
		ch := must[*Change](f)(g.Commit(CommitOptions{}))
		f.Add(ch.next.tree.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := readTree(suiteOf(t, 1), b, fuzzLimits)
		if err != nil {
			return
		}
		if tr.size() > 128 {
			t.Fatalf("tree of %d leaves", tr.size())
		}
		if got := tr.append(nil); !bytes.Equal(got, b) {
			t.Fatalf("read %x, written %x", b, got)
		}
		var all []LeafIndex
		tr.members(func(i LeafIndex, _ *LeafNode) bool { all = append(all, i); return true })
		_, _, _, _ = tr.checkUnmerged(), tr.checkParentKeys(), tr.checkLeavesTogether(all, nil), tr.checkTreeHash(tr.hash())
		if tr.checkUnmerged() == nil {
			_ = tr.checkParentHashes()
		}
		tr.filteredPath(0)
		tr.add(&LeafNode{EncryptionKey: []byte("k")})
		tr.remove(0)
		tr.shrink()
		tr.hash()
	})
}

// smallLeaf is a leaf with no more than it must hold.
func smallLeaf(i byte) *LeafNode {
	l := &LeafNode{EncryptionKey: []byte{i}, SignatureKey: []byte{i}, Credential: BasicCredential(nil), Source: SourceUpdate,
		Capabilities: Capabilities{Credentials: []CredentialType{CredentialBasic}}}
	l.raw = l.append(nil)
	return l
}

func FuzzPrivateKeyPackage(f *testing.F) {
	f.Add(newCorpus(f).private)
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := ParsePrivateKeyPackage(b); err == nil && !bytes.Equal(p.Marshal(), b) {
			t.Fatalf("read %x, written %x", b, p.Marshal())
		}
	})
}

// ways in which FuzzProcess wraps its bytes, so that what is behind signatures and seals is reached.
const (
	asIs uint8 = iota
	asCommit
	asProposal
	asJoinerCommit
	asJoinerProposal
	asPrivateApplication
	asPrivateCommit
	asPrivateProposal
	asGroupInfo
	asGroupSecrets
	asFramed
	wayCount
)

// A hostile member, or one outside, says anything, properly signed and sealed: it is refused with a kind, and changes
// nothing before it is applied.
func FuzzProcess(f *testing.F) {
	runtime.GOMAXPROCS(1)
	k := newCorpus(f)
	for _, m := range k.all {
		f.Add(asIs, m)
		if p := parse(f, m).public; p != nil {
			f.Add(asFramed, p.raw)
		}
	}
	for _, b := range k.commits {
		for _, way := range []uint8{asCommit, asJoinerCommit, asPrivateCommit} {
			f.Add(way, b)
		}
	}
	for _, b := range k.props {
		for _, way := range []uint8{asProposal, asJoinerProposal, asPrivateProposal} {
			f.Add(way, b)
		}
	}
	f.Add(asPrivateApplication, codec.AppendOpaque(nil, []byte("text")))
	f.Add(asGroupInfo, k.info)
	f.Add(asGroupSecrets, k.secrets)

	hostile, victim := k.c.members[1].group, k.c.members[0].group
	f.Fuzz(func(t *testing.T, way uint8, b []byte) {
		switch way %= wayCount; way {
		case asGroupInfo, asGroupSecrets:
			_, err := Join(k.joiner.cfg, wrapWelcome(t, k, hostile, way, b), JoinOptions{})
			if err == nil || KindOf(err) == 0 {
				t.Fatalf("joined: %v", err)
			}
			return
		}
		msg := wrap(t, k, hostile, way, b)
		before, leaves := authenticator(t, victim), victim.now.tree.size()
		r, err := victim.Process(msg)
		switch {
		case err != nil && KindOf(err) == 0:
			t.Fatalf("error without a kind: %v", err)
		case err == nil && r.Change != nil:
			r.Change.Discard()
		}
		victim.DropPending()
		if !bytes.Equal(before, authenticator(t, victim)) || leaves != victim.now.tree.size() {
			t.Fatal("the group has changed")
		}
	})
}

// wrap signs and seals b as the body of a message of the hostile member.
func wrap(t *testing.T, k *corpus, g *Group, way uint8, b []byte) []byte {
	head := framedContent{groupID: g.ID(), epoch: g.Epoch(), sender: Sender{Type: SenderMember, Leaf: g.Own()}}
	key, wire := g.now.signer, WirePublicMessage
	raw := b
	switch way {
	case asIs:
		return b
	case asFramed:
	case asCommit, asPrivateCommit, asJoinerCommit:
		head.kind = ContentCommit
	case asProposal, asPrivateProposal, asJoinerProposal:
		head.kind = ContentProposal
	case asPrivateApplication:
		head.kind = ContentApplication
	}
	switch way {
	case asJoinerCommit:
		head.sender, key = Sender{Type: SenderNewMemberCommit}, k.joiner.cfg.Key
	case asJoinerProposal:
		head.sender, key = Sender{Type: SenderNewMemberProposal}, k.joiner.cfg.Key
	case asPrivateApplication, asPrivateCommit, asPrivateProposal:
		wire = WirePrivateMessage
	}
	if way != asFramed {
		raw = head.appendFramed(nil, b)
	}
	a := &authenticated{wire: wire, content: head, raw: raw}
	sig, err := g.suite.SignWithLabel(rand.Reader, key, framedContentLabel, a.tbs(nil, g.now.raw))
	if err != nil {
		t.Fatal(err)
	}
	a.auth = authData{signature: sig, confirmationTag: make([]byte, 32)}
	if wire == WirePrivateMessage {
		r := must[*ratchet](t)(g.now.messages.secrets.ratchet(g.now.own, head.kind))
		msg := sealRaw(t, g, sealing{from: g.now.own, generation: r.next, kind: head.kind, content: a.auth.append(bytes.Clone(b), head.kind)})
		r.spend(g.suite, r.next, 0, nil)
		return msg
	}
	return protectPublic(g.suite, a, g.now.secrets.membership.Bytes(), g.now.raw).append(appendMessageHead(nil, wire))
}

// wrapWelcome seals b as the group info or the group secrets of a welcome for the joiner.
func wrapWelcome(t *testing.T, k *corpus, g *Group, way uint8, b []byte) []byte {
	s := g.suite
	private := must[*PrivateKeyPackage](t)(ParsePrivateKeyPackage(k.private))
	ref := must[[]byte](t)(private.Package.Ref())
	if err := k.joiner.cfg.KeyPackages.Put(ref, private); err != nil {
		t.Fatal(err)
	}
	joiner, zero := secretOf(make([]byte, 32)), secretOf(make([]byte, 32))
	secrets := groupSecrets{joiner: joiner.Bytes()}
	text, info := secrets.append(nil), k.info
	if way == asGroupSecrets {
		text = b
	} else {
		info = b
	}
	var welcomeSecret suite.Secret
	deriveWelcome(s, &welcomeSecret, joiner, zero)
	return sealWelcome(t, s, &welcomeSecret, private.Package, info, text)
}
