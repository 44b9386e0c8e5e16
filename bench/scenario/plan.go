package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/process"
	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// Plan is what one run does. Order: for each round, each case, each node; every second round takes the nodes backwards
// (A B, B A, …), so that drift of the machine meets all alike.
type Plan struct {
	Targets []load.Target
	Cases   []Case
	Rounds  int
	// MaxRounds bounds the rounds of cases whose conditions are unclear after Rounds; below Rounds: no further ones.
	MaxRounds int
	// Name and About are those of a suite.
	Name, About string
	// Optional are names of nodes that cases and conditions may have although no target is called so.
	Optional []string
	// Transports are further ways by which the first node is to be measured; see Ways.
	Transports []string
	// StopAtFailure ends the run when a condition fails.
	StopAtFailure bool
	// Progress is called at the begin and end of each measurement and with each of its samples, from the goroutine that
	// measures; nil: nobody is told.
	Progress func(Progress)
}

// Progress is what a run tells while it goes on.
type Progress struct {
	Elapsed time.Duration `json:"elapsed_ns"` // since the run began
	Step    int           `json:"step"`       // the measurement that goes on, from 1
	Of      int           `json:"of"`         // so many steps; undecided conditions may ask for more
	Round   int           `json:"round"`      // from 1
	Case    string        `json:"case"`
	Node    string        `json:"node"`
	Sample  load.Sample   `json:"-"` // the latest; zero at the begin and end of a measurement
	Done    bool          `json:"-"` // this measurement has ended
}

// Case is a scenario with its parameters.
type Case struct {
	Scenario Scenario
	Params   result.Params
	Nodes    []string           // names of the targets it is measured on beside the first; nil: all that it can be driven on
	Require  []result.Condition // judged on the first target
}

// Label names the case in reports.
func (c Case) Label() string { return c.Scenario.Name + " " + c.Scenario.Label(c.Params) }

// skip says why the case is not measured on target k; empty: it is.
func (p Plan) skip(c Case, k int) string {
	t := p.Targets[k]
	switch {
	case k > 0 && c.Nodes != nil && !slices.Contains(c.Nodes, t.Name):
		return "not asked for"
	case t.Dialer.Protocol() == load.Blind && !c.Scenario.Blind:
		return "needs names, which the relay does not know"
	case c.Scenario.bars != nil:
		return c.Scenario.bars(t)
	}
	return ""
}

// Ways adds the first node once more for each transport. It must be one that is started with a configuration of ours.
func (p *Plan) Ways() error {
	for _, way := range p.Transports {
		t := p.Targets[0]
		if err := process.KnownTransport(way); err != nil {
			return err
		}
		if t.Dialer.Protocol() != load.SLIM || !strings.Contains(t.Command.Text, "{config}") {
			return fmt.Errorf("%s is measured by %s only where it is started with {config}", t.Name, way)
		}
		t.Name, t.Command.Transport = way, way
		p.Targets = append(p.Targets, t)
	}
	return nil
}

// Vary gives a parameter these values in all cases whose scenario reads it: several values make several cases, and with kept
// the case as it was stays, too. used is whether there are such cases.
func (p *Plan) Vary(key string, values []string, kept bool) (used bool, err error) {
	var all []Case
	for _, c := range p.Cases {
		reads := slices.Contains(c.Scenario.Uses, key)
		used = used || reads
		if !reads || kept {
			all = append(all, c)
		}
		for i := 0; reads && i < len(values); i++ {
			if err := c.Params.Set(key, values[i]); err != nil {
				return used, err
			}
			all = append(all, c)
		}
	}
	p.Cases = all
	return used, nil
}

// String lists what is measured, and what must hold.
func (p Plan) String() string {
	var b strings.Builder
	for i, c := range p.Cases {
		fmt.Fprintln(&b, c.Label())
		if i+1 == len(p.Cases) || !slices.Equal(c.Require, p.Cases[i+1].Require) {
			for _, r := range c.Require {
				fmt.Fprintf(&b, "  %s\n", r)
			}
		}
	}
	return b.String()
}

// Check finds names of nodes that are none of the plan's: a condition on one would hold, as nothing could be held against it.
func (p Plan) Check() error {
	names := slices.Clone(p.Optional)
	for _, t := range p.Targets {
		if slices.Contains(names[len(p.Optional):], t.Name) {
			return fmt.Errorf("two nodes are called %s: give them names, NAME=CMD", t.Name)
		}
		names = append(names, t.Name)
	}
	for _, c := range p.Cases {
		if most := c.Scenario.most; most > 0 && c.Params.InFlight > most {
			return fmt.Errorf("%s: at most %d are under way in a session: give inflight so, or max", c.Label(), most)
		}
		if c.Scenario.Run != nil && p.Name == "" && p.skip(c, 0) != "" { // a suite has other cases, and says what it leaves out
			return fmt.Errorf("%s: not on %s: %s", c.Label(), p.Targets[0].Name, p.skip(c, 0))
		}
		for _, name := range c.Nodes {
			if !slices.Contains(names, name) {
				return fmt.Errorf("%s: nodes: %s", c.Label(), result.NoNode(name, names))
			}
		}
		for _, cond := range c.Require {
			switch {
			case cond.Against == "":
			case !slices.Contains(names, cond.Against):
				return fmt.Errorf("condition %q: %s", cond, result.NoNode(cond.Against, names))
			case len(p.Targets) > 0 && cond.Against == p.Targets[0].Name:
				return fmt.Errorf("condition %q: %s is the node that is judged: name another", cond, cond.Against)
			}
		}
	}
	return nil
}

// results are what the plan will have measured.
func (p Plan) results() *result.Results {
	r := result.NewResults(p.Rounds, p.Optional)
	for _, t := range p.Targets {
		r.Nodes = append(r.Nodes, result.NodeInfo{Name: t.Name, Protocol: t.Dialer.Protocol(), Command: t.Command.Text, Addresses: t.Addrs, Note: t.Note})
	}
	for _, c := range p.Cases {
		of := result.CaseResult{
			Scenario: c.Scenario.Name, Label: c.Scenario.Label(c.Params), Params: c.Params,
			Nodes: make([]result.NodeResult, len(p.Targets)),
		}
		for k := range p.Targets {
			of.Nodes[k].Skipped = p.skip(c, k)
		}
		r.Cases = append(r.Cases, of)
	}
	return r
}

// Run executes the plan. It returns what was measured also with an error. A case that failed on a node is noted in the
// results and the run goes on; the end of ctx ends it early, and the error says so.
func (p Plan) Run(ctx context.Context) (*result.Results, error) {
	if err := p.Check(); err != nil {
		return p.results(), err
	}
	u := &execution{Plan: p, results: p.results(), begun: time.Now()}
	for _, c := range p.Cases {
		u.of += p.Rounds * len(u.order(c, 1))
	}
	before := process.Read(p.Targets[0].PID)
	err := u.rounds(ctx)
	u.results.Busy = before.Busy(process.Read(p.Targets[0].PID), u.results.Machine.Cores)
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
		u.results.Interrupt("interrupted: figures are of what was measured until then")
	}
	u.results.Settle(func(i int) []result.Condition { return p.Cases[i].Require }, max(p.Rounds, p.MaxRounds))
	return u.results, err
}

// execution is a plan being run.
type execution struct {
	Plan
	results *result.Results
	begun   time.Time
	number  int // of steps so far
	of      int // steps at least
	failed  error
}

// rounds runs all cases Rounds times, then those that are undecided, until they are or MaxRounds is reached.
func (u *execution) rounds(ctx context.Context) error {
	todo := make([]int, len(u.Cases))
	for i := range todo {
		todo[i] = i
	}
	last := max(u.Rounds, u.MaxRounds)
	for round := 1; round <= last && len(todo) > 0; round++ {
		var again []int
		for _, i := range todo {
			if err := u.turns(ctx, round, i); err != nil {
				if ctx.Err() == nil {
					u.results.Interrupt(err.Error())
				}
				return errors.Join(u.failed, err)
			}
			broken, unclear := u.results.Look(i, u.Cases[i].Require, last)
			if broken && u.StopAtFailure {
				u.results.Interrupt("")
				return u.failed
			}
			if round < u.Rounds || unclear {
				again = append(again, i)
			}
		}
		todo = again
	}
	return u.failed
}

// turns measures case i on each node once. Only the end of ctx, or of a target that cannot be started again, is an error.
func (u *execution) turns(ctx context.Context, round, i int) error {
	c := u.Cases[i]
	for turn, k := range u.order(c, round) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		u.number++
		g := Progress{Step: u.number, Of: max(u.of, u.number), Round: round, Case: c.Label(), Node: u.Targets[k].Name}
		tell := func(s load.Sample) {
			if g.Elapsed, g.Sample = time.Since(u.begun), s; u.Progress != nil {
				u.Progress(g)
			}
		}
		tell(load.Sample{})
		ms, course, err := measure(ctx, c, u.Targets[k], tell)
		course.Number, course.Turn = round, turn
		switch {
		case err == nil:
		case ctx.Err() != nil:
			err = fmt.Errorf("interrupted: %w", err)
		default:
			u.failed = errors.Join(u.failed, fmt.Errorf("%s on %s, round %d: %w", g.Case, g.Node, round, err))
		}
		u.results.Add(i, k, ms, course, err)
		g.Done = true
		tell(load.Sample{})
		switch {
		case err != nil && u.Targets[k].Gone(ctx):
			return fmt.Errorf("%s answers no more: nothing else was measured", g.Node)
		case errors.As(err, new(notStarted)) && ctx.Err() == nil &&
			!slices.ContainsFunc(u.results.Cases, func(c result.CaseResult) bool { return len(c.Nodes[k].Metrics) > 0 }):
			return fmt.Errorf("%s does not start: nothing else was measured", g.Node)
		}
	}
	return nil
}

// order returns the targets of a case in the order of a round.
func (u *execution) order(c Case, round int) []int {
	var order []int
	for k := range u.Targets {
		if u.skip(c, k) == "" {
			order = append(order, k)
		}
	}
	if round%2 == 0 {
		slices.Reverse(order)
	}
	return order
}

// notStarted is why a node did not start.
type notStarted struct{ error }

// measure runs one case on a node of its own.
func measure(ctx context.Context, c Case, t load.Target, progress func(load.Sample)) ([]result.Metric, result.Round, error) {
	course := result.Round{Begun: time.Now().UTC()}
	g, err := load.NewRig(ctx, t)
	if err != nil {
		return nil, course, notStarted{err}
	}
	g.Progress = progress
	ms, err := c.Scenario.Run(ctx, g, c.Params)
	err = errors.Join(err, g.Close())
	course.Samples, course.Histogram, course.Notes = g.Samples, g.Histogram, g.Notes
	return ms, course, err
}
