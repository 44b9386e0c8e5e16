package mls

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"
)

func TestExternalJoin(t *testing.T) {
	t.Parallel()
	for _, cs := range []CipherSuite{1, 2, 4, 65100} {
		t.Run(cs.String(), func(t *testing.T) {
			c := newCrowd(t, cs, 3)
			join := func(p *person, o ExternalOptions, withTree bool) {
				t.Helper()
				info := must[[]byte](t)(c.members[0].group.GroupInfo(withTree, true))
				if !withTree {
					o.Tree = c.members[0].group.Tree()
				}
				g, msg, err := JoinExternal(p.cfg, info, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range c.members {
					if m == p {
						continue
					}
					r := must[*Received](t)(m.group.Process(msg))
					if r.Sender.Type != SenderNewMemberCommit || len(r.Change.Added) != 1 || r.Change.Added[0].Leaf != g.Own() {
						t.Errorf("change %+v", r.Change)
					}
					if err := r.Change.Apply(); err != nil {
						t.Fatal(err)
					}
				}
				p.group = g
			}
			p := newPerson(t, cs, "outsider")
			join(p, ExternalOptions{}, true)
			c.members = append(c.members, p)
			c.agree()
			c.commit(3, CommitOptions{})
			c.agree()

			// Resync: the same client again, its old leaf goes.
			old := c.members[1].group.Own()
			p = newPerson(t, cs, "m1")
			p.psks["k"] = []byte("key")
			for _, m := range c.members {
				m.psks["k"] = []byte("key")
			}
			lost := c.members[1]
			c.members = append(c.members[:1:1], c.members[2:]...)
			join(p, ExternalOptions{Resync: &old, PSKs: [][]byte{[]byte("k")}}, false)
			c.members = append(c.members, p)
			c.agree()
			if lost.group.Epoch() == p.group.Epoch() {
				t.Error("the old appearance came along")
			}
		})
	}
}

func TestGroupInfoWithoutExternalPub(t *testing.T) {
	c := newCrowd(t, 1, 2)
	_, _, err := JoinExternal(newPerson(t, 1, "x").cfg, must[[]byte](t)(c.members[0].group.GroupInfo(true, false)), ExternalOptions{})
	wantRefusal(t, err, Missing, "12.4.3.2: has no external_pub extension")
	_, _, err = JoinExternal(newPerson(t, 1, "x").cfg, must[[]byte](t)(c.members[0].group.GroupInfo(false, true)), ExternalOptions{})
	wantRefusal(t, err, Missing, "12.4.3.3: group info holds no tree")
}

// forgedInfo is a group info that its maker changes before signing it.
type forgedInfo struct {
	*groupInfo
	tree   *tree
	signer *SigningKey
}

// set replaces an extension of the group info.
func (f *forgedInfo) set(t ExtensionType, data []byte) {
	f.extensions = slices.DeleteFunc(f.extensions, func(x Extension) bool { return x.Type == t })
	f.extensions = append(f.extensions, Extension{t, data})
}

// retree puts the tree in its place. The context agrees with it.
func (f *forgedInfo) retree() {
	f.context.treeHash = f.tree.hash()
	f.set(ExtensionRatchetTree, f.tree.append(nil))
}

// Group infos that nobody should join by; and joiners whom the group would refuse.
func TestHostileGroupInfos(t *testing.T) {
	t.Parallel()
	other := newPerson(t, 1, "service")
	senders := ExternalSenders(ExternalSender{other.cfg.Key.Public(), other.cfg.Credential})
	refuses := func(place Place) func(*Config) {
		return func(c *Config) {
			c.Credentials = func(p *Presented) error {
				if p.Place == place && (place != PlaceMember || p.Leaf == 2) {
					return errors.New("unknown")
				}
				return nil
			}
		}
	}
	blank := LeafIndex(9)
	for _, c := range []struct {
		name   string
		change func(*forgedInfo) // may be nil
		joiner func(*Config)     // may be nil
		o      ExternalOptions
		kind   Kind // 0: it joins
		want   string
	}{
		{name: "an honest one"},
		{"the signer is another", func(f *forgedInfo) { f.groupInfo.signer = 1 }, nil, ExternalOptions{}, BadSignature, "12.4.3.1: signature of a group info by leaf 1"},
		{"the signer is blank", func(f *forgedInfo) { f.groupInfo.signer = 9 }, nil, ExternalOptions{}, Invalid, "12.4.3.1: signed by leaf 9, which is blank"},
		{"of another suite", func(f *forgedInfo) { f.context.suite = 3 }, nil, ExternalOptions{}, Unsupported, "12.4.3.2: this client has"},
		{"the tree is another", func(f *forgedInfo) { f.context.treeHash = make([]byte, 32) }, nil, ExternalOptions{}, Invalid, "12.4.3.1: tree hash is not that"},
		{"the tree does not decode", func(f *forgedInfo) { f.set(ExtensionRatchetTree, []byte{9}) }, nil, ExternalOptions{}, Malformed, ": ratchet tree does not decode"},
		{"a leaf is not signed", func(f *forgedInfo) {
			l := copyLeaf(f.tree.leaf(0))
			l.Signature = make([]byte, 64)
			f.tree.setLeaf(0, l)
			f.retree()
		}, nil, ExternalOptions{}, BadSignature, "7.3: leaf 0: signature of a leaf node"},
		{"the extensions are not supported", func(f *forgedInfo) { f.context.extensions = Extensions{{0xf00d, nil}} }, nil, ExternalOptions{}, Invalid, "13.4: leaf 0: leaf node does not support"},
		{"external_senders do not decode", func(f *forgedInfo) { f.context.extensions = Extensions{{ExtensionExternalSenders, []byte{9}}} }, nil, ExternalOptions{}, Malformed, ": external_senders extension"},
		{"required_capabilities do not decode", func(f *forgedInfo) { f.context.extensions = Extensions{{ExtensionRequiredCapabilities, []byte{9}}} }, nil, ExternalOptions{}, Malformed, ": required_capabilities extension"},
		{"external_pub does not decode", func(f *forgedInfo) { f.set(ExtensionExternalPub, []byte{9}) }, nil, ExternalOptions{}, Malformed, ": external_pub extension"},
		{"external_pub is no key", func(f *forgedInfo) { f.set(ExtensionExternalPub, []byte{1, 9}) }, nil, ExternalOptions{}, Invalid, "8.3: external_pub of a group info"},
		{"external_pub is of low order", func(f *forgedInfo) { f.set(ExtensionExternalPub, append([]byte{32}, make([]byte, 32)...)) }, nil, ExternalOptions{}, Invalid, "8.3: external_pub of a group info"},
		{"a member is refused", nil, refuses(PlaceMember), ExternalOptions{}, Refused, "5.3.1: leaf 2: credential of basic was refused"},
		{"an external sender is refused", func(f *forgedInfo) { f.context.extensions = Extensions{senders} }, refuses(PlaceProposer), ExternalOptions{}, Refused, "5.3.1: external_senders: credential of basic was refused"},
		{"the joiner has a member's signature key", nil, func(c *Config) { c.Key = newPerson(t, 1, "m2").cfg.Key }, ExternalOptions{}, Invalid, "7.3: leaves 2 and 4 have the same signature_key"},
		{"the joiner takes out nobody", nil, nil, ExternalOptions{Resync: &blank}, Invalid, "12.1.3: leaf 9 is blank"},
		{"the joiner has no such key", nil, nil, ExternalOptions{PSKs: [][]byte{[]byte("k")}}, Missing, "8.4: pre-shared key 6b is not here"},
		{"the joiner knows of no keys", nil, func(c *Config) { c.PSK = nil }, ExternalOptions{PSKs: [][]byte{[]byte("k")}}, Missing, "8.4: Config.PSK is nil"},
		{"more members than the joiner allows", nil, func(c *Config) { c.Limits.Members = 4 }, ExternalOptions{}, Limit, ": group of 5 members"},
		{"the tree would be deeper than the joiner allows", nil, func(c *Config) { c.Limits.Depth = 2 }, ExternalOptions{}, Limit, ": ratchet tree of 8 leaves"},
		{"a longer message than the joiner allows", nil, func(c *Config) { c.Limits.Message = 100 }, ExternalOptions{}, Limit, ": group info or tree of more than 100 bytes"},
		{"a longer tree than the joiner allows", nil, nil, ExternalOptions{Tree: make([]byte, DefaultLimits().Message+1)}, Limit, ": group info or tree of more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			crowd := newCrowd(t, 1, 4)
			crowd.commit(1, CommitOptions{})
			crowd.commit(0, CommitOptions{})
			g := crowd.members[0].group
			p := newPerson(t, 1, "joiner")
			if c.joiner != nil {
				c.joiner(p.cfg)
			}
			f := &forgedInfo{parse(t, must[[]byte](t)(g.GroupInfo(true, true))).groupInfo, g.now.tree.clone(), g.now.signer}
			if c.change != nil {
				c.change(f)
			}
			if err := f.sign(g.suite, rand.Reader, f.signer); err != nil {
				t.Fatal(err)
			}
			_, _, err := JoinExternal(p.cfg, f.append(appendMessageHead(nil, WireGroupInfo)), c.o)
			if c.kind != 0 {
				wantRefusal(t, err, c.kind, c.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	// A value that means nothing in the group context, which everybody happens to list (section 13.5).
	grease := func(c *Config) { c.Capabilities.Extensions = []ExtensionType{0x0a0a} }
	c := newCrowd(t, 1, 2, grease)
	g := c.members[0].group
	f := &forgedInfo{parse(t, must[[]byte](t)(g.GroupInfo(true, true))).groupInfo, g.now.tree, g.now.signer}
	f.context.extensions = Extensions{{0x0a0a, nil}}
	if err := f.sign(g.suite, rand.Reader, f.signer); err != nil {
		t.Fatal(err)
	}
	_, _, err := JoinExternal(newPerson(t, 1, "joiner", grease).cfg, f.append(appendMessageHead(nil, WireGroupInfo)), ExternalOptions{})
	wantRefusal(t, err, Invalid, "13.5: in a group context: nobody supports it")

	c = newCrowd(t, 1, 2)
	info := must[[]byte](t)(c.members[0].group.GroupInfo(true, true))
	p := newPerson(t, 1, "joiner")
	info[len(info)-1] ^= 1
	_, _, err = JoinExternal(p.cfg, info, ExternalOptions{})
	wantRefusal(t, err, BadSignature, "12.4.3.1: signature of a group info by leaf 0")
	_, _, err = JoinExternal(p.cfg, p.keyPackage().Marshal(), ExternalOptions{})
	wantRefusal(t, err, Malformed, "12.4.3.2: want a group info")
}
