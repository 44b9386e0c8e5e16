package router

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// While a link is replaced by another one between the same two nodes, both are up, and each end may have routes over both: a message to
// all who hold a name would arrive twice, or come back over the other link to where it was sent from. twins remember for a moment
// over which of the links such a message has come or gone: over the others it does neither (P-ctl-9).
//
// A message to one receiver takes one way anyway. A repetition by its sender comes later than repeatTime, or by the same link.
// What has gone over one link and comes back over another one is none, for returnTime.
type twins struct {
	made atomic.Uint32 // how many there have been
	up   atomic.Int32  // of these, how many are up: of one alone nothing is remembered,
	last atomic.Int64  // but for a while after the end of another one: when the last has ended, as of Node.made,
	next atomic.Int64  // and before another one may come, which would bring what is under way: until when that is, as of Node.made
	till atomic.Int64  // until when they are ones though nobody has confirmed it by Replaces, as of Node.made; 0: it was

	// seen has, in the set that follows from the fingerprint of a message, 32 bits of that, the number of the link, with seenOut if it has gone
	// over that, and when that was. One of the two links may be a thousand messages behind the other one: the oldest of a set gives way.
	seen [seenSets][seenWays]atomic.Uint64
}

const (
	seenSets   = 1 << 9
	seenWays   = 8
	repeatTime = 400 * time.Millisecond // senders of sessions wait for 500 ms or longer until they repeat something
	returnTime = 5 * time.Second        // that long a way there and back may be
	seenTimes  = 1 << 20                // milliseconds, after which they begin anew
	seenLinks  = 1 << 12                // numbers of links, seenOut included
	seenOut    = seenLinks / 2

	repeatMillis = int64(repeatTime / time.Millisecond)
	returnMillis = int64(returnTime / time.Millisecond)
)

// twin is what a connection has of its twins.
type twin struct {
	*twins
	number uint64
}

// add makes c one of them, which is up.
func (x *twins) add(c *Conn) {
	x.up.Add(1)
	c.twin.Store(&twin{x, uint64(x.made.Add(1)) % seenOut})
}

// leave notes that one of them is up no more: what has gone over it may be on its way back over another one.
func (x *twins) leave(now time.Duration) {
	x.last.Store(int64(now))
	x.up.Add(-1)
}

// passes reports whether a message with that fingerprint comes by link number, or with seenOut goes by it, first, or once more. Safe for
// all.
//
// Of two loops that look for one message at once, one puts it there first and the other one finds it: each takes the oldest place, and
// the times of a place never go back, so that both would have to find the same one oldest. That needs all ages in one order, those of
// what another loop has put there by a clock that it read later, too.
func (x *twins) passes(print, number uint64, now time.Duration) bool {
	set := &x.seen[print%seenSets]
	at := uint64(now / time.Millisecond)
	for {
		var oldest *atomic.Uint64
		var before uint64
		var most int64
		for i := range set {
			was := set[i].Load()
			age := seenAge(at, was)
			if was == 0 {
				age = seenTimes
			} else if by := was / seenTimes % seenLinks; was>>32 == print>>32 &&
				(age < repeatMillis || age < returnMillis && by&seenOut != 0 && number&seenOut == 0) {
				return by&^seenOut == number&^seenOut
			}
			if oldest == nil || age > most {
				oldest, before, most = &set[i], was, age
			}
		}
		put := at + uint64(max(0, -most)) // all of the set is of later: its times do not go back
		if oldest.CompareAndSwap(before, print>>32<<32|number*seenTimes|put%seenTimes) {
			return true
		}
	}
}

// seenAge is how many milliseconds before at something was put into a set; negative, above -repeatMillis, if that was by a clock that was
// read later.
func seenAge(at, was uint64) int64 {
	return int64((at-was+uint64(repeatMillis))%seenTimes) - repeatMillis // of numbers modulo seenTimes, which divides 1<<64
}

// repeats reports whether a message to many, which comes over c or is about to go over it, has come or gone over a twin of it just now: then it
// must not. Safe for all.
func (c *Conn) repeats(b []byte, m *wire.Message, h *wire.Header, goes bool) bool {
	t := c.twin.Load()
	if t == nil {
		return false
	}
	now, number, within := time.Since(c.loop.node.made), t.number, returnTime
	if goes {
		number, within = number|seenOut, repeatTime
	}
	switch {
	case t.denied(now):
		return false
	case t.up.Load() > 1: // read before last, which is set before it
	case now >= time.Duration(t.next.Load()):
		if last := time.Duration(t.last.Load()); last == 0 || now-last >= within {
			return false
		}
	}
	return !t.passes(fingerprint(b, m, h), number, now)
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
	x.replace(old, t, 0)
	a, b := t.conn.twin.Load(), old.conn.twin.Load()
	if a != nil && b != nil && a.twins == b.twins {
		a.till.Store(0)
	}
}

// MayBeReplaced says that until then a link of kind remote that comes up to the same node replaces t, as by Replaces,
// from its beginning: who would call that hears of the link a moment later. Unless it does, that ends then: nodes may
// have the same name. Until then 40 KiB note what goes over t and comes by it, which the other link may bring once
// more; a time that is over gives them back. Safe for all.
func (t *ActiveLink) MayBeReplaced(until time.Time) {
	x := &t.conn.loop.node.control
	x.mu.Lock()
	defer x.mu.Unlock()
	t.replaceable = until
	if !t.known() || x.links[t.conn] != t {
		return
	}
	now := time.Since(t.conn.loop.node.made)
	w := t.conn.twin.Load()
	switch over := now >= t.next(); {
	case !over && (w == nil || w.denied(now)):
		t.begin()
	case !over:
		w.waits(t)
	case w != nil && w.up.Load() == 1 && w.forgets(now):
		t.conn.twin.Store(nil)
	}
}

// known reports whether t is one of those that replace one another without a word: of kind remote, to a node that
// says who it is.
func (t *ActiveLink) known() bool { return t.Node != "" && t.LinkID != "" && t.Kind == table.Remote }

// next is until when another link may come in the place of t, as of Node.made.
func (t *ActiveLink) next() time.Duration { return t.replaceable.Sub(t.conn.loop.node.made) }

// begin makes t the first of new twins, and no more one of others. Under mu, of a link that is up.
func (t *ActiveLink) begin() {
	t.quit()
	x := new(twins)
	x.waits(t)
	x.add(t.conn)
}

// quit makes t no more one of its twins. Under mu, of a link that is up, and gets other twins at once.
func (t *ActiveLink) quit() {
	if w := t.conn.twin.Load(); w != nil {
		w.up.Add(-1)
	}
}

// waits notes that t, one of them, may be replaced. Under mu.
func (x *twins) waits(t *ActiveLink) { x.next.Store(max(x.next.Load(), int64(t.next()))) }

// denied reports whether those that are up are none, since nobody has confirmed it in time. Safe for all.
func (x *twins) denied(now time.Duration) bool {
	till := time.Duration(x.till.Load())
	return till != 0 && now >= till && x.up.Load() > 1
}

// forgets reports whether what has gone over one that has ended can come back no more. Safe for all.
func (x *twins) forgets(now time.Duration) bool {
	last := time.Duration(x.last.Load())
	return last == 0 || now-last >= returnTime
}

// join has t, which has come up, replace the youngest link to the same node that may be replaced. Under mu.
func (x *control) join(t *ActiveLink) {
	if !t.known() {
		return
	}
	var old *ActiveLink
	now := time.Now()
	for _, l := range x.links {
		if l != t && l.SameNode(t) && l.Kind == t.Kind && now.Before(l.replaceable) && (old == nil || l.Conn > old.Conn) {
			old = l
		}
	}
	if old != nil {
		x.replace(old, t, old.next())
	}
}

// replace makes twins of two links, till then if nobody confirms it, or 0. Under mu.
func (x *control) replace(old, t *ActiveLink, till time.Duration) {
	now := time.Since(t.conn.loop.node.made)
	w := t.conn.twin.Load()
	if t == old || x.links[t.conn] != t || x.links[old.conn] != old || w != nil && w.up.Load() > 1 && !w.denied(now) {
		return
	}
	if v := old.conn.twin.Load(); v == nil || v.denied(now) {
		old.begin()
	}
	n := old.conn.twin.Load().twins
	if n.up.Load() == 1 { // else others of them are known to be twins
		n.till.Store(int64(till))
	}
	t.quit()
	n.waits(t)
	n.add(t.conn)
}
