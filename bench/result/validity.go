package result

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	floorMargin  = 3.0  // the generator must be able to do so many times what the node does
	machineShare = 0.85 // of all processors: the machine is full; a busy one is, too
	few          = 16   // messages under way
	lateShare    = 0.25 // of the node's p99: the generator's own lateness is too large a part of it
	lateFloor    = 1e5  // ns: lateness below is that of timers

	// An open loop is overloaded when more than this share of what was to be delivered was not, and more than comes in
	// this time, or in a quarter of a short measurement: less is a hiccup at the end.
	shortShare = 0.1
	shortTime  = 250 * time.Millisecond

	leastNanos = 10  // of CPU for a delivery: two system calls, shared by a batch, cost more on any machine
	leastCost  = 0.3 // of the relay's: no node carries a message for less, so it is another process that was measured
)

// Doubt is what there is to say against the figures of a node in a case.
type Doubt struct {
	Kind DoubtKind `json:"kind"`
	Text string    `json:"text"`
}

// DoubtKind says what a doubt is about. All but Limited make a run invalid.
type DoubtKind string

const (
	Failed  DoubtKind = "error"   // the measurement did not end as it should: no condition is judged
	Void    DoubtKind = "void"    // they cannot be the node's figures: no condition is judged
	Pace    DoubtKind = "pace"    // rates and delays mean nothing
	Limited DoubtKind = "limited" // rates and delays are not the node's alone, or may not be
)

// OfPace reports whether the doubt is about rates and delays only, which are marked then.
func (d Doubt) OfPace() bool { return d.Kind == Pace || d.Kind == Limited }

// Marked says why a metric of the node is not to be taken as it is: the generator or a queue made it. Empty: it is.
func (n *NodeResult) Marked(metric string) string {
	i := slices.IndexFunc(n.Doubts, Doubt.OfPace)
	if i < 0 || !(Condition{Metric: metric}).paced() {
		return ""
	}
	return n.Doubts[i].Text
}

// review says what there is to say against the figures of case i, as far as they are there. Of a comparison its runs have said
// it.
func (r *Results) review(i int) {
	if r.Alpha > 0 {
		return
	}
	c := &r.Cases[i]
	r.relateToFloor(c)
	for k := range c.Nodes {
		n := &c.Nodes[k]
		n.Doubts = slices.DeleteFunc(n.Doubts, func(d Doubt) bool { return d.Kind != Failed })
		for _, d := range []Doubt{{Void, r.implausible(c, k)}, {Pace, n.silent()}, {Pace, r.overloaded(c, k)}, {Limited, r.limited(c, k)}} {
			if d.Text != "" {
				n.Doubts = append(n.Doubts, d)
			}
		}
	}
}

// silent says that nothing arrived.
func (n *NodeResult) silent() string {
	for _, s := range n.Metrics {
		if s.Unit == PerSecond && (strings.HasSuffix(s.Name, "delivered") || s.Name == "calls") && slices.Min(s.Values) == 0 {
			return s.Name + ": nothing arrived while it was measured"
		}
	}
	return ""
}

// limited says why the rate and the delays of a case are as much the generator's as the node's, or may be; empty: they are
// the node's.
//
// The relay of the same run shows what the generator can do, with the least node there can be. Without a relay, a
// generator that took more CPU than the node on a full machine set the pace.
func (r *Results) limited(c *CaseResult, k int) string {
	n := &c.Nodes[k]
	searched, search := n.Metric(LimitMetric)
	switch {
	case r.Nodes[k].Name == Floor:
		return ""
	case searched.Value > 0:
		return "client-limited: the search ended at what the generator can do, not the node"
	case search || c.Params.Open():
		return n.late()
	}
	for _, s := range n.Metrics {
		prefix, ok := strings.CutSuffix(s.Name, "delivered") // of a phase
		if !ok || s.Value <= 0 || prefix != "" && !strings.HasSuffix(prefix, ": ") {
			continue
		}
		if why := r.closed(c, n, prefix, s); why != "" {
			return why
		}
	}
	return ""
}

// closed says so of what a closed loop delivered in a phase.
func (r *Results) closed(c *CaseResult, n *NodeResult, prefix string, delivered Series) string {
	delay, _ := n.Metric(prefix + "p50")
	if underway := delivered.Value * delay.Value / 1e9; c.Params.InFlight > 0 && c.Params.InFlight < few && underway < few {
		return "" // waiting for few answers is what such a case measures
	}
	if floor, ok := r.floor(c); ok {
		if times := floor.Value / delivered.Value; times < floorMargin {
			return fmt.Sprintf("client-limited: with the blind relay the generator reaches %.1f times this rate, less than %g; "+
				"read CPU per message, not rate and delay", times, floorMargin)
		}
		return ""
	}
	node, ok := n.Metric(prefix + "node cores")
	generator, own := n.Metric(prefix + "client cores")
	switch {
	case !ok || !own:
		return "client limit unknown: neither was the relay measured beside (--floor, where a scenario allows it) nor is the node's " +
			"process known (--pid), so rate and delay may be the generator's"
	case generator.Value < node.Value || r.Busy == "" && generator.Value+node.Value < machineShare*float64(r.Machine.Cores):
		return ""
	}
	return fmt.Sprintf("client-limited: the generator took %.2f cores, the node %.2f; read CPU per message, not rate and delay",
		generator.Value, node.Value)
}

// implausible says that what was measured of node k's process cannot be the cost of its messages; empty: it can.
func (r *Results) implausible(c *CaseResult, k int) string {
	for _, s := range c.Nodes[k].Metrics {
		switch {
		case strings.HasSuffix(s.Name, CostMetric) && slices.Min(s.Values) <= 0:
			return s.Name + " is 0: messages came, but the process that was measured did nothing; is it the node's? (--pid)"
		case strings.HasSuffix(s.Name, CostMetric) && s.Value < leastNanos:
			return fmt.Sprintf("%s is %s: less than %d ns are not a node's; is the process the node's? (--pid)", s.Name,
				Format(s.Value, s.Unit), leastNanos)
		case s.Name == floorMetric && s.Value < leastCost:
			return fmt.Sprintf("%s is %.2g: less than %g of what carrying messages costs is not a node's; is the process the node's? (--pid)",
				CostMetric+" / "+Floor, s.Value, leastCost)
		}
	}
	return ""
}

// late says that an open loop did not send in time.
func (n *NodeResult) late() string {
	for _, late := range n.Metrics {
		prefix, ok := strings.CutSuffix(late.Name, LateMetric) // of traffic of its own
		if p99, measured := n.Metric(prefix + "p99"); ok && late.Value >= lateFloor && (!measured || late.Value >= lateShare*p99.Value) {
			return fmt.Sprintf("client-limited: the generator itself sent %s late (p99), a large part of the node's p99; lower the rate",
				Format(late.Value, Nanoseconds))
		}
	}
	return ""
}

// overloaded says that an open loop asked for more than was delivered: what is late then is a queue that grows for as long
// as one measures. Empty: the rate was kept.
func (r *Results) overloaded(c *CaseResult, k int) string {
	n := &c.Nodes[k]
	for _, offered := range n.Metrics {
		prefix, ok := strings.CutSuffix(offered.Name, OfferedMetric)
		if !ok || offered.Value <= 0 {
			continue
		}
		delivered, _ := n.Metric(prefix + "delivered")
		sent, _ := n.Metric(prefix + "sent")
		short := 1 - delivered.Value/offered.Value
		if short <= shortShare || short*float64(c.Params.Duration) <= float64(min(shortTime, c.Params.Duration/4)) {
			continue
		}
		return fmt.Sprintf("overloaded: %s%s asked for, %s sent, %s delivered: delays are those of a queue that grows; lower the rate, "+
			"or measure longer where the node only paused", prefix, Format(offered.Value, PerSecond), Format(sent.Value, PerSecond),
			Format(delivered.Value, PerSecond))
	}
	return ""
}

// floor returns the rate that the relay of the same run reached.
func (r *Results) floor(c *CaseResult) (Series, bool) {
	i := r.at(Floor)
	if i < 0 {
		return Series{}, false
	}
	s, ok := c.Nodes[i].Metric("delivered")
	return s, ok && s.Value > 0
}

// relateToFloor adds to each node of case c what its messages cost as a multiple of the relay's, round by round.
func (r *Results) relateToFloor(c *CaseResult) {
	i := r.at(Floor)
	if i < 0 {
		return
	}
	floor, _ := c.Nodes[i].Metric(CostMetric)
	for k := range c.Nodes {
		n := &c.Nodes[k]
		n.Metrics = slices.DeleteFunc(n.Metrics, func(s Series) bool { return s.Name == floorMetric })
		cost, _ := n.Metric(CostMetric)
		if times := cost.byRound(floor); len(times.Values) > 0 {
			times.Name, times.Unit, times.Better = floorMetric, Ratio, Lower
			at := slices.IndexFunc(n.Metrics, func(s Series) bool { return s.Name == CostMetric }) + 1
			n.Metrics = slices.Insert(n.Metrics, at, times)
		}
	}
}

// Metrics by which it is told what others are worth.
const (
	LateMetric    = "client late p99"          // how late the generator itself was with an open loop's messages
	OfferedMetric = "offered"                  // what an open loop was to bring to its receivers
	CostMetric    = "node CPU per delivered"   // what holds on a busy machine: it is read from the node's process
	LimitMetric   = "limited by the generator" // 1 where a search ended at what the generator can do
	floorMetric   = "cost/floor"               // CostMetric as a multiple of the relay's in the same run
)
