package table

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// twin is the subscription table as P-fwd, P-any, P-mul and P-sub have it, in slices and maps.
type twin struct {
	prefixes map[[3]uint64]*twinPrefix
	records  map[twinRecord]bool
	revoked  map[twinRecord]bool      // and not restored
	strings  map[twinRecord][3]string // of these
	limits   *Budget
	going    int // records of names that connections whose removal has begun still hold
}

// used is what the budget has to say: subscriptions but for peers', and bytes of strings.
func (w *twin) used(c *peer) (own, names, bytes int) {
	for r := range w.records {
		if r.c == c {
			own++
		}
		if r.c.kind != Peer {
			names++
		}
	}
	for _, p := range w.prefixes {
		bytes += len(p.str[0]) + len(p.str[1]) + len(p.str[2])
	}
	return own, names + w.going, bytes
}

// full names the limit that one more record would break, if any.
func (w *twin) full(c *peer, k Key, str [3]string, hasStr bool) string {
	more := len(str[0]) + len(str[1]) + len(str[2])
	if p := w.prefixes[k.Name.C]; !hasStr || p != nil && p.hasStr {
		more = 0
	}
	l := w.limits
	if c.kind == Peer || len(w.records)+w.going < min(l.PerConn, int(l.Names)*7/8, int(l.Bytes)/120) {
		return ""
	}
	own, names, bytes := w.used(c)
	switch {
	case l.PerConn > 0 && own >= l.PerConn:
		return fmt.Sprint("too many subscriptions on this connection: the limit is ", l.PerConn)
	case l.Names > 0 && (names >= int(l.Names) || own >= 128 && names >= int(l.Names-l.Names/8)):
		return fmt.Sprint("too many subscriptions at this node: the limit is ", l.Names-map[bool]int64{true: l.Names / 8}[own >= 128])
	case l.Bytes > 0 && more > 0 && bytes+more > int(l.Bytes):
		return fmt.Sprint("too many bytes of names at this node: the limit is ", l.Bytes)
	}
	return ""
}

type twinRecord struct {
	c   *peer
	k   Key
	sid uint64
}

type twinPrefix struct {
	str    [3]string
	hasStr bool
	ids    map[wire.Name]*twinLists
	union  twinLists
	cursor uint64
}

type twinLists struct {
	of     [kinds][]*peer
	cursor [kinds]uint64
}

func (l *twinLists) drop(c *peer) {
	s := l.of[c.kind]
	if i := slices.Index(s, c); i >= 0 {
		s[i] = s[len(s)-1]
		l.of[c.kind] = s[:len(s)-1]
	}
}

func (l *twinLists) empty() bool { return len(slices.Concat(l.of[:]...)) == 0 }

func (w *twin) holds(c *peer, n wire.Name) bool {
	for r := range w.records {
		if r.c == c && r.k.Name == n {
			return true
		}
	}
	return false
}

func (w *twin) add(c *peer, k Key, sid uint64, str [3]string, hasStr bool) (first bool, refused string) {
	held, r := w.holds(c, k.Name), twinRecord{c, k, sid}
	if w.records[r] {
		return false, ""
	}
	if refused = w.full(c, k, str, hasStr); refused != "" {
		return false, refused
	}
	w.records[r] = true
	p := w.prefixes[k.Name.C]
	if p == nil {
		p = &twinPrefix{ids: map[wire.Name]*twinLists{}}
		w.prefixes[k.Name.C] = p
	}
	if hasStr && !p.hasStr {
		p.str, p.hasStr = str, true
	}
	if held {
		return false, ""
	}
	l := p.ids[k.Name]
	if l == nil {
		l = &twinLists{}
		p.ids[k.Name] = l
	}
	l.of[c.kind] = append(l.of[c.kind], c)
	if !slices.Contains(p.union.of[c.kind], c) {
		p.union.of[c.kind] = append(p.union.of[c.kind], c)
	}
	return len(l.of[c.kind]) == 1, ""
}

func (w *twin) remove(c *peer, k Key, sid uint64) (bool, string) {
	for _, r := range []twinRecord{{c, k, sid}, {c, k, 0}} {
		if w.records[r] {
			break
		}
		if w.revoked[r] {
			delete(w.revoked, r)
			return false, ""
		}
	}
	p := w.prefixes[k.Name.C]
	if p == nil {
		return false, "subscription not found"
	}
	if p.ids[k.Name] == nil {
		return false, "id not found: " + wire.FormatID(k.Name.Hi, k.Name.Lo)
	}
	r := twinRecord{c, k, sid}
	if !w.records[r] {
		r.sid = 0
	}
	if !w.records[r] {
		return false, fmt.Sprint("subscription id not found: ", sid)
	}
	delete(w.records, r)
	if w.holds(c, k.Name) {
		return false, ""
	}
	last, _ := w.drop(c, k.Name)
	return last, ""
}

func (w *twin) revoke(c *peer, n wire.Name) (ids []uint64, last bool) {
	for r := range w.records {
		if r.c == c && r.k.Name == n {
			ids = append(ids, r.sid)
			delete(w.records, r)
			w.revoked[r] = true
			for o := range w.revoked { // the latest strings are for all of the name
				if o.c == c && o.k.Name == n {
					w.strings[o] = w.prefixes[n.C].str
				}
			}
		}
	}
	if len(ids) > 0 {
		last, _ = w.drop(c, n)
	}
	return ids, last
}

// restore adds what was revoked, in the order of ids, which are those that were restored.
func (w *twin) restore(c *peer, n wire.Name, ids []uint64) (first bool, wrong string) {
	for _, sid := range ids {
		r := twinRecord{c, Key{n, true}, sid}
		if !w.revoked[r] {
			return false, fmt.Sprint("was not revoked: ", sid)
		}
		delete(w.revoked, r)
		str := w.strings[r]
		was, refused := w.add(c, r.k, sid, str, str != [3]string{})
		if refused != "" {
			return false, refused
		}
		first = first || was
	}
	return first, ""
}

// left is how many subscriptions of c to n are revoked.
func (w *twin) left(c *peer, n wire.Name) (left int) {
	for r := range w.revoked {
		if r.c == c && r.k.Name == n {
			left++
		}
	}
	return left
}

func (w *twin) drop(c *peer, n wire.Name) (last, gone bool) {
	p := w.prefixes[n.C]
	l := p.ids[n]
	l.drop(c)
	last, gone = len(l.of[c.kind]) == 0, l.empty()
	if gone {
		delete(p.ids, n)
	}
	holds := func(l *twinLists) bool { return slices.Contains(l.of[c.kind], c) }
	if !slices.ContainsFunc(slices.Collect(maps.Values(p.ids)), holds) {
		p.union.drop(c)
	}
	if len(p.ids) == 0 {
		delete(w.prefixes, n.C)
	}
	return last, gone
}

// begin of a removal: the subscriptions of c count no more, its names are taken away one by one.
func (w *twin) removeConn(c *peer) map[wire.Name]int {
	names := map[wire.Name]int{}
	maps.DeleteFunc(w.revoked, func(r twinRecord, _ bool) bool { return r.c == c })
	for r := range w.records {
		if r.c == c {
			names[r.k.Name]++
			delete(w.records, r)
			if c.kind != Peer {
				w.going++
			}
		}
	}
	return names
}

func (w *twin) lists(n *wire.Name) *twinLists {
	p := w.prefixes[n.C]
	switch {
	case p == nil:
		return nil
	case n.IsNull():
		return &p.union
	}
	return p.ids[*n]
}

func (w *twin) matchAll(n *wire.Name, skip *peer, f Filter) (out []*peer) {
	if l := w.lists(n); l != nil {
		for k, cs := range l.of {
			for _, c := range cs {
				if f>>k&1 == 1 && c != skip {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

func (w *twin) matchOne(n *wire.Name, skip *peer, f Filter) *peer {
	l := w.lists(n)
	if l == nil {
		return nil
	}
	for k, cs := range l.of {
		size := uint64(len(cs))
		if size == 0 || f>>k&1 == 0 {
			continue
		}
		if n.IsNull() {
			cursor := &w.prefixes[n.C].cursor
			start := *cursor % size
			*cursor++
			for i := range size {
				if c := cs[(start+i)%size]; c != skip {
					return c
				}
			}
			continue
		}
		if size == 1 {
			if cs[0] != skip {
				return cs[0]
			}
			continue
		}
		for range size {
			c := cs[l.cursor[k]%size]
			l.cursor[k]++
			if c != skip {
				return c
			}
		}
	}
	return nil
}

// matchFree is what MatchFree does: of the kinds in order, each connection in turn until one is neither skip nor busy.
func (w *twin) matchFree(n *wire.Name, skip *peer, f Filter, busy func(*peer) bool) *peer {
	l := w.lists(n)
	if l == nil {
		return nil
	}
	looks := 0
	for k, cs := range l.of {
		cursor := &l.cursor[k]
		if n.IsNull() {
			cursor = &w.prefixes[n.C].cursor
		}
		for i := 0; i < len(cs) && f>>k&1 == 1 && looks < maxLooks; i++ {
			looks++
			c := cs[*cursor%uint64(len(cs))]
			if n.IsNull() || len(cs) > 1 {
				*cursor++
			} else {
				c = cs[0]
			}
			if c != skip && !busy(c) {
				return c
			}
		}
	}
	return nil
}

// world is the table, its twin and what they are fed with.
type world struct {
	tb    *Table[peer]
	twin  twin
	conns []*peer
	names []wire.Name
	sids  int
	steps int
	added []twinRecord // some may be gone again
	going map[*peer]*going
	focus bool // only the first name with an id is used

	places map[[3]uint64]Place[peer] // where prefixes were found last, gone or not
}

func newWorld(conns, prefixes, ids, sids int, limits *Budget) *world {
	w := &world{tb: New[peer](), sids: sids, going: map[*peer]*going{}, places: map[[3]uint64]Place[peer]{},
		twin: twin{prefixes: map[[3]uint64]*twinPrefix{}, records: map[twinRecord]bool{}, revoked: map[twinRecord]bool{}, strings: map[twinRecord][3]string{}, limits: limits}}
	w.tb.Limit(limits)
	for i := range conns {
		w.conns = append(w.conns, &peer{fmt.Sprint("c", i), Kind(i % 7 % kinds)})
	}
	for p := range prefixes {
		n := wire.Name{C: [3]uint64{1 << (p * 13 % 64), uint64(p % 2), ^uint64(0) << (p * 5 % 64)},
			Hi: wire.Null, Lo: wire.Null}
		w.names = append(w.names, n)
		for i := range ids {
			w.names = append(w.names, n.WithID(uint64(i%3), uint64(i)))
		}
	}
	return w
}

// going is a connection whose removal has begun.
type going struct {
	*Removal[peer]
	names map[wire.Name]int // that it still holds, and how many subscriptions that were
}

// step does one thing to both and returns what was different, if anything. intn draws a number below n.
func (w *world) step(intn func(n int) int, grow bool) string {
	c := w.conns[intn(len(w.conns))]
	k := Key{w.names[intn(len(w.names))], true}
	if w.focus {
		k.Name = w.names[1]
	}
	if k.Name.IsNull() {
		k.HasID = intn(2) == 0
	}
	sid := uint64(intn(w.sids))
	what := intn(100)
	switch g := w.going[c]; {
	case what < 2 && g == nil:
		return w.beginRemoval(c)
	case what < 40 && g != nil: // a connection that goes does nothing else
		return w.stepRemoval(c)
	case what == 2:
		ids, last := w.tb.Revoke(c, k.Name, 3)
		want, wantLast := w.twin.revoke(c, k.Name)
		if last != wantLast || len(ids) != min(3, len(want)) {
			return fmt.Sprintf("Revoke(%s, %v) = %v, %v; want some of %v, %v", c.label, k.Name, ids, last, want, wantLast)
		}
		for _, id := range ids {
			if !slices.Contains(want, id) {
				return fmt.Sprintf("Revoke(%s, %v) = %v; want some of %v", c.label, k.Name, ids, want)
			}
		}
	case what == 3 && !k.Name.IsNull(): // whose records have an id each, so that ids tell them apart
		ids, first, err := w.tb.Restore(c, k.Name, 1<<20)
		want, wrong := w.twin.restore(c, k.Name, ids)
		left := w.twin.left(c, k.Name)
		switch {
		case first != want || wrong != "" || (err != nil) != (left > 0):
			return fmt.Sprintf("Restore(%s, %v) = %v, %v, %v; want %v, and %d left: %s", c.label, k.Name, ids, first, err, want, left, wrong)
		case err != nil:
			for r := range w.twin.revoked {
				if str := w.twin.strings[r]; r.c == c && r.k.Name == k.Name && err.Error() != w.twin.full(c, k, str, str != [3]string{}) {
					return fmt.Sprintf("Restore(%s, %v): %v", c.label, k.Name, err)
				}
			}
		}
	case what < 40 && grow || what < 15:
		w.added = append(w.added, twinRecord{c, k, sid})
		str, hasStr := [3]string{c.label, "", k.Name.String()}, intn(3) > 0
		first, err := w.tb.Add(c, c.kind, k, sid, str, hasStr)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if want, wantText := w.twin.add(c, k, sid, str, hasStr); first != want || text != wantText {
			return fmt.Sprintf("Add(%s, %v, %d) = %v, %q; want %v, %q", c.label, k, sid, first, text, want, wantText)
		}
	case what < 40:
		if n := len(w.added); !grow && n > 0 && intn(4) > 0 { // aim at something that is there
			i := intn(n)
			r := w.added[i]
			w.added[i] = w.added[n-1]
			w.added = w.added[:n-1]
			if w.going[r.c] != nil {
				return ""
			}
			c, k, sid = r.c, r.k, r.sid
		}
		last, err := w.tb.Remove(c, k, sid)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if want, wantText := w.twin.remove(c, k, sid); last != want || text != wantText {
			return fmt.Sprintf("Remove(%s, %v, %d) = %v, %q; want %v, %q", c.label, k, sid, last, text, want, wantText)
		}
	default:
		return w.stepMatch(k.Name, c, Filter(intn(16)), intn(3))
	}
	if w.tb.Len() != len(w.twin.records) {
		return fmt.Sprintf("Len = %d, want %d", w.tb.Len(), len(w.twin.records))
	}
	if w.steps++; w.steps > 200 && w.steps%16 != 0 { // it takes long
		return ""
	}
	names, bytes := w.tb.budget.Used()
	if _, n, b := w.twin.used(c); int(names) != n || int(bytes) != b {
		return fmt.Sprintf("budget: %d subscriptions and %d bytes in use, want %d and %d", names, bytes, n, b)
	}
	return ""
}

func (w *world) stepMatch(n wire.Name, skip *peer, f Filter, how int) string {
	if how > 0 {
		f = All
	}
	if how > 1 {
		skip = nil
	}
	if got, want := w.tb.MatchAll(&n, skip, f, nil), w.twin.matchAll(&n, skip, f); !slices.Equal(got, want) {
		return fmt.Sprintf("MatchAll(%v, %v, %b) = %v, want %v", n, skip, f, got, want)
	}
	at := w.tb.Place(&n, w.places[n.C])
	if w.places[n.C] = at; at != w.tb.Place(&n, Place[peer]{}) {
		return fmt.Sprintf("Place(%v) is not where it was, nor where it is", n)
	}
	if got, want := at.MatchAll(&n, skip, f, nil), w.twin.matchAll(&n, skip, f); !slices.Equal(got, want) {
		return fmt.Sprintf("MatchAll(%v, %v, %b) at its place = %v, want %v", n, skip, f, got, want)
	}
	matchOne := w.tb.MatchOne
	if w.steps%2 == 0 {
		matchOne = at.MatchOne
	}
	if got, want := matchOne(&n, skip, f), w.twin.matchOne(&n, skip, f); got != want {
		return fmt.Sprintf("MatchOne(%v, %v, %b) = %v, want %v", n, skip, f, got, want)
	}
	busy := func(c *peer) bool { return len(c.label)%2 == how%2 || strings.HasSuffix(c.label, "7") }
	if got, want := w.tb.MatchFree(&n, skip, f, busy), w.twin.matchFree(&n, skip, f, busy); got != want {
		return fmt.Sprintf("MatchFree(%v, %v, %b) = %v, want %v", n, skip, f, got, want)
	}
	str, ok := w.tb.Strings(n.C)
	if p := w.twin.prefixes[n.C]; p == nil && ok || p != nil && (ok != p.hasStr || str != p.str) {
		return fmt.Sprintf("Strings(%v) = %q, %v", n.C, str, ok)
	}
	return ""
}

func (w *world) beginRemoval(c *peer) string {
	w.going[c] = &going{w.tb.RemoveConn(c), w.twin.removeConn(c)}
	if n := w.tb.Count(c); n != 0 || w.tb.Len() != len(w.twin.records) {
		return fmt.Sprintf("RemoveConn(%s): %d subscriptions left, %d in all, want 0 and %d",
			c.label, n, w.tb.Len(), len(w.twin.records))
	}
	return w.stepRemoval(c)
}

func (w *world) stepRemoval(c *peer) string {
	g := w.going[c]
	lost, more := g.Step()
	for _, l := range lost {
		if g.names[l.Name] == 0 {
			return fmt.Sprintf("Step(%s) lost %v, which it did not hold", c.label, l.Name)
		}
		if c.kind != Peer {
			w.twin.going -= g.names[l.Name]
		}
		delete(g.names, l.Name)
		if last, gone := w.twin.drop(c, l.Name); l.Last != last || l.Gone != gone {
			return fmt.Sprintf("Step(%s) lost %+v, want last %v, gone %v", c.label, l, last, gone)
		}
	}
	if more != (len(g.names) > 0) || len(lost) > removeStep {
		return fmt.Sprintf("Step(%s) lost %d names, more %v, %d left", c.label, len(lost), more, len(g.names))
	}
	if !more {
		delete(w.going, c)
	}
	return ""
}

func (w *world) held() map[wire.Name]Filter {
	m := map[wire.Name]Filter{}
	for r := range w.twin.records {
		m[r.k.Name] |= Only(r.c.kind)
	}
	for c, g := range w.going {
		for n := range g.names {
			m[n] |= Only(c.kind)
		}
	}
	return m
}

func (w *world) finish() string {
	got := map[wire.Name]Filter{}
	w.tb.Range(All, func(h Held) bool { got[h.Name] = h.Kinds; return true })
	if !maps.Equal(got, w.held()) {
		return fmt.Sprintf("Range yields %v, want %v", got, w.held())
	}
	for _, c := range w.conns {
		s := ""
		if w.going[c] == nil {
			s = w.beginRemoval(c)
		}
		for s == "" && w.going[c] != nil {
			s = w.stepRemoval(c)
		}
		if s != "" {
			return s
		}
		if s := w.forms(); s != "" {
			return s
		}
	}
	names, bytes := w.tb.budget.Used()
	if w.tb.prefixes.root.Load() != nil || len(w.tb.conns) != 0 || w.tb.Len()+int(names+bytes) != 0 {
		return "the table is not empty when all have gone"
	}
	return ""
}

// forms checks that what has shrunk went back to the form for little.
func (w *world) forms() (wrong string) {
	w.tb.prefixes.root.Load().all(func(l *leaf[prefix[peer]]) bool {
		s := l.v.state.Load()
		n := 0
		s.all(func(_, _ uint64, e *entry[peer]) bool {
			n++
			if total := e.total(); e.big != nil && total <= flatMin || e.big == nil && total > flatMax {
				wrong = fmt.Sprintf("list of %d, big: %v", total, e.big != nil)
			}
			return true
		})
		many := s.many != nil
		if n != l.v.n || many && n <= fewMin || !many && n > fewMax || many && s.few != nil {
			wrong = fmt.Sprintf("%d ids counted %d, in a trie: %v", n, l.v.n, many)
		}
		if counted := l.v.holds != nil; counted != (many || s.union.big != nil) {
			wrong = fmt.Sprintf("ids in a trie: %v, union big: %v, counts kept: %v", many, s.union.big != nil, counted)
		}
		return wrong == ""
	})
	return wrong
}

// Short random histories, shrunk by rapid when one fails.
func TestTableAgreesWithItsTwinOnShortHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := &Budget{PerConn: rapid.IntRange(0, 6).Draw(t, "per conn"), Names: rapid.Int64Range(0, 12).Draw(t, "names"),
			Bytes: rapid.Int64Range(0, 400).Draw(t, "bytes")}
		w := newWorld(rapid.IntRange(1, 9).Draw(t, "conns"), rapid.IntRange(1, 4).Draw(t, "prefixes"),
			rapid.IntRange(0, 4).Draw(t, "ids"), 3, limits)
		intn := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			if s := w.step(intn, true); s != "" {
				t.Fatal(s)
			}
		}
		if s := w.finish(); s != "" {
			t.Fatal(s)
		}
	})
}

// Long histories that swell and shrink, with shapes on both sides of every threshold: many connections on a name,
// many ids under a prefix, many names of a connection.
func TestTableAgreesWithItsTwinOnLongHistories(t *testing.T) {
	for _, tc := range []struct {
		shape                      string
		conns, prefixes, ids, sids int
	}{
		{"few of everything", 6, 3, 3, 3},
		{"many connections on few names", 250, 1, 2, 2},
		{"many ids under one prefix", 7, 1, 120, 2},
		{"connections and ids around the thresholds", 90, 2, 20, 2},
		{"many prefixes", 5, 40, 1, 2},
		{"many subscription ids on a name", 2, 1, 1, 40},
	} {
		t.Run(tc.shape, func(t *testing.T) {
			t.Parallel()
			w := newWorld(tc.conns, tc.prefixes, tc.ids, tc.sids, &Budget{PerConn: 300, Names: 900, Bytes: 2000})
			rnd := rand.New(rand.NewPCG(9, uint64(tc.conns)))
			for i := range 12_000 {
				w.focus = i%6000 < 800 // lists grow long while there is one id
				if s := w.step(rnd.IntN, i%3000 < 1800); s != "" {
					t.Fatalf("step %d: %s", i, s)
				}
			}
			if s := w.finish(); s != "" {
				t.Fatal(s)
			}
		})
	}
}
