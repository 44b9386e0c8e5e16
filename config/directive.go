package config

import (
	"bytes"
	"fmt"
	"strconv"
)

// yamlVersions makes the %YAML directive of a file one that the parser takes. The parser knows 1.1 alone; upstream's reader
// takes 1.1 and 1.2 and reads both alike, so 1.2 becomes 1.1 in a copy of the same length: positions stay true. Any other
// version is refused. Malformed directives are left to the parser.
func (d *decoder) yamlVersions(b []byte) []byte {
	out := b
	for line, at := 1, len(b)-len(bytes.TrimPrefix(b, []byte("\ufeff"))); at < len(b); line++ {
		text := b[at:]
		if n := bytes.IndexAny(text, "\r\n"); n >= 0 {
			text = text[:n]
		}
		major, minor, end, ok := versionDirective(text)
		switch {
		case ok && major == 1 && minor == 1:
		case ok && major == 1 && minor == 2:
			out = bytes.Clone(out)
			out[at+end-1] = '1'
		case ok:
			d.syntax(Position{line, 1},
				fmt.Sprintf("found incompatible YAML document: %d.%d; this node reads YAML 1.1 and 1.2", major, minor))
			return out
		case !isPrologue(text):
			return out // directives stand before the document only
		}
		at += len(text)
		if bytes.HasPrefix(b[at:], []byte("\r\n")) {
			at++
		}
		at++
	}
	return out
}

// versionDirective reads "%YAML MAJOR.MINOR" at the beginning of a line; end is the offset after MINOR.
func versionDirective(line []byte) (major, minor, end int, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("%YAML"))
	number := bytes.TrimLeft(rest, " \t")
	if !ok || len(number) == len(rest) {
		return 0, 0, 0, false
	}
	first, second, ok := bytes.Cut(number, []byte("."))
	if !ok {
		return 0, 0, 0, false
	}
	digits := len(second) - len(bytes.TrimLeft(second, "0123456789"))
	major, err := strconv.Atoi(string(first))
	if err != nil || major < 0 || first[0] == '+' {
		return 0, 0, 0, false
	}
	minor, err = strconv.Atoi(string(second[:digits]))
	if err != nil {
		return 0, 0, 0, false
	}
	return major, minor, len(line) - len(second) + digits, true
}

// isPrologue reports a line that may stand before a document: blank, a comment or a directive.
func isPrologue(line []byte) bool {
	text := bytes.TrimLeft(line, " \t")
	return len(text) == 0 || text[0] == '#' || line[0] == '%'
}
