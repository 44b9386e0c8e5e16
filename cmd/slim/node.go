package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
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
}

func (p *program) startService(ctx context.Context, c *config.Config, i int, f *flags, log logs) (*service, error) {
	s := &service{Service: &c.Services[i]}
	span := "application_lifecycle:run{service_id=" + s.ID + "}"
	s.log = log.With(cli.KeyTarget, "slim_service::service")
	node := []any{cli.KeyTarget, "slim_datapath::message_processing", cli.KeySpan, span, cli.KeyThread, c.Runtime.ThreadName}
	s.datapath, s.answers = log.With(node...), log.unfiltered.With(node...)

	ctx, s.cancel = context.WithCancel(ctx)
	n, err := p.start(ctx, nodeOptions(s.Service, f, s.datapath))
	if err != nil {
		s.cancel()
		return nil, startFailure(c, s.Service, err)
	}
	s.node = n
	addrs := n.Addrs()
	for j, server := range s.Dataplane.Servers {
		endpoint := server.Endpoint
		// Port 0 says nothing to whoever reads the log: print the port that was taken.
		if a, err := netip.ParseAddrPort(endpoint); err == nil && a.Port() == 0 && j < len(addrs) {
			endpoint = addrs[j].String()
		}
		s.endpoints = append(s.endpoints, endpoint)
		s.log.With(cli.KeySpan, span+":run_server{service_id="+s.ID+"}").Info("dataplane server started", "endpoint", endpoint)
	}
	for _, l := range p.links(s.Service) {
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

// nodeOptions maps one service and the flags to a node. What upstream reads from the first server only, or keeps for
// each server, is the first server's here; config refuses files where that would make a difference.
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
	if len(s.Dataplane.Servers) > 0 {
		o.KeepaliveTime, o.KeepaliveTimeout = positive(first.Keepalive.Time), positive(first.Keepalive.Timeout)
	}
	for _, server := range s.Dataplane.Servers {
		o.Listen = append(o.Listen, server.Endpoint)
	}
	if v := first.MaxFrameSize; v != nil {
		o.MaxFrameSize = uint32(*v) << 20
	}
	if v := first.MaxHeaderList; v != nil {
		o.MaxHeaderList = uint32(*v)
	}
	if v := first.MaxStreams; v != nil {
		o.MaxStreams = uint32(*v)
	}
	return o
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
