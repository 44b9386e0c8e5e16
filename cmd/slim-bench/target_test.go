package main

import "testing"

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ in, name, command, protocol string }{
		{"slim --config {config}", "node", "slim --config {config}", "slim"},
		{"rust=slim --config {config}", "rust", "slim --config {config}", "slim"},
		{"nats:nats-server -p {port}", "node", "nats-server -p {port}", "nats"},
		{"n=nats:nats-server -p {port}", "n", "nats-server -p {port}", "nats"},
		{"/x/slim --a=b", "node", "/x/slim --a=b", "slim"},
	} {
		got, err := parseTarget(c.in, "node")
		if err != nil || got.Name != c.name || got.Command.Text != c.command || got.Dialer.Protocol() != c.protocol {
			t.Errorf("%q: got %+v, %v", c.in, got, err)
		}
	}
	if _, err := parseTarget(`a="x`, "node"); err == nil {
		t.Error("a quote without end was taken")
	}
}

func TestParseAddresses(t *testing.T) {
	for in, want := range map[string]string{"h:1": "h:1", "http://h:1/": "h:1", "nats://h:1": "h:1"} {
		if got, err := parseAddresses([]string{in}, "n", 0); err != nil || got.Addrs[0] != want {
			t.Errorf("%q: got %q, %v", in, got.Addrs, err)
		}
	}
	for _, in := range []string{"", "http://", "ftp://h:1"} {
		if _, err := parseAddresses([]string{in}, "n", 0); err == nil {
			t.Errorf("%q: accepted", in)
		}
	}
}
