package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/connect"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// Rules: P-dial-6.
func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	three := uint64(3)
	exponential := func(base, factor uint64, most time.Duration, jitter bool) config.Backoff {
		return config.Backoff{Type: "exponential", Base: base, Factor: factor, MaxDelay: most, Jitter: jitter}
	}
	for name, tc := range map[string]struct {
		b    config.Backoff
		want []time.Duration // of failures 1, 2, …; no more if there are fewer than four
	}{
		"powers of base": {exponential(3, 20, 600*ms, false), []time.Duration{60 * ms, 180 * ms, 540 * ms, 600 * ms}},
		"default":        {exponential(100, 1, time.Second, false), []time.Duration{100 * ms, time.Second, time.Second, time.Second}},
		"base 0":         {exponential(0, 1, time.Second, false), []time.Duration{0, 0, 0, 0}},
		"jitter":         {exponential(100, 2, time.Second, true), []time.Duration{50 * ms, 250 * ms, 250 * ms, 250 * ms}},
		"fixed":          {config.Backoff{Type: "fixed_interval", Interval: ms}, []time.Duration{ms, ms, ms, ms}},
		"max_attempts":   {config.Backoff{Type: "fixed_interval", Interval: ms, MaxAttempts: &three}, []time.Duration{ms, ms, ms}},
	} {
		f := backoff(&tc.b, func() float64 { return 0.25 })
		var got []time.Duration
		for n := 1; n <= 4; n++ {
			d, more := f(n)
			if !more {
				break
			}
			got = append(got, d)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: pauses of %v, want %v", name, got, tc.want)
		}
	}
	huge := exponential(1<<63, 1<<63, time.Hour, false)
	if d, _ := backoff(&huge, nil)(1 << 30); d != time.Hour {
		t.Errorf("a huge base gives %v, want the most", d)
	}
}

// Rules: P-dial-5.
func TestDestinations(t *testing.T) {
	tcp := func(a string) connect.Target { return connect.Target{Network: "tcp", Address: a} }
	secure := func(a string) connect.Target { return connect.Target{Network: "tcp", Address: a, Secure: true} }
	unix := connect.Target{Network: "unix", Address: "/run/s"}
	plain := config.TLS{Insecure: true, CA: config.Material{Type: "none"}}
	for name, tc := range map[string]struct {
		c                         config.Client
		target                    connect.Target
		scheme, authority, logged string
	}{
		"http":       {config.Client{Endpoint: "http://h:1"}, tcp("h:1"), "http", "h:1", "http://h:1"},
		"port 80":    {config.Client{Endpoint: "http://h"}, tcp("h:80"), "http", "h", "http://h"},
		"IPv6":       {config.Client{Endpoint: "http://[::1]:1"}, tcp("[::1]:1"), "http", "[::1]:1", "http://[::1]:1"},
		"a password": {config.Client{Endpoint: "http://u:p@h:1"}, tcp("h:1"), "http", "h:1", "http://u:xxxxx@h:1"},
		"unix":       {config.Client{Endpoint: "unix:///run/s"}, unix, "unix", "localhost", "unix:///run/s"},
		"no slash":   {config.Client{Endpoint: "unix://run/s?x=1#y"}, unix, "unix", "localhost", "unix://run/s?x=1#y"},
		"origin": {config.Client{Endpoint: "http://h:1", Origin: "https://front:2"}, tcp("h:1"), "https", "front:2",
			"http://h:1"},
		"plain https": {config.Client{Endpoint: "https://h", TLS: plain}, tcp("h:443"), "https", "h", "https://h"},
		"a query":     {config.Client{Endpoint: "http://h/?token=x"}, tcp("h:80"), "http", "h", "http://h/?..."},
		"WebSocket":   {config.Client{Endpoint: "ws://u:p@h/a?token=x"}, tcp("h:80"), "", "h", "ws://u:xxxxx@h/a?..."},
		"wss":         {config.Client{Endpoint: "wss://[::1]/a", Origin: "https://o"}, secure("[::1]:443"), "", "[::1]", "wss://[::1]/a"},
		"wss, a port": {config.Client{Endpoint: "wss://h:1", TLS: plain}, secure("h:1"), "", "h:1", "wss://h:1"},
	} {
		target, call := destination(&tc.c)
		if ws := tc.scheme == ""; call.WebSocket != ws || ws && (call.Path != tc.c.Target() || call.Origin != tc.c.Origin) {
			t.Errorf("%s: %+v", name, call)
		}
		if target != tc.target || call.Scheme != tc.scheme || call.Authority != tc.authority {
			t.Errorf("%s: %+v, %s for %s", name, target, call.Scheme, call.Authority)
		}
		if got := withoutCredentials(tc.c.Endpoint); got != tc.logged {
			t.Errorf("%s is logged as %s, want %s", name, got, tc.logged)
		}
	}
}

// Rules: P-dial-5.
func TestServerNames(t *testing.T) {
	for _, tc := range []struct{ endpoint, name, origin, want string }{
		{"https://h:1", "", "", "h"},
		{"https://h:1", "n", "", "n"},
		{"https://h:1", "", "front", "h"},
		{"wss://h:1", "", "", "h"},
		{"wss://h:1", "", "front", "front"},
		{"wss://h:1", "", "front:8", "front"},
		{"wss://h:1", "", "https://front", "h"},
		{"wss://h:1", "n", "front", "n"},
		{"wss://[::1]:1", "", "", "::1"},
	} {
		c := config.Client{Endpoint: tc.endpoint, ServerName: tc.name, Origin: tc.origin}
		target, _ := destination(&c)
		if got := serverName(&c, target); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

// A file's clients reach the node as they stand there.
func TestClientsBecomeLinks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	err := os.WriteFile(file, []byte(`services:
  slim/0:
    dataplane:
      clients:
        - endpoint: http://h:1
          tls: {insecure: true}
          connection_type: peer
          link_id: one
          require_header_mac: false
          connect_timeout: 3s
          request_timeout: 4s
          headers: {X-Tenant: blue}
          compression: Snappy
          keepalive: {http2_keepalive: 5s, timeout: 6s}
        - endpoint: http://h:2
          tls: {insecure: true}
          headers: {User-Agent: mine}
        - endpoint: ws://h:3/a?b
          connect_timeout: 3s
          headers: {Origin: o, X-Tenant: blue, Upgrade: none}
          compression: Zstd
          keepalive: {http2_keepalive: 5s}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig()
	if code := r.run(t.Context(), []string{"--config", file}); code != cli.ExitOK {
		t.Fatalf("exit %d: %s", code, &r.errs)
	}
	if len(r.nodes) != 1 || len(r.nodes[0].links) != 3 {
		t.Fatalf("%d nodes", len(r.nodes))
	}
	a, b := &r.nodes[0].links[0], &r.nodes[0].links[1]
	if a.Kind != table.Peer || a.ID != "one" || !a.AllowUnsigned || a.ConnectTimeout != 3*time.Second ||
		a.Call.AnswerTimeout != 4*time.Second || a.Call.KeepaliveTime != 5*time.Second ||
		a.Call.KeepaliveTimeout != 6*time.Second || len(a.Call.Fields) != 1 || a.Call.Fields[0].Name != "x-tenant" ||
		a.Call.Offer == nil || a.Call.Offer.Encoding != compress.Snappy || a.HandshakeTimeout != 3*time.Second || a.Call.Agent != "slimgo/1.2.3" || a.Connect == nil || a.Backoff == nil {
		t.Errorf("first link %+v", a)
	}
	if b.Kind != table.Edge || b.AllowUnsigned || b.ConnectTimeout != 30*time.Second || b.Call.KeepaliveTime != 0 || b.Call.Agent != "mine" ||
		len(b.Call.Fields) != 0 || b.Call.WebSocket || b.Call.Offer != nil {
		t.Errorf("second link %+v", b)
	}
	if c := &r.nodes[0].links[2]; !c.Call.WebSocket || c.Call.Offer == nil || c.Call.Offer.Encoding != compress.Deflate || c.Call.Path != "/a?b" || c.Call.Origin != "o" || c.Call.Authority != "h:3" ||
		len(c.Call.Fields) != 1 || c.Call.Fields[0].Value != "blue" || c.ConnectTimeout != 3*time.Second || c.Call.KeepaliveTime != 5*time.Second {
		t.Errorf("third link %+v", c)
	}
}
