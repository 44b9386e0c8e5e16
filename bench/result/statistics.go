package result

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"
)

const (
	leastRounds = 3    // that a judgement takes
	sure        = 0.95 // how surely an interval holds its value
	surer       = 0.99
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

// unboundedRatio is the upper end of an interval of ratios without one, as JSON has no infinity.
const unboundedRatio = math.MaxFloat64

// unpairedInterval bounds the ratio of a's distribution to b's, whose rounds have nothing to do with each other: all ratios
// against which the rank-sum test finds no difference at level alpha. It therefore agrees with rankSum, and a few
// rounds in which a neighbour took the machine do not move it. Neither slice may hold values below 0.
//
// With too few values for the level there are no ends: 0 and unboundedRatio.
func unpairedInterval(a, b []float64, alpha float64) (low, high float64) {
	var ratios []float64
	for _, x := range a {
		for _, y := range b {
			ratios = append(ratios, quotient(x, y))
		}
	}
	cut := rankCut(len(a), len(b), alpha)
	if cut == 0 {
		return 0, unboundedRatio
	}
	slices.Sort(ratios)
	return ratios[cut-1], ratios[len(ratios)-cut]
}

// judgeUnpaired judges by series of two runs: the whole interval of the ratio has to be on the right side of the bound, or on the
// wrong one. Where the worst round counts it is compared itself.
func (v Verdict) judgeUnpaired(ours, theirs Series, c Condition, alpha float64) Verdict {
	v.Rounds, v.Value = min(len(ours.Values), len(theirs.Values)), quotient(ours.Value, theirs.Value)
	v.Low, v.High = v.Value, v.Value
	figures := fmt.Sprintf("it was %s and is %s", Format(theirs.Value, ours.Unit), Format(ours.Value, ours.Unit))
	switch {
	case ours.Worst:
		return v.decide(c.holds(v.Value), figures)
	case slices.Min(ours.Values) < 0 || slices.Min(theirs.Values) < 0:
		return v.unclear("there are values below 0, and their ratios mean nothing")
	}
	v.Low, v.High = unpairedInterval(ours.Values, theirs.Values, alpha)
	both, neither := c.holds(v.Low) && c.holds(v.High), !c.holds(v.Low) && !c.holds(v.High)
	switch {
	case v.Low == 0 && v.High == unboundedRatio:
		v.Low, v.High = v.Value, v.Value
		return v.unclear(fmt.Sprintf("%d and %d rounds are too few to tell: measure at least %d of each", len(ours.Values), len(theirs.Values),
			roundsFor(alpha)))
	case both, neither:
		return v.decide(both, figures)
	}
	return v.unclear(fmt.Sprintf("the ratio is between %.3g and %.3g: too noisy to tell; measure more rounds, or on a quieter machine", v.Low, v.High))
}

// Change says how a series differs from one of another run: by which share, between which bounds, and how likely such a
// difference is without a change (p, by Mann-Whitney). A "~" stands for what may be chance.
func (s Series) Change(from Series, alpha float64) string {
	if s.Value == from.Value {
		return "same"
	}
	p := rankSum(s.Values, from.Values)
	low, high := unpairedInterval(s.Values, from.Values, alpha)
	text := fmt.Sprintf("p=%.3f", p)
	if high < unboundedRatio && min(slices.Min(s.Values), slices.Min(from.Values)) >= 0 {
		text = fmt.Sprintf("[%+.1f%%, %+.1f%%] %s", 100*(low-1), 100*(high-1), text)
	}
	switch {
	case p >= alpha:
		return "~ " + text
	case from.Value == 0:
		return "from 0 " + text
	}
	return fmt.Sprintf("%+.1f%% %s", 100*(s.Value/from.Value-1), text)
}

// quotient is x/y with values for all that are not below 0: nothing of nothing is no change.
func quotient(x, y float64) float64 {
	switch {
	case x == y:
		return 1
	case y == 0:
		return unboundedRatio
	}
	return min(x/y, unboundedRatio)
}

// rankCut is how many of the n·m sorted ratios lie outside of the interval at each end, plus one: the number of values of U
// that are at most alpha/2 likely together, from below. 0: not even the lowest is.
func rankCut(n, m int, alpha float64) int {
	if n == 0 || m == 0 {
		return 0
	}
	if n*m > 2500 { // the normal approximation is good, and exact counts would be long
		deviation := math.Sqrt(float64(n*m) * float64(n+m+1) / 12)
		return max(0, int(float64(n*m)/2-math.Sqrt2*math.Erfinv(1-alpha)*deviation))
	}
	u := stats.UDist{N1: n, N2: m}
	return sort.Search(n*m, func(k int) bool { return u.CDF(float64(k)) > alpha/2 })
}

// roundsFor is how many rounds on each side have an interval at level alpha.
func roundsFor(alpha float64) (n int) {
	for n = 1; n < 20 && rankCut(n, n, alpha) == 0; n++ {
	}
	return n
}
