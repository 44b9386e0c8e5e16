package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/admin"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

var adminStarted = regexp.MustCompile(`admin server started endpoint=(\S+)`)

// addrLog is a log in which the address of the server for operators is looked for.
type addrLog struct{ found chan string }

func (l *addrLog) Write(b []byte) (int, error) {
	if m := adminStarted.FindSubmatch(b); m != nil {
		l.found <- string(m[1])
	}
	return len(b), nil
}

// ask asks the server for operators, again if it has not heard all of the question in its time.
func ask(t *testing.T, addr, path string) (int, string) {
	t.Helper()
	for limit := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
		resp, err := http.Get("http://" + addr + path)
		if err == nil {
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return resp.StatusCode, string(b)
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// succeeds runs a command that asks a node, again if that has not answered in its time, or is late.
func succeeds(t *testing.T, args string) *rig {
	t.Helper()
	for limit := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
		c := newRig()
		c.notify = func(chan<- os.Signal) func() { return func() {} }
		code := c.program.run(t.Context(), strings.Fields(args))
		if code == cli.ExitOK {
			return c
		}
		if time.Now().After(limit) {
			t.Errorf("slim %s: exit %d, %s%s", args, code, &c.out, &c.errs)
			return c
		}
	}
}

// A process is ready from when its last service has started until a signal comes, and lives all the time.
func TestReadinessFollowsTheProcess(t *testing.T) {
	r := newRig()
	log := &addrLog{found: make(chan string, 1)}
	r.stdout = log
	addr := ""
	check := func(when string, ready int, why string) {
		t.Helper()
		if code, body := ask(t, addr, "/readyz"); code != ready || !strings.Contains(body, why) {
			t.Errorf("%s: readiness %d %s, want %d %s", when, code, body, ready, why)
		}
		if code, body := ask(t, addr, "/livez"); code != http.StatusOK {
			t.Errorf("%s: liveness %d %s", when, code, body)
		}
	}
	start := r.start
	r.start = func(ctx context.Context, o router.Options) (node, error) {
		addr = <-log.found
		check("while services start", http.StatusServiceUnavailable, "starting")
		return start(ctx, o)
	}
	r.shutdown = func(context.Context) error {
		check("while it drains", http.StatusServiceUnavailable, "stopping")
		return nil
	}
	var signals chan<- os.Signal
	r.notify = func(c chan<- os.Signal) func() {
		signals = c
		return func() {}
	}
	done := make(chan int)
	r.telling = func() {
		check("while it serves", http.StatusOK, "ok")
		for path, want := range map[string]string{"/metrics": `slim_messages_received_total{service="slim/0"} 3`,
			"/status.json": `"id":"slim/0"`, "/debug/pprof/": "goroutine"} {
			if code, body := ask(t, addr, path); code != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("%s: %d %.300s", path, code, body)
			}
		}
		signals <- syscall.SIGTERM
	}
	go func() {
		done <- r.program.run(context.Background(), strings.Fields("--health 0 --pprof --config testdata/tuned.yaml"))
	}()
	if code := <-done; code != cli.ExitOK {
		t.Errorf("exit %d: %s", code, &r.errs)
	}
	if _, err := http.Get("http://" + addr + "/livez"); err == nil {
		t.Error("the server for operators outlives the node")
	}
}

func TestServerForOperatorsThatCannotListen(t *testing.T) {
	r := newRig()
	code := r.program.run(t.Context(), strings.Fields("--health 192.0.2.1:1"))
	if want := "Error: failed to serve --health\n\nCaused by:\n    admin: listen tcp 192.0.2.1:1: bind: "; code != cli.ExitError ||
		!strings.HasPrefix(r.errs.String(), want) || len(r.options) > 0 {
		t.Errorf("exit %d, %d nodes started: %s", code, len(r.options), &r.errs)
	}
}

// looksAt is a node as slim top sees it, with more messages at each look.
func looksAt(looks *int) func(context.Context) (*admin.Status, error) {
	return func(context.Context) (*admin.Status, error) {
		*looks++
		n := uint64(*looks)
		return &admin.Status{Time: time.Now(), Started: time.Now().Add(-time.Hour), Build: admin.Build{Version: "1.2.3"},
			Services: []admin.ServiceStatus{{ID: "slim/0", NodeID: "node-1", Listeners: []string{"http://127.0.0.1:46357"}, Gauges: map[string]int64{"connections": 2, "names": 1, "waiting": 7, "waiting_bytes": 4096},
				Totals:  map[string]uint64{"received": 1000 * n, "delivered": 500 * n},
				Dropped: map[string]uint64{"no_match": 5, "ttl_expired": 9}, Answers: []string{"Look at \x1b[2Jthis."},
				Connections: []admin.Connection{{ID: 7, Kind: "edge", State: "active", Remote: "1.2.3.4:5", Agent: "app", Received: 30 * n,
					Delivered: 10 * n, Queued: 7, QueuedBytes: 4096, Stalled: 90, Missed: 3, Names: 1, Age: 7300}},
				Matching: 3, Names: []admin.Name{{Name: "org/ns/bob/1", Holders: map[string]int{"edge": 1}, Some: []uint64{7}}}, AllNames: true,
				Links: []admin.Link{{Endpoint: "http://up:1", Kind: "edge", State: "waiting", Attempts: 4, Since: time.Now().Add(-time.Minute),
					Failure: "connection refused", Failed: time.Now()}},
				Deaths: []admin.Death{{Last: time.Now(), Conn: 7, Reason: "no_match", Name: "org/ns/carol/1", Source: "org/ns/bob/1", Count: 2}},
				Refusals: []admin.Refusal{{Last: time.Now(), Count: 3, Remote: "1.2.3.4:6", Agent: "app", Endpoint: "127.0.0.1:46357", Reason: "tls_certificate",
					Text: "its certificate has expired"}},
			}}}, nil
	}
}

func TestTopLooksTwiceForRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.notify = func(chan<- os.Signal) func() { return func() {} }
		looks := 0
		if err := r.top(t.Context(), &topFlags{interval: 2 * time.Second}, looksAt(&looks)); err != nil || looks != 2 {
			t.Fatalf("%v after %d looks", err, looks)
		}
		for _, want := range []string{
			"SLIM node 1.2.3  ready  up 1h0m0s  ",
			"slim/0  2 connections, 1 names, 0 stalled, 7 messages (4 KiB) wait, 0 B held\n",
			"node-1 listens on http://127.0.0.1:46357\n",
			"in 500/s, out 250/s, waited 0/s  dropped: ttl_expired 9, no_match 5  refused: none\n",
			"> Look at \ufffd[2Jthis.\n",
			"     7 edge          15        5      7    4 KiB      0 B      1  2h     1.2.3.4:5  STALLED for 90s  3 for it died  app\n",
			"       2 more, in less trouble\n",
			"  org/ns/bob/1  1 edge: connections 7\n",
			"       waiting  60s            4       0  edge    http://up:1  " + time.Now().Format(time.TimeOnly) + " connection refused\n",
			"no_match              2           7  org/ns/carol/1  from org/ns/bob/1\n",
			"     3  tls_certificate       1.2.3.4:6  app  at 127.0.0.1:46357  its certificate has expired\n",
		} {
			if !strings.Contains(r.out.String(), want) {
				t.Errorf("no %q in\n%s", want, &r.out)
			}
		}
	})
}

// On a terminal it looks again and again, draws what the terminal has room for, outlives a node that does not answer,
// and leaves the terminal as it was.
func TestTopOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.terminal, r.columns = true, func() (int, int) { return 40, 8 }
		r.notify = func(c chan<- os.Signal) func() {
			time.AfterFunc(3500*time.Millisecond, func() { c <- syscall.SIGINT })
			return func() {}
		}
		looks := 0
		next := looksAt(&looks)
		err := r.top(t.Context(), &topFlags{interval: time.Second}, func(ctx context.Context) (*admin.Status, error) {
			if looks == 2 {
				looks++
				return nil, errors.New("nobody answers")
			}
			return next(ctx)
		})
		if err != nil || looks != 4 {
			t.Fatalf("%v after %d looks, want 4 in 3.5 s", err, looks)
		}
		out := r.out.String()
		if !strings.HasPrefix(out, cli.OtherScreen) || !strings.HasSuffix(out, cli.OwnScreen) || !strings.Contains(out, "no answer: nobody answers\n") {
			t.Errorf("%q", out)
		}
		frames := strings.Split(strings.TrimSuffix(out, cli.OwnScreen), cli.ClearScreen)[1:]
		for _, f := range frames {
			if n := strings.Count(f, "\n"); n > 8 {
				t.Errorf("%d lines on 8:\n%s", n, f)
			}
			for line := range strings.Lines(f) {
				if n := len([]rune(strings.TrimSpace(line))); n > 40 {
					t.Errorf("%d columns: %s", n, line)
				}
			}
		}
		if len(frames) != 4 {
			t.Errorf("%d frames", len(frames))
		}
	})
}

// What one looks for, who and what is wrong, is not cut off on a terminal of 80 columns.
func TestTopOnANarrowTerminal(t *testing.T) {
	looks := 0
	look := looksAt(&looks)
	first, _ := look(t.Context())
	st, _ := look(t.Context())
	v := view{before: first}
	out := v.draw(st, 80, 100)
	for _, want := range []string{"       1.2.3.4:5  STALLED for 90s  3 for it died  app\n", "         at 127.0.0.1:46357  its certificate has expired\n",
		"connection refused\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for line := range strings.Lines(out) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestTopInJSON(t *testing.T) {
	r := newRig()
	looks := 0
	if err := r.top(t.Context(), &topFlags{output: "json"}, looksAt(&looks)); err != nil || looks != 1 {
		t.Fatalf("%v after %d looks", err, looks)
	}
	var st admin.Status
	if err := json.Unmarshal(r.out.Bytes(), &st); err != nil || st.Services[0].Connections[0].ID != 7 {
		t.Errorf("%v: %s", err, &r.out)
	}
}

// The commands ask a real node, through its real server.
func TestCommandsAskARealNode(t *testing.T) {
	r := newRig()
	log := &addrLog{found: make(chan string, 1)}
	r.stdout, r.start = log, startNode
	var signals chan<- os.Signal
	r.notify = func(c chan<- os.Signal) func() {
		signals = c
		return func() {}
	}
	r.telling = func() {
		addr := <-log.found
		for _, tt := range []struct{ args, want string }{
			{"health --addr " + addr, "ok\n"}, {"health --live --addr " + addr, "ok\n"},
			{"top --once --interval 1ms --addr " + addr, "slim/0  0 connections, 0 names"},
			{"top --output json --find bob --addr " + addr, `"query": "bob"`},
		} {
			if c := succeeds(t, tt.args); !strings.Contains(c.out.String(), tt.want) {
				t.Errorf("slim %s: %s%s", tt.args, &c.out, &c.errs)
			}
		}
		signals <- syscall.SIGTERM
	}
	if code := r.program.run(t.Context(), strings.Fields("--health 0 --config testdata/free-port.yaml")); code != cli.ExitOK {
		t.Errorf("exit %d: %s", code, &r.errs)
	}
}
