package transport

import "github.com/seed31b3bfd0/slimgo/internal/auth"

// Gate is the sockets that have come by one listener, on one loop. Owned by the loop, as its methods are.
type Gate struct {
	group     *Group
	endpoint  string      // the listener's; immutable
	guard     *auth.Guard // judges requests; nil: none does
	sockets   int         // that are open
	draining  bool        // the end is announced to them
	finishing bool        // every stream ends after what is queued for it
	idle      func()      // to be called when none is left; nil: not asked for, or called
}

// NewGate returns the gate of the listener of an endpoint. Safe for all.
func (g *Group) NewGate(endpoint string) *Gate { return &Gate{group: g, endpoint: endpoint} }

// Guard returns what judges requests; nil: nothing does.
func (t *Gate) Guard() *auth.Guard { return t.guard }

// SetGuard has requests judged by g from now on, those that are being judged included; nil: by nobody.
func (t *Gate) SetGuard(g *auth.Guard) { t.guard = g }

// Drain announces the end to every socket of the listener, and to those that still come; messages that come from now on
// still go their way.
func (t *Gate) Drain() {
	t.draining = true
	t.each(member.drain)
}

// Finish ends every stream after what is queued for it, and each socket when its peer has everything. idle is called
// when none is left, on the loop.
func (t *Gate) Finish(idle func()) {
	t.finishing, t.idle = true, idle
	t.each(member.finish)
	t.checkIdle()
}

// Cut ends the sockets that are left. What their peers have sent until now is still read; what waits for them is
// dropped.
func (t *Gate) Cut() {
	t.each(func(m member) {
		k := m.shared()
		k.refuse(FaultUnread, errRemoved, "unacknowledged_bytes", k.net.Unacknowledged())
		k.net.Silence()
	})
}

func (t *Gate) each(f func(member)) {
	t.group.each(func(m member) {
		if m.shared().peer.Gate == t {
			f(m)
		}
	})
}

func (t *Gate) checkIdle() {
	if idle := t.idle; idle != nil && t.sockets == 0 {
		t.idle = nil
		idle()
	}
}
