package admin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// metric is one number of router.Stats.
type metric struct {
	name, help string
	value      func(*router.Stats) float64
}

// counters count since the start.
var counters = []metric{
	{"messages_received_total", "Messages of all kinds from negotiated connections.",
		func(s *router.Stats) float64 { return float64(s.Received) }},
	{"received_bytes_total", "Bytes of all messages that arrived.",
		func(s *router.Stats) float64 { return float64(s.BytesIn) }},
	{"messages_delivered_total", "Messages handed to a receiver's socket, each receiver counted.",
		func(s *router.Stats) float64 { return float64(s.Delivered) }},
	{"delivered_bytes_total", "Bytes of the delivered messages without their headers.",
		func(s *router.Stats) float64 { return float64(s.Bytes) }},
	{"compressed_out_plain_bytes_total", "Bytes of messages that left compressed, as they were before.",
		func(s *router.Stats) float64 { return float64(s.PlainOut) }},
	{"compressed_out_bytes_total", "Bytes of messages that left compressed.",
		func(s *router.Stats) float64 { return float64(s.PackedOut) }},
	{"compressed_in_plain_bytes_total", "Bytes of messages that came compressed, once they were expanded.",
		func(s *router.Stats) float64 { return float64(s.PlainIn) }},
	{"compressed_in_bytes_total", "Bytes of messages that came compressed.",
		func(s *router.Stats) float64 { return float64(s.PackedIn) }},
	{"messages_queued_total", "Messages that had to wait for their receiver.",
		func(s *router.Stats) float64 { return float64(s.Queued) }},
	{"negotiations_total", "Connections that came to be.",
		func(s *router.Stats) float64 { return float64(s.Negotiated) }},
	{"panics_total", "Connections lost to internal errors.",
		func(s *router.Stats) float64 { return float64(s.Panics) }},
}

// gauges are of the moment.
var gauges = []metric{
	{"sockets", "Sockets of clients and nodes.",
		func(s *router.Stats) float64 { return float64(s.Sockets) }},
	{"names", "Subscriptions in the table.",
		func(s *router.Stats) float64 { return float64(s.Names) }},
	{"stalled_receivers", "Receivers whose messages are dropped until they have caught up.",
		func(s *router.Stats) float64 { return float64(s.Stalled) }},
	{"blocked_sockets", "Sockets whose kernel buffer is full.",
		func(s *router.Stats) float64 { return float64(s.Blocked) }},
	{"spilled_messages", "Messages between event loops that found no room in a ring.",
		func(s *router.Stats) float64 { return float64(s.Spilled) }},
	{"late_loops", "Event loops that have not run for three seconds.",
		func(s *router.Stats) float64 { return float64(s.Late) }},
	{"loop_behind_seconds", "How long ago the event loop ran that has not run for longest.",
		func(s *router.Stats) float64 { return s.Behind.Seconds() }},
	{"queue_messages", "Messages in the queues of receivers.",
		func(s *router.Stats) float64 { return float64(s.Waiting) }},
	{"queue_bytes", "Memory of what waits for receivers.",
		func(s *router.Stats) float64 { return float64(s.WaitingBytes) }},
	{"held_bytes", "What senders may not send because their messages wait.",
		func(s *router.Stats) float64 { return float64(s.Held) }},
	{"unfinished_bytes", "Memory of messages that have not arrived whole.",
		func(s *router.Stats) float64 { return float64(s.Unfinished) }},
}

// collector reads the counters of all services for each scrape. It asks no loop.
type collector struct {
	services    func() []Service
	counters    []*prometheus.Desc // of counters
	gauges      []*prometheus.Desc // of gauges
	connections *prometheus.Desc
	dropped     *prometheus.Desc
	refused     *prometheus.Desc
	links       *prometheus.Desc
	peers       *prometheus.Desc
	peerNames   *prometheus.Desc
	peerSync    *prometheus.Desc
	unarmed     *prometheus.Desc
	judged      *prometheus.Desc
	judging     *prometheus.Desc
	slowed      *prometheus.Desc
}

func newCollector(services func() []Service) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("slim_"+name, help, append([]string{"service"}, labels...), nil)
	}
	c := &collector{
		services:    services,
		connections: desc("connections", "Connections that are open.", "kind", "state"),
		dropped:     desc("dropped_messages_total", "Messages that died.", "reason"),
		links:       desc("links", "Links that the node opens.", "state"),
		peers:       desc("peers", "Peer links that are up.", "state"),
		peerNames:   desc("peer_names", "Names that peers tell, and that they were told, over all peer links.", "direction"),
		peerSync:    desc("peer_sync_seconds", "How long it took from the opening of a peer link until all names were told on it; the longest of those that are up."),
		refused:     desc("refused_total", "Requests, peers and sockets that were turned away.", "reason"),
		unarmed:     desc("link_credentials_failures_total", "Attempts to open a link in vain, for want of credentials to show."),
		judged:      desc("auth_requests_total", "Requests by what came of their credentials.", "listener", "mechanism", "outcome"),
		judging:     desc("auth_waiting", "Requests that are being judged, wait for that, or for a refusal that is held back.", "listener", "mechanism"),
		slowed:      desc("auth_delayed_total", "Refusals of wrong credentials that were held back.", "listener", "mechanism"),
	}
	for i := range counters {
		c.counters = append(c.counters, desc(counters[i].name, counters[i].help))
	}
	for i := range gauges {
		c.gauges = append(c.gauges, desc(gauges[i].name, gauges[i].help))
	}
	return c
}

func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range slices.Concat([]*prometheus.Desc{c.connections, c.dropped, c.refused, c.links, c.peers, c.peerNames, c.peerSync, c.unarmed, c.judged, c.judging, c.slowed}, c.counters,
		c.gauges) {
		to <- d
	}
}

func (c *collector) Collect(to chan<- prometheus.Metric) {
	for _, x := range c.services() {
		s := x.Node.Stats()
		put := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, t, v, append([]string{strings.ToValidUTF8(x.ID, "?")}, labels...)...)
		}
		for i, d := range c.counters {
			put(d, prometheus.CounterValue, counters[i].value(&s))
		}
		for i, d := range c.gauges {
			put(d, prometheus.GaugeValue, gauges[i].value(&s))
		}
		for k, n := range s.Kinds {
			put(c.connections, prometheus.GaugeValue, float64(n), table.Kind(k).String(), "active")
		}
		put(c.connections, prometheus.GaugeValue, float64(s.Negotiating), "unknown", "negotiating")
		links := make(map[router.LinkState]int)
		unarmed := uint64(0)
		for _, l := range x.Node.Links() {
			links[l.State]++
			unarmed += l.Unarmed
		}
		c.collectPeers(x.Node.Peers(), put)
		put(c.unarmed, prometheus.CounterValue, float64(unarmed))
		for _, g := range x.Node.Guards() {
			for o, n := range g.Outcomes {
				put(c.judged, prometheus.CounterValue, float64(n), g.Listener, g.Mechanism, auth.Outcome(o).String())
			}
			put(c.judging, prometheus.GaugeValue, float64(g.Waiting), g.Listener, g.Mechanism)
			put(c.slowed, prometheus.CounterValue, float64(g.Slowed), g.Listener, g.Mechanism)
		}
		for state := router.LinkWaiting; state <= router.LinkOver; state++ {
			put(c.links, prometheus.GaugeValue, float64(links[state]), state.String())
		}
		for _, r := range router.Reasons() { // zeros, too: the first of a kind is a rise, not a new series
			if n := s.Dropped[r]; n > 0 || r.Drops() {
				put(c.dropped, prometheus.CounterValue, float64(n), r.String())
			}
			if n := s.Refused[r]; n > 0 || r.Refuses() {
				put(c.refused, prometheus.CounterValue, float64(n), r.String())
			}
		}
	}
}

func (c *collector) collectPeers(all []router.Peer, put func(*prometheus.Desc, prometheus.ValueType, float64, ...string)) {
	states := map[string]int{"synced": 0, "behind": 0, "standby": 0, "probing": 0}
	learned, told, longest := 0, 0, 0.0
	for _, p := range all {
		learned, told, longest = learned+p.Learned, told+p.Told, max(longest, p.Synced.Seconds())
		states[peerState(&p)]++
	}
	for state, n := range states {
		put(c.peers, prometheus.GaugeValue, float64(n), state)
	}
	put(c.peerNames, prometheus.GaugeValue, float64(learned), "learned")
	put(c.peerNames, prometheus.GaugeValue, float64(told), "told")
	put(c.peerSync, prometheus.GaugeValue, longest)
}

// peerState is how far a peer link is.
func peerState(p *router.Peer) string {
	switch {
	case p.Standby:
		return "standby"
	case !p.Open:
		return "probing"
	case p.Behind || p.Synced == 0:
		return "behind"
	}
	return "synced"
}

// metrics serves the numbers of the services, of the program and of the Go runtime.
func (s *Server) metrics() http.Handler {
	reg := prometheus.NewRegistry()
	b := s.o.Build
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slim_build_info", Help: "What program runs; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.SHA, "goversion": b.Go}},
		func() float64 { return 1 })
	ready := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slim_ready",
		Help: "1 if clients may be sent here: what /readyz answers."},
		func() float64 {
			if s.ready() != nil {
				return 0
			}
			return 1
		})
	if s.o.Config != nil {
		reg.MustRegister(s.configMetrics()...)
	}
	if s.o.AuditDropped != nil {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "slim_audit_dropped_total",
			Help: "Events that are not in the audit log, which had no room for them or could not be written."}, func() float64 { return float64(s.o.AuditDropped()) }))
	}
	if s.o.Certificates != nil {
		reg.MustRegister(newCertificateMetrics(s.o.Certificates))
	}
	if s.o.Auth != nil {
		reg.MustRegister(newAuthMetrics(s.o.Auth))
	}
	reg.MustRegister(newCollector(s.o.Services), newControlMetrics(s.o.Services), build, ready, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: maxRequests / 2, Timeout: answerTimeout / 2})
}

// configMetrics are those of the configuration.
func (s *Server) configMetrics() []prometheus.Collector {
	gauge := func(name, help string, f func(*Config) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slim_config_" + name, Help: help}, func() float64 {
			c := s.o.Config()
			return f(&c)
		})
	}
	reloads := func(result string, f func(*Config) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "slim_config_reloads_total", Help: "Reloads of the configuration.",
			ConstLabels: prometheus.Labels{"result": result}}, func() float64 {
			c := s.o.Config()
			return float64(f(&c))
		})
	}
	return []prometheus.Collector{
		gauge("last_reload_successful", "1 if the last reload changed what it should, or there was none.", func(c *Config) float64 {
			if c.Succeeded {
				return 1
			}
			return 0
		}),
		gauge("loaded_timestamp_seconds", "When the configuration was loaded that is in effect.",
			func(c *Config) float64 { return float64(c.Loaded.UnixMilli()) / 1000 }),
		gauge("keys_need_restart", "Keys of the file that are not in effect before the node is started anew.",
			func(c *Config) float64 { return float64(len(c.NeedRestart)) }),
		reloads("ok", func(c *Config) uint64 { return c.Reloads }), reloads("failed", func(c *Config) uint64 { return c.Failures }),
	}
}
