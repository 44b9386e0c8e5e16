package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
)

// longest is a measurement with long names and large figures.
func longest(t *testing.T) scenario.Progress {
	t.Helper()
	s, err := scenario.LoadScenario("mixed")
	if err != nil {
		t.Fatal(err)
	}
	return scenario.Progress{Step: 117, Of: 240, Round: 12, Case: scenario.Case{Scenario: s, Params: s.Cases[0]}.Label(), Node: "slimgo",
		Elapsed: 754 * time.Second, Sample: load.Sample{Seconds: 1, Delivered: 1234567, P99: 1234567}}
}

func drawn(width int, of ...scenario.Progress) []string {
	var b strings.Builder
	p := &progress{w: &b, width: func() int { return width }}
	for _, g := range of {
		p.tell(g)
	}
	_ = p.done()
	return strings.Split(b.String(), clearLine)[1:]
}

// A line never fills the terminal's width, so it never wraps, and the figures are on it at 80 columns.
func TestProgressFitsTheTerminal(t *testing.T) {
	for _, width := range []int{200, 80, 40, 10, 2, 1, 0} {
		line := drawn(width, longest(t))[0]
		if n := utf8.RuneCountInString(line); n >= max(width, 1) || strings.Contains(line, "\n") {
			t.Errorf("%d columns: %d characters: %q", width, n, line)
		}
		if width >= 80 && !strings.Contains(line, "117/240  1,234,567/s  lost 0  p99 1.23 ms  slimgo: mixed") {
			t.Errorf("%d columns: figures are missing in %q", width, line)
		}
		if cut := strings.HasSuffix(line, "…"); cut != (width < 200 && width > 1) {
			t.Errorf("%d columns: cut is %v in %q", width, cut, line)
		}
	}
}

// The width is asked for each time.
func TestProgressFollowsResizes(t *testing.T) {
	var b strings.Builder
	widths := []int{80, 30}
	p := &progress{w: &b, width: func() int { w := widths[0]; widths = widths[1:]; return w }}
	p.tell(longest(t))
	p.tell(longest(t))
	lines := strings.Split(b.String(), clearLine)[1:]
	if got := []int{utf8.RuneCountInString(lines[0]), utf8.RuneCountInString(lines[1])}; got[0] != 79 || got[1] != 29 {
		t.Errorf("lines of %v characters", got)
	}
}

func TestProgressKeepsFiguresAndShowsLoss(t *testing.T) {
	first := longest(t)
	idle, lossy := first, first
	idle.Sample = load.Sample{} // between samples
	lossy.Sample.Lost = 7
	next := idle
	next.Step++
	lines := drawn(80, idle, first, idle, lossy, next)
	for i, want := range []string{"117/240  slimgo", "1,234,567/s  lost 0  p99 1.23 ms", "1,234,567/s  lost 0  p99 1.23 ms", "lost 7", "118/240  slimgo"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d: %q, want %q in it", i, lines[i], want)
		}
	}
	if last := lines[len(lines)-1]; last != "" {
		t.Errorf("%q is left on the terminal", last)
	}
}

func TestProgressElsewhereIsALineForEachMeasurement(t *testing.T) {
	var b strings.Builder
	p := newProgress(&b, false, "")
	g := longest(t)
	p.tell(g)
	p.tell(g)
	g.Step++
	p.tell(g)
	_ = p.done()
	if got := b.String(); strings.Count(got, "\n") != 2 || strings.ContainsAny(got, "\r\x1b") {
		t.Errorf("got %q", got)
	}
}
