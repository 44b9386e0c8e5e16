package config

import (
	"errors"
	"math"
	"testing"
	"time"
)

// Rules: P-conf-8.
func TestParseDuration(t *testing.T) {
	const year = 31_556_926 * time.Second
	for _, tt := range []struct {
		in   string
		want time.Duration
		err  error
	}{
		{"10s", 10 * time.Second, nil},
		{"1500ms", 1500 * time.Millisecond, nil},
		{"1m30s", 90 * time.Second, nil},
		{"2h3m4s", 2*time.Hour + 3*time.Minute + 4*time.Second, nil},
		{"1h 30m", 90 * time.Minute, nil},
		{" 1 0 s ", 10 * time.Second, nil},
		{"1m1h", 61 * time.Minute, nil},
		{"1s1s", 2 * time.Second, nil},
		{"1d", 24 * time.Hour, nil},
		{"1w", 7 * 24 * time.Hour, nil},
		{"1y", year, nil},
		{"0y", 0, nil},
		{"5us3ns", 5003, nil},
		{"0001s", time.Second, nil},
		{"1000y", math.MaxInt64, nil}, // upstream's range, not time.Duration's
		{"18446744073709551615s", math.MaxInt64, nil},
		{"", 0, errDurationEmpty},
		{"s", 0, errDurationEmpty},
		{"-5s", 0, errDurationEmpty},
		{"+5s", 0, errDurationEmpty},
		{"abc", 0, errDurationEmpty},
		{"10", 0, errDurationFormat},
		{"10x", 0, errDurationFormat},
		{"1.5s", 0, errDurationFormat},
		{"1S", 0, errDurationFormat},
		{"1µs", 0, errDurationFormat},
		{"1s5", 0, errDurationFormat},
		{"18446744073709551616s", 0, errDurationNumber},
		{"18446744073709551615y", 0, errDurationRange},
		{"18446744073709551615s1s", 0, errDurationRange},
	} {
		got, err := ParseDuration(tt.in)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}
