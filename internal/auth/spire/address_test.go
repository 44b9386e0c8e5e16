package spire

import (
	"strings"
	"testing"
)

// Rules: P-spiffe-1.
func TestAddress(t *testing.T) {
	for _, c := range []struct{ path, variable, want, says string }{
		{"/run/a.sock", "", "unix:///run/a.sock", ""},
		{"unix:/run/a.sock", "", "unix:///run/a.sock", ""},
		{"unix:///run/a.sock", "unix:///other", "unix:///run/a.sock", ""},
		{"", "unix:///run/a.sock", "unix:///run/a.sock", ""},
		{"", "tcp://127.0.0.1:8081", "tcp://127.0.0.1:8081", ""},
		{"/with space/a", "", "unix:///with%20space/a", ""},
		{"", "", "", "SPIFFE_ENDPOINT_SOCKET is not set"},
		{"unix://run/agent.sock", "", "", "must not include an authority: \"run\" is taken for a host; write three slashes, unix:///run/agent.sock"},
		{"run/a.sock", "", "", "the path must be absolute"},
		{"tcp://127.0.0.1:8081", "", "", "the path must be absolute"}, // as upstream: only the variable
		{"", "tcp://localhost:8081", "", "must be an IP:port"},
		{"", "http://x", "", "the scheme must be unix or tcp"},
		{"unix:///a?b", "", "", "the path of a socket alone"},
		{"unix:", "", "", "the path of a socket alone"},
		{"unix:///a%zz", "", "", "no address"},
		{"\x00", "", "", "no address"},
	} {
		got, err := Address(c.path, func(string) (string, bool) { return c.variable, c.variable != "" })
		switch {
		case got != c.want:
			t.Errorf("%q, %q: %q, %v", c.path, c.variable, got, err)
		case (err == nil) != (c.says == ""), err != nil && !strings.Contains(err.Error(), c.says):
			t.Errorf("%q, %q: %v, want %q in it", c.path, c.variable, err, c.says)
		}
	}
}

// Rules: P-spiffe-6.
func TestPeers(t *testing.T) {
	p, err := ParsePeers([]string{"spiffe://a.org/x", "spiffe://a.org/y/*", "spiffe://b.org/*"})
	if err != nil || p.Any() {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{
		"spiffe://a.org/x": true, "spiffe://a.org/x/z": false, "spiffe://a.org/xy": false, "spiffe://a.org/y": false, "spiffe://a.org/y/z": true,
		"spiffe://a.org/y/z/w": true, "spiffe://a.org/yz": false, "spiffe://b.org/any/thing": true, "spiffe://c.org/x": false,
	} {
		if tok, err := parseID(id); err != nil || p.match(tok) != want {
			t.Errorf("%s: %v, %v", id, !want, err)
		}
	}
	for _, bad := range []string{"", "*", "spiffe://", "spiffe://a.org", "https://a.org/x", "spiffe://a.org/x/", "spiffe://A.org/x", "spiffe://a.org/*/x", "spiffe://a.org/x*"} {
		if _, err := ParsePeers([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
