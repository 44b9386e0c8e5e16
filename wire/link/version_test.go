package link

import "testing"

// Rules: P-neg-12.
func TestStrictVersion(t *testing.T) {
	for s, want := range map[string]bool{
		"2.3.0": true, "0.0.0": true, "10.20.30": true, "1.0.0-alpha": true, "1.0.0-alpha.1": true, "1.0.0-0.3.7": true,
		"1.0.0-x-y-z.--": true, "1.0.0+20130313144700": true, "1.0.0-beta+exp.sha.5114f85": true,
		"1.0.0+21AF26D3---117B344092BD": true,
		"2.0.0-alpha.10":                true, "1.0.0-0a": true, "1.0.0-a.00b": true, "1.0.0+001": true, "1.0.0+a-b": true,
		"1.0.0--":                  true,
		"18446744073709551615.0.0": true, "1.0.0-18446744073709551616": true,

		"": false, "1": false, "1.2": false, "1.2.3.4": false, "v1.2.3": false, "V1.2.3": false, " 1.2.3": false,
		"1.2.3 ":  false,
		"1.2.3\n": false, "01.2.3": false, "1.02.3": false, "1.2.03": false, "1..3": false, ".1.2": false, "1.2.": false,
		"-1.2.3": false, "+1.2.3": false, "1.2.x": false, "1.2.3-": false, "1.2.3+": false, "1.2.3-+": false,
		"1.2.3-a..b": false,
		"1.2.3-.a":   false, "1.2.3-a.": false, "1.2.3-01": false, "1.2.3-a.00": false, "1.2.3-a_b": false,
		"1.2.3+a+b":  false,
		"1.2.3+a..b": false, "1.2.3-é": false, "1.2.3-a b": false, "１.2.3": false, "18446744073709551616.0.0": false,
		"0.99999999999999999999.0": false, "184467440737095516150.0.0": false, "1.2-a.3": false, "1.2+b.3": false,
	} {
		if got := strictVersion(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
