package main

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
)

// askAgents has p ask Workload APIs from now on, whose coming and going is logged, until stop is called. Nothing is asked before
// a configuration names one.
func (p *program) askAgents(log *slog.Logger) (stop func()) {
	p.agents = spire.NewAgents(spire.Options{Told: func(address string, err error) {
		if err != nil {
			log.Warn("the SPIFFE Workload API fails: what it gave stays in use, and it is asked again until it answers",
				"address", address, "error", err)
			return
		}
		log.Info("the SPIFFE Workload API answers", "address", address)
	}})
	return p.agents.Close
}

// agent returns the connection to the Workload API that a block names. Where p asks none, since it only looks at a configuration,
// it is one that never has anything.
func (p *program) agent(s *config.Spire) (*spire.Agent, error) {
	address, err := spire.Address(s.SocketPath, p.env)
	if err != nil {
		return nil, err
	}
	if p.agents == nil {
		p.agents = spire.NewAgents(spire.Options{Offline: true})
	}
	return p.agents.At(address)
}

// live is what a block of TLS has of a Workload API; nil: nothing. An error is a *certs.Error. key is that of the block.
func (p *program) live(m *config.Material, key string) (*spire.X509, error) {
	if m.Spire == nil {
		return nil, nil
	}
	peers, err := spire.ParsePeers(m.Spire.AcceptedSPIFFEIDs)
	if err != nil {
		return nil, &certs.Error{Key: key + ".accepted_spiffe_ids", Err: err}
	}
	agent, err := p.agent(m.Spire)
	if err != nil {
		return nil, &certs.Error{Key: key + ".socket_path", Err: err}
	}
	x, err := spire.NewX509(agent, m.Spire.TrustDomains, peers)
	if err != nil {
		return nil, &certs.Error{Key: key + ".trust_domains", Err: err}
	}
	return x, nil
}

// certifies returns the TLS of a listener whose clients show certificates that a Workload API vouches for; nil: it is another one.
func certifies(s *config.Server) *config.TLS {
	if s.TLS.Insecure || s.TLS.ClientCA.Spire == nil {
		return nil
	}
	return &s.TLS
}

// certified is what judges certificates of a listener's clients again when bundles change; nil: nothing does, or what is wrong with
// its settings is said elsewhere.
func (p *program) certified(s *config.Server) *spire.X509 {
	t := certifies(s)
	if t == nil {
		return nil
	}
	x, err := p.live(&t.ClientCA, "client_ca")
	if err != nil {
		return nil
	}
	return x
}

// newSpireVerifier makes what judges JWT-SVIDs.
func (p *program) newSpireVerifier(s *config.Spire) (auth.Verifier, error) {
	peers, err := spire.ParsePeers(s.AcceptedSPIFFEIDs)
	if err != nil {
		return nil, fmt.Errorf("accepted_spiffe_ids: %w", err)
	}
	agent, err := p.agent(s)
	if err != nil {
		return nil, err
	}
	v, err := spire.NewVerifier(agent, spire.VerifierOptions{Audiences: s.JWTAudiences, Peers: peers})
	if err != nil {
		return nil, err // not v, which is no nil auth.Verifier
	}
	return v, nil
}

// newSpireSource makes what shows JWT-SVIDs.
func (p *program) newSpireSource(s *config.Spire) (auth.Source, error) {
	agent, err := p.agent(s)
	if err != nil {
		return nil, err
	}
	source, err := spire.NewSource(agent, spire.SourceOptions{Audiences: s.JWTAudiences, Subject: s.TargetSPIFFEID})
	if err != nil {
		return nil, err
	}
	return source, nil
}

// keepAgents ends the connections to Workload APIs that no running service names any more.
func (p *program) keepAgents(services []*service) {
	if p.agents == nil {
		return
	}
	var used []string
	add := func(s *config.Spire) {
		if s == nil {
			return
		}
		if address, err := spire.Address(s.SocketPath, p.env); err == nil {
			used = append(used, address)
		}
	}
	tls := func(t *config.TLS) {
		add(t.Source.Spire)
		add(t.CA.Spire)
		add(t.ClientCA.Spire)
	}
	for _, s := range services {
		for _, e := range []*config.Endpoints{&s.Dataplane, &s.Controller} {
			for i := range e.Servers {
				tls(&e.Servers[i].TLS)
				add(e.Servers[i].Auth.Spire)
			}
			for _, cs := range [][]config.Client{e.Clients, e.Outbound} {
				for i := range cs {
					tls(&cs[i].TLS)
					tls(&cs[i].Proxy.TLS)
					add(cs[i].Auth.Spire)
				}
			}
		}
		if s.controller != nil && s.Registration != nil {
			add(s.Registration.Spire)
		}
		for _, l := range s.peers.links() {
			tls(&l.client.TLS)
			tls(&l.client.Proxy.TLS)
			add(l.client.Auth.Spire)
		}
	}
	slices.Sort(used)
	p.agents.Keep(slices.Compact(used))
}
