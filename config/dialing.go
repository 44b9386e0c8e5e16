package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/seed31b3bfd0/slimgo/wire/ws"
)

// checkDialled refuses what upstream's node refuses when it dials a client, which is part of its start, and what this
// node cannot dial. Rules: P-conf-22.
func (d *decoder) checkDialled(c *Client, path string) {
	refuse := func(p Position, key, text string) {
		if p.Line == 0 {
			p = c.Position
		}
		d.fail(&node{pos: p}, join(path, key), "datapath error", text).Context =
			[]string{contextStart, "datapath error", "configuration error"}
	}
	u, err := url.Parse(c.Endpoint)
	shown := withoutSecrets(c.Endpoint)
	switch s := scheme(c.Endpoint); {
	case s == "":
		refuse(c.Position, "endpoint", "invalid endpoint scheme: "+quote(shown)+": a client needs one, as in http://"+shown)
	case s == "unix":
		if rel := relativePath(c.Endpoint); rel != "" {
			d.warn(c.Position, join(path, "endpoint"), "is taken for unix:///"+rel+": write it with three slashes")
		}
		if !c.TLS.Insecure {
			refuse(c.TLS.Position, "tls", "unix domain sockets require tls.insecure=true")
		}
	case err != nil || u.Hostname() == "":
		refuse(c.Position, "endpoint", "endpoint "+quote(shown)+" is no "+s+"://HOST:PORT")
	case !isPort(u.Port()):
		refuse(c.Position, "endpoint", "endpoint "+quote(shown)+": port "+u.Port()+" is above 65535")
	case c.WebSocket() && strings.ContainsFunc(c.Target(), notInTarget):
		refuse(c.Position, "endpoint", "URI parse error: the path or query of "+quote(shown)+
			" has a space or a character that is not ASCII: percent-encode it")
	case s == "wss" && c.TLS.Insecure && c.TLS.CA.Type == "none":
		refuse(c.TLS.Position, "tls", "websocket TLS is required but no TLS configuration was provided: "+
			"wss:// needs tls without insecure, or write ws://")
	case c.Secure():
		d.checkTLS(&c.TLS, join(path, "tls"))
	case s == "https":
		d.warn(c.TLS.Position, join(path, "tls.insecure"), "has an endpoint of https:// dialled without TLS, as upstream does: write http:// if that is meant")
	}
	switch o, err := url.Parse(c.Origin); {
	case c.Origin == "":
	case c.WebSocket():
		if !httpguts.ValidHeaderFieldValue(c.Origin) {
			refuse(c.Position, "origin", "header value parse error: origin "+quote(c.Origin)+" can be no header field")
		}
	case err != nil || o.Scheme == "" || o.Host == "":
		refuse(c.Position, "origin", "origin "+quote(c.Origin)+" is no SCHEME://HOST[:PORT]: every request would fail")
	}
	if err := checkRate(c.RateLimit); err != nil {
		refuse(c.Position, "rate_limit", err.Error())
	}
	for name, value := range c.Headers {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			refuse(c.Position, "headers", "header "+quote(name)+": its name or value is none of HTTP")
		}
	}
	d.checkProxy(&c.Proxy, c.Position, join(path, "proxy"))
	d.checkAuth(&c.Auth, join(path, "auth"))
}

// notInTarget reports whether a character must not stand in the target of a request as it is (RFC 9112 section 3.2).
func notInTarget(r rune) bool { return r <= ' ' || r > '~' }

// WebSocket reports whether the endpoint is reached by WebSocket.
func (c *Client) WebSocket() bool { return isWebSocket(c.Endpoint) }

// Target is the path of the endpoint with its query, as they stand there, but for a fragment; "/" if it has no path.
func (c *Client) Target() string {
	_, rest, _ := strings.Cut(c.Endpoint, "://")
	rest, _, _ = strings.Cut(rest, "#")
	switch at := strings.IndexAny(rest, "/?"); {
	case at < 0:
		return "/"
	case rest[at] == '?':
		return "/" + rest[at:]
	default:
		return rest[at:]
	}
}

// forWebSocket leaves out what says nothing to a WebSocket, with a warning. Rules: P-ws-4, P-conf-24.
func (d *decoder) forWebSocket(c *Client, o *object) {
	if !c.WebSocket() {
		return
	}
	for _, key := range []string{"rate_limit", "request_timeout", "buffer_size"} {
		if v := o.n.get(key); v != nil && v.kind != nullKind {
			d.warn(o.at(key), join(o.path, key), "has no effect on a WebSocket")
		}
	}
	c.RateLimit, c.RequestTimeout, c.BufferSize = "", 0, nil
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		if ws.Reserved(name) {
			d.warn(o.at("headers"), join(join(o.path, "headers"), name), "is ignored: a reserved header of the WebSocket handshake")
			delete(c.Headers, name)
		}
	}
}

// checkProxy refuses what upstream would silently do without.
func (d *decoder) checkProxy(p *Proxy, at Position, path string) {
	if p.URL == "" {
		return
	}
	if p.Position.Line != 0 {
		at = p.Position
	}
	u, err := url.Parse(p.URL)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || !isPort(u.Port()):
		d.fail(&node{pos: at}, join(path, "url"), "", "the URL of the proxy is no http://HOST:PORT or https://HOST:PORT").Context =
			[]string{contextStart, "datapath error", "configuration error"}
	case u.Scheme == "https" && p.TLS.Insecure && p.TLS.CA.Type == "none":
		d.fail(&node{pos: at}, join(path, "tls"), "", "proxy TLS missing: a proxy of https:// needs tls without insecure").Context =
			[]string{contextStart, "datapath error", "configuration error"}
	case u.Scheme == "https":
		d.checkTLS(&p.TLS, join(path, "tls"))
	}
}

// isPort reports whether the digits of a URL's port are a number of one; "": the scheme's.
func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return s == "" || err == nil
}

// checkRate reads COUNT/SECONDS, which limits the requests of a connection; a link makes one. Upstream panics on a
// count of 0.
func checkRate(s string) error {
	if s == "" {
		return nil
	}
	count, seconds, ok := strings.Cut(s, "/")
	n, err := strconv.ParseUint(count, 10, 64)
	m, err2 := strconv.ParseUint(seconds, 10, 64)
	if !ok || err != nil || err2 != nil || n == 0 || m == 0 {
		return fmt.Errorf("rate limit parse error: %s is no COUNT/SECONDS, such as 100/1", quote(s))
	}
	return nil
}

// Secure reports whether TLS is spoken to the endpoint: https and wss say so, but https is plain if the file asks for
// that and names no roots.
func (c *Client) Secure() bool {
	switch scheme(c.Endpoint) {
	case "https":
		return !c.TLS.Insecure || c.TLS.CA.Type != "none"
	case "wss":
		return true
	}
	return false
}

// checkTwice refuses to dial an endpoint twice, as upstream does.
func (d *decoder) checkTwice(s *Service, path string) {
	seen := map[string]bool{}
	for i := range s.Dataplane.Clients {
		c := &s.Dataplane.Clients[i]
		if seen[c.Endpoint] {
			d.fail(&node{pos: c.Position}, indexed(path, i)+".endpoint", "datapath error",
				"client already connected: endpoint "+quote(withoutSecrets(c.Endpoint))+" stands in the list before").Context =
				[]string{contextStart, "datapath error"}
		}
		seen[c.Endpoint] = true
	}
}
