package a2aslim_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2asrv"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/a2aslim"
	"github.com/seed31b3bfd0/slimgo/integrations/a2a/internal/a2av1"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// contexts is a handler that keeps the context of the last call.
func contexts() (h *stub, last func() *a2asrv.CallContext) {
	calls := make(chan *a2asrv.CallContext, 1)
	h = &stub{get: func(ctx context.Context) (*a2a.Task, error) {
		call, _ := a2asrv.CallContextFrom(ctx)
		calls <- call
		return &a2a.Task{ID: "1", Status: a2a.TaskStatus{State: a2a.TaskStateWorking}}, nil
	}}
	return h, func() *a2asrv.CallContext { return <-calls }
}

// The tenant is what the request says. What a caller says beside it, in any spelling, for a call or for all of its session, is none.
func TestTenant(t *testing.T) {
	for _, plain := range []bool{false, true} {
		h, last := contexts()
		net := serve(t, h, a2aslim.ServerOptions{})
		client := rpc.NewClient(net.App("org/ns/client"), session.MustName("org/ns/agent"), rpc.CallOptions{
			Session: session.SessionOptions{Plain: plain, Metadata: map[string]string{"tenant": "of the session"}},
		})
		defer client.Close(context.Background())
		for _, key := range []string{"tenant", "Tenant", "TENANT"} {
			ctx := rpc.WithMetadata(t.Context(), map[string]string{key: "forged", "other": "said"})
			want := func(what string, err error, tenant ...string) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				meta := last().RequestMeta()
				if got, _ := meta.Get("tenant"); !slices.Equal(got, tenant) {
					t.Errorf("plain=%v, %s, %s in the metadata: tenant %q, want %q", plain, what, key, got, tenant)
				}
				if got, _ := meta.Get("other"); !slices.Equal(got, []string{"said"}) {
					t.Errorf("plain=%v, %s: other metadata is %q", plain, what, got)
				}
			}
			for version, what := range map[a2aslim.Version]string{a2aslim.V1: "1.0", a2aslim.V03: "0.3"} {
				_, err := a2aslim.NewTransport(client, version).GetTask(ctx, &a2a.TaskQueryParams{ID: "1"})
				want(what, err)
			}
			get := rpc.Method{Service: "lf.a2a.v1.A2AService", Name: "GetTask"}
			_, err := rpc.CallUnary[a2av1.GetTaskRequest, a2av1.Task](ctx, client, get, &a2av1.GetTaskRequest{Id: "1", Tenant: "acme"})
			want("1.0 with a tenant", err, "acme")
		}
	}
}

// A user is who the session has verified: none in a plain one, whatever its caller says.
func TestUserIsVerified(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		for _, plain := range []bool{false, true} {
			h, last := contexts()
			net := serve(t, h, a2aslim.ServerOptions{})
			app := net.App("org/ns/client")
			transports := a2aslim.Transports(app, a2aslim.ClientOptions{Calls: rpc.CallOptions{Session: session.SessionOptions{Plain: plain}}})
			c, err := a2aclient.NewFromCard(t.Context(), card(version), transports...)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Destroy()
			c.AddCallInterceptor(saying{"subject": {"admin"}, "user": {"admin"}, "authorization": {"Bearer x"}})
			if _, err := c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"}); err != nil {
				t.Fatal(err)
			}
			want := app.Subject()
			if plain {
				want = ""
			}
			if user := last().User; user == nil || user.Authenticated() == plain || user.Name() != want {
				t.Errorf("plain=%v: user %+v, want %q", plain, user, want)
			}
		}
	})
}

// A call takes the time that its task takes, unless options or a context bound it.
func TestTimeout(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		for timeout, want := range map[time.Duration]error{0: nil, -1: nil, time.Minute: context.DeadlineExceeded} {
			synctest.Test(t, func(t *testing.T) {
				h := &stub{get: func(ctx context.Context) (*a2a.Task, error) {
					select {
					case <-time.After(5 * rpc.DefaultTimeout):
						return &a2a.Task{ID: "1", Status: a2a.TaskStatus{State: a2a.TaskStateCompleted}}, nil
					case <-ctx.Done():
						return nil, ctx.Err()
					}
				}}
				net := serve(t, h, a2aslim.ServerOptions{})
				o := a2aslim.ClientOptions{Calls: rpc.CallOptions{Timeout: timeout, Session: session.SessionOptions{Plain: true}}}
				c, err := a2aclient.NewFromCard(t.Context(), card(version), a2aslim.Transports(net.App("org/ns/client"), o)...)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Destroy()
				if _, err := c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"}); !errors.Is(err, want) {
					t.Errorf("Timeout %v: %v, want %v", timeout, err, want)
				}
			})
		}
	})
}

// failing is a caller whose calls fail before they are made.
type failing struct{ err error }

func (f failing) NewStream(context.Context, rpc.Method) (rpc.ClientStream, error) { return nil, f.err }

// An error of A2A is one that the agent has answered with: what this end finds is none, whatever its code.
func TestErrorsOfThisEnd(t *testing.T) {
	kinds := []error{
		a2a.ErrTaskNotFound, a2a.ErrTaskNotCancelable, a2a.ErrInvalidParams, a2a.ErrUnsupportedOperation, a2a.ErrMethodNotFound, a2a.ErrInternalError,
	}
	for _, e := range []*rpc.Error{
		{Code: rpc.NotFound, Message: "TaskNotFoundError: no such task"}, {Code: rpc.NotFound, Message: "no such name"},
		{Code: rpc.Internal, Message: "the reply cannot be read"}, {Code: rpc.InvalidArgument, Message: "the request is too large"},
		{Code: rpc.FailedPrecondition}, {Code: rpc.Unimplemented, Message: "Method not found: GetTask"},
	} {
		for _, remote := range []bool{false, true} {
			said := &rpc.Error{Code: e.Code, Message: e.Message, Remote: remote}
			check := func(err error) {
				t.Helper()
				isKind := func(kind error) bool { return errors.Is(err, kind) }
				if !errors.Is(err, e.Code) || slices.ContainsFunc(kinds, isKind) != remote {
					t.Errorf("%v, remote=%v, becomes %v", e, remote, err)
				}
			}
			transport := a2aslim.NewTransport(failing{said}, a2aslim.V1)
			_, err := transport.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"})
			check(err)
			for _, err := range transport.SendStreamingMessage(t.Context(), say("hi")) {
				check(err)
			}
		}
	}
}

// Destroy ends the session of a client, and leaves that of a caller that somebody else has made.
func TestDestroy(t *testing.T) { synctest.Test(t, destroyEndsOwn) }

func destroyEndsOwn(t *testing.T) {
	h, last := contexts()
	net := serve(t, h, a2aslim.ServerOptions{})
	app := net.App("org/ns/client")
	o := rpc.CallOptions{Session: session.SessionOptions{Plain: true}}
	c, err := a2aclient.NewFromCard(t.Context(), card("1.0"), a2aslim.Transports(app, a2aslim.ClientOptions{Calls: o})...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	last()
	sessions := app.Sessions()
	if len(sessions) != 1 {
		t.Fatalf("%d sessions, want one", len(sessions))
	}
	if err := c.Destroy(); err != nil {
		t.Error(err)
	}
	select {
	case <-sessions[0].Done():
	default:
		t.Error("the session goes on after Destroy")
	}

	client := rpc.NewClient(app, session.MustName("org/ns/agent"), o)
	defer client.Close(context.Background())
	transport := a2aslim.NewTransport(client, a2aslim.V1)
	var own []*session.Session
	for range 2 {
		if _, err := transport.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"}); err != nil {
			t.Fatalf("a caller of somebody else: %v", err)
		}
		last()
		if err := transport.Destroy(); err != nil {
			t.Error(err)
		}
		if now := app.Sessions(); len(now) != 1 || own != nil && !slices.Equal(now, own) {
			t.Errorf("sessions %v after %v: want the same one", now, own)
		} else {
			own = now
		}
	}
}

// A method that the agent has not registered is one that A2A does not find, and so is one of another version.
func TestMethodsThatNobodyServes(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		net := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
		server := rpc.NewServer(net.App("org/ns/agent"), rpc.ServerOptions{})
		go func() { _ = server.Serve(context.Background()) }()
		defer server.Stop()
		_, err := dial(t, net, version).GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"})
		if !errors.Is(err, a2a.ErrMethodNotFound) || !errors.Is(err, rpc.Unimplemented) || errors.Is(err, a2a.ErrUnsupportedOperation) {
			t.Errorf("%v, want %v", err, a2a.ErrMethodNotFound)
		}
	})
}

// Extensions are asked for by the keys of both versions, in any spelling of them, and clients say all that servers look for.
func TestExtensions(t *testing.T) {
	h, last := contexts()
	net := serve(t, h, a2aslim.ServerOptions{})
	client := rpc.NewClient(net.App("org/ns/client"), session.MustName("org/ns/agent"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
	defer client.Close(context.Background())
	want := []string{"https://example.org/a", "https://example.org/b"}
	for _, key := range []string{"A2A-Extensions", "a2a-extensions", "X-A2A-Extensions", "x-a2a-extensions"} {
		ctx := rpc.WithMetadata(t.Context(), map[string]string{key: " https://example.org/a,, https://example.org/b "})
		if _, err := a2aslim.NewTransport(client, a2aslim.V1).GetTask(ctx, &a2a.TaskQueryParams{ID: "1"}); err != nil {
			t.Fatal(err)
		}
		call := last()
		if got := call.Extensions().RequestedURIs(); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
		if got, _ := call.RequestMeta().Get("a2a-extensions"); !slices.Equal(got, want) {
			t.Errorf("%s: metadata %q, want %q", key, got, want)
		}
	}

	said := make(chan map[string]string, 1)
	server := rpc.NewServer(net.App("org/ns/other"), rpc.ServerOptions{})
	rpc.HandleUnary(server, rpc.Method{Service: "lf.a2a.v1.A2AService", Name: "GetTask"}, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
		said <- rpc.InfoOf(ctx).Metadata
		return nil, rpc.NotFound
	})
	go func() { _ = server.Serve(context.Background()) }()
	defer server.Stop()
	known := card("1.0")
	known.URL = "org/ns/other"
	c, err := a2aclient.NewFromCard(t.Context(), known, a2aslim.Transports(net.App("org/ns/client"), a2aslim.ClientOptions{})...)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Destroy()
	c.AddCallInterceptor(saying{a2asrv.ExtensionsMetaKey: want})
	_, _ = c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"})
	md := <-said
	for _, key := range []string{"A2A-Extensions", "a2a-extensions", "x-a2a-extensions"} {
		if md[key] != "https://example.org/a,https://example.org/b" {
			t.Errorf("a client says %q by %s", md[key], key)
		}
	}
}

// A stream ends with the first reply that cannot be read: one error, and nothing after it.
func TestRepliesThatCannotBeRead(t *testing.T) {
	net := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
	server := rpc.NewServer(net.App("org/ns/agent"), rpc.ServerOptions{})
	m := rpc.Method{Service: "lf.a2a.v1.A2AService", Name: "SendStreamingMessage"}
	rpc.HandleServerStream(server, m, func(_ context.Context, _ *rpc.Raw, s *rpc.Sender[rpc.Raw]) error {
		for range 3 {
			if err := s.Send(new(rpc.Raw)); err != nil {
				return err
			}
		}
		return nil
	})
	go func() { _ = server.Serve(context.Background()) }()
	defer server.Stop()
	n := 0
	for e, err := range dial(t, net, "1.0").SendStreamingMessage(t.Context(), say("hi")) {
		if n++; !errors.Is(err, a2a.ErrInvalidAgentResponse) {
			t.Errorf("%v, %v; want %v", e, err, a2a.ErrInvalidAgentResponse)
		}
	}
	if n != 1 {
		t.Errorf("%d events, want one error", n)
	}
}
