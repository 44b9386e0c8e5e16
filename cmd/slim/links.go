package main

import (
	"cmp"
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/connect"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// links are the clients of a service as a node dials them. Files with clients that cannot be dialled were refused.
func (p *program) links(s *config.Service) []router.Link {
	getenv := func(k string) string { v, _ := p.env(k); return v }
	environment := connect.FromEnvironment(getenv)
	var out []router.Link
	for i := range s.Dataplane.Clients {
		out = append(out, p.link(&s.Dataplane.Clients[i], environment))
	}
	return out
}

func (p *program) link(c *config.Client, environment func(connect.Target) (*connect.Proxy, error)) router.Link {
	target, call := destination(c)
	call.Agent = "slimgo/" + cmp.Or(p.build.Version, "0")
	call.AnswerTimeout = c.RequestTimeout
	for _, k := range slices.Sorted(maps.Keys(c.Headers)) {
		call.Fields = append(call.Fields, transport.Field{Name: strings.ToLower(k), Value: c.Headers[k]})
	}
	d := &connect.Dialer{Proxy: environment}
	if c.Proxy.URL != "" {
		u, err := connect.ParseProxy(c.Proxy.URL)
		proxy := &connect.Proxy{URL: u, Username: c.Proxy.Username, Password: c.Proxy.Password.Reveal(), Headers: c.Proxy.Headers}
		d.Proxy = func(connect.Target) (*connect.Proxy, error) { return proxy, err }
	}
	if k := c.Keepalive; k != nil {
		call.KeepaliveTime, call.KeepaliveTimeout = positive(k.HTTP2), positive(k.Timeout)
		d.KeepAlive = k.TCP
	}
	return router.Link{
		Endpoint: withoutCredentials(c.Endpoint),
		Connect:  func(ctx context.Context) (net.Conn, error) { return d.Dial(ctx, target) },

		ConnectTimeout: c.ConnectTimeout, Call: call, ID: c.LinkID, Kind: linkKinds[c.ConnectionType],
		AllowUnsigned: !c.RequireHeaderMAC, Backoff: backoff(&c.Backoff, rand.Float64),
	}
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
		if u.Scheme == "https" {
			call.Scheme, port = "https", "443"
		}
		t.Address, call.Authority = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)), u.Host
	}
	if o, err := url.Parse(c.Origin); err == nil && o.Host != "" {
		call.Scheme, call.Authority = o.Scheme, o.Host
	}
	return t, call
}

// withoutCredentials is an endpoint as it may be logged.
func withoutCredentials(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
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
