package result

import (
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
