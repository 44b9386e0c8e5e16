package ws

import (
	"fmt"
	"testing"
)

// sink is an owner with memory at hand.
type sink struct {
	mem []byte
	n   int
	c   *Conn
}

func (s *sink) Request(*Request)                   { s.c.Accept() }
func (s *sink) Response(*Response)                 {}
func (s *sink) Message(_ Kind, msg []byte, _ bool) { s.n++ }
func (s *sink) Grow(have []byte, n int) []byte {
	if cap(s.mem) < n {
		s.mem = make([]byte, 0, n)
	}
	if len(have) > 0 && len(s.mem) > 0 && &have[0] == &s.mem[:1][0] {
		return have
	}
	return append(s.mem[:0], have...)
}
func (s *sink) Pong([]byte) {}
func (s *sink) Ended(*End)  {}

func openedSink(t testing.TB, role Role) (*Conn, *sink) {
	k := opened(t, role, nil)
	return &k.c, &sink{mem: make([]byte, 1, 1<<20), c: &k.c}
}

func TestNoAllocsPerMessage(t *testing.T) {
	roles(t, func(t *testing.T, role Role, in func(b0 byte, payload ...byte) []byte) {
		c, s := openedSink(t, role)
		clean := join(in(0x82, make([]byte, 100)...), in(0x02, make([]byte, 100)...), in(0x89, 'p'), in(0x80, make([]byte, 40000)...), in(0x82))
		b := make([]byte, len(clean))
		var out []byte
		turn := func(cut int) func() {
			return func() {
				copy(b, clean) // a server has unmasked it
				for at := 0; at < len(b); at += cut {
					if err := c.Feed(b[at:min(at+cut, len(b))], s); err != nil {
						t.Fatal(err)
					}
				}
				out, _ = c.Message(append(out[:0], c.Control()...), 100)
				c.ControlDone()
				at := len(out)
				out = append(out, clean[:100]...)
				c.Mask(out[at:])
				c.Relax(1)
			}
		}
		for _, cut := range []int{len(b), 1000, 3} {
			turn(cut)()
			if n := testing.AllocsPerRun(100, turn(cut)); n != 0 {
				t.Errorf("reads of %d bytes: %v allocations", cut, n)
			}
		}
		if s.n == 0 {
			t.Error("no message")
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	for _, role := range []Role{Server, Client} {
		for _, size := range []int{100, 1 << 10, 16 << 10} {
			b.Run(fmt.Sprintf("%s/%d", []string{"server", "client"}[role], size), func(b *testing.B) {
				c, s := openedSink(b, role)
				var read []byte
				for len(read) < 64<<10 {
					read = append(read, frame(0x82, role == Server, make([]byte, size)...)...)
				}
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for s.n < b.N { // a server unmasks the same bytes again: nobody looks at them
					if err := c.Feed(read, s); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	for _, role := range []Role{Server, Client} {
		b.Run([]string{"server", "client"}[role], func(b *testing.B) {
			c, _ := openedSink(b, role)
			msg := make([]byte, 100)
			var out []byte
			b.ReportAllocs()
			for range b.N {
				if len(out) > 32<<10 {
					out = out[:0]
				}
				out, _ = c.Message(out, len(msg))
				at := len(out)
				out = append(out, msg...)
				c.Mask(out[at:])
			}
		})
	}
}

func BenchmarkMask(b *testing.B) {
	for _, size := range []int{16, 100, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			key := uint32(testKey)
			for range b.N {
				key = mask(p, key)
			}
		})
	}
}
