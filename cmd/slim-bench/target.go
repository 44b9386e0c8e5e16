package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/nats"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// secureOptions are the flags for listeners with TLS.
type secureOptions struct {
	ca, cert, key string
	insecure      bool
}

func (s *secureOptions) flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.ca, "ca", "", "`FILE` with the authority that https:// and wss:// targets are checked against; without it, those of the system")
	fs.StringVar(&s.cert, "cert", "", "`FILE` with a certificate to show them, with --key")
	fs.StringVar(&s.key, "key", "", "`FILE` with its private key")
	fs.BoolVar(&s.insecure, "insecure", false, "take any certificate of theirs")
}

// config is what they ask for.
func (s *secureOptions) config() (*tls.Config, error) {
	o := certs.Options{SkipVerify: s.insecure, SystemCAs: s.ca == ""}
	if s.ca != "" {
		o.CA = certs.Authority{Kind: certs.Files, CA: s.ca}
	}
	if s.cert != "" || s.key != "" {
		o.Own = certs.Pair{Kind: certs.Files, Cert: s.cert, Key: s.key}
	}
	k, err := certs.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("--ca, --cert, --key: %w", err)
	}
	return k.Client(), nil
}

// parseTarget reads [NAME=][PROTOCOL:]CMD, where a protocol is nats, blind or a transport of the started node. Without a
// name it is called name.
func parseTarget(text, name string) (load.Target, error) {
	if before, after, ok := strings.Cut(text, "="); ok && before != "" && !strings.ContainsAny(before, " /{:\"'") {
		name, text = before, after
	}
	t := load.Target{Name: name, Dialer: client.Dialer{}}
	switch word, rest, _ := strings.Cut(text, ":"); {
	case word == load.NATS:
		t.Dialer, text = nats.Dialer{}, rest
	case word == load.Blind:
		t.Dialer, text = client.BlindDialer{}, rest
	case slices.Contains(process.Transports(), word):
		t.Command.Transport, text = word, rest
	}
	if _, err := process.Words(text); err != nil {
		return t, fmt.Errorf("node %s: %w", name, err)
	}
	t.Command.Text = text
	return t, nil
}

// parseAddresses reads the addresses of a node that runs, or of the nodes of a cluster: host:port, a URL of a listener or
// nats://host:port, all of one protocol.
func parseAddresses(texts []string, name string, pid int, secure *secureOptions) (load.Target, error) {
	t := load.Target{Name: name, PID: pid}
	config, err := secure.config()
	if err != nil {
		return t, err
	}
	for _, text := range texts {
		var d load.Dialer = client.Dialer{TLS: config}
		addr := text
		switch scheme, rest, ok := strings.Cut(text, "://"); {
		case scheme == load.NATS:
			d, addr = nats.Dialer{}, strings.TrimSuffix(rest, "/")
		case ok && !slices.Contains(uplink.Schemes(), scheme):
			return t, fmt.Errorf("target %q: no scheme %q%s", text, scheme, suggest.Hint(scheme, append(uplink.Schemes(), load.NATS)))
		default:
			u, err := uplink.ParseURL(text)
			if err != nil {
				return t, fmt.Errorf("target %q: %w", text, err)
			}
			if u.Scheme == "http" {
				addr = u.Host
			}
		}
		if addr == "" {
			return t, errors.New("target has no address: want host:port")
		}
		if t.Dialer != nil && t.Dialer.Protocol() != d.Protocol() {
			return t, fmt.Errorf("target %q: the targets of a cluster speak one protocol", text)
		}
		t.Addrs, t.Dialer = append(t.Addrs, addr), d
	}
	return t, nil
}
