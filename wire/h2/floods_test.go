package h2

import (
	"math"
	"strings"
	"testing"
)

func TestFloods(t *testing.T) {
	reset := func(id uint32) []byte { return join(request(id, 0), frame(frameRSTStream, 0, id, u32(8))) }
	for _, tc := range []struct {
		flood   Flood
		atLeast int // so many pass
		atMost  int
		piece   func(i int) []byte
	}{
		{FloodPing, 4000, 4100, func(int) []byte { return frame(framePing, 0, 0, make([]byte, 8)) }},
		{FloodSettings, 4000, 4100, func(int) []byte { return frame(frameSettings, 0, 0) }},
		{FloodPriority, 4000, 4100, func(int) []byte { return frame(framePriority, 0, 99, make([]byte, 5)) }},
		{FloodUnknown, 4000, 4100, func(int) []byte { return frame(0x77, 0, 0, make([]byte, 50)) }},
		{FloodReset, 300, 400, func(i int) []byte { return reset(uint32(2*i + 3)) }},
		{FloodRequest, 1000, 1100, func(i int) []byte { return request(uint32(2*i+3), 0) }},
		{FloodEmpty, 1000, 1100, func(int) []byte { return data(1, 0) }},
		{FloodEmpty, 1000, 1100, func(int) []byte { return data(1, flagPadded, []byte{4}, make([]byte, 4)) }},
		{FloodWindow, 30000, 33000, func(int) []byte { return frame(frameWindowUpdate, 0, 1, u32(1)) }},
		{FloodFault, 300, 600, func(i int) []byte { return request(uint32(2*i+3), 0, "connection: x") }},
	} {
		t.Run(tc.flood.String(), func(t *testing.T) {
			k, _ := started(t, nil)
			n := 0
			for ; k.err == nil && n < 2*tc.atMost; n++ {
				k.feed(tc.piece(n))
				k.c.ControlDone()
			}
			ce := k.wantError(EnhanceYourCalm)
			if n < tc.atLeast || n > tc.atMost {
				t.Errorf("%d passed, want %d to %d", n, tc.atLeast, tc.atMost)
			}
			reason := tc.flood.String() + " flood"
			if tc.flood == FloodPing {
				reason = "too_many_pings" // gRPC's proposal A8
			}
			if ce.Flood != tc.flood || ce.Reason != reason {
				t.Errorf("named %s, %q", ce.Flood, ce.Reason)
			}
		})
	}
}

// SETTINGS that change the initial window cost as much as there are streams, whose windows all move.
func TestSettingsPayForTheStreamsTheyMove(t *testing.T) {
	passed := func(streams int) (n int) {
		k := newTalk(t, Server, nil)
		for i := range streams {
			k.feed(request(uint32(2*i+1), 0))
		}
		k.c.Relax(fullBudget)
		for ; k.err == nil && n < 10_000; n++ {
			k.feed(frame(frameSettings, 0, 0, setting(4, uint32(1000+n%2))))
			k.frames()
		}
		return n
	}
	if one, many := passed(1), passed(200); many > one/8 {
		t.Errorf("%d pass with one stream, %d with 200", one, many)
	}
}

// A proxy whose own side breaks resets at once all streams that it may have open, and has done no wrong.
func TestAllStreamsMayBeResetAtOnce(t *testing.T) {
	for _, streams := range []uint32{256, 341, 500, 5000} {
		k := newTalk(t, Server, &Settings{MaxStreams: streams})
		all := func(first uint32) {
			for i := range streams {
				k.feed(request(first+2*i, 0))
				k.c.ControlDone()
			}
			for i := range streams {
				k.feed(frame(frameRSTStream, 0, first+2*i, u32(uint32(Cancel))))
				k.c.ControlDone()
			}
		}
		all(1)
		if k.err != nil {
			t.Fatalf("%d streams: %v", streams, k.err)
		}
		for n := uint32(1); k.err == nil && n < 20; n++ {
			all(1 + 2*n*streams)
		}
		if ce := k.wantError(EnhanceYourCalm); ce.Flood != FloodReset && ce.Flood != FloodRequest {
			t.Errorf("%d streams, again and again: named %s", streams, ce.Flood)
		}
	}
}

func TestRefusedStreamsAreAFlood(t *testing.T) {
	k := newTalk(t, Server, &Settings{MaxStreams: 1})
	for i := range 500 {
		k.feed(request(uint32(2*i+1), 0))
		k.c.ControlDone()
	}
	if ce := k.wantError(EnhanceYourCalm); ce.Flood != FloodRefused {
		t.Errorf("named %s", ce.Flood)
	}
}

// A section above the limit is decoded to its end all the same, and a byte of it may stand for a field of 4 KiB: there
// are few of them before anyone knows who sends them.
func TestSectionsAboveTheLimitAreAFlood(t *testing.T) {
	var enc fieldEncoder
	large := enc.block(":method: POST", ":scheme: http", ":path: /")
	large = append(appendText(append(large, 0x40), strings.Repeat("n", 4000)), 0) // entry 62
	for len(large) < 60_000 {
		large = append(appendInt(large, 0x00, 4, 62), 0) // its name with no value
	}
	block := func(id uint32, b []byte) []byte {
		out := frame(frameHeaders, flagEndStream, id, b[:minMaxFrame])
		for b = b[minMaxFrame:]; len(b) > minMaxFrame; b = b[minMaxFrame:] {
			out = append(out, frame(frameContinuation, 0, id, b[:minMaxFrame])...)
		}
		return append(out, frame(frameContinuation, flagEndHeaders, id, b)...)
	}
	k := newTalk(t, Server, nil)
	n := 0
	for ; k.err == nil && n < 100; n++ {
		k.feed(block(uint32(2*n+1), large))
		k.c.ControlDone()
	}
	if ce := k.wantError(EnhanceYourCalm); ce.Flood != FloodHeaders || n > 5 {
		t.Errorf("%d passed, then %s", n, ce.Reason)
	}
}

// A client may open all its streams at once, with fields that are large but not too large.
func TestLargeRequestsAtOnceAreNoFlood(t *testing.T) {
	k := newTalk(t, Server, nil)
	for i := range 100 {
		k.feed(request(uint32(2*i+1), 0, "authorization: Bearer "+strings.Repeat("v", 8000)))
		k.c.ControlDone()
	}
	if k.err != nil {
		t.Error(k.err)
	}
}

func TestEmptyContinuationsAreAFlood(t *testing.T) {
	k := newTalk(t, Server, nil)
	k.feed(frame(frameHeaders, 0, 1))
	for range 1100 {
		k.feed(frame(frameContinuation, 0, 1))
	}
	if ce := k.wantError(EnhanceYourCalm); ce.Flood != FloodEmpty {
		t.Errorf("named %s", ce.Flood)
	}
}

func TestTrafficPaysForControlFrames(t *testing.T) {
	k, s := started(t, nil)
	for range 20_000 { // a PING, as of grpc-go's bandwidth estimator, with each message
		k.feed(join(frame(framePing, 0, 0, make([]byte, 8)), data(1, 0, grpcMsg(300))))
		k.c.ControlDone()
	}
	if k.err != nil {
		t.Fatal(k.err)
	}
	for range 20_000 { // a subscriber that returns credit twice for each message of 100 bytes
		if _, n := k.c.Data(nil, s, 105); n != 105 {
			t.Fatal("window closed")
		}
		k.c.Cut()
		k.feed(join(frame(frameWindowUpdate, 0, 1, u32(105)), frame(frameWindowUpdate, 0, 0, u32(105))))
	}
	if k.err != nil {
		t.Fatal(k.err)
	}
}

func TestRelaxRefillsTheBudget(t *testing.T) {
	k := newTalk(t, Server, nil)
	for range 100000 { // one PING per tick
		k.feed(frame(framePing, 0, 0, make([]byte, 8)))
		k.c.ControlDone()
		k.c.Relax(1)
	}
	if k.err != nil {
		t.Fatal(k.err)
	}
	k.c.Relax(math.MaxInt)
	if k.c.budget != fullBudget {
		t.Errorf("budget %d, want it capped at %d", k.c.budget, fullBudget)
	}
}

func TestUnreadAnswersEndTheConnection(t *testing.T) {
	k, _ := started(t, nil)
	for k.err == nil { // the peer pays with messages, yet never reads its answers
		k.feed(join(frame(framePing, 0, 0, make([]byte, 8)), data(1, 0, grpcMsg(300))))
		if n := len(k.c.Control()); n > maxControl+100 {
			t.Fatalf("control of %d bytes", n)
		}
	}
	if ce := k.wantError(EnhanceYourCalm); ce.Flood != FloodControl {
		t.Errorf("named %s", ce.Flood)
	}
	if n := len(k.c.Control()); n > 100 {
		t.Errorf("%d bytes of answers left for a peer that does not read", n)
	}
}
