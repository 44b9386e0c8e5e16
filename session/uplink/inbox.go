package uplink

import (
	"encoding/binary"
	"sync"

	"github.com/seed31b3bfd0/slimgo/pool"
)

const (
	blockSize = 64 << 10
	ownBlock  = 16 << 10 // a message of so many bytes gets a block of its own
	sizeLen   = 4
)

// inbox holds messages until they are received. Small ones are packed into blocks, so that memory is what was
// received, not a multiple of it; how much that may be is the window's business. The reader pushes, who receives
// pops.
type inbox struct {
	some chan struct{} // holds one when there may be messages

	mu     sync.Mutex
	blocks []block
	taken  int // bytes popped that were not told to the node yet, with prefixes
}

// block is messages one behind the other, each behind its length, or one that has it to itself.
type block struct {
	buf  *pool.Buf
	msg  []byte // alone; nil: buf.B is packed
	size int    // what msg took of the window
	read int    // of a packed one; of msg, 1 when it was received
}

// push copies msg, or takes over the buffer of a, which it came in. size is what it took of the window, which is not
// what it has where it was brought into its usual form.
func (x *inbox) push(msg []byte, a *arrival, size int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, usual := len(msg), size == len(msg)+prefixLen
	switch {
	case a.buf != nil && n >= ownBlock && usual:
		x.blocks = append(x.blocks, block{buf: a.buf, msg: msg, size: size})
		a.buf = nil
	case n >= ownBlock || !usual:
		b := pool.Get(n)
		b.B = append(b.B, msg...)
		x.blocks = append(x.blocks, block{buf: b, msg: b.B, size: size})
	default:
		b := x.packed(sizeLen + n)
		b.B = append(binary.LittleEndian.AppendUint32(b.B, uint32(n)), msg...)
	}
	select {
	case x.some <- struct{}{}:
	default:
	}
}

// packed returns a block with room for n bytes. mu is held.
func (x *inbox) packed(n int) *pool.Buf {
	if k := len(x.blocks); k > 0 {
		if last := &x.blocks[k-1]; last.msg == nil && len(last.buf.B)+n <= blockSize {
			return last.buf
		}
	}
	b := pool.Get(blockSize)
	x.blocks = append(x.blocks, block{buf: b})
	return b
}

// pop returns the oldest message, borrowed until the next pop, or nil. taken is how many bytes of messages, prefixes
// included, the node can be told of: none while there are few of them and more messages wait.
func (x *inbox) pop(few int) (msg []byte, taken int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.trim()
	if len(x.blocks) > 0 {
		b := &x.blocks[0]
		if msg = b.msg; msg == nil {
			at := b.read + sizeLen
			b.read = at + int(binary.LittleEndian.Uint32(b.buf.B[b.read:]))
			msg = b.buf.B[at:b.read:b.read]
			x.taken += len(msg) + prefixLen
		} else {
			b.read = 1
			x.taken += b.size
		}
	}
	if x.taken > few || msg == nil || len(x.blocks) == 1 && x.blocks[0].done() {
		taken, x.taken = x.taken, 0
	}
	return msg, taken
}

// trim lets go of the first block if all of it was received. mu is held.
func (x *inbox) trim() {
	if len(x.blocks) == 0 || !x.blocks[0].done() {
		return
	}
	x.blocks[0].buf.Release()
	x.blocks[0] = block{}
	if x.blocks = x.blocks[1:]; len(x.blocks) == 0 {
		x.blocks = nil
	}
}

func (b *block) done() bool {
	if b.msg != nil {
		return b.read > 0
	}
	return b.read == len(b.buf.B)
}
