package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/admin"
	"github.com/seed31b3bfd0/slimgo/internal/agent"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

// node is what the command needs of a running data plane.
type node interface {
	admin.Node
	agent.Node
	Addrs() []net.Addr // in the order of router.Options.Listen
	Prepare(context.Context, router.Setup) (change, error)
	Shutdown(context.Context) error
}

// change is a router.Change.
type change interface {
	Kept() []int
	Commit()
	Abandon()
}

// dataPlane is a router.Node as the command needs it.
type dataPlane struct{ *router.Node }

func (d dataPlane) Prepare(ctx context.Context, s router.Setup) (change, error) {
	c, err := d.Node.Prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func startNode(ctx context.Context, o router.Options) (node, error) {
	n, err := router.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return dataPlane{n}, nil
}

// service is one started service of the configuration.
type service struct {
	*config.Service // as it runs
	node            node
	span            string       // of log lines
	endpoints       []string     // as logged
	log             *slog.Logger // of target slim_service::service
	datapath        *slog.Logger // of target slim_datapath::message_processing
	answers         *slog.Logger // likewise, for what was asked for: not filtered
	runner          *slog.Logger // nil: stop without saying which service
	cancel          context.CancelFunc
	secured         []*secured    // of its listeners, in order; nil: no TLS
	verified        []*verified   // of its listeners, in order
	links           []*activeLink // that it dials
	peers           *peerLinks    // nil: it has no peers of its own accord
	names           names         // rules for them
	controller      *controller   // nil: it has none
	controllerLog   *slog.Logger
}

func (p *program) startService(ctx context.Context, c *config.Config, i int, f *flags, log logs) (*service, error) {
	s := &service{Service: &c.Services[i]}
	s.span = "application_lifecycle:run{service_id=" + s.ID + "}"
	s.log = log.With(cli.KeyTarget, "slim_service::service")
	s.controllerLog = log.With(cli.KeySpan, s.span, cli.KeyThread, c.Runtime.ThreadName)
	node := []any{cli.KeyTarget, "slim_datapath::message_processing", cli.KeySpan, s.span, cli.KeyThread, c.Runtime.ThreadName}
	s.datapath, s.answers = log.With(node...), log.unfiltered.With(node...)

	var faults []error
	if s.secured, faults = p.secure(c, s.Service, nil); len(faults) > 0 {
		return nil, faults[0]
	}
	if s.verified, faults = p.verifiers(c, s.Service, nil); len(faults) > 0 {
		closeVerified(s.verified, nil)
		return nil, faults[0]
	}
	links, _, faults := p.links(c, s.Service, nil)
	if len(faults) > 0 {
		closeVerified(s.verified, nil)
		closeLinks(links)
		return nil, faults[0]
	}
	static, faults := p.staticPeers(c, s.Service)
	all := slices.AppendSeq(slices.Clone(links), maps.Values(static))
	if len(faults) > 0 {
		closeVerified(s.verified, nil)
		closeLinks(all)
		return nil, faults[0]
	}
	if s.names, faults = authorize(c, s.Service, nil); len(faults) > 0 {
		closeVerified(s.verified, nil)
		closeLinks(all)
		return nil, faults[0]
	}
	ctx, s.cancel = context.WithCancel(ctx)
	o := nodeOptions(s.Service, f, s.secured, s.verified, s.datapath)
	if p.audit != nil {
		o.Audit = p.audit
	}
	o.Authorization = s.names.set
	n, err := p.start(ctx, o)
	if err != nil {
		s.cancel()
		closeVerified(s.verified, nil)
		closeLinks(all)
		return nil, startFailure(c, s.Service, err)
	}
	s.node = n
	s.endpoints = s.bound()
	for _, e := range s.endpoints {
		s.started(e)
	}
	for _, k := range s.secured {
		p.showLoaded(s, log.Logger, k)
	}
	for _, l := range all {
		for _, k := range l.secured {
			p.showLoaded(s, log.Logger, k)
		}
	}
	s.tellAuth(log.Logger)
	for _, l := range all {
		s.tellOpen(log.Logger, l)
	}
	if err := s.dial(links, nil); err != nil {
		s.cancel()
		_ = n.Shutdown(ctx)
		closeVerified(s.verified, nil)
		closeLinks(all)
		return nil, startFailure(c, s.Service, err)
	}
	s.peers = p.newPeerLinks(s, static, s.peerLog(log.Logger))
	s.peers.begin(ctx)
	if s.controller, err = p.control(c, s, f); err != nil { // last, as upstream: messages do not wait for a control plane
		s.cancel()
		s.peers.wait()
		_ = n.Shutdown(ctx)
		closeVerified(s.verified, nil)
		closeLinks(all)
		return nil, err
	}
	return s, nil
}

// showLoaded says what certificate is shown; k may be nil.
func (p *program) showLoaded(s *service, log *slog.Logger, k *secured) {
	if k != nil {
		k.show(log.With(cli.KeyTarget, "slim_config::tls", cli.KeySpan, s.span), "certificates loaded", p.now())
	}
}

// bound are the endpoints that the service listens on, as they are logged.
func (s *service) bound() (all []string) {
	addrs := s.node.Addrs()
	for i, server := range s.Dataplane.Servers {
		endpoint := server.Endpoint
		if i < len(addrs) {
			endpoint = taken(endpoint, addrs[i])
		}
		all = append(all, endpoint)
	}
	return all
}

func (s *service) started(endpoint string) {
	s.log.With(cli.KeySpan, s.span+":run_server{service_id="+s.ID+"}").Info("dataplane server started", "endpoint", endpoint)
}

// dial opens links. Those that come in the place of one of old wait for its end.
func (s *service) dial(links []*activeLink, old []*activeLink) error {
	for _, l := range links {
		for _, o := range old {
			if o.client.Endpoint == l.client.Endpoint || o.client.LinkID != "" && o.client.LinkID == l.client.LinkID {
				l.link.After = o.dialer
			}
		}
		d, err := s.node.Dial(l.link)
		if err != nil {
			return err
		}
		l.dialer = d
		l.link = router.Link{} // the dialer has it
		s.links = append(s.links, l)
		s.log.With(cli.KeySpan, s.span).Info("dataplane client started", "endpoint", l.endpoint)
	}
	return nil
}

// taken is an endpoint with the port that was taken where it has port 0, which says nothing to whoever reads the log.
func taken(endpoint string, bound net.Addr) string {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	if !ok {
		scheme, rest = "", endpoint
	}
	host, path := rest, ""
	if at := strings.IndexByte(rest, '/'); at >= 0 {
		host, path = rest[:at], rest[at:]
	}
	if _, port, err := net.SplitHostPort(host); err != nil || port != "0" || scheme == "unix" {
		return endpoint
	}
	if ok {
		scheme += "://"
	}
	return scheme + bound.String() + path
}

// nodeOptions maps one service and the flags to a node. What upstream reads from the first server only is the first
// server's here, too.
func nodeOptions(s *config.Service, f *flags, all []*secured, of []*verified, log *slog.Logger) router.Options {
	r := rules(s, f)
	o := router.Options{
		Loops: f.loops, ReadBuffer: f.readBuffer, ConnBuffer: f.connBuffer,
		SlowConsumer: r.SlowConsumer, StallTimeout: f.stallTimeout, StallRate: f.stallRate, HoldTimeout: f.holdTimeout,
		MaxSubscriptions: f.maxSubscriptions, MaxHeader: f.maxHeader, HeaderMemory: f.headerMemory,
		MaxNames: f.maxNames, MaxNameBytes: f.maxNameBytes,
		MaxSockets: f.maxSockets, MaxConnections: f.maxConnections,
		MaxUnfinished: f.maxUnfinished, MaxQueued: f.maxQueued,
		AcceptKinds: f.acceptKinds, MaxPeers: f.maxPeers, MaxRemotes: f.maxRemotes, NoCompression: f.noCompression,

		NodeID: s.NodeID, Deployment: s.Domain,
		AllowUnsigned: r.AllowUnsigned, EnforcePQC: r.EnforcePQC,
		RelayPeerPublishes: s.Peers == nil,

		NegotiationTimeout: r.NegotiationTimeout,
		Log:                log,
	}
	for i, e := range endpoints(s, all, of) {
		o.Listen, o.Limits = append(o.Listen, e.Addr), append(o.Limits, e.Limits)
		if e.Auth.Verifier != nil {
			if o.Auth == nil {
				o.Auth = make([]router.Auth, len(s.Dataplane.Servers))
			}
			o.Auth[i] = e.Auth
		}
		if e.TLS != nil {
			if o.TLS == nil {
				o.TLS = make([]*tls.Config, len(s.Dataplane.Servers))
			}
			o.TLS[i] = e.TLS
		}
	}
	return o
}

// endpoints are what a service listens on; all is the TLS of each, and of who may come.
func endpoints(s *config.Service, all []*secured, of []*verified) (out []router.Endpoint) {
	for i := range s.Dataplane.Servers {
		server := &s.Dataplane.Servers[i]
		e := router.Endpoint{Addr: server.Endpoint, Limits: limits(server), Auth: of[i].routerAuth()}
		if all[i] != nil {
			e.TLS = all[i].keeper.Server()
		}
		out = append(out, e)
	}
	return out
}

// rules are what can change of a service while it runs, beside its endpoints. Rules: P-conf-13, P-conf-26.
func rules(s *config.Service, f *flags) router.Rules {
	first := config.Server{RequireHeaderMAC: true}
	if len(s.Dataplane.Servers) > 0 {
		first = s.Dataplane.Servers[0]
	}
	r := router.Rules{SlowConsumer: f.slowConsumer, AllowUnsigned: !first.RequireHeaderMAC, EnforcePQC: s.Dataplane.EnforcePQC,
		NegotiationTimeout: seconds(first.NegotiationTimeout)}
	if p, err := router.ParsePolicy(first.SlowConsumer); err == nil && !f.slowConsumerSet {
		r.SlowConsumer = p
	}
	return r
}

// limits are what is special to a server.
func limits(s *config.Server) router.Limits {
	l := router.Limits{KeepaliveTime: positive(s.Keepalive.Time), KeepaliveTimeout: positive(s.Keepalive.Timeout),
		MaxAge: s.Keepalive.MaxAge, Origins: s.AllowedOrigins}
	if v := s.MaxFrameSize; v != nil {
		l.MaxFrameSize = uint32(*v) << 20
	}
	if v := s.MaxHeaderList; v != nil {
		l.MaxHeaderList = uint32(*v)
	}
	if v := s.MaxStreams; v != nil {
		l.MaxStreams = uint32(*v)
	}
	return l
}

func seconds(n uint64) time.Duration {
	const most = 1 << 31 // 68 years
	return time.Duration(min(n, most)) * time.Second
}

// positive keeps a configured zero from meaning "the default".
func positive(d time.Duration) time.Duration { return max(d, time.Nanosecond) }

// startFailure words the refusal of a node as upstream does, with the place of the endpoint it is about.
func startFailure(c *config.Config, s *config.Service, err error) error {
	f := &failure{context: []string{"failed to start service"}, cause: err}
	var listen *router.ListenError
	if !errors.As(err, &listen) {
		f.cause = fmt.Errorf("%s: %w", s.ID, err)
		return f
	}
	f.context = append(f.context, "datapath error", "configuration error", "bind error")
	f.cause = endpointFault(c, s, listen)
	return f
}

// endpointFault is why an endpoint cannot be listened on, with its place.
func endpointFault(c *config.Config, s *config.Service, err *router.ListenError) error {
	r := config.Reason{Position: s.Dataplane.Servers[err.Index].Position, Text: err.Error(),
		Path: fmt.Sprintf("services.%s.dataplane.servers[%d].endpoint", s.ID, err.Index)}
	if r.Position.Line > 0 {
		r.File = c.File
	}
	return &placed{r, err}
}
