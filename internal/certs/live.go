package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// own puts what this side proves itself with into c.
func (s *state) own(c *tls.Config, p *Pair) error {
	if p.Kind != Lives {
		own, err := s.pair(p)
		if err == nil {
			c.Certificates = []tls.Certificate{*own}
		}
		return err
	}
	own, err := p.Live.Certificate()
	if err != nil {
		s.wait("source", err)
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, s.waits }
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return nil, s.waits }
		return nil
	}
	s.material = append(s.material, own.Certificate...)
	s.leaf = own.Leaf
	c.Certificates = []tls.Certificate{*own}
	return nil
}

// liveAuthority adds the authorities of a Live to pool; none while it has none.
func (s *state) liveAuthority(l Live, block string, pool *x509.CertPool) error {
	all, err := l.Authorities()
	if err != nil {
		s.wait(block, err)
		s.nobody = err
		return nil
	}
	for _, c := range all {
		s.material = append(s.material, c.Raw)
		root, err := x509.ParseCertificate(c.Raw) // of our own, to be changed
		if err != nil {
			return &Error{Key: block, Err: fmt.Errorf("%s: %w", l, err)}
		}
		trust(root, pool)
	}
	return nil
}

// wait notes that a Live has nothing yet.
func (s *state) wait(key string, err error) {
	if s.waits == nil {
		s.waits = &Error{Key: key, Err: err, Waits: true}
	}
}

// accept asks a Live about every peer, also one that resumes a session.
func accept(l Live) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		if err := l.Accept(cs.PeerCertificates); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
		}
		return nil
	}
}
