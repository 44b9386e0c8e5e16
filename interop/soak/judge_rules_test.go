//go:build interop

package soak

import (
	"testing"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

// The judge itself is judged: what it must find.
func TestJudge(t *testing.T) {
	message := func(seq uint64) []byte {
		return content(append([]byte("header"), session...), minSize+100, load.Stamp{Seq: seq, At: 5, Sender: 3})
	}
	for _, c := range []struct {
		name   string
		come   []uint64
		shared []int // which of two receivers got it; nil: there is one
		spoil  int   // this byte of the third message from its end is changed; 0: none
		want   verdict
	}{
		{"all", []uint64{0, 1, 2, 3}, nil, 0, verdict{Sent: 4, Received: 4}},
		{"the last is lost", []uint64{0, 1, 2}, nil, 0, verdict{Sent: 4, Received: 3, Lost: 1}},
		{"one in the middle is lost", []uint64{0, 2, 3}, nil, 0, verdict{Sent: 4, Received: 3, Lost: 1}},
		{"one came twice", []uint64{0, 1, 1, 2, 3}, nil, 0, verdict{Sent: 4, Received: 5, Doubled: 1}},
		{"two changed places", []uint64{0, 2, 1, 3}, nil, 0, verdict{Sent: 4, Received: 4, Reordered: 1}},
		{"the payload is changed", []uint64{0, 1, 2, 3}, nil, 60, verdict{Sent: 4, Received: 3, Lost: 1, Changed: 1}},
		{"the session is changed", []uint64{0, 1, 2, 3}, nil, minSize + 100 + 8, verdict{Sent: 4, Received: 3, Lost: 1, Changed: 1}},
		{"shared, each in order", []uint64{1, 0, 2, 3}, []int{0, 1, 1, 0}, 0, verdict{Sent: 4, Received: 4}},
		{"shared, one out of order", []uint64{1, 0, 2, 3}, []int{0, 0, 1, 1}, 0, verdict{Sent: 4, Received: 4, Reordered: 1}},
		{"shared, both got one", []uint64{0, 1, 1, 2, 3}, []int{0, 0, 1, 1, 1}, 0, verdict{Sent: 4, Received: 5, Doubled: 1}},
	} {
		y := tally{flow: &flow{id: 3, sizes: []int{minSize + 100}, sent: 4}}
		if c.shared != nil {
			y.some = make([]uint64, 2)
		}
		for i, seq := range c.come {
			msg := message(seq)
			if c.spoil > 0 && i == 2 {
				msg[len(msg)-c.spoil] ^= 1
			}
			stamp, _ := load.ReadStamp(msg)
			receiver := 0
			if c.shared != nil {
				receiver = c.shared[i]
			}
			y.see(msg, stamp, 10, receiver)
		}
		if got := y.verdict(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
