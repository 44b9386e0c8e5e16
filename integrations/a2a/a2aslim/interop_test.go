//go:build interop

package a2aslim_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2aclient"
	"github.com/a2aproject/a2a-go/a2asrv"
	"github.com/a2aproject/a2a-go/a2asrv/push"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/a2aslim"
	"github.com/seed31b3bfd0/slimgo/internal/venv"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

const interopSecret = "a secret of all apps, 32 bytes or more"

// python returns the interpreter of a virtual environment with slima2a.
func python(t *testing.T) string {
	t.Helper()
	return venv.Python(t, "python-slima2a-0.9.3", "testdata/requirements.txt")
}

// startNode starts a node of ours in this process, and returns its address.
func startNode(t *testing.T) string {
	t.Helper()
	n, err := router.Start(t.Context(), router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "interop"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Shutdown(context.Background()) })
	return n.Addrs()[0].String()
}

// connect is an app of ours at a node.
func connect(t *testing.T, node, name string) *session.App {
	t.Helper()
	app, err := session.Connect(t.Context(), session.Options{Name: session.MustName(name), Secret: []byte(interopSecret), Nodes: []string{node}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close(context.Background()) })
	return app
}

// peer is a process of testdata/peer.py.
type peer struct {
	in    io.Writer
	lines *bufio.Scanner
	log   bytes.Buffer
}

// startPeer starts it, and returns when it is ready. It is started again where it ends before: the library gives a node five seconds to
// answer, and then up.
func startPeer(t *testing.T, node, name string, args ...string) *peer {
	t.Helper()
	for range 3 {
		if p := launch(t, node, name, args...); p.lines.Scan() {
			return p
		}
		t.Logf("%s %v has ended", name, args)
	}
	t.Fatalf("%s %v does not start", name, args)
	return nil
}

func launch(t *testing.T, node, name string, args ...string) *peer {
	t.Helper()
	cmd := exec.Command(python(t), append([]string{"testdata/peer.py", "--node", node, "--name", name}, args...)...)
	cmd.Env = append(os.Environ(), "SLIM_SECRET="+interopSecret)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{in: in, lines: bufio.NewScanner(out)}
	cmd.Stderr = &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watch := time.AfterFunc(10*time.Minute, func() { _ = cmd.Process.Kill() }) // its lines end then
	t.Cleanup(func() {
		watch.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s %s says: %s", name, args, p.log.String())
		}
	})
	return p
}

// answer is a line of the peer.
type answer struct {
	Error, Code, ID, State, Text, Name string
	Artifacts, Events, Interfaces      []string
	Skills                             []string
	Same                               any
	Left                               int
	Streaming                          bool
}

func (p *peer) next(t *testing.T) (a answer) {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatalf("the peer has ended: %v", p.lines.Err())
	}
	if err := json.Unmarshal(p.lines.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v", p.lines.Bytes(), err)
	}
	return a
}

// do is a command and its answer.
func (p *peer) do(t *testing.T, version, what string, more map[string]any) answer {
	t.Helper()
	c := map[string]any{"version": version, "do": what}
	for k, v := range more {
		c[k] = v
	}
	line, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	return p.next(t)
}

// Clients of slima2a call an agent of ours, all methods, in both versions.
func TestPythonCallsGo(t *testing.T) {
	node := startNode(t)
	a := &agent{over: make(chan struct{})}
	t.Cleanup(func() { close(a.over) })
	extended := card("1.0")
	extended.SupportsAuthenticatedExtendedCard = true
	h := a2asrv.NewHandler(a, a2asrv.WithPushNotifications(push.NewInMemoryStore(), push.NewHTTPPushSender(nil)), a2asrv.WithExtendedAgentCard(extended))
	server := rpc.NewServer(connect(t, node, "org/ns/agent"), rpc.ServerOptions{})
	a2aslim.Register(server, h, a2aslim.ServerOptions{})
	go func() { _ = server.Serve(context.Background()) }()
	t.Cleanup(server.Stop)
	p := startPeer(t, node, "org/ns/client", "--agent", "org/ns/agent")
	eachVersion(t, func(t *testing.T, v string) {
		if r := p.do(t, v, "send", map[string]any{"text": "hi", "parts": true}); r.Text != "you said hi" || r.Same != true {
			t.Errorf("send: %+v", r)
		}
		sent := p.do(t, v, "send", map[string]any{"text": "count 3"})
		if sent.State != "completed" || !slices.Equal(sent.Artifacts, []string{"1 2 3"}) {
			t.Errorf("send: %+v", sent)
		}
		r := p.do(t, v, "stream", map[string]any{"text": "count 3"})
		if s := strings.Join(r.Events, ", "); s != "working, artifact 1 false, artifact 2 true, artifact 3 true, completed" {
			t.Errorf("stream: %+v", r)
		}
		if r := p.do(t, v, "get", map[string]any{"id": sent.ID}); r.State != "completed" || r.ID != sent.ID || !slices.Equal(r.Artifacts, []string{"1 2 3"}) {
			t.Errorf("get: %+v", r)
		}
		left := p.do(t, v, "stream", map[string]any{"text": "work", "leave": 1})
		if r := p.do(t, v, "subscribe", map[string]any{"id": left.ID}); len(r.Events) == 0 || r.Events[len(r.Events)-1] != "canceled" {
			t.Errorf("subscribe and cancel: %+v", r)
		}
		r = p.do(t, v, "push", map[string]any{"id": sent.ID})
		const config = "one https://example.org/hook t c"
		if fmt.Sprint(r.Same) != fmt.Sprint([]string{config, config, config}) || r.Left != 0 {
			t.Errorf("push: %+v", r)
		}
		if r := p.do(t, v, "card", nil); r.Name != "Counter" || !r.Streaming || !slices.Contains(r.Interfaces, "slimrpc org/ns/agent") || !slices.Equal(r.Skills, []string{"count"}) {
			t.Errorf("card: %+v", r)
		}
		for what, code := range map[string]string{"get": "NOT_FOUND", "cancel": "NOT_FOUND"} {
			if r := p.do(t, v, what, map[string]any{"id": "nobody's"}); r.Code != code || !strings.HasPrefix(r.Error, "TaskNotFoundError: ") {
				t.Errorf("%s what there is not: %+v", what, r)
			}
		}
		if r := p.do(t, v, "get", map[string]any{"id": ""}); r.Code != "INVALID_ARGUMENT" {
			t.Errorf("get nothing: %+v", r)
		}
	})
	if r := p.do(t, "1.0", "list", nil); r.Code != "UNIMPLEMENTED" || !strings.HasPrefix(r.Error, "UnsupportedOperationError: ") {
		t.Errorf("list: %+v", r)
	}
}

// Clients of ours call an agent of slima2a, all methods, in both versions.
func TestGoCallsPython(t *testing.T) {
	node := startNode(t)
	startPeer(t, node, "org/ns/agent", "--serve")
	app := connect(t, node, "org/ns/client")
	eachVersion(t, func(t *testing.T, v string) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		known := card(v)
		known.SupportsAuthenticatedExtendedCard = true
		c, err := a2aclient.NewFromCard(ctx, known, a2aslim.Transports(app, a2aslim.ClientOptions{})...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Destroy()
		parts := []a2a.Part{
			a2a.DataPart{Data: map[string]any{"n": 1.5, "list": []any{"a", nil, true}}},
			a2a.FilePart{File: a2a.FileBytes{FileMeta: a2a.FileMeta{Name: "f.bin", MimeType: "application/octet-stream"}, Bytes: "AAECAw=="}},
			a2a.FilePart{File: a2a.FileURI{FileMeta: a2a.FileMeta{Name: "g", MimeType: "image/png"}, URI: "https://example.org/g"}},
		}
		res, err := c.SendMessage(ctx, say("hi", parts...))
		if m, ok := res.(*a2a.Message); err != nil || !ok || textOf(m.Parts) != "you said hi" || fmt.Sprintf("%+v", m.Parts[2:]) != fmt.Sprintf("%+v", parts) {
			t.Errorf("send: %+v, %v", res, err)
		}
		res, err = c.SendMessage(ctx, say("count 3"))
		task, ok := res.(*a2a.Task)
		if err != nil || !ok || task.Status.State != a2a.TaskStateCompleted || len(task.Artifacts) != 1 || textOf(task.Artifacts[0].Parts) != "1 2 3" {
			t.Fatalf("send: %+v, %v", res, err)
		}
		var got []string
		for e, err := range c.SendStreamingMessage(ctx, say("count 3")) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, short(e))
		}
		if s := strings.Join(got, ", "); s != "task submitted, working false, artifact 1 false, artifact 2 true, artifact 3 true, completed true" {
			t.Errorf("stream: %s", s)
		}
		if got, err := c.GetTask(ctx, &a2a.TaskQueryParams{ID: task.ID}); err != nil || got.ID != task.ID || got.Status.State != a2a.TaskStateCompleted {
			t.Errorf("get: %+v, %v", got, err)
		}
		var id a2a.TaskID
		for e, err := range c.SendStreamingMessage(ctx, say("work")) {
			if err != nil {
				t.Fatal(err)
			}
			id = e.TaskInfo().TaskID
			break
		}
		last, cancelled := "", false
		for e, err := range c.ResubscribeToTask(ctx, &a2a.TaskIDParams{ID: id}) {
			if err != nil {
				t.Fatal(err)
			}
			if last = short(e); !cancelled {
				cancelled = true
				if task, err := c.CancelTask(ctx, &a2a.TaskIDParams{ID: id}); err != nil || task.Status.State != a2a.TaskStateCanceled {
					t.Errorf("cancel: %+v, %v", task, err)
				}
			}
		}
		if last != "canceled true" {
			t.Errorf("the last word to a subscriber is %q", last)
		}
		config := &a2a.TaskPushConfig{TaskID: task.ID, Config: a2a.PushConfig{
			ID: "one", URL: "https://example.org/hook", Token: "t", Auth: &a2a.PushAuthInfo{Schemes: []string{"Bearer"}, Credentials: "c"},
		}}
		if got, err := c.SetTaskPushConfig(ctx, config); err != nil || got.Config.ID != "one" || got.TaskID != task.ID || got.Config.Auth.Credentials != "c" {
			t.Errorf("set: %+v, %v", got, err)
		}
		if got, err := c.GetTaskPushConfig(ctx, &a2a.GetTaskPushConfigParams{TaskID: task.ID, ConfigID: "one"}); err != nil || got.Config.URL != config.Config.URL {
			t.Errorf("get a push configuration: %+v, %v", got, err)
		}
		if list, err := c.ListTaskPushConfig(ctx, &a2a.ListTaskPushConfigParams{TaskID: task.ID}); err != nil || len(list) != 1 || list[0].Config.Token != "t" {
			t.Errorf("list: %+v, %v", list, err)
		}
		if err := c.DeleteTaskPushConfig(ctx, &a2a.DeleteTaskPushConfigParams{TaskID: task.ID, ConfigID: "one"}); err != nil {
			t.Errorf("delete: %v", err)
		}
		if got, err := c.GetAgentCard(ctx); err != nil || got.Name != "Counter" || got.URL != "org/ns/agent" || got.PreferredTransport != a2aslim.Transport || len(got.Skills) != 1 {
			t.Errorf("card: %+v, %v", got, err)
		}
		if _, err := c.GetTask(ctx, &a2a.TaskQueryParams{ID: "nobody's"}); !errors.Is(err, a2a.ErrTaskNotFound) || !errors.Is(err, rpc.NotFound) {
			t.Errorf("get what there is not: %v", err)
		}
		if _, err := c.CancelTask(ctx, &a2a.TaskIDParams{ID: task.ID}); !errors.Is(err, a2a.ErrTaskNotCancelable) {
			t.Errorf("cancel what is over: %v", err)
		}
	})
}

// The pair of examples/agents, each in Go and in Python.
func TestExamplePairs(t *testing.T) {
	node := startNode(t)
	program := filepath.Join(t.TempDir(), "agents")
	if out, err := exec.Command("go", "build", "-o", program, "../examples/agents").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	programs := map[string][]string{"go": {program}, "python": {python(t), "../examples/agents/agents.py"}}
	env := append(os.Environ(), "SLIM_SECRET="+interopSecret, "SLIM_ADDR="+node)
	for agent, argv := range programs {
		name := "org/demo/" + agent
		cmd := exec.Command(argv[0], append(argv[1:], "-name", name)...)
		cmd.Env, cmd.SysProcAttr = env, &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		for client, argv := range programs {
			const want = "task working\nword To\nword Rome\nword by\nword train\ntask completed\n"
			var out string
			for end := time.Now().Add(6 * time.Minute); time.Now().Before(end); { // the agent may not be there yet
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], "-name", "org/demo/alice-"+client, "-of", name, "To", "Rome", "by", "train")...)
				cmd.Env = env
				b, err := cmd.CombinedOutput()
				cancel()
				if out = string(b); err == nil {
					break
				}
			}
			if !strings.HasSuffix(out, want) {
				t.Errorf("%s calls %s: %q", client, agent, out)
			}
		}
	}
}
