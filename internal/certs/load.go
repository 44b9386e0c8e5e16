package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/internal/watch"
)

// maxFile bounds a file of certificates or keys, in bytes.
const maxFile = 4 << 20

// state is what was loaded at one moment. Immutable.
type state struct {
	material [][]byte          // everything that was read, to see a change
	leaf     *x509.Certificate // own; nil: none
	plain    *tls.Config       // without ALPN
	alpn     *tls.Config       // with it; the same if there is none
	waits    *Error            // for a Live that has nothing yet; nil: for none
	nobody   error             // why there are no authorities yet; nil: there are
}

func (s *state) same(o *state) bool {
	if len(s.material) != len(o.material) {
		return false
	}
	for i := range s.material {
		if !bytes.Equal(s.material[i], o.material[i]) {
			return false
		}
	}
	return true
}

// read returns PEM, and the file that it is from.
func (s *state) read(kind Kind, v, key string) (b []byte, file string, err error) {
	if kind == Text {
		b = []byte(v)
	} else {
		file = v
		if b, err = watch.Read(v, maxFile); err != nil {
			return nil, file, &Error{Key: key, File: file, Err: err}
		}
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff")) // some editors of Windows begin a file with it
	s.material = append(s.material, b)
	return b, file, nil
}

// pair loads a certificate and its key.
func (s *state) pair(p *Pair) (*tls.Certificate, error) {
	certPEM, certFile, err := s.read(p.Kind, p.Cert, "source.cert")
	if err != nil {
		return nil, err
	}
	chain, err := parseCertificates(certPEM)
	if err != nil {
		return nil, &Error{Key: "source.cert", File: certFile, Err: err}
	}
	keyPEM, keyFile, err := s.read(p.Kind, p.Key, "source.key")
	if err != nil {
		return nil, err
	}
	c, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		if at := holder(chain, keyPEM); at > 0 {
			return nil, &Error{Key: "source.cert", File: certFile, Err: fmt.Errorf("certificate %d is that of the key, and has to stand first: "+
				"the certificate of this side, then that of its issuer, and so on", at+1)}
		}
		return nil, &Error{Key: "source.key", File: keyFile, Err: keyFault(err, keyPEM)}
	}
	s.leaf = chain[0]
	c.Leaf = chain[0]
	return &c, nil
}

// holder returns which certificate of a chain the key is of; 0: the first, or none.
func holder(chain []*x509.Certificate, keyPEM []byte) int {
	for i, c := range chain[1:] {
		b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		if _, err := tls.X509KeyPair(b, keyPEM); err == nil {
			return i + 1
		}
	}
	return 0
}

// keyFault rewords what crypto/tls says of a key.
func keyFault(err error, b []byte) error {
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return errors.New("the key is encrypted with a password: write it without one (openssl pkey -in FILE -out NEW)")
		}
	}
	return trimmed{err}
}

// trimmed is an error of crypto/tls without its "tls: ".
type trimmed struct{ error }

func (t trimmed) Error() string {
	s, _ := bytes.CutPrefix([]byte(t.error.Error()), []byte("tls: "))
	return string(s)
}

func (t trimmed) Unwrap() error { return t.error }

// parseCertificates returns all certificates of b, at least one.
func parseCertificates(b []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		const want = ": want PEM, which begins with -----BEGIN CERTIFICATE-----"
		if block, _ := pem.Decode(b); block != nil {
			return nil, fmt.Errorf("no certificate in it, but %q%s", block.Type, want)
		}
		return nil, errors.New("no certificate in it" + want)
	}
	return all, nil
}

// authority adds the certificates of an authority to pool. They are trusted as they are: neither basic constraints nor
// key usage of a root count, as upstream's verifier has it, and the authorities of upstream's examples have none.
// Rules: P-tls-3.
func (s *state) authority(a *Authority, block string, pool *x509.CertPool) error {
	if a.Kind == Lives {
		return s.liveAuthority(a.Live, block, pool)
	}
	key := block + ".path"
	if a.Kind == Text {
		key = block + ".data"
	}
	b, file, err := s.read(a.Kind, a.CA, key)
	if err != nil {
		return err
	}
	all, err := parseCertificates(b)
	if err != nil {
		return &Error{Key: key, File: file, Err: err}
	}
	for _, c := range all {
		trust(c, pool)
	}
	return nil
}

// trust adds a certificate to pool, and changes it for that.
func trust(c *x509.Certificate, pool *x509.CertPool) {
	c.BasicConstraintsValid, c.IsCA, c.KeyUsage = true, true, 0
	c.MaxPathLen, c.MaxPathLenZero = -1, false
	pool.AddCert(c)
}

// loadServer loads what a listener needs.
func (o *Options) loadServer() (*state, error) {
	s := &state{}
	c, err := o.common()
	if err != nil {
		return nil, err
	}
	if o.Own.Kind == None {
		return nil, &Error{Key: "source", Err: errors.New("missing server cert or key")}
	}
	if err := s.own(c, &o.Own); err != nil {
		return nil, err
	}
	if o.ClientCA.Kind != None {
		c.ClientCAs = x509.NewCertPool()
		c.ClientAuth = tls.RequireAndVerifyClientCert
		if err := s.authority(&o.ClientCA, "client_ca", c.ClientCAs); err != nil {
			return nil, err
		}
		if l := o.ClientCA.Live; l != nil {
			c.VerifyConnection = accept(l)
		}
	}
	s.settle(c, o.Protocols)
	return s, nil
}

// loadClient loads what a client needs.
func (o *Options) loadClient() (*state, error) {
	s := &state{}
	c, err := o.common()
	if err != nil {
		return nil, err
	}
	if o.Own.Kind != None {
		if err := s.own(c, &o.Own); err != nil {
			return nil, err
		}
	}
	c.RootCAs = x509.NewCertPool() // nil would stand for the system's
	if o.SystemCAs {
		if c.RootCAs, err = x509.SystemCertPool(); err != nil {
			return nil, &Error{Key: "include_system_ca_certs_pool", Err: err}
		}
	}
	if o.CA.Kind != None {
		if err := s.authority(&o.CA, "ca_source", c.RootCAs); err != nil {
			return nil, err
		}
	}
	c.ServerName, c.InsecureSkipVerify = o.ServerName, o.SkipVerify
	if l := o.CA.Live; l != nil && !o.SkipVerify {
		c.InsecureSkipVerify, c.VerifyConnection = l.ByID(), accept(l)
		if s.nobody != nil { // everyone is refused with the reason, also by a handshake that ends after something has come
			c.InsecureSkipVerify, c.VerifyConnection = true, func(tls.ConnectionState) error { return s.nobody }
		}
	}
	c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	s.settle(c, o.Protocols)
	return s, nil
}

func (s *state) settle(c *tls.Config, protocols []string) {
	s.plain, s.alpn = c, c
	if len(protocols) > 0 {
		s.alpn = c.Clone()
		s.alpn.NextProtos = protocols
	}
}
