package admin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Control is what a service's end of the control channel tells. Its texts come from elsewhere.
type Control struct {
	Planes   []ControlPlane `json:"planes"`
	Links    []ControlLink  `json:"links"`    // that are ordered, and opened here
	Accepted []ControlLink  `json:"accepted"` // of other nodes, with routes
	Routes   int            `json:"routes"`   // over all links

	Commands uint64 `json:"commands"` // that were carried out
	News     uint64 `json:"news"`     // messages to control planes
	Invalid  uint64 `json:"invalid"`  // messages, and parts of commands, that make no sense
	Failures uint64 `json:"failures"` // links and routes that could not be as they were ordered
	Calls    uint64 `json:"calls"`    // of the node's own API
	Denied   uint64 `json:"denied"`   // of these
}

// ControlPlane is a control plane that the node registers with.
type ControlPlane struct {
	Endpoint      string    `json:"endpoint"`
	State         string    `json:"state"` // waiting, connecting, registering, registered
	Since         time.Time `json:"since,omitzero"`
	Attempts      uint64    `json:"attempts"`
	Registrations uint64    `json:"registrations"`
	Failure       string    `json:"failure,omitempty"` // why it is not reached
	Told          int       `json:"names_told"`
	Compared      uint64    `json:"compared"` // times that too many names had changed to be told one by one
}

// ControlLink is a link that is ordered.
type ControlLink struct {
	ID       string `json:"link_id"`
	Endpoint string `json:"endpoint"` // of one that was accepted: its node
	State    string `json:"state"`
	Failure  string `json:"failure,omitempty"`
	Leaving  bool   `json:"leaving,omitempty"` // it stays only until another one has come in its place
	Routes   int    `json:"routes"`
}

// cleaned is c as it is shown: texts that are printable and short, lists that are bounded.
func (c *Control) cleaned() *Control {
	x := *c
	x.Planes = slices.Clone(x.Planes)
	for i := range x.Planes {
		p := &x.Planes[i]
		p.Endpoint, p.Failure = clean(p.Endpoint), clean(p.Failure)
	}
	short := func(all []ControlLink) []ControlLink {
		out := append([]ControlLink{}, all[:min(len(all), mostRows)]...)
		for i := range out {
			l := &out[i]
			l.ID, l.Endpoint, l.Failure = clean(l.ID), clean(l.Endpoint), clean(l.Failure)
		}
		return out
	}
	x.Links, x.Accepted = short(x.Links), short(x.Accepted)
	return &x
}

// explain says in words what is wrong with control planes and the links that they order.
func (c *Control) explain(say func(string, ...any)) {
	for i := range c.Planes {
		if p := &c.Planes[i]; p.State != "registered" {
			why := ""
			if p.Failure != "" {
				why = " " + p.Failure
			}
			say("The control plane %s is not reached since %s: links and routes stay as they are.%s", p.Endpoint, p.Since.UTC().Format(time.TimeOnly), why)
		}
	}
	var faulty []string
	for i := range c.Links {
		if l := &c.Links[i]; l.State == "faulty" {
			faulty = append(faulty, fmt.Sprintf("%s (%s)", l.Endpoint, l.Failure))
		}
	}
	if n := len(faulty); n > 0 {
		say("%d links are ordered that cannot be opened as they are configured here: %s", n, strings.Join(faulty[:min(n, 3)], "; "))
	}
}

// controlMetrics are the numbers of control channels.
type controlMetrics struct {
	services                                                                      func() []Service
	planes, registrations, told, links, routes, commands, news, invalid, failures *prometheus.Desc
	calls, denied                                                                 *prometheus.Desc
}

func newControlMetrics(services func() []Service) *controlMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("slim_control_"+name, help, append([]string{"service"}, labels...), nil)
	}
	return &controlMetrics{
		services:      services,
		planes:        desc("plane_registered", "1 if the node is registered with the control plane.", "endpoint"),
		registrations: desc("registrations_total", "Registrations that the control plane has taken.", "endpoint"),
		told:          desc("names_told", "Names that the control plane knows to be held here.", "endpoint"),
		links:         desc("links", "Links that are ordered, and opened here.", "state"),
		routes:        desc("routes", "Routes that are set over links."),
		commands:      desc("commands_total", "Commands of control planes and of the node's own API."),
		news:          desc("news_total", "Messages with names and links to control planes."),
		invalid:       desc("invalid_total", "Messages, and parts of commands, that make no sense."),
		failures:      desc("failures_total", "Links and routes that could not be as they were ordered."),
		calls:         desc("calls_total", "Streams that the node's own control API has taken."),
		denied:        desc("calls_denied_total", "Streams that it has refused for want of the right credentials."),
	}
}

func (c *controlMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.planes, c.registrations, c.told, c.links, c.routes, c.commands, c.news, c.invalid, c.failures, c.calls, c.denied} {
		to <- d
	}
}

func (c *controlMetrics) Collect(to chan<- prometheus.Metric) {
	for _, x := range c.services() {
		if x.Control == nil {
			continue
		}
		s := x.Control()
		put := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, t, v, append([]string{strings.ToValidUTF8(x.ID, "?")}, labels...)...)
		}
		seen := map[string]bool{}
		for i := range s.Planes {
			p := &s.Planes[i]
			endpoint := strings.ToValidUTF8(p.Endpoint, "?")
			if seen[endpoint] {
				continue // a label may be there once
			}
			seen[endpoint] = true
			up := 0.0
			if p.State == "registered" {
				up = 1
			}
			put(c.planes, prometheus.GaugeValue, up, endpoint)
			put(c.registrations, prometheus.CounterValue, float64(p.Registrations), endpoint)
			put(c.told, prometheus.GaugeValue, float64(p.Told), endpoint)
		}
		states := map[string]int{"waiting": 0, "opening": 0, "up": 0, "over": 0, "faulty": 0}
		for i := range s.Links {
			states[s.Links[i].State]++
		}
		for state, n := range states {
			put(c.links, prometheus.GaugeValue, float64(n), state)
		}
		put(c.routes, prometheus.GaugeValue, float64(s.Routes))
		for _, m := range []struct {
			d *prometheus.Desc
			n uint64
		}{{c.commands, s.Commands}, {c.news, s.News}, {c.invalid, s.Invalid}, {c.failures, s.Failures}, {c.calls, s.Calls}, {c.denied, s.Denied}} {
			put(m.d, prometheus.CounterValue, float64(m.n))
		}
	}
}
