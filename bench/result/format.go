package result

import (
	"math"
	"strconv"
	"strings"
)

// scales are the multiples in which people read a unit, largest first; what is smaller than all is written in the last.
var scales = map[Unit][]struct {
	size float64
	word string
}{
	Nanoseconds:    {{1e9, " s"}, {1e6, " ms"}, {1e3, " µs"}, {1, " ns"}},
	Bytes:          {{1 << 30, " GiB"}, {1 << 20, " MiB"}, {1 << 10, " KiB"}, {1, " B"}},
	BytesPerSecond: {{1 << 20, " MiB/s"}},
	PerSecond:      {{1, "/s"}},
	PerHour:        {{1, "/h"}},
	Cores:          {{1, ""}},
	Ratio:          {{1, ""}},
	Count:          {{1, ""}},
}

// Format writes a value in its unit, with three significant digits, or as a whole number with commas.
func Format(v float64, u Unit) string {
	if u == BytesPerHour {
		return Format(v, Bytes) + "/h"
	}
	all := scales[u]
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
