package main

import (
	"strings"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ in, name, command, protocol string }{
		{"slim --config {config}", "node", "slim --config {config}", "slim"},
		{"rust=slim --config {config}", "rust", "slim --config {config}", "slim"},
		{"blind:relay -p {port}", "node", "relay -p {port}", "blind"},
		{"n=blind:relay -p {port}", "n", "relay -p {port}", "blind"},
		{"wss:slim --config {config}", "node", "slim --config {config}", "slim"},
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

func TestParseTargetTakesATransport(t *testing.T) {
	got, err := parseTarget("safe=mtls:slim --config {config}", "node")
	if err != nil || got.Name != "safe" || got.Command.Transport != "mtls" || got.Command.Text != "slim --config {config}" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestParseAddresses(t *testing.T) {
	for _, in := range []string{"h:1", "http://h:1/", "https://h:1", "ws://h:1/a/?b", "wss://h:1", "unix:///run/s"} {
		if got, err := parseAddresses([]string{in}, 0, &secureOptions{}); err != nil || got.Addrs[0] != in {
			t.Errorf("%q: got %q, %v", in, got.Addrs, err)
		}
	}
	for _, in := range []string{"", "http://", "ftp://h:1", "unix://run/s", "wss://h", "nats://"} {
		if _, err := parseAddresses([]string{in}, 0, &secureOptions{}); err == nil {
			t.Errorf("%q: accepted", in)
		}
	}
	if _, err := parseAddresses([]string{"h:1"}, 0, &secureOptions{ca: "/no/such"}); err == nil || !strings.Contains(err.Error(), "--ca") {
		t.Errorf("an authority that is not there: %v", err)
	}
}
