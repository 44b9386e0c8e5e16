package chromium

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// limit bounds the start of a browser, and each answer of it.
const limit = 2 * time.Minute

// Browser is a running browser with one page. Its methods are for the goroutine of the test, which they fail when the
// browser does not do what it is asked.
type Browser struct {
	t      testing.TB
	ws     *websocket.Conn
	nextID int
	loaded chan struct{} // has room for one: the page was loaded

	mu     sync.Mutex
	noise  []string                     // guarded by mu
	asked  []string                     // guarded by mu
	answer map[int]chan json.RawMessage // guarded by mu; by id of the call
}

// program is the browser that tests use.
func program(t testing.TB) string {
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

// Launch starts a browser, with a profile of its own and an empty page, until the test ends.
func Launch(t testing.TB) *Browser {
	t.Helper()
	cmd := exec.Command(program(t), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars",
		"--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-features=NetworkTimeServiceQuerying", "--remote-debugging-port=0", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, loaded: make(chan struct{}, 1), answer: map[int]chan json.RawMessage{}}
	listens, silent := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(silent)
		told(bufio.NewReader(stderr), listens)
	}()
	t.Cleanup(func() {
		// Asked to close it has written its profile, which is removed next, before it ends.
		guard := time.AfterFunc(30*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer guard.Stop()
		if b.ws != nil {
			_ = b.ws.Write(context.Background(), websocket.MessageText, []byte(`{"id":0,"method":"Browser.close"}`))
		} else {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		<-silent
		_ = cmd.Wait()
	})
	select {
	case endpoint := <-listens:
		b.attach(endpoint)
	case <-silent:
		t.Fatal("the browser has ended at its start")
	case <-time.After(limit):
		t.Fatal("the browser does not start")
	}
	return b
}

var listening = regexp.MustCompile(`^DevTools listening on (ws://\S+)`)

// told reads what a browser says until it ends, and hands on where it listens.
func told(r *bufio.Reader, listens chan<- string) {
	for {
		line, err := r.ReadString('\n')
		if m := listening.FindStringSubmatch(line); m != nil {
			select {
			case listens <- m[1]:
			default:
			}
		}
		if err != nil {
			return
		}
	}
}

// attach connects to the page of the browser that listens at an endpoint.
func (b *Browser) attach(endpoint string) {
	b.t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.Get("http://" + u.Host + "/json/list")
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var pages []struct{ Type, WebSocketDebuggerURL string }
	if err := json.NewDecoder(resp.Body).Decode(&pages); err != nil {
		b.t.Fatal(err)
	}
	for _, p := range pages {
		if p.Type != "page" {
			continue
		}
		ws, _, err := websocket.Dial(context.Background(), p.WebSocketDebuggerURL, nil)
		if err != nil {
			b.t.Fatal(err)
		}
		ws.SetReadLimit(-1)
		b.ws = ws
		go b.read()
		for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
			b.Do(domain+".enable", nil)
		}
		return
	}
	b.t.Fatal("the browser has no page")
}

// read takes answers and events until the connection ends.
func (b *Browser) read() {
	for {
		_, m, err := b.ws.Read(context.Background())
		if err != nil {
			return
		}
		var x struct {
			ID     int
			Method string
			Params struct{ Request struct{ URL string } }
		}
		if json.Unmarshal(m, &x) == nil {
			b.take(x.ID, x.Method, x.Params.Request.URL, m)
		}
	}
}

func (b *Browser) take(id int, method, asks string, m []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch method {
	case "":
		if got := b.answer[id]; got != nil {
			got <- m
			delete(b.answer, id)
		}
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
		b.noise = append(b.noise, string(m))
	case "Network.requestWillBeSent":
		b.asked = append(b.asked, asks)
	case "Page.loadEventFired":
		select {
		case b.loaded <- struct{}{}:
		default:
		}
	}
}

// Do calls a method of the debugging protocol and returns its result.
func (b *Browser) Do(method string, params any) json.RawMessage {
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
	if err := b.ws.Write(context.Background(), websocket.MessageText, m); err != nil {
		b.t.Fatal(err)
	}
	select {
	case m := <-got:
		var x struct{ Result, Error json.RawMessage }
		if err := json.Unmarshal(m, &x); err != nil || x.Error != nil {
			b.t.Fatalf("%s: %s", method, m)
		}
		return x.Result
	case <-time.After(limit):
		b.t.Fatalf("%s: no answer", method)
	}
	return nil
}

// Window makes the window so large, in pixels.
func (b *Browser) Window(width, height int) {
	b.t.Helper()
	b.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1,
		"mobile": width < 500})
}

// Prefer makes pages believe that the user wants a colour scheme, "light" or "dark".
func (b *Browser) Prefer(scheme string) {
	b.t.Helper()
	b.Do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// Open goes to a page and returns when it is loaded.
func (b *Browser) Open(address string) {
	b.t.Helper()
	select {
	case <-b.loaded: // of a page before
	default:
	}
	var x struct{ ErrorText string }
	if r := b.Do("Page.navigate", map[string]any{"url": address}); json.Unmarshal(r, &x) != nil || x.ErrorText != "" {
		b.t.Fatalf("%s: %s", address, r)
	}
	select {
	case <-b.loaded:
	case <-time.After(limit):
		b.t.Fatalf("%s is not loaded", address)
	}
}

// Eval puts the value of an expression, awaited, into what into points to.
func (b *Browser) Eval(expression string, into any) {
	b.t.Helper()
	var x struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	r := b.Do("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true})
	if err := json.Unmarshal(r, &x); err != nil || x.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r)
	}
	if err := json.Unmarshal(x.Result.Value, into); err != nil {
		b.t.Fatalf("%s: %s: %v", expression, r, err)
	}
}

// Screenshot writes a picture of the whole page, NAME.png, into the folder $SCREENSHOTS, or else among the test's artifacts.
func (b *Browser) Screenshot(name string) {
	b.t.Helper()
	var shot struct{ Data []byte }
	if err := json.Unmarshal(b.Do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "format": "png"}), &shot); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cmp.Or(os.Getenv("SCREENSHOTS"), b.t.ArtifactDir()), name+".png"), shot.Data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// Noise returns what all pages have said on the console so far, with exceptions and entries of the log, as JSON.
func (b *Browser) Noise() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.noise)
}

// Asked returns the URLs that all pages have asked for so far, those of Open among them.
func (b *Browser) Asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}
