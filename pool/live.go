package pool

import (
	"slices"
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
	if !invariant.Poisoned(b.own) {
		i := slices.IndexFunc(b.own, func(c byte) bool { return c != invariant.PoisonByte })
		invariant.Failf("byte %d of a free Buf of %d was written after its last Release", i, len(b.own))
	}
}

// gone spoils the memory of b after its last Release. Invariant builds only.
func gone(b *Buf) {
	live.Add(-1)
	invariant.Poison(b.own)
	var end *byte
	if n := len(b.own); n > 0 {
		end = &b.own[n-1]
	}
	if b := b.B[:cap(b.B)]; len(b) > 0 && &b[len(b)-1] != end { // the holder has appended beyond its own memory
		invariant.Poison(b)
	}
}
