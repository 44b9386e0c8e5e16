package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Plan is what one run does. Order: for each round, each case, each node; every second round takes the nodes backwards
// (A B, B A, …), so that drift of the machine meets all alike.
type Plan struct {
	Targets []Target
	Cases   []Case
	Rounds  int
	// Progress is told before each measurement; nil: nobody is.
	Progress func(Step)
}

// Case is a scenario with its parameters.
type Case struct {
	Scenario Scenario
	Params   Params
}

// Label names the case in reports.
func (c Case) Label() string { return c.Scenario.Name + " " + c.Scenario.Label(c.Params) }

// Step is one measurement of a plan.
type Step struct {
	Number, Of int // Number counts from 1
	Round      int // from 1
	Case       Case
	Target     Target
}

// Run executes the plan. It returns what was measured also with an error: a case that failed on a node is noted in the
// results and the run goes on; only the end of ctx ends it early.
func (p Plan) Run(ctx context.Context) (*Results, error) {
	r := newResults(p)
	step := Step{Of: p.Rounds * len(p.Cases) * len(p.Targets)}
	var failed error
	for round := range p.Rounds {
		for i, c := range p.Cases {
			order := indexes(len(p.Targets))
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, k := range order {
				if ctx.Err() != nil {
					return r, errors.Join(failed, ctx.Err())
				}
				step.Number++
				step.Round, step.Case, step.Target = round+1, c, p.Targets[k]
				if p.Progress != nil {
					p.Progress(step)
				}
				ms, err := measure(ctx, c, p.Targets[k])
				if err != nil {
					err = fmt.Errorf("%s on %s: %w", c.Label(), p.Targets[k].Name, err)
					failed = errors.Join(failed, err)
				}
				r.add(i, k, ms, err)
			}
		}
	}
	return r, failed
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// measure runs one case on a node of its own.
func measure(ctx context.Context, c Case, t Target) ([]Metric, error) {
	c.Params.IdentityText = c.Params.Identity.String()
	g, err := NewRig(ctx, t)
	if err != nil {
		return nil, err
	}
	ms, err := c.Scenario.Run(ctx, g, c.Params)
	return ms, errors.Join(err, g.Close())
}
