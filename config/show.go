package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Shown is a configuration as it takes effect, with every key that has a value, secrets redacted. Its YAML is a file
// that reads as the same configuration, but for the secrets.
type Shown struct{ root pairs }

// pairs is a mapping in order.
type pairs []pair

// pair has a value that is a string, bool, uint64, int64, float64, pairs or []any of these. Nil: the key is left out.
type pair struct {
	key   string
	value any
}

const redacted = "********"

// Show returns what c says, defaults filled in.
func (c *Config) Show() Shown {
	t := &c.Tracing
	var services pairs
	for i := range c.Services {
		services = append(services, pair{c.Services[i].ID, showService(&c.Services[i])})
	}
	return Shown{pairs{
		{"runtime", pairs{{"n_cores", c.Runtime.Cores}, {"thread_name", c.Runtime.ThreadName},
			{"drain_timeout", showDuration(c.Runtime.DrainTimeout)}}},
		{"tracing", pairs{{"log_level", t.LogLevel}, {"display_thread_names", t.ThreadNames},
			{"display_thread_ids", t.ThreadIDs},
			{"filters", list(t.Filters)}, {"opentelemetry", showTelemetry(&t.OpenTelemetry)}}},
		{"services", services},
	}}
}

func showTelemetry(t *OpenTelemetry) pairs {
	f := pairs{{"enabled", t.Enabled}}
	if t.Endpoint != "" {
		f = append(f, pair{"grpc", pairs{{"endpoint", withoutSecrets(t.Endpoint)}}})
	}
	return append(f, pairs{{"service_name", t.ServiceName}, {"service_version", t.ServiceVersion},
		{"environment", t.Environment},
		{"metrics_interval_secs", t.MetricsInterval}}...)
}

func showService(s *Service) pairs {
	f := pairs{{"node_id", text(s.NodeID)}, {"domain_name", text(s.Domain)}, {"auth", showRegistration(s.Registration)},
		{"dataplane", showEndpoints(&s.Dataplane)}}
	if !s.Controller.empty() {
		f = append(f, pair{"controller", showEndpoints(&s.Controller)})
	}
	return append(f, pair{"peers", showPeers(s.Peers)}, pair{"default_gateway", s.DefaultGateway})
}

func showRegistration(r *Registration) any {
	if r == nil {
		return nil
	}
	f := pairs{{"type", r.Type}}
	switch r.Type {
	case "shared_secret":
		return append(f, pair{"secret", redacted}, pair{"id", text(r.ID)})
	case "spire":
		return append(f, showSpire(r.Spire)...)
	}
	return append(f, pair{"private_key", showSource(&r.PrivateKey)}, pair{"trusted_keys", showSource(&r.TrustedKeys)})
}

func showSource(s *Source) pairs {
	if s.File != "" {
		return pairs{{"file", s.File}}
	}
	return pairs{{"data", redacted}}
}

func showEndpoints(e *Endpoints) pairs {
	var servers, clients, outbound []any
	for i := range e.Servers {
		servers = append(servers, showServer(&e.Servers[i]))
	}
	for i := range e.Clients {
		clients = append(clients, showClient(&e.Clients[i]))
	}
	for i := range e.Outbound {
		outbound = append(outbound, showClient(&e.Outbound[i]))
	}
	return pairs{{"enforce_pqc", e.EnforcePQC}, {"servers", some(servers)}, {"clients", some(clients)},
		{"outbound_clients", some(outbound)}}
}

func showServer(s *Server) pairs {
	k := &s.Keepalive
	return pairs{{"endpoint", s.Endpoint}, {"tls", showTLS(&s.TLS, serverSide)}, {"auth", showAuth(&s.Auth)},
		{"max_frame_size", optional(s.MaxFrameSize)}, {"max_concurrent_streams", optional(s.MaxStreams)},
		{"max_header_list_size", optional(s.MaxHeaderList)},
		{"keepalive", pairs{{"time", showDuration(k.Time)}, {"timeout", showDuration(k.Timeout)},
			{"max_connection_idle", showDuration(k.MaxIdle)}, {"max_connection_age", showDuration(k.MaxAge)},
			{"max_connection_age_grace", showDuration(k.MaxAgeWait)}}},
		{"metadata", showData(s.Metadata)}, {"allowed_origins", showOrigins(s.AllowedOrigins)}, {"slow_consumer", text(s.SlowConsumer)},
		{"authorization", text(s.Authorization)},
		{"require_header_mac", s.RequireHeaderMAC},
		{"negotiation_timeout_secs", s.NegotiationTimeout}}
}

func showOrigins(all []string) any {
	if all == nil {
		return nil
	}
	out := []any{}
	for _, o := range all {
		out = append(out, o)
	}
	return out
}

func showClient(c *Client) pairs {
	return pairs{{"endpoint", withoutSecrets(c.Endpoint)}, {"origin", text(c.Origin)}, {"server_name", text(c.ServerName)},
		{"compression", text(c.Compression)}, {"rate_limit", text(c.RateLimit)}, {"tls", showTLS(&c.TLS, clientSide)},
		{"keepalive", showKeepalive(c.Keepalive)}, {"proxy", showProxy(&c.Proxy)},
		{"connect_timeout", showDuration(c.ConnectTimeout)}, {"request_timeout", optionalDuration(c.RequestTimeout)},
		{"buffer_size", optional(c.BufferSize)}, {"headers", showHeaders(c.Headers)}, {"auth", showAuth(&c.Auth)},
		{"backoff", showBackoff(&c.Backoff)}, {"metadata", showData(c.Metadata)}, {"link_id", text(c.LinkID)},
		{"require_header_mac", c.RequireHeaderMAC}, {"connection_type", c.ConnectionType}}
}

func showKeepalive(k *ClientKeepalive) any {
	if k == nil {
		return nil
	}
	return pairs{{"tcp_keepalive", showDuration(k.TCP)}, {"http2_keepalive", showDuration(k.HTTP2)},
		{"timeout", showDuration(k.Timeout)}, {"keep_alive_while_idle", k.WhileIdle}}
}

func showProxy(p *Proxy) any {
	f := pairs{{"url", text(withoutSecrets(p.URL))}, {"tls", showTLS(&p.TLS, clientSide)}, {"username", text(p.Username)},
		{"password", showSecret(p.Password)}, {"headers", showHeaders(p.Headers)}}
	if p.URL == "" && p.Username == "" && p.Headers == nil {
		return nil // the environment decides
	}
	return f
}

func showBackoff(b *Backoff) pairs {
	f := pairs{{"type", b.Type}}
	if b.Type == "exponential" {
		f = append(f, pairs{{"base", b.Base}, {"factor", b.Factor}, {"max_delay", showDuration(b.MaxDelay)},
			{"jitter", b.Jitter}}...)
	} else {
		f = append(f, pair{"interval", showDuration(b.Interval)})
	}
	return append(f, pair{"max_attempts", optional(b.MaxAttempts)})
}

func showTLS(t *TLS, s side) pairs {
	f := pairs{{"insecure", t.Insecure}}
	if s == clientSide {
		f = append(f, pair{"insecure_skip_verify", t.SkipVerify})
	}
	f = append(f, pair{"source", showMaterial(&t.Source, true)})
	if s == clientSide {
		f = append(f, pair{"ca_source", showMaterial(&t.CA, false)})
	} else {
		f = append(f, pair{"client_ca", showMaterial(&t.ClientCA, false)})
	}
	return append(f, pair{"include_system_ca_certs_pool", t.SystemCAs}, pair{"tls_version", t.Version})
}

func showMaterial(m *Material, own bool) any {
	f := pairs{{"type", m.Type}}
	switch {
	case m.Type == "none":
		return nil
	case m.Type == "spire":
		return append(f, showSpire(m.Spire)...)
	case own && m.Type == "file": // paths
		return append(f, pair{"cert", m.Cert.Reveal()}, pair{"key", m.Key.Reveal()})
	case own:
		return append(f, pair{"cert", redacted}, pair{"key", redacted})
	case m.Type == "file":
		return append(f, pair{"path", m.CA})
	}
	return append(f, pair{"data", m.CA}) // certificates are public
}

func showSpire(s *Spire) pairs {
	f := pairs{{"socket_path", text(s.SocketPath)}, {"target_spiffe_id", text(s.TargetSPIFFEID)},
		{"jwt_audiences", list(s.JWTAudiences)},
		{"trust_domains", list(s.TrustDomains)}}
	if len(s.AcceptedSPIFFEIDs) > 0 {
		f = append(f, pair{"accepted_spiffe_ids", list(s.AcceptedSPIFFEIDs)})
	}
	return f
}

func showAuth(a *Auth) pairs {
	f := pairs{{"type", a.Type}}
	switch {
	case a.Type == "basic":
		f = append(f, pair{"username", a.Username}, pair{"password", redacted})
	case a.Type == "static_jwt":
		f = append(f, pair{"file", a.File})
	case a.JWT != nil:
		f = append(f, showJWT(a.JWT)...)
	case a.OIDC != nil:
		f = append(f, showOIDC(a.OIDC)...)
	case a.Spire != nil:
		f = append(f, showSpire(a.Spire)...)
	}
	return f
}

func showJWT(j *JWT) pairs {
	key := pairs{{"type", j.Key.Type}}
	if j.Key.Type != "autoresolve" {
		key = append(key, pair{"algorithm", j.Key.Algorithm}, pair{"format", j.Key.Format},
			pair{"key", showSource(&j.Key.Key)})
	}
	return pairs{{"claims", pairs{{"audience", list(j.Audience)}, {"issuer", text(j.Issuer)}, {"subject", text(j.Subject)},
		{"custom_claims", showData(j.Custom)}}}, {"duration", showDuration(j.Duration)}, {"key", key},
		{"policy", showPolicy(&j.Policy)},
		{"subject_binding", text(j.SubjectBinding)}}
}

func showOIDC(c *OIDC) pairs {
	f := pairs{{"issuer_url", withoutSecrets(c.IssuerURL)}, {"client_id", text(c.ClientID)},
		{"client_secret", showSecret(c.ClientSecret)},
		{"refresh_token", showSecret(c.RefreshToken)}, {"refresh_token_file", text(c.RefreshTokenFile)},
		{"access_token_file", text(c.AccessTokenFile)}, {"scope", text(c.Scope)}, {"audience", text(c.Audience)},
		{"timeout", showDuration(c.Timeout)}, {"jwks_ttl", showDuration(c.JWKSLife)}}
	if c.ClaimsCacheLife != 0 {
		f = append(f, pair{"claim_cache_ttl", showDuration(c.ClaimsCacheLife)})
	}
	return append(f, pair{"policy", showPolicy(&c.Policy)})
}

func showPolicy(p *Policy) any {
	for _, f := range []pair{{"cel", p.CEL}, {"rego", p.Rego}, {"rego_file", p.RegoFile}} {
		if f.value != "" {
			return pairs{f}
		}
	}
	return nil
}

func showPeers(p *Peers) any {
	if p == nil {
		return nil
	}
	d := pairs{{"type", p.Discovery}}
	switch p.Discovery {
	case "static":
		var peers []any
		for i := range p.Static {
			peers = append(peers, append(pairs{{"node_id", p.Static[i].NodeID}}, showClient(&p.Static[i].Client)...))
		}
		d = append(d, pair{"peers", peers})
	case "dns":
		d = append(d, pair{"name", p.Name}, pair{"port", p.Port}, pair{"interval", p.Interval})
	default:
		d = append(d, pair{"namespace", p.Namespace}, pair{"service_name", p.ServiceName}, pair{"port", p.Port})
	}
	return pairs{{"topology", p.Topology}, {"discovery", d}}
}

// secretKey are the names of what may be a secret.
var secretKey = regexp.MustCompile(`(?i)auth|cookie|token|secret|key|passw|credential`)

func showHeaders(h map[string]string) any {
	if h == nil {
		return nil
	}
	f := pairs{}
	for _, k := range slices.Sorted(maps.Keys(h)) {
		v := h[k]
		if secretKey.MatchString(k) {
			v = redacted
		}
		f = append(f, pair{k, v})
	}
	return f
}

// showData shows free data; what is called like a secret is redacted.
func showData(m map[string]any) any {
	if m == nil {
		return nil
	}
	return showValue(m)
}

func showValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		f := pairs{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			x := showValue(v[k])
			if secretKey.MatchString(k) {
				x = redacted
			}
			f = append(f, pair{k, x})
		}
		return f
	case []any:
		out := []any{}
		for _, x := range v {
			out = append(out, showValue(x))
		}
		return out
	case Provided:
		return redacted
	case string:
		return withoutSecrets(v)
	}
	return v
}

func showSecret(s Secret) any {
	if s.text == "" {
		return nil
	}
	return redacted
}

// withoutSecrets is a URL without credentials and tokens.
func withoutSecrets(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return s
	}
	changed := u.User != nil
	if changed {
		u.User = url.User("redacted")
	}
	q := u.Query()
	for k := range q {
		if secretKey.MatchString(k) {
			q.Set(k, "redacted")
			changed = true
		}
	}
	if !changed {
		return s
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// text is s, nothing if it is empty.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func optional(n *uint64) any {
	if n == nil {
		return nil
	}
	return *n
}

func list(words []string) any {
	out := []any{}
	for _, w := range words {
		out = append(out, w)
	}
	return out
}

func some(items []any) any {
	if items == nil {
		return nil
	}
	return items
}

// optionalDuration is nil where nothing is given.
func optionalDuration(d time.Duration) any {
	if d == 0 {
		return nil
	}
	return showDuration(d)
}

// showDuration writes d as ParseDuration reads it.
func showDuration(d time.Duration) string {
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "us"},
		{1, "ns"}} {
		if n := int64(d / u.unit); n > 0 {
			b.WriteString(strconv.FormatInt(n, 10) + u.name)
			d %= u.unit
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// MarshalJSON returns the same keys and values as JSON.
func (s Shown) MarshalJSON() ([]byte, error) { return s.root.MarshalJSON() }

// MarshalJSON keeps the order.
func (f pairs) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for _, x := range f {
		if x.value == nil {
			continue
		}
		k, err := json.Marshal(x.key)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(x.value)
		if err != nil {
			return nil, err
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, k...), ':'), v...)
	}
	return append(b, '}'), nil
}

// YAML returns a file.
func (s Shown) YAML() []byte {
	var b bytes.Buffer
	writePairs(&b, s.root, "", "")
	return b.Bytes()
}

// writePairs writes a mapping, its first line after first.
func writePairs(b *bytes.Buffer, f pairs, first, indent string) {
	for _, x := range f {
		if x.value == nil {
			continue
		}
		b.WriteString(first + yamlText(x.key) + ":")
		first = indent
		writeValue(b, x.value, indent)
	}
}

// writeValue writes what follows a key, or the dash of an item.
func writeValue(b *bytes.Buffer, v any, indent string) {
	switch v := v.(type) {
	case pairs:
		if !slices.ContainsFunc(v, func(x pair) bool { return x.value != nil }) {
			b.WriteString(" {}\n")
			return
		}
		b.WriteString("\n")
		writePairs(b, v, indent+"  ", indent+"  ")
	case []any:
		if len(v) == 0 {
			b.WriteString(" []\n")
			return
		}
		b.WriteString("\n")
		for _, x := range v {
			if f, ok := x.(pairs); ok && len(f) > 0 {
				writePairs(b, f, indent+"  - ", indent+"    ")
				continue
			}
			b.WriteString(indent + "  -")
			writeValue(b, x, indent+"    ")
		}
	case string:
		b.WriteString(" " + yamlText(v) + "\n")
	default: // numbers and truth look alike
		text, _ := json.Marshal(v)
		b.WriteString(" " + string(text) + "\n")
	}
}

var (
	plainText = regexp.MustCompile(`^([A-Za-z_/]|[0-9]+[a-z])[A-Za-z0-9_./-]*$`)
	olderBool = regexp.MustCompile(`^(?i:y|n|yes|no|on|off)$`) // to readers of YAML 1.1
)

// yamlText writes a string so that it is read as one.
func yamlText(s string) string {
	var n node
	if plainText.MatchString(s) && !olderBool.MatchString(s) && n.setPlain(s) && n.kind == stringKind {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // of a string: it does not fail
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		if r >= 0x7f && r <= 0x9f {
			out.WriteString(`\u00` + strconv.FormatInt(int64(r), 16))
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}
