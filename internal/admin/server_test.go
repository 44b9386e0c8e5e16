package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

func TestMain(m *testing.M) {
	const limit = 2 * time.Minute // the machine may be busy
	headerTimeout, answerTimeout, client.Timeout = limit, limit, limit
	client.Transport.(*http.Transport).DialContext = (&net.Dialer{Timeout: limit}).DialContext
	os.Exit(m.Run())
}

// fakeNode answers as it is told.
type fakeNode struct {
	stats    router.Stats
	ready    error
	conns    []router.Connection
	names    []router.HeldName
	links    []router.LinkStatus
	peers    []router.Peer
	guards   []auth.Tally
	refusals []router.Refusal
	deaths   []router.Death
	asked    func(context.Context) error // by Connections; nil: it answers at once
}

func (n *fakeNode) About() router.About {
	return router.About{NodeID: "node-1", Deployment: "home", Listeners: []string{"http://127.0.0.1:46357", "wss://127.0.0.1:46360/slim"}}
}
func (n *fakeNode) Stats() router.Stats { return n.stats }
func (n *fakeNode) Ready() error        { return n.ready }
func (n *fakeNode) Connections(ctx context.Context, _ int) ([]router.Connection, error) {
	if n.asked != nil {
		if err := n.asked(ctx); err != nil {
			return nil, err
		}
	}
	return n.conns, nil
}
func (n *fakeNode) Names(_ context.Context, wanted func(string, []uint64) bool, most, _, _ int) (out []router.HeldName, complete bool, _ error) {
	for _, x := range n.names {
		if wanted(x.Name, x.Some) {
			out = append(out, x)
		}
	}
	return out[:min(most, len(out))], len(out) <= most, nil
}
func (n *fakeNode) Links() []router.LinkStatus { return n.links }
func (n *fakeNode) Peers() []router.Peer       { return n.peers }
func (n *fakeNode) Guards() []auth.Tally       { return n.guards }
func (n *fakeNode) Trouble(context.Context) ([]router.Refusal, []router.Death, error) {
	return n.refusals, n.deaths, nil
}

// serve starts a server for a node; change, if not nil, may change its options.
func serve(t *testing.T, n Node, change func(*Options)) *Server {
	t.Helper()
	o := Options{Addr: "127.0.0.1:0", Services: func() []Service { return []Service{{ID: "slim/0", Node: n}} }, Ready: func() error { return nil },
		Build: Build{Version: "1.2.3", SHA: "abc", Go: "go1"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&o)
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// get asks for a path, under another host name if host is not empty.
func get(t *testing.T, s *Server, path, host string) (code int, body string, h http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	req.Close = true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestParseAddr(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"9090", "127.0.0.1:9090"}, {":9090", "127.0.0.1:9090"}, {"0.0.0.0:9090", "0.0.0.0:9090"}, {"[::1]:0", "[::1]:0"}, {"host:1", "host:1"},
		{"", ""}, {":", ""}, {"host", ""}, {"host:", ""}, {"1.2.3.4:65536", ""}, {"1.2.3.4:-1", ""}, {"1.2.3.4:x", ""}, {"::1:80", ""},
	} {
		if got, err := ParseAddr(tt.in); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("ParseAddr(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestProbesTellWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name        string
		process     error
		node        fakeNode
		live, ready string // answers; "": ok
	}{
		{name: "all is well"},
		{name: "not all services have started", process: errors.New("starting"), ready: "starting"},
		{name: "a node stops", node: fakeNode{ready: errors.New("the node is stopping")}, ready: "slim/0: the node is stopping"},
		{name: "a loop is late", node: fakeNode{ready: errors.New("late"), stats: router.Stats{Behind: 10 * time.Second}}, ready: "slim/0: late"},
		{name: "a loop is dead", node: fakeNode{ready: errors.New("late"), stats: router.Stats{Behind: 61 * time.Second}},
			live: "slim/0: an event loop has not run for 1m1s", ready: "slim/0: late"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, &tt.node, func(o *Options) { o.Ready = func() error { return tt.process } })
			for path, want := range map[string]string{"/livez": tt.live, "/readyz": tt.ready} {
				wantCode := http.StatusServiceUnavailable
				if want == "" {
					want, wantCode = "ok", http.StatusOK
				}
				if code, body, _ := get(t, s, path, ""); code != wantCode || body != want+"\n" {
					t.Errorf("%s: %d %q, want %d %q", path, code, body, wantCode, want)
				}
			}
			if err := Probe(t.Context(), s.Addr().String(), false); (err == nil) != (tt.ready == "") || err != nil && err.Error() != tt.ready {
				t.Errorf("Probe says %v, want %q", err, tt.ready)
			}
			if err := Probe(t.Context(), s.Addr().String(), true); (err == nil) != (tt.live == "") {
				t.Errorf("Probe of life says %v, want %q", err, tt.live)
			}
		})
	}
}

func TestProbeOfNobodySaysWhatToDo(t *testing.T) {
	const addr = "127.0.0.1:1"
	if err := Probe(t.Context(), addr, false); err == nil || !strings.Contains(err.Error(), "is the node running, with --health "+addr+"?") {
		t.Errorf("%v", err)
	}
}

func TestMetrics(t *testing.T) {
	n := &fakeNode{ready: errors.New("no"), stats: router.Stats{Received: 7, BytesIn: 1 << 40, Delivered: 5, Waiting: 3, Behind: 250 * time.Millisecond,
		Negotiating: 2, Dropped: map[router.Reason]uint64{router.ReasonNoMatch: 4}, Refused: map[router.Reason]uint64{router.ReasonPath: 9}}}
	n.stats.Kinds[table.Edge] = 11
	n.links = []router.LinkStatus{{State: router.LinkUp, Unarmed: 1}, {State: router.LinkOver, Unarmed: 2}}
	n.peers = []router.Peer{{Learned: 3, Told: 4, Synced: time.Second / 2, Open: true}, {Learned: 5, Told: 1, Behind: true, Open: true},
		{Standby: true, Through: "n2"}, {Behind: true}}
	n.guards = []auth.Tally{{Listener: "127.0.0.1:1", Mechanism: "basic", Waiting: 6, Slowed: 7}}
	n.guards[0].Outcomes[auth.Allowed], n.guards[0].Outcomes[auth.Wrong] = 4, 5
	s := serve(t, n, nil)
	code, body, _ := get(t, s, "/metrics", "")
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	lines := map[string]bool{}
	for l := range strings.Lines(body) {
		lines[strings.TrimSpace(l)] = true
	}
	for _, want := range []string{
		`slim_messages_received_total{service="slim/0"} 7`,
		`slim_received_bytes_total{service="slim/0"} 1.099511627776e+12`,
		`slim_messages_delivered_total{service="slim/0"} 5`,
		`slim_queue_messages{service="slim/0"} 3`,
		`slim_loop_behind_seconds{service="slim/0"} 0.25`,
		`slim_connections{kind="edge",service="slim/0",state="active"} 11`,
		`slim_connections{kind="unknown",service="slim/0",state="negotiating"} 2`,
		`slim_links{service="slim/0",state="up"} 1`,
		`slim_links{service="slim/0",state="over"} 1`,
		`slim_peers{service="slim/0",state="synced"} 1`,
		`slim_peers{service="slim/0",state="behind"} 1`,
		`slim_peers{service="slim/0",state="standby"} 1`,
		`slim_peers{service="slim/0",state="probing"} 1`,
		`slim_peer_names{direction="learned",service="slim/0"} 8`,
		`slim_peer_names{direction="told",service="slim/0"} 5`,
		`slim_peer_sync_seconds{service="slim/0"} 0.5`,
		`slim_link_credentials_failures_total{service="slim/0"} 3`,
		`slim_auth_requests_total{listener="127.0.0.1:1",mechanism="basic",outcome="allowed",service="slim/0"} 4`,
		`slim_auth_requests_total{listener="127.0.0.1:1",mechanism="basic",outcome="wrong",service="slim/0"} 5`,
		`slim_auth_requests_total{listener="127.0.0.1:1",mechanism="basic",outcome="overcrowded",service="slim/0"} 0`,
		`slim_auth_waiting{listener="127.0.0.1:1",mechanism="basic",service="slim/0"} 6`,
		`slim_auth_delayed_total{listener="127.0.0.1:1",mechanism="basic",service="slim/0"} 7`,
		`slim_dropped_messages_total{reason="no_match",service="slim/0"} 4`,
		`slim_dropped_messages_total{reason="ttl_expired",service="slim/0"} 0`,
		`slim_refused_total{reason="unknown_path",service="slim/0"} 9`,
		`slim_build_info{goversion="go1",revision="abc",version="1.2.3"} 1`,
		`slim_ready 0`,
		`# TYPE slim_messages_received_total counter`,
		`# TYPE slim_queue_messages gauge`,
	} {
		if !lines[want] {
			t.Errorf("no line %s", want)
		}
	}
	for _, never := range []string{`slim_dropped_messages_total{reason="tls_timeout"`, `slim_refused_total{reason="no_match"`} {
		if strings.Contains(body, never) {
			t.Errorf("%s can never rise", never)
		}
	}
	for _, want := range []string{"go_goroutines ", "process_cpu_seconds_total "} {
		if !strings.Contains(body, want) {
			t.Errorf("nothing of %s", want)
		}
	}
}

// What connections do is for those on this machine, and not for a page from elsewhere that has its name lead here.
func TestStatusIsForThisMachine(t *testing.T) {
	for _, tt := range []struct {
		host   string
		public bool
		want   int
	}{
		{"", false, 200}, {"localhost:80", false, 200}, {"127.0.0.1", false, 200}, {"[::1]:80", false, 200},
		{"evil.example", false, 403}, {"evil.example:80", false, 403}, {"localhost.evil.example", false, 403},
		{"node.example:80", true, 200},
	} {
		s := serve(t, &fakeNode{}, func(o *Options) { o.Status, o.Profiles = tt.public, true })
		for _, path := range []string{"/status", "/status.js", "/status.json", "/debug/pprof/cmdline"} {
			if code, body, _ := get(t, s, path, tt.host); code != tt.want {
				t.Errorf("%s of %q, public %t: %d %s, want %d", path, tt.host, tt.public, code, body, tt.want)
			}
		}
		if code, _, _ := get(t, s, "/readyz", tt.host); code != 200 {
			t.Errorf("readiness of %q: %d", tt.host, code)
		}
	}
	for _, remote := range []string{"10.0.0.1:5", "[fe80::1]:5", "nonsense"} {
		if isLocal(&http.Request{RemoteAddr: remote, Host: "127.0.0.1"}) {
			t.Errorf("%s is taken for this machine", remote)
		}
	}
	for _, remote := range []string{"127.0.0.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"} {
		if !isLocal(&http.Request{RemoteAddr: remote, Host: "localhost:1"}) {
			t.Errorf("%s is not taken for this machine", remote)
		}
	}
}

func TestProfilesNeedTheirOption(t *testing.T) {
	s := serve(t, &fakeNode{}, nil)
	if code, _, _ := get(t, s, "/debug/pprof/", ""); code != http.StatusNotFound {
		t.Errorf("%d, want none", code)
	}
	s = serve(t, &fakeNode{}, func(o *Options) { o.Profiles = true })
	if code, body, _ := get(t, s, "/debug/pprof/goroutine?debug=1", ""); code != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("%d %.100s", code, body)
	}
}

// Requests that nobody needs are refused before they cost anything.
func TestRequestsAreBounded(t *testing.T) {
	s := serve(t, &fakeNode{}, nil)
	ask := func(request string) string {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	for _, tt := range []struct{ name, request, want string }{
		{"a method that changes", "POST /livez HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"},
		{"a body", "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 413 Request Entity Too Large"},
		{"a body without end", "GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 413 Request Entity Too Large"},
		{"headers without end", "GET /livez HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 2*maxHeader), "HTTP/1.1 431 Request Header Fields Too Large"},
		{"an unknown path", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 Not Found"},
		{"many rows", "GET /status.json?limit=1001 HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		{"no rows", "GET /status.json?limit=x HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		{"a long question", "GET /status.json?q=" + strings.Repeat("q", queryLen+1) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 400 Bad Request"},
	} {
		if got := ask(tt.request); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// However many ask, few are at work, and probes are answered meanwhile.
func TestFewWorkAtATime(t *testing.T) {
	release := make(chan struct{})
	n := &fakeNode{asked: func(context.Context) error { <-release; return nil }}
	s := serve(t, n, nil)
	codes := make(chan int)
	const callers = 2*maxRequests + 1
	for range callers {
		go func() {
			code, _, _ := get(t, s, "/status.json", "")
			codes <- code
		}()
	}
	for range callers - maxRequests { // those who work do not answer yet
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Errorf("%d, want to be sent away", code)
		}
	}
	if code, _, _ := get(t, s, "/livez", ""); code != http.StatusOK {
		t.Errorf("liveness meanwhile: %d", code)
	}
	close(release)
	for range maxRequests {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("%d, want an answer", code)
		}
	}
}

func TestCloseEndsWaitingRequests(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	n := &fakeNode{asked: func(ctx context.Context) error { close(began); <-release; return ctx.Err() }}
	s := serve(t, n, nil)
	failed := make(chan error)
	go func() {
		_, err := Look(t.Context(), s.Addr().String(), "", 1)
		failed <- err
	}()
	<-began
	s.Close()
	if err := <-failed; err == nil {
		t.Error("it was answered")
	}
}

// Loops that do not answer are told of beside what is known without them.
func TestStatusOfLoopsThatDoNotAnswer(t *testing.T) {
	n := &fakeNode{stats: router.Stats{Received: 9, Late: 1, Behind: 4 * time.Second}, asked: func(context.Context) error { return context.DeadlineExceeded }}
	st, err := Look(t.Context(), serve(t, n, nil).Addr().String(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	x := st.Services[0]
	if x.Error != "event loops do not answer: context deadline exceeded" || x.Totals["received"] != 9 ||
		len(x.Answers) != 1 || !strings.HasPrefix(x.Answers[0], "1 event loops have not run for 4s") {
		t.Errorf("%+v", x)
	}
}

// A look serves whoever asks at the same moment.
func TestLooksAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes
		asked := 0
		n := &fakeNode{asked: func(context.Context) error { asked++; return nil }}
		s := serve(t, n, nil)
		for range 5 {
			s.look(t.Context(), "", 10)
		}
		if asked != 1 {
			t.Errorf("five questions are %d looks", asked)
		}
		s.looks.all["slim/0"].at = time.Now().Add(-time.Minute)
		if s.look(t.Context(), "", 10); asked != 2 {
			t.Error("an old look is shown again")
		}
	})
}

// Whoever has waited while loops did not answer does not wait for them again.
func TestLooksThatFailAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes
		asked, err := 0, context.DeadlineExceeded
		n := &fakeNode{asked: func(context.Context) error { asked++; return err }}
		s := serve(t, n, nil)
		for range 3 {
			if x := s.look(t.Context(), "", 10).Services[0]; x.Error == "" {
				t.Error("no error")
			}
		}
		if asked != 1 {
			t.Errorf("three questions wait %d times", asked)
		}
		s.looks.all = nil
		err = context.Canceled // of the one who has asked
		s.look(t.Context(), "", 10)
		if s.looks.all["slim/0"] != nil {
			t.Error("an answer that somebody did not wait for is everybody's")
		}
	})
}

func TestStatusJSONHasNoNulls(t *testing.T) {
	b, err := json.Marshal(serve(t, &fakeNode{}, nil).look(t.Context(), "", 10))
	if err != nil || strings.Contains(string(b), "null") {
		t.Errorf("%s, %v", b, err)
	}
}
