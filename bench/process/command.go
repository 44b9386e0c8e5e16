package process

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kballard/go-shellquote"

	"github.com/seed31b3bfd0/slimgo/internal/suggest"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// Command is how to start a node: words of a command line in which these are replaced:
//
//	{listen}  address and port on the loopback interface
//	{host}    the address alone
//	{port}    the port alone
//	{config}  path of a generated configuration file in the format of upstream's node
//
// Words are split at blanks and quoted as in a shell. None is involved, so the started process is the node: a wrapper that does
// not end in exec would be measured in its place, and found to cost nothing.
type Command struct {
	Text      string
	Transport string   // one of Transports; empty: plain gRPC
	mesh      []string // addresses of all nodes of a full mesh, of which it starts one; nil: a node alone
}

// Words splits text into words.
func Words(text string) ([]string, error) {
	words, err := shellquote.Split(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("command %q: quote without end (%w)", text, err)
	case len(words) == 0:
		return nil, errors.New("command is empty")
	}
	return words, nil
}

// Quote is the opposite of Words.
func Quote(words ...string) string { return shellquote.Join(words...) }

// expand returns the words for a node that shall listen on addr, by the command's transport. Files it needs are made in dir.
func (c Command) expand(addr, dir string) ([]string, error) {
	words, err := Words(c.Text)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	values := []string{"{listen}", addr, "{host}", host, "{port}", port}
	switch {
	case strings.Contains(c.Text, "{config}"):
		path := filepath.Join(dir, "node.yaml")
		if err := os.WriteFile(path, []byte(c.nodeConfig(addr, dir)), 0o600); err != nil {
			return nil, err
		}
		values = append(values, "{config}", path)
	case c.Transport != "":
		return nil, fmt.Errorf("command %q: transport %s needs a configuration: give {config}", c.Text, c.Transport)
	}
	r := strings.NewReplacer(values...)
	for i, w := range words {
		words[i] = r.Replace(w)
	}
	return words, nil
}

// Transports are the ways in which a node can be made to listen, beside plain gRPC: with TLS, with TLS and certificates of
// clients, by WebSocket without and with TLS, on a unix socket.
func Transports() []string { return []string{"tls", "mtls", "ws", "wss", "unix"} }

// KnownTransport is an error that names the nearest, if there is none of that name.
func KnownTransport(name string) error {
	if !slices.Contains(Transports(), name) {
		return fmt.Errorf("no transport %q%s", name, suggest.Hint(name, Transports()))
	}
	return nil
}

// Reach opens a socket to where a node listens, at an address as uplink.Dial takes it.
func Reach(ctx context.Context, addr string) (net.Conn, error) {
	u, err := uplink.ParseURL(addr)
	if err != nil {
		return nil, err
	}
	return uplink.DialSocket(ctx, cmp.Or(u.Host, u.Path))
}

// secure reports whether clients need TLS.
func (c Command) secure() bool { return slices.Contains([]string{"tls", "mtls", "wss"}, c.Transport) }

// address is where clients find a node that listens on addr, or in dir.
func (c Command) address(addr, dir string) string {
	switch c.Transport {
	case "tls", "mtls":
		return "https://" + addr
	case "ws", "wss":
		return c.Transport + "://" + addr
	case "unix":
		return "unix://" + filepath.Join(dir, "node.sock")
	}
	return addr
}

// Files of certificates in a node's folder.
const (
	certificateFile = "cert.pem"
	keyFile         = "key.pem"
)

// nodeConfig is the smallest configuration of upstream's node: one listener, quiet log, one worker per core.
func (c Command) nodeConfig(addr, dir string) string {
	security, id, peers := "insecure: true", "bench-node", ""
	if c.mesh != nil {
		id = meshID(slices.Index(c.mesh, addr))
		peers = "    peers:\n      topology: full_mesh\n      discovery:\n        type: static\n        peers:\n"
		for i, other := range c.mesh {
			peers += fmt.Sprintf("          - {node_id: %s, endpoint: %q, tls: {insecure: true}}\n", meshID(i), "http://"+other)
		}
	}
	if c.secure() {
		security = fmt.Sprintf("source: {type: file, cert: %q, key: %q}",
			filepath.Join(dir, certificateFile), filepath.Join(dir, keyFile))
	}
	if c.Transport == "mtls" {
		security += fmt.Sprintf("\n            client_ca: {type: file, path: %q}", filepath.Join(dir, certificateFile))
	}
	return `tracing:
  log_level: warn
runtime:
  n_cores: 0
  thread_name: "slim-data-plane"
  drain_timeout: 1s
services:
  slim/0:
    node_id: ` + id + `
    dataplane:
      servers:
        - endpoint: "` + strings.TrimPrefix(c.address(addr, dir), "https://") + `"
          tls:
            ` + security + `
      clients: []
` + peers
}

// certificates makes a certificate with which node and clients prove themselves, good for a day on the loopback interface and
// its own authority. The node's files are written to dir.
func certificates(dir string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	own := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "slim-bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, own, own, &key.PublicKey, key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	pair, err := tls.X509KeyPair(cert, private)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, errors.Join(err,
		os.WriteFile(filepath.Join(dir, certificateFile), cert, 0o600), os.WriteFile(filepath.Join(dir, keyFile), private, 0o600))
}
