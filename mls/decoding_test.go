package mls

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// What is well-formed as bytes and still no message: numbers that mean nothing where it matters.
func TestMessagesThatDoNotDecode(t *testing.T) {
	c := newCrowd(t, 1, 2)
	g, p := c.members[0].group, newPerson(t, 1, "p")
	content := framedContent{groupID: g.ID(), sender: Sender{Type: SenderMember}, kind: ContentProposal, body: body{proposal: &Remove{1}}}
	with := func(change func(*framedContent)) []byte {
		f := content
		change(&f)
		return signed(t, g, p.cfg.Key, f, nil)
	}
	k := must[*KeyPackage](t)(p.cfg.NewKeyPackage())
	source := *k
	source.raw, source.Leaf = nil, copyLeaf(k.Leaf)
	source.Leaf.Source = 4
	psk := func(id PSKID) []byte {
		return with(func(f *framedContent) { f.body.proposal = &PreSharedKey{id} })
	}
	for _, x := range []struct {
		name  string
		msg   []byte
		kind  Kind
		want  string
		cause error
	}{
		{"nothing", nil, Malformed, ": message does not decode", codec.ErrShort},
		{"half a head", []byte{0, 1, 0}, Malformed, ": message does not decode", codec.ErrShort},
		{"another version", []byte{0, 2, 0, 1}, Unsupported, "6: message of protocol version 2", nil},
		{"another wire format", []byte{0, 1, 0, 6}, Unsupported, "6: message of wire format 0x0006", nil},
		{"another sender", with(func(f *framedContent) { f.sender.Type = 5 }), Malformed, ": mls_public_message does not decode", errSender},
		{"another content", with(func(f *framedContent) { f.kind = 4 }), Malformed, ": mls_public_message does not decode", errContent},
		{"another sort of pre-shared key", psk(PSKID{Type: 3}), Malformed, ": mls_public_message does not decode", errPSK},
		{"a resumption key for nothing", psk(PSKID{Type: PSKResumption}), Malformed, ": mls_public_message does not decode", errPSK},
		{"a resumption key for another use", psk(PSKID{Type: PSKResumption, Usage: UsageBranch + 1}), Malformed, ": mls_public_message does not decode", errPSK},
		{"a leaf of another source", source.Marshal(), Malformed, ": mls_key_package does not decode", errSource},
		{"a byte behind", append(k.Marshal(), 0), Malformed, ": mls_key_package does not decode", codec.ErrTrailing},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := ParseMessage(x.msg)
			if wantRefusal(t, err, x.kind, x.want); x.cause != nil && !errors.Is(err, x.cause) {
				t.Errorf("%v, want %v", err, x.cause)
			}
			_, err = ParseKeyPackage(x.msg)
			wantRefusal(t, err, x.kind, x.want)
			_, err = g.Process(x.msg)
			wantRefusal(t, err, x.kind, x.want)
			_, err = Join(p.cfg, x.msg, JoinOptions{})
			wantRefusal(t, err, x.kind, x.want)
			_, _, err = JoinExternal(p.cfg, x.msg, ExternalOptions{})
			wantRefusal(t, err, x.kind, x.want)
		})
	}
	r := codec.NewReader([]byte{3})
	readProposalOrRef(r)
	if !errors.Is(r.Err(), errProposalOrRef) {
		t.Errorf("%v", r.Err())
	}
	_, err := g.Process(k.Marshal())
	wantRefusal(t, err, Malformed, "6: message is mls_key_package, want a public or private message")
}

// Trees of which nothing is worth a look.
func TestTreesThatDoNotDecode(t *testing.T) {
	tr := newCrowd(t, 1, 3).members[0].group.now.tree
	leaf := tr.leaf(0).append([]byte{1, 1})
	parent := (&parentNode{encryptionKey: []byte("key")}).append([]byte{1, 2})
	blank := []byte{0}
	for _, x := range []struct {
		name  string
		nodes [][]byte
		cause error // nil: it decodes
	}{
		{"a leaf", [][]byte{leaf}, nil},
		{"leaves and a parent", [][]byte{leaf, parent, leaf}, nil},
		{"leaves in a tree of four", [][]byte{leaf, blank, blank, blank, leaf}, nil},
		{"none", nil, errTreeNone},
		{"a blank at the end", [][]byte{leaf, parent, blank}, errTreeEnd},
		{"a parent at the end", [][]byte{leaf, parent}, errTreeEven},
		{"a parent in the place of a leaf", [][]byte{parent}, errTreeKind},
		{"a leaf in the place of a parent", [][]byte{leaf, leaf, leaf}, errTreeKind},
		{"a node of another sort", [][]byte{{1, 3}}, errTreeKind},
		{"a presence octet of another sort", [][]byte{{2}}, codec.ErrOptional},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := codec.AppendVector(nil, func(dst []byte) []byte { return append(dst, bytes.Join(x.nodes, nil)...) })
			_, err := readTree(tr.suite, b, Limits{}.filled())
			if x.cause == nil {
				if err != nil {
					t.Error(err)
				}
				_, err = readTree(tr.suite, append(b, 0), Limits{}.filled())
				x.cause = codec.ErrTrailing
			}
			if wantRefusal(t, err, Malformed, ": ratchet tree does not decode"); !errors.Is(err, x.cause) {
				t.Errorf("%v, want %v", err, x.cause)
			}
		})
	}
}

// Keys of messages end: with the last generation, and when they are wiped.
func TestRatchetsEnd(t *testing.T) {
	s := suiteOf(t, 1)
	tree := newSecretTree(s, 2, secretOf(bytes.Repeat([]byte{1}, 32)))
	r := must[*ratchet](t)(tree.ratchet(1, ContentApplication))
	r.next = ^uint32(0) - 1
	var key messageKey
	if _, err := r.key(s, r.next, 10, &key); err != nil {
		t.Error(err)
	}
	r.spend(s, r.next, 10, nil)
	_, err := r.key(s, r.next, 10, &key)
	wantRefusal(t, err, Limit, "9.1: generations are used up")
	g := newCrowd(t, 1, 2).members[0].group
	must[*ratchet](t)(g.now.messages.secrets.ratchet(0, ContentApplication)).next = ^uint32(0)
	_, err = g.Protect(nil, nil, nil)
	wantRefusal(t, err, Limit, "9.1: generations are used up")
	tree.wipe()
	_, err = tree.ratchet(1, ContentApplication)
	wantRefusal(t, err, Misuse, "9: secrets of this epoch are wiped")
}

// Errors of others come through as they are.
func TestErrorsOfOthers(t *testing.T) {
	if err := within(io.EOF, "here %d", 1); !errors.Is(err, io.EOF) || KindOf(err) != 0 || err.Error() != "mls: here 1: EOF" {
		t.Errorf("%v", err)
	}
	if err := within(nil, "here"); err != nil {
		t.Errorf("%v", err)
	}
	err := within(refuseFor(Invalid, "7.3", io.EOF, "what"), "here")
	if wantRefusal(t, err, Invalid, "7.3: here: what"); !errors.Is(err, io.EOF) || err.Error() != "mls: here: what: EOF (RFC 9420 section 7.3)" {
		t.Errorf("%v", err)
	}

	// A store may fail, too.
	broken := errors.New("the store is broken")
	c := newCrowd(t, 1, 2)
	p := newPerson(t, 1, "new")
	w := c.commit(0, CommitOptions{Proposals: []Proposal{&Add{p.keyPackage()}}}).Welcomes[0]
	store := &brokenStore{KeyPackageStore: p.cfg.KeyPackages}
	p.cfg.KeyPackages = store
	for _, at := range []string{"get", "delete", "put"} {
		store.at, store.err = at, broken
		if at == "put" {
			_, err = p.cfg.NewKeyPackage()
		} else {
			_, err = Join(p.cfg, w, JoinOptions{})
		}
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", at, err)
		}
	}
	store.at = ""
	must[*Group](t)(Join(p.cfg, w, JoinOptions{}))
}

// brokenStore fails in one of its methods.
type brokenStore struct {
	KeyPackageStore
	at  string
	err error
}

func (s *brokenStore) Put(ref []byte, p *PrivateKeyPackage) error {
	if s.at == "put" {
		return s.err
	}
	return s.KeyPackageStore.Put(ref, p)
}

func (s *brokenStore) Get(ref []byte) (*PrivateKeyPackage, error) {
	if s.at == "get" {
		return nil, s.err
	}
	return s.KeyPackageStore.Get(ref)
}

func (s *brokenStore) Delete(ref []byte) error {
	if s.at == "delete" {
		return s.err
	}
	return s.KeyPackageStore.Delete(ref)
}
