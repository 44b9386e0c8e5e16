package router

import "github.com/seed31b3bfd0/slimgo/pool"

// What a message costs while it waits is counted as the memory that it takes, not as its length: a message of 60 bytes
// takes more than ten times that. A message that waits for several receivers is counted in full for each of them, since
// any of them may be the last to hold it.
const (
	parcelCost = 384    // a parcel; a test compares it with the type
	slotCost   = 2 * 16 // an item, in a ring of which half may be empty
	waitCost   = parcelCost + slotCost
)

// costOf returns what message b costs while it waits. buf owns b, or is nil when b has to be copied first.
func costOf(b []byte, buf *pool.Buf) int {
	if buf == nil {
		return pool.Footprint(len(b)) + waitCost
	}
	return buf.Footprint() + waitCost
}
