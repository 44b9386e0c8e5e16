//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// app is a peer application attached to one node; all its events are those of slim-peer.
type app struct {
	*process
	name string
	id   string // UUID text of the application's id
}

func processes(apps []*app) (all []*process) {
	for _, a := range apps {
		all = append(all, a.process)
	}
	return all
}

var lastTag atomic.Int64

// app starts "slim-peer command" under a name and returns when it is subscribed.
func (n *node) app(t *testing.T, command, name string, args ...string) *app {
	t.Helper()
	return ready(t, name, n.peer(t, command, name, args...))
}

func (n *node) peer(t *testing.T, command, name string, args ...string) *process {
	t.Helper()
	argv := []string{filepath.Join(peers, "slim-peer"), command, "--name", name}
	if n.client != "" {
		file := filepath.Join(t.TempDir(), "client.json")
		if err := os.WriteFile(file, []byte(n.client), 0o600); err != nil {
			t.Fatal(err)
		}
		argv = append(argv, "--client-config", file)
	} else {
		argv = append(argv, "--node", n.url())
	}
	argv = append(argv, args...)
	return spawn(t, fmt.Sprintf("%s %s at %s", command, name, n.label), []string{"SLIM_IDENTITY_BINDING=" + n.binding}, argv...)
}

func ready(t *testing.T, name string, p *process) *app {
	t.Helper()
	return &app{process: p, name: name, id: p.expect(t, "ready").text("id")}
}

// run executes a slim-peer command that ends by itself and returns its summary; it must report ok and
// leave with status 0.
func (n *node) run(t *testing.T, command, name string, args ...string) event {
	t.Helper()
	p := n.peer(t, command, name, args...)
	return p.succeed(t)
}

func (p *process) succeed(t *testing.T) event {
	t.Helper()
	summary := p.take(2*limit, func(e event) bool { return e.kind() == "summary" || e.text("what") == "fatal" })
	if summary == nil || !summary.flag("ok") {
		t.Fatalf("%s: %v", p.label, summary)
	}
	if code := p.exit(t, limit); code != 0 {
		t.Fatalf("%s: status %d, want 0", p.label, code)
	}
	return summary
}

// try executes one command and returns its result.
func (a *app) try(t *testing.T, command event) event {
	t.Helper()
	tag := float64(lastTag.Add(1))
	command["tag"] = tag
	a.write(t, command)
	result := a.take(2*limit, func(e event) bool { return e.kind() == "result" && e["tag"] == tag })
	if result == nil {
		t.Fatalf("%s: no result of %v", a.label, command)
	}
	return result
}

// do executes one command, which must succeed.
func (a *app) do(t *testing.T, command event) event {
	t.Helper()
	result := a.try(t, command)
	if !result.flag("ok") {
		t.Fatalf("%s: %v: %v", a.label, command, result)
	}
	return result
}

// receives wants exactly these texts as the application's next messages, in this order. Trailing dots, with
// which slim-peer fills payloads, do not count.
func (a *app) receives(t *testing.T, texts ...string) {
	t.Helper()
	for i, want := range texts {
		e := a.take(limit, func(e event) bool { return e.kind() == "message" })
		if e == nil {
			t.Fatalf("%s: message %d of %d, %q, did not come", a.label, i+1, len(texts), want)
		}
		if got := unfilled(e.text("text")); got != want {
			t.Fatalf("%s: message %d of %d is %q, want %q", a.label, i+1, len(texts), got, want)
		}
	}
}

// receivedNothing wants that no message is waiting.
func (a *app) receivedNothing(t *testing.T) {
	t.Helper()
	if e := a.take(0, func(e event) bool { return e.kind() == "message" }); e != nil {
		t.Fatalf("%s: unexpected message %v", a.label, e)
	}
}

// drain takes all messages that are waiting.
func (a *app) drain() (messages []event) {
	for {
		e := a.take(0, func(e event) bool { return e.kind() == "message" })
		if e == nil {
			return messages
		}
		messages = append(messages, e)
	}
}

func unfilled(s string) string {
	for len(s) > 0 && s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	return s
}

// numbered are the payloads of "send": eight digits, without the filling.
func numbered(from, to int) []string {
	texts := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		texts = append(texts, fmt.Sprintf("%08d", i))
	}
	return texts
}

// series are the payloads of one publish command with a count.
func series(text string, n int) []string {
	texts := make([]string, 0, n)
	for i := range n {
		texts = append(texts, fmt.Sprintf("%s#%d", text, i))
	}
	return texts
}
