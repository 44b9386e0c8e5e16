package router

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// While a link is replaced by another one between the same two nodes, both are up, and each end may have routes over both: a message to
// all who hold a name would arrive twice, or come back over the other link to where it was sent from. twins remember for a moment
// over which of the links such a message has come or gone: over the others it does neither (P-ctl-9).
//
// A message to one receiver takes one way anyway. A repetition by its sender comes later than repeatTime, or by the same link.
type twins struct {
	made atomic.Uint32 // how many there have been
	up   atomic.Int32  // of these, how many are up: of one alone nothing is remembered

	// seen has, in the set that follows from the fingerprint of a message, 32 bits of that, the number of the link, and when that was. One of
	// the two links may be a thousand messages behind the other one: the oldest of a set gives way.
	seen [seenSets][seenWays]atomic.Uint64
}

const (
	seenSets   = 1 << 9
	seenWays   = 8
	repeatTime = 400 * time.Millisecond // senders of sessions wait for 500 ms or longer until they repeat something
	seenTimes  = 1 << 20                // milliseconds, after which they begin anew
	seenLinks  = 1 << 12
)

// twin is what a connection has of its twins.
type twin struct {
	*twins
	number uint64
}

// add makes c one of them, which is up.
func (x *twins) add(c *Conn) {
	x.up.Add(1)
	c.twin.Store(&twin{x, uint64(x.made.Add(1)) % seenLinks})
}

// passes reports whether a message with that fingerprint comes or goes by link number first, or once more. Safe for all.
func (x *twins) passes(print, number uint64, now time.Duration) bool {
	set := &x.seen[print%seenSets]
	at := uint64(now/time.Millisecond) % seenTimes
	for {
		var oldest *atomic.Uint64
		var before, most uint64
		for i := range set {
			was := set[i].Load()
			age := (at - was) % seenTimes // of two numbers modulo seenTimes, which divides 1<<64
			if was == 0 {
				age = seenTimes
			} else if was>>32 == print>>32 && age < uint64(repeatTime/time.Millisecond) {
				return was/seenTimes%seenLinks == number
			}
			if oldest == nil || age > most {
				oldest, before, most = &set[i], was, age
			}
		}
		if oldest.CompareAndSwap(before, print>>32<<32|number*seenTimes|at) {
			return true
		}
	}
}

// repeats reports whether a message to many has come or gone over a twin of c just now, so that it must not over c. Safe for all.
func (c *Conn) repeats(b []byte, m *wire.Message, h *wire.Header) bool {
	t := c.twin.Load()
	return t != nil && t.up.Load() > 1 && !t.passes(fingerprint(b, m, h), t.number, time.Since(c.loop.node.made))
}

// printed is how much of a message after its header counts for its fingerprint: session and number of the message come first.
const printed = 1 << 10

var printSeed = maphash.MakeSeed()

// fingerprint is a hash of a message that is the same after all hops: of its names, and of what comes after the header.
func fingerprint(b []byte, m *wire.Message, h *wire.Header) uint64 {
	var x maphash.Hash
	x.SetSeed(printSeed)
	var buf [88]byte
	p := buf[:0]
	for _, n := range [...]*wire.Name{&h.Source.Name, &h.Dest.Name} {
		for _, v := range [...]uint64{n.C[0], n.C[1], n.C[2], n.Hi, n.Lo} {
			p = binary.LittleEndian.AppendUint64(p, v)
		}
	}
	rest := b[m.Header.End:]
	p = binary.LittleEndian.AppendUint64(p, uint64(len(rest)))
	_, _ = x.Write(p)
	_, _ = x.Write(rest[:min(len(rest), printed)])
	return x.Sum64()
}

// Replaces says that t has come in the place of old, between the same two nodes: as long as both are up, a message to all who hold a
// name passes only one of them. Safe for all.
func (t *ActiveLink) Replaces(old *ActiveLink) {
	x := &t.conn.loop.node.control
	x.mu.Lock()
	defer x.mu.Unlock()
	if t == old || x.links[t.conn] != t || x.links[old.conn] != old || t.conn.twin.Load() != nil {
		return
	}
	if old.conn.twin.Load() == nil {
		new(twins).add(old.conn)
	}
	old.conn.twin.Load().add(t.conn)
}
