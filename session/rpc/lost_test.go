package rpc_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// deaf has one app hear nothing that another one says as data, while both know that the other one is there.
func deaf(net *sessiontest.Net, from, to string) (heal func()) {
	r := &sessiontest.Rule{Drop: true, Match: func(m *sessiontest.Entry, receiver string) bool {
		return m.From.String() == from && receiver == to && (m.Type == "msg" || m.Type == "rtx_reply")
	}}
	net.Add(r)
	return func() { net.Remove(r) }
}

// long has calls that would hang do so for much longer than it takes to find out.
func long(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Timeout = time.Hour }

func encrypted(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Session.Plain = false }

// within fails the test if a call has taken longer.
func within(t *testing.T, what string, most time.Duration, call func()) {
	t.Helper()
	began := time.Now()
	call()
	if took := time.Since(began); took > most {
		t.Errorf("%s took %v, and may take %v", what, took, most)
	}
}

// Replies that the server gives up, as the caller hears nothing for that long, are asked for when it hears again: the server says something
// then. Handlers that were canceled meanwhile fail their calls.
func TestRepliesThatAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		for _, c := range []struct {
			m    rpc.Method
			want rpc.Code
		}{{unary, rpc.OK}, {down, rpc.OK}, {waits, rpc.Unavailable}} {
			t.Run(fmt.Sprintf("plain=%v %s", plain, c.m.Name), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					mustCall(t, w.client)
					time.AfterFunc(15*time.Second, deaf(w.net, "org/ns/server", "org/ns/client"))
					if c.m.Name == waits.Name { // something else is given up, so that the server finds out
						go func() { _, _ = call(t.Context(), w.client, unary, "lost") }()
					}
					within(t, "a call whose reply is lost", time.Minute, func() {
						if _, err := call(t.Context(), w.client, c.m, "3"); rpc.CodeOf(err) != c.want {
							t.Errorf("a call whose reply is lost: %v, want %v", err, c.want)
						}
					})
					mustCall(t, w.client)
				}, long, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Session.Plain = plain })
			})
		}
	}
}

// The same of one member of a group.
func TestRepliesOfAMemberThatAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			inCrowd(t, 3, func(t *testing.T, w *crowd) {
				wantTexts(t, "before", w.ask(t.Context(), unary, "a"), "server0: echo:a", "server1: echo:a", "server2: echo:a")
				time.AfterFunc(15*time.Second, deaf(w.net, appName(1), "org/ns/client"))
				within(t, "a call of the group", time.Minute, func() {
					wantTexts(t, "meanwhile", w.ask(t.Context(), unary, "b"), "server0: echo:b", "server1: echo:b", "server2: echo:b")
				})
				time.Sleep(30 * time.Second)
				wantTexts(t, "after", w.ask(t.Context(), unary, "c"), "server0: echo:c", "server1: echo:c", "server2: echo:c")
			}, func(o *rpc.GroupOptions) { o.Timeout, o.Session.Plain = time.Hour, plain })
		})
	}
}

// stream asks for n replies, and returns how many have come.
func stream(ctx context.Context, t *testing.T, w *world, n int) (int, error) {
	t.Helper()
	r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](ctx, w.client, down, raw(fmt.Sprint(n)))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	texts, err := collect(t, r)
	return len(texts), err
}

// A stream of which MLS refuses repeats, since too many before them were lost, goes on by new keys: it is not taken for lost (P-rpc-8).
func TestRefusedRepliesThatComeAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		time.AfterFunc(6*time.Second, deaf(w.net, "org/ns/server", "org/ns/client"))
		n, err := stream(t.Context(), t, w, 400)
		if n != 400 || err != nil {
			t.Errorf("%d replies, %v", n, err)
		}
		if !strings.Contains(w.net.Log().String(), "rejoin") {
			t.Error("nothing was refused, so that this test shows nothing")
		}
	}, encrypted, long, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Session.Retries = 30 })
}

// One whose repeats are refused for good, as the server does not follow to new keys, fails.
func TestRefusedRepliesThatDoNotComeAgain(t *testing.T) {
	t.Parallel()
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		time.AfterFunc(6*time.Second, deaf(w.net, "org/ns/server", "org/ns/client"))
		w.net.Drop("org/ns/client", "org/ns/server", "group_update", 0)
		within(t, "a call whose replies are refused", 2*time.Minute, func() {
			_, err := stream(t.Context(), t, w, 400)
			wantCode(t, "a call whose replies are refused", err, rpc.Unavailable)
		})
	}, encrypted, long)
}

// Requests that are given up fail their calls, the first ones, too, of which the server does not know that they were one.
func TestRequestsThatAreGivenUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		time.AfterFunc(15*time.Second, deaf(w.net, "org/ns/client", "org/ns/server"))
		within(t, "a call whose request is lost", time.Minute, func() {
			_, err := call(t.Context(), w.client, unary, "x")
			wantCode(t, "a call whose request is lost", err, rpc.Unavailable)
		})
		mustCall(t, w.client)
	}, long)
	inCrowd(t, 2, func(t *testing.T, w *crowd) {
		wantTexts(t, "before", w.ask(t.Context(), unary, "a"), "server0: echo:a", "server1: echo:a")
		time.AfterFunc(15*time.Second, deaf(w.net, "org/ns/client", appName(1)))
		within(t, "a call of the group", time.Minute, func() {
			wantTexts(t, "meanwhile", w.ask(t.Context(), unary, "b"), "server0: echo:b", "server1: UNAVAILABLE")
		})
	}, func(o *rpc.GroupOptions) { o.Timeout = time.Hour })
}

// mute is a server that says its replies and nothing else, as upstream's do: what it gives up it does not tell of. It answers calls of methods
// that it does not have, if it is to.
func mute(t *testing.T, app *session.App, replies int, answers bool) {
	l, err := app.Listen(session.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := range l.Sessions(context.Background()) {
			for m := range s.Messages(context.Background()) {
				id := m.Metadata["rpc-id"]
				switch m.Metadata["service"] {
				case "":
				case unary.Service:
					for range replies {
						_, _ = s.Publish(context.Background(), session.Content{Metadata: map[string]string{"rpc-id": id}})
					}
					_, _ = s.Publish(context.Background(), session.Content{Metadata: map[string]string{"rpc-id": id, "slimrpc-code": "0"}})
				default:
					if answers {
						_, _ = s.Publish(context.Background(), session.Content{Metadata: map[string]string{"rpc-id": id, "slimrpc-code": "12"}})
					}
				}
			}
		}
	}()
}

// Where messages were refused that the server gives up then, without a word, and where so many events were missed that one may have said
// so, the caller asks for a sign of life, and finds out.
func TestRefusedRepliesThatAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		for _, group := range []bool{false, true} {
			t.Run(fmt.Sprintf("answers=%v group=%v", answers, group), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					net := sessiontest.New(t, sessiontest.Options{Quiet: true})
					mute(t, net.App("org/ns/server"), 200, answers)
					o := rpc.CallOptions{Timeout: time.Hour}
					var c interface {
						rpc.Caller
						Close(ctx context.Context) error
					} = rpc.NewClient(net.App("org/ns/client"), serverName, o)
					if group {
						c = rpc.NewGroup(net.App("org/ns/group"), []session.Name{serverName}, rpc.GroupOptions{CallOptions: o})
					}
					time.AfterFunc(9500*time.Millisecond, deaf(net, "org/ns/server", "org/ns/client"))
					within(t, "a call", 2*time.Minute, func() {
						n, failed := 0, error(nil)
						for _, err := range rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), c, down, raw("")) {
							if failed = err; err == nil {
								n++
							}
						}
						switch {
						case answers || group: // of which heartbeats say where the stream is
							if n != 200 || failed != nil {
								t.Errorf("%d replies of 200, %v", n, failed)
							}
						default:
							wantCode(t, "a server that says nothing any more", failed, rpc.Unavailable)
						}
					})
					if err := c.Close(t.Context()); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
