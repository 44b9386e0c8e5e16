package config

import "strings"

// checkController refuses what keeps the controller of a service from starting. Rules: P-conf-28.
func (d *decoder) checkController(s *Service, path string) {
	e := &s.Controller
	if e.empty() {
		return
	}
	start := func(p Position, key, text string) {
		d.fail(&node{pos: p}, key, "", text).Context = []string{contextStart, "controller error", "configuration error"}
	}
	for i := range e.Servers {
		x, at := &e.Servers[i], indexed(join(path, "controller.servers"), i)
		if isWebSocket(x.Endpoint) {
			start(x.Position, join(at, "endpoint"), "the control API is gRPC: a WebSocket is none, write IP:PORT")
			continue
		}
		d.checkListener(x, at)
	}
	for i := range e.Clients {
		x, at := &e.Clients[i], indexed(join(path, "controller.clients"), i)
		if x.WebSocket() {
			start(x.Position, join(at, "endpoint"), "control planes speak gRPC: a WebSocket is none, write http:// or https://")
			continue
		}
		d.checkDialled(x, at)
	}
	for i := range e.Outbound {
		x, at := &e.Outbound[i], indexed(join(path, "controller.outbound_clients"), i)
		d.checkAuth(&x.Auth, join(at, "auth"))
	}
	r := s.Registration
	switch {
	case r == nil:
	case s.Domain == "":
		start(s.Position, join(path, "domain_name"), "invalid configuration: a node that shows credentials to a control plane needs a domain_name")
	case r.Type == "shared_secret" && len(r.Secret.Reveal()) < 32:
		start(s.Position, join(path, "auth.secret"), "hmac key is too short: it has fewer than 32 bytes")
	case r.Type == "shared_secret" && strings.ContainsAny(s.Domain+s.NodeID, ": \t\r\n"):
		start(s.Position, join(path, "auth"), "invalid configuration: domain_name and node_id must have no colon and no white space with a shared secret")
	}
}

// ParseClient reads one client out of JSON, as a control plane sends it. References to the environment and files stay texts.
func ParseClient(data []byte) (*Client, error) {
	d := &decoder{context: contextServices}
	root := d.tree(data)
	if d.err != nil {
		return nil, d.err
	}
	c := d.client(root, "", lenient)
	if d.err == nil {
		d.checkUnlisted(&c, "")
	}
	if d.err != nil {
		return nil, d.err
	}
	return &c, nil
}

// Template returns a client with which a link is dialled that no entry is for.
func Template() Client {
	d := &decoder{context: contextServices}
	return d.client(d.tree([]byte(`{"endpoint": ""}`)), "", lenient)
}
