package connect

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// Target is where to connect.
type Target struct {
	// Network is tcp or unix.
	Network string
	// Address is host:port, or the path of a socket.
	Address string
	// Secure says that TLS follows, which only the choice of a proxy asks.
	Secure bool
}

// Dialer connects. The zero value does so directly. Its methods are safe for all.
type Dialer struct {
	// Proxy returns the proxy for a target, nil for none; nil: never one. Unix sockets have none.
	Proxy func(Target) (*Proxy, error)
	// KeepAlive is after which silence TCP itself asks for a sign of life; 0: it does not.
	KeepAlive time.Duration
}

// Dial connects to t. The context bounds all of it, the proxy's answer included. The error says what could not be
// reached.
func (d *Dialer) Dial(ctx context.Context, t Target) (net.Conn, error) {
	var p *Proxy
	if d.Proxy != nil && t.Network == "tcp" {
		var err error
		if p, err = d.Proxy(t); err != nil {
			return nil, err
		}
	}
	if p == nil {
		return d.direct(ctx, t.Network, t.Address)
	}
	c, err := d.direct(ctx, "tcp", p.address())
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.name(), err)
	}
	c, err = p.tunnel(ctx, c, t.Address)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.name(), err)
	}
	return c, nil
}

func (d *Dialer) direct(ctx context.Context, network, address string) (net.Conn, error) {
	nd := net.Dialer{KeepAlive: d.KeepAlive}
	if d.KeepAlive == 0 {
		nd.KeepAlive = -1
	}
	c, err := nd.DialContext(ctx, network, address)
	if err != nil && network == "unix" && !strings.HasPrefix(address, "@") {
		return nil, fmt.Errorf("%w (nobody listens on that socket, or it is not for this user)", err)
	}
	return c, err
}

// guard ends what is done on c when ctx is over. The function that it returns stops that, and reports whether ctx was first:
// then c is of no use any more.
func guard(ctx context.Context, c net.Conn) (release func() bool) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return func() bool {
		if !stop() {
			return true
		}
		_ = c.SetDeadline(time.Time{})
		return false
	}
}
