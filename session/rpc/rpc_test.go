package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

var (
	serverName = session.MustName("org/ns/server")

	unary  = rpc.Method{Service: "acme.Echo", Name: "Unary"}
	empty  = rpc.Method{Service: "acme.Echo", Name: "Empty"}
	fails  = rpc.Method{Service: "acme.Echo", Name: "Fail"}
	waits  = rpc.Method{Service: "acme.Echo", Name: "Wait"}
	panics = rpc.Method{Service: "acme.Echo", Name: "Panic"}
	down   = rpc.Method{Service: "acme.Echo", Name: "Down", ServerStreams: true}
	up     = rpc.Method{Service: "acme.Echo", Name: "Up", ClientStreams: true}
	bidi   = rpc.Method{Service: "acme.Echo", Name: "Bidi", ClientStreams: true, ServerStreams: true}
)

func raw(text string) *rpc.Raw {
	r := rpc.Raw(text)
	return &r
}

// echo registers a service of all shapes. Wait is served until its context is over; ended gets why.
func echo(r rpc.Registrar, ended chan<- error) {
	rpc.HandleUnary(r, unary, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) { return raw("echo:" + string(*req)), nil })
	rpc.HandleUnary(r, empty, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return new(rpc.Raw), nil })
	rpc.HandleUnary(r, fails, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) {
		n, err := strconv.Atoi(string(*req))
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("wrapped: %w", rpc.NewError(rpc.Code(n), "no such thing"))
	})
	rpc.HandleUnary(r, waits, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
		<-ctx.Done()
		if ended != nil {
			ended <- context.Cause(ctx)
		}
		return nil, ctx.Err()
	})
	rpc.HandleUnary(r, panics, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { panic("a secret") })
	rpc.HandleServerStream(r, down, func(_ context.Context, req *rpc.Raw, s *rpc.Sender[rpc.Raw]) error {
		n, err := strconv.Atoi(string(*req))
		if err != nil {
			return rpc.Errorf(rpc.InvalidArgument, "%q is no number", *req)
		}
		for i := range n {
			if err := s.Send(raw(fmt.Sprint("item ", i))); err != nil {
				return err
			}
		}
		return nil
	})
	rpc.HandleClientStream(r, up, func(_ context.Context, in *rpc.Receiver[rpc.Raw]) (*rpc.Raw, error) {
		var all []string
		for req, err := range in.All() {
			if err != nil {
				return nil, err
			}
			all = append(all, string(*req))
		}
		return raw(strings.Join(all, ",")), nil
	})
	rpc.HandleBidi(r, bidi, func(_ context.Context, s *rpc.BidiStream[rpc.Raw, rpc.Raw]) error {
		for req, err := range s.All() {
			if err != nil {
				return err
			}
			if err := s.Send(raw("echo:" + string(*req))); err != nil {
				return err
			}
		}
		return nil
	})
}

// world is a server and a client in a network.
type world struct {
	net    *sessiontest.Net
	server *rpc.Server
	client *rpc.Client
	ended  chan error // of Wait
}

// serve begins to serve the calls of an app, until the test is over.
func serve(t *testing.T, app *session.App, o rpc.ServerOptions, ended chan<- error) *rpc.Server {
	t.Helper()
	s := rpc.NewServer(app, o)
	echo(s, ended)
	serving(t, s)
	return s
}

func serving(t *testing.T, s *rpc.Server) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background()) }()
	synctest.Wait()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func dial(t *testing.T, app *session.App, o rpc.CallOptions) *rpc.Client {
	t.Helper()
	c := rpc.NewClient(app, serverName, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// inWorld runs a test in simulated time, with plain sessions if nothing else is said.
func inWorld(t *testing.T, test func(t *testing.T, w *world), change ...func(so *rpc.ServerOptions, co *rpc.CallOptions)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		so, co := rpc.ServerOptions{}, rpc.CallOptions{Session: session.SessionOptions{Plain: true}}
		for _, f := range change {
			f(&so, &co)
		}
		w := &world{net: sessiontest.New(t, sessiontest.Options{Quiet: true}), ended: make(chan error, 100)}
		w.server = serve(t, w.net.App("org/ns/server"), so, w.ended)
		w.client = dial(t, w.net.App("org/ns/client"), co)
		test(t, w)
	})
}

func call(ctx context.Context, c rpc.Caller, m rpc.Method, req string) (string, error) {
	res, err := rpc.CallUnary[rpc.Raw, rpc.Raw](ctx, c, m, raw(req))
	if err != nil {
		return "", err
	}
	return string(*res), nil
}

func mustCall(t *testing.T, c rpc.Caller) {
	t.Helper()
	if got, err := call(t.Context(), c, unary, "hi"); err != nil || got != "echo:hi" {
		t.Fatalf("a unary call: %q, %v; want echo:hi", got, err)
	}
}

func wantCode(t *testing.T, what string, err error, want rpc.Code) {
	t.Helper()
	var e *rpc.Error
	if !errors.As(err, &e) || e.Code != want || !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func collect(t *testing.T, r *rpc.Replies[rpc.Raw]) (texts []string, err error) {
	t.Helper()
	for res, err := range r.All() {
		if err != nil {
			return texts, err
		}
		texts = append(texts, string(*res))
	}
	for range 2 {
		if _, err := r.Receive(); err != io.EOF {
			t.Errorf("Receive after the end: %v, want io.EOF for ever", err)
		}
	}
	return texts, nil
}

func series(prefix string, n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprint(prefix, i))
	}
	return texts
}

func TestShapes(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			inWorld(t, testShapes, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Session.Plain = plain })
		})
	}
}

func testShapes(t *testing.T, w *world) {
	ctx := t.Context()
	mustCall(t, w.client)
	if got, err := call(ctx, w.client, empty, ""); err != nil || got != "" {
		t.Errorf("empty messages: %q, %v", got, err)
	}
	big := strings.Repeat("x", 1<<20)
	if got, err := call(ctx, w.client, unary, big); err != nil || got != "echo:"+big {
		t.Errorf("1 MiB: %d bytes, %v", len(got), err)
	}
	for _, n := range []int{0, 1, 100} {
		r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](ctx, w.client, down, raw(strconv.Itoa(n)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := collect(t, r); err != nil || !slices.Equal(got, series("item ", n)) {
			t.Errorf("%d replies: %q, %v", n, got, err)
		}
		testUploads(t, w.client, series("", n))
	}
}

func testUploads(t *testing.T, c rpc.Caller, texts []string) {
	t.Helper()
	u, err := rpc.CallClientStream[rpc.Raw, rpc.Raw](t.Context(), c, up)
	if err != nil {
		t.Fatal(err)
	}
	b, err := rpc.CallBidi[rpc.Raw, rpc.Raw](t.Context(), c, bidi)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, text := range texts {
		if err := errors.Join(u.Send(raw(text)), b.Send(raw(text))); err != nil {
			t.Fatal(err)
		}
		want = append(want, "echo:"+text)
	}
	if res, err := u.CloseAndReceive(); err != nil || string(*res) != strings.Join(texts, ",") {
		t.Errorf("%d requests: %v, %v", len(texts), res, err)
	}
	if err := b.CloseSend(); err != nil {
		t.Error(err)
	}
	if got, err := collect(t, &b.Replies); err != nil || !slices.Equal(got, want) {
		t.Errorf("%d requests, and as many replies: %q, %v", len(texts), got, err)
	}
}

// Shapes are not sent: what a caller takes for unary may be served as any (P-rpc-4).
func TestShapesOfBothEndsDiffer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if got, err := call(t.Context(), w.client, bidi, "a"); err != nil || got != "echo:a" {
			t.Errorf("unary to bidi: %q, %v", got, err)
		}
		if got, err := call(t.Context(), w.client, up, "a"); err != nil || got != "a" {
			t.Errorf("unary to client stream: %q, %v", got, err)
		}
		b, err := rpc.CallBidi[rpc.Raw, rpc.Raw](t.Context(), w.client, unary)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Send(raw("x")), b.Send(raw("y")), b.CloseSend()); err != nil {
			t.Fatal(err)
		}
		if got, err := collect(t, &b.Replies); err != nil || !slices.Equal(got, []string{"echo:x"}) {
			t.Errorf("bidi to unary: %q, %v", got, err)
		}
	})
}

func TestErrorsOfEveryCode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for code := rpc.Canceled; code <= rpc.Unauthenticated; code++ {
			_, err := call(t.Context(), w.client, fails, strconv.Itoa(int(code)))
			wantCode(t, code.String(), err, code)
			var e *rpc.Error
			if errors.As(err, &e) && (e.Message != "no such thing" || !e.Remote || !e.From.Same(serverName)) {
				t.Errorf("%v: %+v, want the handler's message, from the server", code, e)
			}
		}
		_, err := call(t.Context(), w.client, fails, "no number")
		wantCode(t, "a plain error", err, rpc.Unknown)
		_, err = call(t.Context(), w.client, rpc.Method{Service: "acme.Echo", Name: "Nothing"}, "")
		wantCode(t, "an unknown method", err, rpc.Unimplemented)
		if want := "Method not found: acme.Echo/Nothing"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("an unknown method: %v, want %q", err, want)
		}
		r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](t.Context(), w.client, down, raw("x"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = collect(t, r)
		wantCode(t, "an error of a stream", err, rpc.InvalidArgument)
		mustCall(t, w.client)
	})
}

func TestPanicOfAHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, err := call(t.Context(), w.client, panics, "")
		wantCode(t, "a panic", err, rpc.Internal)
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("the caller is told what was panicked with: %v", err)
		}
		mustCall(t, w.client)
	})
}

func TestDeadlines(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		_, err := call(ctx, w.client, waits, "")
		wantCode(t, "a call beyond its deadline", err, rpc.DeadlineExceeded)
		if took := time.Since(began); took > 2*time.Second+100*time.Millisecond {
			t.Errorf("it took %v, want 2s", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) && !err.(*rpc.Error).Remote {
			t.Errorf("%v is no context.DeadlineExceeded", err)
		}
		if cause := <-w.ended; !errors.Is(cause, context.DeadlineExceeded) && rpc.CodeOf(cause) != rpc.DeadlineExceeded {
			t.Errorf("the handler's context ended by %v", cause)
		}

		over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		_, err = call(over, w.client, unary, "")
		wantCode(t, "a deadline that was over before", err, rpc.DeadlineExceeded)
		mustCall(t, w.client)
	})
}

func TestDefaultTimeout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		began := time.Now()
		_, err := call(t.Context(), w.client, waits, "")
		wantCode(t, "a call without a deadline", err, rpc.DeadlineExceeded)
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("it took %v, want the 5s of CallOptions.Timeout", took)
		}
	}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Timeout = 5 * time.Second })
	inWorld(t, func(t *testing.T, w *world) {
		began := time.Now()
		_, err := call(t.Context(), w.client, waits, "")
		wantCode(t, "a call without a deadline", err, rpc.DeadlineExceeded)
		if took := time.Since(began); took < rpc.DefaultTimeout || took > rpc.DefaultTimeout+time.Second {
			t.Errorf("it took %v, want %v", took, rpc.DefaultTimeout)
		}
	})
}

// Options that cannot be are an error of each call, and what has caused an error of this end is found in it.
func TestOptionsThatCannotBe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		o := rpc.CallOptions{Session: session.SessionOptions{Unreliable: true}}
		app := w.net.App("org/ns/caller")
		_, err := call(t.Context(), rpc.NewClient(app, serverName, o), unary, "")
		wantCode(t, "an unreliable session", err, rpc.InvalidArgument)
		_, err = call(t.Context(), rpc.NewGroup(app, []session.Name{serverName}, rpc.GroupOptions{CallOptions: o}), unary, "")
		wantCode(t, "an unreliable group", err, rpc.InvalidArgument)
	})
	if err := rpc.Errorf(rpc.Aborted, "a file: %w", io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, rpc.Aborted) {
		t.Errorf("%v is not what it wraps", err)
	}
}

func TestCancellation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := call(ctx, w.client, waits, "")
		wantCode(t, "a call that was cancelled", err, rpc.Canceled)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is no context.Canceled", err)
		}
		if cause := <-w.ended; rpc.CodeOf(cause) != rpc.Canceled {
			t.Errorf("the handler's context ended by %v, want Canceled", cause)
		}

		// An upload that is given up is not taken for one that is complete (P-rpc-7).
		u, err := rpc.CallClientStream[rpc.Raw, rpc.Raw](t.Context(), w.client, up)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Send(raw("half")); err != nil {
			t.Fatal(err)
		}
		u.Close()
		_, err = u.CloseAndReceive()
		wantCode(t, "a call that was closed", err, rpc.Canceled)
		mustCall(t, w.client)
	})
}

func TestMetadataAndIdentity(t *testing.T) {
	for _, plain := range []bool{true, false} {
		inWorld(t, func(t *testing.T, w *world) {
			who := rpc.Method{Service: "acme.Echo", Name: "Who"}
			var got *rpc.Info
			var outgoing error
			rpc.HandleUnary(w.server, who, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) { // while it serves
				got = rpc.InfoOf(ctx)
				_, outgoing = call(ctx, w.client, unary, "on")
				return new(rpc.Raw), nil
			})
			ctx := rpc.WithMetadata(rpc.WithMetadata(t.Context(), map[string]string{"a": "1", "b": "1"}), map[string]string{"b": "2"})
			if _, err := call(ctx, w.client, who, ""); err != nil {
				t.Fatal(err)
			}
			if outgoing != nil {
				t.Errorf("a call by a handler's context: %v", outgoing)
			}
			if len(got.Metadata) != 2 || got.Metadata["a"] != "1" || got.Metadata["b"] != "2" {
				t.Errorf("metadata %v, want what the caller has said and nothing else", got.Metadata)
			}
			if got.Method != who || !got.Caller.Name.Same(session.MustName("org/ns/client")) || got.Caller.Name.ID() == "" || (got.Caller.Subject == "") != plain {
				t.Errorf("%+v, want the method and the caller", got)
			}
			for _, key := range []string{"service", "method", "rpc-id", "slimrpc-dir", "slimrpc-timeout", "slimrpc-code", "PUBLISH_TO", "slim-peer-subject"} {
				_, err := call(rpc.WithMetadata(t.Context(), map[string]string{key: "x"}), w.client, unary, "")
				wantCode(t, "metadata "+key, err, rpc.InvalidArgument)
			}
		}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) {
			co.Session.Plain = plain
			co.Session.Metadata = map[string]string{"a": "0"} // of all its calls, unless they say otherwise
		})
	}
}

func TestManyCallsShareASession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var all sync.WaitGroup
		for i := range 300 {
			all.Go(func() {
				text := strconv.Itoa(i)
				if got, err := call(t.Context(), w.client, unary, text); err != nil || got != "echo:"+text {
					t.Errorf("call %d: %q, %v", i, got, err)
				}
			})
		}
		all.Wait()
		opened := w.net.Log().Where(func(e *sessiontest.Entry) bool { return e.Type == "join_request" })
		if n := len(opened.Entries); n != 1 {
			t.Errorf("%d sessions, want one", n)
		}
	})
}

func TestLimitsOfAServer(t *testing.T) {
	limited := func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.Calls, so.MaxMessage = 2, 1000 }
	inWorld(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { _, _ = call(ctx, w.client, waits, "") })
		}
		time.Sleep(time.Second)
		_, err := call(t.Context(), w.client, unary, "")
		wantCode(t, "a third call", err, rpc.ResourceExhausted)
		cancel()
		all.Wait()
		time.Sleep(time.Second)
		mustCall(t, w.client)
		_, err = call(t.Context(), w.client, unary, strings.Repeat("x", 1001))
		wantCode(t, "a large request", err, rpc.ResourceExhausted)
		_, err = call(t.Context(), w.client, unary, strings.Repeat("x", 1000)) // echo: makes it longer
		wantCode(t, "a large reply", err, rpc.ResourceExhausted)
		mustCall(t, w.client)
	}, limited)
}

// Nobody who does not receive holds up others, or takes any memory there is (P-rpc-10).
func TestReplyBuffersAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r, err := rpc.CallServerStream[rpc.Raw, rpc.Raw](t.Context(), w.client, down, raw("200"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		mustCall(t, w.client)
		texts, err := collect(t, r)
		wantCode(t, "a slow receiver", err, rpc.ResourceExhausted)
		if n := len(texts); n == 0 || n > 50_000/512 {
			t.Errorf("%d replies were kept, want what 50 kB hold", n)
		}
	}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Buffer = 50_000 })
}

func TestRequestBuffersAreBounded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		idle := rpc.Method{Service: "acme.Echo", Name: "Idle", ClientStreams: true}
		rpc.HandleClientStream(w.server, idle, func(ctx context.Context, _ *rpc.Receiver[rpc.Raw]) (*rpc.Raw, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		u, err := rpc.CallClientStream[rpc.Raw, rpc.Raw](t.Context(), w.client, idle)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			if err := u.Send(raw("x")); err == io.EOF {
				break
			} else if err != nil || i > 5000 {
				t.Fatal(i, err)
			}
			time.Sleep(time.Millisecond)
		}
		_, err = u.CloseAndReceive()
		wantCode(t, "a handler that does not receive", err, rpc.ResourceExhausted)
		mustCall(t, w.client)
	}, func(so *rpc.ServerOptions, _ *rpc.CallOptions) { so.Buffer = 50_000 })
}

// A server that is killed is noticed, its calls fail, and the next one finds another instance (P-rpc-8).
func TestServerIsKilledAndStartedAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		result := make(chan error, 1)
		go func() {
			_, err := call(t.Context(), w.client, waits, "")
			result <- err
		}()
		time.Sleep(time.Second)
		w.net.Crash("org/ns/server")
		began := time.Now()
		wantCode(t, "a call that a killed server had", <-result, rpc.Unavailable)
		if took := time.Since(began); took > 45*time.Second {
			t.Errorf("it took %v to notice", took)
		}
		serve(t, w.net.App("org/ns/server"), rpc.ServerOptions{}, nil)
		mustCall(t, w.client)
	}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Timeout = 10 * time.Minute })
}

func TestCallerIsKilled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		go func() { _, _ = call(context.Background(), w.client, waits, "") }()
		time.Sleep(time.Second)
		w.net.Crash("org/ns/client")
		if cause := <-w.ended; rpc.CodeOf(cause) != rpc.Canceled {
			t.Errorf("the handler's context ended by %v, want Canceled", cause)
		}
	}, func(_ *rpc.ServerOptions, co *rpc.CallOptions) { co.Timeout = 10 * time.Minute })
}

func TestShutdown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		slow := rpc.Method{Service: "acme.Echo", Name: "Slow"}
		rpc.HandleUnary(w.server, slow, func(context.Context, *rpc.Raw) (*rpc.Raw, error) {
			time.Sleep(5 * time.Second)
			return raw("done"), nil
		})
		result := make(chan error, 1)
		go func() {
			_, err := call(t.Context(), w.client, slow, "")
			result <- err
		}()
		time.Sleep(time.Second)
		stopped := make(chan error, 1)
		go func() { stopped <- w.server.Shutdown(context.Background()) }()
		time.Sleep(time.Second)
		_, err := call(t.Context(), w.client, unary, "")
		wantCode(t, "a call while it shuts down", err, rpc.Unavailable)
		if err := <-result; err != nil {
			t.Errorf("a call that was served: %v", err)
		}
		if err := <-stopped; err != nil {
			t.Errorf("Shutdown: %v", err)
		}

		serving(t, w.server) // handlers are still registered
		mustCall(t, w.client)
		go func() {
			_, err := call(t.Context(), w.client, waits, "")
			result <- err
		}()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown whose context ends: %v", err)
		}
		wantCode(t, "a call that lasts", <-result, rpc.Canceled)
	})
}

func TestInterceptors(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, text)
	}
	inWorld(t, func(t *testing.T, w *world) {
		mustCall(t, w.client)
		synctest.Wait()
		if want := []string{"client a /acme.Echo/Unary", "client b /acme.Echo/Unary", "server a /acme.Echo/Unary by client", "server b"}; !slices.Equal(seen, want) {
			t.Errorf("%q, want %q", seen, want)
		}
	}, func(so *rpc.ServerOptions, co *rpc.CallOptions) {
		for _, name := range []string{"a", "b"} {
			co.Interceptors = append(co.Interceptors, func(next rpc.Starter) rpc.Starter {
				return func(ctx context.Context, m rpc.Method) (rpc.ClientStream, error) {
					note("client " + name + " " + m.String())
					return next(rpc.WithMetadata(ctx, map[string]string{"by": "client"}), m)
				}
			})
			so.Interceptors = append(so.Interceptors, func(next rpc.Handler) rpc.Handler {
				return func(ctx context.Context, s rpc.ServerStream) error {
					text := "server " + name
					if i := rpc.InfoOf(ctx); name == "a" {
						text += " " + i.Method.String() + " by " + i.Metadata["by"]
					}
					note(text)
					return next(ctx, s)
				}
			})
		}
	})
}

func TestServerIsReachedByAnotherName(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		app := w.net.App("org/ns/other")
		if err := app.Subscribe(t.Context(), session.MustName("org/ns/alias")); err != nil {
			t.Fatal(err)
		}
		serve(t, app, rpc.ServerOptions{}, nil)
		c := rpc.NewClient(w.net.App("org/ns/caller"), session.MustName("org/ns/alias"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
		mustCall(t, c)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestNobodyIsThere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c := rpc.NewClient(w.net.App("org/ns/caller"), session.MustName("org/ns/nobody"), rpc.CallOptions{})
		_, err := call(t.Context(), c, unary, "")
		wantCode(t, "a server that is not there", err, rpc.Unavailable)
		if !errors.Is(err, session.ErrTimeout) {
			t.Errorf("%v is no session.ErrTimeout", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = call(ctx, c, unary, "")
		wantCode(t, "a deadline before there is a session", err, rpc.DeadlineExceeded)
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
