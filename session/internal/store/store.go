package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
)

// Key is the name of a record: what it belongs to, as a Sealer gives it, what it is, and its number among those.
type Key struct {
	Owner  [16]byte
	Kind   uint8
	Number uint64
}

func (k Key) String() string {
	return fmt.Sprintf("%s/%d/%d", hex.EncodeToString(k.Owner[:]), k.Kind, k.Number)
}

func (k Key) compare(o Key) int {
	if c := bytes.Compare(k.Owner[:], o.Owner[:]); c != 0 {
		return c
	}
	if k.Kind != o.Kind {
		return int(k.Kind) - int(o.Kind)
	}
	switch {
	case k.Number < o.Number:
		return -1
	case k.Number > o.Number:
		return 1
	}
	return 0
}

// Record is what a store holds under a key.
type Record struct {
	Key   Key
	Value []byte
}

// Change is a step of a transaction.
type Change struct {
	Key   Key
	Value []byte // nil: the record is deleted, if it is there
	// Fresh says that nobody can have written a record of this key with another value: if one is there, another process or
	// another copy of the session is at work, and the transaction fails with ErrConflict.
	Fresh bool
}

var (
	// ErrConflict says that a record that was to be new is there already, with another value.
	ErrConflict = errors.New("another copy of this session has written to the store")
	// ErrClosed says that the store is closed.
	ErrClosed = errors.New("the store is closed")
)

// Store keeps records. All methods are safe for concurrent use.
type Store interface {
	// Write makes the changes, in their order, all or none, after the transactions that were handed over before. It does not
	// wait for that: done is called once, when they will be there after a crash or not at all (the error says why).
	// done is called by a goroutine of the store, or by Write itself, and must not wait for anything. The changes and their
	// values are the store's until then. A transaction that fails is no reason for others to fail.
	Write(changes []Change, done func(error))
	// Read gives all records in the order of their keys, with values that are the caller's. An error is the last thing it
	// gives. What is written meanwhile may be among them.
	Read(ctx context.Context) iter.Seq2[Record, error]
	// Close ends what was handed over and gives everything back. Later writes fail with ErrClosed.
	Close() error
}

// Memory keeps records as long as the process lives. The zero value is empty.
type Memory struct {
	mu      sync.Mutex
	records map[Key][]byte
	closed  bool
}

// Write implements Store; done is called before it returns.
func (m *Memory) Write(changes []Change, done func(error)) { done(m.write(changes)) }

func (m *Memory) write(changes []Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	// A key may occur twice: the look is at what the changes before it leave.
	next := map[Key][]byte{}
	for _, c := range changes {
		old, there := next[c.Key]
		if !there {
			old = m.records[c.Key]
		}
		if c.Fresh && old != nil && !bytes.Equal(old, c.Value) {
			return fmt.Errorf("%w: record %v", ErrConflict, c.Key)
		}
		next[c.Key] = c.Value
	}
	if m.records == nil {
		m.records = map[Key][]byte{}
	}
	for k, v := range next {
		if v == nil {
			delete(m.records, k)
			continue
		}
		m.records[k] = bytes.Clone(v)
	}
	return nil
}

// Read implements Store.
func (m *Memory) Read(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		m.mu.Lock()
		records, closed := maps.Clone(m.records), m.closed
		m.mu.Unlock()
		if closed {
			yield(Record{}, ErrClosed)
			return
		}
		for _, k := range slices.SortedFunc(maps.Keys(records), Key.compare) {
			if err := ctx.Err(); err != nil {
				yield(Record{}, err)
				return
			}
			if !yield(Record{k, bytes.Clone(records[k])}, nil) {
				return
			}
		}
	}
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records, m.closed = nil, true
	return nil
}
