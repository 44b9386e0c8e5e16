package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// barWidth is how many characters the longest bar has.
const barWidth = 50

// writeHistogram draws how the delays of each case on each node are spread, over all its rounds.
func writeHistogram(w io.Writer, r *result.Results) error {
	rounds, err := recordings(r)
	if err != nil {
		return err
	}
	var sums []recording
	for _, x := range rounds {
		i := slices.IndexFunc(sums, func(s recording) bool { return s.title == x.title })
		if i < 0 {
			sums = append(sums, x)
		} else if n := sums[i].delays.Merge(x.delays); n > 0 {
			return fmt.Errorf("%s: %d delays are beyond the range of another round", x.title, n)
		}
	}
	var b strings.Builder
	for i, x := range sums {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s: %s delays\n%s", x.title, whole(x.delays.TotalCount()), bars(x.delays))
		if x.limited != "" {
			fmt.Fprintf(&b, "  ! * %s\n", x.limited)
		}
	}
	if len(sums) == 0 {
		b.WriteString("no delays were measured\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func whole(n int64) string { return result.Format(float64(n), result.Count) }

// bars draws a bar for each range up to 1, 2 or 5 times a power of ten, from the least delay to the longest.
func bars(h *hdr.Histogram) string {
	type bar struct {
		to float64 // nanoseconds
		n  int64
	}
	var all []bar
	most := int64(0)
	for _, d := range h.Distribution() {
		if d.Count == 0 {
			continue
		}
		to := roundUp(float64(d.To), steps)
		if len(all) == 0 {
			all = []bar{{to: to}}
		}
		last := &all[len(all)-1]
		for last.to < to { // ranges without any are shown
			all = append(all, bar{to: roundUp(last.to*1.01, steps)})
			last = &all[len(all)-1]
		}
		last.n += d.Count
		most = max(most, last.n)
	}
	var b strings.Builder
	for _, x := range all {
		width := int(math.Ceil(barWidth * float64(x.n) / float64(most)))
		percent := 100 * float64(x.n) / float64(h.TotalCount())
		text := fmt.Sprintf("  up to %7s %6.2f%% %12s %s", result.Format(x.to, result.Nanoseconds), percent, whole(x.n),
			strings.Repeat("█", width))
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	return b.String()
}
