package table

import (
	"strings"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Kind is what stands at the other end of a connection. The order is the order in which MatchOne looks (as upstream).
// Rules: P-any-1.
type Kind uint8

const (
	Local Kind = iota
	Remote
	Peer
	Edge
	kinds = 4
)

func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return [kinds]string{"local", "remote", "peer", "edge"}[k]
}

// Filter is a set of kinds, bit k for Kind k. The zero Filter matches nothing.
type Filter uint8

// All is the set of every kind.
const All Filter = 1<<kinds - 1

// String lists the kinds in f, with commas.
func (f Filter) String() string {
	var words []string
	for k := range Kind(kinds) {
		if f.Has(k) {
			words = append(words, k.String())
		}
	}
	return strings.Join(words, ",")
}

// Without returns f less k.
func (f Filter) Without(k Kind) Filter { return f &^ (1 << k) }

// Has reports whether k is in f.
func (f Filter) Has(k Kind) bool { return f>>k&1 != 0 }

// Only is the set of one kind.
func Only(k Kind) Filter { return 1 << k }

// Key is a name as a subscription carries it (EncodedName). A missing name_id means the null id for matching, but a
// record made without it is found only without it.
type Key struct {
	Name  wire.Name
	HasID bool
}
