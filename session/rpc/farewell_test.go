package rpc_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// recorder is a server that answers the first frame of each call by frames of its own, and remembers what it was sent.
type recorder struct {
	mu     sync.Mutex
	frames []string // guarded by mu: the code, if there is one, and the payload
}

func (r *recorder) said() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.frames)
}

// record begins to serve an app.
func record(t *testing.T, app *session.App, replies ...frame) *recorder {
	t.Helper()
	l, err := app.Listen(session.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := new(recorder)
	go func() {
		for s := range l.Sessions(context.Background()) {
			go func() {
				for m := range s.Messages(context.Background()) {
					r.mu.Lock()
					r.frames = append(r.frames, strings.TrimSpace(m.Metadata["slimrpc-code"]+" "+string(m.Data)))
					r.mu.Unlock()
					if m.Metadata["method"] == "" {
						continue
					}
					for _, f := range replies {
						f = f.with("rpc-id", m.Metadata["rpc-id"])
						_, _ = s.Publish(context.Background(), session.Content{Data: []byte(f.text), Metadata: f.md})
					}
				}
			}()
		}
	}()
	return r
}

func reply(text string, pairs ...string) frame {
	return of(text, append([]string{"slimrpc-dir", "-"}, pairs...)...)
}

// A caller that is done with a call before its server is says so, whatever the reason, and ends its requests, once (P-rpc-7).
func TestFarewells(t *testing.T) {
	t.Parallel()
	const gone = " the caller has given the call up"
	half := func(t *testing.T, c *rpc.Client) *rpc.BidiCall[rpc.Raw, rpc.Raw] {
		b, err := rpc.CallBidi[rpc.Raw, rpc.Raw](t.Context(), c, bidi)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Send(raw("half")); err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name    string
		replies []frame
		call    func(t *testing.T, c *rpc.Client)
		want    []string
	}{
		{"closed in the middle", nil, func(t *testing.T, c *rpc.Client) { half(t, c).Close() }, []string{"half", "1" + gone, "0"}},
		{"closed after its requests", nil, func(t *testing.T, c *rpc.Client) {
			b := half(t, c)
			if err := b.CloseSend(); err != nil {
				t.Error(err)
			}
			b.Close()
		}, []string{"half", "0", "1" + gone}},
		{"the client is closed, too", nil, func(t *testing.T, c *rpc.Client) {
			half(t, c).Close()
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}, []string{"half", "1" + gone, "0"}},
		{"cancelled while it receives", nil, func(t *testing.T, c *rpc.Client) {
			ctx, cancel := context.WithCancel(t.Context())
			b, err := rpc.CallBidi[rpc.Raw, rpc.Raw](ctx, c, bidi)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Send(raw("half")); err != nil {
				t.Error(err)
			}
			time.AfterFunc(time.Second, cancel)
			_, err = b.Receive()
			wantCode(t, "a call that was cancelled", err, rpc.Canceled)
			time.Sleep(time.Second)
		}, []string{"half", "1" + gone, "0"}},
		{"ended by the server", []frame{reply("", "slimrpc-code", "0")}, func(t *testing.T, c *rpc.Client) {
			b := half(t, c)
			if _, err := b.Receive(); err != io.EOF {
				t.Error(err)
			}
			b.Close()
		}, []string{"half", "0"}},
		{"more replies than wait", slices.Repeat([]frame{reply("x")}, 5), func(t *testing.T, c *rpc.Client) {
			b := half(t, c)
			time.Sleep(time.Second)
			var err error
			for err == nil {
				_, err = b.Receive()
			}
			wantCode(t, "more replies than wait", err, rpc.ResourceExhausted)
		}, []string{"half", "1" + gone, "0"}},
		{"a reply that is too long", []frame{reply("a reply that is too long")}, func(t *testing.T, c *rpc.Client) {
			b := half(t, c)
			_, err := b.Receive()
			wantCode(t, "a long reply", err, rpc.ResourceExhausted)
			if err == nil || !strings.Contains(err.Error(), "a reply of 24 bytes, and it may have 20") {
				t.Error(err)
			}
		}, []string{"half", "1" + gone, "0"}},
		{"a request that is too long", nil, func(t *testing.T, c *rpc.Client) {
			err := half(t, c).Send(raw("a request that is too long"))
			wantCode(t, "a long request", err, rpc.ResourceExhausted)
			if err == nil || !strings.Contains(err.Error(), "a request of 26 bytes, and it may have 20") {
				t.Error(err)
			}
		}, []string{"half", "1" + gone, "0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := sessiontest.New(t, sessiontest.Options{Quiet: true})
				r := record(t, net.App("org/ns/server"), c.replies...)
				c.call(t, dial(t, net.App("org/ns/client"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}, MaxMessage: 20, Buffer: 1200}))
				time.Sleep(time.Second)
				if got := r.said(); !slices.Equal(got, c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		})
	}
}

// Bounds of a server hold for what it is sent and for what handlers send.
func TestLongestMessagesOfAServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for text, want := range map[string]string{
			"a request too long": "a request of 18 bytes, and it may have 16",
			"a reply long":       "a reply of 17 bytes, and it may have 16",
			"short":              "",
		} {
			_, err := call(t.Context(), w.client, unary, text)
			if want == "" && err == nil {
				continue
			}
			if wantCode(t, text, err, rpc.ResourceExhausted); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.MaxMessage = 16 })
}

// A call is served once, also if its frames come again when it is over: handled, or refused (P-rpc-4).
func TestCallsAreServedOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		say := func(f frame) {
			t.Helper()
			if _, err := s.Publish(t.Context(), session.Content{Data: []byte(f.text), Metadata: f.md}); err != nil {
				t.Fatal(err)
			}
		}
		say(first("Unary", "a"))
		say(first("Other", "b", "rpc-id", "2"))
		if got, want := answers(t, s), []string{"12 Method not found: acme.Echo/Other", "echo:a", "0"}; !sameTexts(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		say(first("Unary", "a"))
		rpc.HandleUnary(w.server, rpc.Method{Service: "acme.Echo", Name: "Other"}, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return raw("late"), nil })
		say(first("Other", "b", "rpc-id", "2"))
		if got := answers(t, s); len(got) > 0 {
			t.Errorf("what was answered is answered anew: %q", got)
		}
		say(first("Other", "b", "rpc-id", "3"))
		if got, want := answers(t, s), []string{"late", "0"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func sameTexts(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// As many calls of a session as may be are served, and no more.
func TestCallsOfASession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 2 {
			go func() { _, _ = call(t.Context(), w.client, waits, "") }()
		}
		time.Sleep(time.Second)
		_, err := call(t.Context(), w.client, unary, "")
		wantCode(t, "a third call", err, rpc.ResourceExhausted)
		mustCall(t, dial(t, w.net.App("org/ns/another"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}}))
	}, func(so *rpc.ServerOptions, co *rpc.CallOptions) { so.SessionCalls, co.Timeout = 2, 10*time.Second })
}

// A session whose server has gone is closed when another one takes its place.
func TestSessionsOfAClientDoNotPileUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		app := w.net.App("org/ns/caller")
		c := dial(t, app, rpc.CallOptions{Session: session.SessionOptions{Plain: true}, Timeout: 10 * time.Minute})
		for range 3 {
			mustCall(t, c)
			w.net.Crash("org/ns/server")
			_, err := call(t.Context(), c, waits, "")
			wantCode(t, "a server that was killed", err, rpc.Unavailable)
			serve(t, w.net.App("org/ns/server"), rpc.ServerOptions{}, nil)
			mustCall(t, c)
			time.Sleep(10 * time.Second)
			if n := len(app.Sessions()); n != 1 {
				t.Errorf("%d sessions, want one", n)
			}
		}
	})
}

// Whoever was not there is not invited by every call, and is by the next one after Add.
func TestMembersThatWereNotThere(t *testing.T) {
	inCrowd(t, 1, func(t *testing.T, w *crowd) {
		w.group.Add(session.MustName(appName(1)))
		within(t, "the first call", 4*time.Second, func() {
			wantTexts(t, "the first", w.ask(t.Context(), unary, "a"), "server0: echo:a", "server1: UNAVAILABLE")
		})
		within(t, "the second call", time.Second, func() {
			wantTexts(t, "the second", w.ask(t.Context(), unary, "b"), "server0: echo:b", "server1: UNAVAILABLE")
		})
		w.start(t, 1)
		w.group.Add(session.MustName(appName(1)))
		wantTexts(t, "after Add", w.ask(t.Context(), unary, "c"), "server0: echo:c", "server1: echo:c")
	})
}

// Of a method with one reply a member is done by that: what more it says is dropped, and nobody waits for its end (P-rpc-9).
func TestAMemberThatSaysMoreThanItsReply(t *testing.T) {
	inCrowd(t, 1, func(t *testing.T, w *crowd) {
		record(t, w.net.App(appName(1)), reply("a"), reply("b"))
		w.group.Add(session.MustName(appName(1)))
		rpc.HandleUnary(w.servers[0], unary, func(context.Context, *rpc.Raw) (*rpc.Raw, error) {
			time.Sleep(5 * time.Second)
			return raw("slow"), nil
		})
		within(t, "the call", 15*time.Second, func() {
			wantTexts(t, "one reply each", w.ask(t.Context(), unary, ""), "server0: slow", "server1: a")
		})
	}, func(o *rpc.GroupOptions) { o.Timeout = time.Hour })
}
