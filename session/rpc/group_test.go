package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// crowd is a group of servers and its caller.
type crowd struct {
	net     *sessiontest.Net
	names   []session.Name
	servers []*rpc.Server
	group   *rpc.Group
}

func appName(i int) string { return fmt.Sprint("org/ns/server", i) }

func inCrowd(t *testing.T, n int, test func(t *testing.T, w *crowd), change ...func(o *rpc.GroupOptions)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := rpc.GroupOptions{CallOptions: rpc.CallOptions{Session: session.SessionOptions{Plain: true}}}
		for _, f := range change {
			f(&o)
		}
		w := &crowd{net: sessiontest.New(t, sessiontest.Options{Quiet: true})}
		for i := range n {
			w.start(t, i)
			w.names = append(w.names, session.MustName(appName(i)))
		}
		w.group = rpc.NewGroup(w.net.App("org/ns/client"), w.names, o)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := w.group.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		test(t, w)
	})
}

func (w *crowd) start(t *testing.T, i int) {
	t.Helper()
	w.servers = append(w.servers, serve(t, w.net.App(appName(i)), rpc.ServerOptions{}, nil))
}

// ask returns what members reply, and how they fail, each after its name, in order.
func (w *crowd) ask(ctx context.Context, m rpc.Method, req string) (texts []string) {
	for r, err := range rpc.Ask[rpc.Raw, rpc.Raw](ctx, w.group, m, raw(req)) {
		name, text := r.From.Name.String(), rpc.CodeOf(err).String()
		if err == nil {
			text = string(*r.Message)
		}
		texts = append(texts, strings.TrimPrefix(name, "org/ns/")+": "+text)
	}
	slices.Sort(texts)
	return texts
}

func wantTexts(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestGroupOfThree(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		inCrowd(t, 3, func(t *testing.T, w *crowd) {
			ctx := t.Context()
			wantTexts(t, "unary", w.ask(ctx, unary, "hi"), "server0: echo:hi", "server1: echo:hi", "server2: echo:hi")
			wantTexts(t, "empty", w.ask(ctx, empty, ""), "server0: ", "server1: ", "server2: ")
			wantTexts(t, "errors", w.ask(ctx, fails, "5"), "server0: NOT_FOUND", "server1: NOT_FOUND", "server2: NOT_FOUND")
			if got := w.ask(ctx, down, "50"); len(got) != 150 {
				t.Errorf("server streams: %d replies, want 150", len(got))
			}
			c, err := rpc.Converse[rpc.Raw, rpc.Raw](ctx, w.group, bidi)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range 3 {
				if err := c.Send(raw(fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
				n := 0
				for r, err := range c.Replies() {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(*r.Message))
					if n++; n == 3 {
						break
					}
				}
			}
			if err := c.CloseSend(); err != nil {
				t.Error(err)
			}
			for r, err := range c.Replies() {
				t.Errorf("after the end: %v, %v", r, err)
			}
			wantTexts(t, "bidi", got, "echo:0", "echo:0", "echo:0", "echo:1", "echo:1", "echo:1", "echo:2", "echo:2", "echo:2")
		}, func(o *rpc.GroupOptions) { o.Session.Plain = plain })
	}
}

// One who fails, is not there, does not answer, or is killed in the middle holds up nobody else (P-rpc-9).
func TestMembersOfAGroupThatDoNotAnswer(t *testing.T) {
	inCrowd(t, 3, func(t *testing.T, w *crowd) {
		rpc.HandleUnary(w.servers[1], unary, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return nil, rpc.NewError(rpc.Aborted, "not now") })
		rpc.HandleUnary(w.servers[2], unary, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		w.group.Add(session.MustName("org/ns/nobody"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		wantTexts(t, "all kinds", w.ask(ctx, unary, "hi"),
			"nobody: UNAVAILABLE", "server0: echo:hi", "server1: ABORTED", "server2: DEADLINE_EXCEEDED")

		time.AfterFunc(time.Second, func() { w.net.Crash(appName(2)) })
		began := time.Now()
		wantTexts(t, "one is killed", w.ask(t.Context(), unary, "hi"),
			"nobody: UNAVAILABLE", "server0: echo:hi", "server1: ABORTED", "server2: UNAVAILABLE")
		if took := time.Since(began); took > 50*time.Second {
			t.Errorf("it took %v", took)
		}
		w.start(t, 2)
		time.Sleep(time.Minute)
		wantTexts(t, "it is back", w.ask(t.Context(), unary, "hi"),
			"nobody: UNAVAILABLE", "server0: echo:hi", "server1: ABORTED", "server2: echo:hi")
	}, func(o *rpc.GroupOptions) { o.Timeout = 5 * time.Minute })
}

func TestMembersComeAndGo(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, w *crowd) {
		wantTexts(t, "two", w.ask(t.Context(), unary, "a"), "server0: echo:a", "server1: echo:a")
		w.start(t, 2)
		waiting := make(chan []string)
		go func() { waiting <- w.ask(t.Context(), waits, "") }()
		time.Sleep(time.Second)
		w.group.Add(session.MustName(appName(2)))
		wantTexts(t, "three", w.ask(t.Context(), unary, "b"), "server0: echo:b", "server1: echo:b", "server2: echo:b")
		if err := w.group.Remove(t.Context(), w.names[0]); err != nil {
			t.Fatal(err)
		}
		wantTexts(t, "one is removed", w.ask(t.Context(), unary, "c"), "server1: echo:c", "server2: echo:c")
		got := <-waiting
		if slices.Contains(got, ": DEADLINE_EXCEEDED") { // of the call, which ends in the same moment at both ends
			wantTexts(t, "meanwhile", got, ": DEADLINE_EXCEEDED", "server0: UNAVAILABLE")
			return
		}
		wantTexts(t, "meanwhile", got, "server0: UNAVAILABLE", "server1: DEADLINE_EXCEEDED")
	})
}

func TestFirstAndQuorum(t *testing.T) {
	inCrowd(t, 3, func(t *testing.T, w *crowd) {
		for _, s := range w.servers[1:] {
			rpc.HandleUnary(s, unary, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
				time.Sleep(10 * time.Second)
				return raw("slow"), nil
			})
		}
		ask := func() func(func(rpc.Reply[rpc.Raw], error) bool) {
			return rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), w.group, unary, raw("x"))
		}
		if r, err := rpc.First(ask()); err != nil || string(*r.Message) != "echo:x" || !r.From.Name.Same(w.names[0]) {
			t.Errorf("First: %v, %v", r, err)
		}
		if got, err := rpc.Quorum(ask(), 2); err != nil || len(got) != 2 || string(*got[1].Message) != "slow" {
			t.Errorf("Quorum of two: %v, %v", got, err)
		}
		got, err := rpc.Quorum(rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), w.group, down, raw("5")), 3)
		if err != nil || len(got) != 3 || got[0].From == got[1].From || got[1].From == got[2].From || got[0].From == got[2].From {
			t.Errorf("Quorum of three of whom each says five things: %v, %v", got, err)
		}
		w.net.Crash(appName(2))
		got, err = rpc.Quorum(ask(), 3)
		var failed *rpc.Failures
		if len(got) != 2 || !errors.As(err, &failed) || failed.Got != 2 || !errors.Is(err, rpc.Unavailable) {
			t.Errorf("Quorum of three, of whom one is dead: %v, %v", got, err)
		}
	}, func(o *rpc.GroupOptions) { o.Timeout = 5 * time.Minute })
}

// A unary call of a group is answered by the first who replies, not by who is not there or fails.
func TestOneReplyOfAGroup(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, w *crowd) {
		w.group.Add(session.MustName("org/ns/nobody"))
		fails := func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return nil, rpc.NewError(rpc.Aborted, "not now") }
		rpc.HandleUnary(w.servers[0], unary, fails)
		if text, err := call(t.Context(), w.group, unary, "hi"); err != nil || text != "echo:hi" {
			t.Errorf("%q, %v", text, err)
		}
		rpc.HandleUnary(w.servers[1], unary, fails)
		_, err := call(t.Context(), w.group, unary, "hi")
		wantCode(t, "nobody replies", err, rpc.Unavailable)
		if err == nil || !strings.Contains(err.Error(), "did not answer an invitation within 3s") {
			t.Errorf("nobody replies: %v", err)
		}
	})
}

// A member that ends a call of one reply without any has failed: it is not left out without a word.
func TestMembersThatSayNothing(t *testing.T) {
	inCrowd(t, 3, func(t *testing.T, w *crowd) {
		mum := rpc.Method{Service: "acme.Echo", Name: "Mum"}
		w.servers[0].Handle(mum, func(_ context.Context, s rpc.ServerStream) error { return s.Send(raw("hello")) })
		for _, s := range w.servers[1:] {
			s.Handle(mum, func(context.Context, rpc.ServerStream) error { return nil })
		}
		wantTexts(t, "who says nothing", w.ask(t.Context(), mum, ""), "server0: hello", "server1: INTERNAL", "server2: INTERNAL")
		if got, err := call(t.Context(), w.group, mum, ""); got != "hello" || err != nil {
			t.Errorf("one reply: %q, %v", got, err)
		}
		mum.ServerStreams = true
		wantTexts(t, "streams without replies", w.ask(t.Context(), mum, ""), "server0: hello")
	})
}

// A member whose reply cannot be decoded has finished: nobody waits for what it goes on to say.
func TestMembersThatCannotBeRead(t *testing.T) {
	inCrowd(t, 2, func(t *testing.T, w *crowd) {
		m := rpc.Method{Service: "acme.Echo", Name: "Odd", ServerStreams: true}
		w.servers[0].Handle(m, func(ctx context.Context, s rpc.ServerStream) error {
			err := s.Send(raw("\xff"))
			<-ctx.Done()
			return err
		})
		w.servers[1].Handle(m, func(_ context.Context, s rpc.ServerStream) error { return s.Send(raw("\x0a\x02hi")) })
		var got []string
		began := time.Now()
		for r, err := range rpc.Ask[rpc.Raw, wrapperspb.StringValue](t.Context(), w.group, m, raw("")) {
			got = append(got, fmt.Sprint(r.From.Name.Any(), " ", r.Message.GetValue(), rpc.CodeOf(err)))
		}
		slices.Sort(got)
		wantTexts(t, "replies", got, "org/ns/server0 INTERNAL", "org/ns/server1 hiOK")
		if took := time.Since(began); took > rpc.DefaultTimeout/2 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestGroupWithoutAnyone(t *testing.T) {
	inCrowd(t, 0, func(t *testing.T, w *crowd) {
		wantTexts(t, "no members", w.ask(t.Context(), unary, ""), ": INVALID_ARGUMENT")
		w.group.Add(session.MustName("org/ns/nobody"))
		wantTexts(t, "nobody is there", w.ask(t.Context(), unary, ""), "nobody: UNAVAILABLE")
	})
}

// Members that are not there hold calls up less and less, however many they are, and none is made impossible by them.
func TestManyAbsentMembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true})
		var names []session.Name
		for i := range 25 {
			names = append(names, session.MustName(fmt.Sprint("org/ns/absent", i)))
		}
		names = append(names, serverName)
		serve(t, net.App("org/ns/server"), rpc.ServerOptions{}, nil)
		g := rpc.NewGroup(net.App("org/ns/client"), names, rpc.GroupOptions{})
		defer g.Close(context.Background())
		ask := func() (took time.Duration, err error) {
			began := time.Now()
			_, err = rpc.First(rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), g, unary, raw("x")))
			return time.Since(began), err
		}
		for n := range 4 {
			if took, err := ask(); took > 34*time.Second { // half of a minute, and one invitation that was begun in it
				t.Errorf("call %d took %v: %v", n, took, err)
			}
		}
		for n := range 20 {
			time.Sleep(time.Second)
			if took, err := ask(); err != nil || took > 4*time.Second {
				t.Errorf("call %d took %v: %v; want an answer after one invitation", n, took, err)
			}
		}
		late := serve(t, net.App("org/ns/absent3"), rpc.ServerOptions{}, nil)
		defer late.Stop()
		came := func() bool {
			for r, err := range rpc.Ask[rpc.Raw, rpc.Raw](t.Context(), g, unary, raw("x")) {
				if err == nil && r.From.Name.Any() == names[3] {
					return true
				}
			}
			return false
		}
		began := time.Now()
		for !came() {
			if time.Since(began) > 15*time.Minute {
				t.Fatal("a member that is there at last has not come")
			}
			time.Sleep(time.Second)
		}
	})
}
