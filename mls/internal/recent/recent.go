// Package recent keeps what is worth making only for keys that are used again and again: tables of multiples of public keys. There
// are never more than Most of them, whoever uses how many keys.
package recent

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// Most is how many values are kept.
const Most = sets * ways

const sets, ways = 16, 4

// A value costs as much as some three uses without one. So it is made at the third use of a key, and should it be lost to other keys at the
// sixth after that, and so on: whoever uses in turn more keys than there are places pays little for what is of no use.
const (
	firstWanted = 3
	mostWanted  = 96
)

// Values are those of the keys that were used last, by and large. Which keys compete is not for others to know. Safe for concurrent use;
// to find a value takes no lock.
type Values[K comparable, V any] struct {
	seed    maphash.Seed
	prepare func()
	build   func(*K) *V
	sets    [sets][ways]atomic.Pointer[value[K, V]]
	mu      sync.Mutex // of those who put
}

type value[K comparable, V any] struct {
	of   K
	v    *V
	used atomic.Bool // since it was last looked at in search of one to be dropped
}

// New keeps what build makes. prepare is called one use before the first, for what all of them need.
func New[K comparable, V any](prepare func(), build func(*K) *V) *Values[K, V] {
	return &Values[K, V]{seed: maphash.MakeSeed(), prepare: prepare, build: build}
}

// Uses counts those of one holder of a key: the zero value has none. Not to be copied.
type Uses struct {
	missed atomic.Uint32 // since it last made a value
	made   atomic.Uint32
	making atomic.Bool
}

// wanted reports whether, after n misses, a value is worth making.
func (u *Uses) wanted(n uint32) bool {
	return n >= min(uint32(firstWanted)<<min(u.made.Load(), 8), mostWanted)
}

// Find is the value of a key, one of whose holders counts by u; nil if there is none yet.
func (c *Values[K, V]) Find(of *K, u *Uses) *V {
	set := c.set(of)
	for i := range set {
		if t := set[i].Load(); t != nil && t.of == *of {
			if !t.used.Load() {
				t.used.Store(true)
			}
			return t.v
		}
	}
	n := u.missed.Add(1)
	if n == firstWanted-1 {
		c.prepare()
	}
	if !u.wanted(n) || !u.making.CompareAndSwap(false, true) { // or another goroutine makes it
		return nil
	}
	defer u.making.Store(false)
	if !u.wanted(u.missed.Load()) { // another one did since it was counted here
		return nil
	}
	v := c.put(&value[K, V]{of: *of, v: c.build(of)})
	u.made.Add(1)
	u.missed.Store(0)
	return v
}

func (c *Values[K, V]) set(of *K) *[ways]atomic.Pointer[value[K, V]] {
	return &c.sets[maphash.Comparable(c.seed, *of)%sets]
}

// put keeps t, in place of one that has not been used for the longest time, by and large. It returns what is kept of that key.
func (c *Values[K, V]) put(t *value[K, V]) *V {
	c.mu.Lock()
	defer c.mu.Unlock()
	set := c.set(&t.of)
	empty, idle := -1, -1
	for i := range set {
		switch o := set[i].Load(); {
		case o == nil:
			empty = i
		case o.of == t.of: // of another holder
			return o.v
		case !o.used.Load():
			idle = i
		}
	}
	place := max(empty, 0)
	switch {
	case empty >= 0:
	case idle >= 0:
		place = idle
	default: // all are in use: the first goes, and who is not used until the next time
		for i := range set {
			set[i].Load().used.Store(false)
		}
	}
	set[place].Store(t)
	return t.v
}
