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
	IDs     int             // of each sender; 0: 1000
	Senders int             // that are remembered beyond a hundred
	senders []*replaySender // who was heard last is the last
}

type replaySender struct {
	name wire.NameText
	ids  []uint32
	next int // where the next one goes once ids is full
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
	i := r.find(from)
	return i >= 0 && slices.Contains(r.senders[i].ids, id)
}

func (r *Replays) sender(from wire.NameText) *replaySender {
	i := r.find(from)
	var s *replaySender
	if i < 0 {
		s = &replaySender{name: from}
		if len(r.senders) >= replaySenders+r.Senders {
			i = 0
		}
	} else {
		s = r.senders[i]
	}
	if i >= 0 {
		r.senders = slices.Delete(r.senders, i, i+1)
	}
	r.senders = append(r.senders, s)
	return s
}

func (r *Replays) find(from wire.NameText) int {
	for i := len(r.senders) - 1; i >= 0; i-- {
		if r.senders[i].name == from {
			return i
		}
	}
	return -1
}

// Revoke forgets a message, which was not taken, so that it may come again.
func (r *Replays) Revoke(from wire.NameText, id uint32) {
	if i := r.find(from); i >= 0 {
		s := r.senders[i]
		if at := slices.Index(s.ids, id); at >= 0 {
			s.ids[at] = 0 // no message has that
		}
	}
}
