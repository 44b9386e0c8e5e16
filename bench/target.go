package bench

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

// Target is a node to measure: one that is started for each measurement, or one that runs somewhere.
type Target struct {
	Name    string
	Command process.Command // empty text: Addrs run already
	Addrs   []string        // publishers use the first, subscribers the others in turn; one serves both
	PID     int             // process behind Addrs; 0: not measured
	Dialer  load.Dialer
	Note    string // what is to be known of its figures

	pacer load.Pacer // of open loops; nil: that of the system
}

// blind reports whether the target is a relay, which knows no names.
func (t Target) blind() bool { return t.Dialer.Protocol() == client.Blind }

const natsScheme = "nats:"

// ParseTarget reads [NAME=][nats:|blind:]CMD. Without a name it is called name.
func ParseTarget(text, name string) (Target, error) {
	if before, after, ok := strings.Cut(text, "="); ok && before != "" && !strings.ContainsAny(before, " /{:\"'") {
		name, text = before, after
	}
	t := Target{Name: name, Dialer: client.Dialer{}}
	if after, ok := strings.CutPrefix(text, natsScheme); ok {
		t.Dialer, text = nats.Dialer{}, after
	} else if after, ok := strings.CutPrefix(text, client.Blind+":"); ok {
		t.Dialer, text = client.BlindDialer{}, after
	}
	if _, err := process.Words(text); err != nil {
		return t, fmt.Errorf("node %s: %w", name, err)
	}
	t.Command.Text = text
	return t, nil
}

// ParseAddresses reads the addresses of a node that runs, or of the nodes of a cluster: host:port, http://host:port or
// nats://host:port, all of one kind.
func ParseAddresses(texts []string, name string, pid int) (Target, error) {
	t := Target{Name: name, PID: pid}
	for _, text := range texts {
		var d load.Dialer = client.Dialer{}
		addr := text
		if scheme, rest, ok := strings.Cut(text, "://"); ok {
			switch addr = rest; scheme {
			case "http":
			case "nats":
				d = nats.Dialer{}
			case client.Blind:
				d = client.BlindDialer{}
			case "https", "ws", "wss", "unix":
				return t, fmt.Errorf("target %q: %s is not supported yet: give a plain listener, http://host:port", text, scheme)
			default:
				return t, fmt.Errorf("target %q: no scheme %q%s", text, scheme, suggest.Hint(scheme, []string{"http", "nats", client.Blind}))
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
