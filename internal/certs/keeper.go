package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Keeper holds the TLS configuration of one listener or client, and loads it anew when asked. Safe for all.
type Keeper struct {
	opt  Options
	load func() (*state, error)
	base *tls.Config // of a listener: the keys of its tickets outlive what is loaded

	mu  sync.Mutex // for who loads
	now atomic.Pointer[state]

	noted  sync.Mutex
	status Status // guarded by noted, without Leaf
}

// Status is what an operator asks of a Keeper.
type Status struct {
	Leaf   *x509.Certificate // that this side shows now; nil: none
	Loaded time.Time         // when what is in use was loaded

	// Fault is why the last load of Watcher failed, an *Error, Failed since when; nil: it did not, and what is in use is what the
	// files hold. Failures counts those that did. One that Waits is told from the start.
	Fault    error
	Failed   time.Time
	Failures uint64
}

// NewServer loads the configuration of a listener. An error is an *Error. A Live that has nothing yet is none: Status tells of it.
func NewServer(o Options) (*Keeper, error) {
	k := &Keeper{opt: o}
	k.load = k.opt.loadServer
	k.base = &tls.Config{GetConfigForClient: k.forClient, DynamicRecordSizingDisabled: true}
	return k.begin()
}

// NewClient loads the configuration of a client. An error is an *Error. A Live that has nothing yet is none: Status tells of it.
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
	k.loaded(true)
	if s.waits != nil {
		k.failed(s.waits)
	}
	return k, nil
}

// Status returns what is in use, and whether the last load went well.
func (k *Keeper) Status() Status {
	k.noted.Lock()
	defer k.noted.Unlock()
	s := k.status
	s.Leaf = k.Leaf()
	return s
}

// loaded notes that a load went well, and whether it brought something new.
func (k *Keeper) loaded(changed bool) {
	k.noted.Lock()
	defer k.noted.Unlock()
	k.status.Fault, k.status.Failed = nil, time.Time{}
	if changed {
		k.status.Loaded = time.Now()
	}
}

// failed notes that a load has failed which nobody is in the middle of writing for. A wait is one failure, however long it takes.
func (k *Keeper) failed(err error) {
	k.noted.Lock()
	defer k.noted.Unlock()
	var e *Error
	if waits := errors.As(err, &e) && e.Waits; !waits || k.status.Fault == nil {
		k.status.Failures++
	}
	if k.status.Fault == nil {
		k.status.Failed = time.Now()
	}
	k.status.Fault = err
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
// is as before, but for one that Waits.
func (k *Keeper) Reload() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, err := k.load()
	if err != nil {
		return false, err
	}
	changed = !s.same(k.now.Load())
	if changed {
		k.now.Store(s)
	}
	if s.waits != nil {
		return changed, s.waits
	}
	k.loaded(changed)
	return changed, nil
}

// Trusts says, for logs, whom this side trusts: a file, "inline PEM", a Live, "system", several of these, "anybody", or "" for
// a listener that asks for no certificates.
func (k *Keeper) Trusts() string {
	var words []string
	for _, a := range []*Authority{&k.opt.ClientCA, &k.opt.CA} {
		switch a.Kind {
		case Files:
			words = append(words, a.CA)
		case Text:
			words = append(words, "inline PEM")
		case Lives:
			words = append(words, a.Live.String())
		}
	}
	switch {
	case k.base == nil && k.opt.SkipVerify:
		return "anybody"
	case k.base == nil && k.opt.SystemCAs:
		words = append(words, "system")
	}
	return strings.Join(words, ", ")
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

// lives are what the configuration takes from elsewhere than files and text.
func (k *Keeper) lives() (all []Live) {
	for _, l := range []Live{k.opt.Own.Live, k.opt.ClientCA.Live, k.opt.CA.Live} {
		if l != nil {
			all = append(all, l)
		}
	}
	return all
}
