package cli

import (
	"errors"
	"strings"
	"testing"
)

func TestLinesFitTheScreen(t *testing.T) {
	l := Lines{Columns: 8}
	l.Add("short")
	l.Add("much too %s", "long")
	l.Add("bad \x1b[2J")
	l.Add("last")
	if got, want := l.Text(100, "%d more"), "short\nmuch to…\nbad \ufffd[2J\nlast\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := l.Text(4, "%d more"), "short\nmuch to…\n2 more\n"; got != want {
		t.Errorf("in four rows: got %q, want %q", got, want)
	}
}

func TestClip(t *testing.T) {
	for n, want := range map[int]string{9: "größere", 7: "größere", 6: "größe…", 1: "…", 0: "", -1: ""} {
		if got := Clip("größere", n); got != want {
			t.Errorf("%d characters: got %q, want %q", n, got, want)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("gone") }

// The terminal is as it was before, whoever ends it.
func TestWatchGivesTheTerminalBack(t *testing.T) {
	var b strings.Builder
	turns := 0
	wait := func() bool { turns++; return turns < 3 }
	Watch(&b, wait, func() string { return "x\n" })
	frame := ClearScreen + "x\n"
	if got := b.String(); got != OtherScreen+frame+frame+frame+OwnScreen {
		t.Errorf("got %q", got)
	}
	turns = 0
	if Watch(failing{}, wait, func() string { return "x" }); turns != 0 {
		t.Errorf("%d turns although nobody reads", turns)
	}
}
