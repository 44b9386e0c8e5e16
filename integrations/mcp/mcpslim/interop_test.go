//go:build interop

package mcpslim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed31b3bfd0/slimgo/internal/venv"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
)

const (
	secret = "a secret of all, 32 bytes or more" // that of examples/tools/peer.py
	limit  = time.Minute                         // of any wait for another process
)

// event is what a peer says in a line.
type event struct {
	Event, Server, Text, URI, Method, Error string
	Names                                   []string
	Failed, OK, Right                       bool
	Done                                    float64
	Size                                    int
}

// python is a process of examples/tools/peer.py.
type python struct {
	t      *testing.T
	cmd    *exec.Cmd
	events chan event
}

// startNode starts a node of ours, and returns its URL.
func startNode(t *testing.T) string {
	t.Helper()
	n, err := router.Start(context.Background(), router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	return "http://" + n.Addrs()[0].String()
}

func connectApp(t *testing.T, node, name string) *session.App {
	t.Helper()
	app, err := session.Connect(t.Context(), session.Options{Name: session.MustName(name), Secret: []byte(secret), Nodes: []string{node}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_ = app.Close(ctx)
	})
	return app
}

// startPython starts it, and returns when it has said something. It is started again where it ends before: the library gives a node five
// seconds to answer, and then up.
func startPython(t *testing.T, args ...string) *python {
	t.Helper()
	for range 2 {
		if p, speaks := launch(t, args...); speaks {
			return p
		}
		t.Logf("%v is started again", args)
	}
	p, _ := launch(t, args...)
	return p
}

func launch(t *testing.T, args ...string) (p *python, speaks bool) {
	t.Helper()
	interpreter := venv.Python(t, "python-slim-mcp-0.2.3", "../examples/tools/requirements.txt")
	p = &python{t: t, cmd: exec.Command(interpreter, append([]string{"../examples/tools/peer.py"}, args...)...), events: make(chan event, 1000)}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var errs strings.Builder
	p.cmd.Stderr = &errs
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan bool, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(p.events)
		defer func() { trySend(said, false) }()
		in := bufio.NewScanner(out)
		in.Buffer(nil, 4<<20)
		for in.Scan() {
			var e event
			if json.Unmarshal(in.Bytes(), &e) == nil && e.Event != "" {
				p.events <- e
				trySend(said, true)
			}
		}
	})
	t.Cleanup(func() {
		p.kill()
		reading.Wait()
		_ = p.cmd.Wait()
		if t.Failed() {
			text := errs.String()
			t.Logf("%v says at last:\n%s", args, text[max(0, len(text)-3000):])
		}
	})
	return p, <-said
}

// trySend sends x if nobody has sent yet.
func trySend(c chan<- bool, x bool) {
	select {
	case c <- x:
	default:
	}
}

func (p *python) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// expect returns the next event of that name; others are passed over, but one that says that the session is broken.
func (p *python) expect(name string) event {
	p.t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case e, ok := <-p.events:
			switch {
			case !ok:
				p.t.Fatalf("the peer ended without %q", name)
			case e.Event == name:
				return e
			case e.Event == "broken":
				p.t.Fatalf("the peer's session is broken: %s", e.Error)
			}
		case <-timeout:
			p.t.Fatalf("no %q", name)
		}
	}
}

// wantText wants the result of a tool.
func (p *python) wantText(want string) {
	p.t.Helper()
	if e := p.expect("result"); e.Text != want || e.Failed {
		p.t.Errorf("result %.100q, failed=%v, want %q", e.Text, e.Failed, want)
	}
}

// Everything that a client of slim-mcp can ask of a server of ours, and two such clients at once.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	b := serve(t, connectApp(t, node, serverName), ServerOptions{})
	clients := []*python{startPython(t, "call", "--node", node, "--name", "org/ns/py1"), startPython(t, "call", "--node", node, "--name", "org/ns/py2")}
	for _, p := range clients {
		if e := p.expect("connected"); e.Server != "tools" {
			t.Errorf("connected to %q", e.Server)
		}
		if e := p.expect("tools"); !slices.Equal(e.Names, []string{"count", "echo", "fail", "hold", "large", "panic", "wait", "who"}) {
			t.Errorf("tools %v", e.Names)
		}
		p.wantText("you said grüezi")
		if e := p.expect("resource"); e.URI != "file:///readme" || e.Text != "read me" {
			t.Errorf("resource %+v", e)
		}
		for want := 1.0; want <= 3; want++ {
			if e := p.expect("progress"); e.Done != want {
				t.Errorf("progress %v, want %v", e.Done, want)
			}
		}
		p.wantText("counted")
		if e := p.expect("large"); e.Size != 1<<20 || !e.Right {
			t.Errorf("large: %+v, want 1 MiB of it", e)
		}
		if e := p.expect("cancelled"); !e.OK {
			t.Error("a call that was cancelled has a result")
		}
		<-b.begun
		<-b.over
		p.wantText("you said the end")
		p.expect("done")
	}
	b.close(t)
}

// A notification that no call asks for gets to a client of slim-mcp, one that is killed in a call leaves nothing, and one that calls a
// server that is killed finds the next.
func TestPythonClientVanishes(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	app := connectApp(t, node, serverName)
	b := serve(t, app, ServerOptions{})
	p := startPython(t, "call", "--node", node, "--name", "org/ns/py1", "--tool", "wait")
	p.expect("calling")
	<-b.begun
	b.tools.RemoveTools("fail")
	if e := p.expect("notification"); e.Method != "notifications/tools/list_changed" {
		t.Errorf("notification %q", e.Method)
	}
	p.kill()
	if err := <-b.over; !errors.Is(err, ErrPeerOffline) {
		t.Errorf("the tool's context ended with %v, want %v", err, ErrPeerOffline)
	}
	killed, cancel := context.WithCancel(t.Context())
	cancel()
	_ = app.Stop(killed)
	<-b.served
	anew := serve(t, connectApp(t, node, serverName), ServerOptions{})
	p = startPython(t, "call", "--node", node, "--name", "org/ns/py1", "--tool", "echo", "--arguments", `{"Text": "back"}`)
	p.wantText("you said back")
	p.expect("done")
	anew.close(t)
}

// Everything that a client of ours can ask of a server of slim-mcp, in sessions as that package opens them, and encrypted.
func TestPythonServer(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	p := startPython(t, "serve", "--node", node, "--name", serverName)
	p.expect("ready")
	for _, plain := range []bool{true, false} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			p.t = t
			var clients sync.WaitGroup
			for _, name := range []string{"org/ns/alice", "org/ns/bob"} {
				clients.Go(func() {
					progress, changed := make(chan float64, 10), make(chan struct{}, 10)
					s := connect(t, connectApp(t, node, name), session.SessionOptions{Plain: plain}, &mcp.ClientOptions{
						ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
						ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
					})
					defer s.Close()
					tools, err := s.ListTools(t.Context(), nil)
					if err != nil || len(tools.Tools) != 4 {
						t.Errorf("tools: %v, %v", tools, err)
					}
					wantCall(t, s, "echo", textIn{"grüezi"}, "you said grüezi")
					wantCall(t, s, "large", countIn{1 << 20}, strings.Repeat("x", 1<<20))
					res, err := s.ReadResource(t.Context(), &mcp.ReadResourceParams{URI: "file:///readme"})
					if err != nil || res.Contents[0].Text != "read me" {
						t.Errorf("resource: %v, %v", res, err)
					}
					call := &mcp.CallToolParams{Name: "count", Arguments: countIn{3}}
					call.SetProgressToken("token")
					if _, err := s.CallTool(t.Context(), call); err != nil {
						t.Error(err)
					}
					for want := 1.0; want <= 3; want++ {
						if got := <-progress; got != want {
							t.Errorf("progress %v, want %v", got, want)
						}
					}
					<-changed
				})
			}
			clients.Wait()
			s := connect(t, connectApp(t, node, "org/ns/carol"), session.SessionOptions{Plain: plain}, nil)
			defer s.Close()
			ctx, cancel := context.WithCancel(t.Context())
			go func() { p.expect("begun"); cancel() }()
			if _, err := call(ctx, s, "wait", nil); !errors.Is(err, context.Canceled) {
				t.Errorf("wait: %v, want a context canceled", err)
			}
			p.expect("over")
			wantCall(t, s, "echo", textIn{"the end"}, "you said the end")
		})
	}
}

// A server of slim-mcp that is killed fails the call that it had, and the next connection finds the one that was started anew.
func TestPythonServerComesBack(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	p := startPython(t, "serve", "--node", node, "--name", serverName)
	p.expect("ready")
	app := connectApp(t, node, aliceName)
	s := connect(t, app, session.SessionOptions{Plain: true}, nil)
	go func() { p.expect("begun"); p.kill() }()
	if _, err := call(t.Context(), s, "wait", nil); !errors.Is(err, ErrPeerOffline) {
		t.Errorf("wait: %v, want %v", err, ErrPeerOffline)
	}
	anew := startPython(t, "serve", "--node", node, "--name", serverName)
	anew.expect("ready")
	s = connect(t, app, session.SessionOptions{Plain: true}, nil)
	wantCall(t, s, "echo", textIn{"back"}, "you said back")
	_ = s.Close()
}
