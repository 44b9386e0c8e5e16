package pool

import (
	"github.com/valyala/bytebufferpool"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

// Gather is a byte buffer for output of unknown size with one owner, off the hot path: an encoded answer, a dump of the table.
// Append to its B. The pool behind it learns usual sizes and drops unusually large buffers, which Buf's fixed classes do not;
// it has no count of holders and must not cross a loop.
type Gather = bytebufferpool.ByteBuffer

var gathers bytebufferpool.Pool

// Bytes returns an empty Gather. The caller gives it to FreeBytes once.
func Bytes() *Gather { return gathers.Get() }

// FreeBytes takes g back. Neither g nor g.B may be touched again.
func FreeBytes(g *Gather) {
	if invariant.On {
		invariant.Poison(g.B[:cap(g.B)])
	}
	gathers.Put(g)
}
