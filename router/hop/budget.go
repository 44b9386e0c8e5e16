package hop

const (
	// idleTicks is for how many ticks a link may leave its memory unused.
	idleTicks = 8
	// sweepParts is in how many ticks the hand goes round.
	sweepParts = 8
	// pressSteps is how many links are asked for theirs when there is no room.
	pressSteps = 8
	// maxLink bounds what a single link remembers, in bytes.
	maxLink = 128 << 10
)

// budget bounds what the links of a Scratch remember together. A hand goes round those that hold anything, as the hand
// of a clock: each tick it moves on by a part of them and takes away what was idle for idleTicks; when there is no room
// it takes away what was not used in this tick.
//
//	held == the sum of the links' held <= limit
type budget struct {
	limit, held int
	now         uint32  // ticks
	links       []*Link // that hold anything
	hand        int     // next link to look at
	barren      int     // links looked at in vain since the last tick or the last that gave
}

// take counts n more bytes for l, less if negative but never none at all, and reports whether there is room for them. l
// was used in this tick.
func (b *budget) take(l *Link, n int) bool {
	if n > 0 && (l.held+n > maxLink || b.held+n > b.limit && !b.press(n)) {
		return false
	}
	if l.held == 0 {
		l.at = len(b.links)
		b.links = append(b.links, l)
	}
	b.held += n
	l.held += n
	return true
}

// drop forgets that l holds anything.
func (b *budget) drop(l *Link) {
	if l.held == 0 {
		return
	}
	b.held -= l.held
	l.held = 0
	last := len(b.links) - 1
	b.links[l.at] = b.links[last]
	b.links[l.at].at = l.at
	b.links[last] = nil
	b.links = b.links[:last]
}

// press makes room for n bytes and reports whether there is some. It looks at few links, and at none twice in a tick.
func (b *budget) press(n int) bool {
	for range pressSteps {
		if b.barren >= len(b.links) {
			return false
		}
		b.barren++
		if b.look(1) && b.held+n <= b.limit {
			return true
		}
	}
	return false
}

// look takes the memory of the link at the hand if it was not used for idle ticks, and reports so.
func (b *budget) look(idle uint32) bool {
	if b.hand >= len(b.links) {
		b.hand = 0
	}
	l := b.links[b.hand]
	if b.now-l.used < idle {
		b.hand++
		return false
	}
	l.forget() // another link takes its place
	b.barren = 0
	return true
}

// tick begins the next tick.
func (b *budget) tick() {
	b.now++
	b.barren = 0
	for range (len(b.links) + sweepParts - 1) / sweepParts {
		if len(b.links) == 0 {
			return
		}
		b.look(idleTicks)
	}
}
