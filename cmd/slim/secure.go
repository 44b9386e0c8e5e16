package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
)

// secured is the TLS of one listener or client, or of a client's proxy.
type secured struct {
	keeper   *certs.Keeper
	endpoint string
	path     string // of the key `tls`
}

// protocols are what a listener takes by ALPN.
func protocols(endpoint string) []string {
	if strings.HasPrefix(endpoint, "wss://") {
		return []string{"http/1.1"}
	}
	return []string{"h2"}
}

// secure loads the TLS of a service's listeners, in order; nil: one has none. What old, which runs, has loaded of the same
// settings stays in use: keys of tickets live on.
func (p *program) secure(c *config.Config, s *config.Service, old *service) (all []*secured, faults []error) {
	for i := range s.Dataplane.Servers {
		server := &s.Dataplane.Servers[i]
		if server.TLS.Insecure {
			all = append(all, nil)
			continue
		}
		path := fmt.Sprintf("services.%s.dataplane.servers[%d].tls", s.ID, i)
		if k := old.keeperOf(s, server, all); k != nil {
			all = append(all, &secured{k, server.Endpoint, path})
			continue
		}
		k, err := p.keepServer(&server.TLS, server.Endpoint, s.Dataplane.EnforcePQC)
		if err != nil {
			faults = append(faults, tlsFailure(c, &server.TLS, path, err))
			continue
		}
		all = append(all, &secured{k, server.Endpoint, path})
	}
	return all, faults
}

// keepServer loads the TLS of a listener. An error is a *certs.Error.
func (p *program) keepServer(t *config.TLS, endpoint string, onlyPQ bool) (*certs.Keeper, error) {
	o := certs.Options{Version: t.Version, OnlyPQ: onlyPQ, Protocols: protocols(endpoint)}
	if err := p.material(&o, t, &o.ClientCA, &t.ClientCA, "client_ca"); err != nil {
		return nil, err
	}
	return certs.NewServer(o)
}

// allSecured is the TLS of all listeners and clients of s that have some.
func (s *service) allSecured() (all []*secured) {
	for _, k := range s.secured {
		if k != nil {
			all = append(all, k)
		}
	}
	for _, l := range slices.Concat(s.links, s.peers.links()) {
		all = append(all, l.secured...)
	}
	if s.controller != nil {
		all = append(all, s.controller.secured...)
	}
	return all
}

// keeperOf returns what a listener has loaded of the settings of a server, at the same endpoint, unless
// it is used again already; nil: none has.
func (s *service) keeperOf(wanted *config.Service, server *config.Server, used []*secured) *certs.Keeper {
	if s == nil || s.Dataplane.EnforcePQC != wanted.Dataplane.EnforcePQC {
		return nil
	}
	for i := range s.Dataplane.Servers {
		x, mine := &s.Dataplane.Servers[i], s.secured[i]
		if mine == nil || x.Endpoint != server.Endpoint || !x.TLS.Same(&server.TLS) {
			continue
		}
		if !slices.ContainsFunc(used, func(u *secured) bool { return u != nil && u.keeper == mine.keeper }) {
			return mine.keeper
		}
	}
	return nil
}

// material fills in what o takes from a block of TLS: its certificate, and the authority of its key block. An error is a
// *certs.Error.
func (p *program) material(o *certs.Options, t *config.TLS, to *certs.Authority, of *config.Material, block string) error {
	for _, x := range []struct {
		of   *config.Material
		to   *certs.Live
		name string
	}{{&t.Source, &o.Own.Live, "source"}, {of, &to.Live, block}} {
		live, err := p.live(x.of, x.name)
		if err != nil {
			return err
		}
		if live != nil { // a nil of this type is no nil certs.Live
			*x.to = live
		}
	}
	o.Own.Kind, o.Own.Cert, o.Own.Key = materialKinds[t.Source.Type], t.Source.Cert.Reveal(), t.Source.Key.Reveal()
	to.Kind, to.CA = materialKinds[of.Type], of.CA
	return nil
}

// materialKinds are the types of `source`, `ca_source` and `client_ca`.
var materialKinds = map[string]certs.Kind{"file": certs.Files, "pem": certs.Text, "spire": certs.Lives}

// placed is an error with the place in the file that it is about.
type placed struct {
	config.Reason
	err error
}

func (e *placed) Error() string { return e.Reason.String() }

func (e *placed) Unwrap() error { return e.err }

// tlsFailure words what keeps a listener's TLS from being loaded as upstream does, with the place of the key.
func tlsFailure(c *config.Config, t *config.TLS, path string, err error) error {
	r := config.Reason{File: c.File, Position: t.Position, Path: path, Text: err.Error()}
	var e *certs.Error
	if errors.As(err, &e) {
		switch e.Key {
		case "tls_version":
			r.Position = t.VersionPosition
		default:
			switch block, _, _ := strings.Cut(e.Key, "."); block {
			case "source":
				r.Position = t.Source.Position
			case "client_ca":
				r.Position = t.ClientCA.Position
			case "ca_source":
				r.Position = t.CA.Position
			}
		}
		r.Path, r.Text = path+"."+e.Key, e.Err.Error()
		if e.File != "" {
			r.Text = e.File + ": " + r.Text
		}
	}
	if r.Position.Line == 0 {
		r.File = ""
	}
	return &failure{
		context: []string{"failed to start service", "datapath error", "configuration error", "TLS config error"},
		cause:   &placed{r, err},
	}
}

// tell logs what came of a reload.
func (s *secured) tell(log *slog.Logger, e *certs.Event, now time.Time) {
	var fault *certs.Error
	switch {
	case errors.As(e.Err, &fault) && fault.Waits:
		s.showWaiting(log, fault)
	case e.Err != nil:
		log.Error("certificates are not loaded: the old ones stay in use", "endpoint", s.endpoint, "error", s.path+"."+e.Err.Error())
	case e.Changed:
		s.show(log, "certificates loaded anew", now)
	default:
		s.show(log, "certificates are as before", now)
	}
}

// showWaiting logs that something is not there yet.
func (s *secured) showWaiting(log *slog.Logger, fault *certs.Error) {
	log.Error("certificates are not there yet: TLS fails until they are", "endpoint", s.endpoint, "error", s.path+"."+fault.Error())
}

// show logs whose certificate this side shows, and how long it is good.
func (s *secured) show(log *slog.Logger, text string, now time.Time) {
	if fault := (*certs.Error)(nil); errors.As(s.keeper.Status().Fault, &fault) && fault.Waits {
		s.showWaiting(log, fault)
		return
	}
	c := s.keeper.Leaf()
	attrs := []any{"endpoint", s.endpoint}
	if c != nil {
		attrs = append(attrs, "subject", subject(c), "not_after", c.NotAfter.UTC().Format(time.RFC3339))
	}
	if t := s.keeper.Trusts(); t != "" {
		attrs = append(attrs, "trusts", t)
	}
	switch {
	case c == nil: // a client that shows none
		log.Info(text, attrs...)
	case now.After(c.NotAfter):
		log.Warn(text+": ours has expired, so the other side will refuse it", attrs...)
	case now.Before(c.NotBefore):
		log.Warn(text+": ours is not good yet, so the other side will refuse it",
			append(attrs, "not_before", c.NotBefore.UTC().Format(time.RFC3339))...)
	default:
		log.Info(text, attrs...)
	}
}

// subject is whom a certificate is of: its SPIFFE ID, if it has one.
func subject(c *x509.Certificate) string {
	for _, u := range c.URIs {
		if strings.EqualFold(u.Scheme, "spiffe") {
			return u.String()
		}
	}
	return c.Subject.String()
}

// notifyHangups has c told of SIGHUP, unless it is ignored: nohup has it so.
func notifyHangups(c chan<- os.Signal) func() {
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(c, syscall.SIGHUP)
	}
	return func() { signal.Stop(c) }
}

// sortHangups passes a SIGHUP on to stop if it means that the terminal is gone, else to reload. It returns when ctx
// ends.
func (p *program) sortHangups(ctx context.Context, hangups <-chan os.Signal, stop, reload chan<- os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-hangups:
			to := reload
			if p.hungUp() {
				to = stop
			}
			select {
			case to <- s:
			default: // another one waits already
			}
		}
	}
}

// terminalWatch returns a function that reports whether the terminal that the process has now has been closed since.
func terminalWatch() func() bool {
	had := hasTerminal()
	return func() bool { return had && !hasTerminal() }
}

// hasTerminal reports whether the process has a controlling terminal.
func hasTerminal() bool {
	fd, err := syscall.Open("/dev/tty", syscall.O_RDONLY|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = syscall.Close(fd)
	return true
}
