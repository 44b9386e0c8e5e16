package h2

import (
	"math"
	"math/rand/v2"
	"testing"
)

// sender is an owner whose streams have so much to send, as far as their windows and its output have room.
type sender struct {
	sink
	c       *Conn
	pending map[uint32]int
	sent    map[uint32]int
	order   []uint32 // streams whose turn it was
	room    int
	ends    bool // a stream that has sent all ends
	whole   int  // it sends pieces of so many bytes only; 0: of any size
}

func (o *sender) Request(s *Stream, _ *Request) { o.c.Respond(s) }

func (o *sender) Writable(s *Stream) {
	if s == nil { // any stream may
		for s = o.c.head; s != nil; s = s.next {
			o.Writable(s)
		}
		return
	}
	o.order = append(o.order, s.ID)
	for o.pending[s.ID] > 0 && o.room > 0 {
		if s.Window() < min(o.whole, o.pending[s.ID]) {
			return
		}
		most := o.room
		if o.whole > 0 {
			most = min(most, o.whole)
		}
		_, n := o.c.Data(nil, s, min(o.pending[s.ID], most))
		if n == 0 {
			return
		}
		o.c.Cut()
		o.pending[s.ID] -= n
		o.sent[s.ID] += n
		o.room -= n
	}
	if o.ends && o.pending[s.ID] == 0 {
		o.c.Trailers(nil, s, 0, "")
	}
}

// newSender opens count streams with large windows of their own; the connection's window is used up.
func newSender(t *testing.T, count int) *sender {
	o := &sender{c: new(Conn), pending: map[uint32]int{}, sent: map[uint32]int{}, room: math.MaxInt}
	o.c.Init(Server, nil)
	b := join([]byte(preface), frame(frameSettings, 0, 0, setting(4, 1<<30)), frame(frameSettings, flagAck, 0))
	for i := range count {
		b = append(b, request(uint32(2*i+1), 0)...)
	}
	o.feed(t, b)
	if _, n := sendBytes(o.c, nil, o.c.head, make([]byte, startWindow)); n != startWindow {
		t.Fatal("no window")
	}
	o.c.Cut()
	o.order = nil
	return o
}

func (o *sender) feed(t *testing.T, b []byte) {
	t.Helper()
	if err := o.c.Feed(b, o); err != nil {
		t.Fatal(err)
	}
	o.c.ControlDone()
}

func connCredit(n int) []byte { return frame(frameWindowUpdate, 0, 0, u32(uint32(n))) }

func TestStreamsShareTheConnectionWindow(t *testing.T) {
	for _, tc := range []struct {
		name    string
		credit  int
		pending map[uint32]int // of ten streams
		want    map[uint32]int // at least, after one WINDOW_UPDATE
		rest    int            // window that is left
	}{
		{"all without end", 1 << 20, map[uint32]int{1: 1 << 30, 3: 1 << 30, 19: 1 << 30},
			map[uint32]int{1: 349000, 3: 349000, 19: 349000}, 0},
		{"what one does not want goes to the others", 1 << 20, map[uint32]int{1: 100, 3: 1 << 30, 9: 1 << 30},
			map[uint32]int{1: 100, 3: 524000, 9: 524000}, 0},
		{"one alone gets all", 1 << 20, map[uint32]int{11: 1 << 30}, map[uint32]int{11: 1 << 20}, 0},
		{"nobody is cut to less than 16 KiB", 64 << 10, map[uint32]int{1: 1 << 30, 3: 1 << 30, 5: 1 << 30, 7: 1 << 30, 9: 1 << 30},
			map[uint32]int{1: 16 << 10, 3: 16 << 10, 5: 16 << 10, 7: 16 << 10}, 0},
		{"all that is wanted", 1 << 20, map[uint32]int{1: 10, 3: 20000}, map[uint32]int{1: 10, 3: 20000}, 1<<20 - 20010},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newSender(t, 10)
			o.pending = tc.pending
			o.feed(t, connCredit(tc.credit))
			for id, n := range tc.want {
				if o.sent[id] < n {
					t.Errorf("stream %d sent %d, want %d", id, o.sent[id], n)
				}
			}
			if n := len(o.order); n > 10+3*len(tc.pending) {
				t.Errorf("streams were asked %d times", n)
			}
			if o.c.window != tc.rest {
				t.Errorf("window %d, want %d", o.c.window, tc.rest)
			}
		})
	}
}

// When there is not enough for a turn of all, the next turn begins where the last one ended.
func TestTurnsRotate(t *testing.T) {
	o := newSender(t, 5)
	for id := uint32(1); id < 10; id += 2 {
		o.pending[id] = 1 << 30
	}
	for range 50 {
		o.feed(t, connCredit(32<<10)) // two shares
	}
	for id, n := range o.sent {
		if want := 50 * 32 << 10 / 5; n < want-16<<10 || n > want+16<<10 {
			t.Errorf("stream %d sent %d, want %d", id, n, want)
		}
	}
	o.sent = map[uint32]int{}
	for range 50 { // the output, not the window
		o.c.window = 1 << 20
		o.room = 20 << 10
		o.c.Offer(o, o.room)
	}
	for id, n := range o.sent {
		if want := 50 * 20 << 10 / 5; n < want-32<<10 || n > want+32<<10 {
			t.Errorf("stream %d sent %d, want %d", id, n, want)
		}
	}
}

// An owner that sends no fragments leaves a rest of its share, and still gets what the others do not want.
func TestOwnerThatLeavesARestIsNotForgotten(t *testing.T) {
	o := newSender(t, 3)
	o.whole = 1000
	o.pending[1], o.pending[3] = 1000, 1<<30
	for i := range 3 { // a rest of the connection's window, too
		o.feed(t, connCredit(1<<20))
		if o.sent[3] < (i+1)<<20-3000 {
			t.Errorf("sent %v, window left %d", o.sent, o.c.window)
		}
	}
}

// Credit of one stream that comes with the connection's does not let it take all of that.
func TestCreditOfOneStreamLeavesTheOthersTheirs(t *testing.T) {
	o := newSender(t, 2)
	o.pending[1], o.pending[3] = 1<<30, 1<<30
	o.feed(t, join(connCredit(1<<20), frame(frameWindowUpdate, 0, 1, u32(1000))))
	if o.sent[1] < 500<<10 || o.sent[3] < 500<<10 {
		t.Errorf("sent %v of a window of 1 MiB", o.sent)
	}
}

func TestOfferAsksOnlyWhenSomeoneMayWait(t *testing.T) {
	o := newSender(t, 100)
	o.feed(t, connCredit(1<<20))
	if len(o.order) != 100 {
		t.Errorf("%d streams were asked, want 100", len(o.order))
	}
	o.order = nil
	o.feed(t, join(connCredit(1000), connCredit(1000)))
	if len(o.order) != 0 {
		t.Errorf("%d streams were asked while there was window for all", len(o.order))
	}
	o.feed(t, frame(frameWindowUpdate, 0, 7, u32(1)))
	if len(o.order) != 1 || o.order[0] != 7 {
		t.Errorf("asked %v, want stream 7", o.order)
	}
}

// Streams that end in their turn, and windows of their own, in any mixture: all is sent, and nothing twice.
func TestSharesInAnyMixture(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		o := newSender(t, 1+rnd.IntN(20))
		o.ends, o.whole = true, rnd.IntN(1024)
		total := 0
		for s := o.c.head; s != nil; s = s.next {
			o.pending[s.ID] = rnd.IntN(1 << rnd.IntN(22))
			s.window = rnd.IntN(100000)
			total += o.pending[s.ID]
		}
		for i := 0; o.c.live > 0; i++ {
			if i > 100000 {
				t.Fatalf("seed %d: %d bytes left on %d streams", seed, total, o.c.live)
			}
			var b []byte
			for s := o.c.head; s != nil; s = s.next {
				if rnd.IntN(3) == 0 && s.window < 1<<20 {
					b = append(b, frame(frameWindowUpdate, 0, s.ID, u32(uint32(1+rnd.IntN(100000))))...)
				}
			}
			o.feed(t, append(b, connCredit(1+rnd.IntN(200000))...))
			if rnd.IntN(2) == 0 {
				o.room = rnd.IntN(50000)
				o.c.Offer(o, o.room)
				o.room = math.MaxInt
			}
			o.c.Relax(4096)
			o.c.ControlDone()
			if o.c.cursor != nil {
				t.Fatalf("seed %d: the turn has not ended", seed)
			}
		}
		for _, n := range o.sent {
			total -= n
		}
		if total != 0 {
			t.Errorf("seed %d: %d bytes more than sent", seed, total)
		}
	}
}
