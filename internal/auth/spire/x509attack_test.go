package spire

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
)

// withURIs gives c alternative names that no URL makes: these URIs byte by byte, and localhost.
func withURIs(t *testing.T, c *x509.Certificate, uris ...string) *x509.Certificate {
	t.Helper()
	names := []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("localhost")}}
	for _, u := range uris {
		names = append(names, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(u)})
	}
	b, err := asn1.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: b}}
	return c
}

// Certificates that are no X509-SVID of a workload, or are none now, or not by an authority of the trust domain that they name, get no
// further than the handshake, whether a listener lists whom it lets in or not (X509-SVID sections 2 to 5, SPIFFE-ID section 2).
// Rules: P-spiffe-5, P-spiffe-6.
func TestForgedSVIDs(t *testing.T) {
	a, b, again := spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "b.org"), spiretest.NewDomain(t, "a.org")
	api := spiretest.Serve(t)
	api.X509(a.X509(t, "spiffe://a.org/node", b))
	agent, _ := agentOf(t, api)
	own := newX509(t, agent, nil)
	all := newX509(t, agent, []string{"b.org"})
	listed := newX509(t, agent, []string{"b.org"}, "spiffe://a.org/*")

	const app = "spiffe://a.org/app"
	leaf := func(change ...func(*x509.Certificate)) *x509.Certificate {
		c := spiretest.Leaf(t, app)
		for _, f := range change {
			f(c)
		}
		return c
	}
	id := func(uris ...string) *x509.Certificate { return withURIs(t, spiretest.Leaf(t), uris...) }
	below := func(change func(*x509.Certificate)) *spiretest.Domain { return a.Below(t, change) }
	between := below(nil)
	unknown := again.Below(t, nil).Sign(t, leaf())
	alone := between.Sign(t, leaf())
	first, err := x509.ParseCertificates(alone.X509Svid)
	if err != nil {
		t.Fatal(err)
	}
	alone.X509Svid = first[0].Raw

	for _, c := range []struct {
		name string
		svid *workload.X509SVID
		in   bool
		only bool // of a listener that lists whom it lets in: others do as upstream
	}{
		{name: "as it should be", svid: a.Sign(t, leaf()), in: true},
		{name: "as it should be, byte by byte", svid: a.Sign(t, id(app)), in: true},
		{name: "by an authority below", svid: between.Sign(t, leaf()), in: true},
		{name: "of 2,048 bytes", svid: a.Sign(t, id("spiffe://a.org/"+strings.Repeat("x", 2048-15))), in: true},
		{name: "by constraints that allow it", svid: below(func(c *x509.Certificate) {
			c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"a.org"}, true
		}).Sign(t, leaf()), in: true},

		{name: "a trust domain of no bundle", svid: a.Sign(t, id("spiffe://c.org/app"))},
		{name: "by the authority of another trust domain", svid: b.Sign(t, leaf())},
		{name: "by an authority of the same name", svid: again.Sign(t, leaf())},
		{name: "by an unknown authority below", svid: unknown},
		{name: "the authority below is not shown", svid: alone},
		{name: "no URI", svid: a.Sign(t, id()), only: true},
		{name: "a URI of another scheme", svid: a.Sign(t, id("https://a.org/app")), only: true},
		{name: "two SPIFFE IDs", svid: a.Sign(t, id(app, "spiffe://a.org/other"))},
		{name: "the same twice", svid: a.Sign(t, id(app, app))},
		{name: "a SPIFFE ID and another URI", svid: a.Sign(t, id(app, "https://a.org/app"))},
		{name: "another URI and a SPIFFE ID", svid: a.Sign(t, id("https://a.org/app", app))},
		{name: "an authority", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.IsCA = true }))},
		{name: "an authority that may sign", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign }))},
		{name: "may sign", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }))},
		{name: "may revoke", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCRLSign }))},
		{name: "no digitalSignature", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }))},
		{name: "no key usage", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.KeyUsage = 0 }))},
		{name: "not for clients", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))},
		{name: "expired", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))},
		{name: "not yet valid", svid: a.Sign(t, leaf(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }))},
		{name: "an authority below that has expired", svid: below(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }).Sign(t, leaf())},
		{name: "by one that is no authority", svid: below(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature }).Sign(t, leaf())},
		{name: "by constraints that forbid it", svid: below(func(c *x509.Certificate) {
			c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"b.org"}, true
		}).Sign(t, leaf())},
		{name: "by constraints that exclude it", svid: below(func(c *x509.Certificate) {
			c.ExcludedURIDomains, c.PermittedDNSDomainsCritical = []string{"a.org"}, true
		}).Sign(t, leaf())},
		{name: "a critical extension that nobody knows", svid: a.Sign(t, leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Critical: true, Value: []byte{5, 0}}}
		}))},

		{name: "no path", svid: a.Sign(t, id("spiffe://a.org"))},
		{name: "an empty path", svid: a.Sign(t, id("spiffe://a.org/"))},
		{name: "a slash at the end", svid: a.Sign(t, id(app+"/"))},
		{name: "two slashes", svid: a.Sign(t, id("spiffe://a.org//app"))},
		{name: "a dot", svid: a.Sign(t, id("spiffe://a.org/./app"))},
		{name: "two dots", svid: a.Sign(t, id("spiffe://a.org/x/../app"))},
		{name: "a query", svid: a.Sign(t, id(app+"?x=y"))},
		{name: "an empty query", svid: a.Sign(t, id(app+"?"))},
		{name: "a fragment", svid: a.Sign(t, id(app+"#x"))},
		{name: "an empty fragment", svid: a.Sign(t, id(app+"#"))},
		{name: "a user", svid: a.Sign(t, id("spiffe://x@a.org/app"))},
		{name: "a user and a password", svid: a.Sign(t, id("spiffe://x:y@a.org/app"))},
		{name: "an empty user", svid: a.Sign(t, id("spiffe://@a.org/app"))},
		{name: "a port", svid: a.Sign(t, id("spiffe://a.org:443/app"))},
		{name: "an empty port", svid: a.Sign(t, id("spiffe://a.org:/app"))},
		{name: "a scheme of upper case", svid: a.Sign(t, id("SPIFFE://a.org/app"))},
		{name: "a trust domain of upper case", svid: a.Sign(t, id("spiffe://A.org/app"))},
		{name: "a dot at the end of the trust domain", svid: a.Sign(t, id("spiffe://a.org./app"))},
		{name: "no trust domain", svid: a.Sign(t, id("spiffe:///app"))},
		{name: "no slashes", svid: a.Sign(t, id("spiffe:a.org/app"))},
		{name: "an address for a trust domain", svid: a.Sign(t, id("spiffe://[::1]/app"))},
		{name: "a percent in the path", svid: a.Sign(t, id("spiffe://a.org/%61pp"))},
		{name: "a slash as percent", svid: a.Sign(t, id("spiffe://a.org/x%2fapp"))},
		{name: "a percent in the trust domain", svid: a.Sign(t, id("spiffe://%61.org/app"))},
		{name: "a percent in the scheme", svid: a.Sign(t, id("%73piffe://a.org/app"))},
		{name: "a letter of no ASCII", svid: a.Sign(t, id("spiffe://a.org/\xc3\xa4pp"))},
		{name: "a NUL", svid: a.Sign(t, id(app+"\x00"))},
		{name: "a space in front", svid: a.Sign(t, id(" "+app))},
		{name: "a line end", svid: a.Sign(t, id(app+"\n"))},
		{name: "a star", svid: a.Sign(t, id("spiffe://a.org/*"))},
		{name: "of 2,049 bytes", svid: a.Sign(t, id("spiffe://a.org/"+strings.Repeat("x", 2049-15)))},
		{name: "a trust domain of 256 bytes", svid: a.Sign(t, id("spiffe://"+strings.Repeat("a", 256)+"/app"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, err := x509.ParsePKCS8PrivateKey(c.svid.X509SvidKey)
			if err != nil {
				t.Fatal(err)
			}
			own, chain := own, tls.Certificate{PrivateKey: key}
			for rest := c.svid.X509Svid; len(rest) > 0; {
				var one asn1.RawValue
				if rest, err = asn1.Unmarshal(rest, &one); err != nil {
					t.Fatal(err)
				}
				chain.Certificate = append(chain.Certificate, one.FullBytes)
			}
			for _, peers := range []*X509{all, listed} {
				if c.only && peers == all {
					continue
				}
				serverErr, clientErr := handshake(t, listener(t, own, peers).Server(), &tls.Config{RootCAs: a.Roots(), ServerName: "localhost",
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &chain, nil }})
				if got := serverErr == nil; got != c.in {
					t.Errorf("let in %v, want %v; whoever is listed %v: %v, %v", got, c.in, peers == listed, serverErr, clientErr)
				}
			}
		})
	}
}

// Whose certificate is of an authority that no trust domain has is its SPIFFE ID only if the certificate is an X509-SVID: rules for
// spiffe://… are for nobody else. Rules: P-auth-4.
func TestSubjectsOfCertificates(t *testing.T) {
	d := spiretest.NewDomain(t, "a.org")
	const app = "spiffe://a.org/app"
	for name, c := range map[string]struct {
		ids    []string
		change func(*x509.Certificate)
		want   string
	}{
		"an X509-SVID":             {[]string{app}, nil, app},
		"none":                     {nil, nil, "O=SPIRE"},
		"two":                      {[]string{app, app}, nil, "O=SPIRE"},
		"an authority":             {[]string{app}, func(c *x509.Certificate) { c.IsCA = true }, "O=SPIRE"},
		"may sign":                 {[]string{app}, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, "O=SPIRE"},
		"no digitalSignature":      {[]string{app}, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, "O=SPIRE"},
		"a trust domain":           {[]string{"spiffe://a.org"}, nil, "O=SPIRE"},
		"two dots":                 {[]string{"spiffe://a.org/x/../app"}, nil, "O=SPIRE"},
		"a port":                   {[]string{"spiffe://a.org:1/app"}, nil, "O=SPIRE"},
		"a query":                  {[]string{app + "?x"}, nil, "O=SPIRE"},
		"an empty fragment":        {[]string{app + "#"}, nil, "O=SPIRE"},
		"a scheme of upper case":   {[]string{"SPIFFE://a.org/app"}, nil, "O=SPIRE"},
		"a domain of upper case":   {[]string{"spiffe://A.org/app"}, nil, "O=SPIRE"},
		"a percent":                {[]string{"spiffe://a.org/%61pp"}, nil, "O=SPIRE"},
		"longer than 2,048 bytes":  {[]string{app + strings.Repeat("p", 2048)}, nil, "O=SPIRE"},
		"a domain above 255 bytes": {[]string{"spiffe://" + strings.Repeat("a", 256) + "/app"}, nil, "O=SPIRE"},
	} {
		leaf := withURIs(t, spiretest.Leaf(t), c.ids...)
		if c.change != nil {
			c.change(leaf)
		}
		chain, err := x509.ParseCertificates(d.Sign(t, leaf).X509Svid)
		if err != nil {
			t.Fatal(err)
		}
		if who := auth.OfCertificate(chain); who.Subject != c.want {
			t.Errorf("%s: %q, want %q", name, who.Subject, c.want)
		}
	}
}
