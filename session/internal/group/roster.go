package group

import (
	"slices"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// roster is who is in a session, this member included, in the order in which they came.
type roster []message.Participant

// sameApp reports whether two names are of the same service, whatever the instance.
func sameApp(a, b *wire.NameText) bool { return a.Name.C == b.Name.C }

// same reports whether two names are of the same instance. How they are spelled is not looked at.
func same(a, b *wire.NameText) bool { return a.Name == b.Name }

// find returns the member of this name; nil: there is none.
func (r roster) find(n *wire.NameText) *message.Participant {
	for i := range r {
		if same(&r[i].Name, n) {
			return &r[i]
		}
	}
	return nil
}

// findApp returns the member that is an instance of this name's service, and the one of the name's id if it has one.
func (r roster) findApp(n *wire.NameText) *message.Participant {
	for i := range r {
		if sameApp(&r[i].Name, n) && (n.Name.IsNull() || same(&r[i].Name, n)) {
			return &r[i]
		}
	}
	return nil
}

// findTwin returns the member that has the same identity as who has this name, and another service; nil: there is none.
func (r roster) findTwin(n *wire.NameText) *message.Participant {
	for i := range r {
		if p := &r[i]; p.Name.Name.Hi == n.Name.Hi && p.Name.Name.Lo == n.Name.Lo && !sameApp(&p.Name, n) {
			return p
		}
	}
	return nil
}

// mostMembers is how many members a group may have, whatever its moderator says (P-ses-5): as many as MLS takes (mls.DefaultLimits). A member looks
// at each among all others, which takes the time of everybody's sessions.
const mostMembers = 1 << 12

// names are those of the members.
func (r roster) names() map[wire.Name]bool {
	names := make(map[wire.Name]bool, len(r))
	for i := range r {
		names[r[i].Name.Name] = true
	}
	return names
}

// put adds p, or replaces who has its name.
func (r *roster) put(p message.Participant) {
	if known := r.find(&p.Name); known != nil {
		*known = p
		return
	}
	*r = append(*r, p)
}

func (r *roster) remove(n *wire.NameText) {
	*r = slices.DeleteFunc(*r, func(p message.Participant) bool { return same(&p.Name, n) })
}
