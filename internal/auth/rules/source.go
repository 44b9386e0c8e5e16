package rules

import (
	"cmp"
	"fmt"
	"strings"
)

// Bounds of a Set. Compile refuses what is beyond.
const (
	MaxRules    = 1 << 14
	MaxPatterns = 1 << 16 // of names, in all lists
	MaxValues   = 1 << 16 // of claims, in all rules
	MaxText     = 1 << 10 // bytes of a pattern, of a value, of what a template becomes
	maxDepth    = 8       // of a claim in others
	maxFaults   = 100
)

// Source is a set of rules as it is written.
type Source struct {
	// Allow is the decision about what no rule for an identity speaks of. False: it is denied.
	Allow bool
	// Dialed has links judged, too, that the node has opened: their identity has the mechanism Dialed, and the endpoint as
	// subject. False: they may do all, as apps in the process always may.
	Dialed bool
	Rules  []Rule
}

// Dialed is the mechanism of who is at the other end of a link that the node has opened, Anonymous that of who has shown
// nothing. Others are those of package auth.
const (
	Dialed    = "dialed"
	Anonymous = "none"
)

// Rule is a list of names for each act that it speaks of, for those whom Who means. A name, or a kind, is allowed if one rule
// for the identity lists it. A nil list says nothing of its act; an empty one allows nothing.
type Rule struct {
	Place Place
	Who   Who
	// Claim are the kinds that a connection may be of: edge, peer, remote.
	Claim *List
	// Subscribe, Publish and Source are patterns of names that may be subscribed to, published to and published from.
	Subscribe, Publish, Source *List
}

// Who means identities for which all that is set holds. The zero Who means everybody.
type Who struct {
	Mechanisms []Text // one of them; none: any
	// Issuer and Subject are texts in which one * may stand for any bytes; an empty Text: any.
	Issuer, Subject Text
	Claims          []Claim // all of them
}

// Claim is a claim that has one of some values, or, as a list, holds one of them. The value * is any.
type Claim struct {
	Path   Text // NAME, NAME.NAME, or ["NAME"] where a name has other characters
	Values []Text
}

// List is a list that is there.
type List struct{ Texts []Text }

// Text is a text with its place.
type Text struct {
	Text  string
	Place Place
}

// Place is where something is written; lines and columns count from 1. The zero Place is none.
type Place struct {
	File         string
	Line, Column int
}

// Fault is one thing that is wrong with a Source.
type Fault struct {
	Place Place
	Text  string
}

func (f Fault) String() string {
	if f.Place.Line == 0 {
		return f.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.Place.File, f.Place.Line, f.Place.Column, f.Text)
}

// Faults are all that is wrong with a Source, a hundred at most, in the order of their places.
type Faults []Fault

func (f Faults) Error() string {
	texts := make([]string, len(f))
	for i := range f {
		texts[i] = f[i].String()
	}
	return strings.Join(texts, "\n")
}

func (p Place) compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}
