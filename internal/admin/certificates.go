package admin

import (
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// CertificateSource is one block `tls` of the configuration that is in use: what a listener, a client or a client's proxy
// has loaded. Immutable.
type CertificateSource struct {
	Service, Key string // Key is the path of the block, below the service
	Endpoint     string

	Leaf   *x509.Certificate // that this side shows; nil: none
	Loaded time.Time         // when what is in use was loaded

	Fault    string    // why the files cannot be loaded as they are now; "": they can
	Failed   time.Time // since when
	Failures uint64    // loads that failed
}

// Certificate is a CertificateSource.
type Certificate struct {
	Service   string    `json:"service"`
	Key       string    `json:"key"`
	Endpoint  string    `json:"endpoint"`
	Subject   string    `json:"subject,omitempty"` // "": this side shows none
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	Loaded    time.Time `json:"loaded"`
	Fault     string    `json:"fault,omitempty"` // the files cannot be loaded as they are now: the old ones stay in use
	Failed    time.Time `json:"failed,omitzero"` // since when
	Failures  uint64    `json:"failures"`
}

func newCertificate(s *CertificateSource) Certificate {
	c := Certificate{Service: clean(s.Service), Key: clean(s.Key), Endpoint: clean(s.Endpoint), Loaded: s.Loaded, Fault: clean(s.Fault),
		Failed: s.Failed, Failures: s.Failures}
	if l := s.Leaf; l != nil {
		c.Subject, c.NotBefore, c.NotAfter = clean(l.Subject.String()), l.NotBefore, l.NotAfter
	}
	return c
}

// Trouble says what is wrong with it, or soon will be, in words; "": nothing.
func (c *Certificate) Trouble(now time.Time) string {
	var words []string
	left := c.NotAfter.Sub(now)
	switch {
	case c.NotAfter.IsZero():
	case left <= 0:
		words = append(words, "it has expired: the other side refuses it")
	case now.Before(c.NotBefore):
		words = append(words, "it is not good yet: the other side refuses it")
	case left < c.NotAfter.Sub(c.NotBefore)/10:
		words = append(words, "it expires in "+span(left))
	}
	if c.Fault != "" {
		words = append(words, "its files are not loaded, the old ones stay in use: "+c.Fault)
	}
	return strings.Join(words, "; ")
}

// span is a time that is not short, in one or two units.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", (d+12*time.Hour)/(24*time.Hour))
	}
	return d.Round(time.Minute).String()
}

// explain says in words what is wrong with the process as a whole.
func (st *Status) explain() (answers []string) {
	if c := st.Config; c != nil && !c.Succeeded {
		what := "everything stays as it is."
		if len(c.Faults) > 0 {
			what += " " + strings.Join(c.Faults, "; ")
		}
		answers = append(answers, fmt.Sprintf("The last reload of the configuration failed, at %s: %s", c.Tried.UTC().Format(time.TimeOnly), what))
	}
	for i := range st.Certificates {
		c := &st.Certificates[i]
		if t := c.Trouble(st.Time); t != "" {
			answers = append(answers, fmt.Sprintf("The certificate of %s (%s): %s", c.Endpoint, c.Key, t))
		}
	}
	for i := range st.Auth {
		if t := st.Auth[i].Trouble(); t != "" {
			answers = append(answers, t)
		}
	}
	return answers
}

// certificateMetrics are the numbers of certificates.
type certificateMetrics struct {
	all                          func() []CertificateSource
	notAfter, loadable, failures *prometheus.Desc
}

func newCertificateMetrics(all func() []CertificateSource) *certificateMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("slim_certificate_"+name, help, []string{"service", "key", "endpoint"}, nil)
	}
	return &certificateMetrics{all,
		desc("not_after_timestamp_seconds", "When the certificate ends that is shown by this endpoint."),
		desc("last_load_successful", "1 if the files of certificates can be loaded as they are now; 0: the old ones stay in use."),
		desc("load_failures_total", "Loads of certificates that failed.")}
}

func (m *certificateMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.notAfter
	to <- m.loadable
	to <- m.failures
}

func (m *certificateMetrics) Collect(to chan<- prometheus.Metric) {
	told := map[[3]string]bool{} // a scrape with two of the same would fail as a whole
	for _, s := range m.all() {
		labels := [3]string{strings.ToValidUTF8(s.Service, "?"), strings.ToValidUTF8(s.Key, "?"), strings.ToValidUTF8(s.Endpoint, "?")}
		if told[labels] {
			continue
		}
		told[labels] = true
		put := func(d *prometheus.Desc, t prometheus.ValueType, v float64) {
			to <- prometheus.MustNewConstMetric(d, t, v, labels[:]...)
		}
		if s.Leaf != nil {
			put(m.notAfter, prometheus.GaugeValue, float64(s.Leaf.NotAfter.Unix()))
		}
		good := 1.0
		if s.Fault != "" {
			good = 0
		}
		put(m.loadable, prometheus.GaugeValue, good)
		put(m.failures, prometheus.CounterValue, float64(s.Failures))
	}
}
