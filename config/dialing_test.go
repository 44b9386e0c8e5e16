package config

import (
	"strings"
	"testing"
)

// Rules: P-conf-22.
func TestClientsThatCannotBeDialled(t *testing.T) {
	for client, want := range map[string]string{
		`endpoint: "x:1"`:                                                        "clients[0].endpoint: invalid endpoint scheme: \"x:1\": a client needs one, as in http://x:1",
		`endpoint: "http://:1"`:                                                  "clients[0].endpoint: endpoint \"http://:1\" is no http://HOST:PORT",
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
		`endpoint: "http://x"}, {endpoint: "http://x"`:                           "clients[1].endpoint: client already connected: endpoint \"http://x\" stands in the list before",
	} {
		_, _, err := parse("f", []byte(serviceFile("dataplane: {clients: [{"+client+"}]}")), noEnv)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v, want %q", client, err, want)
		}
	}
	for _, client := range []string{`endpoint: "http://x", rate_limit: "100/1", origin: "https://front", proxy: {url: "http://p:1", username: u}`} {
		if _, _, err := parse("f", []byte(serviceFile("dataplane: {clients: [{"+client+"}]}")), noEnv); err != nil {
			t.Errorf("%s: %v", client, err)
		}
	}
}
