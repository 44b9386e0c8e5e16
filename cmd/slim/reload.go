package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/certs"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/watch"
	"github.com/seed31b3bfd0/slimgo/router"
)

// reloader has a configuration take effect that changes while the node runs. Everything is loaded and opened before
// anything is changed: what cannot be leaves all as it is. Rules: P-conf-25. Owned by the goroutine of its watcher, but for
// run's.
type reloader struct {
	p         *program
	f         *flags
	log       logs
	operation *operation
	services  []*service

	c     *config.Config // as it runs
	rules []string       // files of rules that the configuration names, as it was read last
	seen  string         // digests of the files that were looked at last

	// The watcher of certificates.
	secured  []*secured
	now      chan struct{}  // asks it
	endWatch func()         // ends it
	watching sync.WaitGroup // waits for it
}

// oneWay says what is at a path that may be read only once, such as a pipe; "": a file, or nothing.
func oneWay(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return noFile(fi.Mode())
}

// noFile says what something of that mode is; "": a file.
func noFile(mode os.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "a directory"
	case mode&os.ModeNamedPipe != 0:
		return "a pipe"
	}
	return "a device or a socket"
}

// digest identifies what a file holds; what cannot be read is told apart by why.
func digest(path string) string {
	if what := oneWay(path); what != "" { // a pipe is not opened: whoever writes to it would find it closed
		return what
	}
	f, err := watch.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err == nil && !fi.Mode().IsRegular() {
		return noFile(fi.Mode()) // since a moment
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, config.MaxFileSize+1)); err != nil {
		return err.Error()
	}
	return string(h.Sum(nil))
}

// digests identifies what the configuration's file holds, whose digest is own, and those of rules that it names.
func (r *reloader) digests(own string) string {
	for _, file := range r.rules {
		own += "\x00" + digest(file)
	}
	return own
}

// run reloads when the configuration's file or those of certificates change, or hangups asks for it. It returns when ctx
// ends and nothing is under way.
func (r *reloader) run(ctx context.Context, hangups <-chan os.Signal) {
	log := r.log.With(cli.KeyTarget, "slim::reload")
	w := watch.Watcher{
		Files: func() []string {
			if r.f.config == "" || !r.p.watches {
				return nil
			}
			return append([]string{r.f.config}, r.rules...)
		},
		Look: func(asked, strict bool) bool { return r.look(ctx, log, asked, strict) },
		Blind: func(err error) {
			log.Warn("cannot see at once when the configuration changes: it is looked at every minute, and at SIGHUP", "error", err)
		},
	}
	now := make(chan struct{})
	var own sync.WaitGroup
	defer own.Wait()
	own.Go(func() {
		r.watchCertificates(ctx)
		w.Run(ctx, now)
		r.endWatch()
		r.watching.Wait()
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		r.p.audit.reopen()
		if r.f.config == "" {
			log.Info("received signal, but there is nothing to load: the node was started without --config", "signal", "SIGHUP")
		} else {
			log.Info("received signal, loading configuration and certificates anew", "signal", "SIGHUP", "file", r.f.config)
		}
		select {
		case <-ctx.Done():
			return
		case now <- struct{}{}: // waits for a reload that is under way
		}
	}
}

// look loads the configuration if it has changed or is asked for, and what belongs to authentication and the certificates if
// they are asked for. It reports whether something cannot be loaded, and says so if strict is set.
func (r *reloader) look(ctx context.Context, log *slog.Logger, asked, strict bool) (fault bool) {
	if asked {
		r.p.reloadAuth(r.services)
	}
	switch {
	case r.f.config == "":
	case r.p.once == "":
		fault = r.lookAtFile(ctx, log, asked, strict)
	case asked:
		log.Warn("the configuration is no file, and can be read only once: only certificates are loaded anew", "file", r.f.config)
	}
	if asked {
		select {
		case r.now <- struct{}{}:
		case <-ctx.Done():
		}
	}
	return fault
}

func (r *reloader) lookAtFile(ctx context.Context, log *slog.Logger, asked, strict bool) (fault bool) {
	own := digest(r.f.config)
	if !asked && r.digests(own) == r.seen {
		return false
	}
	c, warnings, faults := r.load()
	if c != nil {
		r.rules = ruleFiles(c)
	}
	seen := r.digests(own)
	var s *step
	if len(faults) == 0 {
		s, faults = r.prepare(ctx, c)
	}
	switch {
	case ctx.Err() != nil: // the node stops
		if s != nil {
			s.abandon()
		}
		return false
	case len(faults) > 0 && !strict:
		return true
	case len(faults) > 0:
		r.seen = seen
		for _, err := range faults {
			log.Error("configuration is not loaded: everything stays as it is", "error", err)
		}
		r.operation.reloaded(r.p.now(), nil, faults)
		r.p.audit.reloaded(r.p.now(), faults)
		r.p.keepAgents(r.services)
		return true
	}
	r.seen = seen
	for _, w := range warnings {
		r.log.With(cli.KeyTarget, "slim::config").Warn(w.String())
	}
	r.commit(ctx, log, s)
	return false
}

// load reads the file, and returns all that is wrong with it.
func (r *reloader) load() (c *config.Config, warnings []config.Warning, faults []error) {
	if what := oneWay(r.f.config); what != "" { // it was a file at the start
		return nil, nil, []error{fmt.Errorf("%s is no file any more, but %s: put the file back", r.f.config, what)}
	}
	c, reasons, warnings := config.Check(r.f.config, r.p.env)
	for _, x := range reasons {
		faults = append(faults, errors.New(x.String()))
	}
	if r.f.strictConfig {
		for _, w := range warnings {
			faults = append(faults, fmt.Errorf("%s (--strict-config refuses warnings)", w))
		}
	}
	return c, warnings, faults
}

// step is a reload that is prepared.
type step struct {
	c     *config.Config // as it will run
	plans []*plan        // in the order of the services
	stays []string       // key paths of what cannot change
}

// plan is what becomes of one service.
type plan struct {
	service  *service
	config   *config.Service
	secured  []*secured
	verified []*verified
	links    []*activeLink // all of them; those without a dialer are new
	stay     []rearmed     // of these, the others
	names    names
	change   change // nil: there will be none
}

func (s *step) abandon() {
	for _, p := range s.plans {
		p.abandon()
	}
}

func (p *plan) abandon() {
	if p.change != nil {
		p.change.Abandon()
	}
	closeVerified(p.verified, p.service.verified)
	for _, l := range p.links {
		if l.dialer == nil {
			_ = l.shows.Close()
		}
	}
	for _, x := range p.stay {
		x.with.close()
	}
}

// changeable is what of wanted can take effect while running does.
func changeable(running, wanted *config.Config) *config.Config {
	c := *running
	c.Runtime.DrainTimeout = wanted.Runtime.DrainTimeout
	c.Tracing.LogLevel, c.Tracing.Filters = wanted.Tracing.LogLevel, wanted.Tracing.Filters
	c.Services = slices.Clone(running.Services)
	for i := range c.Services {
		s := &c.Services[i]
		at := slices.IndexFunc(wanted.Services, func(w config.Service) bool { return w.ID == s.ID })
		if at < 0 {
			continue
		}
		w := &wanted.Services[at]
		s.Position, s.Dataplane = w.Position, w.Dataplane
		s.DefaultGateway = w.DefaultGateway // without effect in either
	}
	return &c
}

// prepare loads and opens what wanted needs, and changes nothing. After an error, of which there may be many, nothing of
// that is left.
func (r *reloader) prepare(ctx context.Context, wanted *config.Config) (*step, []error) {
	s := &step{c: changeable(r.c, wanted)}
	s.stays = s.c.Differences(wanted)
	var faults []error
	add := func(errs []error) {
		for _, err := range errs {
			var f *failure
			if errors.As(err, &f) && f.cause != nil {
				err = f.cause // its texts are those of a start
			}
			faults = append(faults, err)
		}
	}
	for i, running := range r.services {
		p := &plan{service: running, config: &s.c.Services[i]}
		var errs []error
		p.secured, errs = r.p.secure(s.c, p.config, running)
		add(errs)
		p.verified, errs = r.p.verifiers(s.c, p.config, running)
		add(errs)
		p.links, p.stay, errs = r.p.links(s.c, p.config, running.links)
		add(errs)
		p.names, errs = authorize(s.c, p.config, running)
		s.plans = append(s.plans, p)
		if add(errs); len(faults) > 0 {
			continue // what others cannot load is told, too
		}
		obeyed := rules(p.config, r.f)
		obeyed.Authorization = p.names.set
		c, err := running.node.Prepare(ctx, router.Setup{Endpoints: endpoints(p.config, p.secured, p.verified), Rules: obeyed,
			Drain: max(s.c.Runtime.DrainTimeout, time.Millisecond)})
		if err != nil {
			add(listenFaults(s.c, p.config, err))
			continue
		}
		p.change = c
	}
	if len(faults) > 0 {
		s.abandon()
		return nil, faults
	}
	return s, nil
}

// listenFaults takes the errors of a Prepare apart.
func listenFaults(c *config.Config, s *config.Service, err error) (faults []error) {
	if all := apart(err); len(all) > 1 {
		for _, e := range all {
			faults = append(faults, listenFaults(c, s, e)...)
		}
		return faults
	}
	var listen *router.ListenError
	if errors.As(err, &listen) {
		return []error{endpointFault(c, s, listen)}
	}
	return []error{fmt.Errorf("%s: %w", s.ID, err)}
}

// commit makes a step that is prepared.
func (r *reloader) commit(ctx context.Context, log *slog.Logger, s *step) {
	changed := r.c.Differences(s.c)
	for _, p := range s.plans {
		if old := p.service.names; old.file == p.names.file && old.digest != p.names.digest {
			changed = append(changed, p.names.file)
		}
	}
	r.log.filter.Become(r.p.filter(s.c, r.f)) // first: nodes look at what the log shows
	r.c = s.c
	for _, p := range s.plans {
		p.commit(r.p, log, r.log.Logger)
	}
	r.operation.drains(s.c.Runtime.DrainTimeout)
	r.operation.uses(r.services, r.p.agents)
	r.watchCertificates(ctx)
	r.p.keepAgents(r.services)
	text := "configuration loaded anew"
	if len(changed) == 0 && len(s.stays) == 0 {
		text = "configuration is as before"
	}
	r.operation.reloaded(r.p.now(), s.stays, nil) // first: who has read the log finds it in the metrics
	log.Info(text, "file", r.f.config, "changed", changed)
	r.p.audit.reloaded(r.p.now(), nil)
	for _, key := range s.stays {
		log.Warn("this key cannot change while the node runs: start it anew for that", "key", key)
	}
}

// commit makes the change of one service.
func (p *plan) commit(prog *program, log, all *slog.Logger) {
	s := p.service
	before, was, old := slices.Clone(s.endpoints), s.secured, s.verified
	kept := p.change.Kept()
	p.change.Commit()
	closeVerified(s.verified, p.verified) // the node judges by the new ones
	s.Service, s.secured, s.verified, s.names = p.config, p.secured, p.verified, p.names
	s.endpoints = s.bound()
	for i, e := range s.endpoints {
		switch at := kept[i]; {
		case at < 0:
			s.started(e)
		case before[at] != e:
			log.Info("dataplane server changed: those who came by it go on", "service", s.ID, "endpoint", e, "before", before[at])
		}
		if o := p.verified[i]; o.auth.Type != "none" && !uses(old, o) {
			log.Info("connections have to say who they are, by what is configured now", "service", s.ID, "endpoint", e,
				"auth", o.auth.Type)
		}
	}
	for i, e := range before {
		if !slices.Contains(kept, i) {
			log.Info("dataplane server removed: those who came by it end", "service", s.ID, "endpoint", e)
		}
	}
	for _, k := range p.secured {
		if k != nil && !slices.ContainsFunc(was, func(o *secured) bool { return o != nil && o.keeper == k.keeper }) {
			prog.showLoaded(s, all, k)
		}
	}
	var gone, fresh []*activeLink
	for _, l := range s.links {
		if !slices.Contains(p.links, l) {
			gone = append(gone, l)
			l.dialer.Close()
			_ = l.shows.Close()
			log.Info("dataplane client removed: its link ends", "service", s.ID, "endpoint", l.endpoint)
		}
	}
	s.links = slices.DeleteFunc(s.links, func(l *activeLink) bool { return slices.Contains(gone, l) })
	for _, x := range p.stay {
		x.link.client = x.client
		if x.with != nil {
			x.link.shows.become(x.with)
			log.Info("dataplane client shows other credentials from its next connection on", "service", s.ID, "endpoint", x.link.endpoint)
			s.tellOpen(all, x.link)
		}
	}
	for i, l := range p.links {
		l.number(s.ID, i)
		if l.dialer == nil {
			fresh = append(fresh, l)
			for _, k := range l.secured {
				prog.showLoaded(s, all, k)
			}
			s.tellOpen(all, l)
		}
	}
	if err := s.dial(fresh, gone); err != nil { // the node stops
		log.Debug("clients are not dialled", "service", s.ID, "error", err)
	}
}

// watchCertificates has the files of all certificates watched that are in use now.
func (r *reloader) watchCertificates(ctx context.Context) {
	by := map[*certs.Keeper]*secured{}
	var keepers []*certs.Keeper
	var all []*secured
	for _, s := range r.services {
		for _, k := range s.allSecured() {
			keepers, all, by[k.keeper] = append(keepers, k.keeper), append(all, k), k
		}
	}
	if r.endWatch != nil {
		if slices.EqualFunc(all, r.secured, func(a, b *secured) bool { return *a == *b }) {
			return
		}
		r.endWatch()
		r.watching.Wait()
	}
	log := r.log.With(cli.KeyTarget, "slim_config::tls")
	w := certs.Watcher{Keepers: keepers, Told: func(e certs.Event) { by[e.Keeper].tell(log, &e, r.p.now()) },
		Blind: func(err error) {
			log.Warn("cannot see at once when files of certificates change: they are looked at every minute, and at SIGHUP", "error", err)
		}}
	ctx, r.endWatch = context.WithCancel(ctx)
	now := make(chan struct{})
	r.secured, r.now = all, now
	r.watching.Go(func() { w.Run(ctx, now) })
}
