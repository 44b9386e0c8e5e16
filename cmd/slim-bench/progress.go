package main

import (
	"fmt"
	"io"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/result"

	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// Size of a terminal that does not tell its own.
const (
	usualWidth  = 80
	usualHeight = 24
)

// progress shows how far a run is: one line that is rewritten on a terminal, one line for each measurement elsewhere.
type progress struct {
	w     io.Writer
	live  bool
	quiet bool
	width func() int // columns of the terminal, asked for each line: it may be resized
	drawn bool       // a line stands on the terminal
	told  int        // number of the latest step that has a line
	seen  scenario.Progress
}

func newProgress(w io.Writer, quiet bool) *progress {
	p := &progress{w: w, live: cli.IsTerminal(w), quiet: quiet, width: func() int { return usualWidth }}
	if p.live {
		p.width = func() int { return cli.Columns(w, usualWidth) }
	}
	return p
}

func (p *progress) tell(g scenario.Progress) {
	switch {
	case p.quiet:
	case p.live:
		p.draw(g)
	case g.Step.Number != p.told:
		p.told = g.Step.Number
		s := g.Step
		fmt.Fprintf(p.w, "[%s, %s left] %d/%d round %d: %s on %s\n", seconds(g.Elapsed), short(g.Left), s.Number, s.Of, s.Round, s.Case.Label(), s.Target.Name)
	}
}

// clearLine goes to the begin of the line and erases it, whatever stood there.
const clearLine = "\r\x1b[K"

// draw rewrites the line. Figures stand first, as the end is cut off where the terminal is narrow; a line as wide as
// the terminal would make it scroll.
func (p *progress) draw(g scenario.Progress) {
	if g.Step.Number != p.seen.Step.Number || g.Sample.Delivered > 0 { // figures stand until there are others
		p.seen = g
	}
	s := g.Step
	rate, p99 := "–/s", "–"
	if p.seen.Sample.Delivered > 0 {
		rate = result.Format(p.seen.Sample.Delivered, result.PerSecond)
		p99 = result.Format(p.seen.Sample.P99, result.Nanoseconds)
	}
	line := fmt.Sprintf("%s, %s left  %d/%d  %s  lost %d  p99 %s  %s: %s, round %d", seconds(g.Elapsed), short(g.Left), s.Number, s.Of,
		rate, p.seen.Sample.Lost, p99, s.Target.Name, s.Case.Label(), s.Round)
	fmt.Fprint(p.w, clearLine+cli.Clip(line, p.width()-1))
	p.drawn = true
}

// done makes room for what is printed next.
func (p *progress) done() {
	if p.drawn {
		fmt.Fprint(p.w, clearLine)
	}
}

func seconds(d time.Duration) string {
	if d >= time.Minute {
		return short(d)
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}

func short(d time.Duration) string {
	if d >= time.Minute {
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
