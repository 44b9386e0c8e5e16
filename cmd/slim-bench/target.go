package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/nats"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// parseTarget reads [NAME=][nats:|blind:]CMD. Without a name it is called name.
func parseTarget(text, name string) (load.Target, error) {
	if before, after, ok := strings.Cut(text, "="); ok && before != "" && !strings.ContainsAny(before, " /{:\"'") {
		name, text = before, after
	}
	t := load.Target{Name: name, Dialer: client.Dialer{}}
	if after, ok := strings.CutPrefix(text, load.NATS+":"); ok {
		t.Dialer, text = nats.Dialer{}, after
	} else if after, ok := strings.CutPrefix(text, load.Blind+":"); ok {
		t.Dialer, text = client.BlindDialer{}, after
	}
	if _, err := process.Words(text); err != nil {
		return t, fmt.Errorf("node %s: %w", name, err)
	}
	t.Command.Text = text
	return t, nil
}

// parseAddresses reads the addresses of a node that runs, or of the nodes of a cluster: host:port, http://host:port or
// nats://host:port, all of one kind.
func parseAddresses(texts []string, name string, pid int) (load.Target, error) {
	t := load.Target{Name: name, PID: pid}
	for _, text := range texts {
		var d load.Dialer = client.Dialer{}
		addr := text
		if scheme, rest, ok := strings.Cut(text, "://"); ok {
			switch addr = rest; scheme {
			case "http":
			case load.NATS:
				d = nats.Dialer{}
			case load.Blind:
				d = client.BlindDialer{}
			case "https", "ws", "wss", "unix":
				return t, fmt.Errorf("target %q: %s is not supported yet: give a plain listener, http://host:port", text, scheme)
			default:
				return t, fmt.Errorf("target %q: no scheme %q%s", text, scheme, suggest.Hint(scheme, []string{"http", load.NATS, load.Blind}))
			}
		}
		if addr = strings.TrimSuffix(addr, "/"); addr == "" {
			return t, errors.New("target has no address: want host:port")
		}
		if t.Dialer != nil && t.Dialer.Protocol() != d.Protocol() {
			return t, fmt.Errorf("target %q: the targets of a cluster speak one protocol", text)
		}
		t.Addrs, t.Dialer = append(t.Addrs, addr), d
	}
	return t, nil
}
