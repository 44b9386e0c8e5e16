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

// student is the two-sided quantile of Student's t.
func student(freedom int, confidence float64) float64 {
	if freedom < 1 {
		return math.Inf(1)
	}
	return stats.InvCDF(stats.TDist{V: float64(freedom)})(0.5 + confidence/2)
}

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
	sum := 0.0
	for _, x := range v[cut : n-cut] {
		sum += x
	}
	mean := sum / float64(kept)
	if kept < 2 {
		return mean, math.Inf(-1), math.Inf(1)
	}
	wins, squares := 0.0, 0.0
	at := func(i int) float64 { return v[min(max(i, cut), n-cut-1)] }
	for i := range n {
		wins += at(i)
	}
	wins /= float64(n)
	for i := range n {
		squares += (at(i) - wins) * (at(i) - wins)
	}
	deviation := math.Sqrt(squares / float64(n-1))
	half := student(kept-1, confidence) * deviation / ((float64(kept) / float64(n)) * math.Sqrt(float64(n)))
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

// Slope is the least-squares slope of ys over xs; 0 for fewer than two points.
func Slope(xs, ys []float64) float64 {
	n := float64(len(xs))
	if len(xs) < 2 {
		return 0
	}
	var sx, sy, sxx, sxy float64
	for i := range xs {
		sx += xs[i]
		sy += ys[i]
		sxx += xs[i] * xs[i]
		sxy += xs[i] * ys[i]
	}
	d := n*sxx - sx*sx
	if d == 0 {
		return 0
	}
	return (n*sxy - sx*sy) / d
}
