package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether w is a terminal, which takes colours.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Size returns the width and height that the terminal w has now, otherwise those given for what is none or does not
// tell.
func Size(w io.Writer, columns, rows int) (int, int) {
	if f, ok := w.(*os.File); ok {
		if x, y, err := term.GetSize(int(f.Fd())); err == nil && x > 0 && y > 0 {
			return x, y
		}
	}
	return columns, rows
}

// Columns returns the width that the terminal w has now, otherwise for what is none or does not tell.
func Columns(w io.Writer, otherwise int) int {
	f, ok := w.(*os.File)
	if !ok {
		return otherwise
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		return width
	}
	return otherwise
}
