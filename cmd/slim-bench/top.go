package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/bench/result"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

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
