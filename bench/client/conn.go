package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

const (
	version   = uplink.Version // the release whose behaviour is measured for
	prefixLen = 5              // gRPC: flag, big-endian length

	setupLimit = 20 * time.Second
)

// Dialer opens edge connections to SLIM nodes, at host:port or the URL of a listener: http, https, ws, wss, unix.
type Dialer struct {
	// Net opens the socket; nil: the system's. Simulated networks come in here.
	Net func(ctx context.Context, addr string) (net.Conn, error)

	// TLS is for listeners that have it; nil: authorities of the system, no certificate.
	TLS *tls.Config

	// Limit is how long a link may take to come about; 0: 20 s.
	Limit time.Duration
}

// Protocol implements load.Dialer.
func (Dialer) Protocol() string { return load.SLIM }

// Dial connects, opens the channel, negotiates the link and returns when headers can be signed.
func (d Dialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	c := &Conn{sink: o.Sink}
	if o.TLS != nil {
		d.TLS = o.TLS
	}
	if err := d.dial(ctx, addr, c, uplink.Options{Handle: c.handle, ReadBuffer: o.ReadBuffer}); err != nil {
		return nil, fmt.Errorf("slim %s: %w", addr, err)
	}
	return c, nil
}

// Schemes are those of a node's listeners.
func Schemes() []string { return []string{"http", "https", "ws", "wss", "unix"} }

// ParseURL reads the address of a listener, host:port or a URL.
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

// dial connects c.
func (d Dialer) dial(ctx context.Context, addr string, c *Conn, o uplink.Options) error {
	o.UserAgent, o.NodeID, o.Setup, o.Verify = "slim-bench/1", "slim-bench", setupLimit, uplink.VerifyFirst
	if d.Limit > 0 {
		o.Setup = d.Limit
	}
	var said *greeting
	u := &url.URL{Scheme: "http", Host: addr}
	if d.Net == nil {
		var err error
		if u, err = ParseURL(addr); err != nil {
			return err
		}
		o.WebSocket, o.Path = strings.HasPrefix(u.Scheme, "ws"), u.RequestURI()
		if o.Scheme = u.Scheme; u.Scheme == "unix" {
			o.Authority = "localhost"
		}
	}
	o.DialContext = func(ctx context.Context, _ string) (net.Conn, error) {
		nc, err := d.open(ctx, u)
		if err != nil {
			return nil, err
		}
		c.socket = load.NewSocket(nc)
		said = &greeting{Conn: c.socket}
		if u.Scheme == "https" || u.Scheme == "wss" {
			secure := tls.Client(c.socket, d.config(u))
			if err := secure.HandshakeContext(ctx); err != nil {
				_ = nc.Close()
				return nil, untrusted(err)
			}
			said.Conn = secure
		}
		return said, nil
	}
	begun := time.Now()
	var err error
	if c.Conn, err = uplink.Dial(ctx, u.Host, &o); err != nil {
		return explain(err, said, u, time.Since(begun))
	}
	c.linkID = c.Link().ID
	return nil
}

// open opens the socket, and says what to do where nobody listens.
func (d Dialer) open(ctx context.Context, u *url.URL) (net.Conn, error) {
	if d.Net != nil {
		return d.Net(ctx, u.Host)
	}
	network, address := "tcp", u.Host
	if u.Scheme == "unix" {
		network, address = "unix", u.Path
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, address) // TCP_NODELAY is on in Go
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
		return nil, fmt.Errorf("%s: nobody listens there: start the node, or check the address (%w)", address, err)
	}
	return nc, err
}

// config is that of a connection to u.
func (d Dialer) config(u *url.URL) *tls.Config {
	c := d.TLS.Clone()
	if c == nil {
		c = new(tls.Config)
	}
	c.NextProtos = []string{"h2"}
	if u.Scheme == "wss" {
		c.NextProtos = []string{"http/1.1"}
	}
	if c.ServerName == "" {
		c.ServerName = u.Hostname()
	}
	return c
}

// Conn is one connection, of the kind that apps have.
type Conn struct {
	*uplink.Conn
	socket *load.Socket
	sink   load.Sink // nil: what arrives is dropped
	linkID string
}

// handle hands on what one read has brought. Reader.
func (c *Conn) handle(msgs [][]byte) {
	if c.sink == nil {
		return
	}
	c.sink.Begin(c.socket.ReadAt)
	for _, msg := range msgs {
		c.sink.Deliver(msg)
	}
	c.sink.Flush()
}

// Close implements load.Conn: abrupt, as of an app that dies.
func (c *Conn) Close() error {
	c.Abort()
	return nil
}

// Pace implements load.Conn.
func (c *Conn) Pace(bytesPerSecond int) { c.socket.Pace(bytesPerSecond) }

// Waited returns how long sending has waited for windows and sockets, in nanoseconds.
func (c *Conn) Waited() int64 { return int64(c.Conn.Waited()) + c.socket.Waited() }

// Publisher implements load.Conn.
func (c *Conn) Publisher(m load.Message) (load.Publisher, error) {
	if key := c.NewMAC(); key != nil {
		return newPublisher(c, m, key)
	}
	return nil, c.Err()
}

// newBlindMAC costs what it costs with a node; nobody checks it.
func newBlindMAC() *mac.MAC { return mac.New(make([]byte, 32), blindLink) }
