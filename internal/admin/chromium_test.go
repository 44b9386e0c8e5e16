//go:build interop

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// browser is a headless Chromium, driven by its debugging protocol.
type browser struct {
	t      *testing.T
	ws     *websocket.Conn
	nextID int

	mu     sync.Mutex
	noise  []string // console messages, exceptions and log entries
	asked  []string // URLs of requests
	answer map[int]chan json.RawMessage
}

func chromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: install one (Debian: apt-get install chromium), or name it in $CHROMIUM")
	return ""
}

// launch starts a browser with an empty page.
func launch(t *testing.T) *browser {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(chromium(t), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
		"--user-data-dir="+dir, "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, answer: map[int]chan json.RawMessage{}}
	t.Cleanup(func() {
		// Asked to close it has written its profile, which is removed next, before it ends.
		guard := time.AfterFunc(30*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer guard.Stop()
		if b.ws != nil {
			_ = b.ws.Write(context.Background(), websocket.MessageText, []byte(`{"id":0,"method":"Browser.close"}`))
		} else {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		_ = cmd.Wait()
	})
	var port []byte
	for deadline := time.Now().Add(2 * time.Minute); ; {
		var err error
		if port, err = os.ReadFile(filepath.Join(dir, "DevToolsActivePort")); err == nil && len(port) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the browser does not start")
		}
		time.Sleep(10 * time.Millisecond) // there is no event to wait for
	}
	addr := net.JoinHostPort("127.0.0.1", strings.Fields(string(port))[0])
	resp, err := http.Get("http://" + addr + "/json/list")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var pages []struct{ Type, WebSocketDebuggerURL string }
	if err := json.NewDecoder(resp.Body).Decode(&pages); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if p.Type != "page" {
			continue
		}
		ws, _, err := websocket.Dial(t.Context(), p.WebSocketDebuggerURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		ws.SetReadLimit(-1)
		b.ws = ws
		go b.read()
		for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
			b.do(domain+".enable", nil)
		}
		return b
	}
	t.Fatal("the browser has no page")
	return nil
}

// read takes answers and events until the connection ends.
func (b *browser) read() {
	for {
		_, m, err := b.ws.Read(context.Background())
		if err != nil {
			return
		}
		var x struct {
			ID     int
			Method string
			Params struct {
				Request struct{ URL string }
				Type    string
			}
			Result json.RawMessage
		}
		if json.Unmarshal(m, &x) != nil {
			continue
		}
		b.mu.Lock()
		switch x.Method {
		case "":
			if x.ID > 0 {
				b.answer[x.ID] <- m
			}
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			b.noise = append(b.noise, string(m))
		case "Network.requestWillBeSent":
			b.asked = append(b.asked, x.Params.Request.URL)
		}
		b.mu.Unlock()
	}
}

// do calls a method and returns its result.
func (b *browser) do(method string, params any) json.RawMessage {
	b.t.Helper()
	b.nextID++
	got := make(chan json.RawMessage, 1)
	b.mu.Lock()
	b.answer[b.nextID] = got
	b.mu.Unlock()
	m, err := json.Marshal(map[string]any{"id": b.nextID, "method": method, "params": params})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.ws.Write(b.t.Context(), websocket.MessageText, m); err != nil {
		b.t.Fatal(err)
	}
	select {
	case m := <-got:
		var x struct {
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(m, &x); err != nil || x.Error != nil {
			b.t.Fatalf("%s: %s", method, m)
		}
		return x.Result
	case <-time.After(2 * time.Minute):
		b.t.Fatalf("%s: no answer", method)
	}
	return nil
}

// eval returns the value of an expression, awaited.
func (b *browser) eval(expression string, into any) {
	b.t.Helper()
	var x struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	r := b.do("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true})
	if err := json.Unmarshal(r, &x); err != nil || x.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r)
	}
	if err := json.Unmarshal(x.Result.Value, into); err != nil {
		b.t.Fatalf("%s: %s: %v", expression, r, err)
	}
}

// busyNode is a node with something of everything, some of it hostile.
func busyNode() *fakeNode {
	n := &fakeNode{stats: router.Stats{Received: 123456, BytesIn: 987654321, Delivered: 234567, Bytes: 1 << 30, Names: 3, Stalled: 1, Connections: 43,
		Sockets: 40, Waiting: 12, WaitingBytes: 1 << 20, Held: 5000, Negotiated: 99,
		Dropped: map[router.Reason]uint64{router.ReasonNoMatch: 77, router.ReasonStalled: 1234}, Refused: map[router.Reason]uint64{router.ReasonPath: 3}}}
	for id := range uint64(42) {
		n.conns = append(n.conns, router.Connection{ID: id + 1, Kind: table.Edge, State: "active", Remote: fmt.Sprintf("10.1.2.%d:40000", id),
			Agent: "grpc-python/1.76.0 grpc-c/51.0.0 (linux; chttp2)", LinkID: "0b5d2f6a-6f0c-4f6e-9d3a-77c2ad2c1e55", Age: time.Hour,
			Received: 1000 * id, ReceivedBytes: 1 << 20 * id, Delivered: 500 * id, DeliveredBytes: 1 << 19 * id, Names: 1,
			Some: []string{fmt.Sprintf("organization/namespace/application-%d/00000000-0000-0000-0000-0000000000%02d", id, id)}})
	}
	n.conns[4].Stalled, n.conns[4].Missed, n.conns[4].Queued, n.conns[4].QueuedBytes = 95*time.Second, 1234, 12, 1<<20
	n.conns[9].Dropped, n.conns[9].Unmatched, n.conns[9].LastDrop, n.conns[9].Held = 77, 77, router.ReasonNoMatch, 5000
	n.conns[11].Agent = `<img src=x onerror="document.title='owned'">` + strings.Repeat("A", 5000)
	n.conns[12].State, n.conns[12].Kind = "negotiating", table.Remote
	n.names = []router.HeldName{{Name: "organization/namespace/bob/NULL_COMPONENT", Some: []uint64{5}},
		{Name: `org/<script>document.title="owned"</script>/x/1`, Some: []uint64{12, 13, 14}}}
	n.names[0].Holders[table.Edge], n.names[1].Holders[table.Edge], n.names[1].Holders[table.Peer] = 1, 2, 1
	n.links = []router.LinkStatus{{Endpoint: "http://upstream.example:46357", State: router.LinkWaiting, Attempts: 9, Losses: 1}}
	now := time.Now()
	n.refusals = []router.Refusal{{At: now, Remote: "10.9.9.9:555", Agent: "curl/8", Reason: router.ReasonNegotiation, Text: "no_key: the link has no key"}}
	n.deaths = []router.Death{{First: now, Last: now, Conn: 10, Remote: "10.1.2.9:40000", Reason: router.ReasonNoMatch,
		Name: "organization/namespace/carol/NULL_COMPONENT", Source: "organization/namespace/application-9/1", Count: 77}}
	return n
}

// The page works in a browser, in narrow and wide windows, light and dark: it is alive, asks nobody but its server,
// says nothing on the console, fits, and takes no text of a peer for markup.
func TestStatusPageInChromium(t *testing.T) {
	n := busyNode()
	s := serve(t, n, nil)
	b := launch(t)
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.ArtifactDir()
	}
	for _, width := range []int{390, 1400} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d %s", width, scheme), func(t *testing.T) {
				b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
				b.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
				b.do("Page.navigate", map[string]any{"url": "http://" + s.Addr().String() + "/status"})
				var seen struct {
					Looks, Rows, Wide, View, Images, Cut int
					Title, State, Rate, Ground           string
					Answers                              []string
					Outside                              []string
				}
				b.eval(`new Promise((done) => { const wait = () => (document.body && Number(document.body.dataset.looks) >= 2) ? done(1) : setTimeout(wait, 50); wait(); })`, new(int))
				b.eval(`({looks: Number(document.body.dataset.looks), rows: document.querySelectorAll(".connections tbody tr").length,
					wide: document.documentElement.scrollWidth, view: innerWidth, images: document.images.length + document.querySelectorAll("main script").length,
					cut: [...document.querySelectorAll("td")].filter((e) => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth + 1).length,
					title: document.title, state: document.getElementById("state").textContent,
					rate: document.querySelector(".connections tbody tr td:nth-child(5)").textContent,
					ground: getComputedStyle(document.body).backgroundColor,
					answers: [...document.querySelectorAll(".answers li")].map((e) => e.textContent),
					outside: performance.getEntriesByType("resource").map((r) => r.name).filter((u) => !u.startsWith(location.origin + "/") && !u.startsWith("data:"))})`, &seen)
				if seen.Rows != 42 || seen.State != "ready" || seen.Title != "SLIM node" || seen.Images != 0 || seen.Rate == "…" {
					t.Errorf("the page shows %+v", seen)
				}
				if seen.Wide > seen.View || seen.View != width {
					t.Errorf("the page is %d wide in a window of %d", seen.Wide, seen.View)
				}
				if seen.Cut > 0 {
					t.Errorf("%d cells stick out of the window, or of themselves", seen.Cut)
				}
				if dark := seen.Ground == "rgb(16, 21, 27)"; dark != (scheme == "dark") {
					t.Errorf("the ground is %s", seen.Ground)
				}
				if len(seen.Answers) < 3 || !strings.Contains(strings.Join(seen.Answers, "\n"), "Connection 5 from 10.1.2.4:40000 does not read") {
					t.Errorf("answers %q", seen.Answers)
				}
				if len(seen.Outside) > 0 {
					t.Errorf("the page asks for %q", seen.Outside)
				}
				var shot struct{ Data []byte }
				r := b.do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "format": "png"})
				if err := json.Unmarshal(r, &shot); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(shots, fmt.Sprintf("status-%d-%s.png", width, scheme)), shot.Data, 0o600); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	// A question is asked as it is typed, and answered.
	b.eval(`(() => { const q = document.getElementById("q"); q.value = "namespace/bob"; q.dispatchEvent(new Event("input")); return 1; })()`, new(int))
	var answers []string
	b.eval(`new Promise((done) => { const wait = () => { const a = [...document.querySelectorAll(".answers li")].map((e) => e.textContent);
		document.querySelectorAll(".names tbody tr").length === 1 && document.querySelectorAll(".connections tbody tr").length === 1 ? done(a) : setTimeout(wait, 50); }; wait(); })`, &answers)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range b.noise {
		t.Errorf("the console says %s", x)
	}
	for _, u := range b.asked {
		if p, err := url.Parse(u); err != nil || p.Host != s.Addr().String() && p.Scheme != "data" && p.Scheme != "about" {
			t.Errorf("the page asked for %s", u)
		}
	}
}
