//go:build linux

// Package browser drives a headless Chromium by its debugging protocol, for tests of pages.
package browser

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Browser is one with a page. One goroutine uses it.
type Browser struct {
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

// Launch starts a browser with an empty page.
func Launch(t *testing.T) *Browser {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(chromium(t), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
		"--user-data-dir="+dir, "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, answer: map[int]chan json.RawMessage{}}
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
			b.Do(domain+".enable", nil)
		}
		return b
	}
	t.Fatal("the browser has no page")
	return nil
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

// Do calls a method and returns its result.
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

// Eval returns the value of an expression, awaited.
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

// Show opens a page in a window of that width, for people who want it light or dark.
func (b *Browser) Show(url string, width int, scheme string) {
	b.t.Helper()
	b.Do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1,
		"mobile": width < 500})
	b.Do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{
		{"name": "prefers-color-scheme", "value": scheme}}})
	b.Do("Page.navigate", map[string]any{"url": url})
	b.Eval(`new Promise((done) => document.readyState === "complete" ? done(1) : addEventListener("load", () => done(1)))`, new(int))
}

// Shoot writes a picture of the whole page into the folder $SCREENSHOTS, or else among the test's artifacts.
func (b *Browser) Shoot(name string) {
	b.t.Helper()
	var shot struct{ Data []byte }
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = b.t.ArtifactDir()
	}
	r := b.Do("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "format": "png"})
	if err := json.Unmarshal(r, &shot); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), shot.Data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// Noise returns messages on the console, exceptions and entries of the log, and Asked the URLs of all requests, so far.
func (b *Browser) Noise() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.noise)
}

// Asked is documented with Noise.
func (b *Browser) Asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}
