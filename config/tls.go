package config

import "slices"

// side tells the two uses of a block apart.
type side uint8

const (
	serverSide side = iota
	clientSide
)

// TLS is the `tls` block of a server, client or proxy.
type TLS struct {
	Position        Position // of the key; zero if absent
	Insecure        bool     // server: no TLS
	SkipVerify      bool     // client: no check of the server's certificate
	Source          Material // own certificate and key
	CA              Material // `ca_source`: roots a client trusts
	ClientCA        Material // `client_ca`: roots a server demands client certificates of
	SystemCAs       bool     // client: trust the system's roots too
	VersionPosition Position // of the key `tls_version`; zero if absent
	Version         string   // "tls1.2" or "tls1.3", exactly that; other text fails where TLS is set up
	ReloadClientCAs bool     // unused, also upstream
}

// Material is certificates and keys, or where they come from.
type Material struct {
	Position  Position // of the key `source`, `client_ca` or `ca_source`
	Type      string   // "none", "file", "pem" or "spire"
	Cert, Key Secret   // file: paths; pem: the text
	CA        string   // file: path; pem: the text
	Spire     *Spire
}

// Spire is a block that names a SPIFFE workload API.
type Spire struct {
	SocketPath     string // "": $SPIFFE_ENDPOINT_SOCKET
	TargetSPIFFEID string
	JWTAudiences   []string
	TrustDomains   []string

	AcceptedSPIFFEIDs []string // of peers; ours: upstream has no such key
}

func defaultTLS() TLS {
	none := Material{Type: "none"}
	return TLS{Source: none, CA: none, ClientCA: none, SystemCAs: true, Version: "tls1.3"}
}

func (d *decoder) tls(t *TLS, n *node, path string, s side) {
	what := "struct TlsServerConfig"
	if s == clientSide {
		what = "struct TlsClientConfig"
	}
	o := d.object(n, path, what, lenient)
	o.bool("insecure", &t.Insecure)
	if v := o.get("source"); v != nil {
		t.Source = d.material(v, join(path, "source"), "TlsSource", true)
		t.Source.Position = o.at("source")
	}
	if v := o.get("ca_source"); v != nil {
		t.CA = d.material(v, join(path, "ca_source"), "CaSource", false)
		t.CA.Position = o.at("ca_source")
	}
	o.bool("include_system_ca_certs_pool", &t.SystemCAs)
	o.str("tls_version", &t.Version)
	t.VersionPosition = o.at("tls_version")
	if v := o.get("reload_interval"); v != nil && v.kind != nullKind {
		d.secondsAndNanos(v, join(path, "reload_interval"))
		d.warn(o.at("reload_interval"), join(path, "reload_interval"), "has no effect")
	}
	if s == clientSide {
		o.bool("insecure_skip_verify", &t.SkipVerify)
	} else {
		if v := o.get("client_ca"); v != nil {
			t.ClientCA = d.material(v, join(path, "client_ca"), "CaSource", false)
			t.ClientCA.Position = o.at("client_ca")
		}
		o.unused("ca_source", " on a server; clients are asked for certificates with `client_ca`")
		o.unused("include_system_ca_certs_pool", " on a server: clients are asked for certificates with `client_ca` only")
		o.bool("reload_client_ca_file", &t.ReloadClientCAs)
		if t.ReloadClientCAs {
			o.unused("reload_client_ca_file", "")
		}
	}
	o.end()
}

// material reads a source: own says whether it holds a certificate with its key, or roots.
func (d *decoder) material(n *node, path, what string, own bool) Material {
	words := []string{"file", "pem", "spire", "none"}
	if own {
		words = []string{"pem", "file", "spire", "none"}
	}
	o, kind := d.tagged(n, path, what, words...)
	m := Material{Type: kind}
	if o == nil {
		return m
	}
	switch {
	case kind == "spire":
		m.Spire = d.spire(o)
		if !own {
			o.accepted(m.Spire)
		}
	case kind != "none" && own:
		o.required("cert")
		o.required("key")
		o.secret("cert", &m.Cert)
		o.secret("key", &m.Key)
	case kind == "file":
		o.required("path")
		o.str("path", &m.CA)
	case kind == "pem":
		o.required("data")
		o.str("data", &m.CA)
	}
	o.end()
	return m
}

func (d *decoder) spire(o *object) *Spire {
	s := &Spire{JWTAudiences: []string{"slim"}}
	o.optStr("socket_path", &s.SocketPath)
	o.optStr("target_spiffe_id", &s.TargetSPIFFEID)
	o.strs("jwt_audiences", &s.JWTAudiences)
	o.strs("trust_domains", &s.TrustDomains)
	return s
}

// accepted reads who is let in. A list of nobody does not pass for no list, by which all are.
func (o *object) accepted(s *Spire) {
	const key = "accepted_spiffe_ids"
	o.strs(key, &s.AcceptedSPIFFEIDs)
	if v := o.n.get(key); v != nil && (v.kind == nullKind || v.kind == listKind && len(s.AcceptedSPIFFEIDs) == 0) {
		o.d.bad(v, join(o.path, key), "it names nobody: name whom to accept, or leave the key out if all of the trust domains are")
	}
}

// secondsAndNanos checks a {secs: N, nanos: N}, or the two in a list: not a duration string. Its value is never used.
func (d *decoder) secondsAndNanos(n *node, path string) {
	const what = "struct Duration"
	var v uint64
	switch {
	case n.kind == listKind && len(n.items) == 2:
		n = &node{kind: mapKind, pos: n.pos, entries: []entry{
			{&node{kind: stringKind, str: "secs"}, n.items[0]}, {&node{kind: stringKind, str: "nanos"}, n.items[1]},
		}}
	case n.kind != mapKind:
		d.mistyped(n, path, what+", a map of secs and nanos")
		return
	}
	o := d.object(n, path, what, strict)
	o.required("secs")
	o.required("nanos")
	o.uint("secs", "u64", 64, &v)
	o.uint("nanos", "u32", 32, &v)
	o.end()
}

// tagged reads the `type` of a mapping that has one kind of keys for each; the object is nil if it names none of words.
func (d *decoder) tagged(n *node, path, what string, words ...string) (*object, string) {
	if n.kind != mapKind {
		d.mistyped(n, path, "internally tagged enum "+what)
		return nil, ""
	}
	v := n.get("type")
	if v == nil {
		d.bad(n, path, "missing field `type`, "+oneOf(words))
		return nil, ""
	}
	kind := d.variant(v, join(path, "type"), "variant identifier", words)
	if !slices.Contains(words, kind) {
		return nil, kind
	}
	o := d.object(n, path, what, lenient)
	o.get("type")
	return o, kind
}
