package result

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
)

// Better says which direction of a metric is good.
type Better string

const (
	Lower   Better = "lower"
	Higher  Better = "higher"
	Neither Better = ""
)

// Metric is one figure of one case on one node in one round.
type Metric struct {
	Name   string
	Unit   Unit
	Value  float64
	Better Better
	Worst  bool // over rounds the worst counts, not the median: loss, duplicates
}

// Unit is a metric's unit; values are in the unit named, text forms choose a fitting multiple.
type Unit string

const (
	Nanoseconds Unit = "ns"
	Bytes       Unit = "B"
	PerSecond   Unit = "/s"
	Count       Unit = ""
	Cores       Unit = "cores"
	Ratio       Unit = "x"

	BytesPerSecond Unit = "B/s"
	BytesPerHour   Unit = "B/h"
	PerHour        Unit = "/h"
)

// Format writes a value in its unit for people.
func Format(v float64, u Unit) string { return cli.Format(v, string(u)) }

// Names of nodes with a meaning of their own.
const (
	Floor = "floor" // the blind relay of bench/relay: what any node on this engine must cost
	Base  = "base"  // an earlier build of the first node
)

// known are the metrics of all scenarios, without the words of a phase in front and a comparison behind; of the machine are those
// that are times, rates and cores.
var (
	known = append([]string{floorMetric, "lost", "duplicates", "reordered", "changed", "foreign", "standstills over 1 s", "node RSS",
		"node RSS peak", "spread max/mean", "spread min/mean", "clients served", "clients failed", "setups timed out", "files growth", "RSS growth",
		"clients connected", "clients back", "connections", "node RSS per idle connection", "names", "node RSS per name", "slow member served again",
		"rate during/before", "rate after/before", "lost by the slow member", "RSS slope", "files slope", "threads slope", "files gained",
		"threads gained", "p99 late/early", LimitMetric, "sessions", "sender RSS per idle session", "receiver RSS per idle session",
		"goroutines gained", "names known", "calls failed"}, ofMachine...)
	ofMachine = []string{"delivered", OfferedMetric, "sent", "bytes received", CostMetric, "client CPU per delivered", "node cores", "client cores",
		"p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "deviation", LateMetric, "clients served a second", "setup p50", "setup p99",
		"all connected in", "all back in", "node CPU per comeback", "client CPU per comeback", "connects", "node CPU per connect",
		"time per subscribe", "node CPU per subscribe", "rate per member", "longest silence", "slow member caught up after", "highest rate",
		"rate over the bound", "p99 at the highest rate", "p99 over the bound", "joins", "last join", "messages delivered",
		"sender CPU per delivered", "receiver CPU per delivered", "linked in", "names known in", "calls", "replies", "node CPU per call",
		"caller CPU per call", "server CPU per call"}
)

// phases are the words of scenarios that stand before their metrics, with a colon; comparisons stand behind a comma.
var (
	phases = []string{"alone", "with churn", "with idle", "before", "during", "after", "small table", "while subscribing", "one node",
		"to all", "while joining"}
	comparisons = []string{"with/alone", "full/small table", "first tenth", "last tenth", "share", "two nodes/one", "to all/one node"}
)

// Known is an error that names the nearest, if no scenario measures what the condition is about, and one if that says more of the
// machine than of the node.
func (c Condition) Known() error {
	phase, name, prefixed := strings.Cut(c.Metric, ": ")
	if !prefixed {
		name = c.Metric
	}
	name, comparison, compared := strings.Cut(name, ", ")
	for _, x := range []struct {
		there bool
		word  string
		known []string
	}{{prefixed, phase, phases}, {compared, comparison, comparisons}, {true, name, known}} {
		if x.there && !slices.Contains(x.known, x.word) {
			return fmt.Errorf("condition %q: no scenario measures %q%s", c, x.word,
				cmp.Or(suggest.Meant(x.word, x.known), " (docs/bench-json.md lists what they do)"))
		}
	}
	if c.Against == "" && slices.Contains(ofMachine, name) && (!compared || strings.HasSuffix(comparison, " tenth")) {
		return fmt.Errorf("condition %q: %s", c, notAlone)
	}
	return nil
}

const notAlone = "an absolute time or rate says more of the machine than of the node: compare with a node, METRIC / NODE"

// Condition is what must hold of one metric of the first node. Text form:
//
//	METRIC <= NUMBER          the metric itself: losses, bytes, growth, ratios
//	METRIC >= NUMBER
//	METRIC / NODE <= NUMBER   as a multiple of the same metric of another node of the run
//	METRIC / NODE >= NUMBER
//
// Times, rates and cores depend on the machine, so they may stand only in the forms with a NODE. Counts, and metrics of
// which the worst round stands for all, have to hold in every round; of two counts, 0 of 0 is a ratio of 1. All others are
// judged by an interval over the rounds.
type Condition struct {
	Metric  string
	Against string // name of the other node; empty: the metric itself
	Least   bool   // >= instead of <=
	Bound   float64
}

var conditionForm = regexp.MustCompile(`^(.+?)(?: / ([^/].*))? ?(<=|>=) ?(\S+)$`) // with single blanks

// maxCondition bounds the text of a condition.
const maxCondition = 256

// ParseCondition reads the text form.
func ParseCondition(s string) (Condition, error) {
	m := conditionForm.FindStringSubmatch(strings.Join(strings.Fields(s), " ")) // so that the text form reads as what it was made of
	if m == nil || len(s) > maxCondition {
		return Condition{}, fmt.Errorf("condition %.*q: want METRIC <= NUMBER, or METRIC / NODE <= NUMBER, or either with >=", maxCondition, s)
	}
	c := Condition{Metric: m[1], Against: strings.TrimSpace(m[2]), Least: m[3] == ">="}
	bound, err := strconv.ParseFloat(m[4], 64)
	switch c.Bound = bound; {
	case err != nil || math.IsNaN(bound) || math.IsInf(bound, 0):
		return Condition{}, fmt.Errorf("condition %q: %q is no number", s, m[4])
	case strings.HasPrefix(c.Metric, "/") || strings.HasSuffix(c.Metric, " /"):
		return Condition{}, fmt.Errorf("condition %q: want a METRIC before the slash and a NODE behind it", s)
	case c.Against != "" && bound <= 0:
		return Condition{}, fmt.Errorf("condition %q: want METRIC / NODE with a bound above 0", s)
	}
	return c, nil
}

// String returns the text form.
func (c Condition) String() string {
	s := c.Metric
	if c.Against != "" {
		s += " / " + c.Against
	}
	op := " <= "
	if c.Least {
		op = " >= "
	}
	return s + op + strconv.FormatFloat(c.Bound, 'g', -1, 64)
}

// paced reports whether the condition reads something that the generator may have limited.
func (c Condition) paced() bool {
	name := c.Metric[strings.LastIndex(c.Metric, ": ")+1:] // the words of a phase stand in front
	return slices.Contains(pacedMetrics, strings.TrimSpace(name))
}

var pacedMetrics = []string{"delivered", "bytes received", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "deviation",
	"highest rate", "rate over the bound", "p99 at the highest rate", "p99 over the bound"}

func (c Condition) holds(value float64) bool {
	if c.Least {
		return value >= c.Bound
	}
	return value <= c.Bound
}

// worst returns the value that speaks most against the condition. There is at least one.
func (c Condition) worst(values []float64) float64 {
	if c.Least {
		return slices.Min(values)
	}
	return slices.Max(values)
}
