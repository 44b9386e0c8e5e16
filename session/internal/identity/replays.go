package identity

import (
	"slices"

	"github.com/seed31b3bfd0/slimgo/wire"
)

const (
	replaySenders = 100
	replayIDs     = 1000
)

// Replays remembers which messages have come: the last thousand ids of each of the last hundred senders, or other
// numbers. The zero value is for those.
type Replays struct {
	IDs     int // of each sender; 0: 1000
	Senders int // that are remembered beyond a hundred
	senders map[wire.NameText]*replaySender
	count   uint64 // of messages
}

type replaySender struct {
	ids   []uint32
	next  int    // where the next one goes once ids is full
	heard uint64 // Replays.count when it was heard last
}

// Seen reports whether this message has come before, and remembers it.
func (r *Replays) Seen(from wire.NameText, id uint32) bool {
	s := r.sender(from)
	if slices.Contains(s.ids, id) {
		return true
	}
	most := r.IDs
	if most <= 0 {
		most = replayIDs
	}
	if len(s.ids) < most {
		s.ids = append(s.ids, id)
		return false
	}
	s.ids[s.next] = id
	s.next = (s.next + 1) % most
	return false
}

// Has reports whether this message has come before.
func (r *Replays) Has(from wire.NameText, id uint32) bool {
	s := r.senders[from]
	return s != nil && slices.Contains(s.ids, id)
}

func (r *Replays) sender(from wire.NameText) *replaySender {
	s := r.senders[from]
	if s == nil {
		if len(r.senders) >= replaySenders+r.Senders {
			r.forget()
		}
		if r.senders == nil {
			r.senders = map[wire.NameText]*replaySender{}
		}
		s = new(replaySender)
		r.senders[from] = s
	}
	r.count++
	s.heard = r.count
	return s
}

// forget forgets who was heard before all others.
func (r *Replays) forget() {
	first, least := wire.NameText{}, r.count+1
	for name, s := range r.senders {
		if s.heard < least {
			first, least = name, s.heard
		}
	}
	delete(r.senders, first)
}

// Revoke forgets a message, which was not taken, so that it may come again.
func (r *Replays) Revoke(from wire.NameText, id uint32) {
	if s := r.senders[from]; s != nil {
		if at := slices.Index(s.ids, id); at >= 0 {
			s.ids[at] = 0 // no message has that
		}
	}
}
