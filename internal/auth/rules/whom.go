package rules

import "slices"

// whom finds the rules that may mean an identity without a look at all of them: thousands of connections are judged by thousands of rules
// when these change, in seconds. Immutable once it is complete.
type whom struct {
	bySubject map[string][]uint32 // rules whose subject is one text
	byClaim   map[string]*byValue // of the others, those that want a claim to have one of some values, by its path
	byPrefix  map[string][]uint32 // of the others, those whose subject has something before its star
	bySuffix  map[string][]uint32 // of the others, those whose subject has something after it
	prefixes  []int               // lengths, each once
	suffixes  []int               // lengths, each once
	others    []uint32            // one for each issuer and each list of mechanisms at most, and each claim that may be anything
}

// byValue are rules by the values of a claim that they want.
type byValue struct {
	path  []string
	rules map[string][]uint32
}

func newWhom() whom {
	return whom{bySubject: map[string][]uint32{}, byClaim: map[string]*byValue{}, byPrefix: map[string][]uint32{},
		bySuffix: map[string][]uint32{}}
}

// add adds rule n, which is above all that are in w.
func (w *whom) add(n uint32, r *rule) {
	if g := &r.subject; g.set && !g.star {
		w.bySubject[g.prefix] = append(w.bySubject[g.prefix], n)
		return
	}
	for i := range r.claims {
		c := &r.claims[i]
		if c.values == nil {
			continue
		}
		x := w.byClaim[c.at]
		if x == nil {
			x = &byValue{c.path, map[string][]uint32{}}
			w.byClaim[c.at] = x
		}
		for v := range c.values {
			x.rules[v] = append(x.rules[v], n)
		}
		return
	}
	p, e := r.subject.prefix, r.subject.suffix
	switch {
	case p != "":
		w.byPrefix[p] = append(w.byPrefix[p], n)
		w.prefixes = with(w.prefixes, len(p))
	case e != "":
		w.bySuffix[e] = append(w.bySuffix[e], n)
		w.suffixes = with(w.suffixes, len(e))
	default:
		w.others = append(w.others, n)
	}
}

func with(lengths []int, n int) []int {
	if slices.Contains(lengths, n) {
		return lengths
	}
	return append(lengths, n)
}

// find returns the rules that may mean an identity, each once, in their order.
func (w *whom) find(m *meaning) []uint32 {
	subject := m.who.Subject
	all := slices.Concat(w.bySubject[subject], w.others)
	for _, n := range w.prefixes {
		if n <= len(subject) {
			all = append(all, w.byPrefix[subject[:n]]...)
		}
	}
	for _, n := range w.suffixes {
		if n <= len(subject) {
			all = append(all, w.bySuffix[subject[len(subject)-n:]]...)
		}
	}
	for at, x := range w.byClaim {
		for v := range m.saying(at, x.path) {
			all = append(all, x.rules[v]...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
