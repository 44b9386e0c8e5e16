package transport

import (
	"slices"
	"testing"

	"golang.org/x/net/http2"
)

// neighbours is a socket whose streams share a window of 65,535 bytes, as one of most clients does.
type neighbours struct {
	*visitor
	guests []*guest
	unread []int // of each stream, what its program has not read
}

func newNeighbours(t *testing.T, streams int) *neighbours {
	h := build(t, Options{MaxStreams: 100})
	n := &neighbours{visitor: h.visit(), unread: make([]int, streams)}
	n.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	for i := range streams {
		n.guests = append(n.guests, n.enter(id(i)))
	}
	return n
}

// id is the HTTP/2 id of stream i.
func id(i int) uint32 { return uint32(2*i + 1) }

// give sends stream i as much of n bytes as the windows allow. The peer reads it, and returns what was read of the
// connection's window, unless it is to be left unread.
func (n *neighbours) give(i, size int, read bool) {
	for size > 0 {
		k := min(size, 4<<10, n.guests[i].s.Room())
		if k <= envelope {
			return
		}
		n.h.do(func() {
			if !n.guests[i].put(make([]byte, k-envelope)) {
				n.h.t.Error("not put")
			}
		})
		n.text.read(n.h.t, n.read())
		if size -= k; read {
			n.allow(uint32(k), 0)
		} else {
			n.unread[i] += k
		}
	}
}

// close has stream i fill the window of all, which is what others find.
func (n *neighbours) close(i int) {
	n.give(i, 1<<20, false)
}

// limit is what keeps stream i from getting more, when its last byte has been acknowledged.
func (n *neighbours) limit(i int) Limit {
	n.guests[i].s.Progress()
	return n.guests[i].s.Progress().Limit
}

func TestTheStreamThatKeepsTheWindowOfAllClosedIsEnded(t *testing.T) {
	const holds = 1
	for _, tc := range []struct {
		rule  string
		setup func(n *neighbours)
	}{
		{"it alone has got anything", func(*neighbours) {}},
		{"another has got more, and read it", func(n *neighbours) {
			n.give(0, 600<<10, true)
			n.give(2, 600<<10, true)
		}},
		{"another got little, long ago", func(n *neighbours) {
			n.give(2, 3<<10, true)
			n.give(0, 100<<10, true)
		}},
		{"others returned of their own windows lately, it did not", func(n *neighbours) {
			n.give(holds, 40<<10, false)
			n.give(0, 15<<10, true)
			n.give(2, 15<<10, true)
			n.h.pass(5, nil)
			n.allow(15<<10, id(0), id(2))
		}},
		{"it has read before", func(n *neighbours) {
			for range 8 {
				n.give(holds, 50<<10, true)
				n.allow(50<<10, id(holds))
			}
		}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			n := newNeighbours(t, 3)
			tc.setup(n)
			n.close(holds)
			for _, i := range []int{0, 2} {
				if got := n.limit(i); got != LimitShared {
					t.Fatalf("stream %d has limit %d", i, got)
				}
			}
			asks := n.guests[2].s.(Sharer)
			ended := false
			n.h.do(func() { ended = asks.Unblock() })
			if !ended {
				t.Fatal("none was ended")
			}
			n.guests[holds].want("broken: unread", "closed")
			n.guests[0].want()
			n.guests[2].want()
			if got := n.text.read(t, n.read()); !slices.Contains(got, "RST_STREAM 3 ENHANCE_YOUR_CALM") {
				t.Errorf("the peer got %q", got)
			}
			n.allow(uint32(n.unread[holds]), 0) // which is what an engine does for a stream that was reset
			n.give(2, 30<<10, true)
			if got := n.limit(2); got != LimitNone {
				t.Errorf("the other does not go on: limit %d", got)
			}
		})
	}
}

func TestAStreamThatKeepsTheWindowClosedItselfEndsNoOther(t *testing.T) {
	n := newNeighbours(t, 2)
	n.close(1)
	ended := true
	n.h.do(func() { ended = n.guests[1].s.(Sharer).Unblock() })
	if ended {
		t.Error("another was ended")
	}
	n.guests[0].want()
}
