package pool

import (
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/internal/invariant"
)

// live counts Bufs between Get and the last Release; invariant builds only.
var live atomic.Int64

// Live returns how many Bufs are held. Tests compare it before and after. It is always 0 without the build tag "invariants":
// one counter for all loops would cost more than Get does.
func Live() int { return int(live.Load()) }

// taken counts b and checks that nobody wrote into it since its last Release. Invariant builds only.
func taken(b *Buf) {
	live.Add(1)
	for i, c := range b.own {
		if c != invariant.PoisonByte {
			invariant.Failf("byte %d of a free Buf of %d was written after its last Release", i, len(b.own))
		}
	}
}

// gone spoils the memory of b after its last Release. Invariant builds only.
func gone(b *Buf) {
	live.Add(-1)
	invariant.Poison(b.own)
	invariant.Poison(b.B[:cap(b.B)]) // other memory if the holder appended beyond its own
}
