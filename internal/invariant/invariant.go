// Package invariant holds the one constant that turns on checks too dear for production.
//
// Code writes `if invariant.On { ... }`; without the build tag "invariants" the compiler drops the branch. Checks behind
// it may be slow and must not change what the program does otherwise. A failed check panics through Failf.
package invariant

import (
	"bytes"
	"fmt"
)

// Failf reports a broken invariant: a fault of this program, never of a peer.
func Failf(format string, args ...any) {
	panic("invariant: " + fmt.Sprintf(format, args...))
}

// Poison overwrites b, so that a reader of memory that is no longer its own finds nonsense early. Callers stand behind On.
func Poison(b []byte) {
	for On && len(b) > 0 {
		b = b[copy(b, poison):]
	}
}

// Poisoned reports whether b is as Poison has left it.
func Poisoned(b []byte) bool {
	for On && len(b) > 0 {
		n := min(len(b), len(poison))
		if !bytes.Equal(b[:n], poison[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// PoisonByte fills released memory: as a protobuf tag it is wire type 3 (a group), as an HTTP/2 length it is far too large.
const PoisonByte = 0xDB
