package cli

import (
	"math"
	"strconv"
	"strings"
)

// scales are the multiples in which people read a unit, largest first; what is smaller than all is written in the last.
var scales = map[string][]struct {
	size float64
	word string
}{
	"ns":  {{1e9, " s"}, {1e6, " ms"}, {1e3, " µs"}, {1, " ns"}},
	"B":   {{1 << 30, " GiB"}, {1 << 20, " MiB"}, {1 << 10, " KiB"}, {1, " B"}},
	"B/s": {{1 << 20, " MiB/s"}},
	"/s":  {{1, "/s"}},
	"/h":  {{1, "/h"}},
}

// Format writes a value in the largest fitting multiple of its unit, with three significant digits, or as a whole number with
// commas: "1.5 MiB", "12,345/s". Units without multiples (cores, ratios, counts) are not written.
func Format(v float64, unit string) string {
	if unit == "B/h" {
		return Format(v, "B") + "/h"
	}
	all := scales[unit]
	if all == nil {
		return digits(v)
	}
	i := 0
	for i < len(all)-1 && math.Abs(v) < all[i].size {
		i++
	}
	return digits(v/all[i].size) + all[i].word
}

func digits(v float64) string {
	if math.Abs(v) < 999.5 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	first := strings.IndexAny(s, "123456789")
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
