package h2

import (
	"bytes"
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// What honest peers do for as long as they like must cost them nothing, or no more than Relax gives back.

var pingFrame = frame(framePing, 0, 0, make([]byte, 8))

func TestPingsThatAnswerOurFramesAreFree(t *testing.T) {
	t.Run("DATA", func(t *testing.T) {
		k, s := started(t, nil)
		for range 20000 { // an empty message each way, a PING of the bandwidth estimator for each
			if _, n := k.c.Data(nil, s, prefixLen); n != prefixLen {
				t.Fatal("window closed")
			}
			k.c.Cut()
			k.feed(join(pingFrame, frame(frameWindowUpdate, 0, 1, u32(prefixLen)), frame(frameWindowUpdate, 0, 0, u32(prefixLen)), data(1, 0, grpcMsg(0))))
			k.c.ControlDone()
			k.ev.lines = k.ev.lines[:0]
		}
		if k.err != nil {
			t.Fatal(k.err)
		}
	})
	t.Run("HEADERS", func(t *testing.T) {
		k := newTalk(t, Server, nil)
		k.feed(request(1, 0))
		before := k.c.budget
		k.feed(pingFrame)
		if k.c.budget != before {
			t.Errorf("a PING after our HEADERS cost %d bytes of the budget", before-k.c.budget)
		}
		k.feed(pingFrame)
		if k.c.budget == before {
			t.Error("a second PING cost nothing")
		}
	})
}

func TestPingFloodEndsHoweverMuchWasSent(t *testing.T) {
	k, s := started(t, nil)
	k.feed(join(frame(frameWindowUpdate, 0, 1, u32(1<<30)), frame(frameWindowUpdate, 0, 0, u32(1<<30))))
	for range 10 * maxAnswerable {
		k.c.Data(nil, s, prefixLen)
		k.c.Cut()
	}
	n := 0
	for ; k.err == nil && n < 2*maxAnswerable; n++ {
		k.feed(pingFrame)
		k.c.ControlDone()
	}
	if ce := k.wantError(EnhanceYourCalm); ce.Flood != FloodPing || n < 4096 {
		t.Errorf("%s after %d PINGs", ce.Flood, n)
	}
}

func TestCreditForWhatWasSentIsFree(t *testing.T) {
	k, s := started(t, nil)
	for range 100000 { // bytes that come one at a time are credited one at a time
		if _, n := k.c.Data(nil, s, 1); n != 1 {
			t.Fatal("window closed")
		}
		k.c.Cut()
		k.feed(join(frame(frameWindowUpdate, 0, 1, u32(1)), frame(frameWindowUpdate, 0, 0, u32(1))))
		k.ev.lines = k.ev.lines[:0]
	}
	if k.err != nil {
		t.Fatal(k.err)
	}
	k.feed(frame(frameSettings, 0, 0, setting(4, 1000))) // moves window and peak alike
	k.c.Data(nil, s, 1000)
	before := k.c.budget
	k.feed(frame(frameWindowUpdate, 0, 1, u32(1000)))
	if k.c.budget != before {
		t.Error("credit after a change of the initial window cost something")
	}
	k.feed(frame(frameWindowUpdate, 0, 1, u32(1)))
	if k.c.budget == before {
		t.Error("credit for nothing is free")
	}
}

func TestAnswersToOurRequestsAreFree(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(id uint32) []byte
	}{
		{"response, message, trailers", func(id uint32) []byte {
			return join(respond(id, 0, ":status: 200"), data(id, 0, grpcMsg(0)), respond(id, flagEndStream, "grpc-status: 0"))
		}},
		{"trailers-only", func(id uint32) []byte { return respond(id, flagEndStream, ":status: 200", "grpc-status: 12") }},
		{"refused", func(id uint32) []byte { return frame(frameRSTStream, 0, id, u32(uint32(RefusedStream))) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newTalk(t, Client, nil)
			for range 20000 {
				k.feed(tc.answer(openChannel(t, k.c).ID))
				k.c.ControlDone()
				k.ev.lines = k.ev.lines[:0]
			}
			if k.err != nil {
				t.Fatal(k.err)
			}
		})
	}
}

// What a peer spends that does so many of one thing in a second is less than the thousand tokens which an owner gives
// back in that time: it is never cut off.
func TestHonestPeersPassAtAnyDuration(t *testing.T) {
	refused := func(ids *uint32) []byte { // as grpc-go ends a call that was refused before it has half-closed
		*ids += 2
		return join(request(*ids, 0), data(*ids, 0, grpcMsg(20)), frame(frameRSTStream, 0, *ids, u32(0)))
	}
	for _, tc := range []struct {
		name  string
		times int // a second
		piece func(ids *uint32) []byte
	}{
		{"keepalive PING, 10 a second", 10, func(*uint32) []byte { return pingFrame }},
		{"SETTINGS that follow an estimate", 10, func(ids *uint32) []byte {
			*ids++
			return frame(frameSettings, 0, 0, setting(4, 1<<20+*ids%7), setting(5, 1<<14+*ids%5))
		}},
		{"WINDOW_UPDATE of a growing window", 100, func(*uint32) []byte { return frame(frameWindowUpdate, 0, 1, u32(1)) }},
		{"empty DATA", 200, func(*uint32) []byte { return data(1, 0) }},
		{"PRIORITY", 200, func(*uint32) []byte { return frame(framePriority, 0, 1, u32(0), []byte{7}) }},
		{"unknown frames", 200, func(*uint32) []byte { return frame(0xfa, 0, 0) }},
		{"DATA of one byte", 1000, func(*uint32) []byte { return data(1, 0, []byte{0}) }},
		{"refused calls", 100, refused},
		{"calls with a header block in many frames", 50, func(ids *uint32) []byte {
			*ids += 2
			b := fieldBlock(channelFields...)
			return join(frame(frameHeaders, flagEndStream, *ids, b[:9]), frame(frameContinuation, 0, *ids), frame(frameContinuation, flagEndHeaders, *ids, b[9:]))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, _ := started(t, nil)
			k.ev.onRequest = func(s *Stream, _ *Request) { k.c.Refuse(s, 200, 12, "") }
			ids := uint32(1)
			for range 20 {
				for range tc.times {
					k.feed(tc.piece(&ids))
					k.c.ControlDone()
				}
				if k.c.Relax(1000); k.c.budget != fullBudget {
					t.Fatalf("a second took %d tokens more than it gave", (fullBudget-k.c.budget)/tokenBytes)
				}
			}
			if k.err != nil {
				t.Fatal(k.err)
			}
		})
	}
}

// exchanges is more than any budget holds.
const exchanges = 8000

// A client of grpc-go at its defaults: its estimator of the bandwidth sends a PING for each round trip.
func TestDefaultGRPCGoClientIsNotCutOff(t *testing.T) {
	cc, err := grpc.NewClient(listenEcho(t, nil).String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})), patient)
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	st, err := cc.NewStream(ctx, bidi, channelPath)
	if err != nil {
		t.Fatal(err)
	}
	for i := range exchanges {
		out, in := []byte("ping"), []byte(nil)
		if err := st.SendMsg(&out); err != nil {
			t.Fatalf("exchange %d: %v", i, err)
		}
		if err := st.RecvMsg(&in); err != nil || !bytes.Equal(in, out) {
			t.Fatalf("exchange %d: %q, %v", i, in, err)
		}
	}
}

// A server of grpc-go at its defaults, which estimates as its client does.
func TestDefaultGRPCGoServerIsNotCutOff(t *testing.T) {
	d, err := callEcho(serveGRPC(t)(), nil, channelPath, 4, exchanges, 1)
	checkEcho(t, d, err, 4, exchanges)
}
