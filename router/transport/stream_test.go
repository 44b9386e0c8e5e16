package transport

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Small messages of a batch share a DATA frame: Rust peers count frames.
func TestTinyMessagesShareAFrame(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	h.do(func() {
		for range 10 {
			g.put(make([]byte, 10))
		}
	})
	v.want("DATA 1 len 150")
	h.do(func() { // a long tail is written from where it lies, in the same frame
		g.put(make([]byte, 10))
		g.put(make([]byte, 5000))
		g.put(nil)
	})
	v.want("DATA 1 len 5025")
	if v.text.empty != 0 {
		t.Errorf("%d empty DATA frames", v.text.empty)
	}
}

// There is one output: what the engine had said before a message was put precedes it, what it says later follows.
// RFC 9113 section 6.5.3, RFC 7541 section 4.2.
func TestControlAndMessagesKeepTheirOrder(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	answer := func(b []byte, _ *pool.Buf) { g.put(b) }
	g.receive = answer
	ping := func(f *http2.Framer) { _ = f.WritePing(false, [8]byte{}) }
	say := func(f *http2.Framer) { _ = f.WriteData(1, false, enveloped([]byte("hello"))) }
	v.write(frames(func(f *http2.Framer) {
		ping(f)
		say(f)
		say(f)
		ping(f)
		say(f)
		ping(f)
	}))
	v.want("PING ack", "DATA 1 len 20", "PING ack", "DATA 1 len 10", "PING ack")

	v.write(frames(func(f *http2.Framer) {
		_ = f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		say(f)
	}))
	v.want("SETTINGS ack", "DATA 1 len 10")

	// Trailers follow what was put, and a reset that the peer's fault brings follows the trailers.
	g.receive = func(b []byte, _ *pool.Buf) { g.put(b); g.s.Finish(0, "") }
	v.write(frames(func(f *http2.Framer) {
		say(f)
		_ = f.WriteWindowUpdate(1, 1<<31-1)
		ping(f)
	}))
	v.want("DATA 1 len 10", "HEADERS 1 grpc-status=0 end", "RST_STREAM 1 FLOW_CONTROL_ERROR", "PING ack")
	g.want("closed")
}

// Nothing is sent on a stream that has ended, whoever ended it, and after Closed nothing is done at all.
func TestEndedStreamIsSilent(t *testing.T) {
	use := func(t *testing.T, g *guest) {
		m := own(make([]byte, 10))
		if g.s.Room() != 0 || g.s.Put(m) || g.s.PutPart(m, 0, false) != 0 {
			t.Error("it takes a message")
		}
		g.s.Finish(0, "again")
	}
	for name, end := range map[string]func(*house, *visitor, *guest){
		"our end": func(h *house, _ *visitor, g *guest) { h.do(func() { g.s.Finish(0, "") }) },
		"reset": func(_ *house, v *visitor, _ *guest) {
			v.write(frames(func(f *http2.Framer) { _ = f.WriteRSTStream(1, 8) }))
		},
		"fault":          func(_ *house, v *visitor, _ *guest) { v.write([]byte{0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 0}) },
		"end of a peer ": func(h *house, v *visitor, g *guest) { g.finished = func() { g.s.Finish(0, "") }; v.end(1) },
	} {
		h := build(t, Options{MaxStreams: 100})
		v := h.visit()
		v.greet()
		g, other := v.enter(1), v.enter(3)
		end(h, v, g)
		v.read()
		h.do(func() { use(t, g) })
		v.want()
		if !g.over {
			t.Errorf("%s: not closed", name)
		}
		h.do(func() {
			for range 40 { // the memory of the old stream becomes that of others
				g.s.Charge(1000)
				g.s.Charge(-1000)
				g.s.Established()
				g.s.Silence()
				g.s.Abort()
			}
		})
		fresh := v.enter(5)
		h.do(func() {
			use(t, g)
			g.s.Charge(1 << 20)
			g.s.Established()
			other.put([]byte("lives"))
			fresh.put([]byte("lives"))
		})
		v.want("DATA 3 len 10", "DATA 5 len 10")
		v.data(5, enveloped(make([]byte, 20<<10)))
		fresh.want("broken: too_large")
	}
}

// end is END_STREAM of the peer.
func (v *visitor) end(id uint32) {
	v.write(frames(func(f *http2.Framer) { _ = f.WriteData(id, true, nil) }))
}

// A stream that we end while nothing comes from the peer is over at the end of the batch, not when something comes.
func TestStreamThatWeEndIsClosedAtOnce(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	h.do(func() {
		g.s.Finish(7, "no")
		if g.over {
			t.Error("closed inside the call")
		}
	})
	v.want("HEADERS 1 grpc-status=7 grpc-message=no end")
	g.want("closed")
}

// publication is a message with a header in place, as it came; the header leaves as another of n bytes.
func publication(tail int, pre bool, n int) *Message {
	b := []byte(nil)
	if pre { // an unknown field before the oneof
		b = append(b, 0x7a, 3, 1, 2, 3)
	}
	blob := append(binary.AppendUvarint([]byte{0x12}, uint64(tail)), bytes.Repeat([]byte{'t'}, tail)...)
	b = wire.AppendPublish(b, &wire.PublishHeader{Source: wire.Text("a", "b", "c"), Dest: wire.Text("d", "e", "f"), TTL: 3},
		[]byte{8, 1}, append(binary.AppendUvarint([]byte{0x0a}, uint64(len(blob))), blob...))
	var m wire.Message
	if err := wire.Scan(b, &m); err != nil {
		panic(err)
	}
	p := &Message{Header: bytes.Repeat([]byte{'h'}, n)}
	p.Set(b, nil, &m)
	return p
}

// whole is m as it leaves, put together naively.
func whole(m *Message) []byte {
	if m.Parts == nil {
		return m.B
	}
	b := wire.AppendOpening(nil, m.B, m.Parts, len(m.Header))
	return append(append(b, m.Header...), m.B[m.Parts.Header.End:]...)
}

// mouth puts messages on a stream as a receiver with a queue does: whole, or in parts where no window is as large.
type mouth struct {
	g    *guest
	todo []*Message
	sent int
}

func (q *mouth) pump() {
	for len(q.todo) > 0 {
		m := q.todo[0]
		if q.sent == 0 && q.g.s.Put(m) {
			q.todo = q.todo[1:]
			continue
		}
		for total := q.g.s.Size(m); q.sent < total; {
			n := q.g.s.PutPart(m, q.sent, false)
			if n == 0 {
				return
			}
			q.sent += n
		}
		q.todo, q.sent = q.todo[1:], 0
	}
}

// Messages of every shape on several streams, windows that open in crumbs and lumps, a kernel that takes little: what
// arrives is what was put, in order, without an empty frame.
func TestMessagesOfEveryShapeArrive(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		h := build(t, Options{MaxStreams: 100})
		v := h.visit()
		_ = unix.SetsockoptInt(v.sock.Descriptor(), unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<(8+rnd.IntN(14)))
		window := uint32(1 + rnd.IntN(1<<rnd.IntN(20)))
		v.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		var mouths []*mouth
		want := map[uint32][][]byte{}
		for i := range 1 + rnd.IntN(5) {
			id := uint32(2*i + 1)
			q := &mouth{g: v.enter(id)}
			for range 1 + rnd.IntN(20) {
				m := publication(rnd.IntN(1<<rnd.IntN(20)), rnd.IntN(2) == 0, rnd.IntN(1<<rnd.IntN(18)))
				if rnd.IntN(4) == 0 {
					m = own(m.B)
				}
				if rnd.IntN(2) == 0 {
					buf := pool.Get(len(m.B))
					buf.B = append(buf.B, m.B...)
					m.B, m.Buf = buf.B, buf
				}
				q.todo = append(q.todo, m)
				want[id] = append(want[id], whole(m))
			}
			q.g.writable = q.pump
			mouths = append(mouths, q)
		}
		for _, q := range mouths {
			h.do(q.pump)
		}
		lines := v.text.read(t, v.read())
		for round := 0; ; round++ {
			left := 0
			for _, q := range mouths {
				left += len(q.todo)
			}
			if left == 0 {
				break
			}
			if round > 20000 {
				t.Fatalf("seed %d: window %d: %d messages never leave", seed, window, left)
			}
			v.write(frames(func(f *http2.Framer) {
				for i := range mouths {
					if rnd.IntN(2) == 0 {
						_ = f.WriteWindowUpdate(uint32(2*i+1), uint32(1+rnd.IntN(1<<rnd.IntN(18))))
					}
				}
				_ = f.WriteWindowUpdate(0, uint32(1+rnd.IntN(1<<rnd.IntN(20))))
				if rnd.IntN(4) == 0 {
					_ = f.WritePing(false, [8]byte{})
				}
			}))
			lines = append(lines, v.text.read(t, v.read())...)
		}
		for i, q := range mouths {
			id := uint32(2*i + 1)
			if got := v.text.messages(t, id); !slices.EqualFunc(got, want[id], bytes.Equal) {
				t.Fatalf("seed %d: stream %d: %d messages arrived, want %d, or others", seed, id, len(got), len(want[id]))
			}
			total := uint64(0)
			for _, m := range want[id] {
				total += uint64(envelope + len(m))
			}
			if given := q.g.stream().given; given != total {
				t.Errorf("seed %d: %d bytes given, want %d", seed, given, total)
			}
		}
		if v.text.empty != 0 || h.panics != 0 {
			t.Errorf("seed %d: %d empty frames of %d, %d panics", seed, v.text.empty, len(lines), h.panics)
		}
	}
}

// A message leaves in parts no smaller than 1 KiB, unless the peer never allows more or the rest is shorter.
func TestPartsAreNoCrumbs(t *testing.T) {
	for _, tc := range []struct {
		window uint32
		allow  []uint32
		want   []string
	}{
		{100, []uint32{100, 100}, []string{"DATA 1 len 100", "DATA 1 len 100", "DATA 1 len 100"}},
		{2000, []uint32{500, 500, 100}, []string{"DATA 1 len 2000", "DATA 1 len 1100"}},
		{4505, []uint32{500}, []string{"DATA 1 len 4505", "DATA 1 len 500"}},
	} {
		h := build(t, Options{MaxStreams: 100})
		v := h.visit()
		v.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: tc.window})
		q := &mouth{g: v.enter(1), todo: []*Message{own(make([]byte, 5000))}}
		q.g.writable = q.pump
		h.do(q.pump)
		got := v.text.read(t, v.read())
		for _, n := range tc.allow {
			v.allow(n, 1)
			got = append(got, v.text.read(t, v.read())...)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("window %d: %q, want %q", tc.window, got, tc.want)
		}
	}
}

// sender is a peer with one stream, and windows of 64 KiB to fill.
func sender(t *testing.T) (*house, *visitor, *guest) {
	h := build(t, Options{MaxStreams: 100, Window: 64 << 10})
	v := h.visit()
	v.write(append([]byte(http2.ClientPreface), frames(func(f *http2.Framer) {
		_ = f.WriteSettings()
		_ = f.WriteSettingsAck()
	})...))
	v.read()
	v.request(1, openChannel)
	v.read()
	return h, v, h.guests[0]
}

// What is charged to a sender is missing from its window until it is given back.
func TestChargeHoldsTheWindow(t *testing.T) {
	h, v, g := sender(t)
	m := enveloped(make([]byte, 10_000))
	g.receive = func(b []byte, _ *pool.Buf) { g.s.Charge(len(m)) }
	for range 6 {
		v.data(1, m)
	}
	v.want()
	h.do(func() { g.s.Charge(-6 * len(m)) })
	v.want(fmt.Sprintf("WINDOW_UPDATE 1 +%d", 6*len(m)))
}

// A peer that is advanced may send, whatever is charged to it.
func TestAdvanceOpensTheWindow(t *testing.T) {
	h, v, g := sender(t)
	m := enveloped(make([]byte, 10_000))
	g.receive = func(b []byte, _ *pool.Buf) { g.s.Charge(2 * len(m)) }
	for range 6 {
		v.data(1, m)
	}
	v.read()
	h.do(func() { g.s.Advance(2 * len(m)) })
	v.want(fmt.Sprintf("WINDOW_UPDATE 1 +%d", 2*len(m)-(64<<10-6*len(m))))
	v.data(1, m)
	v.data(1, m)
	v.want()
}

// By how much at once the peer opens the connection's window is known, whether a stream waited for it or not.
func TestStepsOfTheConnectionWindowAreSeen(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	v.allow(1<<20, 0)
	for range 5 {
		h.do(func() { g.put(make([]byte, 30_000)) })
		v.read()
		v.allow(30_005, 0, 1)
	}
	if got := g.stream().sock.uptake.updates.lump(); got != 30_005 {
		t.Errorf("the window is said to open by %d bytes at once, want 30005", got)
	}
}

// The memory of a message that will never be complete is given back when that is known, though our side may go on for
// long: what is queued for a peer that does not read comes first.
func TestMemoryOfABrokenMessageIsGivenBackAtOnce(t *testing.T) {
	h := build(t, Options{MaxStreams: 100})
	v := h.visit()
	v.greet()
	g := v.enter(1)
	s := g.s.(*stream)
	s.Established()
	v.data(1, enveloped(make([]byte, 100_000))[:50_000])
	if s.gather == nil {
		t.Fatal("nothing is gathered")
	}
	v.write(frames(func(f *http2.Framer) { _ = f.WriteData(1, true, nil) }))
	g.want("broken: " + FaultUnfinished.String())
	if s.gather != nil {
		t.Errorf("%d bytes are kept", cap(s.gather.B))
	}
}

// What makes messages unreadable is told apart.
func TestWhyMessagesBreak(t *testing.T) {
	for name, tc := range map[string]struct {
		b    []byte
		ends bool
		want Fault
	}{
		"too long":                         {[]byte{0, 0, 0x40, 0, 1}, false, FaultTooLarge},
		"compressed without saying how":    {[]byte{1, 0, 0, 0, 1, 'x'}, false, FaultCompressed},
		"a flag that there is not":         {[]byte{2, 0, 0, 0, 1, 'x'}, false, FaultCompressed},
		"the stream ends in a message":     {[]byte{0, 0, 0, 0, 2, 'x'}, true, FaultUnfinished},
		"the stream ends before a message": {[]byte{0, 0, 0}, true, FaultUnfinished},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, Options{MaxStreams: 100})
			v := h.visit()
			v.greet()
			g := v.enter(1)
			h.do(g.s.Established)
			v.write(frames(func(f *http2.Framer) { _ = f.WriteData(1, tc.ends, tc.b) }))
			g.want("broken: " + tc.want.String())
		})
	}
}
