//go:build invariants

package invariant

import "bytes"

// On is true in builds with the tag "invariants".
const On = true

// poison is a piece of poisoned memory: the race detector looks at a copy once, and at a loop once for each byte.
var poison = bytes.Repeat([]byte{PoisonByte}, 16<<10)
