package config

import (
	"errors"
	"math"
	"math/bits"
	"strings"
	"time"
	"unicode"
)

// Refusals of a duration, in the words of the crate upstream parses with.
var (
	errDurationFormat = errors.New("missing time duration format, must be multiples of `[0-9]+(ns|us|ms|[smhdwy])`")
	errDurationEmpty  = errors.New("cannot parse integer from empty string")
	errDurationNumber = errors.New("number too large to fit in target type")
	errDurationRange  = errors.New("number is too large to fit in target type")
)

// unitNanos returns the nanoseconds of a unit; a year has 31,556,926 seconds.
func unitNanos(u string) (uint64, bool) {
	switch u {
	case "ns":
		return 1, true
	case "us":
		return 1e3, true
	case "ms":
		return 1e6, true
	case "s":
		return 1e9, true
	case "m":
		return 60e9, true
	case "h":
		return 3600e9, true
	case "d":
		return 86_400e9, true
	case "w":
		return 604_800e9, true
	case "y":
		return 31_556_926e9, true
	}
	return 0, false
}

// ParseDuration reads a duration as upstream's files write it: groups of a whole number and one of
// ns us ms s m h d w y, in any order, summed; white space is ignored. Unlike time.ParseDuration it knows no sign, no
// decimals and no µs. What exceeds time.Duration (292 years) but not upstream's range becomes the largest Duration.
// Rules: P-conf-8.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return 0, errDurationEmpty
	}
	var total uint64 // nanoseconds, saturating
	var seconds uint64
	for s != "" {
		n, err := leadingNumber(&s)
		if err != nil {
			return 0, err
		}
		end := strings.IndexFunc(s, func(r rune) bool { return r >= '0' && r <= '9' })
		if end < 0 {
			end = len(s)
		}
		unit, ok := unitNanos(s[:end])
		if !ok {
			return 0, errDurationFormat
		}
		s = s[end:]
		// Upstream counts whole seconds in 64 bits; what does not fit there is an error, not a long time.
		if unit >= 1e9 {
			hi, sec := bits.Mul64(n, unit/1e9)
			sum, carry := bits.Add64(seconds, sec, 0)
			if hi != 0 || carry != 0 {
				return 0, errDurationRange
			}
			seconds = sum
		}
		if hi, ns := bits.Mul64(n, unit); hi != 0 || total+ns < total {
			total = math.MaxUint64
		} else {
			total += ns
		}
	}
	return time.Duration(min(total, math.MaxInt64)), nil
}

// leadingNumber takes the digits in front of s.
func leadingNumber(s *string) (uint64, error) {
	i := 0
	var n uint64
	for ; i < len(*s) && (*s)[i] >= '0' && (*s)[i] <= '9'; i++ {
		digit := uint64((*s)[i] - '0')
		if n > (math.MaxUint64-digit)/10 {
			return 0, errDurationNumber
		}
		n = n*10 + digit
	}
	if i == 0 {
		return 0, errDurationEmpty
	}
	*s = (*s)[i:]
	return n, nil
}
