package config

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// setPlain gives n the value of a plain (unquoted, untagged) scalar: the YAML 1.2 core schema as upstream's parser
// reads it. yes, no, on, off, dates, 010 and 1_000 are strings. It reports false for an integer beyond 64 bits.
// Rules: P-conf-5.
func (n *node) setPlain(s string) bool {
	switch s {
	case "", "~", "null", "Null", "NULL":
		n.kind = nullKind
		return true
	case "true", "True", "TRUE", "false", "False", "FALSE":
		n.kind, n.bool = boolKind, s[0] == 't' || s[0] == 'T'
		return true
	}
	if c := s[0]; c != '+' && c != '-' && c != '.' && (c < '0' || c > '9') {
		n.kind, n.str = stringKind, s
		return true
	}
	switch ok, wide := n.setInt(s); {
	case ok:
		return true
	case wide:
		return false
	}
	if f, ok := parseFloat(s); ok && !zeroLed(s) {
		n.kind, n.float = floatKind, f
		return true
	}
	n.kind, n.str = stringKind, s
	return true
}

// setInt reads an integer in base 10, 16 (0x), 8 (0o) or 2 (0b). wide: an integer, but of more than 64 bits and at
// most 128, which upstream's reader can produce and none of its types can hold.
func (n *node) setInt(s string) (ok, wide bool) {
	if zeroLed(s) {
		return false, false
	}
	digits, neg := s, false
	switch s[0] {
	case '+':
		digits = s[1:]
	case '-':
		digits, neg = s[1:], true
	}
	base := 10
	if len(digits) > 2 && digits[0] == '0' {
		switch digits[1] {
		case 'x':
			base = 16
		case 'o':
			base = 8
		case 'b':
			base = 2
		}
		if base != 10 {
			digits = digits[2:]
		}
	}
	if digits == "" || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return false, false
	}
	u, err := strconv.ParseUint(digits, base, 64)
	if err == nil && (!neg || u <= 1<<63) {
		n.kind, n.uint, n.neg = intKind, u, neg && u != 0
		return true, false
	}
	if err != nil && err.(*strconv.NumError).Err == strconv.ErrSyntax {
		return false, false
	}
	if len(digits) > 128 { // a number of 128 bits has at most that many digits in any base
		return false, false
	}
	v, _ := new(big.Int).SetString(digits, base)
	return false, v.BitLen() <= 128
}

// zeroLed reports digits behind a leading zero, which are a string in YAML 1.2.
func zeroLed(s string) bool {
	s = strings.TrimLeft(s[:1], "+-") + s[1:]
	return len(s) > 1 && s[0] == '0' && strings.Trim(s, "0123456789") == ""
}

func parseFloat(s string) (float64, bool) {
	switch s {
	case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF":
		return math.Inf(1), true
	case "-.inf", "-.Inf", "-.INF":
		return math.Inf(-1), true
	case ".nan", ".NaN", ".NAN":
		return math.NaN(), true
	}
	if strings.Trim(s, "0123456789.eE+-") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}
