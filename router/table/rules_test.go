package table

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// peer stands for the router's connection.
type peer struct {
	label string
	kind  Kind
}

func conns(kind Kind, labels string) []*peer {
	var cs []*peer
	for _, l := range labels {
		cs = append(cs, &peer{string(l), kind})
	}
	return cs
}

func labels(cs []*peer) string {
	var b strings.Builder
	for _, c := range cs {
		b.WriteString(c.label)
	}
	return b.String()
}

func label(c *peer) string {
	if c == nil {
		return "-"
	}
	return c.label
}

var (
	base   = wire.NewName("org", "ns", "app")
	noText [3]string
)

func withID(id uint64) Key { return Key{Name: base.WithID(0, id), HasID: true} }

var nullKey = Key{Name: base, HasID: true}

func add(t *testing.T, tb *Table[peer], c *peer, k Key, sid uint64) bool {
	t.Helper()
	first, err := tb.Add(c, c.kind, k, sid, noText, false)
	if err != nil {
		t.Fatalf("Add(%s): %v", c.label, err)
	}
	return first
}

func remove(t *testing.T, tb *Table[peer], c *peer, k Key, sid uint64) bool {
	t.Helper()
	last, err := tb.Remove(c, k, sid)
	if err != nil {
		t.Fatalf("Remove(%s, %d): %v", c.label, sid, err)
	}
	return last
}

// removeConn takes all steps of a removal.
func removeConn[C any](tb *Table[C], c *C) (lost []Lost) {
	r := tb.RemoveConn(c)
	for more := true; more; {
		var some []Lost
		some, more = r.Step()
		lost = append(lost, some...)
	}
	return lost
}

func all(tb *Table[peer], k Key, skip *peer, f Filter) string {
	return labels(tb.MatchAll(&k.Name, skip, f, nil))
}

// Rules: P-fwd-1, P-name-2, P-name-4.
func TestWhichSubscriptionsADestinationMatches(t *testing.T) {
	tb := New[peer]()
	cs := conns(Local, "abcn")
	add(t, tb, cs[0], withID(1), 1)
	add(t, tb, cs[1], withID(2), 2)
	add(t, tb, cs[2], withID(1), 3)
	add(t, tb, cs[3], nullKey, 4)
	other := base
	other.C[2]++
	for _, tc := range []struct {
		rule string
		name wire.Name
		skip *peer
		want string
	}{
		{"a specific id: its own subscribers, not the null-id one", base.WithID(0, 1), nil, "ac"},
		{"another id", base.WithID(0, 2), nil, "b"},
		{"the high half counts", base.WithID(1, 1), nil, ""},
		{"the null id: everybody under the prefix", base, nil, "abcn"},
		{"never the source", base, cs[1], "acn"},
		{"the source alone holds it", base.WithID(0, 2), cs[1], ""},
		{"an id nobody holds", base.WithID(0, 9), nil, ""},
		{"all three components count", other, nil, ""},
	} {
		if got := labels(tb.MatchAll(&tc.name, tc.skip, All, nil)); got != tc.want {
			t.Errorf("%s: MatchAll = %q, want %q", tc.rule, got, tc.want)
		}
		one := tb.MatchOne(&tc.name, tc.skip, All)
		if tc.want == "" && one != nil || tc.want != "" && !strings.Contains(tc.want, label(one)) {
			t.Errorf("%s: MatchOne = %s, want one of %q", tc.rule, label(one), tc.want)
		}
	}
	if got := labels(tb.MatchAll(&base, nil, All, []*peer{{label: "x"}})); got != "xabcn" {
		t.Errorf("MatchAll does not append: %q", got)
	}
}

// Rules: P-any-1, P-mul-1.
func TestKindsAreTriedInOrder(t *testing.T) {
	for _, k := range []Key{withID(7), nullKey} {
		tb := New[peer]()
		l, r, p, e := conns(Local, "l")[0], conns(Remote, "r")[0], conns(Peer, "p")[0], conns(Edge, "e")[0]
		for _, c := range []*peer{e, p, l, r} {
			add(t, tb, c, k, 1)
		}
		if got := all(tb, k, nil, All); got != "lrpe" {
			t.Errorf("MatchAll = %q, want all kinds in order lrpe", got)
		}
		for _, tc := range []struct {
			rule string
			skip *peer
			f    Filter
			want string
		}{
			{"local first", nil, All, "l"},
			{"the source is local: remote", l, All, "r"},
			{"a filter leaves kinds out", nil, All.Without(Local), "r"},
			{"without peers", nil, All.Without(Local).Without(Remote).Without(Peer), "e"},
			{"only peers", nil, Only(Peer), "p"},
			{"only peers, and that is the source", p, Only(Peer), "-"},
			{"no kind at all", nil, 0, "-"},
		} {
			for range 3 {
				if got := label(tb.MatchOne(&k.Name, tc.skip, tc.f)); got != tc.want {
					t.Errorf("%s: MatchOne = %s, want %s", tc.rule, got, tc.want)
				}
			}
		}
		if got := all(tb, k, r, All.Without(Peer)); got != "le" {
			t.Errorf("MatchAll without peers and source = %q, want le", got)
		}
		remove(t, tb, l, k, 1)
		if got := label(tb.MatchOne(&k.Name, nil, All)); got != "r" {
			t.Errorf("after the local left: %s, want r", got)
		}
		remove(t, tb, r, k, 1)
		if got := label(tb.MatchOne(&k.Name, nil, All)); got != "p" {
			t.Errorf("after the remote left: %s, want p", got)
		}
	}
}

// The sequences were observed at upstream nodes (P-any-2, P-any-3).
func TestRotation(t *testing.T) {
	outside := &peer{"o", Edge}
	for _, tc := range []struct {
		rule string
		dst  Key
		from string // source of the publish
		want string
	}{
		{"three members, publisher outside", withID(1), "o", "abcabcabc"},
		{"null id, publisher is a", nullKey, "a", "bbcbbcbbc"},
		{"exact id, publisher is a", withID(1), "a", "bcbcbcbcb"},
		{"null id, publisher outside", nullKey, "o", "abcabcabc"},
	} {
		tb := New[peer]()
		cs := append(conns(Edge, "abc"), outside)
		for _, c := range cs[:3] {
			add(t, tb, c, withID(1), 1)
		}
		skip := cs[slices.IndexFunc(cs, func(c *peer) bool { return c.label == tc.from })]
		got := ""
		for range 9 {
			got += label(tb.MatchOne(&tc.dst.Name, skip, All))
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.rule, got, tc.want)
		}
	}
}

// Rules: P-any-2, P-any-3.
func TestCursorRules(t *testing.T) {
	t.Run("a list of one does not move its cursor", func(t *testing.T) {
		tb := New[peer]()
		cs := conns(Edge, "ab")
		add(t, tb, cs[0], withID(1), 1)
		for range 5 {
			tb.MatchOne(&withIDName, nil, All)
		}
		add(t, tb, cs[1], withID(1), 1)
		if got := label(tb.MatchOne(&withIDName, nil, All)); got != "a" {
			t.Errorf("first turn goes to %s, want a", got)
		}
	})
	t.Run("the null cursor moves with a list of one too", func(t *testing.T) {
		tb := New[peer]()
		cs := conns(Edge, "ab")
		add(t, tb, cs[0], withID(1), 1)
		tb.MatchOne(&base, nil, All)
		add(t, tb, cs[1], withID(1), 1)
		if got := label(tb.MatchOne(&base, nil, All)); got != "b" {
			t.Errorf("second turn goes to %s, want b", got)
		}
	})
	t.Run("the null cursor moves for every non-empty kind looked at", func(t *testing.T) {
		tb := New[peer]()
		l, es := conns(Local, "l")[0], conns(Edge, "abc")
		add(t, tb, l, withID(1), 1)
		for _, e := range es {
			add(t, tb, e, withID(1), 1)
		}
		got := ""
		for range 4 {
			got += label(tb.MatchOne(&base, l, All)) // local looked at and passed over, then edge
		}
		if got != "bacb" {
			t.Errorf("%s, want bacb: cursor 1, 3, 5, 7 modulo 3", got)
		}
	})
	t.Run("cursors outlive changes of the list", func(t *testing.T) {
		tb := New[peer]()
		cs := conns(Edge, "abcd")
		for _, c := range cs[:3] {
			add(t, tb, c, withID(1), 1)
		}
		got := label(tb.MatchOne(&withIDName, nil, All))
		add(t, tb, cs[3], withID(1), 1)
		got += label(tb.MatchOne(&withIDName, nil, All))
		remove(t, tb, cs[0], withID(1), 1) // d takes a's place
		got += label(tb.MatchOne(&withIDName, nil, All)) + label(tb.MatchOne(&withIDName, nil, All))
		if got != "abcd" {
			t.Errorf("%s, want abcd", got)
		}
	})
}

var withIDName = withID(1).Name

// choose is what a sender does: MatchOne, and another if that one is busy and another is there.
func choose(tb *Table[peer], n *wire.Name, skip *peer, f Filter, busy string) *peer {
	isBusy := func(c *peer) bool { return strings.Contains(busy, c.label) }
	c := tb.MatchOne(n, skip, f)
	if c != nil && isBusy(c) {
		if o := tb.MatchFree(n, skip, f, isBusy); o != nil {
			return o
		}
	}
	return c
}

func TestBusyConnectionsArePassedOver(t *testing.T) {
	r, es := conns(Remote, "r")[0], conns(Edge, "abcd")
	edges := Only(Edge)
	for _, tc := range []struct {
		rule string
		skip *peer
		f    Filter
		busy string
		want string // how often each is chosen of 12 times
	}{
		{"nobody is busy", nil, edges, "", "a3 b3 c3 d3"},
		{"the others share what one misses", nil, edges, "b", "a4 c4 d4"},
		{"one is left", nil, edges, "abd", "c12"},
		{"never the source", es[0], edges, "bc", "d12"},
		{"the kinds keep their order", nil, All, "abc", "r12"},
		{"a whole kind is busy", nil, All, "ra", "b4 c4 d4"},
		{"all are busy: as if nobody were", nil, edges, "abcd", "a3 b3 c3 d3"},
		{"the only free one is the source", es[0], edges, "bcd", "b4 c4 d4"},
		{"the only free one is of another kind", nil, Only(Remote), "r", "r12"},
	} {
		for _, k := range []Key{withID(1), nullKey} {
			tb := New[peer]()
			for _, c := range append(es, r) {
				add(t, tb, c, withID(1), 1)
			}
			count := map[string]int{}
			for range 12 {
				count[label(choose(tb, &k.Name, tc.skip, tc.f, tc.busy))]++
			}
			var got []string
			for _, l := range slices.Sorted(maps.Keys(count)) {
				got = append(got, fmt.Sprint(l, count[l]))
				if !strings.Contains(tc.want, l) {
					t.Errorf("%s: chosen %s, want some of %s", tc.rule, l, tc.want)
				}
			}
			// One cursor serves all kinds for the null id: where several looks are made, turns are not always even.
			even := k != nullKey || tc.f == edges && tc.skip == nil
			if text := strings.Join(got, " "); even && text != tc.want {
				t.Errorf("%s: chosen %s, want %s", tc.rule, text, tc.want)
			}
		}
	}
	if tb := New[peer](); tb.MatchFree(&base, nil, All, func(*peer) bool { return false }) != nil {
		t.Error("found somebody for a name that nobody holds")
	}
}

// Where thousands are busy, one message does not look at all of them, but the next goes on from there.
func TestLooksForAFreeConnectionAreBounded(t *testing.T) {
	for _, k := range []Key{withID(1), nullKey} {
		tb := New[peer]()
		for i := range 1000 {
			add(t, tb, &peer{label: fmt.Sprint(i), kind: Edge}, withID(1), 1)
		}
		looks, turns := 0, 0
		for found := false; !found; turns++ {
			before := looks
			found = tb.MatchFree(&k.Name, nil, All, func(c *peer) bool { looks++; return c.label != "900" }) != nil
			if looks-before > maxLooks {
				t.Fatalf("%d looks for one message, want %d at most", looks-before, maxLooks)
			}
		}
		if want := 901/maxLooks + 1; turns != want {
			t.Errorf("found after %d messages, want %d", turns, want)
		}
	}
}

// Rules: P-sub-2, P-sub-3.
func TestReferenceCountingByIDs(t *testing.T) {
	tb := New[peer]()
	c := conns(Edge, "c")[0]
	k := withID(1)
	if !add(t, tb, c, k, 5) {
		t.Error("the first subscriber of a name was not reported")
	}
	if add(t, tb, c, k, 5) || tb.Count(c) != 1 {
		t.Error("the same id again changed something")
	}
	for _, sid := range []uint64{6, 7} {
		if add(t, tb, c, k, sid) {
			t.Error("a further id of the holder was reported as first")
		}
	}
	if tb.Count(c) != 3 || tb.Len() != 3 {
		t.Errorf("Count = %d, Len = %d, want 3 records", tb.Count(c), tb.Len())
	}
	for i, sid := range []uint64{6, 5, 7} {
		if got := all(tb, k, nil, All); got != "c" {
			t.Fatalf("c lost the name with %d records left", 3-i)
		}
		if last := remove(t, tb, c, k, sid); last != (i == 2) {
			t.Errorf("removing id %d: last = %v", sid, last)
		}
	}
	if got := all(tb, k, nil, All); got != "" || tb.Count(c) != 0 || tb.Len() != 0 {
		t.Errorf("left over: %q, %d records", got, tb.Len())
	}
}

func TestTransitionsCountPerKind(t *testing.T) {
	tb := New[peer]()
	a, b, e := conns(Local, "a")[0], conns(Local, "b")[0], conns(Edge, "e")[0]
	k := withID(1)
	if !add(t, tb, a, k, 1) || add(t, tb, b, k, 1) || !add(t, tb, e, k, 1) {
		t.Error("first must be the first of its kind")
	}
	if !add(t, tb, a, withID(2), 1) {
		t.Error("first must be the first of the exact name")
	}
	if remove(t, tb, a, k, 1) || !remove(t, tb, b, k, 1) || !remove(t, tb, e, k, 1) {
		t.Error("last must be the last of its kind")
	}
}

// Rules: P-sub-6.
func TestIDZeroRecords(t *testing.T) {
	c := conns(Edge, "c")[0]
	t.Run("replays of several names with id 0 do not collide", func(t *testing.T) {
		tb := New[peer]()
		for id := range uint64(20) {
			add(t, tb, c, withID(id), 0)
		}
		if tb.Count(c) != 20 {
			t.Errorf("%d records, want 20", tb.Count(c))
		}
	})
	t.Run("an unknown id removes the id-0 record of the same name", func(t *testing.T) {
		tb := New[peer]()
		add(t, tb, c, withID(1), 0)
		add(t, tb, c, withID(2), 0)
		if !remove(t, tb, c, withID(1), 77) || all(tb, withID(1), nil, All) != "" || all(tb, withID(2), nil, All) != "c" {
			t.Error("the replayed subscription stayed, or another went")
		}
	})
	t.Run("a known id goes before id 0", func(t *testing.T) {
		tb := New[peer]()
		add(t, tb, c, withID(1), 0)
		add(t, tb, c, withID(1), 77)
		if remove(t, tb, c, withID(1), 77) {
			t.Error("last although the id-0 record is left")
		}
		if !remove(t, tb, c, withID(1), 77) {
			t.Error("the second time the id-0 record must go")
		}
	})
	t.Run("equal ids of two connections are two records", func(t *testing.T) {
		tb := New[peer]()
		d := conns(Edge, "d")[0]
		add(t, tb, c, withID(1), 9)
		add(t, tb, d, withID(1), 9)
		removeConn(tb, c)
		if got := all(tb, withID(1), nil, All); got != "d" {
			t.Errorf("%q, want d", got)
		}
	})
}

// Rules: P-name-5.
func TestPresenceOfNameIDIsPartOfTheRecordOnly(t *testing.T) {
	tb := New[peer]()
	c := conns(Edge, "c")[0]
	absent := Key{Name: base}
	add(t, tb, c, nullKey, 1)
	if _, err := tb.Remove(c, absent, 1); !errors.Is(err, ErrNoRecord) {
		t.Errorf("removing without name_id what was added with: %v", err)
	}
	if add(t, tb, c, absent, 1) || tb.Count(c) != 2 {
		t.Error("both forms are two records of one name")
	}
	if remove(t, tb, c, nullKey, 1) || all(tb, absent, nil, All) != "c" || !remove(t, tb, c, absent, 1) {
		t.Error("c must hold the name until both are gone")
	}
}

// Rules: P-sub-4.
func TestErrorTextsAndPrecedence(t *testing.T) {
	tb := New[peer]()
	c, d := conns(Edge, "c")[0], conns(Edge, "d")[0]
	add(t, tb, c, withID(1), 5)
	elsewhere := base
	elsewhere.C[0]++
	for _, tc := range []struct {
		rule string
		c    *peer
		k    Key
		sid  uint64
		want string
		is   error
	}{
		{"unknown prefix first", d, Key{elsewhere, true}, 1, "subscription not found", ErrNoPrefix},
		{"then the id", d, withID(0x123456789abcdef0), 1, "id not found: 00000000-0000-0000-1234-56789abcdef0", ErrNoID},
		{"the null id has a word", c, nullKey, 5, "id not found: NULL_COMPONENT", ErrNoID},
		{"then the record: another connection", d, withID(1), 5, "subscription id not found: 5", ErrNoRecord},
		{"then the record: another id", c, withID(1), 6, "subscription id not found: 6", ErrNoRecord},
		{"id 0 stands for itself only", c, withID(1), 0, "subscription id not found: 0", ErrNoRecord},
	} {
		_, err := tb.Remove(tc.c, tc.k, tc.sid)
		if err == nil || err.Error() != tc.want || !errors.Is(err, tc.is) {
			t.Errorf("%s: %v, want %s", tc.rule, err, tc.want)
		}
	}
	if _, err := tb.Add(c, kinds, withID(1), 1, noText, false); !errors.Is(err, ErrKind) {
		t.Errorf("Add of kind %d: %v", kinds, err)
	}
	if tb.Len() != 1 {
		t.Error("failed calls changed the table")
	}
}

// Rules: P-sub-7.
func TestRemoveConnReturnsWhatItHeld(t *testing.T) {
	tb := New[peer]()
	c, d, e := conns(Edge, "c")[0], conns(Edge, "d")[0], conns(Peer, "e")[0]
	for _, sid := range []uint64{9, 2, 4} {
		add(t, tb, c, withID(1), sid)
	}
	add(t, tb, c, withID(2), 0)
	add(t, tb, d, withID(2), 0)
	add(t, tb, c, withID(3), 3)
	add(t, tb, e, withID(3), 3)
	add(t, tb, c, nullKey, 8)
	add(t, tb, c, Key{Name: base}, 7)
	lost := removeConn(tb, c)
	slices.SortFunc(lost, func(a, b Lost) int { return cmp.Compare(a.Name.Lo, b.Name.Lo) })
	want := []Lost{{withID(1).Name, true, true}, {withID(2).Name, false, false}, {withID(3).Name, true, false},
		{base, true, true}}
	if !slices.Equal(lost, want) {
		t.Errorf("lost %+v\nwant %+v", lost, want)
	}
	if got := all(tb, nullKey, nil, All); got != "ed" || tb.Count(c) != 0 || tb.Len() != 2 {
		t.Errorf("left: %q, %d records of c, %d in all", got, tb.Count(c), tb.Len())
	}
	if again := removeConn(tb, c); len(again) > 0 {
		t.Errorf("a second RemoveConn lost %v", again)
	}
	removeConn(tb, d)
	removeConn(tb, e)
	if tb.prefixes.root.Load() != nil || len(tb.conns) != 0 {
		t.Error("an empty table keeps memory")
	}
}

// Rules: P-name-6.
func TestStringsOfTheFirstSubscriberStay(t *testing.T) {
	tb := New[peer]()
	c := conns(Edge, "cde")
	if _, ok := tb.Strings(base.C); ok {
		t.Error("strings of an unknown prefix")
	}
	tb.Add(c[0], Edge, withID(1), 1, [3]string{}, false)
	if _, ok := tb.Strings(base.C); ok {
		t.Error("strings although nobody gave any")
	}
	tb.Add(c[1], Edge, withID(2), 1, [3]string{"org", "", "app"}, true)
	tb.Add(c[2], Edge, withID(3), 1, [3]string{"wrong", "ns", "app"}, true)
	if got, ok := tb.Strings(base.C); !ok || got != [3]string{"org", "", "app"} {
		t.Errorf("strings %q, %v", got, ok)
	}
	removeConn(tb, c[1])
	if _, ok := tb.Strings(base.C); !ok {
		t.Error("strings left with the one who gave them")
	}
	removeConn(tb, c[0])
	removeConn(tb, c[2])
	if _, ok := tb.Strings(base.C); ok {
		t.Error("strings outlived the prefix")
	}
}

func TestRangeYieldsEveryNameOnce(t *testing.T) {
	tb := New[peer]()
	l, p := conns(Local, "l")[0], conns(Peer, "p")[0]
	want := map[wire.Name]Filter{}
	for i := range uint64(300) {
		n := wire.NewName("org", "ns", "app"+string(rune('a'+i%7))).WithID(0, i)
		c := l
		if i%3 == 0 {
			c = p
		}
		tb.Add(c, c.kind, Key{n, true}, 1, [3]string{"org", "ns", "app" + string(rune('a'+i%7))}, true)
		want[n] |= Only(c.kind)
	}
	got := map[wire.Name]Filter{}
	tb.Range(All, func(h Held) bool {
		if _, twice := got[h.Name]; twice {
			t.Errorf("%v twice", h.Name)
		}
		if !h.HasStr || wire.Hash(h.Str[2]) != h.Name.C[2] {
			t.Errorf("%v has strings %q", h.Name, h.Str)
		}
		got[h.Name] = h.Kinds
		return true
	})
	if len(got) != len(want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	for n, f := range want {
		if got[n] != f {
			t.Errorf("%v: kinds %b, want %b", n, got[n], f)
		}
	}
	n := 0
	tb.Range(Only(Peer), func(h Held) bool { n++; return h.Kinds.Has(Peer) && n < 50 })
	if n != 50 {
		t.Errorf("Range over peers' names, stopped at 50, made %d calls", n)
	}
}
