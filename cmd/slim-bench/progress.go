package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench"
)

// progress shows how far a run is: one line that is rewritten on a terminal, one line for each measurement elsewhere.
type progress struct {
	w     io.Writer
	live  bool
	quiet bool
	width int // of the line that stands
	told  int // number of the latest step that has a line
}

func newProgress(w io.Writer, quiet bool) *progress {
	return &progress{w: w, live: isTerminal(w), quiet: quiet}
}

func (p *progress) tell(g bench.Progress) {
	if p.quiet {
		return
	}
	s := g.Step
	head := fmt.Sprintf("[%5.1fs, %s left] %d/%d round %d: %s on %s", g.Elapsed.Seconds(), short(g.Left), s.Number, s.Of, s.Round, s.Case.Label(), s.Target.Name)
	if !p.live {
		if s.Number != p.told {
			p.told = s.Number
			fmt.Fprintln(p.w, head)
		}
		return
	}
	if g.Rate > 0 {
		head += fmt.Sprintf("  %s  p99 %s", bench.Format(g.Rate, bench.PerSecond), bench.Format(float64(g.P99), bench.Nanoseconds))
	}
	if g.Lost > 0 {
		head += fmt.Sprintf("  missing %d", g.Lost)
	}
	n := len([]rune(head))
	fmt.Fprintf(p.w, "\r%s%s", head, strings.Repeat(" ", max(0, p.width-n)))
	p.width = n
}

// done makes room for what is printed next.
func (p *progress) done() {
	if p.live && p.width > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.width))
	}
}

func short(d time.Duration) string {
	if d >= time.Minute {
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
