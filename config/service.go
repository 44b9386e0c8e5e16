package config

import (
	"strings"
)

// Service is one entry of `services`.
type Service struct {
	ID       string   // the key, "slim/0": kind, slash, name
	Position Position // of the key; zero in Default

	NodeID         string // "": node-<uuid>, made at start
	Domain         string // `domain_name`; "": unset
	Registration   *Registration
	DefaultGateway string // "auto" or "off"; no effect in a stand-alone node
	Dataplane      Endpoints
	Controller     Endpoints
	Peers          *Peers // nil: no peers
}

// Endpoints is a `dataplane` or `controller` block.
type Endpoints struct {
	EnforcePQC bool
	Servers    []Server
	Clients    []Client
	Outbound   []Client // `outbound_clients`: templates for links that a control plane orders
}

// empty reports the block's default, with which upstream starts no controller.
func (e *Endpoints) empty() bool {
	return !e.EnforcePQC && len(e.Servers) == 0 && len(e.Clients) == 0 && len(e.Outbound) == 0
}

// Registration is `services.<id>.auth`: the credential shown to a control plane.
type Registration struct {
	Position    Position // of the key
	Type        string   // "shared_secret", "spire" or "jwt"
	Secret      Secret   // shared_secret
	ID          string   // shared_secret
	Spire       *Spire   // spire
	PrivateKey  Source   // jwt
	TrustedKeys Source   // jwt; no effect
}

// Source is text that stands in the file (Data) or in another one (File).
type Source struct {
	Data Secret
	File string // "": Data holds it
}

// services decodes the `services` block; n is nil if the key is absent.
func (d *decoder) services(c *Config, n, root *node) {
	const path = "services"
	if n == nil || n.kind == mapKind && len(n.entries) == 0 {
		if n == nil {
			n = root
		}
		d.fail(n, path, "invalid configuration - missing services", "a node needs at least one service, such as slim/0")
		return
	}
	if n.kind != mapKind {
		d.fail(n, path, "invalid configuration - impossible to parse yaml", "expected a mapping, found "+n.describe())
		return
	}
	for _, e := range n.entries {
		if e.key.kind != stringKind {
			d.fail(e.key, path, "invalid configuration - impossible to parse yaml", "key "+e.key.describe()+" is not a string")
			continue
		}
		if reason := checkServiceID(e.key.str); reason != "" {
			d.fail(e.key, join(path, e.key.str), "invalid configuration - key "+reason+" not valid",
				"a service id is KIND/NAME, such as slim/0, the name of lower-case letters, digits and dashes")
		}
		if strings.HasPrefix(e.key.str, "gateway/") {
			d.warn(e.key.pos, join(path, e.key.str), "works under any name, but services of nodes are called slim/0 now, not gateway/0")
		}
		s := Service{ID: e.key.str, Position: e.key.pos, DefaultGateway: "auto"}
		d.service(&s, e.val, join(path, s.ID))
		c.Services = append(c.Services, s)
	}
}

// checkServiceID returns why upstream refuses an id, "" if it does not: KIND/NAME, split at the first slash.
// Rules: P-conf-10.
func checkServiceID(id string) string {
	kind, name, found := strings.Cut(id, "/")
	if !found || kind == "" {
		return "id cannot be empty"
	}
	letter := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	ok := letter(kind[0]) && len(kind) <= 63
	for i := range len(kind) {
		ok = ok && (letter(kind[i]) || digit(kind[i]) || kind[i] == '_')
	}
	if !ok {
		return "kind contains invalid character(s): " + kind
	}
	if len(name) > 1024 {
		return "name part is too long"
	}
	for i := range len(name) {
		if c := name[i]; !digit(c) && (c < 'a' || c > 'z') && c != '-' {
			return "kind contains invalid character(s): " + name
		}
	}
	return ""
}

func (d *decoder) service(s *Service, n *node, path string) {
	o := d.object(n, path, "struct ServiceConfiguration", strict)
	o.str("node_id", &s.NodeID)
	o.optStr("domain_name", &s.Domain)
	if v := o.get("auth"); v != nil && v.kind != nullKind {
		s.Registration = d.registration(v, join(path, "auth"))
		s.Registration.Position = o.at("auth")
	}
	if v := o.get("dataplane"); v != nil {
		d.endpoints(&s.Dataplane, v, join(path, "dataplane"), "dataplane")
	}
	if v := o.get("controller"); v != nil {
		d.endpoints(&s.Controller, v, join(path, "controller"), "controller")
	}
	if v := o.get("peers"); v != nil && v.kind != nullKind {
		s.Peers = d.peers(v, join(path, "peers"))
	}
	o.enum("default_gateway", &s.DefaultGateway, "auto", "off")
	o.unused("default_gateway", " in a node of its own, from whose inside nobody publishes")
	o.end()
	if len(s.Dataplane.Outbound) > 0 && s.Controller.empty() && (d.err == nil || n.get("controller") == nil) {
		at := (&object{n: n.get("dataplane")}).at("outbound_clients")
		d.warn(at, join(path, "dataplane.outbound_clients"), "has no effect without a controller")
	}
	for i := range s.Dataplane.Servers {
		if s.Dataplane.Servers[i].Metadata != nil && s.Controller.empty() {
			at := (&object{n: n.get("dataplane").get("servers").items[i]}).at("metadata")
			d.warn(at, indexed(join(path, "dataplane.servers"), i)+".metadata", "has no effect without a controller")
		}
	}
}

func (d *decoder) endpoints(e *Endpoints, n *node, path, role string) {
	o := d.object(n, path, "struct EndpointsConfig", strict)
	o.bool("enforce_pqc", &e.EnforcePQC)
	for i, v := range o.list("servers") {
		s := d.server(v, indexed(join(path, "servers"), i))
		e.Servers = append(e.Servers, s)
	}
	clients := func(key string) (out []Client) {
		for i, v := range o.list(key) {
			out = append(out, d.client(v, indexed(join(path, key), i), lenient))
		}
		return out
	}
	e.Clients = clients("clients")
	e.Outbound = clients("outbound_clients")
	o.end()
}

func (d *decoder) registration(n *node, path string) *Registration {
	r := &Registration{}
	var o *object
	if o, r.Type = d.tagged(n, path, "AuthConfig", "shared_secret", "spire", "jwt"); o == nil {
		return r
	}
	switch r.Type {
	case "shared_secret":
		o.required("secret")
		o.secret("secret", &r.Secret)
		o.optStr("id", &r.ID)
	case "spire":
		r.Spire = d.spire(o)
	case "jwt":
		r.PrivateKey = o.source("private_key")
		r.TrustedKeys = o.source("trusted_keys")
	}
	o.end()
	return r
}

// source reads a required {data: TEXT} or {file: PATH} with exactly one key.
func (o *object) source(key string) (s Source) {
	o.required(key)
	v := o.get(key)
	if v == nil {
		return s
	}
	path := join(o.path, key)
	if v.kind != mapKind || len(v.entries) != 1 {
		o.d.bad(v, path, "expected a map with exactly one key, `data` or `file`")
		return s
	}
	in := o.d.object(v, path, "map with a single key", strict)
	switch k := v.entries[0].key; k.str {
	case "data":
		in.secret("data", &s.Data)
	case "file":
		in.str("file", &s.File)
	default:
		o.d.variant(k, path, "a string", []string{"data", "file"})
	}
	return s
}
