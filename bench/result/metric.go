package result

import (
	"fmt"
	"slices"
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

// known are the metrics of all scenarios, without the words of a phase in front and a comparison behind.
var known = []string{"delivered", OfferedMetric, "sent", "bytes received", CostMetric, "client CPU per delivered", floorMetric, "node cores",
	"client cores", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean", "deviation", LateMetric, "lost", "duplicates", "reordered", "changed", "foreign",
	"standstills over 1 s", "node RSS", "node RSS peak", "spread max/mean", "spread min/mean", "clients served", "clients served a second",
	"clients failed", "setup p50", "setup p99", "setups timed out", "files growth", "RSS growth", "clients connected", "all connected in", "clients back",
	"all back in", "node CPU per comeback", "connections", "connects", "node RSS per idle connection", "node CPU per connect", "names",
	"time per subscribe", "node CPU per subscribe", "node RSS per name", "rate per member", "longest silence", "slow member served again",
	"slow member caught up after", "rate during/before", "rate after/before", "lost by the slow member", "RSS slope", "files slope",
	"threads slope", "files gained", "threads gained", "p99 late/early", "client CPU per comeback", "highest rate", "rate over the bound",
	"p99 at the highest rate", "p99 over the bound", "limited by the generator"}

// phases are the words of scenarios that stand before their metrics, with a colon; comparisons stand behind a comma.
var (
	phases      = []string{"alone", "with churn", "with idle", "before", "during", "after", "small table", "while subscribing"}
	comparisons = []string{"with/alone", "full/small table", "first tenth", "last tenth", "share"}
)

// Known is an error that names the nearest, if no scenario measures what the condition is about.
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
			hint := " (docs/bench-json.md lists what they do)"
			if near := suggest.Nearest(x.word, x.known); near != "" {
				hint = "; did you mean " + near + "?"
			}
			return fmt.Errorf("condition %q: no scenario measures %q%s", c, x.word, hint)
		}
	}
	return nil
}
