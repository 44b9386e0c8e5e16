package config

import (
	"time"
)

// Client is one entry of a `clients` list: something to dial.
type Client struct {
	Position       Position // of the endpoint
	Endpoint       string
	Origin         string
	ServerName     string
	Compression    string // "Gzip", "Zstd", "Snappy", of a WebSocket "Deflate", too; "": none. Unused upstream
	RateLimit      string // "COUNT/SECONDS"
	TLS            TLS
	Keepalive      *ClientKeepalive // nil: none
	Proxy          Proxy
	ConnectTimeout time.Duration // of each step, of a WebSocket for all until it is open; never 0
	RequestTimeout time.Duration // until the response begins; 0: the node's own
	BufferSize     *uint64       // queued requests
	Headers        map[string]string
	Auth           Auth
	Backoff        Backoff
	Metadata       map[string]any
	LinkID         string // "": a new uuid

	RequireHeaderMAC bool
	ConnectionType   string // "edge", "peer" or "remote"
}

// ClientKeepalive is `keepalive` of a client.
type ClientKeepalive struct {
	TCP, HTTP2, Timeout time.Duration
	WhileIdle           bool
}

// Proxy is `proxy` of a client.
type Proxy struct {
	Position Position // of the key; zero if absent
	URL      string   // "": environment variables decide
	TLS      TLS
	Username string
	Password Secret
	Headers  map[string]string
}

// Backoff is `backoff` of a client: the pause before each retry.
type Backoff struct {
	Type        string // "exponential" or "fixed_interval"
	Base        uint64 // exponential: milliseconds, raised to the power of the attempt
	Factor      uint64 // exponential
	MaxDelay    time.Duration
	Jitter      bool
	Interval    time.Duration // fixed_interval
	MaxAttempts *uint64       // nil: unlimited
}

// defaultConnectTimeout bounds what upstream does not: nobody waits for ever for a host that is silent.
const defaultConnectTimeout = 30 * time.Second

func (d *decoder) client(n *node, path string, u unknown) Client {
	o := d.object(n, path, "struct ClientConfig", u)
	c := d.clientFields(o)
	o.end()
	return c
}

func defaultClient() Client {
	return Client{
		TLS: defaultTLS(), Proxy: Proxy{TLS: defaultTLS()}, Auth: Auth{Type: "none"},
		Backoff:          Backoff{Type: "fixed_interval", Interval: 2 * time.Second},
		RequireHeaderMAC: true, ConnectionType: "edge", ConnectTimeout: defaultConnectTimeout,
	}
}

// clientFields reads the keys of a client out of a mapping that may hold more.
func (d *decoder) clientFields(o *object) Client {
	path := o.path
	c := defaultClient()
	o.required("endpoint")
	o.str("endpoint", &c.Endpoint)
	c.Position = o.at("endpoint")
	o.optStr("origin", &c.Origin)
	o.optStr("server_name", &c.ServerName)
	d.compression(o, &c)
	o.optStr("rate_limit", &c.RateLimit)
	if v := o.get("tls"); v != nil {
		d.tls(&c.TLS, v, join(path, "tls"), clientSide)
		c.TLS.Position = o.at("tls")
	}
	if v := o.get("keepalive"); v != nil && v.kind != nullKind {
		c.Keepalive = d.clientKeepalive(v, join(path, "keepalive"))
	}
	if v := o.get("proxy"); v != nil {
		d.proxy(&c.Proxy, v, join(path, "proxy"))
		c.Proxy.Position = o.at("proxy")
	}
	if o.duration("connect_timeout", &c.ConnectTimeout); c.ConnectTimeout == 0 { // none, upstream
		c.ConnectTimeout = defaultConnectTimeout
	}
	o.duration("request_timeout", &c.RequestTimeout)
	o.optUint("buffer_size", "usize", 64, &c.BufferSize)
	c.Headers = o.texts("headers")
	if v := o.get("auth"); v != nil {
		c.Auth = d.auth(v, join(path, "auth"), clientSide)
		c.Auth.Position = o.at("auth")
	}
	if v := o.get("backoff"); v != nil {
		c.Backoff = d.backoff(v, join(path, "backoff"))
	}
	c.Metadata = o.data("metadata")
	o.str("link_id", &c.LinkID)
	o.bool("require_header_mac", &c.RequireHeaderMAC)
	o.enum("connection_type", &c.ConnectionType, "remote", "peer", "edge")
	if c.Metadata != nil {
		o.unused("metadata", "")
	}
	d.forWebSocket(&c, o)
	if !c.WebSocket() {
		o.unused("rate_limit", ": a link makes one request")
		o.unused("buffer_size", ": a link makes one request")
	}
	return c
}

// compression reads the key, whose words are upstream's, though it compresses nothing. What is not to be had here is no
// reason to refuse a file that is good there. Rules: P-comp-7.
func (d *decoder) compression(o *object, c *Client) {
	o.optEnum("compression", &c.Compression, "Gzip", "Zlib", "Deflate", "Snappy", "Zstd", "Lz4", "None", "Empty")
	switch c.Compression {
	case "None", "Empty":
		c.Compression = ""
	case "Zlib", "Deflate", "Lz4":
		if c.WebSocket() && c.Compression == "Deflate" {
			return
		}
		d.warn(o.at("compression"), join(o.path, "compression"), "has no effect: nodes compress with Gzip, Zstd or Snappy")
		c.Compression = ""
	}
}

func (d *decoder) clientKeepalive(n *node, path string) *ClientKeepalive {
	k := &ClientKeepalive{TCP: time.Minute, HTTP2: time.Minute, Timeout: 10 * time.Second}
	o := d.object(n, path, "struct KeepaliveConfig", lenient)
	o.duration("tcp_keepalive", &k.TCP)
	o.duration("http2_keepalive", &k.HTTP2)
	o.duration("timeout", &k.Timeout)
	o.bool("keep_alive_while_idle", &k.WhileIdle)
	o.end()
	return k
}

func (d *decoder) proxy(p *Proxy, n *node, path string) {
	o := d.object(n, path, "struct ProxyConfig", lenient)
	o.optStr("url", &p.URL)
	if v := o.get("tls"); v != nil {
		d.tls(&p.TLS, v, join(path, "tls"), clientSide)
	}
	o.optStr("username", &p.Username)
	if v := n.get("password"); v == nil || v.kind != nullKind {
		o.secret("password", &p.Password)
	} else {
		o.get("password")
	}
	p.Headers = o.texts("headers")
	o.end()
}

func (d *decoder) backoff(n *node, path string) Backoff {
	o, kind := d.tagged(n, path, "Strategy", "exponential", "fixed_interval")
	b := Backoff{Type: kind}
	if o == nil {
		return b
	}
	if kind == "exponential" {
		b.Base, b.Factor, b.MaxDelay = 100, 1, time.Second
		o.uint("base", "u64", 64, &b.Base)
		o.uint("factor", "u64", 64, &b.Factor)
		o.duration("max_delay", &b.MaxDelay)
		o.bool("jitter", &b.Jitter)
	} else {
		b.Interval = time.Second
		o.duration("interval", &b.Interval)
	}
	o.optUint("max_attempts", "usize", 64, &b.MaxAttempts)
	o.end()
	return b
}
