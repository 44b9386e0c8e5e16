package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// parseNode reads where a node listens.
func parseNode(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	if _, err := uplink.ParseURL(text); err != nil {
		return "", fmt.Errorf("%w: node %q: %w", ErrConfig, text, err)
	}
	return text, nil
}

// Authorizer makes what an app shows to a node, to be let in. It is asked by one goroutine at a time, whenever a connection is dialled,
// so that it can show something new each time.
type Authorizer interface {
	// Authorization returns the value of the header of that name, such as "Bearer …", of 16 KiB at most; "": it has nothing to show.
	// Where it fails no connection is made, and it is asked again.
	Authorization(ctx context.Context) (string, error)
}

// authorization is what connections to the nodes of o show.
func (o *Options) authorization(nodes []string) func(context.Context) (string, error) {
	if o.Authorization == nil {
		return o.Uplink.Authorization
	}
	for _, node := range nodes {
		if u, err := uplink.ParseURL(node); err == nil && inTheClear(u) {
			o.Logger.Warn("credentials go to this node in the clear: use https or wss", "node", u.Host)
		}
	}
	failures := new(seldom)
	return func(ctx context.Context) (string, error) {
		value, err := o.Authorization.Authorization(ctx)
		if err != nil {
			failures.warn(o.Logger, time.Now(), "no credentials to show to the node", "error", err)
			return "", fmt.Errorf("%w: no credentials to show to the node: %w", ErrUnauthorized, err)
		}
		return value, nil
	}
}

// inTheClear reports whether others can read what is sent to u.
func inTheClear(u *url.URL) bool {
	if u.Scheme != "http" && u.Scheme != "ws" {
		return false
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// dial keeps a connection to one of the nodes of o.
func dial(ctx context.Context, o *Options, from Incoming) (Link, error) {
	names := o.Nodes
	if len(names) == 0 {
		names = []string{DefaultNode}
	}
	nodes := make([]string, len(names))
	for i, name := range names {
		var err error
		if nodes[i], err = parseNode(name); err != nil {
			return nil, err
		}
	}
	show, refusals := o.authorization(nodes), new(seldom)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var connected atomic.Bool
	attempt := 0 // the keeper makes one at a time
	k, err := uplink.Keep(ctx, uplink.Keeping{Backoff: o.Backoff, Changed: func(err error) {
		if err == nil {
			connected.Store(true)
		}
		from.Changed(err)
	}, Dial: func(ctx context.Context) (*uplink.Conn, error) {
		uo := o.Uplink
		uo.Handle, uo.TLS, uo.Authorization = from.Messages, o.TLS, show
		uo.Queue, uo.Unsent = cmp.Or(uo.Queue, mostOnLink), cmp.Or(uo.Unsent, mostOnLink)
		c, err := uplink.Dial(ctx, nodes[attempt%len(nodes)], &uo)
		attempt++
		if refusedByNode(err) {
			refusals.warn(o.Logger, time.Now(), "the node does not let this app in", "node", nodes[(attempt-1)%len(nodes)], "error", err)
		}
		if err != nil && !connected.Load() && len(nodes) == 1 && forGood(err) {
			cancel(err) // waiting does not help
		}
		return c, err
	}})
	if err == nil {
		return k, nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ctx.Err()) {
		err = cause
	}
	if refusedByNode(err) {
		err = fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	return nil, err
}

// attach keeps a connection to the node in this process. Where the first attempt fails, waiting does not help.
func attach(ctx context.Context, o *Options, from Incoming) (Link, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var connected atomic.Bool
	lo := uplink.LocalOptions{App: o.Name.String(), Handle: from.Messages}
	k, err := uplink.Keep(ctx, uplink.Keeping{Backoff: o.Backoff, Changed: func(err error) {
		if err == nil {
			connected.Store(true)
		}
		from.Changed(err)
	}, Attach: func(ctx context.Context) (*uplink.Local, error) {
		c, err := uplink.Attach(ctx, o.InProcess, &lo)
		if err != nil && !connected.Load() {
			cancel(err)
		}
		return c, err
	}})
	if err == nil {
		return k, nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ctx.Err()) {
		err = cause
	}
	return nil, err
}

// forGood reports whether an attempt has failed for a reason that another one will not mend.
func forGood(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert) || refusedByNode(err)
}
