package netloop

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// seat is a socket of a manual loop.
type seat struct {
	*Manual
	*tape
	peer int
	out  []byte // what the peer has read
}

func sit(t *testing.T, h *tape) *seat {
	t.Helper()
	fds := socketPair(t)
	m := NewManual(0, func(*Loop) Owner { return &boss{} })
	m.Attach(fds[0], h)
	return &seat{m, h, fds[1], nil}
}

// do runs f as posted work.
func (s *seat) do(f func()) {
	s.Station().Post(f)
	s.RunTurn()
}

// take reads up to n bytes at the peer's end, and reports whether there were any.
func (s *seat) take(n int) bool {
	b := make([]byte, n)
	k, err := unix.Read(s.peer, b)
	if err != nil || k <= 0 {
		return false
	}
	s.out = append(s.out, b[:k]...)
	return true
}

// held returns memory of which others may hold references.
func held(n int) *pool.Buf {
	b := pool.Get(n)
	b.B = b.B[:n]
	return b
}

// free reports whether nobody but the caller, whose reference is given up, holds b.
func free(b *pool.Buf) (free bool) {
	b.Release()
	defer func() { free = recover() != nil }()
	b.Retain()
	return false
}

// Any mixture of copied, borrowed and held pieces, early flushes and slow peers: the peer reads what was staged, in order.
func TestOutboxKeepsOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		h := &tape{}
		s := sit(t, h)
		_ = unix.SetsockoptInt(h.k.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<rnd.IntN(20))
		var want []byte
		var holds []*pool.Buf
		byteAt := byte(0)
		fill := func(b []byte) []byte {
			for i := range b {
				byteAt += 7
				b[i] = byteAt
			}
			want = append(want, b...)
			return b
		}
		step := func() {
			for range rnd.IntN(20) {
				if !h.k.Takes() {
					return
				}
				n := 1 + rnd.IntN(1<<rnd.IntN(17))
				copied, external := n, 0
				if n >= LongPiece {
					copied, external = 0, n
				}
				if x := h.k.Outbox(); !x.Fits(copied, external) {
					h.k.Flush()
					continue
				}
				switch x := h.k.Outbox(); {
				case n < LongPiece:
					x.B = append(x.B, fill(make([]byte, n))...)
				case rnd.IntN(2) == 0:
					x.Add(fill(make([]byte, n)), nil)
				default:
					b := held(n)
					fill(b.B)
					holds = append(holds, b)
					x.Add(b.B, b)
				}
				if rnd.IntN(10) == 0 {
					h.k.Flush()
				}
			}
		}
		for range 50 {
			s.do(step)
			for range rnd.IntN(4) {
				s.take(1 << rnd.IntN(18))
			}
			s.Ready()
		}
		for s.take(1 << 20) {
			s.Ready()
		}
		if !bytes.Equal(s.out, want) {
			t.Fatalf("seed %d: the peer has %d bytes, want %d, or in another order", seed, len(s.out), len(want))
		}
		for _, b := range holds {
			if !free(b) {
				t.Fatalf("seed %d: a piece is held after it was written", seed)
			}
		}
	}
}

// However an outbox ends, the pieces in it are let go once.
func TestOutboxLetsGoOfPieces(t *testing.T) {
	for name, end := range map[string]func(*seat){
		"written":  func(*seat) {},
		"closed":   func(s *seat) { s.k.Close() },
		"silenced": func(s *seat) { s.k.Silence() },
		"panic":    func(*seat) { panic("broken") },
		"broken":   func(s *seat) { _ = unix.Shutdown(s.k.fd, unix.SHUT_WR) },
		"after the end of output": func(s *seat) {
			s.k.EndOutput()
		},
	} {
		s := sit(t, &tape{})
		b := held(LongPiece)
		s.do(func() {
			x := s.k.Outbox()
			x.B = append(x.B, "before"...)
			x.Add(b.B, b)
			s.Serve(s.k)
			end(s)
		})
		for s.Woken() {
			s.RunTurn()
		}
		if s.k.box != nil || !free(b) {
			t.Errorf("%s: a piece is still held", name)
		}
	}
}

// More pieces than the kernel takes at once go out all the same, and the socket is not lost.
func TestMorePiecesThanTheKernelTakes(t *testing.T) {
	s := sit(t, &tape{})
	p := pattern(1500)
	s.do(func() {
		for i := range p {
			s.k.Outbox().Add(p[i:i+1], nil)
		}
	})
	for s.take(1 << 20) {
		s.Ready()
	}
	if !bytes.Equal(s.out, p) || s.k.Muted() {
		t.Errorf("%d of %d bytes arrived, muted %v", len(s.out), len(p), s.k.Muted())
	}
}

// A head larger than the outbox is appended all the same, in memory of its own.
func TestOutboxTakesMoreThanItsSize(t *testing.T) {
	s := sit(t, &tape{})
	want := pattern(3 * OutboxSize)
	s.do(func() {
		x := s.k.Outbox()
		if x.Fits(len(want), 0) {
			t.Error("it is said to fit")
		}
		x.B = append(x.B, want...)
	})
	for s.take(1 << 20) {
		s.Ready()
	}
	if !bytes.Equal(s.out, want) {
		t.Errorf("%d of %d bytes arrived", len(s.out), len(want))
	}
	if x := s.k.Outbox(); cap(x.B) > OutboxSize {
		t.Errorf("an outbox keeps %d bytes", cap(x.B))
	}
}

// What a handler adds when its outbox is about to be written goes out with it: one call for the batch.
func TestFlushingAddsToTheSameWrite(t *testing.T) {
	h := &tape{}
	s := sit(t, h)
	flushes, lasts, due := 0, 0, []byte("an answer")
	h.flushing = func(last bool) {
		flushes++
		if last {
			lasts++
		}
		if len(due) > 0 {
			x := h.k.Outbox()
			x.B, due = append(x.B, due...), nil
		}
	}
	s.do(h.k.MarkDirty)
	if !s.take(100) || string(s.out) != "an answer" || flushes != 1 || lasts != 1 {
		t.Errorf("%q after %d flushes, %d of them last", s.out, flushes, lasts)
	}
	s.do(func() {
		h.stage([]byte("a"))
		h.k.Flush()
		due = []byte("b")
		h.k.MarkDirty()
	})
	if !s.take(100) || string(s.out) != "an answerab" || flushes != 3 || lasts != 2 {
		t.Errorf("%q after %d flushes, %d of them last", s.out, flushes, lasts)
	}
	// What it adds when everything has been written is not forgotten.
	h.flushed = func() { h.flushed = nil; h.stage([]byte("c")) }
	s.do(h.k.MarkDirty)
	if !s.take(100) || string(s.out) != "an answerabc" {
		t.Errorf("%q", s.out)
	}
}
