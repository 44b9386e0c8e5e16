package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// What is going on until messages may be sent, in errors.
const (
	authorizing     = "getting credentials"
	connecting      = "connecting"
	negotiatingTLS  = "negotiating TLS"
	openingChannel  = "opening the channel"
	negotiatingLink = "negotiating the link"
)

// Dial connects to a node's listener, host:port or a URL as ParseURL takes it, and returns when messages may be sent. ctx
// bounds that, and nothing after. The error is an *Error, whose Advice says what to do.
func Dial(ctx context.Context, addr string, o *Options) (*Conn, error) {
	begun := time.Now()
	c := &Conn{addr: addr, ready: make(chan struct{}), done: make(chan struct{}), doing: connecting}
	c.work.L, c.room.L, c.less.L = &c.mu, &c.mu, &c.mu
	c.inbox.some = make(chan struct{}, 1)
	failed := func(f Fault, err error) (*Conn, error) {
		return nil, &Error{Fault: f, Doing: c.doing, Addr: addr, Err: err}
	}
	u := &url.URL{Scheme: "http", Host: addr}
	if strings.Contains(addr, "://") {
		var err error
		if u, err = ParseURL(addr); err != nil {
			return failed(Ours, err)
		}
	}
	c.o = o.filled(u)
	if c.o.Setup > 0 {
		var cancel context.CancelFunc
		cause := fmt.Errorf("not done within %v: %w", c.o.Setup, context.DeadlineExceeded)
		ctx, cancel = context.WithTimeoutCause(ctx, c.o.Setup, cause)
		defer cancel()
	}
	if err := c.authorize(ctx); err != nil {
		return failed(Ours, err)
	}
	nc, err := c.connect(ctx, u)
	if err != nil {
		return failed(Network, err)
	}
	c.nc, c.web = nc, u.Scheme == "ws" || u.Scheme == "wss"
	err = c.open(u)
	c.o.Fields = nil // credentials may be among them
	if err != nil {
		_ = nc.Close()
		return failed(Ours, err)
	}
	c.start()
	select {
	case <-c.ready:
		c.mu.Lock()
		c.startBeats()
		c.mu.Unlock()
		return c, nil
	case <-c.done:
	case <-ctx.Done():
		c.mu.Lock()
		c.abort(&Error{Fault: Network, Doing: c.doing, Addr: addr, Err: context.Cause(ctx)})
		c.mu.Unlock()
		<-c.done
	}
	var e *Error
	if errors.As(c.err, &e) {
		e.setup = setup{said: c.said, waited: time.Since(begun), overWeb: c.web}
	}
	return nil, c.err
}

// authorize gets what the request has to show.
func (c *Conn) authorize(ctx context.Context) error {
	if c.o.Authorization == nil {
		return nil
	}
	c.doing = authorizing
	value, err := c.o.Authorization(ctx)
	switch {
	case err != nil:
		return err
	case len(value) > maxAuthorization:
		return fmt.Errorf("the value of authorization has %d bytes, and nodes take %d", len(value), maxAuthorization)
	case strings.ContainsFunc(value, unicode.IsControl):
		return errors.New("the value of authorization has a line break, or another control character, which no request can carry")
	case value != "":
		c.o.Fields = append(slices.Clip(c.o.Fields), Field{"authorization", value})
	}
	c.doing = connecting
	return nil
}

// open prepares the request and, right behind it, that of the link: whoever answers both has answered one round trip
// sooner. By WebSocket the link has to wait until the channel is open.
func (c *Conn) open(u *url.URL) error {
	c.doing = openingChannel
	if c.web {
		c.f = newWebSocket(&c.o, u.RequestURI())
	} else {
		c.f = newGRPC(&c.o)
	}
	if err := c.f.open(); err != nil {
		return err
	}
	c.out = c.f.control(c.out)
	if c.o.NoLink {
		return nil
	}
	c.machine = link.New(&link.Config{Role: link.Dialer, LinkID: c.o.LinkID, Kind: c.o.Kind.link(), Version: c.o.Version,
		NodeID: c.o.NodeID, Deployment: c.o.Deployment, Strict: !c.o.AllowUnsigned, EnforcePQC: c.o.EnforcePQC})
	req, err := c.machine.Start(nil)
	if err != nil {
		return err
	}
	c.queue(appendPrefix(nil, len(req)), req)
	return nil
}

// opened notes that the node has opened the channel. Reader.
func (c *Conn) opened() {
	c.mu.Lock()
	c.doing = negotiatingLink
	c.packing.encoding = c.in.packs
	c.mu.Unlock()
	if c.o.NoLink {
		c.live()
	}
}

// live begins the connection's life.
func (c *Conn) live() {
	c.mu.Lock()
	c.doing = "reading"
	c.mu.Unlock()
	close(c.ready)
}

var errRefused = errors.New("the link must not be")

// negotiate takes the node's first message. Reader.
func (c *Conn) negotiate(msg []byte) (Fault, error) {
	if _, err := c.machine.Step(nil, msg); err != nil {
		var peer *link.PeerError
		if errors.As(err, &peer) {
			return Node, err
		}
		return Ours, err
	}
	r := c.machine.Result()
	if r.Refusal != "" {
		return Ours, fmt.Errorf("%w: %s", errRefused, r.Refusal)
	}
	c.link = Link{ID: r.LinkID, Kind: kindOf(r.Kind), Hybrid: r.Hybrid, RemoteVersion: r.RemoteVersion,
		RemoteNode: r.RemoteNode, RemoteDeployment: r.RemoteDeployment}
	if r.Key != nil && c.link.Kind != Peer {
		c.link.Signed = true
		c.signer.hasher = hasher{mac: mac.New(r.Key, r.LinkID), linkID: r.LinkID}
		c.verifier = hasher{mac: mac.New(r.Key, r.LinkID), linkID: r.LinkID}
		c.mu.Lock()
		c.key = append(link.Key(nil), r.Key...)
		c.mu.Unlock()
	}
	c.machine.Close()
	c.machine = nil
	c.live()
	return 0, nil
}
