package rpc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

func publish(t *testing.T, s *session.Session, f frame) {
	t.Helper()
	if _, err := s.Publish(t.Context(), session.Content{Data: []byte(f.text), Metadata: f.md}); err != nil {
		t.Fatal(err)
	}
}

// wantAnswers sends frames to a server, and wants these answers in any order, each so many times.
func wantAnswers(t *testing.T, w *world, frames []frame, want map[string]int) {
	t.Helper()
	s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		publish(t, s, f)
	}
	got := map[string]int{}
	for _, text := range answers(t, s) {
		got[text]++
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	mustCall(t, w.client)
}

const tooMuch = "8 more than 100000 bytes of requests wait for handlers: send less at a time, or raise ServerOptions.Buffer"

func bounded(so *rpc.ServerOptions, _ *rpc.CallOptions) {
	so.Buffer, so.SessionBuffer = 100_000, 200_000
}

// What waits for a handler is counted with its metadata, which is kept, too (P-rpc-10).
func TestWaitingMetadataIsBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		more := of("x", "note", strings.Repeat("n", 10_000))
		wantAnswers(t, w, append([]frame{first("Wait", "")}, slices.Repeat([]frame{more}, 10)...), map[string]int{tooMuch: 1})
	}, bounded)
}

// Calls of one session that keep little each may not keep much together (P-rpc-10).
func TestSessionsKeepIsBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame func(id string) []frame
		least int // of ten calls, that fail
	}{
		{"requests", func(id string) []frame {
			return []frame{first("Wait", "", "rpc-id", id), of(strings.Repeat("d", 50_000), "rpc-id", id)}
		}, 7},
		{"metadata of calls", func(id string) []frame {
			return []frame{first("Wait", "", "rpc-id", id, "note", strings.Repeat("n", 45_000))}
		}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
				if err != nil {
					t.Fatal(err)
				}
				for i := range 10 {
					for _, f := range c.frame(fmt.Sprint("id", i)) {
						publish(t, s, f)
					}
				}
				failed := answers(t, s)
				for _, text := range failed {
					if !strings.HasPrefix(text, "8 ") || !strings.Contains(text, "200000") {
						t.Errorf("answer %q, want code 8 and the bound", text)
					}
				}
				if n := len(failed); n < c.least || n == 10 {
					t.Errorf("%d of 10 calls have failed, want %d at least, and not all", n, c.least)
				}
				mustCall(t, w.client)
			}, bounded)
		})
	}
}

// Whatever is kept is free when the calls are over: a session goes on as if there had been none.
func TestSessionsKeepIsFreed(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			id := fmt.Sprint("id", i)
			for _, f := range []frame{
				first("Wait", "", "rpc-id", id, "note", strings.Repeat("n", 20_000)), of(strings.Repeat("d", 50_000), "rpc-id", id),
				of("enough", "rpc-id", id, "slimrpc-code", "1"),
			} {
				publish(t, s, f)
			}
			if got := answers(t, s); len(got) > 0 {
				t.Fatalf("call %d that its caller has given up: %q, want nothing", i, got)
			}
		}
		id := "the last"
		for _, f := range []frame{first("Up", strings.Repeat("d", 90_000), "rpc-id", id), of("", "rpc-id", id, "slimrpc-code", "0")} {
			publish(t, s, f)
		}
		if got := answers(t, s); len(got) != 2 {
			t.Errorf("%d frames of an answer after calls that were given up, want 2", len(got))
		}
	}, bounded)
}

// Servers remember ids of calls, and take none that is long (P-rpc-1).
func TestLongIDs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		wantAnswers(t, w, []frame{
			first("Other", "", "rpc-id", strings.Repeat("i", 129)),
			first("Other", "", "rpc-id", strings.Repeat("i", 128)),
		}, map[string]int{"12 Method not found: acme.Echo/Other": 1})
	})
}

// A call that the server refuses for want of room among calls keeps nothing.
func TestRefusedCallsKeepNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, first("Wait", "", "rpc-id", "served"))
		for i := range 20 {
			publish(t, s, first("Wait", "", "rpc-id", fmt.Sprint("refused", i), "note", strings.Repeat("n", 20_000)))
		}
		got := answers(t, s)
		for _, text := range got {
			if text != "8 the server serves 1 calls, and no more at a time" {
				t.Errorf("answer %q", text)
			}
		}
		if len(got) != 20 {
			t.Errorf("%d answers, want 20", len(got))
		}
	}, bounded, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.Calls = 1 })
}
