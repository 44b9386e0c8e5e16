package agent

import (
	"maps"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// What upstream's node tells of the end of a link, and what it is told then (P-def-6).
//
// noticed is how long after a link has ended, which the other end has mostly said then, that has told its control plane
// of it.
const noticed = 500 * time.Millisecond

// believed is how long routes stay then that the control plane takes back for it. Tests lengthen it.
var believed = 5 * time.Second

// reminder is what the node at the other end of a link is to tell its control plane anew. Its routes stay until it ends.
type reminder struct {
	link   *active
	old    *router.Dialer // of the link that ends, until that is over; then nil
	routes routes
	at     time.Time // when it is told, once old is over; zero: it was
	until  time.Time // counts once it was told, however late that is
}

// withdrawn notes that a link which is up ends, and what is ordered over the one that has come in its place. If the other
// end is upstream's, it takes back all names that were routed to this node: what of them is ordered to be routed there it
// holds nonetheless.
func (d *desk) withdrawn(id string, l *dialled) {
	if d.newest(id) == nil {
		return
	}
	for _, o := range d.orders {
		to := d.successor(o, id, l.want)
		if to == nil {
			continue
		}
		r := reminder{link: to, old: l.dialer, routes: maps.Clone(o.routes[to.LinkID])}
		maps.DeleteFunc(r.routes, func(n wire.Name, _ wire.NameText) bool {
			_, held := d.agent.node.Held(n)
			return !held
		})
		if len(r.routes) > 0 {
			d.reminders = append(d.reminders, r)
		}
	}
}

// remind does what is due, and returns when the next thing is; zero: there is none.
func (d *desk) remind(now time.Time) (next time.Time) {
	d.reminders = slices.DeleteFunc(d.reminders, func(r reminder) bool {
		return r.old == nil && r.at.IsZero() && !now.Before(r.until) || d.up[r.link.ActiveLink] == nil
	})
	for i := range d.reminders {
		r := &d.reminders[i]
		if r.old != nil {
			if r.old.Status().State != router.LinkOver { // its end is told, and comes within its Link.CloseTimeout
				continue
			}
			r.old, r.at = nil, now.Add(noticed)
		}
		if !r.at.IsZero() && !now.Before(r.at) {
			d.agent.log.Debug("the other end is reminded of names", "link_id", r.link.LinkID, "names", len(r.routes))
			r.link.Remind(slices.Collect(maps.Values(r.routes)))
			r.at, r.until = time.Time{}, now.Add(believed-noticed)
		}
		due := r.until
		if !r.at.IsZero() {
			due = r.at
		}
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return next
}
