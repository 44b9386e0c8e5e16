package h2

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2"
)

// rustGuards is what a Rust peer (h2 0.4.15 and later) counts in DATA that comes to it, by P-tr-12: more than
// a hundred empty frames that do not end their stream, or small ones that use up half of its connection window faster than
// its application reads, end the connection.
type rustGuards struct {
	empty  int
	budget int
	ended  map[uint32]bool // streams that the peer has ended
	late   int             // frames on these
}

func newRustGuards() *rustGuards { return &rustGuards{budget: 512 << 10, ended: map[uint32]bool{}} }

// read takes what we sent; the application reads it when consumed is true.
func (g *rustGuards) read(t *testing.T, b []byte, consumed bool) {
	t.Helper()
	fr := http2.NewFramer(nil, bytes.NewReader(bytes.TrimPrefix(b, []byte(preface))))
	spent := 0
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			break
		}
		d, ok := f.(*http2.DataFrame)
		if !ok {
			continue
		}
		n := len(d.Data())
		if n == 0 && !d.StreamEnded() {
			g.empty++
		}
		if g.ended[d.StreamID] {
			g.late++
		}
		if n > 0 && n < 256 {
			spent += 256 - n
		} else if n > 0 {
			g.budget = min(g.budget+n-256, 512<<10)
		}
	}
	if g.budget -= spent; g.budget < 0 {
		t.Fatal("the peer would end the connection: too_many_data_frames")
	}
	if consumed {
		g.budget = min(g.budget+spent, 512<<10)
	}
}

// A thousand messages of 20 bytes in a batch, a hundred batches that the application does not read in between.
func TestTinyMessagesOfABatchShareAFrame(t *testing.T) {
	k, s := started(t, nil)
	k.feed(join(frame(frameWindowUpdate, 0, 1, u32(1<<30)), frame(frameWindowUpdate, 0, 0, u32(1<<30))))
	k.frames()
	g := newRustGuards()
	for batch := range 100 {
		o := &output{c: k.c}
		for i := range 1000 {
			if n := o.data(s, grpcMsg(20)); n != 25 {
				t.Fatal("window closed")
			}
			if i%250 == 249 { // answers of ours in the midst
				k.feed(pingFrame)
			}
		}
		b := o.take()
		g.read(t, b, false)
		frames := 0
		for _, l := range k.text.read(t, b) {
			if l[:4] == "DATA" {
				frames++
			}
		}
		if frames > 25000/minMaxFrame+1+4 {
			t.Fatalf("batch %d: %d frames for 25000 bytes", batch, frames)
		}
	}
}

// However windows open and streams end, no empty frame is sent, and nothing for a stream that the peer has ended.
func TestNothingEmptyAndNothingLateIsSent(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		k := newTalk(t, Client, nil)
		k.feed(frame(frameSettings, 0, 0, setting(4, uint32(rnd.IntN(50)))))
		g := newRustGuards()
		o := &output{c: k.c}
		var streams []*Stream
		for range 400 {
			if len(streams) < 5 || rnd.IntN(20) == 0 {
				streams = append(streams, openChannel(t, k.c))
			}
			s := streams[rnd.IntN(len(streams))]
			live := s.flags&removed == 0
			switch step := rnd.IntN(12); {
			case step < 6:
				o.data(s, make([]byte, rnd.IntN(60)))
			case step < 8:
				k.feed(join(connCredit(1+rnd.IntN(50)), frame(frameWindowUpdate, 0, s.ID, u32(uint32(1+rnd.IntN(50))))))
			case step == 8:
				o.control()
				o.b = k.c.HalfClose(o.b, s)
			case step == 9 && live:
				g.read(t, o.take(), true)
				k.feed(respond(s.ID, flagEndStream, ":status: 200", "grpc-status: 0"))
				g.ended[s.ID] = true
			case step == 10 && live:
				g.read(t, o.take(), true)
				k.feed(frame(frameRSTStream, 0, s.ID, u32(8)))
				g.ended[s.ID] = true
			default:
				g.read(t, o.take(), true)
			}
			k.c.Relax(4096)
		}
		g.read(t, o.take(), true)
		if g.empty > 0 || g.late > 0 || k.err != nil {
			t.Errorf("seed %d: %d empty frames, %d on ended streams; error %v", seed, g.empty, g.late, k.err)
		}
	}
}
