package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Rules: P-conf-22.
func TestClientsThatCannotBeDialled(t *testing.T) {
	for client, want := range map[string]string{
		`endpoint: "x:1"`:                                                        "clients[0].endpoint: invalid endpoint scheme: \"x:1\": a client needs one, as in http://x:1",
		`endpoint: "http://:1"`:                                                  "clients[0].endpoint: endpoint \"http://:1\" is no http://HOST:PORT",
		`endpoint: "http://127.0.0.1:463570"`:                                    "clients[0].endpoint: endpoint \"http://127.0.0.1:463570\": port 463570 is above 65535",
		`endpoint: "http://x", proxy: {url: "http://p:65536"}`:                   "clients[0].proxy.url: the URL of the proxy is no http://HOST:PORT",
		`endpoint: "http://[::1:1"`:                                              "is no http://HOST:PORT",
		`endpoint: "unix:///x"`:                                                  "clients[0].tls: unix domain sockets require tls.insecure=true",
		`endpoint: "http://x", origin: localhost`:                                "clients[0].origin: origin \"localhost\" is no SCHEME://HOST[:PORT]",
		`endpoint: "http://x", rate_limit: "1"`:                                  "clients[0].rate_limit: rate limit parse error",
		`endpoint: "http://x", rate_limit: "0/1"`:                                "rate limit parse error",
		`endpoint: "http://x", headers: {"a b": c}`:                              "clients[0].headers: header \"a b\": its name or value is none of HTTP",
		`endpoint: "http://x", proxy: {url: "socks5://p:1"}`:                     "clients[0].proxy.url: the URL of the proxy is no http://HOST:PORT",
		`endpoint: "http://x", proxy: {url: "http://u:pw@:1"}`:                   "clients[0].proxy.url: the URL of the proxy is no http://HOST:PORT",
		`endpoint: "https://x", tls: {tls_version: x}`:                           "clients[0].tls.tls_version: invalid tls version: x",
		`endpoint: "http://x", proxy: {url: "https://p", tls: {insecure: true}}`: "clients[0].proxy.tls: proxy TLS missing",
		`endpoint: "ws://:1"`:                                                    "endpoint \"ws://:1\" is no ws://HOST:PORT",
		`endpoint: "ws://u:pw@x/a b?token=pw"`:                                   "URI parse error: the path or query of \"ws://redacted@x",
		`endpoint: "wss://x/ä"`:                                                  "percent-encode it",
		`endpoint: "wss://x", tls: {insecure: true}`:                             "clients[0].tls: websocket TLS is required but no TLS configuration was provided",
		`endpoint: "wss://x", tls: {tls_version: x}`:                             "clients[0].tls.tls_version: invalid tls version: x",
		`endpoint: "ws://x", origin: "a\nb"`:                                     "clients[0].origin: header value parse error",
		`endpoint: "ws://x", headers: {"a b": c}`:                                "clients[0].headers: header \"a b\": its name or value is none of HTTP",
		`endpoint: "ws://x/?token=pw"}, {endpoint: "ws://x/?token=pw"`:           "client already connected: endpoint \"ws://x/?token=redacted\"",
		`endpoint: "ftp://u:pw@x"`:                                               "invalid endpoint scheme: \"ftp://redacted@x\"",
		`endpoint: "http://x"}, {endpoint: "http://x"`:                           "clients[1].endpoint: client already connected: endpoint \"http://x\" stands in the list before",
	} {
		_, _, err := parse("f", []byte(serviceFile("dataplane: {clients: [{"+client+"}]}")), noEnv)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v, want %q", client, err, want)
		}
	}
	for _, client := range []string{
		`endpoint: "http://x", rate_limit: "100/1", origin: "https://front", proxy: {url: "http://p:1", username: u}`,
		`endpoint: "ws://x/a?b#c", origin: localhost, proxy: {url: "http://p:1"}, tls: {tls_version: x, source: {type: spire}}`,
		`endpoint: "wss://x", origin: null, tls: {insecure: true, ca_source: {type: file, path: ca.pem}}`,
	} {
		if _, _, err := parse("f", []byte(serviceFile("dataplane: {clients: [{"+client+"}]}")), noEnv); err != nil {
			t.Errorf("%s: %v", client, err)
		}
	}
}

// What says nothing to a WebSocket is left out with a warning. Rules: P-ws-4, P-conf-24.
func TestKeysThatSayNothingToAWebSocket(t *testing.T) {
	const keys = `rate_limit: "x", request_timeout: 1s, buffer_size: 0, headers: {Host: a, sec-websocket-KEY: b, x-a: c}`
	for client, want := range map[string][]string{
		`endpoint: "wss://x", ` + keys: {"f:3:49 rate_limit has no effect on a WebSocket", "f:3:66 request_timeout has no effect on a WebSocket",
			"f:3:87 buffer_size has no effect on a WebSocket", "f:3:103 headers.Host is ignored: a reserved header of the WebSocket handshake",
			"f:3:103 headers.sec-websocket-KEY is ignored: a reserved header of the WebSocket handshake"},
		`endpoint: "ws://x", headers: {x-a: c}, compression: Zstd`:      nil,
		`endpoint: "ws://x", headers: {x-a: c}, compression: Deflate`:   nil,
		`endpoint: "http://x", headers: {x-a: c}, compression: Deflate`: {"f:3:69 compression has no effect: nodes compress with Gzip, Zstd or Snappy"},
		`endpoint: "ws://x", headers: {x-a: c}, compression: Lz4`:       {"f:3:67 compression has no effect: nodes compress with Gzip, Zstd or Snappy"},
		`endpoint: "ws://x", compression: None`:                         nil,
		`endpoint: "ws://x", rate_limit:`:                               nil,
		`endpoint: "http://x", request_timeout: 1s, headers: {Host: a}`: nil,
	} {
		c, warnings, err := parse("f", []byte(serviceFile("dataplane: {clients: [{"+client+"}]}")), noEnv)
		if err != nil {
			t.Errorf("%s: %v", client, err)
			continue
		}
		var got []string
		for _, w := range warnings {
			got = append(got, fmt.Sprintf("f:%d:%d %s %s", w.Position.Line, w.Position.Column, strings.TrimPrefix(w.Path, "services.slim/0.dataplane.clients[0]."), w.Text))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: warnings\n%q\nwant\n%q", client, got, want)
		}
		if k := c.Services[0].Dataplane.Clients[0]; want != nil && (len(k.Headers) != 1 || k.RateLimit != "" || k.RequestTimeout != 0 || k.BufferSize != nil || k.Compression != "") {
			t.Errorf("%s: %+v", client, k)
		}
	}
}

// Rules: P-dial-5.
func TestTargetsOfWebSockets(t *testing.T) {
	for endpoint, want := range map[string]string{
		"ws://h": "/", "ws://h/": "/", "ws://h:1/a%2Fb|c?x=1&y": "/a%2Fb|c?x=1&y", "wss://h?x/y": "/?x/y", "ws://h#f/": "/", "ws://[::1]:2/a#f?x": "/a",
	} {
		if got := (&Client{Endpoint: endpoint}).Target(); got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
}

// Where there is no connect_timeout there is the node's own, and what is shown says so.
func TestConnectTimeoutHasOneDefault(t *testing.T) {
	for keys, want := range map[string]string{"": "30s", ", connect_timeout: 0s": "30s", ", connect_timeout: 4s": "4s"} {
		c, _, err := parse("f", []byte(serviceFile(`dataplane: {clients: [{endpoint: "http://x"`+keys+"}]}")), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		text := string(c.Show().YAML())
		if got := showDuration(c.Services[0].Dataplane.Clients[0].ConnectTimeout); got != want || !strings.Contains(text, "connect_timeout: "+want+"\n") {
			t.Errorf("%q: %s, want %s, shown\n%s", keys, got, want, text)
		}
		if strings.Contains(text, "request_timeout: 0s") {
			t.Errorf("a timeout of 0s is shown for one that is not set:\n%s", text)
		}
	}
}

// A unix socket's path that perhaps was meant to be absolute is told of.
func TestRelativePathsOfUnixSocketsAreToldOf(t *testing.T) {
	for list, want := range map[string]string{
		`servers: [{endpoint: "unix://var/x.sock", tls: {insecure: true}}]`:   "an absolute one is written unix:///var/x.sock",
		`clients: [{endpoint: "unix://var/x.sock", tls: {insecure: true}}]`:   "is taken for unix:///var/x.sock: write it with three slashes",
		`servers: [{endpoint: "unix:///var/x.sock", tls: {insecure: true}}]`:  "",
		`servers: [{endpoint: "unix://./var/x.sock", tls: {insecure: true}}]`: "",
	} {
		_, warnings, err := parse("f", []byte(serviceFile("dataplane: {"+list+"}")), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && len(warnings) > 0 || want != "" && (len(warnings) != 1 || !strings.Contains(warnings[0].String(), want)) {
			t.Errorf("%s: %v, want %q", list, warnings, want)
		}
	}
}

// An endpoint of https:// that is dialled in the clear is told of.
func TestHTTPSInTheClearIsToldOf(t *testing.T) {
	for tls, want := range map[string]int{"{insecure: true}": 1, "{insecure: true, ca_source: {type: file, path: x}}": 0, "{insecure_skip_verify: true}": 0} {
		_, warnings, err := parse("f", []byte(serviceFile(`dataplane: {clients: [{endpoint: "https://x", tls: `+tls+"}]}")), noEnv)
		if err != nil || len(warnings) != want || want > 0 && !strings.Contains(warnings[0].String(), "clients[0].tls.insecure: has an endpoint of https:// dialled without TLS") {
			t.Errorf("%s: %v, %v", tls, err, warnings)
		}
	}
}
