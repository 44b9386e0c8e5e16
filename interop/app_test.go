//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	p, e := n.peer(t, command, name, args...).connected(t)
	return &app{process: p, name: name, id: e.text("id")}
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
	argv = append(argv, n.patience(command, args)...)
	if !slices.Contains(args, "--connect-timeout") {
		argv = append(argv, "--connect-timeout", "60")
	}
	return spawn(t, fmt.Sprintf("%s %s at %s", command, name, n.label), []string{"SLIM_IDENTITY_BINDING=" + n.binding}, argv...)
}

// patience are the timers of a command that does not say its own. Who opens a session on upstream's library, or leads
// one, fails when an answer comes twice, and so when it takes longer than an interval.
func (n *node) patience(command string, args []string) (more []string) {
	absent := func(option string) bool { return !slices.Contains(args, option) }
	if (command == "send" || command == "moderate") && absent("--interval-ms") {
		interval, retries := "5000", "4"
		switch {
		case n.ordered:
			interval, retries = "2000", "12"
		case command == "moderate" && !slices.Contains(args, "--mls"): // which cannot be begun again
			interval, retries = "15000", "2"
		}
		more = append(more, "--interval-ms", interval)
		if absent("--retries") {
			more = append(more, "--retries", retries)
		}
	}
	if (command == "send" || command == "moderate" || command == "rpc-call") && absent("--timeout") {
		more = append(more, "--timeout", "60")
	}
	return more
}

func ready(t *testing.T, name string, p *process) *app {
	t.Helper()
	e := p.take(4*limit, isKind("ready"))
	if e == nil {
		t.Fatalf("%s: not ready", p.label)
	}
	return &app{process: p, name: name, id: e.text("id")}
}

// connected returns an application on upstream's library once it has connected, and what it says then. It is started
// again, at most twice, where it says that it has waited for too long: upstream's gives up soon.
func (p *process) connected(t *testing.T) (*process, event) {
	t.Helper()
	for starts := 1; ; starts++ {
		if e := p.take(4*limit, isKind("ready")); e != nil {
			return p, e
		}
		if starts == 3 || !p.waitedInVain() {
			t.Fatalf("%s: not ready after %d starts", p.label, starts)
		}
		t.Logf("%s is started again:\n%s", p.label, p.tail())
		p = spawnIn(t, p.cmd.Dir, p.label, p.cmd.Env, p.cmd.Args...)
	}
}

// outOfTime is how programs say that something has taken too long, and 503 what a node says that had no time to judge. Who
// has waited for a minute says "no answer", which is no matter of time.
var outOfTime = regexp.MustCompile(`(?i)timed out|timeout|deadline|has not answered|has sent nothing|no negotiation within|503 service|status 503`)

// saysLate reports whether a program says that something has taken too long.
func (p *process) saysLate() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.lines, outOfTime.MatchString)
}

// waitedInVain reports whether a program has ended for want of time.
func (p *process) waitedInVain() bool { return p.ended() && p.saysLate() }

// answeredTwice is what a moderator on upstream's library says, and gives up what it does, to the second answer to a request, which it
// repeats when the first one takes longer than an interval. Replays are known with MLS only.
const answeredTwice = "unexpected timer id"

// opened starts a command that opens a session, and returns when it has, or has done something else. It is started again as
// connected does that, and where the search for the other end was answered twice: that one has heard of no session then.
func (n *node) opened(t *testing.T, command, name string, args ...string) *process {
	t.Helper()
	begun := `"event":"session"`
	if command == "rpc-call" {
		begun = `"ready"`
	}
	for starts := 1; ; starts++ {
		p := n.peer(t, command, name, args...)
		p.await(10*limit, func() bool { return countLines(p.lines, begun)+countLines(p.lines, `"summary"`) > 0 })
		if starts == 3 || p.count(begun) > 0 || !p.waitedInVain() && !(p.ended() && p.count(answeredTwice) > 0) {
			return p
		}
		t.Logf("%s is started again:\n%s", p.label, p.tail())
	}
}

// ends is the status with which a slim-peer command that cannot succeed ends. It is started again where it has waited for too long.
func (n *node) ends(t *testing.T, command, name string, args ...string) (status int) {
	t.Helper()
	for range 3 {
		p := n.peer(t, command, name, args...)
		if status = p.exit(t, limit); !p.waitedInVain() {
			break
		}
	}
	return status
}

// run executes a slim-peer command that ends by itself and returns its summary; it must report ok and
// leave with status 0.
func (n *node) run(t *testing.T, command, name string, args ...string) event {
	t.Helper()
	return n.opened(t, command, name, args...).succeed(t)
}

func (p *process) succeed(t *testing.T) event {
	t.Helper()
	summary := p.take(10*limit, func(e event) bool { return e.kind() == "summary" || e.text("what") == "fatal" })
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
	result := a.take(10*limit, func(e event) bool { return e.kind() == "result" && e["tag"] == tag })
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
