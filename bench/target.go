package bench

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/nats"
	"github.com/seed31b3bfd0/slimgo/bench/process"
)

// Target is a node to measure: one that is started for each measurement, or one that runs somewhere.
type Target struct {
	Name    string
	Command process.Command // empty text: Addr runs already
	Addr    string
	PID     int // process behind Addr; 0: not measured
	Dialer  load.Dialer
}

const natsScheme = "nats:"

// ParseTarget reads [NAME=][nats:]CMD. Without a name it is called name.
func ParseTarget(text, name string) (Target, error) {
	if before, after, ok := strings.Cut(text, "="); ok && before != "" && !strings.ContainsAny(before, " /{:\"'") {
		name, text = before, after
	}
	t := Target{Name: name, Dialer: client.Dialer{}}
	if after, ok := strings.CutPrefix(text, natsScheme); ok {
		t.Dialer, text = nats.Dialer{}, after
	}
	if _, err := process.Words(text); err != nil {
		return t, fmt.Errorf("node %s: %w", name, err)
	}
	t.Command.Text = text
	return t, nil
}

// ParseAddress reads the address of a running node: host:port, http://host:port or nats://host:port.
func ParseAddress(text, name string, pid int) (Target, error) {
	t := Target{Name: name, PID: pid, Dialer: client.Dialer{}}
	switch scheme, rest, ok := strings.Cut(text, "://"); {
	case !ok:
		t.Addr = text
	case scheme == "http":
		t.Addr = rest
	case scheme == "nats":
		t.Addr, t.Dialer = rest, nats.Dialer{}
	default:
		return t, fmt.Errorf("target %q: scheme %s is not supported", text, scheme)
	}
	if t.Addr = strings.TrimSuffix(t.Addr, "/"); t.Addr == "" {
		return t, errors.New("target has no address")
	}
	return t, nil
}
