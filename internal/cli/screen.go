package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Printable replaces what is no character to be seen, as text from elsewhere shall not steer a terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// Clip cuts s to n characters, of which the last then says so.
func Clip(s string, n int) string {
	runes := []rune(s)
	switch {
	case len(runes) <= n:
		return s
	case n < 1:
		return ""
	}
	return string(runes[:n-1]) + "…"
}

// Lines collects printable text in lines of at most Columns characters.
type Lines struct {
	Columns int
	lines   []string
}

// Add appends a line.
func (l *Lines) Add(format string, args ...any) {
	l.lines = append(l.lines, Clip(Printable(fmt.Sprintf(format, args...)), l.Columns))
}

// Text returns the lines, each with its end. If there are more than rows less one, where a cursor shall stand, more is
// the last and is told how many were left out.
func (l *Lines) Text(rows int, more string) string {
	if len(l.lines) > rows-1 {
		kept := max(1, rows-2)
		left := len(l.lines) - kept
		l.lines = l.lines[:kept]
		l.Add(more, left)
	}
	return strings.Join(l.lines, "\n") + "\n"
}

// What Watch writes before and after all it draws, and before each time.
const (
	ClearScreen = "\x1b[H\x1b[2J"
	OtherScreen = "\x1b[?1049h\x1b[?25l" // and no cursor
	OwnScreen   = "\x1b[?25h\x1b[?1049l"
)

// Watch draws on the other screen of the terminal w, again and again, until wait returns false or nobody reads w any
// more.
func Watch(w io.Writer, wait func() bool, draw func() string) {
	fmt.Fprint(w, OtherScreen)
	defer fmt.Fprint(w, OwnScreen)
	for {
		if _, err := fmt.Fprint(w, ClearScreen, draw()); err != nil || !wait() {
			return
		}
	}
}
