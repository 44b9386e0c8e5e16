package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// fakeNode stands in for a data plane.
type fakeNode struct {
	addrs    []net.Addr
	shutdown func(context.Context) error
	stats    router.Stats
	links    []router.Link
}

func (n *fakeNode) About() router.About        { return router.About{NodeID: "node-1"} }
func (n *fakeNode) Stats() router.Stats        { return n.stats }
func (n *fakeNode) Ready() error               { return nil }
func (n *fakeNode) Links() []router.LinkStatus { return nil }
func (n *fakeNode) Guards() []auth.Tally       { return nil }
func (n *fakeNode) Connections(context.Context, int) ([]router.Connection, error) {
	return nil, nil
}
func (n *fakeNode) Names(context.Context, func(string, []uint64) bool, int, int, int) ([]router.HeldName, bool, error) {
	return nil, true, nil
}
func (n *fakeNode) Trouble(context.Context) ([]router.Refusal, []router.Death, error) {
	return nil, nil, nil
}
func (n *fakeNode) Addrs() []net.Addr                          { return n.addrs }
func (n *fakeNode) EachHeld(func(wire.NameText) bool)          {}
func (n *fakeNode) Held(wire.Name) (t wire.NameText, yes bool) { return t, false }
func (n *fakeNode) Routes(int, func(*router.Route) bool)       {}
func (n *fakeNode) Watch(*router.Watch) []*router.ActiveLink   { return nil }
func (n *fakeNode) Dial(l router.Link) (*router.Dialer, error) {
	n.links = append(n.links, l)
	return nil, nil
}
func (n *fakeNode) Peers() []router.Peer { return nil }
func (n *fakeNode) Prepare(context.Context, router.Setup) (change, error) {
	return nil, errors.New("fake nodes do not change")
}
func (n *fakeNode) Shutdown(ctx context.Context) error {
	if n.shutdown == nil {
		return nil
	}
	return n.shutdown(ctx)
}

// rig is a program with a fixed clock and build, an environment, fake nodes, and a SIGTERM that waits for it.
type rig struct {
	program
	out, errs bytes.Buffer
	env       map[string]string
	options   []router.Options // of the nodes started, in order
	nodes     []*fakeNode
	procs     []int // calls of setCores
	shutdown  func(context.Context) error
	stats     router.Stats
	startErr  func(i int, o router.Options) error
}

func newRig() *rig {
	r := &rig{env: map[string]string{}}
	r.program = program{
		env:    func(k string) (string, bool) { v, ok := r.env[k]; return v, ok },
		stdout: &r.out, stderr: &r.errs,
		build:      cli.BuildInfo{Version: "1.2.3", Date: "2026-11-22T17:00:00Z", SHA: "abc123def", Profile: "release"},
		now:        func() time.Time { return time.Date(2026, 11, 22, 17, 4, 17, 837014000, time.UTC) },
		setCores:   func(n int) { r.procs = append(r.procs, n) },
		cores:      4,
		goroutines: func() int { return 7 },
		notify: func(c chan<- os.Signal) func() {
			c <- syscall.SIGTERM
			return func() {}
		},
		notifyQuestions: func(chan<- os.Signal) func() { return func() {} },
		notifyHangups:   func(chan<- os.Signal) func() { return func() {} },
		hungUp:          func() bool { return false },
	}
	r.stats = router.Stats{Received: 3, Names: 2, Panics: 1}
	r.start = func(_ context.Context, o router.Options) (node, error) {
		r.options = append(r.options, o)
		if r.startErr != nil {
			if err := r.startErr(len(r.options)-1, o); err != nil {
				return nil, err
			}
		}
		n := &fakeNode{shutdown: r.shutdown, stats: r.stats}
		for i := range o.Listen {
			n.addrs = append(n.addrs, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000 + i})
		}
		r.nodes = append(r.nodes, n)
		return n, nil
	}
	return r
}

var sourceLine = regexp.MustCompile(`(?m)^(\S+ +[A-Z]+ .*?\w: )\d+: `)

// TestTranscripts runs every command of testdata/*.txt and compares its whole output. A line "$ A=B slim ARG…" is a
// command; what follows is standard output, then standard error with "! " before each line, then the exit code.
// Nodes are fake, and a SIGTERM waits for each start. Source line numbers are shown as 0. Rules: P-conf-1, P-conf-2.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for line := range strings.Lines(string(b)) {
				switch {
				case strings.HasPrefix(line, "#"):
					got.WriteString(line)
				case strings.HasPrefix(line, "$ "):
					got.WriteString(line)
					got.WriteString(transcript(t, strings.TrimSpace(line[2:])))
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != string(b) {
				t.Errorf("%s differs (go test -run Transcripts -update rewrites it); got\n%s", file, got.String())
			}
		})
	}
}

func transcript(t *testing.T, command string) string {
	t.Helper()
	r := newRig()
	words := strings.Fields(command)
	for len(words) > 0 && words[0] != "slim" {
		k, v, _ := strings.Cut(words[0], "=")
		r.env[k] = v
		words = words[1:]
	}
	if len(words) == 0 {
		t.Fatalf("no command in %q", command)
	}
	for i, w := range words {
		words[i] = strings.Trim(w, "'")
	}
	code := r.program.run(context.Background(), words[1:])
	var b strings.Builder
	b.WriteString(sourceLine.ReplaceAllString(r.out.String(), "${1}0: "))
	for line := range strings.Lines(r.errs.String()) {
		b.WriteString(strings.TrimRight("! "+line, " \n") + "\n")
	}
	fmt.Fprintf(&b, "exit %d\n\n", code)
	return b.String()
}

func TestFlagsReachTheNode(t *testing.T) {
	r := newRig()
	args := strings.Fields("--loops 3 --read-buffer 128KiB --conn-buffer 2097152 --slow-consumer drop --stall-timeout 1s " +
		"--stall-rate 1MiB --hold-timeout 3s --max-subscriptions 7 --max-header 2KiB --header-memory 1MiB " +
		"--max-sockets 5 --max-connections 6 --max-unfinished 9MiB --max-queued 10MiB " +
		"--max-names 100 --max-name-bytes 8KiB --accept-kinds edge,peer --max-peers 3 --max-remotes 4 --no-compression --config testdata/tuned.yaml --audit-log - --log-level off")
	if code := r.program.run(context.Background(), args); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, &r.errs)
	}
	got := r.options[0]
	if got.Log == nil || got.Audit == nil {
		t.Error("the node has no logger, or no audit log")
	}
	got.Log, got.Audit = nil, nil
	want := router.Options{
		Listen: []string{"127.0.0.1:46357", "[::1]:0"}, Loops: 3, ReadBuffer: 128 << 10, ConnBuffer: 2 << 20,
		SlowConsumer: router.Drop, StallTimeout: time.Second, StallRate: 1 << 20, HoldTimeout: 3 * time.Second, MaxSubscriptions: 7, MaxHeader: 2 << 10, HeaderMemory: 1 << 20,
		MaxSockets: 5, MaxConnections: 6, MaxUnfinished: 9 << 20, MaxQueued: 10 << 20,
		MaxNames: 100, MaxNameBytes: 8 << 10, AcceptKinds: table.Only(table.Edge) | table.Only(table.Peer), MaxPeers: 3, MaxRemotes: 4, NoCompression: true,
		NodeID: "node-a", Deployment: "example.org", AllowUnsigned: true, EnforcePQC: true, RelayPeerPublishes: true,
		NegotiationTimeout: 7 * time.Second,
		Limits: []router.Limits{
			{MaxFrameSize: 2 << 20, MaxHeaderList: 8192, MaxStreams: 50, KeepaliveTime: 30 * time.Second, KeepaliveTimeout: 5 * time.Second,
				MaxAge: 3 * time.Hour},
			{MaxFrameSize: 3 << 20, KeepaliveTime: 20 * time.Second, KeepaliveTimeout: 20 * time.Second, MaxAge: 2 * time.Hour},
		},
	}
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("options\n got %s\nwant %s", g, w)
	}
	limits := reflect.ValueOf(got.Limits[0])
	for i, v := 0, reflect.ValueOf(got); i < v.NumField(); i++ {
		name := v.Type().Field(i).Name
		if !v.Type().Field(i).IsExported() { // for tests of the router
			continue
		}
		if special := limits.FieldByName(name); special.IsValid() && !special.IsZero() {
			continue // it is each server's own
		}
		if v.Field(i).IsZero() && name != "Log" && name != "Version" && name != "TLS" && name != "Auth" && name != "Audit" &&
			name != "Authorization" {
			// TLS: TestCertificatesReachTheNode; Auth: TestWhoMayConnect; Authorization: TestRulesOfAFile
			t.Errorf("no flag and no key of the file sets router.Options.%s", name)
		}
	}
	for i := range limits.NumField() {
		if name := limits.Type().Field(i).Name; limits.Field(i).IsZero() && name != "Origins" { // TestAllowedOriginsReachTheNode
			t.Errorf("no key of the file sets router.Limits.%s", name)
		}
	}
	if !slices.Equal(r.procs, []int{2}) {
		t.Errorf("cores set %v, want [2]", r.procs)
	}
}

func TestWithoutConfigurationTheNodeIsLocalAndSigned(t *testing.T) {
	r := newRig()
	if code := r.program.run(context.Background(), nil); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, &r.errs)
	}
	o := r.options[0]
	if !slices.Equal(o.Listen, []string{"127.0.0.1:46357"}) || o.AllowUnsigned || o.NodeID != "" || o.MaxFrameSize != 0 {
		t.Errorf("options %+v", o)
	}
	if len(r.procs) != 0 {
		t.Errorf("cores set %v, want untouched", r.procs)
	}
}

// Rules: P-end-4.
func TestDrainTimeoutCoversAllServicesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		var asked atomic.Int32
		r.shutdown = func(ctx context.Context) error {
			asked.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		code := r.program.run(context.Background(), []string{"--config", "testdata/two.yaml"})
		if want := "Error: Service shutdown timed out after 20ms\n"; code != cli.ExitError || r.errs.String() != want {
			t.Errorf("exit %d, stderr %q, want 1, %q", code, r.errs.String(), want)
		}
		if n := asked.Load(); n != 2 || time.Since(began) != 20*time.Millisecond {
			t.Errorf("%d services were asked to stop within %v, want both within 20ms", n, time.Since(began))
		}
	})
}

// What a node has done is worth knowing above all when it could not end in order.
func TestNodeThatIsLateMaySayWhatItHasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.shutdown = func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(lateLimit / 2)
			r.options[0].Log.Info("messages since the start")
			return ctx.Err()
		}
		code := r.program.run(context.Background(), []string{"--config", "testdata/tuned.yaml"})
		if code != cli.ExitError || !strings.Contains(r.out.String(), "messages since the start") {
			t.Errorf("exit %d, log\n%s", code, &r.out)
		}
	})
}

func TestNodeThatIgnoresItsDeadlineDoesNotHoldTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		release := make(chan struct{})
		r.shutdown = func(context.Context) error {
			<-release
			return nil
		}
		began := time.Now()
		code := r.program.run(context.Background(), []string{"--config", "testdata/two.yaml"})
		if code != cli.ExitError || !strings.Contains(r.errs.String(), "timed out after 20ms") || time.Since(began) != 20*time.Millisecond+lateLimit {
			t.Errorf("exit %d after %v, stderr %q", code, time.Since(began), r.errs.String())
		}
		close(release)
	})
}

// The longest time that a file can ask for is not the shortest.
func TestDrainTimeoutOfAges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ages.yaml")
	text := "runtime: {drain_timeout: 9223372036s}\n" +
		"services: {slim/0: {dataplane: {servers: [{endpoint: '127.0.0.1:0', tls: {insecure: true}}]}}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.shutdown = func(context.Context) error {
			time.Sleep(time.Hour)
			return nil
		}
		began := time.Now()
		code := r.program.run(context.Background(), []string{"--config", file})
		if code != cli.ExitOK || time.Since(began) != time.Hour {
			t.Errorf("exit %d after %v, stderr %q", code, time.Since(began), r.errs.String())
		}
	})
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		release := make(chan struct{})
		r.shutdown = func(context.Context) error { // whatever it is told
			<-release
			return nil
		}
		r.notify = func(c chan<- os.Signal) func() {
			c <- syscall.SIGTERM
			time.AfterFunc(3*time.Second, func() { c <- syscall.SIGINT })
			return func() {}
		}
		began := time.Now()
		code := r.program.run(context.Background(), nil) // with 10 s to drain
		want := "Error: a second SIGINT ended the node at once; what it still held is lost\n"
		if code != cli.ExitError || r.errs.String() != want || time.Since(began) != 3*time.Second {
			t.Errorf("exit %d after %v, stderr %q, want %q", code, time.Since(began), r.errs.String(), want)
		}
		close(release)
	})
}

// timeout(1) signals a process and then its group: two signals that are one request.
func TestSignalsThatComeTogetherAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig()
		r.shutdown = func(context.Context) error {
			time.Sleep(2 * time.Second)
			return nil
		}
		r.notify = func(c chan<- os.Signal) func() {
			c <- syscall.SIGTERM
			c <- syscall.SIGTERM
			time.AfterFunc(sameRequest-1, func() { c <- syscall.SIGTERM })
			return func() {}
		}
		began := time.Now()
		if code := r.program.run(context.Background(), nil); code != cli.ExitOK || time.Since(began) != 2*time.Second {
			t.Errorf("exit %d after %v, stderr %q", code, time.Since(began), r.errs.String())
		}
	})
}

func TestFailureToStopIsReported(t *testing.T) {
	r := newRig()
	r.shutdown = func(context.Context) error { return errors.New("no") }
	code := r.program.run(context.Background(), nil)
	if want := "Error: failed to stop service\n\nCaused by:\n    no\n"; code != cli.ExitError || r.errs.String() != want {
		t.Errorf("exit %d, stderr %q, want 1, %q", code, r.errs.String(), want)
	}
}

func TestBindErrorNamesTheEndpointAndItsPlace(t *testing.T) {
	r := newRig()
	stopped := 0
	r.shutdown = func(context.Context) error { stopped++; return nil }
	r.startErr = func(i int, o router.Options) error {
		if i == 0 {
			return nil
		}
		return &router.ListenError{Index: 0, Addr: o.Listen[0], Err: &net.OpError{Op: "listen", Net: "tcp",
			Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}}
	}
	code := r.program.run(context.Background(), []string{"--config", "testdata/two.yaml"})
	want := `Error: failed to start service

Caused by:
    0: datapath error
    1: configuration error
    2: bind error
    3: testdata/two.yaml:12:11: services.slim/b.dataplane.servers[0].endpoint: listen on 127.0.0.1:46358: listen tcp: bind: address already in use (another process listens there: stop it or choose another endpoint)
`
	if code != cli.ExitError || r.errs.String() != want {
		t.Errorf("exit %d, stderr\n%s\nwant\n%s", code, r.errs.String(), want)
	}
	if stopped != 1 {
		t.Errorf("%d nodes stopped, want the one that had started", stopped)
	}
}

// What failed is told by the node, not read from the text of its error.
func TestStartFailureNamesTheServerThatTheNodeNames(t *testing.T) {
	c, s := &config.Config{}, &config.Service{ID: "slim/0"}
	for range 3 {
		s.Dataplane.Servers = append(s.Dataplane.Servers, config.Server{Endpoint: "127.0.0.1:1"})
	}
	err := startFailure(c, s, &router.ListenError{Index: 1, Addr: "127.0.0.1:1", Err: syscall.EACCES})
	if want := "failed to start service: datapath error: configuration error: bind error: " +
		"services.slim/0.dataplane.servers[1].endpoint: listen on 127.0.0.1:1: permission denied (the port needs privileges: " +
		"choose one above 1023)"; err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	err = startFailure(c, s, fmt.Errorf("event loop 0: %w", syscall.EMFILE))
	if want := "failed to start service: slim/0: event loop 0: too many open files"; err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Rules: P-conf-18.
func TestColoursNeedATerminalAndNoNoColor(t *testing.T) {
	for _, tt := range []struct {
		terminal bool
		noColor  string
		want     bool
	}{{true, "", true}, {true, "1", false}, {false, "", false}} {
		r := newRig()
		r.terminal, r.env["NO_COLOR"] = tt.terminal, tt.noColor
		r.program.run(t.Context(), nil)
		if got := strings.Contains(r.out.String(), "\x1b["); got != tt.want {
			t.Errorf("terminal %t, NO_COLOR=%q: colours %t, want %t", tt.terminal, tt.noColor, got, tt.want)
		}
	}
}

// TestSignalsStopTheProcess sends real signals to the test's own process.
func TestSignalsStopTheProcess(t *testing.T) {
	heedHangups()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		r := newRig()
		kill := func(stop func()) func() {
			if err := syscall.Kill(os.Getpid(), s); err != nil {
				t.Error(err)
			}
			return stop
		}
		r.notify = func(c chan<- os.Signal) func() { return notifySignals(c) }
		r.notifyHangups = func(c chan<- os.Signal) func() { return kill(notifyHangups(c)) }
		r.hungUp = func() bool { return true }
		code := r.program.run(context.Background(), nil)
		if want := "received signal, starting shutdown signal=" + signalName(s) + "\n"; code != cli.ExitOK || !strings.Contains(r.out.String(), want) {
			t.Errorf("%v: exit %d, log\n%s\nwant %q", s, code, r.out.String(), want)
		}
	}
}

func TestEndOfContextStopsTheProcess(t *testing.T) {
	r := newRig()
	ctx, cancel := context.WithCancel(context.Background())
	r.notify = func(chan<- os.Signal) func() {
		cancel()
		return func() {}
	}
	if code := r.program.run(ctx, nil); code != cli.ExitOK || !strings.Contains(r.out.String(), "stopping service service=slim/0") {
		t.Errorf("exit %d, log\n%s", code, r.out.String())
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Second: "10s", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", time.Hour: "1h", 0: "0s",
		time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s", 20 * time.Minute: "20m",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("shortDuration(%d) = %s, want %s", d, got, want)
		}
	}
}

// TestRealNode starts the real data plane on a free port and dials it.
func TestRealNode(t *testing.T) {
	r := newRig()
	dialled := make(chan error, 1)
	r.start = func(ctx context.Context, o router.Options) (node, error) {
		n, err := startNode(ctx, o)
		if err == nil {
			c, derr := net.Dial("tcp", n.Addrs()[0].String())
			if derr == nil {
				derr = c.Close()
			}
			dialled <- derr
		}
		return n, err
	}
	if code := r.program.run(context.Background(), []string{"--config", "testdata/free-port.yaml"}); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, &r.errs)
	}
	if err := <-dialled; err != nil {
		t.Error(err)
	}
	if strings.Contains(r.out.String(), "endpoint=127.0.0.1:0\n") {
		t.Errorf("the log does not tell which port was taken:\n%s", &r.out)
	}
}

func TestDefaultConfigurationIsValid(t *testing.T) {
	c := config.Default()
	if s := c.Services[0].Dataplane.Servers[0]; !s.TLS.Insecure || s.Auth.Type != "none" || s.Endpoint != config.DefaultEndpoint {
		t.Errorf("default server %+v", s)
	}
}
