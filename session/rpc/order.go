package rpc

import "github.com/seed31b3bfd0/slimgo/session"

// order finds messages that are missing: the session tells of them by an event, which the reader of its messages may see too late. It
// belongs to that reader.
type order map[session.Name]uint32

// gap reports whether messages of the same sender are missing before m.
func (o order) gap(m *session.Message) bool {
	if m.Direct {
		return false
	}
	last, heard := o[m.From]
	o[m.From] = m.ID
	return heard && m.ID > last+1 // a member that was let in anew begins with one again
}
