package link

import "strings"

// strictVersion reports whether s is a semantic version as semver.org 2.0.0 has it and Rust's semver crate reads it:
// three numbers below 2^64 without leading zeros, an optional pre-release, optional build metadata; no "v", no space.
// Rules: P-neg-3, P-neg-12.
func strictVersion(s string) bool {
	s, build, hasBuild := strings.Cut(s, "+")
	core, pre, hasPre := strings.Cut(s, "-")
	if hasBuild && !identifiers(build, true) || hasPre && !identifiers(pre, false) {
		return false
	}
	numbers := 0
	for part := range strings.SplitSeq(core, ".") {
		if !number(part) {
			return false
		}
		numbers++
	}
	return numbers == 3
}

// number reports whether s is a decimal number below 2^64 without leading zeros.
func number(s string) bool {
	const limit = "18446744073709551615" // of the same length, digits compare as numbers
	return digits(s) && (s == "0" || s[0] != '0') && (len(s) < len(limit) || len(s) == len(limit) && s <= limit)
}

// identifiers reports whether s is a list of dot-separated, non-empty runs of letters, digits and hyphens; those of
// digits alone have no leading zeros, except in build metadata.
func identifiers(s string, build bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || strings.ContainsFunc(id, notIdentifier) {
			return false
		}
		if !build && len(id) > 1 && id[0] == '0' && digits(id) {
			return false
		}
	}
	return true
}

func notIdentifier(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
}

func digits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}
