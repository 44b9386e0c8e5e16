package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/report"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// Size of a terminal that does not tell its own.
const (
	usualWidth  = 80
	usualHeight = 24
)

// live is how far a run is, as run --live keeps it in a file for slim-bench top.
type live struct {
	Time    time.Time     `json:"time"` // when it was written
	Elapsed time.Duration `json:"elapsed_ns"`
	Step    int           `json:"step"` // the measurement that goes on, from 1
	Of      int           `json:"of"`
	Round   int           `json:"round"`
	Case    string        `json:"case"`
	Node    string        `json:"node"`
	Samples []load.Sample `json:"samples"` // of this measurement, the latest first, at most keptSamples
	Ended   bool          `json:"ended"`   // the run has
}

// keptSamples are as many as a tall terminal shows.
const keptSamples = 100

// line is all in one line. Figures stand first, as the end is cut off where a terminal is narrow.
func (l *live) line() string {
	figures := ""
	if len(l.Samples) > 0 {
		s := l.Samples[0]
		figures = fmt.Sprintf("%s  lost %d  p99 %s  ", result.Format(s.Delivered, result.PerSecond), s.Lost, result.Format(s.P99, result.Nanoseconds))
	}
	return fmt.Sprintf("%s  %d/%d  %s%s: %s, round %d", short(l.Elapsed), l.Step, l.Of, figures, l.Node, l.Case, l.Round)
}

// progress shows how far a run is: in one line that is rewritten on a terminal, in a line for each measurement elsewhere.
type progress struct {
	live
	w     io.Writer  // nil: nobody is told
	width func() int // columns of the terminal, asked for each line: it may be resized; nil: w is none
	path  string     // of the file for top; empty: none
	err   error      // of that file
}

func newProgress(w io.Writer, quiet bool, path string) *progress {
	p := &progress{w: w, path: path}
	switch {
	case quiet:
		p.w = nil
	case cli.IsTerminal(w):
		p.width = func() int { return cli.Columns(w, usualWidth) }
	}
	return p
}

// clearLine goes to the begin of the line and erases it, whatever stood there.
const clearLine = "\r\x1b[K"

// tell takes what a run tells.
func (p *progress) tell(g scenario.Progress) {
	next := g.Step.Number != p.Step
	if next {
		p.live = live{Step: g.Step.Number, Round: g.Step.Round, Case: g.Step.Case.Label(), Node: g.Step.Target.Name}
	}
	p.Elapsed, p.Of = g.Elapsed, g.Step.Of
	if g.Sample.Seconds > 0 {
		p.Samples = slices.Insert(p.Samples, 0, g.Sample)
		p.Samples = p.Samples[:min(len(p.Samples), keptSamples)]
	}
	switch {
	case p.w == nil:
	case p.width != nil: // a line as wide as the terminal would make it scroll
		fmt.Fprint(p.w, clearLine+cli.Clip(p.line(), p.width()-1))
	case next:
		fmt.Fprintln(p.w, p.line())
	}
	p.keep()
}

// done makes room for what is printed next, and returns what went wrong with the file.
func (p *progress) done() error {
	if p.width != nil && p.Step > 0 {
		fmt.Fprint(p.w, clearLine)
	}
	p.Ended = true
	p.keep()
	return p.err
}

func (p *progress) keep() {
	if p.Time = time.Now(); p.path != "" {
		p.err = cmp.Or(p.err, report.Save(p.path, func(w io.Writer) error { return json.NewEncoder(w).Encode(p.live) }))
	}
}

func short(d time.Duration) string { return d.Truncate(time.Second).String() }
