package group

import (
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// ErrPeerGone: the other one of a session of two did not come back.
var ErrPeerGone = fmt.Errorf("%w: the other one has been offline for too long", ErrClosed)

// absence is how long the other one of a session of two has been offline.
//
//	online ── offline ──▶ since then ── Options.Patience ──▶ the session is over
//	   ◀──── online ────────┘   └── this member has lost its connection, and has it back: it begins anew
type absence struct {
	since time.Time // zero: it is not
	cut   bool      // this member has no connection
}

// step looks at the roster after an event, and reports whether it has lasted too long.
func (a *absence) step(c *core, ev Event) bool {
	if c.o.Kind != message.PointToPoint || c.o.Patience <= 0 || c.over {
		return false
	}
	switch ev.(type) {
	case Disconnected:
		a.cut = true
	case Reconnected:
		a.cut, a.since = false, time.Time{}
	}
	offline := false
	for i := range c.roster {
		offline = offline || c.roster[i].Offline
	}
	switch {
	case !offline:
		a.since = time.Time{}
	case a.since.IsZero():
		a.since = c.now
	}
	at := a.deadline(c)
	return !at.IsZero() && !at.After(c.now)
}

// deadline is when it has; zero: never.
func (a *absence) deadline(c *core) time.Time {
	if a.cut || a.since.IsZero() || c.over {
		return time.Time{}
	}
	return a.since.Add(c.o.Patience)
}
