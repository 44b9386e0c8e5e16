package rpc

import "github.com/seed31b3bfd0/slimgo/session"

// order finds messages that are missing: the session tells of them by an event, which the reader of its messages may see too late. It
// belongs to that reader.
type order struct {
	from  session.Name // who was heard last, as most are who say the next one, too; zero: nobody was
	last  uint32       // message of it
	other map[session.Name]uint32
}

// gap reports whether messages of the same sender are missing before m.
func (o *order) gap(m *session.Message) bool {
	if m.Direct {
		return false
	}
	heard := true
	if m.From != o.from {
		if o.other == nil {
			o.other = map[session.Name]uint32{}
		}
		if !o.from.IsZero() {
			o.other[o.from] = o.last
		}
		o.from = m.From
		o.last, heard = o.other[m.From]
	}
	last := o.last
	o.last = m.ID
	return heard && m.ID > last+1 // a member that was let in anew begins with one again
}
