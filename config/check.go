package config

// check applies the rules that concern more than one key: upstream's validation of every service, then what its start
// refuses, then what this node does not have.
func (d *decoder) check(c *Config) {
	d.context = contextServices
	for i := range c.Services {
		s := &c.Services[i]
		path := join("services", s.ID)
		for _, b := range []struct {
			name string
			e    *Endpoints
		}{{"dataplane", &s.Dataplane}, {"controller", &s.Controller}} {
			d.checkSchemes(b.e, join(path, b.name))
			d.checkPQC(b.e, join(path, b.name))
		}
	}
	for i := range c.Services {
		s := &c.Services[i]
		path := join("services", s.ID)
		if len(s.Dataplane.Servers)+len(s.Dataplane.Clients) == 0 {
			d.fail(&node{pos: s.Position}, path, "", "no server or client configured").Context = []string{contextStart}
		}
		for j := range s.Dataplane.Servers {
			d.checkListener(&s.Dataplane.Servers[j], indexed(join(path, "dataplane.servers"), j))
		}
		d.checkShared(s, join(path, "dataplane.servers"))
		for j := range s.Dataplane.Clients {
			d.checkDialled(&s.Dataplane.Clients[j], indexed(join(path, "dataplane.clients"), j))
		}
		d.checkTwice(s, join(path, "dataplane.clients"))
		d.checkController(s, path)
		d.checkPeers(s, join(path, "peers"))
	}
}

// checkSchemes is upstream's validation. Its output hides the reason; ours shows it. Rules: P-conf-12.
func (d *decoder) checkSchemes(e *Endpoints, path string) {
	const class = "validation error"
	bad := func(p Position, key string, i int, text string) {
		d.fail(&node{pos: p}, indexed(join(path, key), i)+".endpoint", class, text)
	}
	for i, s := range e.Servers {
		if !checkScheme(s.Endpoint) {
			bad(s.Position, "servers", i, "invalid endpoint scheme: "+quote(withoutSecrets(s.Endpoint)))
		}
	}
	for i, c := range e.Clients {
		if fault := schemeFault(c.Endpoint); fault != "" {
			bad(c.Position, "clients", i, fault)
		}
	}
}

// schemeFault is what upstream's validation has against the endpoint of a client; "": nothing.
func schemeFault(endpoint string) string {
	switch {
	case endpoint == "":
		return "the endpoint is empty"
	case !checkScheme(endpoint):
		return "invalid endpoint scheme: " + quote(withoutSecrets(endpoint))
	}
	return ""
}

// checkUnlisted is checkDialled for a client that upstream's validation does not look at.
func (d *decoder) checkUnlisted(c *Client, path string) {
	if fault := schemeFault(c.Endpoint); fault != "" {
		d.fail(&node{pos: c.Position}, join(path, "endpoint"), "validation error", fault)
		return
	}
	d.checkDialled(c, path)
}

// checkPQC: post-quantum key exchange needs TLS 1.3 at every endpoint, also at those without TLS. Rules: P-conf-14.
func (d *decoder) checkPQC(e *Endpoints, path string) {
	if !e.EnforcePQC {
		return
	}
	check := func(t *TLS, p Position, key string, i int) {
		if t.Version != "tls1.3" {
			d.fail(&node{pos: p}, indexed(join(path, key), i)+".tls.tls_version", "validation error",
				"enforce_pqc needs tls_version: tls1.3, found "+quote(t.Version))
		}
	}
	for i := range e.Servers {
		check(&e.Servers[i].TLS, e.Servers[i].Position, "servers", i)
	}
	for i := range e.Clients {
		check(&e.Clients[i].TLS, e.Clients[i].Position, "clients", i)
	}
	for i := range e.Outbound {
		check(&e.Outbound[i].TLS, e.Outbound[i].Position, "outbound_clients", i)
	}
}

// checkShared looks at values that hold for the whole service, though each server has its own: upstream takes the
// first server's. Rules: P-conf-13.
func (d *decoder) checkShared(s *Service, path string) {
	if len(s.Dataplane.Servers) < 2 {
		return
	}
	first := &s.Dataplane.Servers[0]
	for i := range s.Dataplane.Servers[1:] {
		other := &s.Dataplane.Servers[i+1]
		if other.SlowConsumer != "" && other.SlowConsumer != first.SlowConsumer {
			d.warn(other.Position, join(indexed(path, i+1), "slow_consumer"), "has no effect: it is that of the first server")
		}
		if other.Authorization != "" && other.Authorization != first.Authorization {
			d.fail(&node{pos: other.Position}, join(indexed(path, i+1), "authorization"), "validation error",
				"it has no effect here: it is that of the first server, for all")
		}
		if other.RequireHeaderMAC != first.RequireHeaderMAC || other.NegotiationTimeout != first.NegotiationTimeout {
			d.warn(other.Position, indexed(path, i+1), "require_header_mac and negotiation_timeout_secs are those of the first server")
		}
	}
}
