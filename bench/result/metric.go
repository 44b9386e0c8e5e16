package result

import "slices"

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

// Names of nodes with a meaning of their own.
const (
	Floor = "floor" // the blind relay of bench/relay: what any node on this engine must cost
	Base  = "base"  // an earlier build of the first node
)

// Median of values; 0 for none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
