//go:build mlsrs

package mls

import (
	"bufio"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// rustLibrary is the program of testdata/rust, built into the user's cache folder; MLS_PEER names one that is built
// already.
func rustLibrary(t *testing.T) string {
	t.Helper()
	if p := os.Getenv("MLS_PEER"); p != "" {
		return p
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(cache, "slimgo-interop", "mls-peer-0.56.0")
	cargo := exec.CommandContext(t.Context(), "cargo", "build", "--release", "--locked", "--manifest-path", "testdata/rust/Cargo.toml", "--target-dir", target)
	cargo.WaitDelay = time.Minute
	if out, err := cargo.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: install Rust 1.95 or near, cmake and a C compiler\n%s", cargo.Args, err, out)
	}
	return filepath.Join(target, "release", "mls-peer")
}

// rustPeer is a process that holds members of mls-rs.
type rustPeer struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

func startRust(t *testing.T, program string) *rustPeer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "serve")
	cmd.Stderr = os.Stderr
	p := &rustPeer{t: t, in: must[io.WriteCloser](t)(cmd.StdinPipe()), out: bufio.NewReader(must[io.ReadCloser](t)(cmd.StdoutPipe()))}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.in.Close()
		cmd.Wait()
	})
	return p
}

type rustAnswer struct {
	Error         string `json:"error"`
	Message       hex    `json:"message"`
	Welcome       hex    `json:"welcome"`
	Text          hex    `json:"text"`
	Epoch         uint64 `json:"epoch"`
	Authenticator hex    `json:"authenticator"`
}

// call asks for an operation. An error is what the library refused.
func (p *rustPeer) call(op, who string, with map[string]any) (*rustAnswer, error) {
	p.t.Helper()
	request := map[string]any{"op": op, "who": who}
	for k, v := range with {
		if b, ok := v.([]byte); ok {
			v = fmt.Sprintf("%x", b)
		}
		request[k] = v
	}
	line := must[[]byte](p.t)(json.Marshal(request))
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("%s of %s: %v", op, who, err)
	}
	a := new(rustAnswer)
	if err := json.Unmarshal(line, a); err != nil {
		p.t.Fatalf("%s of %s: %q: %v", op, who, line, err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("mls-rs: %s", a.Error)
	}
	return a, nil
}

// rustHistory is a group of ours and of mls-rs. hostile, one of ours, commits whatever it likes, and all others must be
// of one mind about it.
type rustHistory struct {
	t     *testing.T
	rng   *rand.Rand
	suite CipherSuite
	peer  *rustPeer
	ours  []*person // the first is hostile
	rust  []string
	made  int
	log   []string
	tally map[string][2]int // by what was tried: refused, followed
	ended bool
}

func (m *rustHistory) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *rustHistory) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nhistory:\n%s", fmt.Sprintf(format, args...), joinLines(m.log))
}

func (m *rustHistory) person() *person {
	m.made++
	return newPerson(m.t, m.suite, fmt.Sprintf("ours%d %d", m.made, m.rng.Uint64()), plain, func(c *Config) {
		c.MaxLifetime = -1
		c.Credentials = func(p *Presented) error { // as BasicIdentityProvider of mls-rs does
			if p.Credential.Type != CredentialBasic || p.Replaces != nil && !p.Replaces.Credential.Equal(p.Credential) {
				return errors.New("no basic credential, or another client than before")
			}
			return nil
		}
	})
}

func (m *rustHistory) rustClient() (name string, keyPackage []byte) {
	m.made++
	name = fmt.Sprintf("rust%d", m.made)
	if _, err := m.peer.call("client", name, map[string]any{"suite": m.suite}); err != nil {
		m.t.Fatal(err)
	}
	a, err := m.peer.call("package", name, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return name, a.Message
}

// apply lets ours but by take a commit that is known to be good, and all of mls-rs but byRust; ours have processed it
// if changes are given.
func (m *rustHistory) agree() {
	m.t.Helper()
	first := m.ours[0].group
	want := authenticator(m.t, first)
	for _, p := range m.ours[1:] {
		if p.group.Epoch() != first.Epoch() || string(authenticator(m.t, p.group)) != string(want) {
			m.fail("%s is in another state", p.name)
		}
	}
	for _, r := range m.rust {
		a, err := m.peer.call("state", r, nil)
		if err != nil || a.Epoch != first.Epoch() || string(a.Authenticator) != string(want) {
			m.fail("%s is in another state: %v, %+v", r, err, a)
		}
	}
}

// told gives a commit to all but its maker. It reports whether they follow; they must be of one mind.
func (m *rustHistory) told(what string, by *person, byRust string, commit []byte) bool {
	m.t.Helper()
	var changes []*Change
	verdicts := map[string]error{}
	followed := 0
	for _, p := range m.ours {
		if p == by {
			continue
		}
		r, err := p.group.Process(commit)
		if verdicts[p.name] = err; err == nil {
			changes = append(changes, r.Change)
			followed++
		}
	}
	for _, r := range m.rust {
		if r == byRust {
			continue
		}
		_, err := m.peer.call("take", r, map[string]any{"message": commit})
		if verdicts[r] = err; err == nil {
			followed++
		}
	}
	n := m.tally[what]
	if followed > 0 {
		n[1]++
	} else {
		n[0]++
	}
	m.tally[what] = n
	m.note("%s: followed by %d of %d: %v", what, followed, len(verdicts), verdicts)
	if followed != 0 && followed != len(verdicts) {
		m.fail("verdicts differ")
	}
	for _, c := range changes {
		if err := c.Apply(); err != nil {
			m.fail("%v", err)
		}
		m.ended = m.ended || c.ReInit != nil
	}
	return followed > 0
}

// forge is a commit of the hostile member that no rule was asked about; nil if it cannot be made.
func (m *rustHistory) forge(list []Committed, path bool) *Change {
	m.t.Helper()
	ch, err := forgeCommit(m.ours[0].group, list, path)
	if err != nil {
		m.note("not made: %v", err)
		return nil
	}
	return ch
}

// trick is what a hostile member tries.
type trick struct {
	name string
	make func(*rustHistory) []Proposal
}

func add(change func(*rustHistory, *KeyPackage, *LeafNode)) func(*rustHistory) []Proposal {
	return func(m *rustHistory) []Proposal {
		return []Proposal{&Add{m.person().forgePackage(func(k *KeyPackage, l *LeafNode) { change(m, k, l) })}}
	}
}

func values(list ...Proposal) func(*rustHistory) []Proposal {
	return func(*rustHistory) []Proposal { return list }
}

func groupContextOf(e ...Extension) Proposal { return &GroupContextExtensions{e} }

var nonce32 = make([]byte, 32)

var tricks = []trick{
	{"nothing wrong", add(func(*rustHistory, *KeyPackage, *LeafNode) {})},
	{"default extension listed", add(func(m *rustHistory, _ *KeyPackage, l *LeafNode) {
		l.Capabilities.Extensions = []ExtensionType{ExtensionType(1 + m.rng.IntN(5))}
	})},
	{"default proposal listed", add(func(m *rustHistory, _ *KeyPackage, l *LeafNode) {
		l.Capabilities.Proposals = []ProposalType{ProposalType(1 + m.rng.IntN(7))}
	})},
	{"default extension in a leaf", add(func(m *rustHistory, _ *KeyPackage, l *LeafNode) {
		l.Extensions = Extensions{{ExtensionType(1 + m.rng.IntN(5)), nil}}
	})},
	{"extension in a leaf, not listed", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.Extensions = Extensions{{0xf00d, nil}} })},
	{"extension in a leaf, listed", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) {
		l.Extensions, l.Capabilities.Extensions = Extensions{{0xf00d, nil}}, []ExtensionType{0xf00d}
	})},
	{"extension in a key package, not listed", add(func(_ *rustHistory, k *KeyPackage, _ *LeafNode) { k.Extensions = Extensions{{0xf00d, nil}} })},
	{"default extension in a key package", add(func(m *rustHistory, k *KeyPackage, _ *LeafNode) {
		k.Extensions = Extensions{{ExtensionType(1 + m.rng.IntN(5)), nil}}
	})},
	{"leaf without basic credentials", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.Capabilities.Credentials = nil })},
	{"leaf without the suite", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.Capabilities.CipherSuites = []CipherSuite{7} })},
	{"leaf without the version", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.Capabilities.Versions = nil })},
	{"leaf with values that mean nothing", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) {
		l.Capabilities.Extensions, l.Capabilities.Proposals = []ExtensionType{0x0a0a}, []ProposalType{0x1a1a}
	})},
	{"lifetime that is over", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.Lifetime = Lifetime{1, 2} })},
	{"lifetime without end", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.Lifetime = Lifetime{0, ^uint64(0)} })},
	{"leaf of an update", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.Source = SourceUpdate })},
	{"leaf of a commit", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.Source = SourceCommit })},
	{"init key of the leaf", add(func(_ *rustHistory, k *KeyPackage, l *LeafNode) { k.InitKey = l.EncryptionKey })},
	{"encryption key of a member", add(func(m *rustHistory, _ *KeyPackage, l *LeafNode) {
		l.EncryptionKey = m.ours[1].group.Member(m.ours[1].group.Own()).EncryptionKey
	})},
	{"encryption key with its highest bit set", add(func(m *rustHistory, _ *KeyPackage, l *LeafNode) {
		if m.suite == 1 {
			l.EncryptionKey = slices.Clone(l.EncryptionKey)
			l.EncryptionKey[31] |= 0x80
		}
	})},
	{"encryption key that is none", add(func(_ *rustHistory, _ *KeyPackage, l *LeafNode) { l.EncryptionKey = l.EncryptionKey[1:] })},
	{"signature key of another", add(func(m *rustHistory, _ *KeyPackage, l *LeafNode) { l.SignatureKey = m.ours[1].cfg.Key.Public() })},
	{"key package of another suite", add(func(m *rustHistory, k *KeyPackage, _ *LeafNode) { k.CipherSuite = 3 })},
	{"key package of another version", add(func(_ *rustHistory, k *KeyPackage, _ *LeafNode) { k.Version = 2 })},
	{"the same client twice", func(m *rustHistory) []Proposal {
		k := m.person().keyPackage()
		return []Proposal{&Add{k}, &Add{k}}
	}},
	{"a client that is a member", func(m *rustHistory) []Proposal { return []Proposal{&Add{m.ours[1].keyPackage()}} }},
	{"another member removed and added", func(m *rustHistory) []Proposal {
		p := m.person()
		return []Proposal{&Add{p.keyPackage()}, &Remove{m.ghost()}}
	}},
	{"remove of nobody", values(&Remove{1 << 20})},
	{"remove of itself", func(m *rustHistory) []Proposal { return []Proposal{&Remove{m.ours[0].group.Own()}} }},
	{"remove twice", func(m *rustHistory) []Proposal { g := m.ghost(); return []Proposal{&Remove{g}, &Remove{g}} }},
	{"remove of a stranger", func(m *rustHistory) []Proposal { return []Proposal{&Remove{m.ghost()}} }},
	{"external_init", values(&ExternalInit{nonce32})},
	{"a pre-shared key that nobody has", values(&PreSharedKey{PSKID{Type: PSKExternal, ID: []byte("k"), Nonce: nonce32}})},
	{"a resumption key for a branch", values(&PreSharedKey{PSKID{Type: PSKResumption, Usage: UsageBranch, GroupID: []byte("g"), Nonce: nonce32}})},
	{"a type that is not known", values(&UnknownProposal{0xf00d, []byte("x")})},
	{"a reinit beside another", func(m *rustHistory) []Proposal {
		return []Proposal{&ReInit{GroupID: []byte("x"), Version: MLS10, CipherSuite: m.suite}, &Add{m.person().keyPackage()}}
	}},
	{"a reinit to version 0", func(m *rustHistory) []Proposal {
		return []Proposal{&ReInit{GroupID: []byte("x"), CipherSuite: m.suite}}
	}},
	{"no extensions", values(groupContextOf())},
	{"extensions twice", values(groupContextOf(), groupContextOf())},
	{"an extension that nobody supports", values(groupContextOf(Extension{0xf00d, nil}))},
	{"a value that means nothing as extension", values(groupContextOf(Extension{0x0a0a, nil}))},
	{"default extension out of place", func(m *rustHistory) []Proposal {
		return []Proposal{groupContextOf(Extension{[]ExtensionType{ExtensionApplicationID, ExtensionRatchetTree, ExtensionExternalPub}[m.rng.IntN(3)], nil})}
	}},
	{"basic credentials required", values(groupContextOf(RequiredCapabilities{Credentials: []CredentialType{CredentialBasic}}.Extension()))},
	{"a default extension required", func(m *rustHistory) []Proposal {
		return []Proposal{groupContextOf(RequiredCapabilities{Extensions: []ExtensionType{ExtensionType(1 + m.rng.IntN(5))}}.Extension())}
	}},
	{"a default proposal required", func(m *rustHistory) []Proposal {
		return []Proposal{groupContextOf(RequiredCapabilities{Proposals: []ProposalType{ProposalType(1 + m.rng.IntN(7))}}.Extension())}
	}},
	{"an extension required", values(groupContextOf(RequiredCapabilities{Extensions: []ExtensionType{0xf00d}}.Extension()))},
	{"external sender", func(m *rustHistory) []Proposal {
		p := m.person()
		return []Proposal{groupContextOf(ExternalSenders(ExternalSender{p.cfg.Key.Public(), p.cfg.Credential}))}
	}},
	{"external sender with another credential", func(m *rustHistory) []Proposal {
		return []Proposal{groupContextOf(ExternalSenders(ExternalSender{m.person().cfg.Key.Public(), X509Credential([]byte("x"))}))}
	}},
	{"external senders that do not decode", values(groupContextOf(Extension{ExtensionExternalSenders, []byte{9}}))},
	{"required capabilities that do not decode", values(groupContextOf(Extension{ExtensionRequiredCapabilities, []byte{9}}))},
}

// updates are what is done to the leaf of an update.
var updates = []struct {
	name   string
	change func(m *rustHistory, by *person, l *LeafNode)
}{
	{"nothing wrong", func(*rustHistory, *person, *LeafNode) {}},
	{"default extension listed", func(_ *rustHistory, _ *person, l *LeafNode) { l.Capabilities.Extensions = []ExtensionType{1} }},
	{"more extensions listed", func(_ *rustHistory, _ *person, l *LeafNode) { l.Capabilities.Extensions = []ExtensionType{0xf00d} }},
	{"extension that is not listed", func(_ *rustHistory, _ *person, l *LeafNode) { l.Extensions = Extensions{{0xf00e, nil}} }},
	{"no credentials listed", func(_ *rustHistory, _ *person, l *LeafNode) { l.Capabilities.Credentials = nil }},
	{"no suite listed", func(_ *rustHistory, _ *person, l *LeafNode) { l.Capabilities.CipherSuites = nil }},
	{"leaf of a commit", func(_ *rustHistory, _ *person, l *LeafNode) { l.Source = SourceCommit }},
	{"key of another", func(m *rustHistory, _ *person, l *LeafNode) {
		l.EncryptionKey = m.ours[0].group.Member(m.ours[0].group.Own()).EncryptionKey
	}},
	{"key that is none", func(_ *rustHistory, _ *person, l *LeafNode) { l.EncryptionKey = []byte("x") }},
	{"another name", func(_ *rustHistory, _ *person, l *LeafNode) { l.Credential = BasicCredential([]byte("another")) }},
}

// update is an update of by with a key of its own.
func (m *rustHistory) update(by *person, change func(*rustHistory, *person, *LeafNode)) (Proposal, *ownUpdate) {
	m.t.Helper()
	g := by.group
	key := must[*suite.PrivateKey](m.t)(g.suite.GenerateKeyPair(crand.Reader))
	l := copyLeaf(g.Member(g.Own()))
	l.Source, l.EncryptionKey = SourceUpdate, key.Public()
	change(m, by, l)
	signLeaf(m.t, g.suite, l, g.now.signer, g.ID(), g.Own())
	return &Update{l}, &ownUpdate{key: key}
}

// ghost is a member that is none of those who follow, or one of ours if there is none.
func (m *rustHistory) ghost() LeafIndex {
	g := m.ours[0].group
	i, ok := g.Find(func(i LeafIndex, l *LeafNode) bool {
		live := slices.ContainsFunc(m.ours, func(p *person) bool { return p.group.Own() == i }) ||
			slices.Contains(m.rust, string(l.Credential.Identity))
		return !live
	})
	if !ok {
		return 1 << 20
	}
	return i
}

// step tries something.
func (m *rustHistory) step() {
	m.t.Helper()
	hostile := m.ours[0]
	switch n := m.rng.IntN(10); {
	case n < 6: // by value
		x := tricks[m.rng.IntN(len(tricks))]
		list := byValue(hostile.group, x.make(m)...)
		if ch := m.forge(list, m.rng.IntN(2) == 0); ch != nil && m.told(x.name, hostile, "", ch.Commit) {
			if err := ch.Apply(); err != nil {
				m.fail("%v", err)
			}
		} else if ch != nil {
			ch.Discard()
		}
	case n < 8: // by reference: another proposes, and somebody commits what it likes
		x, by := tricks[m.rng.IntN(len(tricks))], m.ours[1]
		var list []Proposal
		var own *ownUpdate
		if m.rng.IntN(3) == 0 {
			u := updates[m.rng.IntN(len(updates))]
			x.name = "update: " + u.name
			var p Proposal
			p, own = m.update(by, u.change)
			list = []Proposal{p}
		} else {
			list = x.make(m)
		}
		for _, p := range list {
			msg := say(m.t, by.group, by.group.now.signer, Sender{Type: SenderMember, Leaf: by.group.Own()}, p)
			for _, o := range m.ours { // who made it keeps it, too
				key := by.group
				if o != by {
					_, err := o.group.Process(msg)
					m.note("%s proposed, %s: %v", x.name, o.name, err)
					continue
				}
				a := &parse(m.t, msg).public.authenticated
				if w, err := key.admit(a, own); err == nil {
					key.keep(w)
				}
			}
			for _, r := range m.rust {
				if _, err := m.peer.call("take", r, map[string]any{"message": msg}); err != nil {
					m.note("%s proposed, %s: %v", x.name, r, err)
				}
			}
		}
		m.commit("choice beside: " + x.name)
	default:
		m.commit("honest")
	}
	if m.ended {
		return
	}
	m.ours = slices.DeleteFunc(m.ours, func(p *person) bool { return !p.group.Active() }) // those who were removed
	if m.ended = len(m.ours) < 2; !m.ended {
		m.agree()
	}
}

// commit is one of ours or of mls-rs, which must be followed; now and then it brings new members, who must be of one
// mind as well.
func (m *rustHistory) commit(what string) {
	m.t.Helper()
	var packages [][]byte
	var joiner *person
	var rust string
	if m.rng.IntN(3) == 0 {
		joiner = m.person()
		k := joiner.keyPackage()
		var theirs []byte
		rust, theirs = m.rustClient()
		packages = [][]byte{k.Marshal(), theirs}
	}
	welcome, made := []byte(nil), false
	if m.rng.IntN(2) == 0 {
		welcome, made = m.commitByRust(what, packages)
	}
	if !made {
		welcome = m.commitByUs(what, packages)
	}
	if joiner == nil || m.ended {
		return
	}
	g, err := Join(joiner.cfg, welcome, JoinOptions{})
	_, err2 := m.peer.call("join", rust, map[string]any{"message": welcome})
	m.note("joiners: %v, %v", err, err2)
	if (err == nil) != (err2 == nil) {
		m.fail("joiners differ")
	}
	if err == nil {
		joiner.group = g
		m.ours, m.rust = append(m.ours, joiner), append(m.rust, rust)
	}
}

func (m *rustHistory) commitByUs(what string, packages [][]byte) (welcome []byte) {
	m.t.Helper()
	by := m.ours[m.rng.IntN(len(m.ours))]
	var o CommitOptions
	for _, b := range packages {
		o.Proposals = append(o.Proposals, &Add{must[*KeyPackage](m.t)(ParseKeyPackage(b))})
	}
	for _, x := range by.group.Members() { // nobody can seal for them
		if by.group.suite.CheckPublicKey(x.Node.EncryptionKey) != nil && x.Leaf != by.group.Own() {
			o.Proposals = append(o.Proposals, &Remove{x.Leaf})
		}
	}
	ch, err := by.group.Commit(o)
	if err != nil {
		m.fail("%s does not commit: %v", by.name, err)
	}
	if !m.told(what+", ours", by, "", ch.Commit) {
		m.fail("an honest commit of %s is refused", by.name)
	}
	if err := ch.Apply(); err != nil {
		m.fail("%v", err)
	}
	m.ended = m.ended || ch.ReInit != nil
	if len(ch.Welcomes) > 0 {
		welcome = ch.Welcomes[0]
	}
	return welcome
}

// commitByRust makes none where mls-rs gives up over what another has proposed.
func (m *rustHistory) commitByRust(what string, packages [][]byte) (welcome []byte, made bool) {
	m.t.Helper()
	by := m.rust[m.rng.IntN(len(m.rust))]
	hexed := []string{}
	for _, b := range packages {
		hexed = append(hexed, fmt.Sprintf("%x", b))
	}
	a, err := m.peer.call("commit", by, map[string]any{"packages": hexed})
	if err != nil {
		m.note("%s does not commit: %v", by, err)
		return nil, false
	}
	if !m.told(what+", mls-rs", nil, by, a.Message) {
		m.fail("an honest commit of %s is refused", by)
	}
	return a.Welcome, true
}

// Members of this package and of mls-rs are of one mind about everything that a hostile member commits, follow each
// other's choice of what others proposed, and join the same groups. MLS_HISTORIES is how many, from seed MLS_SEED on.
func TestHistoriesWithMLSRS(t *testing.T) {
	peer := startRust(t, rustLibrary(t))
	tally := map[string][2]int{}
	seed := number(t, "MLS_SEED", 1)
	for i := range number(t, "MLS_HISTORIES", 100) {
		m := &rustHistory{t: t, rng: rand.New(rand.NewPCG(uint64(seed+i), 56)), suite: CipherSuite(1 + i%2), peer: peer, tally: tally}
		m.note("seed %d", seed+i)
		first := m.person()
		first.group = must[*Group](t)(Create(first.cfg, nil))
		m.ours = []*person{first}
		var o CommitOptions
		second := m.person()
		o.Proposals = append(o.Proposals, &Add{second.keyPackage()})
		for range 2 {
			name, k := m.rustClient()
			m.rust = append(m.rust, name)
			o.Proposals = append(o.Proposals, &Add{must[*KeyPackage](t)(ParseKeyPackage(k))})
		}
		ch := must[*Change](t)(first.group.Commit(o))
		if err := ch.Apply(); err != nil {
			t.Fatal(err)
		}
		second.group = must[*Group](t)(Join(second.cfg, ch.Welcomes[0], JoinOptions{}))
		m.ours = append(m.ours, second)
		for _, r := range m.rust {
			if _, err := peer.call("join", r, map[string]any{"message": ch.Welcomes[0]}); err != nil {
				m.fail("%s does not join: %v", r, err)
			}
		}
		m.agree()
		for range 12 {
			if m.ended {
				break
			}
			m.step()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tally)) {
		t.Logf("%-60s refused %4d, followed %4d", name, tally[name][0], tally[name][1])
	}
}
