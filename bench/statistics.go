package bench

import (
	"math"
	"slices"
)

// leastRounds is how many rounds a judgement takes at least.
const leastRounds = 3

// level is how surely an interval holds its value.
type level int

const (
	sure  level = iota // 95 %
	surer              // 99 %
)

// students are the two-sided quantiles of Student's t for each level, by degrees of freedom, from 1.
var students = [...][]float64{
	sure: {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
		2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042},
	surer: {63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947,
		2.921, 2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750},
}

// student is the quantile; beyond the tables within 0.005 of their continuation.
func student(freedom int, l level) float64 {
	table := students[l]
	switch {
	case freedom < 1:
		return math.Inf(1)
	case freedom <= len(table):
		return table[freedom-1]
	case l == surer:
		return 2.576 + 5.2/float64(freedom)
	}
	return 1.96 + 2.5/float64(freedom)
}

// interval returns the typical value of xs, and the bounds between which it lies as surely as l says: the trimmed mean
// with Tukey and McLaughlin's interval (winsorised deviation). From five values on, a fifth at each end is trimmed, so that
// rounds in which a neighbour took the machine do not decide. One value has an interval without ends.
func interval(xs []float64, l level) (value, low, high float64) {
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
	half := student(kept-1, l) * deviation / ((float64(kept) / float64(n)) * math.Sqrt(float64(n)))
	return mean, mean - half, mean + half
}

// rankSum is the Mann-Whitney U test: the probability that two samples of one distribution differ in rank at least as
// much as a and b do. Exact for small samples without ties, else by the normal approximation with correction for ties.
func rankSum(a, b []float64) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 1
	}
	u, ties := uStatistic(a, b)
	n, m := len(a), len(b)
	if !ties && n*m <= 400 {
		return exactU(n, m, u)
	}
	return normalU(a, b, u)
}

// uStatistic counts the pairs in which a is larger, halves for equal ones.
func uStatistic(a, b []float64) (u float64, ties bool) {
	for _, x := range a {
		for _, y := range b {
			switch {
			case x > y:
				u++
			case x == y:
				u += 0.5
				ties = true
			}
		}
	}
	return u, ties
}

// exactU sums the probabilities of all values of U at least as far from the middle.
func exactU(n, m int, u float64) float64 {
	counts := uCounts(n, m)
	total := 0.0
	for _, c := range counts {
		total += c
	}
	middle := float64(n*m) / 2
	tail := 0.0
	for k, c := range counts {
		if math.Abs(float64(k)-middle) >= math.Abs(u-middle)-1e-9 {
			tail += c
		}
	}
	return min(1, tail/total)
}

// uCounts returns, for each value of U from 0 to n·m, how many orders of n and m elements have it: the coefficients of the
// Gaussian binomial, by adding one element of the first sample at a time.
func uCounts(n, m int) []float64 {
	counts := make([]float64, n*m+1)
	counts[0] = 1
	for i := 1; i <= n; i++ {
		// times (1 - q^(m+i)), then divided by (1 - q^i)
		for k := len(counts) - 1; k >= m+i; k-- {
			counts[k] -= counts[k-m-i]
		}
		for k := i; k < len(counts); k++ {
			counts[k] += counts[k-i]
		}
	}
	return counts
}

func normalU(a, b []float64, u float64) float64 {
	n, m := float64(len(a)), float64(len(b))
	all := slices.Sorted(slices.Values(append(slices.Clone(a), b...)))
	tied := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		t := float64(j - i)
		tied += t*t*t - t
		i = j
	}
	total := n + m
	variance := n * m / 12 * (total + 1 - tied/(total*(total-1)))
	if variance <= 0 {
		return 1
	}
	z := (math.Abs(u-n*m/2) - 0.5) / math.Sqrt(variance)
	return min(1, math.Erfc(max(0, z)/math.Sqrt2))
}

// slope is the least-squares slope of ys over xs; 0 for fewer than two points.
func slope(xs, ys []float64) float64 {
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
