package a2aslim_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2asrv"
	"github.com/a2aproject/a2a-go/a2asrv/eventqueue"
	"github.com/a2aproject/a2a-go/a2asrv/push"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/a2aslim"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// agent does what the text of a message says.
type agent struct {
	mu    sync.Mutex
	seen  []*a2a.Message
	calls []*a2asrv.CallContext
	over  chan struct{} // closed at the end of the test
}

func (a *agent) Execute(ctx context.Context, r *a2asrv.RequestContext, q eventqueue.Queue) error {
	call, _ := a2asrv.CallContextFrom(ctx)
	a.mu.Lock()
	a.seen, a.calls = append(a.seen, r.Message), append(a.calls, call)
	a.mu.Unlock()
	word, rest, _ := strings.Cut(textOf(r.Message.Parts), " ")
	switch word {
	case "count":
		n, _ := strconv.Atoi(rest)
		return a.count(ctx, r, q, n)
	case "work": // and says so, until the task is cancelled or the test is over
		for tick := time.NewTicker(time.Millisecond); ; {
			if err := q.Write(ctx, a2a.NewStatusUpdateEvent(r, a2a.TaskStateWorking, nil)); err != nil {
				return err
			}
			select {
			case <-tick.C:
			case <-a.over:
				return errors.New("the test is over")
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	case "panic":
		panic("as it was told")
	case "fail":
		return errors.New(rest)
	}
	return q.Write(ctx, a2a.NewMessageForTask(a2a.MessageRoleAgent, r, append(a2a.ContentParts{a2a.TextPart{Text: "you said"}}, r.Message.Parts...)...))
}

func (a *agent) count(ctx context.Context, r *a2asrv.RequestContext, q eventqueue.Queue, n int) error {
	events := []a2a.Event{a2a.NewStatusUpdateEvent(r, a2a.TaskStateWorking, a2a.NewMessageForTask(a2a.MessageRoleAgent, r, a2a.TextPart{Text: "counting"}))}
	first := a2a.NewArtifactEvent(r, a2a.TextPart{Text: "1"})
	for i := 1; i <= n; i++ {
		if i == 1 {
			events = append(events, first)
			continue
		}
		events = append(events, a2a.NewArtifactUpdateEvent(r, first.Artifact.ID, a2a.TextPart{Text: strconv.Itoa(i)}))
	}
	last := a2a.NewStatusUpdateEvent(r, a2a.TaskStateCompleted, nil)
	last.Final = true
	for _, e := range append(events, last) {
		if err := q.Write(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (a *agent) Cancel(ctx context.Context, r *a2asrv.RequestContext, q eventqueue.Queue) error {
	e := a2a.NewStatusUpdateEvent(r, a2a.TaskStateCanceled, nil)
	e.Final = true
	return q.Write(ctx, e)
}

// textOf is the text of parts.
func textOf(parts a2a.ContentParts) string {
	var all []string
	for _, p := range parts {
		if t, ok := p.(a2a.TextPart); ok {
			all = append(all, t.Text)
		}
	}
	return strings.Join(all, " ")
}

// card is that of the agent.
func card(version string) *a2a.AgentCard {
	return &a2a.AgentCard{
		Name: "Counter", Description: "Counts", URL: "org/ns/agent", PreferredTransport: a2aslim.Transport, ProtocolVersion: version, Version: "7",
		Capabilities:      a2a.AgentCapabilities{Streaming: true, PushNotifications: true},
		DefaultInputModes: []string{"text/plain"}, DefaultOutputModes: []string{"text/plain"},
		Skills: []a2a.AgentSkill{{ID: "count", Name: "Counting", Description: "Up to what it is told", Tags: []string{"numbers"}}},
	}
}

// serve registers a handler of the app org/ns/agent, and returns that app's network.
func serve(t *testing.T, h a2asrv.RequestHandler, o a2aslim.ServerOptions) *sessiontest.Net {
	t.Helper()
	net := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
	server := rpc.NewServer(net.App("org/ns/agent"), rpc.ServerOptions{})
	a2aslim.Register(server, h, o)
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background()) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return net
}

// start serves an agent.
func start(t *testing.T) (*agent, *sessiontest.Net) {
	t.Helper()
	a := &agent{over: make(chan struct{})}
	t.Cleanup(func() { close(a.over) })
	h := a2asrv.NewHandler(a, a2asrv.WithPushNotifications(push.NewInMemoryStore(), push.NewHTTPPushSender(nil)))
	return a, serve(t, h, a2aslim.ServerOptions{Card: card("1.0")})
}

// dial returns a client of the agent.
func dial(t *testing.T, net *sessiontest.Net, version string) *a2aclient.Client {
	t.Helper()
	transports := a2aslim.Transports(net.App("org/ns/client"), a2aslim.ClientOptions{Calls: rpc.CallOptions{Session: session.SessionOptions{Plain: true}}})
	c, err := a2aclient.NewFromCard(t.Context(), card(version), transports...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { destroy(t, c) })
	return c
}

// destroy ends a client. What the agent does not answer in time is no fault: the machine may be busy.
func destroy(t *testing.T, c *a2aclient.Client) {
	t.Helper()
	switch err := c.Destroy(); {
	case errors.Is(err, context.DeadlineExceeded):
		t.Log(err)
	case err != nil:
		t.Error(err)
	}
}

// say is a message of a user.
func say(text string, more ...a2a.Part) *a2a.MessageSendParams {
	return &a2a.MessageSendParams{Message: a2a.NewMessage(a2a.MessageRoleUser, append([]a2a.Part{a2a.TextPart{Text: text}}, more...)...)}
}

// eachVersion runs a test with clients of both versions.
func eachVersion(t *testing.T, f func(t *testing.T, version string)) {
	for _, v := range []string{"0.3", "1.0"} {
		t.Run(v, func(t *testing.T) { f(t, v) })
	}
}

func TestSend(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		a, net := start(t)
		c := dial(t, net, version)
		parts := []a2a.Part{
			a2a.DataPart{Data: map[string]any{"n": 1.5, "list": []any{"a", nil, true}}, Metadata: map[string]any{"k": "v"}},
			a2a.FilePart{File: a2a.FileBytes{FileMeta: a2a.FileMeta{Name: "f.bin", MimeType: "application/octet-stream"}, Bytes: "AAECAw=="}},
			a2a.FilePart{File: a2a.FileURI{FileMeta: a2a.FileMeta{Name: "g"}, URI: "https://example.org/g"}},
		}
		res, err := c.SendMessage(t.Context(), say("hi", parts...))
		m, ok := res.(*a2a.Message)
		if err != nil || !ok || m.Role != a2a.MessageRoleAgent || textOf(m.Parts) != "you said hi" {
			t.Fatalf("%+v, %v", res, err)
		}
		if got, want := fmt.Sprintf("%+v", m.Parts[2:]), fmt.Sprintf("%+v", parts); got != want {
			t.Errorf("parts come back as\n%s\nwant\n%s", got, want)
		}
		res, err = c.SendMessage(t.Context(), say("count 3"))
		task, ok := res.(*a2a.Task)
		if err != nil || !ok || task.Status.State != a2a.TaskStateCompleted || len(task.Artifacts) != 1 || textOf(task.Artifacts[0].Parts) != "1 2 3" {
			t.Fatalf("%+v, %v", res, err)
		}
		if len(a.seen) != 2 || a.seen[0].Role != a2a.MessageRoleUser {
			t.Errorf("the agent has seen %+v", a.seen)
		}
		one := 1
		got, err := c.GetTask(t.Context(), &a2a.TaskQueryParams{ID: task.ID, HistoryLength: &one})
		if err != nil || got.ID != task.ID || got.ContextID != task.ContextID || len(got.History) != 1 || textOf(got.Artifacts[0].Parts) != "1 2 3" {
			t.Errorf("GetTask: %+v, %v", got, err)
		}
	})
}

// What a stream says, in short.
func short(e a2a.Event) string {
	switch e := e.(type) {
	case *a2a.Message:
		return "message " + textOf(e.Parts)
	case *a2a.Task:
		return "task " + string(e.Status.State)
	case *a2a.TaskStatusUpdateEvent:
		return fmt.Sprintf("%s %v", e.Status.State, e.Final)
	case *a2a.TaskArtifactUpdateEvent:
		return fmt.Sprintf("artifact %s %v", textOf(e.Artifact.Parts), e.Append)
	}
	return fmt.Sprintf("%T", e)
}

func TestStream(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		_, net := start(t)
		c := dial(t, net, version)
		var got []string
		for e, err := range c.SendStreamingMessage(t.Context(), say("count 3")) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, short(e))
		}
		if s := strings.Join(got, ", "); s != "working false, artifact 1 false, artifact 2 true, artifact 3 true, completed true" {
			t.Error(s)
		}
	})
}

// A caller that leaves a stream does not end the task: another one sees the rest of it, and may end it.
func TestResubscribeAndCancel(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		_, net := start(t)
		c := dial(t, net, version)
		var id a2a.TaskID
		for e, err := range c.SendStreamingMessage(t.Context(), say("work")) {
			if err != nil {
				t.Fatal(err)
			}
			id = e.TaskInfo().TaskID
			break
		}
		var last string
		cancelled := false
		for e, err := range c.ResubscribeToTask(t.Context(), &a2a.TaskIDParams{ID: id}) {
			if err != nil {
				t.Fatal(err)
			}
			if last = short(e); cancelled {
				continue
			}
			cancelled = true
			if task, err := c.CancelTask(t.Context(), &a2a.TaskIDParams{ID: id}); err != nil || task.Status.State != a2a.TaskStateCanceled {
				t.Fatalf("cancelled, the task is %+v, %v", task, err)
			}
		}
		if last != "canceled true" {
			t.Errorf("the last word to a subscriber is %q", last)
		}
		_, err := c.CancelTask(t.Context(), &a2a.TaskIDParams{ID: "nobody's"})
		if !errors.Is(err, a2a.ErrTaskNotFound) {
			t.Errorf("cancelling what there is not: %v", err)
		}
	})
}

func TestPushConfig(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		_, net := start(t)
		c := dial(t, net, version)
		res, err := c.SendMessage(t.Context(), say("count 1"))
		if err != nil {
			t.Fatal(err)
		}
		id := res.TaskInfo().TaskID
		want := a2a.TaskPushConfig{TaskID: id, Config: a2a.PushConfig{
			ID: "one", URL: "https://example.org/hook", Token: "t", Auth: &a2a.PushAuthInfo{Schemes: []string{"Bearer"}, Credentials: "c"},
		}}
		same := func(what string, got *a2a.TaskPushConfig, err error) {
			t.Helper()
			if err != nil || got.TaskID != id || got.Config.ID != "one" || got.Config.URL != want.Config.URL || got.Config.Token != "t" ||
				got.Config.Auth == nil || fmt.Sprint(*got.Config.Auth) != fmt.Sprint(*want.Config.Auth) {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
		}
		got, err := c.SetTaskPushConfig(t.Context(), &want)
		same("set", got, err)
		got, err = c.GetTaskPushConfig(t.Context(), &a2a.GetTaskPushConfigParams{TaskID: id, ConfigID: "one"})
		same("get", got, err)
		list, err := c.ListTaskPushConfig(t.Context(), &a2a.ListTaskPushConfigParams{TaskID: id})
		if len(list) != 1 {
			t.Fatalf("list: %+v, %v", list, err)
		}
		same("list", list[0], err)
		if err := c.DeleteTaskPushConfig(t.Context(), &a2a.DeleteTaskPushConfigParams{TaskID: id, ConfigID: "one"}); err != nil {
			t.Error("delete: ", err)
		}
		_, err = c.GetTaskPushConfig(t.Context(), &a2a.GetTaskPushConfigParams{TaskID: id, ConfigID: "one"})
		if !errors.Is(err, a2a.ErrTaskNotFound) {
			t.Errorf("get, when it is deleted: %v", err)
		}
		bad := want
		bad.Config.URL = "no URL"
		if _, err := c.SetTaskPushConfig(t.Context(), &bad); !errors.Is(err, a2a.ErrInvalidParams) {
			t.Errorf("a bad URL: %v", err)
		}
	})
}

// The extended card goes to callers of both versions; without one, callers of 0.3 get the public one.
func TestCards(t *testing.T) {
	extended := card("1.0")
	extended.Name, extended.SupportsAuthenticatedExtendedCard = "Counter for friends", true
	for _, c := range []struct {
		name, version, want string
		options             []a2asrv.RequestHandlerOption
		server              a2aslim.ServerOptions
	}{
		{"extended, 1.0", "1.0", extended.Name, []a2asrv.RequestHandlerOption{a2asrv.WithExtendedAgentCard(extended)}, a2aslim.ServerOptions{Card: card("0.3")}},
		{"extended, 0.3", "0.3", extended.Name, []a2asrv.RequestHandlerOption{a2asrv.WithExtendedAgentCard(extended)}, a2aslim.ServerOptions{Card: card("0.3")}},
		{"public, 1.0", "1.0", "", nil, a2aslim.ServerOptions{Card: card("0.3")}},
		{"public, 0.3", "0.3", "Counter", nil, a2aslim.ServerOptions{Card: card("0.3")}},
		{"none", "0.3", "", nil, a2aslim.ServerOptions{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := serve(t, a2asrv.NewHandler(&agent{}, c.options...), c.server)
			app := net.App("org/ns/client")
			client := rpc.NewClient(app, session.MustName("org/ns/agent"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
			defer client.Close(context.Background())
			version := map[string]a2aslim.Version{"1.0": a2aslim.V1, "0.3": a2aslim.V03}[c.version]
			got, err := a2aslim.NewTransport(client, version).GetAgentCard(t.Context())
			if c.want == "" {
				if !errors.Is(err, a2a.ErrAuthenticatedExtendedCardNotConfigured) {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if err != nil || got.Name != c.want || got.URL != "org/ns/agent" || got.PreferredTransport != a2aslim.Transport ||
				!got.Capabilities.Streaming || len(got.Skills) != 1 || got.Skills[0].ID != "count" {
				t.Fatalf("%+v, %v", got, err)
			}
			if c.version == "1.0" && (got.ProtocolVersion != "1.0" || !got.SupportsAuthenticatedExtendedCard) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What a caller says beside its request, and who it is.
func TestCallContext(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		a, net := start(t)
		transports := a2aslim.Transports(net.App("org/ns/client"), a2aslim.ClientOptions{})
		c, err := a2aclient.NewFromCard(t.Context(), card(version), transports...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Destroy()
		c.AddCallInterceptor(saying{"Authorization": {"Bearer x"}, a2asrv.ExtensionsMetaKey: {"https://example.org/a", "https://example.org/b"}})
		if _, err := c.SendMessage(t.Context(), say("hi")); err != nil {
			t.Fatal(err)
		}
		call := a.calls[0]
		if v, _ := call.RequestMeta().Get("authorization"); len(v) != 1 || v[0] != "Bearer x" {
			t.Errorf("authorization %q", v)
		}
		if v, _ := call.RequestMeta().Get("a2a-version"); len(v) != 1 || v[0] != version {
			t.Errorf("version %q, want %s", v, version)
		}
		if uris := call.Extensions().RequestedURIs(); fmt.Sprint(uris) != "[https://example.org/a https://example.org/b]" {
			t.Errorf("extensions %q", uris)
		}
		if call.User == nil || !call.User.Authenticated() || call.User.Name() == "" {
			t.Errorf("user %+v", call.User)
		}
	})
}

// saying adds to what calls say.
type saying a2aclient.CallMeta

func (s saying) Before(ctx context.Context, r *a2aclient.Request) (context.Context, error) {
	for k, v := range s {
		r.Meta[k] = v
	}
	return ctx, nil
}

func (saying) After(context.Context, *a2aclient.Response) error { return nil }
