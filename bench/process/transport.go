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
	authorityFile   = "ca.pem"
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
		security += fmt.Sprintf("\n            client_ca: {type: file, path: %q}", filepath.Join(dir, authorityFile))
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

// certificates makes an authority, and a certificate of it with which node and clients prove themselves, good for a day
// on the loopback interface. The node's files are written to dir.
func certificates(dir string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	made := func(name string, serial int64) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true}
	}
	authority, own := made("slim-bench authority", 1), made("slim-bench", 2)
	authority.IsCA, authority.KeyUsage = true, x509.KeyUsageCertSign
	own.ExtKeyUsage, own.KeyUsage = usage, x509.KeyUsageDigitalSignature
	own.IPAddresses, own.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	cert, err2 := x509.CreateCertificate(rand.Reader, own, authority, &key.PublicKey, key)
	private, err3 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, err2, err3); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{authorityFile, "CERTIFICATE", ca}, {certificateFile, "CERTIFICATE", cert}, {keyFile, "PRIVATE KEY", private}} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(filepath.Join(dir, f.name), text, 0o600); err != nil {
			return nil, err
		}
	}
	trusted, err := x509.ParseCertificate(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(trusted)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}, nil
}
