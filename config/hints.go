package config

import (
	"bytes"
	"net/netip"
	"regexp"
	"strings"
	"unicode"
)

// What to do about values that YAML or upstream's rules do not take as they were meant.
const (
	wholeValueOnly = "${env:NAME} and ${file:PATH} work as a whole value only"
	alwaysText     = "a reference always gives text: write the value itself"
	needsUnit      = "a duration needs a unit, such as 10s or 500ms"
	needsQuotes    = "write it in quotes"
)

var (
	ipv6Port  = regexp.MustCompile(`(?:^|[\s,{\[])(\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?\]:\d+)`)
	reference = regexp.MustCompile(`(?:^|[\s,{\[])(\$\{\w+:[^}]*\})`)
	indicator = regexp.MustCompile("[:-][ \t]+([@`%*&])")
)

// syntaxHint says what a line that is no YAML may have meant: text that YAML reads as more than text. "" if it looks alright.
func syntaxHint(b []byte, line int) string {
	const most = 4 << 10 // bytes of the line
	for ; line > 1; line-- {
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			return ""
		}
		b = b[n+1:]
	}
	b, _, _ = bytes.Cut(b, []byte("\n"))
	text := string(b[:min(len(b), most)])
	if m := ipv6Port.FindStringSubmatch(text); m != nil {
		return "an address in brackets needs quotes: \"" + m[1] + "\""
	}
	if m := reference.FindStringSubmatch(text); m != nil {
		return "between braces or brackets a reference needs quotes: " + quote(m[1])
	}
	if m := indicator.FindStringSubmatch(text); m != nil {
		return "a value that begins with " + m[1] + " needs quotes"
	}
	if strings.HasPrefix(strings.TrimLeft(text, " "), "\t") {
		return "indent with spaces, not with tabs"
	}
	if _, rest, ok := strings.Cut(text, ": "); ok && strings.Contains(rest, ": ") {
		return "a value that holds a colon and a space needs quotes"
	}
	return ""
}

// typeHint says how to write a value that has the wrong type, as upstream's error calls the right one.
func typeHint(n *node, expected string) string {
	switch expected {
	case "a boolean":
		if n.kind == stringKind && n.from == "" {
			return "write true or false, without quotes"
		}
	case "usize", "u64", "u32", "u16":
		if n.kind == stringKind && n.from == "" && strings.ContainsAny(n.str, "0123456789") || n.kind == floatKind {
			return "write a whole number, without quotes, leading zeros or a unit"
		}
	case "a string":
		switch {
		case n.kind == listKind && len(n.items) == 1 && strings.Contains(n.items[0].str, ":"):
			return "an address in brackets needs quotes"
		case n.kind == intKind || n.kind == floatKind || n.kind == boolKind:
			return needsQuotes
		}
		return ""
	case "a sequence":
		if n.kind == stringKind && n.from == "" {
			return "write a list, such as [VALUE]"
		}
	case "string": // a duration
		return needsUnit
	}
	if n.from != "" {
		return alwaysText
	}
	return ""
}

// durationHint says how to write a text that is no duration.
func durationHint(s string) string {
	s = strings.TrimFunc(s, unicode.IsSpace)
	switch {
	case s != "" && strings.Trim(s, "0123456789.") == "":
		return needsUnit
	case strings.Contains(s, "."):
		return "a duration has no decimals: write 1500ms, not 1.5s"
	}
	return "write groups of a whole number and one of ns us ms s m h d w y, such as 1m 30s"
}

// referenceInside reports text with a reference in it that is not replaced, because it is not the whole value.
func referenceInside(s string) bool {
	return strings.Contains(s, "${env:") || strings.Contains(s, "${file:")
}

// nameHint says what a name of a variable or file that is not there may have meant.
func nameHint(name string) string {
	switch {
	case strings.Contains(name, "${"):
		return "two references are read as one: " + wholeValueOnly
	case strings.Contains(name, ":-"):
		return "a reference has no default value"
	}
	return ""
}

// addressHint says how to write an endpoint that is no address to listen on.
func addressHint(endpoint string) string {
	host, port, ok := strings.Cut(endpoint, ":")
	_, err := netip.ParseAddr(endpoint)
	switch {
	case referenceInside(endpoint):
		return wholeValueOnly
	case scheme(endpoint) != "":
		return "write it without a scheme, such as 0.0.0.0:46357"
	case err == nil && strings.Contains(endpoint, "."):
		return "the port is missing: " + endpoint + ":46357"
	case strings.Count(endpoint, ":") > 1 && !strings.Contains(endpoint, "]"):
		return "an IPv6 address stands in brackets, such as \"[::1]:46357\""
	case ok && host == "":
		return "for all addresses write 0.0.0.0:" + port
	case host == "*" || host == "localhost":
		return "write an IP address, such as 0.0.0.0:46357 for all addresses or 127.0.0.1:46357 for this machine only"
	}
	return "write it as 0.0.0.0:46357 or \"[::1]:46357\""
}
