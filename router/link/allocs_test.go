//go:build !race

package link

import (
	"bytes"
	"strings"
	"testing"
)

// Not under the race detector: there crypto/sha256 allocates when it saves its state.
func TestMACAllocs(t *testing.T) {
	m := NewMAC(bytes.Repeat([]byte{7}, 32), "link")
	pre, rest := preimageNames("link", strings.Repeat("n", 140)), make([]byte, 190)
	var n Names
	var tag [32]byte
	if got := testing.AllocsPerRun(200, func() {
		m.Names(&n, pre)
		m.Tag(&tag, &n, rest)
		if !m.Verify(tag[:], &n, rest) {
			t.Fatal("own tag refused")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
