package h2

import (
	"fmt"
	"testing"
	"unsafe"
)

// sink is the cheapest owner: it counts.
type sink struct {
	n, bytes int
	mem      []byte
}

func (k *sink) Request(*Stream, *Request)             {}
func (k *sink) Response(*Stream, *Response)           {}
func (k *sink) Message(_ *Stream, msg []byte, _ bool) { k.n++; k.bytes += len(msg) }
func (k *sink) Ended(*Stream, *End)                   {}
func (k *sink) Writable(*Stream)                      {}
func (k *sink) Closed(*Stream)                        {}
func (k *sink) Pong()                                 {}
func (k *sink) GoAway(uint32, ErrCode, []byte)        {}
func (k *sink) Grow(_ *Stream, have []byte, n int) []byte {
	if cap(k.mem) < n {
		k.mem = make([]byte, 0, n)
	}
	return append(k.mem[:0], have...)
}

// hot returns an engine with an open stream and a batch of frames full of messages of that size, in 16 KiB frames.
func hot(t testing.TB, size, batch int) (*Conn, *Stream, []byte, int) {
	k, s := started(t, nil)
	one := grpcMsg(size)
	perFrame := max(16384/len(one), 1)
	var wire []byte
	count := 0
	for len(wire) < batch {
		payload := make([]byte, 0, 16384)
		for range perFrame {
			payload = append(payload, one...)
			count++
		}
		for ; len(payload) > 16384; payload = payload[16384:] {
			wire = append(wire, data(1, 0, payload[:16384])...)
		}
		wire = append(wire, data(1, 0, payload)...)
	}
	return k.c, s, wire, count
}

func TestFeedDoesNotAllocate(t *testing.T) {
	for _, size := range []int{0, 20, 100, 1000, 16379} {
		c, _, wire, count := hot(t, size, 60000)
		var k sink
		feed := func() {
			if err := c.Feed(wire, &k); err != nil {
				t.Fatal(err)
			}
			c.ControlDone()
		}
		if n := testing.AllocsPerRun(100, feed); n != 0 {
			t.Errorf("%d bytes: %v allocations for %d messages", size, n, count)
		}
		if k.bytes != size*k.n || k.n != 101*count {
			t.Errorf("%d bytes: %d messages of %d", size, k.n, 101*count)
		}
	}
}

func TestFeedOfTornMessagesDoesNotAllocate(t *testing.T) {
	c, _, wire, _ := hot(t, 40000, 60000)
	var k sink
	k.mem = make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(100, func() {
		for b := wire; len(b) > 0; b = b[min(len(b), 7777):] {
			if err := c.Feed(b[:min(len(b), 7777)], &k); err != nil {
				t.Fatal(err)
			}
		}
		c.ControlDone()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDataDoesNotAllocate(t *testing.T) {
	k, s := started(t, nil)
	dst := make([]byte, 0, 64<<10)
	msg := grpcMsg(100)
	if n := testing.AllocsPerRun(100, func() {
		s.window, k.c.window = maxWindow, maxWindow
		dst = dst[:0]
		for range 400 {
			dst, _ = sendBytes(k.c, dst, s, msg)
		}
		k.c.Cut()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestIdleConnectionIsSmall(t *testing.T) {
	var c Conn
	c.Init(Server, nil)
	control := cap(c.ctl)
	if n := int(unsafe.Sizeof(c)) + control; n > 1536 {
		t.Errorf("%d bytes", n)
	} else {
		t.Logf("Conn %d bytes (Stream %d of them), control buffer %d", unsafe.Sizeof(c), unsafe.Sizeof(c.first), control)
	}
	if c.table.bytes != nil || c.block != nil || c.buf != nil || c.more != nil {
		t.Error("something is made before it is needed")
	}
}

// BenchmarkFeed is journey step 2, bytes to messages, per message.
func BenchmarkFeed(b *testing.B) {
	for _, size := range []int{20, 100, 1024, 16 << 10, 100 << 10} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			c, _, wire, count := hot(b, size, 60000)
			var k sink
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for n := 0; n < b.N; n += count {
				if err := c.Feed(wire, &k); err != nil {
					b.Fatal(err)
				}
				c.ControlDone()
			}
		})
	}
}

// BenchmarkFeedOneFrameEach is what grpc-go sends: every message in a frame of its own.
func BenchmarkFeedOneFrameEach(b *testing.B) {
	k, _ := started(b, nil)
	var wire []byte
	for range 500 {
		wire = append(wire, data(1, 0, grpcMsg(100))...)
	}
	var ev sink
	b.ReportAllocs()
	for n := 0; n < b.N; n += 500 {
		if err := k.c.Feed(wire, &ev); err != nil {
			b.Fatal(err)
		}
		k.c.ControlDone()
	}
}

// BenchmarkData is journey step 8 without the copy of the message.
func BenchmarkData(b *testing.B) {
	k, s := started(b, nil)
	dst := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		if i&127 == 0 {
			s.window, k.c.window = maxWindow, maxWindow
			k.c.Cut()
			dst = dst[:0]
		}
		dst, _ = k.c.Data(dst, s, 105)
	}
}

// BenchmarkDataAlternating changes the stream with every call: a frame each.
func BenchmarkDataAlternating(b *testing.B) {
	k, s := started(b, nil)
	k.feed(request(3, 0))
	two := [2]*Stream{s, k.ev.streams[3]}
	dst := make([]byte, 0, 64<<10)
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		if i&127 == 0 {
			two[0].window, two[1].window, k.c.window = maxWindow, maxWindow, maxWindow
			k.c.Cut()
			dst = dst[:0]
		}
		dst, _ = k.c.Data(dst, two[i&1], 105)
	}
}

// BenchmarkRefusedStream is what a flood makes us do, per stream.
func BenchmarkRefusedStream(b *testing.B) {
	for i, a := range attacks() {
		b.Run(a.name, func(b *testing.B) {
			const batch, batches = 100, 50
			var wire [batches][]byte
			a := attacks()[i] // with an encoder whose table is empty
			for i := range wire {
				wire[i] = a.streams(uint32(2*batch*i+1), batch)
			}
			var c Conn
			d := &doorman{c: &c}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				i := n / batch % batches
				if i == 0 { // a new connection: ids begin again
					c.Init(Server, &a.set)
					if err := c.Feed(join(greeting(Server), frame(frameSettings, flagAck, 0)), d); err != nil {
						b.Fatal(err)
					}
				}
				if err := c.Feed(wire[i], d); err != nil {
					b.Fatal(err)
				}
				c.ControlDone()
				c.Relax(4096)
			}
		})
	}
}
