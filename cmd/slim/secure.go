package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
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

// secure loads the TLS of a service's listeners: o is what the router takes, in the order of the servers; nil: none has
// TLS.
func (p *program) secure(c *config.Config, s *config.Service) (all []secured, o []*tls.Config, err error) {
	for i := range s.Dataplane.Servers {
		server := &s.Dataplane.Servers[i]
		if server.TLS.Insecure {
			continue
		}
		path := fmt.Sprintf("services.%s.dataplane.servers[%d].tls", s.ID, i)
		k, err := certs.NewServer(certs.Options{
			Own:      pairOf(&server.TLS.Source),
			ClientCA: authorityOf(&server.TLS.ClientCA),
			Version:  server.TLS.Version, OnlyPQ: s.Dataplane.EnforcePQC, Protocols: protocols(server.Endpoint),
		})
		if err != nil {
			return nil, nil, tlsFailure(c, &server.TLS, path, err)
		}
		all = append(all, secured{k, server.Endpoint, path})
		if o == nil {
			o = make([]*tls.Config, len(s.Dataplane.Servers))
		}
		o[i] = k.Server()
	}
	return all, o, nil
}

func pairOf(m *config.Material) certs.Pair {
	return certs.Pair{Kind: materialKinds[m.Type], Cert: m.Cert.Reveal(), Key: m.Key.Reveal()}
}

func authorityOf(m *config.Material) certs.Authority {
	return certs.Authority{Kind: materialKinds[m.Type], CA: m.CA}
}

// materialKinds are the types of `source` and `client_ca`.
var materialKinds = map[string]certs.Kind{"file": certs.Files, "pem": certs.Text}

// tlsFailure words what keeps a listener's TLS from being loaded as upstream does, with the place of the key.
func tlsFailure(c *config.Config, t *config.TLS, path string, err error) error {
	at := t.Position
	var e *certs.Error
	if errors.As(err, &e) {
		switch e.Key {
		case "source", "source.cert", "source.key":
			at = t.Source.Position
		case "client_ca.path", "client_ca.data":
			at = t.ClientCA.Position
		case "ca_source.path", "ca_source.data":
			at = t.CA.Position
		case "tls_version":
			at = t.VersionPosition
		}
	}
	place := ""
	if at.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d: ", c.File, at.Line, at.Column)
	}
	return &failure{
		context: []string{"failed to start service", "datapath error", "configuration error", "TLS config error"},
		cause:   fmt.Errorf("%s%s.%w", place, path, err),
	}
}

// keepSecure has certificates loaded anew when their files change, or when reload asks for it. It returns when ctx
// ends.
func (p *program) keepSecure(ctx context.Context, services []*service, log *slog.Logger, reload <-chan os.Signal) {
	log = log.With(cli.KeyTarget, "slim_config::tls")
	w := certs.Watcher{Blind: func(err error) {
		log.Warn("cannot see at once when files of certificates change: they are looked at every minute, and at SIGHUP", "error", err)
	}}
	by := map[*certs.Keeper]*secured{}
	for _, s := range services {
		for i := range s.secured {
			w.Keepers = append(w.Keepers, s.secured[i].keeper)
			by[s.secured[i].keeper] = &s.secured[i]
		}
	}
	w.Told = func(e certs.Event) { by[e.Keeper].tell(log, &e, p.now()) }
	now := make(chan struct{})
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { w.Run(ctx, now) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
		}
		log.Info("received signal, loading certificates anew", "signal", "SIGHUP", "endpoints", len(w.Keepers))
		select {
		case <-ctx.Done():
			return
		case now <- struct{}{}:
		}
	}
}

// tell logs what came of a reload.
func (s *secured) tell(log *slog.Logger, e *certs.Event, now time.Time) {
	switch {
	case e.Err != nil:
		log.Error("certificates are not loaded: the old ones stay in use", "endpoint", s.endpoint, "error", s.path+"."+e.Err.Error())
	case e.Changed:
		s.show(log, "certificates loaded anew", now)
	default:
		s.show(log, "certificates are as before", now)
	}
}

// show logs whose certificate this side shows, and how long it is good.
func (s *secured) show(log *slog.Logger, text string, now time.Time) {
	c := s.keeper.Leaf()
	if c == nil { // a client that shows none
		log.Info(text, "endpoint", s.endpoint)
		return
	}
	attrs := []any{"endpoint", s.endpoint, "subject", c.Subject.String(), "not_after", c.NotAfter.UTC().Format(time.RFC3339)}
	switch {
	case now.After(c.NotAfter):
		log.Warn(text+": ours has expired, so the other side will refuse it", attrs...)
	case now.Before(c.NotBefore):
		log.Warn(text+": ours is not good yet, so the other side will refuse it", append(attrs, "not_before", c.NotBefore.UTC().Format(time.RFC3339))...)
	default:
		log.Info(text, attrs...)
	}
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
