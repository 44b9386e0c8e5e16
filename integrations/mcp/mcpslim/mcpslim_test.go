package mcpslim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

const (
	aliceName  = "org/ns/alice"
	serverName = "org/ns/tools"
)

type (
	textIn  struct{ Text string }
	countIn struct{ N int }
)

// bench is a server with some tools, which a test can look into.
type bench struct {
	*Server
	tools   *mcp.Server
	app     *session.App
	stop    context.CancelFunc // of Serve
	served  chan error         // what that has returned
	begun   chan struct{}      // "wait" was called
	over    chan error         // the cause of the end of a context of "wait"
	caller  chan Caller        // of "who"
	proceed chan struct{}      // "hold" goes on
}

// serve serves tools in a network.
func serve(t *testing.T, app *session.App, o ServerOptions) *bench {
	t.Helper()
	tools := mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "v1"}, nil)
	b := &bench{
		Server: NewServer(app, tools, o), tools: tools, app: app, served: make(chan error, 1), begun: make(chan struct{}, 10_000),
		over: make(chan error, 10_000), caller: make(chan Caller, 1), proceed: make(chan struct{}),
	}
	mcp.AddTool(tools, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in textIn) (*mcp.CallToolResult, any, error) {
		return text("you said " + in.Text), nil, nil
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "large"}, func(_ context.Context, _ *mcp.CallToolRequest, in countIn) (*mcp.CallToolResult, any, error) {
		return text(strings.Repeat("x", in.N)), nil, nil
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "panic"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		panic("a tool's own fault")
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "fail"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return nil, nil, errors.New("no such thing")
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "who"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		caller, ok := CallerOf(r.Extra)
		b.caller <- caller
		return text(fmt.Sprint(ok)), nil, nil
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "count"}, func(ctx context.Context, r *mcp.CallToolRequest, in countIn) (*mcp.CallToolResult, any, error) {
		for i := range in.N {
			p := &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1), Total: float64(in.N)}
			if err := r.Session.NotifyProgress(ctx, p); err != nil {
				return nil, nil, err
			}
		}
		return text("counted"), nil, nil
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "wait"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		b.begun <- struct{}{}
		if token := r.Params.GetProgressToken(); token != nil { // who asks hears that it has begun
			_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: 1})
		}
		<-ctx.Done()
		b.over <- context.Cause(ctx)
		return nil, nil, ctx.Err()
	})
	mcp.AddTool(tools, &mcp.Tool{Name: "hold"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		b.begun <- struct{}{}
		<-b.proceed
		return text("held"), nil, nil
	})
	tools.AddResource(&mcp.Resource{URI: "file:///readme", Name: "readme"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "file:///readme", Text: "read me"}}}, nil
	})
	ctx, stop := context.WithCancel(t.Context())
	b.stop = stop
	go func() { b.served <- b.Serve(ctx) }()
	return b
}

// close ends the server, and wants everything back.
func (b *bench) close(t *testing.T) {
	t.Helper()
	b.stop()
	if err := <-b.served; !errors.Is(err, context.Canceled) {
		t.Errorf("Serve: %v, want the error of its context", err)
	}
	if n := b.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions are served after the end", n)
	}
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}

func connect(t *testing.T, app *session.App, o session.SessionOptions, client *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "alice", Version: "v1"}, client)
	s, err := c.Connect(t.Context(), &ClientTransport{App: app, Server: session.MustName(serverName), Session: o}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call calls a tool and returns its text.
func call(ctx context.Context, s *mcp.ClientSession, tool string, args any) (string, error) {
	res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		return "", err
	}
	text := res.Content[0].(*mcp.TextContent).Text
	if res.IsError {
		return "", errors.New(text)
	}
	return text, nil
}

func wantCall(t *testing.T, s *mcp.ClientSession, tool string, args any, want string) {
	t.Helper()
	if got, err := call(t.Context(), s, tool, args); err != nil || got != want {
		t.Errorf("%s: %.100q, %v; want %.100q", tool, got, err, want)
	}
}

// wantCode wants an error of JSON-RPC.
func wantCode(t *testing.T, err error, code int64) {
	t.Helper()
	var e *jsonrpc.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want one of code %d", err, code)
	}
}

// inNetwork runs a test in a network in simulated time.
func inNetwork(t *testing.T, o sessiontest.Options, f func(t *testing.T, net *sessiontest.Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, sessiontest.New(t, o))
	})
}

// What a client can ask of a server, in a session of either kind, over a network that loses and reorders.
func TestToolsAndResources(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			inNetwork(t, sessiontest.Options{Loss: 0.05, Reorder: 0.05}, func(t *testing.T, net *sessiontest.Net) {
				b := serve(t, net.App(serverName), ServerOptions{})
				alice := net.App(aliceName)
				changed, progress := make(chan struct{}, 10), make(chan float64, 10)
				s := connect(t, alice, session.SessionOptions{Plain: plain}, &mcp.ClientOptions{
					ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
					ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
				})
				tools, err := s.ListTools(t.Context(), nil)
				if err != nil || len(tools.Tools) != 8 {
					t.Fatalf("tools: %v, %v, want eight", tools, err)
				}
				wantCall(t, s, "echo", textIn{"grüezi <&>"}, "you said grüezi <&>")
				if _, err := call(t.Context(), s, "fail", nil); err == nil || err.Error() != "no such thing" {
					t.Errorf("fail: %v", err)
				}
				wantCall(t, s, "large", countIn{1 << 20}, strings.Repeat("x", 1<<20))
				res, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "file:///readme"})
				if err != nil || res.Contents[0].Text != "read me" {
					t.Errorf("resource: %v, %v", res, err)
				}
				p := &mcp.CallToolParams{Name: "count", Arguments: countIn{3}}
				p.SetProgressToken("token")
				if _, err := s.CallTool(t.Context(), p); err != nil {
					t.Error(err)
				}
				for want := 1.0; want <= 3; want++ {
					if got := <-progress; got != want {
						t.Errorf("progress %v, want %v", got, want)
					}
				}
				b.tools.RemoveTools("fail")
				<-changed
				wantCall(t, s, "who", nil, fmt.Sprint(!plain))
				want := Caller{Subject: alice.Subject(), Name: alice.Name()}
				if plain {
					want = Caller{}
				}
				if got := <-b.caller; got != want {
					t.Errorf("caller %+v, want %+v", got, want)
				}
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				b.close(t)
			})
		})
	}
}

// A call that its caller gives up is over for the tool.
func TestCancellation(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		s := connect(t, net.App(aliceName), session.SessionOptions{}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-b.begun; cancel() }()
		if _, err := call(ctx, s, "wait", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("call: %v, want a context canceled", err)
		}
		<-b.over
		wantCall(t, s, "echo", textIn{"on"}, "you said on")
		_ = s.Close()
		b.close(t)
	})
}

// Clients share nothing: neither ids of calls nor the fate of others.
func TestClientsAtOnce(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		waiting := connect(t, net.App("org/ns/bob"), session.SessionOptions{}, nil)
		var waited sync.WaitGroup
		waited.Go(func() {
			if _, err := call(t.Context(), waiting, "wait", nil); err == nil {
				t.Error("a call of a session that was closed has a result")
			}
		})
		<-b.begun
		alice := net.App(aliceName)
		s := connect(t, alice, session.SessionOptions{}, nil)
		other := connect(t, alice, session.SessionOptions{}, nil)
		if s.ID() == other.ID() {
			t.Errorf("two sessions are called %s", s.ID())
		}
		var calls sync.WaitGroup
		for i := range 50 {
			for _, s := range []*mcp.ClientSession{s, other} {
				calls.Go(func() { wantCall(t, s, "echo", textIn{fmt.Sprint(i)}, fmt.Sprintf("you said %d", i)) })
			}
		}
		calls.Wait()
		if n := b.Stats().Sessions; n != 3 {
			t.Errorf("%d sessions are served, want 3", n)
		}
		_ = other.Close()
		b.stop() // with a call under way
		waited.Wait()
		<-b.over
		b.close(t)
	})
}

// A client that vanishes in the middle of a call takes nothing with it, and leaves nothing.
func TestClientVanishes(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		s := connect(t, net.App(aliceName), session.SessionOptions{}, nil)
		failed := make(chan error)
		go func() {
			_, err := call(t.Context(), s, "wait", nil)
			failed <- err
		}()
		<-b.begun
		synctest.Wait() // until it is acknowledged
		net.Partition(aliceName)
		if err := <-b.over; !errors.Is(err, ErrPeerOffline) {
			t.Errorf("the tool's context ended with %v, want %v", err, ErrPeerOffline)
		}
		if err := <-failed; !errors.Is(err, ErrPeerOffline) {
			t.Errorf("the call failed with %v, want %v", err, ErrPeerOffline)
		}
		net.Heal()
		again := connect(t, net.App("org/ns/bob"), session.SessionOptions{}, nil)
		wantCall(t, again, "echo", textIn{"still"}, "you said still")
		_ = again.Close()
		time.Sleep(closeTime)
		if n := b.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are served, want none", n)
		}
		b.close(t)
	})
}

// A server that is killed fails the calls that it had; the next connection finds the new one.
func TestServerComesBack(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		alice := net.App(aliceName)
		s := connect(t, alice, session.SessionOptions{}, nil)
		failed := make(chan error)
		go func() {
			_, err := call(t.Context(), s, "wait", nil)
			failed <- err
		}()
		<-b.begun
		synctest.Wait() // until it is acknowledged
		begun := time.Now()
		net.Crash(serverName)
		if err := <-failed; !errors.Is(err, ErrPeerOffline) {
			t.Errorf("the call failed with %v, want %v", err, ErrPeerOffline)
		}
		if d := time.Since(begun); d > time.Minute {
			t.Errorf("it took %v", d)
		}
		if _, err := call(t.Context(), s, "echo", textIn{"?"}); !errors.Is(err, mcp.ErrConnectionClosed) {
			t.Errorf("a call after that: %v, want %v", err, mcp.ErrConnectionClosed)
		}
		if err := s.Wait(); !errors.Is(err, ErrPeerOffline) {
			t.Errorf("Wait: %v, want %v", err, ErrPeerOffline)
		}
		b.stop()
		<-b.served
		anew := serve(t, net.App(serverName), ServerOptions{})
		s = connect(t, alice, session.SessionOptions{}, nil)
		wantCall(t, s, "echo", textIn{"back"}, "you said back")
		_ = s.Close()
		anew.close(t)
	})
}

// Nobody of that name: Connect says so.
func TestNoServer(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		c := mcp.NewClient(&mcp.Implementation{Name: "alice", Version: "v1"}, nil)
		_, err := c.Connect(t.Context(), &ClientTransport{App: net.App(aliceName), Server: session.MustName(serverName)}, nil)
		if !errors.Is(err, session.ErrTimeout) {
			t.Errorf("Connect: %v, want %v", err, session.ErrTimeout)
		}
	})
}

// A tool that panics fails its call; the server and the session go on.
func TestToolPanics(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		s := connect(t, net.App(aliceName), session.SessionOptions{}, nil)
		_, err := call(t.Context(), s, "panic", nil)
		wantCode(t, err, jsonrpc.CodeInternalError)
		wantCall(t, s, "echo", textIn{"on"}, "you said on")
		if n := b.Stats().Panics; n != 1 {
			t.Errorf("%d panics, want one", n)
		}
		_ = s.Close()
		b.close(t)
	})
}

// What is longer than a message of a session may be is an error of that call, in both directions.
func TestTooLarge(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		s := connect(t, net.App(aliceName), session.SessionOptions{}, nil)
		_, err := call(t.Context(), s, "large", countIn{session.MaxContent})
		wantCode(t, err, jsonrpc.CodeInternalError)
		_, err = call(t.Context(), s, "echo", textIn{strings.Repeat("x", session.MaxContent)})
		wantCode(t, err, CodeTooLarge)
		wantCall(t, s, "large", countIn{session.MaxContent - 1000}, strings.Repeat("x", session.MaxContent-1000))
		_ = s.Close()
		b.close(t)
	})
}

// Sessions that MCP cannot be spoken over, and those that the server does not want, are declined.
func TestDeclined(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{Sessions: 1, Accept: func(i *session.Invitation) error {
			if i.From.Same(session.MustName("org/ns/mallory")) {
				return errors.New("not you")
			}
			return nil
		}})
		open := func(app *session.App, o session.SessionOptions, reason string) {
			t.Helper()
			_, err := app.Open(t.Context(), session.MustName(serverName), o)
			var declined *session.Declined
			if !errors.As(err, &declined) || declined.Reason != reason {
				t.Errorf("Open: %v, want a refusal: %s", err, reason)
			}
		}
		alice := net.App(aliceName)
		open(alice, session.SessionOptions{Unreliable: true}, "MCP needs a session that is reliable")
		open(net.App("org/ns/mallory"), session.SessionOptions{}, "not you")
		g, err := alice.OpenGroup(t.Context(), session.MustName("org/ns/group"), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Invite(t.Context(), session.MustName(serverName)); !errors.Is(err, session.ErrDeclined) {
			t.Errorf("Invite: %v, want %v", err, session.ErrDeclined)
		}
		if _, err := (&ClientTransport{App: alice, Server: session.MustName(serverName), Session: session.SessionOptions{Unreliable: true}}).Connect(t.Context()); !errors.Is(err, session.ErrConfig) {
			t.Errorf("Connect: %v, want %v", err, session.ErrConfig)
		}
		s := connect(t, alice, session.SessionOptions{}, nil)
		open(alice, session.SessionOptions{}, "1 clients are served, and no more at a time")
		wantCall(t, s, "echo", textIn{"one"}, "you said one")
		_ = s.Close()
		b.close(t)
	})
}

// speaker is a client that says what it likes.
type speaker struct {
	t *testing.T
	s *session.Session
}

func speak(t *testing.T, app *session.App) *speaker {
	t.Helper()
	s, err := app.Open(t.Context(), session.MustName(serverName), session.SessionOptions{Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	return &speaker{t, s}
}

func (p *speaker) say(text string) {
	p.t.Helper()
	if _, err := p.s.Publish(p.t.Context(), session.Text(text)); err != nil {
		p.t.Fatal(err)
	}
}

// initialize says what a client begins with.
func (p *speaker) initialize() {
	p.t.Helper()
	p.say(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	p.hear()
	p.say(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

// answer is a response as it stands on the wire.
type answer struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *jsonrpc.Error  `json:"error"`
}

func (p *speaker) hear() answer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Hour) // simulated
	defer cancel()
	m, err := p.s.Receive(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		p.t.Fatalf("%s: %v", m.Data, err)
	}
	return a
}

// Whatever a client says, it gets the error that JSON-RPC has for it, and the session goes on.
func TestMalformed(t *testing.T) {
	const ping = `{"jsonrpc":"2.0","id":"after","method":"ping"}`
	for _, c := range []struct {
		name, says string
		id         string // of the answer; empty: there is none
		code       int64
		counted    uint64
	}{
		{"nothing", "", "null", jsonrpc.CodeParseError, 1},
		{"no JSON", "hello", "null", jsonrpc.CodeParseError, 1},
		{"no text", "\xff\xfe\x00", "null", jsonrpc.CodeParseError, 1},
		{"two messages in one", ping + ping, "null", jsonrpc.CodeParseError, 1},
		{"a message that is cut", ping[:20], "null", jsonrpc.CodeParseError, 1},
		{"deep nesting", strings.Repeat("[", 1<<20), "null", jsonrpc.CodeParseError, 1},
		{"deep nesting in parameters", `{"jsonrpc":"2.0","id":7,"method":"ping","params":` + strings.Repeat(`{"a":`, 100_000), "null", jsonrpc.CodeParseError, 1},
		{"a batch", "[" + ping + "]", "null", jsonrpc.CodeInvalidRequest, 1},
		{"another version of JSON-RPC", `{"jsonrpc":"1.0","id":7,"method":"ping"}`, "7", jsonrpc.CodeInvalidRequest, 1},
		{"no version", `{"id":"x","method":"ping"}`, `"x"`, jsonrpc.CodeInvalidRequest, 1},
		{"an id that is none", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, "null", jsonrpc.CodeInvalidRequest, 1},
		{"a method that is none", `{"jsonrpc":"2.0","id":7,"method":7}`, "7", jsonrpc.CodeInvalidRequest, 1},
		{"an unknown method", `{"jsonrpc":"2.0","id":7,"method":"fly"}`, "7", jsonrpc.CodeMethodNotFound, 0},
		{"parameters that are none", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":[]}`, "7", jsonrpc.CodeInvalidParams, 0},
		{"an unknown tool", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"fly"}}`, "7", jsonrpc.CodeInvalidParams, 0},
		{"a number", "7", "null", jsonrpc.CodeInvalidRequest, 1},
		{"an error of nobody's call", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}`, "", 0, 1},
		{"a response to a call that nobody has made", `{"jsonrpc":"2.0","id":99,"result":{}}`, "", 0, 0},
		{"an unknown notification", `{"jsonrpc":"2.0","method":"notifications/fly"}`, "", 0, 0},
		{"cancellation of an unknown call", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99}}`, "", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
				b := serve(t, net.App(serverName), ServerOptions{})
				p := speak(t, net.App(aliceName))
				p.initialize()
				p.say(c.says)
				if c.id != "" {
					if a := p.hear(); a.Error == nil || a.Error.Code != c.code || string(a.ID) != c.id {
						t.Errorf("answer to %s: %+v; want code %d", a.ID, a.Error, c.code)
					}
				}
				p.say(ping)
				if a := p.hear(); string(a.ID) != `"after"` || a.Error != nil {
					t.Errorf("the session does not go on: %+v", a)
				}
				if n := b.Stats().Malformed; n != c.counted {
					t.Errorf("%d messages counted, want %d", n, c.counted)
				}
				b.close(t)
			})
		})
	}
}

// One that goes on with that loses its session, and only that.
func TestMalformedWithoutEnd(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		alice := net.App(aliceName)
		p := speak(t, alice)
		for range mostMalformed {
			p.say("?")
		}
		<-p.s.Done()
		s := connect(t, alice, session.SessionOptions{}, nil)
		wantCall(t, s, "echo", textIn{"on"}, "you said on")
		_ = s.Close()
		b.close(t)
	})
}

// More calls than a session may have at a time are refused, and the others are served.
func TestCallsBeyondBound(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		const calls, beyond = 20, 300
		b := serve(t, net.App(serverName), ServerOptions{Calls: calls})
		s := connect(t, net.App(aliceName), session.SessionOptions{}, nil)
		results := make(chan error, calls+beyond)
		for range calls {
			go func() {
				_, err := call(t.Context(), s, "hold", nil)
				results <- err
			}()
		}
		for range calls {
			<-b.begun
		}
		for range beyond {
			_, err := call(t.Context(), s, "hold", nil)
			wantCode(t, err, CodeBusy)
		}
		close(b.proceed)
		for range calls {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		wantCall(t, s, "echo", textIn{"on"}, "you said on")
		if n := b.Stats().Busy; n != beyond {
			t.Errorf("%d calls were refused, want %d", n, beyond)
		}
		_ = s.Close()
		b.close(t)
	})
}

// A call of an id that is in use is refused without harm to that which uses it.
func TestIDTwice(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		p := speak(t, net.App(aliceName))
		p.initialize()
		const hold = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"hold","arguments":{}}}`
		p.say(hold)
		<-b.begun
		p.say(hold)
		if a := p.hear(); a.Error == nil || a.Error.Code != jsonrpc.CodeInvalidRequest || string(a.ID) != "null" {
			t.Errorf("answer to %s: %+v, want an error of nobody's", a.ID, a.Error)
		}
		close(b.proceed)
		if a := p.hear(); string(a.ID) != "2" || a.Error != nil {
			t.Errorf("answer to %s: %+v, want the result of 2", a.ID, a.Error)
		}
		b.close(t)
	})
}

// A client that leaves in the middle of calls, again and again, leaves no calls behind.
func TestClientsComeAndGo(t *testing.T) {
	inNetwork(t, sessiontest.Options{}, func(t *testing.T, net *sessiontest.Net) {
		b := serve(t, net.App(serverName), ServerOptions{})
		alice := net.App(aliceName)
		for range 20 {
			p := speak(t, alice)
			p.initialize()
			for i := range 20 {
				p.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"wait","arguments":{}}}`, i+2))
			}
			for range 20 {
				<-b.begun
			}
			if err := p.s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				if err := <-b.over; !errors.Is(err, io.EOF) {
					t.Errorf("a tool's context ended with %v, want %v", err, io.EOF)
				}
			}
		}
		b.close(t)
	})
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "[]", "null", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1.5,"method":"x"}`,
		`{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":"x"}}`, `{"jsonrpc":"2.0","method":"x","params":[{}]}`, `{"id":{},"method":[]}`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, refused := decode(b)
		if (m == nil) == (refused == nil) {
			t.Fatalf("%q is %v and %v: want either", b, m, refused)
		}
		if m != nil {
			if _, err := jsonrpc.EncodeMessage(m); err != nil {
				t.Errorf("%q is a message that cannot be written: %v", b, err)
			}
			return
		}
		// The other end does not answer our answer: that would go on for ever.
		if _, again := decode(refused.answer()); !refused.id.IsValid() && (again == nil || !again.silent) {
			t.Errorf("the answer to %q is answered, %s", b, refused.answer())
		}
	})
}
