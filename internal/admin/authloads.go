package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// AuthSource is something that authentication stands on and that may change while the node runs: what a listener judges by, or a
// client shows. Immutable.
type AuthSource struct {
	Service, Key string // Key is the path of the block `auth`, below the service; both are empty for what all of them share
	Endpoint     string
	What         string // "keys", "policy", "token", …

	auth.Loads
}

// AuthMaterial is an AuthSource.
type AuthMaterial struct {
	Service  string    `json:"service,omitempty"`
	Key      string    `json:"key,omitempty"`
	Endpoint string    `json:"endpoint"`
	What     string    `json:"what"`
	Loaded   time.Time `json:"loaded,omitzero"`
	Fault    string    `json:"fault,omitempty"` // it cannot be loaded as it is now: what was there before stays in use
	Failed   time.Time `json:"failed,omitzero"` // since when
	Failures uint64    `json:"failures"`
}

func newAuthMaterial(s *AuthSource) AuthMaterial {
	m := AuthMaterial{Service: clean(s.Service), Key: clean(s.Key), Endpoint: clean(s.Endpoint), What: clean(s.What), Loaded: s.Loaded,
		Failed: s.Failed, Failures: s.Failures}
	if s.Fault != nil {
		m.Fault = clean(s.Fault.Error())
	}
	return m
}

// Trouble says what is wrong with it, in words; "": nothing.
func (m *AuthMaterial) Trouble() string {
	if m.Fault == "" {
		return ""
	}
	of := m.Endpoint
	if m.Key != "" {
		of += " (" + m.Key + ")"
	}
	uses := "what was loaded before stays in use"
	if m.Loaded.IsZero() {
		uses = "there is none to use"
	}
	return fmt.Sprintf("The %s of %s cannot be loaded since %s, and %s: %s", m.What, of, m.Failed.UTC().Format(time.RFC3339), uses, m.Fault)
}

// authMetrics are the numbers of all AuthSources.
type authMetrics struct {
	all                        func() []AuthSource
	loadable, failures, loaded *prometheus.Desc
}

func newAuthMetrics(all func() []AuthSource) *authMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("slim_auth_"+name, help, []string{"service", "key", "endpoint", "what"}, nil)
	}
	return &authMetrics{all,
		desc("last_load_successful", "1 if what authentication stands on can be loaded as it is now; 0: what was there before stays in use."),
		desc("load_failures_total", "Loads of what authentication stands on that failed."),
		desc("loaded_timestamp_seconds", "When what is in use was loaded.")}
}

func (m *authMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.loadable
	to <- m.failures
	to <- m.loaded
}

func (m *authMetrics) Collect(to chan<- prometheus.Metric) {
	told := map[[4]string]bool{} // a scrape with two of the same would fail as a whole
	for _, s := range m.all() {
		labels := [4]string{s.Service, s.Key, s.Endpoint, s.What}
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "?")
		}
		if told[labels] {
			continue
		}
		told[labels] = true
		put := func(d *prometheus.Desc, t prometheus.ValueType, v float64) {
			to <- prometheus.MustNewConstMetric(d, t, v, labels[:]...)
		}
		good := 1.0
		if s.Fault != nil {
			good = 0
		}
		put(m.loadable, prometheus.GaugeValue, good)
		put(m.failures, prometheus.CounterValue, float64(s.Failures))
		if !s.Loaded.IsZero() {
			put(m.loaded, prometheus.GaugeValue, float64(s.Loaded.UnixMilli())/1000)
		}
	}
}
