package auth

import (
	"net/netip"
	"sync"
	"time"
)

// notesASecond bounds how many refusals of strangers are written down in a second, and how many of them of one network: whoever asks
// without end fills no disk, and does not keep out of the log what others do meanwhile. Of the rest the number is (P-auth-9).
const notesASecond, notesOfNetwork = 128, 32

// notes are the refusals of strangers that were written down, or not. Its zero is ready. Safe for all.
type notes struct {
	mu     sync.Mutex
	second int64
	all    int
	of     map[netip.Prefix]int
	left   uint64 // not written down since the last that was
}

// room reports whether a refusal is to be written down, and then how many before it were not.
func (n *notes) room(network netip.Prefix, now time.Time) (ok bool, left uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := now.Unix(); s != n.second || n.of == nil {
		n.second, n.all, n.of = s, 0, map[netip.Prefix]int{}
	}
	if n.all == notesASecond || n.of[network] == notesOfNetwork {
		n.left++
		return false, 0
	}
	n.all++
	n.of[network]++
	left, n.left = n.left, 0
	return true, left
}
