package policy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/watch"
)

// Bounds of a policy.
const (
	maxText  = 1 << 20     // bytes of it
	maxTime  = time.Second // of one evaluation, beside the caller's
	maxSteps = 100_000     // of one evaluation in Rego: expressions, and turns of built-in functions that count
	maxCost  = 1_000_000   // of one in CEL, as cel-go counts: about one for each operator and each turn of a macro
	maxBytes = 64 << 20    // that one in CEL may make
	maxDepth = 128         // of nested claims, as upstream's tokens have
)

// Options are where a policy is written. Exactly one of CEL, Rego and File is set.
type Options struct {
	CEL  string // an expression over the variable claims
	Rego string // a module of the package slim.auth
	File string // the path of a Rego module
	// Reloaded hears what came of each change of File: nil, or why what was loaded before stays in use. Not of what somebody may be in
	// the middle of writing. nil: nobody does. It is called by whoever has loaded the file, one call at a time.
	Reloaded func(error)

	settle, limit time.Duration // by tests: of the watcher, and in place of maxTime
}

// Policy is one policy, kept as its file is. Safe for all.
type Policy struct {
	opt  Options
	key  string // of the configuration: "policy.cel"
	stop context.CancelFunc
	ends sync.WaitGroup

	mu   sync.Mutex // for who loads
	seen string     // what the file held, or why it could not be read, when it was looked at last

	now     atomic.Pointer[program]
	noted   sync.Mutex
	changed chan struct{} // guarded by noted
	status  Status        // guarded by noted
}

// Status is what an operator asks of a Policy.
type Status struct {
	auth.Loads
	Warnings []string // of what is in use
}

// program is a policy that was compiled. Immutable.
type program struct {
	// allow tells why claims, which were checked by plain, do not pass.
	allow    func(ctx context.Context, claims map[string]any) error
	warnings []string
}

// errDenies is why claims do not pass where nothing went wrong.
var errDenies = errors.New("denies")

// New compiles a policy. What keeps it from being compiled is said as upstream does, with the engine's own words. A file is watched
// until Close.
func New(o Options) (*Policy, error) {
	if o.limit == 0 {
		o.limit = maxTime
	}
	p := &Policy{opt: o, changed: make(chan struct{}), stop: func() {}}
	var err error
	var prog *program
	switch {
	case o.CEL != "" && o.Rego == "" && o.File == "":
		p.key = "policy.cel"
		prog, err = compileCEL(o.CEL)
	case o.Rego != "" && o.CEL == "" && o.File == "":
		p.key = "policy.rego"
		prog, err = compileRego("slim/auth.rego", o.Rego)
	case o.File != "" && o.CEL == "" && o.Rego == "":
		p.key = "policy.rego_file"
		prog, err = p.read()
	case o.CEL == "" && o.Rego == "" && o.File == "":
		err = errors.New("it is empty")
	default:
		err = errors.New("more than one is given")
	}
	if err != nil {
		return nil, p.failure(err)
	}
	p.now.Store(prog)
	p.status = Status{auth.Loads{Loaded: time.Now()}, prog.warnings}
	if o.File != "" {
		ctx, stop := context.WithCancel(context.Background())
		p.stop = stop
		w := watch.Watcher{
			Files:  func() []string { return []string{o.File} },
			Look:   func(_, strict bool) bool { return p.look(strict) },
			Settle: o.settle,
		}
		p.ends.Go(func() { w.Run(ctx, nil) })
	}
	return p, nil
}

// failure words why a policy cannot be compiled (P-pol-1).
func (p *Policy) failure(err error) error {
	switch {
	case p.key == "":
		return fmt.Errorf("rego policy compilation failed: policy: %w", err)
	case p.opt.File != "":
		return fmt.Errorf("rego policy compilation failed: %s: %s: %w", p.key, p.opt.File, err)
	}
	return fmt.Errorf("rego policy compilation failed: %s: %w", p.key, err)
}

// read loads the file, and notes what it held. Under mu, or before there is a watcher.
func (p *Policy) read() (*program, error) {
	b, err := watch.Read(p.opt.File, maxText)
	if err != nil {
		p.seen = "!" + err.Error()
		return nil, err
	}
	p.seen = "=" + string(b)
	return compileRego(p.opt.File, string(b))
}

// look loads the file if it holds something else than before. It reports whether that cannot be loaded, which it says if strict is set.
func (p *Policy) look(strict bool) (fault bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.seen
	prog, err := p.read()
	if p.seen == before {
		return false // it was said
	}
	if err != nil && !strict {
		p.seen = before
		return true
	}
	return p.take(prog, err) != nil
}

// Reload loads the file now, whether it has changed or not. After an error, what was loaded before stays in use. Without a file it does
// nothing.
func (p *Policy) Reload() error {
	if p.opt.File == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	prog, err := p.read()
	return p.take(prog, err)
}

// take has prog count from now on, or notes why there is none. Under mu.
func (p *Policy) take(prog *program, err error) error {
	if err != nil {
		err = p.failure(err)
	}
	p.noted.Lock()
	if err != nil {
		p.status.Fail(time.Now(), err)
	} else {
		p.now.Store(prog)
		p.status.Succeed(time.Now(), true)
		p.status.Warnings = prog.warnings
		close(p.changed) // who sees it closed evaluates what was stored above
		p.changed = make(chan struct{})
	}
	p.noted.Unlock()
	if p.opt.Reloaded != nil {
		p.opt.Reloaded(err)
	}
	return err
}

// Allow returns nil if claims, as encoding/json has them, pass; else which policy says no and why, for an operator: the peer is to be
// told nothing of it, and it may quote claims. It takes a second at most, and ends with ctx (P-pol-2, P-pol-11). claims are only read.
func (p *Policy) Allow(ctx context.Context, claims map[string]any) (err error) {
	defer func() {
		// The engines are not ours, and see what a stranger has sent: what breaks in them denies one, and stops nobody else.
		if r := recover(); r != nil {
			err = fmt.Errorf("%s broke: %v", p.key, r)
		}
	}()
	checked, err := plain(claims)
	if err != nil {
		return fmt.Errorf("%s cannot be asked: %w", p.key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.opt.limit)
	defer cancel()
	if err := p.now.Load().allow(ctx, checked); err != nil {
		return fmt.Errorf("%s %w", p.key, err)
	}
	return nil
}

// Changed returns a channel that is closed when Allow may answer otherwise than before; ask for the next one then, before Allow.
func (p *Policy) Changed() <-chan struct{} {
	p.noted.Lock()
	defer p.noted.Unlock()
	return p.changed
}

// Status returns what is in use, and whether the last load went well.
func (p *Policy) Status() Status {
	p.noted.Lock()
	defer p.noted.Unlock()
	return p.status
}

// Loads returns how loads went. It is an auth.Loader.
func (p *Policy) Loads() auth.Loads { return p.Status().Loads }

// Close ends the watch of a file, and waits for it. Allow goes on to answer.
func (p *Policy) Close() error {
	p.stop()
	p.ends.Wait()
	return nil
}
