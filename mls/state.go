package mls

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// The form of an exported state: stateMagic, a version, a nonce, and the rest sealed with AES-256-GCM under the caller's key,
// with what stands in front of the nonce authenticated as well.
const (
	stateMagic   = "mls-group"
	stateVersion = 1

	// StateKeySize is the length of the keys of MarshalState.
	StateKeySize = 32
)

// MarshalState serialises the group with all its secrets, sealed under a key of StateKeySize bytes. Who restores an old state of a group that
// has sent since would use keys again that were used: keep the state behind every call of Protect, Propose or Commit before what
// they return is sent.
func (g *Group) MarshalState(key []byte) ([]byte, error) {
	aead, err := stateAEAD(key)
	if err != nil {
		return nil, err
	}
	text := g.appendState(make([]byte, 0, g.stateRoom()))
	defer func() { clear(text[:cap(text)]) }()
	head := append([]byte(stateMagic), stateVersion)
	dst := append(make([]byte, 0, len(head)+aead.NonceSize()+len(text)+aead.Overhead()), head...)
	dst = dst[:len(head)+aead.NonceSize()]
	if _, err := io.ReadFull(g.cfg.random(), dst[len(head):]); err != nil {
		return nil, fmt.Errorf("mls: randomness: %w", err)
	}
	return aead.Seal(dst, dst[len(head):], text, head), nil
}

// Restore is the reverse of MarshalState. cfg is as it was for the group; its key is used only for what is made anew.
func Restore(cfg *Config, key, state []byte) (*Group, error) {
	s, err := cfg.suite()
	if err != nil {
		return nil, err
	}
	aead, err := stateAEAD(key)
	if err != nil {
		return nil, err
	}
	head := len(stateMagic) + 1
	switch {
	case len(state) < head+aead.NonceSize() || !bytes.HasPrefix(state, []byte(stateMagic)):
		return nil, refuse(Malformed, "", "no state of a group")
	case state[head-1] != stateVersion:
		return nil, refuse(Unsupported, "", "state of version %d, this is %d", state[head-1], stateVersion)
	}
	text, err := aead.Open(nil, state[head:head+aead.NonceSize()], state[head+aead.NonceSize():], state[:head])
	if err != nil {
		return nil, refuse(BadSignature, "", "state does not open: it is damaged, or of another key")
	}
	r := codec.NewReader(text)
	g := &Group{cfg: cfg, suite: s, limits: cfg.Limits.filled()}
	g.readState(r)
	if err := r.Finish(); err != nil {
		return nil, malformed(err, "state of a group")
	}
	return g, nil
}

// stateRoom is at least the length of the state: growing would leave secrets behind in what was outgrown.
func (g *Group) stateRoom() int {
	const each = 256 // of keys, secrets and ratchets, with their numbers and lengths
	n := 64*each + len(g.now.raw) + 4096*len(g.now.keys)
	for _, k := range append([]*epochKeys{g.now.messages}, g.past...) {
		n += len(k.context) + len(k.tree.append(nil)) + each*(2+len(k.secrets.closed))
		for _, r := range k.secrets.ratchets {
			n += 2*each + 64*(len(r.handshake.skipped)+len(r.application.skipped))
		}
	}
	n += each * len(g.resumption)
	if g.reinit != nil {
		n += len(g.reinit.appendBody(nil))
	}
	for _, p := range g.proposals {
		n += 2*4096 + len(appendProposal(nil, p.Proposal))
	}
	return n
}

func stateAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != StateKeySize {
		return nil, refuse(Misuse, "", "key of %d bytes for the state of a group, want %d", len(key), StateKeySize)
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

func appendBool(dst []byte, b bool) []byte { return codec.AppendOptional(dst, b) }

func (g *Group) appendState(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(g.suite.ID()))
	dst = appendBool(dst, g.removed)
	dst = appendBool(dst, g.reinit != nil)
	if g.reinit != nil {
		dst = g.reinit.appendBody(dst)
	}
	dst = g.now.appendState(dst)
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, p := range g.past {
			dst = p.appendState(dst)
		}
		return dst
	})
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, r := range g.resumption {
			dst = codec.AppendOpaque(binary.BigEndian.AppendUint64(dst, r.epoch), r.secret.Bytes())
		}
		return dst
	})
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for _, p := range g.proposals {
			dst = p.appendState(dst)
		}
		return dst
	})
}

var (
	errStateSuite = errors.New("state is of another cipher suite than the configuration")
	errStateKey   = errors.New("private key in the state does not parse")
	errStateLeaf  = errors.New("state has no own leaf")
	errStateTree  = errors.New("secret tree in the state is not of the size of the tree")
	errStateSize  = errors.New("secret in the state has a wrong length")
)

func (g *Group) readState(r *codec.Reader) {
	if cs := CipherSuite(r.Uint16()); r.Err() == nil && cs != g.suite.ID() {
		r.Fail(errStateSuite)
	}
	g.removed = r.Optional()
	if r.Optional() {
		g.reinit = &ReInit{r.Opaque(), ProtocolVersion(r.Uint16()), CipherSuite(r.Uint16()), readExtensions(r)}
	}
	g.now = readEpochState(r, g.suite, g.limits)
	r.Vector(codec.MaxVector, func(r *codec.Reader) { g.past = append(g.past, readKeysState(r, g.suite, g.limits)) })
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		g.resumption = append(g.resumption, resumption{r.Uint64(), readSecret(r)})
	})
	r.Vector(codec.MaxVector, func(r *codec.Reader) { g.proposals = append(g.proposals, readPendingState(r, g.suite)) })
}

func readSecret(r *codec.Reader) *suite.Secret {
	s := new(suite.Secret)
	setSecret(r, s)
	return s
}

func setSecret(r *codec.Reader, s *suite.Secret) {
	b := r.Opaque()
	if len(b) > suite.MaxSecret {
		r.Fail(errStateSize)
		return
	}
	s.Set(b)
	clear(b)
}

func (e *epoch) appendState(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, e.raw)
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.own))
	dst = codec.AppendOpaque(dst, e.interim)
	dst = codec.AppendOpaque(dst, e.tag)
	var signer []byte // a wiped group has none
	if e.signer != nil {
		signer = e.signer.Bytes()
	}
	dst = codec.AppendOpaque(dst, signer)
	for _, s := range e.secrets.all() {
		dst = codec.AppendOpaque(dst, s.Bytes())
	}
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, n := range slices.Sorted(maps.Keys(e.keys)) {
			dst = codec.AppendOpaque(binary.BigEndian.AppendUint32(dst, uint32(n)), e.keys[n].Bytes())
		}
		return dst
	})
	return e.messages.appendState(dst)
}

func readEpochState(r *codec.Reader, s *suite.Suite, limits Limits) *epoch {
	e := &epoch{suite: s, raw: r.Opaque(), own: LeafIndex(r.Uint32()), interim: r.Opaque(), tag: r.Opaque(), keys: keyring{}}
	signer := r.Opaque()
	for _, sec := range e.secrets.all() {
		setSecret(r, sec)
	}
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		n, b := treemath.Node(r.Uint32()), r.Opaque()
		if r.Err() != nil {
			return
		}
		k, err := s.ParsePrivateKey(b)
		if err != nil {
			r.Fail(errStateKey)
		}
		e.keys[n] = k
		clear(b)
	})
	e.messages = readKeysState(r, s, limits)
	if r.Err() != nil {
		return e
	}
	context := codec.NewReader(e.raw)
	e.context = readGroupContext(context)
	if err := context.Finish(); err != nil {
		r.Fail(err)
	}
	e.tree = e.messages.tree
	if len(signer) > 0 {
		var err error
		if e.signer, err = s.ParseSigningKey(signer); err != nil {
			r.Fail(errStateKey)
		}
		clear(signer)
	}
	if e.tree.leaf(e.own) == nil {
		r.Fail(errStateLeaf)
	}
	return e
}

func (k *epochKeys) appendState(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, k.epoch)
	dst = codec.AppendOpaque(dst, k.context)
	dst = codec.AppendOpaque(dst, k.tree.append(nil))
	dst = codec.AppendOpaque(dst, k.senderData.Bytes())
	return k.secrets.appendState(dst)
}

func readKeysState(r *codec.Reader, s *suite.Suite, limits Limits) *epochKeys {
	k := &epochKeys{epoch: r.Uint64(), context: r.Opaque()}
	packed := r.Opaque()
	setSecret(r, &k.senderData)
	k.secrets = readTreeState(r, s)
	if r.Err() != nil {
		return k
	}
	t, err := readTree(s, packed, limits)
	if err != nil {
		r.Fail(err)
		return k
	}
	if k.secrets.leaves != t.size() {
		r.Fail(errStateTree)
	}
	k.tree = t
	return k
}

func (t *secretTree) appendState(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, t.leaves)
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, n := range slices.Sorted(maps.Keys(t.closed)) {
			dst = codec.AppendOpaque(binary.BigEndian.AppendUint32(dst, uint32(n)), t.closed[n].Bytes())
		}
		return dst
	})
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for _, l := range slices.Sorted(maps.Keys(t.ratchets)) {
			r := t.ratchets[l]
			dst = binary.BigEndian.AppendUint32(dst, uint32(l))
			dst = r.application.appendState(r.handshake.appendState(dst))
		}
		return dst
	})
}

func readTreeState(r *codec.Reader, s *suite.Suite) *secretTree {
	t := &secretTree{suite: s, leaves: r.Uint32(), closed: map[treemath.Node]*suite.Secret{}, ratchets: map[LeafIndex]*ratchets{}}
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		n := treemath.Node(r.Uint32())
		t.closed[n] = readSecret(r)
	})
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		l := LeafIndex(r.Uint32())
		pair := new(ratchets)
		pair.handshake.readState(r)
		pair.application.readState(r)
		t.ratchets[l] = pair
	})
	return t
}

func (c *ratchet) appendState(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, c.secret.Bytes())
	dst = binary.BigEndian.AppendUint32(dst, c.next)
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for _, g := range slices.Sorted(maps.Keys(c.skipped)) {
			dst = binary.BigEndian.AppendUint32(dst, g)
			dst = append(append(dst, c.skipped[g].key[:]...), c.skipped[g].nonce[:]...)
		}
		return dst
	})
}

func (c *ratchet) readState(r *codec.Reader) {
	setSecret(r, &c.secret)
	c.next = r.Uint32()
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		g, k := r.Uint32(), new(messageKey)
		b := r.Fixed(maxKey + nonceSize)
		copy(k.key[:], b)
		copy(k.nonce[:], b[min(len(b), maxKey):])
		clear(b)
		if c.skipped == nil {
			c.skipped = map[uint32]*messageKey{}
		}
		c.skipped[g] = k
	})
}

func (p *pending) appendState(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, appendProposal(nil, p.Proposal))
	dst = p.Sender.append(dst)
	dst = codec.AppendOpaque(dst, p.ref)
	dst = appendBool(dst, p.own != nil)
	if p.own == nil {
		return dst
	}
	dst = codec.AppendOpaque(dst, p.own.key.Bytes())
	dst = appendBool(dst, p.own.signer != nil)
	if p.own.signer != nil {
		dst = codec.AppendOpaque(dst, p.own.signer.Bytes())
	}
	return dst
}

func readPendingState(r *codec.Reader, s *suite.Suite) pending {
	packed := codec.NewReader(r.Opaque())
	p := pending{Committed: Committed{Proposal: readProposal(packed), Sender: readSender(r), ByReference: true}, ref: r.Opaque()}
	if err := packed.Finish(); err != nil {
		r.Fail(err)
	}
	if !r.Optional() {
		return p
	}
	p.own = new(ownUpdate)
	var err error
	key := r.Opaque()
	if p.own.key, err = s.ParsePrivateKey(key); err != nil {
		r.Fail(errStateKey)
	}
	clear(key)
	if r.Optional() {
		signer := r.Opaque()
		if p.own.signer, err = s.ParseSigningKey(signer); err != nil {
			r.Fail(errStateKey)
		}
		clear(signer)
	}
	return p
}
