package rpc_test

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// frame is a message as somebody may send it: metadata and a payload.
type frame struct {
	md   map[string]string
	text string
}

// of is a frame of the caller of a call.
func of(text string, pairs ...string) frame {
	md := map[string]string{"rpc-id": "1", "slimrpc-dir": "req"}
	for i := 0; i < len(pairs); i += 2 {
		md[pairs[i]] = pairs[i+1]
		if pairs[i+1] == "-" {
			delete(md, pairs[i])
		}
	}
	return frame{md, text}
}

// first is the first frame of a call of a method.
func first(method, text string, pairs ...string) frame {
	return of(text, append([]string{"service", "acme.Echo", "method", method}, pairs...)...)
}

func (f frame) with(pairs ...string) frame {
	md := maps.Clone(f.md)
	for i := 0; i < len(pairs); i += 2 {
		md[pairs[i]] = pairs[i+1]
	}
	return frame{md, f.text}
}

// answers are the frames that come back within a while, as texts: the code, if there is one, and the payload.
func answers(t *testing.T, s *session.Session) (texts []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Error(err)
			}
			return texts
		}
		for key := range m.Metadata {
			if key != "rpc-id" && key != "slimrpc-code" {
				t.Errorf("a frame of the server has %q in its metadata", key)
			}
		}
		texts = append(texts, strings.TrimSpace(m.Metadata["slimrpc-code"]+" "+string(m.Data)))
	}
}

// What servers are sent that is wrong has the right status, or none, and they live on (P-rpc-4, P-rpc-5, P-rpc-6).
func TestBadFramesOfCallers(t *testing.T) {
	t.Parallel()
	past := fmt.Sprint(time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC).Unix())
	end := of("", "slimrpc-code", "0")
	for _, c := range []struct {
		name   string
		frames []frame
		want   []string
	}{
		{"a unary call", []frame{first("Unary", "a"), end}, []string{"echo:a", "0"}},
		{"an unknown service", []frame{first("Unary", "a", "service", "acme.Other")}, []string{"12 Method not found: acme.Other/Unary"}},
		{"an unknown method", []frame{first("Other", "a")}, []string{"12 Method not found: acme.Echo/Other"}},
		{"a service with a dot", []frame{first("Unary", "a", "service", ".acme.Echo")}, []string{"echo:a", "0"}},
		{"no method", []frame{first("", "a")}, nil},
		{"no service", []frame{first("Unary", "a", "service", "-")}, nil},
		{"no id", []frame{first("Unary", "a", "rpc-id", "-")}, nil},
		{"no direction", []frame{first("Unary", "a", "slimrpc-dir", "-")}, nil},
		{"another direction", []frame{first("Unary", "a", "slimrpc-dir", "res")}, nil},
		{"nothing at all", []frame{{nil, "a"}}, nil},
		{"a first frame twice", []frame{first("Unary", "a"), first("Unary", "b"), end}, []string{"echo:a", "0"}},
		{"a first frame of a stream twice", []frame{first("Up", "a"), first("Up", "b"), end}, []string{"a,b", "0"}},
		{"the end twice", []frame{first("Up", "a"), end, end}, []string{"a", "0"}},
		{"the redundant end of Rust callers", []frame{first("Up", "a"), end, end.with("slimrpc-dir", "")}, []string{"a", "0"}},
		{"data after the end", []frame{first("Up", "a"), end, of("b")}, []string{"a", "0"}},
		{"the end of a call that there is not", []frame{end}, nil},
		{"data of a call that there is not", []frame{of("a")}, nil},
		{"an empty stream", []frame{first("Up", "", "slimrpc-code", "0")}, []string{"", "0"}},
		{"an empty stream to a unary method", []frame{first("Unary", "", "slimrpc-code", "0")}, []string{"echo:", "0"}},
		{"empty messages", []frame{first("Up", ""), of(""), end}, []string{",", "0"}},
		{"data with code 0 of old callers", []frame{first("Up", "a", "slimrpc-code", "0"), of("b", "slimrpc-code", "0"), end}, []string{"a,b", "0"}},
		{"a failure of the caller", []frame{first("Up", "a"), of("oops", "slimrpc-code", "10")}, []string{"10 oops"}},
		{"a call that is given up", []frame{first("Wait", "a"), of("", "slimrpc-code", "1"), end}, nil},
		{"code 17", []frame{first("Up", "a"), of("x", "slimrpc-code", "17")}, []string{`2 slimrpc-code "17" is no status code: x`}},
		{"code -1", []frame{first("Up", "a"), of("", "slimrpc-code", "-1")}, []string{`2 slimrpc-code "-1" is no status code:`}},
		{"a code that is no number", []frame{first("Up", "a"), of("", "slimrpc-code", "ok")}, []string{`2 slimrpc-code "ok" is no status code:`}},
		{"a failure as the first frame", []frame{first("Unary", "a", "slimrpc-code", "5")}, nil},
		{"a deadline in the past", []frame{first("Unary", "a", "slimrpc-timeout", past)}, []string{"4 the deadline was over before the call came, for 24h0m0s by the server's clock"}},
		{"a negative deadline", []frame{first("Unary", "a", "slimrpc-timeout", "-1")}, []string{"4 the deadline was over before the call came, for 262968h0m0s by the server's clock"}},
		{"a deadline that is no number", []frame{first("Unary", "a", "slimrpc-timeout", "soon")}, []string{`3 slimrpc-timeout "soon" is no time in seconds since 1970`}},
		{"a deadline that is not one", []frame{first("Unary", "a", "slimrpc-timeout", "NaN")}, []string{`3 slimrpc-timeout "NaN" is no time in seconds since 1970`}},
		{"an infinite deadline", []frame{first("Unary", "a", "slimrpc-timeout", "inf")}, []string{"echo:a", "0"}},
		{"a deadline that no number holds", []frame{first("Unary", "a", "slimrpc-timeout", "1e999")}, []string{"echo:a", "0"}},
		{"a handler that panics", []frame{first("Panic", "a")}, []string{"13 the handler has panicked"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range c.frames {
					if _, err := s.Publish(t.Context(), session.Content{Data: []byte(f.text), Metadata: f.md}); err != nil {
						t.Fatal(err)
					}
				}
				if got := answers(t, s); !slices.Equal(got, c.want) {
					t.Errorf("%q, want %q", got, c.want)
				}
				mustCall(t, w.client)
			})
		})
	}
}

// A caller that leaves in the middle of a stream has its call cancelled, and what it has taken is free again.
func TestCallerLeavesInTheMiddle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Publish(t.Context(), session.Content{Metadata: first("Wait", "").md}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_, err = call(t.Context(), w.client, unary, "")
		wantCode(t, "a call while the only place is taken", err, rpc.ResourceExhausted)
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		<-w.ended
		time.Sleep(time.Second)
		mustCall(t, w.client)
	}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.Calls = 1 })
}

// What callers are sent that is wrong fails the call, or is dropped.
func TestBadFramesOfServers(t *testing.T) {
	t.Parallel()
	reply := func(text string, pairs ...string) frame {
		return of(text, append([]string{"slimrpc-dir", "-"}, pairs...)...)
	}
	for _, c := range []struct {
		name   string
		frames []frame
		want   []string
		code   rpc.Code
	}{
		{"two replies", []frame{reply("a"), reply("b"), reply("", "slimrpc-code", "0")}, []string{"a", "b"}, rpc.OK},
		{"no reply", []frame{reply("", "slimrpc-code", "0")}, nil, rpc.OK},
		{"of old servers", []frame{reply("a", "slimrpc-code", "0"), reply("", "slimrpc-code", "0")}, []string{"a"}, rpc.OK},
		{"of other calls", []frame{reply("x", "rpc-id", "other"), reply("x", "rpc-id", "-"), reply("a"), reply("", "slimrpc-code", "0")}, []string{"a"}, rpc.OK},
		{"after the end", []frame{reply("a"), reply("", "slimrpc-code", "0"), reply("b"), reply("", "slimrpc-code", "0")}, []string{"a"}, rpc.OK},
		{"code 99", []frame{reply("a"), reply("", "slimrpc-code", "99")}, []string{"a"}, rpc.Unknown},
		{"a code that is no number", []frame{reply("", "slimrpc-code", "")}, nil, rpc.Unknown},
		{"a failure whose text is no UTF-8", []frame{reply("\xff", "slimrpc-code", "7")}, nil, rpc.PermissionDenied},
		{"what looks like a request", []frame{of("x"), reply("", "slimrpc-code", "5")}, nil, rpc.NotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				app := w.net.App("org/ns/bad")
				l, err := app.Listen(session.ListenOptions{})
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					s, err := l.Accept(context.Background())
					if err != nil {
						return
					}
					m, err := s.Receive(context.Background())
					if err != nil {
						return
					}
					for _, f := range c.frames {
						if f.md["rpc-id"] == "1" {
							f = f.with("rpc-id", m.Metadata["rpc-id"])
						}
						_, _ = s.Publish(context.Background(), session.Content{Data: []byte(f.text), Metadata: f.md})
					}
				}()
				client := rpc.NewClient(w.net.App("org/ns/caller"), app.Name().Any(), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
				r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](t.Context(), client, down, raw(""))
				if err != nil {
					t.Fatal(err)
				}
				got, err := collect(t, r)
				if !slices.Equal(got, c.want) || rpc.CodeOf(err) != c.code {
					t.Errorf("%q, %v; want %q, %v", got, err, c.want, c.code)
				}
				if err := client.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A caller that leaves in the middle of its requests, or is killed there, has not sent all: the handler is told so, and ends.
func TestCallerVanishesInTheMiddleOfAStream(t *testing.T) {
	for name, vanish := range map[string]func(t *testing.T, w *world, s *session.Session){
		"leaves":    func(t *testing.T, _ *world, s *session.Session) { _ = s.Close(t.Context()) },
		"is killed": func(_ *testing.T, w *world, _ *session.Session) { w.net.Crash("org/ns/peer") },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				ended := make(chan error, 1)
				rpc.HandleBidi(w.server, bidi, func(_ context.Context, b *rpc.BidiStream[rpc.Raw, rpc.Raw]) error {
					for {
						if _, err := b.Receive(); err != nil {
							ended <- err
							return err
						}
					}
				})
				s, err := w.net.App("org/ns/peer").Open(t.Context(), serverName, session.SessionOptions{Plain: true})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range []frame{first("Bidi", "a"), of("b")} {
					if _, err := s.Publish(t.Context(), session.Content{Data: []byte(f.text), Metadata: f.md}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				vanish(t, w, s)
				wantCode(t, "a stream whose caller has gone", <-ended, rpc.Canceled)
				time.Sleep(time.Second)
				mustCall(t, w.client)
			}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.Calls = 1 })
		})
	}
}

// A handler of any shape that panics, also after it has replied, or that ends its goroutine, is Internal, and its place is free again.
func TestHandlersOfAllShapesThatPanic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, end := range []func(){func() { panic("a secret") }, runtime.Goexit} {
			rpc.HandleServerStream(w.server, down, func(_ context.Context, _ *rpc.Raw, s *rpc.Sender[rpc.Raw]) error {
				_ = s.Send(raw("first"))
				end()
				return nil
			})
			rpc.HandleClientStream(w.server, up, func(context.Context, *rpc.Receiver[rpc.Raw]) (*rpc.Raw, error) {
				end()
				return nil, nil
			})
			rpc.HandleBidi(w.server, bidi, func(_ context.Context, s *rpc.BidiStream[rpc.Raw, rpc.Raw]) error {
				_, _ = s.Receive()
				end()
				return nil
			})
			for _, m := range []rpc.Method{panics, down, up, bidi} {
				wantCode(t, m.String(), last(t.Context(), t, w.client, m), rpc.Internal)
			}
			time.Sleep(time.Second)
			mustCall(t, w.client)
		}
	}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.Calls = 1 })
}
