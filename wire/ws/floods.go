package ws

// Frames that cost the sender nothing and us work are paid for with tokens. The budget is kept in bytes so that payload
// refills it without arithmetic: one token is tokenBytes, and every byte of a message, in either direction, gives one
// back. What answers ours is free. Rules: P-ws-9.
const (
	tokenBytes = 256
	fullBudget = 4096 * tokenBytes

	pricePing     = 1 * tokenBytes // it is answered
	pricePong     = 1 * tokenBytes // one that answers no ping of ours
	priceEmpty    = 4 * tokenBytes // a fragment that carries nothing
	priceFragment = tokenBytes / 8 // its own bytes pay for it from this length on
	priceMessage  = tokenBytes / 4 // a message without a byte: the owner works on it
)

// Flood names what emptied the budget.
type Flood uint8

// The floods.
const (
	FloodNone Flood = iota
	FloodPing
	FloodPong
	FloodFragment // fragments that are empty or tiny
	FloodMessage  // empty messages
)

var floodNames = [...]string{"no", "ping", "pong", "fragment", "empty message"}

// String returns the name as it goes into the reason.
func (f Flood) String() string {
	if int(f) < len(floodNames) {
		return floodNames[f]
	}
	return "unknown"
}

// spend takes n bytes of the budget and ends the connection when none are left.
func (c *Conn) spend(f Flood, n int) {
	if c.budget -= n; c.budget >= 0 || c.err != nil {
		return
	}
	c.ctl = c.ctl[:0] // whoever floods gets no answers but the last one
	c.end(&ConnError{Code: PolicyViolation, Reason: f.String() + " flood", Flood: f})
}

func (c *Conn) refund(n int) { c.budget = min(c.budget+n, fullBudget) }

// Relax gives back n tokens of the flood budget, at most to its full size of 4096. The owner calls it from a timer,
// since the engine has no clock: a ping a minute would otherwise add up over days.
func (c *Conn) Relax(n int) { c.refund(min(n, fullBudget/tokenBytes) * tokenBytes) }
