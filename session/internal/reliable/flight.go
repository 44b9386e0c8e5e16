package reliable

import (
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// flight is a message that is kept.
//
//	                     room on the way                   Sent
//	Publish ──▶ fresh ───────────────────▶ handed over ───────────▶ its time runs ── Ack of all ──▶ delivered
//	                                            ▲                      │
//	                                            └──── room ── again ◀──┘ it is over, somebody has asked, or the connection was lost
type flight[H any] struct {
	id      uint32
	number  uint64        // of the message, in the order of Publish and PublishTo
	to      wire.NameText // of one endpoint, out of order; zero: of all
	payload Payload
	size    int // of payload
	handle  H
	lacking bitset          // slots that have not acknowledged it
	missing []wire.NameText // reported as not having acknowledged it
	owed    []wire.NameText // of missing: those who may still ask for it

	launched bool      // there is an endpoint
	listed   bool      // it is in Sender.fresh or again
	fresh    bool      // nothing of it was handed over, so that one copy is for all
	todo     bitset    // not fresh: slots to which a copy is to be handed over
	replies  bitset    // of todo: those who have asked
	given    asked     // who has got it for asking
	out      int       // copies that were handed over and have not left
	deadline time.Time // zero: its time does not run
	tries    int       // repeats
	said     bool      // its last copy has left
	refused  bool      // there was no room for its last copy, which does not count as one

	late bool // reported, kept for those who are missing
	gone bool // not in flights any more

	first  Transmission // in its place: each message has one
	result Result[H]    // likewise
}

// asked is who has got a message for asking, lately (P-ses-4). Requests are not signed, and a copy may have four million times the bytes of one.
type asked struct {
	since time.Time
	by    []wire.NameText
}

// again reports whether name has got it within this time, and else notes that it gets it now.
func (a *asked) again(name wire.NameText, within time.Duration, now time.Time) bool {
	if now.Sub(a.since) >= within {
		a.since, a.by = now, a.by[:0]
	}
	if slices.Contains(a.by, name) {
		return true
	}
	a.by = append(a.by, name)
	return false
}

func (f *flight[H]) copyOf() {}

// timed is a flight whose time runs, as long as at is its deadline.
type timed[H any] struct {
	f  *flight[H]
	at time.Time
}

func (t timed[H]) current() bool { return !t.f.gone && !t.f.late && t.f.deadline.Equal(t.at) }

// miss notes that name has not acknowledged f, which is not repeated to it any more.
func (f *flight[H]) miss(name wire.NameText) {
	f.missing = append(f.missing, name)
	f.owed = append(f.owed, name)
}

// excuse has name not get f any more.
func (f *flight[H]) excuse(name wire.NameText) {
	f.owed = slices.DeleteFunc(f.owed, func(other wire.NameText) bool { return other == name })
}

// next takes the first slot to which a copy is to be handed over, and that still lacks it; asked: it has asked for it.
func (f *flight[H]) next() (slot int, asked, ok bool) {
	for slot := range f.todo.all() {
		f.todo.clear(slot)
		asked := f.replies.has(slot)
		f.replies.clear(slot)
		if f.lacking.has(slot) {
			return slot, asked, true
		}
	}
	return 0, false, false
}
