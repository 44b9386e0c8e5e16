package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// reloading is a program that runs a real node in this process, with a configuration that changes.
type reloading struct {
	*rig
	t       *testing.T
	file    string
	hangups chan<- os.Signal
	signals chan<- os.Signal
	lines   chan string
	nodes   []*router.Node
	done    chan int
}

// serviceText is the configuration of one service; servers and clients are entries in flow style.
func serviceText(servers, clients []string, more ...string) string {
	list := func(key string, entries []string) (s string) {
		if len(entries) == 0 {
			return ""
		}
		s = "      " + key + ":\n"
		for _, e := range entries {
			s += "        - " + e + "\n"
		}
		return s
	}
	return strings.Join(more, "\n") + "\nservices:\n  slim/0:\n    dataplane:\n" + list("servers", servers) + list("clients", clients)
}

func plain(endpoint string, more ...string) string {
	return "{" + strings.Join(append([]string{"endpoint: '" + endpoint + "'", "tls: {insecure: true}"}, more...), ", ") + "}"
}

// patient is a node whose links may take as long to be negotiated as a busy machine needs, after a reload, too.
type patient struct{ node }

func (n patient) Prepare(ctx context.Context, s router.Setup) (change, error) {
	s.Rules.NegotiationTimeout = hang
	return n.node.Prepare(ctx, s)
}

// newReloading prepares a program; start runs it.
func newReloading(t *testing.T, text string) *reloading {
	t.Helper()
	r := &reloading{rig: newRig(), t: t, file: filepath.Join(t.TempDir(), "node.yaml"), lines: make(chan string, 1<<16),
		done: make(chan int, 1)}
	r.write(text)
	r.program.start = func(ctx context.Context, o router.Options) (node, error) {
		o.NegotiationTimeout = hang
		n, err := startNode(ctx, o)
		if err != nil {
			return nil, err
		}
		r.nodes = append(r.nodes, n.(dataPlane).Node)
		return patient{n}, nil
	}
	r.notify = func(c chan<- os.Signal) func() { r.signals = c; return func() {} }
	r.notifyHangups = func(c chan<- os.Signal) func() { r.hangups = c; return func() {} }
	return r
}

func startReloading(t *testing.T, text string, args ...string) *reloading {
	t.Helper()
	r := newReloading(t, text)
	r.begin(args...)
	return r
}

func (r *reloading) begin(args ...string) {
	r.t.Helper()
	out, in := io.Pipe()
	r.stdout = in
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
	}()
	ready := make(chan struct{})
	r.telling = func() { close(ready) }
	go func() {
		r.done <- r.program.run(context.Background(), append([]string{"--config", r.file}, args...))
		in.Close()
	}()
	select {
	case <-ready:
	case <-time.After(hang):
		r.t.Fatal("it does not start")
	}
	r.t.Cleanup(func() { r.stop() })
}

// stop ends the program, and fails the test unless it ends in order.
func (r *reloading) stop() {
	r.t.Helper()
	if r.done == nil {
		return
	}
	r.signals <- syscall.SIGTERM
	select {
	case code := <-r.done:
		if code != cli.ExitOK {
			r.t.Errorf("exit %d: %s", code, &r.errs)
		}
	case <-time.After(hang):
		r.t.Error("it does not end")
	}
	r.done = nil
}

// write gives the program a configuration, with time enough to stop if that says nothing of it.
func (r *reloading) write(text string) {
	r.t.Helper()
	if strings.Contains(text, "services:\n") && !strings.Contains(text, "runtime:") {
		text += "\nruntime: {drain_timeout: 2m}\n"
	}
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// await reads the log up to a line with text, and returns all lines up to it.
func (r *reloading) await(text string) (lines []string) {
	r.t.Helper()
	for limit := time.After(hang); ; {
		select {
		case line := <-r.lines:
			if lines = append(lines, line); strings.Contains(line, text) {
				return lines
			}
		case <-limit:
			r.t.Fatalf("no line %q in\n%s", text, strings.Join(lines, "\n"))
		}
	}
}

const loadedAnew = "configuration loaded anew"

// reload has the node load text, and waits for the line of the log that says what came of it.
func (r *reloading) reload(text, want string) []string {
	r.t.Helper()
	r.write(text)
	r.hangups <- syscall.SIGHUP
	return r.await(want)
}

func has(lines []string, text string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, text) })
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(hang); !done(); time.Sleep(50 * time.Microsecond) {
		if time.Now().After(limit) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func app(t *testing.T, network, addr string) *uplink.Conn {
	t.Helper()
	c, err := uplink.Dial(t.Context(), addr, &uplink.Options{Setup: hang, DialContext: func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Abort(); <-c.Done() })
	return c
}

// elsewhere is a node that is dialled.
func elsewhere(t *testing.T) *router.Node {
	t.Helper()
	n, err := router.Start(t.Context(), router.Options{Listen: []string{"127.0.0.1:0"}, Loops: 1, NegotiationTimeout: hang})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		_ = n.Shutdown(ctx)
	})
	return n
}

// Listeners and clients come and go; who is connected by one that stays does not notice, and a client that stays is not
// dialled again.
func TestReloadOfListenersAndClients(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	a, b := elsewhere(t), elsewhere(t)
	to := func(n *router.Node, more ...string) string { return plain("http://"+n.Addrs()[0].String(), more...) }
	stays := plain("127.0.0.1:0")
	r := startReloading(t, serviceText([]string{stays, plain("unix://" + path)}, []string{to(a)}))
	n := r.nodes[0]
	until(t, "the link is up", func() bool { return a.Stats().Negotiated == 1 })
	first := app(t, "tcp", n.Addrs()[0].String())
	second := app(t, "unix", path)

	lines := r.reload(serviceText([]string{stays, plain("ws://127.0.0.1:0/x")}, []string{to(a), to(b)}), loadedAnew)
	for _, want := range []string{"dataplane server started endpoint=ws://127.0.0.1:", "endpoint=unix://" + path, "dataplane client started"} {
		if !has(lines, want) {
			t.Errorf("no line %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
	<-second.Done()
	until(t, "the second link is up", func() bool { return b.Stats().Negotiated == 1 })
	if s := a.Stats(); s.Negotiated != 1 {
		t.Errorf("a client that stays has negotiated %d times", s.Negotiated)
	}

	r.reload(serviceText([]string{stays, plain("unix://" + path)}, []string{to(b, "connection_type: remote")}), loadedAnew)
	app(t, "unix", path)
	until(t, "the first link is gone", func() bool { return a.Stats().Connections == 0 })
	until(t, "the second is of another kind", func() bool { s := b.Stats(); return s.Negotiated == 2 && s.Connections == 1 })
	if err := first.Err(); err != nil {
		t.Errorf("who stays: %v", err)
	}
	if lines := r.reload(serviceText([]string{stays, plain("unix://" + path)}, []string{to(b, "connection_type: remote")}),
		"configuration is as before"); has(lines, "started") {
		t.Errorf("something has started:\n%s", strings.Join(lines, "\n"))
	}
	if s := b.Stats(); s.Negotiated != 2 {
		t.Errorf("negotiated %d times", s.Negotiated)
	}
}

// A listener gets TLS, and loses it, without being closed; its certificates are kept current from then on.
func TestReloadGivesAListenerTLS(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), certstest.NewIssuer(t, "ca", false)
	put := func(name string) {
		cert, key := ca.Pair(name)
		certstest.Write(t, dir, map[string]string{"cert.pem": cert, "key.pem": key})
	}
	put("first")
	bare := serviceText([]string{plain("127.0.0.1:0")}, nil)
	r := newReloading(t, bare)
	r.now = time.Now // certificates are good today
	r.begin()
	addr := r.nodes[0].Addrs()[0].String()
	before := app(t, "tcp", addr)
	secure := serviceText([]string{"{endpoint: '127.0.0.1:0', tls: {" + strings.ReplaceAll(files, "<DIR>", dir) + "}}"}, nil)
	if lines := r.reload(secure, loadedAnew); !has(lines, "certificates loaded endpoint=127.0.0.1:0 subject=CN=first") {
		t.Errorf("the log says\n%s", strings.Join(lines, "\n"))
	}
	client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	sealed := join(t, addr, client)
	put("second")
	r.hangups <- syscall.SIGHUP
	r.await("certificates loaded anew endpoint=127.0.0.1:0 subject=CN=second")
	c, err := tls.Dial("tcp", addr, client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "second" {
		t.Errorf("%s is shown", got)
	}
	r.reload(bare, loadedAnew)
	app(t, "tcp", addr)
	if before.Err() != nil || sealed.Err() != nil {
		t.Errorf("%v, %v", before.Err(), sealed.Err())
	}
}

// What cannot be loaded or opened changes nothing, and all of it is told at once.
func TestReloadThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy, path := taken.Addr().String(), filepath.Join(t.TempDir(), "s")
	peer := elsewhere(t)
	client := plain("http://" + peer.Addrs()[0].String())
	good := serviceText([]string{plain("127.0.0.1:0")}, []string{client})
	r := startReloading(t, good, "--health", "0")
	addr := ""
	for _, l := range r.await("admin server started") {
		_, addr, _ = strings.Cut(l, "endpoint=")
	}
	r.await("service started")
	n := r.nodes[0]
	before := n.Addrs()[0].String()
	stays := app(t, "tcp", before)
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"two typing errors": {"runtime: {drain_timeut: 1s}\ntracing: {log_level: 7}\n" + good,
			[]string{":1:11: ", "runtime.drain_timeut", ":2:22: ", "tracing.log_level"}},
		"no YAML":   {"services: [", []string{r.file + ":"}},
		"ports":     {serviceText([]string{plain("unix://" + path), plain(busy), plain("unix:///none/s")}, nil), []string{"servers[1].endpoint: listen on " + busy, "servers[2].endpoint: listen on unix:///none/s"}},
		"files":     {serviceText([]string{plain("unix://" + path), "{endpoint: '127.0.0.1:0', tls: {source: {type: file, cert: /none/c, key: /none/k}}}"}, []string{"{endpoint: 'https://127.0.0.1:1', tls: {ca_source: {type: file, path: /none/ca}}}"}), []string{"servers[1].tls.source.cert: /none/c: no such file", "clients[0].tls.ca_source.path: /none/ca: no such file"}},
		"the empty": {"", []string{"configuration is not loaded"}},
	} {
		r.write(tt.text)
		r.hangups <- syscall.SIGHUP
		var lines []string
		for _, want := range tt.want {
			if !has(lines, want) {
				lines = append(lines, r.await(want)...)
			}
		}
		for _, l := range lines {
			if strings.Contains(l, "started") || strings.Contains(l, "removed") {
				t.Errorf("%s: %s", name, l)
			}
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: the socket that could be opened is left", name)
		}
		until(t, "the failure is shown", func() bool {
			_, body := ask(t, addr, "/metrics")
			return strings.Contains(body, "slim_config_last_reload_successful 0")
		})
	}
	if got := n.Addrs(); len(got) != 1 || got[0].String() != before || stays.Err() != nil || len(n.Links()) != 1 {
		t.Errorf("listens on %v, before on %s; %v; links %+v", got, before, stays.Err(), n.Links())
	}
	app(t, "tcp", before)
	r.reload(good, "configuration is as before")
	_, body := ask(t, addr, "/metrics")
	for _, want := range []string{"slim_config_last_reload_successful 1", `slim_config_reloads_total{result="failed"} 5`, `slim_config_reloads_total{result="ok"} 1`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
}

// Each key that cannot change is named, again at each reload, and the others of the file take effect. Rules: P-conf-25.
func TestReloadNamesWhatCannotChange(t *testing.T) {
	t.Parallel()
	server := []string{plain("127.0.0.1:0")}
	service := func(more string) string {
		return strings.Replace(serviceText(server, nil), "dataplane", more+"\n    dataplane", 1)
	}
	r := startReloading(t, service("node_id: one")+"  slim/old:\n    dataplane: {servers: ["+plain("127.0.0.1:0")+"]}\n")
	for range 2 {
		lines := r.reload("runtime: {n_cores: 3, thread_name: x, drain_timeout: 3m}\ntracing: {display_thread_ids: true, log_level: info}\n"+
			strings.Replace(service("node_id: two\n    domain_name: other"), server[0], server[0]+"\n        - "+plain("[::1]:0"), 1)+
			"  slim/new:\n    dataplane: {servers: ["+plain("127.0.0.1:0")+"]}\n", "key=services.slim/new")
		for _, key := range []string{"runtime.n_cores", "runtime.thread_name", "tracing.display_thread_ids", "services.slim/0.node_id",
			"services.slim/0.domain_name", "services.slim/old", "services.slim/new"} {
			if !has(lines, "this key cannot change while the node runs: start it anew for that key="+key) {
				t.Errorf("%s is not named in\n%s", key, strings.Join(lines, "\n"))
			}
		}
		for _, l := range lines {
			if strings.Contains(l, "drain_timeout") && strings.Contains(l, "cannot change") || strings.Contains(l, "servers") && strings.Contains(l, "cannot change") {
				t.Errorf("the log says %s", l)
			}
		}
	}
	if got := r.nodes[0].Addrs(); len(got) != 2 || len(r.nodes) != 2 {
		t.Errorf("listens on %v, %d services", got, len(r.nodes))
	}
}

// What the log shows follows the file, unless the command line says it.
func TestReloadOfTheLogLevel(t *testing.T) {
	t.Parallel()
	text := func(level string) string {
		return serviceText([]string{plain("127.0.0.1:0")}, nil, "tracing: {log_level: "+level+"}")
	}
	probe := func(r *reloading) {
		c, err := net.Dial("tcp", r.nodes[0].Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c) // until the node has seen it
		_ = c.Close()
	}
	const debug = "socket closed before it was a connection"
	r := startReloading(t, text("info"))
	probe(r)
	if lines := r.reload(text("debug"), loadedAnew); has(lines, debug) {
		t.Error("info shows debug")
	}
	probe(r)
	r.await(debug)
	r.write(text("error"))
	r.hangups <- syscall.SIGHUP
	probe(r)
	r.reload(text("info"), loadedAnew)

	r = startReloading(t, text("debug"), "--log-level", "info")
	probe(r)
	r.reload(text("trace"), loadedAnew)
	probe(r)
	if lines := r.reload(text("warn"), loadedAnew); has(lines, debug) {
		t.Error("the file goes before the command line")
	}
}

// Rules: P-conf-26.
func TestSlowConsumerPolicyOfAFile(t *testing.T) {
	service := func(policies ...string) *config.Service {
		s := &config.Service{}
		for _, p := range policies {
			s.Dataplane.Servers = append(s.Dataplane.Servers, config.Server{SlowConsumer: p})
		}
		return s
	}
	for name, tt := range map[string]struct {
		s    *config.Service
		f    flags
		want router.Policy
	}{
		"neither says it":        {service(""), flags{}, router.Adaptive},
		"the file":               {service("drop"), flags{}, router.Drop},
		"the first server":       {service("block", "drop"), flags{}, router.Block},
		"the command line":       {service("drop"), flags{slowConsumer: router.Disconnect, slowConsumerSet: true}, router.Disconnect},
		"its default, said":      {service("drop"), flags{slowConsumerSet: true}, router.Adaptive},
		"no server":              {service(), flags{}, router.Adaptive},
		"the command line alone": {service(""), flags{slowConsumer: router.Block, slowConsumerSet: true}, router.Block},
	} {
		if got := rules(tt.s, &tt.f).SlowConsumer; got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// A signal that comes before the start has finished, or while the node stops, is no harm.
func TestReloadAtTheEdges(t *testing.T) {
	t.Parallel()
	text := serviceText([]string{plain("127.0.0.1:0")}, nil)
	r := newReloading(t, text)
	note := r.notifyHangups
	r.notifyHangups = func(c chan<- os.Signal) func() {
		c <- syscall.SIGHUP
		return note(c)
	}
	r.begin()
	lines := r.await("configuration is as before")
	if at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "service started") }); at < 0 {
		t.Errorf("reloaded before it has started:\n%s", strings.Join(lines, "\n"))
	}
	for i := range 20 {
		r := startReloading(t, text)
		r.write(serviceText([]string{plain("127.0.0.1:0"), plain("[::1]:0")}, nil))
		r.hangups <- syscall.SIGHUP
		if i%2 == 0 {
			r.await("received signal, loading")
		}
		r.stop()
	}
}

// Without a file there is nothing but certificates to load.
func TestHangupWithoutAConfiguration(t *testing.T) {
	r := newRig()
	r.notify = func(chan<- os.Signal) func() { return func() {} }
	ctx, cancel := context.WithCancel(t.Context())
	r.notifyHangups = func(c chan<- os.Signal) func() { c <- syscall.SIGHUP; return func() {} }
	out, in := io.Pipe()
	r.stdout = in
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			if strings.Contains(s.Text(), "received signal, but there is nothing to load: the node was started without --config") {
				cancel()
			}
		}
	}()
	if code := r.program.run(ctx, nil); code != cli.ExitOK {
		t.Errorf("exit %d: %s", code, &r.errs)
	}
}

// A configuration that comes through a pipe can be read once, and is read by whoever needs it.
func TestConfigurationFromAPipe(t *testing.T) {
	t.Parallel()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := to.WriteString(serviceText([]string{plain("127.0.0.1:0")}, nil)); err != nil {
		t.Fatal(err)
	}
	to.Close()
	r := newReloading(t, "")
	r.file = fmt.Sprintf("/dev/fd/%d", from.Fd())
	r.watches = true
	r.begin()
	r.hangups <- syscall.SIGHUP
	r.await("can be read only once")
	app(t, "tcp", r.nodes[0].Addrs()[0].String())
}

func TestReloadsLeaveNothingBehind(t *testing.T) {
	reloads := 100
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		reloads = 1000
	}
	path, peer := filepath.Join(t.TempDir(), "s"), elsewhere(t)
	client := plain("http://" + peer.Addrs()[0].String())
	texts := []string{
		serviceText([]string{plain("127.0.0.1:0"), plain("unix://" + path)}, []string{client}),
		serviceText([]string{plain("127.0.0.1:0", "slow_consumer: drop"), plain("ws://127.0.0.1:0")}, nil, "tracing: {log_level: warn}"),
	}
	r := startReloading(t, texts[0], "--log-level", "info")
	stays := app(t, "tcp", r.nodes[0].Addrs()[0].String())
	turn := func(i int) { r.reload(texts[i%2], loadedAnew) }
	settled := func() bool {
		return r.nodes[0].Stats().Connections == 2 && len(r.nodes[0].Links()) == 1 && peer.Stats().Sockets == 1
	}
	count := func() (int, int) {
		es, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(es), runtime.NumGoroutine()
	}
	files, goroutines := 0, 0 // the most there are: one look may come upon few
	for i := range 4 {
		turn(i + 1)
		f, g := count()
		files, goroutines = max(files, f), max(goroutines, g)
	}
	until(t, "all is quiet", settled)
	f, g := count()
	files, goroutines = max(files, f), max(goroutines, g)
	for i := range reloads {
		turn(i + 1)
	}
	until(t, "all is quiet", settled)
	until(t, "nothing is left", func() bool { f, g := count(); return f <= files && g <= goroutines })
	if err := stays.Err(); err != nil {
		t.Error(err)
	}
}

// A changed file is seen without a signal, however it is replaced.
func TestFileThatChangesIsLoaded(t *testing.T) {
	t.Parallel() // it waits for most of its time
	r := newReloading(t, serviceText([]string{plain("127.0.0.1:0")}, nil))
	r.watches = true
	r.begin()
	r.await("service started")
	for i, write := range []func(text string){
		r.write,
		func(text string) {
			if err := os.WriteFile(r.file+".swp", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(r.file+".swp", r.file); err != nil {
				t.Fatal(err)
			}
		},
	} {
		write(serviceText([]string{plain("127.0.0.1:0")}, nil, fmt.Sprintf("runtime: {drain_timeout: %ds}", 130+i)))
		if lines := r.await(loadedAnew); !strings.Contains(lines[len(lines)-1], "runtime.drain_timeout") {
			t.Errorf("the log says %s", lines[len(lines)-1])
		}
	}
	r.write("services: {")
	r.await("configuration is not loaded: everything stays as it is")
}
