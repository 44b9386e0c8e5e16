package group

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// ask is a control message that is repeated until everybody who is to answer it has.
type ask struct {
	message  message.Message // not sealed: each repeat has a new token and signatures
	lacking  []wire.NameText
	deadline time.Time // zero: it has not left
	out      int       // copies that have not
	tries    int
	most     int                           // repeats; 0: those of Options.Control
	done     func(missing []wire.NameText) // none missing: all have answered
}

// ask sends m to be answered by these. done is called once, by a later Step.
func (c *core) ask(m message.Message, by []wire.NameText, done func(missing []wire.NameText)) *ask {
	m.ID = c.newID()
	return c.await(&ask{message: m, lacking: by, done: done})
}

// await sends a for the first time.
func (c *core) await(a *ask) *ask {
	c.asks = append(c.asks, a)
	c.headChanged()
	c.say(a)
	return a
}

// say sends a. The time in which it is to be answered begins when it has left, or at once if it does not.
func (c *core) say(a *ask) {
	a.out++
	a.deadline = time.Time{}
	if m := a.message; !c.putFor(&m, a) {
		a.sent(c.now.Add(c.o.Control.Interval))
	}
}

// sent notes that a copy has left, and when it is to be answered.
func (a *ask) sent(deadline time.Time) {
	if a.out--; a.out == 0 {
		a.deadline = deadline
	}
}

// newID draws an id for a control message: never zero, and not one that waits for an answer.
func (c *core) newID() uint32 {
	for {
		if id := c.o.Random(); id != 0 && c.asked(id) == nil {
			return id
		}
	}
}

func (c *core) asked(id uint32) *ask {
	for _, a := range c.asks {
		if a.message.ID == id {
			return a
		}
	}
	return nil
}

// lacks reports whether n has not answered.
func (a *ask) lacks(n *wire.NameText) bool {
	return slices.ContainsFunc(a.lacking, func(other wire.NameText) bool { return same(&other, n) })
}

// answered notes an answer of from. It reports whether one was awaited.
func (c *core) answered(id uint32, from *wire.NameText) bool {
	a := c.asked(id)
	if a == nil {
		return false
	}
	for i := range a.lacking {
		if same(&a.lacking[i], from) {
			a.lacking = slices.Delete(a.lacking, i, i+1)
			if len(a.lacking) == 0 {
				c.drop(a)
				a.done(nil)
			}
			return true
		}
	}
	return false
}

// drop ends a without a call of done.
func (c *core) drop(a *ask) {
	for i := range c.asks {
		if c.asks[i] == a {
			c.asks = append(c.asks[:i:i], c.asks[i+1:]...)
			c.headChanged()
			return
		}
	}
}

// excuse no longer waits for an answer of this member, who has gone.
func (c *core) excuse(n *wire.NameText) {
	for _, a := range append([]*ask(nil), c.asks...) {
		c.answered(a.message.ID, n)
	}
}

// remind repeats what is due, and gives up what was repeated as often as may be.
func (c *core) remind() {
	for _, a := range append([]*ask(nil), c.asks...) {
		switch {
		case a.deadline.IsZero() || a.deadline.After(c.now) || c.asked(a.message.ID) != a:
		case a.tries == cmp.Or(a.most, c.o.Control.Retries):
			c.drop(a)
			a.done(a.lacking)
		default:
			a.tries++
			c.say(a)
		}
	}
}

func (c *core) askDeadline() (at time.Time) {
	for _, a := range c.asks {
		at = earlier(at, a.deadline)
	}
	return at
}

// earlier returns the earlier of two times of which either may be zero, which is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
