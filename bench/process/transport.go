package process

import (
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
)

// Transports are the ways in which a node can be made to listen, beside plain gRPC: with TLS, with TLS and certificates of
// clients, by WebSocket without and with TLS, on a unix socket.
func Transports() []string { return []string{"tls", "mtls", "ws", "wss", "unix"} }

// Split tells network and address of an address with a scheme or without.
func Split(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		return "unix", path
	}
	if _, rest, ok := strings.Cut(addr, "://"); ok {
		addr, _, _ = strings.Cut(rest, "/")
	}
	return "tcp", addr
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
	security := "insecure: true"
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
    node_id: bench-node
    dataplane:
      servers:
        - endpoint: "` + strings.TrimPrefix(c.address(addr, dir), "https://") + `"
          tls:
            ` + security + `
      clients: []
`
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
