package session

// fifo is a queue. An empty one holds next to no memory.
type fifo[T any] struct {
	items []T
	begin int
}

func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }
func (q *fifo[T]) len() int { return len(q.items) - q.begin }

// unpop puts back what was taken last.
func (q *fifo[T]) unpop(v T) {
	if q.begin > 0 {
		q.begin--
		q.items[q.begin] = v
		return
	}
	q.items = append([]T{v}, q.items...)
}

func (q *fifo[T]) pop() T {
	var none T
	v := q.items[q.begin]
	q.items[q.begin] = none
	q.begin++
	switch {
	case q.begin == len(q.items) && cap(q.items) > 16:
		*q = fifo[T]{}
	case q.begin == len(q.items):
		q.items, q.begin = q.items[:0], 0
	case q.begin > len(q.items)/2 && q.begin > 32:
		n := copy(q.items, q.items[q.begin:])
		clear(q.items[n:])
		q.items, q.begin = q.items[:n], 0
	}
	return v
}
