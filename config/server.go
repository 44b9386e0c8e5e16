package config

import (
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Server is one entry of a `servers` list: something to listen on.
type Server struct {
	Position Position // of the endpoint; zero in Default
	Endpoint string   // "127.0.0.1:46357", "[::1]:0", "unix://PATH", "ws://HOST:PORT/PATH"; port 0 takes a free one
	TLS      TLS
	Auth     Auth

	// Unset means nil. MaxFrameSize is in MiB, 1 to 15; MaxHeaderList in bytes.
	MaxFrameSize, MaxStreams, MaxHeaderList *uint64

	Keepalive ServerKeepalive
	Metadata  map[string]any // free data, told to a control plane

	// AllowedOrigins is ours, which upstream ignores: those of pages that may connect by WebSocket, SCHEME://HOST[:PORT] or
	// null; nil: any.
	AllowedOrigins     []string
	SlowConsumer       string // ours, which upstream ignores: a word of --slow-consumer; "": absent
	Authorization      string // ours, which upstream ignores: a file for LoadRules; "": absent
	RequireHeaderMAC   bool
	NegotiationTimeout uint64 // seconds
}

// ServerKeepalive is `keepalive` of a server.
type ServerKeepalive struct {
	Time       time.Duration // silence before a ping
	Timeout    time.Duration // wait for its answer
	MaxAge     time.Duration // then a client is to open its next stream elsewhere; 0: never. Nothing to a WebSocket
	MaxIdle    time.Duration // unused, also upstream
	MaxAgeWait time.Duration // `max_connection_age_grace`: unused, also upstream
}

func defaultServer() Server {
	return Server{
		TLS: defaultTLS(), Auth: Auth{Type: "none"}, RequireHeaderMAC: true, NegotiationTimeout: 5,
		Keepalive: ServerKeepalive{
			Time: 120 * time.Second, Timeout: 20 * time.Second, MaxAge: 2 * time.Hour, MaxIdle: time.Hour,
			MaxAgeWait: 5 * time.Minute,
		},
	}
}

func (d *decoder) server(n *node, path string) Server {
	s := defaultServer()
	o := d.object(n, path, "struct ServerConfig", lenient)
	o.required("endpoint")
	o.str("endpoint", &s.Endpoint)
	s.Position = o.at("endpoint")
	if v := o.get("tls"); v != nil {
		d.tls(&s.TLS, v, join(path, "tls"), serverSide)
		s.TLS.Position = o.at("tls")
	}
	http2Only := true
	if o.bool("http2_only", &http2Only); !http2Only {
		d.warn(o.at("http2_only"), join(path, "http2_only"), "has no effect: a listener speaks HTTP/2 only")
	}
	o.optUint("max_frame_size", "u32", 32, &s.MaxFrameSize)
	o.optUint("max_concurrent_streams", "u32", 32, &s.MaxStreams)
	o.optUint("max_header_list_size", "u32", 32, &s.MaxHeaderList)
	var ignored *uint64
	for _, key := range []string{"read_buffer_size", "write_buffer_size"} {
		o.optUint(key, "usize", 64, &ignored)
		o.unused(key, "")
	}
	if v := o.get("keepalive"); v != nil {
		d.serverKeepalive(&s.Keepalive, v, join(path, "keepalive"), isWebSocket(s.Endpoint))
	}
	if v := o.get("auth"); v != nil {
		s.Auth = d.auth(v, join(path, "auth"), serverSide)
		s.Auth.Position = o.at("auth")
	}
	s.Metadata = o.data("metadata")
	d.allowedOrigins(&s, o)
	o.optEnum("slow_consumer", &s.SlowConsumer, "adaptive", "block", "drop", "disconnect")
	d.authorization(&s, o)
	o.bool("require_header_mac", &s.RequireHeaderMAC)
	o.uint("negotiation_timeout_secs", "u64", 64, &s.NegotiationTimeout)
	if alias := "link_hmac_timeout_secs"; n.get(alias) != nil && n.get("negotiation_timeout_secs") != nil {
		d.bad(&node{pos: o.at(alias)}, path, "duplicate field `negotiation_timeout_secs`: "+alias+" is its other name")
	}
	o.uint("link_hmac_timeout_secs", "u64", 64, &s.NegotiationTimeout)
	poll := uint64(5)
	o.uint("link_hmac_poll_interval_ms", "u64", 64, &poll)
	o.unused("link_hmac_poll_interval_ms", "")
	o.end()
	d.checkLimits(&s, o)
	return s
}

// allowedOrigins reads the key of that name, which is ours: so what can match no page is an error. Rules: P-conf-27.
func (d *decoder) allowedOrigins(s *Server, o *object) {
	const key = "allowed_origins"
	v := o.get(key)
	if v == nil || v.kind == nullKind {
		return
	}
	if !isWebSocket(s.Endpoint) {
		d.warn(o.at(key), join(o.path, key), "has no effect but on a listener of WebSocket")
	}
	s.AllowedOrigins = []string{}
	for i, item := range o.list(key) {
		origin, at := d.text(item, indexed(join(o.path, key), i)), indexed(join(o.path, key), i)
		if u, err := url.Parse(origin); origin != "null" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin) {
			d.bad(item, at, "origin "+quote(origin)+" is no SCHEME://HOST[:PORT], as in https://app.example.org, and not null: no page has it")
		}
		s.AllowedOrigins = append(s.AllowedOrigins, origin)
	}
}

// authorization reads the key of that name, which is ours. What takes no effect would leave open what it is to close: so that
// is an error. Rules: P-rule-9.
func (d *decoder) authorization(s *Server, o *object) {
	const key = "authorization"
	v := o.get(key)
	if v == nil {
		return
	}
	if o.str(key, &s.Authorization); s.Authorization == "" && v.kind == stringKind {
		d.bad(v, join(o.path, key), "the path of a file with rules is missing")
	}
}

// checkLimits warns of values that do nothing for a listener of WebSocket, and of values that make an upstream listener
// useless and that this node replaces.
func (d *decoder) checkLimits(s *Server, o *object) {
	odd := func(key, text string) { d.warn(o.at(key), join(o.path, key), text) }
	if isWebSocket(s.Endpoint) {
		for key, v := range map[string]**uint64{"max_frame_size": &s.MaxFrameSize, "max_concurrent_streams": &s.MaxStreams,
			"max_header_list_size": &s.MaxHeaderList} {
			if *v != nil {
				odd(key, "has no effect on a listener of WebSocket")
				*v = nil
			}
		}
	}
	if v := s.MaxFrameSize; v != nil && (*v == 0 || *v > 15) {
		odd("max_frame_size", "is out of 1 to 15 MiB: the default is used")
		s.MaxFrameSize = nil
	}
	if v := s.MaxStreams; v != nil && *v == 0 {
		odd("max_concurrent_streams", "is 0, with which no request would ever run: the default is used")
		s.MaxStreams = nil
	}
	if v := s.MaxHeaderList; v != nil && *v == 0 {
		odd("max_header_list_size", "is 0, with which every request would be refused: the default is used")
		s.MaxHeaderList = nil
	}
	if s.NegotiationTimeout == 0 {
		odd("negotiation_timeout_secs", "is 0, with which every link would be refused: the default is used")
		s.NegotiationTimeout = 5
	}
}

func (d *decoder) serverKeepalive(k *ServerKeepalive, n *node, path string, webSocket bool) {
	o := d.object(n, path, "struct KeepaliveServerParameters", lenient)
	o.duration("max_connection_idle", &k.MaxIdle)
	o.unused("max_connection_idle", "")
	o.duration("max_connection_age", &k.MaxAge)
	if webSocket {
		o.unused("max_connection_age", " on a listener of WebSocket")
	}
	o.duration("max_connection_age_grace", &k.MaxAgeWait)
	o.unused("max_connection_age_grace", "")
	o.duration("time", &k.Time)
	o.duration("timeout", &k.Timeout)
	o.end()
}

// scheme returns what stands before "://", "" if nothing does.
func scheme(endpoint string) string {
	s, _, ok := strings.Cut(endpoint, "://")
	if !ok {
		return ""
	}
	return s
}

func isWebSocket(endpoint string) bool { return scheme(endpoint) == "ws" || scheme(endpoint) == "wss" }

// relativePath is the path of a unix socket that begins with neither a slash nor a dot, and was perhaps meant to be
// absolute; "": it is none.
func relativePath(endpoint string) string {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok || path == "" || strings.ContainsRune("/.?#", rune(path[0])) {
		return ""
	}
	return withoutSecrets(path)
}

// checkScheme reports whether upstream's loader accepts an endpoint of a server or client.
func checkScheme(endpoint string) bool {
	if !strings.Contains(endpoint, "://") {
		return true
	}
	switch scheme(endpoint) {
	case "ws", "wss", "http", "https", "unix":
		return true
	}
	return false
}

// checkListener refuses what upstream's listener refuses at start, and what this node cannot listen on.
// Rules: P-conf-11.
func (d *decoder) checkListener(s *Server, path string) {
	at := &node{pos: s.Position}
	refuse := func(text string, classes ...string) {
		e := d.fail(at, join(path, "endpoint"), "datapath error", text)
		e.Context = append([]string{contextStart, "datapath error", "configuration error"}, classes...)
		e.hint(addressHint(s.Endpoint))
	}
	d.checkAuth(&s.Auth, join(path, "auth"))
	insecure := func(text string) { // says what TLS a listener must not have, or must
		if at.pos = s.TLS.Position; at.pos.Line == 0 {
			at.pos = s.Position
		}
		d.fail(at, join(path, "tls"), "", text).Context =
			[]string{contextStart, "datapath error", "configuration error", "TLS config error"}
	}
	switch kind := scheme(s.Endpoint); {
	case kind == "unix" && !s.TLS.Insecure:
		insecure("unix domain sockets require tls.insecure=true: set it")
		return
	case kind == "unix":
		if rel := relativePath(s.Endpoint); rel != "" {
			d.warn(s.Position, join(path, "endpoint"), "the path is relative to the working directory: an absolute one is written unix:///"+rel+
				", a relative one better as unix://./"+rel)
		}
		return
	case kind == "ws" && !s.TLS.Insecure:
		insecure("a listener of ws:// has no TLS: set `tls.insecure: true`, or write wss://")
		return
	case kind == "ws":
		return
	case kind == "wss" && s.TLS.Insecure:
		insecure("a listener of wss:// has TLS: set `tls.source` and no `tls.insecure`, or write ws://")
		return
	case kind == "wss":
		d.listenerTLS(s, path, insecure)
		return
	}
	if s.Endpoint == "" {
		refuse("missing grpc endpoint")
		return
	}
	if _, err := netip.ParseAddrPort(s.Endpoint); err != nil {
		refuse("invalid socket address syntax: "+quote(s.Endpoint)+" is no IP:PORT", "endpoint parse error")
		return
	}
	d.listenerTLS(s, path, insecure)
}

// listenerTLS looks at the TLS of a listener that may have it.
func (d *decoder) listenerTLS(s *Server, path string, refuse func(string)) {
	if s.TLS.Insecure {
		return
	}
	d.checkTLS(&s.TLS, join(path, "tls"))
	if s.TLS.Source.Type == "none" {
		refuse("missing server cert or key: set `tls.source`, or `tls.insecure: true` for a listener without TLS")
	}
}

// checkTLS refuses a version that there is not. Rules: P-tls-1.
func (d *decoder) checkTLS(t *TLS, path string) {
	if t.Version != "tls1.2" && t.Version != "tls1.3" {
		d.fail(&node{pos: t.VersionPosition}, join(path, "tls_version"), "", "invalid tls version: "+t.Version+"; want tls1.2 or tls1.3").Context =
			[]string{contextStart, "datapath error", "configuration error", "TLS config error"}
	}
}
