package suggest

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	flags := []string{"loops", "log-level", "log-format", "conn-buffer", "read-buffer", "version"}
	for _, c := range []struct {
		name, word string
		known      []string
		want       string
	}{
		{"a wrong letter", "lop-level", flags, "log-level"},
		{"a letter too many", "loopss", flags, "loops"},
		{"a letter too few", "con-buffer", flags, "conn-buffer"},
		{"neighbours swapped", "lgo-level", flags, "log-level"},
		{"a swap is one step, not two", "lopos", flags, "loops"},
		{"capitals do not count", "LOG-LEVEL", flags, "log-level"},
		{"nor capitals of the known", "gzip", []string{"Gzip", "Zlib"}, "Gzip"},
		{"the nearest of several", "redd-buffer", flags, "read-buffer"},
		{"the first of equals", "log", []string{"lag", "leg"}, "lag"},
		{"a beginning", "vers", flags, "version"},
		{"a beginning of two letters is too short", "ve", flags, ""},
		{"a name with more behind it", "version-number", flags, "version"},
		{"a longer word that only begins alike", "versionist-x", flags, ""},
		{"one letter in three", "lxg-lexel", flags, "log-level"},
		{"one more is no typing error", "lxg-lexe", []string{"log-level"}, ""},
		{"nothing alike", "colour", flags, ""},
		{"two letters, one added", "p2", []string{"p2p", "idle"}, "p2p"},
		{"one letter says nothing", "x", []string{"c", "v"}, ""},
		{"no word", "", flags, ""},
		{"nothing known", "loops", nil, ""},
		{"endless words are not compared", strings.Repeat("a", 65), []string{strings.Repeat("a", 64)}, ""},
		{"endless names neither", strings.Repeat("a", 64), []string{strings.Repeat("a", 1<<20)}, ""},
	} {
		if got := Nearest(c.word, c.known); got != c.want {
			t.Errorf("%s: Nearest(%.20q) = %.20q, want %q", c.name, c.word, got, c.want)
		}
	}
}

func TestHint(t *testing.T) {
	for _, c := range []struct {
		word  string
		known []string
		want  string
	}{
		{"smok", []string{"smoke", "full"}, "; did you mean smoke?"},
		{"rust", []string{"ours", "floor"}, "; want one of ours, floor"},
		{"rust", []string{"ours"}, "; want ours"},
		{"rust", nil, ""},
	} {
		if got := Hint(c.word, c.known); got != c.want {
			t.Errorf("Hint(%q, %v) = %q, want %q", c.word, c.known, got, c.want)
		}
	}
}
