package ws

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// roles runs a test for both; in makes frames as the peer of the role sends them.
func roles(t *testing.T, f func(t *testing.T, role Role, in func(b0 byte, payload ...byte) []byte)) {
	for _, role := range []Role{Server, Client} {
		t.Run([]string{"server", "client"}[role], func(t *testing.T) {
			f(t, role, func(b0 byte, payload ...byte) []byte { return frame(b0, role == Server, payload...) })
		})
	}
}

// What breaks RFC 6455 fails the connection with the code that says so, however it is cut.
func TestFaults(t *testing.T) {
	roles(t, func(t *testing.T, role Role, in func(b0 byte, payload ...byte) []byte) {
		wrongMask := frame(0x82, role == Client, 'x')
		m := byte(0)
		if role == Server {
			m = bitMask
		}
		for _, tc := range []struct {
			name string
			in   []byte
			code Code
			want string
		}{
			{"RSV1", in(0xc2, 'x'), ProtocolError, "reserved bit"},
			{"RSV2", in(0xa2), ProtocolError, "reserved bit"},
			{"RSV3 of a ping", in(0x99), ProtocolError, "reserved bit"},
			{"opcode 3", in(0x83), ProtocolError, "reserved opcode"},
			{"opcode 7 in a fragment", in(0x07), ProtocolError, "reserved opcode"},
			{"opcode 11", in(0x8b), ProtocolError, "reserved opcode"},
			{"opcode 15", in(0x8f), ProtocolError, "reserved opcode"},
			{"mask", wrongMask, ProtocolError, "masked"},
			{"ping in fragments", in(0x09), ProtocolError, "in fragments"},
			{"ping of 126 bytes", in(0x89, make([]byte, 126)...), ProtocolError, "more than 125"},
			{"close of 126 bytes", in(0x88, make([]byte, 126)...), ProtocolError, "more than 125"},
			{"continuation of nothing", in(0x80, 'x'), ProtocolError, "no message"},
			{"continuation after a message", join(in(0x82, 'x'), in(0x80)), ProtocolError, "no message"},
			{"message in a message", join(in(0x02, 'x'), in(0x82, 'y')), ProtocolError, "last fragment"},
			{"16 bits for 125", []byte{0x82, m | 126, 0, 125, 0, 0, 0, 0}, ProtocolError, "fewest bytes"},
			{"64 bits for 65535", []byte{0x82, m | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, ProtocolError, "fewest bytes"},
			{"2^63", []byte{0x82, m | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ProtocolError, "above 2^63"},
			{"2^63-1", []byte{0x82, m | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0}, TooBig, "more than 300 bytes"},
			{"too big in one", in(0x82, make([]byte, 301)...), TooBig, "more than 300 bytes"},
			{"too big in fragments", join(in(0x02, make([]byte, 200)...), in(0x00, make([]byte, 101)...)), TooBig, "more than 300 bytes"},
			{"text", in(0x81, 'x'), UnsupportedData, "text message"},
			{"text in fragments", in(0x01), UnsupportedData, "text message"},
			{"close of one byte", in(0x88, 3), ProtocolError, "one byte"},
			{"close 999", in(0x88, 3, 231), ProtocolError, "999"},
			{"close 1005", in(0x88, 3, 237), ProtocolError, "1005"},
			{"close 2999", in(0x88, 11, 183), ProtocolError, "2999"},
			{"close with a bad reason", in(0x88, 3, 232, 0xff), InvalidPayload, "not UTF-8"},
		} {
			for _, cut := range []int{len(tc.in), 1} {
				k := opened(t, role, &Settings{MaxMessage: 300})
				k.feedCut(tc.in, cut)
				e, ok := k.err.(*ConnError)
				if !ok || e.Code != tc.code || !strings.Contains(e.Reason, tc.want) {
					t.Errorf("%s, cut %d: %v, want %s %q", tc.name, cut, k.err, tc.code, tc.want)
					continue
				}
				if got, want := k.said(), fmt.Sprintf("8 %d %s", e.Code, e.Reason); got != want {
					t.Errorf("%s, cut %d: said %s, want %s", tc.name, cut, got, want)
				}
				if k.feed(in(0x82, 'x')); k.err != error(e) || k.c.Open() || k.c.UnfinishedBytes() != 0 {
					t.Errorf("%s, cut %d: it lives on: %v", tc.name, cut, k.err)
				}
			}
		}
	})
}

// A fault of a length is told before the payload comes.
func TestTooBigIsToldByTheHeader(t *testing.T) {
	k := opened(t, Server, &Settings{MaxMessage: 100})
	k.feed(frame(0x82, true, make([]byte, 101)...)[:6])
	if e, ok := k.err.(*ConnError); !ok || e.Code != TooBig {
		t.Error(k.err)
	}
}

func TestFirstMessage(t *testing.T) {
	k := opened(t, Server, &Settings{MaxMessage: 100, FirstMessage: 10})
	k.feed(frame(0x82, true, make([]byte, 10)...))
	k.c.SetMaxMessage(1000) // at most MaxMessage
	k.feed(frame(0x82, true, make([]byte, 100)...))
	if k.err != nil {
		t.Fatal(k.err)
	}
	k.feed(frame(0x02, true, make([]byte, 50)...))
	k.c.SetMaxMessage(20) // below what has come
	if k.feed(frame(0x80, true, 'x')); k.err == nil {
		t.Error("no bound")
	}
	k = opened(t, Server, &Settings{MaxMessage: 100, FirstMessage: 10})
	if k.feed(frame(0x82, true, make([]byte, 11)...)); k.err == nil {
		t.Error("no bound for the first message")
	}
}

// Messages come out as they went in, whatever their length and wherever they are cut, in fragments and with control
// frames between these.
func TestMessages(t *testing.T) {
	roles(t, func(t *testing.T, role Role, in func(b0 byte, payload ...byte) []byte) {
		rnd := rand.New(rand.NewPCG(1, 2))
		for _, n := range []int{0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 125, 126, 127, 1000, 65535, 65536, 70000} {
			msg := make([]byte, n)
			for i := range msg {
				msg[i] = byte(rnd.Uint32())
			}
			third := n / 3
			for _, b := range [][]byte{
				in(0x82, msg...),
				join(in(0x02, msg...), in(0x80)),
				join(in(0x02), in(0x80, msg...)),
				join(in(0x02, msg[:third]...), in(0x89, 'p'), in(0x00, msg[third:2*third]...), in(0x8a), in(0x80, msg[2*third:]...)),
			} {
				for _, cut := range []int{len(b), 1, 3, 1000} {
					if cut < 10 && n > 2000 {
						cut *= 997
					}
					k := opened(t, role, nil)
					times := 0
					k.ev.onMessage = func(kind Kind, got []byte) {
						if times++; kind != Binary || !bytes.Equal(got, msg) {
							t.Fatalf("%d bytes, cut %d: got %d others", n, cut, len(got))
						}
					}
					if k.feedCut(b, cut); k.err != nil || times != 1 {
						t.Fatalf("%d bytes, cut %d: %v, %d messages", n, cut, k.err, times)
					}
					if what, _ := k.c.Unfinished(); what != UnfinishedNone || k.c.UnfinishedBytes() != 0 {
						t.Fatalf("%d bytes, cut %d: something is left", n, cut)
					}
				}
			}
		}
	})
}

// Only what spans reads or frames is gathered, in memory that follows what has come.
func TestMemoryFollowsWhatHasArrived(t *testing.T) {
	k := opened(t, Server, nil)
	k.feed(join(frame(0x82, true, make([]byte, 100000)...), frame(0x82, true, 1), frame(0x82, true)))
	if k.ev.grown != nil {
		t.Errorf("whole messages were gathered: %v", k.ev.grown)
	}
	b := frame(0x82, true, make([]byte, 8<<20)...)
	for at := 0; at < len(b); at += 4000 {
		k.feed(b[at:min(at+4000, len(b))])
		if n := len(k.ev.grown); n > 0 && k.ev.grown[n-1] > max(firstGrow, 3*(at+4000)) {
			t.Fatalf("%d bytes for %d", k.ev.grown[n-1], at+4000)
		}
	}
	if n := len(k.ev.grown); k.err != nil || n > 15 || k.ev.grown[n-1] != 8<<20 {
		t.Errorf("%v, grown %v", k.err, k.ev.grown)
	}
	// Near the limit of a message whose end is not known, memory grows once, not with each fragment.
	k = opened(t, Server, &Settings{MaxMessage: 1 << 20})
	k.feed(frame(0x02, true, make([]byte, 600<<10)...))
	k.ev.grown = nil
	for range 1000 {
		k.feed(frame(0x00, true, make([]byte, 100)...))
	}
	if len(k.ev.grown) > 1 || k.err != nil {
		t.Errorf("%v, grown %d times", k.err, len(k.ev.grown))
	}
}

func TestNoMemory(t *testing.T) {
	k := opened(t, Server, nil)
	k.ev.noGrow = true
	k.feed(frame(0x82, true, 'x')) // needs none
	k.feed(frame(0x82, true, 'x', 'y')[:7])
	if e, ok := k.err.(*ConnError); !ok || e.Code != TryAgainLater {
		t.Error(k.err)
	}
}

func TestControl(t *testing.T) {
	roles(t, func(t *testing.T, role Role, in func(b0 byte, payload ...byte) []byte) {
		k := opened(t, role, nil)
		long := bytes.Repeat([]byte{'a'}, 125)
		k.feedCut(join(in(0x89), in(0x89, 'a'), in(0x89, long...)), 3)
		if got, want := k.said(), `a ""; a "a"; a len 125`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		k.c.Ping([]byte("q"))
		if got := k.said(); got != `9 "q"` {
			t.Error(got)
		}
		k.feed(join(in(0x8a, 'q'), in(0x8a)))
		if got := strings.Join(k.ev.lines, "; "); got != `pong "q"; pong ""` {
			t.Error(got)
		}
	})
}

// Pings that are not read are bounded, and the newest is answered (RFC 6455 section 5.5.3).
func TestPongsAreBounded(t *testing.T) {
	k := opened(t, Server, nil)
	for i := range 3000 {
		k.feed(frame(0x89, true, fmt.Appendf(nil, "%04d", i)...))
	}
	if n := len(k.c.Control()); k.err != nil || n > maxPongs+200 {
		t.Fatal(k.err, n)
	}
	got := strings.Split(k.said(), "; ")
	if got[0] != `a "0000"` || got[1] != `a "0001"` || got[len(got)-1] != `a "2999"` {
		t.Errorf("%q ... %q", got[:2], got[len(got)-1])
	}
}

// Our own Ping stays among Pongs that take each other's place.
func TestPingAmongPongs(t *testing.T) {
	k := opened(t, Server, nil)
	many := func() {
		for i := range 1000 {
			k.feed(frame(0x89, true, fmt.Appendf(nil, "%04d", i)...))
		}
	}
	many()
	k.c.Ping([]byte("ours"))
	many()
	if got := k.said(); strings.Count(got, `"ours"`) != 1 || strings.Count(got, `"0999"`) != 2 {
		t.Errorf("%d bytes, our Ping %d times, the last of each Pongs %d times", len(got), strings.Count(got, `"ours"`), strings.Count(got, `"0999"`))
	}
}

// What was sent before buys no more than a full budget.
func TestBudgetHasABound(t *testing.T) {
	k := opened(t, Server, nil)
	long := frame(0x82, true, make([]byte, 1<<20)...)
	for range 8 {
		k.feed(bytes.Clone(long))
	}
	n := 0
	for ; k.err == nil && n < 10_000; n++ {
		k.feed(frame(0x89, true))
	}
	if n > 5000 {
		t.Errorf("%d pings after 8 MiB of messages", n)
	}
}

func TestFloods(t *testing.T) {
	for _, tc := range []struct {
		flood  Flood
		first  []byte
		piece  []byte
		atMost int
	}{
		{FloodPing, nil, frame(0x89, true), 5000},
		{FloodPong, nil, frame(0x8a, true), 5000},
		{FloodFragment, frame(0x02, true), frame(0x00, true), 1500},
		{FloodFragment, frame(0x02, true), frame(0x00, true, 'x'), 40000},
		{FloodMessage, nil, frame(0x82, true), 20000},
	} {
		k := opened(t, Server, nil)
		k.feed(tc.first)
		n := 0
		for ; k.err == nil && n <= tc.atMost; n++ {
			k.feed(tc.piece)
			k.ev.lines = nil
		}
		e, ok := k.err.(*ConnError)
		if !ok || e.Code != PolicyViolation || e.Flood != tc.flood || n < tc.atMost/4 {
			t.Errorf("%s: %v after %d", tc.flood, k.err, n)
		} else if got := k.said(); got != "8 1008 "+tc.flood.String()+" flood" {
			t.Error(got)
		}
	}
}

// What honest peers do for as long as they like costs nothing, or no more than Relax gives back.
func TestHonestPeersAreNotCutOff(t *testing.T) {
	for name, piece := range map[string]func(k *talk){
		"messages": func(k *talk) { k.feed(frame(0x82, true, 'x')) },
		"fragments of 32 bytes": func(k *talk) {
			k.feed(join(frame(0x02, true, make([]byte, 32)...), frame(0x80, true, make([]byte, 32)...)))
		},
		"an empty last fragment":     func(k *talk) { k.feed(join(frame(0x02, true, make([]byte, 64)...), frame(0x80, true))) },
		"pongs that answer":          func(k *talk) { k.c.Ping(nil); k.feed(frame(0x8a, true)) },
		"pings of a keepalive":       func(k *talk) { k.feed(frame(0x89, true)); k.c.Relax(1) },
		"pings between what we send": func(k *talk) { k.c.Message(nil, 256); k.feed(frame(0x89, true)) },
	} {
		k := opened(t, Server, nil)
		for range 20000 {
			piece(k)
			k.c.ControlDone()
			k.ev.lines = nil
		}
		if k.err != nil {
			t.Errorf("%s: %v", name, k.err)
		}
	}
}

// Every output is read by a reader of the test's own: header in the fewest bytes, a client masked with a fresh key.
func TestSending(t *testing.T) {
	roles(t, func(t *testing.T, role Role, _ func(b0 byte, payload ...byte) []byte) {
		k := opened(t, role, nil)
		keys := map[uint32]bool{}
		for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
			dst, ok := k.c.Message([]byte("before"), n)
			if !ok {
				t.Fatal("not open")
			}
			at := len(dst)
			dst = append(dst, make([]byte, n)...)
			for p := dst[at:]; len(p) > 0; { // in parts
				m := min(len(p), 1+len(p)/3)
				k.c.Mask(p[:m])
				p = p[m:]
			}
			h, fault := parseHeader(dst[6:at])
			if keys[h.key] && h.masked || h.masked != (role == Client) || fault != "" || len(dst)-6 != k.c.Size(n) {
				t.Errorf("%d bytes: header %+v, size %d, want %d", n, h, len(dst)-6, k.c.Size(n))
			}
			keys[h.key] = true
			want := fmt.Sprintf("2 len %d", n)
			if n <= 40 {
				want = fmt.Sprintf("2 %q", make([]byte, n))
			}
			if got := printFrames(t, dst[6:]); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		var out []byte
		for i, part := range []string{"a", "", "b"} {
			dst, ok := k.c.Fragment(out, Text, len(part), i == 2)
			at := len(dst)
			out = append(dst, part...)
			if k.c.Mask(out[at:]); !ok {
				t.Error("not open")
			}
			if _, ok := k.c.Message(nil, 1); ok != (i == 2) {
				t.Error("a message inside another")
			}
		}
		if got := printFrames(t, out); got != `1+ "a"; 0+ ""; 0 "b"` {
			t.Error(got)
		}
		if k.c.Masks() != (role == Client) {
			t.Error("masks")
		}
	})
}

func TestClosing(t *testing.T) {
	roles(t, func(t *testing.T, role Role, in func(b0 byte, payload ...byte) []byte) {
		t.Run("the peer first", func(t *testing.T) {
			k := opened(t, role, nil)
			k.feed(join(in(0x89, 'p'), in(0x02, 'x'), in(0x88, 3, 233, 'b', 'y', 'e'), in(0x82, 'y'), in(0x89), []byte{0xff, 0xff}))
			if got := strings.Join(k.ev.lines, "; "); k.err != nil || got != `ended 1001 "bye"` {
				t.Error(k.err, got)
			}
			if !k.c.Open() || k.c.Over() || k.c.UnfinishedBytes() != 0 {
				t.Error("our side has ended, or memory is left")
			}
			dst, _ := k.c.Message(nil, 0)
			dst = k.c.Close(dst, NoCode, "")
			if got := printFrames(t, dst); got != `2 ""; a "p"; 8 1001 ` {
				t.Error(got)
			}
			if k.feed(in(0x89)); k.err != nil || !k.c.Over() || k.c.Open() || len(k.c.Control()) > 0 {
				t.Error("not over", k.err)
			}
			if dst := k.c.Close(nil, NormalClosure, ""); len(dst) > 0 {
				t.Error("closed twice")
			}
		})
		t.Run("without a code", func(t *testing.T) {
			k := opened(t, role, nil)
			k.feed(in(0x88))
			if got := strings.Join(k.ev.lines, "; "); got != `ended 1005 ""` {
				t.Error(got)
			}
			if got := printFrames(t, k.c.Close(nil, NoCode, "x")); got != `8 ""` {
				t.Error(got)
			}
		})
		t.Run("we first", func(t *testing.T) {
			k := opened(t, role, nil)
			if got := printFrames(t, k.c.Close(nil, NormalClosure, "")); got != "8 1000 " || k.c.Over() {
				t.Error(got)
			}
			if _, ok := k.c.Message(nil, 1); ok {
				t.Error("a message after Close")
			}
			if _, ok := k.c.Fragment(nil, Binary, 1, true); ok {
				t.Error("a fragment after Close")
			}
			k.c.Ping(nil)
			k.feed(join(in(0x82, 'x'), in(0x89), in(0x88, 3, 232)))
			if got := strings.Join(k.ev.lines, "; "); k.err != nil || got != `message 2 "x"; ended 1000 ""` || !k.c.Over() || len(k.c.Control()) > 0 {
				t.Error(k.err, got, k.c.Control())
			}
		})
		t.Run("a fault after ours", func(t *testing.T) {
			k := opened(t, role, nil)
			k.c.Close(nil, NormalClosure, "")
			if k.feed(in(0x83)); k.err == nil || len(k.c.Control()) > 0 {
				t.Error("a second Close", k.err)
			}
		})
	})
	for _, tc := range []struct {
		code   Code
		reason string
		want   string
	}{
		{NormalClosure, strings.Repeat("é", 100), "8 1000 " + strings.Repeat("é", 61)},
		{4000, "a\xffb", "8 4000 ab"},
		{NoStatus, "x", "8 1011 x"},
		{999, "", "8 1011 "},
		{5000, "", "8 1011 "},
	} {
		k := opened(t, Server, nil)
		if got := printFrames(t, k.c.Close(nil, tc.code, tc.reason)); got != tc.want {
			t.Errorf("%d: %s, want %s", tc.code, got, tc.want)
		}
	}
}

// The owner may end what it wants no more of in any event.
func TestEndsInsideEvents(t *testing.T) {
	two := join(frame(0x82, true, 'a'), frame(0x82, true, 'b'))
	parts := join(frame(0x02, true, 'a'), frame(0x80, true), frame(0x82, true, 'b'))
	for name, b := range map[string][]byte{"whole": two, "fragments": parts} {
		for _, cut := range []int{len(b), 1} {
			k := opened(t, Server, nil)
			k.ev.onMessage = func(Kind, []byte) { k.c.Fail(InternalError, "unusable") }
			if k.feedCut(b, cut); k.err == nil || len(k.ev.lines) != 1 || k.said() != "8 1011 unusable" {
				t.Error(name, k.err, k.ev.lines)
			}
			k = opened(t, Server, nil)
			k.ev.onMessage = func(Kind, []byte) { k.c.InputEnded() }
			if k.feedCut(b, cut); k.err != nil || len(k.ev.lines) != 1 || !k.c.Open() {
				t.Error(name, k.err, k.ev.lines)
			}
		}
	}
}

func TestUnfinished(t *testing.T) {
	want := func(c *Conn, what Unfinished, since int64) {
		t.Helper()
		if w, s := c.Unfinished(); w != what || s != since {
			t.Errorf("%d since %d, want %d since %d", w, s, what, since)
		}
	}
	var c Conn
	c.Init(Server, &Settings{Now: 3})
	c.Tick(5)
	want(&c, UnfinishedHandshake, 3)
	k := opened(t, Server, nil)
	want(&k.c, UnfinishedNone, 0)
	k.c.Tick(7)
	k.feed([]byte{0x02})
	k.c.Tick(8)
	want(&k.c, UnfinishedFrame, 7)
	k.feed(frame(0x02, true, 'a', 'b')[1:7])
	want(&k.c, UnfinishedMessage, 8)
	k.c.Tick(9)
	k.feed(frame(0x02, true, 'a', 'b')[7:])
	k.c.Tick(10)
	want(&k.c, UnfinishedMessage, 8) // its last fragment is due
	k.feed(frame(0x89, true, 'p')[:6])
	want(&k.c, UnfinishedFrame, 10)
	k.feed(frame(0x89, true, 'p')[6:])
	want(&k.c, UnfinishedMessage, 8)
	if k.c.UnfinishedBytes() == 0 {
		t.Error("no memory")
	}
	if err := k.c.InputEnded(); err != nil || k.c.UnfinishedBytes() != 0 {
		t.Error(err)
	}
	want(&k.c, UnfinishedNone, 0)
}

func TestMask(t *testing.T) {
	for n := range 200 {
		for split := 0; split <= n; split += 1 + n/7 {
			b := make([]byte, n)
			next := mask(b[split:], mask(b[:split], testKey))
			for i := range b {
				if want := byte(uint32(testKey) >> (8 * (i % 4))); b[i] != want {
					t.Fatalf("%d bytes, split at %d: byte %d is %x, want %x", n, split, i, b[i], want)
				}
			}
			if want := mask(make([]byte, n%4), testKey); next != want {
				t.Fatalf("%d bytes: key %x, want %x", n, next, want)
			}
		}
	}
}

func TestText(t *testing.T) {
	valid := []string{"", "a", "κόσμε", "\U0010ffff", "\ufeff", strings.Repeat("é€𐍈", 500), "\x00", "\uffff"}
	bad := []string{"\xff", "a\x80", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "é\xc3", "\xf0\x9f\x98", strings.Repeat("é", 300) + "\xe2\x82"}
	for _, s := range slices.Concat(valid, bad) {
		ok := slices.Contains(valid, s)
		b := []byte(s)
		for at := 0; at <= len(b); at += 1 + len(b)/9 {
			in := join(frame(0x01, true, b[:at]...), frame(0x80, true, b[at:]...))
			for _, cut := range []int{1, len(in)} {
				k := opened(t, Server, &Settings{Text: true})
				if k.feedCut(in, cut); ok != (k.err == nil) || !ok && k.err.(*ConnError).Code != InvalidPayload {
					t.Errorf("%.20q in fragments at %d, cut %d: %v", s, at, cut, k.err)
				}
			}
		}
		k := opened(t, Server, &Settings{Text: true})
		if k.feed(frame(0x81, true, b...)); ok != (k.err == nil) {
			t.Errorf("%.20q: %v", s, k.err)
		}
	}
	// What cannot become valid is told at once.
	for _, s := range []string{"\xf4\x90", "\xed\xa0", "a\xc0", "\x80"} {
		k := opened(t, Server, &Settings{Text: true})
		if k.feed(frame(0x01, true, []byte(s)...)); k.err == nil {
			t.Errorf("%q is waited for", s)
		}
	}
}

func TestCodeNames(t *testing.T) {
	for c, want := range map[Code]string{1000: "normal closure", 1009: "message too big", 1015: "TLS handshake", 4000: "code 4000", 1016: "code 1016"} {
		if c.String() != want {
			t.Error(c.String(), want)
		}
	}
}
