package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/report"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/bench/scenario"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

const (
	usualWidth  = 80 // of a terminal that does not tell its own
	usualHeight = 24
	keptSamples = 100        // as many as a tall terminal shows
	clearLine   = "\r\x1b[K" // to the begin of the line, and nothing is left of it
)

// live is how far a run is, as run --live keeps it in a file for slim-bench top.
type live struct {
	scenario.Progress
	Time    time.Time     `json:"time"`    // when it was written
	Samples []load.Sample `json:"samples"` // of this measurement, the latest first, at most keptSamples
	Ended   bool          `json:"ended"`   // the run has
}

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

// tell takes what a run tells.
func (p *progress) tell(g scenario.Progress) {
	next := g.Step != p.Step
	if next {
		p.Samples = nil
	}
	p.Progress = g
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

// draw shows what the file holds at the time now.
func (l *live) draw(columns, rows int, now time.Time) string {
	d := cli.Lines{Columns: columns}
	state := ""
	switch silent := now.Sub(l.Time); {
	case l.Ended:
		state = ", it has ended"
	case silent > 5*time.Second:
		state = ", NO NEWS for " + short(silent) + ": between measurements, or the run is gone"
	}
	d.Add("slim-bench run  %s%s", short(l.Elapsed), state)
	d.Add("%d of %d: %s on %s, round %d", l.Step, l.Of, l.Case, l.Node, l.Round)
	d.Add("")
	d.Add("    AT  PHASE          DELIVERED       P50       P99       MAX   LOST  NODE CPU  CLIENT CPU       RSS")
	for _, s := range l.Samples {
		ns := func(v float64) string { return result.Format(v, result.Nanoseconds) }
		d.Add("%5.1fs  %-10.10s %13s %9s %9s %9s %6d %9.2f %11.2f %9s", s.At, s.Phase, result.Format(s.Delivered, result.PerSecond),
			ns(s.P50), ns(s.P99), ns(s.Max), s.Lost, s.NodeCPU, s.ClientCPU, result.Format(float64(s.RSS), result.Bytes))
	}
	return d.Text(rows, "… %d earlier")
}

type topOptions struct {
	interval time.Duration
	once     bool
}

func (p *program) topCommand() *cobra.Command {
	var o topOptions
	c := &cobra.Command{
		Use: "top FILE",
		Long: `slim-bench top FILE shows what a run does that was started with --live FILE, until the run or Ctrl-C ends it. The figures are
those of its samples, a second each or less, the latest first; they are not judged yet.`,
		Example: "  slim-bench run --suite ci --live live.json &\n  slim-bench top live.json\n",
		RunE:    func(c *cobra.Command, args []string) error { return p.top(c.Context(), &o, args) },
	}
	fs := c.Flags()
	fs.DurationVar(&o.interval, "interval", time.Second, "time between two looks")
	fs.BoolVar(&o.once, "once", false, "look once; so does a standard output that is no terminal")
	return c
}

func (p *program) top(ctx context.Context, o *topOptions, args []string) error {
	if len(args) != 1 {
		return errors.New("top of what? slim-bench top FILE, of a run that was started with --live FILE")
	}
	if o.interval < 50*time.Millisecond {
		return fmt.Errorf("--interval %v: want 50ms or more", o.interval)
	}
	l, err := readLive(args[0])
	if err != nil {
		return err
	}
	if o.once || !cli.IsTerminal(p.stdout) {
		_, err := io.WriteString(p.stdout, l.draw(160, math.MaxInt, time.Now()))
		return err
	}
	cli.Watch(p.stdout, func() bool {
		again := !l.Ended && load.Sleep(ctx, o.interval) == nil
		if again {
			if next, bad := readLive(args[0]); bad == nil { // else what was there last, which grows old
				l = next
			}
		}
		return again
	}, func() string {
		columns, rows := cli.Size(p.stdout, usualWidth, usualHeight)
		return l.draw(columns, rows, time.Now())
	})
	return nil
}

func readLive(path string) (l *live, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: start the run with --live %s", err, path)
	}
	if err := json.Unmarshal(b, &l); err != nil || l == nil || l.Step == 0 {
		return nil, fmt.Errorf("%s is not what slim-bench run --live has written", path)
	}
	return l, nil
}
