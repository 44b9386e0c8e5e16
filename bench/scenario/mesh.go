package scenario

import (
	"cmp"
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

// mesh: several nodes that are peers of each other. Messages go from the first to the others, one by one and to all, beside what one
// node takes for them. Meanwhile the last, which has no part in that, is killed and started again, and has to learn all names.
func mesh(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	ms, err := alone(ctx, g, p)
	if err != nil {
		return ms, err
	}
	if err := g.Mesh(ctx, p.Nodes); err != nil {
		return ms, err
	}
	linked, err := meet(ctx, g, p)
	if ms = append(ms, linked...); err != nil {
		return ms, err
	}
	all, err := inMesh(ctx, g, p, load.Phase{Prefix: "to all: ", Length: p.Duration}, cells{n: 1, members: p.Nodes - 2, senders: 1, all: true})
	if ms = append(ms, all...); err != nil {
		return ms, err
	}
	across, err := joining(ctx, g, p)
	ms = append(ms, across...)
	one := value(ms, "one node: "+result.CostMetric)
	ms = append(ms, compared(result.CostMetric+", two nodes/one", value(across, result.CostMetric), one, result.Lower)...)
	return append(ms, compared(result.CostMetric+", to all/one node", value(all, "to all: "+result.CostMetric), one, result.Lower)...), err
}

// unlinked says why there can be no mesh of t.
func unlinked(t load.Target) string {
	if !strings.Contains(t.Command.Text, "{config}") || t.Command.Transport != "" {
		return "the nodes of a mesh are started with {config}, and listen plainly"
	}
	return ""
}

// pairsOf are as many pairs as there are nodes that messages of the first go to.
func pairsOf(p result.Params) cells { return cells{n: p.Nodes - 2, members: 1, senders: 1} }

// alone measures the pairs on one node.
func alone(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	return inMesh(ctx, g, p, load.Phase{Prefix: "one node: ", Length: p.Duration}, pairsOf(p))
}

// inMesh measures one phase, and tells of faults only if there are any: those of the last traffic are told in any case.
func inMesh(ctx context.Context, g *load.Rig, p result.Params, phase load.Phase, c cells) ([]result.Metric, error) {
	t := load.NewTraffic(g, p.Case, phase)
	if _, _, err := c.open(ctx, t); err != nil {
		return nil, err
	}
	err := t.Run(ctx)
	if v := t.Verdict; err == nil && v.Lost+v.Duplicates+v.Reordered+v.Changed+v.Foreign > 0 {
		err = fmt.Errorf("%slost %d, duplicates %d, reordered %d, changed %d, foreign %d", phase.Prefix, v.Lost, v.Duplicates, v.Reordered,
			v.Changed, v.Foreign)
	}
	ms := spans(t)
	for _, m := range judged(t) {
		if m.Name == result.LateMetric {
			m.Name = phase.Prefix + m.Name
			ms = append(ms, m)
		}
	}
	return ms, err
}

// meet waits until each node that has subscribers hears what is published at the first one, and the last one, too.
func meet(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	ctx, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	begun := time.Now()
	for range p.Nodes - 2 {
		r, name := load.NewReceiver(0, 1, 0), g.Name("linked", 1)
		c, err := g.Open(ctx, load.Subscribing, load.DialOptions{Sink: r})
		if err != nil {
			return nil, err
		}
		defer c.Close()
		if _, err := c.Subscribe(ctx, 1, 0, func(int) load.Address { return name }); err != nil {
			return nil, err
		}
		from, err := g.Open(ctx, load.Publishing, load.DialOptions{})
		if err != nil {
			return nil, err
		}
		defer from.Close()
		last, err := g.OpenLast(ctx, load.DialOptions{})
		if err != nil {
			return nil, err
		}
		defer last.Close()
		for _, c := range []load.Conn{from, last} {
			if err := known(ctx, g, c, r, []load.Address{name}); err != nil {
				return nil, fmt.Errorf("nodes that are not linked: %w", err)
			}
		}
	}
	return []result.Metric{nanos("linked in", float64(time.Since(begun)))}, nil
}

const (
	knownEvery = 5 * time.Millisecond // between tries
	sampled    = 64                   // names of all by which a node is asked whether it knows them
)

// known publishes to names on c, again and again, until one message to each has come to r in one round. When ctx ends it closes c, as a
// node that takes nothing would hold it up.
func known(ctx context.Context, g *load.Rig, c load.Conn, r *load.Receiver, names []load.Address) error {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	pub, err := c.Publisher(load.Message{From: g.Name("asking", 1), To: names, Size: 64, IdentitySize: 64})
	if err != nil {
		return err
	}
	q := r.From(0)
	seq := q.Seen().Next
	for began := time.Now(); ; {
		wait := max(knownEvery, time.Since(began)/8) // on a busy machine a round takes longer than usual
		first := seq
		seq += uint64(len(names))
		err := pub.Send(first, len(names), load.Now(), 0)
		missing := func() (n uint64) { // of this round: what comes late of others says nothing
			for _, h := range q.Holes(seq) {
				n += max(h.To, first) - max(h.From, first)
			}
			return n
		}
		if err == nil && process.Until(ctx, knownEvery/5, wait, func() bool { return missing() == 0 }) == nil {
			return nil
		}
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return fmt.Errorf("of %d names %d were known in time (--setup-limit)", len(names), uint64(len(names))-missing())
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil || c.Err() != nil:
			return cmp.Or(err, c.Err())
		}
	}
}

// joining measures the pairs across nodes, and once more while the last node, which was killed, comes back and learns all names.
func joining(ctx context.Context, g *load.Rig, p result.Params) ([]result.Metric, error) {
	t := load.NewTraffic(g, p.Case, load.Phase{Length: p.Duration}, load.Phase{Prefix: "while joining: ", Word: "joining", Length: p.Duration})
	if _, _, err := pairsOf(p).open(ctx, t); err != nil {
		return nil, err
	}
	r := load.NewReceiver(0, 1, 0)
	holder, err := g.Dial(ctx, load.Publishing, load.DialOptions{Sink: r})
	if err != nil {
		return nil, err
	}
	before, _ := g.Settled(ctx)
	setup, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	n, err := holder.Subscribe(setup, p.Names, 0, func(i int) load.Address { return held(g, 0, i) })
	ms := []result.Metric{reached("names", n)}
	if err != nil {
		return ms, fmt.Errorf("%d names confirmed of %d (--setup-limit %v): %w", n, p.Names, p.SetupLimit, err)
	}
	if rss, ok := g.Settled(ctx); ok {
		ms = append(ms, bytes("node RSS per name", float64(rss-before)/float64(n)))
	}
	var told chan error
	var begun time.Time
	var failed error
	took := time.Duration(0)
	ctx, end := context.WithCancel(ctx)
	defer end()
	t.Phases[1].Begin = func() {
		begun, told = time.Now(), make(chan error, 1)
		if failed = g.ReplaceLast(ctx); failed != nil {
			end()
			return
		}
		go func() {
			err := learns(ctx, g, p, r)
			took = time.Since(begun)
			told <- err
		}()
	}
	t.Phases[1].End = func() {
		if failed == nil {
			failed = <-told
		}
	}
	err = t.Run(ctx)
	ms = slices.Concat(ms, whole(t))
	if err = cmp.Or(failed, err); err != nil || took == 0 {
		return ms, err
	}
	return append(ms, reached("names known", p.Names), nanos("names known in", float64(took))), nil
}

// learns returns when the last node knows all names, of which it is asked for some.
func learns(ctx context.Context, g *load.Rig, p result.Params, r *load.Receiver) error {
	ctx, cancel := context.WithTimeout(ctx, p.SetupLimit)
	defer cancel()
	c, err := g.OpenLast(ctx, load.DialOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	var names []load.Address
	for i := range sampled {
		names = append(names, held(g, 0, i*(p.Names-1)/(sampled-1)))
	}
	return known(ctx, g, c, r, names)
}
