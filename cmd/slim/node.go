package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/admin"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

// node is what the command needs of a running data plane.
type node interface {
	admin.Node
	Addrs() []net.Addr // in the order of router.Options.Listen
	Dial(router.Link) (*router.Dialer, error)
	Shutdown(context.Context) error
}

func startNode(ctx context.Context, o router.Options) (node, error) {
	n, err := router.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// service is one started service of the configuration.
type service struct {
	*config.Service
	node      node
	endpoints []string     // as logged
	log       *slog.Logger // of target slim_service::service
	datapath  *slog.Logger // of target slim_datapath::message_processing
	answers   *slog.Logger // likewise, for what was asked for: not filtered
	runner    *slog.Logger // nil: stop without saying which service
	cancel    context.CancelFunc
	secured   []secured // its listeners with TLS
}

func (p *program) startService(ctx context.Context, c *config.Config, i int, f *flags, log logs) (*service, error) {
	s := &service{Service: &c.Services[i]}
	span := "application_lifecycle:run{service_id=" + s.ID + "}"
	s.log = log.With(cli.KeyTarget, "slim_service::service")
	node := []any{cli.KeyTarget, "slim_datapath::message_processing", cli.KeySpan, span, cli.KeyThread, c.Runtime.ThreadName}
	s.datapath, s.answers = log.With(node...), log.unfiltered.With(node...)

	o := nodeOptions(s.Service, f, s.datapath)
	var err error
	if s.secured, o.TLS, err = p.secure(c, s.Service); err != nil {
		return nil, err
	}
	links, clients, err := p.links(c, s.Service)
	if err != nil {
		return nil, err
	}
	s.secured = append(s.secured, clients...)
	ctx, s.cancel = context.WithCancel(ctx)
	n, err := p.start(ctx, o)
	if err != nil {
		s.cancel()
		return nil, startFailure(c, s.Service, err)
	}
	s.node = n
	addrs := n.Addrs()
	for j, server := range s.Dataplane.Servers {
		endpoint := server.Endpoint
		if j < len(addrs) {
			endpoint = taken(endpoint, addrs[j])
		}
		s.endpoints = append(s.endpoints, endpoint)
		s.log.With(cli.KeySpan, span+":run_server{service_id="+s.ID+"}").Info("dataplane server started", "endpoint", endpoint)
	}
	for i := range s.secured {
		s.secured[i].show(log.With(cli.KeyTarget, "slim_config::tls", cli.KeySpan, span), "certificates loaded", p.now())
	}
	for _, l := range links {
		if _, err := n.Dial(l); err != nil {
			s.cancel()
			_ = n.Shutdown(ctx)
			return nil, startFailure(c, s.Service, err)
		}
		s.log.With(cli.KeySpan, span).Info("dataplane client started", "endpoint", l.Endpoint)
	}
	s.log.With(cli.KeySpan, span).Info("no controller configuration provided, skipping controller startup")
	return s, nil
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
func nodeOptions(s *config.Service, f *flags, log *slog.Logger) router.Options {
	first := config.Server{RequireHeaderMAC: true}
	if len(s.Dataplane.Servers) > 0 {
		first = s.Dataplane.Servers[0]
	}
	o := router.Options{
		Loops: f.loops, ReadBuffer: f.readBuffer, ConnBuffer: f.connBuffer,
		SlowConsumer: f.slowConsumer, StallTimeout: f.stallTimeout, StallRate: f.stallRate, HoldTimeout: f.holdTimeout,
		MaxSubscriptions: f.maxSubscriptions, MaxHeader: f.maxHeader, HeaderMemory: f.headerMemory,
		MaxNames: f.maxNames, MaxNameBytes: f.maxNameBytes,
		MaxSockets: f.maxSockets, MaxConnections: f.maxConnections,
		MaxUnfinished: f.maxUnfinished, MaxQueued: f.maxQueued,
		AcceptKinds: f.acceptKinds, MaxPeers: f.maxPeers, MaxRemotes: f.maxRemotes,

		NodeID: s.NodeID, Deployment: s.Domain,
		AllowUnsigned: !first.RequireHeaderMAC, EnforcePQC: s.Dataplane.EnforcePQC,
		RelayPeerPublishes: s.Peers == nil,

		NegotiationTimeout: seconds(first.NegotiationTimeout),
		Log:                log,
	}
	for i := range s.Dataplane.Servers {
		server := &s.Dataplane.Servers[i]
		o.Listen = append(o.Listen, server.Endpoint)
		o.Limits = append(o.Limits, limits(server))
	}
	return o
}

// limits are what is special to a server.
func limits(s *config.Server) router.Limits {
	l := router.Limits{KeepaliveTime: positive(s.Keepalive.Time), KeepaliveTimeout: positive(s.Keepalive.Timeout),
		MaxAge: s.Keepalive.MaxAge}
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
	place := ""
	if p := s.Dataplane.Servers[listen.Index].Position; p.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d: ", c.File, p.Line, p.Column)
	}
	f.cause = fmt.Errorf("%sservices.%s.dataplane.servers[%d].endpoint: %w", place, s.ID, listen.Index, err)
	return f
}
