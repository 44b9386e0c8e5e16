package mls

import (
	"encoding/binary"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// Which keys of messages were used is saved, and not what the ratchets became: Restore moves those of the secret part
// again. So a message part is short, however far a message jumped, and holds no secret but those of own proposals.

// spentKey is the key of a message that was used.
type spentKey struct {
	leaf       LeafIndex
	generation uint32
	kind       ContentType
}

// spentLog are the keys of a secret tree that were used, in order: the newest of them, as many as fit into one part.
type spentLog struct {
	newest []spentKey
	count  uint64 // of all
	saved  uint64 // of those that are in the parts up to the base
}

const maxSpent = 48

func (l *spentLog) add(k spentKey) {
	if len(l.newest) == maxSpent {
		l.newest = l.newest[:0]
	}
	l.newest = append(l.newest, k)
	l.count++
}

// lost reports whether the log does not hold all that is not in the parts up to the base.
func (l *spentLog) lost() bool { return l.count-l.saved > uint64(len(l.newest)) }

// unsaved are the keys that came after the base.
func (l *spentLog) unsaved() []spentKey {
	if l.lost() {
		return nil
	}
	return l.newest[len(l.newest)-int(l.count-l.saved):]
}

// message makes the message part: the keys that were used, the proposals that came, and which commits need not be
// kept any more, since its base.
func (l *ledger) message(g *Group) error {
	trees, room := g.secretTrees(), 0
	for _, tree := range trees {
		room += spentSize * len(tree.log.unsaved())
	}
	came := g.proposals[l.base.proposals:]
	for i := range came {
		room += 1 + came[i].room()
	}
	sent := l.sent[l.base.sent:]
	room += sentSize * len(sent)
	part, ref, err := l.seal(g, partMessage, l.base.ref, room, func(dst []byte) []byte {
		for i, tree := range trees {
			epoch := g.now.messages.epoch
			if i > 0 {
				epoch = g.past[i-1].epoch
			}
			for _, k := range tree.log.unsaved() {
				dst = k.append(dst, epoch)
			}
		}
		for i := range came {
			dst = came[i].appendState(append(dst, entryProposal))
		}
		for _, epoch := range sent {
			dst = binary.BigEndian.AppendUint64(append(dst, entrySent), epoch)
		}
		return dst
	})
	if err != nil {
		return err
	}
	l.newest = message{part, l.base.ref, base{ref, l.base.of, len(g.proposals), len(l.sent)}, g.moment()}
	l.messages = append(l.messages, part.Number)
	l.messageBytes += len(part.Data)
	return nil
}

// Entries of a message part.
const (
	entrySpent    = 1
	entryProposal = 2
	entrySent     = 3

	spentSize = 1 + 8 + 4 + 1 + 4
	sentSize  = 1 + 8
)

// append appends the entry of a key of an epoch.
func (k *spentKey) append(dst []byte, epoch uint64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, entrySpent), epoch)
	dst = binary.BigEndian.AppendUint32(dst, uint32(k.leaf))
	return binary.BigEndian.AppendUint32(append(dst, byte(k.kind)), k.generation)
}

// readMessage does again what a message part says was done.
func (g *Group) readMessage(r *codec.Reader) {
	for r.Len() > 0 {
		switch r.Uint8() {
		case entrySpent:
			epoch := r.Uint64()
			k := spentKey{leaf: LeafIndex(r.Uint32()), kind: ContentType(r.Uint8()), generation: r.Uint32()}
			if r.Err() == nil && !g.respend(epoch, k) {
				r.Fail(errStateEntry)
			}
		case entryProposal:
			g.proposals = append(g.proposals, readPendingState(r, g.suite))
		case entrySent:
			epoch := r.Uint64()
			i := slices.IndexFunc(g.unsent, func(c *Change) bool { return c.Epoch == epoch })
			if i < 0 {
				r.Fail(errStateEntry)
				return
			}
			g.unsent = slices.Delete(g.unsent, i, i+1)
		default:
			r.Fail(errStateEntry)
		}
	}
}

// respendWindow is how far a generation may be ahead in a message part, unless Limits.Window is more: limits may have
// become smaller since.
const respendWindow = 1 << 16

// respend spends a key once more, and reports whether it can.
func (g *Group) respend(epoch uint64, k spentKey) bool {
	keys, err := g.keysOf(epoch)
	if err != nil || uint64(k.leaf) >= uint64(keys.secrets.leaves) || k.kind < ContentApplication || k.kind > ContentCommit {
		return false
	}
	c, err := keys.secrets.ratchet(k.leaf, k.kind)
	if err != nil {
		return false
	}
	window := max(respendWindow, g.limits.Window)
	if keys != g.now.messages { // as when it was used
		keys.secrets.ratchets[k.leaf].handshake.wipe()
	}
	if k.leaf == g.now.own { // what it has passed over is never used
		if k.generation >= c.next && k.generation-c.next > window {
			return false
		}
		for c.next <= k.generation {
			c.step(g.suite)
		}
		return true
	}
	var key messageKey
	defer key.wipe()
	if k.generation < c.next && c.skipped[k.generation] == nil {
		return true // given up before it is used: fewer keys are kept than when it was saved
	}
	ahead, err := c.key(g.suite, k.generation, window, &key)
	if err != nil {
		return false
	}
	used := claim{ratchet: c, generation: k.generation}
	used.hold(g.suite, c, ahead)
	used.spend(g.suite, g.limits.Window)
	return true
}
