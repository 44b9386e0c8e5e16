package rpc_test

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// What stands in the first frame of a call stands in no other one, and nothing else does in any (P-rpc-1, P-rpc-5).
func TestFramesOfACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		l, err := net.App(serverName.String()).Listen(session.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		frames := make(chan map[string]string, 3)
		go func() {
			s, err := l.Accept(context.Background())
			for err == nil {
				var m *session.Message
				if m, err = s.Receive(context.Background()); err == nil {
					frames <- m.Metadata
				}
			}
		}()
		c := dial(t, net.App("org/ns/client"), rpc.CallOptions{Timeout: time.Hour, Session: session.SessionOptions{Plain: true}})
		b, err := rpc.CallBidi[rpc.Raw, rpc.Raw](rpc.WithMetadata(t.Context(), map[string]string{"tenant": "t1"}), c, bidi)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{b.Send(raw("one")), b.Send(raw("two")), b.CloseSend()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		first := <-frames
		id, deadline := first["rpc-id"], first["slimrpc-timeout"]
		for i, want := range []map[string]string{
			{"rpc-id": id, "slimrpc-dir": "req", "service": "acme.Echo", "method": "Bidi", "slimrpc-timeout": deadline, "tenant": "t1"},
			{"rpc-id": id, "slimrpc-dir": "req"},
			{"rpc-id": id, "slimrpc-dir": "req", "slimrpc-code": "0"},
		} {
			got := first
			if i > 0 {
				got = <-frames
			}
			if id == "" || deadline == "" || !maps.Equal(got, want) {
				t.Errorf("frame %d has %v, want %v", i, got, slices.Sorted(maps.Keys(want)))
			}
		}
		b.Close()
	})
}

// No key that frames or sessions need for themselves can be said by a call (P-rpc-2).
func TestReservedKeys(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, key := range []string{
			"service", "method", "rpc-id", "slimrpc-dir", "slimrpc-timeout", "slimrpc-code",
			"PUBLISH_TO", "DELETE_GROUP", "LEAVING_SESSION", "LEAVE_REPLY_SENT", "slim-peer-subject", "slim-payload-sig",
		} {
			_, err := call(rpc.WithMetadata(t.Context(), map[string]string{key: "x"}), w.client, unary, "a")
			wantCode(t, key, err, rpc.InvalidArgument)
			if err == nil || !strings.Contains(err.Error(), strconv.Quote(key)+" is reserved") {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
}

// Groups are encrypted where nothing else is said, so that both ends are verified, and each has a channel of its own, which nobody can guess.
func TestGroupsAreEncrypted(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, w *crowd) {
		var callers, channels []string
		for _, s := range w.servers {
			rpc.HandleUnary(s, unary, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
				i := rpc.InfoOf(ctx)
				callers, channels = append(callers, i.Caller.Subject), append(channels, i.Session.Dest().String())
				return raw("yes"), nil
			})
		}
		app := w.net.App("org/ns/other")
		for range 2 {
			g := rpc.NewGroup(app, w.names[:1], rpc.GroupOptions{})
			for r, err := range rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), g, unary, raw("")) {
				if err != nil || r.From.Subject == "" {
					t.Errorf("from %+v: %v, want a subject that is verified", r.From, err)
				}
			}
			if err := g.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if want := []string{app.Subject(), app.Subject()}; !slices.Equal(callers, want) {
			t.Errorf("callers %q, want %q", callers, want)
		}
		if len(channels) == 2 && channels[0] == channels[1] {
			t.Errorf("two groups share the channel %s", channels[0])
		}
	})
}

// A server that ends a unary call without a reply is at fault, and one that closes the session in the middle may be called again.
func TestServersThatSayNothing(t *testing.T) {
	for name, c := range map[string]struct {
		leaves bool
		want   rpc.Code
	}{"the end": {false, rpc.Internal}, "nothing, and leaves": {true, rpc.Unavailable}} {
		synctest.Test(t, func(t *testing.T) {
			net := sessiontest.New(t, sessiontest.Options{Quiet: true})
			l, err := net.App(serverName.String()).Listen(session.ListenOptions{})
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
				if !c.leaves {
					end := map[string]string{"rpc-id": m.Metadata["rpc-id"], "slimrpc-code": "0"}
					_, _ = s.Publish(context.Background(), session.Content{Metadata: end})
					return
				}
				_ = s.Close(context.Background())
			}()
			_, err = call(t.Context(), dial(t, net.App("org/ns/client"), rpc.CallOptions{}), unary, "")
			wantCode(t, name, err, c.want)
		})
	}
}
