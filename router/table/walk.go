package table

import "github.com/seed31b3bfd0/slimgo/wire"

// Entry is a name with those who hold it.
type Entry[C any] struct {
	Held
	Count [kinds]int // holders of each kind
	Some  []*C       // the first of them, in the order of the kinds; borrowed until yield returns
}

// held begins a Held for the names of a prefix.
func held[C any](l *leaf[prefix[C]]) (h Held) {
	h.Name.C = [3]uint64{l.key[2], l.key[1], l.key[0]}
	if x := l.v.text.Load(); x != nil {
		h.Str, h.HasStr = x.Parts(), true
	}
	return h
}

// Walk is Range over all names, with up to most of the holders of each. Between two calls of yield it does a bounded
// number of steps, so that the caller can make pauses.
func (t *Table[C]) Walk(most int, yield func(*Entry[C]) bool) {
	var x Entry[C]
	t.prefixes.root.Load().all(func(l *leaf[prefix[C]]) bool {
		x.Held = held(l)
		return l.v.state.Load().all(func(hi, lo uint64, e *entry[C]) bool {
			x.Name.Hi, x.Name.Lo = hi, lo
			x.Kinds = e.kindSet()
			x.Some = x.Some[:0]
			for k := range Kind(kinds) {
				n := e.count(k)
				x.Count[k] = n
				for i := range min(n, most-len(x.Some)) {
					x.Some = append(x.Some, e.at(k, i))
				}
			}
			return yield(&x)
		})
	})
}

// NamesOf returns the number of subscriptions of c, and appends its names to dst if it has a few. complete: these are
// all of them; of many names it tells none, since to look for them could take long.
func (t *Table[C]) NamesOf(c *C, dst []wire.Name) (names []wire.Name, records int, complete bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.conns[c]
	if h == nil {
		return dst, 0, true
	}
	for i := range h.names.few {
		dst = append(dst, h.names.few[i].name)
	}
	return dst, h.records, h.names.many == nil
}
