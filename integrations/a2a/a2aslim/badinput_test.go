package a2aslim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2asrv"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/a2aslim"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// stub is a handler of which a test says what it does.
type stub struct {
	a2asrv.RequestHandler
	get    func(ctx context.Context) (*a2a.Task, error)
	stream func(ctx context.Context) iter.Seq2[a2a.Event, error]
}

func (s *stub) OnGetTask(ctx context.Context, _ *a2a.TaskQueryParams) (*a2a.Task, error) {
	return s.get(ctx)
}

func (s *stub) OnSendMessageStream(ctx context.Context, _ *a2a.MessageSendParams) iter.Seq2[a2a.Event, error] {
	return s.stream(ctx)
}

// Errors of A2A arrive as themselves, and others with their codes.
func TestErrors(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		h := new(stub)
		c := dial(t, serve(t, h, a2aslim.ServerOptions{}), version)
		for _, want := range []struct {
			err  error
			code rpc.Code
		}{
			{a2a.ErrTaskNotFound, rpc.NotFound},
			{a2a.ErrTaskNotCancelable, rpc.FailedPrecondition},
			{a2a.ErrInvalidParams, rpc.InvalidArgument},
			{a2a.ErrInvalidRequest, rpc.InvalidArgument},
			{a2a.ErrUnsupportedOperation, rpc.Unimplemented},
			{a2a.ErrPushNotificationNotSupported, rpc.Unimplemented},
			{a2a.ErrUnsupportedContentType, rpc.Unimplemented},
			{a2a.ErrMethodNotFound, rpc.Unimplemented},
			{a2a.ErrInternalError, rpc.Internal},
			{a2a.ErrInvalidAgentResponse, rpc.Internal},
			{a2a.ErrParseError, rpc.Internal},
			{a2a.ErrAuthenticatedExtendedCardNotConfigured, rpc.FailedPrecondition},
			{rpc.Aborted, rpc.Aborted},
			{rpc.NotFound, rpc.NotFound},
			{context.DeadlineExceeded, rpc.DeadlineExceeded},
			{context.Canceled, rpc.Canceled},
			{errors.New("something"), rpc.Unknown},
		} {
			wrapped := errors.Join(want.err, errors.New("that is why"))
			h.get = func(context.Context) (*a2a.Task, error) { return nil, wrapped }
			h.stream = func(context.Context) iter.Seq2[a2a.Event, error] {
				return func(yield func(a2a.Event, error) bool) { yield(nil, wrapped) }
			}
			_, err := c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"})
			check := func() {
				t.Helper()
				if !errors.Is(err, want.code) || want.code != rpc.Unknown && !errors.Is(err, want.err) &&
					want.err != context.Canceled || !strings.Contains(err.Error(), "that is why") {
					t.Errorf("%v arrives as %v", want.err, err)
				}
			}
			check()
			for _, err = range c.SendStreamingMessage(t.Context(), say("hi")) {
				check()
			}
		}
	})
}

// Of a server that says no names of errors the codes have to do.
func TestErrorsWithoutNames(t *testing.T) {
	h := new(stub)
	c := dial(t, serve(t, h, a2aslim.ServerOptions{}), "1.0")
	for code, want := range map[rpc.Code]error{
		rpc.NotFound: a2a.ErrTaskNotFound, rpc.FailedPrecondition: a2a.ErrTaskNotCancelable, rpc.InvalidArgument: a2a.ErrInvalidParams,
		rpc.Unimplemented: a2a.ErrUnsupportedOperation, rpc.Internal: a2a.ErrInternalError, rpc.PermissionDenied: rpc.PermissionDenied,
	} {
		h.get = func(context.Context) (*a2a.Task, error) { return nil, rpc.NewError(code, "because") }
		if _, err := c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"}); !errors.Is(err, want) || !errors.Is(err, code) {
			t.Errorf("%v arrives as %v", code, err)
		}
	}
}

// What cannot be sent, or answered, is an error, and the next call goes on.
func TestHandlersThatMisbehave(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		h := new(stub)
		c := dial(t, serve(t, h, a2aslim.ServerOptions{}), version)
		task := &a2a.Task{ID: "1", Status: a2a.TaskStatus{State: a2a.TaskStateWorking}}
		for name, get := range map[string]func(context.Context) (*a2a.Task, error){
			"nothing": func(context.Context) (*a2a.Task, error) { return nil, nil },
			"metadata": func(context.Context) (*a2a.Task, error) {
				return &a2a.Task{ID: "1", Metadata: map[string]any{"f": t.Name}}, nil
			},
			"a part": func(context.Context) (*a2a.Task, error) {
				return &a2a.Task{Artifacts: []*a2a.Artifact{{Parts: []a2a.Part{nil}}}}, nil
			},
			"panic": func(context.Context) (*a2a.Task, error) { panic("as it was told") },
		} {
			h.get = get
			if _, err := c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"}); !errors.Is(err, rpc.Internal) {
				t.Errorf("%s: %v", name, err)
			}
			h.get = func(context.Context) (*a2a.Task, error) { return task, nil }
			if got, err := c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: "1"}); err != nil || got.ID != "1" {
				t.Errorf("after that: %+v, %v", got, err)
			}
		}
		for _, p := range []*a2a.MessageSendParams{nil, {}, say("x", a2a.DataPart{Data: map[string]any{"f": t.Name}}), say("x", a2a.FilePart{})} {
			if _, err := c.SendMessage(t.Context(), p); !errors.Is(err, a2a.ErrInvalidParams) {
				t.Errorf("sending %+v: %v", p, err)
			}
		}
		if _, err := c.GetTask(t.Context(), nil); !errors.Is(err, a2a.ErrInvalidParams) {
			t.Errorf("getting no task: %v", err)
		}
	})
}

// An executor that panics fails its call and nothing else.
func TestExecutorThatPanics(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		_, net := start(t)
		c := dial(t, net, version)
		for _, text := range []string{"panic", "fail for a reason"} {
			if res, err := c.SendMessage(t.Context(), say(text)); err == nil {
				if task, ok := res.(*a2a.Task); !ok || task.Status.State != a2a.TaskStateFailed {
					t.Errorf("%s: %+v", text, res)
				}
			}
			if _, err := c.SendMessage(t.Context(), say("hi")); err != nil {
				t.Errorf("after %s: %v", text, err)
			}
		}
	})
}

func TestDeadline(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		synctest.Test(t, func(t *testing.T) {
			ended := make(chan error, 1)
			h := &stub{get: func(ctx context.Context) (*a2a.Task, error) {
				<-ctx.Done()
				ended <- ctx.Err()
				return nil, ctx.Err()
			}}
			c := dial(t, serve(t, h, a2aslim.ServerOptions{}), version)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if _, err := c.GetTask(ctx, &a2a.TaskQueryParams{ID: "1"}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the caller: %v", err)
			}
			if err := <-ended; err == nil {
				t.Error("the handler goes on")
			}
		})
	})
}

// A caller that vanishes in the middle of a stream ends the handler's.
func TestCallerThatVanishes(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		left := make(chan struct{})
		h := &stub{stream: func(ctx context.Context) iter.Seq2[a2a.Event, error] {
			return func(yield func(a2a.Event, error) bool) {
				defer close(left)
				for yield(a2a.NewMessage(a2a.MessageRoleAgent, a2a.TextPart{Text: "more"}), nil) && ctx.Err() == nil {
				}
			}
		}}
		net := serve(t, h, a2aslim.ServerOptions{})
		app := net.App("org/ns/vanishing")
		transports := a2aslim.Transports(app, a2aslim.ClientOptions{Calls: rpc.CallOptions{Session: session.SessionOptions{Plain: true}}})
		c, err := a2aclient.NewFromCard(t.Context(), card(version), transports...)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range c.SendStreamingMessage(t.Context(), say("hi")) {
			if n++; n == 3 {
				if err := app.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if err != nil {
				break
			}
		}
		<-left
		if err := c.Destroy(); err != nil {
			t.Log(err) // its app has gone
		}
	})
}

// Requests that are none have the right code, and the server lives on; fields that are not known do not matter.
func TestBadRequests(t *testing.T) {
	_, net := start(t)
	client := rpc.NewClient(net.App("org/ns/client"), session.MustName("org/ns/agent"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
	defer client.Close(context.Background())
	const one, old = "lf.a2a.v1.A2AService", "a2a.v1.A2AService"
	garbage := rpc.Raw{0xff, 0xff, 0xff, 0xff}
	unknown := rpc.Raw{0xfa, 0x3f, 3, 'n', 'e', 'w'} // field 1023
	id := rpc.Raw{0x12, 1, 'x'}
	named := rpc.Raw("\x0a\x07tasks/x")
	for _, c := range []struct {
		name, service, method string
		request               rpc.Raw
		want                  rpc.Code
		text                  string
	}{
		{"no such method", one, "Destroy", nil, rpc.Unimplemented, "Method not found"},
		{"no such service", "a2a.v2.A2AService", "GetTask", nil, rpc.Unimplemented, "Method not found"},
		{"garbage", one, "GetTask", garbage, rpc.InvalidArgument, "decoding"},
		{"JSON", one, "SendMessage", rpc.Raw(`{"message": {}}`), rpc.InvalidArgument, "decoding"},
		{"garbage, 0.3", old, "GetTask", garbage, rpc.InvalidArgument, "decoding"},
		{"garbage to a stream", one, "SendStreamingMessage", garbage, rpc.InvalidArgument, "decoding"},
		{"garbage to a list", one, "ListTasks", garbage, rpc.Unimplemented, "UnsupportedOperationError"},
		{"nothing", one, "GetTask", nil, rpc.InvalidArgument, "InvalidParamsError"},
		{"nothing, 0.3", old, "GetTask", nil, rpc.InvalidArgument, "InvalidParamsError"},
		{"no message", one, "SendMessage", nil, rpc.InvalidArgument, "InvalidParamsError"},
		{"no message, 0.3", old, "SendMessage", nil, rpc.InvalidArgument, "InvalidParamsError"},
		{"no message in a stream", old, "SendStreamingMessage", nil, rpc.InvalidArgument, "InvalidParamsError"},
		{"a part that is nothing", one, "SendMessage", rpc.Raw{0x12, 2, 0x2a, 0}, rpc.InvalidArgument, "InvalidParamsError"},
		{"no task", one, "CancelTask", nil, rpc.InvalidArgument, "InvalidParamsError"},
		{"no task, 0.3", old, "CancelTask", rpc.Raw("\x0a\x01x"), rpc.InvalidArgument, "InvalidParamsError"},
		{"no task to subscribe to", one, "SubscribeToTask", nil, rpc.InvalidArgument, "InvalidParamsError"},
		{"an unknown task", one, "GetTask", id, rpc.NotFound, "TaskNotFoundError"},
		{"an unknown field", one, "GetTask", append(bytes.Clone(unknown), id...), rpc.NotFound, "TaskNotFoundError"},
		{"an unknown field, 0.3", old, "GetTask", append(bytes.Clone(unknown), named...), rpc.NotFound, "TaskNotFoundError"},
		{"the name without a package", "A2AService", "GetTask", id, rpc.Unimplemented, "Method not found"},
	} {
		s, err := client.NewStream(t.Context(), rpc.Method{Service: c.service, Name: c.method, ServerStreams: true})
		if err == nil {
			if err = s.Send(&c.request); err == nil {
				err = s.CloseSend()
			}
			for err == nil {
				var reply rpc.Raw
				err = s.Receive(&reply)
			}
			s.Close()
		}
		if err == io.EOF || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v; want %v", c.name, err, c.want)
		}
	}
}

// Options and cards that cannot be say so when a client is made.
func TestBadCards(t *testing.T) {
	_, net := start(t)
	app := net.App("org/ns/client")
	for name, change := range map[string]func(*a2a.AgentCard, *a2aslim.ClientOptions){
		"no name":       func(c *a2a.AgentCard, _ *a2aslim.ClientOptions) { c.URL = "http://example.org" },
		"version 2":     func(c *a2a.AgentCard, _ *a2aslim.ClientOptions) { c.ProtocolVersion = "2.0" },
		"option":        func(_ *a2a.AgentCard, o *a2aslim.ClientOptions) { o.Version = 9 },
		"no transport":  func(c *a2a.AgentCard, _ *a2aslim.ClientOptions) { c.PreferredTransport = "pigeons" },
		"another's URI": func(c *a2a.AgentCard, _ *a2aslim.ClientOptions) { c.PreferredTransport = "https://example.org/slimrpc" },
	} {
		agent, o := card("1.0"), a2aslim.ClientOptions{}
		change(agent, &o)
		if _, err := a2aclient.NewFromCard(t.Context(), agent, a2aslim.Transports(app, o)...); err == nil {
			t.Errorf("%s: there is a client", name)
		}
	}
	for _, transport := range []a2a.TransportProtocol{"slimrpc", "https://a2a-protocol.org/bindings/experimental-slimrpc", "https://a2a-protocol.org/bindings/experimental-slimrpc/v1"} {
		agents := []a2a.AgentInterface{{URL: "slim://node:46357/org/ns/agent", Transport: transport}}
		c, err := a2aclient.NewFromEndpoints(t.Context(), agents, a2aslim.Transports(app, a2aslim.ClientOptions{})...)
		if err != nil {
			t.Errorf("%s: %v", transport, err)
			continue
		}
		if _, err := c.SendMessage(t.Context(), say("hi")); err != nil {
			t.Errorf("%s: %v", transport, err)
		}
		destroy(t, c)
	}
}
