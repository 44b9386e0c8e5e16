package mls

import (
	"bytes"
	"crypto/cipher"
	"errors"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

var stateKey = bytes.Repeat([]byte{7}, StateKeySize)

// restart replaces a member's group by one from its state.
func (p *person) restart() {
	p.t.Helper()
	state := must[[]byte](p.t)(p.group.MarshalState(stateKey))
	p.group = must[*Group](p.t)(Restore(p.cfg, stateKey, state))
}

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

func TestStatesThatAreRefused(t *testing.T) {
	p := newCrowd(t, 2, 2).members[0]
	must[[]byte](t)(p.group.ProposeUpdate(Identity{Key: must[*SigningKey](t)(GenerateSigningKey(2, nil))}, nil))
	state := must[[]byte](t)(p.group.MarshalState(stateKey))
	flip := func(i int) []byte { b := bytes.Clone(state); b[i] ^= 1; return b }
	for _, c := range []struct {
		name  string
		cfg   *Config
		key   []byte
		state []byte
		kind  Kind
		want  string
	}{
		{"another key", p.cfg, bytes.Repeat([]byte{8}, StateKeySize), state, BadSignature, ": state does not open"},
		{"a short key", p.cfg, stateKey[1:], state, Misuse, ": key of 31 bytes"},
		{"damaged at the end", p.cfg, stateKey, flip(len(state) - 1), BadSignature, ": state does not open"},
		{"damaged in the midst", p.cfg, stateKey, flip(len(state) / 2), BadSignature, ": state does not open"},
		{"another version", p.cfg, stateKey, flip(len(stateMagic)), Unsupported, ": state of version 0"},
		{"something else", p.cfg, stateKey, flip(0), Malformed, ": no state of a group"},
		{"cut", p.cfg, stateKey, state[:len(state)-1], BadSignature, ": state does not open"},
		{"a stump", p.cfg, stateKey, state[:12], Malformed, ": no state of a group"},
		{"nothing", p.cfg, stateKey, nil, Malformed, ": no state of a group"},
		{"another suite", newPerson(t, 1, "x").cfg, stateKey, state, Malformed, ": state of a group does not decode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Restore(c.cfg, c.key, c.state)
			wantRefusal(t, err, c.kind, c.want)
		})
	}
	_, err := p.group.MarshalState(stateKey[1:])
	wantRefusal(t, err, Misuse, ": key of 31 bytes")

	strict := *p.cfg
	strict.Limits.Members = 1
	_, err = Restore(&strict, stateKey, state)
	wantRefusal(t, err, Limit, ": ratchet tree of more than 1 members")

	// States that only who has the key can make.
	zero := func(secret []byte) func(*Group, []byte) {
		return func(_ *Group, text []byte) {
			for at := bytes.Index(text, secret); at >= 0; at = bytes.Index(text, secret) {
				clear(text[at : at+len(secret)])
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Group)
		damage func(*Group, []byte)
		cause  error
	}{
		{"whose leaf is blank", func(g *Group) { g.now.own = 9 }, nil, errStateLeaf},
		{"whose secret tree is of another size", func(g *Group) { g.now.messages.secrets.leaves = 8 }, nil, errStateTree},
		{"whose context does not decode", func(g *Group) { g.now.raw = append(g.now.raw, 0) }, nil, codec.ErrTrailing},
		{"whose proposal does not decode", func(g *Group) {
			g.proposals[0].Proposal = &UnknownProposal{ProposalRemove, nil}
		}, nil, codec.ErrShort},
		{"whose private key is none", nil, zero(p.group.now.keys[0].Bytes()), errStateKey},
		{"whose signature key is none", nil, zero(p.group.now.signer.Bytes()), errStateKey},
		{"whose update's key is none", nil, zero(p.group.proposals[0].own.key.Bytes()), errStateKey},
		{"whose update's signature key is none", nil, zero(p.group.proposals[0].own.signer.Bytes()), errStateKey},
		{"whose secret is long", nil, func(g *Group, text []byte) { // its length, and that of what follows
			at := bytes.Index(text, g.now.secrets.init.Bytes()) - 1
			copy(text[at:], []byte{0x40, 0x41})
		}, errStateSize},
		{"with a byte behind", nil, nil, codec.ErrTrailing},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := must[*Group](t)(Restore(p.cfg, stateKey, state))
			if c.change != nil {
				c.change(g)
			}
			text := g.appendState(nil)
			if c.damage != nil {
				c.damage(g, text)
			}
			if c.change == nil && c.damage == nil {
				text = append(text, 0)
			}
			head := append([]byte(stateMagic), stateVersion)
			aead := must[cipher.AEAD](t)(stateAEAD(stateKey))
			nonce := make([]byte, aead.NonceSize())
			_, err := Restore(p.cfg, stateKey, aead.Seal(append(bytes.Clone(head), nonce...), nonce, text, head))
			if wantRefusal(t, err, Malformed, ": state of a group does not decode"); !errors.Is(err, c.cause) {
				t.Errorf("%v, want %v", err, c.cause)
			}
		})
	}
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
