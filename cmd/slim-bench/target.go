package main

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
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

// parseTarget reads [NAME=][PROTOCOL:]CMD, where a protocol is blind or a transport of the started node. Without a
// name it is called name.
func parseTarget(text, name string) (load.Target, error) {
	if before, after, ok := strings.Cut(text, "="); ok && before != "" && !strings.ContainsAny(before, " /{:\"'") {
		name, text = before, after
	}
	t := load.Target{Name: name, Dialer: client.Dialer{}}
	switch word, rest, _ := strings.Cut(text, ":"); {
	case word == load.Blind:
		t.Dialer, text = client.Dialer{Blind: true}, rest
	case slices.Contains(process.Transports(), word):
		t.Command.Transport, text = word, rest
	}
	if _, err := process.Words(text); err != nil {
		return t, fmt.Errorf("node %s: %w", name, err)
	}
	t.Command.Text = text
	return t, nil
}

// parseAddresses reads the addresses of a node that runs, or of the nodes of a cluster: host:port, or the URL of a listener.
func parseAddresses(texts []string, pid int, secure *secureOptions) (load.Target, error) {
	t := load.Target{Name: "node", PID: pid, Addrs: texts}
	config, err := secure.config()
	if err != nil {
		return t, err
	}
	t.Dialer = client.Dialer{TLS: config}
	for _, text := range texts {
		if _, err := uplink.ParseURL(text); err != nil {
			return t, fmt.Errorf("target %q: %w", text, err)
		}
	}
	return t, nil
}
