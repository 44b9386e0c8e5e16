package h2

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/net/http2"
)

// What x/net's Framer writes, the engine understands: a random conversation, compared with a model.
func TestEngineReadsWhatFramerWrites(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for round := range 50 {
		var wire bytes.Buffer
		fr := http2.NewFramer(&wire, nil)
		wire.WriteString(preface)
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		check(fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000}))
		check(fr.WriteSettingsAck())
		check(fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fieldBlock(channelFields...),
			EndHeaders: true, PadLength: uint8(rnd.IntN(5)), Priority: http2.PriorityParam{StreamDep: 0, Weight: 3}}))
		want := []string{opened}
		var body []byte // not sent yet
		var ends []int  // bytes left until each message in it is complete
		var sizes []int
		for range 200 {
			switch rnd.IntN(7) {
			case 0:
				check(fr.WritePing(false, [8]byte{1}))
			case 1:
				check(fr.WriteWindowUpdate(1, 5))
				want = append(want, "writable 1")
			case 2:
				check(fr.WritePriority(3, http2.PriorityParam{StreamDep: 1}))
			case 3:
				check(fr.WriteRawFrame(0x55, 0xff, 9, make([]byte, rnd.IntN(50))))
			default:
				size := rnd.IntN(300)
				body = append(body, grpcMsg(size)...)
				ends, sizes = append(ends, len(body)), append(sizes, size)
				n := min(len(body), 1+rnd.IntN(500))
				check(fr.WriteDataPadded(1, false, body[:n], make([]byte, rnd.IntN(3))))
				body = body[n:]
				for i := range ends {
					ends[i] -= n
				}
				for len(ends) > 0 && ends[0] <= 0 {
					want = append(want, fmt.Sprintf("message 1 len %d", sizes[0]))
					ends, sizes = ends[1:], sizes[1:]
				}
			}
		}
		k := rawTalk(t, Server, nil)
		for b := wire.Bytes(); len(b) > 0; {
			n := min(len(b), 1+rnd.IntN(400))
			k.feed(b[:n])
			k.frames()
			b = b[n:]
		}
		if !slices.Equal(k.ev.lines, want) || k.err != nil {
			t.Fatalf("round %d: error %v\n got %q\nwant %q", round, k.err, k.ev.lines, want)
		}
	}
}

// What x/net's Framer refuses, the engine refuses: random single frames on a connection with one open stream.
func TestEngineRefusesWhatFramerRefuses(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 9))
	refused := 0
	for range 6000 {
		kind := frameType(rnd.IntN(10))
		id := []uint32{0, 1, 1, 1, 2, 3}[rnd.IntN(6)]
		body := make([]byte, []int{0, 1, 3, 4, 5, 6, 8, 12, 20}[rnd.IntN(9)])
		for i := range body {
			body[i] = byte(rnd.IntN(4) * rnd.IntN(4))
		}
		b := frame(kind, uint8(rnd.IntN(256)), id, body)
		fr := http2.NewFramer(io.Discard, bytes.NewReader(b))
		f, err := fr.ReadFrame()
		bad := err != nil
		if s, ok := f.(*http2.SettingsFrame); ok && !bad {
			bad = s.ForeachSetting(func(x http2.Setting) error { return x.Valid() }) != nil
		}
		if !bad {
			continue
		}
		refused++
		k, _ := started(t, nil)
		k.feed(b)
		if closed := slices.Contains(k.ev.lines, "closed 1"); k.err == nil && !closed {
			t.Errorf("%x: x/net says %v, we say nothing", b, err)
		}
	}
	if refused < 300 {
		t.Errorf("only %d frames were refused", refused)
	}
}
