package netloop

import "github.com/seed31b3bfd0/slimgo/pool"

const (
	// OutboxSize is how many bytes can be staged in an outbox between two flushes: what a read of 128 KiB brings leaves with one write,
	// also where each message gets a header that is a quarter longer.
	OutboxSize = 160 << 10
	// LongPiece is the length in bytes from which a piece is better added than appended: below, copying is cheaper.
	LongPiece = 2 << 10

	batchLimit = 256 << 10 // bytes of added pieces at which a batch goes out early
	maxPieces  = 256       // added pieces of a batch
	ownedBoxes = 16        // outboxes of a loop with memory of their own; further ones take it from the pool
	spareBoxes = 256       // outboxes without memory that a loop keeps
)

// Outbox stages what one socket sends between two flushes: bytes of its own, and between them pieces that lie
// elsewhere. Pieces borrowed from a read are good because the flush comes before that read's callback returns.
type Outbox struct {
	// B are the staged bytes. Append to it, within its capacity.
	B []byte

	own      []byte    // memory of B, empty; nil: buf's
	buf      *pool.Buf // nil between batches
	pieces   []piece
	external int // bytes of all pieces
}

// piece goes out after B[:at].
type piece struct {
	at   int
	p    []byte
	hold *pool.Buf // referenced until the flush; nil: p is borrowed from the current read
}

// Outbox returns the socket's outbox, which is flushed at the end of the batch at the latest.
func (k *Socket) Outbox() *Outbox {
	if k.box != nil {
		return k.box
	}
	return k.newOutbox()
}

// Box returns the socket's outbox, nil if there is none yet.
func (k *Socket) Box() *Outbox { return k.box }

func (k *Socket) newOutbox() *Outbox {
	l := k.loop
	var x *Outbox
	if n := len(l.boxes); n > 0 {
		x, l.boxes = l.boxes[n-1], l.boxes[:n-1]
	} else {
		x = &Outbox{pieces: make([]piece, 0, 8)}
		if l.owned < ownedBoxes {
			l.owned++
			x.own = make([]byte, 0, OutboxSize)
		}
	}
	if x.B = x.own; x.own == nil {
		x.buf = pool.Get(OutboxSize)
		x.B = x.buf.B
	}
	k.box = x
	k.markDirty()
	return x
}

// Len returns how many bytes are staged, those of pieces included.
func (x *Outbox) Len() int { return len(x.B) + x.external }

// Fits reports whether copied bytes can be appended and external ones added before the next flush. An empty outbox
// takes pieces of any length.
func (x *Outbox) Fits(copied, external int) bool {
	return len(x.B)+copied <= OutboxSize && (x.Len() == 0 || x.external+external <= batchLimit) && len(x.pieces) < maxPieces
}

// FitsCopied is Fits for copied bytes alone.
func (x *Outbox) FitsCopied(n int) bool { return len(x.B)+n <= OutboxSize }

// Add puts p, which is not copied, after the staged bytes. hold owns p's memory and is retained until the flush; nil: p
// is borrowed from the current read.
func (x *Outbox) Add(p []byte, hold *pool.Buf) {
	if hold != nil {
		hold.Retain()
	}
	x.pieces = append(x.pieces, piece{at: len(x.B), p: p, hold: hold})
	x.external += len(p)
}

// Staged returns how many bytes the socket's outbox holds, with what TLS will add to them.
func (k *Socket) Staged() int {
	switch {
	case k.box == nil:
		return 0
	case k.tls != nil:
		return k.tls.size(k.box.Len())
	}
	return k.box.Len()
}

// MarkDirty has the socket flushed at the end of the batch.
func (k *Socket) MarkDirty() { k.markDirty() }

func (k *Socket) markDirty() {
	if !k.dirty && !k.dead {
		k.dirty = true
		k.loop.dirty = append(k.loop.dirty, k)
	}
}

// dropOutput gives up what is staged and what waits.
func (k *Socket) dropOutput() {
	k.dropOutbox()
	k.dropRest()
}

func (k *Socket) dropRest() {
	if k.rest != nil {
		k.rest.Release()
		k.rest = nil
		k.loop.blocked--
	}
}

func (k *Socket) dropOutbox() {
	x := k.box
	if x == nil {
		return
	}
	k.box = nil
	for i := range x.pieces {
		if h := x.pieces[i].hold; h != nil {
			h.Release()
		}
	}
	clear(x.pieces)
	x.pieces = x.pieces[:0]
	x.external = 0
	x.B = nil
	if x.buf != nil {
		x.buf.Release()
		x.buf = nil
	}
	if l := k.loop; x.own != nil || len(l.boxes) < spareBoxes {
		l.boxes = append(l.boxes, x)
	}
}
