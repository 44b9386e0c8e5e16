package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// Node is what of a node its agent needs: *router.Node. The agent is the only one to call Watch.
type Node interface {
	About() router.About
	Connections(ctx context.Context, names int) ([]router.Connection, error)
	Dial(router.Link) (*router.Dialer, error)
	EachHeld(func(wire.NameText) bool)
	Held(wire.Name) (t wire.NameText, yes bool)
	Links() []router.LinkStatus
	Routes(holders int, f func(*router.Route) bool)
	Stats() router.Stats
	Watch(*router.Watch) []*router.ActiveLink
}

// Options configure an Agent.
type Options struct {
	Node Node
	// NodeID and Domain are who the node says it is to control planes; an empty domain is not said (P-ctl-1).
	NodeID, Domain string
	// Details are how other nodes can dial this one, one for each of its listeners.
	Details []*controllerpb.ConnectionDetails
	// Credentials returns what a registration shows, within the time of its context; nil: nothing. It is secret.
	Credentials func(context.Context) (string, error)
	// Planes are the control planes, each with a connection of its own.
	Planes []Plane
	// Servers are the endpoints of the node's own control API, listening already. Close closes them.
	Servers []Server
	// Link makes out of a link that is wanted how it is dialled, without ID, Kind and Backoff of another kind than it says. It
	// may read files. Its error is told to the control plane.
	Link func(*Wanted) (router.Link, error)
	// Silent has Close end without a word, as upstream's node does.
	Silent bool
	Log    *slog.Logger

	goodbye time.Duration // for the answer to the end of a registration; 0: deregisterLimit. For tests
}

// Plane is a control plane.
type Plane struct {
	Endpoint string // for logs: without secrets
	// Connect connects, TLS included. It heeds its context.
	Connect   func(context.Context) (net.Conn, error)
	Secure    bool   // by TLS: for the scheme of requests
	Authority string // of requests
	UserAgent string
	Headers   map[string]string // of requests
	Auth      auth.Source       // asked for each connection; nil: nothing is shown
	// Timeout bounds Connect and Auth; 0: 30 s.
	Timeout time.Duration
	// Ping is how long nothing has to come until it is asked for a sign of life, PingTimeout how long that may take; 0: 60 s and 20 s.
	Ping, PingTimeout time.Duration
	// Quiet is how long a control plane may say nothing, at first, that has ordered something; 0: 5 min.
	Quiet time.Duration
	// First is how long one that had ordered something may order nothing after a registration, and half as long again
	// at most; 0: 5 s.
	First time.Duration
	// Backoff is the pause before the attempt that follows so many in a row that have failed, from 1 on. nil: 2 s.
	Backoff func(failed int) time.Duration
}

// Server is an endpoint of the node's own control API.
type Server struct {
	Endpoint string // for logs
	Listener net.Listener
	TLS      *tls.Config // nil: none
	// Guard judges each stream; nil: everybody may come. Who has made it closes it.
	Guard *auth.Guard
}

// Times of the protocol (P-ctl-2), and our own.
const (
	deregisterLimit = 2 * time.Second // for the answer to the end of one
	connectTimeout  = 30 * time.Second
	defaultBackoff  = 2 * time.Second
	pingTime        = 60 * time.Second
	pingTimeout     = 20 * time.Second
	quietTime       = 5 * time.Minute
	firstTime       = 5 * time.Second        // and half of it, and what follows, are less than grace
	anewPause       = 500 * time.Millisecond // at most, before a node registers once more
	longestQuiet    = 24 * time.Hour
)

// registerTimeout is the time for the answer to the first registration. Tests lengthen it.
var registerTimeout = 10 * time.Second

// Agent is a running agent. Its methods are safe for all.
type Agent struct {
	// Immutable after Start.
	opt    Options
	node   Node
	log    *slog.Logger
	planes []*plane
	desk   *desk
	ctx    context.Context
	cancel context.CancelFunc

	running sync.WaitGroup // goroutines of the agent
	served  *servers
	count   counters
	once    sync.Once
}

// Start begins to reach the control planes, and to serve. It waits for nobody.
func Start(o Options) (*Agent, error) {
	switch {
	case o.Node == nil || o.Link == nil || o.Log == nil:
		return nil, errors.New("agent: Node, Link and Log are needed")
	case o.NodeID == "":
		return nil, errors.New("agent: a node needs an id")
	}
	a := &Agent{opt: o, node: o.Node, log: o.Log.With("target", target)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.desk = newDesk(a)
	for i := range o.Planes {
		a.planes = append(a.planes, newPlane(a, &o.Planes[i]))
	}
	for _, l := range a.node.Watch(&router.Watch{Name: a.nameChanged, Link: a.linkChanged}) {
		a.linkChanged(l, true)
	}
	a.running.Go(a.desk.run)
	a.serve()
	for _, p := range a.planes {
		a.running.Go(p.run)
	}
	return a, nil
}

// target is upstream's module, by which its filters select.
const target = "slim_controller::service"

// Close tells the control planes that the node goes, unless Options.Silent, and ends: what it has dialled stays up until the node
// ends. It returns within ctx.
func (a *Agent) Close(ctx context.Context) {
	a.once.Do(func() {
		if !a.opt.Silent {
			limit, cancel := context.WithTimeout(ctx, cmp.Or(a.opt.goodbye, deregisterLimit))
			var all sync.WaitGroup
			for _, p := range a.planes {
				all.Go(func() { p.deregister(limit) })
			}
			all.Wait()
			cancel()
		}
		a.node.Watch(nil)
		a.cancel()
		a.served.stop()
	})
	done := make(chan struct{})
	go func() {
		a.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// nameChanged is router.Watch.Name.
func (a *Agent) nameChanged(n wire.Name) {
	for _, p := range a.planes {
		p.news.mark(n)
	}
}

// linkChanged is router.Watch.Link.
func (a *Agent) linkChanged(l *router.ActiveLink, up bool) {
	a.desk.post(func(d *desk) { d.linkChanged(l, up) })
	if up {
		for _, p := range a.planes {
			p.news.markLink(l)
		}
	}
}
