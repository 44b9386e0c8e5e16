//go:build interop

package soak

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

const (
	// look is the time between two looks at what another process has come to.
	look = 100 * time.Millisecond
	// patience is how long nothing may come before what has not come is lost.
	patience = 20 * time.Second
	// progressEvery is the time between two lines that say how it goes.
	progressEvery = 10 * time.Second

	// memoryLeft is how much more memory the node may hold than at its start, when all is over: what it remembers of
	// headers (32 MiB for all loops), buffers in pools, and the runtime's own.
	memoryLeft = 64 << 20

	// judgedFrom is how long both parts of a round must last for their delays to be compared, mostRatio what is allowed.
	judgedFrom = time.Minute
	mostRatio  = 3.0
)

var policies = []string{"adaptive", "block", "drop", "disconnect"}

func TestSoak(t *testing.T) {
	programs := selected(t)
	each := *duration / time.Duration(len(policies))
	for _, policy := range policies {
		t.Run(policy, func(t *testing.T) {
			r := &round{policy: policy, attacks: programs, length: each}
			r.run(t)
		})
	}
}

// round is one policy's: see the package comment.
type round struct {
	policy  string
	attacks []program
	length  time.Duration // under attack

	node   *node
	honest *honest
}

// part is what was measured of one part of a round.
type part struct {
	delays  map[string]*load.Latency // by kind of traffic; "": all
	acks    *load.Latency
	reports []report // of the children
	sums    map[string]verdict
	after   state
}

// state is what the node holds at a moment.
type state struct {
	counters  counters
	resources resources
}

func (r *round) run(t *testing.T) {
	r.node = startNode(t, r.policy)
	r.honest = startHonest(t, r.node.addr)
	r.honest.run(t.Context(), time.Second) // what is made at the first message
	r.honest.settle(patience)
	r.honest.takeDelays()
	start := state{r.node.counters(t), r.node.resources()}

	loads := make([]program, len(r.attacks))
	for i := range loads {
		loads[i] = loadProgram
	}
	control := r.part(t, "control", loads, r.length/2, start)
	if t.Failed() {
		return
	}
	attacked := r.part(t, "attacked", r.attacks, r.length, start)
	r.judge(t, start, control, attacked)
	if code := r.node.stop(t); code != 0 {
		t.Errorf("the node's status is %d after SIGTERM, want 0", code)
	}
	for _, line := range r.node.log.faults() {
		t.Errorf("the node logged: %s", line)
	}
	t.Log(r.table(start, control, attacked))
}

// part has children load or attack the node for a time, beside honest traffic, and waits until the node has calmed
// down.
func (r *round) part(t *testing.T, name string, programs []program, d time.Duration, start state) *part {
	t.Helper()
	children := launch(t, r.node.addr, programs)
	for guard := time.Now().Add(limit); slices.ContainsFunc(children, func(c *running) bool { return c.report().Sockets == 0 }); {
		if time.Now().After(guard) || !pause(t.Context(), look) {
			break // judge tells who has not attacked
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.watch(ctx, t, name, name == "attacked")
	}()
	r.honest.run(t.Context(), d)
	stop(t, children)
	cancel()
	<-watched
	r.node.log.resume()
	r.honest.settle(patience)

	p := &part{sums: r.honest.verdicts()}
	p.delays, p.acks = r.honest.takeDelays()
	for _, c := range children {
		p.reports = append(p.reports, c.report())
		for _, f := range c.report().Faults {
			t.Errorf("%s: %s: %s", name, c.name, f)
		}
		if text := strings.TrimSpace(c.errs.String()); text != "" {
			t.Errorf("%s: %s printed: %s", name, c.name, text[:min(len(text), 4000)])
		}
	}
	p.after = r.calm(t, name, start)
	if err := r.honest.wrong(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return p
}

// watch says from time to time how it goes, and under attack reads the log for a fourth of the time only.
func (r *round) watch(ctx context.Context, t *testing.T, name string, block bool) {
	begin := time.Now()
	told := begin
	for step := 0; pause(ctx, time.Second); step++ {
		if block && step%4 == 0 {
			r.node.log.resume()
		} else if block && step%4 == 1 {
			r.node.log.block()
		}
		now := r.node.resources()
		if time.Since(told) >= progressEvery {
			told = time.Now()
			t.Logf("%s, %s, %v: %s; node: %d MiB of %d MiB, %d descriptors, %d threads", r.policy, name, time.Since(begin).Round(time.Second),
				r.honest.progress(), now.rss>>20, now.size>>20, now.descriptors, now.threads)
		}
	}
}

// gauges are numbers of the node that must be what they were. What is left of those at the start are the honest
// clients.
var gauges = []string{"sockets", "connections", "names", "stalled", "blocked", "spilled", "late_loops", "waiting", "waiting_bytes",
	"held_bytes", "unfinished_bytes", "goroutines"}

// calm waits until the node holds what it held at the start.
func (r *round) calm(t *testing.T, name string, start state) state {
	t.Helper()
	var now state
	var rest []string
	for guard := time.Now().Add(2 * limit); ; {
		now = state{r.node.counters(t), r.node.resources()}
		if rest = now.above(start); len(rest) == 0 {
			return now
		}
		if time.Now().After(guard) || !pause(t.Context(), look) {
			break
		}
	}
	t.Errorf("%s: the node does not give back what it took: %s", name, strings.Join(rest, ", "))
	return now
}

// above tells what s holds that is more than at the start.
func (s *state) above(start state) (all []string) {
	for _, g := range gauges {
		if have, want := s.counters[g], start.counters[g]; have > want {
			all = append(all, fmt.Sprintf("%s %d (%d at the start)", g, have, want))
		}
	}
	if have, want := s.resources.descriptors, start.resources.descriptors; have > want {
		all = append(all, fmt.Sprintf("descriptors %d (%d)", have, want))
	}
	if have, want := s.resources.rss, start.resources.rss+memoryLeft; have > want {
		all = append(all, fmt.Sprintf("memory %d MiB (%d and %d)", have>>20, start.resources.rss>>20, memoryLeft>>20))
	}
	return all
}

// judge compares the two parts, and looks at what was lost.
func (r *round) judge(t *testing.T, start state, control, attacked *part) {
	t.Helper()
	var sum verdict
	for kind, v := range attacked.sums {
		sum.add(v)
		if v.Lost > 0 && r.policy != "drop" {
			t.Errorf("%s: %d of %d messages are lost", kind, v.Lost, v.Sent)
		}
	}
	end := attacked.after.counters
	counted := end.drops("receiver_full", "queued_limit") - start.counters.drops("receiver_full", "queued_limit")
	if r.policy == "drop" && int64(sum.Lost) > counted {
		t.Errorf("%d of %d messages are lost, and %d counted", sum.Lost, sum.Sent, counted)
	}
	if n := end["panics"]; n > 0 {
		t.Errorf("the node had %d internal errors", n)
	}
	for i, v := range attacked.reports {
		if v.Sockets == 0 {
			t.Errorf("%s has not attacked", r.attacks[i].name)
		}
	}
	was, is := control.delays[""], attacked.delays[""]
	if r.length/2 < judgedFrom {
		return // too few delays of too busy a machine
	}
	if got, want := is.Quantile(99), was.Quantile(99); float64(got) > mostRatio*float64(want) {
		t.Errorf("p99 is %v under attack, and %v beside an equal honest load: more than %v times", time.Duration(got), time.Duration(want), mostRatio)
	}
}

// table is what a round has come to.
func (r *round) table(start state, control, attacked *part) string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %s: %v beside %d loads, %v beside %d attacks\n\n", r.policy, r.length/2, len(r.attacks), r.length, len(r.attacks))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ATTACK\tSOCKETS\tREQUESTS\tCPU\tENDS")
	for i, p := range r.attacks {
		v := attacked.reports[i]
		fmt.Fprintf(w, "%s\t%d\t%d\t%v\t%s\n", p.name, v.Sockets, v.Requests, v.CPU.Round(100*time.Millisecond), v.mostEnds(4))
	}
	var loaded report
	for _, v := range control.reports {
		loaded.Requests += v.Requests
		loaded.CPU += v.CPU
	}
	fmt.Fprintf(w, "(all loads)\t%d\t%d\t%v\t\n\n", 2*len(control.reports), loaded.Requests, loaded.CPU.Round(100*time.Millisecond))

	fmt.Fprintln(w, "HONEST\tSENT\tLOST\tP50\tP99\tMAX\tATTACKED P50\tP99\tMAX\tP99 TIMES")
	kinds := []string{pointToPoint, fanOut, anycast, comeAndGo, reconnecting, ""}
	var sum verdict
	for _, kind := range kinds {
		v := attacked.sums[kind]
		sum.add(v)
		if kind == "" {
			v, kind = sum, "all"
		}
		was, is := control.delays[strings.TrimPrefix(kind, "all")], attacked.delays[strings.TrimPrefix(kind, "all")]
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%.2f\n", kind, v.Sent, v.Lost, quantiles(was), quantiles(is), ratio(is.Quantile(99), was.Quantile(99)))
	}
	fmt.Fprintf(w, "acknowledgements\t\t\t%s\t%s\t%.2f\n\n", quantiles(control.acks), quantiles(attacked.acks),
		ratio(attacked.acks.Quantile(99), control.acks.Quantile(99)))

	fmt.Fprintln(w, "NODE\tSTART\tAFTER CONTROL\tAFTER ATTACKS\tMOST")
	for _, g := range gauges {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t\n", g, start.counters[g], control.after.counters[g], attacked.after.counters[g])
	}
	states := []resources{start.resources, control.after.resources, attacked.after.resources, r.node.peak}
	for _, row := range []struct {
		name string
		of   func(s resources) uint64
	}{
		{"descriptors", func(s resources) uint64 { return uint64(s.descriptors) }},
		{"threads", func(s resources) uint64 { return uint64(s.threads) }},
		{"memory, MiB", func(s resources) uint64 { return s.rss >> 20 }},
		{"on a processor, s", func(s resources) uint64 { return uint64(s.ran.Seconds()) }},
		{"waited for one, s", func(s resources) uint64 { return uint64(s.waited.Seconds()) }},
		{"address space, MiB", func(s resources) uint64 { return s.size >> 20 }},
	} {
		fmt.Fprint(w, row.name)
		for _, s := range states {
			fmt.Fprintf(w, "\t%d", row.of(s))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprintf(&b, "\nlog: %s\n", r.node.log.summary())
	b.WriteString(since(start.counters, attacked.after.counters))
	return b.String()
}

func quantiles(l *load.Latency) string {
	ms := func(ns int64) string { return fmt.Sprintf("%.1f", float64(ns)/1e6) }
	return ms(l.Quantile(50)) + "\t" + ms(l.Quantile(99)) + "\t" + ms(l.Max())
}

func ratio(a, b int64) float64 { return float64(a) / float64(max(1, b)) }

// since lists the reasons for which the node dropped and refused.
func since(start, end counters) string {
	var words []string
	for name, n := range end {
		if n -= start[name]; n != 0 && (strings.HasPrefix(name, "dropped.") || strings.HasPrefix(name, "refused.")) {
			words = append(words, fmt.Sprintf("%s %d", name, n))
		}
	}
	slices.Sort(words)
	return "the node counted: " + strings.Join(words, ", ")
}
