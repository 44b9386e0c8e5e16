package h2

import (
	"math/rand/v2"
	"testing"
)

// A stream of messages is ended from our side at a random byte, within a message or its prefix, too: what was delivered
// and what came late is all that was sent.
func TestMessagesAfterOurEndAreCounted(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 7))
	for range 300 {
		k, s := started(t, nil)
		var sent []byte
		messages := 1 + rnd.IntN(20)
		for range messages {
			sent = append(sent, grpcMsg(rnd.IntN(300))...)
		}
		end := rnd.IntN(len(sent))
		for from := 0; from < len(sent); {
			to := min(from+1+rnd.IntN(400), len(sent))
			if from < end {
				to = min(to, end)
			}
			if from == end {
				k.c.Trailers(nil, s, 0, "")
			}
			k.feed(data(1, 0, sent[from:to]))
			from = to
		}
		delivered := 0
		for _, line := range k.ev.lines {
			if line[:7] == "message" {
				delivered++
			}
		}
		if late := k.c.TakeLate(); delivered+late != messages || k.err != nil {
			t.Fatalf("%d delivered and %d late of %d messages, ended at byte %d of %d: %v", delivered, late, messages, end, len(sent), k.err)
		}
		if n := k.c.TakeLate(); n != 0 {
			t.Fatalf("%d are late again", n)
		}
		if n := k.c.UnfinishedBytes(); n != 0 {
			t.Fatalf("%d bytes are kept for messages that nobody wants", n)
		}
	}
}

// The owner ends the stream in the event of a message; more of them are in the same frame.
func TestMessagesAfterTheEndInAnEventAreCounted(t *testing.T) {
	for _, first := range [][]byte{grpcMsg(10), grpcMsg(10)[:2], grpcMsg(10)[:prefixLen], grpcMsg(10)[:9]} {
		k, s := started(t, nil)
		k.ev.onMessage = func(*Stream, []byte) { k.c.Trailers(nil, s, 0, "") }
		k.feed(data(1, 0, first))
		k.feed(data(1, 0, grpcMsg(10)[len(first)%15:], grpcMsg(20), grpcMsg(30), grpcMsg(5)[:7]))
		want := 2
		if len(first) == 15 { // the end came with the frame before
			want = 3
		}
		if n := k.c.TakeLate(); n != want {
			t.Errorf("%d bytes came before: %d late, want %d", len(first), n, want)
		}
	}
}

// What is no message any more is not counted.
func TestBrokenMessagesAreNotCountedAsLate(t *testing.T) {
	k, s := started(t, nil)
	k.c.Trailers(nil, s, 0, "")
	k.feed(data(1, 0, grpcMsg(10), []byte{9, 9, 9, 9, 9, 9}, grpcMsg(10)))
	if n := k.c.TakeLate(); n != 1 {
		t.Errorf("%d late, want 1", n)
	}
}
