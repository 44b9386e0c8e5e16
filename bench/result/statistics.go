package result

import (
	"math"
	"slices"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"
)

// leastRounds is how many rounds a judgement takes at least.
const leastRounds = 3

// How surely an interval holds its value.
const (
	sure  = 0.95
	surer = 0.99
)

// interval returns the typical value of xs, and the bounds between which it lies with that confidence: the trimmed mean
// with Tukey and McLaughlin's interval (winsorised deviation). From five values on, a fifth at each end is trimmed, so
// that rounds in which a neighbour took the machine do not decide. One value has an interval without ends.
func interval(xs []float64, confidence float64) (value, low, high float64) {
	v := slices.Sorted(slices.Values(xs))
	n := len(v)
	cut := 0
	if n >= 5 {
		cut = max(1, n/5)
	}
	kept := n - 2*cut
	mean := stats.Mean(v[cut : n-cut])
	if kept < 2 {
		return mean, math.Inf(-1), math.Inf(1)
	}
	for i := range v {
		v[i] = v[min(max(i, cut), n-cut-1)] // winsorised: what was trimmed counts as the last value that was not
	}
	student := stats.InvCDF(stats.TDist{V: float64(kept - 1)})(0.5 + confidence/2) // two-sided
	half := student * stats.StdDev(v) / ((float64(kept) / float64(n)) * math.Sqrt(float64(n)))
	return mean, mean - half, mean + half
}

// rankSum is the Mann-Whitney U test: the probability that two samples of one distribution differ in rank at least as
// much as a and b do. Exact for small samples.
func rankSum(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	sample := func(xs []float64) *benchmath.Sample {
		return benchmath.NewSample(slices.Clone(xs), &benchmath.DefaultThresholds) // it sorts them
	}
	return benchmath.AssumeNothing.Compare(sample(a), sample(b)).P
}

// Slope is the least-squares slope of ys over xs; 0 where all xs are the same.
func Slope(xs, ys []float64) float64 {
	x, y := stats.Mean(xs), stats.Mean(ys)
	var both, square float64
	for i := range xs {
		both += (xs[i] - x) * (ys[i] - y)
		square += (xs[i] - x) * (xs[i] - x)
	}
	if square == 0 {
		return 0
	}
	return both / square
}

// median of values; 0 for none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return stats.Sample{Xs: values}.Quantile(0.5)
}
