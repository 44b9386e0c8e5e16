//go:build !invariants

package invariant

// On is true in builds with the tag "invariants".
const On = false

var poison []byte
