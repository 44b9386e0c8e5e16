package h2

import (
	"fmt"
	"runtime"
	"testing"
)

// doorman is an owner that refuses all but channelPath and keeps no stream.
type doorman struct {
	sink
	c        *Conn
	requests int
}

func (d *doorman) Request(s *Stream, r *Request) {
	d.requests++
	if string(r.Path) == channelPath {
		d.c.Respond(s)
	} else {
		d.c.Refuse(s, 200, 12, "no such method; try the other one", Field{Name: "grpc-accept-encoding", Value: "identity"})
	}
}
func (d *doorman) Closed(s *Stream) { d.c.Recycle(s) }

// attack is a flood of streams. piece appends the frames of stream id; n counts up.
type attack struct {
	name  string
	set   Settings
	piece func(dst []byte, id uint32, n int) []byte
}

// attacks are all ways in which a stream ends without having been of use. Their fields differ from stream to stream.
func attacks() []attack {
	block := func(path string, extra ...string) func(n int) []byte {
		return func(n int) []byte {
			return fieldBlock(append([]string{":method: POST", ":scheme: http", ":path: " + path, "te: trailers",
				"content-type: application/grpc", fmt.Sprint("user-agent: flood/", n)}, extra...)...)
		}
	}
	headers := func(dst []byte, flags uint8, id uint32, block []byte) []byte {
		return append(appendFrameHeader(dst, len(block), frameHeaders, flagEndHeaders|flags, id), block...)
	}
	refused, open, bad := block("/what"), block(channelPath), block(channelPath, "connection: close")
	large := block(channelPath, "x: "+string(make([]byte, 3000)))
	var indexed fieldEncoder
	return []attack{
		{"refused, then reset", Settings{}, func(dst []byte, id uint32, n int) []byte {
			return appendRST(headers(dst, 0, id, refused(n)), id, Cancel)
		}},
		{"refused and complete", Settings{}, func(dst []byte, id uint32, n int) []byte { return headers(dst, flagEndStream, id, refused(n)) }},
		{"refused and left open", Settings{}, func(dst []byte, id uint32, n int) []byte { return headers(dst, 0, id, refused(n)) }},
		{"refused, fields in the table", Settings{}, func(dst []byte, id uint32, n int) []byte {
			return headers(dst, flagEndStream, id, indexed.block(":method: POST", ":scheme: http", fmt.Sprint(":path: /", n), "te: trailers"))
		}},
		{"opened, then reset", Settings{}, func(dst []byte, id uint32, n int) []byte {
			return appendRST(headers(dst, 0, id, open(n)), id, Cancel)
		}},
		{"opened and reset later", Settings{}, func(dst []byte, id uint32, n int) []byte {
			dst = headers(dst, 0, id, open(n))
			if id > 20 {
				dst = appendRST(dst, id-20, Cancel)
			}
			return dst
		}},
		{"above the stream limit", Settings{MaxStreams: 1}, func(dst []byte, id uint32, n int) []byte { return headers(dst, 0, id, open(n)) }},
		{"malformed", Settings{}, func(dst []byte, id uint32, n int) []byte { return headers(dst, 0, id, bad(n)) }},
		{"header section too large", Settings{MaxHeaderList: 1000}, func(dst []byte, id uint32, n int) []byte { return headers(dst, 0, id, large(n)) }},
		{"half-closed, then DATA", Settings{}, func(dst []byte, id uint32, n int) []byte {
			return append(headers(dst, flagEndStream, id, open(n)), 0, 0, 1, 0, 0, byte(id>>24), byte(id>>16), byte(id>>8), byte(id), 'x')
		}},
	}
}

// streams builds count streams of a, first and following.
func (a *attack) streams(first uint32, count int) []byte {
	var b []byte
	for i := range count {
		b = a.piece(b, first+2*uint32(i), int(first)+i)
	}
	return b
}

// A flood of streams, at whatever speed, takes no memory but what it needed at its beginning.
func TestStreamFloodsReuseMemory(t *testing.T) {
	const batch, batches = 300, 16
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			var c Conn
			c.Init(Server, &a.set)
			d := &doorman{c: &c}
			wire := [][]byte{join(greeting(Server), frame(frameSettings, flagAck, 0))}
			for i := range batches {
				wire = append(wire, a.streams(uint32(2*batch*i+1), batch))
			}
			var before, after runtime.MemStats
			for i, b := range wire {
				for len(b) > 0 { // reads that end anywhere
					n := min(len(b), 4093)
					if err := c.Feed(b[:n], d); err != nil {
						t.Fatal(err)
					}
					c.ControlDone()
					c.Relax(4096)
					b = b[n:]
				}
				if i == batches/4 {
					runtime.GC()
					runtime.ReadMemStats(&before)
				}
			}
			runtime.ReadMemStats(&after)
			streams := batch * batches * 3 / 4
			if !pooled {
				return
			}
			if per := float64(after.Mallocs-before.Mallocs) / float64(streams); per > 0.05 {
				t.Errorf("%.2f allocations for each stream", per)
			}
			if grown := int(after.TotalAlloc - before.TotalAlloc); grown > 64<<10 {
				t.Errorf("%d bytes for %d streams", grown, streams)
			}
		})
	}
}

func TestStreamFloodsEnd(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			var c Conn
			c.Init(Server, &a.set)
			d := &doorman{c: &c}
			if err := c.Feed(join(greeting(Server), frame(frameSettings, flagAck, 0)), d); err != nil {
				t.Fatal(err)
			}
			n := 0
			for ; n < 2000 && c.err == nil; n++ {
				_ = c.Feed(a.streams(uint32(2*n+1), 1), d)
				c.ControlDone()
			}
			if c.err == nil || c.err.Code != EnhanceYourCalm || c.err.Flood == FloodNone {
				t.Errorf("%d streams: %v", n, c.err)
			}
			c.Close(d)
			if c.live != 0 || len(c.more) != 0 {
				t.Error("streams are left")
			}
		})
	}
}

func TestRecycledStreamsAreUsedAgain(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.ev.onClosed = k.c.Recycle
	k.feed(join(request(1, 0), request(3, 0)))
	one, three := k.ev.streams[1], k.ev.streams[3]
	k.feed(join(data(3, 0, grpcMsg(7)[:6]), frame(frameRSTStream, 0, 1, u32(8)), frame(frameRSTStream, 0, 3, u32(8))))
	k.ev.lines = nil
	k.feed(join(request(5, 0), request(7, 0), data(5, 0, grpcMsg(1)), data(7, flagEndStream, grpcMsg(2))))
	k.wantEvents("request 5 POST "+channelPath, "request 7 POST "+channelPath, "message 5 len 1", "message 7 len 2",
		`ended 7 half-closed NO_ERROR http=0 grpc=-1 ""`)
	if k.ev.streams[5] != one || k.ev.streams[7] != three {
		t.Error("streams of the connection do not use the memory of those before")
	}
	if three.User != nil || three.withheld != 0 || three.Window() != startWindow {
		t.Errorf("something is left of the stream before: %+v", three)
	}
}

// A stream that waits for its WINDOW_UPDATE when it is recycled is not used again before the list has dropped it.
func TestRecyclingKeepsListsWhole(t *testing.T) {
	k := newTalk(t, Server, &Settings{InitialWindow: 1000})
	k.ev.onClosed = k.c.Recycle
	k.feed(join(request(1, 0), request(3, 0), request(5, 0)))
	k.frames()
	k.feed(join(data(5, 0, grpcMsg(600)), data(3, 0, grpcMsg(600)), data(1, 0, grpcMsg(700)), frame(frameRSTStream, 0, 3, u32(8)), request(7, 0)))
	got := map[string]bool{}
	for _, l := range k.frames() {
		got[l] = true
	}
	for _, want := range []string{"WINDOW_UPDATE 1 +705", "WINDOW_UPDATE 5 +605"} {
		if !got[want] {
			t.Errorf("no %s in %v", want, got)
		}
	}
}

// Recycle may come before Closed was delivered.
func TestRecycledBeforeClosed(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(join(request(1, 0), request(3, 0), request(5, 0)))
	k.ev.lines = nil
	for _, id := range []uint32{3, 1, 5} {
		s := k.ev.streams[id]
		k.c.Reset(s, Cancel)
		k.c.Recycle(s)
	}
	k.c.Reap(k.ev)
	k.wantEvents("closed 3", "closed 1", "closed 5")
	k.feed(join(request(7, 0), request(9, 0), request(11, 0), request(13, 0)))
	if k.c.Streams() != 4 || k.c.frees != 0 {
		t.Errorf("%d streams, %d free", k.c.Streams(), k.c.frees)
	}
}
