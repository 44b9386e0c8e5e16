package h2

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestUnfinishedIsDatedByTheOwnersTicks(t *testing.T) {
	hello := join([]byte(preface), frame(frameSettings, 0, 0))
	ping, block := frame(framePing, 0, 0, make([]byte, 8)), fieldBlock(channelFields...)
	for _, tc := range []struct {
		name  string
		begin []byte // arrives in tick 5
		more  []byte // a byte a tick, from 6 on; the last one completes it
		want  Unfinished
		since int64
	}{
		{"preface", nil, hello, UnfinishedPreface, 3},
		{"SETTINGS of the preface", hello[:30], hello[30:], UnfinishedPreface, 3},
		{"PING", join(hello, ping[:9]), ping[9:], UnfinishedFrame, 5},
		{"frame header", join(hello, ping[:1]), ping[1:], UnfinishedFrame, 5},
		{"unknown frame", join(hello, frame(0x99, 0, 0, make([]byte, 10))[:9]), make([]byte, 10), UnfinishedFrame, 5},
		{"HEADERS", join(hello, request(1, 0)[:20]), request(1, 0)[20:], UnfinishedFrame, 5},
		{"header block in frames", join(hello, frame(frameHeaders, 0, 1, block[:3])),
			join(frame(frameContinuation, 0, 1, block[3:5]), frame(frameContinuation, flagEndHeaders, 1, block[5:])), UnfinishedBlock, 5},
		{"DATA", join(hello, request(1, 0), data(1, 0, grpcMsg(20))[:10]), data(1, 0, grpcMsg(20))[10:], UnfinishedData, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := rawTalk(t, Server, &Settings{Now: 3})
			k.c.Tick(5)
			k.feed(tc.begin)
			for i := range tc.more {
				if got, since := k.c.Unfinished(); got != tc.want || since != tc.since {
					t.Fatalf("%d bytes on: %v since %d, want %v since %d", i, got, since, tc.want, tc.since)
				}
				k.c.Tick(int64(6 + i))
				k.feed(tc.more[i : i+1])
			}
			if got, _ := k.c.Unfinished(); got != UnfinishedNone || k.err != nil {
				t.Errorf("complete, yet %v, %v", got, k.err)
			}
			k.feed(ping[:4]) // what comes next has a date of its own
			if got, since := k.c.Unfinished(); got != UnfinishedFrame || since != int64(5+len(tc.more)) {
				t.Errorf("next frame: %v since %d", got, since)
			}
		})
	}
}

func TestFirstMessageIsSmallUntilTheOwnerSaysMore(t *testing.T) {
	k := newTalk(t, Server, &Settings{FirstMessage: 1000})
	k.ev.onMessage = func(s *Stream, msg []byte) {
		if len(msg) == 1000 {
			k.c.SetMaxMessage(s, 5000)
		}
	}
	k.feed(join(request(1, 0), request(3, 0), request(5, 0)))
	k.ev.lines = nil
	k.feed(join(data(1, 0, grpcMsg(999), grpcMsg(1000), grpcMsg(1001), grpcMsg(5000), appendPrefix(nil, 5001)),
		data(3, 0, grpcMsg(10), appendPrefix(nil, 1001))))
	for _, b := range appendPrefix(nil, 1001) { // a prefix in pieces
		k.feed(data(5, 0, []byte{b}))
	}
	k.wantEvents("message 1 len 999", "message 1 len 1000", "message 1 len 1001", "message 1 len 5000",
		`ended 1 broken NO_ERROR http=0 grpc=11 "message of 5001 bytes, limit 5000"`,
		"message 3 len 10", `ended 3 broken NO_ERROR http=0 grpc=11 "message of 1001 bytes, limit 1000"`,
		`ended 5 broken NO_ERROR http=0 grpc=11 "message of 1001 bytes, limit 1000"`)
	k.c.SetMaxMessage(k.ev.streams[3], math.MaxInt)
	if n := k.ev.streams[3].maxMessage; n != 4<<20 {
		t.Errorf("limit %d, want that of the settings", n)
	}
}

// One socket with a hundred streams that each withhold the last byte of the largest message.
func TestUnfinishedMessagesHaveABudget(t *testing.T) {
	const size, budget = 256 << 10, 640 << 10
	k := newTalk(t, Server, &Settings{MaxMessage: size, MaxUnfinished: budget, ConnWindow: 64 << 20})
	most := 0
	for i := range 100 {
		id := uint32(2*i + 1)
		k.feed(request(id, 0))
		msg := grpcMsg(size)
		for msg = msg[:len(msg)-1]; len(msg) > 0; msg = msg[min(len(msg), 16384):] {
			k.feed(data(id, 0, msg[:min(len(msg), 16384)]))
			k.c.ControlDone()
			most = max(most, k.c.UnfinishedBytes())
		}
	}
	if most > budget || k.err != nil {
		t.Errorf("%d bytes, budget %d; error %v", most, budget, k.err)
	}
	var ended []string
	for _, l := range k.ev.lines {
		if l[:5] == "ended" {
			ended = append(ended, l)
		}
	}
	if want := `ended 1 unfinished NO_ERROR http=0 grpc=8 "unfinished messages of this connection take more than 655360 bytes; this one was begun first"`; len(ended) != 98 || ended[0] != want {
		t.Errorf("%d streams ended, the first: %s", len(ended), ended[0])
	}
	s, _ := k.c.OldestMessage()
	if s == nil || s.ID != 197 {
		t.Fatalf("oldest %+v, want stream 197", s)
	}
	k.ev.lines = nil
	k.feed(data(199, 0, []byte{'m'}))
	k.wantEvents("message 199 len 262144")
	if n := k.c.UnfinishedBytes(); n > size {
		t.Errorf("%d bytes for one message", n)
	}
	k.c.Reset(s, EnhanceYourCalm)
	if s, _ := k.c.OldestMessage(); s != nil || k.c.UnfinishedBytes() != 0 {
		t.Errorf("stream %d is unfinished, %d bytes", s.ID, k.c.UnfinishedBytes())
	}
}

func TestOldestMessage(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(join(request(1, 0), request(3, 0), request(5, 0)))
	want := func(id uint32, since int64) {
		t.Helper()
		s, at := k.c.OldestMessage()
		if s == nil || s.ID != id || at != since {
			t.Errorf("oldest is %+v since %d, want stream %d since %d", s, at, id, since)
		}
	}
	for i, id := range []uint32{3, 1, 5} {
		k.c.Tick(int64(10 + i))
		k.feed(data(id, 0, grpcMsg(100)[:50]))
	}
	want(3, 10)
	k.c.Tick(20)
	k.feed(data(3, 0, make([]byte, 10))) // progress does not make it younger
	want(3, 10)
	k.feed(data(1, 0, grpcMsg(100)[50:]))
	want(3, 10)
	k.feed(data(1, 0, grpcMsg(100)[:50]))
	k.feed(data(3, 0, grpcMsg(100)[60:]))
	want(5, 12)
	k.feed(frame(frameRSTStream, 0, 5, u32(8)))
	want(1, 20)
	if n := k.c.UnfinishedBytes(); n != 100 {
		t.Errorf("%d bytes, want the 100 of one message", n)
	}
	k.c.Trailers(nil, k.ev.streams[1], 8, "too slow")
	if s, _ := k.c.OldestMessage(); s != nil || k.c.UnfinishedBytes() != 0 {
		t.Errorf("%+v, %d bytes", s, k.c.UnfinishedBytes())
	}
}

func TestMemoryOfMessagesFollowsWhatArrived(t *testing.T) {
	for _, size := range []int{100, 16 << 10, 70000, 1 << 20, 4 << 20} {
		for _, chunk := range []int{1, 700, 16384} {
			k, _ := started(t, &Settings{InitialWindow: 8 << 20, ConnWindow: 16 << 20})
			msg := grpcMsg(size)
			for got := 0; got < min(len(msg), 3000*chunk); got += chunk {
				k.feed(data(1, 0, msg[got:min(got+chunk, len(msg))]))
				k.c.ControlDone()
				if n := k.c.UnfinishedBytes(); n > max(16<<10, 3*(got+chunk)) || n > size {
					t.Fatalf("%d bytes for %d that have arrived of %d", n, got+chunk, size)
				}
			}
		}
	}
}

// UnfinishedBytes counts frames in pieces, too.
func TestUnfinishedBytesOfABlock(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(frame(frameHeaders, 0, 1, append([]byte{0x00, 1, 'x', 0x7f, 0xc1, 0x3e}, make([]byte, 5000)...))) // of 8192
	if n := k.c.UnfinishedBytes(); n < 5000 || n > 16<<10 {
		t.Errorf("%d bytes for a field that is half there", n)
	}
	k.feed(appendFrameHeader(nil, 9000, frameContinuation, 0, 1))
	k.feed(make([]byte, 3000))
	if n := k.c.UnfinishedBytes(); n < 8000 || n > 24<<10 {
		t.Errorf("%d bytes with a frame that is half there", n)
	}
}

// However streams end, what was lent is accounted for: random conversations, compared with a count over all streams.
func TestLentMemoryIsAccountedFor(t *testing.T) {
	for seed := range uint64(20) {
		k := newTalk(t, Server, &Settings{MaxUnfinished: 200 << 10, MaxMessage: 64 << 10})
		rnd := rand.New(rand.NewPCG(seed, 1))
		next := uint32(1)
		for range 400 {
			id := uint32(rnd.IntN(int(next))) | 1 // perhaps not opened yet
			s := k.c.find(id)
			switch step := rnd.IntN(8); {
			case s == nil:
				k.feed(request(next, 0))
				next += 2
			case step == 0:
				k.feed(frame(frameRSTStream, 0, id, u32(8)))
			case step == 1:
				k.c.Reset(s, Cancel)
			case step == 2:
				k.c.Trailers(nil, s, 0, "")
			case step == 3:
				k.feed(data(id, flagEndStream, make([]byte, rnd.IntN(20))))
			default:
				n := rnd.IntN(60000)
				b := grpcMsg(n)[:min(n+prefixLen, rnd.IntN(16000))]
				k.feed(data(id, 0, b))
			}
			k.c.Reap(k.ev)
			k.c.ControlDone()
			k.c.Relax(4096)
			sum, holders, listed := 0, 0, 0
			for s := k.c.head; s != nil; s = s.next {
				if sum += cap(s.msg); s.msg != nil {
					holders++
				}
			}
			for s := k.c.oldest; s != nil; s = s.newer {
				listed++
			}
			if sum != k.c.lent || holders != listed || sum > 200<<10 {
				t.Fatalf("seed %d: %d bytes lent to %d streams, counted %d and %d", seed, sum, holders, k.c.lent, listed)
			}
		}
		if k.err != nil {
			t.Fatalf("seed %d: %v", seed, k.err)
		}
		k.c.Close(k.ev)
		if k.c.lent != 0 || k.c.oldest != nil || k.c.newest != nil {
			t.Fatalf("seed %d: %d bytes lent after Close", seed, k.c.lent)
		}
	}
}

// An owner without memory: the streams whose messages were begun first are ended until there is some, or it is the turn of
// the stream that asks.
func TestGrowMayHaveNoMemory(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(join(request(1, 0), request(3, 0), request(5, 0)))
	part := grpcMsg(1000)[:500]
	k.feed(join(data(1, 0, part), data(3, 0, part)))
	k.ev.lines = nil
	k.ev.noGrow = 2
	k.feed(data(5, 0, part))
	const why = ` unfinished NO_ERROR http=0 grpc=8 "no memory for unfinished messages; this one was begun first"`
	k.wantEvents("ended 1"+why, "ended 3"+why)
	k.feed(data(5, 0, grpcMsg(1000)[500:]))
	k.wantEvents("message 5 len 1000")
	k.ev.noGrow = 1
	k.feed(data(5, 0, part))
	k.wantEvents("ended 5" + why)
	if n := k.c.UnfinishedBytes(); n != 0 || k.err != nil {
		t.Errorf("%d bytes are kept; error %v", n, k.err)
	}
}
