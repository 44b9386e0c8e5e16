package admin

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"
)

func leafUntil(now time.Time, before, after time.Duration) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: "node"}, NotBefore: now.Add(-before), NotAfter: now.Add(after)}
}

// When certificates end, and that one cannot be loaded, is in the numbers, the lists, and words.
func TestCertificatesAreTold(t *testing.T) {
	now := time.Now()
	const day = 24 * time.Hour
	all := []CertificateSource{
		{Service: "slim/0", Key: "dataplane.servers[0].tls", Endpoint: "https://a:1", Leaf: leafUntil(now, 80*day, 10*day), Loaded: now},
		{Service: "slim/0", Key: "dataplane.servers[1].tls", Endpoint: "https://b:1", Leaf: leafUntil(now, 85*day, 5*day+time.Hour),
			Fault: "source.key: /key.pem: no such file", Failed: now, Failures: 3},
		{Service: "slim/0", Key: "dataplane.clients[0].tls", Endpoint: "https://c:1"},
		{Service: "slim/0", Key: "dataplane.clients[0].tls", Endpoint: "https://c:1"}, // twice: a scrape must not fail for that
		{Service: "slim/0", Key: "dataplane.clients[1].tls", Endpoint: "https://d:1", Leaf: leafUntil(now, 2*day, -day)},
		{Service: "slim/0", Key: "dataplane.clients[2].tls", Endpoint: "https://e:1", Leaf: leafUntil(now, -day, 9*day)},
	}
	s := serve(t, &fakeNode{}, func(o *Options) { o.Certificates = func() []CertificateSource { return all } })
	code, body, _ := get(t, s, "/metrics", "")
	for _, want := range []string{
		`slim_certificate_not_after_timestamp_seconds{endpoint="https://a:1",key="dataplane.servers[0].tls",service="slim/0"} `,
		`slim_certificate_last_load_successful{endpoint="https://a:1",key="dataplane.servers[0].tls",service="slim/0"} 1`,
		`slim_certificate_last_load_successful{endpoint="https://b:1",key="dataplane.servers[1].tls",service="slim/0"} 0`,
		`slim_certificate_load_failures_total{endpoint="https://b:1",key="dataplane.servers[1].tls",service="slim/0"} 3`,
		`slim_certificate_last_load_successful{endpoint="https://c:1",key="dataplane.clients[0].tls",service="slim/0"} 1`,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("%d, no %s", code, want)
		}
	}
	if n := strings.Count(body, "\nslim_certificate_not_after"); n != 4 {
		t.Errorf("%d ends of certificates, want those of four", n)
	}
	st := s.look(t.Context(), "", 10)
	if c := st.Certificates; len(c) != 6 || c[0].Subject != "CN=node" || !c[0].NotAfter.Equal(all[0].Leaf.NotAfter) || c[1].Failures != 3 || c[2].Subject != "" {
		t.Errorf("%+v", c)
	}
	want := []string{
		"The certificate of https://b:1 (dataplane.servers[1].tls): it expires in 5 days; its files are not loaded, the old ones stay in use: source.key: /key.pem: no such file",
		"The certificate of https://d:1 (dataplane.clients[1].tls): it has expired: the other side refuses it",
		"The certificate of https://e:1 (dataplane.clients[2].tls): it is not good yet: the other side refuses it",
	}
	if got := strings.Join(st.Answers, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("answers\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// A reload that has failed is told in words.
func TestFailedReloadIsTold(t *testing.T) {
	c := Config{File: "node.yaml", Tried: time.Unix(3600, 0), Faults: []string{"node.yaml:1:2: tracing: bad"}}
	st := serve(t, &fakeNode{}, func(o *Options) { o.Config = func() Config { return c } }).look(t.Context(), "", 10)
	want := "The last reload of the configuration failed, at 01:00:00: everything stays as it is. node.yaml:1:2: tracing: bad"
	if len(st.Answers) != 1 || st.Answers[0] != want {
		t.Errorf("%q, want %q", st.Answers, want)
	}
}
