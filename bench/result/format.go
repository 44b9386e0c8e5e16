package result

import (
	"fmt"
	"strconv"
	"strings"
)

// scales are the multiples in which people read a unit, largest first; smaller values are written in the last.
var scales = map[Unit][]struct {
	from, size float64
	form       string
}{
	Nanoseconds:    {{1e9, 1e9, "%.2f s"}, {1e6, 1e6, "%.2f ms"}, {1e3, 1e3, "%.2f µs"}, {0, 1, "%.0f ns"}},
	Bytes:          {{1 << 20, 1 << 20, "%.1f MiB"}, {1 << 10, 1 << 10, "%.2f KiB"}, {0, 1, "%.0f B"}},
	BytesPerSecond: {{0, 1 << 20, "%.1f MiB/s"}},
	PerHour:        {{0, 1, "%.1f/h"}},
	Cores:          {{0, 1, "%.2f"}},
	Ratio:          {{0, 1, "%.3f"}},
}

// Format writes a value in its unit, with three or four significant digits.
func Format(v float64, u Unit) string {
	switch u {
	case BytesPerHour:
		return Format(v, Bytes) + "/h"
	case PerSecond:
		return grouped(v) + "/s"
	}
	for _, s := range scales[u] {
		if max(v, -v) >= s.from {
			return fmt.Sprintf(s.form, v/s.size)
		}
	}
	return grouped(v)
}

// grouped writes a whole number with commas between thousands.
func grouped(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
