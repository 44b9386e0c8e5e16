package reliable

import (
	"math/bits"
	"slices"
)

// bitset is a set of slots.
type bitset struct {
	low  uint64 // the first 64
	more []uint64
}

func (b *bitset) set(i int) {
	if i < 64 {
		b.low |= 1 << i
		return
	}
	for i/64 > len(b.more) {
		b.more = append(b.more, 0)
	}
	b.more[i/64-1] |= 1 << (i % 64)
}

func (b *bitset) clear(i int) {
	if i < 64 {
		b.low &^= 1 << i
	} else if i/64 <= len(b.more) {
		b.more[i/64-1] &^= 1 << (i % 64)
	}
}

func (b *bitset) word(n int) uint64 {
	switch {
	case n == 0:
		return b.low
	case n <= len(b.more):
		return b.more[n-1]
	}
	return 0
}

func (b *bitset) has(i int) bool { return b.word(i/64)&(1<<(i%64)) != 0 }

func (b *bitset) empty() bool {
	for _, w := range b.more {
		if w != 0 {
			return false
		}
	}
	return b.low == 0
}

func (b *bitset) clone() bitset { return bitset{b.low, slices.Clone(b.more)} }

// all goes through the slots in their order. Those that it has come to may be cleared meanwhile.
func (b *bitset) all() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for n := range len(b.more) + 1 {
			for w := b.word(n); w != 0; w &= w - 1 {
				if !yield(n*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}
