package mls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// What parts hold. Public parts hold no secret, and what is read of them borrows their text; what is read of the others
// is copied, so that their texts can be wiped.

var (
	errStateSuite  = errors.New("state is of another cipher suite than the configuration")
	errStateKey    = errors.New("private key in the state does not parse")
	errStateLeaf   = errors.New("state has no own leaf")
	errStateTree   = errors.New("secret tree in the state is not of the size of the tree")
	errStateSize   = errors.New("secret in the state has a wrong length")
	errStateNode   = errors.New("node of a tree in the state is out of its place")
	errStateEpochs = errors.New("state has ratchets for another number of epochs than it has trees")
	errStateChange = errors.New("commit on its way in the state names a leaf that is not there")
	errStateEntry  = errors.New("entry of a message part is of no known type, or of a key or commit that is not here")
)

// read makes g of its parts.
func (g *Group) read(h snapshot) error {
	base := &tree{suite: g.suite}
	for _, p := range h.publics {
		r := codec.NewReader(p.text)
		g.readPublic(r, base)
		if err := r.Finish(); err != nil {
			return malformed(err, "public part of a group")
		}
		base = g.now.tree
	}
	if !bytes.Equal(g.ID(), h.secret.group) {
		return refuse(WrongGroup, "", "parts of group %x hold group %x", clip(h.secret.group), clip(g.ID()))
	}
	r := codec.NewReader(h.secret.text)
	g.readSecret(r)
	if err := r.Finish(); err != nil {
		return malformed(err, "secret part of a group")
	}
	for _, p := range h.messages {
		r := codec.NewReader(p.text)
		g.readMessage(r)
		if err := r.Finish(); err != nil {
			return malformed(err, "message part of a group")
		}
	}
	return nil
}

func appendBool(dst []byte, b bool) []byte { return codec.AppendOptional(dst, b) }

// appendPublic appends the public part: the tree as it differs from from, and those of past epochs as they differ from
// the next one.
func (g *Group) appendPublic(dst []byte, from *tree) []byte {
	e := g.now
	dst = binary.BigEndian.AppendUint16(dst, uint16(g.suite.ID()))
	dst = e.appendPublic(dst, from)
	next := e.tree
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for _, k := range slices.Backward(g.past) {
			dst = codec.AppendOpaque(binary.BigEndian.AppendUint64(dst, k.epoch), k.context)
			dst = k.tree.appendChanges(dst, next)
			next = k.tree
		}
		return dst
	})
}

// publicRoom is at least the length of the public part.
func (g *Group) publicRoom(from *tree) int {
	n := 64 + g.now.publicRoom(from)
	next := g.now.tree
	for _, k := range slices.Backward(g.past) {
		n += 32 + len(k.context) + k.tree.changesRoom(next)
		next = k.tree
	}
	return n
}

func (g *Group) readPublic(r *codec.Reader, from *tree) {
	if cs := CipherSuite(r.Uint16()); r.Err() == nil && cs != g.suite.ID() {
		r.Fail(errStateSuite)
	}
	g.now = readPublicEpoch(r, g.suite, g.limits, from)
	g.past = nil
	next := g.now.tree
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		k := &epochKeys{epoch: r.Uint64(), context: r.Opaque()}
		k.tree = readChanges(r, next, g.limits)
		next = k.tree
		g.past = append(g.past, k)
	})
	slices.Reverse(g.past)
}

func (e *epoch) publicRoom(from *tree) int {
	return 64 + len(e.raw) + len(e.interim) + len(e.tag) + e.tree.changesRoom(from)
}

func (e *epoch) appendPublic(dst []byte, from *tree) []byte {
	dst = codec.AppendOpaque(dst, e.raw)
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.own))
	dst = codec.AppendOpaque(dst, e.interim)
	dst = codec.AppendOpaque(dst, e.tag)
	return e.tree.appendChanges(dst, from)
}

func readPublicEpoch(r *codec.Reader, s *suite.Suite, limits Limits, from *tree) *epoch {
	e := &epoch{suite: s, raw: r.Opaque(), own: LeafIndex(r.Uint32()), interim: r.Opaque(), tag: r.Opaque(), keys: keyring{}}
	e.tree = readChanges(r, from, limits)
	if r.Err() != nil {
		return e
	}
	context := codec.NewReader(e.raw)
	e.context = readGroupContext(context)
	if err := context.Finish(); err != nil {
		r.Fail(err)
	}
	if e.tree.leaf(e.own) == nil {
		r.Fail(errStateLeaf)
	}
	e.messages = &epochKeys{epoch: e.context.epoch, context: e.raw, tree: e.tree}
	return e
}

// Nodes in the changes of a tree.
const (
	changedBlank  = 0
	changedLeaf   = 1
	changedParent = 2
)

// differs reports whether node i is another in t than in from, which has none that it is too small for. Nodes never
// change, so that it is enough to compare where they are.
func (t *tree) differs(i int, from *tree) bool {
	if i >= len(from.nodes) {
		return !t.nodes[i].blank()
	}
	return t.nodes[i].leaf != from.nodes[i].leaf || t.nodes[i].parent != from.nodes[i].parent
}

// appendChanges appends how t differs from from; from a tree without nodes: all of it.
func (t *tree) appendChanges(dst []byte, from *tree) []byte {
	dst = binary.BigEndian.AppendUint32(dst, t.size())
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for i := range t.nodes {
			if !t.differs(i, from) {
				continue
			}
			dst = binary.BigEndian.AppendUint32(dst, uint32(i))
			switch n := &t.nodes[i]; {
			case n.leaf != nil:
				dst = n.leaf.append(append(dst, changedLeaf))
			case n.parent != nil:
				dst = n.parent.append(append(dst, changedParent))
			default:
				dst = append(dst, changedBlank)
			}
		}
		return dst
	})
}

// changesRoom is at least the length of what appendChanges appends.
func (t *tree) changesRoom(from *tree) int {
	n := 16
	for i := range t.nodes {
		if !t.differs(i, from) {
			continue
		}
		n += 8
		switch at := &t.nodes[i]; {
		case at.leaf != nil && at.leaf.raw != nil:
			n += len(at.leaf.raw)
		case at.leaf != nil:
			n += len(at.leaf.append(nil))
		case at.parent != nil:
			n += 12 + len(at.parent.encryptionKey) + len(at.parent.parentHash) + 4*len(at.parent.unmerged)
		}
	}
	return n
}

// readChanges makes a tree of from.
func readChanges(r *codec.Reader, from *tree, limits Limits) *tree {
	t := &tree{suite: from.suite}
	size := r.Uint32()
	switch {
	case size == 0 || size&(size-1) != 0:
		r.Fail(errStateNode)
		return t
	case size > 1<<limits.Depth:
		r.Fail(refuse(Limit, "", "ratchet tree of %d leaves, %d are allowed", size, 1<<limits.Depth))
		return t
	}
	t.nodes = make([]treeNode, treemath.Width(size))
	copy(t.nodes, from.nodes)
	if len(t.nodes) != len(from.nodes) { // the root is another one
		for i := range t.nodes {
			t.nodes[i].hash = nil
		}
	}
	last := -1
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		i := int(r.Uint32())
		if i <= last || i >= len(t.nodes) {
			r.Fail(errStateNode)
			return
		}
		last = i
		var n treeNode
		switch kind := r.Uint8(); {
		case kind == changedBlank:
		case kind == changedLeaf && i%2 == 0:
			n.leaf = readLeafNode(r)
		case kind == changedParent && i%2 == 1:
			n.parent = readParentNode(r)
		default:
			r.Fail(errStateNode)
		}
		t.nodes[i].leaf, t.nodes[i].parent = n.leaf, n.parent
		t.touch(treemath.Node(i))
	})
	if t.count() > limits.Members {
		r.Fail(refuse(Limit, "", "ratchet tree of more than %d members", limits.Members))
	}
	return t
}

// appendSecret appends the secret part, with the commits on their way as packChanges gives them.
func (g *Group) appendSecret(dst []byte, changes [][]byte) []byte {
	dst = appendBool(dst, g.removed)
	dst = appendBool(dst, g.reinit != nil)
	if g.reinit != nil {
		dst = g.reinit.appendBody(dst)
	}
	dst = g.now.appendSecret(dst)
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, k := range g.past {
			dst = k.appendSecret(dst)
		}
		return dst
	})
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, r := range g.resumption {
			dst = codec.AppendOpaque(binary.BigEndian.AppendUint64(dst, r.epoch), r.secret.Bytes())
		}
		return dst
	})
	dst = appendBool(dst, g.joinedBy != nil)
	if g.joinedBy != nil {
		dst = codec.AppendOpaque(dst, g.joinedBy.ref)
	}
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for i := range g.proposals {
			dst = g.proposals[i].appendState(dst)
		}
		return dst
	})
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for i, c := range g.unapplied {
			dst = c.next.appendSecret(codec.AppendOpaque(dst, changes[i]))
		}
		return dst
	})
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for _, c := range g.unsent {
			dst = c.appendUnsent(dst)
		}
		return dst
	})
}

// secretRoom is at least the length of the secret part: growing would leave secrets behind in what was outgrown.
func (g *Group) secretRoom(changes [][]byte) int {
	n := 128 + g.now.secretRoom()
	if g.reinit != nil {
		n += len(g.reinit.appendBody(nil))
	}
	for _, k := range g.past {
		n += k.secretRoom()
	}
	n += (8 + secretRoom) * len(g.resumption)
	for i := range g.proposals {
		n += g.proposals[i].room()
	}
	for i, c := range g.unapplied {
		n += 8 + len(changes[i]) + c.next.secretRoom()
	}
	for _, c := range g.unsent {
		n += c.messagesRoom()
	}
	return n
}

func (g *Group) readSecret(r *codec.Reader) {
	g.removed = r.Optional()
	if r.Optional() {
		g.reinit = &ReInit{bytes.Clone(r.Opaque()), ProtocolVersion(r.Uint16()), CipherSuite(r.Uint16()), readExtensions(r)}
		for i := range g.reinit.Extensions {
			g.reinit.Extensions[i].Data = bytes.Clone(g.reinit.Extensions[i].Data)
		}
	}
	g.now.readSecret(r)
	i := 0
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		if i >= len(g.past) {
			r.Fail(errStateEpochs)
			return
		}
		g.past[i].readSecret(r, g.suite)
		i++
	})
	if i < len(g.past) {
		r.Fail(errStateEpochs)
	}
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		g.resumption = append(g.resumption, resumption{r.Uint64(), readSecret(r)})
	})
	if r.Optional() {
		g.joinedBy = &usedPackage{ref: bytes.Clone(r.Opaque())}
	}
	r.Vector(codec.MaxVector, func(r *codec.Reader) { g.proposals = append(g.proposals, readPendingState(r, g.suite)) })
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		c := g.readChange(r)
		if r.Err() == nil {
			c.next.readSecret(r)
			g.unapplied = append(g.unapplied, c)
		}
	})
	r.Vector(codec.MaxVector, g.readUnsent)
}

// secretRoom is at least the length of a secret with its own length.
const secretRoom = suite.MaxSecret + 2

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
}

// appendSecret appends what of an epoch is secret.
func (e *epoch) appendSecret(dst []byte) []byte {
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
	return e.messages.appendSecret(dst)
}

func (e *epoch) secretRoom() int {
	n := 16 + len(e.secrets.all())*secretRoom + e.messages.secretRoom()
	if e.signer != nil {
		n += len(e.signer.Bytes())
	}
	for _, k := range e.keys {
		n += 8 + len(k.Bytes())
	}
	return n
}

func (e *epoch) readSecret(r *codec.Reader) {
	if signer := r.Opaque(); len(signer) > 0 {
		var err error
		if e.signer, err = e.suite.ParseSigningKey(signer); err != nil {
			r.Fail(errStateKey)
		}
	}
	for _, sec := range e.secrets.all() {
		setSecret(r, sec)
	}
	r.Vector(codec.MaxVector, func(r *codec.Reader) {
		n, b := treemath.Node(r.Uint32()), r.Opaque()
		if r.Err() != nil {
			return
		}
		k, err := e.suite.ParsePrivateKey(b)
		if err != nil || int(n) >= len(e.tree.nodes) {
			r.Fail(errStateKey)
			return
		}
		e.keys[n] = k
	})
	e.messages.readSecret(r, e.suite)
}

func (k *epochKeys) appendSecret(dst []byte) []byte {
	return k.secrets.appendState(codec.AppendOpaque(dst, k.senderData.Bytes()))
}

func (k *epochKeys) secretRoom() int {
	n := 64 + secretRoom + len(k.secrets.closed)*(4+secretRoom)
	for _, r := range k.secrets.ratchets {
		n += 4 + 2*(secretRoom+8) + (4+maxKey+nonceSize)*(len(r.handshake.skipped)+len(r.application.skipped))
	}
	return n
}

func (k *epochKeys) readSecret(r *codec.Reader, s *suite.Suite) {
	setSecret(r, &k.senderData)
	k.secrets = readTreeState(r, s)
	if r.Err() == nil && k.secrets.leaves != k.tree.size() {
		r.Fail(errStateTree)
	}
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
		pair := t.newRatchets(l)
		pair.handshake.readState(r)
		pair.application.readState(r)
		t.ratchets[l] = pair
	})
	return t
}

func (c *ratchet) appendState(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, c.secret.Bytes())
	dst = binary.BigEndian.AppendUint32(dst, c.next)
	if len(c.skipped) == 0 { // as nearly always
		return codec.AppendVarint(dst, 0)
	}
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
	dst = codec.AppendOpaque(dst, p.message)
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

// room is at least the length of what appendState appends.
func (p *pending) room() int {
	n := 64 + len(appendProposal(nil, p.Proposal)) + len(p.ref) + len(p.message)
	if p.own != nil {
		n += len(p.own.key.Bytes())
		if p.own.signer != nil {
			n += len(p.own.signer.Bytes())
		}
	}
	return n
}

func readPendingState(r *codec.Reader, s *suite.Suite) pending {
	packed := codec.NewReader(bytes.Clone(r.Opaque()))
	p := pending{Committed: Committed{Proposal: readProposal(packed), Sender: readSender(r), ByReference: true, sound: true},
		ref: bytes.Clone(r.Opaque()), message: bytes.Clone(r.Opaque())}
	if err := packed.Finish(); err != nil {
		r.Fail(err)
	}
	if len(p.message) == 0 {
		p.message = nil
	}
	if !r.Optional() {
		return p
	}
	p.own = new(ownUpdate)
	var err error
	if p.own.key, err = s.ParsePrivateKey(r.Opaque()); err != nil {
		r.Fail(errStateKey)
	}
	if r.Optional() {
		if p.own.signer, err = s.ParseSigningKey(r.Opaque()); err != nil {
			r.Fail(errStateKey)
		}
	}
	return p
}
