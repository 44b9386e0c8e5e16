package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

// tunnels is a proxy that connects whoever asks, and remembers the targets.
type tunnels struct {
	mu    sync.Mutex
	asked []string
}

func (p *tunnels) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	p.mu.Unlock()
	out, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	var both sync.WaitGroup
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	both.Go(func() { _, _ = io.Copy(out, c); _ = out.Close() })
	both.Go(func() { _, _ = io.Copy(c, out); _ = c.Close() })
	both.Wait()
}

// A file's clients come up, by gRPC and by WebSocket, with TLS of both sides and without, whatever proxy is on the way.
// Rules: P-dial-2, P-dial-5.
func TestLinksOfAFileComeUp(t *testing.T) {
	t.Parallel() // beside those that wait
	ca := certstest.NewIssuer(t, "ca", false)
	secure := &tls.Config{Certificates: []tls.Certificate{ca.TLS(certstest.Leaf("node"))}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	far, err := router.Start(t.Context(), router.Options{NodeID: "far", NegotiationTimeout: hang, TLS: []*tls.Config{nil, nil, secure, secure},
		Listen: []string{"127.0.0.1:0", "ws://127.0.0.1:0/slim", "127.0.0.1:0", "wss://127.0.0.1:0/slim"}})
	if err != nil {
		t.Fatal(err)
	}
	near, err := router.Start(t.Context(), router.Options{NodeID: "near", NegotiationTimeout: hang, Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, n := range []*router.Node{near, far} {
			if err := n.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}()
	var seen tunnels
	plain, sealed := httptest.NewServer(&seen), httptest.NewTLSServer(&seen)
	defer plain.Close()
	defer sealed.Close()
	dir := t.TempDir()
	cert, key := ca.Pair("app")
	proxyCA := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sealed.Certificate().Raw})
	certstest.Write(t, dir, map[string]string{"ca.pem": ca.PEM, "cert.pem": cert, "key.pem": key, "proxy.pem": string(proxyCA)})
	var targets []string
	for _, a := range far.Addrs() {
		targets = append(targets, a.String())
	}
	for name, proxy := range map[string]string{
		"directly": "", "through a proxy": "proxy: {url: '" + plain.URL + "'}",
		"through a proxy with TLS": "proxy: {url: '" + sealed.URL + "', tls: {ca_source: {type: file, path: <DIR>/proxy.pem}}}",
	} {
		t.Run(name, func(t *testing.T) {
			text := "services:\n  slim/0:\n    dataplane:\n      clients:\n"
			for i, format := range []string{"http://%s", "ws://%s/slim?site=north", "https://%s", "wss://%s/slim"} {
				tls := ""
				if i >= 2 {
					tls = "          server_name: localhost\n          tls: {ca_source: {type: file, path: <DIR>/ca.pem}, source: {type: file, cert: <DIR>/cert.pem, key: <DIR>/key.pem}}\n"
				}
				text += fmt.Sprintf("        - endpoint: "+format+"\n          connect_timeout: 2m\n%s", targets[i], tls)
				if proxy != "" {
					text += "          " + proxy + "\n"
				}
			}
			file := filepath.Join(dir, "node.yaml")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "<DIR>", dir)), 0o600); err != nil {
				t.Fatal(err)
			}
			r := newRig()
			if code := r.run(t.Context(), []string{"--config", file}); code != cli.ExitOK {
				t.Fatalf("exit %d: %s", code, &r.errs)
			}
			seen.asked = nil
			for _, l := range r.nodes[0].links {
				states := make(chan router.LinkState, 100)
				l.Changed = func(s router.LinkState) { states <- s }
				d, err := near.Dial(l)
				if err != nil {
					t.Fatal(err)
				}
				late := time.After(hang)
				for s := router.LinkOpening; s != router.LinkUp; {
					select {
					case s = <-states:
					case <-late:
						t.Fatalf("%s is not up: %+v", l.Endpoint, d.Status())
					}
					if s == router.LinkWaiting {
						t.Fatalf("%s does not come up", l.Endpoint)
					}
				}
				for d.Close(); <-states != router.LinkOver; {
				}
			}
			var want []string
			if proxy != "" {
				for _, a := range targets {
					want = append(want, "CONNECT "+a)
				}
			}
			seen.mu.Lock()
			defer seen.mu.Unlock()
			if !slices.Equal(seen.asked, want) {
				t.Errorf("proxies were asked for %q, want %q", seen.asked, want)
			}
		})
	}
}
