package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/admin"
	"github.com/seed31b3bfd0/slimgo/internal/agent"
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jwt"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/connect"
	"github.com/seed31b3bfd0/slimgo/internal/watch"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// controller is the controller of a running service: its agent, and what that uses. A nil one is that of a service without.
type controller struct {
	*agent.Agent
	secured []*secured // of its listeners, and of the control planes
	closers []io.Closer
	guards  []*auth.Guard
}

// control starts the controller of a service, if its configuration asks for one.
func (p *program) control(c *config.Config, s *service, f *flags) (*controller, error) {
	e := &s.Controller
	log := s.log.With(cli.KeySpan, s.span)
	if !controlled(s.Service) {
		log.Info("no controller configuration provided, skipping controller startup")
		return nil, nil
	}
	x := &controller{}
	m := &assembler{p: p, c: c, s: s, x: x, environment: p.proxies()}
	o := agent.Options{
		Node: s.node, NodeID: s.node.About().NodeID, Domain: s.Domain, Details: details(s.Service), Link: m.link, Silent: f.noDeregister,
		Log: s.controllerLog,
	}
	err := m.registration(&o)
	for i := range e.Servers {
		if err == nil {
			err = m.server(&o, i)
		}
	}
	for i := range e.Clients {
		if err == nil {
			err = m.plane(&o, i)
		}
	}
	if err == nil {
		err = m.templates()
	}
	if err == nil {
		x.Agent, err = agent.Start(o)
	}
	if err != nil {
		for _, s := range o.Servers {
			_ = s.Listener.Close()
		}
		x.free()
		return nil, err
	}
	return x, nil
}

// controlled reports whether a service has a controller.
func controlled(s *config.Service) bool {
	e := &s.Controller
	return e.EnforcePQC || len(e.Servers)+len(e.Clients)+len(e.Outbound) > 0
}

// stop ends the controller within ctx. x may be nil.
func (x *controller) stop(ctx context.Context) {
	if x != nil {
		x.Close(ctx)
		x.free()
	}
}

func (x *controller) free() {
	for _, g := range x.guards {
		g.Close()
	}
	closeAll(x.closers)
	x.guards, x.closers = nil, nil
}

// tell is what the agent is doing, for operators.
func (x *controller) tell() admin.Control {
	s := x.Status()
	c := admin.Control{Planes: []admin.ControlPlane{}, Routes: s.Routes, Commands: s.Commands, News: s.News, Invalid: s.Invalid, Failures: s.Failures,
		Calls: s.Calls, Denied: s.Denied}
	for _, p := range s.Planes {
		c.Planes = append(c.Planes, admin.ControlPlane{Endpoint: p.Endpoint, State: p.State, Since: p.Since, Attempts: p.Attempts,
			Registrations: p.Registrations, Failure: p.Failure, Told: p.Told, Compared: p.Compared})
	}
	links := func(all []agent.LinkStatus) (out []admin.ControlLink) {
		for _, l := range all {
			out = append(out, admin.ControlLink{ID: l.ID, Endpoint: l.Endpoint, State: l.State, Failure: l.Failure, Leaving: l.Leaving, Routes: l.Routes})
		}
		return out
	}
	c.Links, c.Accepted = links(s.Links), links(s.Accepted)
	return c
}

// proxies is what variables of the environment say of proxies.
func (p *program) proxies() func(connect.Target) (*connect.Proxy, error) {
	return connect.FromEnvironment(func(k string) string { v, _ := p.env(k); return v })
}

// assembler makes what the agent of a service needs.
type assembler struct {
	p           *program
	c           *config.Config
	s           *service
	x           *controller
	environment func(connect.Target) (*connect.Proxy, error)
	shows       map[*config.Client]auth.Source // of links that are ordered, by template; immutable when the agent runs
}

func (m *assembler) path(format string, args ...any) string {
	return "services." + m.s.ID + ".controller." + fmt.Sprintf(format, args...)
}

// registration makes what the node shows to control planes.
func (m *assembler) registration(o *agent.Options) error {
	r := m.s.Registration
	if r == nil {
		return nil
	}
	switch r.Type {
	case "shared_secret":
		secret, err := agent.NewSharedSecret(o.Domain, o.NodeID, r.Secret.Reveal(), m.p.now)
		if err != nil {
			return m.failed(err)
		}
		o.Credentials = func(context.Context) (string, error) { return secret.Token(), nil }
	case "spire":
		source, err := m.p.newSpireSource(r.Spire)
		if err != nil {
			return m.failed(err)
		}
		m.showTokens(o, source)
	case "jwt":
		source, err := newRegistrationSource(m.c, m.s.Service)
		if err != nil {
			return m.failed(err)
		}
		m.showTokens(o, source)
	default:
		return m.failed(fmt.Errorf("auth.type: %s is not known", r.Type))
	}
	return nil
}

// showTokens has registrations show the tokens of a source, a new one each time.
func (m *assembler) showTokens(o *agent.Options, source auth.Source) {
	m.x.closers = append(m.x.closers, source)
	o.Credentials = func(ctx context.Context) (string, error) {
		shown, err := source.Authorization(ctx)
		return strings.TrimPrefix(shown, "Bearer "), err
	}
}

// newRegistrationSource makes tokens that an Ed25519 key of the node's own signs, and whose subject is its did:key (P-ctl-3).
func newRegistrationSource(c *config.Config, s *config.Service) (auth.Source, error) {
	r := s.Registration
	text, err := []byte(r.PrivateKey.Data.Reveal()), error(nil)
	if r.PrivateKey.File != "" {
		text, err = watch.Read(r.PrivateKey.File, maxKeyFile)
	}
	var source *jwt.Signer
	if err == nil {
		source, err = jwt.NewSelfSigner(text)
	}
	if err == nil {
		return source, nil
	}
	at := config.Reason{Position: r.Position, Path: "services." + s.ID + ".auth.private_key", Text: err.Error()}
	if at.Position.Line > 0 {
		at.File = c.File
	}
	return nil, &placed{at, err}
}

// maxKeyFile bounds the file of a key, in bytes.
const maxKeyFile = 1 << 20

func (m *assembler) failed(err error) error {
	return &failure{context: []string{"failed to start service", "controller error"}, cause: err}
}

// server opens an endpoint of the node's own API.
func (m *assembler) server(o *agent.Options, i int) error {
	server := &m.s.Controller.Servers[i]
	x := agent.Server{Endpoint: server.Endpoint}
	if !server.TLS.Insecure {
		k, err := m.p.keepServer(&server.TLS, server.Endpoint, m.s.Controller.EnforcePQC)
		if err != nil {
			return tlsFailure(m.c, &server.TLS, m.path("servers[%d].tls", i), err)
		}
		m.x.secured = append(m.x.secured, &secured{k, server.Endpoint, m.path("servers[%d].tls", i)})
		x.TLS = k.Server()
	}
	v, further, err := m.p.newVerifier(&server.Auth)
	if err != nil {
		return authFailure(m.c, &server.Auth, m.path("servers[%d].auth", i), err)
	}
	if v != nil {
		m.x.closers = append(append(m.x.closers, v), further...)
		g := auth.NewGuard(v, auth.GuardOptions{Listener: server.Endpoint, Mechanism: server.Auth.Type, Audit: m.p.auditor()})
		m.x.guards = append(m.x.guards, g)
		x.Guard = g
	}
	if x.Listener, err = listenControl(server.Endpoint); err != nil {
		r := config.Reason{Position: server.Position, Path: m.path("servers[%d].endpoint", i), Text: err.Error()}
		if r.Position.Line > 0 {
			r.File = m.c.File
		}
		return m.failed(&placed{r, err})
	}
	x.Endpoint = taken(server.Endpoint, x.Listener.Addr())
	if a, err := netip.ParseAddrPort(x.Listener.Addr().String()); err == nil && !a.Addr().IsLoopback() && x.Guard == nil && server.TLS.ClientCA.Type == "none" {
		m.s.controllerLog.Warn("whoever can reach this endpoint can change links and routes of the node: set auth or tls.client_ca, or listen on 127.0.0.1",
			"endpoint", x.Endpoint)
	}
	o.Servers = append(o.Servers, x)
	return nil
}

// listenControl listens at IP:PORT or unix://PATH.
func listenControl(endpoint string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(endpoint, "unix://"); ok {
		path, _, _ = strings.Cut(path, "?")
		path, _, _ = strings.Cut(path, "#")
		if fi, err := os.Lstat(path); err == nil && fi.Mode()&os.ModeSocket != 0 {
			if c, err := net.Dial("unix", path); err == nil {
				_ = c.Close()
				return nil, errors.New("somebody listens there already")
			}
			_ = os.Remove(path) // of a process that is gone
		}
		return net.Listen("unix", path)
	}
	network := "tcp"
	if a, err := netip.ParseAddrPort(endpoint); err == nil && a.Addr().Is4() {
		network = "tcp4" // P-conf-21
	}
	return net.Listen(network, endpoint)
}

// plane makes a control plane that the node registers with.
func (m *assembler) plane(o *agent.Options, i int) error {
	client := &m.s.Controller.Clients[i]
	l, keepers, err := m.p.link(client, m.s.Controller.EnforcePQC, m.environment)
	path := m.path("clients[%d]", i)
	if e := (*clientTLSError)(nil); errors.As(err, &e) {
		return tlsFailure(m.c, e.of, path+"."+e.block, e.err)
	}
	if err != nil {
		return m.failed(err)
	}
	for j := range keepers {
		k := keepers[j]
		k.path = path + "." + k.path
		m.x.secured = append(m.x.secured, &k)
	}
	x := agent.Plane{Endpoint: l.Endpoint, Secure: l.TLS != nil, Authority: l.Call.Authority, UserAgent: l.Call.Agent,
		Headers: client.Headers, Timeout: client.ConnectTimeout}
	x.Connect = func(ctx context.Context) (net.Conn, error) {
		c, err := l.Connect(ctx)
		if err != nil || l.TLS == nil {
			return c, err
		}
		return agent.Secured(ctx, c, l.TLS())
	}
	if k := client.Keepalive; k != nil {
		x.Ping, x.PingTimeout = k.HTTP2, k.Timeout
	}
	next := backoff(&client.Backoff, rand.Float64)
	x.Backoff = func(failed int) time.Duration { // without an end: a node is never left alone (P-ctl-2)
		pause, more := next(failed)
		if !more {
			pause = 30 * time.Second
		}
		return max(pause, 100*time.Millisecond)
	}
	source, err := m.p.newSource(&client.Auth)
	if err != nil {
		return authFailure(m.c, &client.Auth, path+".auth", err)
	}
	if source != nil {
		m.x.closers = append(m.x.closers, source)
		x.Auth = source
	}
	o.Planes = append(o.Planes, x)
	return nil
}

// templates makes what links show that control planes order, and looks whether their certificates can be loaded.
func (m *assembler) templates() error {
	m.shows = map[*config.Client]auth.Source{}
	add := func(client *config.Client, path string) error {
		source, err := m.p.newSource(&client.Auth)
		if err != nil {
			return authFailure(m.c, &client.Auth, path+".auth", err)
		}
		if source != nil {
			m.x.closers = append(m.x.closers, source)
			m.shows[client] = source
		}
		return nil
	}
	for i := range m.s.Controller.Outbound {
		if err := add(&m.s.Controller.Outbound[i], m.path("outbound_clients[%d]", i)); err != nil {
			return err
		}
	}
	for i := range m.s.Dataplane.Clients {
		if err := add(&m.s.Dataplane.Clients[i], fmt.Sprintf("services.%s.dataplane.clients[%d]", m.s.ID, i)); err != nil {
			return err
		}
	}
	return nil
}

// canonical is an endpoint with the port of its scheme, for comparison. Rules: P-ctl-6.
func canonical(endpoint string) string {
	for scheme, port := range map[string]string{"http://": ":80", "https://": ":443"} {
		if rest, ok := strings.CutPrefix(endpoint, scheme); ok && !strings.Contains(rest, ":") {
			return endpoint + port
		}
	}
	return endpoint
}

// template is what a link to an endpoint is dialled with: the entry for it, the one for all, that of a client which is dialled
// anyway, or nothing special.
func (m *assembler) template(endpoint string) *config.Client {
	is := canonical(endpoint)
	for _, want := range []string{is, ""} {
		for i := range m.s.Controller.Outbound {
			if c := &m.s.Controller.Outbound[i]; c.Endpoint == want || want != "" && canonical(c.Endpoint) == want {
				return c
			}
		}
	}
	for i := range m.s.Dataplane.Clients {
		if c := &m.s.Dataplane.Clients[i]; canonical(c.Endpoint) == is {
			return c
		}
	}
	return nil
}

// link is agent.Options.Link: how a link that is ordered is dialled. It is called by one goroutine. Rules: P-ctl-6.
func (m *assembler) link(w *agent.Wanted) (router.Link, error) {
	if w.Client != nil {
		return m.ordered(w)
	}
	c, from := config.Template(), m.template(w.Endpoint)
	if from != nil {
		c = *from
	}
	if err := merge(&c, w); err != nil {
		return router.Link{}, fmt.Errorf("Failed to merge connection config to client config: %w", err)
	}
	switch w.Auth {
	case "basic", "jwt", "oidc":
		if c.Auth.Type == "none" {
			return router.Link{}, errors.New("no local credentials configured for " + w.Endpoint)
		}
	}
	c.ConnectionType, c.LinkID = "remote", w.ID
	l, err := m.dialled(&c)
	if err != nil {
		return l, err
	}
	l.Auth = nil
	if s := m.shows[from]; s != nil {
		l.Auth = shared{s}
	}
	return l, nil
}

// shared is a source that outlives the link.
type shared struct{ auth.Source }

// Close implements auth.Source.
func (shared) Close() error { return nil }

// ordered is a link whose whole configuration was sent.
func (m *assembler) ordered(w *agent.Wanted) (router.Link, error) {
	c, err := config.ParseClient(w.Client)
	if err != nil {
		return router.Link{}, fmt.Errorf("Failed to parse config: %w", err)
	}
	if c.TLS.Source.Type == "file" || c.TLS.CA.Type == "file" || c.Auth.Type != "none" && c.Auth.Type != "basic" {
		return router.Link{}, errors.New("Connection failed: no files are read for a command: put their paths into outbound_clients")
	}
	l, err := m.dialled(c)
	if err != nil {
		return l, err
	}
	source, err := m.p.newSource(&c.Auth)
	if source != nil {
		l.Auth = source
	}
	return l, err
}

// dialled is how a client is dialled, with certificates that are looked at for each connection.
func (m *assembler) dialled(c *config.Client) (router.Link, error) {
	l, keepers, err := m.p.link(c, m.s.Controller.EnforcePQC, m.environment)
	if err != nil {
		return l, fmt.Errorf("Connection failed: %w", err)
	}
	l.CloseTimeout = m.c.Runtime.DrainTimeout
	if config := l.TLS; config != nil {
		l.TLS = func() *tls.Config {
			for _, k := range keepers {
				_, _ = k.keeper.Reload() // what cannot be read leaves what was
			}
			return config()
		}
	}
	return l, nil
}

// merge puts what a control plane demands into a client.
func merge(c *config.Client, w *agent.Wanted) error {
	c.Endpoint = w.Endpoint
	c.TLS.Insecure = !w.TLS
	if !w.TLS {
		c.TLS.CA = config.Material{Type: "none"}
	}
	if w.Auth == "spire" {
		if !w.TLS {
			return errors.New("spire needs TLS, which the other end does not have")
		}
		s := &config.Spire{JWTAudiences: []string{"slim"}}
		if c.Auth.Type == "spire" && c.Auth.Spire != nil {
			copied := *c.Auth.Spire
			s = &copied
		}
		if w.TrustDomain != "" {
			s.TrustDomains = []string{w.TrustDomain}
		}
		c.TLS.Source = config.Material{Type: "spire", Spire: s}
		c.TLS.CA = config.Material{Type: "spire", Spire: s}
	}
	if w.Timeout > 0 {
		c.ConnectTimeout = w.Timeout
	}
	if w.Backoff > 0 {
		c.Backoff = config.Backoff{Type: "fixed_interval", Interval: w.Backoff}
	}
	if k := w.Keepalive; k != nil {
		c.Keepalive = &config.ClientKeepalive{TCP: k.TCP, HTTP2: k.HTTP2, Timeout: k.Timeout, WhileIdle: k.WhileIdle}
	}
	if !strings.HasPrefix(c.Endpoint, "http://") && !strings.HasPrefix(c.Endpoint, "https://") {
		return fmt.Errorf("the endpoint %q has neither http:// nor https://", w.Endpoint)
	}
	return nil
}

var authMethods = map[string]controllerpb.AuthMethod{"basic": controllerpb.AuthMethod_AUTH_METHOD_BASIC,
	"jwt": controllerpb.AuthMethod_AUTH_METHOD_JWT, "oidc": controllerpb.AuthMethod_AUTH_METHOD_OIDC,
	"spire": controllerpb.AuthMethod_AUTH_METHOD_SPIRE}

// details are how other nodes can dial a service's listeners. Rules: P-ctl-3.
func details(s *config.Service) (all []*controllerpb.ConnectionDetails) {
	for i := range s.Dataplane.Servers {
		server := &s.Dataplane.Servers[i]
		text := func(key string) string { v, _ := server.Metadata[key].(string); return v }
		d := &controllerpb.ConnectionDetails{Endpoint: cmp.Or(text("local_endpoint"), server.Endpoint), AuthMethod: authMethods[server.Auth.Type]}
		if v := text("external_endpoint"); v != "" {
			d.ExternalEndpoint = &v
		}
		domain, socket := text("trust_domain"), text("spire_socket_path")
		if domain != "" {
			d.SpireTrustDomain = &domain
		}
		d.TlsRequired = !server.TLS.Insecure
		if client, ok := server.Metadata["client_config"].(map[string]any); ok {
			t, _ := client["tls"].(map[string]any)
			insecure, said := t["insecure"].(bool)
			d.TlsRequired = said && !insecure
		}
		if socket != "" {
			d.TlsRequired = true
		}
		if socket != "" || domain != "" {
			d.AuthMethod = controllerpb.AuthMethod_AUTH_METHOD_SPIRE
		}
		rest := map[string]any{}
		for k, v := range server.Metadata {
			switch k {
			case "local_endpoint", "external_endpoint", "trust_domain", "spire_socket_path":
			default:
				rest[k] = v
			}
		}
		if m, err := structpb.NewStruct(rest); err == nil && len(rest) > 0 {
			d.Metadata = m
		}
		all = append(all, d)
	}
	return all
}
