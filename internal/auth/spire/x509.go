package spire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// X509 is the X.509 material of an Agent as one block of TLS settings wants it: a certs.Live. Safe for all.
type X509 struct {
	agent   *Agent
	domains []spiffeid.TrustDomain
	peers   Peers
}

// NewX509 returns the certificate of the workload, and as authorities those of its own trust domain and of domains. It waits a
// moment for an Agent that has not answered yet. An error means a setting that is wrong: an Agent that is away is none.
func NewX509(a *Agent, domains []string, peers Peers) (*X509, error) {
	all, err := parseDomains(domains)
	if err != nil {
		return nil, err
	}
	a.wantX509()
	return &X509{a, all, peers}, nil
}

// Certificate returns the X509-SVID that this side shows now, with its chain; immutable. An error says why there is none yet.
func (x *X509) Certificate() (*tls.Certificate, error) {
	s, fault := x.agent.x509.get()
	if s == nil {
		return nil, x.agent.missing("certificate", fault)
	}
	return s.own, nil
}

// Authorities returns those of the own trust domain and of the others that were named. An error says why there are none yet.
func (x *X509) Authorities() ([]*x509.Certificate, error) {
	s, fault := x.agent.x509.get()
	if s == nil {
		return nil, x.agent.missing("bundle", fault)
	}
	var all []*x509.Certificate
	for _, td := range x.trusted(s) {
		if b, has := s.bundles.Get(td); has {
			all = append(all, b.X509Authorities()...)
		}
	}
	if len(all) == 0 {
		return nil, x.agent.missing("bundle of "+s.id.TrustDomain().Name(), errors.New("it gave none"))
	}
	return all, nil
}

// trusted are the trust domains whose authorities count.
func (x *X509) trusted(s *x509State) []spiffeid.TrustDomain {
	own := s.id.TrustDomain()
	if slices.Contains(x.domains, own) {
		return x.domains
	}
	return append([]spiffeid.TrustDomain{own}, x.domains...)
}

// Accept judges the certificates of a peer, its own first, for which Authorities vouch. One with a SPIFFE ID must be an
// X509-SVID of which the authorities of its own trust domain vouch: those of another would otherwise speak in its name. Upstream
// takes all. Rules: P-spiffe-5, P-spiffe-6.
func (x *X509) Accept(chain []*x509.Certificate) error {
	s, fault := x.agent.x509.get()
	switch {
	case s == nil:
		return x.agent.missing("bundle", fault)
	case len(chain) == 0:
		return errors.New("there is no certificate")
	case !names(chain[0]):
		if x.peers.Any() {
			return nil
		}
		return errors.New("the certificate has no SPIFFE ID, and only those of accepted_spiffe_ids are let in")
	}
	text, err := auth.WorkloadID(chain[0])
	if err != nil {
		return fmt.Errorf("the certificate is no X509-SVID of a workload: %w", err)
	}
	id, err := spiffeid.FromString(text)
	if err != nil {
		return fmt.Errorf("the certificate is no X509-SVID: %s", shortened(err.Error()))
	}
	if err := x.known(s, id); err != nil {
		return err
	}
	if _, _, err := x509svid.Verify(chain, s.bundles, x509svid.WithTime(x.agent.opt.Now())); err != nil {
		return fmt.Errorf("%s: %s", id, shortened(err.Error()))
	}
	return nil
}

// known returns why a peer of an ID cannot be one that is let in, whatever it shows.
func (x *X509) known(s *x509State, id spiffeid.ID) error {
	td := id.TrustDomain()
	switch {
	case !slices.Contains(x.trusted(s), td) || !s.bundles.Has(td):
		return fmt.Errorf("%s is of the trust domain %s, whose bundle is not in use here: name it in trust_domains, and have SPIRE federate with it", id, td)
	case !x.peers.match(id):
		return fmt.Errorf("%s is none of accepted_spiffe_ids", id)
	}
	return nil
}

// names reports whether a certificate has a SPIFFE ID, well-formed or not.
func names(c *x509.Certificate) bool {
	for _, u := range c.URIs {
		if strings.EqualFold(u.Scheme, "spiffe") {
			return true
		}
	}
	return false
}

// ByID reports whether peers are known by their SPIFFE IDs, so that the names of hosts say nothing.
func (x *X509) ByID() bool { return !x.peers.Any() }

// Changed returns a channel that is closed when something else is there than now.
func (x *X509) Changed() <-chan struct{} { return x.agent.x509.change() }

// String says for logs where this comes from, and which trust domains count.
func (x *X509) String() string {
	s, _ := x.agent.x509.get()
	if s == nil {
		return "SPIRE"
	}
	var words []string
	for _, td := range x.trusted(s) {
		if s.bundles.Has(td) {
			words = append(words, td.Name())
		} else {
			words = append(words, td.Name()+" (there is no bundle of it)")
		}
	}
	return "SPIRE: " + strings.Join(words, ", ")
}
