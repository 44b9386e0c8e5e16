package session

// fifo is a queue. An empty one holds next to no memory.
type fifo[T any] struct {
	items []T
	begin int
	most  int // entries that an empty one keeps memory for; 0: mostEmpty
}

const mostEmpty = 16

func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }

// len is how many there are; in a nil queue, none.
func (q *fifo[T]) len() int {
	if q == nil {
		return 0
	}
	return len(q.items) - q.begin
}

// at is the i-th, counted from zero.
func (q *fifo[T]) at(i int) T { return q.items[q.begin+i] }

func (q *fifo[T]) set(i int, v T) { q.items[q.begin+i] = v }

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
	case q.begin == len(q.items) && cap(q.items) > max(q.most, mostEmpty):
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
