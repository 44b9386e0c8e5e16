package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

// program is one run of the command. Tests replace its fields.
type program struct {
	env             func(string) (string, bool)
	stdout, stderr  io.Writer
	sink            cli.SinkOptions // of the log
	build           cli.BuildInfo
	terminal        bool // stdout shows colours
	now             func() time.Time
	start           func(context.Context, router.Options) (node, error)
	setCores        func(n int)
	cores           int                                    // of the machine
	goroutines      func() int                             // how many the process has
	notify          func(chan<- os.Signal) (ignore func()) // subscribes to the stop signals
	notifyQuestions func(chan<- os.Signal) (ignore func()) // subscribes to the signal that asks for counters
	notifyHangups   func(chan<- os.Signal) (ignore func()) // subscribes to the signal that asks for a reload
	watches         bool                                   // the configuration's file, and not only at SIGHUP
	hungUp          func() bool                            // whether the terminal has been closed
	columns         func() (columns, rows int)             // of the terminal
	telling         func()                                 // called beside the node once it is ready; nil: nothing is

	out         *cli.Sink    // in front of stdout; made by run
	audit       *auditLog    // nil: there is none
	log         *slog.Logger // of the node; nil: there is none
	strictAuth  bool         // --strict-auth
	authIssuers []string     // --auth-issuers

	report reporter // on stderr, behind a sink of its own
	hurry  bool     // a second signal has come
	loaded string   // digest of the configuration's file before it was loaded
	once   string   // what the configuration is that cannot be read again; "": a file

	agents *spire.Agents // that a configuration names; nil: none is asked yet
}

// run executes the command and returns its exit code. It returns when a stop signal came or ctx ended, and all services
// have stopped.
func run(ctx context.Context, args []string, env func(string) (string, bool), stdout, stderr io.Writer) int {
	return newProgram(env, stdout, stderr).run(ctx, args)
}

// newProgram prepares the process for one run of the command.
func newProgram(env func(string) (string, bool), stdout, stderr io.Writer) *program {
	cli.SurviveClosedPipes()
	return &program{
		env: env, stdout: stdout, stderr: stderr, watches: true, build: cli.ReadBuildInfo(), terminal: cli.IsTerminal(stdout),
		now:   time.Now,
		start: startNode, setCores: func(n int) { runtime.GOMAXPROCS(n) }, cores: runtime.NumCPU(), notify: notifySignals,
		notifyQuestions: notifyQuestions, notifyHangups: notifyHangups, hungUp: terminalWatch(), goroutines: runtime.NumGoroutine,
		columns: func() (int, int) { return cli.Size(stdout, 160, 50) },
	}
}

// How long the end of the process waits for those who read log and errors; hurriedLimit after a second signal.
const (
	flushLimit   = 2 * time.Second
	hurriedLimit = 100 * time.Millisecond
)

// run executes the command with log and errors behind sinks, so that nobody ever waits for who reads them.
func (p *program) run(ctx context.Context, args []string) int {
	if len(args) > 0 && commands[args[0]] != nil {
		return p.command(ctx, args[0], args[1:])
	}
	errs := cli.NewSink(p.stderr, cli.SinkOptions{})
	p.report.w = errs
	p.sink.Trouble = func(err error) { p.report.warn("cannot write the log: " + err.Error()) }
	p.out = cli.NewSink(p.stdout, p.sink)
	code := p.execute(ctx, args)
	limit := flushLimit
	if p.hurry {
		limit = hurriedLimit
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p.audit.close(ctx)
	_ = p.out.Close(ctx) // what cannot be written within the time is given up
	_ = errs.Close(ctx)
	return code
}

func (p *program) execute(ctx context.Context, args []string) int {
	f, err := parseFlags(args, p.env)
	if err == nil && f.logFormat == "json" || err != nil && asksForJSON(args) {
		p.report.useJSON(p.now)
	}
	switch {
	case err != nil:
		p.report.misused(err)
		return cli.ExitUsage
	case f.help:
		io.WriteString(p.out, helpText)
		return cli.ExitOK
	case f.version:
		fmt.Fprintln(p.out, p.build)
		return cli.ExitOK
	}
	c, warnings := config.Default(), []config.Warning(nil)
	if f.configSet {
		p.loaded, p.once = digest(f.config), oneWay(f.config) // before: what changes meanwhile is seen
		c, warnings, err = config.Load(f.config, p.env)
	}
	if len(warnings) > 0 && f.strictConfig && err == nil {
		err, warnings = strictError(warnings), nil
	}
	if err != nil {
		// A key that was ignored may be why another is missing.
		for _, w := range warnings {
			p.report.warn(w.String())
		}
		p.report.failed(err)
		p.tellOtherFaults(f.config, err)
		return cli.ExitError
	}
	if err := p.serve(ctx, c, warnings, f); err != nil {
		p.report.failed(err)
		return cli.ExitError
	}
	return cli.ExitOK
}

// tellOtherFaults says that a file has more faults than err, which a start tells first: that is upstream's order, where
// a fault of one block may hide why that block is there at all.
func (p *program) tellOtherFaults(file string, err error) {
	var told *config.Error
	if !errors.As(err, &told) || oneWay(file) != "" {
		return
	}
	_, faults, _ := config.Check(file, p.env)
	others := slices.DeleteFunc(faults, func(r config.Reason) bool { return slices.Contains(told.Reasons, r) })
	if len(others) > 0 {
		p.report.more(others[0].String(), len(others), "slim config check "+file)
	}
}

// serve starts every service, waits for the stop, and stops them.
func (p *program) serve(ctx context.Context, c *config.Config, warnings []config.Warning, f *flags) error {
	// Subscribed before anything is said or done: from the first line on, a signal stops the node in order.
	signals := make(chan os.Signal, 2)
	defer p.notify(signals)()

	questions := make(chan os.Signal, 1)
	defer p.notifyQuestions(questions)()

	hangups, reload := make(chan os.Signal, 1), make(chan os.Signal, 1)
	defer p.notifyHangups(hangups)()
	sorting, sorted := context.WithCancel(context.Background())
	defer sorted()
	go p.sortHangups(sorting, hangups, signals, reload)

	log := p.logs(c, f)
	p.log, p.strictAuth, p.authIssuers = log.Logger, f.strictAuth, f.authIssuers
	runner := log.With(cli.KeyTarget, "slim::runner")
	runner.Info("", "build_info", p.build)
	for _, w := range warnings {
		log.With(cli.KeyTarget, "slim::config").Warn(w.String())
	}
	if n := int(min(c.Runtime.Cores, uint64(p.cores))); n > 0 {
		if uint64(n) < c.Runtime.Cores {
			runner.Warn("runtime.n_cores exceeds the processors of this machine", "n_cores", c.Runtime.Cores, "used", n)
		}
		p.setCores(n)
	}

	if f.auditLog != "" {
		var err error
		p.audit, err = newAuditLog(f.auditLog, p.out, func(err error) {
			log.With(cli.KeyTarget, targetAuth).Error("cannot write the audit log", "error", err)
		})
		if err != nil {
			return &failure{context: []string{"failed to open --audit-log"}, cause: err}
		}
	}
	operation, stop, err := p.operate(ctx, f, log.Logger)
	if err != nil {
		return err
	}
	defer stop()

	defer p.askAgents(log.With(cli.KeyTarget, "slim_auth::spire"))()

	var started []*service
	defer func() {
		for _, s := range started {
			s.cancel()
			s.peers.wait()
			closeVerified(s.verified, nil)
			closeLinks(slices.Concat(s.links, s.peers.links()))
		}
	}()
	for i := range c.Services {
		s, err := p.startService(ctx, c, i, f, log)
		if err != nil {
			select {
			case <-signals: // it asked for what happens anyway; another one ends that, too
			default:
			}
			operation.becomes(errStopping)
			return errors.Join(err, p.stopAll(started, c.Runtime.DrainTimeout, signals))
		}
		started = append(started, s)
		operation.started(s)
		runner.Info("service started", "service", s.ID, "node_id", s.node.About().NodeID)
	}

	operation.drains(c.Runtime.DrainTimeout)
	operation.begins(f.config, p.now())
	operation.uses(started, p.agents)
	operation.becomes(nil)

	var telling sync.WaitGroup
	defer telling.Wait()
	told, done := context.WithCancel(context.Background())
	defer done()
	telling.Go(func() { p.tellCounters(told, started, questions) })
	reloading, stopReloading := context.WithCancel(told)
	reloaded := make(chan struct{})
	defer stopReloading()
	go func() {
		defer close(reloaded)
		r := &reloader{p: p, f: f, log: log, operation: operation, services: started, c: c, rules: ruleFiles(c), seen: p.loaded}
		for _, s := range started {
			if s.names.file != "" {
				r.seen += "\x00" + s.names.digest
			}
		}
		r.run(reloading, reload)
	}()
	if p.telling != nil {
		telling.Go(p.telling)
	}

	received := "end of context"
	select {
	case s := <-signals:
		received = signalName(s)
	case <-ctx.Done():
	}
	operation.becomes(errStopping)
	stopReloading()
	select { // a change that is under way is soon over, unless a disk holds it up: the end does not wait for that
	case <-reloaded:
	case <-time.After(lateLimit):
	}
	log.With(cli.KeyTarget, "slim::signal").Info("received signal, starting shutdown", "signal", received)
	for _, s := range started {
		s.runner = runner
	}
	return p.stopAll(started, operation.drain(), signals)
}

// logs are the process's loggers.
type logs struct {
	*slog.Logger
	unfiltered *slog.Logger
	filter     *cli.Filter // of the first
}

// filter is what the log shows, by the configuration, RUST_LOG and the flags.
func (p *program) filter(c *config.Config, f *flags) *cli.Filter {
	s := cli.Selection{Level: c.Tracing.LogLevel, Modules: c.Tracing.Filters, Override: f.logLevel}
	if rust, set := p.env("RUST_LOG"); set {
		s.RustLog = &rust
	}
	return cli.NewFilter(s)
}

// logs makes the loggers out of the configuration, RUST_LOG and the flags.
func (p *program) logs(c *config.Config, f *flags) logs {
	noColor, _ := p.env("NO_COLOR")
	o := cli.LogOptions{
		JSON: f.logFormat == "json",
		Look: cli.Look{ThreadNames: c.Tracing.ThreadNames, ThreadIDs: c.Tracing.ThreadIDs, Colour: p.terminal && noColor == ""},
		Now:  p.now,
	}
	unfiltered := cli.NewLogger(p.out, o).With(cli.KeySpan, "application_lifecycle")
	o.Filter = p.filter(c, f)
	return logs{cli.NewLogger(p.out, o).With(cli.KeySpan, "application_lifecycle"), unfiltered, o.Filter}
}
