package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/admin"
	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

var (
	errStarting = errors.New("the process is starting")
	errStopping = errors.New("the process is stopping")
)

// operation is what the server for operators is told of the process. Safe for all.
type operation struct {
	mu       sync.Mutex
	services []admin.Service // guarded by mu; replaced whole
	state    error           // guarded by mu; nil: all services run, and none stops
	timeout  time.Duration   // guarded by mu: runtime.drain_timeout
	config   admin.Config    // guarded by mu

	certificates []certificateSource // guarded by mu; replaced whole
	auth         []authSource        // guarded by mu; replaced whole
	agents       *spire.Agents       // guarded by mu; nil: not yet
}

// certificateSource is a block `tls` that is in use.
type certificateSource struct {
	service string
	*secured
}

// authSource is something in use that authentication stands on. loads returns nil if it is none that changes.
type authSource struct {
	service, path, endpoint, what string
	loads                         func() *auth.Loads
}

// drains sets the time that all services together have to stop.
func (o *operation) drains(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timeout = d
}

func (o *operation) drain() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.timeout
}

// begins notes what configuration the services have started with.
func (o *operation) begins(file string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.config = admin.Config{File: file, Loaded: now, Succeeded: true}
}

// reloaded notes what came of a reload: keys that could not change, or why nothing has.
func (o *operation) reloaded(now time.Time, stays []string, faults []error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := &o.config
	if c.Faults = nil; len(faults) > 0 {
		c.Succeeded, c.Tried = false, now
		c.Failures++
		for _, err := range faults {
			c.Faults = append(c.Faults, err.Error())
		}
		return
	}
	c.Succeeded, c.Tried, c.Loaded, c.NeedRestart = true, now, now, stays
	c.Reloads++
}

// uses notes what certificates, keys and policies the services use now, and the Workload APIs.
func (o *operation) uses(services []*service, agents *spire.Agents) {
	var all []certificateSource
	var loads []authSource
	for _, s := range services {
		for _, x := range s.allSecured() {
			all = append(all, certificateSource{s.ID, x})
		}
		loads = append(loads, s.authSources()...)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.certificates, o.auth, o.agents = all, loads, agents
}

// allCertificates tells of the certificates in use.
func (o *operation) allCertificates() (out []admin.CertificateSource) {
	o.mu.Lock()
	all := o.certificates
	o.mu.Unlock()
	for _, c := range all {
		s := c.keeper.Status()
		x := admin.CertificateSource{Service: c.service, Key: strings.TrimPrefix(c.path, "services."+c.service+"."),
			Endpoint: c.endpoint, Leaf: s.Leaf, Loaded: s.Loaded, Failed: s.Failed, Failures: s.Failures}
		if s.Fault != nil {
			x.Fault = s.Fault.Error()
		}
		out = append(out, x)
	}
	return out
}

// allAuth tells of what authentication stands on, and of the Workload APIs in use.
func (o *operation) allAuth() (out []admin.AuthSource) {
	o.mu.Lock()
	all, agents := o.auth, o.agents
	o.mu.Unlock()
	for _, a := range all {
		if l := a.loads(); l != nil {
			out = append(out, admin.AuthSource{Service: a.service, Key: strings.TrimPrefix(a.path, "services."+a.service+"."),
				Endpoint: a.endpoint, What: a.what, Loads: *l})
		}
	}
	if agents == nil {
		return out
	}
	apis := agents.Loads()
	for _, address := range slices.Sorted(maps.Keys(apis)) {
		out = append(out, admin.AuthSource{Endpoint: address, What: "SPIFFE Workload API", Loads: apis[address]})
	}
	return out
}

func (o *operation) configuration() admin.Config {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.config
}

// operate starts the server for operators if the flags ask for it. It serves from before the first service starts until
// stop is called.
func (p *program) operate(ctx context.Context, f *flags, log *slog.Logger) (o *operation, stop func(), err error) {
	o = &operation{state: errStarting}
	if f.health == "" {
		return o, func() {}, nil
	}
	log = log.With(cli.KeyTarget, "slim::admin")
	var dropped func() uint64
	if p.audit != nil {
		dropped = p.audit.dropped
	}
	s, err := admin.Start(ctx, admin.Options{Addr: f.health, Services: o.all, Ready: o.ready, Config: o.configuration,
		Certificates: o.allCertificates, Auth: o.allAuth, AuditDropped: dropped, Status: f.status,
		Profiles: f.pprof, Log: log,
		Build: admin.Build{Version: p.build.Version, SHA: p.build.SHA, Date: p.build.Date, Go: runtime.Version()}})
	if err != nil {
		return nil, nil, &failure{context: []string{"failed to serve --health"}, cause: err}
	}
	log.Info("admin server started", "endpoint", s.Addr().String())
	if a, err := netip.ParseAddrPort(s.Addr().String()); f.status && err == nil && !a.Addr().IsLoopback() {
		log.Warn("connections and names are shown to everybody who can reach this endpoint", "endpoint", s.Addr().String())
	}
	return o, s.Close, nil
}

func (o *operation) all() []admin.Service {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.services
}

func (o *operation) ready() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// started adds a service.
func (o *operation) started(s *service) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x := admin.Service{ID: s.ID, Node: s.node}
	if s.controller != nil {
		x.Control = s.controller.tell
	}
	o.services = append(o.services[:len(o.services):len(o.services)], x)
}

// becomes changes the state of the process.
func (o *operation) becomes(state error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = state
}

// address is a flag with an address of the server for operators.
type address string

func (a *address) Set(v string) error {
	addr, err := admin.ParseAddr(v)
	if err != nil {
		return err
	}
	*a = address(addr)
	return nil
}
func (a *address) String() string { return string(*a) }
func (a *address) Type() string   { return "address" }

// checkOperation refuses flags that do nothing without another.
func (f *flags) checkOperation() error {
	for _, x := range []struct {
		set  bool
		name string
	}{{f.pprof, "--pprof"}, {f.status, "--status"}} {
		if x.set && f.health == "" {
			return fmt.Errorf("the argument '%s' needs '--health <ADDR>'", x.name)
		}
	}
	return nil
}
