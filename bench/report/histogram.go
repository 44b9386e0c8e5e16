package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// spread is how the delays of a case on a node lie, over all its rounds.
type spread struct {
	Title string // of the node, and how many they are
	Bars  []bar
	Mark  string // why they are not the node's alone; empty: they are
}

// bar is a range of delays up to 1, 2 or 5 times a power of ten.
type bar struct {
	To    float64 // nanoseconds
	N     int64
	Share float64 // of the longest bar
	of    int64   // all delays
}

// Spreads are those of all nodes with delays.
func (s section) Spreads() (all []spread, err error) {
	for k, n := range s.Nodes {
		name := s.run.Nodes[k].Name
		h, err := delays(n.Rounds...)
		if err != nil {
			return nil, fmt.Errorf("%s on %s: %w", s.Title(), name, err)
		}
		if h != nil {
			all = append(all, spread{fmt.Sprintf("%s: %s delays", name, whole(h.TotalCount())), bars(h), n.Marked("p50")})
		}
	}
	return all, nil
}

// delays are all of some rounds; nil: there are none.
func delays(rounds ...result.Round) (sum *hdr.Histogram, err error) {
	for _, round := range rounds {
		if round.Histogram == "" {
			continue
		}
		h, err := hdr.Decode([]byte(round.Histogram))
		if err != nil {
			return nil, fmt.Errorf("delays of round %d: %w", round.Number, err)
		}
		if sum == nil {
			sum = h
		} else if n := sum.Merge(h); n > 0 {
			return nil, fmt.Errorf("delays of round %d: %d are beyond the range of another round", round.Number, n)
		}
	}
	return sum, nil
}

// writeHistogram draws the spreads of all cases.
func writeHistogram(w io.Writer, r *result.Results) error {
	var b strings.Builder
	for _, c := range sections(r) {
		all, err := c.Spreads()
		if err != nil {
			return err
		}
		for _, x := range all {
			fmt.Fprintf(&b, "%s on %s\n", c.Title(), x.Title)
			for _, bar := range x.Bars {
				fmt.Fprintln(&b, strings.TrimRight("  "+bar.String(), " "))
			}
			if x.Mark != "" {
				fmt.Fprintf(&b, "  ! * %s\n", x.Mark)
			}
		}
	}
	if b.Len() == 0 {
		b.WriteString("no delays were measured\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func whole(n int64) string { return result.Format(float64(n), result.Count) }

// barWidth is how many characters the longest bar has.
const barWidth = 50

// String is a line of text.
func (b bar) String() string {
	return fmt.Sprintf("up to %7s %6.2f%% %12s %s", result.Format(b.To, result.Nanoseconds), 100*float64(b.N)/float64(b.of), whole(b.N),
		strings.Repeat("█", int(math.Ceil(barWidth*b.Share))))
}

// bars are those from the least delay to the longest, also where there is none between them.
func bars(h *hdr.Histogram) (all []bar) {
	most := int64(0)
	for _, d := range h.Distribution() {
		if d.Count == 0 {
			continue
		}
		to := roundUp(float64(d.To))
		if len(all) == 0 {
			all = []bar{{To: to}}
		}
		for last := all[len(all)-1].To; last < to; {
			last = roundUp(last * 1.01)
			all = append(all, bar{To: last})
		}
		last := &all[len(all)-1]
		last.N += d.Count
		most = max(most, last.N)
	}
	for i := range all {
		all[i].Share, all[i].of = float64(all[i].N)/float64(most), h.TotalCount()
	}
	return all
}

// roundUp rounds up to 1, 2 or 5 times a power of ten.
func roundUp(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*unit*(1+1e-9) {
			return m * unit
		}
	}
	return 10 * unit
}
