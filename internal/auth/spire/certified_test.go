package spire

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
)

// refusedWith is the status of a refusal; 0: there is none.
func refusedWith(err error) int {
	if d := denied(err); d != nil {
		return d.Status
	}
	return 0
}

// Certificates are judged again by the bundles of now, together with what is shown besides. Rules: P-spiffe-8.
func TestCertified(t *testing.T) {
	t.Parallel()
	a, next, b := spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "b.org")
	api := spiretest.Serve(t)
	api.X509(a.X509(t, "spiffe://a.org/node", b))
	api.Bundles(spiretest.Bundles(t, a))
	now := time.Now()
	all := NewAgents(Options{Now: func() time.Time { return now }, pace: quick})
	t.Cleanup(all.Close)
	agent, err := all.At(api.Address())
	if err != nil {
		t.Fatal(err)
	}
	x := newX509(t, agent, []string{"b.org"})
	alone, both := NewCertified(x, nil), NewCertified(x, newVerifier(t, agent))
	t.Cleanup(func() { _, _ = alone.Close(), both.Close() })
	chain := func(d *spiretest.Domain, ids ...string) []*x509.Certificate {
		c, err := x509.ParseCertificates(d.Sign(t, spiretest.Leaf(t, ids...)).X509Svid)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	come := func(v *Certified, s *auth.Shown) *auth.Identity {
		t.Helper()
		who, err := v.Verify(soon(t), s)
		if err != nil {
			t.Fatal(err)
		}
		return who
	}
	ours, theirs, nameless := chain(a, "spiffe://a.org/app"), chain(b, "spiffe://b.org/app"), chain(a)
	whoOurs, whoTheirs, whoNone := come(alone, &auth.Shown{Certificates: ours}), come(alone, &auth.Shown{Certificates: theirs}), come(alone, &auth.Shown{Certificates: nameless})
	if whoOurs.Mechanism != auth.MTLS || whoOurs.Subject != "spiffe://a.org/app" {
		t.Errorf("%+v", whoOurs)
	}
	token := "Bearer " + a.Token(t, spiretest.Claims("spiffe://a.org/x", 2*time.Hour, "slim"))
	whoBoth := come(both, &auth.Shown{Certificates: theirs, Authorization: token})
	if whoBoth.Mechanism != auth.SPIRE || whoBoth.Subject != "spiffe://a.org/x" {
		t.Errorf("%+v", whoBoth)
	}
	for _, s := range []*auth.Shown{{Certificates: theirs}, {Authorization: token}, {Certificates: theirs, Authorization: "Bearer x"}} {
		if _, err := both.Verify(soon(t), s); refusedWith(err) != 401 {
			t.Errorf("%+v: %v", s, err)
		}
	}

	become := func(d *spiretest.Domain, federated ...*spiretest.Domain) {
		t.Helper()
		changed, too := alone.Changed(), both.Changed()
		api.X509(d.X509(t, "spiffe://a.org/node", federated...))
		wait(t, "other bundles", changed)
		wait(t, "other bundles, beside tokens", too)
	}
	again := func(what string, v *Certified, who *auth.Identity, status int, says string) {
		t.Helper()
		err := v.Again(soon(t), who)
		if refusedWith(err) != status || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want status %d", what, err, status)
		}
	}
	again("the same bundles", alone, whoOurs, 0, "")
	again("the same bundles, beside a token", both, whoBoth, 0, "")
	again("without an ID", alone, whoNone, 0, "")
	become(a)
	again("a trust domain that is gone", alone, whoTheirs, 401, "whose bundle is not in use")
	again("a trust domain that is gone, beside a token", both, whoBoth, 401, "whose bundle is not in use")
	again("the other one", alone, whoOurs, 0, "")
	become(next, b)
	again("it is back", alone, whoTheirs, 0, "")
	again("an authority that is gone", alone, whoOurs, 401, "spiffe://a.org/app")
	again("an authority that is gone, without an ID", alone, whoNone, 401, "")
	now = now.Add(90 * time.Minute) // certificates have expired, the token not
	again("an authority that is gone, later", alone, whoOurs, 0, "")
	again("an authority that is gone, without an ID, later", alone, whoNone, 0, "")
	again("beside a token that is good", both, whoBoth, 0, "")
	changed := both.Changed()
	api.Bundles(&workload.JWTBundlesResponse{Bundles: map[string][]byte{"spiffe://b.org": b.Keys(t)}})
	wait(t, "other keys of tokens", changed)
	again("a token whose trust domain is gone", both, whoBoth, 401, "trust domain a.org")
	again("somebody else's identity", alone, &auth.Identity{}, 401, "asks for a certificate")
	again("somebody of before", both, come(alone, &auth.Shown{Certificates: chain(b, "spiffe://b.org/late")}), 401, "asks for a JWT-SVID")

	far, err := all.At("unix:///nowhere")
	if err != nil {
		t.Fatal(err)
	}
	away := NewCertified(newX509(t, far, nil), nil)
	t.Cleanup(func() { _ = away.Close() })
	again("an API that is away", away, whoOurs, 503, "no bundle yet")
}
