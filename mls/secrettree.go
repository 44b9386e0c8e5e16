package mls

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

const (
	maxKey    = 32 // bytes of an AEAD key
	nonceSize = 12
)

// messageKey is key and nonce of one message.
type messageKey struct {
	key   [maxKey]byte
	nonce [nonceSize]byte
}

func (m *messageKey) wipe() { *m = messageKey{} }

// guard mixes the reuse guard into the nonce (RFC 9420, section 6.3.1).
func (m *messageKey) guard(g [4]byte) {
	for i := range g {
		m.nonce[i] ^= g[i]
	}
}

// secretTree gives the keys of one epoch's messages (section 9). A secret lives until what is derived from it has been, as section
// 9.2 asks: deriving a leaf replaces the secrets above it by those beside its path.
type secretTree struct {
	suite    *suite.Suite
	leaves   uint32
	closed   map[treemath.Node]*suite.Secret // of subtrees in which nobody has been derived
	ratchets map[LeafIndex]*ratchets
	log      spentLog // what its ratchets spent, to be saved
}

// ratchets are the two of a member.
type ratchets struct{ handshake, application ratchet }

// ratchet is a chain of keys. Those that were jumped over are kept.
type ratchet struct {
	secret  suite.Secret
	next    uint32
	skipped map[uint32]*messageKey

	tree *secretTree // whose log it keeps; nil of a ratchet that is only tried
	leaf LeafIndex
	kind ContentType // ContentApplication, or any other: all handshakes have one
}

// newSecretTree takes the encryption secret and wipes it.
func newSecretTree(s *suite.Suite, leaves uint32, encryption *suite.Secret) *secretTree {
	root := new(suite.Secret)
	root.Take(encryption)
	return &secretTree{suite: s, leaves: leaves, closed: map[treemath.Node]*suite.Secret{treemath.Root(leaves): root},
		ratchets: map[LeafIndex]*ratchets{}}
}

func (t *secretTree) wipe() {
	for _, s := range t.closed {
		s.Wipe()
	}
	for _, r := range t.ratchets {
		r.handshake.wipe()
		r.application.wipe()
	}
	clear(t.closed)
	clear(t.ratchets)
	t.log = spentLog{}
}

// newRatchets are those of a leaf, without secrets yet.
func (t *secretTree) newRatchets(l LeafIndex) *ratchets {
	return &ratchets{handshake: ratchet{tree: t, leaf: l, kind: ContentProposal}, application: ratchet{tree: t, leaf: l, kind: ContentApplication}}
}

// retire wipes what late messages do not need: the ratchets of handshakes, and those of this member.
func (t *secretTree) retire(own LeafIndex) {
	for l, r := range t.ratchets {
		r.handshake.wipe()
		if l == own {
			r.application.wipe()
		}
	}
}

func (r *ratchet) wipe() {
	if r == nil {
		return
	}
	r.secret.Wipe()
	for _, k := range r.skipped {
		k.wipe()
	}
	clear(r.skipped)
}

// ratchet is that of a leaf for a kind of content.
func (t *secretTree) ratchet(l LeafIndex, kind ContentType) (*ratchet, error) {
	r := t.ratchets[l]
	if r == nil {
		if r = t.deriveLeaf(l); r == nil {
			return nil, refuse(Misuse, "9", "secrets of this epoch are wiped")
		}
	}
	if kind == ContentApplication {
		return &r.application, nil
	}
	return &r.handshake, nil
}

// deriveLeaf derives the ratchets of l; nil if there is no secret above it. Only the root has one at first; each time,
// the nodes beside the path to the leaf get theirs.
func (t *secretTree) deriveLeaf(l LeafIndex) *ratchets {
	n := l.Node()
	for t.closed[n] == nil {
		if n == treemath.Root(t.leaves) {
			return nil
		}
		n = n.Parent()
	}
	var secret suite.Secret
	defer secret.Wipe()
	secret.Take(t.closed[n])
	delete(t.closed, n)
	for !n.IsLeaf() {
		down := n.Child(l.Node())
		side := "right"
		other := "left"
		if down == n.Left() {
			side, other = other, side
		}
		beside := new(suite.Secret)
		t.suite.ExpandSecret(beside, &secret, "tree", []byte(other))
		t.closed[down.Sibling()] = beside
		t.suite.ExpandSecret(&secret, &secret, "tree", []byte(side))
		n = down
	}
	r := t.newRatchets(l)
	t.suite.ExpandSecret(&r.handshake.secret, &secret, "handshake", nil)
	t.suite.ExpandSecret(&r.application.secret, &secret, "application", nil)
	t.ratchets[l] = r
	return r
}

// check refuses generations whose key is not here, and jumps of more than window.
func (r *ratchet) check(g, window uint32) error {
	switch {
	case g < r.next:
		if r.skipped[g] == nil {
			return refuse(Replayed, "9.2", "key of generation %d is used up", g)
		}
	case g-r.next > window:
		return refuse(Limit, "9.1", "generation %d is %d ahead, more than %d", g, g-r.next, window)
	case g == ^uint32(0):
		return refuse(Limit, "9.1", "generations are used up")
	}
	return nil
}

// key sets out to the key of generation g, which check must let pass, and changes nothing: a message may yet turn out
// to be worthless. Where generations are jumped over, ahead is the ratchet at g with their keys: to be held by a claim,
// or wiped.
func (r *ratchet) key(s *suite.Suite, g uint32, window uint32, out *messageKey) (ahead *ratchet, err error) {
	if err := r.check(g, window); err != nil {
		return nil, err
	}
	switch {
	case g < r.next:
		*out = *r.skipped[g]
		return nil, nil
	case g == r.next:
		r.derive(s, out)
		return nil, nil
	}
	ahead = &ratchet{next: r.next, skipped: make(map[uint32]*messageKey, g-r.next)}
	ahead.secret.Set(r.secret.Bytes())
	for ahead.next < g {
		k := new(messageKey)
		ahead.derive(s, k)
		ahead.skipped[ahead.next] = k
		ahead.step(s)
	}
	ahead.derive(s, out)
	return ahead, nil
}

// claim is the key of one generation, lent to a message whose signature is not verified yet. The ratchet is where it
// was; it moves when the claim is spent, and not at all when it is wiped.
type claim struct {
	ratchet    *ratchet
	generation uint32
	from       uint32  // the generation of the ratchet, or of another claim's after, that it starts from
	after      ratchet // the ratchet past generation, with the keys from from on; empty if the key was one that is kept
}

// base is where the key of c is derived from: the ratchet, or what another claim on it leaves behind, whichever is
// nearest.
func (c *claim) base(underWay []*Verified) *ratchet {
	base := c.ratchet
	for _, v := range slices.Backward(underWay) {
		if base.next == c.generation {
			break
		}
		if o := &v.claim; o.ratchet == c.ratchet && o.after.next > base.next && o.after.next <= c.generation {
			base = &o.after
		}
	}
	return base
}

// hold notes what the claim leaves behind, when its key has decrypted something. base and ahead are what the key came
// from.
func (c *claim) hold(s *suite.Suite, base, ahead *ratchet) {
	if c.generation < base.next {
		return
	}
	c.from = base.next
	if ahead == nil {
		c.after.secret.Set(base.secret.Bytes())
	} else {
		c.after.secret.Take(&ahead.secret)
		c.after.skipped = ahead.skipped
	}
	c.after.next = c.generation
	c.after.step(s)
}

// spend uses the key up, which is still there, as check said, and keeps those that are jumped over.
func (c *claim) spend(s *suite.Suite, window uint32) {
	r := c.ratchet
	if c.generation >= r.next && c.from != r.next { // other messages were accepted or refused than those that it starts from
		c.after.wipe()
		var key messageKey
		ahead, err := r.key(s, c.generation, window, &key)
		if err != nil {
			panic("mls: key of a claim that was checked is not there")
		}
		key.wipe()
		c.hold(s, r, ahead)
	}
	r.spend(s, c.generation, window, &c.after)
}

// spend uses up the key of generation g. Unless it is a skipped one, after is the ratchet past it, with the keys that
// are jumped over; nil: none are.
func (r *ratchet) spend(s *suite.Suite, g, window uint32, after *ratchet) {
	if r.tree != nil {
		r.tree.log.add(spentKey{r.leaf, g, r.kind})
	}
	switch {
	case g < r.next:
		r.skipped[g].wipe()
		delete(r.skipped, g)
	case after == nil:
		r.step(s)
	default:
		r.jump(after, window)
	}
}

// jump goes where after is, and keeps the keys of the last window generations that were jumped over.
func (r *ratchet) jump(after *ratchet, window uint32) {
	r.secret.Take(&after.secret)
	r.next = after.next
	if r.skipped == nil {
		r.skipped = after.skipped
	} else {
		maps.Copy(r.skipped, after.skipped)
	}
	after.skipped = nil
	r.evict(window)
}

// wipe gives the key back.
func (c *claim) wipe() {
	c.after.wipe()
	c.after.next = 0 // nothing starts from here
}

// evict keeps the skipped keys of the last window generations before the one that was used last.
func (r *ratchet) evict(window uint32) {
	if len(r.skipped) <= int(window) {
		return
	}
	for g, k := range r.skipped {
		if r.next-1-g > window {
			k.wipe()
			delete(r.skipped, g)
		}
	}
}

func (r *ratchet) derive(s *suite.Suite, out *messageKey) {
	s.DeriveTreeSecret(out.key[:s.KeySize()], &r.secret, "key", r.next)
	s.DeriveTreeSecret(out.nonce[:], &r.secret, "nonce", r.next)
}

func (r *ratchet) step(s *suite.Suite) {
	var room [suite.MaxSecret]byte
	next := room[:s.HashSize()]
	s.DeriveTreeSecret(next, &r.secret, "secret", r.next)
	r.secret.Set(next)
	clear(next)
	r.next++
}

// senderData is SenderData (section 6.3.2).
type senderData struct {
	leaf       LeafIndex
	generation uint32
	guard      [4]byte
}

const senderDataSize = 12

func (d *senderData) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(d.leaf))
	dst = binary.BigEndian.AppendUint32(dst, d.generation)
	return append(dst, d.guard[:]...)
}

func parseSenderData(b []byte) (d senderData, ok bool) {
	if len(b) != senderDataSize {
		return d, false
	}
	return senderData{LeafIndex(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:]), [4]byte(b[8:])}, true
}

// senderDataKey is the key under which the sender data of a ciphertext is sealed.
func senderDataKey(s *suite.Suite, secret *suite.Secret, ciphertext []byte, out *messageKey) {
	sample := ciphertext[:min(len(ciphertext), s.HashSize())]
	s.ExpandWithLabel(out.key[:s.KeySize()], secret.Bytes(), "key", sample)
	s.ExpandWithLabel(out.nonce[:], secret.Bytes(), "nonce", sample)
}
