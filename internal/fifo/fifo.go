// Package fifo is a queue in memory: first in, first out.
package fifo

import "iter"

// Queue is a queue. The zero value is an empty one, and an empty one holds little memory. Not safe for several goroutines.
type Queue[T any] struct {
	Keep int // items for which an empty one keeps memory; 0: some

	items []T
	begin int // items before it are taken, and zero
}

const some = 16

// Len returns how many items wait; in a nil queue, none.
func (q *Queue[T]) Len() int {
	if q == nil {
		return 0
	}
	return len(q.items) - q.begin
}

// Push puts v at the end.
func (q *Queue[T]) Push(v T) { q.items = append(q.items, v) }

// Front returns the first item of a queue that is not empty.
func (q *Queue[T]) Front() T { return q.items[q.begin] }

// At returns the item i of a queue, counted from zero at the front.
func (q *Queue[T]) At(i int) T { return q.items[q.begin+i] }

// Set puts v in the place of the item i.
func (q *Queue[T]) Set(i int, v T) { q.items[q.begin+i] = v }

// Pop takes the first item of a queue that is not empty.
func (q *Queue[T]) Pop() T {
	var none T
	v := q.items[q.begin]
	q.items[q.begin] = none
	q.begin++
	switch {
	case q.begin == len(q.items) && cap(q.items) > max(q.Keep, some):
		q.items, q.begin = nil, 0
	case q.begin == len(q.items):
		q.items, q.begin = q.items[:0], 0
	case q.begin > len(q.items)/2 && q.begin > 32:
		n := copy(q.items, q.items[q.begin:])
		clear(q.items[n:])
		q.items, q.begin = q.items[:n], 0
	}
	return v
}

// Unpop puts back what was taken last.
func (q *Queue[T]) Unpop(v T) {
	if q.begin > 0 {
		q.begin--
		q.items[q.begin] = v
		return
	}
	q.items = append([]T{v}, q.items...)
}

// All goes through the items, first to last. The queue is not to be changed meanwhile.
func (q *Queue[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, v := range q.items[q.begin:] {
			if !yield(v) {
				return
			}
		}
	}
}
