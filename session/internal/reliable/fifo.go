package reliable

// fifo is a queue.
type fifo[T any] struct {
	items []T
	begin int
}

func (q *fifo[T]) push(v T) { q.items = append(q.items, v) }
func (q *fifo[T]) len() int { return len(q.items) - q.begin }
func (q *fifo[T]) front() T { return q.items[q.begin] }

func (q *fifo[T]) pop() T {
	var none T
	v := q.items[q.begin]
	q.items[q.begin] = none
	q.begin++
	if q.begin > len(q.items)/2 {
		n := copy(q.items, q.items[q.begin:])
		clear(q.items[n:])
		q.items, q.begin = q.items[:n], 0
	}
	return v
}

func (q *fifo[T]) all() func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for _, v := range q.items[q.begin:] {
			if !yield(v) {
				return
			}
		}
	}
}
