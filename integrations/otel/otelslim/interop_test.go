//go:build interop

package otelslim

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/venv"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
)

const limit = time.Minute // of any wait for another process

// event is what a peer says in a line.
type event struct {
	Event, Signal, Type string
	Names               []string
}

// startPython starts examples/telemetry/peer.py and returns what it says, once it says something. It is started again where it ends
// before: the library gives a node five seconds to answer, and then up.
func startPython(t *testing.T, args ...string) <-chan event {
	t.Helper()
	for range 2 {
		if events, speaks := launch(t, args...); speaks {
			return events
		}
		t.Logf("%v is started again", args)
	}
	events, _ := launch(t, args...)
	return events
}

func launch(t *testing.T, args ...string) (says <-chan event, speaks bool) {
	t.Helper()
	const dir = "../examples/telemetry"
	cmd := exec.Command(venv.Python(t, "python-slim-otel-3.3.8", dir+"/requirements.txt"), append([]string{dir + "/peer.py"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	events, said := make(chan event, 1000), make(chan bool, 1)
	go func() {
		defer close(events)
		defer func() { trySend(said, false) }()
		for in := bufio.NewScanner(out); in.Scan(); {
			var e event
			if json.Unmarshal(in.Bytes(), &e) == nil {
				events <- e
				trySend(said, true)
			}
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		for range events { // until all of it is read
		}
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%v says at last: %.3000s", args, errs.String())
		}
	})
	return events, <-said
}

// trySend sends x if nobody has sent yet.
func trySend(c chan<- bool, x bool) {
	select {
	case c <- x:
	default:
	}
}

func expect(t *testing.T, events <-chan event, name string) event {
	t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("the peer ended without %q", name)
			}
			if e.Event == name {
				return e
			}
		case <-timeout:
			t.Fatalf("no %q", name)
		}
	}
}

func startNode(t *testing.T) string {
	t.Helper()
	n, err := router.Start(context.Background(), router.Options{Listen: []string{"127.0.0.1:0"}, NodeID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
	return "http://" + n.Addrs()[0].String()
}

func connectApp(t *testing.T, node, name string, deaf bool) *session.App {
	t.Helper()
	app, err := session.Connect(t.Context(), session.Options{
		Name: session.MustName(name), Secret: []byte("a secret of all, 32 bytes or more"), Nodes: []string{node}, Deaf: deaf,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
		defer cancel()
		_ = app.Close(ctx)
	})
	return app
}

// A receiver on upstream's core gets what our exporter sends, as it would be sent by upstream's but for the metadata.
func TestPythonWatcher(t *testing.T) {
	t.Parallel()
	node := startNode(t)
	events := startPython(t, "watch", "--node", node, "--name", watcherName)
	expect(t, events, "ready")
	e := export(t, connectApp(t, node, webName, true), toWatcher(watcherName))
	for _, c := range []struct {
		of      Signal
		request []byte
		name    string
	}{
		{Traces, encode(t, spansOf("some work")), "some work"},
		{Metrics, encode(t, gaugeOf("memory", "in use")), "memory"},
		{Logs, encode(t, recordOf("hello")), "hello"},
	} {
		if err := e.Export(c.of, c.request); err != nil {
			t.Fatal(err)
		}
		if b := expect(t, events, "batch"); b.Signal != c.of.String() || b.Type != session.DefaultType || len(b.Names) != 1 || b.Names[0] != c.name {
			t.Errorf("batch %+v, want %v of %q", b, c.of, c.name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Error(err)
	}
	if st := e.Stats(); st != (ExporterStats{Sent: 3}) {
		t.Errorf("stats %+v, want three sent and nothing else", st)
	}
}

// A receiver of ours gets what an exporter on upstream's core sends, which says nothing of the signal, by groups of either kind.
func TestPythonWorker(t *testing.T) {
	t.Parallel()
	for i, mls := range []string{"", "--mls"} {
		t.Run("mls="+mls, func(t *testing.T) {
			node := startNode(t)
			w := watch(t, connectApp(t, node, watcherName, false))
			args := []string{"work", "--node", node, "--name", fmt.Sprintf("org/ns/py%d", i), "--watcher", watcherName}
			if mls != "" {
				args = append(args, mls)
			}
			events := startPython(t, args...)
			want(t, w.spans, "some work in Python")
			want(t, w.metrics, "sixteen bytes id")
			want(t, w.records, "hello from Python")
			expect(t, events, "done")
			if from := <-w.from; (from.Subject != "") != (mls != "") {
				t.Errorf("from %+v", from)
			}
			w.close(t)
		})
	}
}
