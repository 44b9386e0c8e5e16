package certs

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync"
	"sync/atomic"
)

// Keeper holds the TLS configuration of one listener or client, and loads it anew when asked. Safe for all.
type Keeper struct {
	opt  Options
	load func() (*state, error)
	base *tls.Config // of a listener: the keys of its tickets outlive what is loaded

	mu  sync.Mutex // for who loads
	now atomic.Pointer[state]
}

// NewServer loads the configuration of a listener. An error is an *Error.
func NewServer(o Options) (*Keeper, error) {
	k := &Keeper{opt: o}
	k.load = k.opt.loadServer
	k.base = &tls.Config{GetConfigForClient: k.forClient, DynamicRecordSizingDisabled: true}
	return k.begin()
}

// NewClient loads the configuration of a client. An error is an *Error.
func NewClient(o Options) (*Keeper, error) {
	k := &Keeper{opt: o}
	k.load = k.opt.loadClient
	return k.begin()
}

func (k *Keeper) begin() (*Keeper, error) {
	s, err := k.load()
	if err != nil {
		return nil, err
	}
	k.now.Store(s)
	return k, nil
}

// Server returns the configuration of a listener, which is always the current one: it asks the keeper at each
// handshake.
func (k *Keeper) Server() *tls.Config { return k.base }

// forClient is what a handshake that begins now is to know.
func (k *Keeper) forClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	s := k.now.Load()
	for _, p := range hello.SupportedProtos {
		if slices.Contains(k.opt.Protocols, p) {
			return s.alpn, nil
		}
	}
	return s.plain, nil // crypto/tls would refuse a client with which there is nothing in common
}

// Client returns the configuration for a client's next connection, to be cloned by who changes it.
func (k *Keeper) Client() *tls.Config { return k.now.Load().alpn }

// Leaf returns the certificate that this side shows now; nil: none.
func (k *Keeper) Leaf() *x509.Certificate { return k.now.Load().leaf }

// Reload loads everything anew, and reports whether that is something else than before. After an error, an *Error, all
// is as before.
func (k *Keeper) Reload() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, err := k.load()
	if err != nil {
		return false, err
	}
	if s.same(k.now.Load()) {
		return false, nil
	}
	k.now.Store(s)
	return true, nil
}

// Files returns the paths that are read.
func (k *Keeper) Files() []string {
	var all []string
	if k.opt.Own.Kind == Files {
		all = append(all, k.opt.Own.Cert, k.opt.Own.Key)
	}
	for _, a := range []*Authority{&k.opt.ClientCA, &k.opt.CA} {
		if a.Kind == Files {
			all = append(all, a.CA)
		}
	}
	return all
}
