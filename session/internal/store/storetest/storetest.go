// Package storetest holds a Store to what package store says of it.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session/internal/store"
)

// Run tests stores that open makes, each of them new and empty. again opens what the store of the last call of open left
// behind, after its Close; nil: nothing is left.
func Run(t *testing.T, open func(*testing.T) store.Store, again func(*testing.T) store.Store) {
	t.Run("transactions", func(t *testing.T) { transactions(t, open(t)) })
	t.Run("conflicts", func(t *testing.T) { conflicts(t, open(t)) })
	t.Run("order", func(t *testing.T) { order(t, open(t)) })
	t.Run("many at once", func(t *testing.T) { many(t, open(t)) })
	t.Run("the end", func(t *testing.T) {
		s := open(t)
		Write(t, s, put(1, 1, 1, "kept"))
		ended(t, s)
		if again != nil {
			s = again(t)
			Want(t, s, put(1, 1, 1, "kept"))
			Write(t, s, put(1, 1, 2, "more"))
			closed(t, s)
		}
	})
}

func k(owner byte, kind uint8, number uint64) store.Key {
	return store.Key{Owner: [16]byte{owner}, Kind: kind, Number: number}
}

func put(owner byte, kind uint8, number uint64, value string) store.Change {
	return store.Change{Key: k(owner, kind, number), Value: []byte(value)}
}

func fresh(c store.Change) store.Change {
	c.Fresh = true
	return c
}

func remove(owner byte, kind uint8, number uint64) store.Change {
	return store.Change{Key: k(owner, kind, number)}
}

// try writes and waits.
func try(s store.Store, changes ...store.Change) error {
	done := make(chan error, 1)
	s.Write(changes, func(err error) { done <- err })
	return <-done
}

// Write writes, waits, and fails the test if it fails.
func Write(t *testing.T, s store.Store, changes ...store.Change) {
	t.Helper()
	if err := try(s, changes...); err != nil {
		t.Fatal(err)
	}
}

// Want fails the test if the store does not hold exactly these, in this order.
func Want(t *testing.T, s store.Store, want ...store.Change) {
	t.Helper()
	i := 0
	for r, err := range s.Read(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if i >= len(want) || r.Key != want[i].Key || !bytes.Equal(r.Value, want[i].Value) {
			t.Fatalf("record %d is %v %q, want one of %d: %v", i, r.Key, r.Value, len(want), want)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("%d records, want %d", i, len(want))
	}
}

func transactions(t *testing.T, s store.Store) {
	defer closed(t, s)
	Want(t, s)
	Write(t, s)
	high := uint64(1)<<63 + 5
	Write(t, s, put(2, 1, 1, "c"), put(1, 2, high, "b"), put(1, 2, 7, ""), put(1, 1, 9, "a"), put(1, 200, 0, "z"))
	Want(t, s, put(1, 1, 9, "a"), put(1, 2, 7, ""), put(1, 2, high, "b"), put(1, 200, 0, "z"), put(2, 1, 1, "c"))
	Write(t, s, put(1, 1, 9, "new"), remove(1, 2, 7), remove(1, 2, high), remove(1, 200, 0), remove(9, 9, 9), remove(2, 1, 1), put(2, 1, 1, "d"))
	Want(t, s, put(1, 1, 9, "new"), put(2, 1, 1, "d"))
	// Who stops reading is given no more, and a value that was given is the caller's.
	for r, err := range s.Read(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		r.Value[0] = 'x'
		break
	}
	Want(t, s, put(1, 1, 9, "new"), put(2, 1, 1, "d"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Read(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("read after its context ended: %v", err)
		}
	}
}

func conflicts(t *testing.T, s store.Store) {
	defer closed(t, s)
	Write(t, s, fresh(put(1, 1, 1, "a")))
	Write(t, s, fresh(put(1, 1, 1, "a"))) // once more, after an end that was not clear
	if err := try(s, put(3, 1, 1, "before"), fresh(put(1, 1, 1, "b")), put(4, 1, 1, "after")); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("a second copy wrote: %v", err)
	}
	Want(t, s, put(1, 1, 1, "a"))
	Write(t, s, remove(1, 1, 1), fresh(put(1, 1, 1, "c")))
	if err := try(s, fresh(put(2, 1, 1, "x")), fresh(put(2, 1, 1, "y"))); !errors.Is(err, store.ErrConflict) {
		t.Errorf("twice in a transaction: %v", err)
	}
	Want(t, s, put(1, 1, 1, "c"))
}

// order: what is handed over is written and confirmed in order, and a transaction that fails takes no other with it.
func order(t *testing.T, s store.Store) {
	defer closed(t, s)
	const n = 300
	var mu sync.Mutex
	var confirmed []int
	var all sync.WaitGroup
	Write(t, s, put(9, 9, 9, "there"))
	for i := range n {
		all.Add(1)
		changes := []store.Change{put(1, 1, 1, fmt.Sprint(i))}
		if i%3 == 1 {
			changes = append(changes, fresh(put(9, 9, 9, "other")))
		}
		s.Write(changes, func(err error) {
			defer all.Done()
			if (i%3 == 1) != errors.Is(err, store.ErrConflict) || (i%3 != 1) != (err == nil) {
				t.Errorf("transaction %d: %v", i, err)
			}
			mu.Lock()
			defer mu.Unlock()
			confirmed = append(confirmed, i)
		})
	}
	all.Wait()
	for i, c := range confirmed {
		if i != c {
			t.Fatalf("transaction %d was confirmed as number %d", c, i)
		}
	}
	Want(t, s, put(1, 1, 1, fmt.Sprint(n-1)), put(9, 9, 9, "there"))
}

// many: writers beside each other lose nothing.
func many(t *testing.T, s store.Store) {
	defer closed(t, s)
	const writers, each = 8, 25
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if err := try(s, fresh(put(byte(w), 1, uint64(i), "x"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var want []store.Change
	for w := range writers {
		for i := range each {
			want = append(want, put(byte(w), 1, uint64(i), "x"))
		}
	}
	Want(t, s, want...)
}

func closed(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func ended(t *testing.T, s store.Store) {
	t.Helper()
	closed(t, s)
	if err := try(s, put(1, 1, 1, "late")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a write after the end: %v", err)
	}
	for _, err := range s.Read(t.Context()) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("a read after the end: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second end: %v", err)
	}
}
