package table

// Text is the three strings of a prefix in one piece of memory. Immutable; nil are none.
type Text struct {
	all  string
	a, b uint32 // ends of the first and second
}

// NewText copies s, each of which is shorter than 1 GiB.
func NewText(s [3]string) *Text {
	return &Text{all: s[0] + s[1] + s[2], a: uint32(len(s[0])), b: uint32(len(s[0]) + len(s[1]))}
}

// Len is the length of all three in bytes.
func (t *Text) Len() int {
	if t == nil {
		return 0
	}
	return len(t.all)
}

// Parts returns the strings, which share t's memory; t is not nil.
func (t *Text) Parts() [3]string { return [3]string{t.all[:t.a], t.all[t.a:t.b], t.all[t.b:]} }

// Text is Strings without a copy: nil if there are none. Who keeps it keeps nothing else of the table. Safe for all; no lock.
func (t *Table[C]) Text(prefix [3]uint64) *Text {
	k := key{prefix[2], prefix[1], prefix[0]}
	if l := t.prefixes.root.Load().find(&k); l != nil {
		return l.v.text.Load()
	}
	return nil
}
