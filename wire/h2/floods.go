package h2

// Frames that cost the sender nothing and us work are paid for with tokens. The budget is kept in bytes so that DATA
// can refill it without arithmetic: one token is tokenBytes, and every byte of DATA on a live stream, in either
// direction, gives one back. Rules: P-lim-13.
//
// Frames that answer ours are free, so that an honest peer is not cut off however long it goes on: a PING for each DATA
// or HEADERS frame we sent (estimators of bandwidth send one for each round trip; gRPC's proposal A8 has servers count
// that way: P-tr-13), a WINDOW_UPDATE that returns what our DATA took, a RST_STREAM for a stream whose response is
// complete, the HEADERS of responses and trailers.
const (
	tokenBytes    = 256
	fullBudget    = 4096 * tokenBytes
	maxResets     = 1 << 14   // streams whose opening and reset the budget covers
	maxControl    = 256 << 10 // bytes of Control that may wait for the owner
	maxAnswerable = 1 << 13   // PINGs that may come after we have sent as many frames

	// Prices in tokens. A request pays more than a ping, since the owner works on it, and a stream that ends in an
	// error pays again: rapid reset (CVE-2023-44487) is out of tokens after some 340 streams, or after those that may
	// be open at once and some 80 if these are more: a proxy whose own side breaks resets them all together.
	priceRequest = 4
	priceReset   = 8
	priceEmpty   = 4
	priceWindow  = tokenBytes / 8 // in bytes
	priceLate    = 1              // a frame on a closed stream that is not answered
	priceOver    = 8              // in bytes: for each byte of a section above MaxHeaderList
)

// budgetOf is the whole budget of a connection, in bytes: the opening and reset of all its streams leave a part for
// the rest.
func budgetOf(s *Settings) int {
	return max(fullBudget, min(int(s.MaxStreams), maxResets)*(priceRequest+priceReset)*tokenBytes+fullBudget/4)
}

// Flood names what emptied the budget.
type Flood uint8

// The floods, by what emptied the budget.
const (
	FloodNone Flood = iota
	FloodPing
	FloodSettings
	FloodPriority
	FloodReset   // RST_STREAM received
	FloodFault   // streams we had to reset
	FloodRefused // requests refused
	FloodEmpty   // empty DATA, HEADERS or CONTINUATION frames
	FloodWindow  // WINDOW_UPDATE
	FloodRequest // requests without messages
	FloodUnknown // frames of unknown type
	FloodHeaders // header blocks
	FloodControl // answers pile up because the peer does not read
)

var floodNames = [...]string{"no", "ping", "settings", "priority", "reset", "stream error", "refused stream",
	"empty frame", "window update", "request", "unknown frame", "header block", "control frame"}

// String returns the name as it goes into the debug text of GOAWAY.
func (f Flood) String() string {
	if int(f) < len(floodNames) {
		return floodNames[f]
	}
	return "unknown"
}

// spend takes tokens and ends the connection when none are left.
func (c *Conn) spend(f Flood, tokens int) { c.spendBytes(f, tokens*tokenBytes) }

func (c *Conn) spendBytes(f Flood, n int) {
	if c.budget -= n; c.budget < 0 {
		c.flood(f)
	}
}

// tooManyPings is the word by which gRPC's clients know that they are to ping less often (proposal A8); after any other
// they would come again as they were.
const tooManyPings = "too_many_pings"

func (c *Conn) flood(f Flood) {
	if c.err == nil {
		c.ctl = c.ctl[:0] // whoever floods gets no answers but the last one
		reason := f.String() + " flood"
		if f == FloodPing {
			reason = tooManyPings
		}
		c.fail(EnhanceYourCalm, reason)
		c.err.Flood = f
	}
}

// answers reports whether a PING of the peer may be the answer to a DATA or HEADERS frame of ours. Rules: P-tr-13.
func (c *Conn) answers() bool {
	c.pinged = max(c.pinged, c.sent-min(c.sent, maxAnswerable)) // older ones are too long ago
	if c.pinged == c.sent {
		return false
	}
	c.pinged++
	return true
}

// Relax gives back n tokens of the flood budget, at most to its full size: 4096, or more where the peer may have more
// than 256 streams open. The owner calls it from a timer,
// since the engine has no clock: a keepalive PING a minute would otherwise add up over days.
func (c *Conn) Relax(n int) {
	c.budget = min(c.budget+min(n, c.fullBudget/tokenBytes)*tokenBytes, c.fullBudget)
}
