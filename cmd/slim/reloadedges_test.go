package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

// spied is a node of a reloading whose preparations and end a test sees.
type spied struct {
	node
	prepared func(context.Context) // nil: nobody looks
	ends     func(context.Context) // likewise
}

func (n *spied) Prepare(ctx context.Context, s router.Setup) (change, error) {
	c, err := n.node.Prepare(ctx, s)
	if err == nil && n.prepared != nil {
		n.prepared(ctx)
	}
	return c, err
}

func (n *spied) Shutdown(ctx context.Context) error {
	if n.ends != nil {
		n.ends(ctx)
	}
	return n.node.Shutdown(ctx)
}

// spy has every node of r be one of these.
func (r *reloading) spy(s spied) {
	start := r.program.start
	r.program.start = func(ctx context.Context, o router.Options) (node, error) {
		n, err := start(ctx, o)
		if err != nil {
			return nil, err
		}
		mine := s
		mine.node = n
		return &mine, nil
	}
}

// authority writes a certificate and its key into a folder, and returns their key of the configuration, and what a client needs.
func authority(t *testing.T) (dir, tlsText string, client *tls.Config) {
	t.Helper()
	dir, ca := t.TempDir(), certstest.NewIssuer(t, "ca", false)
	cert, key := ca.Pair("node")
	certstest.Write(t, dir, map[string]string{"cert.pem": cert, "key.pem": key, "ca.pem": ca.PEM})
	return dir, "tls: {" + strings.ReplaceAll(files, "<DIR>", dir) + "}", &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
}

// A reload that wants the exchange of keys to be post-quantum has listeners want it from then on, and links be opened anew.
func TestReloadOfEnforcePQC(t *testing.T) {
	t.Parallel() // beside those that wait
	_, secure, client := authority(t)
	peer := elsewhere(t)
	text := func(pqc bool) string {
		return strings.Replace(serviceText([]string{"{endpoint: '127.0.0.1:0', " + secure + "}"}, []string{plain("http://" + peer.Addrs()[0].String())}),
			"dataplane:\n", fmt.Sprintf("dataplane:\n      enforce_pqc: %v\n", pqc), 1)
	}
	r := newReloading(t, text(false))
	r.now = time.Now // certificates are good today
	r.begin()
	addr := r.nodes[0].Addrs()[0].String()
	classic := client.Clone()
	classic.CurvePreferences = []tls.CurveID{tls.X25519}
	try := func(c *tls.Config) error {
		conn, err := tls.Dial("tcp", addr, c)
		if err == nil {
			conn.Close()
		}
		return err
	}
	until(t, "the link is up", func() bool { return peer.Stats().Negotiated == 1 })
	if err := try(classic); err != nil {
		t.Fatal(err)
	}
	r.reload(text(true), loadedAnew)
	if err := try(classic); err == nil {
		t.Error("a client without ML-KEM is let in")
	}
	if err := try(client); err != nil {
		t.Error(err)
	}
	until(t, "the link is opened anew", func() bool { return peer.Stats().Negotiated == 2 })
	r.reload(text(false), loadedAnew)
	if err := try(classic); err != nil {
		t.Error(err)
	}
}

// A listener with TLS that becomes one for WebSockets speaks their protocol by ALPN, too.
func TestReloadGivesASecureListenerWebSockets(t *testing.T) {
	t.Parallel()
	_, secure, client := authority(t)
	text := func(scheme string) string {
		return serviceText([]string{"{endpoint: '" + scheme + "127.0.0.1:0', " + secure + "}"}, nil)
	}
	r := newReloading(t, text(""))
	r.now = time.Now
	r.begin()
	client.NextProtos = []string{"h2", "http/1.1"}
	protocol := func() string {
		c, err := tls.Dial("tcp", r.nodes[0].Addrs()[0].String(), client)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().NegotiatedProtocol
	}
	if got := protocol(); got != "h2" {
		t.Errorf("gRPC: %q", got)
	}
	r.reload(text("wss://"), loadedAnew)
	if got := protocol(); got != "http/1.1" {
		t.Errorf("WebSocket: %q", got)
	}
}

// What was opened for one service is closed when another one cannot have what it needs, and the next reload finds all as it was.
func TestReloadThatFailsInOneOfTwoServices(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := filepath.Join(t.TempDir(), "s")
	text := func(first, second []string) string {
		one := serviceText(first, nil)
		return one + strings.Replace(strings.SplitAfter(serviceText(second, nil), "services:\n")[1], "slim/0", "slim/1", 1)
	}
	stays := []string{plain("127.0.0.1:0")}
	good := text(stays, stays)
	more := append([]string{plain("unix://" + path)}, stays...)
	r := startReloading(t, good)
	for range 2 {
		r.reload(text(more, append([]string{plain(taken.Addr().String())}, stays...)), "configuration is not loaded")
		if _, err := os.Stat(path); err == nil {
			t.Error("the listener of the first service is open")
		}
		r.reload(text(more, []string{"{endpoint: '127.0.0.1:0', tls: {source: {type: file, cert: /none/c, key: /none/k}}}"}), "configuration is not loaded")
		if _, err := os.Stat(path); err == nil {
			t.Error("the listener of the first service is open")
		}
	}
	r.reload(good, "configuration is as before")
	r.reload(text(more, stays), loadedAnew)
	app(t, "unix", path)
}

// A client whose link is over is dialled again by a reload that leaves it as it is.
func TestReloadOpensALinkThatIsOver(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	begin := func() *router.Node {
		n, err := router.Start(t.Context(), router.Options{Listen: []string{"unix://" + path}, Loops: 1, NegotiationTimeout: hang})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Shutdown(context.Background()) })
		return n
	}
	text := serviceText([]string{plain("127.0.0.1:0")}, []string{plain("unix://"+path, "connection_type: remote")})
	first := begin()
	r := startReloading(t, text)
	until(t, "the link is up", func() bool { return first.Stats().Negotiated == 1 })
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "the link is over", func() bool {
		l := r.nodes[0].Links()
		return len(l) == 1 && l[0].State == router.LinkOver
	})
	second := begin()
	r.reload(text, "configuration is as before")
	until(t, "the link is up again", func() bool { return second.Stats().Negotiated == 1 })
	if l := r.nodes[0].Links(); len(l) != 1 {
		t.Errorf("links %+v", l)
	}
}

// Keys of a client are called by its new place once another one has gone.
func TestReloadMovesAClient(t *testing.T) {
	t.Parallel()
	dir, _, _ := authority(t)
	peer := elsewhere(t)
	goes := plain("http://" + peer.Addrs()[0].String())
	stays := "{endpoint: 'https://127.0.0.1:1', tls: {ca_source: {type: file, path: " + dir + "/ca.pem}}}"
	r := newReloading(t, serviceText(nil, []string{goes, stays}))
	r.now = time.Now
	r.begin()
	r.reload(serviceText(nil, []string{stays}), loadedAnew)
	if err := os.WriteFile(dir+"/ca.pem", []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.hangups <- syscall.SIGHUP
	lines := r.await("certificates are not loaded")
	if l := lines[len(lines)-1]; !strings.Contains(l, "services.slim/0.dataplane.clients[0].tls.ca_source.path") {
		t.Errorf("the log says %s", l)
	}
}

// A fault is told when the file has settled, and once for what the file holds.
func TestFaultsAreToldOnce(t *testing.T) {
	g := newRig()
	f := &flags{config: filepath.Join(t.TempDir(), "node.yaml")}
	if err := os.WriteFile(f.config, []byte("services: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	logger := cli.NewLogger(&g.out, cli.LogOptions{Now: g.now})
	r := &reloader{p: &g.program, f: f, log: logs{logger, logger, nil}, operation: &operation{}, c: config.Default()}
	told := func() int { return strings.Count(g.out.String(), "configuration is not loaded") }
	for i, tt := range []struct {
		asked, strict, fault bool
		want                 int // told until then
	}{
		{false, false, true, 0}, // it may be half written
		{false, false, true, 0},
		{false, true, true, 1},
		{false, true, false, 1}, // as before
		{false, false, false, 1},
		{true, true, true, 2},
	} {
		if got := r.lookAtFile(t.Context(), slog.New(logger.Handler()), tt.asked, tt.strict); got != tt.fault || told() != tt.want {
			t.Errorf("look %d: fault %v, told %d times; want %v, %d", i, got, told(), tt.fault, tt.want)
		}
	}
	if f := r.operation.configuration().Failures; f != 2 {
		t.Errorf("%d failures are counted", f)
	}
}

// Who watches certificates ends when there are others.
func TestReloadsLeaveNoWatchersBehind(t *testing.T) {
	_, secure, _ := authority(t)
	texts := []string{serviceText([]string{plain("127.0.0.1:0")}, nil), serviceText([]string{"{endpoint: '127.0.0.1:0', " + secure + "}"}, nil)}
	r := newReloading(t, texts[0])
	r.now = time.Now
	r.begin()
	turn := func() {
		r.reload(texts[1], loadedAnew)
		r.reload(texts[0], loadedAnew)
	}
	before := 0 // the most there are: one look may come upon few
	for range 3 {
		turn()
		before = max(before, runtime.NumGoroutine())
	}
	for range 20 {
		turn()
	}
	until(t, "nothing is left", func() bool { return runtime.NumGoroutine() <= before })
}

// The time to stop is that of the configuration that was loaded last.
func TestReloadOfTheDrainTimeout(t *testing.T) {
	t.Parallel()
	text := func(d string) string {
		return serviceText([]string{plain("127.0.0.1:0")}, nil, "runtime: {drain_timeout: "+d+"}")
	}
	r := newReloading(t, text("9s"))
	left := make(chan time.Duration, 1)
	r.spy(spied{ends: func(ctx context.Context) {
		at, _ := ctx.Deadline()
		left <- time.Until(at)
	}})
	r.begin()
	r.reload(text("9h"), loadedAnew)
	r.stop()
	if d := <-left; d < time.Hour {
		t.Errorf("the node has %v to stop", d)
	}
}

// A reload that was prepared when the node began to stop is dropped, with what was opened for it.
func TestNodeStopsBeforeAReloadTakesEffect(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	r := newReloading(t, serviceText([]string{plain("127.0.0.1:0")}, nil))
	r.spy(spied{prepared: func(ctx context.Context) {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("it is not prepared: %v", err)
		}
		r.signals <- syscall.SIGTERM
		<-ctx.Done()
	}})
	r.begin()
	r.write(serviceText([]string{plain("127.0.0.1:0"), plain("unix://" + path)}, nil))
	r.hangups <- syscall.SIGHUP
	select {
	case code := <-r.done:
		if code != cli.ExitOK {
			t.Errorf("exit %d: %s", code, &r.errs)
		}
	case <-time.After(hang):
		t.Fatal("it does not end")
	}
	r.done = nil
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is left")
	}
}
