package table

import (
	"errors"
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

// A connection that leaves keeps its share until its names are really gone: to leave and come again is no way around
// a limit.
func TestTheBudgetHasWhatIsStillToBeRemoved(t *testing.T) {
	const names = 3 * removeStep
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
