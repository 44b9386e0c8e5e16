package h2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Rules: P-tr-3.
func TestMessagesInAnyCut(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, frameMax := range []int{1, 3, 5, 6, 1000, 16384} {
		t.Run(fmt.Sprintf("frames to %d", frameMax), func(t *testing.T) {
			k, _ := started(t, nil)
			k.ev.bodies = true
			long := 300000
			if frameMax < 100 { // as many frames
				long = 5000
			}
			var body []byte
			var want []string
			for i, n := range []int{0, 1, 100, 0, 0, 3000, 7, long / 4, 5, long, 1, 0} {
				msg := bytes.Repeat([]byte{byte(i)}, n)
				body = append(append(body, appendPrefix(nil, n)...), msg...)
				want = append(want, fmt.Sprintf("message 1 %x", msg))
			}
			var wire []byte
			for b := body; len(b) > 0; {
				n := min(len(b), frameMax)
				if pad := rnd.IntN(4); pad == 0 && frameMax > 100 {
					wire = append(wire, data(1, flagPadded, []byte{3}, b[:min(n, 16380)], make([]byte, 3))...)
					b = b[min(n, 16380):]
					continue
				}
				wire = append(wire, data(1, 0, b[:n])...)
				b = b[n:]
			}
			for len(wire) > 0 {
				n := min(len(wire), 1+rnd.IntN(50000))
				k.feed(wire[:n])
				k.frames()
				wire = wire[n:]
			}
			if !slices.Equal(k.ev.lines, want) {
				t.Errorf("%d events, want %d messages as sent", len(k.ev.lines), len(want))
			}
			if k.err != nil {
				t.Error(k.err)
			}
		})
	}
}

func TestMemoryFollowsWhatArrived(t *testing.T) {
	k, _ := started(t, nil)
	k.feed(data(1, 0, appendPrefix(nil, 4<<20)))
	if len(k.ev.grown) != 0 {
		t.Errorf("a prefix alone made it grow: %v", k.ev.grown)
	}
	for range 256 {
		k.feed(data(1, 0, make([]byte, 16384)))
	}
	if want := []int{32 << 10, 96 << 10, 224 << 10, 480 << 10, 992 << 10, 2016 << 10, 4 << 20}; !slices.Equal(k.ev.grown, want) {
		t.Errorf("grew to %v, want %v: twice what has arrived", k.ev.grown, want)
	}
	k.wantEvents("message 1 len 4194304")
	k.ev.grown = nil
	k.feed(data(1, 0, grpcMsg(1000)[:100]))
	k.feed(data(1, 0, grpcMsg(1000)[100:]))
	if want := []int{1000}; !slices.Equal(k.ev.grown, want) {
		t.Errorf("grew to %v, want %v", k.ev.grown, want)
	}
}

func TestWholeMessagesAreBorrowed(t *testing.T) {
	k, _ := started(t, nil)
	b := data(1, 0, grpcMsg(100))
	k.feed(b[:frameHeaderLen+5]) // only the prefix came earlier: still no copy
	k.feed(b[frameHeaderLen+5:])
	k.feed(b[:frameHeaderLen+2])
	k.feed(b[frameHeaderLen+2:])
	k.wantEvents("message 1 len 100", "message 1 len 100")
	if len(k.ev.grown) != 0 {
		t.Errorf("copied: %v", k.ev.grown)
	}
}

// Rules: P-tr-4, P-tr-5.
func TestBrokenMessages(t *testing.T) {
	for _, tc := range []struct {
		name   string
		prefix []byte
		status int
		text   string
	}{
		{"compressed", []byte{1, 0, 0, 0, 1}, 12, "compressed message without grpc-encoding"},
		{"bad flag", []byte{0x80, 0, 0, 0, 1}, 13, "bad compressed flag 128"},
		{"a byte above the limit", appendPrefix(nil, 4<<20+1), 11, "message of 4194305 bytes, limit 4194304"},
		{"2^32-1 bytes", []byte{0, 255, 255, 255, 255}, 11, "message of 4294967295 bytes, limit 4194304"},
	} {
		for cut := 0; cut <= 5; cut += 5 { // in one piece, torn
			t.Run(fmt.Sprintf("%s, cut %d", tc.name, cut), func(t *testing.T) {
				k, s := started(t, nil)
				b := data(1, 0, grpcMsg(2), tc.prefix, grpcMsg(3))
				k.feed(b[:frameHeaderLen+7+cut])
				k.feed(b[frameHeaderLen+7+cut:])
				k.feed(data(1, flagEndStream, grpcMsg(4)))
				k.wantEvents("message 1 len 2", fmt.Sprintf("ended 1 broken NO_ERROR http=0 grpc=%d %q", tc.status, tc.text))
				if k.err != nil || k.c.Streams() != 1 {
					t.Errorf("error %v, %d streams", k.err, k.c.Streams())
				}
				out := k.c.Trailers(nil, s, tc.status, tc.text) // the owner still says why
				if got := k.text.read(t, out); len(got) != 1 {
					t.Errorf("got %q", got)
				}
				k.c.Reap(k.ev)
				k.wantEvents("closed 1")
			})
		}
	}
}

// Compressed messages come where they are taken, whatever the cuts, and between others. Rules: P-comp-2.
func TestCompressedMessages(t *testing.T) {
	packed := func(n int) []byte {
		b := grpcMsg(n)
		b[0] = 1
		return b
	}
	b := data(1, 0, grpcMsg(2), packed(30), packed(0), grpcMsg(0), packed(4), grpcMsg(5))
	want := []string{"message 1 len 2", "compressed 1 len 30", "compressed 1 len 0", "message 1 len 0", "compressed 1 len 4", "message 1 len 5"}
	for cut := range len(b) {
		k, s := started(t, nil)
		k.c.TakeCompressed(s)
		k.feed(b[:cut])
		k.feed(b[cut:])
		k.wantEvents(want...)
	}
	for name, tc := range map[string]struct {
		prefix []byte
		status int
		text   string
	}{
		"a byte above the limit": {[]byte{1, 0, 0x40, 0, 1}, 11, "message of 4194305 bytes, limit 4194304"},
		"bad flag":               {[]byte{2, 0, 0, 0, 1}, 13, "bad compressed flag 2"},
	} {
		t.Run(name, func(t *testing.T) {
			k, s := started(t, nil)
			k.c.TakeCompressed(s)
			k.feed(data(1, 0, packed(3), tc.prefix))
			k.wantEvents("compressed 1 len 3", fmt.Sprintf("ended 1 broken NO_ERROR http=0 grpc=%d %q", tc.status, tc.text))
		})
	}
	t.Run("an owner that ends the stream gets no more", func(t *testing.T) {
		k, s := started(t, nil)
		k.c.TakeCompressed(s)
		k.ev.onMessage = func(s *Stream, _ []byte) { k.c.Trailers(nil, s, 0, "") }
		k.feed(data(1, 0, packed(3), packed(4), grpcMsg(5)))
		k.wantEvents("compressed 1 len 3", "closed 1")
		if n := k.c.TakeLate(); n != 2 {
			t.Errorf("%d messages came late, want 2", n)
		}
	})
}

func TestOwnerMayEndTheStreamWhileMemoryGrows(t *testing.T) {
	k, _ := started(t, nil)
	ev := &refuser{recorder: k.ev}
	if err := k.c.Feed(join(data(1, 0, grpcMsg(1000)[:50]), data(1, 0, grpcMsg(1000)[50:])), ev); err != nil {
		t.Error(err)
	}
	k.wantEvents("closed 1")
	k.wantFrames("RST_STREAM 1 ENHANCE_YOUR_CALM")
}

type refuser struct{ *recorder }

func (r *refuser) Grow(s *Stream, have []byte, n int) []byte {
	r.c.Reset(s, EnhanceYourCalm)
	return nil
}
