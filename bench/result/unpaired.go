package result

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/aclements/go-moremath/stats"
)

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
func roundsFor(alpha float64) int {
	for n := 1; n < 20; n++ {
		if rankCut(n, n, alpha) > 0 {
			return n
		}
	}
	return 20
}
