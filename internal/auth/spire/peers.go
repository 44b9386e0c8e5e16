package spire

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Peers are the SPIFFE IDs that are let in; empty: all. Immutable. Rules: P-spiffe-6.
type Peers struct{ all []peer }

// peer is one ID, or all below one.
type peer struct {
	id    spiffeid.ID
	below bool
}

// ParsePeers reads patterns: a SPIFFE ID, or one that ends with /*, which stands for all IDs below it.
func ParsePeers(patterns []string) (Peers, error) {
	var p Peers
	for _, text := range patterns {
		bare, below := strings.CutSuffix(text, "/*")
		id, err := spiffeid.FromString(bare)
		if err != nil {
			return Peers{}, fmt.Errorf("%q is no SPIFFE ID: %w; want spiffe://DOMAIN/PATH, or /* at its end for all below it", text, err)
		}
		if id.Path() == "" && !below {
			return Peers{}, fmt.Errorf("%q names no workload: write %s/* for all of the trust domain", text, text)
		}
		p.all = append(p.all, peer{id, below})
	}
	return p, nil
}

// Any reports whether all are let in.
func (p Peers) Any() bool { return len(p.all) == 0 }

// match reports whether id is let in.
func (p Peers) match(id spiffeid.ID) bool {
	for _, x := range p.all {
		if !x.below && id == x.id || x.below && id.MemberOf(x.id.TrustDomain()) && strings.HasPrefix(id.Path(), x.id.Path()+"/") {
			return true
		}
	}
	return p.Any()
}

// parseDomains reads the names of trust domains.
func parseDomains(names []string) ([]spiffeid.TrustDomain, error) {
	var all []spiffeid.TrustDomain
	for _, name := range names {
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, fmt.Errorf("%q is no trust domain: %w; want a name such as example.org", name, err)
		}
		all = append(all, td)
	}
	return all, nil
}
