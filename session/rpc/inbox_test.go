package rpc

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session"
)

func full(n int) item {
	return item{m: &session.Message{Content: session.Content{Data: make([]byte, n)}}}
}

// What was taken makes room again, to the byte, and one message is taken whatever its size.
func TestRoomOfAnInbox(t *testing.T) {
	x := newInbox(bound{most: 2*itemCost + 200}, nil)
	for range 100 {
		first, second := x.put(full(100)), x.put(full(100))
		if first != nil || second != nil || x.put(full(0)) == nil {
			t.Fatal("room is not for two items of 100 bytes")
		}
		for range 2 {
			if it, err := x.take(t.Context()); it.m == nil || err != nil {
				t.Fatal(it, err)
			}
		}
	}
	if x.put(full(10_000)) != nil || x.put(full(0)) == nil {
		t.Error("a large message has to be alone")
	}
	if x.put(item{err: errAbsent}) != nil {
		t.Error("the failure of a member has no room")
	}
}

// The last word is the first one that was said; what is dropped does not look as if all had been received.
func TestLastWords(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		do   func(x *inbox)
		want []error // of what is taken; nil: an item
	}{
		"an end":                         {func(x *inbox) { x.put(full(1)); x.end(io.EOF); x.end(failed); x.put(full(1)) }, []error{nil, io.EOF, io.EOF}},
		"dropped":                        {func(x *inbox) { x.put(full(1)); x.drop(failed) }, []error{failed, failed}},
		"dropped after the end":          {func(x *inbox) { x.put(full(1)); x.end(io.EOF); x.drop(failed) }, []error{failed}},
		"dropped after all was received": {func(x *inbox) { x.end(io.EOF); x.drop(failed) }, []error{io.EOF}},
	} {
		x := newInbox(bound{most: 1 << 20}, nil)
		c.do(&x)
		for i, want := range c.want {
			it, err := x.take(context.Background())
			if err != want || (it.m == nil) != (want != nil) {
				t.Errorf("%s: %v, %v; want %v at %d", name, it, err, want, i)
			}
		}
	}
}

// Messages that are missing are noticed by the next one of the same sender; those for one member have no place among them.
func TestGaps(t *testing.T) {
	a, b := session.MustName("org/ns/a"), session.MustName("org/ns/b")
	seen := order{}
	for i, c := range []struct {
		m    session.Message
		want bool
	}{
		{session.Message{From: a, ID: 7}, false},
		{session.Message{From: a, ID: 8}, false},
		{session.Message{From: b, ID: 1}, false},
		{session.Message{From: a, ID: 4_000_000_000, Direct: true}, false},
		{session.Message{From: a, ID: 10}, true},
		{session.Message{From: a, ID: 11}, false},
		{session.Message{From: b, ID: 4}, true},
		{session.Message{From: a, ID: 1}, false}, // let in anew
	} {
		if got := seen.gap(&c.m); got != c.want {
			t.Errorf("message %d: %v", i, got)
		}
	}
}

// What is refused is not kept, whatever keeps nothing may have one large message, and who keeps little goes on where others keep much.
func TestPurses(t *testing.T) {
	all := &purse{bound: bound{1000, "all"}, spare: 100}
	a, b := &purse{bound: bound{900, "part"}, all: all}, &purse{bound: bound{900, "part"}, all: all}
	want := func(full *bound, option string) {
		t.Helper()
		if full == nil && option != "" || full != nil && full.option != option {
			t.Fatalf("%+v, want %q", full, option)
		}
	}
	for range 10 {
		want(a.take(5000, 0), "") // alone
		want(a.take(1, 5000), "part")
		want(b.take(101, 0), "all")
		want(b.take(60, 0), "")
		want(b.take(40, 60), "")
		want(b.take(1, 100), "all")
		a.put(5000)
		want(b.take(800, 100), "")
		want(b.take(1, 900), "part")
		b.put(900)
		if n := all.held.Load() + a.held.Load() + b.held.Load(); n != 0 {
			t.Fatalf("%d bytes are kept by nobody", n)
		}
	}
}

// A message costs its data, twice its metadata, and what it is kept in.
func TestSizeOfAnItem(t *testing.T) {
	it := item{m: &session.Message{Content: session.Content{Data: make([]byte, 10), Metadata: map[string]string{"key": "value", "k": "v"}}}}
	if got, want := it.size(), itemCost+10+2*10; got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

// Whatever becomes of what waits in an inbox, it does not count any more.
func TestInboxesGiveBack(t *testing.T) {
	for name, end := range map[string]func(x *inbox){
		"cleared":  (*inbox).clear,
		"dropped":  func(x *inbox) { x.drop(io.EOF) },
		"released": (*inbox).release,
		"taken": func(x *inbox) {
			for range 3 {
				_, _ = x.take(t.Context())
			}
		},
		"released and taken": func(x *inbox) { x.release(); _, _ = x.take(t.Context()); x.drop(io.EOF) },
	} {
		all := newTotal(0)
		x := newInbox(bound{most: 1 << 20}, all)
		for range 3 {
			x.put(full(1000))
		}
		if n := all.held.Load(); n != 3*(itemCost+1000) {
			t.Fatalf("%d bytes are kept", n)
		}
		if end(&x); all.held.Load() != 0 {
			t.Errorf("%s: %d bytes are kept", name, all.held.Load())
		}
	}
}
