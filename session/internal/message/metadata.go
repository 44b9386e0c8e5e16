package message

import (
	"bytes"
	"maps"
)

// Bounds of the metadata that is remembered.
const (
	mostEntries   = 8
	mostEntrySize = 128 // bytes
)

// metadata is what the data that came last says, entry by entry: messages of a stream say the same, and share a map then. The order of
// entries does not matter.
type metadata struct {
	said map[string]string   // never changed; nil: nothing is remembered
	raw  [mostEntries][]byte // the entries that say it, as many as are in said

	// Of the message that is decoded.
	same uint8               // which of raw it has, bit by bit
	come [mostEntries][]byte // its entries, lent
	n    int                 // of them; more than are in come: it is not to be remembered
}

// begin is called before the first entry of a message.
func (x *metadata) begin() { x.same, x.n = 0, 0 }

// note notes an entry.
func (x *metadata) note(raw []byte) {
	if x.n < mostEntries {
		x.come[x.n] = raw
	}
	x.n++
}

// take reports whether an entry is one of those that are remembered.
func (x *metadata) take(raw []byte) bool {
	for i := range len(x.said) {
		if bytes.Equal(x.raw[i], raw) {
			x.same |= 1 << i
			return true
		}
	}
	return false
}

// taken is what take has taken; nil: nothing.
func (x *metadata) taken() map[string]string {
	switch {
	case x.same == 0:
		return nil
	case x.same == 1<<len(x.said)-1:
		return x.said
	}
	var some Message
	var w walk
	for i := range len(x.said) {
		if x.same&(1<<i) != 0 {
			w.fields[0] = fields{b: x.raw[i], walk: &w}
			some.decodeEntry(&w.fields[0])
		}
	}
	return some.Metadata
}

// keep remembers what the message says that was decoded, unless that is much, or says something twice.
func (x *metadata) keep(said map[string]string) {
	if x.n > mostEntries || x.n != len(said) {
		return
	}
	for _, raw := range x.come[:x.n] {
		if len(raw) > mostEntrySize {
			return
		}
	}
	for i, raw := range x.come[:x.n] {
		x.raw[i] = append(x.raw[i][:0], raw...)
	}
	x.said = said
}

// Without returns md without these keys: md itself, which is not changed, if it has none of them.
func Without(md map[string]string, keys ...string) map[string]string {
	if len(md) == 0 {
		return nil
	}
	own := false
	for _, k := range keys {
		if _, ok := md[k]; !ok {
			continue
		}
		if !own {
			md, own = maps.Clone(md), true
		}
		delete(md, k)
	}
	return md
}
