package connect

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// echo listens and sends back what comes, with a word of its own before it, as a server's SETTINGS.
func echo(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = io.WriteString(c, "hello\n")
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln
}

// talk checks that c leads to echo, and that nothing of what it says is lost.
func talk(t *testing.T, c net.Conn) {
	t.Helper()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for _, want := range []string{"hello\n", "ping\n"} {
		if got, err := r.ReadString('\n'); err != nil || got != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
}

// proxy is an HTTP proxy of net/http. seen gets each CONNECT.
func proxy(t *testing.T, secure bool, answer string) (p *Proxy, seen chan *http.Request) {
	t.Helper()
	seen = make(chan *http.Request, 10)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		if answer != "" {
			_, _ = io.WriteString(c, answer)
			return
		}
		out, err := net.Dial("tcp", r.Host)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = out.Close() }()
		first := make([]byte, len("hello\n")) // in one write with the head
		_, _ = io.ReadFull(out, first)
		_, _ = c.Write(append([]byte("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"), first...))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(out, c); _ = out.(*net.TCPConn).CloseWrite() })
		_, _ = io.Copy(c, out)
		_ = c.Close()
		wg.Wait()
	})
	s := httptest.NewUnstartedServer(h)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	u, err := ParseProxy(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	p = &Proxy{URL: u}
	if secure {
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		p.TLS = &tls.Config{RootCAs: roots, ServerName: "example.com"}
	}
	return p, seen
}

func through(p *Proxy) *Dialer {
	return &Dialer{Proxy: func(Target) (*Proxy, error) { return p, nil }}
}

func TestDial(t *testing.T) {
	tcp := echo(t, "tcp", "127.0.0.1:0").Addr().String()
	unix := echo(t, "unix", filepath.Join(t.TempDir(), "s")).Addr().String()
	plain, seen := proxy(t, false, "")
	secure, _ := proxy(t, true, "")
	for name, tc := range map[string]struct {
		d *Dialer
		t Target
	}{
		"tcp":            {&Dialer{KeepAlive: time.Minute}, Target{Network: "tcp", Address: tcp}},
		"unix":           {&Dialer{}, Target{Network: "unix", Address: unix}},
		"unix, no proxy": {through(plain), Target{Network: "unix", Address: unix}},
		"no proxy":       {through(nil), Target{Network: "tcp", Address: tcp}},
		"proxy":          {through(plain), Target{Network: "tcp", Address: tcp}},
		"proxy with TLS": {through(secure), Target{Network: "tcp", Address: tcp}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := tc.d.Dial(t.Context(), tc.t)
			if err != nil {
				t.Fatal(err)
			}
			talk(t, c)
		})
	}
	if len(seen) != 1 {
		t.Errorf("the proxy was asked %d times, want once", len(seen))
	}
}

func TestConnectRequest(t *testing.T) {
	tcp := echo(t, "tcp", "127.0.0.1:0").Addr().String()
	for name, tc := range map[string]struct {
		change func(*Proxy)
		want   string // Proxy-Authorization
	}{
		"nothing":         {func(*Proxy) {}, ""},
		"credentials":     {func(p *Proxy) { p.Username, p.Password = "u", "p:w" }, "Basic dTpwOnc="},
		"of the URL":      {func(p *Proxy) { p.URL, _ = ParseProxy("http://u:p%3Aw@" + p.URL.Host) }, "Basic dTpwOnc="},
		"as a header":     {func(p *Proxy) { p.Username, p.Headers = "u", map[string]string{"proxy-authorization": "Bearer x"} }, "Bearer x"},
		"a header beside": {func(p *Proxy) { p.Headers = map[string]string{"X-Tenant": "blue"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, seen := proxy(t, false, "")
			tc.change(p)
			c, err := through(p).Dial(t.Context(), Target{Network: "tcp", Address: tcp})
			if err != nil {
				t.Fatal(err)
			}
			talk(t, c)
			r := <-seen
			if got := r.Header.Get("Proxy-Authorization"); r.Method != "CONNECT" || r.Host != tcp || got != tc.want {
				t.Errorf("%s %s with %q, want CONNECT %s with %q", r.Method, r.Host, got, tcp, tc.want)
			}
			if v := p.Headers["X-Tenant"]; r.Header.Get("X-Tenant") != v {
				t.Errorf("X-Tenant %q, want %q", r.Header.Get("X-Tenant"), v)
			}
		})
	}
	p, _ := proxy(t, false, "")
	p.Headers = map[string]string{"X": "a\r\nEvil: b"}
	if _, err := through(p).Dial(t.Context(), Target{Network: "tcp", Address: tcp}); err == nil || !strings.Contains(err.Error(), `header "X"`) {
		t.Errorf("a header with a line break: %v", err)
	}
}

func TestProxyAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n":    "other credentials",
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n":   `403 "Forbidden"`,
		"HTTP/1.1 20 OK\r\n\r\n":                                "no HTTP/1",
		"HTTP/2 200\r\n\r\n":                                    "no HTTP/1",
		"SSH-2.0-x\r\n\r\n":                                     "no HTTP/1",
		"HTTP/1.1 200 OK\r\n":                                   "closed the connection",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead): "more than 8192 bytes",
	} {
		p, _ := proxy(t, false, answer)
		_, err := through(p).Dial(t.Context(), Target{Network: "tcp", Address: "x:1"})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "proxy http://127.0.0.1:") {
			t.Errorf("%.40q: %v, want %q", answer, err, want)
		}
	}
	p, _ := proxy(t, false, "HTTP/1.1 204 Fine\r\n\r\n")
	if c, err := through(p).Dial(t.Context(), Target{Network: "tcp", Address: "x:1"}); err != nil {
		t.Errorf("204: %v", err)
	} else {
		_ = c.Close()
	}
}

// Whoever says nothing is left with the context.
func TestProxyThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		u, _ := ParseProxy("http://p:1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := (&Proxy{URL: u}).tunnel(ctx, a, "x:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the end of the context", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		a, b = net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, b) }()
		time.AfterFunc(time.Minute, cancel)
		if _, err := (&Proxy{URL: u}).tunnel(ctx, a, "x:1"); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the end of the context", err)
		}
	})
}

func TestParseProxy(t *testing.T) {
	for s, want := range map[string]string{
		"socks5://h:1": `scheme "socks5"`, "h:1": `scheme "h"`, "http://": "no host", "http://u:secret@[::1:1": "cannot be read",
	} {
		if _, err := ParseProxy(s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", s, err, want)
		}
	}
	for s, want := range map[string]string{"http://h": "http://h:80", "https://u:p@h": "https://h:443", "http://[::1]:3": "http://[::1]:3"} {
		u, err := ParseProxy(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&Proxy{URL: u}).name(); got != want {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
	}
}

func TestProxiesOfTheEnvironment(t *testing.T) {
	for name, tc := range map[string]struct {
		env    map[string]string
		host   string
		secure bool
		want   string // "": direct
	}{
		"none":             {nil, "h:1", false, ""},
		"plain":            {map[string]string{"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "h:1", false, "http://p:1"},
		"secure":           {map[string]string{"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "h:1", true, "http://q:1"},
		"lower case":       {map[string]string{"http_proxy": "http://p:1"}, "h:1", false, "http://p:1"},
		"upper case first": {map[string]string{"http_proxy": "http://p:1", "HTTP_PROXY": "http://q:1"}, "h:1", false, "http://q:1"},
		"all":              {map[string]string{"ALL_PROXY": "http://p:1"}, "h:1", true, "http://p:1"},
		"excepted":         {map[string]string{"ALL_PROXY": "http://p:1", "no_proxy": "example.org,h"}, "h:1", true, ""},
		"loopback":         {map[string]string{"ALL_PROXY": "http://p:1"}, "127.0.0.1:1", true, ""},
		"under CGI":        {map[string]string{"ALL_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "h:1", true, ""},
	} {
		p, err := FromEnvironment(func(k string) string { return tc.env[k] })(Target{Network: "tcp", Address: tc.host, Secure: tc.secure})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := ""
		if p != nil {
			got = p.name()
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	env := map[string]string{"HTTP_PROXY": "socks5://p"}
	if _, err := FromEnvironment(func(k string) string { return env[k] })(Target{Address: "h:1"}); err == nil || !strings.Contains(err.Error(), "HTTP_PROXY") {
		t.Errorf("a scheme that is not supported: %v", err)
	}
}

// What fails leaves no connection behind.
func TestFailedDialsClose(t *testing.T) {
	for name, answer := range map[string]string{"refused": "HTTP/1.1 403 No\r\n\r\n", "nonsense": "\x00\x01\x02\r\n\r\n",
		"no end": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead)} {
		for _, scheme := range []string{"http", "https"} { // by https, each of these is no TLS
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan error, 1)
			go func() {
				c, err := ln.Accept()
				if err == nil {
					_, _ = io.WriteString(c, answer)
					_ = c.SetReadDeadline(time.Now().Add(time.Minute))
					_, err = io.Copy(io.Discard, c)
					_ = c.Close()
				}
				closed <- err
			}()
			u, _ := ParseProxy(scheme + "://" + ln.Addr().String())
			c, err := through(&Proxy{URL: u}).Dial(t.Context(), Target{Network: "tcp", Address: "x:1"})
			if err == nil || c != nil {
				t.Errorf("%s by %s: %v, %v", name, scheme, c, err)
			}
			if scheme == "https" && !strings.Contains(err.Error(), "does not look like a TLS handshake") {
				t.Errorf("%s by https: %v", name, err)
			}
			if err := <-closed; errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s by %s: the connection stays open", name, scheme)
			}
			_ = ln.Close()
		}
	}
}

func TestErrorsOfDial(t *testing.T) {
	u, _ := ParseProxy("http://127.0.0.1:1")
	unknown, _ := ParseProxy("http://proxy.invalid:1")
	for name, tc := range map[string]struct {
		d    *Dialer
		t    Target
		want string
	}{
		"unix":                     {&Dialer{}, Target{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}, "nobody listens on that socket"},
		"a name that there is not": {&Dialer{}, Target{Network: "tcp", Address: "node.invalid:1"}, "lookup node.invalid"},
		"a proxy that there is not": {through(&Proxy{URL: unknown}), Target{Network: "tcp", Address: "x:1"},
			"proxy http://proxy.invalid:1: dial tcp: lookup proxy.invalid"},
		"proxy": {through(&Proxy{URL: u}), Target{Network: "tcp", Address: "x:1"}, "proxy http://127.0.0.1:1: dial tcp"},
		"choice": {&Dialer{Proxy: func(Target) (*Proxy, error) { return nil, errors.New("no proxy to be had") }},
			Target{Network: "tcp", Address: "x:1"}, "no proxy to be had"},
	} {
		if _, err := tc.d.Dial(t.Context(), tc.t); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
