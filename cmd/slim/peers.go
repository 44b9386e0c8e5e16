package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/connect"
	"github.com/seed31b3bfd0/slimgo/internal/discovery"
	"github.com/seed31b3bfd0/slimgo/router"
)

// lookInterval is how often links to peers are looked at: whether one is over, or there is another to the same node.
const lookInterval = 5 * time.Second

// overPause is how long a link stays over that its other end has ended for good: it may be configured better by then.
const overPause = 30 * time.Second

// peerLinks keeps a link open to each replica of a node that is the node's to dial: of two nodes the one whose id sorts first
// dials. Where discovery knows no ids, both may dial, and the link of the other one is closed then. No peer waits for another.
// Rules: P-disc. Owned by the goroutine of run, but for what is immutable.
type peerLinks struct {
	// Immutable.
	node   node
	self   string
	source discovery.Source
	make   func(discovery.Peer) (router.Link, error)
	log    *slog.Logger
	fixed  []*activeLink // of static peers, for their certificates and credentials
	look   *time.Ticker

	open map[string]*peerLink // by discovery.Peer.Key
	none bool                 // discovery has found nobody, which was said
	done sync.WaitGroup
}

// peerLink is a link to one replica.
type peerLink struct {
	peer   discovery.Peer
	dialer *router.Dialer // nil: it is not dialled, since the other side has
	theirs string         // node id of the other side, which dials, or of this node itself; "": we do
	failed bool           // it could not even be tried, which was said
	other  string         // node id of another node that has answered in place of the peer, which was said
}

// staticPeers are the links to the static peers of a service, none to itself, by node id. An error says why its peers cannot be
// found or dialled.
func (p *program) staticPeers(c *config.Config, s *config.Service) (all map[string]*activeLink, faults []error) {
	if s.Peers == nil {
		return nil, nil
	}
	getenv := func(k string) string { v, _ := p.env(k); return v }
	environment := connect.FromEnvironment(getenv)
	if s.Peers.Discovery == "kubernetes" {
		if _, err := discovery.InCluster(p.env); err != nil {
			r := config.Reason{File: c.File, Position: s.Position, Path: fmt.Sprintf("services.%s.peers.discovery", s.ID), Text: err.Error()}
			faults = append(faults, &failure{context: []string{"failed to start service"}, cause: &placed{r, err}})
		}
	}
	all = map[string]*activeLink{}
	for i := range s.Peers.Static {
		peer := &s.Peers.Static[i]
		if peer.NodeID == s.NodeID || all[peer.NodeID] != nil {
			continue
		}
		client := peer.Client
		client.ConnectionType = "peer"
		path := fmt.Sprintf("services.%s.peers.discovery.peers[%d]", s.ID, i)
		l, err := p.activeLink(c, &client, path, environment)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		all[peer.NodeID] = l
	}
	return all, faults
}

// activeLink makes the link of a client that is not of dataplane.clients.
func (p *program) activeLink(c *config.Config, client *config.Client, path string,
	environment func(connect.Target) (*connect.Proxy, error)) (*activeLink, error) {
	l, tls, err := p.link(client, false, environment)
	if e := (*clientTLSError)(nil); errors.As(err, &e) {
		err = tlsFailure(c, e.of, path+"."+e.block, e.err)
	}
	if err != nil {
		return nil, err
	}
	with, err := p.arm(c, &client.Auth, path+".auth", nil)
	if err != nil {
		return nil, err
	}
	shows := new(credentials)
	shows.become(with)
	l.CloseTimeout, l.Auth = c.Runtime.DrainTimeout, shows
	a := &activeLink{client: client, shows: shows, endpoint: l.Endpoint, link: l}
	for i := range tls {
		a.secured = append(a.secured, &secured{tls[i].keeper, tls[i].endpoint, path + "." + tls[i].path})
	}
	return a, nil
}

// newPeerLinks prepares the links to the replicas of a service, whose node runs; nil: it has none.
func (p *program) newPeerLinks(s *service, static map[string]*activeLink, log *slog.Logger) *peerLinks {
	c := s.Peers
	if c == nil {
		return nil
	}
	l := &peerLinks{node: s.node, self: s.node.About().NodeID, log: log, open: map[string]*peerLink{}, look: time.NewTicker(lookInterval)}
	for _, id := range slices.Sorted(maps.Keys(static)) {
		l.fixed = append(l.fixed, static[id])
	}
	switch c.Discovery {
	case "static":
		var peers discovery.Static
		for id, a := range static {
			peers = append(peers, discovery.Peer{Node: id, Address: a.endpoint})
		}
		l.source = peers
		l.make = func(x discovery.Peer) (router.Link, error) { return static[x.Node].link, nil }
		return l
	case "dns":
		l.source = &discovery.DNS{Name: c.Name, Port: uint16(c.Port), Interval: c.Interval}
	case "kubernetes":
		api, _ := discovery.InCluster(p.env) // staticPeers has looked
		l.source = &discovery.Kubernetes{API: api, Namespace: c.Namespace, Service: c.ServiceName, Port: uint16(c.Port)}
	}
	getenv := func(k string) string { v, _ := p.env(k); return v }
	environment := connect.FromEnvironment(getenv)
	l.make = func(x discovery.Peer) (router.Link, error) {
		client := config.PeerClient(x.Address)
		link, _, err := p.link(&client, false, environment)
		link.MayBeSelf = x.Node == ""
		return link, err
	}
	return l
}

// run keeps the links until ctx ends. The links themselves end with the node.
func (l *peerLinks) run(ctx context.Context) {
	news := make(chan []discovery.Peer)
	var finding sync.WaitGroup
	finding.Go(func() {
		l.source.Run(ctx, func(all []discovery.Peer) {
			select {
			case news <- all:
			case <-ctx.Done():
			}
		}, l.tellDiscovery)
	})
	defer finding.Wait()
	defer l.look.Stop()
	for {
		select {
		case all := <-news:
			l.become(all)
		case <-l.look.C:
			l.lookAtAll()
		case <-ctx.Done():
			return
		}
	}
}

func (l *peerLinks) tellDiscovery(err error) {
	switch {
	case err == nil:
		l.log.Info("peers can be discovered again")
	case errors.Is(err, discovery.ErrTooMany):
		l.log.Warn("some peers are not dialled", "error", err)
	default:
		l.log.Warn("peers cannot be discovered: those that are known stay", "error", err)
	}
}

// become has links to those of all that are the node's to dial, and to no others.
func (l *peerLinks) become(all []discovery.Peer) {
	if none := len(all) == 0; none != l.none { // a name that is spelled wrong is answered, too
		if l.none = none; none {
			l.log.Warn("discovery finds no peer, not even this node: look at the name or service in peers.discovery, and at whether any replica is ready")
		}
	}
	wanted := map[string]discovery.Peer{}
	for _, p := range all {
		if p.Node == "" || l.self < p.Node {
			wanted[p.Key()] = p
		}
	}
	for key, o := range l.open {
		switch p, ok := wanted[key]; {
		case !ok:
			l.log.Info("peer has left: its link ends", "peer", key, "endpoint", o.peer.Address)
		case p != o.peer:
			l.log.Info("peer has another address: it is dialled there", "peer", key, "endpoint", p.Address, "before", o.peer.Address)
		default:
			continue
		}
		o.close()
		delete(l.open, key)
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		if l.open[key] == nil {
			o := &peerLink{peer: wanted[key]}
			l.open[key] = o
			l.log.Info("peer discovered", "peer", key, "endpoint", o.peer.Address)
			l.dial(o)
		}
	}
}

func (l *peerLinks) dial(o *peerLink) {
	link, err := l.make(o.peer)
	if err == nil {
		if o.peer.Node != "" {
			link.ID = l.self + ":" + o.peer.Node
		}
		o.dialer, err = l.node.Dial(link)
	}
	said := o.failed
	if o.failed = err != nil; o.failed && !said && !errors.Is(err, net.ErrClosed) { // the node stops
		l.log.Error("peer cannot be dialled", "peer", o.peer.Key(), "endpoint", o.peer.Address, "error", err)
	}
}

func (o *peerLink) close() {
	if o.dialer != nil {
		o.dialer.Close()
	}
}

// lookAtAll closes links to nodes that have dialled this one, opens them again when those have ended, and what was over for a while.
func (l *peerLinks) lookAtAll() {
	var up []router.Peer
	for _, o := range l.open {
		if o.peer.Node == "" || o.dialer == nil || o.dialer.Status().State == router.LinkOver {
			up = l.node.Peers()
			break
		}
	}
	came := func(id string) bool { // from a node that is to dial
		return slices.ContainsFunc(up, func(p router.Peer) bool { return p.Node == id && !p.Dials })
	}
	for _, o := range l.open {
		if o.dialer == nil {
			if o.theirs == "" || o.theirs != l.self && !came(o.theirs) {
				o.theirs = ""
				l.dial(o)
			}
			continue
		}
		switch s := o.dialer.Status(); {
		case o.peer.Node == "" && s.State == router.LinkUp && s.Node != "" && s.Node < l.self && came(s.Node):
			l.log.Debug("the peer has dialled this node, too: this link is not needed", "peer", s.Node, "endpoint", o.peer.Address)
			o.close()
			o.dialer, o.theirs = nil, s.Node
		case o.peer.Node == "" && s.State == router.LinkOver && s.Node == l.self: // it stays its own address
			o.close()
			o.dialer, o.theirs = nil, l.self
		case o.peer.Node != "" && s.State == router.LinkUp && s.Node != "" && s.Node != o.peer.Node:
			if o.other != s.Node {
				o.other = s.Node
				l.log.Warn("another node answers at the address of a peer, which may have moved: look at the list, or at what discovery says",
					"peer", o.peer.Node, "endpoint", o.peer.Address, "node", s.Node)
			}
		case s.State == router.LinkOver && s.Node != l.self && time.Since(s.Since) >= overPause:
			o.close()
			l.dial(o)
		}
	}
}

// begin starts the links of a service; end ends what keeps them.
func (l *peerLinks) begin(ctx context.Context) {
	if l != nil {
		l.done.Go(func() { l.run(ctx) })
	}
}

// wait returns when nothing keeps the links any more.
func (l *peerLinks) wait() {
	if l != nil {
		l.done.Wait()
	}
}

// links are those of static peers.
func (l *peerLinks) links() []*activeLink {
	if l == nil {
		return nil
	}
	return l.fixed
}

// targetPeers is upstream's module of discovery.
const targetPeers = "slim_datapath::peer_discovery"

func (s *service) peerLog(log *slog.Logger) *slog.Logger {
	return log.With(cli.KeyTarget, targetPeers, cli.KeySpan, s.span, "service", s.ID)
}
