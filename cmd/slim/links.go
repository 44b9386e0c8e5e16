package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
	"github.com/seed31b3bfd0/slimgo/internal/connect"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// activeLink is a client of the configuration that a node dials.
type activeLink struct {
	client   *config.Client
	onlyPQ   bool
	endpoint string     // as logged
	path     string     // of its keys, but for those of secured
	secured  []*secured // its own TLS, and that of its proxy
	shows    *credentials
	link     router.Link
	dialer   *router.Dialer // nil: it is not dialled yet
}

// number notes which client of a service l is, for the paths of its keys. Who has the old ones keeps them.
func (l *activeLink) number(service string, i int) {
	l.path = fmt.Sprintf("services.%s.dataplane.clients[%d]", service, i)
	for j, old := range l.secured {
		_, block, moved := strings.Cut(old.path, "].")
		if !moved {
			block = old.path
		}
		l.secured[j] = &secured{old.keeper, old.endpoint, l.path + "." + block}
	}
}

// rearmed is a link that stays, and is to show something else from its next connection on.
type rearmed struct {
	link   *activeLink
	client *config.Client
	with   *armed // nil: the same as before
}

// local reports whether nobody but this machine sees what is said on the link.
func (l *activeLink) local() bool { return strings.HasPrefix(l.client.Endpoint, "unix:") }

// closeLinks gives up the credentials of links that are not dialled, or not any more.
func closeLinks(all []*activeLink) {
	for _, l := range all {
		_ = l.shows.Close()
	}
}

// links are the clients of a service, as a node dials them. Those of old that say the same stay as they are, but for what
// they show: stay. Files with clients that cannot be dialled were refused; what can be wrong are files of certificates and keys.
func (p *program) links(c *config.Config, s *config.Service, old []*activeLink) (
	all []*activeLink, stay []rearmed, faults []error) {
	getenv := func(k string) string { v, _ := p.env(k); return v }
	environment := connect.FromEnvironment(getenv)
	old = slices.Clone(old)
	for i := range s.Dataplane.Clients {
		client := &s.Dataplane.Clients[i]
		path := fmt.Sprintf("services.%s.dataplane.clients[%d]", s.ID, i)
		at := slices.IndexFunc(old, func(l *activeLink) bool {
			return l.onlyPQ == s.Dataplane.EnforcePQC && l.client.Same(client) && l.dialer.Status().State != router.LinkOver
		})
		if at >= 0 {
			with, err := p.arm(c, &client.Auth, path+".auth", old[at].shows)
			if err != nil {
				faults = append(faults, err)
			}
			all, stay = append(all, old[at]), append(stay, rearmed{old[at], client, with})
			old = slices.Delete(old, at, at+1)
			continue
		}
		l, tls, err := p.link(client, s.Dataplane.EnforcePQC, environment)
		if e := (*clientTLSError)(nil); errors.As(err, &e) {
			err = tlsFailure(c, e.of, path+"."+e.block, e.err)
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		with, err := p.arm(c, &client.Auth, path+".auth", nil)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		shows := new(credentials)
		shows.become(with)
		l.CloseTimeout, l.Auth = c.Runtime.DrainTimeout, shows
		a := &activeLink{client: client, shows: shows, onlyPQ: s.Dataplane.EnforcePQC, endpoint: l.Endpoint, link: l}
		for j := range tls {
			a.secured = append(a.secured, &tls[j])
		}
		a.number(s.ID, i)
		all = append(all, a)
	}
	return all, stay, faults
}

// clientTLSError says which block of a client cannot be loaded.
type clientTLSError struct {
	of    *config.TLS
	block string
	err   error
}

func (e *clientTLSError) Error() string { return e.block + ": " + e.err.Error() }

// keep loads the TLS of a client or of its proxy, block, to an endpoint on host.
func (p *program) keep(t *config.TLS, block, endpoint string, o certs.Options) (secured, error) {
	o.SystemCAs, o.SkipVerify, o.Version = t.SystemCAs, t.SkipVerify, t.Version
	var k *certs.Keeper
	err := p.material(&o, t, &o.CA, &t.CA, "ca_source")
	if err == nil {
		k, err = certs.NewClient(o)
	}
	if err != nil {
		return secured{}, &clientTLSError{t, block, err}
	}
	return secured{keeper: k, endpoint: endpoint, path: block}, nil
}

func (p *program) link(c *config.Client, onlyPQ bool, environment func(connect.Target) (*connect.Proxy, error)) (
	l router.Link, all []secured, err error) {
	target, call := destination(c)
	call.Agent = "slimgo/" + cmp.Or(p.build.Version, "0")
	call.AnswerTimeout = c.RequestTimeout
	switch e, ok := compress.Named(strings.ToLower(c.Compression)); {
	case c.WebSocket() && c.Compression != "":
		call.Offer = &transport.Offer{Encoding: compress.Deflate}
	case ok && e != compress.None:
		call.Offer = &transport.Offer{Encoding: e}
	}
	for _, k := range slices.Sorted(maps.Keys(c.Headers)) {
		switch name := strings.ToLower(k); {
		case name == "user-agent": // in place of ours, not beside it
			call.Agent = c.Headers[k]
		case name == "origin" && call.WebSocket:
			call.Origin = cmp.Or(call.Origin, c.Headers[k])
		default:
			call.Fields = append(call.Fields, transport.Field{Name: name, Value: c.Headers[k]})
		}
	}
	d := &connect.Dialer{Proxy: environment}
	if c.Proxy.URL != "" {
		var of []secured
		if d.Proxy, of, err = p.proxyOf(c); err != nil {
			return l, nil, err
		}
		all = append(all, of...)
	}
	if k := c.Keepalive; k != nil {
		call.KeepaliveTime, call.KeepaliveTimeout = positive(k.HTTP2), positive(k.Timeout)
		d.KeepAlive = k.TCP
	}
	l = router.Link{
		Endpoint: withoutCredentials(c.Endpoint),
		Connect:  func(ctx context.Context) (net.Conn, error) { return d.Dial(ctx, target) },

		ConnectTimeout: c.ConnectTimeout, HandshakeTimeout: c.ConnectTimeout, Call: call, ID: c.LinkID,
		Kind: linkKinds[c.ConnectionType], AllowUnsigned: !c.RequireHeaderMAC, Backoff: backoff(&c.Backoff, rand.Float64),
	}
	if c.Secure() {
		s, err := p.keep(&c.TLS, "tls", l.Endpoint, certs.Options{ServerName: serverName(c, target), OnlyPQ: onlyPQ,
			Protocols: protocols(c.Endpoint)})
		if err != nil {
			return l, nil, err
		}
		l.TLS = s.keeper.Client
		all = append(all, s)
	}
	return l, all, nil
}

// proxyOf returns the choice of the proxy that a client names, for every target, and its TLS.
func (p *program) proxyOf(c *config.Client) (choose func(connect.Target) (*connect.Proxy, error), all []secured, err error) {
	u, err := connect.ParseProxy(c.Proxy.URL)
	if err != nil {
		return nil, nil, err
	}
	fixed := connect.Proxy{URL: u, Username: c.Proxy.Username, Password: c.Proxy.Password.Reveal(), Headers: c.Proxy.Headers}
	if u.Scheme == "https" {
		s, err := p.keep(&c.Proxy.TLS, "proxy.tls", u.Redacted(),
			certs.Options{ServerName: u.Hostname(), Protocols: []string{"http/1.1"}})
		if err != nil {
			return nil, nil, err
		}
		all = append(all, s)
	}
	return func(connect.Target) (*connect.Proxy, error) {
		p := fixed
		if all != nil {
			p.TLS = all[0].keeper.Client()
		}
		return &p, nil
	}, all, nil
}

var linkKinds = map[string]table.Kind{"edge": table.Edge, "peer": table.Peer, "remote": table.Remote}

// destination is where a client leads, and how its request calls it. Rules: P-dial-5.
func destination(c *config.Client) (connect.Target, transport.Call) {
	t := connect.Target{Network: "tcp", Secure: c.Secure()}
	call := transport.Call{Scheme: "http", Authority: "localhost"}
	if path, ok := strings.CutPrefix(c.Endpoint, "unix://"); ok {
		path, _, _ = strings.Cut(path, "?")
		path, _, _ = strings.Cut(path, "#")
		t.Network, t.Address, call.Scheme = "unix", "/"+strings.TrimLeft(path, "/"), "unix"
	} else if u, err := url.Parse(c.Endpoint); err == nil {
		port := "80"
		switch u.Scheme {
		case "https":
			call.Scheme, port = "https", "443"
		case "wss":
			port = "443"
		}
		t.Address, call.Authority = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)), u.Host
	}
	if c.WebSocket() {
		call.WebSocket, call.Scheme, call.Path, call.Origin = true, "", c.Target(), c.Origin
		return t, call
	}
	if o, err := url.Parse(c.Origin); err == nil && o.Host != "" {
		call.Scheme, call.Authority = o.Scheme, o.Host
	}
	return t, call
}

// serverName is what the certificate of the other end has to name. Rules: P-dial-5.
func serverName(c *config.Client, t connect.Target) string {
	host, _, _ := net.SplitHostPort(t.Address)
	if o, err := url.Parse("//" + c.Origin); c.WebSocket() && err == nil && o.Host == c.Origin && o.Hostname() != "" {
		host = o.Hostname()
	}
	return cmp.Or(c.ServerName, host)
}

// withoutCredentials is an endpoint as it may be logged: its query may hold a token, and so may it where the scheme should be that of a
// WebSocket and is another.
func withoutCredentials(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	if u.RawQuery != "" && u.Scheme != "unix" {
		u.RawQuery = "..."
	}
	return u.Redacted()
}

// backoff is the pause before each attempt after the first. random gives values from 0 to 1. Rules: P-dial-6.
func backoff(b *config.Backoff, random func() float64) func(int) (time.Duration, bool) {
	return func(failed int) (time.Duration, bool) {
		if b.MaxAttempts != nil && uint64(failed) > *b.MaxAttempts {
			return 0, false
		}
		if b.Type == "fixed_interval" {
			return b.Interval, true
		}
		pause := b.MaxDelay
		if ms := math.Pow(float64(b.Base), float64(failed)) * float64(b.Factor); ms < float64(b.MaxDelay)/1e6 {
			pause = time.Duration(ms * 1e6)
		}
		if b.Jitter {
			pause = time.Duration(float64(pause) * random())
		}
		return pause, true
	}
}
