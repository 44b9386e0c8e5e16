package table

import (
	"errors"
	"fmt"
	"testing"
)

func TestSubscriptionsStopAtTheirLimits(t *testing.T) {
	text := [3]string{"org", "ns", "app"} // 8 bytes
	for _, tc := range []struct {
		rule   string
		limits *Budget
		do     func(tb *Table[peer], c, d *peer) error // its last Add
		want   string                                  // "": allowed
	}{
		{"no limits", &Budget{}, func(tb *Table[peer], c, _ *peer) error {
			_, err := tb.Add(c, Edge, withID(1), 1, text, true)
			return err
		}, ""},
		{"of a connection", &Budget{PerConn: 2}, func(tb *Table[peer], c, _ *peer) error {
			tb.Add(c, Edge, withID(1), 1, text, true)
			tb.Add(c, Edge, withID(1), 2, text, true)
			_, err := tb.Add(c, Edge, withID(2), 1, text, true)
			return err
		}, "too many subscriptions on this connection: the limit is 2"},
		{"the same again is none", &Budget{PerConn: 1, Names: 1, Bytes: 8}, func(tb *Table[peer], c, _ *peer) error {
			tb.Add(c, Edge, withID(1), 1, text, true)
			_, err := tb.Add(c, Edge, withID(1), 1, text, true)
			return err
		}, ""},
		{"of the node", &Budget{PerConn: 2, Names: 3}, func(tb *Table[peer], c, d *peer) error {
			tb.Add(c, Edge, withID(1), 1, text, true)
			tb.Add(c, Edge, withID(2), 1, text, true)
			tb.Add(d, Edge, withID(1), 1, text, true)
			_, err := tb.Add(d, Edge, withID(2), 1, text, true)
			return err
		}, "too many subscriptions at this node: the limit is 3"},
		{"of bytes", &Budget{Bytes: 15}, func(tb *Table[peer], c, _ *peer) error {
			tb.Add(c, Edge, withID(1), 1, text, true)
			tb.Add(c, Edge, withID(2), 1, text, true) // the prefix has its strings
			k := withID(1)
			k.Name.C[0]++
			_, err := tb.Add(c, Edge, k, 1, text, true)
			return err
		}, "too many bytes of names at this node: the limit is 15"},
		{"no bytes, no limit of bytes", &Budget{Bytes: 1}, func(tb *Table[peer], c, _ *peer) error {
			_, err := tb.Add(c, Edge, withID(1), 1, noText, false)
			return err
		}, ""},
		{"peers are counted by the mesh", &Budget{PerConn: 1, Names: 1, Bytes: 1}, func(tb *Table[peer], c, _ *peer) error {
			tb.Add(c, Peer, withID(1), 1, text, true)
			_, err := tb.Add(c, Peer, withID(2), 1, text, true)
			return err
		}, ""},
	} {
		tb := New[peer]()
		tb.Limit(tc.limits)
		c, d := conns(Edge, "c")[0], conns(Edge, "d")[0]
		err := tc.do(tb, c, d)
		got := ""
		if err != nil {
			got = err.Error()
		}
		var full *Full
		if got != tc.want || tc.want != "" && !errors.As(err, &full) {
			t.Errorf("%s: %q, want %q", tc.rule, got, tc.want)
		}
		removeConn(tb, c)
		removeConn(tb, d)
		if names, bytes := tc.limits.Used(); names != 0 || bytes != 0 || len(tb.conns) != 0 {
			t.Errorf("%s: %d subscriptions and %d bytes in use when all have gone", tc.rule, names, bytes)
		}
	}
}

// However many names one connection takes, others still get some.
func TestTheLastNamesAreForThoseWhoHaveFew(t *testing.T) {
	b := &Budget{Names: 16 * fewHeld}
	tb := New[peer]()
	tb.Limit(b)
	greedy, modest := conns(Edge, "g")[0], conns(Edge, "m")[0]
	n := uint64(0)
	var err error
	for ; err == nil; n++ {
		_, err = tb.Add(greedy, Edge, withID(n), 1, noText, false)
	}
	if got, want := tb.Count(greedy), 14*fewHeld; got != want || err.Error() != fmt.Sprint("too many subscriptions at this node: the limit is ", want) {
		t.Errorf("one connection got %d names, then %v; want %d", got, err, want)
	}
	for i := range uint64(fewHeld) {
		add(t, tb, modest, withID(i), 1)
	}
	if _, err := tb.Add(modest, Edge, withID(n), 1, noText, false); err == nil {
		t.Errorf("a connection with %d names gets what is reserved", fewHeld)
	}
	others := 0
	for err = nil; err == nil; others++ {
		_, err = tb.Add(&peer{"o", Edge}, Edge, withID(1), 1, noText, false)
	}
	if used, _ := b.Used(); used != b.Names || others != fewHeld+1 {
		t.Errorf("%d more connections got a name, %d names in use; want %d and %d", others-1, used, fewHeld, b.Names)
	}
}

// A connection that leaves keeps its share until its names are really gone: to leave and come again is no way around
// a limit.
func TestTheBudgetHasWhatIsStillToBeRemoved(t *testing.T) {
	const names = removeStep + removeStep/2
	b := &Budget{Names: names}
	tb := New[peer]()
	tb.Limit(b)
	c, d := conns(Edge, "c")[0], conns(Edge, "d")[0]
	for i := range uint64(names) {
		add(t, tb, c, withID(i), 1)
	}
	r := tb.RemoveConn(c)
	if _, err := tb.Add(d, Edge, withID(1), 1, noText, false); err == nil || len(tb.conns) != 0 {
		t.Errorf("added before anything was removed: %v", err)
	}
	r.Step()
	if used, _ := b.Used(); used != names-removeStep {
		t.Errorf("%d in use after a step, want %d", used, names-removeStep)
	}
	add(t, tb, d, withID(1), 1)
}

// However long the strings are that one connection has kept, others still get some. Rules: P-lim-3.
func TestTheLastBytesAreForThoseWhoHaveFew(t *testing.T) {
	b := &Budget{Bytes: 16 * fewHeld * 8}
	tb := New[peer]()
	tb.Limit(b)
	greedy, modest := conns(Edge, "g")[0], conns(Edge, "m")[0]
	text := [3]string{"org", "ns", "app"} // 8 bytes
	add := func(c *peer, i uint64) error {
		k := withID(1)
		k.Name.C[0] += i
		_, err := tb.Add(c, Edge, k, 1, text, true)
		return err
	}
	var err error
	i := uint64(0)
	for ; err == nil; i++ {
		err = add(greedy, i)
	}
	var full *Full
	if got, want := tb.Count(greedy), 14*fewHeld; got != want || !errors.As(err, &full) || !full.Bytes {
		t.Errorf("one connection got %d names, then %v; want %d", got, err, want)
	}
	for range fewHeld {
		if err := add(modest, i); err != nil {
			t.Fatalf("another connection, which has %d names: %v", tb.Count(modest), err)
		}
		i++
	}
}
