package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Schemes are those of the listeners that Dial reaches: gRPC and WebSocket without and with TLS, gRPC over a unix socket.
func Schemes() []string { return []string{"http", "https", "ws", "wss", "unix"} }

// ParseURL reads the address of a node's listener: host:port, or a URL with one of Schemes. A unix socket's is unix:///PATH, a
// WebSocket's may have a path and a query.
func ParseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(Schemes(), u.Scheme):
		return nil, fmt.Errorf("no scheme %q%s", u.Scheme, suggest.Hint(u.Scheme, Schemes()))
	case u.Scheme == "unix" && (u.Host != "" || u.Path == ""):
		return nil, errors.New("want unix:///PATH, from the root")
	case u.Scheme != "unix" && (u.Port() == "" || u.Hostname() == ""):
		return nil, errors.New("want host:port")
	}
	return u, nil
}

// DialSocket opens the socket at an address: host:port, or the path of a unix socket, which begins with a slash.
func DialSocket(ctx context.Context, addr string) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	return new(net.Dialer).DialContext(ctx, network, addr) // TCP_NODELAY is on in Go
}

// connect opens the byte stream to the listener at u.
func (c *Conn) connect(ctx context.Context, u *url.URL) (net.Conn, error) {
	address := u.Host
	if u.Scheme == "unix" {
		address = u.Path
	}
	nc, err := c.o.DialContext(ctx, address)
	if err == nil && c.o.Unsent > 0 {
		boundUnsent(nc, c.o.Unsent)
	}
	if err != nil || u.Scheme != "https" && u.Scheme != "wss" {
		return nc, err
	}
	c.doing = negotiatingTLS
	config := c.o.TLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	config.NextProtos = []string{"h2"}
	if u.Scheme == "wss" {
		config.NextProtos = []string{"http/1.1"}
	}
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	over := newSecure(nc, config)
	if err := over.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return over, nil
}
