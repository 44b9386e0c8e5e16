package rules

import "slices"

// whom finds the rules that may mean an identity without a look at all of them: thousands of connections are judged by thousands of rules
// when these change, in seconds. Immutable once it is complete.
type whom struct {
	bySubject map[string][]uint32 // rules whose subject is one text
	byClaim   map[string]*byValue // of the others, those that want a claim to have one of some values, by its path
	byPrefix  map[string][]uint32 // of the others, those whose subject has something before its star
	lengths   []int               // of prefixes, each once
	others    []uint32
}

// byValue are rules by the values of a claim that they want.
type byValue struct {
	path  []string
	rules map[string][]uint32
}

func newWhom() whom {
	return whom{bySubject: map[string][]uint32{}, byClaim: map[string]*byValue{}, byPrefix: map[string][]uint32{}}
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
	p := r.subject.prefix
	if p == "" {
		w.others = append(w.others, n)
		return
	}
	w.byPrefix[p] = append(w.byPrefix[p], n)
	if !slices.Contains(w.lengths, len(p)) {
		w.lengths = append(w.lengths, len(p))
	}
}

// find returns the rules that may mean an identity, each once, in their order.
func (w *whom) find(m *meaning) []uint32 {
	subject := m.who.Subject
	all := slices.Concat(w.bySubject[subject], w.others)
	for _, n := range w.lengths {
		if n <= len(subject) {
			all = append(all, w.byPrefix[subject[:n]]...)
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
