package router

import (
	"slices"
	"strings"
	"time"
)

// linkNews decides which failures of a link are logged, until it has been up for a while: of each kind the first, since a
// peer may be down for days; of more than mostKinds kinds one a minute.
type linkNews struct {
	kinds  []string // that were logged
	last   time.Time
	untold int // failures since the last that was logged which were of another kind, and not logged
}

const (
	mostKinds   = 8
	linkNewsGap = time.Minute
)

// tells reports whether a failure is to be logged, and how many of other kinds were not since the last one.
func (n *linkNews) tells(text string, now time.Time) (untold int, ok bool) {
	kind := strings.Map(withoutDigits, text)
	switch {
	case slices.Contains(n.kinds, kind):
		return 0, false
	case len(n.kinds) < mostKinds:
		n.kinds = append(n.kinds, kind)
	case now.Sub(n.last) < linkNewsGap:
		n.untold++
		return 0, false
	}
	untold = n.untold
	n.last, n.untold = now, 0
	return untold, true
}

// withoutDigits takes what is another in each attempt out of an error: our port, the time at which a certificate was
// looked at. For strings.Map.
func withoutDigits(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}
