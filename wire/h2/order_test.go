package h2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// output is what an owner writes: Control goes in before anything else is appended, and at the end.
type output struct {
	c *Conn
	b []byte
}

func (o *output) control() {
	o.b = append(o.b, o.c.Control()...)
	o.c.ControlDone()
}

func (o *output) data(s *Stream, p []byte) int {
	o.control()
	var n int
	o.b, n = sendBytes(o.c, o.b, s, p)
	return n
}

func (o *output) trailers(s *Stream, status int, msg string) {
	o.control()
	o.b = o.c.Trailers(o.b, s, status, msg)
}

func (o *output) take() []byte {
	o.control()
	o.c.Cut()
	b := o.b
	o.b = nil
	return b
}

func TestDataFrameEndsWhereControlIsAppended(t *testing.T) {
	k, s := started(t, nil)
	o := &output{c: k.c}
	o.data(s, []byte("one"))
	o.data(s, []byte("two")) // no control between them: one frame
	k.c.Ping()
	o.data(s, []byte("three"))
	if got, want := k.text.read(t, o.take()), []string{"DATA 1 len 6", "PING 736c696d676f0001 ack=false", "DATA 1 len 5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The table size update stands in the first block after the acknowledgement, whichever call makes it.
func TestSizeUpdateStandsInTheFirstBlock(t *testing.T) {
	refuse := func(o *output, s *Stream) { o.c.Refuse(s, 200, 12, "no") }
	respond := func(o *output, s *Stream) { o.c.Respond(s) }
	trailers := func(o *output, s *Stream) { o.trailers(s, 0, "") }
	page := func(o *output, s *Stream) { o.c.RespondAs(s, 404, "text/plain") }
	for _, order := range [][]func(*output, *Stream){
		{refuse, respond, trailers}, {respond, refuse, trailers}, {trailers, refuse, respond}, {page, trailers, respond}, {trailers, trailers, refuse},
	} {
		k := newTalk(t, Server, nil)
		k.ev.onRequest = nil
		o := &output{c: k.c}
		k.feed(join(request(1, 0), request(3, 0), request(5, 0), request(7, 0)))
		o.trailers(k.ev.streams[1], 7, "before") // before the peer's SETTINGS were acknowledged
		k.feed(frame(frameSettings, 0, 0, setting(1, 100)))
		for i, do := range order {
			do(o, k.ev.streams[uint32(2*i+3)])
		}
		checkSizeUpdate(t, o.take(), 1)
	}
}

// checkSizeUpdate reads b with a decoder whose table shrinks to 100 bytes at the acknowledgement of SETTINGS: only the
// first block after it may, and must, begin with a table size update. before is how many come earlier.
func checkSizeUpdate(t *testing.T, b []byte, before int) {
	t.Helper()
	fr := http2.NewFramer(nil, bytes.NewReader(b))
	dec := hpack.NewDecoder(4096, nil)
	acked, blocks := false, 0
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			break
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if acked = true; blocks != before {
				t.Errorf("%d blocks before the acknowledgement, want %d", blocks, before)
			}
			dec.SetAllowedMaxDynamicTableSize(100)
		case *http2.HeadersFrame:
			blocks++
			first := f.HeaderBlockFragment()[0]
			if want := acked && blocks == before+1; (first&0xe0 == 0x20) != want {
				t.Errorf("block %d begins with %#x", blocks, first)
			}
			if _, err := dec.DecodeFull(f.HeaderBlockFragment()); err != nil {
				t.Error(err)
			}
		}
	}
	if !acked || blocks == before {
		t.Errorf("acknowledged %v, %d blocks", acked, blocks)
	}
}

// Whatever is said in whatever order, each stream of the output obeys RFC 9113 section 5.1 and carries what was sent.
func TestOutputInAnyOrder(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		k := newTalk(t, Server, nil)
		k.ev.onRequest = nil
		k.text.dec.SetAllowedMaxDynamicTableSize(100)
		o := &output{c: k.c}
		sent := map[uint32][]byte{}
		var wire []byte
		k.feed(join(frame(frameSettings, 0, 0, setting(1, 100), setting(4, 1<<20)), frame(frameWindowUpdate, 0, 0, u32(1<<24))))
		next := uint32(1)
		for range 300 {
			id := uint32(rnd.IntN(int(next))) | 1
			s := k.c.find(id)
			switch step := rnd.IntN(12); {
			case s == nil || step == 0:
				k.feed(request(next, uint8(rnd.IntN(2))*flagEndStream))
				next += 2
			case step == 1:
				k.c.Refuse(s, 200, 12, "no such method")
			case step == 2:
				o.trailers(s, 0, "")
			case step == 3:
				k.c.Reset(s, Cancel)
			case step == 4:
				k.feed(join(data(id, 0, grpcMsg(rnd.IntN(2000))), pingFrame))
			case step == 5:
				k.feed(frame(frameRSTStream, 0, id, u32(8)))
			case step == 6:
				wire = append(wire, o.take()...)
			default:
				k.c.Respond(s)
				p := []byte(fmt.Sprint(id, " ", rnd.IntN(1000), ";"))
				sent[id] = append(sent[id], p[:o.data(s, p)]...)
			}
			k.c.Reap(k.ev)
			k.c.Relax(4096)
		}
		wire = append(wire, o.take()...)
		if k.err != nil {
			t.Fatalf("seed %d: %v", seed, k.err)
		}
		checkStreams(t, seed, k.text, wire, sent)
	}
}

// checkStreams reads wire and compares what it carries on each stream with sent.
func checkStreams(t *testing.T, seed uint64, text *frameText, wire []byte, sent map[uint32][]byte) {
	t.Helper()
	const (
		begun = iota + 1
		complete
		reset
	)
	state := map[uint32]int{}
	got := map[uint32][]byte{}
	text.buf.Write(wire)
	for text.buf.Len() > 0 {
		f, err := text.fr.ReadFrame()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		id, bad := f.Header().StreamID, false
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			bad = state[id] > begun
			if state[id] = begun; f.StreamEnded() {
				state[id] = complete
			}
		case *http2.DataFrame:
			bad = state[id] != begun || len(f.Data()) == 0
			got[id] = append(got[id], f.Data()...)
		case *http2.RSTStreamFrame:
			bad = state[id] == reset
			state[id] = reset
		case *http2.WindowUpdateFrame:
			bad = id != 0 && state[id] >= complete
		}
		if bad {
			t.Fatalf("seed %d: %s in state %d", seed, frameLine(f), state[id])
		}
	}
	for id, want := range sent {
		if !bytes.Equal(got[id], want) {
			t.Fatalf("seed %d: stream %d carries %q, want %q", seed, id, got[id], want)
		}
	}
}
