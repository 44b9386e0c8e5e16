package h2

import (
	"fmt"
	"testing"
)

// credits sums the WINDOW_UPDATEs of the stream in what the engine wants written.
func (k *talk) credits(id uint32) (sum int) {
	k.t.Helper()
	prefix := fmt.Sprintf("WINDOW_UPDATE %d +", id)
	for _, l := range k.frames() {
		var n int
		if _, err := fmt.Sscanf(l, prefix+"%d", &n); err == nil {
			sum += n
		}
	}
	return sum
}

// started is a server with one open stream and everything before it read.
func started(t testing.TB, set *Settings) (*talk, *Stream) {
	t.Helper()
	k := newTalk(t, Server, set)
	k.feed(request(1, 0))
	k.frames()
	k.ev.lines = nil
	return k, k.ev.streams[1]
}

func TestSendWindows(t *testing.T) {
	k, s := started(t, nil)
	if w := s.Window(); w != startWindow {
		t.Fatalf("6.9.2 window %d at the start", w)
	}
	dst, n := sendBytes(k.c, nil, s, make([]byte, 100000))
	if n != startWindow || s.Window() != 0 {
		t.Errorf("6.9.1 sent %d, window then %d", n, s.Window())
	}
	if got := k.text.read(t, dst); len(got) != 4 || got[0] != "DATA 1 len 16384" || got[3] != "DATA 1 len 16383" {
		t.Errorf("4.2 frames %q", got)
	}
	k.c.Cut()
	k.feed(frame(frameWindowUpdate, 0, 1, u32(10)))
	if w := s.Window(); w != 0 {
		t.Errorf("window %d with an empty connection window", w)
	}
	k.feed(frame(frameWindowUpdate, 0, 0, u32(7)))
	k.wantEvents("writable 1")
	if w := s.Window(); w != 7 {
		t.Errorf("window %d, want the connection's 7", w)
	}
	k.feed(frame(frameSettings, 0, 0, setting(4, 0))) // 6.9.2: a negative window
	k.wantEvents()
	if _, n := k.c.Data(nil, s, 1); n != 0 || s.Window() != 0 || s.window != 10-startWindow {
		t.Errorf("6.9.2 sent %d, window %d, inside %d", n, s.Window(), s.window)
	}
	k.feed(frame(frameWindowUpdate, 0, 1, u32(startWindow-10)))
	if s.Window() != 0 {
		t.Error("6.9.2 credit up to zero opened the window")
	}
	k.feed(frame(frameSettings, 0, 0, setting(4, 5)))
	k.wantEvents("writable 1")
	if w := s.Window(); w != 5 {
		t.Errorf("6.9.2 window %d after SETTINGS, want 5", w)
	}
	k.wantFrames("SETTINGS ack", "SETTINGS ack")
}

// Rules: P-tr-12.
func TestDataFrames(t *testing.T) {
	k, s := started(t, nil)
	k.feed(join(request(3, 0), frame(frameSettings, 0, 0, setting(5, 1<<20)), frame(frameWindowUpdate, 0, 0, u32(1<<20)),
		frame(frameWindowUpdate, 0, 1, u32(1<<20))))
	other := k.ev.streams[3]
	k.frames()
	var out []byte
	put := func(s *Stream, n int) {
		t.Helper()
		var k2 int
		if out, k2 = sendBytes(k.c, out, s, make([]byte, n)); k2 != n {
			t.Fatalf("sent %d of %d", k2, n)
		}
	}
	want := func(want ...string) {
		t.Helper()
		if got := k.text.read(t, out); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %q, want %q", got, want)
		}
		out = out[:0]
		k.c.Cut()
	}
	put(s, 5)
	put(s, 100)
	put(s, 5)
	want("DATA 1 len 110") // coalesced
	put(s, 1)
	put(other, 2)
	put(s, 3)
	want("DATA 1 len 1", "DATA 3 len 2", "DATA 1 len 3")
	put(s, 1)
	k.c.Cut()
	put(s, 1)
	want("DATA 1 len 1", "DATA 1 len 1")
	put(s, 100000)
	want("DATA 1 len 65536", "DATA 1 len 34464") // the peer takes 1 MiB; we cut at 64 KiB
	if b, n := k.c.Data(nil, s, 0); b != nil || n != 0 {
		t.Error("an empty frame")
	}
}

func TestVectoredPayloadKeepsOneFrame(t *testing.T) {
	k, s := started(t, nil)
	head, n := k.c.Data(nil, s, 5)
	head = append(head, 0, 0, 0, 0, 9)
	head, m := k.c.Data(head, s, 9) // these nine come from elsewhere
	wire := join(head, []byte("elsewhere"))
	if got := k.text.read(t, wire); n != 5 || m != 9 || len(got) != 1 || got[0] != "DATA 1 len 14" {
		t.Errorf("got %q", got)
	}
}

func TestReceiveCredit(t *testing.T) {
	const w = 1 << 16
	feed := func(k *talk, n int) { // n bytes of DATA in whole messages of 1000
		for ; n >= 1000; n -= 1000 {
			k.feed(data(1, 0, grpcMsg(995)))
		}
	}
	t.Run("returns at once, in quarters", func(t *testing.T) {
		k, s := started(t, &Settings{InitialWindow: w})
		feed(k, 16000)
		if got := k.credits(1); got != 0 {
			t.Errorf("%d bytes before a quarter is used", got)
		}
		feed(k, 1000)
		if got := k.credits(1); got != 17000 || s.credit != w {
			t.Errorf("credit %d, want 17000", got)
		}
	})
	t.Run("what is withheld does not", func(t *testing.T) {
		k, s := started(t, &Settings{InitialWindow: w})
		k.ev.onMessage = func(s *Stream, msg []byte) { k.c.Hold(s, 5+len(msg)) }
		feed(k, 65000)
		if got := k.credits(1); got != 0 {
			t.Errorf("%d bytes while all is withheld", got)
		}
		k.c.Hold(s, -10000)
		if got := k.credits(1); got != 10000 {
			t.Errorf("%d, want the first 10000 since the peer is low", got)
		}
		k.c.Hold(s, -20000)
		k.c.Hold(s, -20000)
		k.c.Hold(s, -15000)
		if got := k.credits(1); got < 55000-w/4 {
			t.Errorf("%d of the other 55000", got)
		}
		if s.credit > w || s.credit < 3*w/4 {
			t.Errorf("peer may send %d of %d", s.credit, w)
		}
	})
	t.Run("the connection window does not wait for what is withheld", func(t *testing.T) {
		k, _ := started(t, &Settings{InitialWindow: 1 << 18, ConnWindow: w})
		k.ev.onMessage = func(s *Stream, msg []byte) { k.c.Hold(s, 5+len(msg)) }
		feed(k, 200000)
		if got := k.credits(0); got < 200000-w/4 || k.err != nil {
			t.Errorf("credit %d, error %v", got, k.err)
		}
	})
	t.Run("padding and bytes of closed streams return", func(t *testing.T) {
		k, s := started(t, &Settings{InitialWindow: w, ConnWindow: w})
		for range 100 {
			k.feed(data(1, flagPadded, []byte{250}, grpcMsg(5), make([]byte, 250)))
		}
		if got := k.credits(1); got < 26100-w/4 || s.credit > w {
			t.Errorf("credit %d of 26100 padded bytes", got)
		}
		k.c.Reset(s, Cancel)
		k.frames()
		for range 10 {
			k.feed(data(1, 0, make([]byte, 10000)))
		}
		if got := k.credits(0); got < 100000-w/4 || k.err != nil {
			t.Errorf("credit %d of 100000 bytes of a closed stream, error %v", got, k.err)
		}
	})
	t.Run("a half-closed stream gets none", func(t *testing.T) {
		k, _ := started(t, &Settings{InitialWindow: 1000})
		k.feed(data(1, flagEndStream, grpcMsg(995)))
		if got := k.credits(1); got != 0 {
			t.Errorf("credit %d after END_STREAM", got)
		}
	})
}

func TestLoanLetsAMessageLargerThanTheWindowPass(t *testing.T) {
	const w, size = 1000, 10000
	for _, held := range []int{0, 400, 995} {
		t.Run(fmt.Sprintf("held %d", held), func(t *testing.T) {
			k, s := started(t, &Settings{InitialWindow: w})
			k.ev.onMessage = func(s *Stream, msg []byte) { k.c.Hold(s, len(msg)) }
			if held > 0 {
				k.feed(data(1, 0, grpcMsg(held)))
			}
			k.frames()
			msg, room := grpcMsg(size), s.credit
			for steps := 0; len(msg) > 0; steps++ {
				n := min(room, len(msg))
				if n == 0 || steps > 1000 {
					t.Fatalf("stuck with %d bytes missing", len(msg))
				}
				k.feed(data(1, 0, msg[:n]))
				msg = msg[n:]
				room += k.credits(1) - n
				if s.credit != room || room > w {
					t.Fatalf("engine says %d, peer has %d, window %d", s.credit, room, w)
				}
			}
			if got := k.ev.lines[len(k.ev.lines)-1]; got != fmt.Sprintf("message 1 len %d", size) {
				t.Errorf("got %q", got)
			}
			k.c.Hold(s, -s.withheld)
			if room += k.credits(1); room != s.credit || room < 3*w/4 {
				t.Errorf("peer has %d of %d after all", room, w)
			}
		})
	}
	t.Run("none while a whole window is withheld", func(t *testing.T) {
		k, s := started(t, &Settings{InitialWindow: w})
		k.ev.onMessage = func(s *Stream, msg []byte) { k.c.Hold(s, w) }
		k.feed(data(1, 0, grpcMsg(900), grpcMsg(size)[:90]))
		if got := k.credits(1); got != 0 {
			t.Errorf("lent %d", got)
		}
		k.c.Hold(s, -1)
		if got := k.credits(1); got == 0 {
			t.Error("no loan once a byte is free")
		}
	})
}

// A peer may send as much as it is advanced, though more than its window is withheld.
func TestAdvance(t *testing.T) {
	const w, size = 64 << 10, 1 << 10
	k, s := started(t, &Settings{InitialWindow: w})
	k.ev.onMessage = func(s *Stream, msg []byte) { k.c.Hold(s, 4*size) } // more than it had
	for range w / size {
		k.feed(data(1, 0, grpcMsg(size-5)))
	}
	k.credits(1)
	for _, tc := range []struct {
		rule    string
		n, want int
	}{
		{"without window", 3 * size, 3 * size},
		{"again: it has as much", 3 * size, 0},
		{"more", 4 * size, size},
		{"no more than a window", 4 * w, w - 4*size},
	} {
		k.c.Advance(s, tc.n)
		if got := k.credits(1); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.rule, got, tc.want)
		}
	}
	for range 4 {
		k.feed(data(1, 0, grpcMsg(size-5)))
	}
	if got := k.credits(1); got != 0 || s.credit != w-4*size || k.c.err != nil {
		t.Errorf("%d more, %d in all, %v", got, s.credit, k.c.err)
	}
	k.c.Hold(s, -s.withheld)
	k.feed(data(1, 0, grpcMsg(size-5)))
	if s.credit > w {
		t.Errorf("a window of %d, want %d at most", s.credit, w)
	}
	k.c.Reset(s, Cancel)
	k.c.Advance(s, w)
	if got := k.credits(1); got != 0 {
		t.Errorf("%d on a stream that has ended", got)
	}
}

func TestWindowViolations(t *testing.T) {
	t.Run("6.9.1 stream", func(t *testing.T) {
		k, _ := started(t, &Settings{InitialWindow: 1000})
		k.feed(data(1, 0, make([]byte, 1001)))
		k.wantFrames("RST_STREAM 1 FLOW_CONTROL_ERROR")
		k.wantEvents(fault(FlowControlError, "DATA beyond the stream window"), "closed 1")
	})
	t.Run("6.9.1 connection", func(t *testing.T) {
		k, _ := started(t, &Settings{InitialWindow: 1 << 20, ConnWindow: startWindow})
		var b []byte
		for range 5 { // in one Feed: no credit in between
			b = append(b, data(1, 0, make([]byte, 16384))...)
		}
		k.feed(b)
		k.wantError(FlowControlError)
	})
	t.Run("6.9.1 connection, the last byte", func(t *testing.T) {
		for _, more := range []int{0, 1} {
			k, _ := started(t, &Settings{InitialWindow: 1 << 20, ConnWindow: startWindow})
			part := data(1, 0, make([]byte, 16384))
			k.feed(join(part, part, part, data(1, 0, make([]byte, startWindow-3*16384+more))))
			if more == 0 && k.err != nil {
				t.Error(k.err)
			} else if more > 0 {
				k.wantError(FlowControlError)
			}
		}
	})
	t.Run("6.9.2 a client may use 65535 until it has seen our SETTINGS", func(t *testing.T) {
		k := rawTalk(t, Server, &Settings{InitialWindow: 100})
		k.feed(join(greeting(Server), request(1, 0), data(1, 0, grpcMsg(10000)), frame(frameSettings, flagAck, 0)))
		k.ev.lines = nil
		if got := k.credits(1); got != 10005 || k.err != nil {
			t.Errorf("credit %d, error %v", got, k.err)
		}
		k.feed(data(1, 0, make([]byte, 101)))
		k.wantFrames("RST_STREAM 1 FLOW_CONTROL_ERROR")
	})
}

func TestHoldBelowZeroPanics(t *testing.T) {
	k, s := started(t, nil)
	k.c.Hold(s, 5)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	k.c.Hold(s, -6)
}
