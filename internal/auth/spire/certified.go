package spire

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Certified judges the certificates with which clients of a listener have come, whose handshake X509.Accept has let pass, again when
// bundles change; and, if the listener demands more, what they have shown besides. It is an auth.Verifier, and safe for all.
// Rules: P-spiffe-8.
type Certified struct {
	peers *X509
	next  auth.Verifier // nil: a certificate is all that is demanded
	end   context.CancelFunc
	tasks sync.WaitGroup

	changed auth.Change // of either
}

var _ auth.Verifier = (*Certified)(nil)

// NewCertified returns a Certified, which closes next.
func NewCertified(peers *X509, next auth.Verifier) *Certified {
	c := &Certified{peers: peers, next: next}
	ctx, end := context.WithCancel(context.Background())
	c.end = end
	follow := func(changed func() <-chan struct{}) {
		now := changed()
		c.tasks.Go(func() { c.changed.Follow(ctx.Done(), now, changed) })
	}
	follow(peers.Changed)
	if next != nil {
		follow(next.Changed) // one that never changes has a nil channel, which never comes
	}
	return c
}

// proven is the Proof of an identity: what next has proven it by, and the certificates.
type proven struct {
	next  any
	chain []*x509.Certificate
}

// Verify returns whom next finds, or whose the certificate is.
func (c *Certified) Verify(ctx context.Context, s *auth.Shown) (*auth.Identity, error) {
	if err := c.peers.still(s.Certificates); err != nil {
		return nil, refusal(s.Certificates, err)
	}
	if c.next == nil {
		who := auth.OfCertificate(s.Certificates)
		who.Proof = &proven{chain: s.Certificates}
		return who, nil
	}
	who, err := c.next.Verify(ctx, s)
	if err != nil {
		return nil, err
	}
	with := *who
	with.Proof = &proven{who.Proof, s.Certificates}
	return &with, nil
}

// Again judges by the bundles of now, and by what next judges by. That a certificate has expired since is no reason to deny.
func (c *Certified) Again(ctx context.Context, who *auth.Identity) error {
	p, is := who.Proof.(*proven)
	if !is {
		return auth.Unauthorized("its listener asks for a certificate of SPIFFE now")
	}
	if err := c.peers.still(p.chain); err != nil {
		return refusal(p.chain, err)
	}
	if c.next == nil {
		return nil
	}
	without := *who
	without.Proof = p.next
	return c.next.Again(ctx, &without)
}

// refusal is that of a certificate.
func refusal(chain []*x509.Certificate, err error) *auth.Denied {
	if d := (*auth.Denied)(nil); errors.As(err, &d) {
		return d
	}
	d := &auth.Denied{Status: http.StatusUnauthorized, Reason: err.Error()}
	if who := auth.OfCertificate(chain); who != nil {
		d.Subject, d.Issuer = who.Subject, who.Issuer
	}
	return d
}

// Changed returns a channel that is closed when bundles change, or what next judges by.
func (c *Certified) Changed() <-chan struct{} { return c.changed.Next() }

// QueryToken is that of next.
func (c *Certified) QueryToken() bool { return c.next != nil && c.next.QueryToken() }

// Unwrap returns what judges besides; nil: nothing does.
func (c *Certified) Unwrap() auth.Verifier { return c.next }

// Close ends what it does in the background, and closes next.
func (c *Certified) Close() error {
	c.end()
	c.tasks.Wait()
	if c.next != nil {
		return c.next.Close()
	}
	return nil
}

// still returns why a certificate that Accept has taken is not taken any more: nobody vouches for its trust domain, or for it while it is
// good. Of one that has expired since nobody has to.
func (x *X509) still(chain []*x509.Certificate) error {
	s, fault := x.agent.x509.get()
	switch {
	case s == nil:
		return auth.Unavailable(x.agent.missing("bundle", fault).Error())
	case len(chain) == 0:
		return errors.New("there is no certificate")
	case !x.agent.opt.Now().After(chain[0].NotAfter):
		return x.accepted(chain)
	case !names(chain[0]):
		return nil
	}
	id, err := x509svid.IDFromCert(chain[0])
	if err != nil {
		return fmt.Errorf("the certificate is no X509-SVID: %s", shortened(err.Error()))
	}
	return x.known(s, id)
}

// accepted is Accept of a chain for which nobody has vouched since.
func (x *X509) accepted(chain []*x509.Certificate) error {
	if err := x.Accept(chain); err != nil {
		return err
	}
	if names(chain[0]) {
		return nil // by the bundle of its trust domain
	}
	all, err := x.Authorities()
	if err != nil {
		return err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, a := range all {
		roots.AddCert(a)
	}
	for _, b := range chain[1:] {
		between.AddCert(b)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: x.agent.opt.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err
}
