package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Kind says where material comes from.
type Kind uint8

// The kinds.
const (
	None  Kind = iota
	Files      // the strings are paths
	Text       // the strings are PEM
	Lives      // what comes from a Live
)

// Live is material that something else keeps current, such as a SPIRE agent, which may have nothing yet. Safe for all.
type Live interface {
	// Certificate returns what this side shows now, immutable and with its Leaf, or why there is nothing yet.
	Certificate() (*tls.Certificate, error)
	// Authorities returns who is trusted now, or why nobody is yet.
	Authorities() ([]*x509.Certificate, error)
	// Accept judges the certificates of a peer, its own first, beyond that an authority vouches for them, or instead of it if ByID.
	Accept(chain []*x509.Certificate) error
	// ByID reports whether a client has Accept judge alone: then it has to see to it that an authority vouches for the certificates,
	// and the names of hosts say nothing. It never changes.
	ByID() bool
	// Changed returns a channel that is closed when something else is there than now.
	Changed() <-chan struct{}
	// String says for logs where it comes from.
	String() string
}

// Pair is a certificate, with those of its issuers behind it if there are any, and its key: PKCS#8, SEC 1 or PKCS#1.
type Pair struct {
	Kind      Kind
	Cert, Key string
	Live      Live
}

// Authority is the certificates of authorities.
type Authority struct {
	Kind Kind
	CA   string
	Live Live
}

// The versions of Options.Version.
const (
	TLS12 = "tls1.2"
	TLS13 = "tls1.3"
)

// Options are the TLS settings of a listener or a client.
type Options struct {
	// Own is what this side proves itself with. A listener must have it.
	Own Pair
	// ClientCA: a listener demands certificates of this authority. None: it asks for none.
	ClientCA Authority
	// CA: a client trusts this authority.
	CA Authority
	// SystemCAs: a client trusts those of the system, too.
	SystemCAs bool
	// SkipVerify: a client takes any certificate, whoever made it and whatever it says.
	SkipVerify bool
	// ServerName is what a client asks for and compares the certificate with; empty: whoever dials sets it.
	ServerName string
	// Version is the only one that is spoken: TLS12 or TLS13; empty: TLS13.
	Version string
	// OnlyPQ: keys are agreed by X25519MLKEM768 and nothing else, which needs TLS13.
	OnlyPQ bool
	// Protocols are for ALPN. A client offers them. A listener takes the first that it has in common with a client, and
	// takes those as well that have none in common, or do not ask. Rules: P-tls-2.
	Protocols []string
}

// Error says which of the settings is to blame. Key is relative to the block `tls`.
type Error struct {
	Key  string // "source.cert", "source.key", "ca_source.path", "client_ca.data", "tls_version" ...
	File string // empty: it is text
	Err  error

	// Waits: a Live has nothing yet. Nothing else is wrong; handshakes fail until it has something.
	Waits bool
}

func (e *Error) Error() string {
	if e.File == "" {
		return fmt.Sprintf("%s: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Key, e.File, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// version returns the number of the only version.
func (o *Options) version() (uint16, error) {
	switch {
	case o.Version == TLS12 && o.OnlyPQ:
		return 0, &Error{Key: "tls_version", Err: errors.New("post-quantum key exchange needs tls1.3")}
	case o.Version == TLS12:
		return tls.VersionTLS12, nil
	case o.Version == TLS13, o.Version == "":
		return tls.VersionTLS13, nil
	}
	return 0, &Error{Key: "tls_version", Err: fmt.Errorf("invalid tls version: %s; want tls1.2 or tls1.3", o.Version)}
}

// common returns what both roles have in common.
func (o *Options) common() (*tls.Config, error) {
	v, err := o.version()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion: v, MaxVersion: v,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		DynamicRecordSizingDisabled: true,
	}
	if o.OnlyPQ {
		c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	}
	return c, nil
}
